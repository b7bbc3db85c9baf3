//! Functions that spoil their own realm: answers, errors and logs stay right.

use serde_json::{Value, json};

use crate::support::{NEIGHBOUR, RUN, ask_neighbour, invoke, serve};

#[test]
fn polluted_globals_do_not_break_answers_errors_or_logs() {
    let pollutions = [
        "Object.prototype.toJSON = undefined; Object.prototype.errorType = 'evil'; Object.prototype.get = 1; Object.prototype.value = 2;",
        "Array.prototype[Symbol.iterator] = function* () { yield 'evil'; };",
        "Array.prototype.map = Array.prototype.join = Array.prototype.push = () => { throw new Error('evil'); };",
        "Promise.prototype.then = function () { throw new Error('evil'); };",
        "Promise.resolve = () => { throw new Error('evil'); };",
        "JSON.stringify = () => 'evil'; JSON.parse = () => { throw new Error('evil'); };",
        "String.prototype.split = String.prototype.replaceAll = String.prototype.slice = () => { throw new Error('evil'); };",
        "Date.prototype.toISOString = () => 'evil'; Date.now = () => NaN; globalThis.Date = null;",
        "Error.prepareStackTrace = () => { throw new Error('evil'); };",
        "Error.prepareStackTrace = () => ({ evil: true });",
        "Error.stackTraceLimit = 0;",
        "Reflect.apply = Function.prototype.call = Function.prototype.apply = Function.prototype.bind = () => { throw new Error('evil'); };",
        "globalThis.console = undefined; globalThis.Buffer = undefined; globalThis.Error = undefined;",
        "globalThis.setTimeout = globalThis.queueMicrotask = globalThis.structuredClone = null;",
        "process.env = null;",
        "globalThis.process = undefined;",
        "for (const name of Object.getOwnPropertyNames(globalThis)) { if (!/^(eval|undefined|NaN|Infinity|Object|globalThis)$/.test(name)) { try { delete globalThis[name]; } catch {} } }",
        "Object.freeze(Object.prototype); Object.freeze(globalThis);",
    ];
    let names: Vec<String> = (0..pollutions.len()).map(|index| format!("run{index}")).collect();
    let files = [("index.js", RUN)];
    let mut functions = vec![NEIGHBOUR];
    functions.extend(
        names
            .iter()
            .map(|name| (name.as_str(), "handler: index.handler, timeout: 2s", &files[..])),
    );
    let (_project, server) = serve(&functions);
    for (pollution, function) in pollutions.iter().zip(&names) {
        let tell = |js: &str| {
            let answer = invoke(server.endpoint(), function, &json!({ "js": js }).to_string());
            assert_eq!(answer.status, 200, "{pollution}: {}", answer.text());
            (answer.header("x-amz-function-error").is_some(), answer.json())
        };
        let (failed, first) = tell(&format!("{pollution} return 'polluted';"));
        assert!(
            if failed {
                first["errorType"].is_string()
            } else {
                first == "polluted"
            },
            "{pollution}: {first}"
        );
        let (failed, second) = tell("return { sum: 1 + 1, list: [1, 2] }");
        let right = second == json!({"sum": 2, "list": [1, 2]});
        assert!(
            if failed { second["errorType"].is_string() } else { right },
            "{pollution}: {second}"
        );
        let (failed, third) = tell("throw { mine: 1 }");
        assert!(failed && third["errorType"].is_string(), "{pollution}: {third}");
        ask_neighbour(&server, 1);
    }
}

#[test]
fn every_sort_of_broken_error_is_still_an_answer() {
    let (_project, server) = serve(&[
        NEIGHBOUR,
        ("run", "handler: index.handler, timeout: 5s", &[("index.js", RUN)]),
    ]);
    let mut wrong = Vec::new();
    for js in [
        "const e = new Error('x'); Object.defineProperty(e, 'message', { get() { throw new Error('evil'); } }); throw e;",
        "const e = new Error('x'); Object.defineProperty(e, 'stack', { get() { throw new Error('evil'); } }); throw e;",
        "const e = new Error('x'); e.stack = { not: 'text' }; throw e;",
        "const e = new Error('x'); e.name = { toString() { throw new Error('evil'); } }; throw e;",
        "const e = new Error('x'); e.name = 7; e.message = 8n; throw e;",
        "const e = new Error('x'); e.big = 1n; e.self = e; throw e;",
        "const e = new Error('x'); e.toJSON = () => { throw new Error('evil'); }; throw e;",
        "throw new Proxy(new Error('x'), { get() { throw new Error('evil'); } });",
        "throw new Proxy({}, { get() { throw 1; }, getPrototypeOf() { throw 2; }, ownKeys() { throw 3; } });",
        "throw Object.create(null);",
        "throw Symbol('s');",
        "throw () => 1;",
        "throw { toString: null, valueOf: null };",
        "throw Object.assign(new Error('x'), { errorType: 'evil', errorMessage: 'evil', trace: 'evil' });",
        "throw new AggregateError([new Error('a'), new Error('b')], 'both');",
        "throw new DOMException('dom', 'AbortError');",
        "throw new Error('x'.repeat(7 * 1024 * 1024));",
        "return { then(yes, no) { no(new Error('thenable')); } };",
        "return { then(yes, no) { yes(1); yes(2); no(3); } };",
        "return { get then() { throw new Error('getter'); } };",
    ] {
        let answer = invoke(server.endpoint(), "run", &json!({ "js": js }).to_string());
        let body = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        if answer.status != 200 || !(body == 1 || body["errorType"].is_string()) {
            wrong.push(format!("{js}: {} {body}", answer.status));
        }
        ask_neighbour(&server, 1);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
