//! What must outlive the process: the queue of asynchronous events with its dead letters, the plug-ins' state, and the history of runs.
//!
//! [`EventQueue`], [`State`] and [`History`] are small traits, so that a cluster engine can stand behind them later;
//! [`SqliteStore`] implements them over one SQLite file that people can open, back up and trust. [`Objects`] keeps packages of code, unpacked.

#[cfg(test)]
#[path = "../../../tests/support/absent.rs"]
mod absent;
#[cfg(test)]
#[path = "../../../tests/support/archives.rs"]
mod archives;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "../../../tests/support/namespaces.rs"]
mod namespaces;
mod objects;
#[cfg(test)]
mod objects_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "../../../tests/support/small_disk.rs"]
mod small_disk;
mod sqlite;
#[cfg(test)]
mod tests;
mod unzip;
#[cfg(test)]
mod unzip_tests;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use hikigane_model::{BindingId, FunctionName, InvokeMode, Qualifier, RequestId, StateWrite};

pub use objects::{Files, Objects, Package, Pin};
pub use sqlite::SqliteStore;
pub use unzip::PackageError;

/// An event to be queued.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// The invocation's id, the same on every attempt.
    pub request_id: RequestId,
    /// The binding that emitted it; `None` for an event sent through the Invoke API.
    pub binding: Option<BindingId>,
    /// The kind of trigger: `s3`, `schedule`, `http`; or `invoke`, `destination`, `url`.
    pub trigger: String,
    /// The function to run.
    pub function: FunctionName,
    /// The version to run, resolved when the event was accepted.
    pub version: Qualifier,
    /// The ARN as the caller named it.
    pub invoked_arn: String,
    /// The event, JSON text.
    pub payload: Bytes,
    /// The client context, JSON text.
    pub client_context: Option<String>,
    /// The X-Ray trace header.
    pub trace: Option<String>,
    /// Events of one group run one at a time, in order of acceptance.
    pub group: Option<String>,
    /// When it was accepted; it is due at once.
    pub accepted_at: DateTime<Utc>,
}

/// A plug-in state write together with the plug-in's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespacedWrite {
    /// The plug-in's kind.
    pub namespace: String,
    /// The write.
    pub write: StateWrite,
}

/// An event that was taken from the queue to be run. The queue keeps it until it is acknowledged, retried or buried.
#[derive(Debug, Clone, PartialEq)]
pub struct Lease {
    /// The queue's number for the event; grows in order of acceptance.
    pub id: i64,
    /// Fencing token: a settlement with an older token is refused with [`StoreError::LeaseLost`].
    pub token: i64,
    /// The event.
    pub event: NewEvent,
    /// Attempts already made that ended in a function error.
    pub attempts: u32,
    /// Times it was put back because of throttling since the last attempt.
    pub throttles: u32,
}

/// What to do with a leased event.
#[derive(Debug, Clone, PartialEq)]
pub enum Settlement {
    /// It is done.
    Done,
    /// Try again at this time; `attempts` and `throttles` are the new counts.
    Retry {
        /// When it is due.
        due: DateTime<Utc>,
        /// Attempts made.
        attempts: u32,
        /// Throttles since.
        throttles: u32,
    },
    /// Keep it as a dead letter.
    Bury(Burial),
    /// Put it back as it was, due at once, as if it had not been leased.
    Release,
}

/// Why an event became a dead letter.
#[derive(Debug, Clone, PartialEq)]
pub struct Burial {
    /// AWS's condition: `RetriesExhausted`, `EventAgeExceeded`, `ZeroReservedConcurrency`; or our own: `FunctionNotFound`, `RecursiveLoop`, and
    /// `Damaged` for an event that the disk has changed.
    pub condition: String,
    /// Attempts made.
    pub attempts: u32,
    /// The last answer (Lambda's error JSON), when the function ran.
    pub response: Option<Bytes>,
    /// When it was given up.
    pub at: DateTime<Utc>,
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// Its number.
    pub id: i64,
    /// The event.
    pub event: NewEvent,
    /// Why.
    pub burial: Burial,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunStatus {
    /// The handler returned.
    Succeeded,
    /// The handler threw, or the function could not be initialised.
    Failed,
    /// It was killed at its timeout.
    TimedOut,
    /// Its environment died.
    Crashed,
    /// No concurrency was left.
    Throttled,
    /// A trigger decided not to run it; `reason` says why.
    Skipped,
}

impl RunStatus {
    /// The word used in the store, the admin API and the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed-out",
            Self::Crashed => "crashed",
            Self::Throttled => "throttled",
            Self::Skipped => "skipped",
        }
    }

    /// The status that [`RunStatus::as_str`] wrote.
    pub fn from_word(word: &str) -> Option<Self> {
        [
            Self::Succeeded,
            Self::Failed,
            Self::TimedOut,
            Self::Crashed,
            Self::Throttled,
            Self::Skipped,
        ]
        .into_iter()
        .find(|status| status.as_str() == word)
    }
}

