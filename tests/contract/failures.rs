//! How failures are told.

use serde_json::{Value, json};

use super::{fail, js, probes};
use crate::support::{call, error_of, invoke, invoke_logged, serve, value_of};

#[test]
fn errors_are_told_as_the_client_of_their_nodejs_tells_them() {
    let (_project, server) = probes(&[20, 22, 24]);
    let shaped = "throw Object.assign(Object.create(null), { name: 'Shaped', message: 'm', stack: 's' })";
    let handled = "callback called with Error argument, but there was a problem while retrieving one or more of its message, name, and stack";
    for (function, body, kind, message) in [
        ("n20", "return Promise.reject(null)", "string", "handled"),
        ("n22", "return Promise.reject(null)", "object", "null"),
        ("n24", "return Promise.reject(null)", "object", "null"),
        ("n24", "throw undefined", "undefined", "undefined"),
        ("n20", shaped, "Shaped", "m"),
        ("n24", shaped, "handled", handled),
        ("n24", "throw Object.create(null)", "handled", handled),
        ("n24", "throw Symbol('s')", "symbol", "Symbol(s)"),
        (
            "n22",
            "throw Object.assign(new Error('m'), { name: 7 })",
            "handled",
            handled,
        ),
        (
            "n24",
            "throw new Proxy({}, { getPrototypeOf() { throw 1 }, get() { throw 2 } })",
            "handled",
            handled,
        ),
        ("n24", "throw 10n", "bigint", "10"),
        (
            "n20",
            "return Promise.resolve(1n)",
            "Error",
            "Unable to stringify response body",
        ),
        (
            "n22",
            "return Promise.resolve(1n)",
            "Runtime.JSONStringifyError",
            "Unable to stringify response body",
        ),
        (
            "n24",
            "return { toJSON() { throw 1 } }",
            "Runtime.JSONStringifyError",
            "Unable to stringify response body",
        ),
        (
            "n22",
            "const o = {}; o.o = o; context.succeed(o)",
            "Runtime.JSONStringifyError",
            "Unable to stringify response body",
        ),
        (
            "n24",
            "return new Promise(() => {})",
            "Runtime.NodeJsExit",
            "Runtime exited without providing a reason",
        ),
    ] {
        let found = fail(&server, function, &js(body));
        assert_eq!(
            (found.0.as_str(), found.1.as_str()),
            (kind, message),
            "{function}: {body}"
        );
    }
    for (exit, text) in [
        ("process.exit(0)", "Runtime exited without providing a reason"),
        ("process.exit(7)", "Runtime exited with error: exit status 7"),
    ] {
        let (kind, message) = fail(&server, "n22", &js(exit));
        assert_eq!(kind, "Runtime.ExitError");
        assert!(
            message.starts_with("RequestId: ") && message.ends_with(text),
            "{message}"
        );
    }
}

#[test]
fn whatever_is_thrown_outside_of_a_promise_is_told_as_what_it_is() {
    let (_project, server) = probes(&[22, 24]);
    for function in ["n22", "n24"] {
        for (thrown, kind, message) in [
            ("1", "number", "1"),
            ("'text'", "string", "text"),
            ("null", "object", "null"),
            ("{ a: 1 }", "object", "[object Object]"),
            ("new RangeError('r')", "RangeError", "r"),
            (
                "Object.assign(new Error('own'), { name: 'OwnError' })",
                "OwnError",
                "own",
            ),
        ] {
            for place in [
                "setTimeout(() => { throw X }, 1)",
                "queueMicrotask(() => { throw X })",
                "process.nextTick(() => { throw X })",
            ] {
                let body = format!(
                    "{}; return new Promise((done) => setTimeout(done, 10000))",
                    place.replace('X', thrown)
                );
                let found = fail(&server, function, &js(&body));
                if thrown == "null" {
                    assert!(found.0 == kind || found.0 == "handled", "{body}: {found:?}");
                } else {
                    assert_eq!(
                        (found.0.as_str(), found.1.as_str()),
                        (kind, message),
                        "{function}: {body}"
                    );
                }
            }
        }
    }
    let (answer, log) = invoke_logged(
        server.endpoint(),
        "n22",
        &js(
            "Promise.reject(Object.assign(new TypeError('alone'), { code: 'E' })); return new Promise((done) => setTimeout(done, 10000))",
        ),
    );
    assert_eq!(error_of(&answer).0, "Runtime.UnhandledPromiseRejection");
    let line = log
        .lines()
        .find(|line| line.contains("\tUnhandled Promise Rejection \t"))
        .unwrap();
    let details: Value = serde_json::from_str(line.rsplit('\t').next().unwrap()).unwrap();
    assert_eq!(
        (
            &details["errorMessage"],
            &details["reason"]["errorType"],
            &details["reason"]["code"]
        ),
        (&json!("TypeError: alone"), &json!("TypeError"), &json!("E")),
        "{details}"
    );
}

