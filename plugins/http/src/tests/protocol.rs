//! HTTP/1.1 as bytes: framing, smuggling, limits.

use std::time::Duration;

use hikigane_model::limits::SYNC_PAYLOAD;
use serde_json::json;

use super::{Bounds, Gateway, Script, binding, get, post};

#[tokio::test]
async fn what_is_no_request_for_the_gateway_is_refused() {
    let gateway = Gateway::with(Script::Echo).await;
    for (request, statuses) in [
        ("nonsense\r\n\r\n", &[400][..]),
        ("GET / HTTP/1.1\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nhost:\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nhost: a b\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nhost: a/b\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nhost: user@h\r\n\r\n", &[400]),
        ("GET http://user@h/ HTTP/1.1\r\nhost: h\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nhost: hé\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nhost: h\r\nhost: h\r\n\r\n", &[400]),
        ("OPTIONS * HTTP/1.1\r\nhost: h\r\n\r\n", &[400]),
        ("GET noslash HTTP/1.1\r\nhost: h\r\n\r\n", &[400]),
        ("CONNECT h:443 HTTP/1.1\r\nhost: h:443\r\n\r\n", &[405]),
        ("TRACE / HTTP/1.1\r\nhost: h\r\n\r\n", &[405]),
        ("BREW / HTTP/1.1\r\nhost: h\r\n\r\n", &[405]),
        ("get / HTTP/1.1\r\nhost: h\r\n\r\n", &[405]),
        ("GET / HTTP/2.0\r\nhost: h\r\n\r\n", &[400, 505]),
        ("GET / HTTP/1.2\r\nhost: h\r\n\r\n", &[400, 505]),
        ("GET  / HTTP/1.1\r\nhost: h\r\n\r\n", &[400]),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[400, 505, 0]),
        ("\x16\x03\x01\x02\0\x01\0\x01\u{fc}\r\n\r\n", &[400]),
    ] {
        let mut client = gateway.client().await;
        client.send(request).await;
        let status = client.try_answer().await.map_or(0, |answer| answer.status);
        assert!(statuses.contains(&status), "{request:?}: {status}");
    }
    assert_eq!(gateway.seen(), 0);
}

#[tokio::test]
async fn an_upgrade_is_an_ordinary_request() {
    let gateway = Gateway::with(Script::Echo).await;
    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.1\r\nhost: h\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AA\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 200);
    assert!(answer.json()["headers"].get("upgrade").is_none());
    client.send(get("/again")).await;
    assert_eq!(client.answer().await.json()["rawPath"], "/again");
}

#[tokio::test]
async fn requests_in_one_piece_are_answered_in_order() {
    let gateway = Gateway::with(Script::Echo).await;
    let mut client = gateway.client().await;
    let mut pipeline = String::new();
    for i in 0..20 {
        pipeline += &get(&format!("/get/{i}"));
        pipeline += &post(&format!("/post/{i}"), "text/plain", &format!("body {i}"));
    }
    client.send(pipeline).await;
    for i in 0..20 {
        assert_eq!(client.answer().await.json()["rawPath"], format!("/get/{i}"));
        assert_eq!(client.answer().await.json()["body"], format!("body {i}"));
    }
}

#[tokio::test]
async fn a_thousand_requests_over_sixteen_connections() {
    let bindings = vec![binding("f/b", json!("POST /items/{id}"), None)];
    let gateway = Gateway::start(bindings, Script::Echo, Bounds::default()).await;
    let mut tasks = tokio::task::JoinSet::new();
    for connection in 0..16 {
        let mut client = gateway.client().await;
        tasks.spawn(async move {
            for i in 0..63 {
                let id = format!("{connection}-{i}");
                client
                    .send(post(
                        &format!("/items/{id}"),
                        "application/json",
                        &json!({"id": id}).to_string(),
                    ))
                    .await;
                let answer = client.answer().await;
                assert_eq!(answer.status, 200);
                assert_eq!(answer.json()["pathParameters"]["id"], id);
                assert_eq!(answer.json()["body"], json!({"id": id}).to_string());
            }
        });
    }
    while let Some(result) = tasks.join_next().await {
        result.unwrap();
    }
    assert_eq!(gateway.seen(), 16 * 63);
}

#[tokio::test]
async fn keep_alive_follows_the_client() {
    let gateway = Gateway::with(Script::Echo).await;
    for (request, stays) in [
        (get("/"), true),
        ("GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n".into(), false),
        ("GET / HTTP/1.0\r\n\r\n".into(), false),
        ("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n".into(), true),
    ] {
        let mut client = gateway.client().await;
        client.send(&request).await;
        assert_eq!(client.answer().await.status, 200, "{request}");
        if stays {
            client.send(get("/again")).await;
            assert_eq!(client.answer().await.status, 200, "{request}");
        } else {
            assert!(client.is_closed().await, "{request}");
        }
    }
}

