//! The command line: what each command says, and what it says when something is wrong.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    Project, Server, children, command, get, in_session, invoke, invoke_event, request, serve, wait_for,
};

const ECHO: &str = "export const handler = async (event) => { console.log('said', event.say ?? 'nothing'); if (event.fail) { throw new TypeError(event.fail); } return { echo: event }; };";

/// How a command ended: exit code, standard output, standard error.
struct Ended {
    code: Option<i32>,
    out: String,
    error: String,
}

fn ended(output: Output) -> Ended {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended {
        code: output.status.code(),
        out: text(output.stdout),
        error: text(output.stderr),
    }
}

fn run_in(project: &Project, arguments: &[&str]) -> Ended {
    ended(command(arguments).current_dir(project.path()).output().unwrap())
}

fn echo() -> (Project, Server) {
    serve(&[("echo", "handler: index.handler", &[("index.mjs", ECHO)])])
}

/// Asks a running server.
fn ask(project: &Project, server: &Server, arguments: &[&str]) -> Ended {
    run_in(
        project,
        &[
            arguments,
            &["--endpoint", server.endpoint().strip_prefix("http://").unwrap()],
        ]
        .concat(),
    )
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

// --- check and schema -------------------------------------------------------------------------------------------------

#[test]
fn check_accepts_a_good_manifest() {
    let project = Project::new(
        "functions:\n  a:\n    code: ./a.mjs\n    events:\n      - schedule: { rate: rate(5 minutes) }\n      - http: GET /a\n",
        &[("a.mjs", ECHO)],
    );
    let done = run_in(&project, &["check"]);
    assert_eq!((done.code, done.error.as_str()), (Some(0), ""));
    assert_eq!(done.out, "hikigane.yaml: 1 functions, 2 events: valid\n");
    let done = run_in(&project, &["check", "--json"]);
    assert_eq!(
        (done.code, serde_json::from_str::<Value>(&done.out).unwrap()),
        (Some(0), json!([]))
    );
    let done = run_in(&project, &["check", "absent.yaml"]);
    assert_eq!(done.code, Some(2));
    assert!(done.error.contains("absent.yaml"), "{}", done.error);
}

const BAD: &str = "functions:\n  good: { code: ./good.mjs }\n  bad:\n    code: ./good.mjs\n    handlr: good.handler\n    timeout: 20 parsecs\n    memory: 64MB\n    events:\n      - schedule: { rate: \"0 0 2 * * 1\" }\n      - htp: GET /x\n";

#[test]
fn check_and_up_show_all_mistakes_at_once_with_their_places() {
    let project = Project::new(BAD, &[("good.mjs", ECHO)]);
    for arguments in [&["check"][..], &["up", "--endpoint", "127.0.0.1:0"][..]] {
        let done = run_in(&project, arguments);
        assert_eq!((done.code, done.out.as_str()), (Some(2), ""), "{arguments:?}");
        for place in [
            "hikigane.yaml:5:5",
            "hikigane.yaml:6:14",
            "hikigane.yaml:7:13",
            "hikigane.yaml:9:27",
            "hikigane.yaml:10:9",
        ] {
            assert!(done.error.contains(place), "{arguments:?}: {place}: {}", done.error);
        }
        assert!(done.error.contains("did you mean `handler`?"), "{}", done.error);
        assert!(done.error.contains("did you mean `http`?"), "{}", done.error);
        let lines: Vec<&str> = done.error.lines().collect();
        let shown = lines
            .iter()
            .position(|line| line.ends_with("    handlr: good.handler"))
            .unwrap();
        let underline = lines[shown + 1].trim_start_matches([' ', '|']);
        assert!(
            underline.starts_with("^^^^^^") && !underline.starts_with("^^^^^^^"),
            "{}",
            done.error
        );
        let column = |line: &str, what: &str| line.find(what).unwrap();
        assert_eq!(
            column(lines[shown], "handlr"),
            column(lines[shown + 1], "^"),
            "{}",
            done.error
        );
    }
    assert!(!project.join(".hikigane").exists(), "a refused manifest starts nothing");
    let done = run_in(&project, &["check", "--json"]);
    let report: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((done.code, report.as_array().unwrap().len()), (Some(2), 5), "{report}");
    for diagnostic in report.as_array().unwrap() {
        assert_eq!(diagnostic["severity"], "error");
        assert!(
            diagnostic["message"].is_string() && diagnostic["file"].is_string(),
            "{diagnostic}"
        );
    }
}

#[test]
fn what_is_no_yaml_is_an_error_with_a_place() {
    for (text, place) in [
        ("functions: [", "hikigane.yaml:1:"),
        (
            "functions:\n  a: { code: ./a.mjs }\n  a: { code: ./b.mjs }\n",
            "hikigane.yaml:3:3",
        ),
        ("functions:\n\ta: 1\n", "hikigane.yaml:2:"),
        ("", "hikigane.yaml"),
        ("just text", "hikigane.yaml:1:1"),
        ("functions:\n  a: { code: ./a.mjs, url: x }\n", "hikigane.yaml:2:"),
    ] {
        let project = Project::new(text, &[("a.mjs", ECHO), ("b.mjs", ECHO)]);
        let done = run_in(&project, &["check"]);
        assert_eq!(done.code, Some(2), "{text}: {}", done.error);
        assert!(
            done.error.contains(place) && done.error.starts_with("error"),
            "{text}: {}",
            done.error
        );
    }
}

#[test]
fn check_warns_of_functions_that_would_not_start() {
    let project = Project::new(
        "functions:\n  good: { code: ./good.mjs }\n  export: { code: ./good.mjs, handler: good.absent }\n  syntax: { code: ./syntax.mjs }\n  module: { code: ./module.mjs }\n  missing: { code: ./absent.mjs }\n  spins: { code: ./good.mjs, timeout: 1s }\n",
        &[
            ("good.mjs", ECHO),
            ("syntax.mjs", "export const handler = async () => { const = 1 };"),
            (
                "module.mjs",
                "import x from 'absent-package'; export const handler = x;",
            ),
        ],
    );
    let done = run_in(&project, &["check"]);
    assert_eq!(done.code, Some(0), "{}", done.error);
    for warning in [
        "function \"export\" does not start: Runtime.HandlerNotFound: good.absent is undefined or not exported",
        "function \"syntax\" does not start: Runtime.UserCodeSyntaxError: SyntaxError: ",
        "function \"module\" does not start: Error: Cannot find package 'absent-package'",
        "./absent.mjs",
    ] {
        assert!(done.error.contains(warning), "{warning}: {}", done.error);
    }
    assert!(!done.error.contains("\"good\""), "{}", done.error);
    assert!(!project.join(".hikigane").exists(), "check leaves nothing behind");

    let done = run_in(&project, &["check", "--json"]);
    let report: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((done.code, report.as_array().unwrap().len()), (Some(0), 4), "{report}");
    assert!(
        report
            .as_array()
            .unwrap()
            .iter()
            .all(|diagnostic| diagnostic["severity"] == "warning"),
        "{report}"
    );

    let server = project.up();
    assert_eq!(
        invoke(server.endpoint(), "good", "{}").json(),
        json!({"echo": {}}),
        "the server starts all the same"
    );
    assert_eq!(
        invoke(server.endpoint(), "missing", "{}").json()["errorType"],
        "Runtime.ImportModuleError"
    );
}

#[test]
fn check_does_not_run_handlers_or_write_files() {
    let code = "const fs = require('node:fs');\ntry { fs.writeFileSync(process.env.LAMBDA_TASK_ROOT + '/out/by-check', 'x'); } catch {}\nexports.handler = async () => { fs.writeFileSync('out/by-handler', 'x'); };";
    let project = Project::new(
        "functions:\n  f: { code: ./f.js, allow: { write: [./out] } }\n",
        &[("f.js", code)],
    );
    project.mkdir("out");
    let done = run_in(&project, &["check"]);
    assert_eq!(
        (done.code, std::fs::read_dir(project.join("out")).unwrap().count()),
        (Some(0), 0),
        "{}",
        done.error
    );
}

#[test]
fn schema_prints_a_json_schema_with_every_trigger() {
    let done = ended(command(&["schema"]).output().unwrap());
    let schema: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(done.code, Some(0));
    assert!(
        schema["$schema"].as_str().unwrap().contains("json-schema.org"),
        "{}",
        schema["$schema"]
    );
    for word in [
        "\"s3\"",
        "\"schedule\"",
        "\"http\"",
        "\"reservedConcurrency\"",
        "\"catchUp\"",
        "\"settle\"",
        "\"logFormat\"",
    ] {
        assert!(done.out.contains(word), "{word}");
    }
}

#[test]
fn a_wrong_command_line_is_exit_code_two_and_help_says_what_there_is() {
    for arguments in [
        &["frobnicate"][..],
        &["up", "--frobnicate"],
        &["invoke"],
        &["dlq", "redrive"],
        &[],
    ] {
        let done = ended(command(arguments).output().unwrap());
        assert_eq!(done.code, Some(2), "{arguments:?}: {}", done.error);
    }
    let done = ended(command(&["--help"]).output().unwrap());
    for word in ["up", "check", "schema", "invoke", "logs", "runs", "dlq", "Exit codes"] {
        assert!(done.code == Some(0) && done.out.contains(word), "{word}: {}", done.out);
    }
    assert!(
        !done.out.contains("worker"),
        "the hidden command is hidden: {}",
        done.out
    );
    let done = ended(command(&["--version"]).output().unwrap());
    assert!(
        done.code == Some(0) && done.out.starts_with("hikigane "),
        "{}",
        done.out
    );
}

#[test]
fn the_zygote_command_is_not_for_people() {
    let done = ended(command(&["zygote"]).stdin(Stdio::null()).output().unwrap());
    assert_eq!(done.code, Some(1));
    assert!(
        done.error.contains("workers are started by `hikigane up` only"),
        "{}",
        done.error
    );
}

// --- up ---------------------------------------------------------------------------------------------------------------

/// A process that ends with its test.
struct Kept(Child);

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `up` without `--json`, and what it said until it was ready.
fn up_for_a_person(project: &Project) -> (Kept, BufReader<ChildStdout>, String) {
    let child = command(&["up", "--endpoint", "127.0.0.1:0"])
        .current_dir(project.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut up = Kept(child);
    let mut output = BufReader::new(up.0.stdout.take().unwrap());
    let mut text = String::new();
    while !text.contains("Ctrl-C stops.") {
        assert!(output.read_line(&mut text).unwrap() > 0, "{text}");
    }
    (up, output, text)
}

#[test]
fn up_tells_a_person_what_runs_where_and_what_to_try() {
    let project = Project::copy_of("configs/quickstart");
    let manifest = std::fs::read_to_string(project.join("hikigane.yaml")).unwrap();
    project.write("hikigane.yaml", &manifest.replace("127.0.0.1:8080", "127.0.0.1:0"));
    let begun = Instant::now();
    let (mut up, mut output, text) = up_for_a_person(&project);
    let took = begun.elapsed();
    let field = |label: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(label));
        line.unwrap_or_else(|| panic!("no {label}: {text}")).trim_start()[label.len()..]
            .trim()
            .to_owned()
    };
    let endpoint = field("endpoint").split(' ').next().unwrap().to_owned();
    let gateway = field("gateway").split(' ').next().unwrap().to_owned();
    let watched = text
        .lines()
        .find(|line| line.contains("inbox"))
        .unwrap_or_else(|| panic!("no watched directory: {text}"));
    assert!(
        watched.contains(project.path().to_str().unwrap()) || watched.contains("./inbox"),
        "{watched}"
    );
    let schedule = text
        .lines()
        .find(|line| line.contains("rate(1 minute)"))
        .unwrap_or_else(|| panic!("no schedule: {text}"));
    assert!(schedule.contains("next") && schedule.contains(':'), "{schedule}");
    assert!(field("data").ends_with(".hikigane"), "{text}");
    assert!(
        text.contains("hikigane invoke ") && text.contains("hikigane logs --follow --endpoint 127.0.0.1:"),
        "{text}"
    );
    let curl = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("curl "))
        .unwrap()
        .to_owned();
    assert_eq!(get(&curl).status, 200, "what is shown to try works: {curl}");
    assert!(get(&format!("{gateway}/hello/you")).text().contains("you"));
    assert_eq!(get(&format!("{endpoint}/2015-03-31/functions")).status, 200);
    eprintln!("ready after {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(
        Command::new("kill")
            .args(["-2", &up.0.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert!(up.0.wait().unwrap().success());
    assert!(rest.contains("stopping"), "{rest}");
}

/// `up` must fail with exit code 1 and one sentence with these words, and leave nothing behind.
#[track_caller]
fn fails_to_start(project: &Project, arguments: &[&str], words: &[&str]) {
    // A session of its own: whatever it starts and leaves behind can be told by it.
    let up = Command::new("setsid")
        .arg(env!("CARGO_BIN_EXE_hikigane"))
        .arg("up")
        .args(arguments)
        .current_dir(project.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let session = up.id();
    let done = ended(up.wait_with_output().unwrap());
    assert_eq!((done.code, done.out.as_str()), (Some(1), ""), "{}", done.error);
    assert!(
        done.error.starts_with("error: ") && done.error.trim_end().lines().count() == 1,
        "{}",
        done.error
    );
    for word in words {
        assert!(done.error.contains(word), "{word}: {}", done.error);
    }
    wait_for("its processes to end", || in_session(session).is_empty().then_some(()));
}

#[test]
fn a_port_in_use_stops_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let free = free_port();
    let project = Project::new(
        &format!(
            "functions:\n  a: {{ code: ./a.mjs, events: [{{ http: GET /a }}] }}\nsources: {{ http: {{ listen: 127.0.0.1:{free} }} }}\n"
        ),
        &[("a.mjs", ECHO)],
    );
    fails_to_start(&project, &["--endpoint", &address], &[&address, "--endpoint"]);
    TcpListener::bind(("127.0.0.1", free)).expect("the gateway's port is free again");

    project.write("hikigane.yaml", &format!("functions:\n  a: {{ code: ./a.mjs, events: [{{ http: GET /a }}] }}\nsources: {{ http: {{ listen: \"{address}\" }} }}\n"));
    fails_to_start(&project, &["--endpoint", &format!("127.0.0.1:{free}")], &[&address]);
    TcpListener::bind(("127.0.0.1", free)).expect("the endpoint's port is free again");
}

#[test]
fn a_missing_bucket_directory_stops_the_start() {
    let free = free_port();
    let project = Project::new(
        "functions:\n  a: { code: ./a.mjs, events: [{ s3: { bucket: inbox, event: \"s3:ObjectCreated:*\" } }] }\nsources: { s3: { buckets: { inbox: { path: ./inbox } } } }\n",
        &[("a.mjs", ECHO)],
    );
    fails_to_start(&project, &["--endpoint", &format!("127.0.0.1:{free}")], &["inbox"]);
    project.write("inbox", "a file, no directory");
    fails_to_start(&project, &["--endpoint", &format!("127.0.0.1:{free}")], &["inbox"]);
    TcpListener::bind(("127.0.0.1", free)).expect("the endpoint's port is free again");
}

#[test]
fn a_data_directory_that_cannot_be_used_stops_the_start() {
    let free = free_port();
    let endpoint = format!("127.0.0.1:{free}");
    let project = Project::new(
        "functions:\n  a: { code: ./a.mjs }\n",
        &[("a.mjs", ECHO), ("file", "text")],
    );
    fails_to_start(
        &project,
        &["--endpoint", &endpoint, "--data", "file/data"],
        &["file/data"],
    );
    fails_to_start(&project, &["--endpoint", &endpoint, "--data", "file"], &["file"]);
    fails_to_start(
        &project,
        &["--endpoint", &endpoint, "--data", "/proc/hikigane"],
        &["/proc/hikigane"],
    );
    TcpListener::bind(("127.0.0.1", free)).expect("the endpoint's port is free again");
}

#[test]
fn a_data_directory_has_one_server() {
    let project = Project::new("functions:\n  a: { code: ./a.mjs }\n", &[("a.mjs", ECHO)]);
    let server = project.up();
    let free = free_port();
    let done = run_in(&project, &["up", "--endpoint", &format!("127.0.0.1:{free}")]);
    assert_eq!((done.code, done.out.as_str()), (Some(1), ""), "{}", done.error);
    assert!(
        done.error.starts_with("error: ") && done.error.trim_end().lines().count() == 1,
        "{}",
        done.error
    );
    assert!(
        done.error.contains(".hikigane") && done.error.contains("another"),
        "{}",
        done.error
    );
    TcpListener::bind(("127.0.0.1", free)).expect("the second server's port is free again");
    assert_eq!(
        invoke(server.endpoint(), "a", "1").json(),
        json!({"echo": 1}),
        "the first server goes on"
    );
    server.kill();
    let server = project.up();
    assert_eq!(
        invoke(server.endpoint(), "a", "1").json(),
        json!({"echo": 1}),
        "a killed server leaves no lock"
    );
}

#[test]
fn only_loopback_is_listened_on() {
    let project = Project::new("functions:\n  a: { code: ./a.mjs }\n", &[("a.mjs", ECHO)]);
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:9000"] {
        fails_to_start(&project, &["--endpoint", address], &["loopback", "127.0.0.1"]);
    }
    let done = run_in(&project, &["up", "--endpoint", "nonsense"]);
    assert_eq!(done.code, Some(2), "{}", done.error);
}

#[test]
fn the_second_signal_ends_at_once() {
    let slow = "import fs from 'node:fs'; export const handler = async () => { fs.writeFileSync(`${process.env.OUT}/begun`, ''); await new Promise((done) => setTimeout(done, 50000)); };";
    let project = Project::new(
        "functions:\n  slow: { code: ./slow.mjs, timeout: 60s, env: { OUT: \"${dir}/out\" }, allow: { write: [./out] } }\n",
        &[("slow.mjs", slow)],
    );
    project.mkdir("out");
    let (mut up, mut output, text) = up_for_a_person(&project);
    let endpoint = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("endpoint"))
        .unwrap()
        .trim()
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    assert_eq!(invoke_event(&endpoint, "slow", "{}").status, 202);
    wait_for("the event to run", || project.join("out/begun").exists().then_some(()));
    let workers = children(up.0.id());
    let signal = |number: &str| {
        assert!(
            Command::new("kill")
                .args([number, &up.0.id().to_string()])
                .status()
                .unwrap()
                .success()
        )
    };
    signal("-2");
    let mut stopping = String::new();
    while !stopping.contains("stopping") {
        assert!(output.read_line(&mut stopping).unwrap() > 0, "{stopping}");
    }
    let begun = Instant::now();
    signal("-2");
    let status = up.0.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    wait_for("the workers to end", || {
        workers
            .iter()
            .all(|pid| !Path::new(&format!("/proc/{pid}")).exists())
            .then_some(())
    });
    let server = project.up();
    wait_for("the event to be there again", || (server.queued() == 1).then_some(()));
}

