//! What a handler gives back, throws or leaves behind is the answer.

use serde_json::json;

use crate::support::{call, error_of, invoke, invoke_logged, serve, value_of};

#[test]
fn what_a_handler_gives_back_is_the_answer() {
    let (_project, server) = serve(&[
        (
            "modern",
            "handler: index.handler",
            &[(
                "index.mjs",
                "export const handler = async (event) => eval(`(${event.js})`);",
            )],
        ),
        (
            "sync",
            "handler: index.handler, runtime: nodejs24.x",
            &[("index.mjs", "export const handler = (event) => eval(`(${event.js})`);")],
        ),
    ]);
    for (js, expected) in [
        ("undefined", "null"),
        ("null", "null"),
        ("'text'", "\"text\""),
        ("'é ∑ 𝄞 \\u0000'", "\"é ∑ 𝄞 \\u0000\""),
        ("0", "0"),
        ("NaN", "null"),
        ("true", "true"),
        ("[1, undefined]", "[1,null]"),
        (
            "{ a: undefined, b: new Date(0) }",
            r#"{"b":"1970-01-01T00:00:00.000Z"}"#,
        ),
        ("() => 1", "null"),
        ("Buffer.from('a')", r#"{"type":"Buffer","data":[97]}"#),
        ("{ toJSON: () => 'own' }", "\"own\""),
        ("'\\ud800'", "\"\\ud800\""),
    ] {
        for function in ["modern", "sync"] {
            let answer = invoke(server.endpoint(), function, &json!({ "js": js }).to_string());
            assert_eq!(
                (answer.status, answer.text().as_str()),
                (200, expected),
                "{function}: {js}"
            );
            assert_eq!(answer.header("content-type"), Some("application/json"));
        }
    }
    let event = r#"[1,2.50,"é",null,{"__proto__":1,"big":12345678901234567890}]"#;
    let echoed = call(
        &server,
        "sync",
        &json!({ "js": format!("JSON.stringify({event})") }).to_string(),
    );
    assert!(echoed.as_str().unwrap().starts_with("[1,2.5,\"é\",null,"), "{echoed}");
}

#[test]
fn callback_handlers_work_up_to_nodejs22() {
    let code = r#"
        let late = 0;
        exports.result = (event, context, callback) => { setTimeout(() => callback(null, { from: 'callback' }), 5); };
        exports.error = (event, context, callback) => callback(new TypeError('from the callback'));
        exports.text = (event, context, callback) => callback('just text');
        exports.twice = (event, context, callback) => { callback(null, 1); callback(null, 2); };
        exports.never = (event, context, callback) => { setTimeout(() => {}, 5); };
        exports.plain = (event) => 'ignored';
        exports.done = (event, context) => context.done(null, 'done');
        exports.succeed = (event, context) => context.succeed('succeeded');
        exports.fail = (event, context) => context.fail(new Error('failed'));
        exports.waits = (event, context, callback) => { setTimeout(() => console.log('late work'), 50); callback(null, 'waited'); };
        exports.hurries = (event, context, callback) => {
          context.callbackWaitsForEmptyEventLoop = false;
          const seen = late;
          setTimeout(() => { late += 1; console.log('late work'); }, 50);
          if (event.linger) { setTimeout(() => callback(null, late), 200); } else { callback(null, seen); }
        };
        exports.both = async (event, context, callback) => { setTimeout(() => callback(null, 'callback'), 5); return 'promise'; };
    "#;
    let names = [
        "result", "error", "text", "twice", "never", "plain", "done", "succeed", "fail", "waits", "hurries", "both",
    ];
    let settings: Vec<_> = names
        .iter()
        .map(|name| format!("handler: index.{name}, runtime: nodejs22.x"))
        .collect();
    let files = [("index.js", code)];
    let functions: Vec<_> = names
        .iter()
        .zip(&settings)
        .map(|(name, settings)| (*name, settings.as_str(), files.as_slice()))
        .collect();
    let (_project, server) = serve(&functions);
    for (function, expected) in [
        ("result", json!({"from": "callback"})),
        ("twice", json!(1)),
        ("never", json!(null)),
        ("plain", json!(null)),
        ("done", json!("done")),
        ("succeed", json!("succeeded")),
        ("both", json!("promise")),
    ] {
        assert_eq!(call(&server, function, "{}"), expected, "{function}");
    }
    for (function, kind, message) in [
        ("error", "TypeError", "from the callback"),
        ("fail", "Error", "failed"),
        ("text", "string", "just text"),
    ] {
        let (found, text) = error_of(&invoke(server.endpoint(), function, "{}"));
        assert_eq!((found.as_str(), text.as_str()), (kind, message), "{function}");
    }
    let (answer, log) = invoke_logged(server.endpoint(), "waits", "{}");
    assert_eq!(value_of(&answer), json!("waited"));
    assert!(log.contains("late work"), "{log}");
    let (answer, log) = invoke_logged(server.endpoint(), "hurries", "{}");
    assert_eq!(value_of(&answer), json!(0));
    assert!(!log.contains("late work"), "{log}");
    let (answer, log) = invoke_logged(server.endpoint(), "hurries", r#"{"linger":true}"#);
    assert_eq!(
        value_of(&answer),
        json!(2),
        "the first invocation's timer goes on in the second"
    );
    assert!(log.contains("late work"), "{log}");
}

#[test]
fn nodejs24_refuses_handlers_with_a_callback() {
    let code = "exports.handler = (event, context, callback) => callback(null, 1);";
    let (_project, server) = serve(&[
        (
            "old",
            "handler: index.handler, runtime: nodejs24.x",
            &[("index.js", code)],
        ),
        (
            "new",
            "handler: index.handler, runtime: nodejs24.x",
            &[(
                "index.js",
                "exports.handler = async (event, context) => Object.keys(context).sort();",
            )],
        ),
    ]);
    let (kind, message) = error_of(&invoke(server.endpoint(), "old", "{}"));
    assert_eq!(kind, "Runtime.CallbackHandlerDeprecated");
    assert!(
        message.starts_with("ERROR: AWS Lambda has removed support for callback-based function handlers"),
        "{message}"
    );
    let members = call(&server, "new", "{}");
    for gone in ["done", "succeed", "fail", "callbackWaitsForEmptyEventLoop"] {
        assert!(!members.as_array().unwrap().contains(&json!(gone)), "{gone}: {members}");
    }
}

#[test]
fn what_a_handler_throws_is_lambdas_error() {
    let code = r#"
        class InvoiceError extends Error { constructor(message) { super(message); this.name = 'InvoiceError'; this.code = 'E_INVOICE'; } }
        class Unnamed extends Error {}
        export const handler = async (event) => await eval(event.js);
    "#;
    let code = code.replace(
        "await eval(event.js)",
        "{ const run = eval(`async () => { ${event.js} }`); return await run(); }",
    );
    let (_project, server) = serve(&[("f", "handler: index.handler", &[("index.mjs", &code)])]);
    for (js, kind, message) in [
        ("throw new Error('plain')", "Error", "plain"),
        ("throw new TypeError('typed')", "TypeError", "typed"),
        ("throw new InvoiceError('no total')", "InvoiceError", "no total"),
        ("throw new Unnamed('no name')", "Error", "no name"),
        ("throw 'text'", "string", "text"),
        ("throw 42", "number", "42"),
        ("throw { a: 1 }", "object", "[object Object]"),
        (
            "return Promise.reject(new RangeError('rejected'))",
            "RangeError",
            "rejected",
        ),
        (
            "await new Promise((_, no) => setTimeout(() => no(new Error('later')), 1))",
            "Error",
            "later",
        ),
        ("null.x", "TypeError", "Cannot read properties of null (reading 'x')"),
        ("undefinedName", "ReferenceError", "undefinedName is not defined"),
        ("throw new Error('', { cause: 1 })", "Error", ""),
        ("throw new Error('é \\u007f \\n 𝄞')", "Error", "é %7F \n 𝄞"),
        (
            "JSON.parse('{')",
            "SyntaxError",
            "Expected property name or '}' in JSON at position 1 (line 1 column 2)",
        ),
    ] {
        let answer = invoke(server.endpoint(), "f", &json!({ "js": js }).to_string());
        let (found, text) = error_of(&answer);
        assert_eq!((found.as_str(), text.as_str()), (kind, message), "{js}");
        assert_eq!(answer.header("x-amz-executed-version"), Some("$LATEST"));
        let trace = answer.json()["trace"].as_array().unwrap().clone();
        assert_eq!(
            trace.is_empty(),
            matches!(kind, "string" | "number" | "object"),
            "{js}: {trace:?}"
        );
        if let Some(first) = trace.first() {
            assert!(
                first
                    .as_str()
                    .unwrap()
                    .starts_with(if message.is_empty() { "Error" } else { kind }),
                "{js}: {trace:?}"
            );
        }
    }
}

#[test]
fn the_trace_names_the_functions_own_lines() {
    let code = "\nfunction inner() {\n  throw new Error('here');\n}\nexports.handler = async () => inner();\n";
    let (_project, server) = serve(&[("f", "handler: index.handler", &[("index.js", code)])]);
    let answer = invoke(server.endpoint(), "f", "{}");
    assert_eq!(error_of(&answer).0, "Error");
    let trace = answer.json()["trace"].clone();
    assert_eq!(trace[0], "Error: here");
    assert!(
        trace[1]
            .as_str()
            .is_some_and(|line| line.contains("inner") && line.contains("index.js:3:")),
        "{trace}"
    );
}

#[test]
fn results_and_errors_that_are_too_large_are_told_and_hurt_nobody() {
    let code = "let count = 0; exports.handler = async ({ size, throws }) => { count++; const text = 'x'.repeat(size); if (throws) { throw new Error(text); } return size ? text : count; };";
    let (_project, server) = serve(&[("f", "handler: index.handler, memory: 512MB", &[("index.js", code)])]);
    for (size, throws) in [(6_291_555, false), (30 << 20, false), (30 << 20, true)] {
        let event = json!({"size": size, "throws": throws}).to_string();
        let (kind, message) = error_of(&invoke(server.endpoint(), "f", &event));
        assert_eq!(kind, "Function.ResponseSizeTooLarge", "{size}");
        assert_eq!(
            message,
            "Response payload size exceeded maximum allowed payload size (6291556 bytes)."
        );
    }
    assert_eq!(call(&server, "f", r#"{"size":0}"#), 4, "the environment goes on");
}

#[test]
fn results_that_are_no_json_are_errors_of_their_own() {
    let code = "export const handler = async (event) => eval(`(${event.js})`);";
    let (_project, server) = serve(&[(
        "f",
        "handler: index.handler, runtime: nodejs24.x",
        &[("index.mjs", code)],
    )]);
    for js in [
        "1n",
        "{ a: [1n] }",
        "(() => { const o = {}; o.o = o; return o; })()",
        "{ toJSON() { throw new Error('no'); } }",
        "{ get a() { throw 1; } }",
    ] {
        let (kind, message) = error_of(&invoke(server.endpoint(), "f", &json!({ "js": js }).to_string()));
        assert_eq!(
            (kind.as_str(), message.as_str()),
            ("Runtime.JSONStringifyError", "Unable to stringify response body"),
            "{js}"
        );
    }
    assert_eq!(call(&server, "f", r#"{"js":"1"}"#), 1);
}
