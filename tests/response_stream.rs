//! Response streaming as its callers see it: InvokeWithResponseStream, in time, in order, within bounds.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{
    ANYBODY, Project, Server, Stream, StreamEvent, boto3, children, invoke, request, serve, value_of, wait_for,
};

const CODE: &str = r#"
const fs = require('node:fs');
const { setTimeout: sleep } = require('node:timers/promises');
const { createHash } = require('node:crypto');
const stream = (handler, options) => awslambda.streamifyResponse(handler, options);
const drained = (out) => new Promise((done) => out.once('drain', done));
const say = (name, text) => fs.writeFileSync(`${process.env.SIGNS}/${name}`, text);
const told = async (name) => { while (!fs.existsSync(`${process.env.SIGNS}/${name}`)) await sleep(5); };
let invocations = 0;
const count = () => invocations += 1;

exports.waits = stream(async (event, out) => { out.write('first'); await told('go'); out.end('second'); });

// Chunks of many sizes, and the SHA-256 of all of them at the end.
exports.sums = stream(async (event, out) => {
  const sum = createHash('sha256');
  let left = event.bytes;
  for (let n = 0; left > 0; n += 1) {
    const chunk = Buffer.alloc(Math.min(left, [1, 100, 65536, 700001][n % 4]), `${event.seed}:${n};`);
    left -= chunk.length;
    sum.update(chunk);
    if (!out.write(chunk)) await drained(out);
  }
  out.end(sum.digest());
});
exports.once = stream(async (event, out) => {
  const whole = Buffer.alloc(event.bytes, 'once');
  await new Promise((done) => out.write(whole, done));
  out.end();
});
exports.endless = stream(async (event, out) => {
  for (let n = 0; n < event.chunks; n += 1) {
    if (n % 16 === 0) say('position', `${n}`);
    const free = out.write(Buffer.alloc(65536, 120));
    if (!free) await drained(out);
  }
  out.end();
  say('through', `${count()}`);
});
exports.count = stream(async (event, out) => { out.end(`${count()}`); });
exports.http = stream(async (event, out) => {
  out = awslambda.HttpResponseStream.from(out, { statusCode: 201, headers: { 'content-type': 'text/plain' }, cookies: ['a=b'] });
  out.write('body'); out.end();
});
const busy = (ms) => { for (const end = performance.now() + ms; performance.now() < end;); };
exports.fails = stream(async (event, out) => {
  out.write('a'); out.write('b'); out.write('c');
  switch (event.how) {
    case 'throws': throw new RangeError('in the middle');
    case 'destroys': await sleep(5); return void out.destroy(new SyntaxError('destroyed'));
    case 'forgets': return;
    case 'exits': await sleep(5); return process.exit(7);
    case 'uncaught': setTimeout(() => { throw new TypeError('of nobody'); }); busy(5); return sleep(60000);
    case 'sleeps': return sleep(60000);
    case 'before': throw 1;
    case 'type': out.setContentType('text/plain');
  }
});
exports.early = stream(async () => { throw new RangeError('before the first byte'); });
exports.type = stream(async (event, out) => {
  const refused = ['a\nb', 'é', 'x'.repeat(1025)].map((type) => { try { out.setContentType(type); return 'taken'; } catch (error) { return error.name; } });
  out.setContentType('text/plain');
  out.end(JSON.stringify(refused));
});
exports.none = stream(async (event, out) => { out.end(); });
exports.logs = stream(async (event, out) => { console.log('a line'); out.end('x'); });
exports.plain = async (event, context) => ({ event, count: count() });
exports.plainFails = async () => { throw new RangeError('plain'); };
exports.tenant = async (event, context) => {
  console.log('a line');
  return [context.tenantId ?? null, context.identity ?? null, awslambda.InvokeStore?.getTenantId() ?? null];
};
"#;

