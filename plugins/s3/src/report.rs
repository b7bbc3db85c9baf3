//! What the plug-in says about trouble, on standard error.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The same sentence is not said again before this.
const SILENCE: Duration = Duration::from_secs(60);
/// Sentences remembered; beyond, one may come again early.
const REMEMBERED: usize = 256;

/// Says each sentence at most once a minute: trouble with one directory must not flood the terminal.
#[derive(Default)]
pub(crate) struct Reports {
    said: Mutex<HashMap<String, Instant>>,
}

impl Reports {
    pub(crate) fn say(&self, sentence: String) {
        if self.is_new(&sentence) {
            // It may be closed; that ends no trigger.
            let _ = writeln!(std::io::stderr(), "hikigane: s3: {sentence}");
        }
    }

    fn is_new(&self, sentence: &str) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.get(sentence).is_some_and(|at| at.elapsed() < SILENCE) {
            return false;
        }
        if said.len() >= REMEMBERED {
            said.clear();
        }
        said.insert(sentence.to_owned(), Instant::now());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_not_repeated() {
        let reports = Reports::default();
        assert!(reports.is_new("a"));
        assert!(!reports.is_new("a"));
        assert!(reports.is_new("b"));
    }
}
