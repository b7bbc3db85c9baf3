//! Which function answers which operation.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hikigane_model::RequestId;
use http_body::Body as _;
use http_body_util::BodyExt;
use serde_json::Value;

use super::{Input, Lambda};
use crate::Endpoint;
use crate::error::{ApiError, REQUEST_ID, refuse_unknown_operation};
use crate::shapes::{LAMBDA, Operation, Parts, SIGNER, Service};

/// The largest request that may carry a package (recorded from AWS).
const PACKAGE: usize = 70_167_211;
/// The largest other request.
const REQUEST: usize = 6 * 1024 * 1024;
/// A larger body is read where it keeps nobody waiting.
const LARGE: usize = 256 * 1024;

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
        return refuse_unknown_operation(request.into_body()).await.into_response();
    };
    let (head, body) = request.into_parts();
    let query = query.to_owned();
    let answer = async {
        let body = whole(body, operation).await?;
        let large = body.len() > LARGE;
        // The text of a package is let go of as soon as it is read: what is made of it is as large.
        let read = move || {
            let parts = Parts {
                labels: &labels,
                query: &query,
                headers: &head.headers,
                body: &body,
            };
            service.read(operation, &parts)
        };
        let input = if large {
            let read = tokio::task::spawn_blocking(read).await;
            read.map_err(|error| ApiError::new(500, "ServiceException", error.to_string()))??
        } else {
            read()?
        };
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
            "AddLayerVersionPermission" => self.add_layer_version_permission(input).await,
            "AddPermission" => self.add_permission(input).await,
            "CreateAlias" => self.create_alias(input).await,
            "CreateCodeSigningConfig" => self.create_code_signing_config(input).await,
            "CreateEventSourceMapping" => self.create_event_source_mapping(input).await,
            "CreateFunction" => self.create_function(input).await,
            "CreateFunctionUrlConfig" => self.create_function_url_config(input).await,
            "DeleteAlias" => self.delete_alias(input).await,
            "DeleteCodeSigningConfig" => self.delete_code_signing_config(input).await,
            "DeleteEventSourceMapping" => self.delete_event_source_mapping(input).await,
            "DeleteFunction" => self.delete_function(input).await,
            "DeleteFunctionCodeSigningConfig" => self.delete_function_code_signing_config(input).await,
            "DeleteFunctionConcurrency" => self.delete_function_concurrency(input).await,
            "DeleteFunctionEventInvokeConfig" => self.delete_function_event_invoke_config(input).await,
            "DeleteFunctionUrlConfig" => self.delete_function_url_config(input).await,
            "DeleteLayerVersion" => self.delete_layer_version(input).await,
            "DeleteProvisionedConcurrencyConfig" => self.delete_provisioned_concurrency_config(input).await,
            "GetAccountSettings" => self.get_account_settings().await,
            "GetAlias" => self.get_alias(input).await,
            "GetCodeSigningConfig" => self.get_code_signing_config(input).await,
            "GetEventSourceMapping" => self.get_event_source_mapping(input).await,
            "GetFunction" => self.get_function(input).await,
            "GetFunctionCodeSigningConfig" => self.get_function_code_signing_config(input).await,
            "GetFunctionConcurrency" => self.get_function_concurrency(input).await,
            "GetFunctionConfiguration" => self.get_function_configuration(input).await,
            "GetFunctionEventInvokeConfig" => self.get_function_event_invoke_config(input).await,
            "GetFunctionRecursionConfig" => self.get_function_recursion_config(input).await,
            "GetFunctionUrlConfig" => self.get_function_url_config(input).await,
            "GetLayerVersion" => self.get_layer_version(input).await,
            "GetLayerVersionByArn" => self.get_layer_version_by_arn(input).await,
            "GetLayerVersionPolicy" => self.get_layer_version_policy(input).await,
            "GetPolicy" => self.get_policy(input).await,
            "GetProvisionedConcurrencyConfig" => self.get_provisioned_concurrency_config(input).await,
            "GetRuntimeManagementConfig" => self.get_runtime_management_config(input).await,
            "ListAliases" => self.list_aliases(input).await,
            "ListCodeSigningConfigs" => self.list_code_signing_configs(input).await,
            "ListEventSourceMappings" => self.list_event_source_mappings(input).await,
            "ListFunctionEventInvokeConfigs" => self.list_function_event_invoke_configs(input).await,
            "ListFunctionUrlConfigs" => self.list_function_url_configs(input).await,
            "ListFunctions" => self.list_functions(input).await,
            "ListFunctionsByCodeSigningConfig" => self.list_functions_by_code_signing_config(input).await,
            "ListLayerVersions" => self.list_layer_versions(input).await,
            "ListLayers" => self.list_layers(input).await,
            "ListProvisionedConcurrencyConfigs" => self.list_provisioned_concurrency_configs(input).await,
            "ListTags" => self.list_tags(input).await,
            "ListVersionsByFunction" => self.list_versions_by_function(input).await,
            "PublishLayerVersion" => self.publish_layer_version(input).await,
            "PublishVersion" => self.publish_version(input).await,
            "PutFunctionCodeSigningConfig" => self.put_function_code_signing_config(input).await,
            "PutFunctionConcurrency" => self.put_function_concurrency(input).await,
            "PutFunctionEventInvokeConfig" => self.put_function_event_invoke_config(input).await,
            "PutFunctionRecursionConfig" => self.put_function_recursion_config(input).await,
            "PutProvisionedConcurrencyConfig" => self.put_provisioned_concurrency_config(input).await,
            "PutRuntimeManagementConfig" => self.put_runtime_management_config(input).await,
            "RemoveLayerVersionPermission" => self.remove_layer_version_permission(input).await,
            "RemovePermission" => self.remove_permission(input).await,
            "TagResource" => self.tag_resource(input).await,
            "UntagResource" => self.untag_resource(input).await,
            "UpdateAlias" => self.update_alias(input).await,
            "UpdateCodeSigningConfig" => self.update_code_signing_config(input).await,
            "UpdateEventSourceMapping" => self.update_event_source_mapping(input).await,
            "UpdateFunctionCode" => self.update_function_code(input).await,
            "UpdateFunctionConfiguration" => self.update_function_configuration(input).await,
            "UpdateFunctionEventInvokeConfig" => self.update_function_event_invoke_config(input).await,
            "UpdateFunctionUrlConfig" => self.update_function_url_config(input).await,
            name => Err(ApiError::new(
                501,
                "NotImplementedException",
                format!("{name} is not supported here: hikigane has no durable executions and no capacity providers"),
            )),
        }
    }
}

/// The whole body, which is copied once.
async fn whole(mut body: Body, operation: &Operation) -> Result<Vec<u8>, ApiError> {
    let limit = match operation.name.as_str() {
        "CreateFunction" | "UpdateFunctionCode" | "PublishLayerVersion" => PACKAGE,
        _ => REQUEST,
    };
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(limit);
    let mut whole = Vec::with_capacity(announced.min(limit));
    let mut size = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            ApiError::new(
                400,
                "InvalidRequestContentException",
                format!("the request body broke off: {error}"),
            )
        })?;
        let Ok(data) = frame.into_data() else { continue };
        size += data.len();
        if size <= limit {
            whole.extend_from_slice(&data);
        } else if size > 2 * limit {
            break;
        } else {
            // A client that still writes would not see the answer: it is heard out, for a while.
            whole = Vec::new();
        }
    }
    if size > limit {
        return Err(ApiError::new(
            413,
            "RequestEntityTooLargeException",
            format!(
                "Request must be smaller than {limit} bytes for the {} operation",
                operation.name
            ),
        ));
    }
    Ok(whole)
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
