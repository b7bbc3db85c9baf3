//! Expressions through their public API: AWS's recorded answers, and tables.

#![allow(clippy::unwrap_used, clippy::expect_used)]

// A recording that is not here is no failure, also with CI.
#[allow(dead_code)]
#[path = "../../../tests/support/absent.rs"]
mod absent;

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use hikigane_schedule::expression::{Expression, Slot};
use serde_json::Value;

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// The vectors recorded from AWS, when they lie beside the repository.
fn vectors(file: &str) -> Option<Vec<Value>> {
    let path = format!("{}/../../../shared/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    match std::fs::read(&path) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).unwrap()),
        Err(_) => {
            absent::skipped(&format!(
                "nothing is compared with {file}, AWS's recorded answers, which are not here"
            ));
            None
        }
    }
}

/// The next firings after `after`, in local time, as many as there are lines.
fn check(expression: &str, zone: Tz, after: &str, next: &[&str]) {
    let parsed = Expression::parse(expression).unwrap_or_else(|error| panic!("{error}"));
    let mut at = utc(after);
    for wanted in next {
        at = parsed
            .next_after(at, zone)
            .unwrap_or_else(|| panic!("{expression}: nothing before {wanted}"));
        let local = at.with_timezone(&zone).format("%Y-%m-%d %H:%M %a %Z").to_string();
        assert_eq!(local, *wanted, "{expression} after {after}");
    }
}

#[test]
fn next_firings_are_those_recorded() {
    for case in vectors("cron_next.json").unwrap_or_default() {
        let field = |index: usize| u32::try_from(case["after_utc"][index].as_u64().unwrap()).unwrap();
        let date = NaiveDate::from_ymd_opt(field(0).cast_signed(), field(1), field(2)).unwrap();
        let mut at = date.and_hms_opt(field(3), field(4), field(5)).unwrap().and_utc();
        let expression = Expression::parse(&format!("cron({})", case["cron"].as_str().unwrap())).unwrap();
        for wanted in case["next"].as_array().unwrap() {
            at = expression.next_after(at, Tz::UTC).unwrap();
            assert_eq!(
                at.format("%Y-%m-%d %H:%M:%S+00:00").to_string(),
                wanted.as_str().unwrap(),
                "{expression}"
            );
        }
    }
}

#[test]
fn the_verdict_on_an_expression_is_the_one_recorded() {
    for case in vectors("schedule_expressions.json").unwrap_or_default() {
        let text = case["expr"].as_str().unwrap();
        let parsed = Expression::parse(text);
        assert_eq!(parsed.is_ok(), case["valid"].as_bool().unwrap(), "{text}: {parsed:?}");
        if let (Err(error), Some(message), "scheduler") =
            (parsed, case["message"].as_str(), case["service"].as_str().unwrap())
        {
            assert!(error.to_string().starts_with(message), "{error}");
        }
    }
}

