//! Functions and versions as AWS's API shows them.

use chrono::{DateTime, Utc};
use hikigane_model::{ACCOUNT_ID, FunctionName, Qualifier, REGION, function_arn};
use serde_json::{Map, Value, json};

use super::Phase;
use crate::catalog::{LastUpdate, UsedLayer, Version};

/// A time as `FunctionConfiguration` shows it: `2026-11-22T21:00:00.000+0000`.
pub fn time(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string()
}

/// The shape `FunctionConfiguration`.
pub struct Configuration<'a> {
    /// The function.
    pub name: &'a FunctionName,
    /// What of it.
    pub version: &'a Version,
    /// Its number, or `$LATEST`.
    pub number: Qualifier,
    /// What the ARN ends with: as what it was asked for.
    pub qualifier: Option<&'a Qualifier>,
    /// It is one of a list, of which AWS leaves out state, last update and version of the runtime (AWS documentation, ListFunctions; recorded).
    pub listed: bool,
}

impl Configuration<'_> {
    /// As JSON, with AWS's defaults and without what is not set (recorded from AWS).
    pub fn json(&self) -> Value {
        let version = self.version;
        let mut answer = Map::new();
        let mut put = |member: &str, value: Value| {
            if !value.is_null() {
                answer.insert(member.to_owned(), value);
            }
        };
        put("FunctionName", self.name.as_str().into());
        put("FunctionArn", function_arn(self.name, self.qualifier).into());
        put("Runtime", version.runtime.clone().into());
        put("Role", version.role.as_str().into());
        put("Handler", version.handler.clone().into());
        put("CodeSize", version.code.size.into());
        put("Description", version.description.as_str().into());
        put("Timeout", version.timeout.into());
        put("MemorySize", version.memory.into());
        put("LastModified", time(version.modified).into());
        put("CodeSha256", version.code.sha256.as_str().into());
        put("Version", self.number.to_string().into());
        put(
            "DeadLetterConfig",
            version.dead_letter.as_ref().map(|arn| json!({"TargetArn": arn})).into(),
        );
        put(
            "Environment",
            version.environment.as_ref().map(|env| json!({"Variables": env})).into(),
        );
        put("TracingConfig", json!({"Mode": version.tracing}));
        put("RevisionId", version.revision.as_str().into());
        if !version.layers.is_empty() {
            put("Layers", self.layers());
        }
        for (member, value) in &version.inert {
            put(
                if member == "ImageConfig" {
                    "ImageConfigResponse"
                } else {
                    member
                },
                shown_inert(member, value),
            );
        }
        put(
            "SigningProfileVersionArn",
            version.code.signing_profile_version.clone().into(),
        );
        put("SigningJobArn", version.code.signing_job.clone().into());
        put("PackageType", version.package_type.as_str().into());
        put("Architectures", version.architectures.clone().into());
        put("EphemeralStorage", json!({"Size": version.ephemeral_storage}));
        put(
            "SnapStart",
            json!({"ApplyOn": version.snap_start, "OptimizationStatus": "Off"}),
        );
        put("LoggingConfig", self.logging());
        if self.listed {
            return Value::Object(answer);
        }
        if let Some(runtime) = &version.runtime {
            put(
                "RuntimeVersionConfig",
                json!({"RuntimeVersionArn": runtime_version(runtime)}),
            );
        }
        self.put_state(&mut put);
        Value::Object(answer)
    }

    fn put_state(&self, put: &mut impl FnMut(&str, Value)) {
        let (state, reason, code) = match self.version.phase {
            Phase::Pending => ("Pending", Some("The function is being created."), Some("Creating")),
            Phase::Active => ("Active", None, None),
            Phase::Failed => (
                "Failed",
                Some("The function could not be prepared."),
                Some("InternalError"),
            ),
        };
        put("State", state.into());
        put("StateReason", reason.into());
        put("StateReasonCode", code.into());
        // AWS gives the creation's words to an update under way (recorded).
        let (status, reason, code) = match self.version.update {
            None => return,
            Some(LastUpdate::InProgress) => ("InProgress", Some("The function is being created."), Some("Creating")),
            Some(LastUpdate::Successful) => ("Successful", None, None),
            Some(LastUpdate::Failed) => ("Failed", Some("The code could not be prepared."), Some("InternalError")),
        };
        put("LastUpdateStatus", status.into());
        put("LastUpdateStatusReason", reason.into());
        put("LastUpdateStatusReasonCode", code.into());
    }

    fn layers(&self) -> Value {
        let layer = |layer: &UsedLayer| {
            let mut shown = json!({"Arn": layer.arn, "CodeSize": layer.code.size});
            for (member, arn) in [
                ("SigningProfileVersionArn", &layer.code.signing_profile_version),
                ("SigningJobArn", &layer.code.signing_job),
            ] {
                if let Some(arn) = arn {
                    shown[member] = arn.as_str().into();
                }
            }
            shown
        };
        self.version.layers.iter().map(layer).collect()
    }

    fn logging(&self) -> Value {
        let logging = &self.version.logging;
        let mut answer = json!({"LogFormat": logging.format, "LogGroup": logging.group});
        if let Some(answer) = answer.as_object_mut() {
            for (member, level) in [
                ("ApplicationLogLevel", logging.application_level),
                ("SystemLogLevel", logging.system_level),
            ] {
                if let Some(level) = level {
                    answer.insert(member.into(), level.as_str().into());
                }
            }
        }
        answer
    }
}

/// What has no meaning here is shown as it was given; AWS wraps an image's.
fn shown_inert(member: &str, value: &Value) -> Value {
    if member == "ImageConfig" {
        json!({"ImageConfig": value})
    } else {
        value.clone()
    }
}

/// The version of the runtime. There is one of each here, named by the hash that AWS's ARNs have in this place.
pub fn runtime_version(runtime: &str) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(format!("hikigane {} {runtime}", env!("CARGO_PKG_VERSION")));
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("arn:aws:lambda:{REGION}::runtime:{hex}")
}

/// The address that a package can be fetched from.
pub fn role_of_manifest() -> String {
    format!("arn:aws:iam::{ACCOUNT_ID}:role/hikigane")
}
