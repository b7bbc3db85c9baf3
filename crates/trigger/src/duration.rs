//! Durations, as the whole manifest writes them.

use std::time::Duration;

use schemars::{Schema, json_schema};

const FORMS: &str = "write seconds (`30`), or numbers with units: `500ms`, `30s`, `5m`, `6h`";

/// A text that is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a duration")]
pub struct NotADuration {
    /// What it probably means.
    pub meant: Option<Duration>,
}

impl NotADuration {
    /// What to write instead.
    pub fn help(&self) -> String {
        match self.meant {
            Some(meant) => format!("did you mean `{}`?", show_duration(meant)),
            None => FORMS.to_owned(),
        }
    }
}

/// Reads a duration: `30` (seconds), or numbers with the units `ms`, `s`, `m`, `h`, `d` one after the other.
///
/// # Errors
///
/// It is none; the error knows what to write instead.
pub fn parse_duration(text: &str) -> Result<Duration, NotADuration> {
    strict(text).ok_or_else(|| NotADuration { meant: meant(text) })
}

/// The shortest way to write it, in one unit.
pub fn show_duration(duration: Duration) -> String {
    if duration.subsec_nanos() != 0 {
        return format!("{}ms", duration.as_millis());
    }
    match duration.as_secs() {
        seconds if seconds >= 3_600 && seconds % 3_600 == 0 => format!("{}h", seconds / 3_600),
        seconds if seconds >= 60 && seconds % 60 == 0 => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}

/// JSON Schema of a duration; the range, in seconds, is of the plain numbers.
pub fn duration_schema(min: u32, max: u32) -> Schema {
    json_schema!({"anyOf": [
        {"type": "integer", "minimum": min, "maximum": max},
        {"type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))+$|^[0-9]+$"},
    ]})
}

fn strict(text: &str) -> Option<Duration> {
    if let Some(seconds) = number(text) {
        return Some(Duration::from_secs(seconds));
    }
    let mut total = None::<Duration>;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let value = number(&rest[..digits])?;
        let unit_end = rest[digits..]
            .find(|c: char| c.is_ascii_digit())
            .map_or(rest.len(), |end| digits + end);
        let part = match &rest[digits..unit_end] {
            "ms" => Duration::from_millis(value),
            unit => Duration::from_secs(value.checked_mul(seconds_of(unit)?)?),
        };
        total = Some(total.unwrap_or_default().checked_add(part)?);
        rest = &rest[unit_end..];
    }
    total
}

/// Digits only: no sign.
fn number(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

fn seconds_of(unit: &str) -> Option<u64> {
    match unit {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3_600),
        "d" => Some(86_400),
        _ => None,
    }
}

/// What people write elsewhere: one number, with a fraction, a space or a word: `1.5s`, `500 ms`, `5 minutes`.
fn meant(text: &str) -> Option<Duration> {
    let text = text.trim().to_lowercase();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let seconds = match unit.trim() {
        "ms" | "msec" | "millis" | "millisecond" | "milliseconds" => 0.001,
        "" | "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600.0,
        "d" | "day" | "days" => 86_400.0,
        _ => return None,
    };
    // What is written must be found: no fraction of a millisecond, and no number that was rounded.
    let millis = (number.parse::<f64>().ok()? * seconds * 1_000.0).round();
    let sound = (1.0..1e12).contains(&millis);
    sound.then(|| Duration::from_secs_f64(millis / 1_000.0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("30", Some(30_000)),
            ("30s", Some(30_000)),
            ("5m", Some(300_000)),
            ("1h30m", Some(5_400_000)),
            ("500ms", Some(500)),
            ("1d", Some(86_400_000)),
            ("0", Some(0)),
            ("", None),
            ("s", None),
            ("1.5h", None),
            ("-1s", None),
            ("+1", None),
            ("30 s", None),
            ("30sec", None),
            ("5M", None),
            ("1h30", None),
            ("99999999999999999999s", None),
            ("18446744073709551615d", None),
        ] {
            assert_eq!(parse_duration(text).ok(), millis.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn what_was_meant_is_suggested() {
        for (text, meant) in [
            ("500 ms", "500ms"),
            ("0.05", "50ms"),
            ("1.5s", "1500ms"),
            ("1.5h", "90m"),
            ("5 minutes", "5m"),
            ("5M", "5m"),
            (" 2 Hours", "2h"),
            ("30sec", "30s"),
            ("2 days", "48h"),
        ] {
            let help = parse_duration(text).unwrap_err().help();
            assert_eq!(help, format!("did you mean `{meant}`?"), "{text}");
            assert!(parse_duration(meant).is_ok());
        }
        for text in [
            "",
            "soon",
            "-1",
            "1h30",
            "1e3",
            "1.2.3s",
            "99999999999999999999s",
            "0.00001",
        ] {
            assert_eq!(parse_duration(text).unwrap_err().help(), FORMS, "{text}");
        }
    }
}
