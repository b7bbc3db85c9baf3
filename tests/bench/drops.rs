//! `cargo bench --bench drops`: a bucket that is a directory, from a file to its function.
//!
//! Prints what passes between a rename into the bucket and the first line of the handler, how fast a burst is told, what
//! a start takes when files have been waiting, and what an idle watch costs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports)]
mod support;

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use support::{Project, Server, wait_for};

const RENAMES: usize = 1_000;
const BURST: usize = 10_000;
const IDLE: Duration = Duration::from_secs(30);

const MANIFEST: &str = r#"
functions:
  note:
    code: ./note.mjs
    env: { LIST: "${dir}/seen/list" }
    allow: { write: [./seen] }
    events: [{ s3: { bucket: inbox, settle: 0 } }]
sources: { s3: { buckets: { inbox: { path: ./inbox } } } }
"#;

/// Writes the key, and when it was called in seconds since 1970.
const NOTE: &str = r#"
import { appendFileSync } from "node:fs";
export const handler = async ({ Records: [{ s3 }] }) => {
  const now = (performance.timeOrigin + performance.now()) / 1000;
  appendFileSync(process.env.LIST, `${s3.object.key} ${now}\n`);
};
"#;

fn main() {
    let project = Project::new(MANIFEST, &[("note.mjs", NOTE)]);
    for directory in ["inbox", "seen", "outside"] {
        project.mkdir(directory);
    }
    println!("| what | measured |\n|---|---|");
    let server = project.up();
    renames(&project);
    let begun = Instant::now();
    drop_files(&project, "burst");
    let written = begun.elapsed();
    told(&project, RENAMES + BURST);
    println!(
        "| {BURST} files written in {:.1} s | all handled after {:.1} s |",
        written.as_secs_f64(),
        begun.elapsed().as_secs_f64()
    );
    drop(server);

    drop_files(&project, "waiting");
    let begun = Instant::now();
    let server = project.up();
    let ready = begun.elapsed();
    told(&project, RENAMES + 2 * BURST);
    println!(
        "| start with {BURST} files waiting | ready after {:.0} ms, all handled after {:.1} s |",
        ready.as_secs_f64() * 1e3,
        begun.elapsed().as_secs_f64()
    );
    println!(
        "| resident memory then, with {} objects | {} MiB |",
        RENAMES + 2 * BURST,
        resident_mib(&server)
    );
    let before = processor_ticks(&server);
    std::thread::sleep(IDLE);
    let ticks = processor_ticks(&server) - before;
    println!(
        "| processor time of {} s of idling | {} ms |",
        IDLE.as_secs(),
        ticks * 10
    );
}

fn renames(project: &Project) {
    let mut begun = HashMap::new();
    for index in 0..=RENAMES {
        let name = format!("renamed-{index}");
        let outside = project.join("outside").join(&name);
        fs::write(&outside, [b'x'; 1_000]).unwrap();
        begun.insert(
            name.clone(),
            SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64(),
        );
        fs::rename(outside, project.join("inbox").join(&name)).unwrap();
        if index == 0 {
            // The first has the function initialised; it does not count.
            told(project, 1);
            fs::write(project.join("seen/list"), "").unwrap();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut took: Vec<f64> = told(project, RENAMES)
        .iter()
        .map(|(name, called)| (called - begun[name]) * 1e3)
        .collect();
    took.sort_by(f64::total_cmp);
    println!(
        "| from a rename to the first line of the handler | p50 {:.1} ms, p99 {:.1} ms |",
        took[RENAMES / 2],
        took[RENAMES * 99 / 100]
    );
}

fn drop_files(project: &Project, kind: &str) {
    for index in 0..BURST {
        fs::write(project.join("inbox").join(format!("{kind}-{index}")), [b'x'; 100]).unwrap();
    }
}

/// What the function has noted, once it is so much.
fn told(project: &Project, count: usize) -> Vec<(String, f64)> {
    let text = wait_for("the events", || {
        let text = fs::read_to_string(project.join("seen/list")).unwrap_or_default();
        (text.matches('\n').count() >= count).then_some(text)
    });
    let lines = text.lines().map(|line| line.split_once(' ').unwrap());
    lines
        .map(|(name, called)| (name.to_owned(), called.parse().unwrap()))
        .collect()
}

fn resident_mib(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1_024
}

/// User and system time in hundredths of a second.
fn processor_ticks(server: &Server) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}
