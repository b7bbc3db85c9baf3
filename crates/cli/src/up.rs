//! `hikigane up`.

use std::collections::HashSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use chrono::{DateTime, Local};
use hikigane_manifest::Manifest;
use hikigane_model::FunctionConfig;
use hikigane_router::{FailedRun, Then};
use hikigane_store::RunStatus;
use hikigane_trigger::{Announcement, Clock, TriggerPlugin};
use rustix::process::{Resource, Rlimit};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::arguments::Up;
use crate::server::{Server, Settings};
use crate::{Failure, check, output};

/// A terminal is for reading: between two lines of failures passes at least this.
const BETWEEN_FAILURES: Duration = Duration::from_millis(100);

/// As many characters of an error are shown.
const ERROR_SHOWN: usize = 200;

/// Runs a manifest until Ctrl-C, SIGTERM or the end of its terminal; a second Ctrl-C or SIGTERM ends at once.
pub fn up(arguments: &Up, plugins: &[Arc<dyn TriggerPlugin>]) -> Result<(), Failure> {
    raise_descriptors();
    let loaded = check::load(&arguments.file, plugins)?;
    check::print(&loaded.warnings);
    let data = arguments
        .data
        .clone()
        .unwrap_or_else(|| loaded.manifest.base.join(".hikigane"));
    let clock = if arguments.test_mode {
        Clock::virtual_at(arguments.clock.unwrap_or_else(chrono::Utc::now))
    } else {
        Clock::system()
    };
    let summary = Summary::of(&loaded.manifest, plugins);
    let printer = output::Printer::start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads())
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        let mut signals = Signals::new()?;
        let settings = Settings {
            endpoint: arguments.endpoint,
            inspect: arguments.inspect,
            clock,
            test_mode: arguments.test_mode,
        };
        let server = Server::open(loaded, settings, &data).await?;
        // Whether anybody reads it or not, the server runs.
        let _ = output::print(&announcement(&server, &summary, &data, arguments.json)?);
        let json = arguments.json;
        let lines = printer.lines();
        if !json {
            tokio::spawn(tell_failures(server.failures(), printer.lines()));
        }
        let stop = async move {
            signals.first().await;
            if !json {
                let _ = lines.try_send(
                    "\nstopping: what runs may end, queued events stay queued (again to stop at once)".to_owned(),
                );
            }
            tokio::spawn(async move {
                signals.again().await;
                std::process::exit(130);
            });
        };
        server.run(stop).await
    });
    runtime.shutdown_background();
    printer.finish();
    result.map_err(Failure::Error)
}

/// Has a line printed for each run that fails, and in a flood for one of some.
async fn tell_failures(mut failures: broadcast::Receiver<FailedRun>, lines: SyncSender<String>) {
    let mut untold = 0;
    loop {
        match failures.recv().await {
            Ok(failed) => {
                let mut text = failure_line(&failed, &Local::now());
                if untold > 0 {
                    text.push_str(&format!(" (and {untold} runs before it)"));
                }
                if lines.try_send(text).is_ok() {
                    untold = 0;
                } else {
                    untold += 1;
                }
                tokio::time::sleep(BETWEEN_FAILURES).await;
            }
            Err(RecvError::Lagged(more)) => untold += more,
            Err(RecvError::Closed) => return,
        }
    }
}

/// `12:34:56  ingest failed: TypeError: x is not a function (attempt 1; again at 12:35:56)`.
fn failure_line(failed: &FailedRun, now: &DateTime<Local>) -> String {
    let error: serde_json::Value = serde_json::from_slice(&failed.error).unwrap_or_default();
    let part = |name: &str| error[name].as_str().unwrap_or_default();
    let (kind, message) = (part("errorType"), part("errorMessage"));
    let (how, parts) = match failed.status {
        RunStatus::Failed => ("failed", [kind, message]),
        RunStatus::Crashed if kind == "Runtime.OutOfMemory" => ("ran out of memory", ["", ""]),
        // Lambda's own errors begin with `RequestId: <id> Error: `.
        other => {
            let how = if other == RunStatus::TimedOut {
                "timed out"
            } else {
                "crashed"
            };
            (
                how,
                ["", message.split_once(" Error: ").map_or(message, |(_, plain)| plain)],
            )
        }
    };
    let mut text = String::new();
    for part in parts {
        let whole = part.trim();
        let first = whole.lines().next().unwrap_or_default();
        let shown: String = first.chars().take(ERROR_SHOWN).collect();
        if shown.is_empty() {
            continue;
        }
        text.push_str(": ");
        text.push_str(&shown);
        if shown.len() < whole.len() {
            text.push_str(" ...");
        }
    }
    let then = match failed.then {
        Then::Told => String::new(),
        Then::Again(due) => format!(
            " (attempt {}; again at {})",
            failed.attempt,
            due.with_timezone(&Local).format("%H:%M:%S")
        ),
        Then::GivenUp => format!(" (attempt {}, the last: now a dead letter)", failed.attempt),
    };
    format!("{}  {} {how}{text}{then}", now.format("%H:%M:%S"), failed.function)
}

/// Takes all the descriptors that this process may have: shells begin programs with 1,024, for the sake of those that still use `select`, and
/// each connection and each environment needs one. Environments get a limit of their own.
fn raise_descriptors() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // Where it is refused the server has what it was given, and its listeners keep within that.
    let _ = rustix::process::setrlimit(Resource::Nofile, raised);
}

