//! Debuggers: what Chrome's DevTools and VS Code do, done over a real WebSocket.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    Answer, Debugger, Function, Project, Server, Stream, error_of, get, invoke, invoke_logged, project_of, value_of,
    wait_for,
};

mod commands;
mod door;

/// A function that computes something worth a look; its time is short.
const F: Function = (
    "f",
    "handler: index.handler, timeout: 1",
    &[(
        "index.js",
        "let calls = 0;\n\
         exports.handler = async (event) => {\n\
         \x20 const doubled = event.n * 2;\n\
         \x20 calls++;\n\
         \x20 while (event.spin);\n\
         \x20 return { doubled, calls };\n\
         };\n",
    )],
);
/// The line of `calls++`, counted from 0.
const LINE: u64 = 3;

fn up(functions: &[Function]) -> (Project, Server) {
    let project = project_of(functions);
    let server = project.up_with(&["--inspect=127.0.0.1:0"]);
    (project, server)
}

fn door(server: &Server) -> String {
    server.ready["inspector"].as_str().unwrap().to_owned()
}

/// What debuggers can attach to, the newest first.
fn targets(server: &Server) -> Vec<Value> {
    let answer = get(&format!("http://{}/json/list", door(server)));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json().as_array().unwrap().clone()
}

/// Attaches to the newest environment.
#[track_caller]
fn attach(server: &Server) -> Debugger {
    let mut debugger = Debugger::attach(targets(server)[0]["webSocketDebuggerUrl"].as_str().unwrap());
    debugger.call("Runtime.enable", json!({}));
    debugger.call("Debugger.enable", json!({}));
    debugger
}

#[track_caller]
fn break_at(debugger: &mut Debugger, url: &str, line: u64) -> Value {
    debugger.call("Debugger.setBreakpointByUrl", json!({"url": url, "lineNumber": line}))
}

/// Invokes in a thread of its own.
fn begin(server: &Server, function: &'static str, event: Value) -> JoinHandle<Answer> {
    let endpoint = server.endpoint().to_owned();
    std::thread::spawn(move || invoke(&endpoint, function, &event.to_string()))
}

/// Waits until the function stops, and evaluates in the frame where it did. Gives the file, the line, counted from 0, and the value.
#[track_caller]
fn evaluate_when_paused(debugger: &mut Debugger, expression: &str) -> (String, u64, Value) {
    let paused = debugger.event("Debugger.paused");
    let frame = &paused["callFrames"][0];
    let evaluated = debugger.call(
        "Debugger.evaluateOnCallFrame",
        json!({"callFrameId": frame["callFrameId"], "expression": expression, "returnByValue": true}),
    );
    let url = debugger.url_of(&frame["location"]["scriptId"]);
    let line = frame["location"]["lineNumber"].as_u64().unwrap();
    (url, line, evaluated["result"]["value"].clone())
}

