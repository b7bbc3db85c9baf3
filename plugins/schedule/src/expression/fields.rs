//! The fields of cron expressions.
//!
//! The crate `cron` reads the sets: items, ranges, steps. What it does not know is added here: AWS's and Unix's names
//! and numbers, `L`, `W` and `#`, years to 2199, and which of the two day fields counts.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::str::FromStr;

use chrono::Weekday;

use super::calendar::{Calendar, DayRule, YEARS};
use super::{Problem, correction};

/// One field: how it is called, where the crate `cron` expects it, and what it takes.
struct Field {
    name: &'static str,
    place: usize,
    range: RangeInclusive<u32>,
    /// Names for the numbers from `range.start()` on.
    names: &'static [&'static str],
    allowed: &'static str,
}

const MONTHS: &[&str] = &[
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
];
const WEEKDAYS: &[&str] = &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

const MINUTES: Field = Field {
    name: "minutes",
    place: 1,
    range: 0..=59,
    names: &[],
    allowed: "0-59, with \",\" \"-\" \"*\" \"/\"",
};
const HOURS: Field = Field {
    name: "hours",
    place: 2,
    range: 0..=23,
    names: &[],
    allowed: "0-23, with \",\" \"-\" \"*\" \"/\"",
};
const MONTH: Field = Field {
    name: "month",
    place: 4,
    range: 1..=12,
    names: MONTHS,
    allowed: "1-12 or JAN-DEC, with \",\" \"-\" \"*\" \"/\"",
};
const AWS_DAY_OF_MONTH: Field = Field {
    name: "day-of-month",
    place: 3,
    range: 1..=31,
    names: &[],
    allowed: "1-31, with \",\" \"-\" \"*\" \"/\"; or alone \"?\", \"L\" (the last day), \"LW\" or \"15W\" (the nearest workday)",
};
const AWS_DAY_OF_WEEK: Field = Field {
    name: "day-of-week",
    place: 5,
    range: 1..=7,
    names: WEEKDAYS,
    allowed: "1-7 (1 is Sunday) or SUN-SAT, with \",\" \"-\" \"*\" \"/\"; or alone \"?\", \"6L\" (the last Friday) or \"6#3\" (the third)",
};
const AWS_YEAR: Field = Field {
    name: "year",
    place: 6,
    range: YEARS,
    names: &[],
    allowed: "1970-2199, with \",\" \"-\" \"*\" \"/\"",
};
const UNIX_DAY_OF_MONTH: Field = Field {
    name: "day-of-month",
    place: 3,
    range: 1..=31,
    names: &[],
    allowed: "1-31, with \",\" \"-\" \"*\" \"/\"; \"L\" and \"W\" are AWS's, in cron(...)",
};
const UNIX_DAY_OF_WEEK: Field = Field {
    name: "day-of-week",
    place: 5,
    range: 0..=7,
    names: WEEKDAYS,
    allowed: "0-7 (0 and 7 are Sunday) or SUN-SAT, with \",\" \"-\" \"*\" \"/\"; \"L\" and \"#\" are AWS's, in cron(...)",
};

const FORMS: &str =
    "use cron(0 2 * * ? *), rate(5 minutes), at(2026-11-22T23:00:00), or the five fields of Unix cron, as 0 2 * * *";

