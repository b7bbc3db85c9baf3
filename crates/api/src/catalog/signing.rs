//! What code signing keeps: configurations, signing profiles with their keys, signing jobs, revocations.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Row;

/// Whose code functions take (AWS: `CodeSigningConfig`), by its id.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CodeSigningConfig {
    /// What it is for.
    pub description: Option<String>,
    /// ARNs of the versions of signing profiles that may sign.
    pub publishers: Vec<String>,
    /// What happens to code that none of them signed.
    pub policy: SigningPolicy,
    /// When it was changed last.
    pub modified: DateTime<Utc>,
    /// Its tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

impl Row for CodeSigningConfig {
    const KIND: &'static str = "codeSigningConfig";
}

/// What happens to code that is not to be trusted (AWS: `UntrustedArtifactOnDeployment`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SigningPolicy {
    /// It is deployed, with a warning.
    #[default]
    Warn,
    /// It is refused.
    Enforce,
}

/// A profile of the signer API, by its name.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SigningProfile {
    /// Its versions; the last one signs. There is always one.
    pub versions: Vec<SigningKey>,
    /// How long its signatures hold.
    pub validity: Validity,
    /// It signs no more. What it signed holds.
    pub canceled: bool,
    /// Its tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

impl Row for SigningProfile {
    const KIND: &'static str = "signingProfile";
}

/// A version of a profile: a key of its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SigningKey {
    /// Ten letters and digits.
    pub version: String,
    /// The certificate, DER and base64.
    pub certificate: String,
    /// The private key, PKCS #8 and base64.
    pub key: Secret,
}

/// A text that is never shown.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// How long signatures hold (AWS: `SignatureValidityPeriod`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validity {
    /// How many.
    pub value: u32,
    /// Of what.
    #[serde(rename = "type")]
    pub unit: ValidityUnit,
}

/// The units of [`Validity`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ValidityUnit {
    /// Days.
    Days,
    /// Months.
    Months,
    /// Years.
    Years,
}

/// A signing job that ended, by its id.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SigningJob {
    /// The profile's name.
    pub profile: String,
    /// The version of it that signed.
    pub version: String,
    /// What was to be signed.
    pub source: Place,
    /// The version of the source.
    pub source_version: String,
    /// Where the signed object went; `None` when nothing was signed.
    pub signed: Option<Place>,
    /// Why it ended as it did.
    pub reason: String,
    /// What a client calls its request, so that it is served once.
    pub token: String,
    /// When it was done.
    pub at: DateTime<Utc>,
    /// When the signature expires.
    pub expires_at: DateTime<Utc>,
}

impl Row for SigningJob {
    const KIND: &'static str = "signingJob";
}

/// An object in a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The bucket.
    pub bucket: String,
    /// The object's key.
    pub key: String,
}

/// That a signature is trusted no more, by the id of its job; or all that a version of a profile made, by `profile/version`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revocation {
    /// Why.
    pub reason: String,
    /// When that was said.
    pub at: DateTime<Utc>,
    /// Signatures made from this moment on are revoked.
    pub from: DateTime<Utc>,
}

impl Row for Revocation {
    const KIND: &'static str = "revocation";
}
