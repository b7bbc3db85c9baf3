//! Running functions: at once for a caller that waits, or through the queue.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use hikigane_executor::{EnvironmentSpec, LogSink, PlatformLog, Pool, Provisioning, ResponseSink, StartError};
use hikigane_model::{
    BindingId, FunctionName, InitKind, Invocation, InvokeMode, Outcome, Qualifier, Report, RequestId, TargetId,
    ThrottleReason, function_arn, limits,
};
use hikigane_store::{EventQueue, History, NamespacedWrite, NewEvent, Run, RunStatus, State, StoreError};
use hikigane_trigger::Clock;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::{Permit, Reservation};
use crate::{Admission, Deployed, Failures, LiveLogs, Refusal, Routes, Target, Then};

/// What a router is made of.
pub struct RouterParts {
    /// Functions and bindings.
    pub routes: Routes,
    /// Environments.
    pub pool: Pool,
    /// The queue.
    pub queue: Arc<dyn EventQueue>,
    /// The plug-ins' state.
    pub state: Arc<dyn State>,
    /// Past runs.
    pub history: Arc<dyn History>,
    /// The time.
    pub clock: Clock,
    /// Invocations that may run at once in all.
    pub account_concurrency: u32,
}

/// The router. Cheap to clone through its `Arc`.
pub struct Router {
    pub(crate) routes: Routes,
    pub(crate) pool: Pool,
    pub(crate) queue: Arc<dyn EventQueue>,
    pub(crate) state: Arc<dyn State>,
    pub(crate) history: Arc<dyn History>,
    pub(crate) clock: Clock,
    pub(crate) admission: Arc<Admission>,
    /// Told when an event was queued or concurrency was given back.
    pub(crate) wake: Arc<Notify>,
    /// Fires when nothing new may start.
    pub(crate) stopping: CancellationToken,
    /// Invocations that run.
    pub(crate) running: TaskTracker,
    pub(crate) live: LiveLogs,
    pub(crate) failures: Failures,
}

/// A call of Lambda's Invoke.
#[derive(Debug, Clone)]
pub struct InvokeRequest {
    /// The function's name.
    pub function: String,
    /// What of it.
    pub qualifier: Option<Qualifier>,
    /// The event, JSON text.
    pub payload: Bytes,
    /// The client context, JSON text.
    pub client_context: Option<String>,
    /// The X-Ray trace header.
    pub trace: Option<String>,
    /// The tenant on whose behalf it runs. The queue does not keep it.
    pub tenant_id: Option<String>,
}

/// The end of a synchronous invocation.
#[derive(Debug)]
pub struct Invoked {
    /// The id.
    pub request_id: RequestId,
    /// The version that ran.
    pub version: Qualifier,
    /// Outcome and cost.
    pub report: Report,
    /// The log lines.
    pub log: String,
}

/// Why nothing was run or queued.
#[derive(Debug, Clone, thiserror::Error)]
pub enum InvokeError {
    /// No such function, version or alias; with the ARN that was looked for.
    #[error("Function not found: {0}")]
    NotFound(String),
    /// It is there, and cannot be invoked.
    #[error("{}", refusal_text(.0))]
    Refused(Refusal),
    /// The payload is over the limit.
    #[error("{size} byte payload is too large for the {mode} invocation type (limit {limit} bytes)")]
    TooLarge {
        /// Bytes of the payload.
        size: usize,
        /// Bytes allowed.
        limit: usize,
        /// AWS's name of the invocation type.
        mode: &'static str,
    },
    /// No concurrency left.
    #[error("Rate Exceeded.")]
    Throttled(ThrottleReason),
    /// The event could not be stored, or no worker could be made.
    #[error("{0}")]
    Unavailable(String),
}

/// AWS's text for a state; for a runtime our own.
fn refusal_text(refusal: &Refusal) -> String {
    match refusal {
        Refusal::State(state) => format!(
            "The operation cannot be performed at this time. The function is currently in the following state: {state}"
        ),
        Refusal::Runtime(runtime) => {
            format!("functions of runtime {runtime} can be deployed here and do not run: only nodejsNN.x does")
        }
    }
}

