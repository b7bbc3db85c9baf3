//! The schema and its versions, and how connections are set up.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

use super::{data_dir, log_file};
use crate::StoreError;

/// Step `n` (from 0) leads from schema version `n` to `n + 1`. A released step never changes.
pub(super) const MIGRATIONS: &[&str] = &[VERSION_1, VERSION_2, VERSION_3, VERSION_4];

/// Times are microseconds since 1970, UTC. `blocked`: an earlier event of the same group is still here. The payload comes
/// last, so that the other columns are read without it.
const VERSION_1: &str = "
    CREATE TABLE queue (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        due INTEGER NOT NULL, blocked INTEGER NOT NULL, attempts INTEGER NOT NULL, throttles INTEGER NOT NULL,
        request_id TEXT NOT NULL, binding TEXT, trigger TEXT NOT NULL, function TEXT NOT NULL, version TEXT NOT NULL,
        invoked_arn TEXT NOT NULL, client_context TEXT, trace TEXT, group_name TEXT, accepted_at INTEGER NOT NULL,
        payload BLOB NOT NULL
    ) STRICT;
    CREATE INDEX queue_ready ON queue (function, due) WHERE blocked = 0;
    CREATE INDEX queue_group ON queue (group_name) WHERE group_name IS NOT NULL;
    CREATE INDEX queue_binding ON queue (binding) WHERE binding IS NOT NULL;

    CREATE TABLE dead_letters (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        condition TEXT NOT NULL, attempts INTEGER NOT NULL, at INTEGER NOT NULL,
        request_id TEXT NOT NULL, binding TEXT, trigger TEXT NOT NULL, function TEXT NOT NULL, version TEXT NOT NULL,
        invoked_arn TEXT NOT NULL, client_context TEXT, trace TEXT, group_name TEXT, accepted_at INTEGER NOT NULL,
        response BLOB, payload BLOB NOT NULL
    ) STRICT;
    CREATE INDEX dead_letters_function ON dead_letters (function);

    CREATE TABLE state (
        namespace TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,
        PRIMARY KEY (namespace, key)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE runs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        request_id TEXT NOT NULL, attempt INTEGER NOT NULL, binding TEXT, trigger TEXT NOT NULL, function TEXT NOT NULL,
        version TEXT NOT NULL, mode TEXT NOT NULL, status TEXT NOT NULL, reason TEXT, started_at INTEGER NOT NULL,
        duration_ms REAL NOT NULL, init_ms REAL, max_memory_mb INTEGER NOT NULL,
        input BLOB NOT NULL, output BLOB NOT NULL, log TEXT NOT NULL
    ) STRICT;
    CREATE INDEX runs_request ON runs (request_id) WHERE mode = 'async';
    CREATE INDEX runs_function ON runs (function, id, status);
    CREATE INDEX runs_binding ON runs (binding, id, status, function) WHERE binding IS NOT NULL;
    CREATE INDEX runs_status ON runs (status);

    CREATE TABLE process (starts INTEGER NOT NULL) STRICT;
    INSERT INTO process VALUES (0);
";

/// The catalog: JSON documents.
const VERSION_2: &str = "
    CREATE TABLE catalog (
        kind TEXT NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (kind, key)
    ) STRICT, WITHOUT ROWID;
";

/// Checksums; null in rows of earlier versions.
const VERSION_3: &str = "
    ALTER TABLE queue ADD COLUMN checksum INTEGER;
    ALTER TABLE dead_letters ADD COLUMN checksum INTEGER;
";

/// For what is due too late, and to count the queue. Events are mostly due in the order they come, so that it grows at its end.
const VERSION_4: &str = "
    CREATE INDEX queue_due ON queue (due);
";

/// How long a statement waits for another program, say the `sqlite3` shell, that holds the database.
const BUSY: Duration = Duration::from_secs(5);

/// What is looked over before anything is done: it says what was done already, is read as a whole at the start anyway, and nothing in it can be
/// mended. The other tables are the [`Inspection`](super::inspection::Inspection)'s.
const CHECKED: [&str; 3] = ["process", "state", "catalog"];

/// Opens the writer's connection and brings the schema up to date. However much the database holds, it takes no longer.
pub(super) fn open_writer(database: &Path, warn: &dyn Fn(&str)) -> Result<Connection, StoreError> {
    let failed = |error| failed(database, &error);
    look_at_log(&beside(database, "-wal"), warn)?;
    let mut connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    let found = version(&connection).map_err(failed)?;
    let known = MIGRATIONS.len() as i64;
    let steps = match usize::try_from(found).ok().and_then(|found| MIGRATIONS.get(found..)) {
        Some(steps) => steps,
        // Nothing was written yet: the newer release still finds its file as it left it.
        None => {
            return Err(StoreError::TooNew {
                path: database.display().to_string(),
                found,
                known,
            });
        }
    };
    set_up(&connection).map_err(failed)?;
    migrate(&mut connection, found, steps).map_err(failed)?;
    for table in CHECKED {
        if let Some(found) = flaw(&connection, table).map_err(failed)? {
            return Err(damaged(database, found));
        }
    }
    // A log that begins anew has no leftovers, so that the next look at it is not misled. On a full disk it stays as it is, and while another
    // program reads it: that may take for ever.
    connection.busy_timeout(Duration::ZERO).map_err(failed)?;
    let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    connection.busy_timeout(BUSY).map_err(failed)?;
    Ok(connection)
}