// --- Asking a server --------------------------------------------------------------------------------------------------

#[test]
fn without_a_server_the_commands_say_what_to_do() {
    let project = Project::new("functions: {}\n", &[]);
    let endpoint = format!("127.0.0.1:{}", free_port());
    for arguments in [
        &["invoke", "f"][..],
        &["runs"],
        &["runs", "show", "1"],
        &["logs"],
        &["logs", "-f"],
        &["dlq"],
        &["dlq", "purge", "--all"],
    ] {
        let done = run_in(&project, &[arguments, &["--endpoint", &endpoint]].concat());
        assert_eq!((done.code, done.out.as_str()), (Some(1), ""), "{arguments:?}");
        for word in ["error: no server answers at", &endpoint, "hikigane up", "--endpoint"] {
            assert!(done.error.contains(word), "{arguments:?}: {word}: {}", done.error);
        }
    }
}

#[test]
fn invoke_takes_its_event_from_anywhere() {
    let (project, server) = echo();
    project.write("event.json", r#"{"from":"file"}"#);
    let done = ask(&project, &server, &["invoke", "echo"]);
    assert_eq!(
        (done.code, done.out.as_str(), done.error.as_str()),
        (Some(0), "{\"echo\":{}}\n", "")
    );
    let done = ask(&project, &server, &["invoke", "echo", "--event", "event.json"]);
    assert_eq!(
        (done.code, done.out.as_str()),
        (Some(0), "{\"echo\":{\"from\":\"file\"}}\n")
    );
    let done = ask(&project, &server, &["invoke", "echo", "-e", r#"{"from":"line"}"#]);
    assert_eq!(
        (done.code, done.out.as_str()),
        (Some(0), "{\"echo\":{\"from\":\"line\"}}\n")
    );
    let mut child = command(&["invoke", "echo", "--event", "-", "--endpoint", server.endpoint()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(br#"{"from":"stdin"}"#).unwrap();
    let done = ended(child.wait_with_output().unwrap());
    assert_eq!(
        (done.code, done.out.as_str()),
        (Some(0), "{\"echo\":{\"from\":\"stdin\"}}\n")
    );

    let done = ask(&project, &server, &["invoke", "echo", "--event", "absent.json"]);
    assert_eq!(done.code, Some(1));
    assert!(
        done.error.contains("cannot read the event from \"absent.json\""),
        "{}",
        done.error
    );
    let done = ask(&project, &server, &["invoke", "echo", "--event", "{broken"]);
    assert!(
        done.code == Some(1) && done.error.contains("Could not parse"),
        "{}",
        done.error
    );
    let done = ask(&project, &server, &["invoke", "absent"]);
    assert!(
        done.code == Some(1) && done.error.contains("Function not found"),
        "{}",
        done.error
    );
}

#[test]
fn invoke_shows_log_errors_and_json() {
    let (project, server) = echo();
    let done = ask(
        &project,
        &server,
        &["invoke", "echo", "-e", r#"{"say":"\u001b[31mred"}"#, "--log"],
    );
    assert_eq!(done.code, Some(0));
    assert!(
        done.error.contains("START RequestId: ")
            && done.error.contains("\tINFO\tsaid ")
            && done.error.contains("REPORT "),
        "{}",
        done.error
    );
    assert!(!done.error.contains('\u{1b}'), "a log cannot command the terminal");

    let done = ask(&project, &server, &["invoke", "echo", "-e", r#"{"fail":"on purpose"}"#]);
    assert_eq!(done.code, Some(1));
    let error: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(
        (&error["errorType"], &error["errorMessage"]),
        (&json!("TypeError"), &json!("on purpose"))
    );

    let done = ask(
        &project,
        &server,
        &["invoke", "echo", "-e", r#"{"fail":"again"}"#, "--json"],
    );
    let answer: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(
        (done.code, &answer["functionError"], &answer["status"]),
        (Some(1), &json!("Unhandled"), &json!(200))
    );
    assert_eq!(answer["payload"]["errorMessage"], "again");

    let done = ask(&project, &server, &["invoke", "echo", "--async"]);
    assert!(
        done.code == Some(0) && done.out.starts_with("queued as "),
        "{}",
        done.out
    );
    let id = json!(done.out.trim().strip_prefix("queued as ").unwrap());
    wait_for("the queued run", || {
        server
            .runs("")
            .into_iter()
            .find(|run| run["requestId"] == id && run["status"] == "succeeded")
    });
}

#[test]
fn runs_are_listed_shown_and_replayed() {
    let (project, server) = echo();
    let done = ask(&project, &server, &["runs"]);
    assert_eq!((done.code, done.out.as_str()), (Some(0), "no run yet\n"));
    invoke(server.endpoint(), "echo", r#"{"say":"first"}"#);
    invoke(server.endpoint(), "echo", r#"{"fail":"second"}"#);
    let runs = wait_for("two runs", || Some(server.runs("")).filter(|runs| runs.len() == 2));

    let done = ask(&project, &server, &["runs"]);
    let lines: Vec<&str> = done.out.lines().collect();
    assert_eq!((done.code, lines.len()), (Some(0), 3), "{}", done.out);
    assert!(
        lines[0].starts_with("ID") && lines[0].contains("STATUS") && lines[0].contains("DURATION"),
        "{}",
        done.out
    );
    assert!(
        lines[1].contains("failed") && lines[2].contains("succeeded") && lines[2].contains(" ms"),
        "{}",
        done.out
    );
    let done = ask(&project, &server, &["runs", "--json", "--status", "failed"]);
    let listed: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(
        (listed.as_array().unwrap().len(), &listed[0]["function"]),
        (1, &json!("echo"))
    );
    let done = ask(&project, &server, &["runs", "list", "--function", "other"]);
    assert_eq!((done.code, done.out.as_str()), (Some(0), "no run yet\n"));
    let done = ask(&project, &server, &["runs", "--status", "wrong"]);
    assert!(
        done.code == Some(1) && done.error.contains("\"wrong\" is no status of a run"),
        "{}",
        done.error
    );

    let first = runs[1]["id"].to_string();
    let done = ask(&project, &server, &["runs", "show", &first]);
    for text in [
        "requestId",
        "succeeded",
        "{\"say\":\"first\"}",
        "\tINFO\tsaid first",
        "{\"echo\":",
    ] {
        assert!(done.code == Some(0) && done.out.contains(text), "{text}: {}", done.out);
    }
    let done = ask(&project, &server, &["runs", "show", &first, "--json"]);
    let shown: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(
        (&shown["input"], &shown["status"]),
        (&json!("{\"say\":\"first\"}"), &json!("succeeded"))
    );
    let done = ask(&project, &server, &["runs", "replay", &first]);
    assert!(
        done.code == Some(0) && done.out.starts_with("queued as "),
        "{}{}",
        done.out,
        done.error
    );
    let replayed = wait_for("the replay", || {
        server
            .runs("")
            .into_iter()
            .find(|run| run["id"].as_i64() > runs[0]["id"].as_i64())
    });
    assert_eq!(server.run(&replayed["id"])["input"], "{\"say\":\"first\"}");
    let done = ask(&project, &server, &["runs", "show", "99999"]);
    assert!(
        done.code == Some(1) && done.error.contains("there is no run 99999"),
        "{}",
        done.error
    );
}

#[test]
fn dead_letters_are_listed_shown_redriven_and_purged() {
    let project = Project::new(
        "functions:\n  echo: { code: ./echo.mjs, async: { retries: 0 } }\n",
        &[("echo.mjs", ECHO)],
    );
    let server = project.up();
    let done = ask(&project, &server, &["dlq"]);
    assert_eq!((done.code, done.out.as_str()), (Some(0), "no dead letters\n"));
    assert_eq!(
        invoke_event(server.endpoint(), "echo", r#"{"fail":"for ever"}"#).status,
        202
    );
    let dead = || -> Value { serde_json::from_str(&ask(&project, &server, &["dlq", "--json"]).out).unwrap() };
    let letter = wait_for("the dead letter", || dead().as_array().unwrap().first().cloned());
    let id = letter["id"].to_string();

    let done = ask(&project, &server, &["dlq", "list"]);
    assert!(
        done.out.starts_with("ID") && done.out.contains("RetriesExhausted") && done.out.contains("echo"),
        "{}",
        done.out
    );
    let done = ask(&project, &server, &["dlq", "show", &id]);
    assert!(
        done.out.contains("{\"fail\":\"for ever\"}") && done.out.contains("TypeError"),
        "{}",
        done.out
    );
    let done = ask(&project, &server, &["dlq", "show", &id, "--json"]);
    let shown: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((&shown["function"], &shown["attempts"]), (&json!("echo"), &json!(1)));

    let done = ask(&project, &server, &["dlq", "redrive", &id]);
    assert_eq!(
        (done.code, done.out.as_str()),
        (Some(0), "1 redriven\n"),
        "{}",
        done.error
    );
    wait_for("it to die again", || {
        dead()
            .as_array()
            .unwrap()
            .iter()
            .any(|letter| letter["id"].as_i64() != id.parse().ok())
            .then_some(())
    });
    let done = ask(&project, &server, &["dlq", "purge", "--function", "other"]);
    assert_eq!((done.code, done.out.as_str()), (Some(0), "0 purged\n"));
    let done = ask(&project, &server, &["dlq", "purge", "--all"]);
    assert_eq!(
        (done.code, done.out.as_str()),
        (Some(0), "1 purged\n"),
        "{}",
        done.error
    );
    assert_eq!(dead(), json!([]));
    let done = ask(&project, &server, &["dlq", "show", &id]);
    assert!(
        done.code == Some(1) && done.error.contains(&format!("there is no dead letter {id}")),
        "{}",
        done.error
    );
}

#[test]
fn logs_of_past_runs_are_printed_oldest_first() {
    let project = Project::new(
        "functions:\n  one: { code: ./echo.mjs, handler: echo.handler }\n  two: { code: ./echo.mjs, handler: echo.handler }\n",
        &[("echo.mjs", ECHO)],
    );
    let server = project.up();
    for (function, say) in [("one", "first"), ("two", "second"), ("one", "third")] {
        invoke(server.endpoint(), function, &json!({ "say": say }).to_string());
    }
    wait_for("three runs", || (server.runs("").len() == 3).then_some(()));
    let said = |arguments: &[&str]| -> Vec<String> {
        let done = ask(&project, &server, &[&["logs"], arguments].concat());
        assert_eq!(done.code, Some(0), "{}", done.error);
        done.out
            .lines()
            .filter_map(|line| Some(line.split_once("\tsaid ")?.1.to_owned()))
            .collect()
    };
    assert_eq!(said(&[]), ["first", "second", "third"]);
    assert_eq!(said(&["one"]), ["first", "third"]);
    assert_eq!(said(&["-n", "1"]), ["third"]);
    let done = ask(&project, &server, &["logs", "two", "--json"]);
    let record: Value = serde_json::from_str(done.out.trim()).unwrap();
    assert!(
        record["function"] == "two" && record["log"].as_str().unwrap().contains("said second"),
        "{record}"
    );
}

#[test]
fn logs_are_followed_while_the_function_still_runs() {
    let code = "export const handler = async (event) => { console.log('begun', event.n); await new Promise((done) => setTimeout(done, 50000)); };";
    let (_project, server) = serve(&[
        ("slow", "handler: index.handler, timeout: 60s", &[("index.mjs", code)]),
        ("echo", "handler: index.handler", &[("index.mjs", ECHO)]),
    ]);
    let follow = |arguments: &[&str]| {
        let mut child = command(&[&["logs", "-f", "--endpoint", server.endpoint()], arguments].concat())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        (Kept(child), output)
    };
    invoke(server.endpoint(), "echo", r#"{"say":"before"}"#);
    wait_for("the first run", || (server.runs("").len() == 1).then_some(()));
    let (follower, mut output) = follow(&[]);
    let mut text = String::new();
    while !text.contains("said before") {
        assert!(output.read_line(&mut text).unwrap() > 0, "{text}");
    }
    assert_eq!(invoke_event(server.endpoint(), "slow", r#"{"n":7}"#).status, 202);
    while !text.contains("\tINFO\tbegun 7\n") {
        assert!(output.read_line(&mut text).unwrap() > 0, "{text}");
    }
    assert_eq!(server.queued(), 1, "the function still runs");
    drop(follower);
    assert_eq!(
        invoke(server.endpoint(), "echo", "{}").status,
        200,
        "a follower that leaves disturbs nobody"
    );
}

// --- The endpoint is for its own machine ------------------------------------------------------------------------------

#[test]
fn web_pages_are_refused() {
    let (_project, server) = echo();
    let port = server.endpoint().rsplit(':').next().unwrap();
    let url = |path: &str| format!("{}{path}", server.endpoint());
    let own = format!("localhost:{port}");
    for path in [
        "/2015-03-31/functions",
        "/_hikigane/runs",
        "/_hikigane/logs",
        "/nothing",
    ] {
        for header in [
            ("host", "evil.example"),
            ("host", "evil.example:9000"),
            ("origin", "http://evil.example"),
            ("origin", "null"),
            ("host", "127.0.0.1.evil.example"),
        ] {
            let answer = request("GET", &url(path), &[header], &[]);
            assert_eq!(
                (answer.status, answer.header("x-amzn-errortype")),
                (403, Some("AccessDeniedException")),
                "{path} {header:?}"
            );
        }
    }
    let answer = request(
        "POST",
        &url("/2015-03-31/functions/echo/invocations"),
        &[("origin", "http://evil.example")],
        b"{}",
    );
    assert_eq!(answer.status, 403);
    let answer = request(
        "OPTIONS",
        &url("/2015-03-31/functions/echo/invocations"),
        &[
            ("origin", "http://evil.example"),
            ("access-control-request-method", "POST"),
        ],
        &[],
    );
    assert_eq!(
        (answer.status, answer.header("access-control-allow-origin")),
        (403, None)
    );
    assert_eq!(server.runs(""), Vec::<Value>::new(), "nothing ran");
    let answer = request(
        "GET",
        &url("/2015-03-31/functions"),
        &[("host", &own), ("origin", &format!("http://{own}"))],
        &[],
    );
    assert_eq!(answer.status, 200);
}

#[test]
fn what_does_not_exist_is_a_json_error() {
    let (_project, server) = echo();
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/nothing"),
        ("PUT", "/2015-03-31/functions"),
        ("GET", "/2015-03-31/functions/echo/invocations"),
        ("POST", "/_hikigane/runs"),
        ("GET", "/2015-03-31/functions/echo/nothing"),
        ("DELETE", "/"),
        ("GET", "/%ff%00"),
        ("GET", "//2015-03-31//functions"),
    ] {
        let answer = request(method, &format!("{}{path}", server.endpoint()), &[], &[]);
        assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text());
        assert!(answer.header("x-amzn-errortype").is_some(), "{method} {path}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert!(answer.json().is_object());
    }
    for path in [
        "/_hikigane/runs/notanumber",
        "/_hikigane/runs?limit=x",
        "/_hikigane/runs?wrong=1",
        "/_hikigane/dlq/1e9",
        "/2015-03-31/functions?MaxItems=x",
    ] {
        let answer = get(&format!("{}{path}", server.endpoint()));
        assert!((400..500).contains(&answer.status), "{path}: {}", answer.status);
    }
}

#[test]
fn rubbish_on_the_port_hurts_nobody() {
    let (_project, server) = echo();
    let address = server.endpoint().strip_prefix("http://").unwrap();
    let head = format!("POST /2015-03-31/functions/echo/invocations HTTP/1.1\r\nhost: {address}\r\n");
    let mut noise = Vec::new();
    let mut state = 7_u32;
    for _ in 0..20_000 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        noise.push((state >> 24) as u8);
    }
    let mut open = Vec::new();
    for bytes in [
        noise,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\nhost: x\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        vec![b'A'; 1 << 20],
        format!("{head}content-length: 100\r\n\r\nshort").into_bytes(),
        format!("{head}content-length: -1\r\n\r\n").into_bytes(),
        format!("{head}content-length: 99999999999999999999\r\n\r\n").into_bytes(),
        format!("{head}transfer-encoding: chunked\r\n\r\nzz\r\n").into_bytes(),
        format!("{head}x: {}\r\n\r\n", "y".repeat(1 << 20)).into_bytes(),
        format!("{head}content-length: 2\r\ncontent-length: 3\r\n\r\n{{}}").into_bytes(),
    ] {
        let mut stream = TcpStream::connect(address).unwrap();
        let _ = stream.write_all(&bytes);
        open.push(stream);
        assert_eq!(invoke(server.endpoint(), "echo", "1").json(), json!({"echo": 1}));
    }
    drop(open);
    assert_eq!(invoke(server.endpoint(), "echo", "2").json(), json!({"echo": 2}));
}
