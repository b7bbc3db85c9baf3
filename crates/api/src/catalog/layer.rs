//! Layers and their versions, as they are kept.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Code, Row};

/// What of a layer outlives its versions.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Layer {
    /// The number of the version that was published last. Numbers are never given twice, not even after all versions are deleted (recorded).
    pub last_version: u64,
}

impl Row for Layer {
    const KIND: &'static str = "layer";
}

/// A version of a layer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerVersion {
    /// What it is for.
    pub description: String,
    /// Under which licence it may be used.
    pub license: Option<String>,
    /// The runtimes it is made for; `None` when nothing was said of them.
    pub runtimes: Option<Vec<String>>,
    /// The architectures it is made for; `None` when nothing was said of them.
    pub architectures: Option<Vec<String>>,
    /// When it was published.
    pub created: DateTime<Utc>,
    /// Its files.
    pub code: Code,
    /// Who else may use it; `None` when nobody was ever permitted to, or nobody is any more.
    #[serde(default)]
    pub policy: Option<LayerPolicy>,
}

impl Row for LayerVersion {
    const KIND: &'static str = "layerVersion";
}

/// Who may use a layer version.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerPolicy {
    /// A UUID that changes with every change.
    pub revision: String,
    /// In the order in which they were added.
    pub statements: Vec<LayerStatement>,
}

/// One permission.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerStatement {
    /// Its name.
    pub id: String,
    /// `*`, an account, or the ARN of an account's root.
    pub principal: String,
    /// The organization that the principal must be of.
    pub organization: Option<String>,
}

/// A layer version as a function has it: it goes on working when the layer version is deleted (AWS documentation, "Deleting layers").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsedLayer {
    /// The ARN of the layer version.
    pub arn: String,
    /// Its files.
    pub code: Code,
}