/// Reads what stands between the parentheses of `cron(...)`.
pub(super) fn parse_aws(body: &str) -> Result<Calendar, Vec<Problem>> {
    let parts: Vec<&str> = body.split_ascii_whitespace().collect();
    let Ok(fields) = <[&str; 6]>::try_from(parts.as_slice()) else {
        let what = format!("cron(...) has {} fields, not six", parts.len());
        let usage = "use cron(minutes hours day-of-month month day-of-week year), as cron(0 2 * * ? *)";
        return Err(vec![Problem::new(what, or(readings(&parts), usage))]);
    };
    let [minutes, hours, day_of_month, month, day_of_week, year] = fields;

    let mut problems = Vec::new();
    let minutes = keep(MINUTES.read(minutes), &mut problems);
    let hours = keep(HOURS.read(hours), &mut problems);
    let day_of_month = keep(read_day_of_month(day_of_month), &mut problems);
    let month = keep(MONTH.read(month), &mut problems);
    let day_of_week = keep(read_day_of_week(day_of_week), &mut problems);
    let years = keep(AWS_YEAR.expand(year), &mut problems);

    let days = match (&day_of_month, &day_of_week) {
        (Some(Days::Any), Some(Days::Any)) => {
            let help = "write \"*\" in one of them for every day";
            problems.push(Problem::new("day-of-month and day-of-week are both \"?\"", help));
            None
        }
        (Some(Days::Any), Some(days)) | (Some(days), Some(Days::Any)) => Some(days.rule()),
        (Some(_), Some(_)) => {
            let help = match correction::aws(fields) {
                Some(aws) => format!("write \"{aws}\""),
                None => "write \"?\" in the one that does not count".to_owned(),
            };
            problems.push(Problem::new("day-of-month and day-of-week cannot both count", help));
            None
        }
        _ => None,
    };
    let (Some(minutes), Some(hours), Some(days), Some(month), Some(years)) = (minutes, hours, days, month, years)
    else {
        return Err(problems);
    };
    let set = |days: Option<Days>| match days {
        Some(Days::Set(set)) => set,
        _ => "*".to_owned(),
    };
    let sets = [minutes, hours, set(day_of_month), month, set(day_of_week)];
    let years = (year != "*").then_some(years);
    Ok(Calendar {
        sets: combine(&sets)?,
        days,
        years,
    })
}

/// Reads an expression that is none of `cron(...)`, `rate(...)` and `at(...)`: five fields are Unix cron.
pub(super) fn parse_bare(text: &str) -> Result<Calendar, Vec<Problem>> {
    let parts: Vec<&str> = text.split_ascii_whitespace().collect();
    let looks_like_cron = text.starts_with(|c: char| c.is_ascii_digit() || c == '*');
    match parts[..] {
        [minutes, hours, day_of_month, month, day_of_week] if looks_like_cron => {
            parse_unix([minutes, hours, day_of_month, month, day_of_week])
        }
        [a, b, c, d, e, f] if looks_like_cron => {
            let readings = correction::of_six([a, b, c, d, e, f]);
            let what = match readings.len() {
                2 => "six fields can be read in two ways",
                _ => "six fields alone are no form of a schedule",
            };
            Err(vec![Problem::new(what, or(readings, FORMS))])
        }
        _ => {
            let meant = correction::of_text(text).map(|meant| format!("did you mean \"{meant}\"?"));
            let zoned = || {
                let (zone, expression) = correction::of_zoned(text)?;
                Some(format!(
                    "write \"{expression}\", and \"timezone: {zone}\" beside \"rate\""
                ))
            };
            let mut help: Vec<String> = meant.or_else(zoned).into_iter().collect();
            if help.is_empty() && looks_like_cron && parts.len() == 7 {
                help = readings(&parts);
            }
            Err(vec![Problem::new("this is no form of a schedule", or(help, FORMS))])
        }
    }
}

