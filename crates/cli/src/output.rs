//! What the commands print.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use crate::Failure;

/// Prints a line.
pub fn line(text: impl Display) -> Result<(), Failure> {
    print(&format!("{text}\n"))
}

/// Prints text to standard output, at once. On a terminal, control characters are left out: results, logs and names come from functions.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = if out.is_terminal() {
        out.write_all(printable(text).as_bytes())
    } else {
        out.write_all(text.as_bytes())
    };
    written.and_then(|()| out.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Failure::Unread,
        _ => error.into(),
    })
}

/// A thread that prints lines, for who must not stand still when nobody reads them. Lines that find it [`UNREAD`] behind are dropped.
pub struct Printer {
    lines: SyncSender<String>,
    done: Receiver<()>,
}

/// Lines that may wait to be printed.
const UNREAD: usize = 64;

impl Printer {
    /// Starts the thread.
    pub fn start() -> io::Result<Self> {
        let (lines, unread) = sync_channel::<String>(UNREAD);
        let (end, done) = sync_channel(1);
        std::thread::Builder::new().name("print".into()).spawn(move || {
            while let Ok(text) = unread.recv()
                && line(text).is_ok()
            {}
            let _ = end.send(());
        })?;
        Ok(Self { lines, done })
    }

    /// What lines are given to.
    pub fn lines(&self) -> SyncSender<String> {
        self.lines.clone()
    }

    /// Waits a moment until the last line is printed. To be called when nobody else has anything to print.
    pub fn finish(self) {
        drop(self.lines);
        let _ = self.done.recv_timeout(Duration::from_millis(500));
    }
}

/// Says something on standard error. Where that is closed, whatever speaks goes on: a server does not end because nobody listens to its warnings.
pub fn say(text: impl Display) {
    let _ = writeln!(io::stderr(), "{}", printable(&text.to_string()));
}

/// Text from a function, without the control characters that a terminal would obey, and without those that turn the direction of writing.
pub fn printable(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}');
    text.chars()
        .filter(|&c| c == '\n' || c == '\t' || !(c.is_control() || turns(c)))
        .collect()
}