/// A server with these exports of the code as functions, `more` in the section of each, and a directory for signs.
fn server(exports: &[&str], more: &str) -> (Project, Server) {
    let settings: Vec<String> = exports
        .iter()
        .map(|name| {
            format!(
                "handler: index.{name}, timeout: 60s, memory: 256MB, env: {{ SIGNS: \"${{dir}}/signs\" }}, \
                 allow: {{ read: [./signs], write: [./signs] }}{more}"
            )
        })
        .collect();
    let mut manifest = "functions:\n".to_owned();
    for (name, settings) in exports.iter().zip(&settings) {
        manifest.push_str(&format!("  {name}: {{ code: ./index.js, {settings} }}\n"));
    }
    let project = Project::new(&manifest, &[("index.js", CODE)]);
    project.mkdir("signs");
    let server = project.up();
    (project, server)
}

fn open(server: &Server, function: &str, event: Value) -> Stream {
    Stream::open(server.endpoint(), function, &[], &event.to_string())
}

/// The type and message of the error that an answer ended with.
#[track_caller]
fn error_of(complete: &Value) -> (String, String) {
    assert_eq!(complete["ErrorCode"], "Unhandled", "{complete}");
    let error: Value = serde_json::from_str(complete["ErrorDetails"].as_str().unwrap()).unwrap();
    let text = |name: &str| error[name].as_str().unwrap().to_owned();
    (text("errorType"), text("errorMessage"))
}

#[test]
fn a_chunk_arrives_before_the_handler_has_ended() {
    let (project, server) = server(&["waits"], "");
    let mut stream = open(&server, "waits", json!({}));
    assert_eq!(
        (
            stream.status,
            stream.header("content-type"),
            stream.header("x-amz-executed-version")
        ),
        (200, Some("application/vnd.amazon.eventstream"), Some("$LATEST"))
    );
    let request_id = stream.header("x-amzn-requestid").unwrap().to_owned();
    assert_eq!(stream.chunk(), b"first");
    assert!(server.runs("").is_empty(), "it still runs");
    project.write("signs/go", "");
    assert_eq!(stream.rest(), (b"second".to_vec(), json!({})));
    let run = wait_for("the run", || server.runs("?function=waits").into_iter().next());
    assert_eq!(
        (&run["requestId"], &run["status"]),
        (&json!(request_id), &json!("succeeded")),
        "{run}"
    );
    assert_eq!(server.run(&run["id"])["output"], "firstsecond");
}

#[test]
fn every_byte_arrives_once_and_in_order() {
    let (_project, server) = server(&["sums", "once", "none"], "");
    // Together: chunks of one answer in another would show.
    std::thread::scope(|scope| {
        for (seed, bytes) in [50 << 20, 7 << 20, 3 << 20, 1, 0].into_iter().enumerate() {
            let server = &server;
            scope.spawn(move || {
                for _ in 0..2 {
                    let (answer, complete) = open(server, "sums", json!({"bytes": bytes, "seed": seed})).rest();
                    assert_eq!((answer.len(), &complete), (bytes + 32, &json!({})));
                    let (content, sum) = answer.split_at(bytes);
                    assert!(
                        Sha256::digest(content)[..] == *sum,
                        "{bytes} bytes are not those that were written"
                    );
                    let first = format!("{seed}:");
                    assert!(content.starts_with(&first.as_bytes()[..bytes.min(1)]));
                }
            });
        }
    });
    let (answer, complete) = open(&server, "once", json!({"bytes": 10_000_001})).rest();
    assert_eq!(complete, json!({}));
    assert!(answer.len() == 10_000_001 && answer.starts_with(b"onceonce") && answer.ends_with(b"onceo"));
    assert_eq!(open(&server, "none", json!({})).rest(), (vec![], json!({})));
}

