//! The event of a request. Written straight into a buffer: this is the hot path.

use std::borrow::Cow;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Datelike, Timelike, Utc};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Version, request};

use super::percent;

/// What is known of a connection, the same for all its requests.
#[derive(Debug)]
pub struct Connection {
    /// The caller's address.
    pub peer_ip: String,
    /// The server's own address, the name of a host that names none (HTTP/1.0).
    pub local_ip: String,
    /// The server's port.
    pub local_port: u16,
}

impl Connection {
    /// A connection of `peer` to `local`.
    pub fn new(peer: SocketAddr, local: SocketAddr) -> Self {
        let text = |ip: IpAddr| {
            if ip.is_ipv6() {
                format!("[{ip}]")
            } else {
                ip.to_string()
            }
        };
        Self {
            peer_ip: peer.ip().to_string(),
            local_ip: text(local.ip()),
            local_port: local.port(),
        }
    }
}

/// The service of AWS that a gateway stands for. Their events differ in a few points, all of them as recorded from AWS in July 2026
/// (<https://github.com/hotsock/voker>, `vokerhttp/testdata`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// API Gateway's HTTP API: the function sees the path decoded, a length with every request, and cookies in `cookies` only.
    HttpApi,
    /// A function URL: `rawPath` is what was sent, and there is a `cookie` header, too.
    FunctionUrl,
}

impl Service {
    /// The path as it stands in `requestContext.http.path`, of one as it was sent. `None`: the service refuses the request.
    ///
    /// An HTTP API decodes twice: once to see an address, whose path ends before a `?`, and then that path.
    pub fn path(self, sent: &str) -> Option<Cow<'_, str>> {
        match self {
            Self::FunctionUrl => Some(percent::decode(sent)),
            Self::HttpApi if !sent.contains('%') => Some(sent.into()),
            Self::HttpApi => {
                let address = percent::decode_strictly(sent)?;
                let path = address.split('?').next().unwrap_or_default();
                percent::decode_strictly(path).map(|path| Cow::Owned(path.into_owned()))
            }
        }
    }
}

/// Who takes requests for functions.
#[derive(Debug, Clone, Copy)]
pub struct Gateway<'a> {
    /// What it stands for.
    pub service: Service,
    /// Whose it is; of a URL that everybody may call: `anonymous`.
    pub account_id: &'a str,
    /// The id of the API or the URL.
    pub api_id: &'a str,
    /// What it found out about the caller, JSON: `{"iam": ..}`.
    pub authorizer: Option<&'a str>,
}

/// A request that has a route and a complete body.
pub struct Request<'a> {
    /// Who took it.
    pub gateway: Gateway<'a>,
    /// The route, as `GET /items/{id}` or `$default`.
    pub route_key: &'a str,
    /// What the path has in place of the route's names, still encoded.
    pub path_parameters: &'a [(&'a str, &'a str)],
    /// Method, target and headers.
    pub head: &'a request::Parts,
    /// The target's path, by [`Service::path`].
    pub path: &'a str,
    /// The host that the request is for, with its port when it named one.
    pub host: &'a str,
    /// Where it came from.
    pub connection: &'a Connection,
    /// Its id.
    pub request_id: &'a str,
    /// Its trace header, its own or one that it was given.
    pub trace: &'a str,
    /// When it came.
    pub time: DateTime<Utc>,
    /// Its body.
    pub body: &'a [u8],
}

