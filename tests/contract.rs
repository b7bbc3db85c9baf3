//! The contract between a handler and AWS's Node.js runtime client, by version of Node.js (npm aws-lambda-ric 3.3 and 4.0).

use serde_json::json;

use crate::support::{Function, Project, Server, call, error_of, invoke, invoke_logged, post, serve, value_of};

mod failures;
mod finding;

#[track_caller]
fn fail(server: &Server, function: &str, event: &str) -> (String, String) {
    error_of(&invoke(server.endpoint(), function, event))
}

/// A function that runs `event.js` as the body of its handler, once for each of these runtimes, named `n20` and so on.
fn probes(nodes: &[u32]) -> (Project, Server) {
    let code = "exports.handler = (event, context) => new Function('event', 'context', 'require', event.js)(event, context, require);";
    let files = [("index.js", code)];
    let functions: Vec<(String, String)> = nodes
        .iter()
        .map(|node| {
            let settings = format!("handler: index.handler, runtime: nodejs{node}.x, timeout: 20s");
            (format!("n{node}"), settings)
        })
        .collect();
    let functions: Vec<Function> = functions
        .iter()
        .map(|(name, settings)| (name.as_str(), settings.as_str(), files.as_slice()))
        .collect();
    serve(&functions)
}

fn js(text: &str) -> String {
    json!({ "js": text }).to_string()
}

#[test]
fn the_first_answer_counts_and_only_the_callback_waits() {
    let (_project, server) = probes(&[20, 22]);
    for function in ["n20", "n22"] {
        for (body, expected) in [
            (
                "context.succeed(1); context.fail(new Error('late')); context.done(null, 2);",
                json!(1),
            ),
            (
                "context.done(null, 'done'); return Promise.resolve('promise');",
                json!("done"),
            ),
            (
                "return { then: (yes) => setTimeout(yes, 1, 'thenable') };",
                json!("thenable"),
            ),
            (
                "return new Promise(() => setTimeout(() => context.succeed('context'), 2));",
                json!("context"),
            ),
            ("setTimeout(() => {}, 5); return 'ignored';", json!(null)),
            ("context.succeed();", json!(null)),
        ] {
            assert_eq!(call(&server, function, &js(body)), expected, "{function}: {body}");
        }
        for (body, kind, message) in [
            ("context.fail();", "string", "handled"),
            ("context.fail(null); context.succeed(1);", "string", "handled"),
            ("context.done('text');", "string", "text"),
            ("context.done(new RangeError('done'));", "RangeError", "done"),
            ("throw new TypeError('thrown')", "TypeError", "thrown"),
            (
                "context.fail({ name: 'Own', message: 'shaped' });",
                "object",
                "[object Object]",
            ),
        ] {
            let found = fail(&server, function, &js(body));
            assert_eq!(
                (found.0.as_str(), found.1.as_str()),
                (kind, message),
                "{function}: {body}"
            );
        }
        // An answer through the context does not wait for timers, an unanswered one does.
        let (answer, log) = invoke_logged(
            server.endpoint(),
            function,
            &js("setTimeout(() => console.log('late work'), 30); context.succeed('at once');"),
        );
        assert_eq!(value_of(&answer), json!("at once"));
        assert!(!log.contains("late work"), "{log}");
    }
}

#[test]
fn a_second_completion_is_complained_about() {
    let code = "let kept; exports.handler = (event, context) => {\n\
        if (kept) { kept('too late'); context.succeed('second'); } else { kept = context.succeed; }\n\
        };";
    let (_project, server) = serve(&[(
        "f",
        "handler: index.handler, runtime: nodejs22.x",
        &[("index.js", code)],
    )]);
    assert_eq!(call(&server, "f", "{}"), json!(null));
    let (answer, log) = invoke_logged(server.endpoint(), "f", "{}");
    assert_eq!(value_of(&answer), json!("second"));
    let complaint =
        "\tERROR\tInvocation has already been reported as done. Cannot call complete more than once per invocation.\n";
    assert!(log.contains(complaint), "{log}");
}