/// One attempt of one invocation, or a recorded skip.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The invocation's id; a skip has a fresh one.
    pub request_id: RequestId,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// The binding, unless it came through the Invoke API.
    pub binding: Option<BindingId>,
    /// The kind of trigger.
    pub trigger: String,
    /// The function.
    pub function: FunctionName,
    /// The version that ran.
    pub version: String,
    /// Synchronous or asynchronous.
    pub mode: InvokeMode,
    /// How it ended.
    pub status: RunStatus,
    /// Why it was skipped, or the error's type.
    pub reason: Option<String>,
    /// When it began; for a skip, when it was due.
    pub started_at: DateTime<Utc>,
    /// Handler time, milliseconds.
    pub duration_ms: f64,
    /// Initialisation time of a cold start, milliseconds.
    pub init_ms: Option<f64>,
    /// Most memory the environment held, MB.
    pub max_memory_mb: u32,
    /// The event.
    pub input: Bytes,
    /// The result or the error JSON.
    pub output: Bytes,
    /// The log lines.
    pub log: String,
}

/// A [`Run`] with the number the history gave it.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedRun {
    /// Grows with the order of recording.
    pub id: i64,
    /// The run.
    pub run: Run,
}

/// Which runs to list, newest first.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Only of this function.
    pub function: Option<FunctionName>,
    /// Only of this binding.
    pub binding: Option<BindingId>,
    /// Only this invocation.
    pub request_id: Option<RequestId>,
    /// Only with this status.
    pub status: Option<RunStatus>,
    /// Only those recorded before (with a smaller number than) this one.
    pub before: Option<i64>,
    /// At most this many.
    pub limit: usize,
}

/// Why the store refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// No space left on the device. Nothing was written; it may be tried again.
    #[error("the disk is full")]
    Full,
    /// Somebody else settled the lease, or it ran out.
    #[error("the lease is no longer held")]
    LeaseLost,
    /// Another process has the data directory open.
    #[error("another hikigane uses the data directory {0}; stop it, or choose another with --data")]
    Locked(String),
    /// The file is not what was written.
    #[error(
        "{path} is damaged ({found}): put a backup in its place, or move the data directory away and start without it; \
         `sqlite3 {path} .recover` shows what can still be read"
    )]
    Damaged {
        /// The database file.
        path: String,
        /// What is wrong.
        found: String,
    },
    /// The file was written by a newer release.
    #[error("{path} has schema version {found}; this release knows up to {known}: use a newer hikigane")]
    TooNew {
        /// The database file.
        path: String,
        /// Its version.
        found: i64,
        /// The newest known.
        known: i64,
    },
    /// Anything else, in the database's words.
    #[error("{0}")]
    Failed(String),
}

