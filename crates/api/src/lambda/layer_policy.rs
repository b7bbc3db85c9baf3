//! Who may use a layer version: AddLayerVersionPermission, GetLayerVersionPolicy, RemoveLayerVersionPermission (texts recorded from AWS).

use hikigane_model::limits;
use serde_json::{Value, json};
use uuid::Uuid;

use super::layered::version_arn;
use super::layers::{layer_name, version_number};
use super::{Input, Lambda};
use crate::catalog::{LayerPolicy, LayerStatement, LayerVersion, version_key};
use crate::error::ApiError;

impl Lambda {
    pub(super) async fn add_layer_version_permission(&self, input: Input) -> Result<Value, ApiError> {
        let (name, number) = (layer_name(&input)?, version_number(&input)?);
        let arn = version_arn(&name, number);
        let statement = LayerStatement {
            id: input.text("StatementId").to_owned(),
            principal: input.text("Principal").to_owned(),
            organization: input.get("OrganizationId").and_then(Value::as_str).map(str::to_owned),
        };
        self.change(|state| {
            let version = state.layer_versions.get_mut(&version_key(&name, number));
            let version = version.ok_or_else(|| no_version(&arn))?;
            let id = &statement.id;
            if statements(version).iter().any(|other| other.id == *id) {
                return Err(ApiError::conflict(format!(
                    "The statement id ({id}) provided already exists. Please provide a new statement id, or remove the existing statement."
                )));
            }
            check_revision(&input, version)?;
            let shown = statement_json(&statement, &arn).to_string();
            let mut all = statements(version).to_vec();
            all.push(statement);
            let revision = replace(version, all, &arn)?;
            Ok(json!({"Statement": shown, "RevisionId": revision}))
        })
        .await
    }

    pub(super) async fn get_layer_version_policy(&self, input: Input) -> Result<Value, ApiError> {
        let (name, number) = (layer_name(&input)?, version_number(&input)?);
        let arn = version_arn(&name, number);
        let state = self.catalog.state();
        let version = state.layer_versions.get(&version_key(&name, number));
        let policy = version.ok_or_else(|| no_version(&arn))?.policy.as_ref();
        let policy = policy.ok_or_else(no_policy)?;
        Ok(json!({
            "Policy": document(&policy.statements, &arn),
            "RevisionId": policy.revision,
        }))
    }

    pub(super) async fn remove_layer_version_permission(&self, input: Input) -> Result<Value, ApiError> {
        let (name, number) = (layer_name(&input)?, version_number(&input)?);
        let arn = version_arn(&name, number);
        let id = input.text("StatementId");
        self.change(|state| {
            let version = state.layer_versions.get_mut(&version_key(&name, number));
            let version = version.ok_or_else(|| no_version(&arn))?;
            if version.policy.is_none() {
                return Err(no_policy());
            }
            check_revision(&input, version)?;
            let mut all = statements(version).to_vec();
            all.retain(|statement| statement.id != id);
            if all.len() == statements(version).len() {
                return Err(ApiError::not_found(format!(
                    "Statement {id} is not found in resource policy."
                )));
            }
            replace(version, all, &arn)?;
            Ok(Value::Null)
        })
        .await
    }
}

fn statements(version: &LayerVersion) -> &[LayerStatement] {
    version.policy.as_ref().map_or(&[], |policy| &policy.statements)
}

/// Gives a version these permissions, and returns their revision. Without any there is no policy.
fn replace(version: &mut LayerVersion, statements: Vec<LayerStatement>, arn: &str) -> Result<String, ApiError> {
    let size = document(&statements, arn).len();
    if size > limits::POLICY {
        return Err(ApiError::new(
            400,
            "PolicyLengthExceededException",
            format!(
                "The final policy size ({size}) is bigger than the limit ({}).",
                limits::POLICY
            ),
        ));
    }
    let revision = Uuid::new_v4().to_string();
    version.policy = (!statements.is_empty()).then(|| LayerPolicy {
        revision: revision.clone(),
        statements,
    });
    Ok(revision)
}

fn check_revision(input: &Input, version: &LayerVersion) -> Result<(), ApiError> {
    let wanted = input.get("RevisionId").and_then(Value::as_str);
    let current = version.policy.as_ref().map(|policy| policy.revision.as_str());
    if wanted.is_some() && wanted != current {
        return Err(ApiError::new(
            412,
            "PreconditionFailedException",
            "The Revision Id provided does not match the latest Revision Id. Call the GetLayerPolicy API to retrieve the latest Revision Id",
        ));
    }
    Ok(())
}

/// The policy as AWS writes it: JSON text.
fn document(statements: &[LayerStatement], arn: &str) -> String {
    let statements: Vec<Value> = statements
        .iter()
        .map(|statement| statement_json(statement, arn))
        .collect();
    json!({"Version": "2012-10-17", "Id": "default", "Statement": statements}).to_string()
}

fn statement_json(statement: &LayerStatement, arn: &str) -> Value {
    let principal = match statement.principal.as_str() {
        "*" => json!("*"),
        account if account.starts_with("arn:") => json!({"AWS": account}),
        account => json!({"AWS": format!("arn:aws:iam::{account}:root")}),
    };
    let mut shown = json!({
        "Sid": statement.id,
        "Effect": "Allow",
        "Principal": principal,
        "Action": "lambda:GetLayerVersion",
        "Resource": arn,
    });
    if let Some(organization) = &statement.organization {
        shown["Condition"] = json!({"StringEquals": {"aws:PrincipalOrgID": organization}});
    }
    shown
}

fn no_version(arn: &str) -> ApiError {
    ApiError::not_found(format!("Layer version {arn} does not exist."))
}

fn no_policy() -> ApiError {
    ApiError::not_found("No policy is associated with the given resource.")
}
