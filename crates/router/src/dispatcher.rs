//! Takes due events from the queue and runs them.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use hikigane_executor::EnvironmentSpec;
use hikigane_model::{FunctionName, Invocation, InvokeMode, Outcome, limits};
use hikigane_store::{Lease, NewEvent, Run, Settlement, StoreError};

use crate::admission::Permit;
use crate::router::Order;
use crate::{Refusal, Router, Target, Then, lineage, retry};

/// Queued events of one function that run at once, unless more is set aside for it. AWS would start a thousand environments for a burst; one
/// machine works the burst off faster with a few.
const PER_FUNCTION: u32 = 16;
/// How long nothing need happen before the clock is looked at: it may have been set back.
const LOOK: Duration = Duration::from_secs(30);
/// What a clock loses without having been set.
const SLACK: Duration = Duration::from_secs(1);
/// How long the queue is left alone after the store failed.
const PAUSE: Duration = Duration::from_secs(1);

impl Router {
    /// Runs queued events until the router is stopped.
    pub async fn dispatch(self: Arc<Self>) {
        // An earlier server may have gone by a clock that was ahead.
        let mut furthest = Furthest(DateTime::<Utc>::MAX_UTC);
        while !self.stopping.is_cancelled() {
            let now = self.clock.now();
            // What is due later than any wait could make it would else wait until the clock is there again.
            if furthest.was_left(now) && self.queue.hasten(now + retry::LONGEST_WAIT, now).await.is_ok() {
                furthest = Furthest(now);
            }
            // Made before looking, so that what happens meanwhile is not missed.
            let woken = self.wake.notified();
            let room = self.admission.room(PER_FUNCTION);
            match self.queue.lease(now, room.events as usize, &room.full).await {
                Ok(leases) if leases.is_empty() => {
                    let due = self.queue.next_due(&room.full).await.ok().flatten();
                    tokio::select! {
                        () = woken => {}
                        () = self.stopping.cancelled() => {}
                        () = sleep_until(&self, due) => {}
                        () = tokio::time::sleep(LOOK) => {}
                    }
                }
                Ok(leases) => {
                    for lease in leases {
                        self.clone().start(lease).await;
                    }
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Starts one event, or puts it back when no concurrency is left for it.
    async fn start(self: Arc<Self>, lease: Lease) {
        let now = self.clock.now();
        let event = &lease.event;
        let function = &event.function;
        let config = self.routes.asynchronous(&event.invoked_arn);
        let target = self
            .routes
            .resolve(function.as_str(), Some(&event.version), &event.request_id);
        let bury = |condition, attempts| retry::bury(condition, attempts, None, now);
        let settlement = match target {
            // It is gone or does not run: what was accepted for it is kept where it can be looked at.
            None | Some(Target::Refused(Refusal::Runtime(_))) => bury("FunctionNotFound", lease.attempts),
            _ if self.is_endless(event) => bury("RecursiveLoop", lease.attempts),
            _ if self.admission.is_off(function) => bury("ZeroReservedConcurrency", 0),
            _ if retry::too_old(&lease, &config, now) => bury("EventAgeExceeded", lease.attempts),
            // It may be ready soon.
            Some(Target::Refused(Refusal::State(_))) => in_a_moment(&lease, now),
            Some(Target::Ready(_)) if self.is_full(function) => Settlement::Release,
            Some(Target::Ready(spec)) => match self.admission.try_acquire(function, &spec.version) {
                Ok(permit) => {
                    let router = self.clone();
                    self.running
                        .spawn(async move { router.attempt(lease, spec, permit).await });
                    return;
                }
                Err(reason) => retry::settle(&lease, &Outcome::Throttled(reason), Default::default(), &config, now),
            },
        };
        self.settle(&lease, settlement, None).await;
    }

    /// Makes one attempt, and decides what becomes of the event.
    async fn attempt(self: Arc<Self>, lease: Lease, spec: Arc<EnvironmentSpec>, permit: Permit) {
        let event = &lease.event;
        let order = Order {
            spec,
            invocation: Invocation {
                request_id: event.request_id.clone(),
                payload: event.payload.clone(),
                invoked_arn: event.invoked_arn.clone(),
                client_context: event.client_context.clone(),
                trace: event.trace.clone(),
                tenant_id: None,
            },
            binding: event.binding.clone(),
            trigger: event.trigger.clone(),
            mode: InvokeMode::Async,
            attempt: lease.attempts + 1,
            response: None,
            target: None,
        };
        match self.run(order, permit).await {
            Ok(completed) => {
                let config = self.routes.asynchronous(&event.invoked_arn);
                let response = completed.run.output.clone();
                let outcome = &completed.report.outcome;
                let settlement = retry::settle(&lease, outcome, response, &config, self.clock.now());
                let then = match &settlement {
                    Settlement::Retry { due, .. } => Then::Again(*due),
                    _ => Then::GivenUp,
                };
                self.failures.tell(&completed.run, then);
                self.settle(&lease, settlement, Some(completed.run)).await;
            }
            // The machine failed, not the function: again in a moment, at no cost of a retry.
            Err(_) => self.settle(&lease, in_a_moment(&lease, self.clock.now()), None).await,
        }
    }

    /// Whether destinations have led to the function so often that they would go on for ever.
    fn is_endless(&self, event: &NewEvent) -> bool {
        lineage::count(event.trace.as_deref(), &event.function) > limits::LOOP && !self.routes.may_loop(&event.function)
    }

    fn is_full(&self, function: &FunctionName) -> bool {
        self.admission.running(function) >= self.admission.queue_limit(function, PER_FUNCTION)
    }

    /// Ends a lease, and tells the destination of its end. While the store is full or broken the event stays leased and the settlement is tried
    /// again: after a restart the event runs again, which at-least-once delivery allows; losing it would not be.
    async fn settle(&self, lease: &Lease, settlement: Settlement, mut run: Option<Run>) {
        let config = self.routes.asynchronous(&lease.event.invoked_arn);
        let follow = self.follow(lease, &config, &settlement, &mut run);
        let mut wait = Duration::from_millis(50);
        loop {
            let settled = self
                .queue
                .settle(lease, settlement.clone(), run.clone(), follow.clone());
            match settled.await {
                Ok(()) | Err(StoreError::LeaseLost) => break,
                Err(_) if self.stopping.is_cancelled() => break,
                Err(_) => tokio::time::sleep(wait).await,
            }
            wait = (wait * 2).min(Duration::from_secs(5));
        }
        self.wake.notify_one();
    }
}

/// The furthest that the clock has been.
struct Furthest(DateTime<Utc>);

impl Furthest {
    /// Whether the clock, at `now`, was set back from there, at once or in steps.
    fn was_left(&mut self, now: DateTime<Utc>) -> bool {
        self.0 = self.0.max(now);
        now < self.0 - SLACK
    }
}

fn in_a_moment(lease: &Lease, now: DateTime<Utc>) -> Settlement {
    Settlement::Retry {
        due: now + PAUSE,
        attempts: lease.attempts,
        throttles: lease.throttles + 1,
    }
}

async fn sleep_until(router: &Router, due: Option<DateTime<Utc>>) {
    match due {
        Some(due) => router.clock.sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_steps_back_add_up_and_what_a_clock_loses_by_itself_does_not() {
        let at = |millis| DateTime::UNIX_EPOCH + Duration::from_millis(millis);
        let mut furthest = Furthest(at(10_000));
        let was_left = [9_100, 10_000, 9_000, 8_500, 7_700, 10_500, 9_600, 9_499].map(|now| furthest.was_left(at(now)));
        assert_eq!(was_left, [false, false, false, true, true, false, false, true]);
        // Another server may have gone by another clock.
        assert!(Furthest(DateTime::<Utc>::MAX_UTC).was_left(at(0)));
    }
}
