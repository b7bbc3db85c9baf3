//! Files that are not what was written: bits that turned, pages that went, files of earlier releases.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver};

use hikigane_model::{InvokeMode, RequestId};
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::tests::{at, burial, event, grouped, open_in, run, set};

const PAGE: usize = 4096;
const FRAME: usize = PAGE + 24;

/// A store with five events and a run, that was closed well or left as a crash leaves it.
async fn with_events(closed: bool) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = open_in(dir.path()).unwrap();
    for id in ["1", "2", "3", "4", "5"] {
        let state = vec![set("s3", id, "seen")];
        store.enqueue(event("needle", id), state).await.unwrap();
    }
    store.write(vec![], Some(run("needle", "run"))).await.unwrap();
    if closed {
        store.close().await;
        return dir;
    }
    let left = tempfile::tempdir().unwrap();
    for name in ["hikigane.db", "hikigane.db-wal"] {
        fs::copy(dir.path().join(name), left.path().join(name)).unwrap();
    }
    left
}

fn database(dir: &TempDir) -> PathBuf {
    dir.path().join("hikigane.db")
}

fn change(path: PathBuf, how: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(&path).unwrap();
    how(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Where the first page of a table or an index is.
fn page(dir: &TempDir, name: &str) -> usize {
    let sql = Connection::open(database(dir)).unwrap();
    let page: i64 = sql
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = ?1", [name], |row| {
            row.get(0)
        })
        .unwrap();
    (page as usize - 1) * PAGE
}

fn find(bytes: &[u8], text: &[u8]) -> usize {
    bytes.windows(text.len()).position(|window| window == text).unwrap()
}

/// Opens the store, and hears its warnings.
fn listening(dir: &TempDir) -> (SqliteStore, Receiver<String>) {
    let (told, warnings) = mpsc::channel();
    let store = SqliteStore::open(dir.path(), move |warning| told.send(warning.to_owned()).unwrap());
    (store.unwrap(), warnings)
}

/// The warnings after everything was looked over.
fn inspected(dir: &TempDir) -> (SqliteStore, Vec<String>) {
    let (store, warnings) = listening(dir);
    store.inspection.wait(Duration::from_secs(60));
    (store, warnings.try_iter().collect())
}

async fn leased(store: &SqliteStore) -> Vec<String> {
    let leases = store.lease(at(100), 100, &[]).await.unwrap();
    leases.iter().map(|lease| lease.event.request_id.to_string()).collect()
}

#[tokio::test]
async fn an_event_that_the_disk_changed_is_not_run_but_kept_and_the_others_run() {
    // What a row says may be another text, no text at all, or no name.
    for (column, value) in [
        ("payload", "x'7b7e'"),
        ("function", "'noodle'"),
        ("function", "CAST(x'6eff' AS TEXT)"),
        ("version", "'no version'"),
        ("client_context", "'{}'"),
        ("trace", "CAST(x'ff' AS TEXT)"),
        ("group_name", "CAST(x'ff' AS TEXT)"),
        ("accepted_at", "9223372036854775807"),
    ] {
        let dir = with_events(true).await;
        Connection::open(database(&dir))
            .unwrap()
            .execute(
                &format!("UPDATE queue SET {column} = {value} WHERE request_id = '3'"),
                [],
            )
            .unwrap();
        let store = open_in(dir.path()).unwrap();
        assert_eq!(leased(&store).await, ["1", "2", "4", "5"], "{column}");
        assert_eq!(store.depth().await.unwrap(), 4);
        for _ in 0..2 {
            let letters = store.dead_letters(None, 10).await.unwrap();
            let [letter] = letters.as_slice() else {
                panic!("{letters:?}")
            };
            assert_eq!(
                (letter.event.request_id.as_str(), letter.burial.condition.as_str()),
                ("3", "Damaged"),
                "{column}"
            );
            // Whoever asks for it again gets it back.
            assert_eq!(store.redrive(None, None, at(50)).await.unwrap(), 1);
            assert_eq!(leased(&store).await, [""; 0]);
        }
    }
}

/// The next of a group is found by the name of the one that ends, which may be another by then, or none.
#[tokio::test]
async fn a_damaged_group_holds_back_nobody() {
    for name in ["'other'", "CAST(x'ff' AS TEXT)", "NULL"] {
        let dir = tempfile::tempdir().unwrap();
        let store = open_in(dir.path()).unwrap();
        for id in ["1", "2", "3"] {
            store.enqueue(grouped("f", id, "group"), vec![]).await.unwrap();
        }
        store.close().await;
        Connection::open(database(&dir))
            .unwrap()
            .execute(
                &format!("UPDATE queue SET group_name = {name} WHERE request_id = '1'"),
                [],
            )
            .unwrap();
        let store = open_in(dir.path()).unwrap();
        assert_eq!(leased(&store).await, [""; 0], "{name}");
        let next = store.lease(at(1), 10, &[]).await.unwrap().remove(0);
        assert_eq!(next.event.request_id.as_str(), "2", "{name}");
        store.settle(&next, Settlement::Done, None, None).await.unwrap();
        assert_eq!(leased(&store).await, ["3"], "{name}");
    }
}

