//! CreateFunctionUrlConfig, GetFunctionUrlConfig, UpdateFunctionUrlConfig, DeleteFunctionUrlConfig, ListFunctionUrlConfigs.
//!
//! A function and each of its aliases may have one URL. Texts as recorded from AWS; what was not recorded, as LocalStack has it.

use chrono::SecondsFormat;
use hikigane_model::{Cors, FunctionName, FunctionUrl, Qualifier, UrlAuth, UrlMode, function_arn};
use serde::Deserialize;
use serde_json::{Value, json};

use super::page::Page;
use super::rules::{self, Named, Target};
use super::{Input, Lambda, State};
use crate::catalog::Url;
use crate::error::ApiError;
use crate::policy::{Access, Caller};
use crate::url;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Settings {
    auth_type: Option<UrlAuth>,
    cors: Option<Cors>,
    invoke_mode: Option<UrlMode>,
}

/// What a URL leads to.
pub(crate) struct UrlTarget {
    /// The function.
    pub function: FunctionName,
    /// The alias.
    pub qualifier: Option<Qualifier>,
    /// How the URL answers.
    pub config: FunctionUrl,
    /// Whether everybody may call it: by its policy, or as the manifest says.
    pub open: bool,
}

impl Lambda {
    /// The function behind the URL with this id.
    pub(crate) fn url(&self, id: &str) -> Option<UrlTarget> {
        let state = self.catalog.state();
        let (key, url) = state.urls.iter().find(|(_, url)| url.id == id)?;
        let (function, qualifier) = key.split_once('/')?;
        let function = FunctionName::new(function).ok()?;
        let qualifier = Some(Qualifier::new(qualifier).ok()?).filter(|qualifier| *qualifier != Qualifier::Latest);
        // AWS's newest documentation asks for `lambda:InvokeFunction` beside it; AWS does not (recorded).
        let access = Access {
            caller: Caller::Anonymous,
            action: "lambda:InvokeFunctionUrl",
            context: &[("lambda:FunctionUrlAuthType", "NONE")],
        };
        let config = url.config.clone();
        let open = config.auth_type == UrlAuth::None
            && (url.from_manifest || self.allows(&function, qualifier.as_ref(), &access));
        Some(UrlTarget {
            function,
            qualifier,
            config,
            open,
        })
    }

    /// The URLs that the manifest declares: each function, its address, and who may call it.
    pub fn declared_urls(&self) -> Vec<(FunctionName, String, UrlAuth)> {
        let state = self.catalog.state();
        let declared = state.urls.iter().filter(|(_, url)| url.from_manifest);
        let named = declared.filter_map(|(key, url)| {
            let name = FunctionName::new(key.split('/').next()?).ok()?;
            let address = url::address(&url.id, self.address.port());
            Some((name, address, url.config.auth_type))
        });
        named.collect()
    }

    pub(super) async fn create_function_url_config(&self, input: Input) -> Result<Value, ApiError> {
        let target = target(&input)?;
        let settings: Settings = input.parse()?;
        let now = self.now();
        self.change(|state| {
            changeable(state, &target)?;
            if state.urls.get(&target.key()).is_some() {
                return Err(ApiError::conflict(format!(
                    "Failed to create function url config for [functionArn = {}]. Error message:  FunctionUrlConfig exists for this Lambda function",
                    arn(&target)
                )));
            }
            let url = Url {
                id: Url::id(&uuid::Uuid::new_v4().to_string()),
                config: FunctionUrl {
                    auth_type: settings.auth_type.unwrap_or(UrlAuth::Iam),
                    cors: settings.cors,
                    invoke_mode: settings.invoke_mode,
                },
                created: now,
                modified: now,
                from_manifest: false,
            };
            let answer = self.shown_url(&target, &url);
            state.urls.insert(target.key(), url);
            Ok(answer)
        })
        .await
    }

    pub(super) async fn get_function_url_config(&self, input: Input) -> Result<Value, ApiError> {
        let target = target(&input)?;
        let state = self.catalog.state();
        let url = state.urls.get(&target.key()).ok_or_else(rules::nothing_there)?;
        Ok(self.shown_whole(&target, url))
    }

