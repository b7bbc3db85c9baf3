//! What is special about SQLite: files, groups, full and failing disks.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use bytes::Bytes;
use tempfile::TempDir;

use super::writer::ended;
use super::*;
use crate::tests::{at, event, function, open_in, run, set};

fn open() -> (TempDir, Arc<SqliteStore>) {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open_in(dir.path()).unwrap());
    (dir, store)
}

/// Why nothing is written any more, if so.
fn failure(store: &SqliteStore) -> Option<String> {
    store.status.broken.get().cloned()
}

fn all() -> RunFilter {
    RunFilter {
        limit: 1_000_000,
        ..RunFilter::default()
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart_and_leases_are_not() {
    let (dir, store) = open();
    for id in ["1", "2"] {
        store
            .enqueue(event("f", id), vec![set("s3", id, "seen")])
            .await
            .unwrap();
    }
    let leases = store.lease(at(1), 10, &[]).await.unwrap();
    store
        .settle(
            &leases[0],
            Settlement::Retry {
                due: at(60),
                attempts: 1,
                throttles: 0,
            },
            None,
            None,
        )
        .await
        .unwrap();
    drop(store);

    let store = open_in(dir.path()).unwrap();
    assert_eq!(
        (store.depth().await.unwrap(), store.next_due(&[]).await.unwrap()),
        (2, Some(at(0)))
    );
    assert_eq!(store.scan("s3", "").await.unwrap().len(), 2);
    let lost = store.settle(&leases[1], Settlement::Done, None, None).await;
    assert!(matches!(lost, Err(StoreError::LeaseLost)), "{lost:?}");
    let again = store.lease(at(60), 10, &[]).await.unwrap();
    assert_eq!(
        again.iter().map(|lease| (lease.id, lease.attempts)).collect::<Vec<_>>(),
        [(leases[1].id, 0), (leases[0].id, 1)]
    );
    assert!(again.iter().all(|lease| lease.token > leases[1].token));
}

/// A copy of the files at any moment is what a crash leaves. The copy is valid because the few rows cause no checkpoint.
#[tokio::test]
async fn the_files_of_a_running_store_hold_all_that_was_acknowledged() {
    let (dir, store) = open();
    for round in 0..3 {
        let other = tempfile::tempdir().unwrap();
        let mut last = Vec::new();
        for i in 0..40 {
            let store = store.clone();
            last.push(tokio::spawn(async move {
                store
                    .enqueue(event("f", &format!("{round}-{i}")), vec![])
                    .await
                    .unwrap()
            }));
        }
        // The first ones are acknowledged, others under way.
        for task in last.drain(..10) {
            task.await.unwrap();
        }
        for name in ["hikigane.db", "hikigane.db-wal"] {
            std::fs::copy(dir.path().join(name), other.path().join(name)).unwrap();
        }
        let copy = open_in(other.path()).unwrap();
        let found = copy.lease(at(1), 1_000, &[]).await.unwrap();
        let found: HashSet<_> = found.iter().map(|lease| lease.event.request_id.to_string()).collect();
        for id in (0..round)
            .flat_map(|r| (0..40).map(move |i| (r, i)))
            .chain((0..10).map(|i| (round, i)))
        {
            assert!(found.contains(&format!("{}-{}", id.0, id.1)), "{id:?} is lost");
        }
        for task in last {
            task.await.unwrap();
        }
    }
}

const CHILD: &str = "HIKIGANE_TEST_CRASH_CHILD";

/// A process that enqueues and settles is killed; the next one finds what the killed one had been promised.
#[test]
fn a_killed_process_loses_nothing_that_was_acknowledged() {
    if let Some(dir) = std::env::var_os(CHILD) {
        return crash_child(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    for kill_after in [1, 60, 900] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "sqlite::tests::a_killed_process_loses_nothing_that_was_acknowledged",
                "--nocapture",
            ])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut heard: Vec<String> = lines
            .by_ref()
            .map(Result::unwrap)
            .filter(|line| line.contains("ack "))
            .take(kill_after)
            .collect();
        child.kill().unwrap();
        child.wait().unwrap();
        heard.extend(lines.map_while(Result::ok).filter(|line| line.contains("ack ")));
        assert!(heard.len() >= kill_after, "the child ended early");

        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let store = open_in(dir.path()).unwrap();
            let leases = store.lease(at(1), 1_000_000, &[]).await.unwrap();
            let queued: HashSet<_> = leases.iter().map(|lease| lease.event.request_id.to_string()).collect();
            assert_eq!(queued.len() as u64, store.depth().await.unwrap());
            for id in heard.iter().filter_map(|line| line.split("ack ").nth(1)) {
                assert!(queued.contains(id), "{id} is lost");
            }
            for lease in &leases {
                store.settle(lease, Settlement::Done, None, None).await.unwrap();
            }
        });
    }
}

