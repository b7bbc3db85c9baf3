//! Variables in scalars: `${env:NAME}`, `${env:NAME, 'default'}` and `${dir}`. `$${` is a plain `${`.

use std::ops::Range;

use crate::suggestion::quote;

/// A variable that cannot be replaced.
#[derive(Debug, PartialEq)]
pub(super) struct Mistake {
    /// Its bytes in the scalar's text.
    pub(super) place: Range<usize>,
    pub(super) message: String,
    pub(super) help: String,
}

/// What variables stand for.
#[derive(Clone, Copy)]
pub(crate) struct Variables<'a> {
    /// The environment variables of the program that reads the manifest.
    pub(crate) env: &'a dyn Fn(&str) -> Option<String>,
    /// The manifest's directory, absolute.
    pub(crate) dir: &'a str,
}

/// Replaces the variables of `text`. Every mistake is reported, not just the first.
pub(super) fn interpolate(text: &str, variables: Variables) -> Result<String, Vec<Mistake>> {
    let mut out = String::with_capacity(text.len());
    let mut mistakes = Vec::new();
    let mut at = 0;
    while let Some(found) = text[at..].find("${") {
        let open = at + found;
        if text[at..open].ends_with('$') {
            out.push_str(&text[at..open]);
            out.push('{');
            at = open + 2;
            continue;
        }
        out.push_str(&text[at..open]);
        let inside = &text[open + 2..];
        let Some(length) = closing_brace(inside) else {
            mistakes.push(Mistake {
                place: open..text.len(),
                message: "`${` is not closed".to_owned(),
                help: "add the `}`, or write `$${` for a plain `${`".to_owned(),
            });
            at = text.len();
            break;
        };
        let close = open + 2 + length;
        at = close + 1;
        match variable(&inside[..length], variables) {
            Ok(value) => out.push_str(&value),
            Err((message, help)) => mistakes.push(Mistake {
                place: open..at,
                message,
                help,
            }),
        }
    }
    out.push_str(&text[at..]);
    if mistakes.is_empty() { Ok(out) } else { Err(mistakes) }
}

/// The first `}` outside quotes.
fn closing_brace(inside: &str) -> Option<usize> {
    let mut quoted_by = None;
    for (at, c) in inside.char_indices() {
        match (quoted_by, c) {
            (None, '}') => return Some(at),
            (None, '\'' | '"') => quoted_by = Some(c),
            (Some(quote), c) if quote == c => quoted_by = None,
            _ => {}
        }
    }
    None
}

fn variable(inside: &str, variables: Variables) -> Result<String, (String, String)> {
    const FORMS: &str = "write `${env:NAME}`, `${env:NAME, 'default'}` or `${dir}`, or `$${` for a plain `${`";
    if inside == "dir" {
        return Ok(variables.dir.to_owned());
    }
    let Some(rest) = inside.strip_prefix("env:") else {
        return Err(if inside.starts_with("secret:") {
            (
                "`${secret:...}` is not supported yet".to_owned(),
                "use `${env:NAME}`".to_owned(),
            )
        } else if let Some((name, default)) = inside.split_once(":-").filter(|(name, _)| is_name(name)) {
            (
                format!("{} is not a variable", quote(&format!("${{{inside}}}"))),
                format!("write `${{env:{name}, '{default}'}}`"),
            )
        } else if is_name(inside) {
            let help = format!("write `${{env:{inside}}}`, or `$${{{inside}}}` for the text itself");
            (format!("{} is not a variable", quote(&format!("${{{inside}}}"))), help)
        } else {
            (
                format!("{} is not a variable", quote(&format!("${{{inside}}}"))),
                FORMS.to_owned(),
            )
        });
    };
    let (name, default) = match rest.split_once(',') {
        Some((name, default)) => (name.trim(), Some(default.trim())),
        None => (rest.trim(), None),
    };
    if !is_name(name) {
        return Err((
            format!("{} is not the name of an environment variable", quote(name)),
            FORMS.to_owned(),
        ));
    }
    match ((variables.env)(name), default) {
        (Some(value), _) => Ok(value),
        (None, Some(default)) => unquote(default).map(str::to_owned).ok_or_else(|| {
            (
                format!("the default {} is not closed by its quote", quote(default)),
                FORMS.to_owned(),
            )
        }),
        (None, None) => Err((
            format!("the environment variable `{name}` is not set"),
            format!("set it, or give a default: `${{env:{name}, 'default'}}`"),
        )),
    }
}

fn is_name(text: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !text.is_empty() && !text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(legal)
}

/// The text between quotes, or all of it when it has none; `None` when the quotes do not match.
fn unquote(text: &str) -> Option<&str> {
    for quote in ['\'', '"'] {
        if let Some(rest) = text.strip_prefix(quote) {
            return rest.strip_suffix(quote).filter(|inside| !inside.contains(quote));
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("example.com".to_owned()),
            "EMPTY" => Some(String::new()),
            "LOOP" => Some("${env:LOOP}".to_owned()),
            _ => None,
        }
    }

    const VARIABLES: Variables = Variables {
        env: &env,
        dir: "/srv/project",
    };

    #[test]
    fn replaces() {
        for (text, expected) in [
            ("plain", "plain"),
            ("cost: $5 {x}", "cost: $5 {x}"),
            ("${env:HOST}", "example.com"),
            ("http://${env:HOST}:80/${env:HOST}", "http://example.com:80/example.com"),
            ("${env:NONE, 'a, }b'}", "a, }b"),
            ("${env:NONE, \"x\"}", "x"),
            ("${env:NONE,x y}", "x y"),
            ("${env:NONE, ''}", ""),
            ("${env:NONE,}", ""),
            ("${env:HOST, 'unused'}", "example.com"),
            ("${env:EMPTY, 'unused'}", ""),
            ("${env:LOOP}", "${env:LOOP}"),
            ("$${env:HOST}", "${env:HOST}"),
            ("$${a} ${env:HOST}", "${a} example.com"),
            ("${dir}/inbox", "/srv/project/inbox"),
        ] {
            assert_eq!(interpolate(text, VARIABLES), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn refuses_each_with_its_place() {
        for (text, expected) in [
            ("x ${env:NONE} ${env:ALSO}", vec!["${env:NONE}", "${env:ALSO}"]),
            ("${env:HOST", vec!["${env:HOST"]),
            ("${self:custom.x}", vec!["${self:custom.x}"]),
            ("${HOST}", vec!["${HOST}"]),
            ("${HOST:-x}", vec!["${HOST:-x}"]),
            ("${secret:erp}", vec!["${secret:erp}"]),
            ("${env:}", vec!["${env:}"]),
            ("${env:1}", vec!["${env:1}"]),
            ("${env:NONE, 'a'b'}", vec!["${env:NONE, 'a'b'}"]),
            ("${}", vec!["${}"]),
        ] {
            let mistakes = interpolate(text, VARIABLES).err().unwrap_or_default();
            let places: Vec<&str> = mistakes.iter().map(|mistake| &text[mistake.place.clone()]).collect();
            assert_eq!(places, expected, "{text}");
        }
    }
}
