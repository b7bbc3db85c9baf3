//! Destinations: where the end of an asynchronous invocation is told.
//!
//! The record goes out with the settlement, in the same transaction: an event that is done has told so, and one that is not tells it again.

use bytes::Bytes;
use chrono::SecondsFormat;
use hikigane_model::{AsyncConfig, Qualifier, RequestId, function_arn, limits, parse_function_arn};
use hikigane_store::{Lease, NewEvent, Run, Settlement};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{Router, Target, lineage};

/// What a destination gets (recorded from AWS).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    version: &'static str,
    timestamp: String,
    request_context: RequestContext<'a>,
    request_payload: Box<RawValue>,
    /// Absent when the function did not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    response_context: Option<ResponseContext<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_payload: Option<Box<RawValue>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    request_id: &'a RequestId,
    function_arn: String,
    condition: &'a str,
    approximate_invoke_count: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResponseContext<'a> {
    status_code: u16,
    executed_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_error: Option<&'static str>,
}

/// How an event ended.
struct End<'a> {
    condition: &'a str,
    attempts: u32,
    response: Option<Bytes>,
    failed: bool,
}

impl Router {
    /// The event that carries the record of an invocation's end to its destination. `None` when it has not ended, or nobody is to be told.
    /// What cannot be told is said in the function's log.
    pub(crate) fn follow(
        &self,
        lease: &Lease,
        config: &AsyncConfig,
        settlement: &Settlement,
        run: &mut Option<Run>,
    ) -> Option<NewEvent> {
        let (destination, end) = match settlement {
            Settlement::Done => {
                let end = End {
                    condition: "Success",
                    attempts: lease.attempts + 1,
                    response: run.as_ref().map(|run| run.output.clone()),
                    failed: false,
                };
                (config.on_success.as_deref()?, end)
            }
            Settlement::Bury(burial) => {
                let end = End {
                    condition: &burial.condition,
                    attempts: burial.attempts,
                    response: burial.response.clone(),
                    failed: true,
                };
                (config.on_failure.as_deref()?, end)
            }
            Settlement::Retry { .. } | Settlement::Release => return None,
        };
        let told = self.tell(destination, lease, &end, run.as_ref());
        told.inspect_err(|reason| self.warn(lease, run, destination, reason))
            .ok()
    }

    fn tell(&self, destination: &str, lease: &Lease, end: &End<'_>, run: Option<&Run>) -> Result<NewEvent, String> {
        let (function, qualifier) =
            parse_function_arn(destination).ok_or("nobody takes records for it here: only functions do")?;
        let now = self.clock.now();
        let payload = self.record(lease, end, run).map_err(|error| error.to_string())?;
        if payload.len() > limits::ASYNC_PAYLOAD {
            return Err(format!(
                "the record has {} bytes, and an event at most {}",
                payload.len(),
                limits::ASYNC_PAYLOAD
            ));
        }
        let request_id = RequestId::random();
        let version = match self.routes.resolve(function.as_str(), qualifier.as_ref(), &request_id) {
            Some(Target::Ready(spec)) => spec.version.clone(),
            // It waits until the function is ready, or becomes a dead letter: nothing is lost.
            _ => qualifier.clone().unwrap_or(Qualifier::Latest),
        };
        Ok(NewEvent {
            request_id,
            binding: None,
            trigger: "destination".to_owned(),
            invoked_arn: function_arn(&function, qualifier.as_ref()),
            trace: Some(lineage::extend(lease.event.trace.as_deref(), &function)),
            function,
            version,
            payload,
            client_context: None,
            group: None,
            accepted_at: now,
        })
    }

    fn record(&self, lease: &Lease, end: &End<'_>, run: Option<&Run>) -> serde_json::Result<Bytes> {
        let event = &lease.event;
        let qualifier = parse_function_arn(&event.invoked_arn).and_then(|(_, qualifier)| qualifier);
        let version = run.map_or_else(|| event.version.to_string(), |run| run.version.clone());
        let response = end.response.as_ref();
        let record = Record {
            version: "1.0",
            timestamp: self.clock.now().to_rfc3339_opts(SecondsFormat::Millis, true),
            request_context: RequestContext {
                request_id: &event.request_id,
                function_arn: function_arn(&event.function, Some(&qualifier.unwrap_or(Qualifier::Latest))),
                condition: end.condition,
                approximate_invoke_count: end.attempts,
            },
            request_payload: json(&event.payload)?,
            response_context: response.map(|_| ResponseContext {
                status_code: 200,
                executed_version: &version,
                function_error: end.failed.then_some("Unhandled"),
            }),
            response_payload: response.map(|response| json(response)).transpose()?,
        };
        serde_json::to_vec(&record).map(Bytes::from)
    }

    fn warn(&self, lease: &Lease, run: &mut Option<Run>, destination: &str, reason: &str) {
        let event = &lease.event;
        let time = self.clock.now().to_rfc3339_opts(SecondsFormat::Millis, true);
        let line = format!(
            "{time}\t{}\tWARN\t[hikigane] the destination {destination} was not told: {reason}\n",
            event.request_id
        );
        if let Some(live) = self.live.of(&event.function) {
            live(&line);
        }
        if let Some(run) = run {
            run.log.push_str(&line);
        }
    }
}

/// JSON text as it is; what is none, as text.
fn json(bytes: &[u8]) -> serde_json::Result<Box<RawValue>> {
    match serde_json::from_slice::<Box<RawValue>>(bytes) {
        Ok(json) => Ok(json),
        Err(_) => serde_json::value::to_raw_value(&String::from_utf8_lossy(bytes)),
    }
}
