//! What becomes of an asynchronous event after an attempt.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use hikigane_model::{AsyncConfig, Outcome, limits};
use hikigane_store::{Burial, Lease, Settlement};

/// Decides by AWS's rules (AWS documentation, "Understanding retry behavior in Lambda", asynchronous invocation): function errors are tried
/// again after one and after two minutes; throttles after 1 second up to 5 minutes, without using up a retry; nothing beyond the event's
/// greatest age, looked at ahead (recorded from AWS: no retry is planned that would come too late).
pub fn settle(
    lease: &Lease,
    outcome: &Outcome,
    response: Bytes,
    config: &AsyncConfig,
    now: DateTime<Utc>,
) -> Settlement {
    let (due, attempts, throttles) = match outcome {
        Outcome::Returned(_) => return Settlement::Done,
        Outcome::Throttled(_) => (
            now + throttle_wait(lease.throttles),
            lease.attempts,
            lease.throttles + 1,
        ),
        Outcome::Failed(_) | Outcome::TimedOut(_) | Outcome::Crashed(_) => {
            let attempts = lease.attempts + 1;
            if attempts > config.retries {
                return bury("RetriesExhausted", attempts, Some(response), now);
            }
            let wait = limits::RETRY_WAITS[(attempts as usize - 1).min(limits::RETRY_WAITS.len() - 1)];
            (now + Duration::from_secs(wait.into()), attempts, 0)
        }
    };
    if age(lease, due) > config.max_age {
        let response = (!matches!(outcome, Outcome::Throttled(_))).then_some(response);
        return bury("EventAgeExceeded", attempts, response, now);
    }
    Settlement::Retry {
        due,
        attempts,
        throttles,
    }
}

/// Whether the event has become too old to be tried at all.
pub fn too_old(lease: &Lease, config: &AsyncConfig, now: DateTime<Utc>) -> bool {
    age(lease, now) > config.max_age
}

/// A dead letter's cause.
pub fn bury(condition: &str, attempts: u32, response: Option<Bytes>, now: DateTime<Utc>) -> Settlement {
    Settlement::Bury(Burial {
        condition: condition.to_owned(),
        attempts,
        response,
        at: now,
    })
}

fn age(lease: &Lease, at: DateTime<Utc>) -> Duration {
    (at - lease.event.accepted_at).to_std().unwrap_or_default()
}

/// The longest that an event waits for its next attempt.
pub const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// 1 second, doubled with each throttle, at most 5 minutes.
fn throttle_wait(throttles: u32) -> Duration {
    Duration::from_secs(1 << throttles.min(16)).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use hikigane_model::{CrashReason, FunctionName, Qualifier, RequestId, ThrottleReason};
    use hikigane_store::NewEvent;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
    }

    fn lease(attempts: u32, throttles: u32) -> Lease {
        let event = NewEvent {
            request_id: RequestId::from_text("r"),
            binding: None,
            trigger: "invoke".into(),
            function: FunctionName::new("f").unwrap(),
            version: Qualifier::Latest,
            invoked_arn: String::new(),
            payload: Bytes::new(),
            client_context: None,
            trace: None,
            group: None,
            accepted_at: at(0),
        };
        Lease {
            id: 1,
            token: 1,
            event,
            attempts,
            throttles,
        }
    }

    fn decide(attempts: u32, throttles: u32, outcome: Outcome, retries: u32, max_age: u64, now: i64) -> String {
        let config = AsyncConfig {
            retries,
            max_age: Duration::from_secs(max_age),
            ..AsyncConfig::default()
        };
        match settle(
            &lease(attempts, throttles),
            &outcome,
            Bytes::from_static(b"e"),
            &config,
            at(now),
        ) {
            Settlement::Done => "done".into(),
            Settlement::Release => "release".into(),
            Settlement::Retry {
                due,
                attempts,
                throttles,
            } => format!("at {} a{attempts} t{throttles}", (due - at(0)).num_seconds()),
            Settlement::Bury(burial) => format!(
                "{} a{} {}",
                burial.condition,
                burial.attempts,
                burial.response.is_some()
            ),
        }
    }

    #[test]
    fn follows_aws() {
        let failed = || Outcome::Crashed(CrashReason::Exit(1));
        let throttled = || Outcome::Throttled(ThrottleReason::ConcurrentInvocationLimitExceeded);
        let age = 21_600;
        for (case, got) in [
            ("done", decide(0, 0, Outcome::Returned(Bytes::new()), 2, age, 5)),
            ("at 65 a1 t0", decide(0, 3, failed(), 2, age, 5)),
            ("at 190 a2 t0", decide(1, 0, failed(), 2, age, 70)),
            ("RetriesExhausted a3 true", decide(2, 0, failed(), 2, age, 200)),
            ("RetriesExhausted a1 true", decide(0, 0, failed(), 0, age, 5)),
            ("EventAgeExceeded a1 true", decide(0, 0, failed(), 2, 60, 5)),
            ("at 6 a0 t1", decide(0, 0, throttled(), 2, age, 5)),
            ("at 9 a1 t3", decide(1, 2, throttled(), 2, age, 5)),
            ("at 305 a0 t41", decide(0, 40, throttled(), 0, age, 5)),
            ("EventAgeExceeded a0 false", decide(0, 9, throttled(), 2, 60, 5)),
        ] {
            assert_eq!(got, case);
        }
    }
}
