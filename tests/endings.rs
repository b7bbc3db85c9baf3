//! How a function's process ends, and what is told then. Errors that no code of the function handles are reported by AWS's client up to
//! Node.js 22; later Node.js ends as it does anywhere. The rules are those of npm aws-lambda-ric 3.3.0 and 4.0.2, as they were seen to run.

use serde_json::json;

use crate::support::{Project, Server, call, error_of, invoke_logged, request, serve, wait_for};

/// Runs `event.js` as the body of an async function; answers what that returns, or how often it has run.
const CODE: &str = r#"
    let count = 0;
    const wait = (ms) => new Promise((done) => setTimeout(done, ms));
    exports.handler = async (event) => {
      count += 1;
      const value = await new Function('wait', 'require', `return (async () => { ${event.js ?? ''} })()`)(wait, require);
      return value ?? count;
    };
"#;

/// A server with the function `f` on this Node.js.
fn server(node: u32) -> (Project, Server) {
    let settings = format!("handler: index.handler, runtime: nodejs{node}.x, timeout: 20s");
    serve(&[("f", &settings, &[("index.js", CODE)])])
}

/// Type and message of the error that this ends with, and the log.
fn fails(server: &Server, js: &str) -> (String, String, String) {
    let (answer, log) = invoke_logged(server.endpoint(), "f", &json!({ "js": js }).to_string());
    let (kind, message) = error_of(&answer);
    (kind, message, log)
}

/// It ends as Node.js ends by itself.
fn exits(server: &Server, js: &str, how: &str) -> String {
    let (kind, message, log) = fails(server, js);
    assert_eq!(kind, "Runtime.ExitError", "{js}: {message}");
    assert!(message.ends_with(&format!("Error: {how}")), "{js}: {message}");
    log
}

fn is_new(server: &Server) -> bool {
    call(server, "f", "{}") == 1
}

const STATUS_1: &str = "Runtime exited with error: exit status 1";

#[test]
fn what_is_thrown_where_nobody_catches_it_is_told_as_what_it_is() {
    let thrown = [
        ("1", "number", "1", "\n1\n(Use `node --trace-uncaught"),
        ("'text'", "string", "text", "\ntext\n(Use `node --trace-uncaught"),
        (
            "{ a: 1 }",
            "object",
            "[object Object]",
            "\n{ a: 1 }\n(Use `node --trace-uncaught",
        ),
        ("new RangeError('r')", "RangeError", "r", "\nRangeError: r\n    at "),
        (
            "Object.assign(new Error('own'), { name: 'OwnError' })",
            "OwnError",
            "own",
            "Error [OwnError]: own\n    at ",
        ),
    ];
    let places = [
        "setTimeout(() => { throw X }, 1)",
        "setImmediate(() => { throw X })",
        "queueMicrotask(() => { throw X })",
        "process.nextTick(() => { throw X })",
        "setTimeout(() => new (require('events'))().emit('error', X), 1)",
    ];
    for node in [20, 22, 24] {
        let (_project, server) = server(node);
        for (thrown, kind, message, printed) in thrown {
            for place in places {
                if place.contains("emit") && !thrown.contains("Error") {
                    continue;
                }
                let js = format!("{}; await wait(10000)", place.replace('X', thrown));
                if node == 24 {
                    let log = exits(&server, &js, STATUS_1);
                    assert!(log.contains(printed) && log.contains("\n\nNode.js v24."), "{js}: {log}");
                    assert!(!log.contains("Uncaught Exception"), "{log}");
                } else {
                    let (found_kind, found_message, log) = fails(&server, &js);
                    assert_eq!(
                        (found_kind.as_str(), found_message.as_str()),
                        (kind, message),
                        "{node}: {js}"
                    );
                    assert!(log.contains("\tERROR\tUncaught Exception \t{"), "{node}: {js}: {log}");
                }
                assert!(is_new(&server), "{node}: the environment lives on: {js}");
            }
        }
    }
}

