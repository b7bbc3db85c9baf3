//! The event's JSON: API Gateway's payload format 2.0, field by field.

use hikigane_model::InvokeMode;
use serde_json::{Value, json};

use super::{Bounds, Gateway, Script, binding, get, post};

/// The event that a gateway with `route` makes of a request, its own port, request id and trace replaced by fixed texts.
async fn event_of(route: &str, request: impl AsRef<[u8]>) -> Value {
    let gateway = Gateway::start(
        vec![binding("f/b", json!(route), None)],
        Script::Echo,
        Bounds::default(),
    )
    .await;
    let answer = gateway.ask(request).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut event = answer.json();
    let id = event["requestContext"]["requestId"].take();
    assert_eq!(answer.header("apigw-requestid"), id.as_str());
    let id = id.as_str().unwrap();
    assert!(id.len() == 16 && id.ends_with('='), "{id}");
    event["requestContext"]["requestId"] = json!("ID");
    let trace = event["headers"]["x-amzn-trace-id"].take();
    assert!(trace.as_str().unwrap().starts_with("Root=1-5e6a879e-"), "{trace}");
    event["headers"]["x-amzn-trace-id"] = json!("TRACE");
    assert_eq!(
        event["headers"]["x-forwarded-port"].take(),
        gateway.address.port().to_string()
    );
    event["headers"]["x-forwarded-port"] = json!("PORT");
    event
}

#[tokio::test]
async fn a_get_request_with_everything() {
    let request = concat!(
        "GET /hello/w%C3%B6rld%20%23?b=1&a=x%20y&b=2&a=p%2Bq+r&flag&=e&%zz=%ff HTTP/1.1\r\n",
        "Host: api.example.test:8080\r\n",
        "User-Agent: test/1.0 \"quoted\"\r\n",
        "X-Dup: one\r\n",
        "Cookie: a=1; b=\"2\"\r\n",
        "x-dup: two, three\r\n",
        "Cookie: c=3;\r\n",
        "X-Forwarded-For: 10.0.0.1\r\n",
        "X-Forwarded-For: 10.0.0.2\r\n",
        "X-Forwarded-Proto: https\r\n",
        "X-Forwarded-Port: 443\r\n",
        "Connection: keep-alive\r\n",
        "TE: trailers\r\n\r\n",
    );
    let expected = json!({
        "version": "2.0",
        "routeKey": "GET /hello/{name}",
        "rawPath": "/hello/wörld #",
        "rawQueryString": "b=1&a=x%20y&b=2&a=p%2Bq+r&flag&=e&%zz=%ff",
        "cookies": ["a=1", "b=\"2\"", "c=3"],
        "headers": {
            "host": "api.example.test:8080",
            "content-length": "0",
            "x-amzn-trace-id": "TRACE",
            "user-agent": "test/1.0 \"quoted\"",
            "x-dup": "one,two, three",
            "x-forwarded-for": "10.0.0.1, 10.0.0.2, 127.0.0.1",
            "x-forwarded-port": "PORT",
            "x-forwarded-proto": "http",
        },
        "queryStringParameters": {"": "e", "%zz": "%ff", "a": "x y,p+q r", "b": "1,2", "flag": ""},
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "hikigane",
            "domainName": "api.example.test",
            "domainPrefix": "api",
            "http": {
                "method": "GET",
                "path": "/hello/wörld #",
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": "test/1.0 \"quoted\"",
            },
            "requestId": "ID",
            "routeKey": "GET /hello/{name}",
            "stage": "$default",
            "time": "12/Mar/2020:19:03:58 +0000",
            "timeEpoch": 1_584_039_838_000_i64,
        },
        "pathParameters": {"name": "wörld #"},
        "isBase64Encoded": false,
    });
    assert_eq!(event_of("GET /hello/{name}", request).await, expected);
}

#[tokio::test]
async fn absent_parts_are_left_out() {
    let event = event_of("GET /", "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let keys: Vec<&str> = event.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "version",
        "routeKey",
        "rawPath",
        "rawQueryString",
        "headers",
        "requestContext",
        "isBase64Encoded",
    ];
    assert_eq!(keys, expected);
    assert_eq!(event["rawQueryString"], "");
    assert_eq!(event["requestContext"]["http"]["userAgent"], "");
    // Empty, but there.
    for path in ["/?", "/?&&"] {
        let event = event_of("GET /", get(path)).await;
        assert!(event.get("queryStringParameters").is_none(), "{path}: {event}");
    }
    let event = event_of("GET /", "GET / HTTP/1.1\r\nhost: localhost\r\ncookie: ; \r\n\r\n").await;
    assert!(event.get("cookies").is_none(), "{event}");
}

