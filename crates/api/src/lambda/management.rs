//! GetFunctionRecursionConfig, PutFunctionRecursionConfig, GetRuntimeManagementConfig, PutRuntimeManagementConfig.

use hikigane_model::{Qualifier, function_arn};
use serde::Deserialize;
use serde_json::{Value, json};

use super::rules::{self, Named};
use super::{Input, Lambda};
use crate::catalog::{RecursiveLoop, RuntimeUpdate, version_key};
use crate::error::ApiError;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Recursion {
    recursive_loop: RecursiveLoop,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RuntimeManagement {
    update_runtime_on: String,
    runtime_version_arn: Option<String>,
}

impl Lambda {
    pub(super) async fn get_function_recursion_config(&self, input: Input) -> Result<Value, ApiError> {
        let function = self.existing(&Named::unqualified(&input)?)?;
        Ok(json!({"RecursiveLoop": function.recursive_loop}))
    }

    pub(super) async fn put_function_recursion_config(&self, input: Input) -> Result<Value, ApiError> {
        let name = Named::unqualified(&input)?;
        let Recursion { recursive_loop } = input.parse()?;
        self.change_function(&name, |function| {
            function.recursive_loop = recursive_loop;
            Ok(json!({"RecursiveLoop": recursive_loop}))
        })
        .await
    }

    pub(super) async fn get_runtime_management_config(&self, input: Input) -> Result<Value, ApiError> {
        let named = Named::of(&input)?;
        let found = self.find(&named).await?;
        Ok(shown(&named, &found.version.runtime_update))
    }

    /// Of the unpublished version, or of a published one.
    pub(super) async fn put_runtime_management_config(&self, input: Input) -> Result<Value, ApiError> {
        let named = Named::of(&input)?;
        let wanted: RuntimeManagement = input.parse()?;
        let update = RuntimeUpdate {
            mode: wanted.update_runtime_on,
            runtime_version: wanted.runtime_version_arn,
        };
        if (update.mode == "Manual") != update.runtime_version.is_some() {
            return Err(ApiError::invalid(format!(
                "RuntimeVersionArn must be given when UpdateRuntimeOn is Manual, and only then; it is {}.",
                update.mode
            )));
        }
        let answer = shown(&named, &update);
        let Named { name, qualifier } = named;
        self.change(|state| {
            let function = rules::modifiable(state, &name)?;
            let version = match &qualifier {
                None | Some(Qualifier::Latest) => Some(&mut function.latest),
                Some(Qualifier::Version(number)) => state.versions.get_mut(&version_key(name.as_str(), *number)),
                Some(Qualifier::Alias(_)) => None,
            };
            let version = version.ok_or_else(|| rules::no_function(&name, qualifier.as_ref()))?;
            version.runtime_update = update;
            version.touch();
            Ok(answer)
        })
        .await
    }
}

fn shown(named: &Named, update: &RuntimeUpdate) -> Value {
    let mut answer = json!({
        "UpdateRuntimeOn": update.mode,
        "FunctionArn": function_arn(&named.name, named.qualifier.as_ref()),
    });
    if let Some(arn) = &update.runtime_version {
        answer["RuntimeVersionArn"] = arn.as_str().into();
    }
    answer
}
