//! What is accepted is run, whatever happens to the server; and how often, how late and how much at once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Mutex;

use serde_json::{Value, json};

use crate::support::{Answer, Project, Server, command, invoke, invoke_event, skipped, try_request, wait_for};

/// Functions that note their request id, and wait for a sign of the test when the event says so.
const MANIFEST: &str = r#"
service: durability
defaults: { timeout: 60s, env: { PROJECT: "${dir}" }, allow: { read: [./signs], write: [./signs] } }
functions:
  two: { code: ./note.mjs, reservedConcurrency: 2 }
  one: { code: ./note.mjs, reservedConcurrency: 1 }
  many: { code: ./note.mjs }
  none: { code: ./note.mjs, reservedConcurrency: 0 }
  spin: { code: ./spin.mjs }
  fails: { code: ./fails.mjs }
  fails-once: { code: ./fails.mjs, async: { retries: 0 } }
  fails-old: { code: ./fails.mjs, async: { maxAge: 60s } }
"#;

const NOTE: &str = r#"
import { appendFileSync, existsSync, writeFileSync } from "node:fs";
const signs = `${process.env.PROJECT}/signs`;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
export const handler = async ({ started, until, ms = 0 }, { awsRequestId }) => {
  if (started) writeFileSync(`${signs}/${started}`, "");
  for (const sign of [until].flat()) while (sign && !existsSync(`${signs}/${sign}`)) await pause(10);
  await pause(ms);
  appendFileSync(`${signs}/ids`, `${awsRequestId}\n`);
  return awsRequestId;
};
"#;

const SPIN: &str = r#"
import { writeFileSync } from "node:fs";
export const handler = async () => { writeFileSync(`${process.env.PROJECT}/signs/spinning`, ""); while (true); };
"#;

const FAILS: &str = r#"
import { existsSync } from "node:fs";
export const handler = async () => {
  if (!existsSync(`${process.env.PROJECT}/signs/repaired`)) throw new RangeError("not today");
  return "at last";
};
"#;

const START: &str = "2026-05-01T10:00:00Z";

pub fn project() -> Project {
    let project = Project::new(
        MANIFEST,
        &[("note.mjs", NOTE), ("spin.mjs", SPIN), ("fails.mjs", FAILS)],
    );
    project.mkdir("signs");
    project
}

/// A server whose clock stands at [`START`].
fn up_at_start(project: &Project) -> Server {
    project.up_with(&["--test-mode", "--clock", START])
}

/// How often each request was noted.
pub fn noted(project: &Project) -> BTreeMap<String, usize> {
    let mut ids = BTreeMap::new();
    for id in std::fs::read_to_string(project.join("signs/ids"))
        .unwrap_or_default()
        .lines()
    {
        *ids.entry(id.to_owned()).or_default() += 1;
    }
    ids
}

fn wait_for_sign(project: &Project, sign: &str) {
    wait_for(sign, || project.join("signs").join(sign).exists().then_some(()));
}

pub fn wait_for_empty_queue(server: &Server) {
    wait_for("an empty queue", || (server.queued() == 0).then_some(()));
}

/// Queues an event; returns its request id.
#[track_caller]
pub fn accepted(server: &Server, function: &str, event: &Value) -> String {
    let answer = invoke_event(server.endpoint(), function, &event.to_string());
    assert_eq!((answer.status, answer.body.len()), (202, 0), "{answer:?}");
    request_id(&answer)
}

pub fn request_id(answer: &Answer) -> String {
    answer.header("x-amzn-requestid").unwrap().to_owned()
}

fn invocations(endpoint: &str, function: &str) -> String {
    format!("{endpoint}/2015-03-31/functions/{function}/invocations")
}

