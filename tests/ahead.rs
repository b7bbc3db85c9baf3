//! Invocations that are sent ahead to a busy environment: each runs once, and none pays for what the one before it does.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::{Answer, Project, Server, error_of, invoke, value_of};

/// Leaves a mark that cannot be left twice, then does what the event says.
const ONCE: &str = r#"
    import { writeFileSync } from "node:fs";
    export const handler = async (event) => {
      if (event.n === undefined) return process.pid;
      writeFileSync(`${process.env.MARKS}/${event.n}`, "", { flag: "wx" });
      if (event.spin) { const end = Date.now() + event.spin; while (Date.now() < end); }
      if (event.exit) process.exit(event.exit);
      if (event.throw) throw new RangeError(event.throw);
      if (event.grow) { const all = []; while (true) all.push(new Array(1000).fill(0.5)); }
      return { n: event.n };
    };
"#;

const CLIENTS: usize = 24;
const ROUNDS: usize = 40;

fn serve_once(timeout: &str) -> (Project, Server) {
    let project = Project::new("", &[("once.mjs", ONCE)]);
    project.mkdir("marks");
    project.write(
        "hikigane.yaml",
        &format!(
            "functions:\n  once: {{ code: ./once.mjs, timeout: {timeout}, env: {{ MARKS: {0:?} }}, allow: {{ write: [{0:?}] }} }}\n",
            project.join("marks").display().to_string()
        ),
    );
    let server = project.up();
    // From now on it is known to be brief.
    for _ in 0..100 {
        value_of(&invoke(server.endpoint(), "once", "{}"));
    }
    (project, server)
}

/// Many clients at once; every so often one of the invocations does what `bad` says. Returns the answers by number, bad ones apart.
fn storm(timeout: &str, bad: &Value) -> (BTreeMap<usize, Answer>, BTreeMap<usize, Answer>) {
    let (project, server) = serve_once(timeout);
    let next = AtomicUsize::new(0);
    let mut answers = BTreeMap::new();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let mut mine = Vec::new();
                    for _ in 0..ROUNDS {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        let mut event = if is_bad(n) { bad.clone() } else { json!({}) };
                        event["n"] = n.into();
                        mine.push((n, invoke(server.endpoint(), "once", &event.to_string())));
                    }
                    mine
                })
            })
            .collect();
        for client in clients {
            answers.extend(client.join().unwrap());
        }
    });
    let marks = std::fs::read_dir(project.join("marks")).unwrap().count();
    assert_eq!(marks, CLIENTS * ROUNDS, "each invocation has run");
    let bad = answers.extract_if(.., |n, _| is_bad(*n)).collect();
    (answers, bad)
}

fn is_bad(n: usize) -> bool {
    n % 97 == 50
}

#[track_caller]
fn all_good(answers: &BTreeMap<usize, Answer>) {
    for (n, answer) in answers {
        assert_eq!(
            value_of(answer),
            json!({ "n": n }),
            "it ran once, and its answer is its own"
        );
    }
}

#[test]
fn those_behind_one_that_exits_run_elsewhere_once() {
    let (good, bad) = storm("30s", &json!({ "exit": 3 }));
    all_good(&good);
    for answer in bad.values() {
        let (kind, message) = error_of(answer);
        assert_eq!(kind, "Runtime.ExitError");
        assert!(message.ends_with("exit status 3"), "{message}");
    }
}

#[test]
fn those_behind_one_that_loops_are_taken_back() {
    let (good, bad) = storm("1s", &json!({ "spin": 60_000 }));
    all_good(&good);
    for answer in bad.values() {
        assert_eq!(error_of(answer).0, "Sandbox.Timedout");
    }
}

#[test]
fn one_that_lingers_ends_in_order_and_its_environment_is_used_again() {
    let (good, bad) = storm("30s", &json!({ "spin": 60 }));
    all_good(&good);
    all_good(&bad);
}

#[test]
fn an_error_or_a_memory_bomb_among_them_is_that_one_invocations_own() {
    let (good, bad) = storm("30s", &json!({ "throw": "mine" }));
    all_good(&good);
    for answer in bad.values() {
        assert_eq!(error_of(answer), ("RangeError".into(), "mine".into()));
    }
    let (good, bad) = storm("30s", &json!({ "grow": true }));
    all_good(&good);
    for answer in bad.values() {
        assert_eq!(error_of(answer).0, "Runtime.OutOfMemory");
    }
}
