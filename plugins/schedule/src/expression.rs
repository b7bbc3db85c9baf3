//! Schedule expressions: when a schedule fires.
//!
//! Four forms are read. `cron(minutes hours day-of-month month day-of-week year)`, `rate(5 minutes)` and
//! `at(2026-11-22T23:00:00)` follow Amazon EventBridge (EventBridge Scheduler User Guide, "Schedule types"; EventBridge
//! User Guide, "Cron expressions reference"). A bare string of five fields is Unix cron, as crontab(5) describes it.
//!
//! # Daylight saving time
//!
//! The rule is EventBridge Scheduler's. A slot whose local time does not exist, because the clocks go forward over it,
//! is skipped; [`Expression::slot_after`] reports it as [`Slot::Gap`]. A slot whose local time comes twice, because the
//! clocks go back, fires once, the first time. This holds for every cron slot: `cron(0/5 * * * ? *)` rests while an hour
//! repeats. A rate counts elapsed time and knows no zone; a day is 24 hours.
//!
//! The time zone database, as it is compiled in, knows changes of clocks until the end of 2099.

mod calendar;
mod correction;
mod fields;

use std::fmt;

use chrono::{DateTime, NaiveDateTime, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::{GapInfo, Tz};

use calendar::Calendar;

/// When a schedule fires.
#[derive(Debug, Clone)]
pub struct Expression {
    text: String,
    rule: Rule,
}

#[derive(Debug, Clone)]
enum Rule {
    Cron(Box<Calendar>),
    Rate(TimeDelta),
    At(NaiveDateTime),
}

/// A point of a schedule that has to be decided: run, or skipped with a reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slot {
    /// The schedule fires at this time.
    Fires(DateTime<Utc>),
    /// The schedule would fire at local times that do not exist.
    Gap(Gap),
}

impl Slot {
    /// The slot's place in the order of time.
    pub fn at(&self) -> DateTime<Utc> {
        match self {
            Self::Fires(at) => *at,
            Self::Gap(gap) => gap.at,
        }
    }
}

/// Consecutive slots that fall into one gap of local time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// One second before the clocks go forward: after every slot before the gap, before every slot behind it.
    pub at: DateTime<Utc>,
    /// The local time of the first of them.
    pub first: NaiveDateTime,
    /// How many they are.
    pub count: u32,
}

impl Expression {
    /// Parses an expression. The error names every field that is wrong.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        let inside = |form: &str| text.strip_prefix(form)?.strip_prefix('(')?.strip_suffix(')');
        let rule = if let Some(body) = inside("cron") {
            fields::parse_aws(body).map(|calendar| Rule::Cron(Box::new(calendar)))
        } else if let Some(body) = inside("rate") {
            parse_rate(body).map(Rule::Rate).map_err(|problem| vec![problem])
        } else if let Some(body) = inside("at") {
            parse_at(body).map(Rule::At).map_err(|problem| vec![problem])
        } else {
            fields::parse_bare(text).map(|calendar| Rule::Cron(Box::new(calendar)))
        };
        match rule {
            Ok(rule) => Ok(Self {
                text: text.to_owned(),
                rule,
            }),
            Err(problems) => Err(ExpressionError {
                expression: text.to_owned(),
                problems,
            }),
        }
    }

    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The length of one turn when this is a `rate`: its slots depend on where the count began.
    pub fn rate(&self) -> Option<TimeDelta> {
        match self.rule {
            Rule::Rate(every) => Some(every),
            Rule::Cron(_) | Rule::At(_) => None,
        }
    }

    /// The first time after `after` at which a schedule in the zone `tz` fires; `None`: never again.
    ///
    /// A rate counts from `after`, so that asking again with the answer keeps its beat.
    pub fn next_after(&self, after: DateTime<Utc>, tz: Tz) -> Option<DateTime<Utc>> {
        let mut after = after;
        loop {
            match self.slot_after(after, tz)? {
                Slot::Fires(at) => return Some(at),
                Slot::Gap(gap) => after = gap.at,
            }
        }
    }

    /// The first slot after `after`, whether it fires or not; `None`: there is none any more.
    pub fn slot_after(&self, after: DateTime<Utc>, tz: Tz) -> Option<Slot> {
        match &self.rule {
            Rule::Cron(calendar) => cron_slot_after(calendar, after, tz),
            Rule::Rate(every) => after.checked_add_signed(*every).map(Slot::Fires),
            Rule::At(local) => {
                let slot = match place(*local, tz)? {
                    Place::Exists(at) => Slot::Fires(at),
                    Place::Missing(at) => Slot::Gap(Gap {
                        at,
                        first: *local,
                        count: 1,
                    }),
                };
                (slot.at() > after).then_some(slot)
            }
        }
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The first slot of `calendar` after `after`, in the order of local time.
fn cron_slot_after(calendar: &Calendar, after: DateTime<Utc>, tz: Tz) -> Option<Slot> {
    // Local time of instants at the very ends of the calendar cannot be told; no slot is near them.
    let after = after.clamp(calendar::FIRST_YEAR_BEGINS, calendar::LAST_YEAR_IS_OVER);
    let mut local = after.with_timezone(&tz).naive_local();
    let mut gap: Option<Gap> = None;
    while let Some(next) = calendar.next_after(local) {
        local = next;
        match place(local, tz) {
            Some(Place::Missing(at)) if at > after => match &mut gap {
                None => {
                    gap = Some(Gap {
                        at,
                        first: local,
                        count: 1,
                    })
                }
                Some(gap) if gap.at == at => gap.count += 1,
                Some(_) => break,
            },
            // `after` lies in the second pass of a repeated hour: this slot had its turn in the first.
            Some(Place::Exists(at)) if at <= after => {}
            Some(Place::Exists(at)) if gap.is_none() => return Some(Slot::Fires(at)),
            Some(Place::Exists(_)) => break,
            Some(Place::Missing(_)) | None => {}
        }
    }
    gap.map(Slot::Gap)
}

/// Where a local time lies in the order of time.
enum Place {
    /// It exists; when it comes twice, this is the first time.
    Exists(DateTime<Utc>),
    /// It is skipped: the second before the clocks go forward.
    Missing(DateTime<Utc>),
}

fn place(local: NaiveDateTime, tz: Tz) -> Option<Place> {
    match tz.from_local_datetime(&local).earliest() {
        Some(at) => Some(Place::Exists(at.to_utc())),
        None => Some(Place::Missing(
            GapInfo::new(&local, &tz)?.end?.to_utc() - TimeDelta::seconds(1),
        )),
    }
}

/// An expression that is not legal, and everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
// AWS's words first (EventBridge Scheduler's ValidationException), so that whoever knows them recognises them.
#[error("Invalid Schedule Expression {expression}. {}", join(problems))]
pub struct ExpressionError {
    /// The expression as it was written.
    pub expression: String,
    /// What is wrong; at least one.
    pub problems: Vec<Problem>,
}

/// One mistake in an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, lower case.
    pub what: String,
    /// What is allowed.
    pub help: String,
}

