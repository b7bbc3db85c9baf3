//! What a plain scalar means: YAML 1.2's core schema, without the spellings that other readers of YAML take differently.

use serde_json::Number;

use super::Kind;
use crate::suggestion::quote;

/// A scalar that is refused, and what to write instead.
pub(super) struct Refusal {
    pub(super) message: String,
    pub(super) help: String,
}

/// The meaning of a plain (unquoted) scalar (YAML 1.2.2, section 10.3.2).
pub(super) fn resolve(text: &str) -> Result<Kind, Refusal> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Kind::Null),
        "true" | "True" | "TRUE" => return Ok(Kind::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Kind::Bool(false)),
        _ => {}
    }
    if let Some(boolean) = old_boolean(text) {
        return Err(Refusal {
            message: format!(
                "{} is a boolean to some readers of YAML and text to others",
                quote(text)
            ),
            help: format!("write {boolean}, or \"{text}\" for the text"),
        });
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned.len() > 1 && unsigned.starts_with('0') && unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Refusal {
            message: format!("{} looks like an octal number", quote(text)),
            help: format!("write the number without leading zeros, or \"{text}\" for the text"),
        });
    }
    let number = match integer(text) {
        Some(number) => number,
        None if is_float(unsigned) => text.parse().ok().and_then(Number::from_f64),
        None => return Ok(Kind::Text),
    };
    number.map(Kind::Number).ok_or_else(|| Refusal {
        message: format!("{} is not a number that JSON can hold", quote(text)),
        help: format!("write \"{}\" for the text", text.chars().take(40).collect::<String>()),
    })
}

/// YAML 1.1's other words for true and false.
fn old_boolean(text: &str) -> Option<bool> {
    match text {
        "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// `None`: not an integer; `Some(None)`: one that does not fit.
fn integer(text: &str) -> Option<Option<Number>> {
    let all = |digits: &str, radix| !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    let unsigned = |digits, radix| Some(u64::from_str_radix(digits, radix).ok().map(Number::from));
    match (text.strip_prefix("0x"), text.strip_prefix("0o")) {
        (Some(digits), _) => all(digits, 16).then(|| unsigned(digits, 16)).flatten(),
        (_, Some(digits)) => all(digits, 8).then(|| unsigned(digits, 8)).flatten(),
        _ => match text.strip_prefix('-') {
            Some(digits) => all(digits, 10).then(|| text.parse::<i64>().ok().map(Number::from)),
            None => {
                let digits = text.strip_prefix('+').unwrap_or(text);
                all(digits, 10).then(|| unsigned(digits, 10)).flatten()
            }
        },
    }
}

/// `(\. [0-9]+ | [0-9]+ (\. [0-9]*)?) ([eE] [-+]? [0-9]+)?`, infinities and not-a-number.
fn is_float(unsigned: &str) -> bool {
    if matches!(unsigned, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let mantissa = match mantissa.split_once('.') {
        Some(("", fraction)) => digits(fraction),
        Some((whole, fraction)) => digits(whole) && (fraction.is_empty() || digits(fraction)),
        None => digits(mantissa),
    };
    mantissa && exponent.is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn core_schema() {
        let number = |json: &str| Kind::Number(json.parse().unwrap());
        for (text, expected) in [
            ("", Kind::Null),
            ("~", Kind::Null),
            ("null", Kind::Null),
            ("true", Kind::Bool(true)),
            ("FALSE", Kind::Bool(false)),
            ("tRUE", Kind::Text),
            ("0", number("0")),
            ("-0", number("0")),
            ("42", number("42")),
            ("+42", number("42")),
            ("-42", number("-42")),
            ("18446744073709551615", number("18446744073709551615")),
            ("0x1F", number("31")),
            ("0o17", number("15")),
            ("1.5", number("1.5")),
            ("-1.5e3", number("-1500.0")),
            (".5", number("0.5")),
            ("5.", number("5.0")),
            ("1e3", number("1000.0")),
            ("1_000", Kind::Text),
            ("0x", Kind::Text),
            ("0xg", Kind::Text),
            ("1.2.3", Kind::Text),
            ("2026-11-22", Kind::Text),
            ("12:30", Kind::Text),
            ("y", Kind::Text),
            ("-", Kind::Text),
            (".", Kind::Text),
            ("e", Kind::Text),
            ("1e", Kind::Text),
            ("Infinity", Kind::Text),
        ] {
            assert_eq!(resolve(text).ok(), Some(expected), "{text}");
        }
    }

    #[test]
    fn refused() {
        for text in [
            "yes",
            "No",
            "on",
            "OFF",
            "010",
            "0755",
            "-07",
            "00",
            "18446744073709551616",
            "-9223372036854775809",
            ".inf",
            "-.inf",
            ".nan",
            "1e999",
        ] {
            assert!(resolve(text).is_err(), "{text}");
        }
    }
}
