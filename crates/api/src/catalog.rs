//! What is deployed: functions with their versions, layers and all else that the API keeps.
//!
//! [`State`] is one immutable picture of all of it; requests read the newest without waiting. A change works on a copy and becomes the picture
//! when it is on disk: who sees it may rely on it, and a server that dies in between comes back with the one before. There is one change at a time.

mod alias;
mod event_invoke;
mod function;
mod layer;
mod mapping;
mod provisioned;
mod signing;
mod table;
mod url;

use std::sync::{Arc, PoisonError, RwLock};

use hikigane_model::{FunctionName, Qualifier};
use hikigane_store::{Catalog as Documents, StoreError};

pub use alias::{Alias, Share};
pub use event_invoke::EventInvoke;
pub use function::{Code, Function, LastUpdate, Logging, Phase, RecursiveLoop, RuntimeUpdate, Version};
pub use layer::{Layer, LayerPolicy, LayerStatement, LayerVersion, UsedLayer};
pub use mapping::{EventSource, Mapping, MappingState};
pub use provisioned::{Provisioned, provisioned_key};
pub use signing::{
    CodeSigningConfig, Place, Revocation, Secret, SigningJob, SigningKey, SigningPolicy, SigningProfile, Validity,
    ValidityUnit,
};
pub use table::{Row, Table};
pub use url::Url;

use crate::error::ApiError;
use crate::policy::Policy;

/// One picture of what is deployed. A copy shares all rows.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// Aliases by [`qualified_key`].
    pub aliases: Table<Alias>,
    /// Code signing configurations by id.
    pub code_signing_configs: Table<CodeSigningConfig>,
    /// Event-invoke configurations of functions (under `$LATEST`), versions and aliases by [`qualified_key`].
    pub event_invokes: Table<EventInvoke>,
    /// Functions by name.
    pub functions: Table<Function>,
    /// Roles and policies, by kind and key.
    pub(crate) identity: Table<crate::identity::Document>,
    /// Versions of layers by [`version_key`].
    pub layer_versions: Table<LayerVersion>,
    /// Layers by name.
    pub layers: Table<Layer>,
    /// Event source mappings by UUID.
    pub mappings: Table<Mapping>,
    /// Policies of functions (under `$LATEST`), versions and aliases by [`qualified_key`].
    pub policies: Table<Policy>,
    /// Provisioned concurrency by [`provisioned_key`].
    pub provisioned: Table<Provisioned>,
    /// What is trusted no more.
    pub revocations: Table<Revocation>,
    /// Signing jobs by id.
    pub signing_jobs: Table<SigningJob>,
    /// Signing profiles by name.
    pub signing_profiles: Table<SigningProfile>,
    /// URLs of functions (under `$LATEST`) and aliases by [`qualified_key`].
    pub urls: Table<Url>,
    /// Published versions by [`version_key`].
    pub versions: Table<Version>,
}

/// The key of a version of a function or a layer: `name/00000000007`, so that versions are ordered by number.
pub fn version_key(name: &str, number: u64) -> String {
    format!("{name}/{number:011}")
}

/// The key of what belongs to a qualifier of a function: `name/live`.
pub fn qualified_key(function: &FunctionName, qualifier: &Qualifier) -> String {
    format!("{function}/{qualifier}")
}

impl State {
    /// A function.
    pub fn function(&self, name: &FunctionName) -> Option<&Arc<Function>> {
        self.functions.get(name.as_str())
    }

    /// The published versions of a function, by number.
    pub fn versions_of(&self, name: &FunctionName) -> impl Iterator<Item = (u64, &Arc<Version>)> {
        numbered(&self.versions, name.as_str())
    }

    /// The versions of a layer, by number.
    pub fn versions_of_layer(&self, name: &str) -> impl DoubleEndedIterator<Item = (u64, &Arc<LayerVersion>)> {
        numbered(&self.layer_versions, name)
    }

