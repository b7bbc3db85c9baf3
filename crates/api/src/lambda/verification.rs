//! The check of signatures when code is deployed.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use hikigane_model::FunctionName;

use super::code_signing::arn_of;
use super::{Lambda, State};
use crate::catalog::Policy;
use crate::error::ApiError;
use crate::signing::{Fingerprint, JobId, ProfileVersion, Publisher, Signature, Trust, Verdict, verify};

/// How often untrusted code came to each function since the start (AWS: the metric `SignatureValidationErrors`).
#[derive(Debug, Default)]
pub struct Distrust(Mutex<BTreeMap<FunctionName, u64>>);

impl Distrust {
    fn count(&self, name: &FunctionName) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(name.clone()).or_default() += 1;
    }

    /// The counts.
    pub fn counts(&self) -> BTreeMap<FunctionName, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Lambda {
    /// Checks a zip that is to become code or a layer of a function, as the function's code signing configuration says. Says who signed it: `None`
    /// without a configuration, and when nobody did who may.
    ///
    /// # Errors
    ///
    /// AWS's for code that must not be deployed (texts: the API model, and what AWS was seen to answer).
    pub(super) fn check_signature(
        &self,
        name: &FunctionName,
        config: Option<&str>,
        zip: &[u8],
    ) -> Result<Option<Signature>, ApiError> {
        let state = self.catalog.state();
        let Some((id, config)) = config.and_then(|id| Some((id, state.code_signing_configs.get(id)?))) else {
            return Ok(None);
        };
        let verdict = verify(zip, self.now(), &trust(&state, &config.publishers));
        if let Some(why) = verdict.failure() {
            self.distrust.count(name);
            eprintln!(
                "warning: the code for the function {name} is not trusted by {}: {why}",
                arn_of(id)
            );
        }
        match (verdict, config.policy) {
            (Verdict::Broken(_), _) => Err(ApiError::new(
                400,
                "InvalidCodeSignatureException",
                "The code signature failed the integrity check. If the integrity check fails, then Lambda blocks deployment, even if the code signing policy is set to WARN.",
            )),
            (Verdict::Trusted(signature), _) => Ok(Some(signature)),
            (_, Policy::Enforce) => Err(ApiError::new(
                400,
                "CodeVerificationFailedException",
                format!(
                    "Lambda cannot deploy the function. The function or layer might be signed using a signature that the client is not configured to accept. Check the provided signature for {name}."
                ),
            )),
            (Verdict::Revoked(signature) | Verdict::Expired(signature), Policy::Warn) => Ok(Some(signature)),
            // Whose name it carries is not known to be who signed it.
            (Verdict::Unsigned | Verdict::Mismatch(_), Policy::Warn) => Ok(None),
        }
    }
}

/// Whom a list of publishers means.
pub fn trust(state: &State, publishers: &[String]) -> Trust {
    let known = |arn: &String| {
        let profile: ProfileVersion = arn.parse().ok()?;
        let publisher = Publisher {
            certificate: certificate_of(state, &profile)?,
            revoked_from: state.revocations.get(&profile.key()).map(|revocation| revocation.from),
        };
        Some((profile, publisher))
    };
    Trust {
        publishers: publishers.iter().filter_map(known).collect(),
        revoked: state
            .revocations
            .iter()
            .filter_map(|(key, _)| JobId::parse(key))
            .collect(),
    }
}

/// The certificate that a version of a profile signs with: the one it is named by, or the one that the signer API made for it.
pub fn certificate_of(state: &State, profile: &ProfileVersion) -> Option<Fingerprint> {
    if let Some(fingerprint) = profile.fingerprint() {
        return Some(fingerprint);
    }
    let kept = state.signing_profiles.get(profile.name())?;
    let key = kept.versions.iter().find(|key| key.version == profile.version())?;
    key.fingerprint()
}
