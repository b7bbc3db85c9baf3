//! Answers that go to the caller of a URL as the function writes them.

use axum::body::{Body, Bytes};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use futures_util::stream;
use hikigane_router::Streaming;
use hikigane_trigger::proxy;

use super::function_failed;

/// The content type that says that a prelude comes first (npm aws-lambda-ric, `HttpResponseStream`).
const PRELUDE: &str = "application/vnd.awslambda.http-integration-response";
/// The content type of a response whose prelude names none: the one of a handler that sets none (npm aws-lambda-ric).
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");
/// What ends a prelude.
const END: [u8; 8] = [0; 8];
/// The largest prelude; status and headers are small.
const LARGEST: usize = 64 * 1024;

/// The response, once the function has begun to answer.
pub async fn response(mut streaming: Streaming) -> Response {
    let first = streaming.next().await;
    if first.is_none() && streaming.content_type != PRELUDE {
        // Ended without a byte: either it failed, or it had nothing to say.
        let content_type = streaming.content_type.clone();
        return match streaming.end().await {
            Ok(invoked) if invoked.report.outcome.is_success() => whole(&content_type, Body::empty()),
            _ => function_failed(),
        };
    }
    if streaming.content_type != PRELUDE {
        let content_type = streaming.content_type.clone();
        return whole(&content_type, rest(first, streaming));
    }
    match split(first, &mut streaming).await {
        Some((prelude, first)) => match proxy::head(&prelude, BYTES) {
            Ok(head) => head.map(|()| rest(Some(first), streaming)),
            Err(_) => function_failed(),
        },
        None => function_failed(),
    }
}

/// The prelude, and what came with it of the body. `None` when it does not end.
async fn split(mut next: Option<Bytes>, streaming: &mut Streaming) -> Option<(Vec<u8>, Bytes)> {
    let mut begun = Vec::new();
    loop {
        let searched = begun.len().saturating_sub(END.len());
        begun.extend_from_slice(&next?);
        if let Some(at) = begun[searched..].windows(END.len()).position(|window| window == END) {
            let body = Bytes::copy_from_slice(&begun[searched + at + END.len()..]);
            begun.truncate(searched + at);
            return Some((begun, body));
        }
        if begun.len() > LARGEST {
            return None;
        }
        next = streaming.next().await;
    }
}

fn whole(content_type: &str, body: Body) -> Response {
    let mut response = Response::new(body);
    let content_type = HeaderValue::from_str(content_type).unwrap_or(BYTES);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// The rest of the body. When the function fails on the way, the connection breaks off: the caller must not take a part for the whole.
fn rest(first: Option<Bytes>, streaming: Streaming) -> Body {
    let first = first.filter(|bytes| !bytes.is_empty());
    Body::from_stream(stream::unfold(
        (first, Some(streaming)),
        |(first, streaming)| async move {
            let mut streaming = streaming?;
            if let Some(bytes) = first {
                return Some((Ok(bytes), (None, Some(streaming))));
            }
            if let Some(bytes) = streaming.next().await {
                return Some((Ok(bytes), (None, Some(streaming))));
            }
            match streaming.end().await {
                Ok(invoked) if invoked.report.outcome.is_success() => None,
                _ => Some((Err(BrokenOff), (None, None))),
            }
        },
    ))
}

/// Why a body ends before its end.
#[derive(Debug, thiserror::Error)]
#[error("the function failed while it was answering")]
struct BrokenOff;
