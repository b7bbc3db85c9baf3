//! The composition root: the one place that names concrete triggers, store and executor.
//!
//! A program with triggers of its own is the same five lines as `main.rs`, with its plug-in added to the list:
//!
//! ```no_run
//! # fn mqtt() -> std::sync::Arc<dyn hikigane_trigger::TriggerPlugin> { unimplemented!() }
//! fn main() -> std::process::ExitCode {
//!     let mut plugins = hikigane::builtin();
//!     plugins.push(mqtt());
//!     hikigane::run(plugins)
//! }
//! ```

mod arguments;
mod check;
mod client;
mod doctor;
mod inspect;
mod output;
mod server;
mod sign;
mod up;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use hikigane_trigger::TriggerPlugin;

use arguments::{Arguments, Command};

/// The kinds of trigger that come with Hikigane.
pub fn builtin() -> Vec<Arc<dyn TriggerPlugin>> {
    vec![
        Arc::new(hikigane_s3::plugin()),
        Arc::new(hikigane_schedule::plugin()),
        Arc::new(hikigane_http::plugin()),
    ]
}

/// Why a command ends other than well, mapped to the exit code here and nowhere else.
pub(crate) enum Failure {
    /// Exit code 1, with a message.
    Error(anyhow::Error),
    /// Exit code 1; all is said.
    Silent,
    /// Exit code 0: who reads the output has left (`hikigane runs | head`).
    Unread,
    /// Exit code 2: the manifest has errors, which are printed.
    Manifest,
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// The whole program, with these kinds of trigger.
pub fn run(plugins: Vec<Arc<dyn TriggerPlugin>>) -> ExitCode {
    // Before anything else: V8 wants to be the first in its process, and no other thread may exist.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|argument| argument == server::ZYGOTE)
    {
        let how = std::env::args_os().nth(2);
        let how = how.as_ref().and_then(|how| how.to_str());
        if how == Some(server::PROBE) {
            return match output::line(serde_json::json!(hikigane_isolate::probe())) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            };
        }
        return match hikigane_isolate::zygote_main(how == Some(server::SANDBOX_REQUIRED)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(message) => {
                output::say(format_args!("hikigane zygote: {message}"));
                ExitCode::FAILURE
            }
        };
    }
    let result = match Arguments::parse().command {
        Command::Up(up) => up::up(&up, &plugins),
        Command::Check(check) => check::check(&check, &plugins),
        Command::Schema => check::schema(&plugins),
        Command::Invoke(invoke) => client::invoke(&invoke),
        Command::Logs(logs) => inspect::logs(&logs),
        Command::Runs(runs) => inspect::runs(&runs),
        Command::Dlq(dlq) => inspect::dlq(&dlq),
        Command::Doctor(doctor) => doctor::doctor(&doctor),
        Command::Sign(sign) => sign::sign(&sign),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Error(error)) => {
            output::say(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
        Err(Failure::Unread) => ExitCode::SUCCESS,
        Err(Failure::Silent) => ExitCode::FAILURE,
        Err(Failure::Manifest) => ExitCode::from(2),
    }
}