#[test]
fn aws_cron_day_rules() {
    let after = "2026-01-30T12:00:00Z";
    check(
        "cron(0 9 L * ? *)",
        Tz::UTC,
        after,
        &["2026-01-31 09:00 Sat UTC", "2026-02-28 09:00 Sat UTC"],
    );
    check(
        "cron(0 9 LW * ? *)",
        Tz::UTC,
        after,
        &["2026-02-27 09:00 Fri UTC", "2026-03-31 09:00 Tue UTC"],
    );
    check(
        "cron(0 9 1W * ? *)",
        Tz::UTC,
        after,
        &["2026-02-02 09:00 Mon UTC", "2026-03-02 09:00 Mon UTC"],
    );
    // Saturday the 1st: the Friday before is in another month.
    check(
        "cron(0 9 1W * ? *)",
        Tz::UTC,
        "2026-07-31T12:00:00Z",
        &["2026-08-03 09:00 Mon UTC"],
    );
    check(
        "cron(0 9 28W 2 ? *)",
        Tz::UTC,
        after,
        &["2026-02-27 09:00 Fri UTC", "2027-02-26 09:00 Fri UTC"],
    );
    // February and April have no 31st, May's is a Sunday.
    check(
        "cron(0 9 31W * ? *)",
        Tz::UTC,
        after,
        &["2026-03-31 09:00 Tue UTC", "2026-05-29 09:00 Fri UTC"],
    );
    check(
        "cron(0 9 ? * 6L *)",
        Tz::UTC,
        after,
        &["2026-02-27 09:00 Fri UTC", "2026-03-27 09:00 Fri UTC"],
    );
    check("cron(0 9 ? * friL *)", Tz::UTC, after, &["2026-02-27 09:00 Fri UTC"]);
    check(
        "cron(0 9 ? * L *)",
        Tz::UTC,
        after,
        &["2026-01-31 09:00 Sat UTC", "2026-02-07 09:00 Sat UTC"],
    );
    check("cron(0 9 ? * 1 *)", Tz::UTC, after, &["2026-02-01 09:00 Sun UTC"]);
    check(
        "cron(0 9 ? * SAT#3 *)",
        Tz::UTC,
        after,
        &["2026-02-21 09:00 Sat UTC", "2026-03-21 09:00 Sat UTC"],
    );
    check(
        "cron(0 9 ? * 1#5 *)",
        Tz::UTC,
        after,
        &["2026-03-29 09:00 Sun UTC", "2026-05-31 09:00 Sun UTC"],
    );
    check(
        "cron(0 9 ? * MON-WED/2,7 *)",
        Tz::UTC,
        after,
        &[
            "2026-01-31 09:00 Sat UTC",
            "2026-02-02 09:00 Mon UTC",
            "2026-02-04 09:00 Wed UTC",
        ],
    );
    check(
        "cron(0 0 29 2 ? *)",
        Tz::UTC,
        after,
        &["2028-02-29 00:00 Tue UTC", "2032-02-29 00:00 Sun UTC"],
    );
    check(
        "cron(30 23 31 DEC ? 2198/1)",
        Tz::UTC,
        after,
        &["2198-12-31 23:30 Mon UTC", "2199-12-31 23:30 Tue UTC"],
    );
    check(
        "cron(0 0 1 1 ? 2150-2199/49)",
        Tz::UTC,
        after,
        &["2150-01-01 00:00 Thu UTC", "2199-01-01 00:00 Tue UTC"],
    );
}

#[test]
fn unix_cron() {
    let after = "2026-01-30T12:00:00Z";
    check(
        "*/20 * * * *",
        Tz::UTC,
        after,
        &[
            "2026-01-30 12:20 Fri UTC",
            "2026-01-30 12:40 Fri UTC",
            "2026-01-30 13:00 Fri UTC",
        ],
    );
    check("0 9 * * 1", Tz::UTC, after, &["2026-02-02 09:00 Mon UTC"]);
    for sunday in ["0", "7", "sun", "0,7"] {
        check(
            &format!("0 9 * * {sunday}"),
            Tz::UTC,
            after,
            &["2026-02-01 09:00 Sun UTC", "2026-02-08 09:00 Sun UTC"],
        );
    }
    check(
        "0 9 * * 5-7",
        Tz::UTC,
        after,
        &[
            "2026-01-31 09:00 Sat UTC",
            "2026-02-01 09:00 Sun UTC",
            "2026-02-06 09:00 Fri UTC",
        ],
    );
    check("0 9 * feb mon-fri", Tz::UTC, after, &["2026-02-02 09:00 Mon UTC"]);
    // Both day fields restricted: either may match. One that begins with a star restricts nothing by itself.
    check(
        "0 9 3 * 2",
        Tz::UTC,
        "2026-02-10T12:00:00Z",
        &[
            "2026-02-17 09:00 Tue UTC",
            "2026-02-24 09:00 Tue UTC",
            "2026-03-03 09:00 Tue UTC",
            "2026-03-10 09:00 Tue UTC",
        ],
    );
    check(
        "0 9 13 * 5",
        Tz::UTC,
        after,
        &["2026-02-06 09:00 Fri UTC", "2026-02-13 09:00 Fri UTC"],
    );
    check(
        "0 9 */2 * 2",
        Tz::UTC,
        after,
        &["2026-02-03 09:00 Tue UTC", "2026-02-17 09:00 Tue UTC"],
    );
}

#[test]
fn a_rate_counts_elapsed_time_and_at_comes_once() {
    check(
        "rate(1 day)",
        Tz::Europe__Paris,
        "2026-03-28T12:00:00Z",
        &["2026-03-29 14:00 Sun CEST"],
    );
    check(
        "rate(90 minutes)",
        Tz::UTC,
        "2026-03-28T12:00:00Z",
        &["2026-03-28 13:30 Sat UTC", "2026-03-28 15:00 Sat UTC"],
    );
    check(
        "at(2026-07-01T08:30:15)",
        Tz::Asia__Tokyo,
        "2026-01-01T00:00:00Z",
        &["2026-07-01 08:30 Wed JST"],
    );
    let at = Expression::parse("at(2026-07-01T08:30:15)").unwrap();
    assert_eq!(at.next_after(utc("2026-06-30T23:30:15Z"), Tz::Asia__Tokyo), None);
}