#[test]
fn a_slow_reader_slows_the_handler_down_and_fills_no_memory() {
    const CHUNKS: usize = 1600;
    let (project, server) = server(&["endless"], "");
    let kib = |pid: u32| -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
            .unwrap_or(0)
    };
    let workers = || children(server.pid()).into_iter().map(kib).max().unwrap();
    let mut stream = open(&server, "endless", json!({"chunks": CHUNKS}));
    let mut length = stream.chunk().len();
    let (server_before, workers_before) = (kib(server.pid()), workers());

    let position = || -> usize {
        let text = std::fs::read_to_string(project.join("signs/position")).unwrap_or_default();
        text.parse().unwrap_or(0)
    };
    let mut seen = (0, 0);
    let stopped_at = wait_for("the handler to stand still", || {
        let now = position();
        seen = if now > 0 && now == seen.0 {
            (now, seen.1 + 1)
        } else {
            (now, 0)
        };
        (seen.1 == 50).then_some(now)
    });
    assert!(
        stopped_at < CHUNKS / 2,
        "it wrote {stopped_at} chunks of 64 KiB for a reader who took one"
    );
    let (server_after, workers_after) = (kib(server.pid()), workers());
    assert!(
        server_after < server_before + 16 * 1024,
        "the server grew from {server_before} to {server_after} KiB"
    );
    assert!(
        workers_after < workers_before + 32 * 1024,
        "a worker grew from {workers_before} to {workers_after} KiB"
    );

    let (rest, complete) = stream.rest();
    length += rest.len();
    assert_eq!((length, complete), (CHUNKS * 65536, json!({})));
    let server_end = kib(server.pid());
    assert!(
        server_end < server_before + 24 * 1024,
        "the server grew from {server_before} to {server_end} KiB"
    );
}

#[test]
fn a_client_who_leaves_does_not_hold_up_the_function() {
    let (project, server) = server(&["endless"], "");
    let mut stream = open(&server, "endless", json!({"chunks": 800}));
    stream.chunk();
    assert!(!project.join("signs/through").exists());
    drop(stream);
    let through = || std::fs::read_to_string(project.join("signs/through")).unwrap_or_default();
    wait_for("the handler to come through", || (through() == "1").then_some(()));
    let run = wait_for("the run", || server.runs("?function=endless").into_iter().next());
    assert_eq!(run["status"], "succeeded", "{run}");
    // One who never reads a byte, and leaves before there is one.
    drop(open(&server, "endless", json!({"chunks": 40})));
    wait_for("the handler to come through", || (through() == "2").then_some(()));
    let (bytes, complete) = open(&server, "endless", json!({"chunks": 3})).rest();
    assert_eq!((bytes.len(), complete), (3 * 65536, json!({})));
    assert_eq!(through(), "3", "the same environment runs on");
}

#[test]
fn what_was_written_before_a_failure_arrives_and_then_the_failure() {
    for node in [20, 24] {
        let (_project, server) = server(&["fails", "early"], &format!(", runtime: nodejs{node}.x"));
        let own = if node == 20 { "string" } else { "Error" };
        for (how, kind, message) in [
            ("throws", "RangeError", "in the middle"),
            ("destroys", "SyntaxError", "destroyed"),
            ("forgets", own, "Response stream is not finished."),
            ("before", "number", "1"),
            (
                "type",
                "Runtime.InvalidStreamingOperation",
                "Cannot set content-type, too late.",
            ),
            ("uncaught", "TypeError", "of nobody"),
        ] {
            let (bytes, complete) = open(&server, "fails", json!({ "how": how })).rest();
            let (found_kind, found_message) = error_of(&complete);
            // Later clients leave what nobody catches to Node.js, which ends.
            if node == 24 && how == "uncaught" {
                assert_eq!(found_kind, "Runtime.ExitError");
                assert!(found_message.ends_with("exit status 1"), "{found_message}");
            } else {
                assert_eq!(
                    (found_kind.as_str(), found_message.as_str()),
                    (kind, message),
                    "{how} on {node}"
                );
            }
            assert_eq!(bytes, b"abc", "{how} on {node}");
        }
        let (bytes, complete) = open(&server, "fails", json!({"how": "exits"})).rest();
        let (kind, message) = error_of(&complete);
        assert_eq!((bytes.as_slice(), kind.as_str()), (&b"abc"[..], "Runtime.ExitError"));
        assert!(
            message.ends_with("Error: Runtime exited with error: exit status 7"),
            "{message}"
        );
        let (bytes, complete) = open(&server, "early", json!({})).rest();
        assert_eq!(
            (bytes, error_of(&complete).1.as_str()),
            (vec![], "before the first byte")
        );
    }
    let (_project, server) = serve(&[("fails", "handler: index.fails, timeout: 1s", &[("index.js", CODE)])]);
    let (bytes, complete) = open(&server, "fails", json!({"how": "sleeps"})).rest();
    let (kind, message) = error_of(&complete);
    assert_eq!((bytes.as_slice(), kind.as_str()), (&b"abc"[..], "Sandbox.Timedout"));
    assert!(
        message.ends_with("Error: Task timed out after 1.00 seconds"),
        "{message}"
    );
    wait_for("the run", || {
        (server.runs("?status=timed-out").len() == 1).then_some(())
    });
}

