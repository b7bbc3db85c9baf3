//! The commands that ask a running server: what each says, and what it says when something is wrong.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{
    ECHO, Kept, Project, ask, command, echo, ended, free_port, invoke, invoke_event, run_in, serve, wait_for,
};

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
    let lines = |arguments: &[&str]| ask(&project, &server, &[&["logs"], arguments].concat()).out;
    for (line, function) in lines(&[]).lines().zip(["one"; 4].into_iter().chain(["two"; 4])) {
        assert!(line.starts_with(&format!("{function} | ")), "{line}");
    }
    assert!(!lines(&["one"]).contains("one | "));
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
    let bits = "exports.handler = async () => { for (const bit of ['a', 'b', 'c']) process.stdout.write(bit); };";
    let code = "export const handler = async (event) => { console.log('begun', event.n); await new Promise((done) => setTimeout(done, 50000)); };";
    let (_project, server) = serve(&[
        ("slow", "handler: index.handler, timeout: 60s", &[("index.mjs", code)]),
        ("echo", "handler: index.handler", &[("index.mjs", ECHO)]),
        ("bits", "handler: index.handler", &[("index.js", bits)]),
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
    let ends = text
        .lines()
        .filter(|line| !line.starts_with("echo | ") && !line.starts_with("slow | "));
    assert_eq!(ends.count(), 0, "{text}");
    assert_eq!(server.queued(), 1, "the function still runs");
    // What is written without a line end is a line all the same, as it is in the history.
    invoke(server.endpoint(), "bits", "{}");
    wait_for("its run", || (server.runs("?function=bits").len() == 1).then_some(()));
    let (follower_of_one, mut of_one) = follow(&["bits"]);
    let mut past = String::new();
    while !past.contains("REPORT") {
        assert!(of_one.read_line(&mut past).unwrap() > 0, "{past}");
    }
    invoke(server.endpoint(), "bits", "{}");
    for (output, expected) in [
        (&mut output, "\nbits | a\nbits | b\nbits | c\n"),
        (&mut of_one, "\na\nb\nc\n"),
    ] {
        let mut text = String::new();
        while !text.contains(expected) {
            assert!(output.read_line(&mut text).unwrap() > 0, "{text}");
            assert!(text.matches("REPORT").count() < 3, "{text}");
        }
    }
    drop((follower, follower_of_one));
    assert_eq!(
        invoke(server.endpoint(), "echo", "{}").status,
        200,
        "a follower that leaves disturbs nobody"
    );
}
