//! What `hikigane up` prints about a schedule.

use chrono::{DateTime, FixedOffset, Local, Offset, TimeZone, Utc};
use chrono_tz::Tz;
use hikigane_trigger::Announcement;

use crate::schedule::Schedule;

/// The schedule's line: its binding, its expression, and when it fires next after `now`.
pub(crate) fn announce(schedule: &Schedule, now: DateTime<Utc>) -> Announcement {
    let binding = schedule.binding();
    let next = match schedule.next_after(now) {
        Some(at) => {
            let here = Local.offset_from_utc_datetime(&at.naive_utc()).fix();
            format!("next {}", local_and_own(at, binding.timezone, here))
        }
        None => "does not fire any more".to_owned(),
    };
    Announcement {
        label: "schedule",
        text: format!("{}  {}  {next}", binding.id, binding.expression),
        example: None,
    }
}

/// A time as clocks show it here, and, when they show another time there, in the schedule's zone.
fn local_and_own(at: DateTime<Utc>, zone: Tz, here: FixedOffset) -> String {
    const FORMAT: &str = "%a %Y-%m-%d %H:%M:%S";
    let there = at.with_timezone(&zone);
    let name = if zone == Tz::UTC {
        String::new()
    } else {
        format!(" ({zone})")
    };
    let own = format!("{} {}{name}", there.format(FORMAT), there.format("%Z"));
    if there.offset().fix() == here {
        own
    } else {
        format!(
            "{}, which is {own}",
            at.with_timezone(&here).format(&format!("{FORMAT} %:z"))
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn the_local_time_comes_first_and_the_own_one_only_when_it_differs() {
        let at: DateTime<Utc> = "2026-11-22T22:00:00Z".parse().unwrap();
        let hours = |hours: i32| FixedOffset::east_opt(hours * 3600).unwrap();
        for (zone, here, text) in [
            (
                Tz::Europe__Paris,
                hours(1),
                "Sun 2026-11-22 23:00:00 CET (Europe/Paris)",
            ),
            (
                Tz::Europe__Paris,
                hours(-5),
                "Sun 2026-11-22 17:00:00 -05:00, which is Sun 2026-11-22 23:00:00 CET (Europe/Paris)",
            ),
            (Tz::UTC, hours(0), "Sun 2026-11-22 22:00:00 UTC"),
            (
                Tz::UTC,
                hours(9),
                "Mon 2026-11-23 07:00:00 +09:00, which is Sun 2026-11-22 22:00:00 UTC",
            ),
        ] {
            assert_eq!(local_and_own(at, zone, here), text);
        }
    }
}
