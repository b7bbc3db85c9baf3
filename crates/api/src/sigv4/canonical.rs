//! The one form of a request that its signature is made over.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use super::{Parts, S3, SignatureError};

/// All but the characters that RFC 3986 calls unreserved.
const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// As [`RESERVED`], in a path.
const RESERVED_IN_PATH: AsciiSet = RESERVED.remove(b'/');

/// `text`, percent-encoded as signatures want it, to stand in a query.
pub fn encode(text: &str) -> String {
    encoded(text.as_bytes())
}

fn encoded(bytes: &[u8]) -> String {
    percent_encode(bytes, &RESERVED).to_string()
}

/// The canonical request. `signed` are the names of the headers that it covers, in their order; `payload` is the hash of the body, or what stands for it.
pub(super) fn request(
    parts: Parts<'_>,
    service: &str,
    signed: &[impl AsRef<str>],
    payload: &str,
) -> Result<Vec<u8>, SignatureError> {
    let mut text = Vec::new();
    let mut line = |bytes: &[u8]| {
        text.extend_from_slice(bytes);
        text.push(b'\n');
    };
    line(parts.method.as_bytes());
    line(path(parts.path, service).as_bytes());
    line(query(parts.query).as_bytes());
    for name in signed.iter().map(AsRef::as_ref) {
        // A header that is signed and not there is not the same as an empty one.
        let value = header(parts, name).ok_or(SignatureError::Mismatch)?;
        line(&[name.as_bytes(), b":", &value].concat());
    }
    line(b"");
    let names: Vec<&str> = signed.iter().map(AsRef::as_ref).collect();
    line(names.join(";").as_bytes());
    text.extend_from_slice(payload.as_bytes());
    Ok(text)
}

/// The path without `.`, `..` and empty segments, encoded once more than it came. S3, whose keys may hold all of these, takes the path
/// that is meant, encoded once (Amazon S3 API reference, "Signature calculations for the authorization header").
fn path(raw: &str, service: &str) -> String {
    if service == S3 {
        let meant: Vec<u8> = percent_decode_str(raw).collect();
        return percent_encode(&meant, &RESERVED_IN_PATH).to_string();
    }
    percent_encode(normal(raw).as_bytes(), &RESERVED_IN_PATH).to_string()
}

/// A path in the form that its signature covers. What is served must be in that form, or it would not be what was signed.
pub(super) fn normal(raw: &str) -> String {
    let mut kept = Vec::new();
    for segment in raw.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    let end = if raw.ends_with('/') && !kept.is_empty() {
        "/"
    } else {
        ""
    };
    format!("/{}{end}", kept.join("/"))
}

/// The parameters sorted by name, then value, each encoded in the one way; without the signature itself.
fn query(raw: &str) -> String {
    let mut pairs: Vec<(String, String)> = parameters(raw)
        .filter(|(name, _)| name != b"X-Amz-Signature")
        .map(|(name, value)| (encoded(&name), encoded(&value)))
        .collect();
    pairs.sort();
    let pairs: Vec<String> = pairs
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("&")
}

/// The parameters of a query, decoded as those who serve the request decode them: `+` is a space.
pub(super) fn parameters(raw: &str) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).collect();
    raw.split('&').filter(|pair| !pair.is_empty()).map(move |pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    })
}

/// The values of a header, trimmed, with runs of spaces made one, joined by commas. `None`: it is not there.
fn header(parts: Parts<'_>, name: &str) -> Option<Vec<u8>> {
    let mut values = parts.headers.get_all(name).iter().peekable();
    values.peek()?;
    let values: Vec<Vec<u8>> = values.map(|value| single_spaced(value.as_bytes())).collect();
    Some(values.join(&b','))
}

fn single_spaced(value: &[u8]) -> Vec<u8> {
    let words: Vec<&[u8]> = value
        .split(|&byte| byte == b' ')
        .filter(|word| !word.is_empty())
        .collect();
    words.join(&b' ').trim_ascii().to_vec()
}