/// A run to be made: who asked for it, and what.
pub(crate) struct Order {
    pub spec: Arc<EnvironmentSpec>,
    pub invocation: Invocation,
    pub binding: Option<BindingId>,
    pub trigger: String,
    pub mode: InvokeMode,
    pub attempt: u32,
    /// Where a streaming handler's answer goes; `None`: it is the outcome, whole.
    pub response: Option<ResponseSink>,
    /// What a debugger attaches to that the function waits for.
    pub target: Option<TargetId>,
}

/// A run that was made, with its entry for the history.
pub(crate) struct Completed {
    pub report: Report,
    pub run: Run,
}

impl Router {
    /// A router that does not run queued events yet.
    pub fn new(parts: RouterParts) -> Arc<Self> {
        let wake = Arc::new(Notify::new());
        let admission = Admission::new(parts.account_concurrency, wake.clone());
        Arc::new(Self {
            routes: parts.routes,
            pool: parts.pool,
            queue: parts.queue,
            state: parts.state,
            history: parts.history,
            clock: parts.clock,
            admission,
            wake,
            stopping: CancellationToken::new(),
            running: TaskTracker::new(),
            live: LiveLogs::default(),
            failures: Failures::default(),
        })
    }

    /// Functions and bindings.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// Makes a function invocable as it is from now on, or takes it away.
    pub fn deploy(&self, name: &FunctionName, function: Option<Deployed>) {
        let reservation = function.as_ref().map(|function| Reservation {
            reserved: function.reserved,
            provisioned: function.provisioned.clone(),
        });
        self.admission.reserve(name, reservation.unwrap_or_default());
        let floors = function.as_ref().map(Deployed::floors).unwrap_or_default();
        let after = function.map(Arc::new);
        let before = self.routes.set(name, after.clone());
        let before = before.as_deref().map(Deployed::ready).unwrap_or_default();
        let after = after.as_deref().map(Deployed::ready).unwrap_or_default();
        self.pool.replace(&before, &after);
        self.pool.provision(name, &floors);
        // Events may wait for just this.
        self.wake.notify_one();
    }

    /// How far the provisioned environments of a version are; `None` when it has none.
    pub fn provisioning(&self, name: &FunctionName, version: &Qualifier) -> Option<Provisioning> {
        self.pool.provisioning(name, version)
    }

    /// The logs as they are written.
    pub fn live_logs(&self) -> &LiveLogs {
        &self.live
    }

    /// The runs that fail, as they do.
    pub fn failures(&self) -> &Failures {
        &self.failures
    }

    /// Past runs.
    pub fn history(&self) -> &Arc<dyn History> {
        &self.history
    }

    /// The queue, for those who look at it and at its dead letters.
    pub fn queue(&self) -> &Arc<dyn EventQueue> {
        &self.queue
    }

    /// The time.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Looks at the queue again: something was put back into it from outside.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Lambda's Invoke with `RequestResponse`: runs the function once and waits. The run goes on when the caller leaves.
    pub async fn invoke(self: &Arc<Self>, request: InvokeRequest) -> Result<Invoked, InvokeError> {
        self.call("invoke", None, request, RequestId::random()).await
    }

    /// As [`Router::invoke`], in a fresh environment that waits until a debugger attaches to `target`.
    pub async fn debug(self: &Arc<Self>, request: InvokeRequest, target: TargetId) -> Result<Invoked, InvokeError> {
        let (mut order, permit) = self.admit("invoke", None, request, RequestId::random())?;
        order.target = Some(target);
        let run = self.running.track_future(self.clone().complete(order, permit));
        Unabandoned(Some(Box::pin(run))).await
    }

    /// Lambda's Invoke with `DryRun`: whether it could be invoked.
    pub fn dry_run(&self, request: &InvokeRequest) -> Result<(), InvokeError> {
        self.find(request, &RequestId::random()).map(drop)
    }

    /// Lambda's Invoke with `Event`: queues it. Resolves when it is on disk.
    pub async fn invoke_event(&self, request: InvokeRequest) -> Result<RequestId, InvokeError> {
        let request_id = RequestId::random();
        self.enqueue("invoke", None, request, request_id.clone(), None, Vec::new())
            .await?;
        Ok(request_id)
    }

