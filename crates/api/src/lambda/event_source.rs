//! The kinds of event sources: what each takes, its defaults and its rules.
//!
//! Which members belong to which kind is from AWS's API model (CreateEventSourceMapping), defaults and the texts that are not said to be
//! others' were recorded from AWS.

use chrono::DateTime;
use hikigane_pattern::Pattern;
use serde_json::{Map, Value, json};

use crate::catalog::EventSource;
use crate::error::ApiError;

/// The members of a mapping, by AWS's names.
pub type Settings = Map<String, Value>;

/// The largest batch of a FIFO queue, and of any queue without a batching window.
const SMALL_BATCH: i64 = 10;
/// How many filters one mapping may have (AWS documentation, "Lambda event filtering").
const FILTERS: usize = 5;

impl EventSource {
    /// The kind that settings are of.
    pub fn of(settings: &Settings) -> Result<Self, ApiError> {
        if settings.contains_key("SelfManagedEventSource") {
            return Ok(Self::SelfManagedKafka);
        }
        match text(settings, "EventSourceArn").split(':').nth(2) {
            Some("sqs") => Ok(Self::Sqs),
            Some("kinesis") => Ok(Self::Kinesis),
            Some("dynamodb") => Ok(Self::DynamoDb),
            Some("kafka") => Ok(Self::Kafka),
            Some("mq") => Ok(Self::Mq),
            // DocumentDB's clusters are RDS's by their ARN.
            Some("rds") => Ok(Self::DocumentDb),
            _ => Err(ApiError::invalid("Unrecognized event source.")),
        }
    }

    /// Whether it is a stream of shards.
    pub fn is_stream(self) -> bool {
        matches!(self, Self::Kinesis | Self::DynamoDb)
    }

    /// Sets what is not given, and removes what was given to remove something.
    pub fn complete(self, settings: &mut Settings, uuid: &str) {
        if filters(settings).is_empty() {
            settings.remove("FilterCriteria");
        }
        if text(settings, "KMSKeyArn").is_empty() {
            settings.remove("KMSKeyArn");
        }
        let Value::Object(defaults) = self.defaults(uuid) else {
            return;
        };
        for (member, default) in defaults {
            match (settings.get_mut(&member), default) {
                (None, default) => drop(settings.insert(member, default)),
                (Some(Value::Object(given)), Value::Object(parts)) => {
                    for (part, default) in parts {
                        given.entry(part).or_insert(default);
                    }
                }
                _ => {}
            }
        }
    }

    fn defaults(self, uuid: &str) -> Value {
        match self {
            Self::Sqs => json!({"BatchSize": 10, "MaximumBatchingWindowInSeconds": 0, "FunctionResponseTypes": []}),
            Self::Kinesis | Self::DynamoDb => json!({
                "BatchSize": 100,
                "MaximumBatchingWindowInSeconds": 0,
                "ParallelizationFactor": 1,
                "DestinationConfig": {"OnFailure": {}},
                "MaximumRecordAgeInSeconds": -1,
                "BisectBatchOnFunctionError": false,
                "MaximumRetryAttempts": -1,
                "TumblingWindowInSeconds": 0,
                "FunctionResponseTypes": [],
            }),
            Self::Kafka => json!({"BatchSize": 100, "AmazonManagedKafkaEventSourceConfig": {"ConsumerGroupId": uuid}}),
            Self::SelfManagedKafka => {
                json!({"BatchSize": 100, "SelfManagedKafkaEventSourceConfig": {"ConsumerGroupId": uuid}})
            }
            Self::Mq => json!({"BatchSize": 100}),
            Self::DocumentDb => json!({"BatchSize": 100, "DocumentDBEventSourceConfig": {"FullDocument": "Default"}}),
        }
    }