#[tokio::test]
async fn a_json_body_stays_text() {
    let body = "{\"say\":\"\\\"hé\\\"\\n\",\"tab\":\"\u{1}\"}";
    let event = event_of("POST /items", post("/items", "application/json; charset=utf-8", body)).await;
    assert_eq!(event["body"], body);
    assert_eq!(event["isBase64Encoded"], false);
    assert_eq!(event["headers"]["content-length"], body.len().to_string());
    assert_eq!(event["requestContext"]["http"]["method"], "POST");
    assert!(event.get("pathParameters").is_none());
}

#[tokio::test]
async fn the_content_type_decides_between_text_and_base64() {
    let gateway = Gateway::with(Script::Echo).await;
    let mut client = gateway.client().await;
    let check = async |client: &mut super::Client, headers: &str, body: &[u8], text: bool| {
        let head = format!(
            "POST / HTTP/1.1\r\nhost: h\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        );
        client.send([head.as_bytes(), body].concat()).await;
        let event = client.answer().await.json();
        let expected = if text {
            String::from_utf8(body.to_vec()).unwrap()
        } else {
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD, body)
        };
        assert_eq!(event["isBase64Encoded"], !text, "{headers:?} {body:?}");
        assert_eq!(event["body"], expected, "{headers:?} {body:?}");
    };
    for (kind, text) in [
        ("text/plain", true),
        ("TEXT/HTML; charset=utf-8", true),
        ("application/json", true),
        ("application/xml", true),
        ("application/javascript", true),
        ("application/x-www-form-urlencoded", false),
        ("application/problem+json", false),
        ("image/svg+xml;q=1", false),
        ("application/octet-stream", false),
        ("application/jsonx", false),
        ("image/png", false),
        ("multipart/form-data; boundary=x", false),
        ("", false),
    ] {
        let headers = format!("content-type: {kind}\r\n");
        check(&mut client, &headers, b"a=1", text).await;
        // Nothing that is not UTF-8 is text.
        check(&mut client, &headers, b"\xff\xfe", false).await;
    }
    check(&mut client, "", "plain é".as_bytes(), false).await;
    check(&mut client, "", &[0, 159, 146, 150], false).await;
    check(
        &mut client,
        "content-type: text/plain\r\ncontent-encoding: br\r\n",
        b"abc",
        false,
    )
    .await;
    for length in 0..=4_u8 {
        let body: Vec<u8> = (128..128 + length).collect();
        if length > 0 {
            check(&mut client, "", &body, false).await;
        }
    }
}

#[tokio::test]
async fn a_chunked_body_is_whole_for_the_function() {
    let request = "POST / HTTP/1.1\r\nhost: h\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nt: 1\r\n\r\n";
    let event = event_of("POST /", request).await;
    assert_eq!(event["body"], "abcdefg");
    assert_eq!(event["headers"]["content-length"], "7");
    assert!(event["headers"].get("transfer-encoding").is_none());
}

#[tokio::test]
async fn path_parameters_are_decoded() {
    for (route, path, expected) in [
        (
            "ANY /files/{proxy+}",
            "/files/a/b%20c/d.txt",
            json!({"proxy": "a/b c/d.txt"}),
        ),
        ("GET /{a}/x/{b}", "/1/x/%e2%82%ac", json!({"a": "1", "b": "€"})),
        ("GET /{a}/{b+}", "/1%2F2/2/3", json!({"a": "1/2", "b": "2/3"})),
        ("GET /{a}", "/%ff", json!({"a": "%ff"})),
        ("GET /{a}", "/a+b", json!({"a": "a+b"})),
        ("GET /{a}", "/%22%5C%0A", json!({"a": "\"\\\n"})),
    ] {
        let event = event_of(route, get(path)).await;
        assert_eq!(event["pathParameters"], expected, "{route} {path}");
        assert_eq!(event["routeKey"], route);
    }
}