/// What ends the server.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `None`: it was started to outlive its terminal, as by nohup(1).
    hangup: Option<Signal>,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: if ignores_hangup() {
                None
            } else {
                Some(signal(SignalKind::hangup())?)
            },
        })
    }

    /// The first that comes.
    async fn first(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! { _ = self.interrupt.recv() => {}, _ = self.terminate.recv() => {}, _ = hangup => {} }
    }

    /// The next that somebody sent on purpose. A terminal that closes sends SIGHUP more than once: its shell to each job, and the kernel to the one in
    /// the foreground.
    async fn again(&mut self) {
        tokio::select! { _ = self.interrupt.recv() => {}, _ = self.terminate.recv() => {} }
    }
}

/// Whether SIGHUP was ignored when the program was started (proc_pid_status(5): a bit for each signal, the first is the lowest).
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & 1 != 0)
}

/// What is said about the manifest itself.
struct Summary {
    path: PathBuf,
    functions: Vec<String>,
    /// A function that most likely runs with an empty event: one that no trigger runs, or none whose events matter.
    example: Option<String>,
}

impl Summary {
    fn of(manifest: &Manifest, plugins: &[Arc<dyn TriggerPlugin>]) -> Self {
        let functions = manifest
            .functions
            .iter()
            .map(|function| function.name.to_string())
            .collect::<Vec<_>>();
        let needs_no_event = |function: &&FunctionConfig| {
            let mut bindings = manifest
                .bindings
                .iter()
                .filter(|binding| binding.function == function.name);
            bindings.all(|binding| {
                let mut plugins = plugins.iter();
                plugins.any(|plugin| plugin.kind() == binding.kind && !plugin.events_matter())
            })
        };
        let example = manifest.functions.iter().find(needs_no_event);
        Self {
            path: manifest.path.clone(),
            example: example.map(|function| function.name.to_string()),
            functions,
        }
    }
}

fn announcement(server: &Server, summary: &Summary, data: &Path, json: bool) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    let endpoint = format!("http://{}", server.address);
    if json {
        let sources: Vec<_> = server
            .announcements
            .iter()
            .map(|line| json!({"label": line.label, "text": line.text}))
            .collect();
        writeln!(
            out,
            "{}",
            json!({"endpoint": endpoint, "functions": summary.functions, "sources": sources, "data": data, "inspector": server.debuggers()})
        )?;
        return Ok(out);
    }
    writeln!(
        out,
        "hikigane {}  {}\n",
        env!("CARGO_PKG_VERSION"),
        summary.path.display()
    )?;
    let mut line = |label: &str, text: &str| writeln!(out, "  {label:<10} {text}");
    let who = if server.demands_signatures() {
        "Lambda API, for requests signed with an access key"
    } else {
        "Lambda API"
    };
    line("endpoint", &format!("{endpoint}  ({who})"))?;
    if let Some(address) = server.debuggers() {
        line(
            "debuggers",
            &format!("{address}  (chrome://inspect, or attach VS Code)"),
        )?;
    }
    let functions = match summary.functions.as_slice() {
        [] => "none yet: deploy them with `aws lambda create-function`".to_owned(),
        some => some.join(", "),
    };
    line("functions", &functions)?;
    for announcement in &server.announcements {
        line(announcement.label, &announcement.text)?;
    }
    line("data", &data.display().to_string())?;
    let here = if server.address.port() == 9000 {
        String::new()
    } else {
        format!(" --endpoint {}", server.address)
    };
    writeln!(out, "\nTry next, in another terminal:")?;
    if server.demands_signatures() {
        writeln!(
            out,
            "  export AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=...   (one of the access keys)"
        )?;
    }
    let program = program();
    for example in examples(&server.announcements) {
        writeln!(out, "  {example}")?;
    }
    if let Some(function) = &summary.example {
        writeln!(out, "  {program} invoke {function} --log{here}")?;
    }
    writeln!(out, "  {program} runs{here}")?;
    writeln!(out, "  {program} logs --follow{here}")?;
    writeln!(
        out,
        "\nCtrl-C stops. Changes of the manifest and of code are taken at the next start."
    )?;
    Ok(out)
}

/// One example of each kind of trigger.
fn examples(announcements: &[Announcement]) -> Vec<&str> {
    let mut seen = HashSet::new();
    announcements
        .iter()
        .filter_map(|line| Some((line.label, line.example.as_deref()?)))
        .filter(|(label, _)| seen.insert(*label))
        .map(|(_, example)| example)
        .collect()
}

/// What to type for this program: its name where a shell would find it, else where it is.
fn program() -> String {
    const NAME: &str = "hikigane";
    let Ok(own) = std::env::current_exe() else {
        return NAME.to_owned();
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path)
        .any(|directory| directory.join(NAME).canonicalize().is_ok_and(|found| found == own));
    if on_path {
        return NAME.to_owned();
    }
    let here = std::env::current_dir().ok();
    let shown = here.and_then(|here| Some(own.strip_prefix(here).ok()?.to_owned()));
    match shown {
        // A shell looks for a name without a slash on the path only.
        Some(short) if short.components().count() == 1 => format!("./{}", short.display()),
        Some(short) => short.display().to_string(),
        None => own.display().to_string(),
    }
}

/// Threads of the server: half of the processors; the others are for the functions. Fewer threads wake each other less often, which costs more
/// than all the server's own work (docs/SPECIFICATION.md).
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |processors| processors.get().div_ceil(2))
}
