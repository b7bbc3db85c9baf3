//! The endpoint is for its own machine: who may not ask, and what is no request.

use std::io::Write;
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::{echo, get, invoke, request};

#[test]
fn web_pages_are_refused() {
    let (_project, server) = echo();
    let port = server.endpoint().rsplit(':').next().unwrap();
    let url = |path: &str| format!("{}{path}", server.endpoint());
    let own = format!("localhost:{port}");
    for path in [
        "/2015-03-31/functions",
        "/_hikigane/runs",
        "/_hikigane/logs",
        "/nothing",
    ] {
        for header in [
            ("host", "evil.example"),
            ("host", "evil.example:9000"),
            ("origin", "http://evil.example"),
            ("origin", "null"),
            ("host", "127.0.0.1.evil.example"),
        ] {
            let answer = request("GET", &url(path), &[header], &[]);
            assert_eq!(
                (answer.status, answer.header("x-amzn-errortype")),
                (403, Some("AccessDeniedException")),
                "{path} {header:?}"
            );
        }
    }
    let answer = request(
        "POST",
        &url("/2015-03-31/functions/echo/invocations"),
        &[("origin", "http://evil.example")],
        b"{}",
    );
    assert_eq!(answer.status, 403);
    let answer = request(
        "OPTIONS",
        &url("/2015-03-31/functions/echo/invocations"),
        &[
            ("origin", "http://evil.example"),
            ("access-control-request-method", "POST"),
        ],
        &[],
    );
    assert_eq!(
        (answer.status, answer.header("access-control-allow-origin")),
        (403, None)
    );
    assert_eq!(server.runs(""), Vec::<Value>::new(), "nothing ran");
    let answer = request(
        "GET",
        &url("/2015-03-31/functions"),
        &[("host", &own), ("origin", &format!("http://{own}"))],
        &[],
    );
    assert_eq!(answer.status, 200);
}

#[test]
fn what_does_not_exist_is_a_json_error() {
    let (_project, server) = echo();
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/nothing"),
        ("PUT", "/2015-03-31/functions"),
        ("GET", "/2015-03-31/functions/echo/invocations"),
        ("POST", "/_hikigane/runs"),
        ("GET", "/2015-03-31/functions/echo/nothing"),
        ("DELETE", "/"),
        ("GET", "/%ff%00"),
        ("GET", "//2015-03-31//functions"),
    ] {
        let answer = request(method, &format!("{}{path}", server.endpoint()), &[], &[]);
        assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text());
        assert!(answer.header("x-amzn-errortype").is_some(), "{method} {path}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert!(answer.json().is_object());
    }
}

#[test]
fn what_is_asked_in_the_wrong_form_is_a_json_error() {
    let (_project, server) = echo();
    let json = ("content-type", "application/json");
    let large = format!(r#"{{"function": "{}"}}"#, "f".repeat(3 << 20));
    for (method, path, header, body, status, code) in [
        (
            "GET",
            "runs/notanumber",
            json,
            "",
            400,
            "InvalidParameterValueException",
        ),
        ("GET", "runs?limit=x", json, "", 400, "InvalidParameterValueException"),
        ("GET", "runs?wrong=1", json, "", 400, "InvalidParameterValueException"),
        ("GET", "logs?wrong=1", json, "", 400, "InvalidParameterValueException"),
        ("GET", "dlq/1e9", json, "", 400, "InvalidParameterValueException"),
        ("GET", "dlq?limit=-1", json, "", 400, "InvalidParameterValueException"),
        ("POST", "debug/echo", json, "{}", 400, "InvalidParameterValueException"),
        ("POST", "dlq/purge", json, "{", 400, "InvalidParameterValueException"),
        (
            "POST",
            "dlq/purge",
            json,
            r#"{"every": true}"#,
            400,
            "InvalidParameterValueException",
        ),
        ("POST", "dlq/redrive", json, "", 400, "InvalidParameterValueException"),
        ("POST", "dlq/redrive", json, &large, 413, "RequestTooLargeException"),
        (
            "POST",
            "clock",
            json,
            r#"{"to": "noon"}"#,
            400,
            "InvalidParameterValueException",
        ),
        (
            "POST",
            "clock",
            ("content-type", "text/plain"),
            "{}",
            415,
            "UnsupportedMediaTypeException",
        ),
    ] {
        let url = format!("{}/_hikigane/{path}", server.endpoint());
        let answer = request(method, &url, &[header], body.as_bytes());
        assert_eq!(
            (answer.status, answer.header("x-amzn-errortype")),
            (status, Some(code)),
            "{method} {path}: {}",
            answer.text()
        );
        assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
        assert!(answer.json()["message"].is_string(), "{path}: {}", answer.text());
    }
    let answer = get(&format!("{}/2015-03-31/functions?MaxItems=x", server.endpoint()));
    assert!((400..500).contains(&answer.status), "{}", answer.status);
}

#[test]
fn rubbish_on_the_port_hurts_nobody() {
    let (_project, server) = echo();
    let address = server.endpoint().strip_prefix("http://").unwrap();
    let head = format!("POST /2015-03-31/functions/echo/invocations HTTP/1.1\r\nhost: {address}\r\n");
    let mut noise = Vec::new();
    let mut state = 7_u32;
    for _ in 0..20_000 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        noise.push((state >> 24) as u8);
    }
    let mut open = Vec::new();
    for bytes in [
        noise,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\nhost: x\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        vec![b'A'; 1 << 20],
        format!("{head}content-length: 100\r\n\r\nshort").into_bytes(),
        format!("{head}content-length: -1\r\n\r\n").into_bytes(),
        format!("{head}content-length: 99999999999999999999\r\n\r\n").into_bytes(),
        format!("{head}transfer-encoding: chunked\r\n\r\nzz\r\n").into_bytes(),
        format!("{head}x: {}\r\n\r\n", "y".repeat(1 << 20)).into_bytes(),
        format!("{head}content-length: 2\r\ncontent-length: 3\r\n\r\n{{}}").into_bytes(),
    ] {
        let mut stream = TcpStream::connect(address).unwrap();
        let _ = stream.write_all(&bytes);
        open.push(stream);
        assert_eq!(invoke(server.endpoint(), "echo", "1").json(), json!({"echo": 1}));
    }
    drop(open);
    assert_eq!(invoke(server.endpoint(), "echo", "2").json(), json!({"echo": 2}));
}