#[tokio::test]
async fn a_damaged_dead_letter_does_not_hide_the_others() {
    let dir = with_events(true).await;
    let store = open_in(dir.path()).unwrap();
    for lease in store.lease(at(1), 2, &[]).await.unwrap() {
        store
            .settle(&lease, Settlement::Bury(burial()), None, None)
            .await
            .unwrap();
    }
    store.close().await;
    Connection::open(database(&dir))
        .unwrap()
        .execute(
            "UPDATE dead_letters SET function = 'no name!', payload = x'00' WHERE id = 1",
            [],
        )
        .unwrap();
    let store = open_in(dir.path()).unwrap();
    let letters = store.dead_letters(None, 10).await.unwrap();
    assert_eq!(letters.len(), 2);
    let damaged = store.dead_letter(letters[1].id).await.unwrap().unwrap();
    assert_eq!(damaged.event.payload.as_ref(), [0]);
    assert_eq!(store.redrive(None, None, at(50)).await.unwrap(), 2);
    assert_eq!(leased(&store).await, ["3", "4", "5", "2"]);
}

#[tokio::test]
async fn a_damaged_index_is_made_anew_and_what_was_held_back_runs() {
    let dir = with_events(true).await;
    let index = page(&dir, "queue_ready");
    Connection::open(database(&dir))
        .unwrap()
        .execute("UPDATE queue SET blocked = 1 WHERE request_id = '3'", [])
        .unwrap();
    // The event is where it was, and would never have been found.
    change(database(&dir), |bytes| {
        let at = index + find(&bytes[index..index + PAGE], b"needle");
        bytes[at + 5] ^= 2;
    });
    let (store, warnings) = inspected(&dir);
    let [warning] = warnings.as_slice() else {
        panic!("{warnings:?}")
    };
    assert!(warning.contains("an index did not fit and was made anew"), "{warning}");
    assert_eq!(leased(&store).await, ["1", "2", "3", "4", "5"]);
    store.close().await;
    assert_eq!(inspected(&dir).1, [""; 0]);
}

#[tokio::test]
async fn a_damaged_table_ends_the_server_at_the_start_or_soon() {
    let damage = async |table| {
        let dir = with_events(true).await;
        let root = page(&dir, table);
        change(database(&dir), |bytes| bytes[root + 1..root + 200].fill(0xaa));
        dir
    };
    for table in ["process", "state", "catalog"] {
        let refused = open_in(damage(table).await.path()).err().unwrap();
        assert!(matches!(refused, StoreError::Damaged { .. }), "{table}: {refused}");
        assert!(refused.to_string().contains(".recover"), "{refused}");
    }
    for table in ["queue", "dead_letters"] {
        let dir = damage(table).await;
        let store = open_in(dir.path()).unwrap();
        let ended = store.failed().await;
        assert!(ended.contains("is damaged") && ended.contains(".recover"), "{ended}");
        let refused = store.enqueue(event("f", "6"), vec![]).await.unwrap_err().to_string();
        assert_eq!(refused, ended);
    }
}

#[tokio::test]
async fn a_damaged_history_makes_way_and_events_run() {
    let dir = with_events(true).await;
    for (round, aside) in ["runs_damaged", "runs_damaged_2"].into_iter().enumerate() {
        let root = page(&dir, "runs");
        change(database(&dir), |bytes| bytes[root + 1..root + 200].fill(0xaa));
        let (store, warnings) = listening(&dir);
        let cannot_read = store.run(1).await.unwrap_err();
        assert!(matches!(cannot_read, StoreError::Damaged { .. }), "{cannot_read}");
        let lease = store.lease(at(1), 1, &[]).await.unwrap().remove(0);
        let mut newest = run("needle", "new");
        newest.mode = InvokeMode::Async;
        store
            .settle(&lease, Settlement::Done, Some(newest), None)
            .await
            .unwrap();
        store
            .write(vec![set("s", "k", "v")], Some(run("f", "skip")))
            .await
            .unwrap();
        let warnings: Vec<_> = warnings.try_iter().collect();
        let [warning] = warnings.as_slice() else {
            panic!("{warnings:?}")
        };
        assert!(warning.ends_with(&format!("as its table {aside}")), "{warning}");
        assert_eq!(store.depth().await.unwrap(), 4 - round as u64);

        // It is a history like the first: its numbers go on, and its indexes are there.
        let found = async |filter| {
            let runs = store.runs(RunFilter { limit: 10, ..filter }).await.unwrap();
            runs.into_iter().map(|run| run.id).collect::<Vec<_>>()
        };
        let first = 2 + 2 * round as i64;
        assert_eq!(found(RunFilter::default()).await, [first + 1, first]);
        let request_id = Some(RequestId::from_text("new"));
        assert_eq!(
            found(RunFilter {
                request_id,
                ..RunFilter::default()
            })
            .await,
            [first]
        );
        store.close().await;
        let sql = Connection::open(database(&dir)).unwrap();
        let indexes = |table: &str| {
            let count = "SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND tbl_name = ?1";
            sql.query_row(count, [table], |row| row.get::<_, i64>(0)).unwrap()
        };
        assert_eq!((indexes("runs"), indexes(aside)), (4, 4));
        assert_eq!(schema::flaw(&sql, "runs").unwrap(), None);
    }
}

