//! "Did you mean": the nearest known word.

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
}
