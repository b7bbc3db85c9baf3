//! Signing profiles: keys under a name.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Days, Months, Utc};
use hikigane_model::{ACCOUNT_ID, REGION};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::platform::{self, DISPLAY_NAME, PLATFORM};
use super::{invalid, page, seconds};
use crate::catalog::{Secret, SigningKey, SigningProfile, State, Validity, ValidityUnit};
use crate::error::ApiError;
use crate::lambda::Lambda;
use crate::shapes::Input;
use crate::signing::{Fingerprint, ProfileVersion, SignError, Signer, VALIDITY_MONTHS};

const DEFAULT: Validity = Validity {
    value: VALIDITY_MONTHS,
    unit: ValidityUnit::Months,
};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Put {
    profile_name: String,
    platform_id: String,
    signature_validity_period: Option<Period>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct Period {
    value: Option<u32>,
    #[serde(rename = "type")]
    unit: Option<ValidityUnit>,
}

impl Lambda {
    /// Makes a profile, or a new version of one, with a new key.
    pub(super) async fn put_signing_profile(self: &Arc<Self>, input: Input) -> Result<Value, ApiError> {
        for member in ["signingMaterial", "overrides", "signingParameters"] {
            if input.get(member).is_some() {
                return Err(invalid(format!(
                    "{member} is not supported for the platform {PLATFORM}: a profile makes its own key; to sign with yours, use `hikigane sign`"
                )));
            }
        }
        let put: Put = input.parse()?;
        let name = put.profile_name;
        platform::known(&put.platform_id)?;
        if Fingerprint::parse(&name).is_some() {
            return Err(invalid(
                "profileName must not be 64 hexadecimal digits: such names are the fingerprints of certificates that sign without a profile",
            ));
        }
        let validity = put.signature_validity_period.map_or(DEFAULT, |period| Validity {
            value: period.value.unwrap_or(DEFAULT.value),
            unit: period.unit.unwrap_or(DEFAULT.unit),
        });
        check(validity, self.now())?;
        let key = SigningKey::generate(&name)
            .map_err(|error| ApiError::new(500, "InternalServiceErrorException", error.to_string()))?;
        let version = key.version.clone();
        self.change(|state| {
            match state.signing_profiles.get_mut(&name) {
                Some(profile) => {
                    profile.versions.push(key);
                    (profile.validity, profile.canceled, profile.tags) = (validity, false, put.tags);
                }
                None => state.signing_profiles.insert(
                    name.as_str(),
                    SigningProfile {
                        versions: vec![key],
                        validity,
                        canceled: false,
                        tags: put.tags,
                    },
                ),
            }
            let arn = arn(&name);
            Ok(json!({"arn": arn, "profileVersion": version, "profileVersionArn": format!("{arn}/{version}")}))
        })
        .await
    }

    pub(super) async fn get_signing_profile(&self, input: Input) -> Result<Value, ApiError> {
        let name = input.text("profileName");
        let state = self.state();
        Ok(shown(&state, name, existing(&state, name)?))
    }

    pub(super) async fn list_signing_profiles(&self, input: Input) -> Result<Value, ApiError> {
        let state = self.state();
        let platform = input.text("platformId");
        let all = input.get("includeCanceled").and_then(Value::as_bool).unwrap_or(false);
        let wanted = |status: &str| match input.get("statuses").and_then(Value::as_array) {
            Some(statuses) => statuses.iter().any(|wanted| wanted == status),
            None => all || status != "Canceled",
        };
        let profiles = state.signing_profiles.iter().filter(|(name, profile)| {
            (platform.is_empty() || platform == PLATFORM) && wanted(status(&state, name, profile))
        });
        let shown = profiles.map(|(name, profile)| (name.to_owned(), shown(&state, name, profile)));
        Ok(page(&input, "profiles", shown))
    }

    /// From now on the profile signs nothing more. What it signed holds.
    pub(super) async fn cancel_signing_profile(&self, input: Input) -> Result<Value, ApiError> {
        let name = input.text("profileName");
        self.change(|state| {
            let profile = state.signing_profiles.get_mut(name).ok_or_else(|| missing(name))?;
            profile.canceled = true;
            Ok(json!({}))
        })
        .await
    }

    pub(super) async fn list_profile_tags(&self, input: Input) -> Result<Value, ApiError> {
        let state = self.state();
        let profile = existing(&state, name_of(input.text("resourceArn"))?)?;
        Ok(json!({"tags": profile.tags}))
    }

    pub(super) async fn tag_profile(&self, input: Input) -> Result<Value, ApiError> {
        let arn = input.text("resourceArn").to_owned();
        let tags = input
            .get("tags")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        self.change(|state| {
            let name = name_of(&arn)?;
            let profile = state.signing_profiles.get_mut(name).ok_or_else(|| missing(name))?;
            let tags = tags.into_iter();
            profile
                .tags
                .extend(tags.map(|(key, value)| (key, value.as_str().unwrap_or_default().to_owned())));
            Ok(json!({}))
        })
        .await
    }

    pub(super) async fn untag_profile(&self, input: Input) -> Result<Value, ApiError> {
        let keys = input
            .get("tagKeys")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        self.change(|state| {
            let name = name_of(input.text("resourceArn"))?;
            let profile = state.signing_profiles.get_mut(name).ok_or_else(|| missing(name))?;
            profile
                .tags
                .retain(|key, _| !keys.iter().any(|gone| gone == key.as_str()));
            Ok(json!({}))
        })
        .await
    }
}

impl SigningKey {
    /// A new key, with a certificate for the profile.
    fn generate(profile: &str) -> Result<Self, SignError> {
        let (signer, key) = Signer::generate(profile)?;
        Ok(Self {
            version: uuid::Uuid::new_v4().simple().to_string()[..10].to_owned(),
            certificate: BASE64_STANDARD.encode(signer.certificate().der()),
            key: Secret(BASE64_STANDARD.encode(key)),
        })
    }

    /// Its certificate's fingerprint.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        let der = BASE64_STANDARD.decode(&self.certificate).ok()?;
        Some(Fingerprint::of(&der))
    }

    /// What signs with it.
    pub fn signer(&self) -> Result<Signer, SignError> {
        let decode = |text: &str| BASE64_STANDARD.decode(text).unwrap_or_default();
        Signer::from_der(&decode(&self.key.0), &decode(&self.certificate))
    }
}