#[test]
fn rejections_that_nobody_handles_are_told_with_their_reason() {
    for node in [20, 22] {
        let (_project, server) = server(node);
        for (reason, message) in [
            ("new TypeError('alone')", "TypeError: alone"),
            ("'text'", "text"),
            ("7", "7"),
            ("null", "null"),
            ("undefined", ""),
        ] {
            let (kind, found, log) = fails(&server, &format!("Promise.reject({reason}); await wait(10000)"));
            assert_eq!(
                (kind.as_str(), found.as_str()),
                ("Runtime.UnhandledPromiseRejection", message)
            );
            assert!(log.contains("\tERROR\tUnhandled Promise Rejection \t{"), "{log}");
            assert!(is_new(&server), "{reason}");
        }
        let js = "Promise.reject(Object.assign(new TypeError('alone'), { code: 'E' })); await wait(10000)";
        let (_, _, log) = fails(&server, js);
        let line = log.lines().find(|line| line.contains("Unhandled Promise Rejection"));
        let details: serde_json::Value = serde_json::from_str(line.unwrap().rsplit('\t').next().unwrap()).unwrap();
        let reason = &details["reason"];
        assert_eq!(
            (&reason["errorType"], &reason["code"]),
            (&json!("TypeError"), &json!("E")),
            "{details}"
        );
    }
    let (_project, server) = server(24);
    let log = exits(
        &server,
        "Promise.reject(new TypeError('alone')); await wait(10000)",
        STATUS_1,
    );
    assert!(log.contains("TypeError: alone\n    at "), "{log}");
    let log = exits(&server, "Promise.reject('text'); await wait(10000)", STATUS_1);
    assert!(
        log.contains("The promise rejected with the reason \"text\".")
            && log.contains("code: 'ERR_UNHANDLED_REJECTION'"),
        "{log}"
    );
}

/// Version 3 of the client has sent the answer by then; version 4 lets immediates run before it sends it.
#[test]
fn what_a_handler_leaves_behind_ends_its_own_invocation_or_only_the_environment() {
    let left = [
        (
            "process.nextTick(() => { throw new Error('left') })",
            "Uncaught Exception",
        ),
        ("setImmediate(() => { throw new Error('left') })", "Uncaught Exception"),
        ("Promise.reject(new Error('left'))", "Unhandled Promise Rejection"),
        (
            "(async () => { throw new Error('left') })()",
            "Unhandled Promise Rejection",
        ),
    ];
    let ways = [
        "",
        "await wait(2); ",
        "await require('fs').promises.readFile(process.env.LAMBDA_TASK_ROOT + '/index.js'); ",
    ];
    for node in [20, 22] {
        let (_project, server) = server(node);
        for (way, (js, title)) in ways.iter().flat_map(|way| left.map(|left| (way, left))) {
            let fine = json!({"js": format!("{way}{js}; return 'fine'")}).to_string();
            let (answer, log) = invoke_logged(server.endpoint(), "f", &fine);
            assert_eq!(answer.text(), "\"fine\"", "{node}: {way}{js}");
            assert!(log.contains(title) && log.contains("left"), "{node}: {way}{js}: {log}");
            assert!(is_new(&server), "{node}: {way}{js}");
            let (kind, message, _) = fails(&server, &format!("{way}{js}; throw new TypeError('own')"));
            assert_eq!(
                (kind.as_str(), message.as_str()),
                ("TypeError", "own"),
                "{node}: {way}{js}"
            );
            assert!(is_new(&server), "{node}: {way}{js}");
        }
        for leaves in [
            "process.nextTick(() => process.exit(3))",
            "setImmediate(() => process.exit(3))",
            "process.removeAllListeners('uncaughtException'); setImmediate(() => { throw new Error('left') })",
        ] {
            let fine = json!({"js": format!("{leaves}; return 'fine'")}).to_string();
            let (answer, _) = invoke_logged(server.endpoint(), "f", &fine);
            assert_eq!(answer.text(), "\"fine\"", "{node}: {leaves}");
            assert!(is_new(&server), "{node}: {leaves}");
        }
        // This comes before the handler's promise is settled.
        let (kind, ..) = fails(
            &server,
            "queueMicrotask(() => { throw new RangeError('left') }); return 'fine'",
        );
        assert_eq!(kind, "RangeError");
    }
    let (_project, server) = server(24);
    for (way, (js, _)) in ways[..2].iter().flat_map(|way| left.map(|left| (way, left))) {
        let log = exits(&server, &format!("{way}{js}; return 'fine'"), STATUS_1);
        assert!(log.contains("Error: left"), "{log}");
        assert!(is_new(&server), "{way}{js}");
    }
}