    /// A published version of a function.
    pub fn version(&self, name: &FunctionName, number: u64) -> Option<&Arc<Version>> {
        self.versions.get(&version_key(name.as_str(), number))
    }

    /// Bytes of all packages, zipped: each version of each function and layer counts for itself (recorded).
    pub fn code_storage(&self) -> u64 {
        self.deployed().map(|code| code.size).sum()
    }

    /// The hashes of all packages that are needed, those of deleted layer versions that functions still have among them.
    pub fn packages(&self) -> impl Iterator<Item = &str> {
        let latest = self.functions.iter().map(|(_, function)| &function.latest);
        let versions = latest.chain(self.versions.iter().map(|(_, version)| version.as_ref()));
        let layers = versions.flat_map(|version| version.layers.iter().map(|layer| &layer.code));
        let all = self.deployed().chain(layers);
        all.filter(|code| code.image.is_none()).map(|code| code.sha256.as_str())
    }

    fn deployed(&self) -> impl Iterator<Item = &Code> {
        let latest = self.functions.iter().map(|(_, function)| &function.latest.code);
        let versions = self.versions.iter().map(|(_, version)| &version.code);
        let layers = self.layer_versions.iter().map(|(_, version)| &version.code);
        latest.chain(versions).chain(layers)
    }

    /// The aliases of a function, by name.
    pub fn aliases_of(&self, name: &FunctionName) -> impl Iterator<Item = (&str, &Arc<Alias>)> {
        let named = |(key, alias): (_, _)| Some((str::rsplit_once(key, '/')?.1, alias));
        self.aliases.starting_with(format!("{name}/")).filter_map(named)
    }

    /// An alias of a function.
    pub fn alias(&self, name: &FunctionName, alias: &str) -> Option<&Arc<Alias>> {
        self.aliases.get(&format!("{name}/{alias}"))
    }

    /// The event-invoke configurations of a function, by qualifier.
    pub fn event_invokes_of(&self, name: &FunctionName) -> impl Iterator<Item = (Qualifier, &Arc<EventInvoke>)> {
        qualified(&self.event_invokes, name)
    }

    /// The URLs of a function, by qualifier.
    pub fn urls_of(&self, name: &FunctionName) -> impl Iterator<Item = (Qualifier, &Arc<Url>)> {
        qualified(&self.urls, name)
    }

    /// Removes a function and all that is its.
    pub fn remove_function(&mut self, name: &FunctionName) {
        self.functions.remove(name.as_str());
        let prefix = format!("{name}/");
        self.aliases.remove_starting_with(&prefix);
        self.event_invokes.remove_starting_with(&prefix);
        self.policies.remove_starting_with(&prefix);
        self.urls.remove_starting_with(&prefix);
        self.versions.remove_starting_with(&prefix);
    }

    /// Removes a version or an alias, and what belongs to it. One that is not there is as good as removed.
    pub fn remove_qualifier(&mut self, name: &FunctionName, qualifier: &Qualifier) {
        let key = qualified_key(name, qualifier);
        match qualifier {
            Qualifier::Latest => {}
            Qualifier::Version(number) => drop(self.versions.remove(&version_key(name.as_str(), *number))),
            Qualifier::Alias(_) => drop(self.aliases.remove(&key)),
        }
        self.event_invokes.remove(&key);
        self.policies.remove(&key);
        self.urls.remove(&key);
    }
}

