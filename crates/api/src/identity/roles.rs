//! IAM's roles, with the policies written into them and attached to them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use hikigane_model::ACCOUNT_ID;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::query::QueryError;
use super::tags::Tags;
use super::{Call, Documents, policies};
use crate::keys::unique_id;
use crate::sigv4::encode;

/// The kind of the documents.
const KIND: &str = "iam-role";
/// The longest name of a role, and of a policy written into one (IAM API reference).
const NAME: usize = 64;
const POLICY_NAME: usize = 128;
/// How long sessions of a role may be, seconds, and the figure unless set (IAM API reference, `MaxSessionDuration`).
const SESSION: ((u32, u32), u32) = ((3_600, 43_200), 3_600);

#[derive(Serialize, Deserialize)]
pub(super) struct Role {
    name: String,
    path: String,
    created: DateTime<Utc>,
    /// Who may assume it: a policy.
    trust: String,
    description: Option<String>,
    longest_session: u32,
    tags: Tags,
    /// Policies by name.
    inline: BTreeMap<String, String>,
    /// ARNs of policies.
    pub(super) attached: BTreeSet<String>,
}

impl Role {
    /// The role that the call names.
    fn named(call: &Call<'_>, documents: &Documents) -> Result<Self, QueryError> {
        let name = call.parameters.name("RoleName", NAME)?;
        let role = documents.get(KIND, name);
        role.ok_or_else(|| QueryError::not_found(format!("The role with name {name} cannot be found.")))
    }

    /// All roles.
    pub(super) fn all(documents: &Documents) -> Vec<Self> {
        documents.all(KIND)
    }

    fn keep(&self, documents: &mut Documents) {
        documents.put(KIND, &self.name, self);
    }

    /// The `Role` shape of the IAM API reference.
    fn view(&self) -> Value {
        let mut view = json!({
            "Path": self.path,
            "RoleName": self.name,
            "RoleId": unique_id("AROA", &self.name),
            "Arn": format!("arn:aws:iam::{ACCOUNT_ID}:role{}{}", self.path, self.name),
            "CreateDate": super::time(self.created),
            "AssumeRolePolicyDocument": encode(&self.trust),
            "MaxSessionDuration": self.longest_session,
            "RoleLastUsed": {},
        });
        if let Some(description) = &self.description {
            view["Description"] = description.as_str().into();
        }
        if !self.tags.is_empty() {
            view["Tags"] = self.tags.view();
        }
        view
    }
}

pub(super) fn create(call: &Call<'_>, documents: &mut Documents) -> Result<Value, QueryError> {
    let parameters = &call.parameters;
    let name = parameters.name("RoleName", NAME)?;
    let (range, unless_set) = SESSION;
    let mut role = Role {
        name: name.to_owned(),
        path: parameters.path()?,
        created: call.now,
        trust: parameters.policy("AssumeRolePolicyDocument")?,
        description: parameters.get("Description").map(str::to_owned),
        longest_session: parameters.number("MaxSessionDuration", range)?.unwrap_or(unless_set),
        tags: Tags::default(),
        inline: BTreeMap::new(),
        attached: BTreeSet::new(),
    };
    role.tags.add(parameters);
    if documents.get::<Role>(KIND, name).is_some() {
        return Err(QueryError::exists(format!("Role with name {name} already exists.")));
    }
    role.keep(documents);
    Ok(json!({"Role": role.view()}))
}

pub(super) fn get(call: &Call<'_>, documents: &mut Documents) -> Result<Value, QueryError> {
    Ok(json!({"Role": Role::named(call, documents)?.view()}))
}

pub(super) fn list(call: &Call<'_>, documents: &mut Documents) -> Result<Value, QueryError> {
    let prefix = call.parameters.get("PathPrefix").unwrap_or("/");
    let roles = Role::all(documents);
    let roles = roles
        .iter()
        .filter(|role| role.path.starts_with(prefix))
        .map(Role::view);
    Ok(json!({"Roles": roles.collect::<Value>(), "IsTruncated": false}))
}

pub(super) fn update(call: &Call<'_>, documents: &mut Documents) -> Result<Value, QueryError> {
    let mut role = Role::named(call, documents)?;
    if let Some(description) = call.parameters.get("Description") {
        role.description = Some(description.to_owned());
    }
    if let Some(longest) = call.parameters.number("MaxSessionDuration", SESSION.0)? {
        role.longest_session = longest;
    }
    role.keep(documents);
    Ok(json!({}))
}

pub(super) fn update_description(call: &Call<'_>, documents: &mut Documents) -> Result<Value, QueryError> {
    let mut role = Role::named(call, documents)?;
    role.description = Some(call.parameters.required("Description")?.to_owned());
    role.keep(documents);
    Ok(json!({"Role": role.view()}))
}

pub(super) fn update_trust(call: &Call<'_>, documents: &mut Documents) -> Result<Value, QueryError> {
    let mut role = Role::named(call, documents)?;
    role.trust = call.parameters.policy("PolicyDocument")?;
    role.keep(documents);
    Ok(Value::Null)
}

