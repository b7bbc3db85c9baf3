//! Aliases, as they are kept.

use hikigane_model::Qualifier;
use serde::{Deserialize, Serialize};

use super::Row;

/// An alias of a function.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alias {
    /// The version it leads to.
    pub version: Qualifier,
}

impl Row for Alias {
    const KIND: &'static str = "alias";
}
