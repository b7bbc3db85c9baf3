//! AWS Signer's API: profiles that sign, their signing jobs, and revocations, for code signing without a key at the client.
//!
//! It is kept in the same catalog as Lambda's functions. There is one platform, `AWSLambda-SHA384-ECDSA`. Keys are made here and never leave
//! the data directory, which its owner alone can read.

mod job;
mod platform;
mod profile;
mod revocation;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::error::ApiError;
use crate::lambda::Lambda;
use crate::shapes::{Input, Operation};

/// AWS's limit of entries on a page.
const PAGE: usize = 25;

impl Lambda {
    /// Answers an operation of the signer API.
    pub(crate) async fn answer_signer(
        self: &Arc<Self>,
        operation: &Operation,
        input: Input,
    ) -> Result<Value, ApiError> {
        match operation.name.as_str() {
            "CancelSigningProfile" => self.cancel_signing_profile(input).await,
            "DescribeSigningJob" => self.describe_signing_job(input).await,
            "GetSigningPlatform" => platform::get(&input),
            "GetSigningProfile" => self.get_signing_profile(input).await,
            "ListSigningJobs" => self.list_signing_jobs(input).await,
            "ListSigningPlatforms" => platform::list(),
            "ListSigningProfiles" => self.list_signing_profiles(input).await,
            "ListTagsForResource" => self.list_profile_tags(input).await,
            "PutSigningProfile" => self.put_signing_profile(input).await,
            "RevokeSignature" => self.revoke_signature(input).await,
            "RevokeSigningProfile" => self.revoke_signing_profile(input).await,
            "StartSigningJob" => self.start_signing_job(input).await,
            "TagResource" => self.tag_profile(input).await,
            "UntagResource" => self.untag_profile(input).await,
            name => Err(ApiError::new(
                501,
                "NotImplementedException",
                format!(
                    "{name} is not supported here: profiles are signed with by their owner, and sign archives only"
                ),
            )),
        }
    }
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new(400, "ValidationException", message)
}

/// A time as this API shows it: seconds since 1970.
fn seconds(time: DateTime<Utc>) -> Value {
    time.timestamp().into()
}

/// A time that a client sent: seconds since 1970, or text by ISO 8601.
fn time(value: Option<&Value>) -> Option<DateTime<Utc>> {
    match value? {
        Value::String(text) => match text.parse::<f64>() {
            Ok(number) => from_seconds(number),
            Err(_) => text.parse().ok(),
        },
        number => from_seconds(number.as_f64()?),
    }
}

fn from_seconds(number: f64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis((number * 1000.0) as i64)
}

/// The page of a list that a client asks for by `nextToken` and `maxResults`; the token is the key of the last entry before.
fn page(input: &Input, member: &str, entries: impl Iterator<Item = (String, Value)>) -> Value {
    let most = input.get("maxResults").and_then(Value::as_u64);
    let most = most.map_or(PAGE, |most| usize::try_from(most).unwrap_or(PAGE).clamp(1, PAGE));
    let after = input.text("nextToken");
    let mut rest = entries.filter(|(key, _)| key.as_str() > after).peekable();
    let (mut shown, mut last) = (Vec::new(), None);
    while shown.len() < most
        && let Some((key, entry)) = rest.next()
    {
        shown.push(entry);
        last = Some(key);
    }
    let mut answer = Map::new();
    answer.insert(member.to_owned(), shown.into());
    if let (Some(_), Some(last)) = (rest.peek(), last) {
        answer.insert("nextToken".into(), last.into());
    }
    answer.into()
}
