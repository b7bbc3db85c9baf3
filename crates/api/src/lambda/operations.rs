//! Which function answers which operation.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hikigane_model::RequestId;
use http_body_util::{BodyExt, Limited};
use serde_json::Value;

use super::{Input, Lambda};
use crate::Endpoint;
use crate::error::{ApiError, REQUEST_ID, unknown_operation};
use crate::shapes::{LAMBDA, Operation, Parts, SIGNER, Service};

/// The largest request that may carry a package (recorded from AWS).
const PACKAGE: usize = 70_167_211;
/// The largest other request.
const REQUEST: usize = 6 * 1024 * 1024;

/// Answers a request that is none of the paths with a route of their own.
pub(crate) async fn serve(State(endpoint): State<Endpoint>, request: Request) -> Response {
    let uri = request.uri().clone();
    let (path, query) = (uri.path(), uri.query().unwrap_or_default());
    let services: [&Service; 2] = [&LAMBDA, &SIGNER];
    let asked = services.into_iter().find_map(|service| {
        let (operation, labels) = service.find(request.method().as_str(), path, query)?;
        Some((service, operation, labels))
    });
    let Some((service, operation, labels)) = asked else {
        return unknown_operation().await.into_response();
    };
    let (head, body) = request.into_parts();
    let answer = async {
        let parts = Parts {
            labels: &labels,
            query,
            headers: &head.headers,
            body: &whole(body, operation).await?,
        };
        let input = service.read(operation, &parts)?;
        if std::ptr::eq(service, &*SIGNER) {
            return endpoint.lambda.answer_signer(operation, input).await;
        }
        endpoint.lambda.answer(operation, input).await
    };
    match answer.await {
        Ok(value) => response(operation.status, &value),
        Err(error) => error.into_response(),
    }
}

impl Lambda {
    async fn answer(self: &Arc<Self>, operation: &Operation, input: Input) -> Result<Value, ApiError> {
        match operation.name.as_str() {
            "CreateFunction" => self.create_function(input).await,
            "CreateCodeSigningConfig" => self.create_code_signing_config(input).await,
            "DeleteCodeSigningConfig" => self.delete_code_signing_config(input).await,
            "DeleteFunction" => self.delete_function(input).await,
            "DeleteFunctionCodeSigningConfig" => self.delete_function_code_signing_config(input).await,
            "GetCodeSigningConfig" => self.get_code_signing_config(input).await,
            "GetFunction" => self.get_function(input).await,
            "GetFunctionConfiguration" => self.get_function_configuration(input).await,
            "GetFunctionCodeSigningConfig" => self.get_function_code_signing_config(input).await,
            "ListCodeSigningConfigs" => self.list_code_signing_configs(input).await,
            "ListFunctions" => self.list_functions(input).await,
            "ListFunctionsByCodeSigningConfig" => self.list_functions_by_code_signing_config(input).await,
            "ListVersionsByFunction" => self.list_versions_by_function(input).await,
            "PublishVersion" => self.publish_version(input).await,
            "PutFunctionCodeSigningConfig" => self.put_function_code_signing_config(input).await,
            "UpdateCodeSigningConfig" => self.update_code_signing_config(input).await,
            "UpdateFunctionCode" => self.update_function_code(input).await,
            "UpdateFunctionConfiguration" => self.update_function_configuration(input).await,
            name => Err(ApiError::new(
                501,
                "NotImplementedException",
                format!("{name} is not supported here: hikigane has no durable executions and no capacity providers"),
            )),
        }
    }
}

async fn whole(body: Body, operation: &Operation) -> Result<Bytes, ApiError> {
    let limit = match operation.name.as_str() {
        "CreateFunction" | "UpdateFunctionCode" | "PublishLayerVersion" => PACKAGE,
        _ => REQUEST,
    };
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(ApiError::new(
            413,
            "RequestEntityTooLargeException",
            format!(
                "Request must be smaller than {limit} bytes for the {} operation",
                operation.name
            ),
        )),
        Err(error) => Err(ApiError::new(
            400,
            "InvalidRequestContentException",
            format!("the request body broke off: {error}"),
        )),
    }
}

fn response(status: u16, value: &Value) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let body = if status == StatusCode::NO_CONTENT {
        String::new()
    } else {
        value.to_string()
    };
    let request_id = HeaderValue::from_str(RequestId::random().as_str()).unwrap_or(HeaderValue::from_static("-"));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (REQUEST_ID, request_id),
    ];
    (status, headers, body).into_response()
}