/// Keeps a copy of a log that is damaged, and tells how much of it is lost: SQLite takes what comes before the damage, and writes over the rest.
fn look_at_log(log: &Path, warn: &dyn Fn(&str)) -> Result<(), StoreError> {
    let lost = log_file::unreadable(log)
        .map_err(|error: io::Error| StoreError::Failed(format!("{}: {error}", log.display())))?;
    if lost == 0 {
        return Ok(());
    }
    let copy = match keep_copy(log) {
        Ok(copy) => format!("{} is a copy of it", copy.display()),
        // What can be read is worth more than what cannot.
        Err(error) => format!("no copy of it could be kept ({error})"),
    };
    warn(&format!(
        "{} is damaged: at least {lost} of the last changes cannot be read, and events accepted in them are lost; {copy}",
        log.display(),
    ));
    Ok(())
}

/// Copies the log, under a name that no earlier copy has. The copy is on the disk when this returns.
fn keep_copy(log: &Path) -> io::Result<PathBuf> {
    let mut from = File::open(log)?;
    let mut copy = beside(log, ".damaged");
    let mut number = 1;
    let mut to = loop {
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&copy) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                number += 1;
                copy = beside(log, &format!(".damaged-{number}"));
            }
            made => break made?,
        }
    };
    let kept = io::copy(&mut from, &mut to)
        .and_then(|_| to.sync_all())
        .and_then(|()| data_dir::sync_names(copy.parent().unwrap_or(&copy)));
    if let Err(error) = kept {
        // Half a copy takes the room that the database needs.
        let _ = fs::remove_file(&copy);
        return Err(error);
    }
    Ok(copy)
}

/// The file beside the database whose name ends so.
fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// The first thing that is wrong with a table or its indexes.
pub(super) fn flaw(connection: &Connection, table: &str) -> rusqlite::Result<Option<String>> {
    let found: String = connection.query_row(&format!("PRAGMA integrity_check({table})"), [], |row| row.get(0))?;
    Ok((found != "ok").then_some(found))
}

/// What to do about a database that cannot be mended.
pub(super) fn damaged(database: &Path, found: String) -> StoreError {
    StoreError::Damaged {
        path: database.display().to_string(),
        found,
    }
}

/// SQLite's error as the store's.
pub(super) fn failed(database: &Path, error: &rusqlite::Error) -> StoreError {
    if is_damage(error) {
        damaged(database, error.to_string())
    } else if is_full(error) {
        StoreError::Failed(format!("{}: the disk is full: make room for it", database.display()))
    } else {
        StoreError::Failed(format!("{}: {error}", database.display()))
    }
}

/// Whether the database contradicts itself.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

/// Whether there is no space left. The index of the log that cannot grow has an error of its own; no data is in doubt then.
pub(super) fn is_full(error: &rusqlite::Error) -> bool {
    error
        .sqlite_error()
        .is_some_and(|cause| cause.code == ErrorCode::DiskFull || cause.extended_code == ffi::SQLITE_IOERR_SHMSIZE)
}

/// Opens a connection that can only read.
pub(super) fn open_reader(database: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "query_only", true)?;
    // The writer alone decides whether the log is copied at the end.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(connection)
}

fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    // FULL: a commit returns after fsync. With NORMAL, WAL survives a killed process but not a power cut.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "cache_size", -16 * 1024)?;
    connection.pragma_update_and_check(None, "journal_size_limit", 64 << 20, |_| Ok(()))
}

fn migrate(connection: &mut Connection, from: i64, steps: &[&str]) -> rusqlite::Result<()> {
    if steps.is_empty() {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    for step in steps {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", from + steps.len() as i64)?;
    transaction.commit()
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn an_older_schema_is_migrated_in_order_and_all_or_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, 0, &["CREATE TABLE a (x)"]).unwrap();
        assert_eq!(version(&connection).unwrap(), 1);
        migrate(
            &mut connection,
            1,
            &["ALTER TABLE a ADD COLUMN y", "INSERT INTO a (x, y) VALUES (1, 2)"],
        )
        .unwrap();
        assert_eq!(version(&connection).unwrap(), 3);

        migrate(&mut connection, 3, &["INSERT INTO a (x, y) VALUES (3, 4)", "nonsense"]).unwrap_err();
        assert_eq!(version(&connection).unwrap(), 3);
        let rows: i64 = connection
            .query_row("SELECT count(*) FROM a", [], |row| row.get(0))
            .unwrap();
        assert_eq!(rows, 1);
    }

    /// A log without a header that could be read.
    fn damaged_log(name: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join(name);
        fs::write(&log, [7; 100]).unwrap();
        (dir, log)
    }

    fn warning(log: &Path) -> String {
        let told = std::cell::RefCell::new(String::new());
        look_at_log(log, &|warning| told.borrow_mut().push_str(warning)).unwrap();
        told.into_inner()
    }

    #[test]
    fn no_copy_of_a_damaged_log_is_written_over() {
        let (dir, log) = damaged_log("log");
        assert!(warning(&log).contains("log.damaged is a copy of it"));
        fs::write(&log, [8; 200]).unwrap();
        assert!(warning(&log).contains("log.damaged-2 is a copy of it"));
        assert_eq!(fs::read(dir.path().join("log.damaged")).unwrap(), [7; 100]);
        assert_eq!(fs::read(dir.path().join("log.damaged-2")).unwrap(), [8; 200]);
    }

    #[test]
    fn a_copy_that_cannot_be_made_hinders_nothing() {
        let (_dir, log) = damaged_log(&"l".repeat(250));
        let told = warning(&log);
        assert!(
            told.contains("no copy of it could be kept (File name too long"),
            "{told}"
        );
    }
}