/// Opens what a crash leaves, with another log. Returns the warning, and how many events there are.
async fn open_changed(how: impl FnOnce(&mut Vec<u8>)) -> (Option<String>, usize) {
    let dir = with_events(false).await;
    change(dir.path().join("hikigane.db-wal"), how);
    let (store, warnings) = inspected(&dir);
    let warning = warnings.first().cloned();
    assert_eq!(warning.is_some(), dir.path().join("hikigane.db-wal.damaged").exists());
    (warning, leased(&store).await.len())
}

#[tokio::test]
async fn a_log_that_was_cut_is_as_it_should_be_and_one_that_was_changed_is_told() {
    assert_eq!(open_changed(|_| {}).await, (None, 5));
    // A power cut: the end is missing, or its sectors came in another order. What is missing had not been acknowledged.
    let (warning, _) = open_changed(|log| log.truncate(log.len() - 1_000)).await;
    assert_eq!(warning, None);
    let (warning, _) = open_changed(|log| {
        let last = log.len() - FRAME;
        log[last + 24..last + 600].fill(0);
    })
    .await;
    assert_eq!(warning, None);
    let (warning, found) = open_changed(|log| log.truncate(0)).await;
    assert_eq!((warning, found), (None, 0));
    // A bit: in a page, in a frame's salt, in the header.
    for at in [32 + 24 + 700, 32 + 10, 32 + 6 * FRAME + 9, 4, 16] {
        let (warning, found) = open_changed(|log| log[at] ^= 1).await;
        let warning = warning.unwrap_or_else(|| panic!("{at}: {found} were found"));
        assert!(warning.contains("is a copy of it") && found < 5, "{at}: {warning}");
    }
}

#[tokio::test]
async fn every_earlier_schema_is_brought_up_to_date_with_what_it_holds() {
    for version in 1..=schema::MIGRATIONS.len() {
        let dir = tempfile::tempdir().unwrap();
        let sql = Connection::open(database(&dir)).unwrap();
        for step in &schema::MIGRATIONS[..version] {
            sql.execute_batch(step).unwrap();
        }
        sql.pragma_update(None, "user_version", version as i64).unwrap();
        for table in ["queue (due, blocked, throttles, ", "dead_letters (condition, at, "] {
            let first = if table.starts_with("queue") {
                "0, 0, 0"
            } else {
                "'RetriesExhausted', 0"
            };
            sql.execute_batch(&format!(
                "INSERT INTO {table} attempts, request_id, binding, trigger, function, version, invoked_arn, accepted_at, payload)
                 VALUES ({first}, 1, 'old', 'f/b', 's3', 'f', '$LATEST', 'arn', 0, x'7b7d')"
            ))
            .unwrap();
        }
        sql.execute_batch(
            "INSERT INTO state VALUES ('s3', 'k', x'76');
             INSERT INTO runs (request_id, attempt, trigger, function, version, mode, status, started_at, duration_ms, max_memory_mb,
                               input, output, log)
             VALUES ('old', 1, 's3', 'f', '$LATEST', 'async', 'failed', 0, 1.5, 30, x'7b7d', x'', 'line')",
        )
        .unwrap();
        drop(sql);

        let (store, warnings) = inspected(&dir);
        assert_eq!(warnings, [""; 0]);
        assert_eq!(store.get("s3", "k").await.unwrap(), Some(b"v".to_vec()));
        assert_eq!(store.run(1).await.unwrap().unwrap().run.log, "line");
        assert_eq!(store.redrive(None, None, at(0)).await.unwrap(), 1);
        assert_eq!(leased(&store).await, ["old", "old"], "version {version}");
        store.commit(vec![]).await.unwrap();
    }
}

#[tokio::test]
async fn what_was_removed_while_it_was_open_takes_no_more() {
    let dir = with_events(true).await;
    let store = open_in(dir.path()).unwrap();
    // Whoever opens the database while it is being removed, as the inspection does, may leave a file of SQLite's beside it.
    while fs::remove_dir_all(dir.path()).is_err_and(|error| error.kind() == ErrorKind::DirectoryNotEmpty) {}
    assert!(!dir.path().exists());
    // Who only looks is not told yet.
    assert_eq!(store.next_due(&[]).await.unwrap(), Some(at(0)));
    let refused = store.enqueue(event("f", "6"), vec![]).await.unwrap_err().to_string();
    assert!(refused.contains("was removed"), "{refused}");
    assert_eq!(store.failed().await, refused);
}
