//! `hikigane up`.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hikigane_manifest::Manifest;
use hikigane_model::FunctionConfig;
use hikigane_trigger::{Clock, TriggerPlugin};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::Up;
use crate::server::{Server, Settings};
use crate::{Failure, check, output};

/// Runs a manifest until Ctrl-C or SIGTERM; a second one ends at once.
pub fn up(arguments: &Up, plugins: &[Arc<dyn TriggerPlugin>]) -> Result<(), Failure> {
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
    let summary = Summary::of(&loaded.manifest);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads())
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
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
        let stop = async move {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            if !json {
                let _ =
                    output::line("\nstopping: what runs may end, queued events stay queued (again to stop at once)");
            }
            tokio::spawn(async move {
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
                std::process::exit(130);
            });
        };
        server.run(stop).await
    });
    runtime.shutdown_background();
    result.map_err(Failure::Error)
}

/// What is said about the manifest itself.
struct Summary {
    path: PathBuf,
    functions: Vec<String>,
    /// A function that most likely runs with an empty event: one that a schedule runs, or nothing; else the first.
    example: Option<String>,
}

impl Summary {
    fn of(manifest: &Manifest) -> Self {
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
            bindings.all(|binding| binding.kind == "schedule")
        };
        let example = manifest
            .functions
            .iter()
            .find(needs_no_event)
            .or(manifest.functions.first());
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
    if let Some(function) = &summary.example {
        writeln!(out, "  hikigane invoke {function} --log{here}")?;
    }
    if let Some(gateway) = server.announcements.iter().find(|line| line.label == "gateway") {
        let route = server
            .announcements
            .iter()
            .find(|line| line.label == "route" && line.text.starts_with("GET /"));
        let path = route
            .and_then(|line| line.text.split(' ').nth(1))
            .unwrap_or("/")
            .replace(['{', '}'], "")
            .replace('+', "");
        writeln!(out, "  curl {}{path}", gateway.text)?;
    }
    writeln!(out, "  hikigane runs{here}")?;
    writeln!(out, "  hikigane logs --follow{here}")?;
    writeln!(out, "\nCtrl-C stops.")?;
    Ok(out)
}

/// Threads of the server: half of the processors; the others are for the functions. Fewer threads wake each other less often, which costs more
/// than all the server's own work (docs/SPECIFICATION.md).
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |processors| processors.get().div_ceil(2))
}
