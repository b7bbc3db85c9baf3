//! The program `hikigane`: the commands over the built-in triggers.

use std::process::ExitCode;

fn main() -> ExitCode {
    hikigane::run(hikigane::builtin())
}
