//! The check of signatures when code is deployed.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use hikigane_model::FunctionName;

use super::code_signing::arn_of;
use super::{Lambda, State};
use crate::catalog::{Code, Policy};
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
    /// Checks a package that is to become code or a layer of a function, as the function's code signing configuration says, and notes who
    /// signed it. Without a configuration nothing is checked, and nobody noted.
    ///
    /// # Errors
    ///
    /// AWS's for code that must not be deployed (texts: the API model, and what AWS was seen to answer).
    pub(super) async fn check_signature(
        self: &Arc<Self>,
        name: &FunctionName,
        config: Option<&str>,
        code: &mut Code,
    ) -> Result<(), ApiError> {
        let state = self.catalog.state();
        let Some((config, id)) = config.and_then(|id| Some((state.code_signing_configs.get(id)?.clone(), id))) else {
            return Ok(());
        };
        let verdict = self.verdict(&code.sha256, trust(&state, &config.publishers)).await?;
        if let Some(why) = verdict.failure() {
            self.distrust.count(name);
            eprintln!(
                "warning: the code for the function {name} is not trusted by {}: {why}",
                arn_of(id)
            );
        }
        let signature = allowed(name, verdict, config.policy)?;
        let statement = signature.map(|signature| signature.statement);
        code.signing_profile_version = statement.as_ref().map(|statement| statement.profile.to_string());
        code.signing_job = statement.map(|statement| statement.job.arn());
        Ok(())
    }

    /// The verdict on a package that is kept.
    async fn verdict(self: &Arc<Self>, sha256: &str, trust: Trust) -> Result<Verdict, ApiError> {
        let (lambda, sha256, now) = (self.clone(), sha256.to_owned(), self.now());
        let work = tokio::task::spawn_blocking(move || {
            let mut zip = Vec::new();
            lambda.objects.zip(&sha256)?.read_to_end(&mut zip)?;
            Ok::<_, io::Error>(verify(&zip, now, &trust))
        });
        work.await
            .map_err(io::Error::other)
            .flatten()
            .map_err(|error| ApiError::new(503, "ServiceException", format!("the package cannot be read: {error}")))
    }
}

/// Who signed what may be deployed.
fn allowed(name: &FunctionName, verdict: Verdict, policy: Policy) -> Result<Option<Signature>, ApiError> {
    match (verdict, policy) {
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

/// Whom a list of publishers means.
fn trust(state: &State, publishers: &[String]) -> Trust {
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
