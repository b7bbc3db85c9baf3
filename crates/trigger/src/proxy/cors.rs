//! What pages of other sites may do: answered for functions, as a configuration says (Fetch standard, "CORS protocol").

use hikigane_model::Cors;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::PathStep;

/// The origins that stand for many (API Gateway developer guide, "Configure CORS for HTTP APIs").
const WHOLE: [&str; 3] = ["*", "http://*", "https://*"];

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

    fn answer(&self, cors: &Cors, headers: &mut HeaderMap) {
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

    /// Whether the page's origin is this one, or one of those that it stands for. A `*` elsewhere is no more than a character: a prefix of a
    /// host is a prefix of other people's hosts, too.
    fn is_from(&self, allowed: &str) -> bool {
        let origin = self.origin.as_bytes();
        match allowed.strip_suffix('*').filter(|_| WHOLE.contains(&allowed)) {
            Some(start) => origin
                .get(..start.len())
                .is_some_and(|begin| begin.eq_ignore_ascii_case(start.as_bytes())),
            None => origin.eq_ignore_ascii_case(allowed.as_bytes()),
        }
    }
}

/// Adds what a browser needs to the headers of a response to a page of another site, in place of what the function says of it: nothing, to an
/// origin that is none of the configuration's. Caches are told in any case, also where no page asks: what they keep of that request
/// is no answer to a page.
pub fn answer(cors: &Cors, page: Option<&CrossOrigin>, headers: &mut HeaderMap) {
    headers.append(VARY, HeaderValue::from_static("Origin"));
    if let Some(page) = page {
        page.answer(cors, headers);
    }
}

/// Something that a configuration should not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorsMistake {
    /// The setting, and the place in its list.
    pub path: Vec<PathStep>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

/// What is wrong with a configuration of the manifest. Lambda's API takes more, and means less by it.
pub fn check(cors: &Cors) -> Vec<CorsMistake> {
    let mut mistakes = Vec::new();
    let mut add =
        |path: Vec<PathStep>, message: String, help: String| mistakes.push(CorsMistake { path, message, help });
    let origins = cors.allow_origins.as_deref().unwrap_or_default();
    for (index, origin) in origins.iter().enumerate() {
        if origin.contains('*') && !WHOLE.contains(&origin.as_str()) {
            add(
                vec!["allowOrigins".into(), index.into()],
                format!("\"{origin}\" has a \"*\" in it"),
                "write whole origins, or \"http://*\", \"https://*\" or \"*\" for all".to_owned(),
            );
        }
    }
    for (index, method) in cors.allow_methods.iter().flatten().enumerate() {
        let is_method =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
        if method != "*" && !is_method(method) {
            let upper = Some(method.to_ascii_uppercase()).filter(|upper| is_method(upper));
            add(
                vec!["allowMethods".into(), index.into()],
                format!("\"{method}\" is not a method"),
                upper.map_or_else(
                    || "write methods as \"GET\", or \"*\" for any".to_owned(),
                    |upper| format!("did you mean \"{upper}\"?"),
                ),
            );
        }
    }
    // A page of any site could act for whoever is logged in; API Gateway refuses it, too.
    if cors.allow_credentials == Some(true) && origins.iter().any(|origin| WHOLE.contains(&origin.as_str())) {
        add(
            vec!["allowCredentials".into()],
            "credentials would be sent along from every site".to_owned(),
            "name the origins, as in \"allowOrigins: [http://localhost:5173]\"".to_owned(),
        );
    }
    mistakes
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

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(origins: &[&str], methods: &[&str], credentials: bool) -> Cors {
        let list = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect());
        Cors {
            allow_origins: list(origins),
            allow_methods: list(methods),
            allow_credentials: Some(credentials),
            ..Cors::default()
        }
    }

    #[test]
    fn a_star_stands_for_all_origins_or_all_of_a_scheme_and_for_nothing_else() {
        for (allowed, origin, is_from) in [
            ("*", "null", true),
            ("http://*", "HTTP://localhost:5173", true),
            ("http://*", "https://a.example", false),
            ("https://*", "https://a.example", true),
            // Lambda's API takes these.
            ("https://a.example*", "https://a.example", false),
            ("https://a.example*", "https://a.example.evil.example", false),
            ("http*", "https://a.example", false),
            ("https://*.a.example", "https://b.a.example", false),
        ] {
            let page = CrossOrigin {
                origin: HeaderValue::from_static(origin),
                preflight: None,
            };
            assert_eq!(page.is_from(allowed), is_from, "{allowed} {origin}");
        }
    }

    #[test]
    fn mistakes_of_a_configuration() {
        let mistakes = |cors: &Cors| -> Vec<String> {
            let line = |mistake: CorsMistake| format!("{:?} {} ({})", mistake.path, mistake.message, mistake.help);
            check(cors).into_iter().map(line).collect()
        };
        for (good, credentials) in [
            ("*", false),
            ("http://*", false),
            ("https://a.example:8443", true),
            ("null", true),
        ] {
            let good = cors(
                &["https://b.example", good],
                &["*", "GET", "VERSION-CONTROL"],
                credentials,
            );
            assert_eq!(mistakes(&good), [""; 0]);
        }
        assert_eq!(mistakes(&Cors::everything()), [""; 0]);
        for bad in ["http*", "https://a.example*", "https://*.example", "**"] {
            let expected = format!(
                "[Key(\"allowOrigins\"), Index(1)] \"{bad}\" has a \"*\" in it (write whole origins, or \"http://*\", \"https://*\" or \"*\" for all)"
            );
            assert_eq!(mistakes(&cors(&["null", bad], &[], true)), [expected]);
        }
        for all in WHOLE {
            assert_eq!(
                mistakes(&cors(&["https://a.example", all], &[], true)),
                [
                    "[Key(\"allowCredentials\")] credentials would be sent along from every site (name the origins, as in \"allowOrigins: [http://localhost:5173]\")"
                ],
                "{all}"
            );
        }
        assert_eq!(
            mistakes(&cors(&[], &["get", "5x", ""], false)),
            [
                "[Key(\"allowMethods\"), Index(0)] \"get\" is not a method (did you mean \"GET\"?)",
                "[Key(\"allowMethods\"), Index(1)] \"5x\" is not a method (write methods as \"GET\", or \"*\" for any)",
                "[Key(\"allowMethods\"), Index(2)] \"\" is not a method (write methods as \"GET\", or \"*\" for any)",
            ]
        );
    }
}
