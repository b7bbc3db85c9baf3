//! IAM's managed policies and their versions.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use hikigane_model::ACCOUNT_ID;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::query::{Parameters, QueryError};
use super::roles::Role;
use super::tags::Tags;
use super::{Call, Documents};
use crate::keys::unique_id;
use crate::sigv4::encode;

/// The kind of the documents, whose keys are ARNs.
const KIND: &str = "iam-policy";
/// The longest name (IAM API reference).
const NAME: usize = 128;
/// Most versions of one policy (IAM user guide, "IAM and AWS STS quotas").
const VERSIONS: usize = 5;

#[derive(Serialize, Deserialize)]
struct Policy {
    arn: String,
    name: String,
    path: String,
    created: DateTime<Utc>,
    description: Option<String>,
    tags: Tags,
    /// By number; a number is never used again.
    versions: BTreeMap<u32, Version>,
    default: u32,
    latest: u32,
}

#[derive(Serialize, Deserialize)]
struct Version {
    document: String,
    created: DateTime<Utc>,
}

impl Policy {
    /// The policy that the call names.
    fn named(call: &Call<'_>, documents: &Documents) -> Result<Self, QueryError> {
        let arn = call.parameters.required("PolicyArn")?;
        let policy = documents.get(KIND, arn);
        policy.ok_or_else(|| QueryError::not_found(format!("Policy {arn} was not found.")))
    }

    fn keep(&self, documents: &mut Documents) {
        documents.put(KIND, &self.arn, self);
    }

    fn attachments(&self, documents: &Documents) -> usize {
        let roles = Role::all(documents);
        roles.iter().filter(|role| role.attached.contains(&self.arn)).count()
    }

    /// The `Policy` shape of the IAM API reference.
    fn view(&self, documents: &Documents) -> Value {
        let updated = self.versions.values().map(|version| version.created).max();
        let mut view = json!({
            "PolicyName": self.name,
            "PolicyId": unique_id("ANPA", &self.arn),
            "Arn": self.arn,
            "Path": self.path,
            "DefaultVersionId": format!("v{}", self.default),
            "AttachmentCount": self.attachments(documents),
            "PermissionsBoundaryUsageCount": 0,
            "IsAttachable": true,
            "CreateDate": super::time(self.created),
            "UpdateDate": super::time(updated.unwrap_or(self.created)),
        });
        if let Some(description) = &self.description {
            view["Description"] = description.as_str().into();
        }
        if !self.tags.is_empty() {
            view["Tags"] = self.tags.view();
        }
        view
    }

    /// The version that the call names.
    fn version(&self, parameters: &Parameters) -> Result<(u32, &Version), QueryError> {
        let id = parameters.required("VersionId")?;
        let number = id.strip_prefix('v').and_then(|number| number.parse().ok());
        let version = number.and_then(|number| Some((number, self.versions.get(&number)?)));
        version.ok_or_else(|| {
            let message = format!("Policy {} version {id} does not exist or is not attachable.", self.arn);
            QueryError::not_found(message)
        })
    }

    /// The `PolicyVersion` shape, without the document.
    fn version_view(&self, number: u32, version: &Version) -> Value {
        json!({
            "VersionId": format!("v{number}"),
            "IsDefaultVersion": number == self.default,
            "CreateDate": super::time(version.created),
        })
    }
}

/// Whether AWS wrote it: `arn:aws:iam::aws:policy/..`
pub(super) fn is_managed_by_aws(arn: &str) -> bool {
    arn.starts_with("arn:aws:iam::aws:policy/")
}

pub(super) fn exists(arn: &str, documents: &Documents) -> bool {
    documents.get::<Policy>(KIND, arn).is_some()
}

pub(super) fn create(call: &Call<'_>, documents: &mut Documents) -> Result<Value, QueryError> {
    let parameters = &call.parameters;
    let (name, path) = (parameters.name("PolicyName", NAME)?, parameters.path()?);
    let arn = format!("arn:aws:iam::{ACCOUNT_ID}:policy{path}{name}");
    let first = Version {
        document: parameters.policy("PolicyDocument")?,
        created: call.now,
    };
    let mut policy = Policy {
        arn,
        name: name.to_owned(),
        path,
        created: call.now,
        description: parameters.get("Description").map(str::to_owned),
        tags: Tags::default(),
        versions: BTreeMap::from([(1, first)]),
        default: 1,
        latest: 1,
    };
    policy.tags.add(parameters);
    if exists(&policy.arn, documents) {
        return Err(QueryError::exists(format!(
            "A policy called {name} already exists. Duplicate names are not allowed."
        )));
    }
    policy.keep(documents);
    Ok(json!({"Policy": policy.view(documents)}))
}

