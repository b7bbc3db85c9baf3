//! Lambda's InvokeWithResponseStream.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::stream;
use hikigane_model::RequestId;
use hikigane_router::{InvokeError, Invoked, Streaming};
use serde_json::{Map, Value};

use crate::Endpoint;
use crate::error::{ApiError, REQUEST_ID};
use crate::event_stream::{self, event};
use crate::invoke::{self, Asked, EXECUTED_VERSION};

/// `POST /2021-11-15/functions/{F}/response-streaming-invocations`: RequestResponse (200) and DryRun (204).
///
/// The answer is `PayloadChunk` events, bytes as the function writes them, and one `InvokeComplete` (AWS's API model).
pub async fn invoke_with_response_stream(
    State(endpoint): State<Endpoint>,
    asked: Asked,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let request = invoke::request(&asked, &headers, body).await?;
    match invoke::invocation_type(&headers) {
        "RequestResponse" => {
            let streaming = endpoint.router.stream("invoke", request, RequestId::random()).await?;
            Ok(answer(streaming, invoke::wants_log_tail(&headers)))
        }
        "DryRun" => {
            endpoint.router.dry_run(&request)?;
            Ok(invoke::empty(StatusCode::NO_CONTENT, &RequestId::random()))
        }
        other => Err(invoke::unknown_invocation_type(other, "[RequestResponse, DryRun]")),
    }
}

/// The content type is the event stream's own: what the handler set is for those who speak HTTP for it, such as function URLs.
fn answer(streaming: Streaming, tail: bool) -> Response {
    let request_id = invoke::value(streaming.request_id.as_str());
    let version = invoke::value(&streaming.version.to_string());
    let events = stream::unfold(Some(streaming), move |streaming| next_event(streaming, tail));
    let mut response = Response::new(Body::from_stream(events));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(event_stream::MEDIA_TYPE));
    headers.insert(REQUEST_ID, request_id);
    headers.insert(EXECUTED_VERSION, version);
    response
}

/// The next event, and what comes after it: nothing after `InvokeComplete`.
async fn next_event(
    streaming: Option<Streaming>,
    tail: bool,
) -> Option<(Result<Bytes, Infallible>, Option<Streaming>)> {
    let mut streaming = streaming?;
    match streaming.next().await {
        Some(bytes) => {
            let chunk = event("PayloadChunk", "application/octet-stream", &bytes);
            Some((Ok(chunk), Some(streaming)))
        }
        None => {
            let complete = complete(streaming.end().await, tail).to_string();
            let complete = event("InvokeComplete", "application/json", complete.as_bytes());
            Some((Ok(complete), None))
        }
    }
}

/// How it ended. The code of a function's error is Invoke's, `Unhandled`, and its details are what Invoke would have as body; AWS's
/// documentation gives neither, clients that look at them do (Remotion's, for one).
fn complete(end: Result<Invoked, InvokeError>, tail: bool) -> Value {
    let mut members = Map::new();
    match end {
        Ok(invoked) => {
            if !invoked.report.outcome.is_success() {
                let details = invoked.report.outcome.to_payload(&invoked.request_id);
                members.insert("ErrorCode".into(), invoke::UNHANDLED.into());
                members.insert("ErrorDetails".into(), String::from_utf8_lossy(&details).into());
            }
            if tail {
                let log = BASE64_STANDARD.encode(invoke::log_tail(&invoked.log));
                members.insert("LogResult".into(), log.into());
            }
        }
        Err(error) => {
            members.insert("ErrorCode".into(), "ServiceException".into());
            members.insert("ErrorDetails".into(), error.to_string().into());
        }
    }
    members.into()
}