    /// The members that not every kind takes.
    fn members(self) -> &'static [&'static str] {
        match self {
            Self::Sqs => &["FunctionResponseTypes", "ProvisionedPollerConfig", "ScalingConfig"],
            Self::Kinesis | Self::DynamoDb => &[
                "BisectBatchOnFunctionError",
                "DestinationConfig",
                "FunctionResponseTypes",
                "MaximumRecordAgeInSeconds",
                "MaximumRetryAttempts",
                "ParallelizationFactor",
                "StartingPosition",
                "StartingPositionTimestamp",
                "TumblingWindowInSeconds",
            ],
            Self::Kafka | Self::SelfManagedKafka => &[
                "AmazonManagedKafkaEventSourceConfig",
                "BisectBatchOnFunctionError",
                "DestinationConfig",
                "FunctionResponseTypes",
                "LoggingConfig",
                "MaximumRecordAgeInSeconds",
                "MaximumRetryAttempts",
                "ProvisionedPollerConfig",
                "SelfManagedEventSource",
                "SelfManagedKafkaEventSourceConfig",
                "SourceAccessConfigurations",
                "StartingPosition",
                "StartingPositionTimestamp",
                "Topics",
            ],
            Self::Mq => &["Queues", "SourceAccessConfigurations"],
            Self::DocumentDb => &[
                "DocumentDBEventSourceConfig",
                "SourceAccessConfigurations",
                "StartingPosition",
                "StartingPositionTimestamp",
            ],
        }
    }

    /// Whether settings are those of such a source.
    pub fn check(self, settings: &Settings) -> Result<(), ApiError> {
        self.check_members(settings)?;
        self.check_position(settings)?;
        if self == Self::Sqs {
            check_batch(settings)?;
        }
        check_filters(settings)
    }

    fn check_members(self, settings: &Settings) -> Result<(), ApiError> {
        const EVERYWHERE: [&str; 6] = [
            "BatchSize",
            "EventSourceArn",
            "FilterCriteria",
            "KMSKeyArn",
            "MaximumBatchingWindowInSeconds",
            "MetricsConfig",
        ];
        if self == Self::Sqs && settings.contains_key("StartingPosition") {
            return Err(ApiError::invalid(
                "StartingPosition is not valid for SQS event sources.",
            ));
        }
        let succeeds = settings
            .get("DestinationConfig")
            .and_then(|config| config.get("OnSuccess"));
        let unknown = settings
            .keys()
            .map(String::as_str)
            .find(|member| !EVERYWHERE.contains(member) && !self.members().contains(member));
        if let Some(member) = succeeds.map(|_| "DestinationConfig").or(unknown) {
            return Err(ApiError::invalid(format!(
                "Unsupported {member} parameter for given event source mapping type."
            )));
        }
        let required: &[(&str, &str)] = match self {
            Self::SelfManagedKafka => &[
                ("SourceAccessConfigurations", "sourceAccessConfigurations"),
                ("Topics", "topics"),
            ],
            Self::Kafka => &[("Topics", "topics")],
            Self::Mq => &[
                ("SourceAccessConfigurations", "sourceAccessConfigurations"),
                ("Queues", "queues"),
            ],
            Self::DocumentDb => &[
                ("SourceAccessConfigurations", "sourceAccessConfigurations"),
                ("DocumentDBEventSourceConfig", "documentDBEventSourceConfig"),
            ],
            Self::Sqs | Self::Kinesis | Self::DynamoDb => &[],
        };
        match required.iter().find(|(member, _)| !settings.contains_key(*member)) {
            Some((_, name)) => Err(ApiError::invalid(format!("Required '{name}' parameter is missing."))),
            None => Ok(()),
        }
    }

    fn check_position(self, settings: &Settings) -> Result<(), ApiError> {
        let position = text(settings, "StartingPosition");
        if self.is_stream() && position.is_empty() {
            return Err(ApiError::invalid(
                "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member must not be null.",
            ));
        }
        let at_timestamp = position == "AT_TIMESTAMP";
        if self == Self::DynamoDb && at_timestamp {
            let arn = text(settings, "EventSourceArn");
            return Err(ApiError::invalid(format!(
                "Unsupported starting position for arn type: {arn}"
            )));
        }
        match settings.get("StartingPositionTimestamp") {
            None if at_timestamp => Err(ApiError::invalid(
                "StartingPosition AT_TIMESTAMP needs a StartingPositionTimestamp.",
            )),
            Some(_) if !at_timestamp => Err(ApiError::invalid(
                "Timestamp only valid with StartingPosition AT_TIMESTAMP",
            )),
            Some(time) if epoch(time).is_none_or(|seconds| seconds < 0.0) => Err(ApiError::invalid(
                "Received Exception while reading from provided stream. class java.lang.Long can not be converted to a Timestamp",
            )),
            _ => Ok(()),
        }
    }
}

