//! PublishVersion and ListVersionsByFunction.

use hikigane_model::{FunctionName, Qualifier};
use serde_json::Value;

use super::answer::Configuration;
use super::function::listed;
use super::page::Page;
use super::rules::{self, Named};
use super::{Input, Lambda, Phase, State};
use crate::catalog::{RuntimeUpdate, Version, version_key};
use crate::error::ApiError;

/// What a publication demands of the unpublished version, and says of the new one.
struct Publication {
    description: Option<String>,
    code_sha256: Option<String>,
    revision: Option<String>,
}

impl Lambda {
    /// When the unpublished version is what was published last, that one is the answer (recorded).
    pub(super) async fn publish_version(&self, input: Input) -> Result<Value, ApiError> {
        let name = Named::of(&input)?.name;
        let text = |member| input.get(member).and_then(Value::as_str).map(str::to_owned);
        let publication = Publication {
            description: text("Description"),
            code_sha256: text("CodeSha256").filter(|hash| !hash.is_empty()),
            revision: text("RevisionId"),
        };
        let now = self.now();
        self.change(|state| {
            let function = rules::modifiable(state, &name)?;
            rules::not_in_progress(&name, function)?;
            publication.check(&function.latest)?;
            let mut version = function.latest.clone();
            if let Some(description) = publication.description {
                version.description = description;
            }
            version.revise(now);
            publish(state, &name, version)
        })
        .await
    }

    pub(super) async fn list_versions_by_function(&self, input: Input) -> Result<Value, ApiError> {
        let name = Named::of(&input)?.name;
        let page = Page::of(&input)?;
        let latest = self.with_code(&name, self.existing(&name)?.latest.clone()).await;
        let state = self.catalog.state();
        let first = (0, listed(&name, &latest, Qualifier::Latest));
        let published = state.versions_of(&name);
        let published = published.map(|(number, version)| (number, listed(&name, version, Qualifier::Version(number))));
        let all = std::iter::once(first).chain(published);
        let keyed = all.map(|(number, entry)| (version_key("", number), entry));
        Ok(page.answer("Versions", keyed.filter(|(key, _)| *key > page.after)))
    }
}

impl Publication {
    /// Whether the unpublished version is the one that the client means.
    fn check(&self, latest: &Version) -> Result<(), ApiError> {
        rules::revision(self.revision.as_deref(), &latest.revision)?;
        let current = &latest.code.sha256;
        match &self.code_sha256 {
            Some(wanted) if wanted != current => Err(ApiError::invalid(format!(
                "CodeSHA256 ({wanted}) is different from current CodeSHA256 in $LATEST ({current}). Please try again with the CodeSHA256 in $LATEST."
            ))),
            _ => Ok(()),
        }
    }
}

/// Adds a version to a function, unless it is what was published last. The answer is the version that there is then.
pub(super) fn publish(state: &mut State, name: &FunctionName, mut version: Version) -> Result<Value, ApiError> {
    let last = rules::modifiable(state, name)?.last_version;
    if let Some(published) = state.version(name, last)
        && is_same(published, &version)
    {
        return Ok(shown(name, last, published));
    }
    let number = last + 1;
    version.runtime_update = RuntimeUpdate::default();
    let answer = shown(name, number, &version);
    state.versions.insert(version_key(name.as_str(), number), version);
    let function = rules::modifiable(state, name)?;
    function.last_version = number;
    // The unpublished version gets a new revision, too (recorded).
    function.latest.touch();
    Ok(answer)
}

/// Whether two versions have the same code and configuration.
fn is_same(a: &Version, b: &Version) -> bool {
    let essence = |version: &Version| Version {
        description: String::new(),
        runtime_update: RuntimeUpdate::default(),
        revision: String::new(),
        edition: None,
        modified: chrono::DateTime::UNIX_EPOCH,
        phase: Phase::Active,
        update: None,
        ..version.clone()
    };
    essence(a) == essence(b)
}

fn shown(name: &FunctionName, number: u64, version: &Version) -> Value {
    let number = Qualifier::Version(number);
    Configuration {
        name,
        version,
        number: number.clone(),
        qualifier: Some(&number),
        listed: false,
    }
    .json()
}
