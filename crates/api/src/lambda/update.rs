//! UpdateFunctionCode and UpdateFunctionConfiguration.

use std::sync::Arc;

use hikigane_model::{FunctionName, Qualifier};
use serde::Deserialize;
use serde_json::Value;

use super::answer::Configuration;
use super::code::{CodeSource, Taken, check_size};
use super::create::{Settings, check_source};
use super::layered::resolve;
use super::rules::{self, Named};
use super::{Function, Input, Lambda, Phase, State, versions};
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
        let function = rules::modifiable_now(&self.catalog.state(), &name)?;
        let config = function.code_signing_config.as_deref();
        let check = |function: &Function| {
            rules::revision(update.revision_id.as_deref(), &function.latest.revision)?;
            rules::not_in_progress(&name, function)?;
            // The signature is checked before the change, and by what holds when it is made.
            rules::signed_by(config, function)
        };
        check(&function)?;
        check_source(&function.latest.package_type, &update.code)?;
        // The pin keeps the package until the end. After a dry run nothing else does.
        let Taken { mut code, pin: _pin } = self.take_in(update.code).await?;
        self.check_signature(&name, config, &mut code).await?;
        let now = self.now();
        let change = |function: &mut Function| {
            check(function)?;
            let latest = &mut function.latest;
            latest.code = code;
            if let Some(architectures) = update.architectures {
                latest.architectures = architectures;
            }
            check_size(latest)
        };
        if update.dry_run {
            let mut function = Function::clone(&function);
            change(&mut function)?;
            return Ok(answer(&name, &function));
        }
        let answer = self
            .change(|state: &mut State| {
                let function = rules::modifiable(state, &name)?;
                change(function)?;
                function.latest.update = Some(LastUpdate::InProgress);
                function.latest.revise(now);
                if !update.publish {
                    return Ok(answer(&name, function));
                }
                // In one step, since another update would publish its own code under this one's name. Active together with the unpublished version (recorded).
                let mut version = function.latest.clone();
                (version.phase, version.update) = (Phase::Pending, None);
                version.revise(now);
                versions::publish(state, &name, version)
            })
            .await?;
        self.finish_soon(name);
        Ok(answer)
    }

    pub(super) async fn update_function_configuration(self: &Arc<Self>, input: Input) -> Result<Value, ApiError> {
        let name = Named::of(&input)?.name;
        let update: ConfigurationUpdate = input.parse()?;
        let state = self.catalog.state();
        let config = state
            .function(&name)
            .and_then(|function| function.code_signing_config.clone());
        if let (Some(config), Some(arns)) = (&config, &update.settings.layers) {
            self.check_layers(&name, Some(config), &resolve(&state, arns)?).await?;
        }
        let now = self.now();
        let answer = self
            .change(|state| {
                let layers = update.settings.layers.as_ref().map(|arns| resolve(state, arns));
                let function = rules::modifiable(state, &name)?;
                rules::revision(update.revision_id.as_deref(), &function.latest.revision)?;
                rules::not_in_progress(&name, function)?;
                rules::signed_by(config.as_deref(), function)?;
                update.settings.apply(&mut function.latest)?;
                if let Some(layers) = layers {
                    function.latest.layers = layers?;
                    check_size(&function.latest)?;
                }
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
        qualifier: None,
        listed: false,
    }
    .json()
}
