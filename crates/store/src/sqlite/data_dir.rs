//! The data directory: made when missing, readable by its owner only, used by one process at a time.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
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
    /// Its write-ahead log.
    pub log: PathBuf,
    /// The database file's device and number there.
    identity: (u64, u64),
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
        make(path).map_err(unusable)?;
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
        let database = create(DATABASE).and_then(|file| file.metadata()).map_err(unusable)?;
        Ok(Self {
            database: path.join(DATABASE),
            log: path.join(format!("{DATABASE}-wal")),
            identity: (database.dev(), database.ino()),
            _lock: lock,
        })
    }

    /// Whether the database is still where it was: a file that was removed can be written to, and nobody will find it again.
    pub fn is_in_place(&self) -> bool {
        fs::metadata(&self.database).is_ok_and(|found| (found.dev(), found.ino()) == self.identity)
    }
}

/// Makes the directory and those above it that are missing. Each is on the disk by its name before anything is written into it: a power cut
/// takes what has a name in a directory that has none. (The names inside are SQLite's to keep: it does so when it makes its log.)
fn make(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !path.is_dir() => parent,
        _ => return Ok(()),
    };
    let parent = if parent.as_os_str().is_empty() {
        Path::new(".")
    } else {
        parent
    };
    make(parent)?;
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        made => made?,
    }
    sync_names(parent)
}

/// Has the names in a directory on the disk. Where that is not to be had nothing is lost but this: some file systems (FUSE, 9p) refuse it, and
/// a directory that may be written need not be readable.
pub(super) fn sync_names(directory: &Path) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, PermissionDenied};
    match File::open(directory).and_then(|directory| directory.sync_all()) {
        Err(error) if matches!(error.kind(), InvalidInput | PermissionDenied) => Ok(()),
        synced => synced,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::os::unix::fs::PermissionsExt;

    use rustix::thread::CapabilitySet;

    use super::*;

    #[test]
    fn a_parent_that_can_be_written_and_not_read_holds_a_data_directory() {
        let parent = tempfile::tempdir().unwrap();
        fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o333)).unwrap();
        let data = parent.path().join("data");
        let claimed = std::thread::spawn(move || {
            // Root reads everything, unless a thread gives that up.
            let mut sets = rustix::thread::capabilities(None).unwrap();
            sets.effective -= CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
            rustix::thread::set_capabilities(None, sets).unwrap();
            DataDir::claim(&data).map(|directory| directory.is_in_place())
        });
        assert!(claimed.join().unwrap().unwrap());
        fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o700)).unwrap();
    }
}
