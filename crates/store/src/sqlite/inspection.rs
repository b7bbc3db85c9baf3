//! Looks over the large tables while they are in use: to read all of them takes long, and the start waits for nothing.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{io, thread};

use rusqlite::Connection;

use super::inbox::Inbox;
use super::writer::{Failure, Status};
use super::{queue, schema};
use crate::StoreError;

/// What is looked over. Not the history: nothing hangs on it, and where it is damaged it is set aside.
const TABLES: [&str; 2] = ["queue", "dead_letters"];
/// After how many steps SQLite asks whether to go on: after some milliseconds at most.
const STEPS: i32 = 100;

/// An inspection under way.
pub(super) struct Inspection {
    stop: Arc<AtomicBool>,
    /// Nothing comes; it is closed when the thread has ended.
    ended: Mutex<Receiver<Infallible>>,
}

impl Inspection {
    /// Begins it, on a thread of its own. What it finds it has mended by the writer, or it ends the writing.
    pub fn start(database: PathBuf, inbox: Arc<Inbox>, status: Arc<Status>) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (alive, ended) = mpsc::channel();
        let inspector = Inspector {
            database,
            inbox,
            status,
            stop: stop.clone(),
            _alive: alive,
        };
        thread::Builder::new()
            .name("store check".into())
            .spawn(move || inspector.run())?;
        Ok(Self {
            stop,
            ended: Mutex::new(ended),
        })
    }

    /// Breaks it off, and waits until it has ended, or so long.
    pub fn end(&self, wait: Duration) {
        self.stop.store(true, Ordering::Relaxed);
        self.wait(wait);
    }

    /// Waits until it has ended, or so long.
    pub fn wait(&self, wait: Duration) {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        // Nothing can come but the end.
        let _ = ended.recv_timeout(wait);
    }
}

struct Inspector {
    database: PathBuf,
    inbox: Arc<Inbox>,
    status: Arc<Status>,
    stop: Arc<AtomicBool>,
    _alive: Sender<Infallible>,
}

impl Inspector {
    fn run(self) {
        for table in TABLES {
            let done = self.look_over(table);
            if self.stop.load(Ordering::Relaxed) || self.status.broken.get().is_some() {
                return;
            }
            match done {
                Ok(()) => {}
                Err(damaged @ StoreError::Damaged { .. }) => return self.status.break_down(&damaged.to_string()),
                Err(error) => self
                    .status
                    .warn(&format!("whether {table} is damaged could not be found out: {error}")),
            }
        }
    }

    /// Has indexes that do not fit their table made anew.
    fn look_over(&self, table: &'static str) -> Result<(), StoreError> {
        let failed = |error| schema::failed(&self.database, &error);
        let sql = self.reader().map_err(failed)?;
        let Some(found) = schema::flaw(&sql, table).map_err(failed)? else {
            return Ok(());
        };
        self.make_indexes_anew(table, schema::damaged(&self.database, found.clone()))?;
        if let Some(found) = schema::flaw(&sql, table).map_err(failed)? {
            return Err(schema::damaged(&self.database, found));
        }
        self.status.warn(&format!(
            "{} was damaged ({found}): an index did not fit and was made anew",
            self.database.display()
        ));
        Ok(())
    }

    /// Fails with `damaged` when the table itself cannot be read.
    fn make_indexes_anew(&self, table: &'static str, damaged: StoreError) -> Result<(), StoreError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .map_err(|error| StoreError::Failed(error.to_string()))?;
        runtime.block_on(self.inbox.transact(move |tx| {
            let made = tx
                .sql
                .execute_batch(&format!("REINDEX {table}"))
                .and_then(|()| queue::unblock(tx.sql));
            made.map_err(|error| match Failure::from(error) {
                Failure::Broken(_) => Failure::Broken(damaged.to_string()),
                failure => failure,
            })
        }))
    }

    fn reader(&self) -> rusqlite::Result<Connection> {
        let sql = schema::open_reader(&self.database)?;
        let stop = self.stop.clone();
        sql.progress_handler(STEPS, Some(move || stop.load(Ordering::Relaxed)))?;
        Ok(sql)
    }
}
