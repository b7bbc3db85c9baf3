//! Aliases, as they are kept.

use hikigane_model::Qualifier;
use serde::{Deserialize, Serialize};

use super::Row;

/// A name for a version, which can be moved to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alias {
    /// What it is for.
    pub description: String,
    /// Where it leads: a published version, or `$LATEST`.
    pub version: Qualifier,
    /// Where a part of the invocations goes instead.
    pub share: Option<Share>,
    /// A UUID that changes with every change.
    pub revision: String,
}

/// A part of an alias's invocations (AWS: `AdditionalVersionWeights`, which may have one entry).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// The published version that gets it.
    pub version: u64,
    /// How much of all, from 0 to 1.
    pub weight: f64,
}

impl Row for Alias {
    const KIND: &'static str = "alias";
}

impl Alias {
    /// Gives it a new revision.
    pub fn revise(&mut self) {
        self.revision = uuid::Uuid::new_v4().to_string();
    }

    /// Whether it leads to a published version, always or at times.
    pub fn leads_to(&self, version: u64) -> bool {
        self.version == Qualifier::Version(version) || self.share.as_ref().is_some_and(|share| share.version == version)
    }
}