/// The durable queue of asynchronous events. Delivery is at least once.
#[async_trait]
pub trait EventQueue: Send + Sync {
    /// Stores the event and the state writes in one transaction; resolves after they are on disk.
    async fn enqueue(&self, event: NewEvent, state: Vec<NamespacedWrite>) -> Result<(), StoreError>;
    /// Takes up to `max` due events, oldest first, of functions not in `busy`, and of each group at most the oldest and
    /// only while none of the group is leased. One that is not as it was written becomes a dead letter instead.
    async fn lease(&self, now: DateTime<Utc>, max: usize, busy: &[FunctionName]) -> Result<Vec<Lease>, StoreError>;
    /// Ends a lease, records the run that it was for, and queues the event that follows from its end, in one transaction.
    async fn settle(
        &self,
        lease: &Lease,
        settlement: Settlement,
        run: Option<Run>,
        follow: Option<NewEvent>,
    ) -> Result<(), StoreError>;
    /// When the earliest event that is neither leased nor of a function in `busy` is due.
    async fn next_due(&self, busy: &[FunctionName]) -> Result<Option<DateTime<Utc>>, StoreError>;
    /// Makes events that are due only after `beyond` due `now`.
    async fn hasten(&self, beyond: DateTime<Utc>, now: DateTime<Utc>) -> Result<(), StoreError>;
    /// How many events of the binding are waiting, leased or between attempts.
    async fn pending(&self, binding: &BindingId) -> Result<u64, StoreError>;
    /// How many events there are in all: waiting and leased.
    async fn depth(&self) -> Result<u64, StoreError>;
    /// Dead letters, newest first, of one function or all: without their payloads and responses, which [`EventQueue::dead_letter`] gives.
    async fn dead_letters(&self, function: Option<&FunctionName>, limit: usize) -> Result<Vec<DeadLetter>, StoreError>;
    /// One dead letter.
    async fn dead_letter(&self, id: i64) -> Result<Option<DeadLetter>, StoreError>;
    /// Puts dead letters back into the queue as fresh events, due `now`: one, or all of a function, or all. Returns how many.
    async fn redrive(
        &self,
        id: Option<i64>,
        function: Option<&FunctionName>,
        now: DateTime<Utc>,
    ) -> Result<u64, StoreError>;
    /// Deletes dead letters: one, or all of a function, or all. Returns how many.
    async fn purge(&self, id: Option<i64>, function: Option<&FunctionName>) -> Result<u64, StoreError>;
    /// Forgets all events and dead letters. Who holds a lease may settle it; that does nothing more.
    async fn forget_events(&self) -> Result<(), StoreError>;
}

/// The plug-ins' keys and values.
#[async_trait]
pub trait State: Send + Sync {
    /// The value under `key`.
    async fn get(&self, namespace: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// All keys that begin with `prefix`, ordered, with their values.
    async fn scan(&self, namespace: &str, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError>;
    /// Writes, and records `skip` (a run with status [`RunStatus::Skipped`]) in the same transaction; resolves after they are on disk.
    async fn write(&self, state: Vec<NamespacedWrite>, skip: Option<Run>) -> Result<(), StoreError>;
}

/// The history of runs. It is written a moment later and is cut at a size; it never slows an invocation down.
#[async_trait]
pub trait History: Send + Sync {
    /// Records a synchronous run, soon. Never blocks: what does not fit into a bounded buffer is dropped and counted.
    fn record(&self, run: Run);
    /// How many runs were dropped since the start.
    fn dropped(&self) -> u64;
    /// Lists runs, newest first: those, too, that were recorded before the call, unless more wait than fit into a transaction. They are without input,
    /// output and log, which [`History::run`] gives.
    async fn runs(&self, filter: RunFilter) -> Result<Vec<RecordedRun>, StoreError>;
    /// One run.
    async fn run(&self, id: i64) -> Result<Option<RecordedRun>, StoreError>;
    /// Forgets all runs.
    async fn forget_runs(&self) -> Result<(), StoreError>;
}

/// What was deployed: one JSON document for each function, version, layer version and so on. What a document holds is its writer's matter.
#[async_trait]
pub trait Catalog: Send + Sync {
    /// All documents, ordered by kind and key.
    async fn load(&self) -> Result<Vec<Document>, StoreError>;
    /// Puts and deletes documents in one transaction; resolves after it is on disk.
    async fn commit(&self, writes: Vec<DocumentWrite>) -> Result<(), StoreError>;
}

/// A document of the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// What it describes: `function`, `version` and so on.
    pub kind: String,
    /// Its name among those of its kind.
    pub key: String,
    /// JSON.
    pub body: String,
}

/// A change of one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentWrite {
    /// What it describes.
    pub kind: String,
    /// Its name among those of its kind.
    pub key: String,
    /// What it says from now on, JSON; `None` deletes it.
    pub body: Option<String>,
}
