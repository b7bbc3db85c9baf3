//! AddPermission, GetPolicy, RemovePermission.
//!
//! A function, each of its versions and each alias has a policy of its own. A policy's revision is that of what it belongs to (recorded from AWS).

use hikigane_model::{FunctionName, Qualifier, function_arn};
use serde::Deserialize;
use serde_json::{Value, json};

use super::rules::{self, Named};
use super::{Input, Lambda, State};
use crate::catalog::{qualified_key, version_key};
use crate::error::ApiError;
use crate::policy::{Access, Policy, Principal, Statement};

/// The largest policy, bytes of its JSON (AWS documentation, "Lambda quotas": 20 KB).
const LARGEST: usize = 20_480;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Permission {
    statement_id: String,
    action: String,
    principal: String,
    source_arn: Option<String>,
    source_account: Option<String>,
    event_source_token: Option<String>,
    #[serde(rename = "PrincipalOrgID")]
    principal_org_id: Option<String>,
    function_url_auth_type: Option<String>,
    invoked_via_function_url: Option<bool>,
    revision_id: Option<String>,
}

impl Lambda {
    /// Whether the policy of a function, version or alias allows something. Without a policy nothing is allowed.
    pub fn allows(&self, function: &FunctionName, qualifier: Option<&Qualifier>, access: &Access<'_>) -> bool {
        let key = qualified_key(function, qualifier.unwrap_or(&Qualifier::Latest));
        let state = self.catalog.state();
        state.policies.get(&key).is_some_and(|policy| policy.allows(access))
    }

    pub(super) async fn add_permission(&self, input: Input) -> Result<Value, ApiError> {
        let Named { name, qualifier } = Named::of(&input)?;
        if qualifier == Some(Qualifier::Latest) {
            return Err(ApiError::invalid(
                "We currently do not support adding policies for $LATEST.",
            ));
        }
        let permission: Permission = input.parse()?;
        let resource = function_arn(&name, qualifier.as_ref());
        let qualifier = qualifier.unwrap_or(Qualifier::Latest);
        self.change(|state| {
            rules::modifiable(state, &name)?;
            let current = revision(state, &name, &qualifier)?;
            rules::revision_by("GetPolicy", permission.revision_id.as_deref(), &current)?;
            let key = qualified_key(&name, &qualifier);
            let mut policy = state.policies.get(&key).map(|policy| Policy::clone(policy)).unwrap_or_default();
            let sid = &permission.statement_id;
            if policy.statement.iter().any(|statement| statement.sid == *sid) {
                return Err(ApiError::conflict(format!(
                    "The statement id ({sid}) provided already exists. Please provide a new statement id, or remove the existing statement."
                )));
            }
            let statement = permission.statement(resource)?;
            let answer = json!({"Statement": text(&statement)?});
            policy.statement.push(statement);
            let size = text(&policy)?.len();
            if size > LARGEST {
                return Err(ApiError::new(
                    400,
                    "PolicyLengthExceededException",
                    format!("The final policy size ({size}) is bigger than the limit ({LARGEST})."),
                ));
            }
            state.policies.insert(key, policy);
            revise(state, &name, &qualifier);
            Ok(answer)
        })
        .await
    }

    pub(super) async fn get_policy(&self, input: Input) -> Result<Value, ApiError> {
        let Named { name, qualifier } = Named::of(&input)?;
        self.existing(&name)?;
        let qualifier = qualifier.unwrap_or(Qualifier::Latest);
        let state = self.catalog.state();
        let policy = state.policies.get(&qualified_key(&name, &qualifier));
        let policy = policy.ok_or_else(rules::nothing_there)?;
        Ok(json!({
            "Policy": text(policy.as_ref())?,
            "RevisionId": revision(&state, &name, &qualifier)?,
        }))
    }

    pub(super) async fn remove_permission(&self, input: Input) -> Result<Value, ApiError> {
        let Named { name, qualifier } = Named::of(&input)?;
        let qualifier = qualifier.unwrap_or(Qualifier::Latest);
        let sid = input.text("StatementId");
        let wanted = input.get("RevisionId").and_then(Value::as_str);
        self.change(|state| {
            if state.function(&name).is_none() {
                let arn = function_arn(&name, None);
                return Err(ApiError::not_found(format!("No policy found for: {arn}")));
            }
            rules::modifiable(state, &name)?;
            let current = revision(state, &name, &qualifier)?;
            let key = qualified_key(&name, &qualifier);
            let Some(policy) = state.policies.get_mut(&key) else {
                return Err(ApiError::not_found("No policy is associated with the given resource."));
            };
            let Some(place) = policy.statement.iter().position(|statement| statement.sid == sid) else {
                return Err(ApiError::not_found(format!(
                    "Statement {sid} is not found in resource policy."
                )));
            };
            rules::revision(wanted, &current)?;
            policy.statement.remove(place);
            if policy.statement.is_empty() {
                state.policies.remove(&key);
            }
            revise(state, &name, &qualifier);
            Ok(Value::Null)
        })
        .await
    }
}

impl Permission {
    fn statement(self, resource: String) -> Result<Statement, ApiError> {
        let principal = Principal::parse(&self.principal).ok_or_else(|| {
            ApiError::invalid("The provided principal was invalid. Please check the principal and try again.")
        })?;
        let mut statement = Statement::allow(self.statement_id, principal, self.action, resource);
        for (operator, key, value) in [
            (
                "StringEquals",
                "lambda:FunctionUrlAuthType",
                self.function_url_auth_type,
            ),
            ("StringEquals", "lambda:EventSourceToken", self.event_source_token),
            ("StringEquals", "aws:PrincipalOrgID", self.principal_org_id),
            ("StringEquals", "AWS:SourceAccount", self.source_account),
            ("ArnLike", "AWS:SourceArn", self.source_arn),
            (
                "Bool",
                "lambda:InvokedViaFunctionUrl",
                self.invoked_via_function_url.map(|via| via.to_string()),
            ),
        ] {
            if let Some(value) = value {
                statement.when(operator, key, value);
            }
        }
        Ok(statement)
    }
}

/// The revision of what a policy belongs to, which must be there.
fn revision(state: &State, name: &FunctionName, qualifier: &Qualifier) -> Result<String, ApiError> {
    let missing = || rules::no_function(name, Some(qualifier));
    let revision = match qualifier {
        Qualifier::Latest => &state.function(name).ok_or_else(missing)?.latest.revision,
        Qualifier::Version(number) => &state.version(name, *number).ok_or_else(missing)?.revision,
        Qualifier::Alias(alias) => {
            let missing = || rules::no_alias(name, qualifier);
            &state.alias(name, alias).ok_or_else(missing)?.revision
        }
    };
    Ok(revision.clone())
}

/// Gives what a policy belongs to a new revision.
fn revise(state: &mut State, name: &FunctionName, qualifier: &Qualifier) {
    match qualifier {
        Qualifier::Latest => {
            if let Some(function) = state.functions.get_mut(name.as_str()) {
                function.latest.touch();
            }
        }
        Qualifier::Version(number) => {
            if let Some(version) = state.versions.get_mut(&version_key(name.as_str(), *number)) {
                version.touch();
            }
        }
        Qualifier::Alias(_) => {
            if let Some(alias) = state.aliases.get_mut(&qualified_key(name, qualifier)) {
                alias.revise();
            }
        }
    }
}

/// A policy or a statement as AWS gives it out: JSON text within JSON.
fn text(value: &impl serde::Serialize) -> Result<String, ApiError> {
    serde_json::to_string(value).map_err(|error| ApiError::new(500, "ServiceException", error.to_string()))
}
