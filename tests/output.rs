//! What the commands print, and to whom: readers who leave, terminals, people who mistype, servers that are none.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write, pipe};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::{Project, Server, command, get, invoke, invoke_event, serve, wait_for};

const ECHO: &str =
    "export const handler = async (event) => { if (event?.log) { console.log(event.log); } return event; };";

fn echo() -> (Project, Server) {
    serve(&[("echo", "handler: index.handler", &[("index.mjs", ECHO)])])
}

fn ask(server: &Server, arguments: &[&str]) -> Output {
    command(&[arguments, &["--endpoint", server.endpoint()]].concat())
        .output()
        .unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn error(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The writing end of a pipe that nobody reads.
fn unread() -> Stdio {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    writer.into()
}

#[test]
fn a_reader_who_leaves_ends_the_command_quietly() {
    let (project, server) = echo();
    assert_eq!(invoke(server.endpoint(), "echo", "{}").status, 200);
    wait_for("the run", || {
        out(&ask(&server, &["runs"])).contains("echo").then_some(())
    });
    let endpoint = ["--endpoint", server.endpoint()];
    for arguments in [
        &["runs"][..],
        &["runs", "--json"],
        &["runs", "show", "1"],
        &["logs"],
        &["dlq"],
        &["invoke", "echo"],
        &["invoke", "echo", "--json"],
        &["check"],
        &["check", "--json"],
        &["schema"],
    ] {
        let asks = !matches!(arguments[0], "check" | "schema");
        let output = command(arguments)
            .args(if asks { &endpoint[..] } else { &[] })
            .current_dir(project.path())
            .stdout(unread())
            .output()
            .unwrap();
        assert_eq!(
            (output.status.code(), error(&output).as_str()),
            (Some(0), ""),
            "{arguments:?}"
        );
    }

    let mut follow = command(&["logs", "--follow", "--runs", "0", "--endpoint", server.endpoint()])
        .stdout(unread())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let status = wait_for("the command that follows to end", || {
        invoke(server.endpoint(), "echo", r#"{"log": "something"}"#);
        follow.try_wait().unwrap()
    });
    let mut said = String::new();
    follow.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((status.code(), said.as_str()), (Some(0), ""));
}

#[test]
fn a_server_that_nobody_listens_to_goes_on() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // Its missing code is warned of.
    let project = Project::new(
        "functions:\n  a: { code: ./a.mjs }\n  b: { code: ./b.mjs }\n",
        &[("a.mjs", ECHO)],
    );
    let mut up = command(&["up", "--endpoint", &free.to_string()])
        .current_dir(project.path())
        .stdout(unread())
        .stderr(unread())
        .spawn()
        .unwrap();
    let endpoint = format!("http://{free}");
    wait_for("the server", || {
        assert_eq!(up.try_wait().unwrap(), None, "it runs");
        std::net::TcpStream::connect(free).ok()
    });
    assert_eq!(invoke(&endpoint, "a", "7").text(), "7");
    terminate(&mut up);
}

#[test]
fn a_server_whose_damaged_log_nobody_hears_of_comes_up() {
    let (project, server) = echo();
    for _ in 0..20 {
        assert_eq!(invoke_event(server.endpoint(), "echo", "{}").status, 202);
    }
    server.kill();
    // Damage in the first frame of the database's log, and whole frames behind it.
    let log = project.join(".hikigane/hikigane.db-wal");
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[32 + 24 + 100] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    let mut up = command(&["up", "--endpoint", "127.0.0.1:0", "--json"])
        .current_dir(project.path())
        .stdout(Stdio::piped())
        .stderr(unread())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(up.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    assert!(
        project.join(".hikigane/hikigane.db-wal.damaged").exists(),
        "there is something to warn of"
    );
    let ready: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(invoke(ready["endpoint"].as_str().unwrap(), "echo", "7").text(), "7");
    terminate(&mut up);
}

/// Ctrl-C, and the end that it should have.
fn terminate(up: &mut Child) {
    let killed = Command::new("kill").args(["-2", &up.id().to_string()]).status();
    assert!(killed.unwrap().success());
    assert_eq!(up.wait().unwrap().code(), Some(0), "it ends as it should");
}

/// What a command prints on a terminal (`script` makes one).
fn on_a_terminal(arguments: &[&str]) -> String {
    let program = env!("CARGO_BIN_EXE_hikigane");
    let words: Vec<String> = std::iter::once(&program)
        .chain(arguments)
        .map(|word| format!("'{}'", word.replace('\'', r"'\''")))
        .collect();
    let output = Command::new("script")
        .args(["-qec", &words.join(" "), "/dev/null"])
        .stdin(File::open("/dev/null").unwrap())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn functions_do_not_command_the_terminal() {
    let (_project, server) = echo();
    // A colour, a title, and the one-byte form of what begins both, which JSON leaves as it is.
    let hostile = "\u{1b}[31mred\u{1b}]0;title\u{7}\u{9b}2J\u{9d}0;x\u{9c}\u{8}";
    let event = json!({"log": hostile, "back": hostile}).to_string();
    assert_eq!(invoke(server.endpoint(), "echo", &event).status, 200);
    wait_for("the run", || {
        out(&ask(&server, &["runs"])).contains("echo").then_some(())
    });
    for arguments in [
        &["invoke", "echo", "--log", "--event", event.as_str()][..],
        &["invoke", "echo", "--json", "--event", event.as_str()],
        &["runs", "show", "1"],
        &["runs", "show", "1", "--json"],
        &["logs"],
        &["logs", "--json"],
    ] {
        let shown = on_a_terminal(&[arguments, &["--endpoint", server.endpoint()]].concat());
        assert!(shown.contains("red"), "{arguments:?}: {shown:?}");
        let obeyed = |c: &char| c.is_control() && !matches!(c, '\r' | '\n' | '\t');
        assert_eq!(shown.chars().find(obeyed), None, "{arguments:?}: {shown:?}");
    }
    // A program gets what was returned, to the byte.
    let returned = out(&ask(&server, &["invoke", "echo", "--event", &event]));
    assert_eq!(serde_json::from_str::<Value>(&returned).unwrap()["back"], hostile);
}

#[test]
fn names_that_are_not_there_are_met_with_those_that_are() {
    let (_project, server) = echo();
    let mistyped = ask(&server, &["invoke", "ehco"]);
    assert_eq!(mistyped.status.code(), Some(1));
    assert!(
        error(&mistyped).ends_with("; did you mean \"echo\"?\n"),
        "{}",
        error(&mistyped)
    );
    let unlike = error(&ask(&server, &["invoke", "report"]));
    assert!(unlike.ends_with("; the functions are echo\n"), "{unlike}");
    // Another version of a function that is there needs no hint.
    let version = error(&ask(&server, &["invoke", "echo:7"]));
    assert!(version.trim_end().ends_with("function:echo:7"), "{version}");
    for arguments in [
        &["logs", "ehco"][..],
        &["runs", "--function", "ehco"],
        &["dlq", "list", "--function", "ehco"],
        &["dlq", "purge", "--function", "ehco"],
    ] {
        let output = ask(&server, arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert_eq!(
            error(&output),
            "warning: there is no function \"ehco\" now: did you mean \"echo\"?\n",
            "{arguments:?}"
        );
    }
    for what in ["redrive", "purge"] {
        let output = ask(&server, &["dlq", what, "99"]);
        assert_eq!(output.status.code(), Some(1), "{what}");
        assert!(
            error(&output).contains("there is no dead letter 99"),
            "{}",
            error(&output)
        );
    }
    let odd = ask(&server, &["invoke", "a b/c"]);
    assert!(
        odd.status.code() == Some(1) && error(&odd).contains("'functionName'"),
        "{}",
        error(&odd)
    );
}

#[test]
fn an_event_may_be_any_json() {
    let (project, server) = echo();
    for event in ["42", "true", "null", "-1.5", "\"text\"", "[1]", " {} "] {
        assert_eq!(
            out(&ask(&server, &["invoke", "echo", "-e", event])).trim(),
            event.trim()
        );
    }
    // A file of that name is the file.
    project.write("42", "\"from the file\"");
    let output = command(&["invoke", "echo", "-e", "42", "--endpoint", server.endpoint()])
        .current_dir(project.path())
        .output()
        .unwrap();
    assert_eq!(out(&output), "\"from the file\"\n");
}

#[test]
fn more_runs_than_an_answer_holds_are_listed() {
    let (_project, server) = echo();
    for _ in 0..1_005 {
        assert_eq!(invoke(server.endpoint(), "echo", "1").status, 200);
    }
    let ids = wait_for("the history", || {
        let listed = out(&ask(&server, &["runs", "-n", "2000", "--json"]));
        let runs: Vec<Value> = serde_json::from_str(&listed).unwrap();
        let ids: Vec<i64> = runs.iter().map(|run| run["id"].as_i64().unwrap()).collect();
        (ids.len() == 1_005).then_some(ids)
    });
    assert!(
        ids.is_sorted_by(|newer, older| newer > older),
        "each once, newest first"
    );
    let some: Vec<Value> = serde_json::from_str(&out(&ask(&server, &["runs", "-n", "1003", "--json"]))).unwrap();
    assert_eq!(some.len(), 1_003);
    assert_eq!(ask(&server, &["runs", "-n", "0"]).status.code(), Some(2));
}

/// Answers one request with these bytes.
fn stranger(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let _ = connection.read(&mut request);
        let _ = connection.write_all(answer.as_bytes());
    });
    address
}

#[test]
fn another_server_is_not_quoted() {
    for answer in [
        "HTTP/1.1 404 Not Found\r\ncontent-length: 28\r\n\r\n<html>\x1b]0;x\x07 not here</html>",
        "HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n<html></html>",
        "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"cut\":",
    ] {
        let address = stranger(answer);
        let output = command(&["runs", "--endpoint", &address]).output().unwrap();
        let said = error(&output);
        assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
        assert!(
            said.contains(&format!("http://{address} does not answer like a hikigane server")),
            "{said}"
        );
        assert!(!said.contains("<html>"), "{said}");
    }
    let output = command(&["runs", "--endpoint", "https://127.0.0.1:9"])
        .output()
        .unwrap();
    assert!(
        error(&output).contains("--endpoint http://127.0.0.1:9"),
        "{}",
        error(&output)
    );
    let output = command(&["runs", "--endpoint", "::1:9000"]).output().unwrap();
    assert!(error(&output).contains("[::1]:9000"), "{}", error(&output));
}

#[test]
fn check_names_what_up_would_not_start_without() {
    let project = Project::new(
        "functions:\n  a:\n    code: ./a.mjs\n    layers: [./none, ./layer]\n    events: [{ s3: { bucket: inbox } }, { s3: { bucket: outbox }, name: out }]\nsources:\n  s3:\n    buckets:\n      inbox: { path: ./inbox }\n      outbox: { path: ./a.mjs }\n",
        &[("a.mjs", ECHO), ("layer/x", "")],
    );
    let manifest = std::fs::read_to_string(project.join("hikigane.yaml")).unwrap();
    project.write(
        "hikigane.yaml",
        &manifest.replace("{ s3: { bucket: inbox } }", "{ s3: { bucket: inbox }, name: in }"),
    );
    let checked = || {
        let output = command(&["check", "--json"])
            .current_dir(project.path())
            .output()
            .unwrap();
        let found: Vec<Value> = serde_json::from_str(&out(&output)).unwrap();
        let places: Vec<String> = found
            .iter()
            .map(|diagnostic| {
                format!(
                    "{} {} {}",
                    diagnostic["line"], diagnostic["severity"], diagnostic["path"]
                )
                .replace('"', "")
            })
            .collect();
        (output.status.code(), places)
    };
    assert_eq!(
        checked(),
        (
            Some(0),
            [
                "4 warning functions.a.layers[0]",
                "9 warning sources.s3.buckets.inbox.path",
                "10 warning sources.s3.buckets.outbox.path"
            ]
            .map(str::to_owned)
            .to_vec()
        )
    );
    // A layer that is not there yet stops nothing.
    project.mkdir("inbox");
    project.mkdir("outbox");
    let manifest = std::fs::read_to_string(project.join("hikigane.yaml")).unwrap();
    project.write("hikigane.yaml", &manifest.replace("path: ./a.mjs", "path: ./outbox"));
    assert_eq!(checked().1, ["4 warning functions.a.layers[0]"]);
    let server = project.up();
    assert_eq!(invoke(server.endpoint(), "a", "1").text(), "1");
    assert_eq!(get(&format!("{}/_hikigane/status", server.endpoint())).status, 200);
}
