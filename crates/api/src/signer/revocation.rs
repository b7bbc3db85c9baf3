//! Revocations: signatures that hold no more.

use serde_json::{Value, json};

use super::{invalid, time};
use crate::catalog::Revocation;
use crate::error::ApiError;
use crate::lambda::Lambda;
use crate::lambda::verification::certificate_of;
use crate::shapes::Input;
use crate::signing::{JobId, ProfileVersion};

impl Lambda {
    /// Revokes one signature. Its job need not be this server's: `hikigane sign` signs without a server, and names a job, too.
    pub(super) async fn revoke_signature(&self, input: Input) -> Result<Value, ApiError> {
        let text = input.text("jobId");
        let job = JobId::parse(text).ok_or_else(|| invalid(format!("jobId {text} is not the id of a signing job")))?;
        let now = self.now();
        let revocation = Revocation {
            reason: input.text("reason").to_owned(),
            at: now,
            from: now,
        };
        self.change(|state| {
            // The first one counts: it says since when.
            if state.revocations.get(job.as_str()).is_none() {
                state.revocations.insert(job.as_str(), revocation);
            }
            Ok(json!({}))
        })
        .await
    }

    /// Revokes what a version of a profile signed from a moment on: a profile of this server, or the certificate that its name is the fingerprint of.
    pub(super) async fn revoke_signing_profile(&self, input: Input) -> Result<Value, ApiError> {
        let (name, version) = (input.text("profileName"), input.text("profileVersion"));
        let from = time(input.get("effectiveTime"));
        let from = from.ok_or_else(|| invalid("effectiveTime is no time"))?;
        let revocation = Revocation {
            reason: input.text("reason").to_owned(),
            at: self.now(),
            from,
        };
        self.change(|state| {
            let profile = ProfileVersion::new(name, version);
            let known = profile.filter(|profile| certificate_of(state, profile).is_some());
            let known = known.ok_or_else(|| {
                ApiError::not_found(format!("Signing profile {name} with version {version} not found."))
            })?;
            state.revocations.insert(known.key(), revocation);
            Ok(json!({}))
        })
        .await
    }
}
