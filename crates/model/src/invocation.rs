//! One run of a function and how it ended.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::RequestId;

/// One run of a function, bound to a version.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// Its id, the same on every attempt.
    pub request_id: RequestId,
    /// The event as JSON text.
    pub payload: Bytes,
    /// The ARN as the caller named it, with the qualifier when there was one.
    pub invoked_arn: String,
    /// The client context, JSON text, when the caller sent one.
    pub client_context: Option<String>,
    /// The X-Ray trace header.
    pub trace: Option<String>,
    /// The tenant on whose behalf it runs.
    pub tenant_id: Option<String>,
}

/// How an invocation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The handler's result as JSON text.
    Returned(Bytes),
    /// The handler threw or rejected, or the function could not be initialised.
    Failed(FunctionError),
    /// It ran longer than its timeout and was killed.
    TimedOut(Duration),
    /// The environment died.
    Crashed(CrashReason),
    /// It was not started: no concurrency left.
    Throttled(ThrottleReason),
}

impl Outcome {
    /// Whether the handler returned.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Returned(_))
    }

    /// What the caller of Lambda's Invoke gets as the body: the result, or Lambda's error JSON.
    ///
    /// Shapes as AWS answered them (recorded November 2025): `Sandbox.Timedout`, `Runtime.ExitError`,
    /// `Runtime.OutOfMemory`; handler errors as the Node.js runtime client reports them.
    pub fn to_payload(&self, request_id: &RequestId) -> Bytes {
        let platform = |error_type: &str, message: String| {
            Bytes::from(
                serde_json::json!({"errorType": error_type, "errorMessage": format!("RequestId: {request_id} Error: {message}")})
                    .to_string(),
            )
        };
        match self {
            Self::Returned(bytes) => bytes.clone(),
            Self::Failed(error) => error.json.clone(),
            Self::TimedOut(after) => platform(
                "Sandbox.Timedout",
                format!("Task timed out after {:.2} seconds", after.as_secs_f64()),
            ),
            Self::Crashed(reason) => platform(reason.error_type(), reason.message()),
            Self::Throttled(reason) => Bytes::from(
                serde_json::json!({"Reason": reason.as_str(), "Type": "User", "message": "Rate Exceeded."}).to_string(),
            ),
        }
    }

    /// The error's type as Lambda names it, when there is one.
    pub fn error_type(&self) -> Option<String> {
        match self {
            Self::Returned(_) => None,
            Self::Failed(error) => Some(error.error_type.clone()),
            Self::TimedOut(_) => Some("Sandbox.Timedout".into()),
            Self::Crashed(reason) => Some(reason.error_type().into()),
            Self::Throttled(_) => Some("TooManyRequestsException".into()),
        }
    }
}

/// An error that user code, or its initialisation, reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionError {
    /// `errorType` of the JSON.
    pub error_type: String,
    /// Lambda's error JSON: `{"errorType", "errorMessage", "trace": [..]}`.
    pub json: Bytes,
}

/// Why an environment died.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CrashReason {
    /// The process ended by itself with this status (`process.exit`).
    Exit(i32),
    /// A signal ended it.
    Signal(i32),
    /// It needed more memory than the function has.
    OutOfMemory,
}

impl CrashReason {
    fn error_type(&self) -> &'static str {
        match self {
            Self::OutOfMemory => "Runtime.OutOfMemory",
            Self::Exit(_) | Self::Signal(_) => "Runtime.ExitError",
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Exit(0) => "Runtime exited without providing a reason".into(),
            Self::Exit(status) => format!("Runtime exited with error: exit status {status}"),
            Self::Signal(signal) => format!("Runtime exited with error: signal: {}", signal_name(*signal)),
            Self::OutOfMemory => "Runtime exited with error: signal: killed".into(),
        }
    }
}

/// A signal in the words of Go's `os.ProcessState`, which AWS's messages use.
fn signal_name(signal: i32) -> String {
    match signal {
        4 => "illegal instruction".into(),
        5 => "trace/breakpoint trap".into(),
        6 => "aborted".into(),
        7 => "bus error".into(),
        8 => "floating point exception".into(),
        9 => "killed".into(),
        11 => "segmentation fault".into(),
        15 => "terminated".into(),
        other => format!("signal {other}"),
    }
}

/// Why an invocation was throttled (AWS: `ThrottleReason`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThrottleReason {
    /// The account's concurrency is used up.
    ConcurrentInvocationLimitExceeded,
    /// The function's reserved concurrency is used up, or zero.
    ReservedFunctionConcurrentInvocationLimitExceeded,
}

impl ThrottleReason {
    /// AWS's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConcurrentInvocationLimitExceeded => "ConcurrentInvocationLimitExceeded",
            Self::ReservedFunctionConcurrentInvocationLimitExceeded => {
                "ReservedFunctionConcurrentInvocationLimitExceeded"
            }
        }
    }
}

/// Whether an invocation paid for an initialisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitKind {
    /// A warm environment was reused.
    Warm,
    /// The environment was made for this invocation; the initialisation took this long.
    Cold(Duration),
}

/// What an invocation used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// From the event's hand-over to the result.
    pub duration: Duration,
    /// Cold or warm start.
    pub init: InitKind,
    /// The most memory the environment's process ever held, MB.
    pub max_memory_mb: u32,
}

impl Usage {
    /// The duration AWS bills: whole milliseconds, rounded up, with the initialisation (billed since August 2025).
    pub fn billed(&self) -> Duration {
        let init = match self.init {
            InitKind::Warm => Duration::ZERO,
            InitKind::Cold(duration) => duration,
        };
        Duration::from_millis((self.duration + init).as_micros().div_ceil(1000) as u64)
    }
}

/// The end of an invocation: outcome and cost.
#[derive(Debug, Clone)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// What it used.
    pub usage: Usage,
}
