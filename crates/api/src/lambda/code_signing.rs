//! Code signing configurations, and the functions that have one.

use std::collections::BTreeMap;

use hikigane_model::{FunctionName, function_arn};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answer::time;
use super::create::check_tags;
use super::page::Page;
use super::rules::{self, Named};
use super::{Input, Lambda, State};
use crate::catalog::{CodeSigningConfig, SigningPolicy};
use crate::error::ApiError;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Settings {
    description: Option<String>,
    allowed_publishers: Option<Publishers>,
    code_signing_policies: Option<Policies>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Publishers {
    signing_profile_version_arns: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Policies {
    untrusted_artifact_on_deployment: Option<SigningPolicy>,
}

impl Settings {
    fn apply(self, config: &mut CodeSigningConfig) {
        if self.description.is_some() {
            config.description = self.description;
        }
        if let Some(publishers) = self.allowed_publishers {
            config.publishers = publishers.signing_profile_version_arns;
        }
        if let Some(policy) = self
            .code_signing_policies
            .unwrap_or_default()
            .untrusted_artifact_on_deployment
        {
            config.policy = policy;
        }
    }
}

impl Lambda {
    pub(super) async fn create_code_signing_config(&self, input: Input) -> Result<Value, ApiError> {
        let settings: Settings = input.parse()?;
        check_tags(&settings.tags)?;
        let mut config = CodeSigningConfig {
            description: None,
            publishers: Vec::new(),
            policy: SigningPolicy::default(),
            modified: self.now(),
            tags: settings.tags.clone(),
        };
        settings.apply(&mut config);
        let id = format!("csc-{}", &uuid::Uuid::new_v4().simple().to_string()[..17]);
        let answer = answer(&id, &config);
        self.change(|state| {
            state.code_signing_configs.insert(id, config);
            Ok(answer)
        })
        .await
    }

    pub(super) async fn get_code_signing_config(&self, input: Input) -> Result<Value, ApiError> {
        let state = self.catalog.state();
        let (id, config) = existing(&state, input.text("CodeSigningConfigArn"))?;
        Ok(answer(id, config))
    }

    pub(super) async fn update_code_signing_config(&self, input: Input) -> Result<Value, ApiError> {
        let arn = input.text("CodeSigningConfigArn").to_owned();
        let settings: Settings = input.parse()?;
        let now = self.now();
        self.change(|state| {
            let (id, config) = modifiable(state, &arn)?;
            settings.apply(config);
            config.modified = now;
            Ok(answer(&id, config))
        })
        .await
    }

    pub(super) async fn delete_code_signing_config(&self, input: Input) -> Result<Value, ApiError> {
        let arn = input.text("CodeSigningConfigArn");
        self.change(|state| {
            let id = existing(state, arn)?.0.to_owned();
            if let Some((name, _)) = functions_with(state, &id).next() {
                return Err(ApiError::conflict(format!(
                    "Cannot delete the code signing configuration {arn}: the function {name} uses it."
                )));
            }
            state.code_signing_configs.remove(&id);
            Ok(Value::Null)
        })
        .await
    }

    pub(super) async fn list_code_signing_configs(&self, input: Input) -> Result<Value, ApiError> {
        let page = Page::of(&input)?;
        let state = self.catalog.state();
        let configs = state.code_signing_configs.after(&page.after);
        Ok(page.answer(
            "CodeSigningConfigs",
            configs.map(|(id, config)| (id, shown(id, config))),
        ))
    }

    pub(super) async fn list_functions_by_code_signing_config(&self, input: Input) -> Result<Value, ApiError> {
        let page = Page::of(&input)?;
        let state = self.catalog.state();
        let (id, _) = existing(&state, input.text("CodeSigningConfigArn"))?;
        let functions = functions_with(&state, id).filter(|(name, _)| *name > page.after.as_str());
        Ok(page.answer("FunctionArns", functions))
    }

    pub(super) async fn put_function_code_signing_config(&self, input: Input) -> Result<Value, ApiError> {
        let name = Named::of(&input)?.name;
        let arn = input.text("CodeSigningConfigArn");
        self.change(|state| {
            let id = named(state, arn)?;
            rules::modifiable(state, &name)?.code_signing_config = Some(id);
            Ok(association(&name, Some(arn.to_owned())))
        })
        .await
    }

    pub(super) async fn get_function_code_signing_config(&self, input: Input) -> Result<Value, ApiError> {
        let name = Named::of(&input)?.name;
        let function = self.existing(&name)?;
        Ok(association(&name, function.code_signing_config.as_deref().map(arn_of)))
    }

    pub(super) async fn delete_function_code_signing_config(&self, input: Input) -> Result<Value, ApiError> {
        let name = Named::of(&input)?.name;
        self.change_function(&name, |function| {
            function.code_signing_config = None;
            Ok(Value::Null)
        })
        .await
    }
}

/// The id of the configuration that a function is to have, or AWS's error for one that is not there (recorded).
pub(super) fn named(state: &State, arn: &str) -> Result<String, ApiError> {
    let found = find(state, arn).map(|(id, _)| id.to_owned());
    found.ok_or_else(|| {
        ApiError::new(
            404,
            "CodeSigningConfigNotFoundException",
            format!(
                "The code signing configuration cannot be found. Check that the provided configuration is not deleted: {arn}."
            ),
        )
    })
}

/// A configuration's ARN.
pub(super) fn arn_of(id: &str) -> String {
    rules::arn(&format!("code-signing-config:{id}"))
}

/// A configuration, with its id.
pub(super) fn existing<'a>(state: &'a State, arn: &str) -> Result<(&'a str, &'a CodeSigningConfig), ApiError> {
    find(state, arn).ok_or_else(|| missing(arn))
}

/// A configuration to be changed, with its id.
pub(super) fn modifiable<'a>(state: &'a mut State, arn: &str) -> Result<(String, &'a mut CodeSigningConfig), ApiError> {
    let id = existing(state, arn)?.0.to_owned();
    let config = state.code_signing_configs.get_mut(&id).ok_or_else(|| missing(arn))?;
    Ok((id, config))
}

