//! Debugging from the command line: `invoke --inspect`, and `node inspect`.

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::{F, break_at, door, evaluate_when_paused, targets, up};
use crate::support::{Debugger, Server, command, invoke, lacking, value_of, wait_for};

/// `hikigane invoke f --inspect`, what it says, and the address at which it waits.
fn invoke_inspected(server: &Server, event: &str) -> (Child, Lines<BufReader<ChildStderr>>, String) {
    let mut child = command(&[
        "invoke",
        "f",
        "--inspect",
        "--log",
        "-e",
        event,
        "--endpoint",
        server.endpoint(),
    ])
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = errors.by_ref().map(Result::unwrap).find_map(|line| {
        let (_, address) = line.split_once("&ws=")?;
        Some(format!("ws://{address}"))
    });
    (child, errors, line.unwrap())
}

#[test]
fn invoke_inspect_waits_for_a_debugger_and_stops_at_the_handlers_first_line() {
    for (name, code) in [
        (
            "index.mjs",
            "const made = 6 * 7;\nexport const handler = async (event) => {\n  const n = event.n;\n  return [n, made];\n};\n",
        ),
        (
            "index.cjs",
            "const made = 6 * 7;\nexports.handler = (event, context, callback) => {\n  const n = event.n;\n  callback(null, [n, made]);\n};\n",
        ),
    ] {
        let (_project, server) = up(&[("f", "handler: index.handler, timeout: 1", &[(name, code)])]);
        value_of(&invoke(server.endpoint(), "f", r#"{"n":0}"#));
        let (child, _errors, url) = invoke_inspected(&server, r#"{"n":1}"#);
        wait_for("the environment", || (targets(&server).len() == 2).then_some(()));
        assert_eq!(
            targets(&server)[0]["webSocketDebuggerUrl"],
            url,
            "the one that waits is the first"
        );

        let mut debugger = Debugger::attach(&url);
        debugger.call("Runtime.enable", json!({}));
        debugger.call("Debugger.enable", json!({}));
        let file = format!("file:///var/task/{name}");
        break_at(&mut debugger, &file, 0);
        std::thread::sleep(Duration::from_millis(1_200));
        debugger.call("Runtime.runIfWaitingForDebugger", json!({}));

        let (url, line, _) = evaluate_when_paused(&mut debugger, "1");
        assert_eq!((&url, line), (&file, 0), "{name}: a breakpoint in the initialisation");
        debugger.call("Debugger.resume", json!({}));

        let (url, line, value) = evaluate_when_paused(&mut debugger, "event.n + made");
        assert_eq!(
            (&url, line, value),
            (&file, 2, json!(43)),
            "{name}: the handler's first line"
        );
        std::thread::sleep(Duration::from_millis(1_200));
        // The answer may come too late: the environment ends with the invocation.
        debugger.send("Debugger.resume", json!({}));
        let done = child.wait_with_output().unwrap();
        assert_eq!(
            (done.status.code(), String::from_utf8(done.stdout).unwrap().trim()),
            (Some(0), "[1,42]")
        );
        debugger.closed();
        wait_for("its end", || (targets(&server).len() == 1).then_some(()));
    }
}

#[test]
fn node_inspect_debugs_a_function() {
    let (_project, server) = up(&[F]);
    let door = door(&server);
    if Command::new("node").arg("--version").output().is_err() {
        lacking("`node` command");
        return;
    }
    let (child, _errors, _) = invoke_inspected(&server, r#"{"n":4}"#);
    wait_for("the environment", || (targets(&server).len() == 1).then_some(()));
    let mut node = Command::new("node")
        .args(["inspect", &door])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut commands = node.stdin.take().unwrap();
    let mut output = node.stdout.take().unwrap();
    let said = Arc::new(Mutex::new(String::new()));
    let saying = said.clone();
    std::thread::spawn(move || {
        let mut piece = [0; 1024];
        while let Ok(length @ 1..) = output.read(&mut piece) {
            saying
                .lock()
                .unwrap()
                .push_str(&String::from_utf8_lossy(&piece[..length]));
        }
    });
    let says = |what: &str| wait_for(what, || said.lock().unwrap().contains(what).then_some(()));
    says("> 3   const doubled = event.n * 2;");
    for (command, answer) in [("next", "> 4   calls++;"), ("exec('doubled * 11')", "88")] {
        writeln!(commands, "{command}").unwrap();
        says(answer);
    }
    writeln!(commands, "cont").unwrap();
    let done = child.wait_with_output().unwrap();
    assert_eq!(
        String::from_utf8(done.stdout).unwrap().trim(),
        r#"{"doubled":8,"calls":1}"#
    );
    node.kill().unwrap();
    node.wait().unwrap();
}

#[test]
fn a_debugger_that_leaves_before_the_handler_does_not_stop_it() {
    let (_project, server) = up(&[F]);
    let (child, _errors, url) = invoke_inspected(&server, r#"{"n":8}"#);
    let mut debugger = wait_for("the environment", || Debugger::try_attach(&url, "").ok());
    debugger.call("Debugger.enable", json!({}));
    break_at(&mut debugger, "file:///var/task/index.js", 0);
    debugger.call("Runtime.runIfWaitingForDebugger", json!({}));
    debugger.event("Debugger.paused");
    drop(debugger);
    let done = child.wait_with_output().unwrap();
    assert_eq!(
        String::from_utf8(done.stdout).unwrap().trim(),
        r#"{"doubled":16,"calls":1}"#
    );
}

#[test]
fn a_function_that_does_not_load_tells_its_debugger_and_its_caller() {
    let (_project, server) = up(&[(
        "f",
        "handler: index.handler",
        &[("index.mjs", "\nthrow new RangeError('early');\n")],
    )]);
    let (child, _errors, url) = invoke_inspected(&server, "{}");
    let mut debugger = wait_for("the environment", || Debugger::try_attach(&url, "").ok());
    debugger.call("Debugger.enable", json!({}));
    debugger.call("Debugger.setPauseOnExceptions", json!({"state": "all"}));
    debugger.call("Runtime.runIfWaitingForDebugger", json!({}));
    let (url, line, _) = loop {
        // Node.js's loader catches some of its own.
        let stopped = evaluate_when_paused(&mut debugger, "1");
        if stopped.0.starts_with("file:") {
            break stopped;
        }
        debugger.call("Debugger.resume", json!({}));
    };
    assert_eq!((url.as_str(), line), ("file:///var/task/index.mjs", 1));
    debugger.call("Debugger.setPauseOnExceptions", json!({"state": "none"}));
    debugger.send("Debugger.resume", json!({}));
    let done = child.wait_with_output().unwrap();
    let error: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(
        (done.status.code(), &error["errorType"]),
        (Some(1), &json!("RangeError"))
    );
    debugger.closed();
}
