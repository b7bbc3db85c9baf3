//! What a request says of its signature.

use std::collections::HashMap;

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, DATE, HOST};
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use subtle::ConstantTimeEq;

use super::canonical::{self, parameters};
use super::signing::{sha256, signature};
use super::{ALGORITHM, Parts, S3, Scope, SignatureError, TERMINATOR, TIME};

/// How far a client's clock may be off (IAM user guide, "Signing AWS API requests": a request must reach AWS within five minutes).
const SKEW: TimeDelta = TimeDelta::minutes(5);
/// The same for S3 (Amazon S3 API reference, `RequestTimeTooSkewed`).
const SKEW_OF_S3: TimeDelta = TimeDelta::minutes(15);
/// The longest life of a presigned URL, seconds (Amazon S3 API reference, `X-Amz-Expires`): a week.
const LONGEST_LIFE: i64 = 604_800;
/// What stands for the hash of a body that is not signed.
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
/// The header with the hash of the body, or what stands for it.
const PAYLOAD: &str = "x-amz-content-sha256";
/// The header that may be added after a request was signed. The key that signed depends on it, so it cannot be changed either.
const TOKEN: &str = "x-amz-security-token";

/// What a request says of its signature. Nothing of it is true before [`Claim::verify`].
#[derive(Debug, Clone)]
pub struct Claim {
    /// The access key that is said to have signed.
    pub access_key_id: String,
    /// The token that belongs to the key of a session.
    pub session_token: Option<String>,
    pub(super) scope: Scope,
    pub(super) time: DateTime<Utc>,
    /// How long the signature is good for, where it says so itself.
    life: Option<TimeDelta>,
    signed_headers: Vec<String>,
    signature: String,
    covers_body: bool,
}

impl Claim {
    /// Reads it from `Authorization`, or from the query of a presigned URL.
    ///
    /// # Errors
    ///
    /// There is none, there are two, or a part of it is missing, not signed or not legible.
    pub fn read(parts: Parts<'_>) -> Result<Self, SignatureError> {
        let query = Query::read(parts.query)?;
        let claim = match (
            single(parts.headers, AUTHORIZATION.as_str())?,
            query.get("X-Amz-Algorithm"),
        ) {
            (Some(authorization), None) => Self::in_header(authorization, parts)?,
            (None, Some(algorithm)) => Self::in_query(algorithm, &query, parts)?,
            (Some(_), Some(_)) => {
                return incomplete(
                    "The request is signed in its Authorization header and in its query: once is enough.",
                );
            }
            (None, None) => return Err(SignatureError::Missing),
        };
        claim.check_headers(parts)?;
        Ok(claim)
    }

    /// Whether the body must be known to [`Claim::verify`].
    pub fn covers_body(&self) -> bool {
        self.covers_body
    }

    /// Whether the path is written as the signature covers it: what is served by a path that only stands for the signed one was not signed.
    pub fn covers_path(&self, path: &str) -> bool {
        self.scope.service == S3 || canonical::normal(path) == path
    }

    /// Refuses what was signed too long ago, or with a clock that is ahead.
    ///
    /// # Errors
    ///
    /// [`SignatureError::OutOfScope`].
    pub fn check_time(&self, now: DateTime<Utc>) -> Result<(), SignatureError> {
        let skew = if self.scope.service == S3 { SKEW_OF_S3 } else { SKEW };
        let life = self.life.unwrap_or(skew);
        let text = |time: DateTime<Utc>| time.format(TIME).to_string();
        let signed = text(self.time);
        if self.time < now - life {
            return Err(SignatureError::OutOfScope(format!(
                "Signature expired: {signed} is now earlier than {} ({} - {}.)",
                text(now - life),
                text(now),
                span(life)
            )));
        }
        if self.time > now + skew {
            return Err(SignatureError::OutOfScope(format!(
                "Signature not yet current: {signed} is still later than {} ({} + {}.)",
                text(now + skew),
                text(now),
                span(skew)
            )));
        }
        Ok(())
    }

    /// Makes the signature anew with the key's `secret` and compares, in a time that does not depend on where they differ.
    ///
    /// # Errors
    ///
    /// [`SignatureError::Mismatch`].
    pub fn verify(&self, parts: Parts<'_>, body: &[u8], secret: &str) -> Result<(), SignatureError> {
        let request = self.canonical_request(parts, body)?;
        let expected = signature(secret, &self.scope, self.time, &request);
        if bool::from(expected.as_bytes().ct_eq(self.signature.as_bytes())) {
            Ok(())
        } else {
            Err(SignatureError::Mismatch)
        }
    }

