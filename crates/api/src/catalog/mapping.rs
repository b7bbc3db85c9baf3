//! Event source mappings, as they are kept.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use hikigane_model::{FunctionName, Qualifier};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Row;

/// A queue or stream and the function that gets its records. It outlives the function, as on AWS.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mapping {
    /// The function.
    pub function: FunctionName,
    /// What of it.
    pub qualifier: Option<Qualifier>,
    /// What kind of source it reads.
    pub source: EventSource,
    /// Whether it is meant to be at work.
    pub enabled: bool,
    /// Where it is in its life.
    pub state: MappingState,
    /// Source and settings, by the names of AWS's members, with the defaults of the source's kind.
    pub settings: Map<String, Value>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// When it was changed last.
    pub modified: DateTime<Utc>,
}

impl Row for Mapping {
    const KIND: &'static str = "event-source-mapping";
}

/// A kind of source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventSource {
    /// A queue of SQS.
    Sqs,
    /// A stream of Kinesis.
    Kinesis,
    /// The stream of a table of DynamoDB.
    DynamoDb,
    /// Kafka, run by AWS (MSK).
    Kafka,
    /// Kafka, run by somebody.
    SelfManagedKafka,
    /// A broker of Amazon MQ.
    Mq,
    /// The change stream of a DocumentDB cluster.
    DocumentDb,
}

/// Where a mapping is in its life (AWS: `State`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MappingState {
    /// Being made.
    Creating,
    /// Being switched on.
    Enabling,
    /// At work.
    Enabled,
    /// Being switched off.
    Disabling,
    /// At rest.
    Disabled,
    /// Being changed otherwise.
    Updating,
    /// Being removed.
    Deleting,
}

impl MappingState {
    /// Whether it stays as it is until somebody asks for a change.
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Enabled | Self::Disabled)
    }
}
