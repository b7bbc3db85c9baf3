//! Layers: PublishLayerVersion, GetLayerVersion, GetLayerVersionByArn, ListLayers, ListLayerVersions, DeleteLayerVersion.

use std::sync::Arc;

use hikigane_model::REGION;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answer::time;
use super::code::CodeSource;
use super::layered::{LayerArn, version_arn};
use super::page::Page;
use super::{Input, Lambda, rules};
use crate::catalog::{Layer, LayerVersion, version_key};
use crate::error::ApiError;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Publication {
    #[serde(default)]
    description: String,
    content: CodeSource,
    license_info: Option<String>,
    compatible_runtimes: Option<Vec<String>>,
    compatible_architectures: Option<Vec<String>>,
}

/// Which versions of layers are listed.
struct Filter<'a> {
    runtime: &'a str,
    architecture: &'a str,
}

impl Lambda {
    pub(super) async fn publish_layer_version(self: &Arc<Self>, input: Input) -> Result<Value, ApiError> {
        let name = layer_name(&input)?;
        let publication: Publication = input.parse()?;
        let mut taken = self.take_in(publication.content).await?;
        self.note_signature(&mut taken.code).await?;
        let version = LayerVersion {
            description: publication.description,
            license: publication.license_info,
            runtimes: publication.compatible_runtimes,
            architectures: publication.compatible_architectures,
            created: self.now(),
            code: taken.code,
            policy: None,
        };
        let (number, version) = self
            .change(|state| {
                let number = state.layers.get(&name).map_or(0, |layer| layer.last_version) + 1;
                state.layers.insert(name.as_str(), Layer { last_version: number });
                state.layer_versions.insert(version_key(&name, number), version.clone());
                Ok((number, version))
            })
            .await?;
        drop(taken.pin);
        Ok(self.layer_json(&name, number, &version))
    }

    pub(super) async fn get_layer_version(&self, input: Input) -> Result<Value, ApiError> {
        self.shown_layer(&layer_name(&input)?, version_number(&input)?)
    }

    pub(super) async fn get_layer_version_by_arn(&self, input: Input) -> Result<Value, ApiError> {
        let text = input.text("Arn");
        let arn = LayerArn::parse(text).ok_or_else(nothing_there)?;
        arn.check_account(text)?;
        match arn.version {
            Some(number) if arn.region == REGION => self.shown_layer(arn.name, number),
            _ => Err(nothing_there()),
        }
    }

    pub(super) async fn list_layers(&self, input: Input) -> Result<Value, ApiError> {
        let page = Page::of(&input)?;
        let filter = Filter::of(&input);
        let state = self.catalog.state();
        let layers = state.layers.after(&page.after).filter_map(|(name, _)| {
            let mut versions = state.versions_of_layer(name).rev();
            let (number, version) = versions.find(|(_, version)| filter.takes(version))?;
            let entry = json!({
                "LayerName": name,
                "LayerArn": rules::arn(&format!("layer:{name}")),
                "LatestMatchingVersion": listed(name, number, version),
            });
            Some((name, entry))
        });
        Ok(page.answer("Layers", layers))
    }

    /// The newest first. A layer that is not there has no versions (recorded).
    pub(super) async fn list_layer_versions(&self, input: Input) -> Result<Value, ApiError> {
        let page = Page::of(&input)?;
        let filter = Filter::of(&input);
        let name = layer_name(&input)?;
        let state = self.catalog.state();
        let versions = state.versions_of_layer(&name).rev();
        let matching = versions.filter(|(_, version)| filter.takes(version));
        let entries = matching.map(|(number, version)| {
            // Keys that grow while numbers fall.
            (
                version_key("", u64::from(u32::MAX).saturating_sub(number)),
                listed(&name, number, version),
            )
        });
        let rest = entries.filter(|(key, _)| key.as_str() > page.after.as_str());
        Ok(page.answer("LayerVersions", rest))
    }

    /// A version that is not there is as good as deleted (recorded).
    pub(super) async fn delete_layer_version(&self, input: Input) -> Result<Value, ApiError> {
        let key = version_key(&layer_name(&input)?, version_number(&input)?);
        self.change(|state| {
            state.layer_versions.remove(&key);
            Ok(Value::Null)
        })
        .await
    }

    fn shown_layer(&self, name: &str, number: u64) -> Result<Value, ApiError> {
        let state = self.catalog.state();
        let version = state.layer_versions.get(&version_key(name, number));
        let version = version.ok_or_else(nothing_there)?;
        Ok(self.layer_json(name, number, version))
    }

    fn layer_json(&self, name: &str, number: u64, version: &LayerVersion) -> Value {
        let code = &version.code;
        let mut content = json!({
            "Location": self.package_address(&code.sha256),
            "CodeSha256": code.sha256,
            "CodeSize": code.size,
        });
        for (member, arn) in [
            ("SigningProfileVersionArn", &code.signing_profile_version),
            ("SigningJobArn", &code.signing_job),
        ] {
            if let Some(arn) = arn {
                content[member] = arn.as_str().into();
            }
        }
        let mut answer = listed(name, number, version);
        answer["Content"] = content;
        answer["LayerArn"] = rules::arn(&format!("layer:{name}")).into();
        answer
    }
}

/// As an entry of a list. What was not said of a version is not shown of it (recorded).
fn listed(name: &str, number: u64, version: &LayerVersion) -> Value {
    let mut entry = Map::new();
    entry.insert("LayerVersionArn".into(), version_arn(name, number).into());
    entry.insert("Version".into(), number.into());
    entry.insert("Description".into(), version.description.as_str().into());
    entry.insert("CreatedDate".into(), time(version.created).into());
    for (member, value) in [
        ("CompatibleRuntimes", version.runtimes.clone().map(Value::from)),
        (
            "CompatibleArchitectures",
            version.architectures.clone().map(Value::from),
        ),
        ("LicenseInfo", version.license.clone().map(Value::from)),
    ] {
        if let Some(value) = value {
            entry.insert(member.into(), value);
        }
    }
    entry.into()
}

impl<'a> Filter<'a> {
    fn of(input: &'a Input) -> Self {
        Self {
            runtime: input.text("CompatibleRuntime"),
            architecture: input.text("CompatibleArchitecture"),
        }
    }

    /// A version that says nothing of runtimes is listed for none.
    fn takes(&self, version: &LayerVersion) -> bool {
        let has = |list: &Option<Vec<String>>, wanted: &str| {
            wanted.is_empty() || list.iter().flatten().any(|value| value == wanted)
        };
        has(&version.runtimes, self.runtime) && has(&version.architectures, self.architecture)
    }
}

/// The member `LayerName`: a name, or the ARN of a layer.
pub(super) fn layer_name(input: &Input) -> Result<String, ApiError> {
    let text = input.text("LayerName");
    if !text.contains(':') {
        return Ok(text.to_owned());
    }
    let arn = LayerArn::parse(text).ok_or_else(nothing_there)?;
    arn.check_account(text)?;
    if arn.region != REGION {
        return Err(nothing_there());
    }
    Ok(arn.name.to_owned())
}

/// The member `VersionNumber` (text recorded from AWS).
pub(super) fn version_number(input: &Input) -> Result<u64, ApiError> {
    match input.get("VersionNumber").and_then(Value::as_u64) {
        Some(number) if number > 0 => Ok(number),
        _ => Err(ApiError::invalid("Layer Version Cannot be less than 1")),
    }
}

/// AWS's words.
fn nothing_there() -> ApiError {
    ApiError::not_found("The resource you requested does not exist.")
}
