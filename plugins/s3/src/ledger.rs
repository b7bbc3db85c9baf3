//! What each binding has seen: the durable record of which content of which object has had its event.
//!
//! The state holds one entry for each binding and object, so that a crash between the emits of two bindings leaves
//! the second one still to be made. Entries ride in the transaction of the event that they record.

use std::collections::{BTreeMap, HashMap};

use hikigane_trigger::model::StateWrite;
use hikigane_trigger::{PluginState, StateError};

use crate::config::{Bucket, Listener};
use crate::key::ObjectKey;
use crate::tree::Identity;

/// Objects whose events were refused; beyond, the oldest memory is dropped and they are tried once more.
const REFUSED: usize = 10_000;

/// The memory of one bucket: the state's copy. The place of a binding is its index in [`Bucket::listeners`].
pub(crate) struct Ledger {
    seen: BTreeMap<ObjectKey, Record>,
    /// Content that could not be made into an event; it is not tried again until it changes or the server restarts.
    refused: HashMap<ObjectKey, Identity>,
    listeners: usize,
    round: u64,
}

struct Record {
    identities: Box<[Option<Identity>]>,
    /// The round of the last scan that met it.
    round: u64,
}

impl Ledger {
    /// Reads the state of a bucket. Entries of bindings that are gone, or whose rules no longer match, stay where
    /// they are: switching a binding off and on again must not repeat its events.
    pub(crate) async fn load(bucket: &Bucket, state: &PluginState) -> Result<Self, StateError> {
        let mut ledger = Self {
            seen: BTreeMap::new(),
            refused: HashMap::new(),
            listeners: bucket.listeners.len(),
            round: 0,
        };
        for (index, listener) in bucket.listeners.iter().enumerate() {
            let prefix = state_prefix(&bucket.name, listener);
            for (text, value) in state.scan(&prefix).await? {
                let Some(key) = text.strip_prefix(&prefix).map(ObjectKey::decode) else {
                    continue;
                };
                let Some(identity) = Identity::from_bytes(&value) else {
                    continue;
                };
                if listener.matches(&key) && !bucket.ignore.covers(&key) {
                    ledger.record(&key, index, Some(identity));
                }
            }
        }
        Ok(ledger)
    }

    pub(crate) fn record(&mut self, key: &ObjectKey, listener: usize, identity: Option<Identity>) {
        if identity.is_none() && !self.seen.contains_key(key) {
            return;
        }
        let blank = || Record {
            identities: vec![None; self.listeners].into(),
            round: self.round,
        };
        let record = self.seen.entry(key.clone()).or_insert_with(blank);
        if let Some(slot) = record.identities.get_mut(listener) {
            *slot = identity;
        }
        if record.identities.iter().all(Option::is_none) {
            self.seen.remove(key);
        }
    }

    pub(crate) fn seen(&self, key: &ObjectKey, listener: usize) -> Option<Identity> {
        self.seen
            .get(key)
            .and_then(|record| record.identities.get(listener).copied().flatten())
    }

    pub(crate) fn knows(&self, key: &ObjectKey) -> bool {
        self.seen.contains_key(key)
    }

    /// The keys in the directory called `directory`.
    pub(crate) fn below(&self, directory: &ObjectKey) -> Vec<ObjectKey> {
        let from = self.seen.range(directory.first_below()..);
        from.map(|(key, _)| key)
            .take_while(|key| key.is_below(directory))
            .cloned()
            .collect()
    }

    pub(crate) fn refuse(&mut self, key: &ObjectKey, identity: Identity) {
        if self.refused.len() >= REFUSED {
            self.refused.clear();
        }
        self.refused.insert(key.clone(), identity);
    }

    pub(crate) fn is_refused(&self, key: &ObjectKey, identity: Identity) -> bool {
        self.refused.get(key) == Some(&identity)
    }

    /// Something happened to the object: a refusal no longer stands.
    pub(crate) fn forgive(&mut self, key: &ObjectKey) {
        if !self.refused.is_empty() {
            self.refused.remove(key);
        }
    }

    /// Begins a scan of the whole bucket.
    pub(crate) fn begin_round(&mut self) {
        self.round += 1;
    }

    /// The scan met this object.
    pub(crate) fn meet(&mut self, key: &ObjectKey) {
        if let Some(record) = self.seen.get_mut(key) {
            record.round = self.round;
        }
    }

    /// The objects that the scan did not meet.
    pub(crate) fn missed(&self) -> Vec<ObjectKey> {
        let missed = self.seen.iter().filter(|(_, record)| record.round < self.round);
        missed.map(|(key, _)| key.clone()).collect()
    }

    /// All objects and what a binding has seen of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ObjectKey, &[Option<Identity>])> {
        self.seen.iter().map(|(key, record)| (key, &*record.identities))
    }
}

/// The state's entry for what `listener` has seen of `key`.
pub(crate) fn write(bucket: &str, listener: &Listener, key: &ObjectKey, seen: Option<Identity>) -> StateWrite {
    StateWrite {
        key: state_prefix(bucket, listener) + &key.encoded(),
        value: seen.map(Identity::to_bytes),
    }
}

/// `seen/BUCKET/BINDING/`. A bucket's name has no `/`, and that of a binding is encoded, so no prefix begins another.
fn state_prefix(bucket: &str, listener: &Listener) -> String {
    let binding = ObjectKey::from(listener.id.as_str()).encoded().replace('/', "%2F");
    format!("seen/{bucket}/{binding}/")
}
