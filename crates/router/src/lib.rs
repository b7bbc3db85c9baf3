//! The brain: turns events into invocations, and sees each to its end.
//!
//! Knows no kind of trigger and no transport. Sources come in through [`Router`]'s [`hikigane_trigger::Ingress`], API
//! calls through its `invoke` methods; both leave through the [`hikigane_executor::Pool`].

mod admission;
mod destination;
mod dispatcher;
mod ingress;
mod lineage;
mod live;
mod retry;
mod router;
mod routes;
mod stream;

pub use admission::Admission;
pub use ingress::Gate;
pub use live::{FailedRun, Failures, LiveLogs, LogLine, Then};
pub use router::{InvokeError, InvokeRequest, Invoked, Router, RouterParts};
pub use routes::{Binding, Deployed, Refusal, Routes, Split, Target};
pub use stream::Streaming;

pub use hikigane_executor::{EnvironmentSpec, Provisioning};
