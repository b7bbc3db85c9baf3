//! Lambda's Invoke.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hikigane_model::{Outcome, RequestId, TargetId, limits};
use hikigane_router::{InvokeRequest, Invoked};
use http_body_util::{BodyExt, Limited};

use crate::Endpoint;
use crate::error::{ApiError, REQUEST_ID};
use crate::input::Input;
use crate::name;

/// What the path and the query of an invocation name. They are checked later, when the body was read.
pub struct Asked {
    pub function: String,
    pub qualifier: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let function = Path::<String>::from_request_parts(parts, state).await;
        let query = parts.uri.query().unwrap_or_default();
        let mut qualifiers = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "Qualifier");
        Ok(Self {
            // What is not UTF-8 is no name.
            function: function.map_or_else(|_| char::REPLACEMENT_CHARACTER.into(), |Path(function)| function),
            qualifier: qualifiers.next().map(|(_, qualifier)| qualifier.into_owned()),
        })
    }
}

/// The header that names the version that ran.
pub const EXECUTED_VERSION: HeaderName = HeaderName::from_static("x-amz-executed-version");
/// How a function's error is told, whatever it was (recorded from AWS).
pub const UNHANDLED: &str = "Unhandled";

/// `POST /2015-03-31/functions/{F}/invocations`: RequestResponse (200), Event (202) and DryRun (204).
pub async fn invoke(
    State(endpoint): State<Endpoint>,
    asked: Asked,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let request = request(&asked, &headers, body).await?;
    match invocation_type(&headers) {
        "RequestResponse" => {
            let tail = wants_log_tail(&headers);
            Ok(synchronous(endpoint.router.invoke(request).await?, tail))
        }
        "Event" if request.tenant_id.is_some() => Err(ApiError::new(
            400,
            "InvalidParameterValueException",
            "This server's queue does not keep a tenant id: send the event without X-Amz-Tenant-Id, or invoke with RequestResponse.",
        )),
        "Event" => Ok(empty(
            StatusCode::ACCEPTED,
            &endpoint.router.invoke_event(request).await?,
        )),
        "DryRun" => {
            endpoint.router.dry_run(&request)?;
            Ok(empty(StatusCode::NO_CONTENT, &RequestId::random()))
        }
        other => Err(unknown_invocation_type(other, "[Event, RequestResponse, DryRun]")),
    }
}

/// The query of [`debug`].
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Debugged {
    /// What the debugger will attach to: a UUID that the client has thought of, so that it knows it before the function runs.
    target: String,
}

/// As [`invoke`] with RequestResponse, in an environment that waits for a debugger first.
pub async fn debug(
    State(endpoint): State<Endpoint>,
    asked: Asked,
    Input(Query(query)): Input<Query<Debugged>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let request = request(&asked, &headers, body).await?;
    let invalid = |message: String| ApiError::new(400, "InvalidParameterValueException", message);
    if endpoint.inspector.is_none() {
        return Err(invalid(
            "this server does not listen for debuggers; start it with \"hikigane up --inspect\"".into(),
        ));
    }
    let target = TargetId::new(&query.target).map_err(|error| invalid(error.to_string()))?;
    Ok(synchronous(endpoint.router.debug(request, target).await?, true))
}

/// What both forms of Invoke are asked with.
pub async fn request(asked: &Asked, headers: &HeaderMap, body: Body) -> Result<InvokeRequest, ApiError> {
    // First: a connection whose request is not read to its end is of no more use to its client.
    let payload = payload(body, limits::SYNC_PAYLOAD, "InvokeFunction").await?;
    let named = name::parse(&asked.function, asked.qualifier.as_deref())?;
    let mut request = InvokeRequest {
        function: named.function,
        qualifier: named.qualifier,
        payload,
        client_context: client_context(headers)?,
        trace: text(headers, "x-amzn-trace-id").map(str::to_owned),
        tenant_id: tenant_id(headers)?,
    };
    check_json(&mut request.payload)?;
    Ok(request)
}

/// `X-Amz-Invocation-Type`.
pub fn invocation_type(headers: &HeaderMap) -> &str {
    text(headers, "x-amz-invocation-type").unwrap_or("RequestResponse")
}

/// The error for any other `X-Amz-Invocation-Type` than `allowed`.
pub fn unknown_invocation_type(found: &str, allowed: &str) -> ApiError {
    let message = format!(
        "1 validation error detected: Value '{found}' at 'invocationType' failed to satisfy constraint: Member must satisfy enum value set: {allowed}"
    );
    ApiError::new(400, "ValidationException", message)
}

/// `X-Amz-Log-Type: Tail`.
pub fn wants_log_tail(headers: &HeaderMap) -> bool {
    text(headers, "x-amz-log-type") == Some("Tail")
}