fn crash_child(dir: &Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = Arc::new(open_in(dir).unwrap());
        let caller = |caller: usize| {
            let store = store.clone();
            async move {
                for i in 0.. {
                    store
                        .enqueue(event("f", &format!("{caller}-{i}")), vec![set("s", "k", "v")])
                        .await
                        .unwrap();
                    writeln!(std::io::stdout(), "ack {caller}-{i}").unwrap();
                }
            }
        };
        let tasks: Vec<_> = (0..16).map(|i| tokio::spawn(caller(i))).collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[tokio::test]
async fn callers_share_commits() {
    let (_dir, store) = open();
    let before = store.commits();
    let tasks: Vec<_> = (0..500)
        .map(|i| {
            let store = store.clone();
            tokio::spawn(async move { store.enqueue(event("f", &i.to_string()), vec![]).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let commits = store.commits() - before;
    assert!((1..100).contains(&commits), "{commits} commits for 500 events");
    assert_eq!(store.depth().await.unwrap(), 500);
}

#[tokio::test]
async fn looking_for_work_costs_no_commit() {
    let (_dir, store) = open();
    store.enqueue(event("f", "1"), vec![]).await.unwrap();
    let before = store.commits();
    let lease = store.lease(at(1), 1, &[]).await.unwrap().remove(0);
    store.settle(&lease, Settlement::Release, None, None).await.unwrap();
    store.next_due(&[]).await.unwrap();
    assert_eq!(store.commits(), before);
    store.lease(at(1), 1, &[]).await.unwrap();
}

/// Fails by itself, in a group with others.
#[tokio::test]
async fn a_refused_job_undoes_its_own_part_only() {
    let (_dir, store) = open();
    let refused = store.transact(|tx| {
        queue::enqueue(tx.sql, &event("f", "refused"), &[set("s", "refused", "1")])?;
        Err::<(), _>(StoreError::LeaseLost.into())
    });
    let (good, refused, also_good) = tokio::join!(
        store.enqueue(event("f", "1"), vec![]),
        refused,
        store.enqueue(event("f", "2"), vec![])
    );
    good.unwrap();
    also_good.unwrap();
    assert!(matches!(refused, Err(StoreError::LeaseLost)));
    assert_eq!(
        (
            store.lease(at(1), 10, &[]).await.unwrap().len(),
            store.depth().await.unwrap()
        ),
        (2, 2)
    );
    assert_eq!(store.scan("s", "").await.unwrap(), []);
}

#[tokio::test]
async fn leases_of_a_caller_who_went_away_are_taken_back() {
    let (_dir, store) = open();
    store.enqueue(event("f", "1"), vec![]).await.unwrap();
    let (busy, free) = std::sync::mpsc::channel::<()>();
    let (started, working) = tokio::sync::oneshot::channel();
    let mut started = Some(started);
    let hold = tokio::spawn({
        let store = store.clone();
        async move {
            let hold = move |_: &mut Tx<'_>| {
                started.take().map(|started| started.send(()));
                free.recv().unwrap();
                Ok(())
            };
            store.transact(hold).await
        }
    });
    working.await.unwrap();
    // Polled once, so that the job is with the writer; then dropped.
    let lease = store.lease(at(1), 1, &[]);
    tokio::select! { biased; _ = lease => unreachable!(), _ = std::future::ready(()) => {} }
    busy.send(()).unwrap();
    hold.await.unwrap().unwrap();
    // In one transaction with the lease that nobody heard of the event is still taken; it is free in the next.
    let free_again = async { while store.lease(at(1), 1, &[]).await.unwrap().is_empty() {} };
    tokio::time::timeout(Duration::from_secs(20), free_again).await.unwrap();
}

/// Lets the database have so many pages more than now; `None`: any number.
async fn limit_pages(store: &SqliteStore, more: Option<i64>) {
    let limit = move |tx: &mut Tx<'_>| {
        let pages: i64 = tx.sql.pragma_query_value(None, "page_count", |row| row.get(0))?;
        let most = more.map_or(i64::from(i32::MAX), |more| pages + more);
        tx.sql
            .pragma_update_and_check(None, "max_page_count", most, |_| Ok(()))?;
        Ok(())
    };
    store.transact(limit).await.unwrap();
}

fn body(bytes: usize) -> Bytes {
    Bytes::from(vec![b' '; bytes])
}

fn large(id: &str) -> NewEvent {
    NewEvent {
        payload: body(100_000),
        ..event("f", id)
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers() {
    let (dir, store) = open();
    store.enqueue(large("before"), vec![]).await.unwrap();
    let lease = store.lease(at(1), 1, &[]).await.unwrap().remove(0);
    limit_pages(&store, Some(3)).await;

    let refused = store.enqueue(large("1"), vec![set("s", "k", "v")]).await;
    assert!(matches!(refused, Err(StoreError::Full)), "{refused:?}");
    assert_eq!(
        (store.depth().await.unwrap(), store.get("s", "k").await.unwrap()),
        (1, None)
    );
    // The freed pages are too few for the run that goes with it.
    let run_too_large = Run {
        input: body(256 << 10),
        output: body(256 << 10),
        ..run("f", "1")
    };
    let refused = store
        .settle(&lease, Settlement::Done, Some(run_too_large.clone()), None)
        .await;
    assert!(matches!(refused, Err(StoreError::Full)), "{refused:?}");
    store.record(Run {
        input: large("1").payload,
        ..run("f", "1")
    });

    // What needs no room is done, though others of its group fail; and the lease was not lost by the refusal.
    let (refused, settled, also_refused) = tokio::join!(
        store.enqueue(large("2"), vec![]),
        store.settle(&lease, Settlement::Done, None, None),
        store.enqueue(
            NewEvent {
                payload: body(300_000),
                ..event("f", "3")
            },
            vec![]
        ),
    );
    settled.unwrap();
    assert!(matches!(also_refused, Err(StoreError::Full)), "{also_refused:?}");
    let kept = u64::from(refused.is_ok());
    assert_eq!(store.depth().await.unwrap(), kept);

    limit_pages(&store, None).await;
    store.enqueue(large("after"), vec![]).await.unwrap();
    assert_eq!((failure(&store), store.depth().await.unwrap()), (None, kept + 1));
    drop(store);
    let store = open_in(dir.path()).unwrap();
    assert_eq!(store.depth().await.unwrap(), kept + 1);
}

#[tokio::test]
async fn history_that_does_not_fit_is_dropped_and_counted() {
    let (_dir, store) = open();
    limit_pages(&store, Some(0)).await;
    store.record(Run {
        input: large("1").payload,
        ..run("f", "1")
    });
    let start = Instant::now();
    while store.dropped() == 0 {
        assert!(start.elapsed() < Duration::from_secs(10));
        tokio::task::yield_now().await;
    }
    assert_eq!((store.dropped(), failure(&store)), (1, None));
}

#[tokio::test]
async fn a_failing_disk_stops_all_writing_until_a_restart() {
    let (dir, store) = open();
    store.enqueue(event("f", "kept"), vec![]).await.unwrap();
    let fail = store.transact(|tx| {
        queue::enqueue(tx.sql, &event("f", "in doubt"), &[])?;
        let cause = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC);
        Err::<(), _>(rusqlite::Error::SqliteFailure(cause, Some("disk I/O error".into())).into())
    });
    let message = fail.await.unwrap_err().to_string();
    assert!(
        message.contains("disk I/O error") && message.contains("restart"),
        "{message}"
    );
    assert_eq!(failure(&store), Some(message.clone()));
    assert_eq!(
        store
            .enqueue(event("f", "later"), vec![])
            .await
            .unwrap_err()
            .to_string(),
        message
    );
    assert_eq!(store.lease(at(1), 1, &[]).await.unwrap_err().to_string(), message);
    assert_eq!(store.pending(&BindingId::new(&function("f"), "drop")).await.unwrap(), 1);
    drop(store);

    let store = open_in(dir.path()).unwrap();
    assert_eq!(store.depth().await.unwrap(), 1);
    store.enqueue(event("f", "later"), vec![]).await.unwrap();
}

#[tokio::test]
async fn closing_writes_everything_and_gives_up_the_directory() {
    let (dir, store) = open();
    for i in 0..2_000 {
        store.record(run("f", &i.to_string()));
    }
    store.close().await;
    let refused = store.enqueue(event("f", "late"), vec![]).await.unwrap_err().to_string();
    assert_eq!(refused, "the store is closed");
    assert_eq!(store.runs(all()).await.unwrap_err().to_string(), refused);
    store.record(run("f", "late"));
    assert_eq!(store.dropped(), 1);
    let log = std::fs::metadata(dir.path().join("hikigane.db-wal")).map_or(0, |log| log.len());
    assert_eq!(log, 0);

    let again = open_in(dir.path()).unwrap();
    assert_eq!(again.runs(all()).await.unwrap().len(), 2_000);
    store.close().await;
}

#[tokio::test]
async fn a_full_history_buffer_drops_and_counts() {
    let (_dir, store) = open();
    let (busy, free) = std::sync::mpsc::channel::<()>();
    let hold = tokio::spawn({
        let store = store.clone();
        async move { store.transact(move |_| Ok(free.recv().map_err(|_| ended())?)).await }
    });
    let body = body(1 << 20);
    for i in 0..400 {
        store.record(Run {
            input: body.clone(),
            ..run("f", &i.to_string())
        });
    }
    // 64 MB of 256 KiB each.
    assert!((100..200).contains(&store.dropped()), "{}", store.dropped());
    busy.send(()).unwrap();
    hold.await.unwrap().unwrap();
    store.close().await;
}

#[tokio::test]
async fn one_run_is_read_while_the_writer_is_busy() {
    let (_dir, store) = open();
    store.write(vec![], Some(run("f", "1"))).await.unwrap();
    let (busy, free) = std::sync::mpsc::channel::<()>();
    let hold = tokio::spawn({
        let store = store.clone();
        async move { store.transact(move |_| Ok(free.recv().map_err(|_| ended())?)).await }
    });
    let found = tokio::time::timeout(Duration::from_secs(20), store.run(1)).await;
    assert!(found.unwrap().unwrap().is_some());
    busy.send(()).unwrap();
    hold.await.unwrap().unwrap();
}

/// A backlog that may not run now is not walked through: the time of a lease does not grow with it.
#[tokio::test]
async fn a_long_backlog_does_not_slow_a_lease_down() {
    let (_dir, store) = open();
    let fill = |tx: &mut Tx<'_>| {
        tx.sql.execute_batch(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
             INSERT INTO queue (due, blocked, attempts, throttles, request_id, trigger, function, version, invoked_arn, group_name,
                                accepted_at, payload)
             SELECT 0, i % 3 = 1 AND i > 1, 0, 0, i, 's3', CASE i % 3 WHEN 0 THEN 'busy' ELSE 'free' END, '$LATEST', 'arn',
                    CASE i % 3 WHEN 1 THEN 'one' END, 0, x'7b7d' FROM n",
        )?;
        Ok(())
    };
    store.transact(fill).await.unwrap();
    let busy = [function("busy")];
    let start = Instant::now();
    for _ in 0..200 {
        assert_eq!(store.lease(at(1), 1, &busy).await.unwrap().len(), 1);
        assert_eq!(store.next_due(&busy).await.unwrap(), DateTime::from_timestamp(0, 0));
    }
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}