/// What the client has told by then stands when the function then ends the process.
#[test]
fn an_answer_by_callback_stands_when_the_process_ends_behind_it() {
    let code = "exports.handler = (event, context, callback) => new Function('context', 'callback', event.js)(context, callback);";
    let (_project, server) = serve(&[(
        "f",
        "handler: index.handler, runtime: nodejs22.x",
        &[("index.js", code)],
    )]);
    for js in [
        "context.succeed('x'); process.exit(0)",
        "setTimeout(() => { context.succeed('x'); process.exit(4) }, 5)",
        "setTimeout(() => { context.succeed('x'); throw new Error('after') }, 5)",
        "context.callbackWaitsForEmptyEventLoop = false; setTimeout(() => { callback(null, 'x'); process.exit(0) }, 5)",
    ] {
        assert_eq!(call(&server, "f", &json!({ "js": js }).to_string()), "x", "{js}");
    }
    // A function may have no use for `process`.
    for js in [
        "delete globalThis.process; globalThis.kept = 'x'; callback(null, 'x')",
        "callback(null, globalThis.kept)",
    ] {
        assert_eq!(call(&server, "f", &json!({ "js": js }).to_string()), "x", "{js}");
    }
    // Nor can it be taken back, or a failure be made up for.
    fails(&server, "setTimeout(() => { throw new Error('a new environment') })");
    let js = "process.on('exit', () => context.succeed('late')); setTimeout(() => { throw new Error('it') }, 2)";
    assert_eq!(fails(&server, js).1, "it");
}

/// A callback, or a promise, of an invocation that ended when the event loop had drained.
#[test]
fn what_an_invocation_has_left_behind_does_not_answer_for_the_next_one() {
    let code = "exports.handler = (event, context, callback) => new Function('context', 'callback', event.js)(context, callback);";
    let settings = "handler: index.handler, runtime: nodejs22.x";
    let (_project, callbacks) = serve(&[("f", settings, &[("index.js", code)])]);
    let (_other, promises) = server(22);
    let leaves_callback = "globalThis.old = { callback, context }";
    let leaves_promise = "await new Promise((settle, refuse) => globalThis.old = { settle, refuse })";
    for (server, before, js, expected) in [
        (
            &callbacks,
            leaves_callback,
            "old.callback('stale'); setTimeout(() => { throw new Error('mine') }, 5)",
            Err("mine"),
        ),
        (
            &callbacks,
            leaves_callback,
            "old.callback('stale'); setTimeout(() => process.exit(3), 5)",
            Err("exit status 3"),
        ),
        (
            &callbacks,
            leaves_callback,
            "process.on('exit', () => old.callback('stale')); context.succeed('mine'); process.exit(3)",
            Ok("mine"),
        ),
        (
            &callbacks,
            leaves_callback,
            "setTimeout(() => old.context.succeed('stale'), 2); callback(null, 'mine')",
            Ok("mine"),
        ),
        (
            &promises,
            leaves_promise,
            "await wait(2); old.refuse(new Error('stale')); process.nextTick(() => process.exit(4)); return 'mine'",
            Ok("mine"),
        ),
        (
            &promises,
            leaves_promise,
            "old.refuse(new Error('stale')); setTimeout(() => { throw new Error('mine') }, 3); await wait(30)",
            Err("mine"),
        ),
    ] {
        let event = |js: &str| json!({ "js": js }).to_string();
        invoke_logged(server.endpoint(), "f", &event(before));
        match expected {
            Ok(value) => assert_eq!(call(server, "f", &event(js)), value, "{js}"),
            Err(message) => assert!(fails(server, js).1.ends_with(message), "{js}"),
        }
        // Another environment for the next.
        fails(server, "process.exit(1)");
    }
}

