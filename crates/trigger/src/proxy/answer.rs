//! The response that a function's result describes.
//!
//! An object with `statusCode` describes the response. Anything else is the body of a JSON response with status 200; a
//! string is its text (AWS answers `hello`, not `"hello"`, as recorded).

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

type Result<T, E = Malformed> = std::result::Result<T, E>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A result that describes no legal response, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

const NOT_JSON: Malformed = Malformed("the function's result is not JSON");

/// The response that a function's result, JSON text, describes. One that names no content type gets `content_type`.
pub fn of_result(result: &Bytes, content_type: HeaderValue) -> Result<Response<Bytes>> {
    match result.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => {
            let answer: Answer<'_> = serde_json::from_slice(result).map_err(|_| NOT_JSON)?;
            match &answer.status_code {
                Some(status) => {
                    let body = answer.to_body(result)?;
                    let head = answer.to_head(status_code(status)?, content_type)?;
                    let bodiless = is_bodiless(head.status());
                    Ok(head.map(|()| if bodiless { Bytes::new() } else { body }))
                }
                None => Ok(json(result.clone())),
            }
        }
        Some(b'"') => {
            let Text(text) = serde_json::from_slice(result).map_err(|_| NOT_JSON)?;
            Ok(json(share(text, result)))
        }
        _ => {
            serde_json::from_slice::<IgnoredAny>(result).map_err(|_| NOT_JSON)?;
            Ok(json(result.clone()))
        }
    }
}

/// The head of a response whose body is streamed after it: the prelude, a JSON object with `statusCode`, `headers` and `cookies`, each of which
/// may be missing (npm aws-lambda-ric, `HttpResponseStream`).
pub fn head(prelude: &[u8], content_type: HeaderValue) -> Result<Response<()>> {
    let answer: Answer<'_> = serde_json::from_slice(prelude).map_err(|_| Malformed("the prelude is no JSON object"))?;
    let status = match &answer.status_code {
        Some(status) => status_code(status)?,
        None => StatusCode::OK,
    };
    answer.to_head(status, content_type)
}

fn json(body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// These two have no body and so no type of one (RFC 9110, sections 15.3.5 and 15.4.5).
fn is_bodiless(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// A JSON text, borrowed when it has no escapes.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The fields of a result that describe a response. Their types are looked at only when there is a `statusCode`:
/// without one, the object is the body, whatever it has under the other names.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    #[serde(borrow, default, deserialize_with = "field")]
    status_code: Option<Json<'a>>,
    #[serde(borrow, default, deserialize_with = "field")]
    headers: Option<Json<'a>>,
    #[serde(borrow, default, deserialize_with = "field")]
    cookies: Option<Json<'a>>,
    #[serde(borrow, default, deserialize_with = "field")]
    body: Option<Json<'a>>,
    #[serde(borrow, default, deserialize_with = "field")]
    is_base64_encoded: Option<Json<'a>>,
}

impl Answer<'_> {
    fn to_head(&self, status: StatusCode, content_type: HeaderValue) -> Result<Response<()>> {
        let mut head = Response::new(());
        *head.status_mut() = status;
        let headers = head.headers_mut();
        self.add_headers(headers)?;
        self.add_cookies(headers)?;
        if !is_bodiless(status) && !headers.contains_key(header::CONTENT_TYPE) {
            headers.insert(header::CONTENT_TYPE, content_type);
        }
        Ok(head)
    }

    fn to_body(&self, result: &Bytes) -> Result<Bytes> {
        let encoded = match self.is_base64_encoded {
            None | Some(Json::Null) => false,
            Some(Json::Bool(encoded)) => encoded,
            Some(_) => return Err(Malformed("isBase64Encoded is not a boolean")),
        };
        match &self.body {
            None | Some(Json::Null) => Ok(Bytes::new()),
            Some(Json::Text(text)) if encoded => STANDARD
                .decode(text.as_bytes())
                .map(Bytes::from)
                .map_err(|_| Malformed("the body is not Base64")),
            Some(Json::Text(text)) => Ok(share(text.clone(), result)),
            Some(_) => Err(Malformed("the body is not a string: use JSON.stringify")),
        }
    }

    fn add_headers(&self, headers: &mut HeaderMap) -> Result<()> {
        let entries = match &self.headers {
            None | Some(Json::Null) => return Ok(()),
            Some(Json::Object(entries)) => entries,
            Some(_) => return Err(Malformed("headers is not an object")),
        };
        for (name, value) in entries {
            let value = match value {
                Json::Text(text) => header_value(text)?,
                Json::Number(number) => header_value(&number.to_string())?,
                Json::Bool(true) => HeaderValue::from_static("true"),
                Json::Bool(false) => HeaderValue::from_static("false"),
                Json::Null => continue,
                Json::List(_) | Json::Object(_) | Json::Deep => {
                    return Err(Malformed("a header's value is not a string, number or boolean"));
                }
            };
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Malformed("a header's name is illegal"))?;
            if passes(&name) {
                headers.append(name, value);
            }
        }
        Ok(())
    }

    fn add_cookies(&self, headers: &mut HeaderMap) -> Result<()> {
        let cookies = match &self.cookies {
            None | Some(Json::Null) => return Ok(()),
            Some(Json::List(cookies)) => cookies,
            Some(_) => return Err(Malformed("cookies is not an array")),
        };
        for cookie in cookies {
            let Json::Text(cookie) = cookie else {
                return Err(Malformed("a cookie is not a string"));
            };
            headers.append(header::SET_COOKIE, header_value(cookie)?);
        }
        Ok(())
    }
}