#[test]
fn a_callback_handler_is_warned_of_up_to_nodejs22() {
    let plain = "exports.handler = (event, context, callback) => callback(null, 1);";
    let modern = "exports.handler = async (event, context, callback) => 1;";
    let quiet = "env: { AWS_LAMBDA_NODEJS_DISABLE_CALLBACK_WARNING: '1' }";
    let (_project, server) = serve(&[
        (
            "n20",
            "handler: index.handler, runtime: nodejs20.x",
            &[("index.js", plain)],
        ),
        (
            "n22",
            "handler: index.handler, runtime: nodejs22.x",
            &[("index.js", plain)],
        ),
        (
            "async",
            "handler: index.handler, runtime: nodejs22.x",
            &[("index.js", modern)],
        ),
        (
            "quiet",
            &format!("handler: index.handler, runtime: nodejs22.x, {quiet}"),
            &[("index.js", plain)],
        ),
    ]);
    for (function, warned) in [("n20", true), ("n22", true), ("async", false), ("quiet", false)] {
        let (answer, log) = invoke_logged(server.endpoint(), function, "{}");
        assert_eq!(value_of(&answer), 1);
        let warning = "\tundefined\tWARN\tAWS Lambda plans to remove support for callback-based function handlers starting with Node.js 24. You \
            will need to update this function";
        assert_eq!(log.contains(warning), warned, "{function}: {log}");
    }
}

#[test]
fn the_context_has_every_member_of_its_nodejs() {
    let (_project, server) = probes(&[20, 22, 24]);
    let common = [
        "awsRequestId",
        "clientContext",
        "functionName",
        "functionVersion",
        "getRemainingTimeInMillis",
        "identity",
        "invokedFunctionArn",
        "logGroupName",
        "logStreamName",
        "memoryLimitInMB",
        "tenantId",
    ];
    for (function, more) in [
        (
            "n20",
            ["callbackWaitsForEmptyEventLoop", "done", "fail", "succeed"].as_slice(),
        ),
        (
            "n22",
            ["callbackWaitsForEmptyEventLoop", "done", "fail", "succeed"].as_slice(),
        ),
        ("n24", ["xRayTraceId"].as_slice()),
    ] {
        let mut members: Vec<&str> = common.iter().chain(more).copied().collect();
        members.sort_unstable();
        let found = call(
            &server,
            function,
            &js("return Promise.resolve(Object.keys(context).sort())"),
        );
        assert_eq!(found, json!(members), "{function}");
        let types = call(
            &server,
            function,
            &js(
                "return Promise.resolve([typeof context.memoryLimitInMB, typeof context.identity, context.getRemainingTimeInMillis() > 10000])",
            ),
        );
        assert_eq!(types, json!(["string", "undefined", true]), "{function}");
    }
    let trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
    let url = format!("{}/2015-03-31/functions/n24/invocations", server.endpoint());
    let answer = post(
        &url,
        &[("x-amzn-trace-id", trace)],
        js("return Promise.resolve(context.xRayTraceId)").as_bytes(),
    );
    assert!(
        value_of(&answer)
            .as_str()
            .unwrap()
            .starts_with("Root=1-5759e988-bd862e3fe1be46a994272793")
    );
}

#[test]
fn the_realm_is_that_of_its_nodejs() {
    let (_project, server) = probes(&[20, 22, 24]);
    for (function, expected) in [
        ("n20", json!(["v20", "undefined", "20"])),
        ("n22", json!(["v22", "Node.js/22", "22"])),
        ("n24", json!(["v24", "Node.js/24", "24"])),
    ] {
        let body = "return Promise.resolve([process.version.split('.')[0], typeof navigator === 'undefined' ? 'undefined' : navigator.userAgent, process.versions.node.split('.')[0]])";
        assert_eq!(call(&server, function, &js(body)), expected, "{function}");
    }
}