/// `POST /2014-11-13/functions/{F}/invoke-async`: what Invoke's Event was called before, which AWS keeps for old clients.
pub async fn invoke_async(
    State(endpoint): State<Endpoint>,
    asked: Asked,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let payload = payload(body, limits::INVOKE_ASYNC_PAYLOAD, "InvokeAsync").await?;
    let named = name::parse(&asked.function, None)?;
    let mut request = InvokeRequest {
        function: named.function,
        qualifier: named.qualifier,
        payload,
        client_context: None,
        trace: text(&headers, "x-amzn-trace-id").map(str::to_owned),
        tenant_id: None,
    };
    check_json(&mut request.payload)?;
    let mut response = empty(StatusCode::ACCEPTED, &endpoint.router.invoke_event(request).await?);
    // AWS names the status in the body, too.
    *response.body_mut() = Body::from(r#"{"Status":202}"#);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// The status is 200 whatever the function did; an error shows in `X-Amz-Function-Error`, always `Unhandled` today (recorded from AWS).
fn synchronous(invoked: Invoked, tail: bool) -> Response {
    let outcome = &invoked.report.outcome;
    let mut response = Response::new(Body::from(outcome.to_payload(&invoked.request_id)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(REQUEST_ID, value(invoked.request_id.as_str()));
    headers.insert(EXECUTED_VERSION, value(&invoked.version.to_string()));
    if !matches!(outcome, Outcome::Returned(_)) {
        headers.insert(
            HeaderName::from_static("x-amz-function-error"),
            HeaderValue::from_static(UNHANDLED),
        );
    }
    if tail {
        headers.insert(
            HeaderName::from_static("x-amz-log-result"),
            value(&BASE64_STANDARD.encode(log_tail(&invoked.log))),
        );
    }
    response
}

/// The last 4 KB, cut at a character.
pub fn log_tail(log: &str) -> &str {
    let mut start = log.len().saturating_sub(limits::LOG_TAIL);
    while !log.is_char_boundary(start) {
        start += 1;
    }
    &log[start..]
}

/// An answer without a body.
pub fn empty(status: StatusCode, request_id: &RequestId) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(REQUEST_ID, value(request_id.as_str()));
    response
}

/// Ids, versions and base64: always legal in a header.
pub fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("-"))
}

/// A body of at most `limit` bytes.
pub async fn payload(body: Body, limit: usize, operation: &str) -> Result<Bytes, ApiError> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(of_its_own(collected.to_bytes())),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(ApiError::new(
            413,
            "RequestTooLargeException",
            format!("Request must be smaller than {limit} bytes for the {operation} operation"),
        )),
        Err(error) => Err(ApiError::new(
            400,
            "InvalidRequestContentException",
            format!("the request body broke off: {error}"),
        )),
    }
}

/// A small payload is a piece of the connection's read buffer, which would live as long as the payload does, in the history too.
fn of_its_own(payload: Bytes) -> Bytes {
    const SMALL: usize = 8 * 1024;
    if payload.len() > SMALL {
        payload
    } else {
        Bytes::copy_from_slice(&payload)
    }
}

/// An absent payload is an empty object; anything else must be JSON.
fn check_json(payload: &mut Bytes) -> Result<(), ApiError> {
    if payload.is_empty() {
        *payload = Bytes::from_static(b"{}");
        return Ok(());
    }
    let refuse = |error: &dyn std::fmt::Display| {
        ApiError::new(
            400,
            "InvalidRequestContentException",
            format!("Could not parse request body into json: Could not parse payload into json: {error}"),
        )
    };
    // What is ignored inside a string is not looked at: whether it is UTF-8 must be asked first.
    let text = std::str::from_utf8(payload).map_err(|error| refuse(&not_utf8(payload, error.valid_up_to())))?;
    serde_json::from_str::<serde::de::IgnoredAny>(text)
        .map(drop)
        .map_err(|error| refuse(&error))
}

/// What AWS's parser says of a byte that begins no character (recorded): the column is the one behind it.
fn not_utf8(payload: &[u8], place: usize) -> String {
    let before = payload.get(..place).unwrap_or_default();
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 2;
    let byte = payload.get(place).copied().unwrap_or_default();
    format!(
        "Invalid UTF-8 start byte 0x{byte:x}\n at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: {line}, column: {column}]"
    )
}

/// `X-Amz-Client-Context`: base64 of JSON, at most 3,583 bytes.
fn client_context(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(encoded) = text(headers, "x-amz-client-context") else {
        return Ok(None);
    };
    let invalid = || {
        ApiError::new(
            400,
            "InvalidRequestContentException",
            "Client context must be a valid Base64-encoded JSON object.",
        )
    };
    if encoded.len() > 3_583 {
        return Err(invalid());
    }
    let bytes = BASE64_STANDARD.decode(encoded).map_err(|_| invalid())?;
    let text = String::from_utf8(bytes).map_err(|_| invalid())?;
    serde_json::from_str::<serde::de::IgnoredAny>(&text).map_err(|_| invalid())?;
    Ok(Some(text))
}

/// `X-Amz-Tenant-Id`: 1 to 256 characters of a few kinds (AWS's API model).
fn tenant_id(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get("x-amz-tenant-id") else {
        return Ok(None);
    };
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"._:/=+-@ ".contains(byte);
    let bytes = value.as_bytes();
    let tenant = String::from_utf8_lossy(bytes).into_owned();
    let constraint = if bytes.is_empty() {
        "Member must have length greater than or equal to 1"
    } else if bytes.len() > 256 {
        "Member must have length less than or equal to 256"
    } else if !bytes.iter().all(legal) {
        r"Member must satisfy regular expression pattern: [a-zA-Z0-9\._:\/=+\-@ ]+"
    } else {
        return Ok(Some(tenant));
    };
    let message = format!(
        "1 validation error detected: Value '{tenant}' at 'tenantId' failed to satisfy constraint: {constraint}"
    );
    Err(ApiError::new(400, "ValidationException", message))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