pub(super) fn delete(call: &Call<'_>, documents: &mut Documents) -> Result<Value, QueryError> {
    let role = Role::named(call, documents)?;
    let first = match (role.attached.is_empty(), role.inline.is_empty()) {
        (false, _) => "must detach all policies first.",
        (true, false) => "must delete policies first.",
        (true, true) => {
            documents.delete(KIND, &role.name);
            return Ok(Value::Null);
        }
    };
    Err(QueryError::new(
        409,
        "DeleteConflict",
        format!("Cannot delete entity, {first}"),
    ))
}

pub(super) fn tag(call: &Call<'_>, documents: &mut Documents) -> Result<Value, QueryError> {
    let mut role = Role::named(call, documents)?;
    role.tags.add(&call.parameters);
    role.keep(documents);
    Ok(Value::Null)
}

pub(super) fn untag(call: &Call<'_>, documents: &mut Documents) -> Result<Value, QueryError> {
    let mut role = Role::named(call, documents)?;
    role.tags.remove(&call.parameters);
    role.keep(documents);
    Ok(Value::Null)
}

pub(super) fn list_tags(call: &Call<'_>, documents: &mut Documents) -> Result<Value, QueryError> {
    let tags = Role::named(call, documents)?.tags.view();
    Ok(json!({"Tags": tags, "IsTruncated": false}))
}

pub(super) fn put_policy(call: &Call<'_>, documents: &mut Documents) -> Result<Value, QueryError> {
    let mut role = Role::named(call, documents)?;
    let name = call.parameters.name("PolicyName", POLICY_NAME)?;
    let document = call.parameters.policy("PolicyDocument")?;
    role.inline.insert(name.to_owned(), document);
    role.keep(documents);
    Ok(Value::Null)
}

pub(super) fn get_policy(call: &Call<'_>, documents: &mut Documents) -> Result<Value, QueryError> {
    let role = Role::named(call, documents)?;
    let name = call.parameters.name("PolicyName", POLICY_NAME)?;
    let document = role.inline.get(name).ok_or_else(|| no_inline_policy(name))?;
    Ok(json!({"RoleName": role.name, "PolicyName": name, "PolicyDocument": encode(document)}))
}

pub(super) fn list_policies(call: &Call<'_>, documents: &mut Documents) -> Result<Value, QueryError> {
    let role = Role::named(call, documents)?;
    let names: Vec<&String> = role.inline.keys().collect();
    Ok(json!({"PolicyNames": names, "IsTruncated": false}))
}

pub(super) fn delete_policy(call: &Call<'_>, documents: &mut Documents) -> Result<Value, QueryError> {
    let mut role = Role::named(call, documents)?;
    let name = call.parameters.name("PolicyName", POLICY_NAME)?;
    role.inline.remove(name).ok_or_else(|| no_inline_policy(name))?;
    role.keep(documents);
    Ok(Value::Null)
}

fn no_inline_policy(name: &str) -> QueryError {
    QueryError::not_found(format!("The role policy with name {name} cannot be found."))
}

/// Policies that AWS manages are all there: nobody reads them.
pub(super) fn attach(call: &Call<'_>, documents: &mut Documents) -> Result<Value, QueryError> {
    let mut role = Role::named(call, documents)?;
    let arn = call.parameters.required("PolicyArn")?;
    if !policies::is_managed_by_aws(arn) && !policies::exists(arn, documents) {
        let message = format!("Policy {arn} does not exist or is not attachable.");
        return Err(QueryError::not_found(message));
    }
    role.attached.insert(arn.to_owned());
    role.keep(documents);
    Ok(Value::Null)
}

pub(super) fn detach(call: &Call<'_>, documents: &mut Documents) -> Result<Value, QueryError> {
    let mut role = Role::named(call, documents)?;
    let arn = call.parameters.required("PolicyArn")?;
    if !role.attached.remove(arn) {
        return Err(QueryError::not_found(format!("Policy {arn} was not found.")));
    }
    role.keep(documents);
    Ok(Value::Null)
}

pub(super) fn list_attached(call: &Call<'_>, documents: &mut Documents) -> Result<Value, QueryError> {
    let role = Role::named(call, documents)?;
    let attached = role.attached.iter().map(|arn| {
        let name = arn.rsplit('/').next().unwrap_or_default();
        json!({"PolicyName": name, "PolicyArn": arn})
    });
    Ok(json!({"AttachedPolicies": attached.collect::<Value>(), "IsTruncated": false}))
}

/// There are no instances, so there are no profiles. Terraform asks before it deletes a role.
pub(super) fn list_instance_profiles(call: &Call<'_>, documents: &mut Documents) -> Result<Value, QueryError> {
    Role::named(call, documents)?;
    Ok(json!({"InstanceProfiles": [], "IsTruncated": false}))
}
