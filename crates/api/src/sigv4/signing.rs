//! Making signatures.

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use chrono::{DateTime, Utc};
use hikigane_model::AccessKey;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use super::{ALGORITHM, Parts, Scope, SignatureError, TERMINATOR, TIME, canonical};

/// The headers that make `parts` with `body` a request signed by `key`, to be added to those it has. `host` must be among these.
///
/// # Errors
///
/// The host is missing, or a part of the key cannot stand in a header.
pub fn sign(
    parts: Parts<'_>,
    body: &[u8],
    key: &AccessKey,
    (region, service): (&str, &str),
    now: DateTime<Utc>,
) -> Result<HeaderMap, SignatureError> {
    let unfit = |_| SignatureError::Incomplete("the access key has characters that no header can hold".to_owned());
    let mut added = HeaderMap::new();
    let time = now.format(TIME).to_string();
    let value = |text: &str| HeaderValue::from_str(text).map_err(unfit);
    added.insert(HeaderName::from_static("x-amz-date"), value(&time)?);
    if let Some(token) = &key.session_token {
        added.insert(HeaderName::from_static("x-amz-security-token"), value(token)?);
    }
    let mut headers = parts.headers.clone();
    headers.extend(added.clone());
    let covered = |name: &&str| *name == HOST.as_str() || *name == CONTENT_TYPE.as_str() || name.starts_with("x-amz-");
    let mut signed: Vec<&str> = headers.keys().map(HeaderName::as_str).filter(covered).collect();
    signed.sort_unstable();
    let scope = Scope {
        date: time.chars().take(8).collect(),
        region: region.to_owned(),
        service: service.to_owned(),
    };
    let whole = Parts {
        headers: &headers,
        ..parts
    };
    let request = canonical::request(whole, service, &signed, &sha256(body))?;
    let signature = signature(&key.secret, &scope, now, &request);
    let authorization = format!(
        "{ALGORITHM} Credential={}/{}, SignedHeaders={}, Signature={signature}",
        key.id,
        scope.text(),
        signed.join(";")
    );
    added.insert(AUTHORIZATION, value(&authorization)?);
    Ok(added)
}

/// The signature of a canonical request, in hexadecimal digits.
pub(super) fn signature(secret: &str, scope: &Scope, time: DateTime<Utc>, request: &[u8]) -> String {
    let to_sign = string_to_sign(scope, time, request);
    let mut key = hmac(format!("AWS4{secret}").as_bytes(), &scope.date);
    for part in [scope.region.as_str(), &scope.service, TERMINATOR] {
        key = hmac(&key, part);
    }
    hex(&hmac(&key, &to_sign))
}

pub(super) fn string_to_sign(scope: &Scope, time: DateTime<Utc>, request: &[u8]) -> String {
    format!(
        "{ALGORITHM}\n{}\n{}\n{}",
        time.format(TIME),
        scope.text(),
        sha256(request)
    )
}

/// The SHA-256 of `bytes`, in hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// HMAC-SHA256. Keys may have any length, so making it does not fail.
pub(crate) fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        unreachable!("an HMAC takes keys of any length (RFC 2104)")
    };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
