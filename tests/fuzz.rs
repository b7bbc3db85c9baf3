//! Requests that nobody in his senses would send: the server answers each of them as AWS would, and lives.
//!
//! 2,000 cases of each kind; as many as `HIKIGANE_FUZZ` says when that is set.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::{Map, Value, json};

use crate::support::{Project, Server, get};

/// The operations and what they take: the descriptions that the server itself reads.
const LAMBDA: &str = include_str!("../crates/api/shapes/lambda.json");
/// Long enough for any answer; a server that does not come to one within it hangs.
const PATIENCE: Duration = Duration::from_secs(30);
/// Texts that mean something to the API, and some that break parsers.
const TELLING: [&str; 24] = [
    "declared",
    "f",
    "f:1",
    "$LATEST",
    "1",
    "0",
    "99999999999999999999",
    "live",
    "ALL",
    "arn:aws:lambda:us-east-1:000000000000:function:f",
    "arn:aws:lambda:us-east-1:000000000000:function:declared:live",
    "arn:aws:lambda:us-east-1:000000000000:layer:l:1",
    "arn:aws:sqs:us-east-1:000000000000:q",
    "arn:aws:iam::000000000000:role/r",
    "nodejs22.x",
    "index.handler",
    "UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA==",
    "..",
    "../../etc/passwd",
    "",
    "\0",
    "%",
    "é𝄞\u{202e}",
    "{\"a\":[",
];

struct Hammered {
    project: Project,
    server: Server,
    agent: ureq::Agent,
}

impl Hammered {
    fn new() -> Self {
        let project = Project::new(
            "functions:\n  declared: { code: ./declared.js }\n",
            &[("declared.js", "exports.handler = async (event) => event;")],
        );
        let program = env!("CARGO_BIN_EXE_hikigane");
        // What the server complains of is kept, to be looked at in the end.
        let script = format!("exec {program} up hikigane.yaml --endpoint 127.0.0.1:0 --json 2>complaints.txt");
        let server = project.up_as(std::process::Command::new("sh").args(["-c", &script]));
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .timeout_global(Some(PATIENCE))
            .build()
            .into();
        Self { project, server, agent }
    }

    /// Puts every case to the test, and then asks whether the server is well.
    fn run<S: Strategy>(&self, cases: S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
        let count = std::env::var("HIKIGANE_FUZZ").ok().and_then(|count| count.parse().ok());
        let mut runner = TestRunner::new(Config {
            cases: count.unwrap_or(2_000),
            failure_persistence: None,
            max_shrink_iters: 500,
            ..Config::default()
        });
        if let Err(error) = runner.run(&cases, test) {
            panic!("{error}\n{}", self.complaints());
        }
        let status = get(&format!("{}/_hikigane/status", self.server.endpoint()));
        assert_eq!(status.status, 200, "{}", status.text());
        assert!(!self.complaints().contains("panicked"), "{}", self.complaints());
    }

    fn complaints(&self) -> String {
        std::fs::read_to_string(self.project.join("complaints.txt")).unwrap()
    }

    /// Sends a request, and looks whether the answer is one that AWS could give.
    fn ask(&self, request: &Request) -> Result<(), TestCaseError> {
        let url = format!("{}{}", self.server.endpoint(), request.target);
        let mut builder = ureq::http::Request::builder().method(request.method.as_str()).uri(url);
        for (name, value) in &request.headers {
            builder = builder.header(*name, value.as_str());
        }
        let fail = |text: String| Err(TestCaseError::fail(text));
        let sent = if matches!(request.method.as_str(), "POST" | "PUT" | "PATCH") {
            self.agent.run(builder.body(&request.body[..]).unwrap())
        } else {
            self.agent.run(builder.body(()).unwrap())
        };
        let mut answer = match sent {
            Ok(answer) => answer,
            Err(error) => return fail(format!("no answer: {error}")),
        };
        let status = answer.status().as_u16();
        let code = answer.headers().get("x-amzn-errortype").cloned();
        let body = answer.body_mut().read_to_vec().unwrap_or_default();
        let text = String::from_utf8_lossy(&body);
        if (200..300).contains(&status) {
            return Ok(());
        }
        if !(400..500).contains(&status) && ![501, 502, 503].contains(&status) {
            return fail(format!("status {status}: {text}"));
        }
        let said: Value = serde_json::from_slice(&body).unwrap_or_default();
        let message = said
            .get("message")
            .or(said.get("Message"))
            .is_some_and(Value::is_string);
        if code.is_none() || !message {
            return fail(format!(
                "an error without a code or a message: {status} {code:?} {text}"
            ));
        }
        Ok(())
    }
}