#[test]
fn a_reader_who_does_not_read_costs_the_function_its_time_and_no_more() {
    let code = "exports.handler = awslambda.streamifyResponse(async (event, out) => { for (;;) out.write(Buffer.alloc(65536)) || await new Promise((done) => out.once('drain', done)); });";
    let (_project, server) = serve(&[("f", "handler: index.handler, timeout: 2s", &[("index.js", code)])]);
    let mut stream = open(&server, "f", json!({}));
    stream.chunk();
    let run = wait_for("the end of its time", || server.runs("?function=f").into_iter().next());
    assert_eq!(run["status"], "timed-out", "{run}");
    assert_eq!(error_of(&stream.rest().1).0, "Sandbox.Timedout");
}

#[test]
fn a_prelude_comes_first_and_content_types_are_checked() {
    let (_project, server) = server(&["http", "type"], "");
    let prelude =
        b"{\"statusCode\":201,\"headers\":{\"content-type\":\"text/plain\"},\"cookies\":[\"a=b\"]}\0\0\0\0\0\0\0\0body";
    assert_eq!(open(&server, "http", json!({})).rest(), (prelude.to_vec(), json!({})));
    let (refused, complete) = open(&server, "type", json!({})).rest();
    assert_eq!(complete, json!({}));
    assert_eq!(refused, br#"["TypeError","TypeError","TypeError"]"#);
}

#[test]
fn a_handler_that_does_not_stream_answers_in_one_chunk() {
    let (_project, server) = server(&["plain", "plainFails", "logs"], "");
    let mut stream = open(&server, "plain", json!({"n": 7}));
    assert_eq!(stream.chunk(), br#"{"event":{"n":7},"count":1}"#);
    assert_eq!(stream.next(), Some(StreamEvent::Complete(json!({}))));
    assert_eq!(stream.next(), None);
    let (bytes, complete) = open(&server, "plainFails", json!({})).rest();
    assert_eq!(
        (bytes, error_of(&complete)),
        (vec![], ("RangeError".into(), "plain".into()))
    );

    let tail = Stream::open(server.endpoint(), "logs", &[("x-amz-log-type", "Tail")], "{}");
    let (bytes, complete) = tail.rest();
    let log = String::from_utf8(crate::support::from_base64(complete["LogResult"].as_str().unwrap())).unwrap();
    assert_eq!(bytes, b"x");
    assert!(
        log.starts_with("START ") && log.contains("a line") && log.contains("\nREPORT "),
        "{log}"
    );
}

#[test]
fn requests_are_checked_as_those_of_invoke() {
    let (_project, server) = server(&["none"], "");
    let call = |function: &str, headers: &[(&str, &str)], event: &str| {
        let stream = Stream::open(server.endpoint(), function, headers, event);
        let kind = stream.header("x-amzn-errortype").unwrap_or_default().to_owned();
        (stream.status, kind, stream.text())
    };
    let dry = [("x-amz-invocation-type", "DryRun")];
    assert_eq!(call("none", &dry, ""), (204, String::new(), String::new()));
    for (function, headers, event, status, kind, text) in [
        (
            "absent",
            &[][..],
            "{}",
            404,
            "ResourceNotFoundException",
            "function:absent:$LATEST",
        ),
        (
            "absent",
            &dry,
            "{}",
            404,
            "ResourceNotFoundException",
            "function:absent:$LATEST",
        ),
        ("none:1", &[], "{}", 404, "ResourceNotFoundException", "function:none:1"),
        (
            "none:1?Qualifier=2",
            &[],
            "{}",
            400,
            "InvalidParameterValueException",
            "does not match",
        ),
        (
            "none",
            &[],
            "{",
            400,
            "InvalidRequestContentException",
            "Could not parse",
        ),
        (
            "none",
            &[("x-amz-invocation-type", "Event")],
            "{}",
            400,
            "ValidationException",
            "enum value set: [RequestResponse, DryRun]",
        ),
    ] {
        let (function, query) = function.split_once('?').unwrap_or((function, ""));
        let url = format!(
            "{}/2021-11-15/functions/{function}/response-streaming-invocations?{query}",
            server.endpoint()
        );
        let answer = request("POST", &url, headers, event.as_bytes());
        assert_eq!(
            (answer.status, answer.header("x-amzn-errortype")),
            (status, Some(kind)),
            "{function} {headers:?}: {}",
            answer.text()
        );
        assert!(answer.text().contains(text), "{}", answer.text());
    }
}

#[test]
fn no_concurrency_is_an_error_before_the_stream() {
    let (_project, server) = serve(&[(
        "f",
        "handler: index.none, reservedConcurrency: 0",
        &[("index.js", CODE)],
    )]);
    let stream = open(&server, "f", json!({}));
    assert_eq!(
        (stream.status, stream.header("x-amzn-errortype")),
        (429, Some("TooManyRequestsException"))
    );
}

#[test]
fn an_answer_over_200_mb_ends_with_an_error() {
    let (_project, server) = server(&["endless"], "");
    let mut stream = open(&server, "endless", json!({"chunks": 3201}));
    let mut length = 0;
    let complete = loop {
        match stream.next().unwrap() {
            StreamEvent::Chunk(chunk) => length += chunk.len(),
            StreamEvent::Complete(complete) => break complete,
        }
    };
    assert_eq!(length, 200 << 20);
    assert_eq!(
        error_of(&complete),
        (
            "Function.ResponseSizeTooLarge".into(),
            "Response payload size exceeded maximum allowed payload size (209715200 bytes).".into()
        )
    );
}

#[test]
fn streams_and_other_invocations_share_environments() {
    let (_project, server) = server(&["sums", "plain"], "");
    std::thread::scope(|scope| {
        for seed in 0..8 {
            let server = &server;
            scope.spawn(move || {
                for n in 0..20 {
                    let bytes = n * 30_000;
                    let event = json!({"bytes": bytes, "seed": seed});
                    let whole = invoke(server.endpoint(), "sums", &event.to_string());
                    assert_eq!((whole.status, whole.header("x-amz-function-error")), (200, None));
                    assert!(open(server, "sums", event.clone()).rest() == (whole.body, json!({})));
                    let (plain, _) = open(server, "plain", event.clone()).rest();
                    assert_eq!(serde_json::from_slice::<Value>(&plain).unwrap()["event"], event);
                }
            });
        }
    });
}

#[test]
fn the_context_knows_the_tenant() {
    for node in [20, 24] {
        let settings = format!("handler: index.tenant, runtime: nodejs{node}.x, logFormat: json");
        let (_project, server) = serve(&[("tenant", &settings, &[("index.js", CODE)])]);
        let url = format!("{}/2015-03-31/functions/tenant/invocations", server.endpoint());
        let call = |headers: &[(&str, &str)]| request("POST", &url, headers, b"{}");
        let store = |tenant: &str| if node == 20 { json!(null) } else { json!(tenant) };

        let answer = call(&[("x-amz-tenant-id", "blue/1"), ("x-amz-log-type", "Tail")]);
        assert_eq!(value_of(&answer), json!(["blue/1", null, store("blue/1")]));
        let log = crate::support::from_base64(answer.header("x-amz-log-result").unwrap());
        let log = String::from_utf8(log).unwrap();
        assert!(log.contains(r#""tenantId":"blue/1","message":"a line""#), "{log}");
        let stream = Stream::open(server.endpoint(), "tenant", &[("x-amz-tenant-id", "green")], "{}");
        assert_eq!(
            serde_json::from_slice::<Value>(&stream.rest().0).unwrap(),
            json!(["green", null, store("green")])
        );
        let answer = call(&[("x-amz-log-type", "Tail")]);
        assert_eq!(value_of(&answer), json!([null, null, null]), "the next one has none");
        let log = crate::support::from_base64(answer.header("x-amz-log-result").unwrap());
        assert!(!String::from_utf8(log).unwrap().contains("tenantId"));

        for bad in ["", "a;b", &"x".repeat(257)] {
            let answer = call(&[("x-amz-tenant-id", bad)]);
            assert_eq!(
                (answer.status, answer.header("x-amzn-errortype")),
                (400, Some("ValidationException")),
                "{bad}: {}",
                answer.text()
            );
        }
        let queued = call(&[("x-amz-tenant-id", "blue"), ("x-amz-invocation-type", "Event")]);
        assert_eq!(
            (queued.status, queued.header("x-amzn-errortype")),
            (400, Some("InvalidParameterValueException"))
        );
    }
}

/// What boto3 makes of an answer.
const BOTO3: &str = r#"
import boto3, hashlib, json
from botocore.config import Config
client = boto3.client("lambda", config=Config(retries={"max_attempts": 0}))
def call(function, event, **more):
    answer = client.invoke_with_response_stream(FunctionName=function, Payload=json.dumps(event), **more)
    chunks, complete = [], None
    for event in answer["EventStream"]:
        assert complete is None
        if "PayloadChunk" in event:
            chunks.append(event["PayloadChunk"]["Payload"])
        else:
            complete = event["InvokeComplete"]
    return answer, b"".join(chunks), complete
answer, whole, complete = call("sums", {"bytes": 20000000, "seed": 1}, LogType="Tail")
failed = call("fails", {"how": "throws"})
print(json.dumps({
    "status": answer["StatusCode"], "version": answer["ExecutedVersion"], "type": answer["ResponseStreamContentType"],
    "whole": len(whole) == 20000032 and hashlib.sha256(whole[:-32]).digest() == whole[-32:],
    "members": sorted(complete), "failed": [failed[1].decode(), failed[2]["ErrorCode"], json.loads(failed[2]["ErrorDetails"])["errorType"]],
    "dry": client.invoke_with_response_stream(FunctionName="sums", InvocationType="DryRun")["StatusCode"],
}))
"#;

#[test]
fn boto3_reads_the_stream() {
    let (project, server) = server(&["sums", "fails"], "");
    let Some(told) = boto3(&server, &project, ANYBODY, BOTO3) else {
        return;
    };
    assert_eq!(
        told,
        json!({
            "status": 200, "version": "$LATEST", "type": "application/vnd.amazon.eventstream", "whole": true,
            "members": ["LogResult"], "failed": ["abc", "Unhandled", "RangeError"], "dry": 204,
        })
    );
}
