//! Errors as AWS writes them: status, header `x-amzn-ErrorType`, JSON body. The one place that knows the casing of each.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hikigane_model::{RequestId, limits};
use hikigane_router::{InvokeError, Refusal};
use http_body_util::{BodyExt, Limited};
use serde_json::{Map, Value};

use crate::sigv4::SignatureError;

/// The header that carries an error's code.
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
/// The header that carries the request's id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// Errors of what stands before a service: their bodies have no `Type` (recorded from AWS for ValidationException).
const FRONT_END: &[&str] = &[
    "ValidationException",
    "SerializationException",
    "RequestEntityTooLargeException",
    "UnknownOperationException",
    "MissingAuthenticationTokenException",
    "IncompleteSignatureException",
    "UnrecognizedClientException",
    "ExpiredTokenException",
    "InvalidSignatureException",
];

/// An error answer.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ApiError {
    status: u16,
    code: &'static str,
    message: String,
    reason: Option<&'static str>,
    untyped: bool,
}

impl ApiError {
    /// An error with AWS's code.
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            reason: None,
            untyped: false,
        }
    }

    /// The error without `Type`, which AWS leaves out of a few (recorded).
    pub fn untyped(mut self) -> Self {
        self.untyped = true;
        self
    }

    /// A value that the rules of the business do not allow: 400 `InvalidParameterValueException`.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidParameterValueException", message)
    }

    /// [`ApiError::invalid`], of the account's concurrency: AWS leaves `Type` out of these (recorded).
    pub fn concurrency(message: impl Into<String>) -> Self {
        Self::invalid(message).untyped()
    }

    /// Something that is not there: 404 `ResourceNotFoundException`.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, "ResourceNotFoundException", message)
    }

    /// Something that is in the way of what is there: 409 `ResourceConflictException`.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(409, "ResourceConflictException", message)
    }

    /// A URL that is none (recorded: without a message).
    pub fn no_such_url() -> Self {
        Self::new(403, "AccessDeniedException", "").untyped()
    }

    /// A URL that the caller may not call (recorded).
    pub fn url_forbidden() -> Self {
        let message = "Forbidden. For troubleshooting Function URL authorization issues, see: https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html";
        Self::new(403, "AccessDeniedException", message).untyped()
    }

    /// The body. `Message` or `message` and the presence of `Type` differ by code (AWS's API model; answers recorded from AWS).
    fn body(&self) -> Value {
        let mut body = Map::new();
        if let Some(reason) = self.reason {
            body.insert("Reason".into(), reason.into());
        }
        // AWS's front end leaves it out, its services put it in (recorded).
        if !FRONT_END.contains(&self.code) && !self.untyped {
            body.insert("Type".into(), if self.status < 500 { "User" } else { "Service" }.into());
        }
        let upper = matches!(
            self.code,
            "ResourceNotFoundException"
                | "ServiceException"
                | "AccessDeniedException"
                | "CodeSigningConfigNotFoundException"
                | "CodeVerificationFailedException"
                | "InvalidCodeSignatureException"
                | "RecursiveInvocationException"
                | "InvalidRuntimeException"
                | "ResourceInUseException"
                | "SerializationException"
        );
        let message = Some(self.message.as_str()).filter(|message| !message.is_empty());
        body.insert(if upper { "Message" } else { "message" }.into(), message.into());
        body.into()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let request_id = HeaderValue::from_str(RequestId::random().as_str()).unwrap_or(HeaderValue::from_static("-"));
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (ERROR_TYPE, HeaderValue::from_static(self.code)),
            (REQUEST_ID, request_id),
        ];
        let mut response = (status, headers, self.body().to_string()).into_response();
        if self.reason.is_some() {
            // AWS's model: seconds until it may be tried again. Nobody knows when an invocation will end; its clients wait about as long at first.
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<InvokeError> for ApiError {
    fn from(error: InvokeError) -> Self {
        let message = error.to_string();
        match error {
            InvokeError::NotFound(_) => Self::not_found(message),
            InvokeError::Refused(Refusal::State(_)) => Self::conflict(message),
            InvokeError::Refused(Refusal::Runtime(_)) => Self::new(502, "InvalidRuntimeException", message),
            InvokeError::TooLarge { .. } => Self::new(413, "RequestTooLargeException", message),
            InvokeError::Throttled(reason) => Self {
                reason: Some(reason.as_str()),
                ..Self::new(429, "TooManyRequestsException", message)
            },
            InvokeError::Unavailable(_) => Self::new(503, "ServiceException", message),
        }
    }
}

/// The codes of services that speak JSON; the statuses are those of Lambda (Lambda API reference, "Common errors").
impl From<&SignatureError> for ApiError {
    fn from(error: &SignatureError) -> Self {
        let (status, code) = match error {
            SignatureError::Missing => (403, "MissingAuthenticationTokenException"),
            SignatureError::Incomplete(_) => (403, "IncompleteSignatureException"),
            SignatureError::Unrecognized => (403, "UnrecognizedClientException"),
            SignatureError::ExpiredToken => (403, "ExpiredTokenException"),
            SignatureError::OutOfScope(_) | SignatureError::Mismatch => (403, "InvalidSignatureException"),
            SignatureError::Unsupported(_) => (400, "IncompleteSignatureException"),
        };
        Self::new(status, code, error.to_string())
    }
}

/// Answers a request whose path or method is no operation. Its body is read first: a connection whose request is not read to its end is of no more use to
/// its client.
pub async fn refuse_unknown_operation(body: Body) -> ApiError {
    let _ = Limited::new(body, limits::SYNC_PAYLOAD).collect().await;
    unknown_operation()
}

/// What AWS answers to what is no operation.
pub fn unknown_operation() -> ApiError {
    ApiError::new(404, "UnknownOperationException", "this server has no such operation")
}

#[cfg(test)]
mod tests {
    use super::*;
    use hikigane_model::ThrottleReason;

    #[test]
    fn bodies_are_cased_as_on_aws() {
        let body = |error: InvokeError| ApiError::from(error).body().to_string();
        assert_eq!(
            body(InvokeError::Throttled(
                ThrottleReason::ConcurrentInvocationLimitExceeded
            )),
            r#"{"Reason":"ConcurrentInvocationLimitExceeded","Type":"User","message":"Rate Exceeded."}"#
        );
        assert_eq!(
            body(InvokeError::NotFound("arn:x".into())),
            r#"{"Type":"User","Message":"Function not found: arn:x"}"#
        );
    }
}
