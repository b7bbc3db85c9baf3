//! The event that a schedule sends.

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use hikigane_trigger::model::{ACCOUNT_ID, BindingId, REGION};
use serde_json::json;

/// EventBridge's scheduled event for the slot `time` of `binding`, JSON text with the fields in AWS's order
/// (EventBridge User Guide, "Creating a rule that runs on a schedule").
///
/// Its rule is named after the binding.
pub(crate) fn scheduled_event(binding: &BindingId, time: DateTime<Utc>) -> String {
    let rule = aws_name(binding);
    let event = json!({
        "version": "0",
        "id": uuid::Uuid::new_v4().to_string(),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": ACCOUNT_ID,
        "time": time.to_rfc3339_opts(SecondsFormat::Secs, true),
        "region": REGION,
        "resources": [format!("arn:aws:events:{REGION}:{ACCOUNT_ID}:rule/{rule}")],
        "detail": {},
    });
    event.to_string()
}

/// The input of `binding` for the slot `time`, with values for the keywords of EventBridge Scheduler (EventBridge Scheduler
/// User Guide, "Adding context attributes"): what else would tell a function which of its slots is made up for?
///
/// `attempt` counts from 1 how often it was tried to queue the event.
pub(crate) fn with_context(input: &Bytes, binding: &BindingId, time: DateTime<Utc>, attempt: u32) -> Bytes {
    const PREFIX: &str = "<aws.scheduler.";
    let Some(text) = std::str::from_utf8(input).ok().filter(|text| text.contains(PREFIX)) else {
        return input.clone();
    };
    let schedule = aws_name(binding);
    let execution = uuid::Uuid::new_v4().simple().to_string();
    // No value has a character that JSON escapes.
    [
        (
            "schedule-arn",
            format!("arn:aws:scheduler:{REGION}:{ACCOUNT_ID}:schedule/default/{schedule}"),
        ),
        ("scheduled-time", time.to_rfc3339_opts(SecondsFormat::Secs, true)),
        ("execution-id", execution),
        ("attempt-number", attempt.to_string()),
    ]
    .into_iter()
    .fold(text.to_owned(), |text, (keyword, value)| {
        text.replace(&format!("{PREFIX}{keyword}>"), &value)
    })
    .into()
}

/// The binding's id where AWS has a rule's or a schedule's name, which cannot hold `/`.
fn aws_name(binding: &BindingId) -> String {
    binding.as_str().replace('/', "-")
}
