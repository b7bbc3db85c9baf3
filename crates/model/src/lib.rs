//! The values of Hikigane: names, events, invocations, outcomes, function configurations and limits.
//!
//! Values only: no I/O, no async runtime, no wire format. HTTP shapes live in `api` and the plug-ins, frames in
//! `executor`, YAML in `manifest`; each converts at its edge.

mod access_key;
mod event;
mod function;
mod invocation;
pub mod limits;
mod names;
mod network;
mod trace;
mod url;

pub use access_key::AccessKey;
pub use event::{Event, InvokeMode, StateWrite};
pub use function::{
    Allow, AsyncConfig, FunctionConfig, LogFormat, LogLevel, RuntimeFamily, SandboxMode, is_reserved_variable,
    runtime_family,
};
pub use invocation::{CrashReason, FunctionError, InitKind, Invocation, Outcome, Report, ThrottleReason, Usage};
pub use names::{
    ACCOUNT_ID, BindingId, FUNCTIONS_LOOPBACK, FunctionName, NameError, Qualifier, REGION, RequestId, TargetId,
    function_arn, parse_function_arn,
};
pub use network::AddressBlock;
pub use trace::new_trace;
pub use url::{Cors, FunctionUrl, UrlAuth, UrlMode};