/// An event whose handler has answered is done; one that has failed is tried again.
#[test]
fn an_event_is_tried_again_where_its_invocation_has_failed() {
    let code = "exports.handler = async () => { await new Promise((done) => setTimeout(done, 2)); Promise.reject(new Error('left')); return 1; };";
    let files = [("index.js", code)];
    let settings = |node: u32| format!("handler: index.handler, runtime: nodejs{node}.x, async: {{ retries: 0 }}");
    let (_project, server) = serve(&[("n22", &settings(22), &files), ("n24", &settings(24), &files)]);
    for (function, status) in [("n22", "succeeded"), ("n24", "crashed")] {
        let path = format!("{}/2015-03-31/functions/{function}/invocations", server.endpoint());
        let answer = request("POST", &path, &[("x-amz-invocation-type", "Event")], b"{}");
        assert_eq!(answer.status, 202);
        let run = wait_for("the run", || {
            server.runs(&format!("?function={function}")).into_iter().next()
        });
        assert_eq!(run["status"], status, "{run}");
    }
}

#[test]
fn immediates_run_with_the_invocation_that_left_them() {
    for node in [22, 24] {
        let (_project, server) = server(node);
        let listen = "process.removeAllListeners('uncaughtException'); process.on('uncaughtException', () => console.log('handled'));";
        let js = format!(
            "{listen} setImmediate(() => {{ throw 1 }}); setImmediate(() => console.log('second')); return 'a'"
        );
        let (answer, log) = invoke_logged(server.endpoint(), "f", &json!({ "js": js }).to_string());
        assert_eq!(answer.text(), "\"a\"");
        let (handled, second) = (log.find("\thandled"), log.find("\tsecond"));
        assert!(handled.is_some() && handled < second, "{node}: {log}");
        let again = format!("{listen} setImmediate(function again() {{ setImmediate(again); throw 1 }}); return 'a'");
        assert_eq!(call(&server, "f", &json!({ "js": again }).to_string()), "a");
    }
}

#[test]
fn what_is_handled_in_time_or_does_not_fail_is_nothing() {
    for node in [20, 22, 24] {
        let (_project, server) = server(node);
        for (at, js) in [
            "const p = Promise.reject(1); p.catch(() => {})",
            "const p = Promise.reject(1); process.nextTick(() => p.catch(() => {}))",
            "process.nextTick(() => console.log('ticked'))",
            "setImmediate(() => console.log('ticked'))",
        ]
        .into_iter()
        .enumerate()
        {
            let (answer, log) = invoke_logged(server.endpoint(), "f", &json!({ "js": js }).to_string());
            assert_eq!(answer.json(), at + 1, "{node}: {js}: {log}");
            assert_eq!(log.contains("ticked"), js.contains("ticked"), "{node}: {log}");
        }
    }
}

