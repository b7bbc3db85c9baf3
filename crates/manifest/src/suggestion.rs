//! Words in messages: the nearest known word, and quotation.

/// No candidate is longer, and the distance is quadratic.
const LONGEST: usize = 64;

/// From so many characters on, what one word begins with may be the other: `sched`, `httpApi`.
const BEGINNING: usize = 4;

/// The candidate that `word` was probably meant to be.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LONGEST {
        return None;
    }
    let lower = word.to_lowercase();
    let mut near: Vec<(usize, &str)> = Vec::new();
    let mut beginnings = Vec::new();
    for candidate in candidates {
        let known = candidate.to_lowercase();
        let distance = strsim::damerau_levenshtein(&lower, &known);
        if distance <= word.len().max(candidate.len()) / 3 {
            near.push((distance, candidate));
        } else if lower.len().min(known.len()) >= BEGINNING && (known.starts_with(&lower) || lower.starts_with(&known))
        {
            beginnings.push(candidate);
        }
    }
    match (
        near.into_iter().min_by_key(|(distance, _)| *distance),
        beginnings.as_slice(),
    ) {
        (Some((_, candidate)), _) => Some(candidate),
        (None, [only]) => Some(only),
        (None, _) => None,
    }
}

/// "did you mean `x`?", or the list of what there is.
pub(crate) fn suggest(word: &str, what: &str, candidates: &[&str]) -> String {
    match nearest(word, candidates.iter().copied()) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None => format!("{what}: {}", list(candidates)),
    }
}

/// The words, quoted and separated by commas.
pub(crate) fn list(words: &[&str]) -> String {
    words
        .iter()
        .map(|word| format!("`{word}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// `text` between back quotes, on one line, shortened.
pub(crate) fn quote(text: &str) -> String {
    const SHOWN: usize = 60;
    let mut shown = String::from("`");
    for (n, c) in text.chars().enumerate() {
        if n == SHOWN {
            shown.push('…');
            break;
        }
        if c.is_control() {
            shown.extend(c.escape_default())
        } else {
            shown.push(c)
        }
    }
    shown.push('`');
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_words() {
        let words = ["timeout", "memory", "env", "events"];
        for (word, expected) in [
            ("timout", Some("timeout")),
            ("TIMEOUT", Some("timeout")),
            ("tiemout", Some("timeout")),
            ("event", Some("events")),
            ("evn", Some("env")),
            ("timeoutSeconds", Some("timeout")),
            ("memo", Some("memory")),
            ("e", None),
            ("banana", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, words), expected, "{word}");
        }
        assert_eq!(nearest(&"timeout".repeat(100), words), None);
    }

    #[test]
    fn quotes_stay_on_one_line() {
        assert_eq!(quote("a\nb"), "`a\\nb`");
        assert_eq!(quote(&"é".repeat(100)), format!("`{}…`", "é".repeat(60)));
    }
}