/// A command that asks the running server, and its output as JSON.
fn ask(server: &Server, arguments: &[&str]) -> Value {
    let output = command(arguments)
        .args(["--json", "--endpoint", server.endpoint()])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Attempts of a request in their order: number, status, when.
fn attempts(server: &Server, request_id: &str) -> Vec<(u64, String, String)> {
    let runs = server.runs(&format!("?requestId={request_id}"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    runs.iter()
        .rev()
        .map(|run| {
            (
                run["attempt"].as_u64().unwrap(),
                text(&run["status"]),
                text(&run["startedAt"]),
            )
        })
        .collect()
}

fn attempts_once_there_are(count: usize, server: &Server, request_id: &str) -> Vec<(u64, String, String)> {
    wait_for(&format!("{count} attempts"), || {
        Some(attempts(server, request_id)).filter(|attempts| attempts.len() >= count)
    })
}

fn dead_letter(server: &Server, function: &str) -> Value {
    wait_for("a dead letter", || {
        ask(server, &["dlq", "list", "--function", function])
            .as_array()
            .unwrap()
            .first()
            .cloned()
    })
}

#[test]
fn all_of_100_accepted_events_run_though_the_server_is_killed_while_they_run_and_wait() {
    let project = project();
    let server = project.up();
    let quick: Vec<_> = (0..20).map(|_| accepted(&server, "two", &json!({"ms": 30}))).collect();
    let held: Vec<_> = (0..80)
        .map(|n| {
            accepted(
                &server,
                "two",
                &json!({"started": format!("held-{n}"), "until": "go", "ms": 5}),
            )
        })
        .collect();
    wait_for_sign(&project, "held-1");
    assert!(
        quick.iter().all(|id| noted(&project).contains_key(id)),
        "the oldest run first"
    );
    assert!(held.iter().all(|id| !noted(&project).contains_key(id)));
    server.kill();

    project.write("signs/go", "");
    let server = project.up();
    wait_for_empty_queue(&server);
    let noted = noted(&project);
    let accepted: BTreeSet<_> = quick.iter().chain(&held).collect();
    assert_eq!(noted.keys().collect::<BTreeSet<_>>(), accepted);
    let twice = noted.values().filter(|count| **count > 1).count();
    assert!(twice < 10, "only what was not settled runs again: {twice}");
}

#[test]
fn every_event_that_got_its_202_runs_though_the_server_is_killed_while_more_are_sent() {
    let project = project();
    let server = project.up();
    let url = invocations(server.endpoint(), "two");
    let ids = Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Ok(answer) = try_request("POST", &url, &[("x-amz-invocation-type", "Event")], br#"{"ms":30}"#)
                {
                    assert_eq!(answer.status, 202, "{answer:?}");
                    ids.lock().unwrap().insert(request_id(&answer));
                }
            });
        }
        wait_for("40 events", || (ids.lock().unwrap().len() >= 40).then_some(()));
        server.kill();
    });
    let server = project.up();
    wait_for_empty_queue(&server);
    let noted = noted(&project);
    let lost: Vec<_> = ids
        .into_inner()
        .unwrap()
        .into_iter()
        .filter(|id| !noted.contains_key(id))
        .collect();
    assert!(lost.is_empty(), "{lost:?}");
}

