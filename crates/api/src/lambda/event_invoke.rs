//! PutFunctionEventInvokeConfig, UpdateFunctionEventInvokeConfig, GetFunctionEventInvokeConfig, ListFunctionEventInvokeConfigs,
//! DeleteFunctionEventInvokeConfig.
//!
//! A function, each of its versions and each alias has a configuration of its own; none inherits another's. Texts as recorded from AWS; what was
//! not recorded, as LocalStack has it.

use hikigane_model::{FunctionName, Qualifier, function_arn, parse_function_arn};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::page::Page;
use super::rules::{self, Named, Target};
use super::{Input, Lambda, State};
use crate::catalog::EventInvoke;
use crate::error::ApiError;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Settings {
    maximum_retry_attempts: Option<u32>,
    maximum_event_age_in_seconds: Option<u32>,
    destination_config: Option<Destinations>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Destinations {
    on_success: Option<Destination>,
    on_failure: Option<Destination>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Destination {
    destination: Option<String>,
}

impl Lambda {
    /// Replaces the configuration, or makes it.
    pub(super) async fn put_function_event_invoke_config(&self, input: Input) -> Result<Value, ApiError> {
        self.configure(input, |_, _| Ok(EventInvoke::default())).await
    }

    /// Changes what is given, and leaves the rest as it is.
    pub(super) async fn update_function_event_invoke_config(&self, input: Input) -> Result<Value, ApiError> {
        self.configure(input, |state, named| {
            let config = of(state, named).ok_or_else(|| no_config(named))?;
            Ok(EventInvoke::clone(config))
        })
        .await
    }

    async fn configure(
        &self,
        input: Input,
        begin: impl FnOnce(&State, &Target) -> Result<EventInvoke, ApiError>,
    ) -> Result<Value, ApiError> {
        let target = target(&input)?;
        let settings: Settings = input.parse()?;
        if settings.is_empty() {
            return Err(ApiError::invalid(
                "You must specify at least one of error handling or destination setting.",
            ));
        }
        let now = self.now();
        self.change(|state| {
            if !target.is_there(state) {
                return Err(no_function());
            }
            rules::modifiable(state, &target.name)?;
            let mut config = begin(state, &target)?;
            settings.apply(state, &target.name, &mut config)?;
            config.modified = now;
            let answer = shown(&target, &config);
            state.event_invokes.insert(target.key(), config);
            Ok(answer)
        })
        .await
    }

    pub(super) async fn get_function_event_invoke_config(&self, input: Input) -> Result<Value, ApiError> {
        let target = target(&input)?;
        let state = self.catalog.state();
        let config = of(&state, &target).ok_or_else(|| no_config(&target))?;
        Ok(shown(&target, config))
    }

    pub(super) async fn list_function_event_invoke_configs(&self, input: Input) -> Result<Value, ApiError> {
        let Named { name, .. } = Named::of(&input)?;
        let page = Page::of(&input)?;
        let state = self.catalog.state();
        if state.function(&name).is_none() {
            return Err(no_function());
        }
        let entries = state.event_invokes_of(&name).map(|(qualifier, config)| {
            let name = name.clone();
            let target = Target { name, qualifier };
            (target.key(), shown(&target, config))
        });
        let entries = entries.filter(|(key, _)| *key > page.after);
        Ok(page.answer("FunctionEventInvokeConfigs", entries))
    }

    pub(super) async fn delete_function_event_invoke_config(&self, input: Input) -> Result<Value, ApiError> {
        let target = target(&input)?;
        self.change(|state| {
            if state.function(&target.name).is_none() {
                return Err(no_function());
            }
            rules::modifiable(state, &target.name)?;
            match state.event_invokes.remove(&target.key()) {
                Some(_) => Ok(Value::Null),
                None => Err(no_config(&target)),
            }
        })
        .await
    }
}

/// What a configuration is for: `$LATEST` when nothing else is said.
fn target(input: &Input) -> Result<Target, ApiError> {
    let Named { name, qualifier } = Named::of(input)?;
    let qualifier = qualifier.unwrap_or(Qualifier::Latest);
    Ok(Target { name, qualifier })
}

fn arn(target: &Target) -> String {
    function_arn(&target.name, Some(&target.qualifier))
}

impl Settings {
    fn is_empty(&self) -> bool {
        self.maximum_retry_attempts.is_none()
            && self.maximum_event_age_in_seconds.is_none()
            && self.destination_config.is_none()
    }

    fn apply(self, state: &State, name: &FunctionName, config: &mut EventInvoke) -> Result<(), ApiError> {
        config.retries = self.maximum_retry_attempts.or(config.retries);
        config.max_age = self.maximum_event_age_in_seconds.or(config.max_age);
        let Some(destinations) = self.destination_config else {
            return Ok(());
        };
        let given = |destination: Option<Destination>| {
            let arn = destination.and_then(|destination| destination.destination);
            arn.filter(|arn| !arn.is_empty())
        };
        (config.on_success, config.on_failure) = (given(destinations.on_success), given(destinations.on_failure));
        for arn in config.on_failure.iter().chain(&config.on_success) {
            check(state, name, arn, config)?;
        }
        Ok(())
    }
}

/// Of functions only those that are there can be told, and not the function itself; of other services, nobody knows here what there is.
fn check(state: &State, name: &FunctionName, arn: &str, config: &EventInvoke) -> Result<(), ApiError> {
    match arn.split(':').nth(2) {
        Some("lambda") => match parse_function_arn(arn) {
            Some((target, _)) if target == *name => Err(ApiError::invalid(
                "You can't specify the function as a destination for itself.",
            )),
            Some((target, _)) if state.function(&target).is_some() => Ok(()),
            _ => Err(ApiError::invalid(format!("The destination ARN {arn} is invalid."))),
        },
        Some("events" | "sns" | "sqs") => Ok(()),
        Some("s3") if config.on_success.as_deref() != Some(arn) => Ok(()),
        _ => {
            let part = |kind: &str, arn: &Option<String>| match arn {
                Some(arn) => format!("{kind}(destination={arn})"),
                None => "null".to_owned(),
            };
            Err(ApiError::invalid(format!(
                "The provided destination config DestinationConfig(onSuccess={}, onFailure={}) is invalid.",
                part("OnSuccess", &config.on_success),
                part("OnFailure", &config.on_failure)
            )))
        }
    }
}

fn of<'a>(state: &'a State, target: &Target) -> Option<&'a EventInvoke> {
    state.event_invokes.get(&target.key()).map(AsRef::as_ref)
}

fn no_function() -> ApiError {
    ApiError::not_found("The function doesn't exist.")
}

fn no_config(target: &Target) -> ApiError {
    ApiError::not_found(format!(
        "The function {} doesn't have an EventInvokeConfig",
        arn(target)
    ))
}

/// `DestinationConfig` is always there, and `LastModified` a number of seconds (recorded; AWS's API model).
fn shown(target: &Target, config: &EventInvoke) -> Value {
    let mut answer = json!({
        "LastModified": config.modified.timestamp_millis() as f64 / 1000.0,
        "FunctionArn": arn(target),
    });
    let destination = |arn: &Option<String>| match arn {
        Some(arn) => json!({"Destination": arn}),
        None => Map::new().into(),
    };
    for (member, number) in [
        ("MaximumRetryAttempts", config.retries),
        ("MaximumEventAgeInSeconds", config.max_age),
    ] {
        if let Some(number) = number {
            answer[member] = number.into();
        }
    }
    answer["DestinationConfig"] = json!({
        "OnSuccess": destination(&config.on_success),
        "OnFailure": destination(&config.on_failure),
    });
    answer
}