impl Request<'_> {
    /// The event as JSON. Parts that the request does not have are left out.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1536 + self.body.len() + self.body.len() / 2);
        out.extend_from_slice(br#"{"version":"2.0","routeKey":"#);
        push_string(&mut out, self.route_key);
        out.extend_from_slice(br#","rawPath":"#);
        push_string(
            &mut out,
            match self.gateway.service {
                Service::HttpApi => self.path,
                Service::FunctionUrl => self.head.uri.path(),
            },
        );
        let query = self.head.uri.query().unwrap_or_default();
        out.extend_from_slice(br#","rawQueryString":"#);
        push_string(&mut out, query);
        push_cookies(&mut out, &self.head.headers);
        self.push_headers(&mut out);
        push_query(&mut out, query);
        self.push_context(&mut out);
        let text = self.push_body(&mut out);
        self.push_path_parameters(&mut out);
        out.extend_from_slice(if text {
            br#","isBase64Encoded":false}"#
        } else {
            br#","isBase64Encoded":true}"#
        });
        out
    }

    /// The headers without those that belong to the connection; with AWS's `x-forwarded-*` and `x-amzn-trace-id`.
    fn push_headers(&self, out: &mut Vec<u8>) {
        let headers = &self.head.headers;
        let service = self.gateway.service;
        out.extend_from_slice(br#","headers":{"host":""#);
        push_escaped(out, self.host);
        out.extend_from_slice(b"\",\"x-amzn-trace-id\":\"");
        push_escaped(out, self.trace);
        for name in headers.keys().filter(|name| passes(name)) {
            // A header name is a token (RFC 9110, section 5.1): nothing in it needs escaping.
            out.extend_from_slice(b"\",\"");
            out.extend_from_slice(name.as_str().as_bytes());
            out.extend_from_slice(b"\":\"");
            push_joined(out, headers, name, b",");
        }
        if service == Service::FunctionUrl && headers.contains_key(header::COOKIE) {
            out.extend_from_slice(b"\",\"cookie\":\"");
            push_joined(out, headers, &header::COOKIE, b"; ");
        }
        let always = service == Service::HttpApi;
        if (always || !self.body.is_empty()) && !headers.contains_key(header::CONTENT_LENGTH) {
            // A body that came in chunks is whole for the function.
            let _ = write!(out, "\",\"content-length\":\"{}", self.body.len());
        }
        out.extend_from_slice(b"\",\"x-forwarded-for\":\"");
        if headers.contains_key(X_FORWARDED_FOR) {
            push_joined(out, headers, &X_FORWARDED_FOR, b", ");
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(self.connection.peer_ip.as_bytes());
        let _ = write!(
            out,
            "\",\"x-forwarded-port\":\"{}\",\"x-forwarded-proto\":\"http\"}}",
            self.connection.local_port
        );
    }

    fn push_context(&self, out: &mut Vec<u8>) {
        let domain = domain_name(self.host);
        out.extend_from_slice(br#","requestContext":{"accountId":""#);
        push_escaped(out, self.gateway.account_id);
        out.extend_from_slice(br#"","apiId":""#);
        push_escaped(out, self.gateway.api_id);
        if let Some(authorizer) = self.gateway.authorizer {
            out.extend_from_slice(br#"","authorizer":"#);
            out.extend_from_slice(authorizer.as_bytes());
            out.extend_from_slice(br#","domainName":""#);
        } else {
            out.extend_from_slice(br#"","domainName":""#);
        }
        push_escaped(out, domain);
        out.extend_from_slice(br#"","domainPrefix":""#);
        push_escaped(out, domain_prefix(domain));
        out.extend_from_slice(br#"","http":{"method":""#);
        out.extend_from_slice(self.head.method.as_str().as_bytes());
        out.extend_from_slice(br#"","path":"#);
        push_string(out, self.path);
        let old = self.head.version == Version::HTTP_10;
        out.extend_from_slice(if old {
            br#","protocol":"HTTP/1.0""#
        } else {
            br#","protocol":"HTTP/1.1""#
        });
        out.extend_from_slice(br#","sourceIp":""#);
        out.extend_from_slice(self.connection.peer_ip.as_bytes());
        out.extend_from_slice(br#"","userAgent":""#);
        push_joined(out, &self.head.headers, &header::USER_AGENT, b",");
        out.extend_from_slice(br#""},"requestId":""#);
        out.extend_from_slice(self.request_id.as_bytes());
        out.extend_from_slice(br#"","routeKey":"#);
        push_string(out, self.route_key);
        out.extend_from_slice(br#","stage":"$default","time":""#);
        push_time(out, self.time);
        let _ = write!(out, r#"","timeEpoch":{}}}"#, self.time.timestamp_millis());
    }

    /// Writes the body; returns whether it is text.
    fn push_body(&self, out: &mut Vec<u8>) -> bool {
        if self.body.is_empty() {
            return true;
        }
        out.extend_from_slice(br#","body":"#);
        let text = if is_text(&self.head.headers) {
            std::str::from_utf8(self.body).ok()
        } else {
            None
        };
        match text {
            Some(text) => push_string(out, text),
            None => push_base64(out, self.body),
        }
        text.is_some()
    }

    fn push_path_parameters(&self, out: &mut Vec<u8>) {
        let mut before: &[u8] = br#","pathParameters":{"#;
        for (name, value) in self.path_parameters {
            out.extend_from_slice(before);
            push_string(out, name);
            out.push(b':');
            push_string(out, &percent::decode(value));
            before = b",";
        }
        if before == b"," {
            out.push(b'}');
        }
    }
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Whether a header of the request stands in the event: not those which are written from what the gateway knows itself,
/// nor those of the connection (RFC 9110, section 7.6.1), which a gateway does not pass on.
fn passes(name: &HeaderName) -> bool {
    !matches!(
        name.as_str(),
        "cookie"
            | "host"
            | "x-amzn-trace-id"
            | "x-forwarded-for"
            | "x-forwarded-port"
            | "x-forwarded-proto"
            | "connection"
            | "expect"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Whether a body is text, by its headers; one that is not UTF-8 is binary all the same.
///
/// AWS documents no list. Measured there, `text/*`, JSON, XML and JavaScript are text, and all else is base64: forms, too,
/// and bodies without a type. A function that follows `isBase64Encoded` runs on both.
fn is_text(headers: &HeaderMap) -> bool {
    if headers.contains_key(header::CONTENT_ENCODING) {
        return false;
    }
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let kind = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind.starts_with("text/")
        || matches!(
            kind.as_str(),
            "application/json" | "application/xml" | "application/javascript"
        )
}

/// `cookies`: every cookie of every `cookie` header, when there is one.
fn push_cookies(out: &mut Vec<u8>, headers: &HeaderMap) {
    let mut before: &[u8] = br#","cookies":["#;
    for value in headers.get_all(header::COOKIE) {
        let value = header_text(value);
        for cookie in value.split(';').map(str::trim).filter(|cookie| !cookie.is_empty()) {
            out.extend_from_slice(before);
            push_string(out, cookie);
            before = b",";
        }
    }
    if before == b"," {
        out.push(b']');
    }
}

/// `queryStringParameters`: decoded, ordered by key, the values of one key joined by commas.
fn push_query(out: &mut Vec<u8>, query: &str) {
    let mut pairs: Vec<(Cow<'_, str>, Cow<'_, str>)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (percent::decode_query(key), percent::decode_query(value)))
        .collect();
    // Stable, so the values of one key keep their order; and never quadratic, whatever a client sends.
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    let mut previous: Option<&str> = None;
    for (key, value) in &pairs {
        match previous {
            Some(last) if last == key => out.push(b','),
            _ => {
                out.extend_from_slice(if previous.is_some() {
                    b"\","
                } else {
                    br#","queryStringParameters":{"#
                });
                push_string(out, key);
                out.extend_from_slice(b":\"");
            }
        }
        push_escaped(out, value);
        previous = Some(key);
    }
    if previous.is_some() {
        out.extend_from_slice(b"\"}");
    }
}

/// All values of a header, as the inside of one JSON string.
fn push_joined(out: &mut Vec<u8>, headers: &HeaderMap, name: &HeaderName, separator: &[u8]) {
    for (i, value) in headers.get_all(name).iter().enumerate() {
        if i > 0 {
            out.extend_from_slice(separator);
        }
        push_escaped(out, &header_text(value));
    }
}

/// A header's value as text: UTF-8, or else Latin-1, which HTTP once meant (RFC 9110, section 5.5).
fn header_text(value: &HeaderValue) -> Cow<'_, str> {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => text.into(),
        Err(_) => value
            .as_bytes()
            .iter()
            .map(|byte| char::from(*byte))
            .collect::<String>()
            .into(),
    }
}

/// A host without its port.
fn domain_name(host: &str) -> &str {
    match host.find(']') {
        Some(end) if host.starts_with('[') => &host[..=end],
        _ => host.split(':').next().unwrap_or(host),
    }
}

/// The first label of a name; an address has none and stays whole.
fn domain_prefix(domain: &str) -> &str {
    if domain.starts_with('[') || domain.parse::<IpAddr>().is_ok() {
        return domain;
    }
    domain.split('.').next().unwrap_or(domain)
}

/// `12/Mar/2020:19:03:58 +0000`, the common log format's time.
fn push_time(out: &mut Vec<u8>, time: DateTime<Utc>) {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    push_two_digits(out, time.day());
    out.push(b'/');
    out.extend_from_slice(MONTHS[time.month0() as usize].as_bytes());
    let _ = write!(out, "/{:04}", time.year());
    for part in [time.hour(), time.minute(), time.second()] {
        out.push(b':');
        push_two_digits(out, part);
    }
    out.extend_from_slice(b" +0000");
}

/// A number below 100.
fn push_two_digits(out: &mut Vec<u8>, number: u32) {
    out.extend([number / 10 % 10, number % 10].map(|digit| b'0' + digit as u8));
}

fn push_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    // The slice has exactly the size of the encoding, so it always fits.
    let written = STANDARD.encode_slice(bytes, &mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
    out.push(b'"');
}

/// A JSON string. Writing to a `Vec` cannot fail.
fn push_string(out: &mut Vec<u8>, text: &str) {
    if is_plain(text) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        let _ = serde_json::to_writer(out, text);
    }
}

/// The inside of a JSON string.
fn push_escaped(out: &mut Vec<u8>, text: &str) {
    if is_plain(text) {
        out.extend_from_slice(text.as_bytes());
    } else {
        let start = out.len();
        push_string(out, text);
        out.truncate(out.len() - 1);
        out.remove(start);
    }
}

/// Whether a text stands in a JSON string as it is. Looks at whole chunks, which the compiler turns into vector
/// instructions; most texts of an event are short and plain.
fn is_plain(text: &str) -> bool {
    let plain = |byte: u8| (byte >= b' ') & (byte != b'"') & (byte != b'\\');
    text.as_bytes()
        .chunks(64)
        .all(|chunk| chunk.iter().fold(true, |all, byte| all & plain(*byte)))
}