/// A time as clients write it: seconds since 1970, or text.
pub fn epoch(time: &Value) -> Option<f64> {
    match time {
        Value::String(text) => {
            let time = DateTime::parse_from_rfc3339(text).ok()?;
            // Milliseconds of this age are exact.
            Some(time.timestamp_millis() as f64 / 1000.0)
        }
        time => time.as_f64(),
    }
}

fn check_batch(settings: &Settings) -> Result<(), ApiError> {
    let number = |member| settings.get(member).and_then(Value::as_i64).unwrap_or_default();
    let (batch, window) = (number("BatchSize"), number("MaximumBatchingWindowInSeconds"));
    if text(settings, "EventSourceArn").ends_with(".fifo") && (batch > SMALL_BATCH || window > 0) {
        return Err(ApiError::invalid(format!(
            "A FIFO queue takes a BatchSize of at most {SMALL_BATCH} and no MaximumBatchingWindowInSeconds."
        )));
    }
    if batch > SMALL_BATCH && window == 0 {
        return Err(ApiError::invalid(
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10",
        ));
    }
    Ok(())
}

/// Each must be the text of a pattern as EventBridge's are.
fn check_filters(settings: &Settings) -> Result<(), ApiError> {
    let filters = filters(settings);
    if filters.len() > FILTERS {
        return Err(ApiError::invalid(format!(
            "An event source mapping has at most {FILTERS} filters."
        )));
    }
    let is_valid = |filter: &Value| {
        let pattern = filter.get("Pattern").and_then(Value::as_str)?;
        Pattern::compile(&serde_json::from_str(pattern).ok()?).ok()
    };
    if filters.iter().any(|filter| is_valid(filter).is_none()) {
        return Err(ApiError::invalid("Invalid filter pattern definition."));
    }
    Ok(())
}