fn numbered<'a, T>(table: &'a Table<T>, name: &str) -> impl DoubleEndedIterator<Item = (u64, &'a Arc<T>)> + use<'a, T> {
    let number = |(key, version): (&str, _)| Some((key.rsplit_once('/')?.1.parse().ok()?, version));
    table.starting_with(format!("{name}/")).filter_map(number)
}

fn qualified<'a, T>(
    table: &'a Table<T>,
    name: &FunctionName,
) -> impl Iterator<Item = (Qualifier, &'a Arc<T>)> + use<'a, T> {
    let qualifier = |(key, row): (&str, _)| Some((Qualifier::new(key.rsplit_once('/')?.1).ok()?, row));
    table.starting_with(format!("{name}/")).filter_map(qualifier)
}

/// The catalog of one server.
pub struct Catalog {
    state: RwLock<Arc<State>>,
    /// What the manifest hides: it is kept, and comes to light again when the manifest no longer declares a function of its name.
    hidden: State,
    /// Held while a change is made.
    turn: tokio::sync::Mutex<()>,
    documents: Arc<dyn Documents>,
}

/// A change that was made: the pictures before and after it.
pub struct Changed {
    /// Before.
    pub before: Arc<State>,
    /// After.
    pub after: Arc<State>,
}

impl Catalog {
    /// The catalog that was kept in `documents`, and the functions that the manifest declares; `declare` adds what else it says of them. Where both have one of a name, the manifest's counts; the
    /// other stays where it is kept, and is named in the second part of the answer.
    ///
    /// # Errors
    ///
    /// What cannot be read; a document of a newer release, say.
    pub async fn open(
        documents: Arc<dyn Documents>,
        declared: Vec<(FunctionName, Function)>,
        declare: impl FnOnce(&mut State),
    ) -> Result<(Self, Vec<FunctionName>), StoreError> {
        let mut state = State::default();
        for document in documents.load().await? {
            state.put(&document).map_err(|error| {
                StoreError::Failed(format!(
                    "the catalog's {} \"{}\" cannot be read: {error}",
                    document.kind, document.key
                ))
            })?;
        }
        let mut shadowed = Vec::new();
        let mut hidden = State::default();
        for (name, function) in declared {
            if let Some(function) = state.functions.remove(name.as_str()) {
                let numbers: Vec<u64> = state.versions_of(&name).map(|(number, _)| number).collect();
                for key in numbers.iter().map(|number| version_key(name.as_str(), *number)) {
                    if let Some(version) = state.versions.remove(&key) {
                        hidden.versions.insert(key, Version::clone(&version));
                    }
                }
                hidden.functions.insert(name.as_str(), Function::clone(&function));
                // What belonged to the other does not belong to the manifest's.
                state.remove_function(&name);
                shadowed.push(name.clone());
            }
            state.functions.insert(name.as_str(), function);
        }
        declare(&mut state);
        let catalog = Self {
            state: RwLock::new(Arc::new(state)),
            hidden,
            turn: tokio::sync::Mutex::default(),
            documents,
        };
        Ok((catalog, shadowed))
    }

    /// The newest picture.
    pub fn state(&self) -> Arc<State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The hashes of all packages that are needed, now or when the manifest is another.
    pub fn packages(&self) -> Vec<String> {
        let state = self.state();
        let all = state.packages().chain(self.hidden.packages());
        all.map(str::to_owned).collect()
    }

    /// Makes one change. `work` gets a copy of the newest picture; when it fails nothing has happened. `publish` is told of the change after it
    /// is on disk and before the next one begins.
    pub async fn change<T>(
        &self,
        work: impl FnOnce(&mut State) -> Result<T, ApiError>,
        publish: impl FnOnce(&Changed),
    ) -> Result<T, ApiError> {
        let _turn = self.turn.lock().await;
        let before = self.state();
        let mut after = State::clone(&before);
        let result = work(&mut after)?;
        let writes = after.writes_since(&before).map_err(|error| unavailable(&error))?;
        if writes.is_empty() {
            return Ok(result);
        }
        self.documents
            .commit(writes)
            .await
            .map_err(|error| unavailable(&error))?;
        let after = Arc::new(after);
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = after.clone();
        publish(&Changed { before, after });
        Ok(result)
    }
}

fn unavailable(error: &dyn std::fmt::Display) -> ApiError {
    ApiError::new(503, "ServiceException", format!("nothing was changed: {error}"))
}
