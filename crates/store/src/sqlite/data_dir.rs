//! The data directory: made when missing, readable by its owner only, used by one process at a time.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::StoreError;

/// The name of the database inside the data directory.
const DATABASE: &str = "hikigane.db";
/// The name of the file whose lock says that a process uses the directory.
const LOCK: &str = "lock";

/// The exclusive use of a data directory, given up on drop.
#[derive(Debug)]
pub(super) struct DataDir {
    /// The database file; it exists.
    pub database: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory if there is none, and takes its lock.
    pub fn claim(path: &Path) -> Result<Self, StoreError> {
        let unusable = |error: io::Error| {
            StoreError::Failed(format!(
                "the data directory \"{}\" cannot be written ({error}): make it writable, or choose another with --data",
                path.display()
            ))
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(unusable)?;
        // Payloads may hold secrets: the files are their owner's, even in a directory that others made open. SQLite gives
        // the rights of the database to the files beside it.
        let create = |name: &str| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(path.join(name))
        };
        let lock = create(LOCK).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked(path.display().to_string())),
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        create(DATABASE).map_err(unusable)?;
        Ok(Self {
            database: path.join(DATABASE),
            _lock: lock,
        })
    }
}
