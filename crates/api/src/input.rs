//! What the admin API is asked with.

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;

use crate::error::ApiError;

/// What an extractor of axum's reads. axum refuses in plain text; this, as everything else here does: in JSON.
pub struct Input<E>(pub E);

impl<S, E> FromRequestParts<S> for Input<E>
where
    S: Send + Sync,
    E: FromRequestParts<S>,
    ApiError: From<E::Rejection>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Ok(Self(E::from_request_parts(parts, state).await?))
    }
}

impl<S, E> FromRequest<S> for Input<E>
where
    S: Send + Sync,
    E: FromRequest<S>,
    ApiError: From<E::Rejection>,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        Ok(Self(E::from_request(request, state).await?))
    }
}

impl From<PathRejection> for ApiError {
    fn from(refused: PathRejection) -> Self {
        refusal(refused.status(), refused.body_text())
    }
}

impl From<QueryRejection> for ApiError {
    fn from(refused: QueryRejection) -> Self {
        refusal(refused.status(), refused.body_text())
    }
}

impl From<JsonRejection> for ApiError {
    fn from(refused: JsonRejection) -> Self {
        refusal(refused.status(), refused.body_text())
    }
}

/// The codes are Lambda's. A body of the wrong form is 400 there, whether it is JSON or not.
fn refusal(status: StatusCode, message: String) -> ApiError {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::new(413, "RequestTooLargeException", message),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ApiError::new(415, "UnsupportedMediaTypeException", message),
        _ => ApiError::invalid(message),
    }
}
