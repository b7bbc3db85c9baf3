//! How failures are told.

use super::{fail, js, probes};
use crate::support::{error_of, invoke_logged, serve};

#[test]
fn errors_are_told_as_the_client_of_their_nodejs_tells_them() {
    let (_project, server) = probes(&[20, 22, 24]);
    let shaped = "throw Object.assign(Object.create(null), { name: 'Shaped', message: 'm', stack: 's' })";
    let handled = "callback called with Error argument, but there was a problem while retrieving one or more of its message, name, and stack";
    for (function, body, kind, message) in [
        ("n20", "return Promise.reject(null)", "string", "handled"),
        ("n22", "return Promise.reject(null)", "string", "handled"),
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
            "Error",
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
            "Error",
            "Unable to stringify response body",
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
