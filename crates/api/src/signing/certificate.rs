//! Certificates that may sign code: X.509 with a key on the curve P-384.

use std::fmt;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::{OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384};
use x509_parser::prelude::FromDer;

/// Why a certificate cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It is no X.509 certificate.
    #[error("it is no X.509 certificate ({0})")]
    Unreadable(String),
    /// Its key is of another kind.
    #[error(
        "its key is not on the curve P-384: make one with `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-384`"
    )]
    Curve,
}

/// A certificate whose key is on the curve P-384. Nobody vouches for it: who signs is trusted by this very certificate, or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    key: Vec<u8>,
    subject: String,
    not_before: DateTime<Utc>,
    not_after: DateTime<Utc>,
}

impl Certificate {
    /// Reads a certificate in DER.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let unreadable = |why: &dyn fmt::Display| CertificateError::Unreadable(why.to_string());
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|error| unreadable(&error))?;
        if !rest.is_empty() {
            return Err(unreadable(&"something follows it"));
        }
        let key = parsed.public_key();
        let curve = key.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
        if key.algorithm.algorithm != OID_KEY_TYPE_EC_PUBLIC_KEY || curve != Some(OID_NIST_EC_P384) {
            return Err(CertificateError::Curve);
        }
        let time = |timestamp: i64| {
            DateTime::from_timestamp(timestamp, 0).ok_or_else(|| unreadable(&"its dates are out of range"))
        };
        let validity = parsed.validity();
        Ok(Self {
            der: der.to_vec(),
            key: key.subject_public_key.data.to_vec(),
            subject: parsed.subject().to_string(),
            not_before: time(validity.not_before.timestamp())?,
            not_after: time(validity.not_after.timestamp())?,
        })
    }

    /// The certificate in DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The public key, a point in X9.62's form.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// Whom it names.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The first second at which it is valid.
    pub fn not_before(&self) -> DateTime<Utc> {
        self.not_before
    }

    /// The last second at which it is valid.
    pub fn not_after(&self) -> DateTime<Utc> {
        self.not_after
    }

    /// Its fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.der)
    }
}

/// SHA-256 of a certificate in DER, 64 hexadecimal digits in lower case: what `openssl x509 -fingerprint -sha256` prints, without the colons.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The fingerprint of a certificate in DER.
    pub fn of(der: &[u8]) -> Self {
        let hash = Sha256::digest(der);
        Self(hash.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Reads a fingerprint; `None` when the text is none.
    pub fn parse(text: &str) -> Option<Self> {
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        (text.len() == 64 && text.bytes().all(digit)).then(|| Self(text.to_owned()))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
