//! Looking at a running server: `hikigane logs`, `runs` and `dlq`.

use std::io::{BufRead, BufReader};

use anyhow::anyhow;
use chrono::{DateTime, Local};
use hikigane_api::{named, paths};
use serde_json::{Value, json};

use crate::arguments::{Dlq, DlqCommand, Logs, Runs, RunsCommand, RunsList, Which};
use crate::client::Server;
use crate::output::printable;
use crate::{Failure, output};

/// Most runs in one answer of the admin API.
const PAGE: usize = 1000;

/// Prints the logs of past runs, oldest first, and then, if asked, those that come.
pub fn logs(arguments: &Logs) -> Result<(), Failure> {
    let server = Server::of(&arguments.client)?;
    let function: Vec<_> = arguments.name.iter().map(|name| ("function", name.clone())).collect();
    // Where lines of several functions stand among each other, a person wants to know whose they are.
    let names = arguments.name.is_none() && !arguments.client.json;
    // Listening comes first, so that nothing falls between the past and the future.
    let follow = if arguments.follow {
        let mut query = function.clone();
        query.push(("names", names.to_string()));
        Some(server.stream(paths::LOGS, &query)?)
    } else {
        None
    };

    let runs = past_runs(&server, &function, arguments.runs)?;
    if let Some(name) = arguments.name.as_ref().filter(|_| runs.is_empty()) {
        warn_of_unknown(&server, name);
    }
    for run in runs.iter().rev() {
        let whole = server.get(&format!("{}/{}", paths::RUNS, run["id"]), &[])?;
        print(&whole, names, arguments.client.json)?;
    }
    let Some(follow) = follow else { return Ok(()) };
    for line in BufReader::new(follow).lines() {
        let line = line?;
        if line.is_empty() {
            continue;
        }
        if arguments.client.json {
            output::line(json!({"line": line}))?;
        } else {
            output::line(printable(&line))?;
        }
    }
    Ok(())
}

fn print(run: &Value, names: bool, as_json: bool) -> Result<(), Failure> {
    let log = run["log"].as_str().unwrap_or_default();
    if as_json {
        output::line(json!({"id": run["id"], "requestId": run["requestId"], "function": run["function"], "log": log}))
    } else if names {
        output::print(&printable(&named(&field(&run["function"]), log)))
    } else {
        output::print(&printable(log))
    }
}

/// The newest runs, newest first: as many pages as it takes.
fn past_runs(server: &Server, filter: &[(&str, String)], limit: usize) -> anyhow::Result<Vec<Value>> {
    let mut runs: Vec<Value> = Vec::new();
    while runs.len() < limit {
        let mut query = filter.to_vec();
        let page = (limit - runs.len()).min(PAGE);
        query.push(("limit", page.to_string()));
        query.extend(runs.last().map(|run| ("before", run["id"].to_string())));
        let mut answer = server.get(paths::RUNS, &query)?;
        let Some(more) = answer["runs"].as_array_mut() else {
            break;
        };
        let is_last = more.len() < page;
        runs.append(more);
        if is_last {
            break;
        }
    }
    Ok(runs)
}

/// Says so when the server has no such function: nothing was found, and nothing will be.
fn warn_of_unknown(server: &Server, function: &str) {
    if let Some(hint) = server.hint(function) {
        output::say(format_args!("warning: there is no function \"{function}\" now: {hint}"));
    }
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
                output::line(answer)
            } else {
                output::line(format_args!("queued as {}", field(&answer["requestId"])))
            }
        }
    }
}

fn list_runs(server: &Server, list: &RunsList, as_json: bool) -> Result<(), Failure> {
    let mut filter = Vec::new();
    filter.extend(list.function.iter().map(|name| ("function", name.clone())));
    filter.extend(list.status.iter().map(|status| ("status", status.clone())));
    let runs = past_runs(server, &filter, usize::try_from(list.limit).unwrap_or(usize::MAX))?;
    if let Some(name) = list.function.as_ref().filter(|_| runs.is_empty()) {
        warn_of_unknown(server, name);
    }
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
    table(&runs, head, row, as_json, "no run yet")
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

fn list_dead(server: &Server, function: Option<&String>, limit: u32, as_json: bool) -> Result<(), Failure> {
    let mut query = vec![("limit", limit.to_string())];
    query.extend(function.map(|name| ("function", name.clone())));
    let answer = server.get(paths::DEAD_LETTERS, &query)?;
    let letters = answer["deadLetters"].as_array().map(Vec::as_slice).unwrap_or_default();
    if let Some(name) = function.filter(|_| letters.is_empty()) {
        warn_of_unknown(server, name);
    }
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
        letters,
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
    if let Some(id) = which.id.filter(|_| answer[done] == 0) {
        return Err(anyhow!("there is no dead letter {id}; \"hikigane dlq list\" lists them").into());
    }
    if let Some(name) = which.function.as_ref().filter(|_| answer[done] == 0) {
        warn_of_unknown(server, name);
    }
    if as_json {
        output::line(answer)
    } else {
        output::line(format_args!("{} {done}", field(&answer[done])))
    }
}

/// One object, a line a member; long texts below.
fn show(object: &Value, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return output::line(serde_json::to_string_pretty(object)?);
    }
    const LONG: [&str; 5] = ["input", "output", "log", "payload", "response"];
    let members = object.as_object().into_iter().flatten();
    for (name, value) in members
        .clone()
        .filter(|(name, value)| !LONG.contains(&name.as_str()) && !value.is_null())
    {
        output::line(format_args!("{name:<12} {}", field(value)))?;
    }
    for (name, value) in members.filter(|(name, value)| LONG.contains(&name.as_str()) && !value.is_null()) {
        output::line(format_args!("\n{name}:\n{}", field(value).trim_end()))?;
    }
    Ok(())
}

/// A list as columns, each as wide as its widest entry.
fn table<const N: usize>(
    entries: &[Value],
    head: [&str; N],
    row: impl Fn(&Value) -> [String; N],
    as_json: bool,
    empty: &str,
) -> Result<(), Failure> {
    if as_json {
        return output::line(serde_json::to_string_pretty(entries)?);
    }
    if entries.is_empty() {
        return output::line(empty);
    }
    let rows: Vec<[String; N]> = std::iter::once(head.map(str::to_owned))
        .chain(entries.iter().map(row))
        .collect();
    let widths: Vec<usize> = (0..N)
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut lines = String::new();
    for row in rows {
        let line: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(text, width)| format!("{text:<width$}"))
            .collect();
        lines.push_str(line.join("  ").trim_end());
        lines.push('\n');
    }
    output::print(&lines)
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
        // Durations are measured to the microsecond; the digits after it come from the division.
        Value::Number(number) if number.is_f64() => {
            let exact = number.as_f64().unwrap_or_default();
            ((exact * 1_000.0).round() / 1_000.0).to_string()
        }
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
