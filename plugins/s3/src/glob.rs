//! Ignore patterns: `*` and `?` against one path component.

use crate::key::ObjectKey;

/// What is not an object unless the settings say otherwise: uploads under way, and hidden files.
pub(crate) const DEFAULT_IGNORE: [&str; 2] = ["*.part", ".*"];

/// The patterns of a bucket. A path is ignored when any of its components matches any of them.
#[derive(Debug, Clone)]
pub(crate) struct Ignore(Vec<Vec<char>>);

impl Ignore {
    pub(crate) fn new<T: AsRef<str>>(patterns: impl IntoIterator<Item = T>) -> Self {
        Self(
            patterns
                .into_iter()
                .map(|pattern| pattern.as_ref().chars().collect())
                .collect(),
        )
    }

    pub(crate) fn covers(&self, key: &ObjectKey) -> bool {
        key.components().any(|name| self.covers_name(name))
    }

    pub(crate) fn covers_name(&self, name: &[u8]) -> bool {
        let name: Vec<char> = String::from_utf8_lossy(name).chars().collect();
        self.0.iter().any(|pattern| matches(pattern, &name))
    }
}

/// Matches with one level of backtracking: after a mismatch the last `*` takes one character more.
/// Time is at most the product of the two lengths, whatever the pattern.
fn matches(pattern: &[char], name: &[char]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut last_star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                last_star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match last_star {
                None => return false,
                Some((star, taken)) => {
                    last_star = Some((star, taken + 1));
                    p = star + 1;
                    n = taken + 1;
                }
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_components() {
        let cases = [
            ("*.part", "a.part", true),
            ("*.part", ".part", true),
            ("*.part", "a.partial", false),
            (".*", ".git", true),
            (".*", "a.b", false),
            ("a?c", "abc", true),
            ("a?c", "a\u{e4}c", true),
            ("a?c", "ac", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("~$*", "~$report.xlsx", true),
            ("a*", "a", true),
            ("", "a", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(
                Ignore::new([pattern]).covers_name(name.as_bytes()),
                expected,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn an_ignored_directory_hides_what_is_in_it() {
        let ignore = Ignore::new(DEFAULT_IGNORE);
        for (key, expected) in [
            (".git/config", true),
            ("a/.tmp/b", true),
            ("a/b.part", true),
            ("a/b.csv", false),
        ] {
            assert_eq!(ignore.covers(&ObjectKey::from(key)), expected, "{key}");
        }
    }

    #[test]
    fn a_hostile_pattern_is_not_slow() {
        let pattern = "*a".repeat(200) + "b";
        assert!(!Ignore::new([pattern]).covers_name("a".repeat(5_000).as_bytes()));
    }
}
