//! How asynchronous events are handled, as it is kept.

use std::time::Duration;

use chrono::{DateTime, Utc};
use hikigane_model::AsyncConfig;
use serde::{Deserialize, Serialize};

use super::Row;

/// The event-invoke configuration of a function, a version or an alias. What is `None` was not said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventInvoke {
    /// Retries after a function error.
    pub retries: Option<u32>,
    /// The greatest age of an event, seconds.
    pub max_age: Option<u32>,
    /// The ARN that is told of success.
    pub on_success: Option<String>,
    /// The ARN that is told of failure.
    pub on_failure: Option<String>,
    /// When it was changed last.
    pub modified: DateTime<Utc>,
    /// It is declared in the manifest.
    #[serde(skip)]
    pub from_manifest: bool,
}

impl Row for EventInvoke {
    const KIND: &'static str = "eventInvoke";
    fn is_kept(&self) -> bool {
        !self.from_manifest
    }
}

impl EventInvoke {
    /// As a manifest declares it; `None` for what it leaves as it is by itself.
    pub fn declared(config: &AsyncConfig, modified: DateTime<Utc>) -> Option<Self> {
        let declared = Self {
            retries: Some(config.retries),
            max_age: u32::try_from(config.max_age.as_secs()).ok(),
            on_success: config.on_success.clone(),
            on_failure: config.on_failure.clone(),
            modified,
            from_manifest: true,
        };
        (*config != AsyncConfig::default()).then_some(declared)
    }

    /// Complete, as the router follows it.
    pub fn config(&self) -> AsyncConfig {
        let default = AsyncConfig::default();
        AsyncConfig {
            retries: self.retries.unwrap_or(default.retries),
            max_age: self
                .max_age
                .map_or(default.max_age, |seconds| Duration::from_secs(seconds.into())),
            on_success: self.on_success.clone(),
            on_failure: self.on_failure.clone(),
        }
    }
}
