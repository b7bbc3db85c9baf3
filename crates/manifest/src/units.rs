//! Durations, sizes and counts, each with the range that AWS allows.

use std::borrow::Cow;
use std::time::Duration;

use hikigane_trigger::{NotADuration, duration_schema, parse_duration, show_duration};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::diagnostic::Problems;
use crate::section::{FromNode, mismatch, variable_schema};
use crate::suggestion::quote;
use crate::yaml::{Kind, Node, Scalar};

/// Whole seconds from `MIN` to `MAX`: a plain number, or numbers with units (`30s`, `5m`, `1h30m`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seconds<const MIN: u32, const MAX: u32>(pub(crate) u32);

impl<const MIN: u32, const MAX: u32> Seconds<MIN, MAX> {
    pub(crate) fn duration(self) -> Duration {
        Duration::from_secs(self.0.into())
    }
}

impl<const MIN: u32, const MAX: u32> FromNode for Seconds<MIN, MAX> {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        const FORMS: &str = "write seconds (`30`), or numbers with units: `30s`, `5m`, `1h`";
        let Some(scalar) = numeric(node) else {
            return mismatch(node, "a duration", FORMS, problems);
        };
        let text = scalar.text.as_str();
        let duration = match parse_duration(text) {
            Ok(duration) => duration,
            // One that is none here, however it is written.
            Err(NotADuration { meant: Some(meant) }) if meant.subsec_nanos() != 0 => meant,
            Err(error) => {
                problems
                    .error(node.span, format!("{} is {error}", quote(text)))
                    .help(error.help());
                return None;
            }
        };
        if duration.subsec_nanos() != 0 {
            problems
                .error(node.span, format!("{} is not a whole number of seconds", quote(text)))
                .help(FORMS);
            return None;
        }
        let show = |seconds: u32| show_duration(Duration::from_secs(seconds.into()));
        let range = || format!("{} to {}", show(MIN), show(MAX));
        in_range(duration.as_secs(), MIN, MAX, range, node, problems).map(Self)
    }
}

impl<const MIN: u32, const MAX: u32> JsonSchema for Seconds<MIN, MAX> {
    fn schema_name() -> Cow<'static, str> {
        format!("Seconds {MIN} to {MAX}").into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [duration_schema(MIN, MAX), variable_schema()]})
    }
}

/// Megabytes (of 1,048,576 bytes, as AWS counts) from `MIN` to `MAX`: a plain number, `256MB` or `1GB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Megabytes<const MIN: u32, const MAX: u32>(pub(crate) u32);

impl<const MIN: u32, const MAX: u32> FromNode for Megabytes<MIN, MAX> {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        const FORMS: &str = "write megabytes (`256`), `256MB` or `1GB`";
        let Some(scalar) = numeric(node) else {
            return mismatch(node, "a size", FORMS, problems);
        };
        let Some(megabytes) = megabytes(&scalar.text) else {
            problems
                .error(node.span, format!("{} is not a size", quote(&scalar.text)))
                .help(FORMS);
            return None;
        };
        in_range(megabytes, MIN, MAX, || format!("{MIN} to {MAX} MB"), node, problems).map(Self)
    }
}

impl<const MIN: u32, const MAX: u32> JsonSchema for Megabytes<MIN, MAX> {
    fn schema_name() -> Cow<'static, str> {
        format!("Megabytes {MIN} to {MAX}").into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [
            {"type": "integer", "minimum": MIN, "maximum": MAX},
            {"type": "string", "pattern": "^[0-9]+(MB|GB)?$"},
            variable_schema(),
        ]})
    }
}

/// A whole number from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count<const MIN: u32, const MAX: u32>(pub(crate) u32);

impl<const MIN: u32, const MAX: u32> FromNode for Count<MIN, MAX> {
    fn from_node(node: &Node, problems: &mut Problems) -> Option<Self> {
        const HELP: &str = "write digits only, without quotes";
        let number = node.scalar().and_then(|scalar| match &scalar.kind {
            Kind::Number(number) => number.as_u64(),
            _ if scalar.interpolated => scalar.text.parse().ok(),
            _ => None,
        });
        match number {
            Some(number) => in_range(number, MIN, MAX, || format!("{MIN} to {MAX}"), node, problems).map(Self),
            None => mismatch(node, &format!("a whole number from {MIN} to {MAX}"), HELP, problems),
        }
    }
}

impl<const MIN: u32, const MAX: u32> JsonSchema for Count<MIN, MAX> {
    fn schema_name() -> Cow<'static, str> {
        format!("Count {MIN} to {MAX}").into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [{"type": "integer", "minimum": MIN, "maximum": MAX}, variable_schema()]})
    }
}

/// A scalar that may hold a number with a unit.
fn numeric(node: &Node) -> Option<&Scalar> {
    node.scalar()
        .filter(|scalar| matches!(scalar.kind, Kind::Number(_) | Kind::Text))
}

fn in_range(
    value: u64,
    min: u32,
    max: u32,
    range: impl Fn() -> String,
    node: &Node,
    problems: &mut Problems,
) -> Option<u32> {
    match u32::try_from(value) {
        Ok(value) if (min..=max).contains(&value) => Some(value),
        _ => {
            let text = node.scalar().map(|scalar| scalar.text.as_str()).unwrap_or_default();
            problems
                .error(node.span, format!("{} is out of range", quote(text)))
                .help(format!("AWS Lambda allows {}", range()));
            None
        }
    }
}

fn megabytes(text: &str) -> Option<u64> {
    if let Some(gigabytes) = text.strip_suffix("GB") {
        return number(gigabytes.trim_end()).ok()?.checked_mul(1_024);
    }
    number(text.strip_suffix("MB").map_or(text, str::trim_end)).ok()
}

/// Digits only: no sign.
fn number(text: &str) -> Result<u64, ()> {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        text.parse().map_err(|_| ())
    } else {
        Err(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("256", Some(256)),
            ("256MB", Some(256)),
            ("256 MB", Some(256)),
            ("1GB", Some(1_024)),
            ("", None),
            ("MB", None),
            ("1.5GB", None),
            ("-1", None),
            ("256mb", None),
            ("256M", None),
            ("99999999999999999GB", None),
        ] {
            assert_eq!(megabytes(text), expected, "{text}");
        }
    }
}
