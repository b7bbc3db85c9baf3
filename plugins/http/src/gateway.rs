//! What happens to one request: checks, route, body, event, the function, response.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use bytes::Bytes;
use hikigane_model::{ACCOUNT_ID, Cors, Event, InvokeMode, Outcome, limits, new_trace};
use hikigane_trigger::proxy::cors::{self, CrossOrigin};
use hikigane_trigger::proxy::{self, Connection, Service};
use hikigane_trigger::{Accepted, CallError, Clock, EmitError, EventSink};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::sync::Semaphore;

use crate::body::{self, BodyError};
use crate::route::Verb;
use crate::table::{RouteTable, Target};

/// A response of the gateway.
pub(crate) type Reply = Response<Full<Bytes>>;

/// The id of the one API that the gateway is.
const API: proxy::Gateway<'static> = proxy::Gateway {
    service: Service::HttpApi,
    account_id: ACCOUNT_ID,
    api_id: "hikigane",
    authorizer: None,
};
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// The type of a response whose function names none.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

const BAD_REQUEST: &str = r#"{"message":"Bad Request"}"#;
const INTERNAL: &str = r#"{"message":"Internal Server Error"}"#;
const NOT_ALLOWED: &str = r#"{"message":"Method Not Allowed"}"#;
const NOT_FOUND: &str = r#"{"message":"Not Found"}"#;
const TIMEOUT: &str = r#"{"message":"Request Timeout"}"#;
const TOO_LARGE: &str = r#"{"message":"Request Entity Too Large"}"#;
const TOO_MANY: &str = r#"{"message":"Too Many Requests"}"#;
const UNAVAILABLE: &str = r#"{"message":"Service Unavailable"}"#;

/// The request's id, as API Gateway's HTTP API returns it.
const APIGW_REQUEST_ID: HeaderName = HeaderName::from_static("apigw-requestid");
/// Why there is no event, or a function's result made no response; API Gateway says this in its log only.
const REASON: HeaderName = HeaderName::from_static("x-hikigane-reason");
const TRACE: HeaderName = HeaderName::from_static("x-amzn-trace-id");

/// A gateway at work.
pub(crate) struct Gateway {
    pub(crate) table: RouteTable,
    pub(crate) events: EventSink,
    pub(crate) clock: Clock,
    /// What pages of other sites may do; `None`: functions answer them.
    pub(crate) cors: Option<Cors>,
    /// How long a body may take to arrive.
    pub(crate) body_time: Duration,
    /// Bytes that bodies which are arriving may have together.
    pub(crate) bodies: Semaphore,
    /// Bytes that answers which wait for their clients may have together.
    pub(crate) answers: Arc<Semaphore>,
}

impl Gateway {
    /// Answers a request.
    pub(crate) async fn handle(&self, connection: &Connection, request: Request<Incoming>) -> Reply {
        let id = request_id();
        let asked = |cors| (cors, CrossOrigin::of(request.method(), request.headers()));
        let shared = self.cors.as_ref().map(asked);
        let page = shared.as_ref().and_then(|(_, page)| page.as_ref());
        let mut reply = self
            .answer(connection, &id, request, page)
            .await
            .unwrap_or_else(|refusal| refusal);
        let headers = reply.headers_mut();
        if let Ok(id) = HeaderValue::from_str(&id) {
            headers.insert(APIGW_REQUEST_ID, id);
        }
        if let Some((cors, page)) = &shared {
            cors::answer(cors, page.as_ref(), headers);
        }
        reply
    }

    /// The function's response, or (`Err`) the gateway's own.
    async fn answer(
        &self,
        connection: &Connection,
        id: &str,
        request: Request<Incoming>,
        page: Option<&CrossOrigin>,
    ) -> Result<Reply, Reply> {
        let (head, body) = request.into_parts();
        let verb = Verb::of(&head.method).ok_or_else(|| not_allowed(&head.method))?;
        let host = host(&head, connection)
            .filter(|_| is_coded_plainly(&head.headers))
            .ok_or_else(|| closing(json(StatusCode::BAD_REQUEST, BAD_REQUEST)))?;
        let path = Service::HttpApi.path(head.uri.path()).ok_or_else(bad_path)?;
        let route = self.table.find(verb, head.uri.path()).ok_or_else(|| match page {
            Some(page) if page.is_preflight() => no_content(),
            _ => not_found(),
        })?;
        let on_request = head.headers.contains_key(header::EXPECT);
        let body = body::read(body, on_request, limits::SYNC_PAYLOAD, self.body_time, &self.bodies)
            .await
            .map_err(bad_body)?;
        let time = self.clock.now();
        let trace = head.headers.get(TRACE).and_then(|value| value.to_str().ok());
        let trace = trace.map_or_else(|| new_trace(time), str::to_owned);
        let names = route.target.parameters.iter().map(String::as_str);
        let path_parameters: Vec<_> = names.zip(route.values.iter().copied()).collect();
        let request = proxy::Request {
            gateway: API,
            route_key: &route.target.key,
            path_parameters: &path_parameters,
            head: &head,
            path: &path,
            host: &host,
            connection,
            request_id: id,
            trace: &trace,
            time,
            body: &body,
        };
        let event = Event::new(request.to_json(), time);
        let event = Event {
            trace: Some(trace),
            ..event
        };
        match route.target.mode {
            InvokeMode::Sync => self.call(route.target, event).await,
            InvokeMode::Async => self.emit(route.target, event).await,
        }
    }

