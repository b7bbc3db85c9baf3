//! The configuration of a function.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{FunctionName, limits};

/// Everything that an execution environment of a function depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionConfig {
    /// Its name.
    pub name: FunctionName,
    /// What it is for, in one line.
    pub description: String,
    /// A directory, a `.zip`, or one `.js`, `.mjs`, `.cjs` or `.ts` file; absolute.
    pub code: PathBuf,
    /// Directories and `.zip` files that are merged at `/opt`, in this order: a later one wins. Absolute; at most five.
    pub layers: Vec<PathBuf>,
    /// `file.export`, split at the first dot of the base name.
    pub handler: String,
    /// Lambda's runtime identifier, as `nodejs22.x`.
    pub runtime: String,
    /// After this long an invocation is killed: 1 to 900 seconds.
    pub timeout: Duration,
    /// Memory in MB: 128 to 10,240.
    pub memory_mb: u32,
    /// Size of the function's own `/tmp` in MB.
    pub ephemeral_storage_mb: u32,
    /// The function's environment variables.
    pub env: BTreeMap<String, String>,
    /// What the sandbox opens.
    pub allow: Allow,
    /// Concurrency set aside for this function, and its cap; `Some(0)` switches it off.
    pub reserved_concurrency: Option<u32>,
    /// Environments that are initialised ahead, whether or not anything is invoked; `None`: none.
    pub provisioned_concurrency: Option<u32>,
    /// How its asynchronous events are handled; what is set for a qualifier through the API stands elsewhere.
    pub asynchronous: AsyncConfig,
    /// Text or JSON log lines.
    pub log_format: LogFormat,
    /// The least level of the function's own lines that is logged; of JSON lines only.
    pub log_level: Option<LogLevel>,
}

impl FunctionConfig {
    /// The memory setting in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.memory_mb as usize * 1024 * 1024
    }
}

/// What a function may reach outside its code and its `/tmp`. Nothing, unless listed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allow {
    /// Directories it may read; absolute.
    pub read: Vec<PathBuf>,
    /// Directories it may write (and read); absolute.
    pub write: Vec<PathBuf>,
    /// Hosts it may connect to: `host`, `host:port` or an [`AddressBlock`](crate::AddressBlock); `*` opens the network.
    pub net: Vec<String>,
}

/// How asynchronous events of a function are retried, and where their ends are told (AWS: `FunctionEventInvokeConfig`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsyncConfig {
    /// Retries after a function error: 0 to 2.
    pub retries: u32,
    /// An older event is not tried again: 60 seconds to 6 hours.
    pub max_age: Duration,
    /// The ARN that gets the record of an invocation that succeeded.
    #[serde(default)]
    pub on_success: Option<String>,
    /// The ARN that gets the record of an event that was given up.
    #[serde(default)]
    pub on_failure: Option<String>,
}

impl Default for AsyncConfig {
    fn default() -> Self {
        Self {
            retries: limits::RETRIES,
            max_age: Duration::from_secs(limits::EVENT_AGE.1.into()),
            on_success: None,
            on_failure: None,
        }
    }
}

/// The format of log lines (AWS: `LoggingConfig.LogFormat`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogFormat {
    /// Tab-separated text.
    #[default]
    Text,
    /// One JSON object a line.
    JSON,
}

/// A level of log lines (AWS: `LoggingConfig.ApplicationLogLevel`), the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LogLevel {
    /// `TRACE`
    Trace,
    /// `DEBUG`
    Debug,
    /// `INFO`
    Info,
    /// `WARN`
    Warn,
    /// `ERROR`
    Error,
    /// `FATAL`
    Fatal,
}

impl LogLevel {
    /// As AWS writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        }
    }
}

/// What becomes of a server whose kernel cannot give the whole sandbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SandboxMode {
    /// It starts with a warning.
    #[default]
    Auto,
    /// It does not start.
    Required,
}

/// What can run a runtime identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuntimeFamily {
    /// `nodejsNN.x`: runs on V8. The major version decides between callback and async-only handlers.
    Node(u32),
    /// Any other identifier: not run here.
    Other,
}

/// The family of a runtime identifier.
pub fn runtime_family(runtime: &str) -> RuntimeFamily {
    runtime
        .strip_prefix("nodejs")
        .and_then(|rest| rest.strip_suffix(".x"))
        .and_then(|number| number.parse().ok())
        .map_or(RuntimeFamily::Other, RuntimeFamily::Node)
}

/// Whether functions cannot set this environment variable: Lambda sets it itself (AWS Lambda developer guide, "Defined runtime environment
/// variables"), or its runtime interface client takes it away.
pub fn is_reserved_variable(name: &str) -> bool {
    const RESERVED: &[&str] = &[
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_DEFAULT_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
    ];
    RESERVED.contains(&name)
}
