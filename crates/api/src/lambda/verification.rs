//! The check of signatures when code is deployed.

use std::collections::BTreeMap;
use std::io::{self, Read, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use hikigane_model::FunctionName;

use super::code_signing::arn_of;
use super::{Lambda, State};
use crate::catalog::{Code, SigningPolicy, UsedLayer};
use crate::error::ApiError;
use crate::signing::{Fingerprint, JobId, ProfileVersion, Publisher, Signature, Trust, Verdict, read, verify};

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
    /// Checks a package that is to become a function's code, as its code signing configuration says, and notes who signed it. Without a
    /// configuration nothing is checked, and nobody noted.
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
        let Some((id, config)) = config.and_then(|id| Some((id, state.code_signing_configs.get(id)?))) else {
            return Ok(());
        };
        if code.image.is_some() {
            return Err(ApiError::invalid(
                "A function with a code signing configuration cannot be a container image: images are not signed.",
            ));
        }
        let trust = trust(&state, &config.publishers);
        let verdict = self
            .read_package(code, move |zip, now| verify(zip, now, &trust))
            .await?;
        if let Some(why) = verdict.failure() {
            self.distrust.count(name);
            // Standard error may be closed; that refuses nobody's code.
            let _ = writeln!(
                std::io::stderr(),
                "warning: the code for the function {name} is not trusted by {}: {why}",
                arn_of(id)
            );
        }
        code.note(allowed(name, verdict, config.policy)?);
        Ok(())
    }

    /// Checks the layers that a function is to have, as its code signing configuration says: each must be signed as code is.
    pub(super) async fn check_layers(
        self: &Arc<Self>,
        name: &FunctionName,
        config: Option<&str>,
        layers: &[UsedLayer],
    ) -> Result<(), ApiError> {
        for layer in layers {
            self.check_signature(name, config, &mut layer.code.clone()).await?;
        }
        Ok(())
    }

    /// Notes who signed a package that is to become a layer. Functions decide whether they trust it; one that was changed is for none of them.
    pub(super) async fn note_signature(self: &Arc<Self>, code: &mut Code) -> Result<(), ApiError> {
        let signature = self.read_package(code, |zip, _| read(zip)).await?;
        let signature = signature.map_err(|_| broken())?;
        let state = self.catalog.state();
        // A name that somebody else's certificate gives itself is nobody's.
        code.note(signature.filter(|signature| {
            certificate_of(&state, &signature.statement.profile) == Some(signature.certificate.fingerprint())
        }));
        Ok(())
    }

    /// What is to be said of a package that is kept.
    async fn read_package<T: Send + 'static>(
        self: &Arc<Self>,
        code: &Code,
        look: impl FnOnce(&[u8], DateTime<Utc>) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let (lambda, sha256, now) = (self.clone(), code.sha256.clone(), self.now());
        let work = tokio::task::spawn_blocking(move || {
            let mut zip = Vec::new();
            lambda.objects.zip(&sha256)?.read_to_end(&mut zip)?;
            Ok::<_, io::Error>(look(&zip, now))
        });
        work.await
            .map_err(io::Error::other)
            .flatten()
            .map_err(|error| ApiError::new(503, "ServiceException", format!("the package cannot be read: {error}")))
    }
}

impl Code {
    fn note(&mut self, signature: Option<Signature>) {
        let statement = signature.map(|signature| signature.statement);
        self.signing_profile_version = statement.as_ref().map(|statement| statement.profile.to_string());
        self.signing_job = statement.map(|statement| statement.job.arn());
    }
}

/// Who signed what may be deployed.
fn allowed(name: &FunctionName, verdict: Verdict, policy: SigningPolicy) -> Result<Option<Signature>, ApiError> {
    match (verdict, policy) {
        (Verdict::Broken(_), _) => Err(broken()),
        (Verdict::Trusted(signature), _) => Ok(Some(signature)),
        (_, SigningPolicy::Enforce) => Err(ApiError::new(
            400,
            "CodeVerificationFailedException",
            format!(
                "Lambda cannot deploy the function. The function or layer might be signed using a signature that the client is not configured to accept. Check the provided signature for {name}."
            ),
        )),
        (Verdict::Revoked(signature) | Verdict::Expired(signature), SigningPolicy::Warn) => Ok(Some(signature)),
        // Whose name it carries is not known to be who signed it.
        (Verdict::Unsigned | Verdict::Mismatch(_), SigningPolicy::Warn) => Ok(None),
    }
}

fn broken() -> ApiError {
    ApiError::new(
        400,
        "InvalidCodeSignatureException",
        "The code signature failed the integrity check. If the integrity check fails, then Lambda blocks deployment, even if the code signing policy is set to WARN.",
    )
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
