//! The event that a schedule sends.

use chrono::{DateTime, SecondsFormat, Utc};
use hikigane_trigger::model::{ACCOUNT_ID, BindingId, REGION};
use serde_json::json;

/// EventBridge's scheduled event for the slot `time` of `binding`, JSON text with the fields in AWS's order
/// (EventBridge User Guide, "Creating a rule that runs on a schedule").
///
/// Its rule is named after the binding; `/`, which a rule's name cannot hold, becomes `-`.
pub(crate) fn scheduled_event(binding: &BindingId, time: DateTime<Utc>) -> String {
    let rule = binding.as_str().replace('/', "-");
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