pub(super) fn get(call: &Call<'_>, documents: &mut Documents) -> Result<Value, QueryError> {
    Ok(json!({"Policy": Policy::named(call, documents)?.view(documents)}))
}

pub(super) fn list(call: &Call<'_>, documents: &mut Documents) -> Result<Value, QueryError> {
    let prefix = call.parameters.get("PathPrefix").unwrap_or("/");
    let ours = call.parameters.get("Scope") != Some("AWS");
    let policies = documents.all::<Policy>(KIND);
    let policies = policies.iter().filter(|policy| ours && policy.path.starts_with(prefix));
    let policies: Value = policies.map(|policy| policy.view(documents)).collect();
    Ok(json!({"Policies": policies, "IsTruncated": false}))
}

pub(super) fn delete(call: &Call<'_>, documents: &mut Documents) -> Result<Value, QueryError> {
    let policy = Policy::named(call, documents)?;
    if policy.attachments(documents) > 0 {
        return Err(conflict("Cannot delete a policy attached to entities."));
    }
    if policy.versions.len() > 1 {
        return Err(conflict(
            "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy.",
        ));
    }
    documents.delete(KIND, &policy.arn);
    Ok(Value::Null)
}

pub(super) fn create_version(call: &Call<'_>, documents: &mut Documents) -> Result<Value, QueryError> {
    let mut policy = Policy::named(call, documents)?;
    let document = call.parameters.policy("PolicyDocument")?;
    if policy.versions.len() >= VERSIONS {
        let message = format!(
            "A managed policy can have up to {VERSIONS} versions. Before you create a new version, you must delete an existing version."
        );
        return Err(QueryError::new(409, "LimitExceeded", message));
    }
    let number = policy.latest + 1;
    policy.latest = number;
    if call.parameters.get("SetAsDefault") == Some("true") {
        policy.default = number;
    }
    let version = Version {
        document,
        created: call.now,
    };
    let view = policy.version_view(number, &version);
    policy.versions.insert(number, version);
    policy.keep(documents);
    Ok(json!({"PolicyVersion": view}))
}

pub(super) fn get_version(call: &Call<'_>, documents: &mut Documents) -> Result<Value, QueryError> {
    let policy = Policy::named(call, documents)?;
    let (number, version) = policy.version(&call.parameters)?;
    let mut view = policy.version_view(number, version);
    view["Document"] = encode(&version.document).into();
    Ok(json!({"PolicyVersion": view}))
}

pub(super) fn list_versions(call: &Call<'_>, documents: &mut Documents) -> Result<Value, QueryError> {
    let policy = Policy::named(call, documents)?;
    let newest_first = policy.versions.iter().rev();
    let versions = newest_first.map(|(number, version)| policy.version_view(*number, version));
    Ok(json!({"Versions": versions.collect::<Value>(), "IsTruncated": false}))
}

pub(super) fn delete_version(call: &Call<'_>, documents: &mut Documents) -> Result<Value, QueryError> {
    let mut policy = Policy::named(call, documents)?;
    let (number, _) = policy.version(&call.parameters)?;
    if number == policy.default {
        return Err(conflict("Cannot delete the default version of a policy."));
    }
    policy.versions.remove(&number);
    policy.keep(documents);
    Ok(Value::Null)
}

pub(super) fn tag(call: &Call<'_>, documents: &mut Documents) -> Result<Value, QueryError> {
    let mut policy = Policy::named(call, documents)?;
    policy.tags.add(&call.parameters);
    policy.keep(documents);
    Ok(Value::Null)
}

pub(super) fn untag(call: &Call<'_>, documents: &mut Documents) -> Result<Value, QueryError> {
    let mut policy = Policy::named(call, documents)?;
    policy.tags.remove(&call.parameters);
    policy.keep(documents);
    Ok(Value::Null)
}

pub(super) fn list_tags(call: &Call<'_>, documents: &mut Documents) -> Result<Value, QueryError> {
    let tags = Policy::named(call, documents)?.tags.view();
    Ok(json!({"Tags": tags, "IsTruncated": false}))
}

fn conflict(message: &str) -> QueryError {
    QueryError::new(409, "DeleteConflict", message)
}