    pub(super) async fn update_function_url_config(&self, input: Input) -> Result<Value, ApiError> {
        let target = target(&input)?;
        let settings: Settings = input.parse()?;
        let now = self.now();
        self.change(|state| {
            changeable(state, &target)?;
            let url = state.urls.get_mut(&target.key()).ok_or_else(rules::nothing_there)?;
            let config = &mut url.config;
            config.auth_type = settings.auth_type.unwrap_or(config.auth_type);
            config.invoke_mode = settings.invoke_mode.or(config.invoke_mode);
            // Given, it replaces all that was said before.
            config.cors = settings.cors.or(config.cors.take());
            url.modified = now;
            Ok(self.shown_whole(&target, url))
        })
        .await
    }

    pub(super) async fn delete_function_url_config(&self, input: Input) -> Result<Value, ApiError> {
        let target = target(&input)?;
        self.change(|state| {
            if state.urls.get(&target.key()).is_none() {
                return Err(rules::nothing_there());
            }
            rules::modifiable(state, &target.name)?;
            state.urls.remove(&target.key());
            Ok(Value::Null)
        })
        .await
    }

    pub(super) async fn list_function_url_configs(&self, input: Input) -> Result<Value, ApiError> {
        let Named { name, .. } = Named::of(&input)?;
        let page = Page::of(&input)?;
        let state = self.catalog.state();
        if state.function(&name).is_none() {
            return Err(no_function());
        }
        let entries = state.urls_of(&name).map(|(qualifier, url)| {
            let name = name.clone();
            let target = Target { name, qualifier };
            (target.key(), self.shown_whole(&target, url))
        });
        let entries = entries.filter(|(key, _)| *key > page.after);
        Ok(page.answer("FunctionUrlConfigs", entries))
    }

    /// As CreateFunctionUrlConfig shows it: what was not given is not there (recorded).
    fn shown_url(&self, target: &Target, url: &Url) -> Value {
        let mut answer = json!({
            "FunctionUrl": url::address(&url.id, self.address.port()),
            "FunctionArn": arn(target),
            "AuthType": url.config.auth_type,
            "CreationTime": url.created.to_rfc3339_opts(SecondsFormat::Micros, true),
        });
        if let Some(cors) = &url.config.cors {
            answer["Cors"] = json!(cors);
        }
        if let Some(mode) = url.config.invoke_mode {
            answer["InvokeMode"] = json!(mode);
        }
        answer
    }

    /// As it is shown ever after: with the mode and the time of the last change (recorded).
    fn shown_whole(&self, target: &Target, url: &Url) -> Value {
        let mut answer = self.shown_url(target, url);
        answer["InvokeMode"] = json!(url.config.invoke_mode.unwrap_or_default());
        answer["LastModifiedTime"] = url.modified.to_rfc3339_opts(SecondsFormat::Micros, true).into();
        answer
    }
}

/// What a URL belongs to: the function itself, as `$LATEST`, or an alias. The qualifier's pattern refuses versions and `$LATEST` in the query; in
/// an ARN they get this far.
fn target(input: &Input) -> Result<Target, ApiError> {
    let Named { name, qualifier } = Named::of(input)?;
    match qualifier {
        Some(qualifier @ (Qualifier::Latest | Qualifier::Version(_))) => Err(ApiError::new(
            400,
            "ValidationException",
            format!(
                r"1 validation error detected: Value '{qualifier}' at 'qualifier' failed to satisfy constraint: Member must satisfy regular expression pattern: ((?!^\d+$)^[0-9a-zA-Z-_]+$)"
            ),
        )),
        qualifier => Ok(Target {
            name,
            qualifier: qualifier.unwrap_or(Qualifier::Latest),
        }),
    }
}

/// Without `$LATEST`, which is not said of URLs (recorded).
fn arn(target: &Target) -> String {
    let alias = Some(&target.qualifier).filter(|qualifier| **qualifier != Qualifier::Latest);
    function_arn(&target.name, alias)
}

/// The target of a URL that is to be made or changed.
fn changeable(state: &mut State, target: &Target) -> Result<(), ApiError> {
    if !target.is_there(state) {
        return Err(no_function());
    }
    rules::modifiable(state, &target.name)?;
    Ok(())
}

fn no_function() -> ApiError {
    ApiError::not_found("Function does not exist")
}
