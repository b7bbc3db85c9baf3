//! What a trigger implements.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use hikigane_model::BindingId;
use schemars::Schema;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{Clock, EventSink, PluginState, SourceSpec, SpecErrors};

/// A kind of trigger.
pub trait TriggerPlugin: Send + Sync {
    /// The key under `events:` and `sources:` in the manifest: `s3`, `schedule`, `http`.
    fn kind(&self) -> &'static str;
    /// What other tools call the kind: a manifest with one of these words is told the right one.
    fn foreign_names(&self) -> &'static [&'static str] {
        &[]
    }
    /// What a binding with this configuration is called when the manifest gives it no name: something that only one binding of the kind can
    /// have, as a route. `None`, unless a plug-in says otherwise: nothing is, and a function with several bindings of the kind must name
    /// them, since what follows a name (state, history) must not depend on their order. Asked before `build`, so of wrong configurations, too.
    fn own_name(&self, _config: &Value) -> Option<String> {
        None
    }
    /// JSON Schema of one binding's configuration (the value under the kind's key).
    fn binding_schema(&self) -> Schema;
    /// JSON Schema of the plug-in's settings (the value under `sources:`).
    fn settings_schema(&self) -> Schema;
    /// Whether its source is built and run even when the manifest has nothing of the kind: so that it forgets what it keeps
    /// about bindings which are gone.
    fn runs_without_bindings(&self) -> bool {
        false
    }
    /// Whether functions look at its events, as most do. Where they hardly do, to invoke one with an empty event is to see it run.
    fn events_matter(&self) -> bool {
        true
    }
    /// Reads the settings and all bindings of the kind at once. Pure: no I/O, no task.
    fn build(&self, spec: SourceSpec) -> Result<Box<dyn Source>, SpecErrors>;
}

/// A configured trigger.
#[async_trait]
pub trait Source: Send {
    /// What it will claim when it opens.
    fn resources(&self) -> Vec<Resource>;
    /// Claims its resources: binds ports, checks directories. Emits nothing. Says what it now listens to; what happens from
    /// now on is the source's, though it is emitted only when it runs.
    async fn open(&mut self, clock: &Clock, state: &PluginState) -> Result<Vec<Announcement>, SourceError>;
    /// Where every new file is an event of a binding: a function that may write there can set itself off.
    fn fed_by(&self) -> Vec<Feed> {
        Vec::new()
    }
    /// The objects it has, for those who take code from there; once it is open. `None`: it has none.
    fn objects(&self) -> Option<Arc<dyn ObjectStore>> {
        None
    }
    /// Emits events until `context.shutdown` fires, then ends. An error ends the server with a message.
    async fn run(self: Box<Self>, context: Context) -> Result<(), SourceError>;
}

/// A directory, every new file of which is an event of a binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// The binding.
    pub binding: BindingId,
    /// The directory.
    pub directory: PathBuf,
    /// How the binding's configuration leaves out files that its own function writes, as what is to be done.
    pub remedy: &'static str,
}

/// Objects in buckets.
pub trait ObjectStore: Send + Sync {
    /// Opens an object. Blocks.
    fn open(&self, bucket: &str, key: &str) -> Result<File, ObjectError>;
    /// Puts an object there, whole or not at all; it replaces what was there. Blocks until it is on disk.
    fn put(&self, bucket: &str, key: &str, content: &[u8]) -> Result<(), ObjectError>;
}

/// Why an object cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// It has no bucket of that name.
    #[error("there is no such bucket")]
    NoSuchBucket,
    /// The bucket has no object of that name, or can have none.
    #[error("there is no such object")]
    NoSuchKey,
    /// The machine does not give it, or take it.
    #[error("{0}")]
    Unavailable(#[from] io::Error),
}

/// Something only one source may have.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Resource {
    /// A TCP address to listen on; port 0 never conflicts.
    Listen(SocketAddr),
    /// A directory to watch.
    Directory(PathBuf),
}

/// One line of what `hikigane up` prints about an open source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// What it is: `gateway`, `bucket`, `route`, `schedule`.
    pub label: &'static str,
    /// The line: an address, a directory, a schedule with its next firing in local time.
    pub text: String,
    /// A command for a shell that makes the source emit an event, for people who want to see something happen.
    pub example: Option<String>,
}

/// What a running source needs; there are no globals.
pub struct Context {
    /// Takes its events.
    pub events: EventSink,
    /// Its durable state.
    pub state: PluginState,
    /// Fires when the source must end.
    pub shutdown: CancellationToken,
    /// The time.
    pub clock: Clock,
}

/// A source could not open or go on. The message is one sentence that says what, where and what to do.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);
