//! ListTags, TagResource, UntagResource: of functions, event source mappings and code signing configurations.

use std::collections::BTreeMap;

use hikigane_model::FunctionName;
use serde_json::{Value, json};

use super::code_signing;
use super::create::check_tags;
use super::rules::{self, too_long};
use super::{Input, Lambda, State};
use crate::error::ApiError;
use crate::name;

type Tags = BTreeMap<String, String>;

/// Something that can have tags.
enum Tagged {
    /// By its ARN.
    CodeSigningConfig(String),
    Function(FunctionName),
    /// By its UUID.
    Mapping(String),
}

impl Lambda {
    pub(super) async fn list_tags(&self, input: Input) -> Result<Value, ApiError> {
        let tagged = Tagged::of(input.text("Resource"))?;
        Ok(json!({"Tags": tagged.tags(&self.catalog.state())?}))
    }

    pub(super) async fn tag_resource(&self, input: Input) -> Result<Value, ApiError> {
        let tagged = Tagged::of(input.text("Resource"))?;
        let new = input.get("Tags").and_then(Value::as_object).into_iter().flatten();
        let new: Tags = new
            .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect();
        self.change(|state| {
            let tags = tagged.tags_mut(state)?;
            if new.is_empty() {
                return Err(ApiError::invalid(
                    "An error occurred and the request cannot be processed.",
                ));
            }
            tags.extend(new);
            check_tags(tags)?;
            Ok(Value::Null)
        })
        .await
    }

    /// Tags that are not there are as good as removed (recorded).
    pub(super) async fn untag_resource(&self, input: Input) -> Result<Value, ApiError> {
        let tagged = Tagged::of(input.text("Resource"))?;
        let keys = input.get("TagKeys").and_then(Value::as_array).into_iter().flatten();
        let keys: Vec<&str> = keys.filter_map(Value::as_str).collect();
        self.change(|state| {
            let tags = tagged.tags_mut(state)?;
            tags.retain(|key, _| !keys.contains(&key.as_str()));
            Ok(Value::Null)
        })
        .await
    }
}

impl Tagged {
    /// What an ARN of Lambda's names. What there is none of here is not found (texts recorded from AWS).
    fn of(arn: &str) -> Result<Self, ApiError> {
        let mut parts = arn.splitn(7, ':').skip(5);
        match (parts.next(), parts.next()) {
            (Some("function"), Some(_)) => {
                let named = name::parse(arn, None)?;
                if named.qualifier.is_some() {
                    return Err(ApiError::invalid(
                        "Tags on function aliases and versions are not supported. Please specify a function ARN.",
                    ));
                }
                let name = FunctionName::new(&named.function).map_err(|_| too_long(&named.function))?;
                Ok(Self::Function(name))
            }
            (Some("event-source-mapping"), Some(uuid)) => Ok(Self::Mapping(uuid.to_ascii_lowercase())),
            (Some("code-signing-config"), _) => Ok(Self::CodeSigningConfig(arn.to_owned())),
            (Some("capacity-provider"), _) => Err(ApiError::not_found(format!("Capacity provider not found: {arn}"))),
            _ => Err(rules::nothing_there()),
        }
    }

    fn tags<'a>(&self, state: &'a State) -> Result<&'a Tags, ApiError> {
        match self {
            Self::CodeSigningConfig(arn) => Ok(&code_signing::existing(state, arn)?.1.tags),
            Self::Function(name) => {
                let function = state.function(name).ok_or_else(|| rules::no_function(name, None))?;
                Ok(&function.tags)
            }
            Self::Mapping(uuid) => {
                let mapping = state.mappings.get(uuid).ok_or_else(|| no_mapping(uuid))?;
                Ok(&mapping.tags)
            }
        }
    }

    fn tags_mut<'a>(&self, state: &'a mut State) -> Result<&'a mut Tags, ApiError> {
        match self {
            Self::CodeSigningConfig(arn) => Ok(&mut code_signing::modifiable(state, arn)?.1.tags),
            Self::Function(name) => Ok(&mut rules::modifiable(state, name)?.tags),
            Self::Mapping(uuid) => {
                let mapping = state.mappings.get_mut(uuid).ok_or_else(|| no_mapping(uuid))?;
                Ok(&mut mapping.tags)
            }
        }
    }
}

fn no_mapping(uuid: &str) -> ApiError {
    let arn = rules::arn(&format!("event-source-mapping:{uuid}"));
    ApiError::not_found(format!("Event source mapping not found: {arn}"))
}
