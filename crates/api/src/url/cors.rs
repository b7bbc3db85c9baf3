//! What pages of other sites may do with a URL: answered for the function, as its configuration says (Fetch standard, "CORS protocol").

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::response::Response;
use hikigane_model::Cors;

/// Whether a browser asks in advance.
pub fn is_preflight(request: &Request) -> bool {
    let headers = request.headers();
    *request.method() == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// What it is answered: nothing is allowed to an origin that is none of the configuration's.
pub fn preflight(cors: &Cors, asked: &HeaderMap) -> Response {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    let origin = asked.get(ORIGIN).filter(|origin| allow(cors, origin, headers));
    if origin.is_none() {
        return response;
    }
    headers.remove(ACCESS_CONTROL_EXPOSE_HEADERS);
    for (name, allowed, wanted) in [
        (
            ACCESS_CONTROL_ALLOW_METHODS,
            &cors.allow_methods,
            ACCESS_CONTROL_REQUEST_METHOD,
        ),
        (
            ACCESS_CONTROL_ALLOW_HEADERS,
            &cors.allow_headers,
            ACCESS_CONTROL_REQUEST_HEADERS,
        ),
    ] {
        let any = allowed.iter().flatten().any(|value| value == "*");
        // `*` means nothing to a browser that sends credentials: it is told what it asked for.
        let told = match asked.get(&wanted) {
            Some(wanted) if any => Some(wanted.clone()),
            _ => list(allowed.as_deref()),
        };
        set(headers, name, told);
    }
    set(headers, ACCESS_CONTROL_MAX_AGE, cors.max_age.map(HeaderValue::from));
    response
}

/// Adds what a response to a page of `origin` needs, in place of what the function says of it; returns whether the origin is allowed.
pub fn allow(cors: &Cors, origin: &HeaderValue, headers: &mut HeaderMap) -> bool {
    for name in [
        ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_ALLOW_CREDENTIALS,
        ACCESS_CONTROL_EXPOSE_HEADERS,
    ] {
        headers.remove(name);
    }
    headers.append(VARY, HeaderValue::from_static("Origin"));
    let mut origins = cors.allow_origins.iter().flatten();
    if !origins.any(|allowed| allowed == "*" || allowed.as_bytes().eq_ignore_ascii_case(origin.as_bytes())) {
        return false;
    }
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    if cors.allow_credentials == Some(true) {
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    set(
        headers,
        ACCESS_CONTROL_EXPOSE_HEADERS,
        list(cors.expose_headers.as_deref()),
    );
    true
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>) {
    if let Some(value) = value {
        headers.insert(name, value);
    }
}

/// Values as one header; none when there are none, or no header can hold them.
fn list(values: Option<&[String]>) -> Option<HeaderValue> {
    let values = values.filter(|values| !values.is_empty())?;
    HeaderValue::from_str(&values.join(",")).ok()
}