#[test]
fn the_clocks_go_forward() {
    let paris = Tz::Europe__Paris;
    let new_york = Tz::America__New_York;
    check(
        "cron(30 2 * * ? *)",
        paris,
        "2026-03-28T00:00:00Z",
        &["2026-03-28 02:30 Sat CET", "2026-03-30 02:30 Mon CEST"],
    );
    check(
        "30 2 * * *",
        new_york,
        "2026-03-07T00:00:00Z",
        &["2026-03-07 02:30 Sat EST", "2026-03-09 02:30 Mon EDT"],
    );
    check(
        "0 * * * *",
        paris,
        "2026-03-28T23:30:00Z",
        &["2026-03-29 01:00 Sun CET", "2026-03-29 03:00 Sun CEST"],
    );

    let slots = |expression: &str, zone: Tz, after: &str, count: usize| {
        let expression = Expression::parse(expression).unwrap();
        let mut at = utc(after);
        let mut slots = Vec::new();
        while slots.len() < count {
            let slot = expression.slot_after(at, zone).unwrap();
            at = slot.at();
            slots.push(match slot {
                Slot::Fires(at) => format!("{at:?}"),
                Slot::Gap(gap) => format!("{:?} gap {} x{}", gap.at, gap.first, gap.count),
            });
        }
        slots
    };
    assert_eq!(
        slots("30 2 * * *", paris, "2026-03-28T12:00:00Z", 2),
        [
            "2026-03-29T00:59:59Z gap 2026-03-29 02:30:00 x1",
            "2026-03-30T00:30:00Z"
        ]
    );
    assert_eq!(
        slots("*/15 * * * *", new_york, "2026-03-08T06:30:00Z", 3),
        [
            "2026-03-08T06:45:00Z",
            "2026-03-08T06:59:59Z gap 2026-03-08 02:00:00 x4",
            "2026-03-08T07:00:00Z"
        ]
    );
    // Each year's only slot lies in that year's gap: two gaps, not one.
    assert_eq!(
        slots("cron(30 2 ? 3 1L 2026-2027)", paris, "2026-01-01T00:00:00Z", 2),
        [
            "2026-03-29T00:59:59Z gap 2026-03-29 02:30:00 x1",
            "2027-03-28T00:59:59Z gap 2027-03-28 02:30:00 x1"
        ]
    );
    assert_eq!(
        slots("at(2026-03-29T02:15:00)", paris, "2026-01-01T00:00:00Z", 1),
        ["2026-03-29T00:59:59Z gap 2026-03-29 02:15:00 x1"]
    );
    let at = Expression::parse("at(2026-03-29T02:15:00)").unwrap();
    assert_eq!(at.next_after(utc("2026-01-01T00:00:00Z"), paris), None);
}

#[test]
fn the_clocks_go_back() {
    check(
        "30 2 * * *",
        Tz::Europe__Paris,
        "2026-10-24T12:00:00Z",
        &["2026-10-25 02:30 Sun CEST", "2026-10-26 02:30 Mon CET"],
    );
    check(
        "cron(30 1 * * ? *)",
        Tz::America__New_York,
        "2026-10-31T12:00:00Z",
        &["2026-11-01 01:30 Sun EDT", "2026-11-02 01:30 Mon EST"],
    );
    check(
        "0 * * * *",
        Tz::Europe__Paris,
        "2026-10-24T23:30:00Z",
        &["2026-10-25 02:00 Sun CEST", "2026-10-25 03:00 Sun CET"],
    );
    // Asked within the second pass: the slots of the hour had their turn.
    check(
        "*/10 * * * *",
        Tz::Europe__Paris,
        "2026-10-25T01:05:00Z",
        &["2026-10-25 03:00 Sun CET"],
    );
}

#[test]
fn the_end_and_the_beginning_of_time() {
    let every_minute = Expression::parse("* * * * *").unwrap();
    let first = every_minute
        .next_after(DateTime::<Utc>::MIN_UTC, Tz::Asia__Tokyo)
        .unwrap();
    assert_eq!(
        first.with_timezone(&Tz::Asia__Tokyo).naive_local(),
        NaiveDate::from_ymd_opt(1970, 1, 1).unwrap().into()
    );
    assert_eq!(every_minute.next_after(DateTime::<Utc>::MAX_UTC, Tz::UTC), None);
    assert_eq!(every_minute.next_after(utc("2199-12-31T23:59:00Z"), Tz::UTC), None);
    assert_eq!(
        Expression::parse("rate(1 day)")
            .unwrap()
            .next_after(DateTime::<Utc>::MAX_UTC, Tz::UTC),
        None
    );
    assert_eq!(
        Expression::parse("cron(0 0 31 2 ? *)")
            .unwrap()
            .next_after(DateTime::<Utc>::MIN_UTC, Tz::UTC),
        None
    );
}

