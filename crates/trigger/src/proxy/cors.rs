//! What pages of other sites may do: answered for functions, as a configuration says (Fetch standard, "CORS protocol").

use hikigane_model::Cors;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// What a page of another site asks for.
#[derive(Debug)]
pub struct CrossOrigin {
    origin: HeaderValue,
    preflight: Option<Preflight>,
}

/// What it is going to ask for.
#[derive(Debug)]
struct Preflight {
    method: HeaderValue,
    headers: Option<HeaderValue>,
}

impl CrossOrigin {
    /// Reads a request. `None`: no browser says that a page asks.
    pub fn of(method: &Method, headers: &HeaderMap) -> Option<Self> {
        let asked = headers.get(ACCESS_CONTROL_REQUEST_METHOD);
        Some(Self {
            origin: headers.get(ORIGIN)?.clone(),
            preflight: asked.filter(|_| *method == Method::OPTIONS).map(|asked| Preflight {
                method: asked.clone(),
                headers: headers.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned(),
            }),
        })
    }

    /// Whether a browser asks in advance.
    pub fn is_preflight(&self) -> bool {
        self.preflight.is_some()
    }

    /// Adds what the browser needs to the headers of a response, in place of what the function says of it: nothing, to an origin that is none
    /// of the configuration's.
    pub fn answer(&self, cors: &Cors, headers: &mut HeaderMap) {
        for name in [
            ACCESS_CONTROL_ALLOW_ORIGIN,
            ACCESS_CONTROL_ALLOW_CREDENTIALS,
            ACCESS_CONTROL_ALLOW_METHODS,
            ACCESS_CONTROL_ALLOW_HEADERS,
            ACCESS_CONTROL_EXPOSE_HEADERS,
            ACCESS_CONTROL_MAX_AGE,
        ] {
            headers.remove(name);
        }
        headers.append(VARY, HeaderValue::from_static("Origin"));
        if !cors.allow_origins.iter().flatten().any(|allowed| self.is_from(allowed)) {
            return;
        }
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, self.origin.clone());
        if cors.allow_credentials == Some(true) {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        match &self.preflight {
            None => set(
                headers,
                ACCESS_CONTROL_EXPOSE_HEADERS,
                list(cors.expose_headers.as_deref()),
            ),
            Some(asked) => {
                let methods = told(cors.allow_methods.as_deref(), Some(&asked.method));
                set(headers, ACCESS_CONTROL_ALLOW_METHODS, methods);
                let names = told(cors.allow_headers.as_deref(), asked.headers.as_ref());
                set(headers, ACCESS_CONTROL_ALLOW_HEADERS, names);
                set(headers, ACCESS_CONTROL_MAX_AGE, cors.max_age.map(HeaderValue::from));
            }
        }
    }

    /// Whether the page's origin is this one; `*` stands for the rest of it (AWS: `*`, `https://*`).
    fn is_from(&self, allowed: &str) -> bool {
        let origin = self.origin.as_bytes();
        match allowed.strip_suffix('*') {
            Some(start) => origin
                .get(..start.len())
                .is_some_and(|begin| begin.eq_ignore_ascii_case(start.as_bytes())),
            None => origin.eq_ignore_ascii_case(allowed.as_bytes()),
        }
    }
}

/// What is allowed. `*` means nothing to a browser that sends credentials: it is told what it asked for.
fn told(allowed: Option<&[String]>, asked: Option<&HeaderValue>) -> Option<HeaderValue> {
    let any = allowed.into_iter().flatten().any(|value| value == "*");
    match asked {
        Some(asked) if any => Some(asked.clone()),
        _ => list(allowed),
    }
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