    async fn call(&self, target: &Target, event: Event) -> Result<Reply, Reply> {
        // On time-out, and when the client goes away, only the waiting ends here.
        let called = tokio::time::timeout(target.timeout, self.events.call(&target.binding, event)).await;
        let reply = called.map_err(|_| unavailable())?.map_err(|error| match error {
            CallError::Filtered => not_found(),
            CallError::TooLarge { .. } => too_large(),
            CallError::Refused(reason) => unavailable_because(&reason),
        })?;
        match reply.outcome {
            Outcome::Returned(result) => {
                let response = proxy::of_result(&result, TEXT)
                    .map_err(|malformed| because(malformed.0, json(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL)))?;
                let (head, body) = response.into_parts();
                let body = body::hold(body, &self.answers).ok_or_else(|| {
                    unavailable_because("too many large answers wait for clients that do not take them")
                })?;
                Ok(Response::from_parts(head, Full::new(body)))
            }
            Outcome::Failed(_) | Outcome::TimedOut(_) | Outcome::Crashed(_) => {
                Err(json(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL))
            }
            Outcome::Throttled(_) => Err(json(StatusCode::TOO_MANY_REQUESTS, TOO_MANY)),
        }
    }

    async fn emit(&self, target: &Target, event: Event) -> Result<Reply, Reply> {
        match self.events.emit(&target.binding, event, Vec::new()).await {
            Ok(Accepted::Queued(id)) => Ok(json(
                StatusCode::ACCEPTED,
                serde_json::json!({"requestId": id}).to_string(),
            )),
            Ok(Accepted::Filtered) => Ok(no_content()),
            Err(EmitError::TooLarge { .. }) => Err(too_large()),
            Err(error @ (EmitError::Unavailable(_) | EmitError::Refused(_))) => {
                Err(unavailable_because(&error.to_string()))
            }
        }
    }
}

/// An id like those of API Gateway: 15 characters and `=`.
fn request_id() -> String {
    URL_SAFE.encode(&uuid::Uuid::new_v4().as_bytes()[..11])
}

/// A response with a JSON body.
fn json(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, JSON);
    reply
}

/// The host that a request is for. `None`: it names none though HTTP/1.1 demands it, or more than one (RFC 9112, section
/// 3.2), or it asks for no resource (`OPTIONS *`).
fn host<'a>(head: &'a Parts, connection: &'a Connection) -> Option<Cow<'a, str>> {
    if !head.uri.path().starts_with('/') {
        return None;
    }
    let mut named = head.headers.get_all(header::HOST).iter();
    let host = match (named.next(), named.next()) {
        (Some(host), None) => host.to_str().ok().filter(|host| is_host(host))?.into(),
        (None, _) if head.version < Version::HTTP_11 => Cow::Borrowed(connection.local_ip.as_str()),
        _ => return None,
    };
    // A target in absolute form is right, whatever the header says (RFC 9112, section 3.2.2).
    match head.uri.authority() {
        None => Some(host),
        Some(authority) => Some(authority.as_str().into()).filter(|host: &Cow<'_, str>| !host.contains('@')),
    }
}

/// Whether all who read a request agree on how its body comes: `chunked` once and alone. Lists of codings, which HTTP allows (RFC 9112, section
/// 6.1), a proxy on the way may understand otherwise, and pass a second request on within the first.
fn is_coded_plainly(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    }
}

/// Whether a `host` header can be one: the characters of a host and a port (RFC 3986, section 3.2), no user information.
fn is_host(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte);
    !text.is_empty() && text.bytes().all(legal)
}

fn bad_path() -> Reply {
    because(
        "a % in the path begins no escape; API Gateway decodes paths twice, so that one stands for itself as %2525",
        json(StatusCode::BAD_REQUEST, BAD_REQUEST),
    )
}

fn bad_body(error: BodyError) -> Reply {
    match error {
        BodyError::TooLarge => closing(too_large()),
        BodyError::TooSlow => closing(json(StatusCode::REQUEST_TIMEOUT, TIMEOUT)),
        BodyError::TooMany => closing(unavailable()),
        BodyError::Broken => closing(json(StatusCode::BAD_REQUEST, BAD_REQUEST)),
    }
}

fn no_content() -> Reply {
    let mut reply = Reply::default();
    *reply.status_mut() = StatusCode::NO_CONTENT;
    reply
}

fn not_found() -> Reply {
    json(StatusCode::NOT_FOUND, NOT_FOUND)
}

fn too_large() -> Reply {
    json(StatusCode::PAYLOAD_TOO_LARGE, TOO_LARGE)
}

fn unavailable() -> Reply {
    json(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE)
}

fn unavailable_because(reason: &str) -> Reply {
    let body = serde_json::json!({"message": "Service Unavailable", "reason": reason});
    json(StatusCode::SERVICE_UNAVAILABLE, body.to_string())
}

fn not_allowed(method: &Method) -> Reply {
    let mut reply = json(StatusCode::METHOD_NOT_ALLOWED, NOT_ALLOWED);
    let allowed = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS");
    reply.headers_mut().insert(header::ALLOW, allowed);
    // What follows a CONNECT may be the tunnel's bytes, not a request.
    if method == Method::CONNECT {
        closing(reply)
    } else {
        reply
    }
}

/// A response that says why.
fn because(reason: &'static str, mut reply: Reply) -> Reply {
    reply.headers_mut().insert(REASON, HeaderValue::from_static(reason));
    reply
}

/// Ends the connection after this response.
fn closing(mut reply: Reply) -> Reply {
    let headers: &mut HeaderMap = reply.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    reply
}
