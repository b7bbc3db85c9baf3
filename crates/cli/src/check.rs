//! `hikigane check` and `hikigane schema`.

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use anyhow::Context as _;
use hikigane_executor::{EnvironmentSpec, Executor, Initialization, LogSink, StartError};
use hikigane_manifest::{Diagnostic, Loaded, Report, Severity};
use hikigane_model::{FunctionConfig, Outcome, Qualifier, SandboxMode};
use hikigane_store::{Objects, Pin};
use hikigane_trigger::TriggerPlugin;

use crate::arguments::Check;
use crate::{Failure, output, server};

/// Loads a manifest; prints its errors, all of them, to standard error.
pub fn load(file: &std::path::Path, plugins: &[Arc<dyn TriggerPlugin>]) -> Result<Loaded, Failure> {
    hikigane_manifest::load(file, plugins, &|name| std::env::var(name).ok()).map_err(|report| {
        print(&report);
        Failure::Manifest
    })
}

/// Prints diagnostics to standard error.
pub fn print(report: &Report) {
    if !report.0.is_empty() {
        // Control characters of the file are replaced where it is drawn; those left are the colours.
        let drawn = report.render(std::io::stderr().is_terminal());
        let _ = writeln!(std::io::stderr(), "{}", drawn.trim_end());
    }
}

/// Reports every mistake of the manifest, and every function that would not start.
pub fn check(arguments: &Check, plugins: &[Arc<dyn TriggerPlugin>]) -> Result<(), Failure> {
    let mut loaded = match hikigane_manifest::load(&arguments.file, plugins, &|name| std::env::var(name).ok()) {
        Ok(loaded) => loaded,
        Err(report) if arguments.json => {
            output::line(serde_json::to_string_pretty(&report)?)?;
            return Err(Failure::Manifest);
        }
        Err(report) => {
            print(&report);
            return Err(Failure::Manifest);
        }
    };
    loaded.warnings.0.append(&mut loaded.missing.0);
    loaded.warnings.0.extend(functions(&loaded)?);
    let (errors, warnings) = loaded.warnings.counts();
    if arguments.json {
        output::line(serde_json::to_string_pretty(&loaded.warnings)?)?;
    } else {
        print(&loaded.warnings);
    }
    if errors > 0 {
        return Err(Failure::Manifest);
    }
    if !arguments.json {
        let manifest = &loaded.manifest;
        output::line(format_args!(
            "{}: {}, {}: valid{}",
            loaded.file,
            counted(manifest.functions.len(), "function"),
            counted(manifest.bindings.len(), "event"),
            match warnings {
                0 => String::new(),
                some => format!(", with {}", counted(some, "warning")),
            }
        ))?;
    }
    Ok(())
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Starts every function once, in its sandbox, without network and without the directories it may write.
fn functions(loaded: &Loaded) -> Result<Vec<Diagnostic>, Failure> {
    let scratch = Scratch::make()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let executor = server::executor(scratch.0.join("tmp"), None, None, 0, SandboxMode::Auto)?;
        let objects = Objects::open(&scratch.0)?;
        let mut warnings = Vec::new();
        for config in &loaded.manifest.functions {
            // A missing path is a warning of the manifest's already.
            if !config.code.exists() {
                continue;
            }
            let (unpacked, pin) = match server::unpacked(config.clone(), &objects) {
                Ok(unpacked) => unpacked,
                Err(error) => {
                    let mut diagnostic = loaded.warning(&config.name, error.to_string(), None);
                    diagnostic.severity = Severity::Error;
                    warnings.push(diagnostic);
                    continue;
                }
            };
            if let Some(message) = start(&executor, unpacked, pin).await {
                let message = format!("function \"{}\" does not start: {message}", config.name);
                let help = "the server starts all the same, and each invocation answers with this error".to_owned();
                warnings.push(loaded.warning(&config.name, message, Some(help)));
            }
        }
        objects.discard()?;
        Ok(warnings)
    })
}

async fn start(executor: &impl Executor, mut config: FunctionConfig, pin: Pin) -> Option<String> {
    config.allow.net.clear();
    config.allow.read.append(&mut config.allow.write);
    let spec = Arc::new(EnvironmentSpec {
        config: Arc::new(config),
        version: Qualifier::Latest,
        revision: 0,
        pin: Arc::new(pin),
    });
    match executor
        .start(&spec, Initialization::OnDemand, &mut LogSink::new(None))
        .await
    {
        Ok(_) => None,
        Err(StartError::Host(message)) => Some(message),
        Err(StartError::Function { outcome, .. }) => Some(explain(&outcome)),
    }
}

fn explain(outcome: &Outcome) -> String {
    let error_type = outcome.error_type().unwrap_or_default();
    let payload = outcome.to_payload(&hikigane_model::RequestId::from_text("-"));
    let message = serde_json::from_slice::<serde_json::Value>(&payload).ok();
    let message = message
        .as_ref()
        .and_then(|json| json["errorMessage"].as_str())
        .unwrap_or_default();
    format!("{error_type}: {}", message.lines().next().unwrap_or_default())
}

/// A directory that is removed when dropped.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn make() -> anyhow::Result<Self> {
        let parent = std::env::temp_dir();
        let path = parent.join(format!("hikigane-check-{}", hikigane_model::RequestId::random()));
        std::fs::create_dir(&path).with_context(|| {
            format!(
                "functions cannot be tried: {} cannot be written (TMPDIR names another)",
                parent.display()
            )
        })?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Prints the schema.
pub fn schema(plugins: &[Arc<dyn TriggerPlugin>]) -> Result<(), Failure> {
    output::line(serde_json::to_string_pretty(&hikigane_manifest::schema(plugins))?)
}
