//! What a trigger emits.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// One event, in the shape of the AWS service it stands for.
#[derive(Debug, Clone)]
pub struct Event {
    /// The event as JSON text. It is not parsed or re-encoded between the trigger and the handler.
    pub payload: Bytes,
    /// When it happened.
    pub time: DateTime<Utc>,
    /// Events of one group run one at a time, in the order of their acceptance; `None`: no order, in parallel.
    pub group: Option<String>,
    /// The X-Ray trace header, when the event came with one.
    pub trace: Option<String>,
}

impl Event {
    /// An event without group and trace.
    pub fn new(payload: impl Into<Bytes>, time: DateTime<Utc>) -> Self {
        Self {
            payload: payload.into(),
            time,
            group: None,
            trace: None,
        }
    }
}

/// Whether the trigger waits for the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InvokeMode {
    /// The trigger waits and gets the result.
    Sync,
    /// The event is queued durably; retries follow AWS's rules.
    Async,
}

/// A change of a plug-in's durable state, made in the same transaction as the event that goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateWrite {
    /// The key, unique within the plug-in.
    pub key: String,
    /// The new value; `None` deletes the key.
    pub value: Option<Vec<u8>>,
}
