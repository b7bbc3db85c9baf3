//! What a function may count on: modules, handlers, context, Node.js, errors, logs, and Lambda's API around it.

use serde_json::{Value, json};

use crate::support::{
    Answer, Project, Server, aws, error_of, get, invoke, invoke_event, invoke_logged, post, request, serve, value_of,
    wait_for,
};

const CJS: &str = "exports.handler = async (event) => ({ kind: typeof require, event });";
const ESM: &str = "export const handler = async (event) => ({ kind: typeof require, event });";

fn url(server: &Server, function: &str) -> String {
    format!("{}/2015-03-31/functions/{function}/invocations", server.endpoint())
}

#[track_caller]
fn call(server: &Server, function: &str, event: &str) -> Value {
    value_of(&invoke(server.endpoint(), function, event))
}

// --- Modules and handlers ---------------------------------------------------------------------------------------------

#[test]
fn every_form_of_module_is_loaded() {
    let awaits =
        "const kind = await Promise.resolve('awaited'); export const handler = async (event) => ({ kind, event });";
    let nested = "exports.a = { b: async (event) => ({ kind: __filename.split('/').at(-1), event }) };";
    let typed = "type Event = { n: number };\nenum Kind { Typed = 'typed' }\n\
        export const handler = async (event: Event): Promise<{ kind: Kind; event: Event }> => ({ kind: Kind.Typed, event } as const);";
    let default = "export default { handler: async (event) => ({ kind: 'default', event }) };";
    let exported = "module.exports = { handler: async (event) => ({ kind: 'module.exports', event }) };";
    let package = |kind| match kind {
        "module" => r#"{"type":"module"}"#,
        _ => r#"{"type":"commonjs"}"#,
    };
    let (_project, server) = serve(&[
        ("js-commonjs", "handler: index.handler", &[("index.js", CJS)]),
        ("cjs", "handler: index.handler", &[("index.cjs", CJS)]),
        (
            "type-commonjs",
            "handler: index.handler",
            &[("index.js", CJS), ("package.json", package("commonjs"))],
        ),
        ("mjs", "handler: index.handler", &[("index.mjs", ESM)]),
        (
            "type-module",
            "handler: index.handler",
            &[("index.js", ESM), ("package.json", package("module"))],
        ),
        ("js-esm-syntax", "handler: index.handler", &[("index.js", ESM)]),
        ("mjs-await", "handler: index.handler", &[("index.mjs", awaits)]),
        ("js-await", "handler: index.handler", &[("index.js", awaits)]),
        (
            "type-module-await",
            "handler: index.handler",
            &[("index.js", awaits), ("package.json", package("module"))],
        ),
        ("nested", "handler: dir/mod.a.b", &[("dir/mod.js", nested)]),
        ("default", "handler: index.handler", &[("index.mjs", default)]),
        ("exported", "handler: index.handler", &[("index.js", exported)]),
        ("ts", "handler: index.handler", &[("index.ts", typed)]),
    ]);
    for (function, kind) in [
        ("js-commonjs", "function"),
        ("cjs", "function"),
        ("type-commonjs", "function"),
        ("mjs", "undefined"),
        ("type-module", "undefined"),
        ("js-esm-syntax", "undefined"),
        ("mjs-await", "awaited"),
        ("js-await", "awaited"),
        ("type-module-await", "awaited"),
        ("nested", "mod.js"),
        ("default", "default"),
        ("exported", "module.exports"),
        ("ts", "typed"),
    ] {
        let answer = invoke(server.endpoint(), function, r#"{"n":1}"#);
        assert_eq!(
            answer.text(),
            json!({"kind": kind, "event": {"n": 1}}).to_string(),
            "{function}"
        );
    }
}

#[test]
fn a_function_may_be_a_single_file() {
    let typed = "export const handler = async (event: { n: number }) => event.n + 1;";
    let project = Project::new(
        "functions:\n  js: { code: ./a.js }\n  cjs: { code: ./b.cjs }\n  mjs: { code: ./c.mjs }\n  ts: { code: ./d.ts }\n  named: { code: ./e.mjs, handler: e.work }\n",
        &[
            ("a.js", "exports.handler = async (event) => event.n + 1;"),
            ("b.cjs", "exports.handler = async (event) => event.n + 1;"),
            ("c.mjs", "export const handler = async (event) => event.n + 1;"),
            ("d.ts", typed),
            ("e.mjs", "export const work = async (event) => event.n + 1;"),
        ],
    );
    let server = project.up();
    for function in ["js", "cjs", "mjs", "ts", "named"] {
        assert_eq!(call(&server, function, r#"{"n":1}"#), json!(2), "{function}");
    }
}

#[test]
fn packages_and_json_are_found_from_both_kinds_of_module() {
    let package = [
        (
            "node_modules/tiny/package.json",
            r#"{"name":"tiny","version":"1.2.3","main":"lib/main.js"}"#,
        ),
        (
            "node_modules/tiny/lib/main.js",
            "const deep = require('deep'); exports.double = (n) => deep(n) * 2;",
        ),
        ("node_modules/deep/index.js", "module.exports = (n) => n + 1;"),
        (
            "node_modules/dual/package.json",
            r#"{"name":"dual","exports":{".":{"deno":"./deno.js","import":"./esm.mjs","require":"./cjs.cjs"},"./sub":"./sub.mjs"}}"#,
        ),
        ("node_modules/dual/deno.js", "export const kind = 'deno';"),
        ("node_modules/dual/esm.mjs", "export const kind = 'esm';"),
        ("node_modules/dual/cjs.cjs", "exports.kind = 'cjs';"),
        ("node_modules/dual/sub.mjs", "export default 'sub';"),
        ("data.json", r#"{"n":7}"#),
        ("part.js", "module.exports = { part: 'js' };"),
    ];
    let cjs = "const { double } = require('tiny'); const { kind } = require('dual'); const data = require('./data.json'); const { part } = require('./part');\n\
        exports.handler = async () => ({ double: double(1), kind, n: data.n, part, sub: (await import('dual/sub')).default });";
    let esm = "import { double } from 'tiny'; import tiny from 'tiny'; import { kind } from 'dual'; import sub from 'dual/sub';\n\
        import data from './data.json' with { type: 'json' }; import { createRequire } from 'node:module'; import { part } from './part.js';\n\
        const require = createRequire(import.meta.url);\n\
        export const handler = async () => ({ double: tiny.double(1) - double(0) + 2, kind, n: require('./data.json').n * data.n / 7, part, sub });";
    let files = |main: (&'static str, &'static str)| -> Vec<(&'static str, &'static str)> {
        package.iter().copied().chain([main]).collect()
    };
    let (cjs, esm) = (files(("index.cjs", cjs)), files(("index.mjs", esm)));
    let (_project, server) = serve(&[
        ("cjs", "handler: index.handler", cjs.as_slice()),
        ("esm", "handler: index.handler", esm.as_slice()),
    ]);
    for function in ["cjs", "esm"] {
        let expected = json!({"double": 4, "kind": function, "n": 7, "part": "js", "sub": "sub"});
        assert_eq!(call(&server, function, "{}"), expected, "{function}");
    }
}

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

// --- Context and environment ------------------------------------------------------------------------------------------

#[test]
fn the_context_says_who_runs_and_how_long() {
    let code = "export const handler = async (event, context) => ({ ...context, left: context.getRemainingTimeInMillis(), \
        later: await new Promise((done) => setTimeout(() => done(context.getRemainingTimeInMillis()), 30)) });";
    let (_project, server) = serve(&[(
        "who",
        "handler: index.handler, memory: 256MB, timeout: 10s",
        &[("index.mjs", code)],
    )]);
    // {"client":{"installation_id":"i"},"custom":{"k":"v"}}
    let client = "eyJjbGllbnQiOnsiaW5zdGFsbGF0aW9uX2lkIjoiaSJ9LCJjdXN0b20iOnsiayI6InYifX0=";
    let answer = post(&url(&server, "who"), &[("x-amz-client-context", client)], b"{}");
    let context = value_of(&answer);
    assert_eq!(context["functionName"], "who");
    assert_eq!(context["functionVersion"], "$LATEST");
    assert_eq!(context["memoryLimitInMB"], "256");
    assert_eq!(context["logGroupName"], "/aws/lambda/who");
    assert_eq!(context["awsRequestId"].as_str(), answer.header("x-amzn-requestid"));
    assert_eq!(
        context["clientContext"],
        json!({"client": {"installation_id": "i"}, "custom": {"k": "v"}})
    );
    assert_eq!(context["callbackWaitsForEmptyEventLoop"], true);
    let arn = context["invokedFunctionArn"].as_str().unwrap();
    assert!(
        arn.starts_with("arn:aws:lambda:") && arn.ends_with(":function:who"),
        "{arn}"
    );
    let stream = context["logStreamName"].as_str().unwrap();
    let (date, id) = stream.split_once("/[$LATEST]").unwrap();
    assert_eq!((date.len(), id.len()), (10, 32), "{stream}");
    let (left, later) = (context["left"].as_f64().unwrap(), context["later"].as_f64().unwrap());
    assert!(
        left <= 10_000.0 && left > 0.0 && later < left && later <= left - 25.0,
        "{left} {later}"
    );

    let qualified = value_of(&invoke(server.endpoint(), "who:$LATEST", "{}"));
    assert!(
        qualified["invokedFunctionArn"]
            .as_str()
            .unwrap()
            .ends_with(":function:who:$LATEST"),
        "{qualified}"
    );
    assert_eq!(qualified.get("clientContext"), None);
    assert_eq!(
        qualified["logStreamName"], context["logStreamName"],
        "one environment, one stream"
    );
    assert_ne!(qualified["awsRequestId"], context["awsRequestId"]);
}

#[test]
fn bad_client_contexts_are_refused() {
    let (_project, server) = serve(&[("f", "handler: index.handler", &[("index.mjs", ESM)])]);
    for bad in ["%%%", "bm8ganNvbg==", &"A".repeat(3_584)] {
        let answer = post(&url(&server, "f"), &[("x-amz-client-context", bad)], b"{}");
        assert_eq!(
            (answer.status, answer.header("x-amzn-errortype")),
            (400, Some("InvalidRequestContentException"))
        );
    }
}

#[test]
fn the_environment_is_lambdas_and_the_functions_own() {
    let code = "export const handler = async () => process.env;";
    let project = Project::new(
        "defaults: { env: { STAGE: test, BOTH: defaults } }\nfunctions:\n  f:\n    code: ./f.mjs\n    memory: 192MB\n    env: { BOTH: own, EMPTY: \"\", TEXT: \"a = 'é' \\n b\" }\n",
        &[("f.mjs", code)],
    );
    let server = project.up();
    let env = call(&server, "f", "{}");
    for (name, value) in [
        ("STAGE", "test"),
        ("BOTH", "own"),
        ("EMPTY", ""),
        ("TEXT", "a = 'é' \n b"),
        ("AWS_LAMBDA_FUNCTION_NAME", "f"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "192"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/f"),
        ("AWS_EXECUTION_ENV", "AWS_Lambda_nodejs22.x"),
        ("_HANDLER", "f.handler"),
        ("TZ", ":UTC"),
        ("LANG", "en_US.UTF-8"),
        ("AWS_ENDPOINT_URL", server.endpoint()),
    ] {
        assert_eq!(env[name], value, "{name}");
    }
    for (name, value) in [
        ("LAMBDA_TASK_ROOT", "/var/task"),
        ("PWD", "/var/task"),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
        ("AWS_LAMBDA_RUNTIME_API", "169.254.100.1:9001"),
        ("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR"),
        ("AWS_XRAY_DAEMON_ADDRESS", "169.254.100.1:2000"),
        ("_AWS_XRAY_DAEMON_ADDRESS", "169.254.100.1"),
        ("_AWS_XRAY_DAEMON_PORT", "2000"),
        ("SHLVL", "0"),
        (
            "NODE_PATH",
            "/opt/nodejs/node22/node_modules:/opt/nodejs/node_modules:/var/runtime/node_modules:/var/runtime:/var/task",
        ),
    ] {
        assert_eq!(env[name], value, "{name}");
    }
    assert_eq!(env["AWS_REGION"], env["AWS_DEFAULT_REGION"]);
    for name in [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "PATH",
    ] {
        assert!(
            env[name].as_str().is_some_and(|value| !value.is_empty()),
            "{name}: {env}"
        );
    }
    assert_eq!(env.get("CARGO"), None);
    assert_eq!(env.get("HOME"), None);
}

#[test]
fn the_trace_header_reaches_the_function() {
    let code = "export const handler = async () => process.env._X_AMZN_TRACE_ID;";
    let (_project, server) = serve(&[("f", "handler: index.handler", &[("index.mjs", code)])]);
    let trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
    assert_eq!(
        value_of(&post(&url(&server, "f"), &[("x-amzn-trace-id", trace)], b"{}")),
        trace
    );
    assert_ne!(call(&server, "f", "{}"), trace, "a trace belongs to one invocation");
}

// --- Node.js ----------------------------------------------------------------------------------------------------------

#[test]
fn the_globals_of_nodejs_are_there() {
    let code = "export const handler = async (event) => await eval(`(async () => (${event.js}))()`);";
    let (_project, server) = serve(&[("f", "handler: index.handler", &[("index.mjs", code)])]);
    for (js, expected) in [
        ("typeof Deno", json!("undefined")),
        ("'Deno' in globalThis && globalThis.Deno !== undefined", json!(false)),
        (
            "typeof __bootstrap + typeof bootstrap + typeof hikigane",
            json!("undefinedundefinedundefined"),
        ),
        ("Buffer.from('äb').toString('base64')", json!("w6Ri")),
        (
            "process.version.split('.')[0] + process.versions.node.split('.')[0]",
            json!("v2222"),
        ),
        ("process.platform + process.arch", json!("linuxx64")),
        ("typeof process.pid", json!("number")),
        ("process.cwd() === process.env.LAMBDA_TASK_ROOT", json!(true)),
        (
            "await new Promise((done) => setTimeout(done, 1, 'timeout'))",
            json!("timeout"),
        ),
        (
            "await new Promise((done) => setImmediate(done, 'immediate'))",
            json!("immediate"),
        ),
        (
            "await new Promise((done) => process.nextTick(done, 'tick'))",
            json!("tick"),
        ),
        (
            "await new Promise((done) => queueMicrotask(() => done('micro')))",
            json!("micro"),
        ),
        (
            "await new Promise((done) => { let n = 0; const t = setInterval(() => { if (++n === 3) { clearInterval(t); done(n); } }, 1); })",
            json!(3),
        ),
        (
            "new URL('../b?x=1#h', 'https://a.example/c/d').href",
            json!("https://a.example/b?x=1#h"),
        ),
        (
            "new URLSearchParams({ a: '1 2', b: 'é' }).toString()",
            json!("a=1+2&b=%C3%A9"),
        ),
        ("[...new TextEncoder().encode('é')]", json!([195, 169])),
        ("new TextDecoder().decode(new Uint8Array([195, 169]))", json!("é")),
        ("structuredClone(new Map([[1, { a: [2] }]])).get(1)", json!({"a": [2]})),
        (
            "typeof fetch + typeof Request + typeof Response + typeof Headers + typeof FormData",
            json!("functionfunctionfunctionfunctionfunction"),
        ),
        ("await new Response('{\"a\":1}').json()", json!({"a": 1})),
        ("crypto.randomUUID().length", json!(36)),
        (
            "Buffer.from(await crypto.subtle.digest('SHA-256', new TextEncoder().encode('a'))).toString('hex').slice(0, 8)",
            json!("ca978112"),
        ),
        ("atob(btoa('x'))", json!("x")),
        (
            "[navigator.userAgent, navigator.platform, navigator.language, String(navigator), navigator.hardwareConcurrency > 0]",
            json!(["Node.js/22", "linux", "en-US", "[object Navigator]", true]),
        ),
        // What browsers have and Node.js has not.
        (
            "[typeof FileReader, typeof EventSource, typeof Worker, typeof window, typeof location]",
            json!(["undefined", "undefined", "undefined", "undefined", "undefined"]),
        ),
        ("new AbortController().signal.aborted", json!(false)),
        ("typeof performance.now()", json!("number")),
        ("typeof global + (global === globalThis)", json!("objecttrue")),
        (
            "await new Promise((done) => { const c = new MessageChannel(); c.port1.onmessage = (e) => { c.port1.close(); done(e.data); }; c.port2.postMessage('m'); })",
            json!("m"),
        ),
        ("new Intl.NumberFormat('de-DE').format(1234.5)", json!("1.234,5")),
        (
            "await new Response(new Blob(['ab']).stream().pipeThrough(new CompressionStream('gzip')).pipeThrough(new DecompressionStream('gzip'))).text()",
            json!("ab"),
        ),
        (
            "new WebAssembly.Module(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0])) instanceof WebAssembly.Module",
            json!(true),
        ),
    ] {
        assert_eq!(call(&server, "f", &json!({ "js": js }).to_string()), expected, "{js}");
    }
}

/// Module, what is done with it (`m`), what comes of it.
const BUILTINS: &[(&str, &str, &str)] = &[
    (
        "fs",
        "m.readFileSync(root + '/data.txt', 'utf8') + m.existsSync(root + '/nothing')",
        "hellofalse",
    ),
    ("fs/promises", "await m.readFile(root + '/data.txt', 'utf8')", "hello"),
    (
        "path",
        "m.join('/a', '../b', 'c.txt') + m.extname('x.tar.gz')",
        "/b/c.txt.gz",
    ),
    (
        "crypto",
        "m.createHash('sha256').update('a').digest('hex').slice(0, 8) + m.createHmac('sha1', 'k').update('a').digest('base64').length",
        "ca97811228",
    ),
    (
        "zlib",
        "m.gunzipSync(m.gzipSync(Buffer.from('zipped'))).toString()",
        "zipped",
    ),
    (
        "util",
        "m.format('%s=%j', 'a', { b: 1 }) + (await m.promisify((done) => done(null, '!'))())",
        "a={\"b\":1}!",
    ),
    (
        "events",
        "(await new Promise((done) => { const e = new m.EventEmitter(); e.once('x', done); e.emit('x', 'emitted'); }))",
        "emitted",
    ),
    (
        "stream",
        "(await m.Readable.from(['a', 'b']).pipe(new m.PassThrough({ objectMode: true })).toArray()).join('-')",
        "a-b",
    ),
    (
        "stream/promises",
        "await (async () => { const out = new PassThrough(); await m.pipeline(Readable.from(['piped']), out); return out.read().toString(); })()",
        "piped",
    ),
    (
        "os",
        "m.EOL.length + m.platform() + m.type() + m.homedir() + m.userInfo().username + (m.availableParallelism() > 0)",
        "1linuxLinux/home/sbx_user1051sbx_user1051true",
    ),
    (
        "http",
        "await served(m.createServer((q, r) => r.end(q.method + q.url)), (port) => new Promise((y, n) => m.get({ port, path: '/p' }, (r) => r.on('data', (d) => y(String(d)))).on('error', n)))",
        "GET/p",
    ),
    (
        "https",
        "await new Promise((y) => m.get('https://127.0.0.1:49151/').on('error', (error) => y(error.code))) + m.globalAgent.defaultPort",
        "ECONNREFUSED443",
    ),
    (
        "http2",
        "await served(m.createServer().on('stream', (s, h) => { s.respond({ ':status': 200 }); s.end('h2' + h[':path']); }), (port) => new Promise((y, n) => { const c = m.connect('http://127.0.0.1:' + port); c.on('error', n); c.request({ ':path': '/p' }).on('data', (d) => { y(String(d)); c.close(); }); }))",
        "h2/p",
    ),
    ("constants", "m.O_RDONLY + m.SIGTERM + ''", "15"),
    ("v8", "m.deserialize(m.serialize(new Map([['k', 'v']]))).get('k')", "v"),
    (
        "timers",
        "await new Promise((done) => m.setTimeout(done, 1, 'timed'))",
        "timed",
    ),
    ("url", "m.fileURLToPath('file:///a%20b')", "/a b"),
    ("querystring", "m.stringify({ a: ['1', '2'] })", "a=1&a=2"),
    (
        "assert",
        "(() => { try { m.strictEqual(1, 2); } catch (error) { return error.code; } })()",
        "ERR_ASSERTION",
    ),
    ("buffer", "m.Buffer.alloc(2, 'ab').toString()", "ab"),
    (
        "string_decoder",
        "new m.StringDecoder('utf8').write(Buffer.from('é'))",
        "é",
    ),
    ("timers/promises", "await m.setTimeout(1, 'slept')", "slept"),
    (
        "async_hooks",
        "await new m.AsyncLocalStorage().run('stored', async function () { return 'ran'; })",
        "ran",
    ),
    (
        "perf_hooks",
        "(m.performance.mark('a'), m.performance.measure('from a', 'a').name)",
        "from a",
    ),
    (
        "readline",
        "await (async () => { const lines = []; for await (const line of m.createInterface({ input: Readable.from(['a\\nb\\n']) })) { lines.push(line); } return lines.join(); })()",
        "a,b",
    ),
    ("process", "m.platform", "linux"),
    (
        "console",
        "(() => { const out = new PassThrough(); new m.Console(out).log('%d', 4); return out.read().toString(); })()",
        "4\n",
    ),
    ("module", "String(m.isBuiltin('node:fs'))", "true"),
    ("vm", "m.runInThisContext('40 + 2') + ''", "42"),
    (
        "dns",
        "(await m.promises.lookup('localhost', { family: 4 })).address",
        "127.0.0.1",
    ),
    (
        "net",
        "await served(m.createServer((c) => c.end('spoken')), (port) => new Promise((y, n) => m.connect(port, '127.0.0.1').on('data', (d) => y(String(d))).on('error', n)))",
        "spoken",
    ),
    (
        "tls",
        "await served(m.createServer({ key: KEY, cert: CERT }, (c) => c.end('whispered')), (port) => new Promise((y, n) => m.connect({ port, host: '127.0.0.1', rejectUnauthorized: false }).on('data', (d) => y(String(d))).on('error', n)))",
        "whispered",
    ),
    ("punycode", "m.toASCII('mañana.com')", "xn--maana-pta.com"),
    ("diagnostics_channel", "m.channel('c').name", "c"),
];

/// A key and its self-signed certificate, of nobody.
const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgeBaD8RnGc+0bQ62G\n\
    nK7bI2ph1T410QB/C79XHkkbxiWhRANCAATBGZWboiwRXm8X9nCCDBw3HtEZZHcG\n\
    3/E8Wef9SQ+3K/YFKwdj3MsA9/e34QgYcycdd+9mDBB2hNlAiPWLWZmy\n\
    -----END PRIVATE KEY-----\n\n";
const CERT: &str = "-----BEGIN CERTIFICATE-----\n\
    MIIBfzCCASWgAwIBAgIUEWxmjbsdHyLGuOkw76CoHocnuoIwCgYIKoZIzj0EAwIw\n\
    FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNTE5MDY0MVoYDzIxMjYxMTAx\n\
    MTkwNjQxWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO\n\
    PQMBBwNCAATBGZWboiwRXm8X9nCCDBw3HtEZZHcG3/E8Wef9SQ+3K/YFKwdj3MsA\n\
    9/e34QgYcycdd+9mDBB2hNlAiPWLWZmyo1MwUTAdBgNVHQ4EFgQUg84qEqwZqt9t\n\
    mOUavCH+gsgsBKMwHwYDVR0jBBgwFoAUg84qEqwZqt9tmOUavCH+gsgsBKMwDwYD\n\
    VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiEA+5Fc6M19SjILmtVA3yd1\n\
    1Af4OqPMzc6VDkOAL1c/j/sCICZV4esJ38Xxlz6rIj+GuHG/X12VkrNEs4h/2z8a\n\
    6mYH\n\
    -----END CERTIFICATE-----\n\n";

#[test]
fn the_modules_of_nodejs_work_with_and_without_their_prefix() {
    let helpers = "const KEY = readFileSync(root + '/key.pem'); const CERT = readFileSync(root + '/cert.pem');\n\
        const served = async (server, use) => { await new Promise((done) => server.listen(0, '127.0.0.1', done)); try { return await use(server.address().port); } finally { server.close(); } };\n";
    let mut required = format!(
        "const root = __dirname; const results = {{}};\nconst {{ PassThrough, Readable }} = require('stream'); const {{ readFileSync }} = require('fs');\n{helpers}exports.handler = async () => {{\n"
    );
    let mut imported = String::new();
    let mut uses = String::new();
    for (index, (name, js, _)) in BUILTINS.iter().enumerate() {
        for prefix in ["", "node:"] {
            required += &format!(
                "  try {{ const m = require('{prefix}{name}'); results['{prefix}{name}'] = {js}; }} catch (error) {{ results['{prefix}{name}'] = String(error.stack); }}\n"
            );
        }
        imported += &format!("import m{index} from '{name}'; import * as n{index} from 'node:{name}';\n");
        for (prefix, variable) in [("", 'm'), ("node:", 'n')] {
            uses += &format!(
                "  try {{ const m = {variable}{index}; results['{prefix}{name}'] = {js}; }} catch (error) {{ results['{prefix}{name}'] = String(error.stack); }}\n"
            );
        }
    }
    required += "  return results;\n};\n";
    let imported = format!(
        "{imported}import {{ PassThrough, Readable }} from 'node:stream'; import {{ readFileSync }} from 'node:fs';\nconst root = import.meta.dirname; const results = {{}};\n{helpers}export const handler = async () => {{\n{uses}  return results;\n}};\n"
    );
    let (key, cert) = (("key.pem", KEY), ("cert.pem", CERT));
    let (_project, server) = serve(&[
        (
            "required",
            "handler: index.handler, timeout: 60s, allow: { net: [\"*\"] }",
            &[("index.js", &required), ("data.txt", "hello"), key, cert],
        ),
        (
            "imported",
            "handler: index.handler, timeout: 60s, allow: { net: [\"*\"] }",
            &[("index.mjs", &imported), ("data.txt", "hello"), key, cert],
        ),
    ]);
    for function in ["required", "imported"] {
        let results = call(&server, function, "{}");
        let wrong: Vec<_> = BUILTINS
            .iter()
            .flat_map(|(name, _, expected)| [(name.to_string(), expected), (format!("node:{name}"), expected)])
            .filter(|(name, expected)| results[name] != **expected)
            .map(|(name, expected)| format!("{name}: {} instead of {expected}", results[&name]))
            .collect();
        assert_eq!(wrong, Vec::<String>::new(), "{function}");
    }
}

#[test]
fn http_works_in_a_function_that_may_use_the_network() {
    let code = r#"
        import http from 'node:http';
        import net from 'node:net';
        import { once } from 'node:events';
        export const handler = async () => {
          const server = http.createServer((request, response) => response.end(`${request.method} ${request.url}`));
          server.listen(0, '127.0.0.1');
          await once(server, 'listening');
          const { port } = server.address();
          const [response] = await once(http.get({ host: '127.0.0.1', port, path: '/by-http' }), 'response');
          let byHttp = '';
          for await (const chunk of response) { byHttp += chunk; }
          const byFetch = await (await fetch(`http://127.0.0.1:${port}/by-fetch`)).text();
          const socket = net.connect(port, '127.0.0.1');
          socket.end('GET /by-net HTTP/1.0\r\n\r\n');
          let byNet = '';
          for await (const chunk of socket) { byNet += chunk; }
          server.close();
          return { byHttp, byFetch, byNet: byNet.split('\r\n\r\n')[1] };
        };
    "#;
    let (_project, server) = serve(&[(
        "f",
        "handler: index.handler, timeout: 10s, allow: { net: [\"127.0.0.1\"] }",
        &[("index.mjs", code)],
    )]);
    let expected = json!({"byHttp": "GET /by-http", "byFetch": "GET /by-fetch", "byNet": "GET /by-net"});
    assert_eq!(call(&server, "f", "{}"), expected);
}

#[test]
fn files_may_be_written_where_allowed_and_in_a_tmp_of_the_environments_own() {
    let code = r#"
        const fs = require('node:fs'); const os = require('node:os'); const path = require('node:path');
        exports.handler = async ({ file, text }) => {
          const target = file ?? path.join(os.tmpdir(), 'scratch.txt');
          if (text) { fs.writeFileSync(target, text); }
          return fs.existsSync(target) ? fs.readFileSync(target, 'utf8') : null;
        };
    "#;
    let project = Project::new(
        "functions:\n  one: { code: ./f.js, allow: { write: [./out] } }\n  two: { code: ./f.js }\n",
        &[("f.js", code), ("out/old.txt", "old")],
    );
    let server = project.up();
    let file = project.join("out/new.txt");
    assert_eq!(
        call(&server, "one", &json!({"file": file, "text": "new"}).to_string()),
        "new"
    );
    assert_eq!(std::fs::read_to_string(file).unwrap(), "new");
    for function in ["one", "two"] {
        assert_eq!(call(&server, function, r#"{"text":"mine"}"#), "mine", "{function}");
        assert_eq!(call(&server, function, "{}"), "mine", "{function}");
    }
    let answer = call(&server, "one", r#"{"text":"changed"}"#);
    assert_eq!(
        (answer, call(&server, "two", "{}")),
        (json!("changed"), json!("mine")),
        "two functions share no /tmp"
    );
}

// --- Errors -----------------------------------------------------------------------------------------------------------

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
        ("throw undefined", "undefined", "undefined"),
        ("throw null", "object", "null"),
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
            matches!(kind, "string" | "number" | "undefined" | "object"),
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
fn results_that_are_no_json_are_errors_of_their_own() {
    let code = "export const handler = async (event) => eval(`(${event.js})`);";
    let (_project, server) = serve(&[("f", "handler: index.handler", &[("index.mjs", code)])]);
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

#[test]
fn a_function_that_cannot_be_loaded_says_why_each_time_and_hurts_no_other() {
    let (_project, server) = serve(&[
        ("good", "handler: index.handler", &[("index.mjs", ESM)]),
        ("no-export", "handler: index.missing", &[("index.mjs", ESM)]),
        ("no-export-cjs", "handler: index.missing", &[("index.js", CJS)]),
        (
            "no-function",
            "handler: index.value",
            &[("index.mjs", "export const value = 1;")],
        ),
        ("no-file", "handler: absent.handler", &[("index.mjs", ESM)]),
        (
            "no-package",
            "handler: index.handler",
            &[("index.js", "require('absent-package');")],
        ),
        (
            "no-package-esm",
            "handler: index.handler",
            &[("index.mjs", "import x from 'absent-package'; export const handler = x;")],
        ),
        (
            "no-neighbour-esm",
            "handler: index.handler",
            &[("index.mjs", "import x from './absent.mjs'; export const handler = x;")],
        ),
        (
            "syntax",
            "handler: index.handler",
            &[("index.js", "exports.handler = async () => {\n  const = 1;\n};")],
        ),
        (
            "syntax-esm",
            "handler: index.handler",
            &[("index.mjs", "export const handler = async () => {\n  const = 1;\n};")],
        ),
        (
            "syntax-ts",
            "handler: index.handler",
            &[("index.ts", "export const handler = async (: number) => 1;")],
        ),
        (
            "syntax-deep",
            "handler: index.handler",
            &[("index.mjs", "import './part.mjs';"), ("part.mjs", "let let = 1;")],
        ),
        (
            "throws",
            "handler: index.handler",
            &[("index.mjs", "throw new TypeError('at the start');")],
        ),
        (
            "rejects",
            "handler: index.handler",
            &[("index.mjs", "await Promise.reject(new RangeError('awaited'));")],
        ),
        ("exits", "handler: index.handler", &[("index.js", "process.exit(3);")]),
        (
            "no-json",
            "handler: index.handler",
            &[("index.js", "require('./bad.json');"), ("bad.json", "{")],
        ),
    ]);
    let mut wrong = Vec::new();
    for round in 0..2 {
        for (function, kind, message) in [
            (
                "no-export",
                "Runtime.HandlerNotFound",
                "index.missing is undefined or not exported",
            ),
            (
                "no-export-cjs",
                "Runtime.HandlerNotFound",
                "index.missing is undefined or not exported",
            ),
            (
                "no-function",
                "Runtime.HandlerNotFound",
                "index.value is not a function",
            ),
            (
                "no-file",
                "Runtime.ImportModuleError",
                "Error: Cannot find module 'absent'\nRequire stack:",
            ),
            (
                "no-package",
                "Runtime.ImportModuleError",
                "Error: Cannot find module 'absent-package'\nRequire stack:",
            ),
            (
                "no-package-esm",
                "Error",
                "Cannot find package 'absent-package' imported from /",
            ),
            ("no-neighbour-esm", "Error", "Cannot find module '/"),
            (
                "syntax",
                "Runtime.UserCodeSyntaxError",
                "SyntaxError: Unexpected token '='",
            ),
            (
                "syntax-esm",
                "Runtime.UserCodeSyntaxError",
                "SyntaxError: Unexpected token '='",
            ),
            ("syntax-ts", "Runtime.UserCodeSyntaxError", "SyntaxError: "),
            ("syntax-deep", "Runtime.UserCodeSyntaxError", "SyntaxError: "),
            ("throws", "TypeError", "at the start"),
            ("rejects", "RangeError", "awaited"),
            ("exits", "Runtime.ExitError", "RequestId: "),
            ("no-json", "Runtime.UserCodeSyntaxError", "SyntaxError: "),
        ] {
            let (found, text) = error_of(&invoke(server.endpoint(), function, "{}"));
            if found != kind || !text.starts_with(message) {
                wrong.push(format!("{function}, round {round}: {found}: {text}"));
            }
            assert_eq!(
                call(&server, "good", "1"),
                json!({"kind": "undefined", "event": 1}),
                "after {function}"
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn handler_names_that_aws_refuses_are_refused() {
    for handler in [
        "index",
        "index.",
        ".handler",
        "../index.handler",
        "index..handler",
        "dir/../index.handler",
    ] {
        let project = Project::new(
            &format!("functions:\n  f: {{ code: ./code, handler: \"{handler}\" }}\n  good: {{ code: ./code }}\n"),
            &[("code/index.mjs", ESM)],
        );
        let output = crate::support::command(&["check", "hikigane.yaml"])
            .current_dir(project.path())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{handler}: {text}");
        assert!(
            text.contains("handler") && text.contains("hikigane.yaml:2:"),
            "{handler}: {text}"
        );
    }
}

#[test]
fn what_nobody_catches_ends_the_environment_and_is_told() {
    let code = r#"
        let count = 0;
        exports.handler = async (event) => {
          count += 1;
          if (event.js) { eval(event.js); await new Promise((done) => setTimeout(done, 5000)); }
          return count;
        };
    "#;
    let (_project, server) = serve(&[("f", "handler: index.handler, timeout: 20s", &[("index.js", code)])]);
    for (js, kind, message) in [
        (
            "Promise.reject(new Error('alone'))",
            "Runtime.UnhandledPromiseRejection",
            "Error: alone",
        ),
        ("Promise.reject('text')", "Runtime.UnhandledPromiseRejection", "text"),
        (
            "(async () => { throw new TypeError('async') })()",
            "Runtime.UnhandledPromiseRejection",
            "TypeError: async",
        ),
        (
            "setTimeout(() => { throw new RangeError('timer') }, 1)",
            "RangeError",
            "timer",
        ),
        (
            "setImmediate(() => { throw new Error('immediate') })",
            "Error",
            "immediate",
        ),
        ("process.nextTick(() => { throw new Error('tick') })", "Error", "tick"),
        (
            "new (require('events'))().emit('error', new Error('emitted'))",
            "Error",
            "emitted",
        ),
        (
            "setTimeout(() => new (require('events'))().emit('error', new Error('emitted late')), 1)",
            "Error",
            "emitted late",
        ),
    ] {
        let (found, text) = error_of(&invoke(server.endpoint(), "f", &json!({ "js": js }).to_string()));
        assert_eq!((found.as_str(), text.as_str()), (kind, message), "{js}");
        let count = call(&server, "f", "{}");
        assert!(
            count == 1 || js.starts_with("new "),
            "{js}: the environment lives on: {count}"
        );
    }
    let handled = "process.on('unhandledRejection', (reason) => console.log('seen', reason.message)); Promise.reject(new Error('kept'));";
    let (_project, server) = serve(&[(
        "f",
        "handler: index.handler",
        &[(
            "index.js",
            &format!(
                "exports.handler = async () => {{ {handled} await new Promise((done) => setTimeout(done, 5)); return 'fine'; }}"
            ),
        )],
    )]);
    let answer = invoke(server.endpoint(), "f", "{}");
    assert_eq!(answer.status, 200);
}

// --- Sizes ------------------------------------------------------------------------------------------------------------

#[test]
fn payloads_have_lambdas_limits() {
    let code = "export const handler = async (event) => typeof event === 'number' ? 'x'.repeat(event) : event.length;";
    let (_project, server) = serve(&[(
        "f",
        "handler: index.handler, memory: 512MB, timeout: 30s",
        &[("index.mjs", code)],
    )]);
    let text_of = |bytes: usize| format!("\"{}\"", "y".repeat(bytes - 2));

    let most = 6 * 1024 * 1024;
    assert_eq!(call(&server, "f", &text_of(most)), json!(most - 2));
    let answer = invoke(server.endpoint(), "f", &text_of(most + 200));
    assert_eq!(
        (answer.status, answer.header("x-amzn-errortype")),
        (413, Some("RequestTooLargeException"))
    );

    let most = 1024 * 1024;
    assert_eq!(invoke_event(server.endpoint(), "f", &text_of(most)).status, 202);
    let answer = invoke_event(server.endpoint(), "f", &text_of(most + 1));
    assert_eq!(
        (answer.status, answer.header("x-amzn-errortype")),
        (413, Some("RequestTooLargeException"))
    );

    let most = 6_291_556;
    let answer = invoke(server.endpoint(), "f", &(most - 2).to_string());
    assert_eq!((answer.body.len(), answer.header("x-amz-function-error")), (most, None));
    let answer = invoke(server.endpoint(), "f", &(most - 1).to_string());
    let expected = json!({
        "errorType": "Function.ResponseSizeTooLarge",
        "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
    });
    assert_eq!(
        (error_of(&answer).0.as_str(), answer.json()),
        ("Function.ResponseSizeTooLarge", expected)
    );
    assert_eq!(call(&server, "f", "10"), "xxxxxxxxxx");
}

#[test]
fn a_body_that_is_no_json_is_refused() {
    let (_project, server) = serve(&[("f", "handler: index.handler", &[("index.mjs", ESM)])]);
    for body in ["{", "nonsense", "{'a':1}", "1 2", "\u{feff}{}", "\"\u{1}\""] {
        let answer = invoke(server.endpoint(), "f", body);
        assert_eq!(
            (answer.status, answer.header("x-amzn-errortype")),
            (400, Some("InvalidRequestContentException")),
            "{body}"
        );
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(
            message.starts_with("Could not parse request body into json: Could not parse payload into json: "),
            "{message}"
        );
    }
    let answer = post(&url(&server, "f"), &[], b"\"\xff\"");
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_eq!(
        call(&server, "f", ""),
        json!({"kind": "undefined", "event": {}}),
        "no body is an empty object"
    );
}

// --- Logs -------------------------------------------------------------------------------------------------------------

/// `time`, id, level and message of a log line; the time is checked.
#[track_caller]
fn line_parts(line: &str) -> (&str, &str, &str) {
    let parts: Vec<&str> = line.splitn(4, '\t').collect();
    let [time, id, level, message] = parts.as_slice() else {
        panic!("no log line: {line}")
    };
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z");
    (id, level, message)
}

#[test]
fn log_lines_have_lambdas_format() {
    let code = r#"
        exports.handler = async (event) => {
          console.log('plain'); console.info('i %s %d %i %j', 'a', 1.5, 2.5, { b: 1 }); console.warn({ a: 1, b: { c: [1, 2] } });
          console.error('bad', 7); console.debug('two', 'words'); console.trace('where');
          process.stdout.write('raw line\n'); process.stderr.write('raw error\n');
          console.log('line one\nline two');
          console.log();
        };
    "#;
    let (_project, server) = serve(&[("f", "handler: index.handler", &[("index.js", code)])]);
    let (answer, log) = invoke_logged(server.endpoint(), "f", "{}");
    let id = answer.header("x-amzn-requestid").unwrap();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines[0], format!("START RequestId: {id} Version: $LATEST"));
    let expected = [
        ("INFO", "plain"),
        ("INFO", "i a 1.5 2 {\"b\":1}"),
        ("WARN", "{ a: 1, b: { c: [ 1, 2 ] } }"),
        ("ERROR", "bad 7"),
        ("DEBUG", "two words"),
        ("TRACE", "where"),
    ];
    for (line, (level, message)) in lines[1..].iter().zip(expected) {
        let (found, found_level, text) = line_parts(line);
        assert_eq!((found, found_level), (id, level));
        assert!(text == message || level == "TRACE" && text.contains(message), "{line}");
    }
    assert!(lines.contains(&"raw line") && lines.contains(&"raw error"), "{log}");
    assert!(
        log.contains("\tINFO\tline one\nline two\n") || log.contains("\tINFO\tline one\rline two\n"),
        "{log}"
    );
    assert_eq!(lines[lines.len() - 2], format!("END RequestId: {id}"));
    let report = lines[lines.len() - 1];
    let parts: Vec<&str> = report.split('\t').collect();
    assert_eq!(parts[0], format!("REPORT RequestId: {id}"));
    let names: Vec<&str> = parts[1..].iter().map(|part| part.split(": ").next().unwrap()).collect();
    assert_eq!(
        names,
        [
            "Duration",
            "Billed Duration",
            "Memory Size",
            "Max Memory Used",
            "Init Duration",
            ""
        ]
    );
    assert_eq!(parts[3], "Memory Size: 128 MB");
    assert!(
        parts[1].ends_with(" ms") && parts[2].ends_with(" ms") && parts[5].ends_with(" ms"),
        "{report}"
    );

    let (_, warm) = invoke_logged(server.endpoint(), "f", "{}");
    assert!(!warm.contains("Init Duration"), "{warm}");
}

#[test]
fn values_are_logged_as_nodejs_formats_them() {
    let code = "class Foo { constructor() { this.x = 1; } }\nexports.handler = async (event) => { console.log(...eval(`[${event.js}]`)); };";
    let (_project, server) = serve(&[("f", "handler: index.handler", &[("index.js", code)])]);
    for (js, expected) in [
        ("{ a: { b: { c: { d: 1 } } } }", "{ a: { b: { c: [Object] } } }"),
        ("new Map([['k', 1]]), new Set([1])", "Map(1) { 'k' => 1 } Set(1) { 1 }"),
        ("new Foo()", "Foo { x: 1 }"),
        ("Buffer.from('ab')", "<Buffer 61 62>"),
        ("new Date(0)", "1970-01-01T00:00:00.000Z"),
        (
            "1n, -0, null, undefined, Symbol('s'), true",
            "1n -0 null undefined Symbol(s) true",
        ),
        (
            "function f() {}, class A extends Foo {}",
            "[Function: f] [class A extends Foo]",
        ),
        ("['a', \"it's\"]", "[ 'a', \"it's\" ]"),
        ("'x', { s: 'y' }", "x { s: 'y' }"),
        ("Object.create(null)", "[Object: null prototype] {}"),
        ("[undefined, , 1]", "[ undefined, <1 empty item>, 1 ]"),
        ("Promise.resolve(1)", "Promise { 1 }"),
        (
            "'%s is %d and %j %o %O %%', 'Bob', 42, { a: 1 }, [1], { b: 2 }, 'more'",
            "Bob is 42 and {\"a\":1} [ 1, [length]: 1 ] { b: 2 } % more",
        ),
        (
            "(() => { const o = {}; o.self = o; return o; })()",
            "<ref *1> { self: [Circular *1] }",
        ),
        ("'tab\\tand é 𝄞'", "tab\tand é 𝄞"),
    ] {
        let (_, log) = invoke_logged(server.endpoint(), "f", &json!({ "js": js }).to_string());
        let line = log
            .lines()
            .find(|line| line.contains("\tINFO\t"))
            .unwrap_or_else(|| panic!("{js}: {log}"));
        assert_eq!(line_parts(line).2, expected, "{js}");
    }
    let (_, log) = invoke_logged(server.endpoint(), "f", r#"{"js":"new TypeError('logged')"}"#);
    assert!(log.contains("\tINFO\tTypeError: logged\n    at "), "{log}");
}

#[test]
fn errors_are_logged_before_the_end() {
    let code = "export const handler = async () => { const e = new Error('gone wrong'); e.code = 'E1'; throw e; };";
    let (_project, server) = serve(&[("f", "handler: index.handler", &[("index.mjs", code)])]);
    let (answer, log) = invoke_logged(server.endpoint(), "f", "{}");
    assert_eq!(error_of(&answer).0, "Error");
    let line = log.lines().find(|line| line.contains("Invoke Error")).unwrap();
    let (_, level, message) = line_parts(line);
    let details: Value = serde_json::from_str(message.split_once('\t').unwrap().1).unwrap();
    assert_eq!(
        (level, &details["errorType"], &details["errorMessage"]),
        ("ERROR", &json!("Error"), &json!("gone wrong"))
    );
    assert_eq!(
        (&details["code"], &details["stack"][0]),
        (&json!("E1"), &json!("Error: gone wrong"))
    );
    let at = |text: &str| log.find(text).unwrap();
    assert!(
        at("START ") < at("Invoke Error") && at("Invoke Error") < at("END ") && at("END ") < at("REPORT "),
        "{log}"
    );
}

#[test]
fn logs_may_be_json() {
    let code = r#"
        exports.handler = async () => {
          console.log('text'); console.warn({ a: [1] }); console.error('two', { b: 1 }); console.info(new TypeError('logged'));
        };
    "#;
    let (_project, server) = serve(&[("f", "handler: index.handler, logFormat: json", &[("index.js", code)])]);
    let (answer, log) = invoke_logged(server.endpoint(), "f", "{}");
    let records: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let id = answer.header("x-amzn-requestid").unwrap();
    let own: Vec<&Value> = records.iter().filter(|record| record.get("level").is_some()).collect();
    let levels: Vec<&str> = own.iter().map(|record| record["level"].as_str().unwrap()).collect();
    assert_eq!(levels, ["INFO", "WARN", "ERROR", "INFO"]);
    assert!(
        own.iter()
            .all(|record| record["requestId"] == id && record["timestamp"].as_str().unwrap().ends_with('Z')),
        "{log}"
    );
    assert_eq!(
        (&own[0]["message"], &own[1]["message"], &own[2]["message"]),
        (&json!("text"), &json!({"a": [1]}), &json!("two { b: 1 }"))
    );
    assert_eq!(
        (&own[3]["message"]["errorType"], &own[3]["message"]["errorMessage"]),
        (&json!("TypeError"), &json!("logged"))
    );
    let kinds: Vec<&str> = records.iter().filter_map(|record| record["type"].as_str()).collect();
    assert!(
        kinds.contains(&"platform.start") && kinds.contains(&"platform.report"),
        "{log}"
    );
}

#[test]
fn the_log_header_holds_the_last_four_kilobytes() {
    let code = "exports.handler = async () => { for (let i = 0; i < 500; i += 1) { console.log(`line ${i} é`); } };";
    let (_project, server) = serve(&[("f", "handler: index.handler", &[("index.js", code)])]);
    let (_, log) = invoke_logged(server.endpoint(), "f", "{}");
    assert!(log.len() <= 4096 && log.len() > 4000, "{}", log.len());
    assert!(
        log.contains("line 499 é") && !log.contains("line 0 é") && log.contains("REPORT "),
        "{log}"
    );
    assert_eq!(invoke(server.endpoint(), "f", "{}").header("x-amz-log-result"), None);
}

// --- Warm environments ------------------------------------------------------------------------------------------------

#[test]
fn a_warm_environment_keeps_its_state_and_a_cold_one_starts_anew() {
    let code = "let count = 0; globalThis.mark = Math.random();\nexports.handler = async (event) => {\n  if (event.nap) { await new Promise((done) => setTimeout(done, event.nap)); }\n  return { count: ++count, mark };\n};";
    let (_project, server) = serve(&[
        ("f", "handler: index.handler, timeout: 20s", &[("index.js", code)]),
        ("g", "handler: index.handler", &[("index.js", code)]),
    ]);
    let first = call(&server, "f", "{}");
    for count in 2..=5 {
        let next = call(&server, "f", "{}");
        assert_eq!((&next["count"], &next["mark"]), (&json!(count), &first["mark"]));
    }
    assert_ne!(
        call(&server, "g", "{}")["mark"],
        first["mark"],
        "two functions share no global"
    );

    let marks: Vec<Value> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| call(&server, "f", r#"{"nap":500}"#)["mark"].clone()))
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert!(
        marks[0] != marks[1] && marks[1] != marks[2] && marks[0] != marks[2],
        "one environment runs one invocation at a time: {marks:?}"
    );
}

#[test]
fn timers_stand_still_between_invocations() {
    let code = r#"
        let ticks = 0; let timer;
        exports.handler = async (event) => {
          const seen = ticks;
          timer ??= setInterval(() => { ticks += 1; }, 1);
          if (event.nap) { await new Promise((done) => setTimeout(done, event.nap)); }
          return { seen, ticks };
        };
    "#;
    let nap = "exports.handler = async () => { await new Promise((done) => setTimeout(done, 200)); };";
    let (_project, server) = serve(&[
        (
            "ticks",
            "handler: index.handler, runtime: nodejs24.x",
            &[("index.js", code)],
        ),
        ("nap", "handler: index.handler", &[("index.js", nap)]),
    ]);
    assert_eq!(call(&server, "ticks", "{}"), json!({"seen": 0, "ticks": 0}));
    call(&server, "nap", "{}");
    assert_eq!(
        call(&server, "ticks", "{}")["seen"],
        0,
        "a frozen environment has no ticks"
    );
    let moved = call(&server, "ticks", r#"{"nap":50}"#);
    assert!(
        moved["ticks"].as_u64() > Some(1),
        "timers go on with the next invocation: {moved}"
    );
}

// --- Lambda's API -----------------------------------------------------------------------------------------------------

#[test]
fn invoke_has_lambdas_three_types() {
    let (_project, server) = serve(&[("f", "handler: index.handler", &[("index.mjs", ESM)])]);
    let typed = |kind| post(&url(&server, "f"), &[("x-amz-invocation-type", kind)], b"{\"n\":1}");

    let answer = typed("RequestResponse");
    assert_eq!(
        (answer.status, answer.header("x-amz-executed-version")),
        (200, Some("$LATEST"))
    );
    assert_eq!(answer.header("x-amzn-requestid").map(str::len), Some(36));

    let answer = typed("Event");
    assert_eq!(
        (
            answer.status,
            answer.text().as_str(),
            answer.header("x-amz-executed-version")
        ),
        (202, "", None)
    );
    let id = json!(answer.header("x-amzn-requestid").unwrap());
    let run = wait_for("the run of the event", || {
        server
            .runs("?function=f")
            .into_iter()
            .find(|run| run["requestId"] == id)
    });
    assert_eq!((&run["status"], &run["attempt"]), (&json!("succeeded"), &json!(1)));

    let answer = typed("DryRun");
    assert_eq!((answer.status, answer.text().as_str()), (204, ""));
    let answer = typed("Wrong");
    assert_eq!(
        (answer.status, answer.header("x-amzn-errortype")),
        (400, Some("ValidationException"))
    );
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(
        message.starts_with("1 validation error detected: Value 'Wrong' at 'invocationType' failed"),
        "{message}"
    );
    assert_eq!(server.runs("?function=f").len(), 2, "a dry run runs nothing");
}

#[test]
fn a_function_is_found_by_every_form_of_its_name() {
    let (_project, server) = serve(&[("f", "handler: index.handler", &[("index.mjs", ESM)])]);
    let arn = get(&format!("{}/2015-03-31/functions/f", server.endpoint())).json()["Configuration"]["FunctionArn"]
        .as_str()
        .unwrap()
        .to_owned();
    let account = arn.split(':').nth(4).unwrap().to_owned();
    for name in [
        "f".to_owned(),
        "f:$LATEST".to_owned(),
        "f?Qualifier=$LATEST".to_owned(),
        arn.clone(),
        format!("{arn}:$LATEST"),
        arn.replace(':', "%3A"),
        format!("{account}:function:f"),
        format!("{account}:function:f:$LATEST"),
    ] {
        let (path, query) = name.split_once('?').unwrap_or((&name, ""));
        let answer = post(&format!("{}?{query}", url(&server, path)), &[], b"1");
        assert_eq!(value_of(&answer), json!({"kind": "undefined", "event": 1}), "{name}");
    }

    let other_region = arn.replace("us-east-1", "eu-central-1");
    assert_ne!(other_region, arn);
    for (name, status, code, message) in [
        (
            "absent".to_owned(),
            404,
            "ResourceNotFoundException",
            format!(
                "Function not found: {}:$LATEST",
                arn.replace(":f", ":absent").replace(":absentunction", ":function")
            ),
        ),
        (
            "f:7".to_owned(),
            404,
            "ResourceNotFoundException",
            format!("Function not found: {arn}:7"),
        ),
        (
            "f:prod".to_owned(),
            404,
            "ResourceNotFoundException",
            format!("Function not found: {arn}:prod"),
        ),
        (
            other_region,
            404,
            "ResourceNotFoundException",
            "Functions from 'eu-central-1' are not reachable in this region ('us-east-1')".to_owned(),
        ),
        (
            "f:$LATEST?Qualifier=7".to_owned(),
            400,
            "InvalidParameterValueException",
            "The derived qualifier from the function name does not match the specified qualifier.".to_owned(),
        ),
    ] {
        let (path, query) = name.split_once('?').unwrap_or((&name, ""));
        let answer = post(&format!("{}?{query}", url(&server, path)), &[], b"1");
        assert_eq!(
            (answer.status, answer.header("x-amzn-errortype")),
            (status, Some(code)),
            "{name}: {}",
            answer.text()
        );
        let body = answer.json();
        let text = if code.starts_with("Resource") {
            &body["Message"]
        } else {
            &body["message"]
        };
        assert_eq!(
            (text.as_str(), &body["Type"]),
            (Some(message.as_str()), &json!("User")),
            "{name}"
        );
        assert!(answer.header("x-amzn-requestid").is_some(), "{name}");
    }
    let answer = post(&url(&server, "bad%20name"), &[], b"1");
    assert_eq!(
        (answer.status, answer.header("x-amzn-errortype")),
        (400, Some("ValidationException"))
    );
}

#[test]
fn functions_are_listed_and_described_in_lambdas_shapes() {
    let files: &[(&str, &str)] = &[("index.mjs", ESM)];
    let (_project, server) = serve(&[
        (
            "b",
            "handler: index.handler, description: Second, memory: 512MB, timeout: 1m, env: { AB: x }",
            files,
        ),
        (
            "a",
            "handler: index.handler, reservedConcurrency: 3, runtime: nodejs24.x, logFormat: json, logLevel: warn",
            files,
        ),
    ]);
    let base = format!("{}/2015-03-31/functions", server.endpoint());
    let list = get(&base).json();
    let names: Vec<&Value> = list["Functions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| &f["FunctionName"])
        .collect();
    assert_eq!((names, list.get("NextMarker")), (vec![&json!("a"), &json!("b")], None));
    let b = &get(&format!("{base}/b")).json();
    let configuration = &b["Configuration"];
    for (name, value) in [
        ("FunctionName", json!("b")),
        ("Runtime", json!("nodejs22.x")),
        ("Handler", json!("index.handler")),
        ("Description", json!("Second")),
        ("Timeout", json!(60)),
        ("MemorySize", json!(512)),
        ("Version", json!("$LATEST")),
        ("State", json!("Active")),
        ("LastUpdateStatus", json!("Successful")),
        ("PackageType", json!("Zip")),
        ("CodeSize", json!(ESM.len())),
        ("Environment", json!({"Variables": {"AB": "x"}})),
        ("EphemeralStorage", json!({"Size": 512})),
        (
            "LoggingConfig",
            json!({"LogFormat": "Text", "LogGroup": "/aws/lambda/b"}),
        ),
    ] {
        assert_eq!(configuration[name], value, "{name}");
    }
    assert_eq!(configuration["CodeSha256"].as_str().map(str::len), Some(44));
    assert!(b["Code"]["Location"].is_string(), "{b}");
    assert_eq!(b.get("Concurrency"), None);
    let a = get(&format!("{base}/a")).json();
    assert_eq!(a["Concurrency"]["ReservedConcurrentExecutions"], 3);
    assert_eq!(
        a["Configuration"]["LoggingConfig"],
        json!({"LogFormat": "JSON", "ApplicationLogLevel": "WARN", "SystemLogLevel": "INFO", "LogGroup": "/aws/lambda/a"})
    );
    assert_eq!(&get(&format!("{base}/b/configuration")).json(), configuration);
    let latest = get(&format!("{base}/b?Qualifier=$LATEST")).json();
    let arn = configuration["FunctionArn"].as_str().unwrap();
    assert_eq!(latest["Configuration"]["FunctionArn"], format!("{arn}:$LATEST"));

    let page = get(&format!("{base}?MaxItems=1")).json();
    assert_eq!(
        (
            page["Functions"].as_array().unwrap().len(),
            &page["Functions"][0]["FunctionName"]
        ),
        (1, &json!("a"))
    );
    let rest = get(&format!(
        "{base}?MaxItems=1&Marker={}",
        page["NextMarker"].as_str().unwrap()
    ))
    .json();
    assert_eq!(
        (&rest["Functions"][0]["FunctionName"], rest.get("NextMarker")),
        (&json!("b"), None)
    );
    assert_eq!(get(&format!("{base}?Marker=%25%25")).status, 400);
    let answer = get(&format!("{base}/absent"));
    assert_eq!(
        (answer.status, answer.header("x-amzn-errortype")),
        (404, Some("ResourceNotFoundException"))
    );
    assert!(
        answer.json()["Message"].as_str().unwrap().ends_with(":function:absent"),
        "{}",
        answer.text()
    );
    let answer = request("DELETE", &format!("{base}/b"), &[], &[]);
    assert_eq!(
        (answer.status, answer.header("x-amzn-errortype")),
        (409, Some("ResourceConflictException")),
        "what the manifest declares is changed there: {}",
        answer.text()
    );
}

#[test]
fn the_aws_command_line_can_be_used() {
    let (project, server) = serve(&[("f", "handler: index.handler", &[("index.mjs", ESM)])]);
    let lambda = |arguments: &[&str]| aws(&server, &project, ("test", "test"), &[&["lambda"], arguments].concat());
    let Some((good, list)) = lambda(&["list-functions"]) else {
        return;
    };
    assert!(good, "{list}");
    assert_eq!(list["Functions"][0]["FunctionName"], "f");
    let (good, function) = lambda(&["get-function", "--function-name", "f"]).unwrap();
    assert_eq!(
        (good, &function["Configuration"]["Handler"]),
        (true, &json!("index.handler")),
        "{function}"
    );
    let payload = ["invoke", "--function-name", "f", "--payload", "{\"n\":1}", "out.json"];
    let (good, answer) = lambda(&payload).unwrap();
    assert_eq!(
        (good, &answer["StatusCode"], &answer["ExecutedVersion"]),
        (true, &json!(200), &json!("$LATEST")),
        "{answer}"
    );
    let out = std::fs::read_to_string(project.join("out.json")).unwrap();
    assert_eq!(out, r#"{"kind":"undefined","event":{"n":1}}"#);
    let (good, answer) = lambda(&["get-function", "--function-name", "absent"]).unwrap();
    assert!(
        !good && answer.as_str().unwrap().contains("(ResourceNotFoundException)"),
        "{answer}"
    );
}

#[test]
fn answers_are_never_mixed_up_between_callers() {
    let code = "export const handler = async (event) => { await new Promise((done) => setTimeout(done, event.n % 7)); return event.n; };";
    let (_project, server) = serve(&[("f", "handler: index.handler", &[("index.mjs", code)])]);
    let wrong: Vec<Answer> = std::thread::scope(|scope| {
        let server = &server;
        let callers: Vec<_> = (0..6)
            .map(|caller| {
                scope.spawn(move || {
                    let calls = (0..30).map(|n| caller * 1000 + n);
                    calls
                        .map(|n| (n, invoke(server.endpoint(), "f", &json!({ "n": n }).to_string())))
                        .filter(|(n, answer)| answer.text() != n.to_string())
                        .map(|(_, answer)| answer)
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{wrong:?}");
}
