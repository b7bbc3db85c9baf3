//! Execution environments: where an invocation runs.
//!
//! [`Executor`] makes an [`Environment`] for a function, [`Pool`] reuses environments. The real executor is
//! [`ProcessExecutor`]: one child process per environment, spoken to in [`frames`]. This crate knows nothing of V8.

mod answer;
mod environment;
pub mod frames;
mod inspector;
mod link;
mod log;
mod nursery;
mod pool;
mod process;
mod response;
mod scratch;
mod spec;
mod tickets;
mod worker;

pub use answer::too_large;
pub use environment::{Environment, Executor, Finished, Reuse, StartError, Started};
pub use inspector::{Debugger, Inspector, Target};
pub use log::{LiveLog, LogSink, PlatformLog};
pub use pool::{Pool, PoolStats, Provisioning};
pub use process::{OwnEndpoint, ProcessExecutor, ProcessSettings, sweep};
pub use response::{ResponseSink, ResponseStream, WINDOW, response};
pub use spec::{EnvironmentSpec, Initialization, Inspection, WorkerInit};
pub use tickets::Tickets;
