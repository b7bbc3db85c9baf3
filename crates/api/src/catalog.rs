//! What is deployed: functions with their versions, layers and all else that the API keeps.
//!
//! [`State`] is one immutable picture of all of it; requests read the newest without waiting. A change works on a copy and becomes the picture
//! when it is on disk: who sees it may rely on it, and a server that dies in between comes back with the one before. There is one change at a time.

mod function;
mod signing;
mod table;

use std::sync::{Arc, PoisonError, RwLock};

use hikigane_model::FunctionName;
use hikigane_store::{Catalog as Documents, StoreError};

pub use function::{Code, Function, LastUpdate, Logging, Phase, Version};
pub use signing::{CodeSigningConfig, Policy, Revocation, Secret, SigningKey, SigningProfile, Validity, ValidityUnit};
pub use table::{Row, Table};

use crate::error::ApiError;

/// One picture of what is deployed. A copy shares all rows.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// Code signing configurations by id.
    pub code_signing_configs: Table<CodeSigningConfig>,
    /// Functions by name.
    pub functions: Table<Function>,
    /// What is trusted no more.
    pub revocations: Table<Revocation>,
    /// Signing profiles by name.
    pub signing_profiles: Table<SigningProfile>,
    /// Published versions by [`version_key`].
    pub versions: Table<Version>,
}

/// The key of a published version: `name/00000000007`, so that versions are ordered by number.
pub fn version_key(function: &str, number: u64) -> String {
    format!("{function}/{number:011}")
}

impl State {
    /// A function.
    pub fn function(&self, name: &FunctionName) -> Option<&Arc<Function>> {
        self.functions.get(name.as_str())
    }

    /// The published versions of a function, by number.
    pub fn versions_of(&self, name: &FunctionName) -> impl Iterator<Item = (u64, &Arc<Version>)> {
        let prefix = format!("{name}/");
        let numbered = |(key, version): (&str, _)| Some((key.rsplit_once('/')?.1.parse().ok()?, version));
        self.versions.starting_with(prefix).filter_map(numbered)
    }

    /// A published version of a function.
    pub fn version(&self, name: &FunctionName, number: u64) -> Option<&Arc<Version>> {
        self.versions.get(&version_key(name.as_str(), number))
    }
}

/// The catalog of one server.
pub struct Catalog {
    state: RwLock<Arc<State>>,
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
    /// The catalog that was kept in `documents`, and the functions that the manifest declares. Where both have one of a name, the manifest's counts; the
    /// other stays where it is kept, and is named in the second part of the answer.
    ///
    /// # Errors
    ///
    /// What cannot be read; a document of a newer release, say.
    pub async fn open(
        documents: Arc<dyn Documents>,
        declared: Vec<(FunctionName, Function)>,
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
        for (name, function) in declared {
            if state.function(&name).is_some() {
                let numbers: Vec<u64> = state.versions_of(&name).map(|(number, _)| number).collect();
                for number in numbers {
                    state.versions.remove(&version_key(name.as_str(), number));
                }
                shadowed.push(name.clone());
            }
            state.functions.insert(name.as_str(), function);
        }
        let catalog = Self {
            state: RwLock::new(Arc::new(state)),
            turn: tokio::sync::Mutex::default(),
            documents,
        };
        Ok((catalog, shadowed))
    }

    /// The newest picture.
    pub fn state(&self) -> Arc<State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
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