/// A request, ready to be sent.
#[derive(Debug, Clone)]
struct Request {
    method: String,
    /// Path and query.
    target: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

#[test]
fn whatever_is_asked_of_an_operation_is_answered() {
    let hammered = Hammered::new();
    hammered.run(of_an_operation(), |request| hammered.ask(&request));
}

#[test]
fn whatever_path_is_asked_for_is_answered() {
    let hammered = Hammered::new();
    let segment = prop_oneof![
        select(vec![
            "2015-03-31",
            "functions",
            "invocations",
            "2018-10-31",
            "layers",
            "2017-03-31",
            "tags",
            "aliases"
        ])
        .prop_map(str::to_owned),
        text().prop_map(|text| encoded(&text)),
    ];
    let method = prop_oneof![
        select(vec!["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]).prop_map(str::to_owned),
        "[A-Z]{1,10}",
    ];
    // A first segment of its own: `/` alone and `/_hikigane` are not Lambda's.
    let request = (method, vec(segment, 0..8), query(), headers(), vec(any::<u8>(), 0..200));
    let request = request.prop_map(|(method, path, query, headers, body)| Request {
        method,
        target: format!("/2015-03-31/{}{query}", path.join("/")),
        headers,
        body,
    });
    hammered.run(request, |request| hammered.ask(&request));
}

#[test]
fn whatever_bytes_come_the_server_stays() {
    let hammered = Hammered::new();
    let address = hammered.server.endpoint().strip_prefix("http://").unwrap();
    let start = select(vec![
        &b""[..],
        b"GET / HTTP/1.1\r\n",
        b"POST /2015-03-31/functions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 50\r\n\r\n",
        b"POST /2015-03-31/functions/declared/invocations HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ]);
    let bytes = (start, vec(any::<u8>(), 0..300)).prop_map(|(start, rest)| [start, rest.as_slice()].concat());
    hammered.run(bytes, |bytes| {
        let fail = |error: std::io::Error| TestCaseError::fail(error.to_string());
        let mut stream = TcpStream::connect(address).map_err(fail)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(fail)?;
        // The server may have closed the connection before all was written or read: that is an answer.
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        if let Err(error) = stream.read_to_end(&mut answer)
            && error.kind() == std::io::ErrorKind::WouldBlock
        {
            return Err(TestCaseError::fail("the connection is neither answered nor closed"));
        }
        let answer = String::from_utf8_lossy(&answer);
        prop_assert!(!answer.starts_with("HTTP/1.1 500"), "{answer}");
        Ok(())
    });
}

#[test]
fn a_connection_can_be_used_again_after_a_refusal() {
    let hammered = Hammered::new();
    let address = hammered.server.endpoint().strip_prefix("http://").unwrap();
    let mut stream = BufReader::new(TcpStream::connect(address).unwrap());
    stream.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
    for (target, status) in [
        ("/2015-03-31/nonsense", 404),
        ("/2015-03-31/functions/%24/invocations", 400),
        ("/2021-11-15/functions/%24/response-streaming-invocations", 400),
        ("/2014-11-13/functions/%24/invoke-async", 400),
        ("/2015-03-31/functions/absent/invocations", 404),
    ] {
        // Who is asked for the body knows that it will be read.
        let head =
            format!("POST {target} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n");
        stream.get_mut().write_all(head.as_bytes()).unwrap();
        assert!(head_of_answer(&mut stream)[0].starts_with("HTTP/1.1 100"), "{target}");
        stream.get_mut().write_all(b"{}").unwrap();
        let head = head_of_answer(&mut stream);
        assert!(head[0].starts_with(&format!("HTTP/1.1 {status}")), "{target}: {head:?}");
        let length = head
            .iter()
            .find_map(|line| line.strip_prefix("content-length: "))
            .unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body).unwrap();
    }
}

/// The lines of an answer before its body.
fn head_of_answer(stream: &mut BufReader<TcpStream>) -> Vec<String> {
    let lines = stream.lines().map(|line| line.unwrap());
    lines.take_while(|line| !line.is_empty()).collect()
}

/// A request for one of Lambda's operations, with members that are of its shape or of any other.
fn of_an_operation() -> impl Strategy<Value = Request> {
    let described: Value = serde_json::from_str(LAMBDA).unwrap();
    let operations: Vec<(String, String, Vec<String>)> = described["operations"]
        .as_object()
        .unwrap()
        .values()
        .map(|operation| {
            let shape = &described["shapes"][operation["input"].as_str().unwrap_or_default()];
            let members = shape["members"].as_object().cloned().unwrap_or_default();
            let in_body = members
                .into_iter()
                .filter(|(_, member)| member.get("location").is_none());
            let text = |name: &str| operation[name].as_str().unwrap().to_owned();
            (text("method"), text("uri"), in_body.map(|(name, _)| name).collect())
        })
        .collect();
    let request = (select(operations), vec(text(), 4), query(), headers(), body());
    let members = vec(json_value(), 30);
    (request, members).prop_map(|(((method, uri, names), labels, query, headers, body), values)| {
        let mut target = String::new();
        let mut labels = labels.iter();
        for piece in uri.split_inclusive(['{', '}']) {
            match piece.strip_suffix('}') {
                Some(_) => target.push_str(&encoded(labels.next().map_or("f", String::as_str))),
                None => target.push_str(piece.trim_end_matches('{')),
            }
        }
        let query = if target.contains('?') {
            query.replacen('?', "&", 1)
        } else {
            query
        };
        let object: Map<String, Value> = names
            .into_iter()
            .zip(values)
            .filter(|(_, value)| !value.is_null())
            .collect();
        Request {
            method,
            target: format!("{target}{query}"),
            headers,
            body: body.unwrap_or_else(|| Value::Object(object).to_string().into_bytes()),
        }
    })
}

/// A body that is none of an operation's, one time in four.
fn body() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop_oneof![
        3 => Just(None),
        1 => prop_oneof![
            vec(any::<u8>(), 0..100),
            json_value().prop_map(|value| value.to_string().into_bytes()),
            (0_usize..5_000).prop_map(|depth| vec![b'['; depth]),
            Just(b"{\"Description\": \"\\ud800\"}".to_vec()),
        ]
        .prop_map(Some),
    ]
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        3 => Just(Value::Null),
        3 => text().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => (0_i64..1_100).prop_map(Value::from),
        1 => any::<f64>().prop_map(|number| json!(number)),
    ];
    let known = select(vec![
        "ZipFile",
        "S3Bucket",
        "S3Key",
        "Variables",
        "SubnetIds",
        "OnSuccess",
        "OnFailure",
        "Destination",
        "Pattern",
        "Filters",
        "AdditionalVersionWeights",
        "TargetArn",
        "Mode",
        "ApplyOn",
        "Size",
        "LogFormat",
        "AllowOrigins",
    ]);
    leaf.prop_recursive(3, 12, 4, move |inner| {
        let name = prop_oneof![known.clone().prop_map(str::to_owned), text()];
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((name, inner), 0..4).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => select(TELLING.to_vec()).prop_map(str::to_owned),
        1 => any::<String>(),
        1 => "[a-zA-Z0-9:_-]{1,200}",
        1 => "[a-z]{1,3}",
    ]
}

fn query() -> impl Strategy<Value = String> {
    let name = select(vec![
        "Qualifier",
        "Marker",
        "MaxItems",
        "FunctionVersion",
        "tagKeys",
        "RevisionId",
        "List",
        "find",
        "Arn",
        "x",
    ]);
    vec((name, text()), 0..4).prop_map(|pairs| {
        let pairs: Vec<String> = pairs
            .iter()
            .map(|(name, value)| format!("{name}={}", encoded(value)))
            .collect();
        if pairs.is_empty() {
            String::new()
        } else {
            format!("?{}", pairs.join("&"))
        }
    })
}

fn headers() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let name = select(vec![
        "content-type",
        "x-amz-invocation-type",
        "x-amz-log-type",
        "x-amz-client-context",
        "x-amz-tenant-id",
        "x-amzn-trace-id",
        "x-amz-target",
        "authorization",
    ]);
    let value = prop_oneof![
        select(vec![
            "application/json",
            "Event",
            "DryRun",
            "RequestResponse",
            "Tail",
            "e30=",
            "AWS4-HMAC-SHA256 Credential=a/b/c"
        ])
        .prop_map(str::to_owned),
        "[ -~]{0,60}",
    ];
    vec((name, value), 0..4)
}

fn encoded(text: &str) -> String {
    percent_encode(text.as_bytes(), NON_ALPHANUMERIC).to_string()
}