#[test]
fn errors_name_the_field_and_what_it_takes() {
    for (text, details) in [
        (
            "cron(71 8 1 * ? *)",
            &["\"71\" is not allowed in the minutes field: use 0-59"][..],
        ),
        (
            "cron(0 24 ? * 8 *)",
            &[
                "\"24\" is not allowed in the hours field",
                "\"8\" is not allowed in the day-of-week field: use 1-7",
            ],
        ),
        (
            "cron(0 1 * * * *)",
            &["day-of-month and day-of-week cannot both count: write \"cron(0 1 * * ? *)\""],
        ),
        (
            "cron(0 1 * * MON *)",
            &["day-of-month and day-of-week cannot both count: write \"cron(0 1 ? * MON *)\""],
        ),
        (
            "cron(0 1 1 * MON *)",
            &["day-of-month and day-of-week cannot both count: write \"?\" in the one that does not count"],
        ),
        ("cron(0 1 ? * ? *)", &["day-of-month and day-of-week are both \"?\""]),
        (
            "cron(0 2 * * *)",
            &[
                "cron(...) has 5 fields, not six: with the year, as in AWS, write \"cron(0 2 * * ? *)\"; as Unix cron, write \"0 2 * * *\"",
            ],
        ),
        (
            "cron(0 2 * * 1-5)",
            &["write \"cron(0 2 ? * 1-5 *)\" (1 is Sunday); as Unix cron, write \"0 2 * * 1-5\" (1 is Monday)"],
        ),
        (
            "cron(0 0 12 ? * MON-FRI *)",
            &["cron(...) has 7 fields, not six: without seconds, write \"cron(0 12 ? * MON-FRI *)\""],
        ),
        ("cron(0 2 x * *)", &["has 5 fields, not six: use cron(minutes hours"]),
        ("cron()", &["cron(...) has 0 fields, not six"]),
        (
            "cron(*/60 * * * ? *)",
            &["\"*/60\" is not allowed in the minutes field"],
        ),
        ("cron(*/0 * * * ? *)", &["\"*/0\" is not allowed in the minutes field"]),
        (
            "cron(0 22-5 * * ? *)",
            &["the range \"22-5\" in the hours field runs backwards: write \"22-23,0-5\""],
        ),
        (
            "cron(0 2 ? * FRI-MON *)",
            &["the range \"FRI-MON\" in the day-of-week field runs backwards: write \"FRI-SAT,SUN-MON\""],
        ),
        ("cron(0 2 ? * SAT-SUN *)", &["runs backwards: write \"SAT,SUN\""]),
        ("cron(0 2 ? * 7-2 *)", &["runs backwards: write \"7,1-2\""]),
        ("cron(0 22-5/2 * * ? *)", &["runs backwards: write \"22,0,2,4\""]),
        ("0 2 * * fri-mon", &["runs backwards: write \"fri-SAT,SUN-mon\""]),
        (
            "cron(*5 * * * ? *)",
            &["\"*5\" is not allowed in the minutes field: use 0-59"],
        ),
        ("cron(0 ** * * ? *)", &["\"**\" is not allowed in the hours field"]),
        (
            "cron(0 2 ? * 3#1,6#3 *)",
            &["\"3#1\" is not allowed in the day-of-week field"],
        ),
        ("cron(0 2 ? * 3#6 *)", &["\"3#6\" is not allowed"]),
        (
            "cron(0 2 1,L * ? *)",
            &["\"L\" is not allowed in the day-of-month field"],
        ),
        (
            "cron(0 2 32W * ? *)",
            &["\"32W\" is not allowed in the day-of-month field"],
        ),
        (
            "cron(0 2 1,? * ? *)",
            &["\"?\" is not allowed in the day-of-month field"],
        ),
        (
            "cron(? 2 * * ? *)",
            &["\"?\" is not allowed in the minutes field: write \"*\""],
        ),
        (
            "cron(0 2 * MONDAY ? *)",
            &["\"MONDAY\" is not allowed in the month field: use 1-12 or JAN-DEC"],
        ),
        (
            "cron(0 2 * * ? 1969)",
            &["\"1969\" is not allowed in the year field: use 1970-2199"],
        ),
        ("cron(0 2 * * ? 2200)", &["\"2200\" is not allowed in the year field"]),
        ("cron(0,,5 2 * * ? *)", &["\"\" is not allowed in the minutes field"]),
        ("cron(é 2 * * ? *)", &["\"é\" is not allowed in the minutes field"]),
        (
            "rate(5 seconds)",
            &["the unit \"seconds\" is not known: schedules fire on whole minutes: use rate(1 minute)"],
        ),
        (
            "rate(2 weeks)",
            &["the unit \"weeks\" is not known: write rate(14 days)"],
        ),
        (
            "rate(2 months)",
            &["the unit \"months\" is not known: use rate(1 minute)"],
        ),
        (
            "rate(1 minutes)",
            &["the value 1 takes \"minute\": write rate(1 minute)"],
        ),
        ("rate(5 hour)", &["the value 5 takes \"hours\": write rate(5 hours)"]),
        ("rate(0 days)", &["the value must be at least 1"]),
        ("rate(+5 days)", &["the value \"+5\" is not a whole number"]),
        ("rate(5  days)", &["the unit \" days\" is not known"]),
        ("rate(99999999999999999999 days)", &["is too large"]),
        (
            "at(2021-12-31T23:59:59Z)",
            &["\"2021-12-31T23:59:59Z\" is not a date and time: use at(yyyy-mm-ddThh:mm:ss)"],
        ),
        ("at(2021-2-31T23:59:59)", &["is not a date and time"]),
        ("at(2016-12-31T23:59:60)", &["is not a date and time"]),
        (
            "0 2 * * ? *",
            &[
                "six fields can be read in two ways: with the year last, as in AWS, write \"cron(0 2 * * ? *)\"; \
                 with the seconds (0) first, write \"2 * * * *\": schedules fire on whole minutes",
            ],
        ),
        (
            "0 0 12 * * ?",
            &["six fields alone are no form of a schedule: with the seconds (0) first, write \"0 12 * * *\""],
        ),
        (
            "0 0 2 * * 1-5",
            &[
                "six fields alone are no form",
                "with the seconds (0) first, write \"0 2 * * 1-5\" (1 is Monday)",
            ],
        ),
        (
            "0 2 * * 1-5 2026",
            &["with the year last, as in AWS, write \"cron(0 2 ? * 1-5 2026)\" (1 is Sunday)"],
        ),
        (
            "0 2 * * * /bin/true",
            &["six fields alone are no form of a schedule: use cron(0 2 * * ? *), rate("],
        ),
        (
            "0 0 12 * * ? *",
            &["this is no form of a schedule: without seconds, write \"cron(0 12 * * ? *)\""],
        ),
        (
            "60 * * * 8",
            &[
                "\"60\" is not allowed in the minutes field",
                "\"8\" is not allowed in the day-of-week field: use 0-7",
            ],
        ),
        ("every day", &["this is no form of a schedule: use cron("]),
        ("* * * *", &["this is no form of a schedule: use cron("]),
        ("@reboot", &["this is no form of a schedule: use cron("]),
        ("", &["this is no form of a schedule: use cron("]),
        (
            "Rate(5 Minutes)",
            &["this is no form of a schedule: did you mean \"rate(5 minutes)\"?"],
        ),
        (" rate(5 minutes)", &["did you mean \"rate(5 minutes)\"?"]),
        ("every 5 minutes", &["did you mean \"rate(5 minutes)\"?"]),
        ("cron 0 2 * * ? *", &["did you mean \"cron(0 2 * * ? *)\"?"]),
        ("cron(0 2 ? * MON *", &["did you mean \"cron(0 2 ? * MON *)\"?"]),
        (
            " AT(2026-11-22T23:00:00)",
            &["did you mean \"at(2026-11-22T23:00:00)\"?"],
        ),
        ("@daily", &["did you mean \"0 0 * * *\"?"]),
        (
            "CRON_TZ=Europe/Paris 0 2 * * *",
            &["write \"0 2 * * *\", and \"timezone: Europe/Paris\" beside \"rate\""],
        ),
        (
            "0 2 L * ?",
            &[
                "\"L\" is not allowed in the day-of-month field",
                "\"L\" and \"W\" are AWS's, in cron(...)",
                "\"?\" is not allowed in the day-of-week field: write \"*\"",
            ],
        ),
    ] {
        let message = Expression::parse(text).expect_err(text).to_string();
        assert!(
            message.starts_with(&format!("Invalid Schedule Expression {text}. ")),
            "{message}"
        );
        for detail in details {
            assert!(message.contains(detail), "{message}\n  lacks: {detail}");
        }
    }
}