    /// As [`Router::invoke`], for a trigger and under an id of the caller's.
    pub async fn call(
        self: &Arc<Self>,
        trigger: &str,
        binding: Option<BindingId>,
        request: InvokeRequest,
        request_id: RequestId,
    ) -> Result<Invoked, InvokeError> {
        let (order, permit) = self.admit(trigger, binding, request, request_id)?;
        let run = self.running.track_future(self.clone().complete(order, permit));
        Unabandoned(Some(Box::pin(run))).await
    }

    /// A synchronous run that may be made now.
    pub(crate) fn admit(
        &self,
        trigger: &str,
        binding: Option<BindingId>,
        request: InvokeRequest,
        request_id: RequestId,
    ) -> Result<(Order, Permit), InvokeError> {
        let spec = self.find(&request, &request_id)?;
        check_size(&request, limits::SYNC_PAYLOAD, "RequestResponse")?;
        if self.stopping.is_cancelled() {
            return Err(InvokeError::Unavailable("the server is stopping".into()));
        }
        let permit = self
            .admission
            .try_acquire(&spec.config.name, &spec.version)
            .map_err(InvokeError::Throttled)?;
        let invoked_arn = function_arn(&spec.config.name, request.qualifier.as_ref());
        let order = Order {
            spec,
            invocation: Invocation {
                request_id,
                payload: request.payload,
                invoked_arn,
                client_context: request.client_context,
                trace: request.trace,
                tenant_id: request.tenant_id,
            },
            binding,
            trigger: trigger.to_owned(),
            mode: InvokeMode::Sync,
            attempt: 1,
            response: None,
            target: None,
        };
        Ok((order, permit))
    }

    /// Makes a synchronous run to its end, and records it.
    pub(crate) async fn complete(self: Arc<Self>, order: Order, permit: Permit) -> Result<Invoked, InvokeError> {
        let (request_id, version) = (order.invocation.request_id.clone(), order.spec.version.clone());
        let completed = self.run(order, permit).await.map_err(InvokeError::Unavailable)?;
        let log = completed.run.log.clone();
        self.failures.tell(&completed.run, Then::Told);
        self.history.record(completed.run);
        Ok(Invoked {
            request_id,
            version,
            report: completed.report,
            log,
        })
    }

    pub(crate) async fn enqueue(
        &self,
        trigger: &str,
        binding: Option<BindingId>,
        request: InvokeRequest,
        request_id: RequestId,
        group: Option<String>,
        state: Vec<NamespacedWrite>,
    ) -> Result<(), InvokeError> {
        let spec = self.find(&request, &request_id)?;
        check_size(&request, limits::ASYNC_PAYLOAD, "Event")?;
        let event = NewEvent {
            request_id,
            binding,
            trigger: trigger.to_owned(),
            function: spec.config.name.clone(),
            version: spec.version.clone(),
            invoked_arn: function_arn(&spec.config.name, request.qualifier.as_ref()),
            payload: request.payload,
            client_context: request.client_context,
            trace: request.trace,
            group,
            accepted_at: self.clock.now(),
        };
        self.queue
            .enqueue(event, state)
            .await
            .map_err(|error| InvokeError::Unavailable(error.to_string()))?;
        self.wake.notify_one();
        Ok(())
    }

    fn find(&self, request: &InvokeRequest, id: &RequestId) -> Result<Arc<EnvironmentSpec>, InvokeError> {
        match self.routes.resolve(&request.function, request.qualifier.as_ref(), id) {
            Some(Target::Ready(spec)) => Ok(spec),
            Some(Target::Refused(refusal)) => Err(InvokeError::Refused(refusal)),
            None => {
                // AWS names `$LATEST` when no qualifier was given (recorded).
                let qualifier = request.qualifier.clone().unwrap_or(Qualifier::Latest);
                let arn = match FunctionName::new(&request.function) {
                    Ok(name) => function_arn(&name, Some(&qualifier)),
                    Err(_) => request.function.clone(),
                };
                Err(InvokeError::NotFound(arn))
            }
        }
    }