/// What API Gateway was recorded to make of these forms of paths in July 2026 (github.com/hotsock/voker, `vokerhttp/testdata/ingress-paths.json`):
/// it decodes, ends the path before a `?`, and decodes again; where that fails it answers 400.
#[tokio::test]
async fn the_path_is_decoded_as_by_api_gateway() {
    let gateway = Gateway::with(Script::Echo).await;
    let mut client = gateway.client().await;
    for (sent, seen) in [
        ("/files/plain", Some("/files/plain")),
        ("/files/a%20b", Some("/files/a b")),
        ("/files/a+b", Some("/files/a+b")),
        ("/files/why%3Fnot", Some("/files/why")),
        ("/files/no%23tag", Some("/files/no#tag")),
        ("/files/up%2Fdown", Some("/files/up/down")),
        ("/files/%CE%BB-%E4%B8%96", Some("/files/λ-世")),
        ("/files/up%252Fdown", Some("/files/up/down")),
        ("/files/why%253Fnot", Some("/files/why?not")),
        ("/files/100%2525", Some("/files/100%")),
        ("/files/100%25", None),
        ("/files/100%", None),
        ("/files/%zz", None),
        ("/files/%4", None),
    ] {
        client.send(get(&format!("{sent}?q=%3F"))).await;
        let answer = client.answer().await;
        match seen {
            Some(seen) => {
                let event = answer.json();
                assert_eq!(event["rawPath"], seen, "{sent}");
                assert_eq!(event["requestContext"]["http"]["path"], seen, "{sent}");
                assert_eq!(event["rawQueryString"], "q=%3F", "{sent}");
            }
            None => {
                assert_eq!(
                    (answer.status, answer.json()),
                    (400, json!({"message": "Bad Request"})),
                    "{sent}"
                );
                assert!(answer.header("x-hikigane-reason").unwrap().contains("%2525"), "{sent}");
            }
        }
    }
}

#[tokio::test]
async fn the_domain_is_the_host_without_its_port() {
    for (request, name, prefix) in [
        (
            "GET / HTTP/1.1\r\nhost: localhost:8080\r\n\r\n",
            "localhost",
            "localhost",
        ),
        ("GET / HTTP/1.1\r\nhost: a.b.c\r\n\r\n", "a.b.c", "a"),
        ("GET / HTTP/1.1\r\nhost: 127.0.0.1:1\r\n\r\n", "127.0.0.1", "127.0.0.1"),
        ("GET / HTTP/1.1\r\nhost: [::1]:1\r\n\r\n", "[::1]", "[::1]"),
        (
            "GET http://real.test:81/ HTTP/1.1\r\nhost: other.test\r\n\r\n",
            "real.test",
            "real",
        ),
        ("GET / HTTP/1.0\r\n\r\n", "127.0.0.1", "127.0.0.1"),
    ] {
        let event = event_of("$default", request).await;
        assert_eq!(event["requestContext"]["domainName"], name, "{request}");
        assert_eq!(event["requestContext"]["domainPrefix"], prefix, "{request}");
        assert_eq!(event["rawPath"], "/", "{request}");
        let protocol = event["requestContext"]["http"]["protocol"].as_str().unwrap();
        assert!(request.contains(protocol), "{request}: {protocol}");
    }
    let event = event_of(
        "$default",
        "GET http://real.test:81/ HTTP/1.1\r\nhost: other.test\r\n\r\n",
    )
    .await;
    assert_eq!(event["headers"]["host"], "real.test:81");
}

#[tokio::test]
async fn a_header_that_is_not_utf8_is_latin_1() {
    let request = b"GET / HTTP/1.1\r\nhost: h\r\nx-a: caf\xe9\r\nx-b: caf\xc3\xa9\r\nx-c: a\tb\\\r\n\r\n";
    let event = event_of("$default", request).await;
    assert_eq!(event["headers"]["x-a"], "café");
    assert_eq!(event["headers"]["x-b"], "café");
    assert_eq!(event["headers"]["x-c"], "a\tb\\");
}

#[tokio::test]
async fn binding_time_and_trace_go_with_the_event() {
    let bindings = vec![
        binding("f/sync", json!("GET /s"), None),
        binding("g/async", json!("GET /a"), Some(InvokeMode::Sync)),
    ];
    let gateway = Gateway::start(bindings, Script::Echo, Bounds::default()).await;
    gateway
        .ask("GET /s HTTP/1.1\r\nhost: h\r\nx-amzn-trace-id: Root=1-2-3;Sampled=1\r\n\r\n")
        .await;
    gateway.ask(get("/a")).await;
    let seen = gateway.router.seen.lock().unwrap();
    let facts: Vec<_> = seen
        .iter()
        .map(|(id, event)| (id.as_str(), event.time.timestamp()))
        .collect();
    assert_eq!(facts, [("f/sync", 1_584_039_838), ("g/async", 1_584_039_838)]);
    // The function sees the trace that goes with its event, the client's or one that the gateway begins.
    assert_eq!(seen[0].1.trace.as_deref(), Some("Root=1-2-3;Sampled=1"));
    assert!(seen[1].1.trace.as_deref().unwrap().starts_with("Root=1-"));
    for (_, event) in seen.iter() {
        let payload: Value = serde_json::from_slice(&event.payload).unwrap();
        assert_eq!(payload["headers"]["x-amzn-trace-id"].as_str(), event.trace.as_deref());
    }
    assert!(seen.iter().all(|(_, event)| event.group.is_none()));
}
