//! UpdateFunctionCode and UpdateFunctionConfiguration.

use std::sync::Arc;

use hikigane_model::{FunctionName, Qualifier};
use serde::Deserialize;
use serde_json::Value;

use super::answer::Configuration;
use super::code::CodeSource;
use super::create::Settings;
use super::rules::{self, Named};
use super::{Function, Input, Lambda};
use crate::catalog::LastUpdate;
use crate::error::ApiError;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CodeUpdate {
    #[serde(flatten)]
    code: CodeSource,
    architectures: Option<Vec<String>>,
    revision_id: Option<String>,
    #[serde(default)]
    publish: bool,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ConfigurationUpdate {
    revision_id: Option<String>,
    #[serde(flatten)]
    settings: Settings,
}

impl Lambda {
    pub(super) async fn update_function_code(self: &Arc<Self>, input: Input) -> Result<Value, ApiError> {
        let name = Named::of(&input)?.name;
        let update: CodeUpdate = input.parse()?;
        let function = self.existing(&name)?;
        let config = function.code_signing_config.as_deref();
        let check = |function: &Function| {
            rules::revision(update.revision_id.as_deref(), &function.latest.revision)?;
            rules::not_in_progress(&name, function)?;
            // The signature is checked before the change, and by what holds when it is made.
            rules::signed_by(config, function)
        };
        check(&function)?;
        let mut code = self.take_in(update.code).await?;
        self.check_signature(&name, config, &mut code).await?;
        let now = self.now();
        let change = |function: &mut Function| {
            check(function)?;
            let latest = &mut function.latest;
            latest.code = code;
            if let Some(architectures) = update.architectures {
                latest.architectures = architectures;
            }
            latest.update = Some(LastUpdate::InProgress);
            latest.revise(now);
            Ok(answer(&name, function))
        };
        if update.dry_run {
            return change(&mut Function::clone(self.existing(&name)?.as_ref()));
        }
        let answer = self.change_function(&name, change).await?;
        if update.publish {
            // A version is of code that is in force.
            self.finish(&name).await?;
            return self.publish_latest(&name, None).await;
        }
        self.finish_soon(name);
        Ok(answer)
    }

    pub(super) async fn update_function_configuration(self: &Arc<Self>, input: Input) -> Result<Value, ApiError> {
        let name = Named::of(&input)?.name;
        let update: ConfigurationUpdate = input.parse()?;
        let state = self.catalog.state();
        let now = self.now();
        let answer = self
            .change_function(&name, |function| {
                rules::revision(update.revision_id.as_deref(), &function.latest.revision)?;
                rules::not_in_progress(&name, function)?;
                update.settings.apply(&mut function.latest, &state)?;
                function.latest.update = Some(LastUpdate::InProgress);
                function.latest.revise(now);
                Ok(answer(&name, function))
            })
            .await?;
        self.finish_soon(name);
        Ok(answer)
    }
}

fn answer(name: &FunctionName, function: &Function) -> Value {
    Configuration {
        name,
        version: &function.latest,
        number: Qualifier::Latest,
        qualified: false,
        with_update: true,
    }
    .json()
}
