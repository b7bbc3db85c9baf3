//! The JSON of S3's notifications, one record per event.
//!
//! Shapes: AWS, "Event message structure" (version 2.1, which S3 sends for created and removed objects), and events
//! recorded from S3. `ObjectRemoved:Delete` has neither size nor eTag.

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use hikigane_trigger::model::{BindingId, REGION};
use serde_json::{Value, json};

use crate::key::ObjectKey;

/// What happened to which object, and who listens.
pub(crate) struct Notice<'a> {
    pub(crate) bucket: &'a str,
    pub(crate) key: &'a ObjectKey,
    pub(crate) binding: &'a BindingId,
    pub(crate) time: DateTime<Utc>,
    /// Grows from event to event of one key.
    pub(crate) sequencer: u64,
}

impl Notice<'_> {
    /// `ObjectCreated:Put` of an object of `size` bytes whose MD5 is `etag`.
    pub(crate) fn put(&self, size: u64, etag: &str) -> Bytes {
        let object = json!({
            "key": self.key.encoded(),
            "size": size,
            "eTag": etag,
            "sequencer": self.sequencer_text(),
        });
        self.record("ObjectCreated:Put", object)
    }

    /// `ObjectRemoved:Delete`.
    pub(crate) fn removed(&self) -> Bytes {
        self.record(
            "ObjectRemoved:Delete",
            json!({"key": self.key.encoded(), "sequencer": self.sequencer_text()}),
        )
    }

    /// There is no request behind the event, and no person; those fields hold stand-ins of the same form.
    fn record(&self, name: &str, object: Value) -> Bytes {
        let record = json!({
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": REGION,
            "eventTime": self.time.to_rfc3339_opts(SecondsFormat::Millis, true),
            "eventName": name,
            "userIdentity": {"principalId": "AWS:HIKIGANE"},
            "requestParameters": {"sourceIPAddress": "127.0.0.1"},
            "responseElements": {
                "x-amz-request-id": format!("{:016X}", self.sequencer),
                "x-amz-id-2": format!("hikigane/{:016X}", self.sequencer),
            },
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": self.binding.as_str(),
                "bucket": {
                    "name": self.bucket,
                    "ownerIdentity": {"principalId": "HIKIGANE"},
                    "arn": format!("arn:aws:s3:::{}", self.bucket),
                },
                "object": object,
            },
        });
        Bytes::from(json!({"Records": [record]}).to_string())
    }

    fn sequencer_text(&self) -> String {
        format!("{:018X}", self.sequencer)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn text(bytes: Bytes) -> String {
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn golden_put_and_delete() {
        let key = ObjectKey::from("in/a b@c.csv");
        let binding = BindingId::from_text("ingest/files");
        let time = "2026-11-22T21:34:42.001234Z".parse().unwrap();
        let notice = Notice {
            bucket: "inbox",
            key: &key,
            binding: &binding,
            time,
            sequencer: 0x18A9_0F3C_77D2_0001,
        };
        let head = |name: &str| {
            format!(
                concat!(
                    r#"{{"Records":[{{"eventVersion":"2.1","eventSource":"aws:s3","awsRegion":"us-east-1","#,
                    r#""eventTime":"2026-11-22T21:34:42.001Z","eventName":"{}","#,
                    r#""userIdentity":{{"principalId":"AWS:HIKIGANE"}},"requestParameters":{{"sourceIPAddress":"127.0.0.1"}},"#,
                    r#""responseElements":{{"x-amz-request-id":"18A90F3C77D20001","x-amz-id-2":"hikigane/18A90F3C77D20001"}},"#,
                    r#""s3":{{"s3SchemaVersion":"1.0","configurationId":"ingest/files","bucket":{{"name":"inbox","#,
                    r#""ownerIdentity":{{"principalId":"HIKIGANE"}},"arn":"arn:aws:s3:::inbox"}},"object":"#
                ),
                name
            )
        };
        assert_eq!(
            text(notice.put(9, "25f9e794323b453885f5181f1b624d0b")),
            head("ObjectCreated:Put")
                + r#"{"key":"in/a+b%40c.csv","size":9,"eTag":"25f9e794323b453885f5181f1b624d0b","sequencer":"0018A90F3C77D20001"}}}]}"#
        );
        assert_eq!(
            text(notice.removed()),
            head("ObjectRemoved:Delete") + r#"{"key":"in/a+b%40c.csv","sequencer":"0018A90F3C77D20001"}}}]}"#
        );
    }
}
