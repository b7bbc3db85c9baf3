//! PublishVersion and ListVersionsByFunction.

use std::sync::Arc;

use hikigane_model::{FunctionName, Qualifier};
use serde_json::Value;

use super::answer::Configuration;
use super::function::listed;
use super::page::Page;
use super::rules::{self, Named};
use super::{Input, Lambda, State};
use crate::catalog::{Version, version_key};
use crate::error::ApiError;

/// What a publication demands of the unpublished version, and says of the new one.
#[derive(Debug, Default)]
pub(super) struct Publication {
    description: Option<String>,
    code_sha256: Option<String>,
    revision: Option<String>,
}

impl Lambda {
    pub(super) async fn publish_version(self: &Arc<Self>, input: Input) -> Result<Value, ApiError> {
        let name = Named::of(&input)?.name;
        let text = |member| input.get(member).and_then(Value::as_str).map(str::to_owned);
        let publication = Publication {
            description: text("Description"),
            code_sha256: text("CodeSha256").filter(|hash| !hash.is_empty()),
            revision: text("RevisionId"),
        };
        self.publish_latest(&name, Some(publication)).await
    }

    /// Publishes the unpublished version. When it is what was published last, that one is the answer (recorded).
    pub(super) async fn publish_latest(
        self: &Arc<Self>,
        name: &FunctionName,
        publication: Option<Publication>,
    ) -> Result<Value, ApiError> {
        let publication = publication.unwrap_or_default();
        let now = self.now();
        self.change(|state| {
            let function = rules::modifiable(state, name)?;
            rules::not_in_progress(name, function)?;
            rules::revision(publication.revision.as_deref(), &function.latest.revision)?;
            let current = &function.latest.code.sha256;
            if let Some(wanted) = publication.code_sha256.filter(|wanted| wanted != current) {
                return Err(ApiError::invalid(format!(
                    "CodeSHA256 ({wanted}) is different from current CodeSHA256 in $LATEST ({current}). Please try again with the CodeSHA256 in $LATEST."
                )));
            }
            let (latest, last) = (function.latest.clone(), function.last_version);
            if let Some(published) = state.version(name, last)
                && is_same(published, &latest)
            {
                return Ok(published_answer(name, last, published));
            }
            let number = last + 1;
            let mut version = latest;
            if let Some(description) = publication.description {
                version.description = description;
            }
            version.revise(now);
            let answer = published_answer(name, number, &version);
            state.versions.insert(version_key(name.as_str(), number), version);
            rules::modifiable(state, name)?.last_version = number;
            Ok(answer)
        })
        .await
    }

    pub(super) async fn list_versions_by_function(&self, input: Input) -> Result<Value, ApiError> {
        let name = Named::of(&input)?.name;
        let page = Page::of(&input)?;
        self.existing(&name)?;
        Ok(page.answer("Versions", versions(&self.catalog.state(), &name, &page.after)))
    }
}

/// `$LATEST` and the published versions, by number, after a key.
fn versions<'a>(
    state: &'a State,
    name: &'a FunctionName,
    after: &'a str,
) -> impl Iterator<Item = (String, Value)> + 'a {
    let latest = state.function(name).map(|function| (0, &function.latest));
    let published = state
        .versions_of(name)
        .map(|(number, version)| (number, version.as_ref()));
    let all = latest.into_iter().chain(published);
    all.map(move |(number, version)| {
        let qualifier = if number == 0 {
            Qualifier::Latest
        } else {
            Qualifier::Version(number)
        };
        (version_key("", number), listed(name, version, qualifier, true))
    })
    .filter(move |(key, _)| key.as_str() > after)
}

/// Whether two versions have the same code and configuration.
fn is_same(a: &Version, b: &Version) -> bool {
    let essence = |version: &Version| Version {
        description: String::new(),
        revision: String::new(),
        modified: chrono::DateTime::UNIX_EPOCH,
        update: None,
        ..version.clone()
    };
    essence(a) == essence(b)
}

fn published_answer(name: &FunctionName, number: u64, version: &Version) -> Value {
    Configuration {
        name,
        version,
        number: Qualifier::Version(number),
        qualified: true,
        with_update: false,
    }
    .json()
}
