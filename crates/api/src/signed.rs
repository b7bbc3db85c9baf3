//! Lets signed requests pass, and no others. Not part of an endpoint without access keys.

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, Limited};

use crate::Endpoint;
use crate::error::ApiError;
use crate::identity::QueryError;
use crate::keys::Caller;
use crate::sigv4::{self, Claim, Parts, SignatureError};

/// The largest request of all (recorded from AWS: CreateFunction).
const REQUEST: usize = 70_167_211;

/// Verifies the signature; who signed goes along with the request as a [`Caller`]. The body is read only after all that can be checked without it.
pub async fn check(State(endpoint): State<Endpoint>, request: Request, next: Next) -> Response {
    let (mut head, body) = request.into_parts();
    match verified(&endpoint, &head, body).await {
        Ok((caller, body)) => {
            head.extensions.insert(caller);
            next.run(Request::from_parts(head, body)).await
        }
        Err(refusal) => *refusal,
    }
}

/// Who signed a request, and its body.
pub(crate) async fn verified(
    endpoint: &Endpoint,
    head: &request::Parts,
    body: Body,
) -> Result<(Caller, Body), Box<Response>> {
    let parts = parts(head);
    let refuse = |error: SignatureError| Box::new(answer(&error, parts));
    let now = endpoint.router.clock().now();
    let claim = Claim::read(parts).map_err(refuse)?;
    claim.check_time(now).map_err(refuse)?;
    if !claim.covers_path(parts.path) {
        return Err(refuse(SignatureError::Unsupported(
            "The path has empty segments, \".\" or \"..\": a signature covers the path that it stands for. Send that one."
                .to_owned(),
        )));
    }
    let token = claim.session_token.as_deref();
    let (secret, caller) = endpoint
        .keys
        .recognise(&claim.access_key_id, token, now)
        .map_err(refuse)?;
    if !claim.covers_body() {
        claim.verify(parts, b"", &secret).map_err(refuse)?;
        return Ok((caller, body));
    }
    let body = read(body).await.map_err(|error| Box::new(error.into_response()))?;
    claim.verify(parts, &body, &secret).map_err(refuse)?;
    Ok((caller, Body::from(body)))
}

/// The parts of a request that its signature covers.
pub(crate) fn parts(head: &request::Parts) -> Parts<'_> {
    Parts {
        method: head.method.as_str(),
        path: head.uri.path(),
        query: head.uri.query().unwrap_or_default(),
        headers: &head.headers,
    }
}

async fn read(body: Body) -> Result<Bytes, ApiError> {
    match Limited::new(body, REQUEST).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(ApiError::new(
            413,
            "RequestEntityTooLargeException",
            format!("Request must be smaller than {REQUEST} bytes"),
        )),
        Err(error) => Err(ApiError::new(
            400,
            "InvalidRequestContentException",
            format!("the request body broke off: {error}"),
        )),
    }
}

/// The refusal in the protocol of the service that the request was meant for.
fn answer(error: &SignatureError, parts: Parts<'_>) -> Response {
    match sigv4::service(parts).as_deref() {
        Some(service @ ("iam" | "sts")) => QueryError::from(error).response(service),
        _ => ApiError::from(error).into_response(),
    }
}
