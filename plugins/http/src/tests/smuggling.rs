//! Requests whose end two readers could see in two places: a second request must not get through behind the first.

use super::{Gateway, Script, get};

const CHUNKED: &str = "transfer-encoding: chunked";

/// Sends a request for `/first`, and in the same piece one for `/smuggled` behind it. The first is refused or answered, and the connection ends:
/// nobody sees the second.
async fn check(gateway: &Gateway, name: &str, first: &str) {
    let mut client = gateway.client().await;
    client.send(format!("{first}{}", get("/smuggled"))).await;
    // The connection may also be closed without a word.
    let status = client.try_answer().await.map_or(400, |answer| answer.status);
    assert!([200, 400, 405].contains(&status), "{name}: {status}");
    assert!(client.is_closed().await, "{name}: the connection goes on");
    for (_, event) in gateway.router.seen.lock().unwrap().drain(..) {
        let event: serde_json::Value = serde_json::from_slice(&event.payload).unwrap();
        assert_eq!(event["rawPath"], "/first", "{name}");
    }
}

fn post(headers: &str, body: &str) -> String {
    format!("POST /first HTTP/1.1\r\nhost: h\r\n{headers}\r\n\r\n{body}")
}

#[tokio::test]
async fn a_length_is_one_number() {
    let gateway = Gateway::with(Script::Echo).await;
    for length in [
        "content-length: 0\r\ncontent-length: 40",
        "content-length: 0\r\nContent-Length: 0\r\nCONTENT-LENGTH: 1",
        "content-length: 0, 40",
        "content-length: 0, 0",
        "content-length: +0",
        "content-length: -1",
        "content-length: 0x0",
        "content-length: 0.0",
        "content-length: 0e1",
        "content-length: 0_0",
        "content-length: 0 0",
        "content-length: 0;0",
        "content-length: \"0\"",
        "content-length:",
        "content-length: ,",
        "content-length: 99999999999999999999999",
        "content-length: 18446744073709551616",
        "content-length: \x0b0",
        "content-length: 0\x0c",
        "content-length: 0\0",
        "content-length : 0",
        "content-length\t: 0",
        " content-length: 0",
        "content-length:\r\n 0",
    ] {
        check(&gateway, length, &post(length, "")).await;
    }
}

#[tokio::test]
async fn chunked_stands_once_and_alone() {
    let gateway = Gateway::with(Script::Echo).await;
    for coding in [
        "content-length: 5\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 5",
        "content-length: 0\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: identity, chunked",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: chunked, chunked",
        "transfer-encoding: ,chunked",
        "transfer-encoding: chunked,",
        "transfer-encoding: chunked;q=1",
        "transfer-encoding: identity",
        "transfer-encoding: xchunked",
        "transfer-encoding: chunkedx",
        "transfer-encoding: \"chunked\"",
        "transfer-encoding:",
        "transfer-encoding: \x0bchunked",
        "transfer-encoding: chunked\x0b",
        "transfer-encoding: chunked\0",
        "transfer-encoding: chunked\r\ntransfer-encoding: cow",
        "transfer-encoding: cow\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "transfer-encoding: identity\r\ntransfer-encoding: chunked",
        "transfer-encoding : chunked",
        " transfer-encoding: chunked",
        "transfer-encoding:\r\n chunked",
        "transfer-encoding:\r\n\tchunked",
        "transfer-encoding: chunked\rx: y",
    ] {
        check(&gateway, coding, &post(coding, "0\r\n\r\n")).await;
    }
    for version in [
        "HTTP/1.0\r\nhost: h\r\n",
        "HTTP/1.0\r\nconnection: keep-alive\r\ncontent-length: 5\r\n",
    ] {
        let request = format!("POST /first {version}{CHUNKED}\r\n\r\n0\r\n\r\n");
        check(&gateway, version, &request).await;
    }
}