#[test]
fn what_a_handler_leaves_behind_is_told_with_its_own_invocation() {
    let code = "let count = 0;\n\
        exports.handler = async (event) => { count += 1; new Function(event.js ?? '')(); return count; };";
    for node in [22, 24] {
        let settings = format!("handler: index.handler, runtime: nodejs{node}.x");
        let (_project, server) = serve(&[("f", &settings, &[("index.js", code)])]);
        // AWS's client has sent the answer when it hears of a rejection; then it exits.
        for (body, said) in [
            ("(async () => { throw new Error('alone'); })()", "Error: alone"),
            ("Promise.reject(7)", "\"7\""),
        ] {
            let (answer, log) = invoke_logged(server.endpoint(), "f", &js(body));
            assert_eq!(value_of(&answer), 1, "{body} on {node}: the environment lives on");
            assert!(
                log.contains("Unhandled Promise Rejection") && log.contains(said),
                "{log}"
            );
        }
        let failed = invoke(
            server.endpoint(),
            "f",
            &js("Promise.reject(7); throw new TypeError('own')"),
        );
        assert_eq!(error_of(&failed), ("TypeError".into(), "own".into()));
        for (body, kind, message) in [
            (
                "process.nextTick(() => { throw new RangeError('tick'); })",
                "RangeError",
                "tick",
            ),
            (
                "queueMicrotask(() => { throw new TypeError('micro'); })",
                "TypeError",
                "micro",
            ),
        ] {
            assert_eq!(call(&server, "f", "{}"), 1, "before {body}");
            let found = fail(&server, "f", &js(body));
            assert_eq!(
                (found.0.as_str(), found.1.as_str()),
                (kind, message),
                "{body} on {node}"
            );
        }
        // What is handled in time, or runs without failing, is nothing.
        for (body, count) in [
            ("const p = Promise.reject(1); p.catch(() => {})", 1),
            (
                "const p = Promise.reject(1); process.nextTick(() => p.catch(() => {}))",
                2,
            ),
            ("process.nextTick(() => console.log('ticked'))", 3),
        ] {
            let (answer, log) = invoke_logged(server.endpoint(), "f", &js(body));
            assert_eq!(value_of(&answer), count, "{body} on {node}: {log}");
            assert_eq!(log.contains("ticked"), body.contains("ticked"), "{log}");
        }
    }
    // A promise that is never settled is an answer only of a function that is not async, and has callbacks.
    let (_project, server) = probes(&[20, 22]);
    for function in ["n20", "n22"] {
        assert_eq!(
            call(&server, function, &js("return new Promise(() => {})")),
            json!(null)
        );
    }
}

#[test]
fn a_rejection_that_nobody_handles_while_the_code_is_loaded_fails_the_start() {
    let code = "Promise.reject(new RangeError('early')); exports.handler = async () => 1;";
    let settings = "handler: index.handler, runtime: nodejs22.x";
    let (_project, server) = serve(&[("f", settings, &[("index.js", code)])]);
    let expected = ("Runtime.UnhandledPromiseRejection".into(), "RangeError: early".into());
    assert_eq!(error_of(&invoke(server.endpoint(), "f", "{}")), expected);
}

#[test]
fn a_function_that_cannot_start_logs_it_as_its_nodejs_does() {
    let code = "throw Object.assign(new Error('at the start'), { code: 'E_START' });";
    let (_project, server) = serve(&[
        (
            "n22",
            "handler: index.handler, runtime: nodejs22.x",
            &[("index.js", code)],
        ),
        (
            "n24",
            "handler: index.handler, runtime: nodejs24.x",
            &[("index.js", code)],
        ),
        (
            "cb",
            "handler: index.handler, runtime: nodejs24.x",
            &[("index.js", "exports.handler = (a, b, c) => {};")],
        ),
        (
            "mark",
            "handler: index.handler",
            &[(
                "index.js",
                "exports.handler = async () => {}; exports.handler[Symbol.for('aws.lambda.runtime.handler.streaming')] = 'request';",
            )],
        ),
    ]);
    for (function, title) in [
        ("n22", "\tundefined\tERROR\tUncaught Exception \t{"),
        ("n24", "\t-\tERROR\tInit Error \t{"),
    ] {
        let (answer, log) = invoke_logged(server.endpoint(), function, "{}");
        assert_eq!(error_of(&answer), ("Error".into(), "at the start".into()));
        let line = log
            .lines()
            .find(|line| line.contains(title))
            .unwrap_or_else(|| panic!("{function}: {log}"));
        assert!(
            line.contains(
                r#""errorType":"Error","errorMessage":"at the start","code":"E_START","stack":["Error: at the start""#
            ),
            "{line}"
        );
    }
    let (_, log) = invoke_logged(server.endpoint(), "cb", "{}");
    assert!(log.contains(r#","name":"Runtime.CallbackHandlerDeprecated","#), "{log}");
    let found = fail(&server, "mark", "{}");
    assert_eq!(
        found,
        (
            "Runtime.MalformedStreamingHandler".into(),
            "Only response streaming is supported.".into()
        )
    );
}
