//! `cargo bench --bench deployed`: a server with a thousand functions that were created through Lambda's API, beside one with sixty.
//!
//! Prints what it takes to create one, to start with all of them (until the first output, and until the endpoint answers), to list a page,
//! and to call one for the first time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports)]
mod support;

use std::time::{Duration, Instant};

use serde_json::Value;

use support::{Project, Server, create_function, get, invoke, package};

/// Functions that are called for the first time on each server.
const CALLED: usize = 60;
/// Long enough for a worker to be made in between.
const PAUSE: Duration = Duration::from_millis(60);
const CLIENTS: usize = 8;
const STARTS: usize = 5;

fn main() {
    println!(
        "| functions | one is created in | first output of `up` | endpoint answers | page of ListFunctions | first call |"
    );
    println!("|---|---|---|---|---|---|");
    for functions in [CALLED, 1000] {
        measure(functions);
    }
}

fn measure(functions: usize) {
    let project = Project::new("functions: {}\n", &[]);
    let server = project.up();
    let created = create_all(&server, functions);
    // The changes that follow a creation have ended.
    std::thread::sleep(Duration::from_secs(2));
    drop(server);

    let (mut outputs, mut answers) = (Vec::new(), Vec::new());
    for _ in 1..STARTS {
        drop(start(&project, &mut outputs, &mut answers));
    }
    let server = start(&project, &mut outputs, &mut answers);
    std::thread::sleep(Duration::from_secs(1));
    println!(
        "| {functions} | {} | {} | {} | {} | {} |",
        told(created),
        told(outputs),
        told(answers),
        told(pages(&server, functions)),
        told(first_calls(&server, functions)),
    );
}

fn create_all(server: &Server, functions: usize) -> Vec<Duration> {
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                scope.spawn(move || {
                    let create = |n| {
                        let code = format!("export const handler = async (event) => ({{ n: {n}, event }});");
                        let (name, zip) = (format!("f{n:04}"), package(&code));
                        let begun = Instant::now();
                        let answer = create_function(server, &name, &zip, Value::Null);
                        assert_eq!(answer.status, 201, "{}", answer.text());
                        begun.elapsed()
                    };
                    (client..functions).step_by(CLIENTS).map(create).collect::<Vec<_>>()
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    })
}

fn start(project: &Project, outputs: &mut Vec<Duration>, answers: &mut Vec<Duration>) -> Server {
    let begun = Instant::now();
    let server = project.up();
    outputs.push(begun.elapsed());
    assert_eq!(
        get(&format!("{}/2015-03-31/functions?MaxItems=1", server.endpoint())).status,
        200
    );
    answers.push(begun.elapsed());
    server
}

/// Every page, five times.
fn pages(server: &Server, functions: usize) -> Vec<Duration> {
    let mut times = Vec::new();
    for _ in 0..5 {
        let (mut seen, mut marker) = (0, String::new());
        loop {
            let begun = Instant::now();
            let page = get(&format!("{}/2015-03-31/functions?Marker={marker}", server.endpoint()));
            times.push(begun.elapsed());
            let page = page.json();
            seen += page["Functions"].as_array().unwrap().len();
            match page["NextMarker"].as_str() {
                Some(next) => marker = next.to_owned(),
                None => break,
            }
        }
        assert_eq!(seen, functions);
    }
    times
}

fn first_calls(server: &Server, functions: usize) -> Vec<Duration> {
    (0..functions)
        .step_by(functions / CALLED)
        .take(CALLED)
        .map(|n| {
            std::thread::sleep(PAUSE);
            let begun = Instant::now();
            let answer = invoke(server.endpoint(), &format!("f{n:04}"), "{}");
            let took = begun.elapsed();
            assert_eq!(answer.json()["n"], n);
            took
        })
        .collect()
}

/// Median and the slowest, in milliseconds.
fn told(mut times: Vec<Duration>) -> String {
    times.sort();
    let ms = |time: &Duration| time.as_secs_f64() * 1000.0;
    format!(
        "{:.1} ms (at most {:.1})",
        ms(&times[times.len() / 2]),
        ms(&times[times.len() - 1])
    )
}
