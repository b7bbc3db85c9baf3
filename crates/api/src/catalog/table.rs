//! Rows of one kind, and how they are kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use hikigane_store::{Document, DocumentWrite};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::State;

/// Something that is kept as a document of its own.
pub trait Row: Serialize + DeserializeOwned {
    /// The kind of its documents.
    const KIND: &'static str;
    /// Whether it is kept at all: what the manifest declares is read from there at each start.
    fn is_kept(&self) -> bool {
        true
    }
}

/// Rows by their keys. A copy shares the rows.
#[derive(Debug)]
pub struct Table<T>(BTreeMap<String, Arc<T>>);

impl<T> Clone for Table<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Table<T> {
    /// A row.
    pub fn get(&self, key: &str) -> Option<&Arc<T>> {
        self.0.get(key)
    }

    /// Adds a row, or replaces it.
    pub fn insert(&mut self, key: impl Into<String>, row: T) {
        self.0.insert(key.into(), Arc::new(row));
    }

    /// Removes a row.
    pub fn remove(&mut self, key: &str) -> Option<Arc<T>> {
        self.0.remove(key)
    }

    /// Removes the rows whose keys start with `prefix`.
    pub fn remove_starting_with(&mut self, prefix: &str) {
        self.0.retain(|key, _| !key.starts_with(prefix));
    }

    /// All rows, ordered by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Arc<T>)> {
        self.0.iter().map(|(key, row)| (key.as_str(), row))
    }

    /// The rows after a key, which need not be there, in order: a page.
    pub fn after<'a>(&'a self, key: &str) -> impl Iterator<Item = (&'a str, &'a Arc<T>)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let rest = self.0.range::<str, _>((Excluded(key), Unbounded));
        rest.map(|(key, row)| (key.as_str(), row))
    }

    /// The rows whose keys start with `prefix`, in order.
    pub fn starting_with(&self, prefix: String) -> impl DoubleEndedIterator<Item = (&str, &Arc<T>)> + use<'_, T> {
        use std::ops::Bound::{Included, Unbounded};
        let rest = self
            .0
            .range::<str, _>((Included(prefix.as_str()), Unbounded))
            .map(|(key, row)| (key.as_str(), row));
        let rest: Vec<_> = rest.take_while(|(key, _)| key.starts_with(&prefix)).collect();
        rest.into_iter()
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl<T: Clone> Table<T> {
    /// A row to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut T> {
        self.0.get_mut(key).map(Arc::make_mut)
    }
}

impl<T: Row> Table<T> {
    /// The keys of rows that were added, changed or removed since `before`.
    pub fn changed_since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a str> {
        let touched = self
            .0
            .iter()
            .filter(|(key, row)| !before.0.get(*key).is_some_and(|old| Arc::ptr_eq(old, row)));
        let removed = before.0.keys().filter(|key| !self.0.contains_key(*key));
        touched.map(|(key, _)| key).chain(removed).map(String::as_str)
    }

    fn writes_since(&self, before: &Self, writes: &mut Vec<DocumentWrite>) -> serde_json::Result<()> {
        for key in self.changed_since(before) {
            let body = match self.0.get(key) {
                Some(row) if row.is_kept() => Some(serde_json::to_string(row.as_ref())?),
                Some(_) => continue,
                None => None,
            };
            writes.push(DocumentWrite {
                kind: T::KIND.to_owned(),
                key: key.to_owned(),
                body,
            });
        }
        Ok(())
    }

    fn put(&mut self, document: &Document) -> serde_json::Result<()> {
        self.insert(document.key.as_str(), serde_json::from_str(&document.body)?);
        Ok(())
    }
}

/// Names every table once: reading and writing go over all of them.
macro_rules! tables {
    ($($table:ident: $row:ty),+ $(,)?) => {
        impl State {
            /// Takes in a document as it was kept. One of a kind that this release does not know is left where it is.
            pub(super) fn put(&mut self, document: &Document) -> serde_json::Result<()> {
                match document.kind.as_str() {
                    $(<$row>::KIND => self.$table.put(document),)+
                    _ => Ok(()),
                }
            }

            /// The writes that lead from the picture `before` to this one.
            pub(super) fn writes_since(&self, before: &Self) -> serde_json::Result<Vec<DocumentWrite>> {
                let mut writes = Vec::new();
                $(self.$table.writes_since(&before.$table, &mut writes)?;)+
                Ok(writes)
            }
        }
    };
}

tables! {
    aliases: super::Alias,
    code_signing_configs: super::CodeSigningConfig,
    event_invokes: super::EventInvoke,
    functions: super::Function,
    identity: crate::identity::Document,
    layer_versions: super::LayerVersion,
    layers: super::Layer,
    mappings: super::Mapping,
    policies: super::Policy,
    provisioned: super::Provisioned,
    revocations: super::Revocation,
    signing_jobs: super::SigningJob,
    signing_profiles: super::SigningProfile,
    urls: super::Url,
    versions: super::Version,
}
