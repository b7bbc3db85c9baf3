//! What a source tells whoever runs the server.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The same subject is not spoken of again before this.
const SILENCE: Duration = Duration::from_secs(60);
/// Subjects remembered; beyond, one may come again early.
const REMEMBERED: usize = 256;

/// Trouble of a source that goes on, told on standard error: of each subject at most once a minute, so that a full disk does not flood the terminal.
///
/// Nobody need listen. `eprintln!` would panic then, and a panic in a source ends the server.
#[derive(Debug)]
pub struct Reports {
    kind: &'static str,
    said: Mutex<HashMap<String, Instant>>,
}

impl Reports {
    /// The reports of the plug-in of this kind.
    pub fn of(kind: &'static str) -> Self {
        Self {
            kind,
            said: Mutex::default(),
        }
    }

    /// Says a sentence that is its own subject: others are not kept back by it.
    pub fn say(&self, sentence: &str) {
        self.say_about(sentence, sentence);
    }

    /// Says a sentence, unless there was one about this subject within the last minute.
    pub fn say_about(&self, subject: &str, sentence: &str) {
        self.tell(&mut std::io::stderr(), subject, sentence);
    }

    fn tell(&self, listener: &mut impl Write, subject: &str, sentence: &str) {
        if self.is_due(subject) {
            // Names of files come from anybody: a terminal would obey what is in them.
            let sentence = sentence.replace(char::is_control, "\u{fffd}");
            let _ = listener.write_all(format!("hikigane: {}: {sentence}\n", self.kind).as_bytes());
        }
    }

    fn is_due(&self, subject: &str) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.get(subject).is_some_and(|at| at.elapsed() < SILENCE) {
            return false;
        }
        if said.len() >= REMEMBERED {
            said.clear();
        }
        said.insert(subject.to_owned(), Instant::now());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_spoken_of_once_a_minute_in_lines_that_no_terminal_obeys() {
        let (reports, mut heard) = (Reports::of("s3"), Vec::new());
        for (subject, sentence) in [
            ("a", "first"),
            ("a", "again"),
            ("b", "other\u{1b}[2J\nlines"),
            ("first", "first"),
        ] {
            reports.tell(&mut heard, subject, sentence);
        }
        assert_eq!(
            String::from_utf8_lossy(&heard),
            "hikigane: s3: first\nhikigane: s3: other\u{fffd}[2J\u{fffd}lines\nhikigane: s3: first\n"
        );
    }
}
