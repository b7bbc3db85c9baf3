//! Which local times a cron expression means.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike, Utc, Weekday};
use cron::TimeUnitSpec;

/// The years of a cron expression (EventBridge User Guide, "Cron expressions reference").
pub(super) const YEARS: RangeInclusive<u32> = 1970..=2199;
/// A time before the first slot of any calendar in any zone.
pub(super) const FIRST_YEAR_BEGINS: DateTime<Utc> = at_midnight(1969, 12, 30);
/// A time after the last slot of any calendar in any zone.
pub(super) const LAST_YEAR_IS_OVER: DateTime<Utc> = at_midnight(2200, 1, 3);

const fn at_midnight(year: i32, month: u32, day: u32) -> DateTime<Utc> {
    match NaiveDate::from_ymd_opt(year, month, day) {
        Some(date) => date.and_time(NaiveTime::MIN).and_utc(),
        None => panic!("a constant date exists"),
    }
}

/// The local times of a cron expression, to the minute.
#[derive(Debug, Clone)]
pub(super) struct Calendar {
    /// The sets of minutes, hours, months, days of the month and days of the week.
    pub sets: cron::Schedule,
    /// Which days of its months are meant.
    pub days: DayRule,
    /// The years; `None`: all. Not among `sets`, whose years end in 2100.
    pub years: Option<BTreeSet<u32>>,
}

/// Which days of a month are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DayRule {
    /// Those in the set of days of the month and in the set of days of the week.
    Both,
    /// Those in one of the two sets (Unix cron with both fields restricted).
    Either,
    /// `L`: the last.
    Last,
    /// `LW`: the last from Monday to Friday.
    LastWorkday,
    /// `15W`: the day from Monday to Friday nearest to this one, in the same month. A month without this day has none.
    NearestWorkday(u32),
    /// `6L`: the last such weekday.
    LastWeekday(Weekday),
    /// `6#3`: the third such weekday.
    NthWeekday(Weekday, u32),
}

impl Calendar {
    /// The first of its times after `local`; `None`: there is none any more.
    pub fn next_after(&self, local: NaiveDateTime) -> Option<NaiveDateTime> {
        let start = local
            .with_second(0)?
            .with_nanosecond(0)?
            .checked_add_signed(TimeDelta::minutes(1))?;
        let first = NaiveDate::from_yo_opt(*YEARS.start() as i32, 1)?.and_time(NaiveTime::MIN);
        let start = start.max(first);
        start
            .date()
            .iter_days()
            .take_while(|date| date.year() <= *YEARS.end() as i32)
            .filter(|date| self.has_day(*date))
            .find_map(|date| {
                let from = if date == start.date() {
                    start.time()
                } else {
                    NaiveTime::MIN
                };
                self.time_from(from).map(|time| date.and_time(time))
            })
    }

    /// The first time of day in the sets that is not before `from`.
    fn time_from(&self, from: NaiveTime) -> Option<NaiveTime> {
        self.sets.hours().range(from.hour()..).find_map(|hour| {
            let earliest = if hour == from.hour() { from.minute() } else { 0 };
            let minute = self.sets.minutes().range(earliest..).next()?;
            NaiveTime::from_hms_opt(hour, minute, 0)
        })
    }

    fn has_day(&self, date: NaiveDate) -> bool {
        self.sets.months().includes(date.month())
            && self
                .years
                .as_ref()
                .is_none_or(|years| years.contains(&(date.year() as u32)))
            && self.rule_has_day(date)
    }

    fn rule_has_day(&self, date: NaiveDate) -> bool {
        let in_month = || self.sets.days_of_month().includes(date.day());
        // Sunday is 1 in `cron` as it is in AWS.
        let in_week = || self.sets.days_of_week().includes(date.weekday().number_from_sunday());
        match self.days {
            DayRule::Both => in_month() && in_week(),
            DayRule::Either => in_month() || in_week(),
            DayRule::Last => date.day() == last_day(date),
            DayRule::LastWorkday => nearest_workday(date, last_day(date)) == Some(date.day()),
            DayRule::NearestWorkday(day) => nearest_workday(date, day) == Some(date.day()),
            DayRule::LastWeekday(weekday) => date.weekday() == weekday && date.day() + 7 > last_day(date),
            DayRule::NthWeekday(weekday, n) => date.weekday() == weekday && date.day().div_ceil(7) == n,
        }
    }
}

/// The number of days in the month of `date`.
fn last_day(date: NaiveDate) -> u32 {
    u32::from(date.num_days_in_month())
}

/// The day from Monday to Friday nearest to `day` within the month of `date`; `None`: the month has no such day.
fn nearest_workday(date: NaiveDate, day: u32) -> Option<u32> {
    let target = date.with_day(day)?;
    let nearest = match target.weekday() {
        Weekday::Sat if day == 1 => target + Days::new(2),
        Weekday::Sat => target - Days::new(1),
        Weekday::Sun if day == last_day(date) => target - Days::new(2),
        Weekday::Sun => target + Days::new(1),
        _ => target,
    };
    Some(nearest.day())
}
