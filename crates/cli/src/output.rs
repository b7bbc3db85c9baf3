//! What the commands print.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};

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

/// Says something on standard error. Where that is closed, whatever speaks goes on: a server does not end because nobody listens to its warnings.
pub fn say(text: impl Display) {
    let _ = writeln!(io::stderr(), "{}", printable(&text.to_string()));
}

/// Text from a function, without the control characters that a terminal would obey.
pub fn printable(text: &str) -> String {
    text.chars()
        .filter(|&c| c == '\n' || c == '\t' || !c.is_control())
        .collect()
}
