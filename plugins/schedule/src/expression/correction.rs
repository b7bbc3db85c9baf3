//! What somebody meant who wrote something near a legal expression.
//!
//! Only what is legal is suggested.

use super::Expression;

const MACROS: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// The expression that is meant by a text which has none of the forms: with spaces around, capitals, no parentheses, one of
/// cron's macros.
pub(super) fn of_text(text: &str) -> Option<String> {
    let given = text;
    let text = text.trim();
    let lower = text.to_ascii_lowercase();
    let of_macro = MACROS.iter().find(|(name, _)| *name == lower);
    let in_form = |form: &str| {
        let begin = lower.strip_prefix(form).map(|_| form.len())?;
        let body = text
            .get(begin..)?
            .trim()
            .trim_start_matches('(')
            .trim_end_matches(')')
            .trim();
        let body = if form == "rate" {
            body.to_ascii_lowercase()
        } else {
            body.to_owned()
        };
        Some(format!("{form}({body})"))
    };
    let as_rate = lower.strip_prefix("every ").unwrap_or(&lower);
    let candidates = [
        of_macro.map(|(_, meaning)| (*meaning).to_owned()),
        Some(text.to_owned()),
        ["cron", "rate", "at"].into_iter().find_map(in_form),
        Some(format!("rate({as_rate})")),
    ];
    candidates
        .into_iter()
        .flatten()
        .find(|candidate| candidate != given && is_legal(candidate))
}

/// `zone` and `expression` of `TZ=zone expression`, as some cron programs have it.
pub(super) fn of_zoned(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix("CRON_").unwrap_or(text).strip_prefix("TZ=")?;
    text.split_once(' ').filter(|(_, expression)| is_legal(expression))
}

/// How to write six fields that stand alone: the year may be last, as in AWS, or the seconds first, as in Quartz.
pub(super) fn of_six(parts: [&str; 6]) -> Vec<String> {
    let [seconds, unix @ ..] = parts;
    let readings = [
        aws(parts).map(|aws| {
            format!(
                "with the year last, as in AWS, write \"{aws}\"{}",
                note(&parts, 4, "Sunday")
            )
        }),
        self::unix(unix).map(|unix| {
            format!(
                "with the seconds ({seconds}) first, write \"{unix}\"{}: schedules fire on whole minutes",
                note(&parts, 5, "Monday")
            )
        }),
    ];
    readings.into_iter().flatten().collect()
}

/// How to write five fields that stand in `cron(...)`.
pub(super) fn of_five_in_cron(parts: [&str; 5]) -> Vec<String> {
    let [minutes, hours, day_of_month, month, day_of_week] = parts;
    let readings = [
        aws([minutes, hours, day_of_month, month, day_of_week, "*"])
            .map(|aws| format!("with the year, as in AWS, write \"{aws}\"{}", note(&parts, 4, "Sunday"))),
        unix(parts).map(|unix| format!("as Unix cron, write \"{unix}\"{}", note(&parts, 4, "Monday"))),
    ];
    readings.into_iter().flatten().collect()
}

/// AWS's form of six fields, with `?` in the day field that does not count.
pub(super) fn aws(parts: [&str; 6]) -> Option<String> {
    let [minutes, hours, day_of_month, month, day_of_week, year] = parts;
    let (day_of_month, day_of_week) = match (day_of_month, day_of_week) {
        ("?", "?") => ("*", "?"),
        ("?", _) | (_, "?") => (day_of_month, day_of_week),
        (_, "*") => (day_of_month, "?"),
        ("*", _) => ("?", day_of_week),
        _ => return None,
    };
    Some(format!(
        "cron({minutes} {hours} {day_of_month} {month} {day_of_week} {year})"
    ))
    .filter(|text| is_legal(text))
}

/// Five fields as Unix cron, which has no `?`.
fn unix(parts: [&str; 5]) -> Option<String> {
    Some(parts.map(|part| if part == "?" { "*" } else { part }).join(" ")).filter(|text| is_legal(text))
}

/// Which day is 1, where it matters: AWS and Unix differ.
fn note(parts: &[&str], day_of_week: usize, first: &str) -> String {
    match parts.get(day_of_week) {
        Some(field) if field.starts_with(|c: char| c.is_ascii_digit()) => format!(" (1 is {first})"),
        _ => String::new(),
    }
}

fn is_legal(text: &str) -> bool {
    Expression::parse(text).is_ok()
}
