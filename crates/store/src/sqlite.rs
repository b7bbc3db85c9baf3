//! The store over one SQLite file.
//!
//! One thread writes. It commits what callers hand it in groups, and answers them after the fsync. Reads have connections
//! of their own and see what is committed.

mod catalog;
#[cfg(test)]
mod damage_tests;
mod data_dir;
mod dead_letters;
mod event_row;
mod history;
mod inbox;
mod inspection;
mod leases;
mod log_file;
#[cfg(test)]
mod opening_tests;
mod queue;
mod readers;
mod room;
mod schema;
mod state;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use hikigane_model::{BindingId, FunctionName};

use self::data_dir::DataDir;
use self::inbox::Inbox;
use self::inspection::Inspection;
use self::leases::Leases;
use self::readers::Readers;
use self::writer::{Answer, Failure, Status, Tx, Writer};
use crate::{
    Catalog, DeadLetter, Document, DocumentWrite, EventQueue, History, Lease, NamespacedWrite, NewEvent, RecordedRun,
    Run, RunFilter, Settlement, State, StoreError,
};

/// How long a dropped store waits for its writer; a disk that hangs must not hang the program.
const DROP_WAIT: Duration = Duration::from_secs(5);
/// How long [`SqliteStore::close`] waits.
const CLOSE_WAIT: Duration = Duration::from_secs(60);

/// The store over one SQLite file in a data directory of its own.
///
/// Its methods need a tokio runtime. Leases do not outlive it: what was leased is due again after the next
/// [`SqliteStore::open`].
pub struct SqliteStore {
    inbox: Arc<Inbox>,
    status: Arc<Status>,
    readers: Readers,
    inspection: Arc<Inspection>,
}

impl SqliteStore {
    /// Opens the store in `data_dir`, which is made when missing and locked against other processes. Blocks; brings an
    /// older schema up to date. `warn` hears, now or later, what was wrong with the files and could be mended.
    pub fn open(data_dir: &Path, warn: impl Fn(&str) + Send + Sync + 'static) -> Result<Self, StoreError> {
        let directory = DataDir::claim(data_dir)?;
        let failed = |error| schema::failed(&directory.database, &error);
        let connection = schema::open_writer(&directory.database, &warn)?;
        // In two statements: whether a statement that returns rows was committed, `query_row` does not say.
        let start = connection
            .execute("UPDATE process SET starts = starts + 1", [])
            .and_then(|_| connection.query_row("SELECT starts FROM process", [], |row| row.get(0)))
            .map_err(failed)?;
        let (inbox, status) = (Arc::new(Inbox::new()), Arc::new(Status::new(warn)));
        let no_thread = |error| StoreError::Failed(format!("the store's threads do not start: {error}"));
        let store = Self {
            inspection: Inspection::start(directory.database.clone(), inbox.clone(), status.clone())
                .map_err(no_thread)?
                .into(),
            readers: Readers::new(directory.database.clone()),
            inbox,
            status,
        };
        let writer = Writer::new(
            connection,
            Leases::new(start),
            store.inbox.clone(),
            store.status.clone(),
            directory,
        );
        std::thread::Builder::new()
            .name("store".into())
            .spawn(|| writer.run())
            .map_err(no_thread)?;
        Ok(store)
    }

    /// Resolves when nothing is written any more, with the cause: the disk failed, or the files are damaged or gone. Reads go on. Only a
    /// restart helps.
    pub async fn failed(&self) -> String {
        self.status.broken.wait().await.clone()
    }

    /// How many transactions are on disk since the start.
    pub fn commits(&self) -> u64 {
        self.status.commits.load(Ordering::Relaxed)
    }

    /// Writes what is still waiting, copies the log into the database, and gives up the data directory. What comes later
    /// is refused.
    pub async fn close(&self) {
        let (inspection, inbox) = (self.inspection.clone(), self.inbox.clone());
        // These tasks end by themselves after the time; their only result is that they ended.
        let _ = tokio::task::spawn_blocking(move || inspection.end(CLOSE_WAIT)).await;
        self.inbox.close();
        self.readers.close().await;
        let _ = tokio::task::spawn_blocking(move || inbox.wait_ended(CLOSE_WAIT)).await;
    }

    /// Has the writer do something, and waits until it is on disk.
    async fn transact<T: Answer>(
        &self,
        work: impl FnMut(&mut Tx<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.inbox.transact(work).await
    }

    /// Has the runs written that wait. Where that is not possible, readers get what is there.
    async fn catch_up(&self) {
        let _ = self.transact(|_| Ok(())).await;
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.inspection.end(DROP_WAIT);
        self.inbox.close();
        self.inbox.wait_ended(DROP_WAIT);
    }
}

fn busy_set(busy: &[FunctionName]) -> HashSet<FunctionName> {
    busy.iter().cloned().collect()
}

#[async_trait]
impl EventQueue for SqliteStore {
    async fn enqueue(&self, event: NewEvent, state: Vec<NamespacedWrite>) -> Result<(), StoreError> {
        self.transact(move |tx| {
            if !tx.room()?.take_for_event(event.payload.len()) {
                return Err(StoreError::Full.into());
            }
            Ok(queue::enqueue(tx.sql, &event, &state)?)
        })
        .await
    }

