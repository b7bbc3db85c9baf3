//! The way into the router, as a plug-in sees it.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use hikigane_model::{BindingId, Event, Outcome, RequestId, StateWrite};

/// What the router offers to the sources. Implemented by the router, and by tests.
#[async_trait]
pub trait Ingress: Send + Sync {
    /// See [`EventSink::emit`].
    async fn emit(&self, binding: &BindingId, event: Event, state: Vec<StateWrite>) -> Result<Accepted, EmitError>;
    /// See [`EventSink::skip`].
    async fn skip(
        &self,
        binding: &BindingId,
        time: DateTime<Utc>,
        reason: &str,
        state: Vec<StateWrite>,
    ) -> Result<(), EmitError>;
    /// See [`EventSink::call`].
    async fn call(&self, binding: &BindingId, event: Event) -> Result<Reply, CallError>;
    /// See [`EventSink::pending`].
    async fn pending(&self, binding: &BindingId) -> Result<u64, EmitError>;
}

/// Takes a source's events.
#[derive(Clone)]
pub struct EventSink(Arc<dyn Ingress>);

impl EventSink {
    /// A sink that hands everything to `ingress`.
    pub fn new(ingress: Arc<dyn Ingress>) -> Self {
        Self(ingress)
    }

    /// Queues an event for the binding's function. Resolves after the event, and `state` with it in one
    /// transaction, is on disk. An event that the binding's filter refuses is not queued, but its state is written.
    pub async fn emit(&self, binding: &BindingId, event: Event, state: Vec<StateWrite>) -> Result<Accepted, EmitError> {
        self.0.emit(binding, event, state).await
    }

    /// Records that an event which was due at `time` is not run, and why; with `state`, in one transaction.
    pub async fn skip(
        &self,
        binding: &BindingId,
        time: DateTime<Utc>,
        reason: &str,
        state: Vec<StateWrite>,
    ) -> Result<(), EmitError> {
        self.0.skip(binding, time, reason, state).await
    }

    /// Runs the binding's function now, once, and waits for the result.
    pub async fn call(&self, binding: &BindingId, event: Event) -> Result<Reply, CallError> {
        self.0.call(binding, event).await
    }

    /// How many events of the binding were accepted and are not done: waiting, running, or between two attempts.
    pub async fn pending(&self, binding: &BindingId) -> Result<u64, EmitError> {
        self.0.pending(binding).await
    }
}

/// An event is on disk and will run at least once; or the binding's filter did not want it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// It was queued under this id.
    Queued(RequestId),
    /// The binding's filter refused it.
    Filtered,
}

/// Why an event was not accepted. Nothing of it is kept; the source may try again.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EmitError {
    /// The payload is over the limit for asynchronous invocations.
    #[error("the event has {size} bytes; an asynchronous event may have {limit}")]
    TooLarge {
        /// Bytes of the payload.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// It could not be written: the disk is full or broken.
    #[error("the event could not be stored: {0}")]
    Unavailable(String),
    /// No such binding, or the server is stopping.
    #[error("{0}")]
    Refused(String),
}

/// The result of a synchronous call.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The invocation's id.
    pub request_id: RequestId,
    /// How it ended.
    pub outcome: Outcome,
}

/// Why a synchronous call did not reach the function.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// The binding's filter refused the event.
    #[error("the binding's filter refused the event")]
    Filtered,
    /// The payload is over the limit for synchronous invocations.
    #[error("the event has {size} bytes; a synchronous event may have {limit}")]
    TooLarge {
        /// Bytes of the payload.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// No such binding, or the server is stopping.
    #[error("{0}")]
    Refused(String),
}

/// The durable state behind [`PluginState`]. Implemented by the router over its store, and by tests.
#[async_trait]
pub trait StateStore: Send + Sync {
    /// The value under `key` of `namespace`.
    async fn get(&self, namespace: &str, key: &str) -> Result<Option<Vec<u8>>, StateError>;
    /// All keys of `namespace` that begin with `prefix`, and their values, ordered by key.
    async fn scan(&self, namespace: &str, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StateError>;
    /// Writes without an event.
    async fn write(&self, namespace: &str, state: Vec<StateWrite>) -> Result<(), StateError>;
}

/// The state could not be read or written.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the plug-in's state is not available: {0}")]
pub struct StateError(pub String);

/// A plug-in's own durable keys and values. Writes that go with an event ride in [`EventSink::emit`].
#[derive(Clone)]
pub struct PluginState {
    namespace: String,
    store: Arc<dyn StateStore>,
}

impl PluginState {
    /// The keys of the plug-in called `namespace`.
    pub fn new(namespace: &str, store: Arc<dyn StateStore>) -> Self {
        Self {
            namespace: namespace.to_owned(),
            store,
        }
    }

    /// The value under `key`.
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StateError> {
        self.store.get(&self.namespace, key).await
    }

    /// All keys that begin with `prefix`, and their values, ordered by key.
    pub async fn scan(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StateError> {
        self.store.scan(&self.namespace, prefix).await
    }

    /// Writes without an event.
    pub async fn write(&self, state: Vec<StateWrite>) -> Result<(), StateError> {
        self.store.write(&self.namespace, state).await
    }
}
