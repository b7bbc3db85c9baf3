//! The response that a function's result makes.

use hikigane_model::{CrashReason, FunctionError, Outcome, ThrottleReason};
use hikigane_trigger::CallError;
use serde_json::{Value, json};

use super::{Bounds, Client, Gateway, Script, binding, get, post};

const INTERNAL: &str = r#"{"message":"Internal Server Error"}"#;

/// Makes the function return `result` and reads the response.
async fn answer_of(client: &mut Client, result: &str) -> super::Answer {
    client.send(post("/", "text/plain", result)).await;
    client.answer().await
}

#[tokio::test]
async fn results_become_responses() {
    let gateway = Gateway::with(Script::ReturnBody).await;
    let client = &mut gateway.client().await;
    const JSON: Option<&str> = Some("application/json");
    const TEXT: Option<&str> = Some("text/plain; charset=utf-8");
    for (result, status, content_type, body) in [
        // Without `statusCode` the result is the body.
        (r#"{"hello":"world"}"#, 200, JSON, r#"{"hello":"world"}"#),
        (r#""hello""#, 200, JSON, "hello"),
        (r#""say \"h\u00e9\"""#, 200, JSON, "say \"hé\""),
        (r#""""#, 200, JSON, ""),
        ("3", 200, JSON, "3"),
        ("true", 200, JSON, "true"),
        ("null", 200, JSON, "null"),
        ("[1,{}]", 200, JSON, "[1,{}]"),
        ("{}", 200, JSON, "{}"),
        (
            r#"{"body":5,"headers":[[1]],"cookies":{"a":{}}}"#,
            200,
            JSON,
            r#"{"body":5,"headers":[[1]],"cookies":{"a":{}}}"#,
        ),
        (
            r#"{"body":"x","headers":{"x":"y"}}"#,
            200,
            JSON,
            r#"{"body":"x","headers":{"x":"y"}}"#,
        ),
        (r#" {"a":1} "#, 200, JSON, r#" {"a":1} "#),
        // With it, the result describes the response.
        (r#"{"statusCode":200}"#, 200, TEXT, ""),
        (r#"{"statusCode":201,"body":"made"}"#, 201, TEXT, "made"),
        (r#"{"statusCode":200,"body":"a\nb \ud83d\ude00"}"#, 200, TEXT, "a\nb 😀"),
        (r#"{"statusCode":"404","body":"no"}"#, 404, TEXT, "no"),
        (r#"{"statusCode":599}"#, 599, TEXT, ""),
        (
            r#"{"statusCode":200,"body":null,"headers":null,"cookies":null,"isBase64Encoded":null}"#,
            200,
            TEXT,
            "",
        ),
        (
            r#"{"statusCode":200,"body":"aGVsbG8=","isBase64Encoded":true}"#,
            200,
            TEXT,
            "hello",
        ),
        (
            r#"{"statusCode":200,"body":"aGVsbG8=","isBase64Encoded":false}"#,
            200,
            TEXT,
            "aGVsbG8=",
        ),
        (
            r#"{"statusCode":200,"headers":{"Content-Type":"text/html"},"body":"<p>"}"#,
            200,
            Some("text/html"),
            "<p>",
        ),
        (
            r#"{"statusCode":200,"body":"x","unknown":{"deep":[[{}]]}}"#,
            200,
            TEXT,
            "x",
        ),
        (r#"{"statusCode":204,"body":"dropped"}"#, 204, None, ""),
        (r#"{"statusCode":304}"#, 304, None, ""),
        // What describes no legal response is an error of the function.
        (r#"{"statusCode":null,"body":"x"}"#, 500, JSON, INTERNAL),
        (r#"{"statusCode":0}"#, 500, JSON, INTERNAL),
        (r#"{"statusCode":99}"#, 500, JSON, INTERNAL),
        (r#"{"statusCode":101}"#, 500, JSON, INTERNAL),
        (r#"{"statusCode":600}"#, 500, JSON, INTERNAL),
        (r#"{"statusCode":65736}"#, 500, JSON, INTERNAL),
        (r#"{"statusCode":-200}"#, 500, JSON, INTERNAL),
        (r#"{"statusCode":200.5}"#, 500, JSON, INTERNAL),
        (r#"{"statusCode":"OK"}"#, 500, JSON, INTERNAL),
        (r#"{"statusCode":"+200"}"#, 500, JSON, INTERNAL),
        (r#"{"statusCode":""}"#, 500, JSON, INTERNAL),
        (r#"{"statusCode":true}"#, 500, JSON, INTERNAL),
        (r#"{"statusCode":[200]}"#, 500, JSON, INTERNAL),
        (r#"{"statusCode":200,"body":{"a":1}}"#, 500, JSON, INTERNAL),
        (r#"{"statusCode":200,"body":1}"#, 500, JSON, INTERNAL),
        (
            r#"{"statusCode":200,"body":"%%","isBase64Encoded":true}"#,
            500,
            JSON,
            INTERNAL,
        ),
        (r#"{"statusCode":200,"isBase64Encoded":"true"}"#, 500, JSON, INTERNAL),
        (r#"{"statusCode":200,"headers":[]}"#, 500, JSON, INTERNAL),
        (r#"{"statusCode":200,"headers":{"a":["b"]}}"#, 500, JSON, INTERNAL),
        (r#"{"statusCode":200,"headers":{"a":{}}}"#, 500, JSON, INTERNAL),
        (
            r#"{"statusCode":200,"headers":{"a":"b\r\nset-cookie: c=d"}}"#,
            500,
            JSON,
            INTERNAL,
        ),
        (r#"{"statusCode":200,"headers":{"a":"b\nc"}}"#, 500, JSON, INTERNAL),
        (r#"{"statusCode":200,"headers":{"a":"b\u0000"}}"#, 500, JSON, INTERNAL),
        (r#"{"statusCode":200,"headers":{"a\r\nb":"c"}}"#, 500, JSON, INTERNAL),
        (r#"{"statusCode":200,"headers":{"a b":"c"}}"#, 500, JSON, INTERNAL),
        (r#"{"statusCode":200,"headers":{"":"c"}}"#, 500, JSON, INTERNAL),
        (
            r#"{"statusCode":200,"headers":{"connection":"x\r\ny"}}"#,
            500,
            JSON,
            INTERNAL,
        ),
        (r#"{"statusCode":200,"cookies":"a=b"}"#, 500, JSON, INTERNAL),
        (r#"{"statusCode":200,"cookies":[1]}"#, 500, JSON, INTERNAL),
        (r#"{"statusCode":200,"cookies":["a=b\r\nc: d"]}"#, 500, JSON, INTERNAL),
        (r#"{"statusCode":200"#, 500, JSON, INTERNAL),
        (r#"{"statusCode":200} {}"#, 500, JSON, INTERNAL),
        (r#""open"#, 500, JSON, INTERNAL),
        ("[1", 500, JSON, INTERNAL),
        ("nonsense", 500, JSON, INTERNAL),
        ("", 500, JSON, INTERNAL),
    ] {
        let answer = answer_of(client, result).await;
        let found = (answer.status, answer.header("content-type"), answer.text());
        assert_eq!(found, (status, content_type, body), "{result}");
        assert_eq!(answer.header("x-hikigane-reason").is_some(), status == 500, "{result}");
        assert!(
            answer.header("date").is_some() && answer.header("apigw-requestid").is_some(),
            "{result}"
        );
        let length = answer.header("content-length").map(str::to_owned);
        let expected = body.len().to_string();
        assert!(
            length.is_none() || length.as_ref() == Some(&expected),
            "{result}: {length:?}"
        );
        assert_eq!(length.is_none(), matches!(status, 204 | 304), "{result}");
    }
}

#[tokio::test]
async fn headers_and_cookies_are_written() {
    let gateway = Gateway::with(Script::ReturnBody).await;
    let result = json!({
        "statusCode": 200,
        "headers": {
            "X-Text": "a, b", "x-number": 12, "x-float": 1.5, "x-yes": true, "x-no": false, "x-none": null, "x-utf8": "é",
            "x-empty": "", "x-same": "1", "X-Same": "2", "Set-Cookie": "first=1",
            // The gateway's own.
            "Content-Length": "999", "Transfer-Encoding": "chunked", "Connection": "close", "Keep-Alive": "x",
            "Upgrade": "h2c", "apigw-requestid": "mine",
        },
        "cookies": ["a=1; HttpOnly", "b=2"],
        "multiValueHeaders": {"x-multi": ["1"]},
        "body": "ok",
    });
    let client = &mut gateway.client().await;
    let answer = answer_of(client, &result.to_string()).await;
    for (name, expected) in [
        ("x-text", vec!["a, b"]),
        ("x-number", vec!["12"]),
        ("x-float", vec!["1.5"]),
        ("x-yes", vec!["true"]),
        ("x-no", vec!["false"]),
        ("x-none", vec![]),
        ("x-utf8", vec!["é"]),
        ("x-empty", vec![""]),
        ("x-same", vec!["1", "2"]),
        ("x-multi", vec![]),
        ("set-cookie", vec!["first=1", "a=1; HttpOnly", "b=2"]),
        ("content-length", vec!["2"]),
        ("transfer-encoding", vec![]),
        ("connection", vec![]),
        ("keep-alive", vec![]),
        ("upgrade", vec![]),
    ] {
        assert_eq!(answer.all(name), expected, "{name}");
    }
    assert_eq!(answer.all("apigw-requestid").len(), 1);
    assert_ne!(answer.header("apigw-requestid"), Some("mine"));
    assert_eq!(answer.text(), "ok");
    // The connection lives on.
    assert_eq!(answer_of(client, "1").await.text(), "1");
}

#[tokio::test]
async fn a_response_to_head_has_no_body() {
    let result = r#"{"statusCode":200,"headers":{"content-type":"text/css"},"body":"12345"}"#;
    let gateway = Gateway::with(Script::Outcome(Outcome::Returned(result.into()))).await;
    let mut client = gateway.client().await;
    client.send("HEAD / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let head = client.head().await.unwrap();
    assert_eq!(
        (head.status, head.header("content-length"), head.header("content-type")),
        (200, Some("5"), Some("text/css"))
    );
    client.send(get("/")).await;
    assert_eq!(client.answer().await.text(), "12345");
}

#[tokio::test]
async fn every_outcome_has_its_status() {
    let function_error = FunctionError {
        error_type: "Error".into(),
        json: r#"{"errorMessage":"secret"}"#.into(),
    };
    let throttled = |reason| Script::Outcome(Outcome::Throttled(reason));
    for (script, status, message) in [
        (
            Script::Outcome(Outcome::Failed(function_error)),
            500,
            "Internal Server Error",
        ),
        (
            Script::Outcome(Outcome::TimedOut(std::time::Duration::from_secs(3))),
            500,
            "Internal Server Error",
        ),
        (
            Script::Outcome(Outcome::Crashed(CrashReason::OutOfMemory)),
            500,
            "Internal Server Error",
        ),
        (
            throttled(ThrottleReason::ConcurrentInvocationLimitExceeded),
            429,
            "Too Many Requests",
        ),
        (
            throttled(ThrottleReason::ReservedFunctionConcurrentInvocationLimitExceeded),
            429,
            "Too Many Requests",
        ),
        (Script::CallError(CallError::Filtered), 404, "Not Found"),
        (
            Script::CallError(CallError::TooLarge { size: 2, limit: 1 }),
            413,
            "Request Entity Too Large",
        ),
    ] {
        let gateway = Gateway::with(script).await;
        let answer = gateway.ask(get("/")).await;
        assert_eq!((answer.status, answer.json()), (status, json!({"message": message})));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert!(answer.header("apigw-requestid").is_some());
    }
    let gateway = Gateway::with(Script::CallError(CallError::Refused("the server is stopping".into()))).await;
    let answer = gateway.ask(get("/")).await;
    let expected = json!({"message": "Service Unavailable", "reason": "the server is stopping"});
    assert_eq!((answer.status, answer.json()), (503, expected));
}

#[tokio::test]
async fn without_a_route_nothing_is_found() {
    let gateway = Gateway::start(
        vec![binding("f/b", json!("GET /a"), None)],
        Script::Echo,
        Bounds::default(),
    )
    .await;
    let mut client = gateway.client().await;
    for (request, status) in [
        (get("/a"), 200),
        (get("/b"), 404),
        (get("/A"), 404),
        (post("/a", "text/plain", "body"), 404),
        (get("/a?x=/b"), 200),
    ] {
        client.send(&request).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, status, "{request}");
        if status == 404 {
            assert_eq!(answer.json(), json!({"message": "Not Found"}));
        }
    }
    assert_eq!(gateway.seen(), 2);
    let none = Gateway::start(Vec::new(), Script::Echo, Bounds::default()).await;
    assert_eq!(none.ask(get("/")).await.status, 404);
}

#[tokio::test]
async fn a_long_result_comes_whole() {
    let gateway = Gateway::with(Script::ReturnBody).await;
    let text = "0123456789abcdef".repeat(60_000);
    let result = json!({"statusCode": 200, "body": text}).to_string();
    let client = &mut gateway.client().await;
    let answer = answer_of(client, &result).await;
    assert!(answer.text() == text);
    let answer = answer_of(client, &Value::from(text.clone()).to_string()).await;
    assert!(answer.text() == text);
}