    /// Makes one run: environment, log lines, and the entry for the history. An error is the machine's, not the function's.
    pub(crate) async fn run(&self, order: Order, permit: Permit) -> Result<Completed, String> {
        let started_at = self.clock.now();
        let config = order.spec.config.clone();
        let mut logs = LogSink::new(self.live.of(&config.name));
        let version = order.spec.version.to_string();
        let platform = PlatformLog {
            request_id: &order.invocation.request_id,
            version: &version,
            format: config.log_format,
        };
        logs.platform(&platform.start());
        let (spec, invocation) = (&order.spec, &order.invocation);
        let ran = match &order.target {
            None => {
                self.pool
                    .run(spec, invocation, &mut logs, order.response.as_ref())
                    .await
            }
            Some(target) => self.pool.debug(spec, invocation, target, &mut logs).await,
        };
        let report = match ran {
            Ok(report) => report,
            Err(StartError::Host(message)) => return Err(message),
            Err(StartError::Function { .. }) => return Err("an initialisation error came where none can be".into()),
        };
        drop(permit);
        if let Outcome::TimedOut(after) = report.outcome {
            logs.platform(&format!(
                "{} {} Task timed out after {:.2} seconds\n\n",
                Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
                order.invocation.request_id,
                after.as_secs_f64()
            ));
        }
        let end = platform.end();
        if !end.is_empty() {
            logs.platform(&end);
        }
        logs.platform(&platform.report(&report.usage, config.memory_mb, report.outcome.is_success()));
        let run = entry(order, version, &report, started_at, logs.into_text());
        Ok(Completed { report, run })
    }

    /// Begins to stop: nothing new starts.
    pub fn stop(&self) {
        self.stopping.cancel();
        self.running.close();
        self.wake.notify_one();
    }

    /// Waits until every invocation that runs has ended.
    pub async fn drained(&self) {
        self.running.wait().await;
    }
}

/// A future that is finished in the background when its caller leaves: on AWS, too, an invocation ends when it ends, whether or not somebody
/// still waits for it. While somebody waits, it runs in the caller's own task, which spares two hand-overs between threads.
struct Unabandoned<T: Send + 'static>(Option<Pin<Box<dyn Future<Output = T> + Send>>>);

impl<T: Send + 'static> Future for Unabandoned<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<T> {
        let Some(future) = &mut self.0 else {
            return Poll::Pending;
        };
        let polled = future.as_mut().poll(cx);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl<T: Send + 'static> Drop for Unabandoned<T> {
    fn drop(&mut self) {
        if let (Some(future), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(future);
        }
    }
}

fn check_size(request: &InvokeRequest, limit: usize, mode: &'static str) -> Result<(), InvokeError> {
    let size = request.payload.len();
    if size > limit {
        Err(InvokeError::TooLarge { size, limit, mode })
    } else {
        Ok(())
    }
}

fn entry(order: Order, version: String, report: &Report, started_at: DateTime<Utc>, log: String) -> Run {
    let status = match report.outcome {
        Outcome::Returned(_) => RunStatus::Succeeded,
        Outcome::Failed(_) => RunStatus::Failed,
        Outcome::TimedOut(_) => RunStatus::TimedOut,
        Outcome::Crashed(_) => RunStatus::Crashed,
        Outcome::Throttled(_) => RunStatus::Throttled,
    };
    let init_ms = match report.usage.init {
        InitKind::Warm => None,
        InitKind::Cold(duration) => Some(duration.as_secs_f64() * 1000.0),
    };
    let output = match order.response {
        Some(response) if report.outcome.is_success() && response.has_begun() => response.head(),
        _ => report.outcome.to_payload(&order.invocation.request_id),
    };
    Run {
        attempt: order.attempt,
        binding: order.binding,
        trigger: order.trigger,
        function: order.spec.config.name.clone(),
        version,
        mode: order.mode,
        status,
        reason: report.outcome.error_type(),
        started_at,
        duration_ms: report.usage.duration.as_secs_f64() * 1000.0,
        init_ms,
        max_memory_mb: report.usage.max_memory_mb,
        output,
        request_id: order.invocation.request_id,
        input: order.invocation.payload,
        log,
    }
}

impl From<InvokeError> for hikigane_trigger::EmitError {
    fn from(error: InvokeError) -> Self {
        match error {
            InvokeError::TooLarge { size, limit, .. } => Self::TooLarge { size, limit },
            InvokeError::Unavailable(message) => Self::Unavailable(message),
            other => Self::Refused(other.to_string()),
        }
    }
}

/// A store's error in the words of a plug-in's state.
pub(crate) fn state_error(error: StoreError) -> hikigane_trigger::StateError {
    hikigane_trigger::StateError(error.to_string())
}
