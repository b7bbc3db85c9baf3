//! CreateAlias, GetAlias, ListAliases, UpdateAlias, DeleteAlias.

use std::collections::BTreeMap;

use hikigane_model::{FunctionName, Qualifier, function_arn};
use serde::Deserialize;
use serde_json::{Value, json};

use super::page::Page;
use super::rules::{self, Named};
use super::{Input, Lambda, State};
use crate::catalog::{Alias, Share, Version, qualified_key};
use crate::error::ApiError;

/// The members of an alias, as they are created or changed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Settings {
    function_version: Option<Qualifier>,
    description: Option<String>,
    routing_config: Option<RoutingConfig>,
    revision_id: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RoutingConfig {
    additional_version_weights: BTreeMap<String, f64>,
}

impl Lambda {
    pub(super) async fn create_alias(&self, input: Input) -> Result<Value, ApiError> {
        let (function, name) = named(&input)?;
        let settings: Settings = input.parse()?;
        self.change(|state| {
            rules::modifiable(state, &function)?;
            let mut alias = Alias {
                description: settings.description.unwrap_or_default(),
                version: settings.function_version.unwrap_or(Qualifier::Latest),
                share: None,
                revision: String::new(),
            };
            version(state, &function, &alias.version)?;
            if state.aliases.get(&qualified_key(&function, &name)).is_some() {
                let arn = function_arn(&function, Some(&name));
                return Err(ApiError::conflict(format!("Alias already exists: {arn}")));
            }
            alias.share = share(settings.routing_config.unwrap_or_default())?;
            keep(state, &function, &name, alias)
        })
        .await
    }

    pub(super) async fn update_alias(&self, input: Input) -> Result<Value, ApiError> {
        let (function, name) = named(&input)?;
        let settings: Settings = input.parse()?;
        self.change(|state| {
            rules::modifiable(state, &function)?;
            let found = state.aliases.get(&qualified_key(&function, &name));
            let Some(mut alias) = found.map(|alias| Alias::clone(alias)) else {
                let arn = function_arn(&function, Some(&name));
                return Err(ApiError::not_found(format!("Alias not found: {arn}")));
            };
            rules::revision(settings.revision_id.as_deref(), &alias.revision)?;
            if let Some(description) = settings.description {
                alias.description = description;
            }
            if let Some(version) = settings.function_version {
                alias.version = version;
            }
            if let Some(routing) = settings.routing_config {
                alias.share = share(routing)?;
            }
            keep(state, &function, &name, alias)
        })
        .await
    }

    pub(super) async fn get_alias(&self, input: Input) -> Result<Value, ApiError> {
        let (function, name) = named(&input)?;
        self.existing(&function)?;
        let state = self.catalog.state();
        match state.aliases.get(&qualified_key(&function, &name)) {
            Some(alias) => Ok(shown(&function, &name, alias)),
            None => Err(rules::no_alias(&function, &name)),
        }
    }

    pub(super) async fn list_aliases(&self, input: Input) -> Result<Value, ApiError> {
        let function = Named::of(&input)?.name;
        let page = Page::of(&input)?;
        let version = input.text("FunctionVersion");
        self.existing(&function)?;
        let state = self.catalog.state();
        let aliases = state
            .aliases_of(&function)
            .filter(|(name, _)| *name > page.after.as_str())
            .filter(|(_, alias)| version.is_empty() || alias.version.to_string() == version)
            .map(|(name, alias)| (name, shown(&function, &Qualifier::Alias(name.to_owned()), alias)));
        Ok(page.answer("Aliases", aliases))
    }

    /// One that is not there is as good as deleted (recorded).
    pub(super) async fn delete_alias(&self, input: Input) -> Result<Value, ApiError> {
        let (function, name) = named(&input)?;
        self.change(|state| {
            rules::modifiable(state, &function)?;
            state.remove_qualifier(&function, &name);
            Ok(Value::Null)
        })
        .await
    }
}

/// The function and the alias of it.
fn named(input: &Input) -> Result<(FunctionName, Qualifier), ApiError> {
    let name = Qualifier::Alias(input.text("Name").to_owned());
    Ok((Named::of(input)?.name, name))
}

/// Puts a new or changed alias into the catalog, as another revision, if it may be as it is.
fn keep(state: &mut State, function: &FunctionName, name: &Qualifier, mut alias: Alias) -> Result<Value, ApiError> {
    check(state, function, &alias)?;
    alias.revise();
    let answer = shown(function, name, &alias);
    state.aliases.insert(qualified_key(function, name), alias);
    Ok(answer)
}

/// The version that an alias leads to, which must be there.
fn version<'a>(state: &'a State, function: &FunctionName, number: &Qualifier) -> Result<&'a Version, ApiError> {
    let found = match number {
        Qualifier::Latest => state.function(function).map(|function| &function.latest),
        Qualifier::Version(number) => state.version(function, *number).map(AsRef::as_ref),
        // A number that is larger than all.
        Qualifier::Alias(_) => None,
    };
    found.ok_or_else(|| rules::no_function(function, Some(number)))
}

/// The version beside the main one, of the weights that a client gives (texts recorded from AWS).
fn share(routing: RoutingConfig) -> Result<Option<Share>, ApiError> {
    let mut weights = routing.additional_version_weights.into_iter();
    let Some((number, weight)) = weights.next() else {
        return Ok(None);
    };
    if weights.next().is_some() {
        return Err(ApiError::invalid(
            "Number of items in AdditionalVersionWeights cannot be greater than 1",
        ));
    }
    // Digits only, by the model; what is larger than all numbers is no version's.
    let version = number.parse().unwrap_or(u64::MAX);
    Ok(Some(Share { version, weight }))
}

/// Whether an alias may be so. AWS splits between published versions only, and those must have one role and one dead-letter target (AWS
/// documentation, "Create a weighted alias"; texts recorded as far as they are known).
fn check(state: &State, function: &FunctionName, alias: &Alias) -> Result<(), ApiError> {
    let main = version(state, function, &alias.version)?;
    let Some(share) = &alias.share else { return Ok(()) };
    let number = share.version;
    if alias.version == Qualifier::Version(number) {
        return Err(ApiError::invalid(format!(
            "Invalid function version {number}. Function version {number} is already included in routing configuration."
        )));
    }
    if alias.version == Qualifier::Latest {
        return Err(
            ApiError::invalid("$LATEST is not supported for an alias pointing to more than 1 version").untyped(),
        );
    }
    let other = version(state, function, &Qualifier::Version(number))?;
    if (&main.role, &main.dead_letter) != (&other.role, &other.dead_letter) {
        return Err(ApiError::invalid(format!(
            "Versions {} and {number} cannot share an alias: they must have the same execution role and the same dead-letter queue.",
            alias.version
        )));
    }
    Ok(())
}

/// The shape `AliasConfiguration`.
fn shown(function: &FunctionName, name: &Qualifier, alias: &Alias) -> Value {
    let mut answer = json!({
        "AliasArn": function_arn(function, Some(name)),
        "Name": name,
        "FunctionVersion": alias.version,
        "Description": alias.description,
    });
    if let Some(share) = &alias.share {
        answer["RoutingConfig"] = json!({"AdditionalVersionWeights": {share.version.to_string(): share.weight}});
    }
    answer["RevisionId"] = alias.revision.as_str().into();
    answer
}
