//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use chrono::{DateTime, Days, Utc};
use clap::{Args, Parser, Subcommand};

/// Your own Lambda: routes events into JavaScript functions.
#[derive(Debug, Parser)]
#[command(
    name = "hikigane",
    version,
    about,
    after_help = "Exit codes: 0 done, 1 failed, 2 the manifest or the command line has errors."
)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything that a manifest declares, until Ctrl-C
    Up(Up),
    /// Look for mistakes in a manifest and its functions, all at once
    Check(Check),
    /// Print the JSON Schema of manifests, for editors
    Schema,
    /// Run a function of the running server once
    Invoke(Invoke),
    /// Show what functions logged
    Logs(Logs),
    /// Show past runs
    Runs(Runs),
    /// Show, redrive or purge the events that were given up
    Dlq(Dlq),
    /// Show what this machine gives: the layers of the sandbox, limits, versions. Exit code 1 when a layer is missing
    Doctor(Doctor),
    /// Sign a zip of code, so that functions with a code signing configuration take it; or look at its signature
    Sign(Sign),
}

#[derive(Debug, Args)]
pub struct Up {
    /// The manifest, or a directory with a hikigane.yaml
    #[arg(default_value = "hikigane.yaml")]
    pub file: PathBuf,
    /// Where the Lambda API and the other commands find the server; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9000", value_parser = address)]
    pub endpoint: SocketAddr,
    /// Where events and history are kept [default: .hikigane beside the manifest]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Print one JSON object when everything is up, for programs
    #[arg(long)]
    pub json: bool,
    /// Let Chrome's DevTools or VS Code debug the functions: listen for them on this loopback address
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, require_equals = true, default_missing_value = "127.0.0.1:9229", value_parser = address)]
    pub inspect: Option<SocketAddr>,
    /// For test suites: a clock that stands still until POST /_hikigane/clock {"to": TIME} moves it;
    /// POST /_hikigane/reset forgets all but the manifest
    #[arg(long)]
    pub test_mode: bool,
    /// With --test-mode: the time at which the clock stands [default: now]
    #[arg(long, value_name = "TIME", requires = "test_mode")]
    pub clock: Option<DateTime<Utc>>,
}

/// Where to listen. `localhost` is this machine, whatever a name server says.
fn address(text: &str) -> Result<SocketAddr, String> {
    let number = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    number.as_deref().unwrap_or(text).parse().map_err(|_| {
        "write an address and a port, such as 127.0.0.1:9000 or [::1]:9000; port 0 picks a free one".to_owned()
    })
}

#[derive(Debug, Args)]
pub struct Check {
    /// The manifest, or a directory with a hikigane.yaml
    #[arg(default_value = "hikigane.yaml")]
    pub file: PathBuf,
    /// Print the diagnostics as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Doctor {
    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Sign {
    /// The zip
    pub file: PathBuf,
    /// The private key, on the curve P-384, in PEM
    #[arg(long, value_name = "FILE", required_unless_present = "verify")]
    pub key: Option<PathBuf>,
    /// The key's X.509 certificate, in PEM
    #[arg(long, value_name = "FILE", required_unless_present = "verify")]
    pub cert: Option<PathBuf>,
    /// How many days the signature holds, such as 90d [default: 135 months, or as long as the certificate]
    #[arg(long, value_name = "DAYS", value_parser = days)]
    pub expires: Option<Days>,
    /// Where the signed zip goes [default: in the zip's place]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Sign nothing: say who signed the zip, and fail unless it is whole and its signature holds
    #[arg(long, conflicts_with_all = ["key", "cert", "expires", "output"])]
    pub verify: bool,
    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
}

/// Events are known by their request ids, too, and one event may have several runs.
fn run(text: &str) -> Result<i64, String> {
    text.parse()
        .map_err(|_| "a run is meant by its number: \"hikigane runs\" lists them".into())
}

fn days(text: &str) -> Result<Days, String> {
    let number = text.strip_suffix('d').and_then(|number| number.parse::<u32>().ok());
    number
        .filter(|number| *number > 0)
        .map(|number| Days::new(number.into()))
        .ok_or_else(|| "write a number of days, such as 90d".into())
}

/// Which server is asked, and how the answer is printed.
#[derive(Debug, Args)]
pub struct Client {
    /// The server's address
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9000", global = true)]
    pub endpoint: String,
    /// A file of access keys, as the manifest names it: requests are signed with its first [default: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY]
    #[arg(long, value_name = "FILE", global = true)]
    pub access_keys: Option<PathBuf>,
    /// Print JSON, for programs
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Invoke {
    /// The function
    pub name: String,
    /// The event: a file, - for standard input, or JSON text [default: {}]
    #[arg(
        long,
        short,
        visible_alias = "payload",
        value_name = "FILE|-|JSON",
        allow_negative_numbers = true
    )]
    pub event: Option<String>,
    /// Queue the event and do not wait for the result
    #[arg(long = "async")]
    pub asynchronous: bool,
    /// Print the invocation's log, too, to standard error
    #[arg(long)]
    pub log: bool,
    /// Wait for a debugger before the function is loaded, and stop at its handler's first line; of a server that runs with --inspect
    #[arg(long, conflicts_with = "asynchronous")]
    pub inspect: bool,
    #[command(flatten)]
    pub client: Client,
}

