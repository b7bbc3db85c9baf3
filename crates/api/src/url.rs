//! Function URLs: HTTP for functions, at `http://<id>.lambda-url.us-east-1.localhost:<port>/`.
//!
//! Names under `localhost` lead to this machine (RFC 6761, section 6.3), which browsers and curl know by themselves. For clients that ask a name
//! server all the same, each URL is at `http://127.0.0.1:<port>/_url/<id>/` too; the function sees the path after that.

mod stream;

use std::net::SocketAddr;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::request::Parts;
use axum::http::uri::{Authority, PathAndQuery, Uri};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hikigane_model::{ACCOUNT_ID, Outcome, REGION, RequestId, UrlAuth, UrlMode, limits, new_trace};
use hikigane_router::InvokeRequest;
use hikigane_trigger::proxy::cors::{self, CrossOrigin};
use hikigane_trigger::proxy::{self, Connection, Gateway, Service};
use serde_json::{Value, json};

use crate::Endpoint;
use crate::error::{ApiError, REQUEST_ID};
use crate::keys::Caller;
use crate::lambda::UrlTarget;
use crate::{invoke, signed, sigv4};

/// The paths that lead to URLs where their hosts do not.
pub const PATHS: [&str; 3] = ["/_url/{id}", "/_url/{id}/", "/_url/{id}/{*path}"];

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TRACE: HeaderName = HeaderName::from_static("x-amzn-trace-id");

/// The address of the URL with this id, on an endpoint at this port.
pub fn address(id: &str, port: u16) -> String {
    format!("http://{id}{}:{port}/", domain())
}

fn domain() -> String {
    format!(".lambda-url.{REGION}.localhost")
}

/// Answers a request for a URL's host, whatever its path is; lets others pass.
pub async fn by_host(State(endpoint): State<Endpoint>, request: Request, next: Next) -> Response {
    match id_of(&request, endpoint.lambda.address().port()) {
        Some(id) => {
            let seen = request.uri().clone();
            answer(&endpoint, &id, request, seen).await
        }
        None => next.run(request).await,
    }
}

/// Answers a request for one of [`PATHS`].
pub async fn by_path(State(endpoint): State<Endpoint>, Path(id): Path<PathId>, request: Request) -> Response {
    let seen = behind(request.uri(), &id.id);
    answer(&endpoint, &id.id, request, seen).await
}

/// The part of [`PATHS`] that counts.
#[derive(serde::Deserialize)]
pub struct PathId {
    id: String,
}

/// The id in the host of a request.
fn id_of(request: &Request, port: u16) -> Option<String> {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri().authority().map(Authority::as_str))?;
    let (name, named_port) = host.rsplit_once(':').unwrap_or((host, "80"));
    let name = name.to_ascii_lowercase();
    let id = name.strip_suffix(&domain())?;
    (named_port.parse() == Ok(port) && !id.contains('.')).then(|| id.to_owned())
}

/// The target as a request to the URL's own host has it.
fn behind(uri: &Uri, id: &str) -> Uri {
    let whole = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let rest = whole.strip_prefix("/_url/").and_then(|rest| rest.strip_prefix(id));
    let rest = rest.unwrap_or(whole);
    let slash = if rest.starts_with('/') { "" } else { "/" };
    format!("{slash}{rest}").parse().unwrap_or_default()
}

/// Answers a request whose target the function sees as `seen`.
async fn answer(endpoint: &Endpoint, id: &str, request: Request, seen: Uri) -> Response {
    let Some(target) = endpoint.lambda.url(id) else {
        return ApiError::no_such_url().into_response();
    };
    let asked = |cors| (cors, CrossOrigin::of(request.method(), request.headers()));
    let shared = target.config.cors.clone().map(asked);
    if let Some((cors, Some(page))) = &shared
        && page.is_preflight()
    {
        let mut response = Response::new(Body::empty());
        cors::answer(cors, Some(page), response.headers_mut());
        return response;
    }
    let request_id = RequestId::random();
    let call = Call {
        endpoint,
        id,
        target,
        request_id: &request_id,
    };
    let answered = call.run(request, seen).await;
    let mut response = answered.unwrap_or_else(IntoResponse::into_response);
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, invoke::value(request_id.as_str()));
    if let Some((cors, page)) = &shared {
        cors::answer(cors, page.as_ref(), headers);
    }
    response
}

/// A call of a function through its URL.
struct Call<'a> {
    endpoint: &'a Endpoint,
    id: &'a str,
    target: UrlTarget,
    request_id: &'a RequestId,
}

