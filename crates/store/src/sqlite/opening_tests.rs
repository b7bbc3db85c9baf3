//! Opening: who may, and what stands in the way.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Instant;

use rusqlite::Connection;

use super::*;
use crate::tests::{event, open_in};

#[tokio::test]
async fn one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_in(dir.path()).unwrap();
    match open_in(dir.path()) {
        Err(StoreError::Locked(path)) => assert_eq!(path, dir.path().display().to_string()),
        other => panic!("{:?}", other.err()),
    }
    drop(store);
    open_in(dir.path()).unwrap();
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(open_in(dir.path()).unwrap());
    let database = dir.path().join("hikigane.db");
    Connection::open(&database)
        .unwrap()
        .pragma_update(None, "user_version", 7)
        .unwrap();
    let before = std::fs::read(&database).unwrap();
    let message = open_in(dir.path()).err().unwrap();
    assert!(
        matches!(message, StoreError::TooNew { found: 7, known: 4, .. }),
        "{message}"
    );
    assert_eq!(std::fs::read(&database).unwrap(), before);
}

#[test]
fn unusable_directories_are_named() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    let message = open_in(&dir.path().join("file/data")).err().unwrap().to_string();
    assert!(
        message.starts_with("the data directory \"") && message.contains("file/data"),
        "{message}"
    );

    let data = dir.path().join("a/b");
    drop(open_in(&data).unwrap());
    let mode = |name: &str| std::fs::metadata(data.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("."), mode("hikigane.db"), mode("lock")), (0o700, 0o600, 0o600));

    std::fs::write(
        data.join("hikigane.db"),
        "this is no database, whatever its name may say".repeat(100),
    )
    .unwrap();
    let message = open_in(&data).err().unwrap().to_string();
    assert!(
        message.contains("hikigane.db is damaged (file is not a database)"),
        "{message}"
    );
}

#[tokio::test]
async fn a_program_that_reads_the_database_does_not_delay_the_start() {
    let before = tempfile::tempdir().unwrap();
    let store = open_in(before.path()).unwrap();
    store.enqueue(event("f", "1"), vec![]).await.unwrap();
    // What a crash leaves.
    let dir = tempfile::tempdir().unwrap();
    for name in ["hikigane.db", "hikigane.db-wal"] {
        std::fs::copy(before.path().join(name), dir.path().join(name)).unwrap();
    }
    let shell = Connection::open(dir.path().join("hikigane.db")).unwrap();
    shell.execute_batch("BEGIN; SELECT count(*) FROM queue").unwrap();
    let start = Instant::now();
    let store = open_in(dir.path()).unwrap();
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    assert_eq!(store.depth().await.unwrap(), 1);
    shell.execute_batch("COMMIT").unwrap();
}
