//! A plug-in's part of the manifest, and the mistakes it finds there.

use std::fmt;
use std::path::PathBuf;

use hikigane_model::{BindingId, InvokeMode};
use serde_json::Value;

/// All that the manifest says about one kind of trigger.
#[derive(Debug, Clone, Default)]
pub struct SourceSpec {
    /// The value under `sources: KIND:`, when there is one.
    pub settings: Option<Value>,
    /// All bindings of the kind that are enabled, over all functions, in the order of the file.
    pub bindings: Vec<BindingSpec>,
    /// The manifest's directory: relative paths start here.
    pub base: PathBuf,
    /// `defaults.timezone` (an IANA name), when given.
    pub timezone: Option<String>,
}

/// One entry of a function's `events:`.
#[derive(Debug, Clone)]
pub struct BindingSpec {
    /// Its identity.
    pub id: BindingId,
    /// The value under the kind's key.
    pub config: Value,
    /// `invoke:`, when given.
    pub invoke: Option<InvokeMode>,
}

/// Mistakes, each with its place; never just the first.
#[derive(Debug, Clone, Default)]
pub struct SpecErrors(pub Vec<SpecError>);

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecError {
    /// In the settings, or in which binding.
    pub place: SpecPlace,
    /// The way from there to the offending value; empty: the whole value.
    pub path: Vec<PathStep>,
    /// What is wrong, lower case, one line.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// Which part of the spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpecPlace {
    /// The plug-in's settings.
    Settings,
    /// A binding.
    Binding(BindingId),
}

/// One step into a JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathStep {
    /// A key of an object.
    Key(String),
    /// A place in an array.
    Index(usize),
}

impl From<&str> for PathStep {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}
impl From<usize> for PathStep {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

impl fmt::Display for SpecErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            f.write_str(&error.message)?;
        }
        Ok(())
    }
}