    pub(super) fn canonical_request(&self, parts: Parts<'_>, body: &[u8]) -> Result<Vec<u8>, SignatureError> {
        let payload = if self.covers_body {
            sha256(body)
        } else {
            UNSIGNED.to_owned()
        };
        canonical::request(parts, &self.scope.service, &self.signed_headers, &payload)
    }

    #[cfg(test)]
    pub(super) fn string_to_sign(&self, request: &[u8]) -> String {
        super::signing::string_to_sign(&self.scope, self.time, request)
    }

    /// `AWS4-HMAC-SHA256 Credential=.., SignedHeaders=.., Signature=..`
    fn in_header(authorization: &str, parts: Parts<'_>) -> Result<Self, SignatureError> {
        let (algorithm, fields) = authorization.split_once(' ').unwrap_or((authorization, ""));
        check_algorithm(algorithm)?;
        let mut found = HashMap::new();
        for field in fields.split(',').map(str::trim).filter(|field| !field.is_empty()) {
            let Some((name, value)) = field.split_once('=') else {
                return incomplete(format!(
                    "'{field}' not a valid key=value pair (missing equal-sign) in Authorization header: '{authorization}'."
                ));
            };
            if found.insert(name, value).is_some() {
                return incomplete(format!(
                    "'{name}' stands twice in Authorization header: '{authorization}'."
                ));
            }
        }
        let date = single(parts.headers, "x-amz-date")?.or(single(parts.headers, DATE.as_str())?);
        let mut missing = String::new();
        for name in ["Credential", "Signature", "SignedHeaders"] {
            if !found.contains_key(name) {
                missing.push_str(&format!("Authorization header requires '{name}' parameter. "));
            }
        }
        if date.is_none() {
            missing.push_str("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ");
        }
        let field = |name| found.get(name).copied();
        let (Some(credential), Some(signature), Some(signed), Some(date)) =
            (field("Credential"), field("Signature"), field("SignedHeaders"), date)
        else {
            return incomplete(format!("{missing}Authorization={algorithm}"));
        };
        let payload = single(parts.headers, PAYLOAD)?;
        let token = single(parts.headers, TOKEN)?.map(str::to_owned);
        Self::new(credential, time(date)?, None, token, (signed, signature), payload)
    }

    /// `X-Amz-Algorithm=..&X-Amz-Credential=..` and so on.
    fn in_query(algorithm: &str, query: &Query, parts: Parts<'_>) -> Result<Self, SignatureError> {
        check_algorithm(algorithm)?;
        let field = |name: &str| match query.get(name) {
            Some(value) => Ok(value),
            None => incomplete(format!(
                "AWS query-string parameters must include '{name}'. Re-examine the query-string parameters."
            )),
        };
        let (credential, signature) = (field("X-Amz-Credential")?, field("X-Amz-Signature")?);
        let (signed, date) = (field("X-Amz-SignedHeaders")?, field("X-Amz-Date")?);
        let life = query.get("X-Amz-Expires").map(life).transpose()?;
        let payload = single(parts.headers, PAYLOAD)?.or(query.get("X-Amz-Content-Sha256"));
        // A presigned URL of S3 leaves the body open unless it says otherwise (Amazon S3 API reference, "Using query parameters").
        let open = credential.split('/').nth(3) == Some(S3);
        let payload = payload.or(open.then_some(UNSIGNED));
        let token = query.get("X-Amz-Security-Token").map(str::to_owned);
        Self::new(credential, time(date)?, life, token, (signed, signature), payload)
    }

