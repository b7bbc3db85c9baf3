//! `cargo bench --bench cold`: first invocations, memory and limits of the release binary, over loopback.
//!
//! Prints what the first call of a function takes, one after another with a worker in stock, back to back, and 16 at once; what an
//! environment and the server cost in memory; by how much a function that loops overruns its timeout; and how an echo fares beside
//! functions that keep the processors busy.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports)]
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use support::{Project, Server, children};

/// Functions of each kind.
const FUNCTIONS: usize = 60;
/// Long enough for a worker to be made in between.
const PAUSE: Duration = Duration::from_millis(60);

fn main() {
    let mut manifest = String::from(
        "functions:\n  loops: { code: ./loops.mjs, timeout: 1s }\n  hog: { code: ./hog.mjs, timeout: 60s }\n  echo: { code: ./module.mjs }\n",
    );
    for kind in ["spaced", "script", "burst", "tight"] {
        let code = if kind == "script" { "script.cjs" } else { "module.mjs" };
        for n in 0..FUNCTIONS {
            manifest.push_str(&format!("  {kind}{n}: {{ code: ./{code}, timeout: 10s }}\n"));
        }
    }
    let echo = "handler = async (event, context) => ({ statusCode: 200, body: JSON.stringify({ id: context.awsRequestId, event }) });\n";
    let project = Project::new(
        &manifest,
        &[
            ("module.mjs", &format!("export const {echo}")),
            ("script.cjs", &format!("exports.{echo}")),
            ("loops.mjs", "export const handler = async () => { while (true); };"),
            (
                "hog.mjs",
                "export const handler = async ({ ms }) => { const end = Date.now() + ms; while (Date.now() < end); return 1; };",
            ),
        ],
    );
    let server = project.up();
    std::thread::sleep(Duration::from_secs(1));
    let memory = |pid: u32| private_kib(pid);
    let idle = resident_kib(server.pid());

    println!("| first call of a function | p50 ms | p99 ms |\n|---|---|---|");
    row("ES module, a worker in stock", first(&server, "spaced", PAUSE));
    row("CommonJS, a worker in stock", first(&server, "script", PAUSE));
    row("ES module, back to back", first(&server, "tight", Duration::ZERO));
    row("ES module, 16 at once", at_once(&server, 16));

    let workers: Vec<u32> = children(server.pid())
        .into_iter()
        .filter(|pid| name(*pid) == "hikigane-worker")
        .collect();
    let mut each: Vec<u64> = workers.iter().map(|pid| memory(*pid)).collect();
    each.sort_unstable();
    println!(
        "\nprivate memory of an environment that ran: median {} KiB of {}",
        each[each.len() / 2],
        each.len()
    );
    println!("resident memory of the idle server: {} KiB", idle);

    let overrun: Vec<Duration> = (0..20)
        .map(|_| timed(&server, "loops", "{}") - Duration::from_secs(1))
        .collect();
    let (p50, worst) = (sorted(overrun.clone())[10], sorted(overrun)[19]);
    println!(
        "a loop with a timeout of 1 s is answered after it by: median {:.1} ms, at most {:.1} ms",
        ms(p50),
        ms(worst)
    );

    let alone = sorted((0..2_000).map(|_| timed(&server, "echo", "{}")).collect());
    let done = AtomicBool::new(false);
    let beside = std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    timed(&server, "hog", r#"{"ms":20}"#);
                }
            });
        }
        std::thread::sleep(Duration::from_millis(500));
        let beside = sorted((0..2_000).map(|_| timed(&server, "echo", "{}")).collect());
        done.store(true, Ordering::Relaxed);
        beside
    });
    println!(
        "echo beside 4 functions that keep the processors busy: p50 {:.2} ms, p99 {:.2} ms (alone {:.2} and {:.2})",
        ms(beside[1_000]),
        ms(beside[1_980]),
        ms(alone[1_000]),
        ms(alone[1_980])
    );
}

fn first(server: &Server, kind: &str, pause: Duration) -> Vec<Duration> {
    (0..FUNCTIONS)
        .map(|n| {
            std::thread::sleep(pause);
            timed(server, &format!("{kind}{n}"), r#"{"n":1}"#)
        })
        .collect()
}

fn at_once(server: &Server, many: usize) -> Vec<Duration> {
    let mut all = Vec::new();
    for round in 0..FUNCTIONS / many {
        std::thread::sleep(Duration::from_millis(500));
        std::thread::scope(|scope| {
            let calls: Vec<_> = (0..many)
                .map(|n| scope.spawn(move || timed(server, &format!("burst{}", round * many + n), r#"{"n":1}"#)))
                .collect();
            all.extend(calls.into_iter().map(|call| call.join().unwrap()));
        });
    }
    all
}

/// One invocation on a connection that is open already.
fn timed(server: &Server, function: &str, event: &str) -> Duration {
    let address = server.endpoint().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let request = format!(
        "POST /2015-03-31/functions/{function}/invocations HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{event}",
        event.len()
    );
    let begun = Instant::now();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = [0u8; 4096];
    let read = stream.read(&mut answer).unwrap();
    let took = begun.elapsed();
    assert!(
        answer[..read].starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&answer[..read])
    );
    took
}

fn row(what: &str, times: Vec<Duration>) {
    let times = sorted(times);
    println!(
        "| {what} | {:.2} | {:.2} |",
        ms(times[times.len() / 2]),
        ms(times[times.len() * 99 / 100])
    );
}

fn sorted(mut times: Vec<Duration>) -> Vec<Duration> {
    times.sort();
    times
}

fn name(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm"))
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn private_kib(pid: u32) -> u64 {
    kib(
        &format!("/proc/{pid}/smaps_rollup"),
        &["Private_Dirty:", "Private_Clean:"],
    )
}

fn resident_kib(pid: u32) -> u64 {
    kib(&format!("/proc/{pid}/smaps_rollup"), &["Rss:"])
}

fn kib(file: &str, names: &[&str]) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .filter(|line| names.iter().any(|name| line.starts_with(name)))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .sum()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