fn find<'a>(state: &'a State, arn: &str) -> Option<(&'a str, &'a CodeSigningConfig)> {
    let configs = &state.code_signing_configs;
    let id = arn.strip_prefix(&arn_of(""))?;
    let (key, config) = configs.starting_with(id.to_owned()).next()?;
    (key == id).then_some((key, config.as_ref()))
}

/// Recorded from AWS, without a `Type`.
fn missing(arn: &str) -> ApiError {
    ApiError::not_found(format!("The Lambda code signing configuration {arn} can not be found.")).untyped()
}

/// The functions that have a configuration: names and ARNs.
fn functions_with<'a>(state: &'a State, id: &'a str) -> impl Iterator<Item = (&'a str, Value)> {
    let with = state
        .functions
        .iter()
        .filter(move |(_, function)| function.code_signing_config.as_deref() == Some(id));
    with.filter_map(|(key, _)| Some((key, function_arn(&FunctionName::new(key).ok()?, None).into())))
}

fn association(name: &FunctionName, arn: Option<String>) -> Value {
    let mut answer = Map::new();
    if let Some(arn) = arn {
        answer.insert("CodeSigningConfigArn".into(), arn.into());
    }
    answer.insert("FunctionName".into(), name.as_str().into());
    answer.into()
}

fn answer(id: &str, config: &CodeSigningConfig) -> Value {
    json!({"CodeSigningConfig": shown(id, config)})
}

/// The shape `CodeSigningConfig`.
fn shown(id: &str, config: &CodeSigningConfig) -> Value {
    let mut members = Map::new();
    members.insert("CodeSigningConfigId".into(), id.into());
    members.insert("CodeSigningConfigArn".into(), arn_of(id).into());
    if let Some(description) = &config.description {
        members.insert("Description".into(), description.as_str().into());
    }
    members.insert(
        "AllowedPublishers".into(),
        json!({"SigningProfileVersionArns": config.publishers}),
    );
    members.insert(
        "CodeSigningPolicies".into(),
        json!({"UntrustedArtifactOnDeployment": config.policy}),
    );
    members.insert("LastModified".into(), time(config.modified).into());
    members.into()
}
