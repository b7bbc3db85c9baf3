//! Takes due events from the queue and runs them.

use std::sync::Arc;
use std::time::Duration;

use hikigane_model::{AsyncConfig, Invocation, InvokeMode, Outcome};
use hikigane_store::{Lease, Settlement, StoreError};

use crate::router::Order;
use crate::{Refusal, Router, Target, retry};

/// Queued events of one function without reservation that run at once. AWS would start a thousand environments for a burst; one
/// machine works the burst off faster with a few.
const PER_FUNCTION: u32 = 16;
/// How long the queue is left alone after the store failed.
const PAUSE: Duration = Duration::from_secs(1);

impl Router {
    /// Runs queued events until the router is stopped.
    pub async fn dispatch(self: Arc<Self>) {
        while !self.stopping.is_cancelled() {
            // Made before looking, so that what happens meanwhile is not missed.
            let woken = self.wake.notified();
            let room = self.admission.room(PER_FUNCTION);
            match self
                .queue
                .lease(self.clock.now(), room.events as usize, &room.full)
                .await
            {
                Ok(leases) if leases.is_empty() => {
                    let due = self.queue.next_due(&room.full).await.ok().flatten();
                    tokio::select! {
                        () = woken => {}
                        () = self.stopping.cancelled() => {}
                        () = sleep_until(&self, due) => {}
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
        let function = lease.event.function.clone();
        let now = self.clock.now();
        let event = &lease.event;
        let target = self
            .routes
            .resolve(function.as_str(), Some(&event.version), &event.request_id);
        let spec = match target {
            Some(Target::Ready(spec)) => spec,
            Some(Target::Refused(Refusal::State(_))) if retry::too_old(&lease, &AsyncConfig::default(), now) => {
                return self
                    .settle(&lease, retry::bury("EventAgeExceeded", lease.attempts, None, now), None)
                    .await;
            }
            // It may be ready soon.
            Some(Target::Refused(Refusal::State(_))) => {
                let settlement = Settlement::Retry {
                    due: now + PAUSE,
                    attempts: lease.attempts,
                    throttles: lease.throttles + 1,
                };
                return self.settle(&lease, settlement, None).await;
            }
            // It is gone or does not run: what was accepted for it is kept where it can be looked at.
            Some(Target::Refused(Refusal::Runtime(_))) | None => {
                return self
                    .settle(&lease, retry::bury("FunctionNotFound", lease.attempts, None, now), None)
                    .await;
            }
        };
        let config = &spec.config.asynchronous;
        if self.admission.reserved(&function) == Some(0) {
            return self
                .settle(&lease, retry::bury("ZeroReservedConcurrency", 0, None, now), None)
                .await;
        }
        if retry::too_old(&lease, config, now) {
            return self
                .settle(&lease, retry::bury("EventAgeExceeded", lease.attempts, None, now), None)
                .await;
        }
        if self.admission.running(&function) >= self.admission.reserved(&function).unwrap_or(PER_FUNCTION) {
            return self.settle(&lease, Settlement::Release, None).await;
        }
        let permit = match self.admission.try_acquire(&function) {
            Ok(permit) => permit,
            Err(reason) => {
                let settlement = retry::settle(&lease, &Outcome::Throttled(reason), Default::default(), config, now);
                return self.settle(&lease, settlement, None).await;
            }
        };
        let router = self.clone();
        self.running.spawn(async move {
            let order = Order {
                spec: spec.clone(),
                invocation: Invocation {
                    request_id: lease.event.request_id.clone(),
                    payload: lease.event.payload.clone(),
                    invoked_arn: lease.event.invoked_arn.clone(),
                    client_context: lease.event.client_context.clone(),
                    trace: lease.event.trace.clone(),
                    tenant_id: None,
                },
                binding: lease.event.binding.clone(),
                trigger: lease.event.trigger.clone(),
                mode: InvokeMode::Async,
                attempt: lease.attempts + 1,
                response: None,
            };
            match router.run(order, permit).await {
                Ok(completed) => {
                    let config = &spec.config.asynchronous;
                    let response = completed.run.output.clone();
                    let settlement =
                        retry::settle(&lease, &completed.report.outcome, response, config, router.clock.now());
                    router.settle(&lease, settlement, Some(completed.run)).await;
                }
                Err(_) => {
                    // The machine failed, not the function: again in a moment, at no cost of a retry.
                    let due = router.clock.now() + PAUSE;
                    let settlement = Settlement::Retry {
                        due,
                        attempts: lease.attempts,
                        throttles: lease.throttles + 1,
                    };
                    router.settle(&lease, settlement, None).await;
                }
            }
        });
    }

    /// Ends a lease. While the store is full or broken the event stays leased and the settlement is tried again: after a restart the
    /// event runs again, which at-least-once delivery allows; losing it would not be.
    async fn settle(&self, lease: &Lease, settlement: Settlement, run: Option<hikigane_store::Run>) {
        let mut wait = Duration::from_millis(50);
        loop {
            match self.queue.settle(lease, settlement.clone(), run.clone()).await {
                Ok(()) | Err(StoreError::LeaseLost) => break,
                Err(_) if self.stopping.is_cancelled() => break,
                Err(_) => tokio::time::sleep(wait).await,
            }
            wait = (wait * 2).min(Duration::from_secs(5));
        }
        self.wake.notify_one();
    }
}

async fn sleep_until(router: &Router, due: Option<chrono::DateTime<chrono::Utc>>) {
    match due {
        Some(due) => router.clock.sleep_until(due).await,
        None => std::future::pending().await,
    }
}