#[tokio::test]
async fn a_client_that_expects_it_is_told_to_continue() {
    let gateway = Gateway::with(Script::Echo).await;
    let mut client = gateway.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: h\r\ncontent-type: text/plain\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n")
        .await;
    assert_eq!(client.head().await.unwrap().status, 100);
    client.send("hello").await;
    let event = client.answer().await.json();
    assert_eq!(event["body"], "hello");
    assert!(event["headers"].get("expect").is_none());
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let gateway = Gateway::with(Script::Echo).await;
    let too_long = SYNC_PAYLOAD + 1;
    // Asked first, the gateway does not want it.
    let mut client = gateway.client().await;
    client
        .send(format!(
            "POST / HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: {too_long}\r\n\r\n"
        ))
        .await;
    assert_eq!(client.answer().await.status, 413);
    assert!(client.is_closed().await);
    // Not asked, it reads on, so that the client gets to read the answer.
    let mut client = gateway.client().await;
    client
        .send(format!(
            "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: {too_long}\r\n\r\n"
        ))
        .await;
    client.send(vec![b'x'; too_long]).await;
    let answer = client.answer().await;
    assert_eq!(
        (answer.status, answer.json()),
        (413, json!({"message": "Request Entity Too Large"}))
    );
    assert!(client.is_closed().await);
    // A chunked body says no length.
    let mut client = gateway.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    for _ in 0..=(SYNC_PAYLOAD / 0x10_0000) {
        client.send("100000\r\n").await;
        client.send(vec![b'x'; 0x10_0000]).await;
        client.send("\r\n").await;
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 413);
    assert_eq!(gateway.seen(), 0);
    // The limit itself is within.
    let mut client = gateway.client().await;
    client
        .send(format!(
            "POST / HTTP/1.1\r\nhost: h\r\ncontent-type: text/plain\r\ncontent-length: {SYNC_PAYLOAD}\r\n\r\n"
        ))
        .await;
    client.send(vec![b'x'; SYNC_PAYLOAD]).await;
    assert_eq!(
        client.answer().await.json()["body"].as_str().unwrap().len(),
        SYNC_PAYLOAD
    );
}

#[tokio::test]
async fn headers_over_the_limit_are_refused() {
    let gateway = Gateway::with(Script::Echo).await;
    for (name, head, status) in [
        ("one long header", format!("x: {}", "y".repeat(11_000)), 431),
        ("a header without an end", format!("x: {}", "y".repeat(300_000)), 431),
        ("many headers", "x: y\r\n".repeat(101) + "z: z", 431),
        ("not quite too long", format!("x: {}", "y".repeat(9_000)), 200),
    ] {
        let mut client = gateway.client().await;
        // The gateway may answer and close before all of it is sent.
        let request = format!("GET / HTTP/1.1\r\nhost: h\r\n{head}\r\n\r\n");
        let _ = super::soon(tokio::io::AsyncWriteExt::write_all(
            &mut client.stream,
            request.as_bytes(),
        ))
        .await;
        match client.try_answer().await {
            Some(answer) => assert_eq!(answer.status, status, "{name}"),
            // The answer was lost to the reset that unread bytes cause.
            None => assert!(request.len() > 65_536, "{name}"),
        }
    }
    assert_eq!(gateway.ask(get(&format!("/{}", "p".repeat(11_000)))).await.status, 431);
}

#[tokio::test]
async fn a_slow_head_ends_the_connection_and_a_slow_body_gets_408() {
    let quick = Duration::from_millis(60);
    let start =
        async |bounds| Gateway::start(vec![binding("f/b", json!("$default"), None)], Script::Echo, bounds).await;
    let gateway = start(Bounds::listening(|bounds| bounds.head_time = quick)).await;
    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.1\r\nhost: h\r\nx:").await;
    let answer = client.try_answer().await;
    assert!(answer.is_none_or(|answer| answer.status == 408));
    assert!(client.is_closed().await);
    assert_eq!(gateway.seen(), 0);

    let gateway = start(Bounds {
        body_time: quick,
        ..Bounds::default()
    })
    .await;
    let mut client = gateway.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nhell")
        .await;
    let answer = client.answer().await;
    assert_eq!(
        (answer.status, answer.json()),
        (408, json!({"message": "Request Timeout"}))
    );
    assert!(client.is_closed().await);
    assert_eq!(gateway.seen(), 0);
}

#[tokio::test]
async fn a_request_in_small_pieces_is_one_request() {
    let gateway = Gateway::with(Script::Echo).await;
    let mut client = gateway.client().await;
    for byte in post("/p?q=1", "text/plain", "body").as_bytes() {
        client.send([*byte]).await;
    }
    let event = client.answer().await.json();
    assert_eq!((&event["rawPath"], &event["body"]), (&json!("/p"), &json!("body")));
}
