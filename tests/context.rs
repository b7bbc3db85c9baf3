//! What a function is told about itself: its context, its environment variables, its trace; and what stays from one invocation to the next.

use serde_json::{Value, json};

use crate::modules::ESM;
use crate::support::{Project, call, invocations, invoke, post, serve, value_of};

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
    let answer = post(&invocations(&server, "who"), &[("x-amz-client-context", client)], b"{}");
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
        let answer = post(&invocations(&server, "f"), &[("x-amz-client-context", bad)], b"{}");
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
        value_of(&post(&invocations(&server, "f"), &[("x-amzn-trace-id", trace)], b"{}")),
        trace
    );
    assert_ne!(call(&server, "f", "{}"), trace, "a trace belongs to one invocation");
}

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
