//! Code signing: archives that say who made them, and the checks before they become code.
//!
//! A signed archive carries its signature within itself (docs/code-signing.md). [`Signer`] makes it, [`verify`] makes AWS's four checks
//! (docs.aws.amazon.com/lambda/latest/dg/configuration-codesigning.html). All of it is pure: bytes, a moment, and whom to trust.

mod archive;
mod certificate;
mod publisher;
mod signature;
mod signer;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use archive::Archive;

pub use archive::ENTRY;
pub use certificate::{Certificate, CertificateError, Fingerprint};
pub use publisher::{JobId, NotAProfileVersion, ProfileVersion};
pub use signature::{Signature, Statement};
pub use signer::{SignError, Signer, Terms};

/// How many months a signature holds when nobody says otherwise, and at most: AWS's for the platform `AWSLambda-SHA384-ECDSA`.
pub const VALIDITY_MONTHS: u32 = 135;

/// Whom to trust: the `AllowedPublishers` of a code signing configuration, and what was revoked.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// The versions of profiles that may sign.
    pub publishers: BTreeMap<ProfileVersion, Publisher>,
    /// The jobs whose signatures were revoked.
    pub revoked: BTreeSet<JobId>,
}

/// What is known of a publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publisher {
    /// Its certificate. Who has another one's key cannot sign in its name.
    pub certificate: Fingerprint,
    /// Signatures made from this moment on are revoked (`effectiveTime` of RevokeSigningProfile).
    pub revoked_from: Option<DateTime<Utc>>,
}

/// The result of AWS's four checks: the first that failed, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Integrity: the archive is not what was signed, or its signature is none. It is never deployed, whatever the policy.
    Broken(String),
    /// Mismatch: nobody signed it.
    Unsigned,
    /// Mismatch: it is signed, but by none of the allowed publishers.
    Mismatch(Signature),
    /// Revocation: its signature, or its publisher, was revoked.
    Revoked(Signature),
    /// Expiry: its signature or the certificate ended.
    Expired(Signature),
    /// All checks passed.
    Trusted(Signature),
}

impl Verdict {
    /// Why the archive is not to be trusted; `None` when it is.
    pub fn failure(&self) -> Option<String> {
        match self {
            Self::Broken(why) => Some(why.clone()),
            Self::Unsigned => Some("it is not signed".into()),
            Self::Mismatch(signature) => Some(format!(
                "the certificate {} signed it in the name of {}, which is no allowed publisher with that certificate",
                signature.certificate.fingerprint().as_str(),
                signature.statement.profile
            )),
            Self::Revoked(signature) => Some(format!("its signature {} was revoked", signature.statement.job.arn())),
            Self::Expired(signature) => Some(format!("its signature ended at {}", signature.end())),
            Self::Trusted(_) => None,
        }
    }
}

/// Checks an archive that is to become code.
pub fn verify(zip: &[u8], now: DateTime<Utc>, trust: &Trust) -> Verdict {
    let signature = match read(zip) {
        Err(why) => return Verdict::Broken(why),
        Ok(None) => return Verdict::Unsigned,
        Ok(Some(signature)) => signature,
    };
    let statement = &signature.statement;
    let publisher = trust.publishers.get(&statement.profile);
    let Some(publisher) = publisher.filter(|publisher| publisher.certificate == signature.certificate.fingerprint())
    else {
        return Verdict::Mismatch(signature);
    };
    let from = publisher.revoked_from;
    if trust.revoked.contains(&statement.job) || from.is_some_and(|from| statement.signed_at >= from) {
        return Verdict::Revoked(signature);
    }
    if !signature.holds_at(now) {
        return Verdict::Expired(signature);
    }
    Verdict::Trusted(signature)
}

/// The signature that an archive carries, whoever made it and when; `None` when it carries none.
///
/// # Errors
///
/// What is wrong with it: AWS's check of integrity.
pub fn read(zip: &[u8]) -> Result<Option<Signature>, String> {
    let Some((archive, signature)) = Archive::read(zip).map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    let signature = signature::open(signature).map_err(|why| format!("its signature cannot be used: {why}"))?;
    if signature.statement.archive != archive.digest() {
        return Err("it was changed after it was signed".into());
    }
    Ok(Some(signature))
}