    fn new(
        credential: &str,
        time: DateTime<Utc>,
        life: Option<TimeDelta>,
        session_token: Option<String>,
        (signed_headers, signature): (&str, &str),
        payload: Option<&str>,
    ) -> Result<Self, SignatureError> {
        let elements: Vec<&str> = credential.split('/').collect();
        let [id, date, region, service, terminator] = elements[..] else {
            return incomplete(format!(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '{credential}'"
            ));
        };
        if payload.is_some_and(|payload| payload.starts_with("STREAMING-")) {
            return Err(SignatureError::Unsupported(
                "A body that is signed in chunks (x-amz-content-sha256: STREAMING-...) is not supported: sign the whole body.".to_owned(),
            ));
        }
        let mut wrong = Vec::new();
        if terminator != TERMINATOR {
            wrong.push(format!(
                "Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{terminator}'."
            ));
        }
        let day = time.format("%Y%m%d").to_string();
        if date != day {
            wrong.push(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{date}' != '{day}', from '{}'.",
                time.format(TIME)
            ));
        }
        if !wrong.is_empty() {
            return Err(SignatureError::OutOfScope(wrong.join(" ")));
        }
        Ok(Self {
            access_key_id: id.to_owned(),
            session_token,
            scope: Scope {
                date: day,
                region: region.to_owned(),
                service: service.to_owned(),
            },
            time,
            life,
            signed_headers: signed_headers.split(';').map(str::to_owned).collect(),
            signature: signature.to_owned(),
            covers_body: service != S3 || payload != Some(UNSIGNED),
        })
    }

    /// The host and all of AWS's own headers must be signed: they decide what is done, and where.
    fn check_headers(&self, parts: Parts<'_>) -> Result<(), SignatureError> {
        let signs = |name: &str| self.signed_headers.iter().any(|signed| signed == name);
        if !signs(HOST.as_str()) {
            return Err(SignatureError::OutOfScope(
                "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.".to_owned(),
            ));
        }
        single(parts.headers, HOST.as_str())?;
        let names = parts.headers.keys().map(|name| name.as_str());
        let open: Vec<&str> = names
            .filter(|name| name.starts_with("x-amz-") && *name != TOKEN && !signs(name))
            .collect();
        if open.is_empty() {
            return Ok(());
        }
        Err(SignatureError::OutOfScope(format!(
            "There were headers present in the request which were not signed: {}",
            open.join(", ")
        )))
    }
}

/// The service that a request names in its signature, be it good or not: whose protocol the answer must have.
pub fn service(parts: Parts<'_>) -> Option<String> {
    let credential = match parts.headers.get(AUTHORIZATION) {
        Some(value) => value.to_str().ok()?.split_once("Credential=")?.1.to_owned(),
        None => Query::read(parts.query).ok()?.get("X-Amz-Credential")?.to_owned(),
    };
    credential.split(',').next()?.split('/').nth(3).map(str::to_owned)
}

/// The parameters of a presigned URL, by name; each stands once.
struct Query(HashMap<String, String>);

impl Query {
    fn read(raw: &str) -> Result<Self, SignatureError> {
        let mut found = HashMap::new();
        for (name, value) in parameters(raw) {
            let (Ok(name), Ok(value)) = (String::from_utf8(name), String::from_utf8(value)) else {
                continue;
            };
            if name.starts_with("X-Amz-") && found.insert(name.clone(), value).is_some() {
                return incomplete(format!("The query-string parameter '{name}' stands twice."));
            }
        }
        Ok(Self(found))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// The value of a header that must not stand twice: who reads the first and who reads the last would read two requests.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, SignatureError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match (value.to_str(), values.next()) {
        (Ok(text), None) => Ok(Some(text.trim())),
        (Err(_), None) => incomplete(format!("The header '{name}' is not text.")),
        (_, Some(_)) => incomplete(format!("The header '{name}' stands twice.")),
    }
}

fn check_algorithm(algorithm: &str) -> Result<(), SignatureError> {
    if algorithm == ALGORITHM {
        return Ok(());
    }
    incomplete(format!("Unsupported AWS 'algorithm': '{algorithm}'."))
}

/// `20150830T123600Z`, or an HTTP date, which `Date` may hold (RFC 9110).
fn time(text: &str) -> Result<DateTime<Utc>, SignatureError> {
    // Written anew it must be the same: digits may not be left out, and no year is longer.
    let basic = NaiveDateTime::parse_from_str(text, TIME)
        .ok()
        .map(|time| time.and_utc());
    if let Some(time) = basic.filter(|time| time.format(TIME).to_string() == text) {
        return Ok(time);
    }
    match DateTime::parse_from_rfc2822(text) {
        Ok(time) => Ok(time.to_utc()),
        Err(_) => incomplete(format!(
            "Date must be in ISO-8601 'basic format'. Got '{text}'. See http://en.wikipedia.org/wiki/ISO_8601"
        )),
    }
}

fn life(text: &str) -> Result<TimeDelta, SignatureError> {
    match text.parse::<i64>() {
        Ok(seconds @ 1..=LONGEST_LIFE) => Ok(TimeDelta::seconds(seconds)),
        _ => incomplete(format!(
            "X-Amz-Expires must be a number of seconds from 1 to {LONGEST_LIFE}, a week. Got '{text}'."
        )),
    }
}

/// `5 min`, or `90 sec` where it is not whole minutes.
fn span(span: TimeDelta) -> String {
    let seconds = span.num_seconds();
    if seconds % 60 == 0 {
        format!("{} min", seconds / 60)
    } else {
        format!("{seconds} sec")
    }
}

fn incomplete<T>(message: impl Into<String>) -> Result<T, SignatureError> {
    Err(SignatureError::Incomplete(message.into()))
}
