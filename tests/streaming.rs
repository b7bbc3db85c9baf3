//! Response streaming: `awslambda.streamifyResponse` and what belongs to it, through a buffered Invoke. As it comes: response_stream.rs.

use serde_json::json;

use crate::support::{Answer, error_of, invoke, invoke_logged, serve, value_of};

const CODE: &str = r#"
const { pipeline } = require('node:stream/promises');
const { Readable } = require('node:stream');
const { setTimeout: sleep } = require('node:timers/promises');
const stream = (handler, options) => awslambda.streamifyResponse(handler, options);

exports.text = stream(async (event, out) => { out.write('one '); await sleep(1); out.write('two'); out.end(' three'); });
exports.bytes = stream(async (event, out) => {
  const chunk = Buffer.alloc(256, 0).map((_, index) => index);
  for (let i = 0; i < 40; i += 1) { await new Promise((done) => out.write(chunk, done)); }
  chunk.fill(0);
  out.end(new Uint8Array([255, 0, 254]));
});
exports.none = stream(async (event, out) => { out.end(); });
exports.json = stream(async (event, out) => { out.setContentType('application/json'); out.write({ a: 1 }); out.end(); });
exports.piped = stream(async (event, out) => { await pipeline(Readable.from(['a', 'b', Buffer.from('ç')]), out); });
exports.web = stream(async (event, out) => { await new Response('from the web').body.pipeTo(require('stream').Writable.toWeb(out)); });
exports.http = stream(async (event, out) => {
  out = awslambda.HttpResponseStream.from(out, { statusCode: 201, headers: { 'content-type': 'text/plain' }, cookies: ['a=b'] });
  out.write('body'); out.end();
});
exports.pressure = stream(async (event, out) => {
  const seen = [out.writableHighWaterMark];
  const free = out.write(Buffer.alloc(64));
  await new Promise((done) => out.once('drain', done));
  out.end(JSON.stringify([...seen, free, out.writableLength]));
}, { highWaterMark: 10 });
exports.late = stream(async (event, out) => { out.write('x'); out.end(); await sleep(5); console.log('after the end'); });
exports.context = stream(async (event, out, context) => { out.end(JSON.stringify([event.n, context.functionName, typeof context.getRemainingTimeInMillis()])); });
exports.returns = stream(async (event, out) => { out.end('kept'); return 'dropped'; });
exports.sync = stream((event, out) => { out.end('x'); });
exports.unfinished = stream(async (event, out) => { out.write('x'); });
exports.throws = stream(async (event, out) => { out.write('x'); throw new RangeError('in the middle'); });
exports.early = stream((event, out) => { throw new TypeError('at once'); });
exports.destroyed = stream(async (event, out) => { out.write('x'); out.destroy(new SyntaxError('destroyed')); });
exports.big = stream(async (event, out) => {
  for (let i = 0; i < event.chunks; i += 1) { out.write(Buffer.alloc(65536, 120)) || await new Promise((done) => out.once('drain', done)); }
  out.end();
});
exports.type = stream(async (event, out) => { out.write('x'); try { out.setContentType('text/plain'); } finally { out.end(); } });
exports.store = async (event, context) => {
  const { InvokeStore } = awslambda;
  InvokeStore.set('own', 1);
  const refused = (() => { try { InvokeStore.set(InvokeStore.constructor.PROTECTED_KEYS.REQUEST_ID, 'x'); } catch (error) { return error.message; } })();
  return [InvokeStore.getRequestId() === context.awsRequestId, InvokeStore.get('own'), refused, InvokeStore.hasContext(), InvokeStore.getTenantId() === undefined];
};
exports.global = async () => [typeof awslambda, Object.keys(globalThis.awslambda ?? {}).sort()];
"#;

const HANDLERS: &[&str] = &[
    "text",
    "bytes",
    "none",
    "json",
    "piped",
    "web",
    "http",
    "pressure",
    "late",
    "context",
    "returns",
    "sync",
    "unfinished",
    "throws",
    "early",
    "destroyed",
    "big",
    "type",
    "store",
    "global",
];

fn server(node: u32) -> (crate::support::Project, crate::support::Server) {
    let settings: Vec<String> = HANDLERS
        .iter()
        .map(|name| format!("handler: index.{name}, runtime: nodejs{node}.x, memory: 256MB"))
        .collect();
    let files = [("index.js", CODE)];
    let functions: Vec<_> = HANDLERS
        .iter()
        .zip(&settings)
        .map(|(name, settings)| (*name, settings.as_str(), files.as_slice()))
        .collect();
    serve(&functions)
}

#[track_caller]
fn succeeded(answer: &Answer) -> &[u8] {
    assert_eq!(
        (answer.status, answer.header("x-amz-function-error")),
        (200, None),
        "{}",
        answer.text()
    );
    &answer.body
}

