//! The contract between a handler and AWS's Node.js runtime client, by version of Node.js (npm aws-lambda-ric 3.3 and 4.0).

use serde_json::{Value, json};

use crate::support::{Function, Server, error_of, invoke, invoke_logged, serve, value_of};

#[track_caller]
fn call(server: &Server, function: &str, event: &Value) -> Value {
    value_of(&invoke(server.endpoint(), function, &event.to_string()))
}

#[track_caller]
fn fail(server: &Server, function: &str, event: &Value) -> (String, String) {
    error_of(&invoke(server.endpoint(), function, &event.to_string()))
}

/// A function that runs `event.js` as the body of its handler, once for each of these runtimes, named `n20` and so on.
fn probes(nodes: &[u32]) -> (crate::support::Project, Server) {
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

fn js(text: &str) -> Value {
    json!({ "js": text })
}

// --- Finding the handler ----------------------------------------------------------------------------------------------

/// Node.js, handler, files, and what it answers or the type of the error.
type Case<'a> = (u32, &'a str, &'a [(&'a str, &'a str)], Result<&'a str, &'a str>);

const CASES: &[Case] = &[
    // The order of the files.
    (
        22,
        "index.handler",
        &[
            ("index", "exports.handler = async () => 'plain'"),
            ("index.js", "exports.handler = async () => 'js'"),
        ],
        Ok("plain"),
    ),
    (
        22,
        "index.handler",
        &[
            ("index.js", "exports.handler = async () => 'js'"),
            ("index.mjs", "export const handler = async () => 'mjs'"),
        ],
        Ok("js"),
    ),
    (
        20,
        "index.handler",
        &[
            ("index.mjs", "export const handler = async () => 'mjs'"),
            ("index.cjs", "exports.handler = async () => 'cjs'"),
        ],
        Ok("mjs"),
    ),
    (
        22,
        "index.handler",
        &[
            ("index.cjs", "exports.handler = async () => 'cjs'"),
            ("index.ts", "export const handler = async (): Promise<string> => 'ts'"),
        ],
        Ok("cjs"),
    ),
    (
        24,
        "index.handler",
        &[("index.mts", "export const handler = async (): Promise<string> => 'mts'")],
        Ok("mts"),
    ),
    (
        24,
        "index.handler",
        &[(
            "index.cts",
            "const answer: string = 'cts'; exports.handler = async () => answer;",
        )],
        Ok("cts"),
    ),
    // The kind of a `.js`, by the nearest package.json.
    (
        20,
        "index.handler",
        &[
            ("package.json", "{\"type\":\"module\"}"),
            ("index.js", "export const handler = async () => 'module'"),
        ],
        Ok("module"),
    ),
    (
        22,
        "src/index.handler",
        &[
            ("package.json", "{\"type\":\"module\"}"),
            ("src/package.json", "{}"),
            ("src/index.js", "exports.handler = async () => typeof require"),
        ],
        Ok("function"),
    ),
    (
        24,
        "index.handler",
        &[
            ("package.json", "{\"type\":\"module\"}"),
            (
                "index.js",
                "const answer = await Promise.resolve('awaited'); export const handler = async () => answer",
            ),
        ],
        Ok("awaited"),
    ),
    // A directory is a module up to Node.js 20; later a name without a file is a package, and NODE_PATH, which packages are looked for in
    // last, ends with the function's own directory.
    (
        20,
        "src.handler",
        &[("src/index.js", "exports.handler = async () => 'directory'")],
        Ok("directory"),
    ),
    (
        22,
        "src.handler",
        &[("src/index.js", "exports.handler = async () => 'directory'")],
        Ok("directory"),
    ),
    (
        22,
        "packed.handler",
        &[(
            "node_modules/packed/index.js",
            "exports.handler = async () => 'package'",
        )],
        Ok("package"),
    ),
    (
        20,
        "deep/packed.handler",
        &[(
            "deep/node_modules/packed/index.js",
            "exports.handler = async () => 'deep'",
        )],
        Ok("deep"),
    ),
    // Exports.
    (
        22,
        "index.a.b.c",
        &[("index.mjs", "export const a = { b: { c: async () => 'nested' } }")],
        Ok("nested"),
    ),
    (
        22,
        "index.handler",
        &[("index.mjs", "export default { handler: async () => 'default' }")],
        Ok("default"),
    ),
    (
        20,
        "index.handler",
        &[("index.mjs", "export default { handler: async () => 'default' }")],
        Err("Runtime.HandlerNotFound"),
    ),
    (
        22,
        "index.default",
        &[("index.mjs", "export default async () => 'itself'")],
        Ok("itself"),
    ),
    (
        22,
        "index.handler",
        &[("index.mjs", "export const handler = 0")],
        Err("Runtime.HandlerNotFound"),
    ),
    (
        24,
        "index.handler",
        &[("index.mjs", "export const handler = {}")],
        Err("Runtime.HandlerNotFound"),
    ),
    (
        24,
        "index.handler",
        &[(
            "index.js",
            "exports.handler = async function () { return typeof this + (this === module.exports) }",
        )],
        Ok("objectfalse"),
    ),
    // Any Node.js.
    (
        16,
        "index.handler",
        &[(
            "index.js",
            "exports.handler = async () => process.version.split('.')[0]",
        )],
        Ok("v16"),
    ),
    (
        18,
        "index.handler",
        &[(
            "index.js",
            "exports.handler = async () => process.version.split('.')[0]",
        )],
        Ok("v18"),
    ),
    (
        26,
        "index.handler",
        &[(
            "index.js",
            "exports.handler = async () => process.version.split('.')[0]",
        )],
        Ok("v26"),
    ),
];

#[test]
fn handlers_are_found_by_the_rules_of_their_nodejs() {
    let names: Vec<(String, String)> = CASES
        .iter()
        .enumerate()
        .map(|(index, (node, handler, ..))| {
            (
                format!("f{index}"),
                format!("handler: {handler}, runtime: nodejs{node}.x"),
            )
        })
        .collect();
    let functions: Vec<Function> = names
        .iter()
        .zip(CASES)
        .map(|((name, settings), (.., files, _))| (name.as_str(), settings.as_str(), *files))
        .collect();
    let (_project, server) = serve(&functions);
    let mut wrong = Vec::new();
    for ((name, settings), (.., expected)) in names.iter().zip(CASES) {
        let answer = invoke(server.endpoint(), name, "{}").json();
        let found = match answer["errorType"].as_str() {
            Some(error) => Err(error),
            None => Ok(answer.as_str().unwrap_or("no text")),
        };
        if found != *expected {
            wrong.push(format!("{name} ({settings}): {answer} instead of {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

// --- Callbacks --------------------------------------------------------------------------------------------------------

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
            &js("setTimeout(() => console.log('late work'), 30); context.succeed('at once');").to_string(),
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
    assert_eq!(call(&server, "f", &json!({})), json!(null));
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

// --- Context ----------------------------------------------------------------------------------------------------------

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
    let answer = crate::support::post(
        &url,
        &[("x-amzn-trace-id", trace)],
        js("return Promise.resolve(context.xRayTraceId)").to_string().as_bytes(),
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

// --- Errors -----------------------------------------------------------------------------------------------------------

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
        &js("Promise.reject(Object.assign(new TypeError('alone'), { code: 'E' })); return new Promise((done) => setTimeout(done, 10000))").to_string(),
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
            let (answer, log) = invoke_logged(server.endpoint(), "f", &js(body).to_string());
            assert_eq!(value_of(&answer), 1, "{body} on {node}: the environment lives on");
            assert!(
                log.contains("Unhandled Promise Rejection") && log.contains(said),
                "{log}"
            );
        }
        let failed = invoke(
            server.endpoint(),
            "f",
            &js("Promise.reject(7); throw new TypeError('own')").to_string(),
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
            assert_eq!(call(&server, "f", &json!({})), 1, "before {body}");
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
            let (answer, log) = invoke_logged(server.endpoint(), "f", &js(body).to_string());
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
    let found = fail(&server, "mark", &json!({}));
    assert_eq!(
        found,
        (
            "Runtime.MalformedStreamingHandler".into(),
            "Only response streaming is supported.".into()
        )
    );
}