fn filters(settings: &Settings) -> &[Value] {
    let filters = settings
        .get("FilterCriteria")
        .and_then(|criteria| criteria.get("Filters"));
    filters.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'a>(settings: &'a Settings, member: &str) -> &'a str {
    settings.get(member).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const KINESIS: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/s";
    const DYNAMODB: &str = "arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/2025-02-17T16:33:01.784";
    const SQS: &str = "arn:aws:sqs:us-east-1:000000000000:q";
    const MQ: &str = "arn:aws:mq:us-east-1:000000000000:broker:b:b-1";

    /// What is said of a mapping's members; empty when there is nothing to say.
    fn check(settings: Value, expect: &str) {
        let Value::Object(mut given) = settings.clone() else {
            unreachable!()
        };
        let found = EventSource::of(&given).and_then(|source| {
            source.complete(&mut given, "u");
            source.check(&given)
        });
        let found = found.map_or_else(|error| error.to_string(), |()| String::new());
        let expect = match expect {
            "" => String::new(),
            expect => format!("InvalidParameterValueException: {expect}"),
        };
        assert_eq!(found, expect, "{settings}");
    }

    #[test]
    fn each_kind_of_source_has_its_rules() {
        let null = "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member must not be null.";
        let time = "Timestamp only valid with StartingPosition AT_TIMESTAMP";
        let long = "Received Exception while reading from provided stream. class java.lang.Long can not be converted to a Timestamp";
        let window = "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10";
        let at = "AT_TIMESTAMP";
        check(json!({}), "Unrecognized event source.");
        check(
            json!({"EventSourceArn": "arn:aws:sns:us-east-1:000000000000:t"}),
            "Unrecognized event source.",
        );
        check(json!({"EventSourceArn": SQS}), "");
        check(json!({"EventSourceArn": SQS, "BatchSize": 11}), window);
        check(
            json!({"EventSourceArn": SQS, "BatchSize": 11, "MaximumBatchingWindowInSeconds": 1}),
            "",
        );
        check(
            json!({"EventSourceArn": format!("{SQS}.fifo"), "BatchSize": 11, "MaximumBatchingWindowInSeconds": 1}),
            "A FIFO queue takes a BatchSize of at most 10 and no MaximumBatchingWindowInSeconds.",
        );
        check(
            json!({"EventSourceArn": SQS, "StartingPosition": "LATEST", "StartingPositionTimestamp": 1}),
            "StartingPosition is not valid for SQS event sources.",
        );
        check(
            json!({"EventSourceArn": SQS, "DestinationConfig": {"OnFailure": {}}}),
            "Unsupported DestinationConfig parameter for given event source mapping type.",
        );
        check(json!({"EventSourceArn": KINESIS}), null);
        check(json!({"EventSourceArn": DYNAMODB}), null);
        for arn in [KINESIS, DYNAMODB] {
            check(json!({"EventSourceArn": arn, "StartingPosition": "LATEST"}), "");
            check(
                json!({"EventSourceArn": arn, "StartingPosition": "LATEST", "StartingPositionTimestamp": 1}),
                time,
            );
            check(
                json!({"EventSourceArn": arn, "StartingPosition": "LATEST", "DestinationConfig": {"OnSuccess": {}}}),
                "Unsupported DestinationConfig parameter for given event source mapping type.",
            );
        }
        check(
            json!({"EventSourceArn": DYNAMODB, "StartingPosition": at, "StartingPositionTimestamp": -1}),
            &format!("Unsupported starting position for arn type: {DYNAMODB}"),
        );
        check(
            json!({"EventSourceArn": KINESIS, "StartingPosition": at, "StartingPositionTimestamp": -1}),
            long,
        );
        check(
            json!({"EventSourceArn": KINESIS, "StartingPosition": at, "StartingPositionTimestamp": "x"}),
            long,
        );
        check(
            json!({"EventSourceArn": KINESIS, "StartingPosition": at, "StartingPositionTimestamp": 1.5}),
            "",
        );
        let rfc = "2025-02-17T16:33:01.784Z";
        check(
            json!({"EventSourceArn": KINESIS, "StartingPosition": at, "StartingPositionTimestamp": rfc}),
            "",
        );
        check(
            json!({"SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["a:1"]}}, "Topics": ["t"]}),
            "Required 'sourceAccessConfigurations' parameter is missing.",
        );
        check(
            json!({"EventSourceArn": MQ, "SourceAccessConfigurations": []}),
            "Required 'queues' parameter is missing.",
        );
        check(
            json!({"EventSourceArn": MQ, "SourceAccessConfigurations": [], "Queues": ["q"], "ParallelizationFactor": 2}),
            "Unsupported ParallelizationFactor parameter for given event source mapping type.",
        );
    }

    #[test]
    fn filters_must_be_patterns() {
        let invalid = "Invalid filter pattern definition.";
        for (filters, expect) in [
            (json!([]), ""),
            (json!([{"Pattern": r#"{"body":{"kind":["a"]}}"#}]), ""),
            (
                json!([{"Pattern": r#"{"body":{"kind":["a"]}}"#}, {"Pattern": "{}}"}]),
                invalid,
            ),
            (json!([{"Pattern": r#"{"body":"a"}"#}]), invalid),
            (json!([{"Pattern": "[]"}]), invalid),
            (json!([{}]), invalid),
        ] {
            check(
                json!({"EventSourceArn": SQS, "FilterCriteria": {"Filters": filters}}),
                expect,
            );
        }
    }
}