impl Call<'_> {
    async fn run(self, request: Request, seen: Uri) -> Result<Response, ApiError> {
        let (mut head, body) = request.into_parts();
        let (caller, body) = self.admit(&head, body).await?;
        head.uri = seen;
        let body = invoke::payload(body, limits::SYNC_PAYLOAD, "InvokeFunction").await?;
        let trace = match head.headers.get(&TRACE).and_then(|value| value.to_str().ok()) {
            Some(trace) => trace.to_owned(),
            None => new_trace(self.endpoint.router.clock().now()),
        };
        let request = InvokeRequest {
            payload: self.event(&head, &trace, &body, caller.as_ref()).into(),
            function: self.target.function.to_string(),
            qualifier: self.target.qualifier,
            client_context: None,
            trace: Some(trace),
            tenant_id: None,
        };
        let router = &self.endpoint.router;
        let id = self.request_id.clone();
        match self.target.config.invoke_mode.unwrap_or_default() {
            UrlMode::Buffered => {
                let invoked = router.call("url", None, request, id).await?;
                Ok(response(&invoked.report.outcome))
            }
            UrlMode::ResponseStream => Ok(stream::response(router.stream("url", request, id).await?).await),
        }
    }

    /// Refuses who may not call it: anybody whom no policy allows; or, by `AWS_IAM`, who has not signed with one of this server's keys.
    async fn admit(&self, head: &Parts, body: Body) -> Result<(Option<Caller>, Body), ApiError> {
        match self.target.config.auth_type {
            UrlAuth::None if self.target.open => Ok((None, body)),
            UrlAuth::Iam if sigv4::service(signed::parts(head)).as_deref() == Some("lambda") => {
                let signed = signed::verified(self.endpoint, head, body).await;
                let (caller, body) = signed.map_err(|_refusal| ApiError::url_forbidden())?;
                Ok((Some(caller), body))
            }
            _ => Err(ApiError::url_forbidden()),
        }
    }

    fn event(&self, head: &Parts, trace: &str, body: &Bytes, caller: Option<&Caller>) -> Vec<u8> {
        let local = self.endpoint.lambda.address();
        let peer = head.extensions.get::<ConnectInfo<SocketAddr>>();
        let connection = Connection::new(peer.map_or(local, |peer| peer.0), local);
        let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
        let authorizer = caller.map(|caller| authorizer(caller).to_string());
        let service = Service::FunctionUrl;
        let path = service.path(head.uri.path()).unwrap_or_default();
        let request = proxy::Request {
            gateway: Gateway {
                service,
                account_id: caller.map_or("anonymous", |_| ACCOUNT_ID),
                api_id: self.id,
                authorizer: authorizer.as_deref(),
            },
            route_key: "$default",
            path_parameters: &[],
            head,
            path: &path,
            host: host.unwrap_or(&connection.local_ip),
            connection: &connection,
            request_id: self.request_id.as_str(),
            trace,
            time: self.endpoint.router.clock().now(),
            body,
        };
        request.to_json()
    }
}

/// What a function is told of who signed (AWS documentation, "Invoking Lambda function URLs").
fn authorizer(caller: &Caller) -> Value {
    let (arn, id) = caller.identity();
    json!({"iam": {
        "accountId": ACCOUNT_ID,
        "callerId": id,
        "cognitoIdentity": null,
        "principalOrgId": null,
        "userArn": arn,
        "userId": id,
    }})
}

/// A response whose function names no content type is JSON (recorded from AWS).
fn response(outcome: &Outcome) -> Response {
    match outcome {
        Outcome::Returned(result) => match proxy::of_result(result, JSON) {
            Ok(response) => response.map(Body::from),
            Err(_) => function_failed(),
        },
        _ => function_failed(),
    }
}

/// Whatever went wrong in the function, the caller is not told (recorded from AWS).
fn function_failed() -> Response {
    (StatusCode::BAD_GATEWAY, [(CONTENT_TYPE, JSON)], "Internal Server Error").into_response()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_host_names_a_url_only_on_our_port() {
        let id_of = |host: &str| {
            id_of(
                &Request::builder().header(HOST, host).body(Body::empty()).unwrap(),
                9000,
            )
        };
        for (host, id) in [
            ("abc.lambda-url.us-east-1.localhost:9000", Some("abc")),
            ("ABC.Lambda-URL.us-east-1.LOCALHOST:9000", Some("abc")),
            ("abc.lambda-url.us-east-1.localhost:9001", None),
            ("abc.lambda-url.us-east-1.localhost", None),
            ("abc.lambda-url.eu-west-1.localhost:9000", None),
            ("abc.lambda-url.us-east-1.localhost.example.com:9000", None),
            ("a.b.lambda-url.us-east-1.localhost:9000", None),
            ("localhost:9000", None),
            ("127.0.0.1:9000", None),
        ] {
            assert_eq!(id_of(host).as_deref(), id, "{host}");
        }
    }

    #[test]
    fn the_function_sees_the_path_behind_the_id() {
        for (uri, expect) in [
            ("/_url/abc", "/"),
            ("/_url/abc/", "/"),
            ("/_url/abc?q=1", "/?q=1"),
            ("/_url/abc/a%2Fb/c?q=%zz", "/a%2Fb/c?q=%zz"),
            ("/_url/abc//x", "//x"),
        ] {
            assert_eq!(behind(&uri.parse().unwrap(), "abc").to_string(), expect, "{uri}");
        }
    }
}