#[test]
fn a_function_stands_at_a_breakpoint_for_longer_than_its_timeout_and_then_answers() {
    let (_project, server) = up(&[F]);
    assert_eq!(
        value_of(&invoke(server.endpoint(), "f", r#"{"n":1}"#)),
        json!({"doubled": 2, "calls": 1})
    );
    let mut debugger = attach(&server);
    let set = break_at(&mut debugger, "file:///var/task/index.js", LINE);
    assert_eq!(set["locations"][0]["lineNumber"], LINE, "{set}");

    let invocation = begin(&server, "f", json!({"n": 21}));
    let (url, line, value) = evaluate_when_paused(&mut debugger, "doubled");
    assert_eq!(
        (url.as_str(), line, value),
        ("file:///var/task/index.js", LINE, json!(42))
    );
    std::thread::sleep(Duration::from_millis(1_500));
    assert!(!invocation.is_finished());
    debugger.call("Debugger.resume", json!({}));
    assert_eq!(
        value_of(&invocation.join().unwrap()),
        json!({"doubled": 42, "calls": 2})
    );

    // Step by step, and with another value.
    let invocation = begin(&server, "f", json!({"n": 4}));
    assert_eq!(evaluate_when_paused(&mut debugger, "doubled = 100, calls").2, 2);
    debugger.call("Debugger.stepOver", json!({}));
    assert_eq!(evaluate_when_paused(&mut debugger, "calls").2, 3);
    debugger.call("Debugger.resume", json!({}));
    assert_eq!(
        value_of(&invocation.join().unwrap()),
        json!({"doubled": 100, "calls": 3})
    );
}

#[test]
fn a_loop_is_stopped_by_a_debugger_and_its_time_goes_on_when_that_leaves() {
    let (_project, server) = up(&[F]);
    let spin = r#"{"n":1,"spin":true}"#;
    let timed_out = |answer: &Answer| assert_eq!(error_of(answer).0, "Sandbox.Timedout");
    timed_out(&invoke(server.endpoint(), "f", spin));
    wait_for("the end of what timed out", || {
        targets(&server).is_empty().then_some(())
    });

    invoke(server.endpoint(), "f", r#"{"n":1}"#);
    let mut debugger = attach(&server);
    let invocation = begin(&server, "f", json!({"n": 1, "spin": true}));
    std::thread::sleep(Duration::from_millis(1_500));
    assert!(!invocation.is_finished(), "its time stands still");
    debugger.call("Debugger.pause", json!({}));
    assert_eq!(evaluate_when_paused(&mut debugger, "doubled").2, 2);
    debugger.ping();
    drop(debugger);
    let begun = Instant::now();
    timed_out(&invocation.join().unwrap());
    assert!(begun.elapsed() > Duration::from_millis(700), "{:?}", begun.elapsed());

    // Detached at a breakpoint, a function goes on by itself.
    invoke(server.endpoint(), "f", r#"{"n":1}"#);
    let mut debugger = attach(&server);
    break_at(&mut debugger, "file:///var/task/index.js", LINE);
    let invocation = begin(&server, "f", json!({"n": 3}));
    debugger.event("Debugger.paused");
    drop(debugger);
    assert_eq!(value_of(&invocation.join().unwrap()), json!({"doubled": 6, "calls": 2}));
    assert_eq!(
        value_of(&invoke(server.endpoint(), "f", r#"{"n":3}"#))["calls"],
        3,
        "and its breakpoints are gone"
    );
}

#[test]
fn an_answer_stands_at_a_breakpoint_on_its_way_and_then_comes_whole() {
    let (_project, server) = up(&[(
        "streams",
        "handler: index.handler, timeout: 1",
        &[(
            "index.js",
            "exports.handler = awslambda.streamifyResponse(async (event, out) => {\n\
             \x20 for (let n = 0; n < 64; n++) {\n\
             \x20   const free = out.write(Buffer.alloc(65536, n));\n\
             \x20   if (n === 32) debugger;\n\
             \x20   if (!free) await new Promise((done) => out.once('drain', done));\n\
             \x20 }\n\
             \x20 out.end();\n\
             });\n",
        )],
    )]);
    let whole: Vec<u8> = (0..64).flat_map(|n| [n; 65536]).collect();
    let answer = |endpoint: &str| Stream::open(endpoint, "streams", &[], "{}").rest();
    let (bytes, complete) = answer(server.endpoint());
    assert!(bytes == whole, "{complete}: {} bytes", bytes.len());

    let mut debugger = attach(&server);
    let endpoint = server.endpoint().to_owned();
    let reader = std::thread::spawn(move || answer(&endpoint));
    assert_eq!(evaluate_when_paused(&mut debugger, "n").2, 32);
    std::thread::sleep(Duration::from_millis(1_500));
    assert!(!reader.is_finished());
    debugger.call("Debugger.resume", json!({}));
    let (bytes, complete) = reader.join().unwrap();
    assert!(bytes == whole, "{complete}: {} bytes", bytes.len());
    // What came of the answer's way must not be in that of the next.
    drop(debugger);
    let (bytes, complete) = answer(server.endpoint());
    assert!(bytes == whole, "{complete}: {} bytes", bytes.len());
}

#[test]
fn others_are_served_while_one_stands_at_a_breakpoint() {
    let (_project, server) = up(&[F]);
    // Brief, so that what comes next would be sent ahead.
    for _ in 0..20 {
        invoke(server.endpoint(), "f", r#"{"n":1}"#);
    }
    let mut debugger = attach(&server);
    break_at(&mut debugger, "file:///var/task/index.js", LINE);
    let invocation = begin(&server, "f", json!({"n": 2}));
    debugger.event("Debugger.paused");
    for n in 1..4 {
        let answer = value_of(&invoke(server.endpoint(), "f", r#"{"n":5}"#));
        assert_eq!(answer, json!({"doubled": 10, "calls": n}), "a fresh environment");
    }
    assert_eq!(targets(&server).len(), 2);
    debugger.call("Debugger.resume", json!({}));
    assert_eq!(
        value_of(&invocation.join().unwrap()),
        json!({"doubled": 4, "calls": 21})
    );
}

#[test]
fn each_environment_is_a_target_as_node_lists_them_and_typescript_has_its_map() {
    let (_project, server) = up(&[
        F,
        (
            "typed",
            "handler: lib/main.handler",
            &[(
                "lib/main.ts",
                "interface In { n: number }\n\nexport const handler = async ({ n }: In): Promise<number> => {\n  return n + 1;\n};\n",
            )],
        ),
        (
            "common",
            "handler: main.handler",
            &[("main.cts", "type T = number;\n\nexports.handler = async () => 7;\n")],
        ),
    ]);
    assert!(targets(&server).is_empty(), "workers in stock are no function's");
    let door = door(&server);
    for (function, event) in [("f", r#"{"n":1}"#), ("typed", r#"{"n":1}"#), ("common", "{}")] {
        value_of(&invoke(server.endpoint(), function, event));
    }
    let all = targets(&server);
    let member = |name: &str| all.iter().map(|target| target[name].clone()).collect::<Vec<_>>();
    assert_eq!(member("title"), ["common", "typed", "f"], "the newest first");
    assert_eq!(
        member("url"),
        [
            "file:///var/task/main",
            "file:///var/task/lib/main",
            "file:///var/task/index"
        ]
    );
    assert_eq!(member("type"), ["node", "node", "node"]);
    for target in &all {
        let id = target["id"].as_str().unwrap();
        assert_eq!(target["webSocketDebuggerUrl"], format!("ws://{door}/{id}"));
        let front_end = target["devtoolsFrontendUrl"].as_str().unwrap();
        assert!(front_end.starts_with("devtools://") && front_end.ends_with(&format!("ws={door}/{id}")));
    }
    let version = get(&format!("http://{door}/json/version")).json();
    assert_eq!(version["Protocol-Version"], "1.1", "{version}");

    for (place, url) in [(1, "file:///var/task/lib/main.ts"), (0, "file:///var/task/main.cts")] {
        let mut debugger = Debugger::attach(all[place]["webSocketDebuggerUrl"].as_str().unwrap());
        debugger.call("Debugger.enable", json!({}));
        let script = debugger.event_where("Debugger.scriptParsed", |script| script["url"] == url);
        let map = script["sourceMapURL"].as_str().unwrap();
        let answer = get(&format!("http://{door}/json"));
        assert!(map.starts_with("data:application/json;base64,"), "{map}");
        assert_eq!(answer.json().as_array().unwrap().len(), 3);
        let source = debugger.call("Debugger.getScriptSource", json!({"scriptId": script["scriptId"]}));
        assert!(!source["scriptSource"].as_str().unwrap().contains("number"), "{source}");
    }
}

#[test]
fn a_frozen_function_answers_a_debugger_and_stays_frozen() {
    let (_project, server) = up(&[(
        "f",
        "handler: index.handler",
        &[(
            "index.mjs",
            "globalThis.late = 0;\n\
             export const handler = async (event, context) => {\n\
             \x20 setTimeout(() => globalThis.late++, 1);\n\
             \x20 console.log('seen', { n: event.n });\n\
             };\n",
        )],
    )]);
    let call = |n: u32| invoke_logged(server.endpoint(), "f", &json!({ "n": n }).to_string());
    call(1);
    let mut debugger = attach(&server);
    let mut late = || {
        let evaluated = debugger.call("Runtime.evaluate", json!({"expression": "late"}));
        evaluated["result"]["value"].as_u64().unwrap()
    };
    let before = late();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(late(), before, "nothing of the function runs between invocations");

    let begun = debugger.send("HeapProfiler.takeHeapSnapshot", json!({}));
    debugger.event("HeapProfiler.addHeapSnapshotChunk");
    debugger.answer(begun);

    // Lines go to the log and to the debugger's console, with their place.
    let (answer, log) = call(2);
    assert_eq!(value_of(&answer), Value::Null);
    assert!(log.contains("\tINFO\tseen { n: 2 }\n"), "{log}");
    let printed = debugger.event_where("Runtime.consoleAPICalled", |printed| {
        printed["args"][1]["preview"]["properties"][0]["value"] == "2"
    });
    assert_eq!(
        (&printed["type"], &printed["args"][0]["value"]),
        (&json!("log"), &json!("seen"))
    );
    let frame = &printed["stackTrace"]["callFrames"][0];
    assert_eq!(
        (&frame["url"], &frame["lineNumber"]),
        (&json!("file:///var/task/index.mjs"), &json!(3))
    );
}

#[test]
fn the_memory_of_a_function_is_guarded_under_a_debugger_too() {
    let (_project, server) = up(&[F]);
    invoke(server.endpoint(), "f", r#"{"n":1}"#);
    let mut debugger = attach(&server);
    break_at(&mut debugger, "file:///var/task/index.js", LINE);
    let invocation = begin(&server, "f", json!({"n": 1}));
    debugger.event("Debugger.paused");
    debugger.send(
        "Runtime.evaluate",
        json!({"expression": "const all = []; for (;;) all.push(new Array(1e5).fill(all.length))"}),
    );
    assert_eq!(error_of(&invocation.join().unwrap()).0, "Runtime.OutOfMemory");
    debugger.closed();
    assert!(targets(&server).is_empty());
}

#[test]
fn a_function_that_dies_under_a_debugger_takes_only_that_with_it() {
    let (_project, server) = up(&[(
        "f",
        "handler: index.handler",
        &[(
            "index.mjs",
            "export const handler = async ({ how }) => {\n\
             \x20 if (how === 'exit') process.exit(3);\n\
             \x20 if (how === 'reject') {\n\
             \x20   Promise.reject(new Error('nobody'));\n\
             \x20   await new Promise((done) => setTimeout(done, 1000));\n\
             \x20 }\n\
             \x20 if (how === 'throw') throw new TypeError('mine');\n\
             \x20 return how;\n\
             };\n",
        )],
    )]);
    for (how, error) in [
        ("exit", "Runtime.ExitError"),
        ("reject", "Runtime.UnhandledPromiseRejection"),
    ] {
        assert_eq!(value_of(&invoke(server.endpoint(), "f", r#"{"how":"fine"}"#)), "fine");
        let debugger = attach(&server);
        let answer = invoke(server.endpoint(), "f", &json!({ "how": how }).to_string());
        assert_eq!(error_of(&answer).0, error);
        debugger.closed();
    }
    assert_eq!(value_of(&invoke(server.endpoint(), "f", r#"{"how":"fine"}"#)), "fine");
    let mut debugger = attach(&server);
    debugger.call("Debugger.setPauseOnExceptions", json!({"state": "uncaught"}));
    let invocation = begin(&server, "f", json!({"how": "throw"}));
    let paused = debugger.event("Debugger.paused");
    assert_eq!(paused["reason"], "promiseRejection", "{paused}");
    debugger.call("Debugger.setPauseOnExceptions", json!({"state": "none"}));
    debugger.call("Debugger.resume", json!({}));
    assert_eq!(
        error_of(&invocation.join().unwrap()),
        ("TypeError".into(), "mine".into())
    );
    debugger.call("Runtime.evaluate", json!({"expression": "1"}));
}

#[test]
fn a_server_that_stops_lets_go_of_what_stands_at_a_breakpoint() {
    let (_project, server) = up(&[F]);
    invoke(server.endpoint(), "f", r#"{"n":1}"#);
    let mut debugger = attach(&server);
    break_at(&mut debugger, "file:///var/task/index.js", LINE);
    let invocation = begin(&server, "f", json!({"n": 2}));
    debugger.event("Debugger.paused");
    let begun = Instant::now();
    let (status, _) = server.stop(15);
    assert!(
        status.success() && begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(value_of(&invocation.join().unwrap()), json!({"doubled": 4, "calls": 2}));
    debugger.closed();
}
