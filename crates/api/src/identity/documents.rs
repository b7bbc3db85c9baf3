//! Where roles and policies are kept: JSON documents, by kind and key.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The documents of all requests; an action has them to itself from its first look to its last change.
#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<Documents>>);

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Documents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets all of them.
    pub(crate) fn clear(&self) {
        *self.lock() = Documents::default();
    }
}

/// Documents by kind and key. They live as long as the server.
#[derive(Default)]
pub(crate) struct Documents(BTreeMap<(&'static str, String), Value>);

impl Documents {
    pub(crate) fn get<T: DeserializeOwned>(&self, kind: &'static str, key: &str) -> Option<T> {
        let document = self.0.get(&(kind, key.to_owned()))?;
        T::deserialize(document).ok()
    }

    pub(crate) fn put(&mut self, kind: &'static str, key: &str, document: &impl Serialize) {
        if let Ok(document) = serde_json::to_value(document) {
            self.0.insert((kind, key.to_owned()), document);
        }
    }

    pub(crate) fn delete(&mut self, kind: &'static str, key: &str) {
        self.0.remove(&(kind, key.to_owned()));
    }

    /// All of a kind, in the order of their keys.
    pub(crate) fn all<T: DeserializeOwned>(&self, kind: &'static str) -> Vec<T> {
        let of_kind = self.0.iter().filter(|((found, _), _)| *found == kind);
        of_kind
            .filter_map(|(_, document)| T::deserialize(document).ok())
            .collect()
    }
}