impl Problem {
    fn new(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            help: help.into(),
        }
    }
}

fn join(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(|problem| format!("{}: {}", problem.what, problem.help))
        .collect::<Vec<_>>()
        .join("; ")
}

/// `rate(value unit)`: a whole number from 1, one space, the unit in the number it takes.
fn parse_rate(body: &str) -> Result<TimeDelta, Problem> {
    const UNITS: [(&str, &str, i64); 3] = [
        ("minute", "minutes", 60),
        ("hour", "hours", 60 * 60),
        ("day", "days", 24 * 60 * 60),
    ];
    const HELP: &str = "use rate(1 minute), rate(5 minutes), rate(1 hour), rate(12 hours), rate(1 day) or rate(7 days)";
    /// A hundred years: a longer beat is a slip of the pen, and later arithmetic stays in range.
    const LONGEST: i64 = 100 * 365 * 24 * 60 * 60;

    let problem = |what: String| Problem::new(what, HELP);
    let Some((value, unit)) = body.split_once(' ') else {
        return Err(problem(format!(
            "\"{body}\" is not a value and a unit with one space between them"
        )));
    };
    if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
        return Err(problem(format!("the value \"{value}\" is not a whole number")));
    }
    let number = value.parse::<i64>().unwrap_or(i64::MAX);
    let Some((one, many, seconds)) = UNITS.into_iter().find(|(one, many, _)| unit == *one || unit == *many) else {
        let what = format!("the unit \"{unit}\" is not known");
        return Err(match unit {
            "week" | "weeks" if number.checked_mul(7).is_some() => {
                Problem::new(what, format!("write rate({} days)", number * 7))
            }
            "second" | "seconds" => Problem::new(what, "schedules fire on whole minutes: use rate(1 minute)"),
            _ => problem(what),
        });
    };
    match number {
        0 => Err(problem("the value must be at least 1".into())),
        1 if unit != one => Err(Problem::new(
            format!("the value 1 takes \"{one}\""),
            format!("write rate(1 {one})"),
        )),
        2.. if unit != many => Err(Problem::new(
            format!("the value {value} takes \"{many}\""),
            format!("write rate({value} {many})"),
        )),
        _ => match number.checked_mul(seconds) {
            Some(total) if total <= LONGEST => Ok(TimeDelta::seconds(total)),
            _ => Err(Problem::new(
                format!("the value {value} is too large"),
                "at most 100 years are allowed",
            )),
        },
    }
}

/// `at(yyyy-mm-ddThh:mm:ss)`: a local time; the zone is the schedule's, not the expression's.
fn parse_at(body: &str) -> Result<NaiveDateTime, Problem> {
    const FORMAT: &str = "%Y-%m-%dT%H:%M:%S";
    match NaiveDateTime::parse_from_str(body, FORMAT) {
        // Written back it must be the same: the parser alone would take one-digit months. It takes leap seconds, too.
        Ok(time) if time.format(FORMAT).to_string() == body && time.nanosecond() == 0 => Ok(time),
        _ => {
            let help = "use at(yyyy-mm-ddThh:mm:ss), as at(2026-11-22T23:00:00); the zone goes into \"timezone\"";
            Err(Problem::new(format!("\"{body}\" is not a date and time"), help))
        }
    }
}