/// Whether a function may set a header: not those that frame the message or rule the connection, which are the server's.
fn passes(name: &HeaderName) -> bool {
    !matches!(
        name.as_str(),
        "connection"
            | "content-length"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// A value without line breaks and other control characters: no function can write a header line, or a response, of its own.
fn header_value(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| Malformed("a header's value has illegal characters"))
}

/// A status that can end an exchange: 200 to 599, a number or a numeric string. Statuses below 200 are interim (RFC 9110,
/// section 15.2): a client would wait for another.
fn status_code(value: &Json<'_>) -> Result<StatusCode> {
    let code = match value {
        Json::Number(number) => number.as_u64(),
        Json::Text(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    };
    code.and_then(|code| u16::try_from(code).ok())
        .filter(|code| (200..600).contains(code))
        .and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or(Malformed("statusCode is not a number from 200 to 599"))
}

/// A text as bytes, without a copy when it lies in the result.
fn share(text: Cow<'_, str>, result: &Bytes) -> Bytes {
    match text {
        Cow::Borrowed(text) => result.slice_ref(text.as_bytes()),
        Cow::Owned(text) => Bytes::from(text),
    }
}

/// A field of an answer: a scalar, or a container of scalars. What lies deeper is skipped, not kept.
enum Json<'a> {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(Cow<'a, str>),
    List(Vec<Json<'a>>),
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
    /// A container in a container.
    Deep,
}

fn field<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json<'de>>, D::Error> {
    JsonSeed { containers: true }.deserialize(deserializer).map(Some)
}

/// Reads a [`Json`]; containers in full or as [`Json::Deep`].
#[derive(Clone, Copy)]
struct JsonSeed {
    containers: bool,
}

const SCALAR: JsonSeed = JsonSeed { containers: false };

impl<'de> DeserializeSeed<'de> for JsonSeed {
    type Value = Json<'de>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for JsonSeed {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Json<'de>, E> {
        Ok(serde_json::Number::from_f64(value).map_or(Json::Null, Json::Number))
    }
    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(value.into()))
    }
    fn visit_str<E>(self, value: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(value.to_owned().into()))
    }
    fn visit_string<E>(self, value: String) -> Result<Json<'de>, E> {
        Ok(Json::Text(value.into()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json<'de>, A::Error> {
        let mut items = Vec::new();
        if !self.containers {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Json::Deep);
        }
        while let Some(item) = seq.next_element_seed(SCALAR)? {
            items.push(item);
        }
        Ok(Json::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json<'de>, A::Error> {
        let mut entries = Vec::new();
        if !self.containers {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(Json::Deep);
        }
        while let Some(Text(key)) = map.next_key()? {
            entries.push((key, map.next_value_seed(SCALAR)?));
        }
        Ok(Json::Object(entries))
    }
}
