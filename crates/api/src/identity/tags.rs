//! Tags of roles and policies.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::query::Parameters;

/// Values by key.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Tags(BTreeMap<String, String>);

impl Tags {
    /// Adds the tags of a call; of one key, the new value wins.
    pub(super) fn add(&mut self, parameters: &Parameters) {
        self.0.extend(parameters.tags());
    }

    /// Removes the keys of a call.
    pub(super) fn remove(&mut self, parameters: &Parameters) {
        for key in parameters.list("TagKeys") {
            self.0.remove(&key);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As the members `Tags` of an answer.
    pub(super) fn view(&self) -> Value {
        self.0
            .iter()
            .map(|(key, value)| json!({"Key": key, "Value": value}))
            .collect()
    }
}
