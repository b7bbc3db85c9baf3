//! Connections that only read. They see what is committed, and do not wait for the writer; whoever wants to see what waits for it (a list of
//! runs) waits before.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::schema;
use super::writer::ended;
use crate::StoreError;

/// Reads at one time; further ones wait.
const CONNECTIONS: usize = 4;

/// A few connections, opened when needed.
pub(super) struct Readers {
    database: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
    turns: Arc<Semaphore>,
}

impl Readers {
    pub fn new(database: PathBuf) -> Self {
        Self {
            database,
            idle: Arc::default(),
            turns: Arc::new(Semaphore::new(CONNECTIONS)),
        }
    }

    /// Reads on a thread that may block.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = self.turns.clone().acquire_owned().await.map_err(|_| ended())?;
        let idle = self.idle.clone();
        let database = self.database.clone();
        let path = self.database.clone();
        let read = move || {
            let _turn = turn;
            let taken = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match taken {
                Some(connection) => connection,
                None => schema::open_reader(&database)?,
            };
            let result = work(&connection);
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            result
        };
        match tokio::task::spawn_blocking(read).await {
            Ok(result) => result.map_err(|error| schema::failed(&path, &error)),
            Err(error) => Err(StoreError::Failed(format!("a read did not finish: {error}"))),
        }
    }

    /// Waits for the reads under way and closes the connections. Further reads are refused.
    pub async fn close(&self) {
        let all = self.turns.acquire_many(CONNECTIONS as u32).await;
        self.turns.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        drop(all);
    }
}
