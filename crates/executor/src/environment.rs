//! The two traits, and what an invocation leaves behind.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hikigane_model::{FunctionError, FunctionName, Invocation, Outcome, Qualifier};

use crate::{EnvironmentSpec, Initialization, LogSink, ResponseSink};

/// Makes environments.
#[async_trait]
pub trait Executor: Send + Sync {
    /// Makes an environment and initialises the function in it. What the function logs meanwhile goes to `logs`.
    async fn start(
        &self,
        spec: &Arc<EnvironmentSpec>,
        initialization: Initialization,
        logs: &mut LogSink,
    ) -> Result<Started, StartError>;

    /// Forgets what it keeps from one environment of this version to the next: the version is gone.
    fn forget(&self, function: &FunctionName, version: &Qualifier);
}

/// A fresh environment.
pub struct Started {
    /// The environment, ready for its first invocation.
    pub environment: Arc<dyn Environment>,
    /// How long the initialisation took.
    pub init: Duration,
}

/// Runs invocations of one function, one at a time. Dropping it ends it at once.
#[async_trait]
pub trait Environment: Send + Sync {
    /// Runs one invocation; after `timeout` it is killed. What it logs goes to `logs`, which come back with the end.
    ///
    /// With a `response`, what a streaming handler writes goes there as it comes; without, it is the outcome.
    ///
    /// May be called while another invocation runs: then this one runs after it, or, when that one lingers or the environment dies
    /// meanwhile, comes back as [`Reuse::NotStarted`].
    async fn invoke(
        &self,
        invocation: &Invocation,
        timeout: Duration,
        logs: LogSink,
        response: Option<&ResponseSink>,
    ) -> (Finished, LogSink);

    /// Whether it would start an invocation now, or very soon.
    fn is_open(&self) -> bool;

    /// Whether it can ever run another invocation.
    fn is_alive(&self) -> bool;
}

/// The end of an invocation, as the environment saw it.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub outcome: Outcome,
    /// From its start to its result.
    pub duration: Duration,
    /// Whether it waited for anything but the processor (a timer, a file, the network): meanwhile others could have run.
    pub waited: bool,
    /// The most memory the environment ever held, MB.
    pub max_memory_mb: u32,
    /// Whether the environment may run another invocation.
    pub reuse: Reuse,
}

/// An environment is dirty until it proves itself clean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// It answered in order.
    Clean,
    /// It died, was killed, or its state is not to be trusted.
    Dirty,
    /// The invocation did not run and never will here: it belongs to another environment.
    NotStarted,
}

/// An environment could not be made.
#[derive(Debug, Clone)]
pub enum StartError {
    /// The function failed to initialise; the invocation ends with this outcome.
    Function {
        /// What the caller gets.
        outcome: Outcome,
        /// How long the initialisation took.
        init: Duration,
        /// The most memory the environment held, MB.
        max_memory_mb: u32,
    },
    /// The machine did not give what is needed (a process, a socket). The invocation may be tried again.
    Host(String),
}

impl StartError {
    /// A function that cannot be initialised, with one of Lambda's `Runtime.*` types.
    pub fn function(error_type: &str, message: &str) -> Self {
        let json = serde_json::json!({"errorType": error_type, "errorMessage": message, "trace": []}).to_string();
        Self::Function {
            outcome: Outcome::Failed(FunctionError {
                error_type: error_type.to_owned(),
                json: json.into(),
            }),
            init: Duration::ZERO,
            max_memory_mb: 0,
        }
    }
}
