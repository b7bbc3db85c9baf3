//! Where roles and policies are kept: JSON documents, by kind and key, in the catalog.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::catalog::{Row, Table};

/// A role, a policy, and so on, as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Document(Value);

impl Row for Document {
    const KIND: &'static str = "identity";
}

/// The documents of one action, which has them to itself from its first look to its last change. Their rows' keys are `kind/key`.
pub(crate) struct Documents<'a>(pub(super) &'a mut Table<Document>);

impl Documents<'_> {
    pub(crate) fn get<T: DeserializeOwned>(&self, kind: &'static str, key: &str) -> Option<T> {
        let document = self.0.get(&format!("{kind}/{key}"))?;
        T::deserialize(&document.0).ok()
    }

    pub(crate) fn put(&mut self, kind: &'static str, key: &str, document: &impl Serialize) {
        if let Ok(document) = serde_json::to_value(document) {
            self.0.insert(format!("{kind}/{key}"), Document(document));
        }
    }

    pub(crate) fn delete(&mut self, kind: &'static str, key: &str) {
        self.0.remove(&format!("{kind}/{key}"));
    }

    /// All of a kind, in the order of their keys.
    pub(crate) fn all<T: DeserializeOwned>(&self, kind: &'static str) -> Vec<T> {
        let of_kind = self.0.starting_with(format!("{kind}/"));
        of_kind
            .filter_map(|(_, document)| T::deserialize(&document.0).ok())
            .collect()
    }
}
