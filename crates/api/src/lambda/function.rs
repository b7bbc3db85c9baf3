//! GetFunction, GetFunctionConfiguration, ListFunctions, DeleteFunction.

use std::sync::Arc;

use hikigane_model::{FunctionName, Qualifier};
use serde_json::{Value, json};

use super::answer::Configuration;
use super::page::Page;
use super::rules::{self, Named};
use super::{Function, Input, Lambda, State};
use crate::catalog::{Version, version_key};
use crate::error::ApiError;

/// A version that was found.
pub(super) struct Found {
    pub function: Arc<Function>,
    pub version: Version,
    pub number: Qualifier,
}

impl Lambda {
    pub(super) async fn get_function(&self, input: Input) -> Result<Value, ApiError> {
        let named = Named::of(&input)?;
        let found = self.find(&named).await?;
        let mut answer = json!({
            "Configuration": self.shown(&named, &found),
            "Code": self.location(&named.name, &found.version),
        });
        if let Some(members) = answer.as_object_mut() {
            if !found.function.tags.is_empty() {
                members.insert("Tags".into(), json!(found.function.tags));
            }
            if let Some(reserved) = found.function.reserved {
                members.insert("Concurrency".into(), json!({"ReservedConcurrentExecutions": reserved}));
            }
        }
        Ok(answer)
    }

    pub(super) async fn get_function_configuration(&self, input: Input) -> Result<Value, ApiError> {
        let named = Named::of(&input)?;
        Ok(self.shown(&named, &self.find(&named).await?))
    }

    pub(super) async fn list_functions(&self, input: Input) -> Result<Value, ApiError> {
        let page = Page::of(&input)?;
        let all = input.text("FunctionVersion") == "ALL";
        let state = self.catalog.state();
        // A page may end in the midst of a function's versions.
        let (begun, number) = page.after.split_once('/').unwrap_or((&page.after, ""));
        let mut entries = Vec::new();
        if let (true, Ok(name)) = (all, FunctionName::new(begun)) {
            entries.extend(
                published(&state, &name).filter(|(key, _)| *key > version_key(begun, number.parse().unwrap_or(0))),
            );
        }
        for (key, function) in state.functions.after(begun) {
            // A page is never larger, so that the rest need not be looked at.
            if entries.len() > Page::MOST {
                break;
            }
            let Ok(name) = FunctionName::new(key) else { continue };
            let version = self.with_code(&name, function.latest.clone()).await;
            let latest = if all { listed } else { listed_by_name };
            entries.push((version_key(key, 0), latest(&name, &version, Qualifier::Latest)));
            if all {
                entries.extend(published(&state, &name));
            }
        }
        Ok(page.answer("Functions", entries.into_iter()))
    }

    pub(super) async fn delete_function(&self, input: Input) -> Result<Value, ApiError> {
        let Named { name, qualifier } = Named::of(&input)?;
        match qualifier {
            None => self.change(|state| delete(state, &name)).await?,
            Some(Qualifier::Latest) => {
                return Err(ApiError::invalid(
                    "$LATEST version cannot be deleted without deleting the function.",
                ));
            }
            Some(Qualifier::Version(number)) => self.change(|state| delete_version(state, &name, number)).await?,
            Some(Qualifier::Alias(_)) => {
                return Err(ApiError::invalid("Deletion of aliases is not currently supported."));
            }
        }
        Ok(Value::Null)
    }

    /// The version that is named: an alias leads to its main one.
    pub(super) async fn find(&self, named: &Named) -> Result<Found, ApiError> {
        let state = self.catalog.state();
        let missing = || rules::no_function(&named.name, named.qualifier.as_ref());
        let function = state.function(&named.name).ok_or_else(missing)?.clone();
        let number = match &named.qualifier {
            Some(Qualifier::Alias(alias)) => state.alias(&named.name, alias).ok_or_else(missing)?.version.clone(),
            qualifier => qualifier.clone().unwrap_or(Qualifier::Latest),
        };
        let version = match number {
            Qualifier::Version(number) => state.version(&named.name, number).ok_or_else(missing)?.as_ref().clone(),
            _ => self.with_code(&named.name, function.latest.clone()).await,
        };
        Ok(Found {
            function,
            version,
            number,
        })
    }

    /// The version with size and hash of its code, which are looked up when it is the manifest's.
    pub(super) async fn with_code(&self, name: &FunctionName, mut version: Version) -> Version {
        if let Some(code) = self.declared.code(name).await {
            version.code = code;
        }
        version
    }

    fn shown(&self, named: &Named, found: &Found) -> Value {
        Configuration {
            name: &named.name,
            version: &found.version,
            number: found.number.clone(),
            qualifier: named.qualifier.as_ref(),
            listed: false,
        }
        .json()
    }

    /// Where the code can be fetched: AWS gives out an address of S3, which need not be signed here.
    fn location(&self, name: &FunctionName, version: &Version) -> Value {
        if let Some(image) = &version.code.image {
            // The address without digest and tag; the colon of a port comes before a slash.
            let address = image.split('@').next().unwrap_or_default();
            let tag = address.rfind(['/', ':']).filter(|at| address[*at..].starts_with(':'));
            let address = &address[..tag.unwrap_or(address.len())];
            let resolved = format!("{address}@sha256:{}", version.code.sha256);
            return json!({"RepositoryType": "ECR", "ImageUri": image, "ResolvedImageUri": resolved});
        }
        let location = match self.declared.source(name) {
            Some(path) => format!("file://{}", path.display()),
            None => self.package_address(&version.code.sha256),
        };
        json!({"RepositoryType": "S3", "Location": location})
    }

    /// The address that a package is served at.
    pub(super) fn package_address(&self, sha256: &str) -> String {
        let name = sha256.replace('+', "-").replace('/', "_");
        format!("http://{}{}/{name}", self.address, crate::admin::paths::PACKAGES)
    }
}

/// The published versions of a function as entries of a list, with their keys.
fn published(state: &State, name: &FunctionName) -> impl Iterator<Item = (String, Value)> {
    let entry = |(number, version): (u64, &Arc<Version>)| {
        let entry = listed(name, version, Qualifier::Version(number));
        (version_key(name.as_str(), number), entry)
    };
    state.versions_of(name).map(entry)
}

/// A version as an entry of a list.
pub(super) fn listed(name: &FunctionName, version: &Version, number: Qualifier) -> Value {
    Configuration {
        name,
        version,
        number: number.clone(),
        qualifier: Some(&number),
        listed: true,
    }
    .json()
}

/// As [`listed`], with an ARN that names no version.
fn listed_by_name(name: &FunctionName, version: &Version, number: Qualifier) -> Value {
    Configuration {
        name,
        version,
        number,
        qualifier: None,
        listed: true,
    }
    .json()
}

fn delete(state: &mut State, name: &FunctionName) -> Result<(), ApiError> {
    rules::modifiable(state, name)?;
    state.remove_function(name);
    Ok(())
}

/// A version that is not there is as good as deleted. One that an alias leads to stays (text recorded from AWS).
fn delete_version(state: &mut State, name: &FunctionName, number: u64) -> Result<(), ApiError> {
    rules::modifiable(state, name)?;
    let leading = state.aliases_of(name).filter(|(_, alias)| alias.leads_to(number));
    let aliases: Vec<&str> = leading.map(|(alias, _)| alias).collect();
    if !aliases.is_empty() {
        return Err(ApiError::conflict(format!(
            "Unable to delete version because the following aliases reference it: [{}]",
            aliases.join(", ")
        )));
    }
    state.remove_qualifier(name, &Qualifier::Version(number));
    Ok(())
}