#[test]
fn what_is_written_is_the_answer_byte_for_byte() {
    for node in [20, 22, 24] {
        let (_project, server) = server(node);
        for (function, expected) in [
            ("text", b"one two three".as_slice()),
            ("none", b""),
            ("json", br#"{"a":1}"#),
            ("piped", "abç".as_bytes()),
            ("web", b"from the web"),
            ("context", br#"[7,"context","number"]"#),
            ("returns", b"kept"),
            ("http", b"{\"statusCode\":201,\"headers\":{\"content-type\":\"text/plain\"},\"cookies\":[\"a=b\"]}\0\0\0\0\0\0\0\0body"),
        ] {
            // Twice: the second invocation runs in the same environment.
            for _ in 0..2 {
                let answer = invoke(server.endpoint(), function, r#"{"n":7}"#);
                assert_eq!(succeeded(&answer), expected, "{function} on {node}: {}", answer.text());
            }
        }
        let bytes: Vec<u8> = (0..40).flat_map(|_| 0..=255u8).chain([255, 0, 254]).collect();
        assert!(
            succeeded(&invoke(server.endpoint(), "bytes", "{}")) == bytes,
            "40 times every byte"
        );
    }
}

#[test]
fn a_full_stream_says_so_and_tells_when_it_is_drained() {
    let (_project, server) = server(22);
    let answer = invoke(server.endpoint(), "pressure", "{}");
    let body = String::from_utf8(succeeded(&answer)[64..].to_vec()).unwrap();
    assert_eq!(body, "[10,false,0]");
    let (answer, log) = invoke_logged(server.endpoint(), "late", "{}");
    assert_eq!(succeeded(&answer), b"x");
    assert!(
        log.contains("after the end"),
        "the invocation lasts until the handler is through: {log}"
    );
    let (_, log) = invoke_logged(server.endpoint(), "returns", "{}");
    assert!(
        log.contains("\tWARN\tStreaming handlers ignore return values.\n"),
        "{log}"
    );
}

#[test]
fn what_goes_wrong_in_a_stream_is_an_error_of_the_function() {
    for node in [20, 24] {
        let (_project, server) = server(node);
        // Version 3 of the runtime client reports its own two complaints as text.
        let own = if node == 20 { "string" } else { "Error" };
        for (function, kind, message) in [
            ("sync", own, "Streaming does not support non-async handlers."),
            ("unfinished", own, "Response stream is not finished."),
            ("throws", "RangeError", "in the middle"),
            ("early", "TypeError", "at once"),
            ("destroyed", "SyntaxError", "destroyed"),
            (
                "type",
                "Runtime.InvalidStreamingOperation",
                "Cannot set content-type, too late.",
            ),
        ] {
            let (answer, log) = invoke_logged(server.endpoint(), function, "{}");
            let found = error_of(&answer);
            assert_eq!(
                (found.0.as_str(), found.1.as_str()),
                (kind, message),
                "{function} on {node}"
            );
            assert!(log.contains("\tERROR\tInvoke Error \t{"), "{function}: {log}");
            assert_eq!(succeeded(&invoke(server.endpoint(), "text", "{}")), b"one two three");
        }
    }
}

#[test]
fn a_stream_that_is_too_long_is_refused() {
    let (_project, server) = server(22);
    let full = invoke(server.endpoint(), "big", r#"{"chunks":96}"#);
    assert_eq!(succeeded(&full).len(), 96 * 65536);
    let found = error_of(&invoke(server.endpoint(), "big", r#"{"chunks":97}"#));
    assert_eq!(
        found,
        (
            "Function.ResponseSizeTooLarge".into(),
            "Response payload size exceeded maximum allowed payload size (6291556 bytes).".into()
        )
    );
    assert_eq!(
        succeeded(&invoke(server.endpoint(), "big", r#"{"chunks":1}"#)).len(),
        65536
    );
}

#[test]
fn the_store_knows_the_invocation() {
    let (_project, modern) = server(24);
    let refused = "Cannot modify protected Lambda context field: Symbol(_AWS_LAMBDA_REQUEST_ID)";
    for _ in 0..2 {
        let found = value_of(&invoke(modern.endpoint(), "store", "{}"));
        assert_eq!(found, json!([true, 1, refused, true, true]));
    }
    let members = |node| value_of(&invoke(server(node).1.endpoint(), "global", "{}"));
    assert_eq!(
        members(24),
        json!(["object", ["HttpResponseStream", "InvokeStore", "streamifyResponse"]])
    );
    assert_eq!(
        members(20),
        json!(["object", ["HttpResponseStream", "streamifyResponse"]])
    );
    let code = "exports.handler = async () => typeof awslambda;";
    let without = "handler: index.handler, env: { AWS_LAMBDA_NODEJS_NO_GLOBAL_AWSLAMBDA: 'true' }";
    let (_project, server) = serve(&[("f", without, &[("index.js", code)])]);
    assert_eq!(value_of(&invoke(server.endpoint(), "f", "{}")), "undefined");
}