#[tokio::test]
async fn chunks_have_one_end() {
    let gateway = Gateway::with(Script::Echo).await;
    for body in [
        "zz\r\n\r\n",
        "0x0\r\n\r\n",
        "-1\r\n\r\n",
        "+0\r\n\r\n",
        " 0\r\n\r\n",
        "\r\n\r\n",
        "fffffffffffffffff\r\n",
        "1\r\naXX0\r\n\r\n",
        "1\na\r\n0\r\n\r\n",
        "1\r\na\n0\r\n\r\n",
        "0\n\n",
        "0\r\r",
        "0\r\n",
        "1;a\nb\r\na\r\n0\r\n\r\n",
        "1;a\rb\r\na\r\n0\r\n\r\n",
        "1;a=\"\r\n\"\r\na\r\n0\r\n\r\n",
        "0\r\nno trailer\r\n\r\n",
    ] {
        check(&gateway, body, &post(CHUNKED, body)).await;
    }
    check(
        &gateway,
        "a long extension",
        &post(CHUNKED, &format!("1;{}\r\na\r\n0\r\n\r\n", "a".repeat(20_000))),
    )
    .await;
    check(
        &gateway,
        "many trailers",
        &post(CHUNKED, &format!("0\r\n{}\r\n", "a: b\r\n".repeat(20_000))),
    )
    .await;
}

#[tokio::test]
async fn a_head_is_lines_of_names_and_values() {
    let gateway = Gateway::with(Script::Echo).await;
    for header in [
        "x: a\r\n b: c",
        "nonsense",
        ": x",
        "x: a\0b",
        "x: a\rb",
        "host: other",
        "host : h",
    ] {
        check(&gateway, header, &post(header, "")).await;
    }
    for request in [
        "POST /first HTTP/1.1\r\n x: y\r\nhost: h\r\n\r\n",
        "POST /first HTTP/1.1\r\nhost: h\r\n\r",
        "POST /first HTTP/1.1\rhost: h\r\r",
        "POST  /first HTTP/1.1\r\nhost: h\r\n\r\n",
        "POST\t/first\tHTTP/1.1\r\nhost: h\r\n\r\n",
        "POST /first x HTTP/1.1\r\nhost: h\r\n\r\n",
        "PO\nST /first HTTP/1.1\r\nhost: h\r\n\r\n",
        "POST /first HTTP/1.2\r\nhost: h\r\n\r\n",
        "POST /first http/1.1\r\nhost: h\r\n\r\n",
        "GET /first\r\n",
        "CONNECT h:80 HTTP/1.1\r\nhost: h:80\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        check(&gateway, request, request).await;
    }
}

/// These have one end for everybody: two requests, each answered, the first with its whole body.
#[tokio::test]
async fn what_is_framed_beyond_doubt_is_followed_by_the_next_request() {
    let gateway = Gateway::with(Script::Echo).await;
    for (first, body) in [
        (post("content-length: 1\r\ncontent-type: text/plain", "a"), Some("a")),
        (
            post(
                "content-type: text/plain\r\nTransfer-Encoding: Chunked",
                "1\r\na\r\n0\r\n\r\n",
            ),
            Some("a"),
        ),
        (
            post(
                "content-type: text/plain\r\ntransfer-encoding: chunked",
                "01;x=y\r\na\r\n000\r\n\r\n",
            ),
            Some("a"),
        ),
        (
            post(
                "content-type: text/plain\r\ntransfer-encoding: chunked",
                "1\r\na\r\n0\r\ncontent-length: 50\r\n\r\n",
            ),
            Some("a"),
        ),
        (
            post(
                "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AA\r\ncontent-length: 0",
                "",
            ),
            None,
        ),
        (
            post("connection: upgrade\r\nupgrade: websocket\r\ncontent-length: 0", ""),
            None,
        ),
        (
            "GET /first HTTP/1.1\r\nhost: h\r\ncontent-type: text/plain\r\ncontent-length: 10\r\n\r\n0123456789".into(),
            Some("0123456789"),
        ),
        (
            "\r\n\r\nPOST /first HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n".into(),
            None,
        ),
        // The same length twice is one length (RFC 9112, section 6.3).
        (
            post(
                "content-type: text/plain\r\ncontent-length: 1\r\ncontent-length: 1",
                "a",
            ),
            Some("a"),
        ),
        // A line may end with a line feed alone (RFC 9112, section 2.2).
        ("POST /first HTTP/1.1\nhost: h\ncontent-length: 0\n\n".into(), None),
    ] {
        let mut client = gateway.client().await;
        client.send(format!("{first}{}", get("/second"))).await;
        let (one, two) = (client.answer().await.json(), client.answer().await.json());
        assert_eq!(
            (&one["rawPath"], one["body"].as_str()),
            (&"/first".into(), body),
            "{first}"
        );
        assert_eq!(two["rawPath"], "/second", "{first}");
    }
}