impl Validity {
    /// When a signature that is made now ends.
    pub fn end(self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self.unit {
            ValidityUnit::Days => now.checked_add_days(Days::new(self.value.into())),
            ValidityUnit::Months => now.checked_add_months(Months::new(self.value)),
            ValidityUnit::Years => now.checked_add_months(Months::new(self.value.checked_mul(12)?)),
        }
    }
}

/// From a day to 135 months, as on AWS.
fn check(validity: Validity, now: DateTime<Utc>) -> Result<(), ApiError> {
    let (end, most) = (validity.end(now), DEFAULT.end(now));
    if validity.value > 0 && end.is_some() && end <= most {
        return Ok(());
    }
    Err(invalid(format!(
        "signatureValidityPeriod must be from 1 day to {VALIDITY_MONTHS} months"
    )))
}

/// The version of a profile that signs, when it may sign.
pub fn signing<'a>(
    state: &'a State,
    name: &str,
) -> Result<(&'a SigningProfile, &'a SigningKey, ProfileVersion), ApiError> {
    let profile = existing(state, name)?;
    let status = status(state, name, profile);
    if status != "Active" {
        return Err(invalid(format!(
            "the signing profile {name} signs no more: it is {status}"
        )));
    }
    let signing = latest(name, profile);
    let (key, version) = signing.ok_or_else(|| missing(name))?;
    Ok((profile, key, version))
}

fn latest<'a>(name: &str, profile: &'a SigningProfile) -> Option<(&'a SigningKey, ProfileVersion)> {
    let key = profile.versions.last()?;
    Some((key, ProfileVersion::new(name, &key.version)?))
}

fn existing<'a>(state: &'a State, name: &str) -> Result<&'a SigningProfile, ApiError> {
    let profile = state.signing_profiles.get(name);
    profile.map(AsRef::as_ref).ok_or_else(|| missing(name))
}

pub fn missing(name: &str) -> ApiError {
    ApiError::not_found(format!("Signing profile {name} not found."))
}

fn arn(name: &str) -> String {
    format!("arn:aws:signer:{REGION}:{ACCOUNT_ID}:/signing-profiles/{name}")
}

/// The profile that an ARN means.
fn name_of(text: &str) -> Result<&str, ApiError> {
    text.strip_prefix(&arn(""))
        .ok_or_else(|| invalid(format!("{text} is not the ARN of a signing profile")))
}

fn status(state: &State, name: &str, profile: &SigningProfile) -> &'static str {
    let revoked = latest(name, profile).is_some_and(|(_, version)| state.revocations.get(&version.key()).is_some());
    match (profile.canceled, revoked) {
        (true, _) => "Canceled",
        (false, true) => "Revoked",
        (false, false) => "Active",
    }
}

fn shown(state: &State, name: &str, profile: &SigningProfile) -> Value {
    let mut answer = Map::new();
    let mut put = |member: &str, value: Value| answer.insert(member.to_owned(), value);
    put("profileName", name.into());
    if let Some((key, version)) = latest(name, profile) {
        put("profileVersion", key.version.as_str().into());
        put("profileVersionArn", version.to_string().into());
        if let Some(revocation) = state.revocations.get(&version.key()) {
            let record = json!({
                "revocationEffectiveFrom": seconds(revocation.from),
                "revokedAt": seconds(revocation.at),
                "revokedBy": ACCOUNT_ID,
            });
            put("revocationRecord", record);
        }
    }
    put("signatureValidityPeriod", json!(profile.validity));
    put("platformId", PLATFORM.into());
    put("platformDisplayName", DISPLAY_NAME.into());
    put("status", status(state, name, profile).into());
    put("arn", arn(name).into());
    put("tags", json!(profile.tags));
    answer.into()
}