    async fn lease(&self, now: DateTime<Utc>, max: usize, busy: &[FunctionName]) -> Result<Vec<Lease>, StoreError> {
        let busy = busy_set(busy);
        self.transact(move |tx| queue::lease(tx, now, max, &busy)).await
    }

    async fn settle(
        &self,
        lease: &Lease,
        settlement: Settlement,
        run: Option<Run>,
        follow: Option<NewEvent>,
    ) -> Result<(), StoreError> {
        let lease = (lease.id, lease.token);
        self.transact(move |tx| queue::settle(tx, lease, &settlement, run.as_ref(), follow.as_ref()))
            .await
    }

    async fn next_due(&self, busy: &[FunctionName]) -> Result<Option<DateTime<Utc>>, StoreError> {
        let busy = busy_set(busy);
        self.transact(move |tx| queue::next_due(tx, &busy)).await
    }

    async fn hasten(&self, beyond: DateTime<Utc>, now: DateTime<Utc>) -> Result<(), StoreError> {
        self.transact(move |tx| Ok(queue::hasten(tx.sql, beyond, now)?)).await
    }

    async fn pending(&self, binding: &BindingId) -> Result<u64, StoreError> {
        let binding = binding.clone();
        self.readers.read(move |sql| queue::pending(sql, &binding)).await
    }

    async fn depth(&self) -> Result<u64, StoreError> {
        self.readers.read(queue::depth).await
    }

    async fn dead_letters(&self, function: Option<&FunctionName>, limit: usize) -> Result<Vec<DeadLetter>, StoreError> {
        let function = function.cloned();
        self.readers
            .read(move |sql| dead_letters::list(sql, function.as_ref(), limit))
            .await
    }

    async fn dead_letter(&self, id: i64) -> Result<Option<DeadLetter>, StoreError> {
        self.readers.read(move |sql| dead_letters::one(sql, id)).await
    }

    async fn redrive(
        &self,
        id: Option<i64>,
        function: Option<&FunctionName>,
        now: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        let function = function.cloned();
        self.transact(move |tx| Ok(dead_letters::redrive(tx.sql, id, function.as_ref(), now)?))
            .await
    }

    async fn purge(&self, id: Option<i64>, function: Option<&FunctionName>) -> Result<u64, StoreError> {
        let function = function.cloned();
        self.transact(move |tx| Ok(dead_letters::purge(tx.sql, id, function.as_ref())?))
            .await
    }

    async fn forget_events(&self) -> Result<(), StoreError> {
        self.transact(|tx| {
            dead_letters::purge(tx.sql, None, None)?;
            Ok(queue::forget(tx.sql)?)
        })
        .await
    }
}

#[async_trait]
impl State for SqliteStore {
    async fn get(&self, namespace: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let (namespace, key) = (namespace.to_owned(), key.to_owned());
        self.readers.read(move |sql| state::get(sql, &namespace, &key)).await
    }

    async fn scan(&self, namespace: &str, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let (namespace, prefix) = (namespace.to_owned(), prefix.to_owned());
        self.readers
            .read(move |sql| state::scan(sql, &namespace, &prefix))
            .await
    }

    async fn write(&self, writes: Vec<NamespacedWrite>, skip: Option<Run>) -> Result<(), StoreError> {
        self.transact(move |tx| {
            state::write(tx.sql, &writes)?;
            // Whatever room there is: a slot is not decided without the reason of its skip, which is small.
            history::insert(tx.sql, skip.as_ref()).map_err(Failure::of_history)
        })
        .await
    }
}

#[async_trait]
impl History for SqliteStore {
    fn record(&self, run: Run) {
        if !self.inbox.offer(history::trim(run)) {
            self.status.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn dropped(&self) -> u64 {
        self.status.dropped.load(Ordering::Relaxed)
    }

    async fn runs(&self, filter: RunFilter) -> Result<Vec<RecordedRun>, StoreError> {
        self.catch_up().await;
        self.readers.read(move |sql| history::list(sql, &filter)).await
    }

    async fn run(&self, id: i64) -> Result<Option<RecordedRun>, StoreError> {
        // Whoever knows its number has it from `runs`: it is on disk.
        self.readers.read(move |sql| history::one(sql, id)).await
    }

    async fn forget_runs(&self) -> Result<(), StoreError> {
        self.transact(|tx| history::forget(tx.sql).map_err(Failure::of_history))
            .await
    }
}

#[async_trait]
impl Catalog for SqliteStore {
    async fn load(&self) -> Result<Vec<Document>, StoreError> {
        self.readers.read(catalog::load).await
    }

    async fn commit(&self, writes: Vec<DocumentWrite>) -> Result<(), StoreError> {
        self.transact(move |tx| Ok(catalog::write(tx.sql, &writes)?)).await
    }
}