#[derive(Debug, Args)]
pub struct Logs {
    /// Only of this function; without it, each line begins with its function
    pub name: Option<String>,
    /// Go on printing what is logged from now on
    #[arg(long, short)]
    pub follow: bool,
    /// How many past runs to print
    #[arg(long, short = 'n', default_value_t = 10)]
    pub runs: usize,
    #[command(flatten)]
    pub client: Client,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Runs {
    #[command(subcommand)]
    pub command: Option<RunsCommand>,
    #[command(flatten)]
    pub list: RunsList,
    #[command(flatten)]
    pub client: Client,
}

#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// List runs, newest first (the default)
    List(RunsList),
    /// Show one run with its event, result and log
    Show {
        /// The run's number
        #[arg(value_parser = run)]
        id: i64,
    },
    /// Send a run's event to its function again
    Replay {
        /// The run's number
        #[arg(value_parser = run)]
        id: i64,
    },
}

#[derive(Debug, Args)]
pub struct RunsList {
    /// Only of this function
    #[arg(long)]
    pub function: Option<String>,
    /// Only with this status: succeeded, failed, timed-out, crashed, throttled, skipped
    #[arg(long)]
    pub status: Option<String>,
    /// At most this many
    #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
}

#[derive(Debug, Args)]
pub struct Dlq {
    #[command(subcommand)]
    pub command: Option<DlqCommand>,
    #[command(flatten)]
    pub client: Client,
}

#[derive(Debug, Subcommand)]
pub enum DlqCommand {
    /// List dead letters, newest first (the default)
    List {
        /// Only of this function
        #[arg(long)]
        function: Option<String>,
        /// At most this many
        #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Show one dead letter with its event and last answer
    Show {
        /// The dead letter's number
        id: i64,
    },
    /// Put dead letters back into the queue as fresh events
    Redrive(Which),
    /// Delete dead letters
    Purge(Which),
}

/// One, those of a function, or all.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// The dead letter's number
    pub id: Option<i64>,
    /// Those of a function
    #[arg(long)]
    pub function: Option<String>,
    /// All of them
    #[arg(long)]
    pub all: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, expected) in [
            ("127.0.0.1:9000", Some("127.0.0.1:9000")),
            ("localhost:0", Some("127.0.0.1:0")),
            ("[::1]:9000", Some("[::1]:9000")),
            ("localhost", None),
            ("127.0.0.1", None),
            ("127.0.0.1:80000", None),
            ("::1:9000", None),
            ("example.com:80", None),
        ] {
            assert_eq!(
                address(text).ok(),
                expected.and_then(|address| address.parse().ok()),
                "{text}"
            );
        }
    }
}
