//! The signature itself: a JSON Web Signature in its compact form (RFC 7515), by the algorithm ES384 (RFC 7518, 3.4).
//!
//! Its header carries the certificate (`x5c`), its payload what is signed. Only what [`seal`] writes is read: one algorithm, no other members.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, EcdsaKeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::archive::Digest;
use super::certificate::Certificate;
use super::publisher::{JobId, ProfileVersion};

const ALGORITHM: &str = "ES384";
const KIND: &str = "hikigane-code-signature";

/// What a signer says of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The archive's digest.
    pub archive: Digest,
    /// The version of the profile in whose name it is signed.
    pub profile: ProfileVersion,
    /// The signing job.
    pub job: JobId,
    /// When it was signed.
    pub signed_at: DateTime<Utc>,
    /// When the signature expires.
    pub expires_at: DateTime<Utc>,
}

/// A statement that the owner of a certificate's key made. Whether the certificate is one to trust is another question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The statement.
    pub statement: Statement,
    /// The certificate.
    pub certificate: Certificate,
}

impl Signature {
    /// Whether the signature holds at a moment: it does not before its certificate is valid, and after its end.
    pub fn holds_at(&self, now: DateTime<Utc>) -> bool {
        self.certificate.not_before() <= now && now < self.end()
    }

    /// When the signature ends: at its own expiry or with its certificate, whichever comes first.
    pub fn end(&self) -> DateTime<Utc> {
        self.statement.expires_at.min(self.certificate.not_after())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    /// Certificates in DER and base64; the first one's key signs (RFC 7515, 4.1.6).
    x5c: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    /// Hexadecimal.
    sha384: String,
    /// ARN.
    profile: String,
    /// ARN.
    job: String,
    /// Seconds since 1970, as in RFC 7519.
    iat: i64,
    exp: i64,
}

/// Signs a statement.
///
/// # Errors
///
/// When the machine gives no random numbers.
pub fn seal(
    statement: &Statement,
    certificate: &Certificate,
    key: &EcdsaKeyPair,
) -> Result<Vec<u8>, aws_lc_rs::error::Unspecified> {
    let header = Header {
        alg: ALGORITHM.into(),
        typ: KIND.into(),
        x5c: vec![BASE64_STANDARD.encode(certificate.der())],
    };
    let payload = Payload {
        sha384: hex(&statement.archive),
        profile: statement.profile.to_string(),
        job: statement.job.arn(),
        iat: statement.signed_at.timestamp(),
        exp: statement.expires_at.timestamp(),
    };
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let text = [serde_json::json!(header), serde_json::json!(payload)].map(|json| encode(json.to_string().as_bytes()));
    let signed = text.join(".");
    let signature = key.sign(&SystemRandom::new(), signed.as_bytes())?;
    Ok(format!("{signed}.{}", encode(signature.as_ref())).into_bytes())
}

/// Reads a signature and checks that the certificate's key made it; or says what is wrong with it.
pub fn open(text: &[u8]) -> Result<Signature, String> {
    let text = std::str::from_utf8(text).map_err(|_| "it is not text")?;
    let (signed, signature) = text.rsplit_once('.').ok_or("it has no signature")?;
    let (header, payload) = signed.split_once('.').ok_or("it has no payload")?;
    let decode = |part: &str| {
        BASE64_URL_SAFE_NO_PAD
            .decode(part)
            .map_err(|error| format!("it is not base64url: {error}"))
    };
    let header: Header = serde_json::from_slice(&decode(header)?).map_err(|error| format!("its header: {error}"))?;
    if header.alg != ALGORITHM || header.typ != KIND {
        return Err(format!("it is not of the kind {KIND} with {ALGORITHM}"));
    }
    let der = header.x5c.first().ok_or("it has no certificate")?;
    let der = BASE64_STANDARD
        .decode(der)
        .map_err(|error| format!("its certificate is not base64: {error}"))?;
    let certificate = Certificate::from_der(&der).map_err(|error| format!("its certificate: {error}"))?;
    UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, certificate.key())
        .verify(signed.as_bytes(), &decode(signature)?)
        .map_err(|_| "its certificate's key did not make it")?;
    let payload: Payload =
        serde_json::from_slice(&decode(payload)?).map_err(|error| format!("its payload: {error}"))?;
    let statement = payload.statement().ok_or("its payload is out of form")?;
    Ok(Signature { statement, certificate })
}

impl Payload {
    fn statement(&self) -> Option<Statement> {
        Some(Statement {
            archive: digest(&self.sha384)?,
            profile: self.profile.parse().ok()?,
            job: JobId::from_arn(&self.job)?,
            signed_at: DateTime::from_timestamp(self.iat, 0)?,
            expires_at: DateTime::from_timestamp(self.exp, 0)?,
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn digest(text: &str) -> Option<Digest> {
    let mut digest = [0; 48];
    if text.len() != 2 * digest.len() || !text.is_ascii() {
        return None;
    }
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(digest)
}