#[test]
fn nothing_of_the_function_runs_after_such_an_error() {
    for node in [20, 22, 24] {
        let (_project, server) = server(node);
        for js in [
            "setTimeout(() => { throw new Error('end') }); setTimeout(() => console.log('after')); setImmediate(() => {})",
            "process.nextTick(() => { throw new Error('end') }); process.nextTick(() => console.log('after')); setImmediate(() => console.log('after'))",
            "queueMicrotask(() => { throw new Error('end') }); process.nextTick(() => console.log('after')); setTimeout(() => console.log('after'), 0)",
            "Promise.reject(new Error('end')); setImmediate(() => console.log('after')); setTimeout(() => console.log('after'), 0)",
            "setImmediate(() => { throw new Error('end') }); setImmediate(() => console.log('after')); setTimeout(() => console.log('after'), 50)",
        ] {
            let busy = "for (const end = performance.now() + 5; performance.now() < end;);";
            let (.., log) = fails(&server, &format!("{js}; {busy} await wait(100)"));
            assert!(log.contains("end") && !log.contains("\tafter"), "{node}: {js}: {log}");
        }
    }
}

#[test]
fn the_functions_own_listeners_are_told_where_they_are_on_aws() {
    let thrown = "process.on('uncaughtException', (error) => console.log('own', error.message)); process.nextTick(() => { throw new Error('it') }); await wait(5); return 'fine'";
    let rejected = "process.on('unhandledRejection', (error) => console.log('own', error.message)); Promise.reject(new Error('it')); await wait(5); return 'fine'";
    let modern = server(24);
    let older = server(22);
    for (js, reported) in [(thrown, "Error"), (rejected, "Runtime.UnhandledPromiseRejection")] {
        let answers = |server: &Server, js: &str| {
            let (answer, log) = invoke_logged(server.endpoint(), "f", &json!({ "js": js }).to_string());
            assert_eq!(answer.text(), "\"fine\"", "{js}: {log}");
            assert!(log.contains("\town it"), "{js}: {log}");
        };
        answers(&modern.1, js);
        // The client's listener comes first, and ends the process.
        let (kind, _, log) = fails(&older.1, js);
        assert_eq!(kind, reported);
        assert!(!log.contains("\town it"), "{log}");
        let alone = format!(
            "for (const name of ['uncaughtException', 'unhandledRejection']) process.removeAllListeners(name); {js}"
        );
        answers(&older.1, &alone);
        assert!(!is_new(&older.1), "{js}");
        exits(&older.1, "process.exit(1)", STATUS_1);
    }
    // A listener that throws.
    let throws = "process.on('uncaughtException', () => { throw new Error('in the listener') }); setTimeout(() => { throw new Error('it') }); await wait(5000)";
    let log = exits(&modern.1, throws, "Runtime exited with error: exit status 7");
    assert!(log.contains("Error: in the listener"), "{log}");
    // What else listens to the end.
    let exit = "process.on('exit', (code) => console.log('exit', code)); setTimeout(() => { throw new Error('it') }); await wait(5000)";
    assert!(exits(&modern.1, exit, STATUS_1).contains("\texit 1"));
    assert!(fails(&older.1, exit).2.contains("\texit 129"));
    // Who listens has the last word on the code, and can do nothing else about it.
    let late = "setTimeout(() => { throw new Error('it') }); await wait(5000)";
    for (before, code) in [
        ("process.on('exit', () => { process.exitCode = 42 })", 42),
        ("process.on('exit', () => { throw new Error('late') })", 1),
        ("process.on('exit', () => process.exit(3))", 3),
        ("process.exit = process.reallyExit = () => {}", 1),
        ("process.emit = () => { throw 1 }", 7),
        ("process._fatalException = null", 6),
        ("Object.defineProperty(process, 'version', { get() { throw 1 } })", 1),
        ("require('util').inspect = () => { throw 1 }", 1),
        ("process.exitCode = 9", 1),
    ] {
        let how = format!("Runtime exited with error: exit status {code}");
        exits(&modern.1, &format!("{before}; {late}"), &how);
        assert!(is_new(&modern.1), "{before}");
        // The client has reported it by then.
        if !before.contains("emit") && !before.contains("_fatal") {
            let (kind, message, _) = fails(&older.1, &format!("{before}; {late}"));
            assert_eq!((kind.as_str(), message.as_str()), ("Error", "it"), "{before}");
            assert!(is_new(&older.1), "{before}");
        }
    }
}