/// How to write what stands in `cron(...)` and is not six fields.
fn readings(parts: &[&str]) -> Vec<String> {
    match *parts {
        [minutes, hours, day_of_month, month, day_of_week] => {
            correction::of_five_in_cron([minutes, hours, day_of_month, month, day_of_week])
        }
        [_, minutes, hours, day_of_month, month, day_of_week, year] => {
            let without_seconds = correction::aws([minutes, hours, day_of_month, month, day_of_week, year]);
            let reading = without_seconds.map(|aws| format!("without seconds, write \"{aws}\""));
            reading.into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// The suggestions, or else what is always right.
fn or(suggestions: Vec<String>, otherwise: &str) -> String {
    if suggestions.is_empty() {
        otherwise.to_owned()
    } else {
        suggestions.join("; ")
    }
}

/// Unix cron: weekdays from 0, both 0 and 7 Sunday; when both day fields are restricted, that is, neither begins with
/// `*`, either may match (crontab(5)).
fn parse_unix(parts: [&str; 5]) -> Result<Calendar, Vec<Problem>> {
    let [minutes, hours, day_of_month, month, day_of_week] = parts;
    let mut problems = Vec::new();
    let restricted = !day_of_month.starts_with('*') && !day_of_week.starts_with('*');
    let days = if restricted { DayRule::Either } else { DayRule::Both };
    let minutes = keep(MINUTES.read(minutes), &mut problems);
    let hours = keep(HOURS.read(hours), &mut problems);
    let day_of_month = keep(UNIX_DAY_OF_MONTH.read(day_of_month), &mut problems);
    let month = keep(MONTH.read(month), &mut problems);
    let day_of_week = keep(UNIX_DAY_OF_WEEK.expand(day_of_week), &mut problems);
    let (Some(minutes), Some(hours), Some(day_of_month), Some(month), Some(day_of_week)) =
        (minutes, hours, day_of_month, month, day_of_week)
    else {
        return Err(problems);
    };
    let from_one: Vec<String> = day_of_week.iter().map(|day| (day % 7 + 1).to_string()).collect();
    let sets = [minutes, hours, day_of_month, month, from_one.join(",")];
    Ok(Calendar {
        sets: combine(&sets)?,
        days,
        years: None,
    })
}

/// The sets of five fields that were read one by one.
fn combine(fields: &[String; 5]) -> Result<cron::Schedule, Vec<Problem>> {
    let text = fields.join(" ");
    cron::Schedule::from_str(&format!("0 {text}")).map_err(|_| {
        vec![Problem::new(
            format!("\"{text}\" cannot be read"),
            "use cron(0 2 * * ? *) as a model",
        )]
    })
}

fn keep<T>(result: Result<T, Problem>, problems: &mut Vec<Problem>) -> Option<T> {
    result.map_err(|problem| problems.push(problem)).ok()
}

/// One of AWS's two day fields.
enum Days {
    /// `?`: the other field counts.
    Any,
    /// A set, as the crate `cron` reads it.
    Set(String),
    /// A rule that depends on the month.
    Rule(DayRule),
}

impl Days {
    fn rule(&self) -> DayRule {
        match self {
            Self::Rule(rule) => *rule,
            Self::Any | Self::Set(_) => DayRule::Both,
        }
    }
}

fn read_day_of_month(text: &str) -> Result<Days, Problem> {
    match text {
        "?" => return Ok(Days::Any),
        "L" => return Ok(Days::Rule(DayRule::Last)),
        "LW" => return Ok(Days::Rule(DayRule::LastWorkday)),
        _ => {}
    }
    if let Some(day) = text.strip_suffix('W').and_then(|day| AWS_DAY_OF_MONTH.number(day)) {
        return Ok(Days::Rule(DayRule::NearestWorkday(day)));
    }
    AWS_DAY_OF_MONTH.read(text).map(Days::Set)
}

fn read_day_of_week(text: &str) -> Result<Days, Problem> {
    match text {
        "?" => return Ok(Days::Any),
        // Alone it is the last day of the week.
        "L" => return Ok(Days::Set("7".into())),
        _ => {}
    }
    let weekday = |text: &str| AWS_DAY_OF_WEEK.number(text).and_then(weekday_from_sunday);
    if let Some(weekday) = text.strip_suffix('L').and_then(weekday) {
        return Ok(Days::Rule(DayRule::LastWeekday(weekday)));
    }
    if let Some((day, n)) = text.split_once('#')
        && let Some(weekday) = weekday(day)
        && let Some(n @ 1..=5) = digits(n)
    {
        return Ok(Days::Rule(DayRule::NthWeekday(weekday, n)));
    }
    AWS_DAY_OF_WEEK.read(text).map(Days::Set)
}

/// The weekday of AWS's number: 1 is Sunday.
fn weekday_from_sunday(number: u32) -> Option<Weekday> {
    let from_monday = (number + 5) % 7;
    Weekday::try_from(u8::try_from(from_monday).ok()?).ok()
}

impl Field {
    /// The field in the form that the crate `cron` reads, after it has read every item of it.
    fn read(&self, text: &str) -> Result<String, Problem> {
        let items: Result<Vec<String>, Problem> = text
            .split(',')
            .map(|item| match self.with_numbers(item) {
                // The crate alone would take "*5" for "*".
                Some(numbers) if self.expand_item(item).is_some() && self.is_item(&numbers) => Ok(numbers),
                _ => Err(self.problem(item)),
            })
            .collect();
        Ok(items?.join(","))
    }

    fn is_item(&self, item: &str) -> bool {
        let mut fields = ["0", "*", "*", "*", "*", "*"];
        fields[self.place] = item;
        // The crate takes `?` for `*`; here it has a meaning of its own.
        !item.contains('?') && cron::Schedule::from_str(&fields.join(" ")).is_ok()
    }

    /// The numbers of the field, for numbers that the crate `cron` does not know: years after 2100, weekday 0.
    fn expand(&self, text: &str) -> Result<BTreeSet<u32>, Problem> {
        let mut numbers = BTreeSet::new();
        for item in text.split(',') {
            numbers.extend(self.expand_item(item).ok_or_else(|| self.problem(item))?);
        }
        Ok(numbers)
    }

    fn expand_item(&self, item: &str) -> Option<impl Iterator<Item = u32> + use<>> {
        let (base, step) = match item.split_once('/') {
            Some((base, step)) => (
                base,
                Some(digits(step).filter(|step| (1..=*self.range.end()).contains(step))?),
            ),
            None => (item, None),
        };
        let (first, last) = match base.split_once('-') {
            Some((first, last)) => (self.number(first)?, self.number(last)?),
            None if base == "*" => (*self.range.start(), *self.range.end()),
            None => {
                let number = self.number(base)?;
                (number, if step.is_some() { *self.range.end() } else { number })
            }
        };
        (first <= last).then(|| (first..=last).step_by(step.unwrap_or(1) as usize))
    }

    /// The number that a name or a number means, when it is in the range.
    fn number(&self, text: &str) -> Option<u32> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let number = match named {
            Some(index) => *self.range.start() + u32::try_from(index).ok()?,
            None => digits(text)?,
        };
        self.range.contains(&number).then_some(number)
    }

    /// The item with numbers for its names; `None`: a word in it is no name of this field.
    fn with_numbers(&self, item: &str) -> Option<String> {
        let mut numbers = String::new();
        for piece in item.split_inclusive(['-', '/']) {
            let word = piece.trim_end_matches(['-', '/']);
            if word.starts_with(|c: char| c.is_alphabetic()) {
                numbers.push_str(&self.number(word)?.to_string());
                numbers.push_str(&piece[word.len()..]);
            } else {
                numbers.push_str(piece);
            }
        }
        Some(numbers)
    }

    fn problem(&self, item: &str) -> Problem {
        if let Some(forwards) = self.forwards(item) {
            return Problem::new(
                format!("the range \"{item}\" in the {} field runs backwards", self.name),
                format!("write \"{forwards}\""),
            );
        }
        let what = format!("\"{item}\" is not allowed in the {} field", self.name);
        if item == "?" && !self.allowed.contains('?') {
            return Problem::new(what, "write \"*\"");
        }
        Problem::new(what, format!("use {}", self.allowed))
    }

    /// A range that runs over the end of the field, as `22-5`, in two parts; one with a step in numbers.
    fn forwards(&self, item: &str) -> Option<String> {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(digits(step).filter(|step| *step > 0)?)),
            None => (item, None),
        };
        let (first, last) = range.split_once('-')?;
        let (from, to) = (self.number(first)?, self.number(last)?);
        if from <= to {
            return None;
        }
        if let Some(step) = step {
            let all = (from..=*self.range.end()).chain(*self.range.start()..=to);
            let numbers: Vec<String> = all.step_by(step as usize).map(|number| number.to_string()).collect();
            return Some(numbers.join(","));
        }
        let named = first.starts_with(|c: char| c.is_alphabetic());
        let end = |name: Option<&&str>, number: u32| match name {
            Some(name) if named => (*name).to_owned(),
            _ => number.to_string(),
        };
        let greatest = end(self.names.last(), *self.range.end());
        let least = end(self.names.first(), *self.range.start());
        let part = |from: &str, to: &str| {
            if from.eq_ignore_ascii_case(to) {
                from.to_owned()
            } else {
                format!("{from}-{to}")
            }
        };
        Some(format!("{},{}", part(first, &greatest), part(&least, last)))
    }
}

fn digits(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}
