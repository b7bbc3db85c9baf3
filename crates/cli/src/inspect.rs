//! Looking at a running server: `hikigane logs`, `runs` and `dlq`.

use std::io::{BufRead, BufReader, Write};

use chrono::{DateTime, Local};
use hikigane_api::paths;
use serde_json::{Value, json};

use crate::Failure;
use crate::arguments::{Dlq, DlqCommand, Logs, Runs, RunsCommand, RunsList, Which};
use crate::client::{Server, printable};

/// Prints the logs of past runs, oldest first, and then, if asked, those that come.
pub fn logs(arguments: &Logs) -> Result<(), Failure> {
    let server = Server::of(&arguments.client)?;
    let function: Vec<_> = arguments.name.iter().map(|name| ("function", name.clone())).collect();
    // Listening comes first, so that nothing falls between the past and the future.
    let follow = if arguments.follow {
        Some(server.stream(paths::LOGS, &function)?)
    } else {
        None
    };

    let mut query = function.clone();
    query.push(("limit", arguments.runs.to_string()));
    let answer = server.get(paths::RUNS, &query)?;
    for run in answer["runs"].as_array().into_iter().flatten().rev() {
        let whole = server.get(&format!("{}/{}", paths::RUNS, run["id"]), &[])?;
        print(&whole, arguments.client.json)?;
    }
    let Some(follow) = follow else { return Ok(()) };
    for line in BufReader::new(follow).lines() {
        let line = line?;
        if line.is_empty() {
            continue;
        }
        if arguments.client.json {
            println!("{}", json!({"line": line}));
        } else {
            println!("{}", printable(&line));
        }
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn print(run: &Value, as_json: bool) -> Result<(), Failure> {
    let log = run["log"].as_str().unwrap_or_default();
    if as_json {
        println!(
            "{}",
            json!({"id": run["id"], "requestId": run["requestId"], "function": run["function"], "log": log})
        );
    } else {
        print!("{}", printable(log));
    }
    Ok(std::io::stdout().flush()?)
}

/// Lists, shows or replays runs.
pub fn runs(arguments: &Runs) -> Result<(), Failure> {
    let server = Server::of(&arguments.client)?;
    match &arguments.command {
        None => list_runs(&server, &arguments.list, arguments.client.json),
        Some(RunsCommand::List(list)) => list_runs(&server, list, arguments.client.json),
        Some(RunsCommand::Show { id }) => show(
            &server.get(&format!("{}/{id}", paths::RUNS), &[])?,
            arguments.client.json,
        ),
        Some(RunsCommand::Replay { id }) => {
            let answer = server.post(&format!("{}/{id}/replay", paths::RUNS), &json!({}))?;
            if arguments.client.json {
                println!("{answer}");
            } else {
                println!("queued as {}", field(&answer["requestId"]));
            }
            Ok(())
        }
    }
}

fn list_runs(server: &Server, list: &RunsList, as_json: bool) -> Result<(), Failure> {
    let mut query = vec![("limit", list.limit.to_string())];
    query.extend(list.function.iter().map(|name| ("function", name.clone())));
    query.extend(list.status.iter().map(|status| ("status", status.clone())));
    let answer = server.get(paths::RUNS, &query)?;
    let row = |run: &Value| {
        [
            field(&run["id"]),
            time(&run["startedAt"]),
            field(&run["function"]),
            trigger(run),
            field(&run["status"]),
            format!("{:.2} ms", run["durationMs"].as_f64().unwrap_or_default()),
            field(&run["attempt"]),
            field(&run["reason"]),
        ]
    };
    let head = [
        "ID", "STARTED", "FUNCTION", "TRIGGER", "STATUS", "DURATION", "ATTEMPT", "REASON",
    ];
    table(&answer, "runs", head, row, as_json, "no run yet")
}

/// Lists, shows, redrives or purges dead letters.
pub fn dlq(arguments: &Dlq) -> Result<(), Failure> {
    let server = Server::of(&arguments.client)?;
    let as_json = arguments.client.json;
    match &arguments.command {
        None => list_dead(&server, None, 20, as_json),
        Some(DlqCommand::List { function, limit }) => list_dead(&server, function.as_ref(), *limit, as_json),
        Some(DlqCommand::Show { id }) => show(&server.get(&format!("{}/{id}", paths::DEAD_LETTERS), &[])?, as_json),
        Some(DlqCommand::Redrive(which)) => settle(&server, paths::REDRIVE, which, "redriven", as_json),
        Some(DlqCommand::Purge(which)) => settle(&server, paths::PURGE, which, "purged", as_json),
    }
}

fn list_dead(server: &Server, function: Option<&String>, limit: usize, as_json: bool) -> Result<(), Failure> {
    let mut query = vec![("limit", limit.to_string())];
    query.extend(function.map(|name| ("function", name.clone())));
    let answer = server.get(paths::DEAD_LETTERS, &query)?;
    let row = |letter: &Value| {
        [
            field(&letter["id"]),
            time(&letter["diedAt"]),
            field(&letter["function"]),
            trigger(letter),
            field(&letter["condition"]),
            field(&letter["attempts"]),
        ]
    };
    table(
        &answer,
        "deadLetters",
        ["ID", "DIED", "FUNCTION", "TRIGGER", "CONDITION", "ATTEMPTS"],
        row,
        as_json,
        "no dead letters",
    )
}

fn settle(server: &Server, path: &str, which: &Which, done: &str, as_json: bool) -> Result<(), Failure> {
    let answer = server.post(
        path,
        &json!({"id": which.id, "function": which.function, "all": which.all}),
    )?;
    if as_json {
        println!("{answer}");
    } else {
        println!("{} {done}", field(&answer[done]));
    }
    Ok(())
}

/// One object, a line a member; long texts below.
fn show(object: &Value, as_json: bool) -> Result<(), Failure> {
    if as_json {
        println!("{}", serde_json::to_string_pretty(object)?);
        return Ok(());
    }
    const LONG: [&str; 5] = ["input", "output", "log", "payload", "response"];
    let members = object.as_object().into_iter().flatten();
    for (name, value) in members
        .clone()
        .filter(|(name, value)| !LONG.contains(&name.as_str()) && !value.is_null())
    {
        println!("{name:<12} {}", field(value));
    }
    for (name, value) in members.filter(|(name, value)| LONG.contains(&name.as_str()) && !value.is_null()) {
        println!("\n{name}:\n{}", field(value).trim_end());
    }
    Ok(())
}

/// A list as columns, each as wide as its widest entry.
fn table<const N: usize>(
    answer: &Value,
    member: &str,
    head: [&str; N],
    row: impl Fn(&Value) -> [String; N],
    as_json: bool,
    empty: &str,
) -> Result<(), Failure> {
    let entries = answer[member].as_array().map(Vec::as_slice).unwrap_or_default();
    if as_json {
        println!("{}", serde_json::to_string_pretty(&answer[member])?);
        return Ok(());
    }
    if entries.is_empty() {
        println!("{empty}");
        return Ok(());
    }
    let rows: Vec<[String; N]> = std::iter::once(head.map(str::to_owned))
        .chain(entries.iter().map(row))
        .collect();
    let widths: Vec<usize> = (0..N)
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    for row in rows {
        let line: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(text, width)| format!("{text:<width$}"))
            .collect();
        println!("{}", line.join("  ").trim_end());
    }
    Ok(())
}

/// What ran something: the trigger's kind, and the binding's name where it says more.
fn trigger(entry: &Value) -> String {
    let kind = field(&entry["trigger"]);
    let binding = field(&entry["binding"]);
    match binding.split_once('/') {
        Some((_, name)) if name != kind => format!("{kind} {name}"),
        _ => kind,
    }
}

/// A JSON value as a person reads it.
fn field(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => printable(text),
        other => other.to_string(),
    }
}

/// A time in this machine's zone.
fn time(value: &Value) -> String {
    let parsed = value.as_str().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    parsed
        .map(|time| time.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S").to_string())
        .unwrap_or_default()
}