#[test]
fn a_listener_that_throws_stops_neither_the_others_nor_who_called_them() {
    let target = "const target = new EventTarget(); target.addEventListener('x', () => { throw new Error('in it') }); \
        target.addEventListener('x', () => console.log('other')); target.dispatchEvent(new Event('x')); console.log('behind'); await wait(5000)";
    let abort = "const control = new AbortController(); control.signal.onabort = () => { console.log('other'); throw new Error('in it') }; control.abort(); console.log('behind'); await wait(5000)";
    for node in [22, 24] {
        let (_project, server) = server(node);
        for js in [target, abort] {
            let log = if node == 24 {
                exits(&server, js, STATUS_1)
            } else {
                let (kind, message, log) = fails(&server, js);
                assert_eq!((kind.as_str(), message.as_str()), ("Error", "in it"));
                log
            };
            assert!(
                log.contains("\tother") && log.contains("\tbehind") && log.contains("in it"),
                "{log}"
            );
        }
    }
}

/// Version 3 of the client says so and goes on; with version 4, Node.js has nothing left to do, and ends.
#[test]
fn a_handler_that_can_never_settle_is_told_at_once() {
    for node in [20, 22] {
        let (_project, server) = server(node);
        for js in [
            "await new Promise(() => {})",
            "setTimeout(() => {}, 5); await new Promise(() => {})",
        ] {
            let (kind, message, log) = fails(&server, js);
            assert_eq!(kind, "Runtime.NodeJsExit");
            assert!(message.contains("a Promise that was never settled"), "{message}");
            assert!(log.contains("\tERROR\tInvoke Error \t{"), "{log}");
        }
        assert_eq!(call(&server, "f", "{}"), 3);
    }
    let (_project, server) = server(24);
    exits(
        &server,
        "await new Promise(() => {})",
        "Runtime exited without providing a reason",
    );
    assert!(is_new(&server));
    let nine =
        "process.exitCode = 9; process.on('exit', (code) => console.log('exit', code)); await new Promise(() => {})";
    let log = exits(&server, nine, "Runtime exited with error: exit status 9");
    assert!(log.contains("\texit 9"), "{log}");
    let found = "let settle; process.on('beforeExit', () => settle('settled')); return await new Promise((done) => settle = done)";
    assert_eq!(call(&server, "f", &json!({ "js": found }).to_string()), "settled");
    let third = "let n = 0; await new Promise((done) => process.on('beforeExit', () => ++n === 3 ? done() : setTimeout(() => {}, 1))); return n";
    assert_eq!(call(&server, "f", &json!({ "js": third }).to_string()), 3);

    // Of code that never ends to load, V8 says where.
    let waits = [(
        "index.mjs",
        "await new Promise(() => {}); export const handler = async () => 1;",
    )];
    let (_project, server) = serve(&[("f", "handler: index.handler", &waits)]);
    let (kind, message, _) = fails(&server, "");
    assert_eq!(
        (kind.as_str(), message.as_str()),
        ("Error", "Top-level await promise never resolved")
    );
}

#[test]
fn such_an_error_while_the_code_is_loaded_fails_the_start() {
    let code = "Promise.reject(new RangeError('early')); exports.handler = async () => 1;";
    let files = [("index.js", code)];
    let (_project, server) = serve(&[
        ("n22", "handler: index.handler, runtime: nodejs22.x", &files),
        ("n24", "handler: index.handler, runtime: nodejs24.x", &files),
    ]);
    let (answer, log) = invoke_logged(server.endpoint(), "n22", "{}");
    assert_eq!(
        error_of(&answer),
        ("Runtime.UnhandledPromiseRejection".into(), "RangeError: early".into()),
        "{log}"
    );
    let (answer, log) = invoke_logged(server.endpoint(), "n24", "{}");
    assert_eq!(error_of(&answer).0, "Runtime.ExitError", "{log}");
    assert!(log.contains("RangeError: early"), "{log}");
}