#[test]
fn no_worker_outlives_a_killed_server() {
    let project = project();
    let server = project.up();
    let mut callers = Vec::new();
    for (function, event) in [("spin", "{}"), ("many", r#"{"started":"waiting","until":"never"}"#)] {
        let url = invocations(server.endpoint(), function);
        callers.push(std::thread::spawn(move || {
            try_request("POST", &url, &[], event.as_bytes()).is_err()
        }));
    }
    wait_for_sign(&project, "spinning");
    wait_for_sign(&project, "waiting");
    let workers: Vec<_> = processes()
        .into_iter()
        .filter(|process| process.parent == server.pid())
        .collect();
    assert!(
        workers.len() >= 3 && workers.iter().all(|worker| worker.name.starts_with("hikigane-")),
        "{workers:?}"
    );
    server.kill();
    wait_for("the workers' end", || {
        workers.iter().all(|worker| !processes().contains(worker)).then_some(())
    });
    assert!(
        callers.into_iter().all(|caller| caller.join().unwrap()),
        "the callers see the connection break"
    );
}

#[test]
fn the_server_runs_functions_as_the_first_process_of_a_container() {
    let contained = || {
        let mut unshare = Command::new("unshare");
        unshare.args(["--pid", "--fork", "--mount-proc", "--kill-child"]);
        unshare
    };
    if !contained()
        .arg("true")
        .output()
        .is_ok_and(|output| output.status.success())
    {
        skipped("a process namespace cannot be made here");
        return;
    }
    let project = project();
    let up = command(&["up", "hikigane.yaml", "--endpoint", "127.0.0.1:0", "--json"]);
    let server = project.up_as(contained().arg(up.get_program()).args(up.get_args()));
    let answer = invoke(server.endpoint(), "many", "{}");
    assert_eq!(
        (answer.status, answer.header("x-amz-function-error")),
        (200, None),
        "{answer:?}"
    );
}

#[derive(Debug)]
struct Process {
    id: u32,
    /// In clock ticks since the machine started: with the id, which is used again, it names a process.
    began: u64,
    name: String,
    parent: u32,
}

impl PartialEq for Process {
    fn eq(&self, other: &Self) -> bool {
        (self.id, self.began) == (other.id, other.began)
    }
}

/// The processes that run, without those that have ended and wait for their parent.
fn processes() -> Vec<Process> {
    let entries = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    entries.filter_map(process).collect()
}

/// A process by its line in `/proc` (proc_pid_stat(5)): `ID (NAME) STATE PARENT ..`, the 22nd is the start.
fn process(id: u32) -> Option<Process> {
    let line = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (head, tail) = line.rsplit_once(") ")?;
    let fields: Vec<_> = tail.split(' ').collect();
    let name = head.split_once('(')?.1.to_owned();
    let process = Process {
        id,
        began: fields[19].parse().ok()?,
        name,
        parent: fields[1].parse().ok()?,
    };
    (!matches!(fields[0], "Z" | "X")).then_some(process)
}

#[test]
fn ctrl_c_lets_running_invocations_finish_and_keeps_queued_events_for_the_next_start() {
    let project = project();
    let server = project.up();
    let callers: Vec<_> = (0..3)
        .map(|n| {
            let endpoint = server.endpoint().to_owned();
            std::thread::spawn(move || {
                invoke(
                    &endpoint,
                    "many",
                    &json!({"started": format!("sync-{n}"), "until": "go"}).to_string(),
                )
            })
        })
        .collect();
    let queued: Vec<_> = (0..5)
        .map(|n| accepted(&server, "one", &json!({"started": format!("async-{n}"), "until": "go"})))
        .collect();
    for sign in ["sync-0", "sync-1", "sync-2", "async-0"] {
        wait_for_sign(&project, sign);
    }

    let address = server.endpoint().trim_start_matches("http://").to_owned();
    let (status, _) = std::thread::scope(|scope| {
        scope.spawn(|| {
            wait_for("a closed endpoint", || {
                TcpStream::connect(&address).is_err().then_some(())
            });
            project.write("signs/go", "");
        });
        server.stop(2)
    });
    assert_eq!(status.code(), Some(0));
    for caller in callers {
        let answer = caller.join().unwrap();
        assert_eq!(
            (answer.status, answer.header("x-amz-function-error")),
            (200, None),
            "{answer:?}"
        );
    }
    let before = noted(&project);
    assert_eq!(
        queued.iter().map(|id| before.contains_key(id)).collect::<Vec<_>>(),
        [true, false, false, false, false]
    );

    let server = project.up();
    wait_for_empty_queue(&server);
    let after = noted(&project);
    assert!(
        queued.iter().all(|id| after.get(id) == Some(&1)),
        "{queued:?} {after:?}"
    );
}

#[test]
fn the_end_of_its_terminal_ends_the_server_as_ctrl_c_does_unless_it_was_to_outlive_it() {
    let project = project();
    let server = project.up();
    let call = {
        let endpoint = server.endpoint().to_owned();
        std::thread::spawn(move || invoke(&endpoint, "many", r#"{"started":"in","until":"go"}"#))
    };
    wait_for_sign(&project, "in");
    let address = server.endpoint().trim_start_matches("http://").to_owned();
    let hang_up = |pid: &str| assert!(Command::new("kill").args(["-1", pid]).status().unwrap().success());
    let pid = server.pid().to_string();
    let (status, _) = std::thread::scope(|scope| {
        scope.spawn(|| {
            wait_for("a closed endpoint", || {
                TcpStream::connect(&address).is_err().then_some(())
            });
            // The shell's is followed by the kernel's.
            hang_up(&pid);
            project.write("signs/go", "");
        });
        server.stop(1)
    });
    assert_eq!((status.code(), call.join().unwrap().status), (Some(0), 200));

    let up = command(&["up", "hikigane.yaml", "--endpoint", "127.0.0.1:0", "--json"]);
    let server = project.up_as(Command::new("nohup").arg(up.get_program()).args(up.get_args()));
    hang_up(&server.pid().to_string());
    assert_eq!(invoke(server.endpoint(), "many", "{}").status, 200);
    assert_eq!(server.stop(15).0.code(), Some(0));
}

#[test]
fn a_failing_event_is_tried_again_after_one_and_two_minutes_and_then_becomes_a_dead_letter() {
    let project = project();
    let server = up_at_start(&project);
    let id = accepted(&server, "fails", &json!({"n": 7}));
    attempts_once_there_are(1, &server, &id);
    // Just before its time it is not yet tried: an event queued after it overtakes it.
    for (early, due) in [
        ("2026-05-01T10:00:59Z", "2026-05-01T10:01:00Z"),
        ("2026-05-01T10:02:59Z", "2026-05-01T10:03:00Z"),
    ] {
        let count = attempts(&server, &id).len();
        assert_eq!(server.move_clock(early).status, 200);
        let other = accepted(&server, "many", &json!({}));
        attempts_once_there_are(1, &server, &other);
        assert_eq!(attempts(&server, &id).len(), count, "{early}");
        assert_eq!(server.move_clock(due).status, 200);
        attempts_once_there_are(count + 1, &server, &id);
    }
    let failed = |attempt: u64, at: &str| (attempt, "failed".to_owned(), at.to_owned());
    assert_eq!(
        attempts(&server, &id),
        [
            failed(1, START),
            failed(2, "2026-05-01T10:01:00Z"),
            failed(3, "2026-05-01T10:03:00Z")
        ]
    );

    let letter = dead_letter(&server, "fails");
    assert_eq!(
        (&letter["requestId"], &letter["condition"], &letter["attempts"]),
        (&json!(id), &json!("RetriesExhausted"), &json!(3))
    );
    assert_eq!(
        (&letter["acceptedAt"], &letter["diedAt"]),
        (&json!(START), &json!("2026-05-01T10:03:00Z"))
    );
    assert_eq!(server.queued(), 0);
}

#[test]
fn dead_letters_are_shown_redriven_and_purged_from_the_command_line() {
    let project = project();
    let server = project.up();
    let ids: Vec<_> = (0..3)
        .map(|n| accepted(&server, "fails-once", &json!({"n": n})))
        .collect();
    let letters = wait_for("three dead letters", || {
        Some(ask(&server, &["dlq"])).filter(|letters| letters.as_array().unwrap().len() == 3)
    });
    assert!(
        ids.iter().all(|id| attempts(&server, id).len() == 1),
        "retries: 0 means one attempt"
    );

    let of_first = letters
        .as_array()
        .unwrap()
        .iter()
        .find(|letter| letter["requestId"] == json!(ids[0]))
        .unwrap();
    let number = of_first["id"].to_string();
    let shown = ask(&server, &["dlq", "show", &number]);
    assert_eq!(
        (&shown["payload"], &shown["attempts"]),
        (&json!(r#"{"n":0}"#), &json!(1))
    );
    let response: Value = serde_json::from_str(shown["response"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&response["errorType"], &response["errorMessage"]),
        (&json!("RangeError"), &json!("not today"))
    );

    project.write("signs/repaired", "");
    assert_eq!(ask(&server, &["dlq", "redrive", &number]), json!({"redriven": 1}));
    let again = attempts_once_there_are(2, &server, &ids[0]);
    assert_eq!((again[1].0, again[1].1.as_str()), (1, "succeeded"));
    assert_eq!(ask(&server, &["dlq", "list"]).as_array().unwrap().len(), 2);

    assert_eq!(
        ask(&server, &["dlq", "purge", "--function", "many"]),
        json!({"purged": 0})
    );
    assert_eq!(ask(&server, &["dlq", "purge", "--all"]), json!({"purged": 2}));
    assert_eq!(ask(&server, &["dlq", "list"]), json!([]));
    let gone = command(&["dlq", "show", &number, "--endpoint", server.endpoint()])
        .output()
        .unwrap();
    assert_eq!(gone.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&gone.stderr).contains(&format!("no dead letter {number}")));
}

#[test]
fn an_event_that_would_outlive_its_age_becomes_a_dead_letter_also_when_the_server_was_down() {
    let project = project();
    let server = up_at_start(&project);
    let id = accepted(&server, "fails-old", &json!({}));
    attempts_once_there_are(1, &server, &id);
    // Sixty seconds are its age and not beyond; the next attempt would be.
    assert_eq!(server.move_clock("2026-05-01T10:01:00Z").status, 200);
    let letter = dead_letter(&server, "fails-old");
    assert_eq!(
        (&letter["condition"], &letter["attempts"], &letter["requestId"]),
        (&json!("EventAgeExceeded"), &json!(2), &json!(id))
    );

    let id = accepted(&server, "fails", &json!({}));
    attempts_once_there_are(1, &server, &id);
    server.kill();
    let server = project.up_with(&["--test-mode", "--clock", "2026-05-01T16:01:01Z"]);
    let letter = dead_letter(&server, "fails");
    assert_eq!(
        (&letter["condition"], &letter["attempts"], &letter["requestId"]),
        (&json!("EventAgeExceeded"), &json!(1), &json!(id))
    );
    assert_eq!(attempts(&server, &id).len(), 1, "it is not tried again");
}

#[test]
fn a_clock_that_was_set_back_keeps_no_event_waiting() {
    let project = project();
    let server = up_at_start(&project);
    let id = accepted(&server, "fails", &json!({}));
    attempts_once_there_are(1, &server, &id);
    server.kill();
    let server = project.up_with(&["--test-mode", "--clock", "2026-04-30T10:00:00Z"]);
    let attempts = attempts_once_there_are(2, &server, &id);
    assert_eq!(attempts[1].2, "2026-04-30T10:00:00Z");
}

#[test]
fn reserved_concurrency_zero_refuses_callers_and_turns_events_into_dead_letters() {
    let project = project();
    let server = project.up();
    assert_throttled(&invoke(server.endpoint(), "none", "{}"));
    let id = accepted(&server, "none", &json!({"n": 1}));
    let letter = dead_letter(&server, "none");
    assert_eq!(
        (&letter["condition"], &letter["attempts"], &letter["requestId"]),
        (&json!("ZeroReservedConcurrency"), &json!(0), &json!(id))
    );
    assert_eq!(
        ask(&server, &["dlq", "show", &letter["id"].to_string()])["response"],
        Value::Null
    );
    assert!(noted(&project).is_empty());
}

#[track_caller]
fn assert_throttled(answer: &Answer) {
    assert_eq!(
        (answer.status, answer.header("x-amzn-errortype")),
        (429, Some("TooManyRequestsException")),
        "{answer:?}"
    );
    let expected = json!({
        "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded", "Type": "User", "message": "Rate Exceeded.",
    });
    assert_eq!(answer.json(), expected);
}

#[test]
fn a_third_caller_of_a_function_that_reserves_two_is_refused_until_one_has_ended() {
    let project = project();
    let server = project.up();
    let endpoint = server.endpoint();
    std::thread::scope(|scope| {
        let call = |n: usize| {
            move || {
                invoke(
                    endpoint,
                    "two",
                    &json!({"started": format!("in-{n}"), "until": format!("go-{n}")}).to_string(),
                )
            }
        };
        let (first, second) = (scope.spawn(call(1)), scope.spawn(call(2)));
        wait_for_sign(&project, "in-1");
        wait_for_sign(&project, "in-2");
        assert_throttled(&invoke(endpoint, "two", "{}"));
        assert_eq!(invoke(endpoint, "many", "{}").status, 200, "others are not concerned");
        project.write("signs/go-1", "");
        assert_eq!(first.join().unwrap().status, 200);
        assert_eq!(invoke(endpoint, "two", "{}").status, 200);
        project.write("signs/go-2", "");
        assert_eq!(second.join().unwrap().status, 200);
    });
}

#[test]
fn a_function_without_reservation_runs_in_several_environments_at_once() {
    let project = project();
    let server = project.up();
    let endpoint = server.endpoint();
    // Each waits for all others to have begun: were one held back, none would end.
    let all: Vec<_> = (0..4).map(|n| format!("in-{n}")).collect();
    std::thread::scope(|scope| {
        let call = |n: usize| {
            let event = json!({"started": format!("in-{n}"), "until": &all}).to_string();
            move || invoke(endpoint, "many", &event)
        };
        let callers: Vec<_> = (0..4).map(|n| scope.spawn(call(n))).collect();
        let answers: BTreeSet<_> = callers
            .into_iter()
            .map(|caller| caller.join().unwrap().json().to_string())
            .collect();
        assert_eq!(answers.len(), 4);
    });
    let runs = wait_for("the runs", || {
        Some(server.runs("?function=many")).filter(|runs| runs.len() == 4)
    });
    assert!(
        runs.iter()
            .all(|run| run["status"] == "succeeded" && !run["initMs"].is_null()),
        "{runs:?}"
    );
    assert_eq!(invoke(endpoint, "many", "{}").status, 200);
    let newest = wait_for("the next run", || {
        Some(server.runs("?function=many")).filter(|runs| runs.len() == 5)
    });
    assert!(
        newest[0]["initMs"].is_null(),
        "a warm one is used again: {:?}",
        newest[0]
    );
}
