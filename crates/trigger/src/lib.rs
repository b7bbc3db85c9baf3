//! The plug-in API: the only crate, beside the values of `model` and the patterns of `pattern`, that a trigger's author reads.
//!
//! A trigger lives in four phases, kept apart:
//!
//! 1. [`TriggerPlugin::build`] reads its part of the manifest. Pure: no file, socket or task is touched, every
//!    mistake is reported at once, and `hikigane check` stops here.
//! 2. [`Source::resources`] says what it will claim; two sources may not claim one port or directory.
//! 3. [`Source::open`] claims it: binds ports, looks at directories. When one source fails here, none has run.
//! 4. [`Source::run`] emits events until its token fires.

mod clock;
mod duration;
mod ingress;
pub mod proxy;
mod report;
mod source;
mod spec;
mod suggestion;

pub use clock::Clock;
pub use duration::{NotADuration, duration_schema, parse_duration, show_duration};
pub use ingress::{Accepted, CallError, EmitError, EventSink, Ingress, PluginState, Reply, StateError, StateStore};
pub use report::Reports;
pub use source::{Announcement, Context, Feed, ObjectError, ObjectStore, Resource, Source, SourceError, TriggerPlugin};
pub use spec::{BindingSpec, PathStep, SourceSpec, SpecError, SpecErrors, SpecPlace};
pub use suggestion::nearest;

pub use async_trait::async_trait;
pub use hikigane_model as model;
pub use hikigane_pattern as pattern;
pub use schemars;
pub use tokio_util::sync::CancellationToken;
