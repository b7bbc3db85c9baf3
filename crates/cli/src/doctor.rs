//! `hikigane doctor`: what this machine gives, and what it means for functions.

use std::process::Command;

use anyhow::{Context as _, bail};
use hikigane_isolate::Levels;
use serde_json::{Value, json};

use crate::arguments::Doctor;
use crate::server::{PROBE, ZYGOTE};
use crate::{Failure, output};

/// Asks the kernel for a worker's sandbox, in a process of its own.
pub fn levels() -> anyhow::Result<Levels> {
    let output = Command::new("/proc/self/exe")
        .args([ZYGOTE, PROBE])
        .env_clear()
        .output()
        .context("cannot start a process to try the sandbox")?;
    if !output.status.success() {
        bail!(
            "the sandbox could not be tried: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Prints what there is. Fails when a layer of the sandbox is missing.
pub fn doctor(arguments: &Doctor) -> Result<(), Failure> {
    let levels = levels()?;
    let facts = facts();
    if arguments.json {
        let mut all = json!({"sandbox": levels});
        for (key, _, value) in &facts {
            all[*key] = value.clone();
        }
        output::line(serde_json::to_string_pretty(&all)?)?;
    } else {
        output::line("sandbox")?;
        for (name, level) in [
            ("file tree", &levels.file_tree),
            ("Landlock", &levels.landlock),
            ("seccomp", &levels.seccomp),
        ] {
            output::line(format_args!(
                "  {name:<18} {:<8} {}",
                if level.available { "yes" } else { "MISSING" },
                level.detail
            ))?;
        }
        output::line("machine")?;
        for (_, name, value) in &facts {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            output::line(format_args!("  {name:<18} {text}"))?;
        }
    }
    if levels.missing().is_empty() {
        Ok(())
    } else {
        Err(Failure::Silent)
    }
}

/// How long ago V8 was published: browsers get its security fixes every few weeks.
fn v8_age() -> Value {
    let released = hikigane_isolate::v8_released().parse::<chrono::NaiveDate>();
    released.map_or_else(
        |_| json!("unknown"),
        |released| json!((chrono::Utc::now().date_naive() - released).num_days()),
    )
}

/// Key, name and value of what is not tried but read.
fn facts() -> Vec<(&'static str, &'static str, Value)> {
    let read = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned());
    let number = |path: &str| match read(path).ok().and_then(|text| text.parse::<u64>().ok()) {
        Some(number) => json!(number),
        None => json!("unknown"),
    };
    let limit = || {
        let limits = read("/proc/self/limits").ok()?;
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    vec![
        ("version", "hikigane", json!(env!("CARGO_PKG_VERSION"))),
        ("v8", "V8", json!(hikigane_isolate::v8_version())),
        ("v8Released", "V8 released", json!(hikigane_isolate::v8_released())),
        ("v8AgeDays", "V8 age in days", v8_age()),
        (
            "kernel",
            "kernel",
            json!(read("/proc/sys/kernel/osrelease").unwrap_or_else(|_| "unknown".into())),
        ),
        (
            "userNamespaces",
            "user namespaces",
            number("/proc/sys/user/max_user_namespaces"),
        ),
        (
            "memoryGuard",
            "memory guard",
            json!("V8's heap limit, counted buffers, all that the process holds"),
        ),
        (
            "inotifyWatches",
            "inotify watches",
            number("/proc/sys/fs/inotify/max_user_watches"),
        ),
        (
            "inotifyInstances",
            "inotify instances",
            number("/proc/sys/fs/inotify/max_user_instances"),
        ),
        (
            "openFiles",
            "open files",
            limit().map_or_else(|| json!("unknown"), |limit| json!(limit)),
        ),
    ]
}
