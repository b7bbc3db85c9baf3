//! The search for the next slot against an oracle that looks at every minute, for random expressions.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use hikigane_schedule::expression::Expression;
use proptest::prelude::*;

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// The meaning of a random AWS cron, kept apart from its text.
#[derive(Debug, Clone)]
struct Model {
    minutes: Vec<u32>,
    hours: Vec<u32>,
    months: Vec<u32>,
    days: ModelDays,
}

#[derive(Debug, Clone)]
enum ModelDays {
    Every,
    OfMonth(Vec<u32>),
    /// Sunday is 1.
    OfWeek(Vec<u32>),
    Last,
    LastWorkday,
    NearestWorkday(u32),
    LastOfWeek(u32),
    Nth(u32, u32),
}

impl Model {
    fn text(&self) -> String {
        let list = |numbers: &[u32]| numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        let (month_days, week_days) = match &self.days {
            ModelDays::Every => ("*".to_owned(), "?".to_owned()),
            ModelDays::OfMonth(days) => (list(days), "?".to_owned()),
            ModelDays::OfWeek(days) => ("?".to_owned(), list(days)),
            ModelDays::Last => ("L".to_owned(), "?".to_owned()),
            ModelDays::LastWorkday => ("LW".to_owned(), "?".to_owned()),
            ModelDays::NearestWorkday(day) => (format!("{day}W"), "?".to_owned()),
            ModelDays::LastOfWeek(day) => ("?".to_owned(), format!("{day}L")),
            ModelDays::Nth(day, n) => ("?".to_owned(), format!("{day}#{n}")),
        };
        format!(
            "cron({} {} {month_days} {} {week_days} *)",
            list(&self.minutes),
            list(&self.hours),
            list(&self.months)
        )
    }

    fn has(&self, local: NaiveDateTime) -> bool {
        self.minutes.contains(&local.minute())
            && self.hours.contains(&local.hour())
            && self.months.contains(&local.month())
            && self.has_day(local.date())
    }

    fn has_day(&self, date: NaiveDate) -> bool {
        let weekday = |date: NaiveDate| date.weekday().num_days_from_sunday() + 1;
        let is_workday = |date: &NaiveDate| (2..=6).contains(&weekday(*date));
        let month: Vec<NaiveDate> = date
            .with_day(1)
            .unwrap()
            .iter_days()
            .take_while(|day| day.month() == date.month())
            .collect();
        match &self.days {
            ModelDays::Every => true,
            ModelDays::OfMonth(days) => days.contains(&date.day()),
            ModelDays::OfWeek(days) => days.contains(&weekday(date)),
            ModelDays::Last => month.last() == Some(&date),
            ModelDays::LastWorkday => month.iter().rfind(|day| is_workday(day)) == Some(&date),
            ModelDays::NearestWorkday(day) => {
                let distance = |other: &NaiveDate| other.day().abs_diff(*day);
                let exists = month.iter().any(|other| other.day() == *day);
                exists
                    && month
                        .iter()
                        .filter(|day| is_workday(day))
                        .min_by_key(|day| distance(day))
                        == Some(&date)
            }
            ModelDays::LastOfWeek(day) => month.iter().rfind(|other| weekday(**other) == *day) == Some(&date),
            ModelDays::Nth(day, n) => {
                month
                    .iter()
                    .filter(|other| weekday(**other) == *day)
                    .nth(*n as usize - 1)
                    == Some(&date)
            }
        }
    }
}

fn models() -> impl Strategy<Value = Model> {
    let some = |numbers: Vec<u32>, most: usize| {
        let all = numbers.clone();
        prop_oneof![3 => prop::sample::subsequence(numbers, 1..=most), 1 => Just(all)]
    };
    let days = prop_oneof![
        Just(ModelDays::Every),
        some((1..=31).collect(), 5).prop_map(ModelDays::OfMonth),
        some((1..=7).collect(), 3).prop_map(ModelDays::OfWeek),
        Just(ModelDays::Last),
        Just(ModelDays::LastWorkday),
        (1_u32..=31).prop_map(ModelDays::NearestWorkday),
        (1_u32..=7).prop_map(ModelDays::LastOfWeek),
        (1_u32..=7, 1_u32..=5).prop_map(|(day, n)| ModelDays::Nth(day, n)),
    ];
    // Hours around which clocks change are drawn more often.
    let hours = prop_oneof![2 => some((0..=23).collect(), 4), 1 => prop::sample::subsequence(vec![0, 1, 2, 3], 1..=4)];
    (some((0..=59).collect(), 4), hours, some((1..=12).collect(), 6), days).prop_map(
        |(minutes, hours, months, days)| Model {
            minutes,
            hours,
            months,
            days,
        },
    )
}

fn zones() -> impl Strategy<Value = Tz> {
    prop::sample::select(vec![
        Tz::UTC,
        Tz::Europe__Paris,
        Tz::America__New_York,
        Tz::America__Sao_Paulo,
        Tz::Australia__Lord_Howe,
        Tz::Asia__Kathmandu,
        Tz::Pacific__Apia,
        Tz::Africa__Casablanca,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn next_after_finds_what_looking_at_every_minute_finds(model in models(), zone in zones(), start_day in 0_i64..6000, phase in 0_i64..60) {
        let text = model.text();
        let expression = Expression::parse(&text).unwrap();
        // From 2011 on: Apia skips a day at the end of that year, Sao Paulo's clocks change at midnight.
        let start = utc("2011-10-01T00:00:00Z") + TimeDelta::days(start_day) + TimeDelta::seconds(phase);
        let end = start + TimeDelta::days(62);

        let mut found = Vec::new();
        let mut after = start;
        while let Some(at) = expression.next_after(after, zone).filter(|at| *at < end) {
            prop_assert!(at > after, "{text} is stuck at {at}");
            found.push(at);
            after = at;
        }

        let mut minute = start - TimeDelta::seconds(phase) + TimeDelta::minutes(1);
        let mut wanted = Vec::new();
        while minute < end {
            let local = minute.with_timezone(&zone).naive_local();
            let is_first_time = || zone.from_local_datetime(&local).earliest() == Some(minute.with_timezone(&zone));
            if model.has(local) && is_first_time() {
                wanted.push(minute);
            }
            minute += TimeDelta::minutes(1);
        }
        prop_assert_eq!(found, wanted, "{} in {}", text, zone);
    }

    #[test]
    fn no_text_breaks_the_parser(text in "(cron|rate|at)?\\(?[0-9A-Z*?,/#LW -]{0,40}\\)?|\\PC{0,30}") {
        if let Ok(expression) = Expression::parse(&text) {
            let after = utc("2026-01-01T00:00:00Z");
            prop_assert!(expression.next_after(after, Tz::Europe__Paris).is_none_or(|at| at > after));
        }
    }
}
