//! Full disks, full queues, limits, and the end.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use rustix::fs::{Mode, OFlags, mkdirat, openat};

use super::*;
use crate::namespaces::run_in_namespaces;

#[tokio::test]
async fn an_event_that_cannot_be_stored_is_tried_again() {
    let bench = Bench::new(json!({"event": "s3:ObjectCreated:Put"}));
    bench.memory.mood(|mood| mood.unavailable = 3);
    let server = bench.start().await;
    let started = Instant::now();
    bench.send("a", "x");
    bench.memory.until_told(&["Put a"]).await;
    assert!(
        started.elapsed() >= Duration::from_millis(700),
        "waits of 100, 200 and 400 ms"
    );
    server.stop().await;
    assert_eq!(bench.memory.told("f/on"), ["Put a"]);
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_is_asked_by_one_at_a_time() {
    let bench = Bench::new(json!({}));
    let server = bench.start().await;
    bench.settle("before").await;
    let refusals = || usize::MAX - bench.memory.stored.lock().unwrap().mood.unavailable;
    bench.memory.mood(|mood| mood.unavailable = usize::MAX);
    bench.send("00", "x");
    let deadline = Instant::now() + PATIENCE;
    while refusals() == 0 && Instant::now() < deadline {
        tokio::task::yield_now().await;
    }
    let asked = Instant::now();
    for i in 1..20 {
        bench.send(&format!("{i:02}"), "x");
    }
    // A removal is behind its object in the line.
    bench.remove("19");
    tokio::time::sleep(Duration::from_millis(50)).await;
    // The first asks after 100 ms, then after 200, 400 and so on; the others not at all.
    let most = usize::try_from(asked.elapsed().as_millis() / 100).unwrap() + 1;
    assert!(refusals() <= most, "{} refusals in {:?}", refusals(), asked.elapsed());
    bench.memory.mood(|mood| mood.unavailable = 0);
    bench.memory.until("all are told", |events| events.len() >= 20).await;
    server.stop().await;
    let told: HashSet<String> = bench.memory.told("f/on").into_iter().collect();
    assert!((0..19).all(|i| told.contains(&format!("Put {i:02}"))));
    assert_eq!(bench.memory.told("f/on")[1], "Put 00");
}

#[tokio::test]
async fn a_refused_event_holds_nothing_up_and_is_tried_at_the_next_start() {
    let bench = Bench::new(json!({})).binding("g/on", json!({"bucket": "inbox", "settle": 0}));
    bench.memory.mood(|mood| mood.refused.extend(["g/on".to_owned()]));
    let server = bench.start().await;
    bench.settle("a").await;
    bench.settle("b").await;
    server.stop().await;
    assert_eq!(bench.memory.told("g/on"), [""; 0]);
    bench.memory.mood(|mood| mood.refused.clear());
    let server = bench.start().await;
    bench.memory.until("both are told", |events| events.len() == 4).await;
    server.stop().await;
    assert_eq!(bench.memory.told("f/on"), ["Put a", "Put b"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_changes_are_lost_a_scan_finds_all_and_tells_nothing_twice() {
    let mut bench = Bench::new(json!({}));
    bench.limits.changes = 4;
    let server = bench.start().await;
    bench.settle("first").await;
    for i in 0..300 {
        fs::create_dir_all(bench.path(&format!("{}", i % 7))).unwrap();
        bench.write(&format!("{}/{i}", i % 7), "x");
    }
    bench.memory.until("301 events", |events| events.len() >= 301).await;
    for i in 0..150 {
        bench.remove(&format!("{}/{i}", i % 7));
    }
    bench
        .memory
        .until("150 removals", |events| {
            events.iter().filter(|e| e.what == "Delete").count() == 150
        })
        .await;
    bench.settle("last").await;
    server.stop().await;
    let told: HashSet<String> = bench.memory.told("f/on").into_iter().collect();
    assert_eq!((bench.memory.events().len(), told.len()), (452, 452));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_whose_events_are_lost_is_not_told_early() {
    let mut bench = Bench::new(json!({"settle": 0}));
    bench.limits.changes = 2;
    let server = bench.start().await;
    let file = File::create(bench.path("slow")).unwrap();
    for round in 0..5 {
        file.set_len(round + 1).unwrap();
        for i in 0..20 {
            bench.write(&format!("{round}-{i}"), "x");
        }
        let expected = usize::try_from((round + 1) * 20).unwrap();
        bench
            .memory
            .until("the round is told", |events| events.len() == expected)
            .await;
    }
    drop(file);
    bench.memory.until_told(&["Put slow"]).await;
    server.stop().await;
    let slow: Vec<Emitted> = bench
        .memory
        .events()
        .into_iter()
        .filter(|event| event.key == "slow")
        .collect();
    assert_eq!(slow.iter().map(|event| event.size).collect::<Vec<_>>(), [Some(5)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_objects_than_fit_are_told_in_turns() {
    let mut bench = Bench::new(json!({}));
    (bench.limits.objects, bench.limits.jobs) = (8, 2);
    // How often a crowded bucket is looked at.
    bench.limits.poll = Duration::from_millis(20);
    let server = bench.start().await;
    for i in 0..100 {
        bench.write(&format!("{i}"), "x");
    }
    bench.memory.until("100 events", |events| events.len() >= 100).await;
    server.stop().await;
    let told: HashSet<String> = bench.memory.told("f/on").into_iter().collect();
    assert_eq!((bench.memory.events().len(), told.len()), (100, 100));
}

#[tokio::test]
async fn those_who_write_to_files_without_a_name_take_no_room() {
    let mut bench = Bench::new(json!({}));
    bench.limits.objects = 8;
    let server = bench.start().await;
    bench.settle("before").await;
    for i in 0..50 {
        let path = bench.path(&format!("{i}"));
        let mut file = File::create(&path).unwrap();
        fs::remove_file(path).unwrap();
        file.write_all(b"x").unwrap();
    }
    bench.settle("after").await;
    server.stop().await;
    assert_eq!(bench.memory.told("f/on"), ["Put before", "Put after"]);
}

/// The kernel takes no path of more than 4,095 bytes, so it cannot be asked to watch what is deeper.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lies_too_deep_to_be_watched_is_polled() {
    let mut bench = Bench::new(json!({}));
    bench.limits.poll = Duration::from_millis(100);
    let name = "d".repeat(250);
    let directory = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut deepest = rustix::fs::open(bench.inbox(), directory, Mode::empty()).unwrap();
    for _ in 0..20 {
        mkdirat(&deepest, &name, Mode::from_raw_mode(0o755)).unwrap();
        deepest = openat(&deepest, &name, directory, Mode::empty()).unwrap();
    }
    let server = bench.start().await;
    bench.settle("shallow").await;
    drop(
        openat(
            &deepest,
            "deep",
            OFlags::CREATE | OFlags::WRONLY,
            Mode::from_raw_mode(0o600),
        )
        .unwrap(),
    );
    bench
        .memory
        .until("it is told", |events| {
            events.iter().any(|event| event.key.ends_with("/deep"))
        })
        .await;
    server.stop().await;
    assert_eq!(bench.memory.events().len(), 2);
}

/// Runs `a_directory_that_may_not_be_read` without the rights of root.
#[test]
fn a_directory_that_may_be_read_at_last_is_looked_at() {
    let name = "tests::trouble::a_directory_that_may_not_be_read";
    if let Some(text) = run_in_namespaces(&["--user"], name) {
        let said = "cannot read directory \"locked\" of bucket \"inbox\"";
        assert!(text.contains(said), "{text}");
    }
}

#[tokio::test]
#[ignore = "run by a_directory_that_may_be_read_at_last_is_looked_at without the rights of root"]
async fn a_directory_that_may_not_be_read() {
    let bench = Bench::new(json!({}));
    fs::create_dir(bench.path("locked")).unwrap();
    bench.write("locked/before", "x");
    fs::set_permissions(bench.path("locked"), Permissions::from_mode(0o000)).unwrap();
    let server = bench.start().await;
    bench.settle("open").await;
    fs::set_permissions(bench.path("locked"), Permissions::from_mode(0o755)).unwrap();
    bench.memory.until_told(&["Put locked/before"]).await;
    bench.settle("locked/after").await;
    server.stop().await;
    assert_eq!(
        bench.memory.told("f/on"),
        ["Put open", "Put locked/before", "Put locked/after"]
    );
}

/// Runs `a_bucket_without_watches` in a user namespace of its own, where the kernel allows two watches.
#[test]
fn at_the_limit_of_watches_the_bucket_is_polled() {
    let script = "echo 2 > /proc/sys/user/max_inotify_watches && exec \"$0\" \"$@\"";
    let name = "tests::trouble::a_bucket_without_watches";
    if let Some(text) = run_in_namespaces(&["--user", "--map-root-user", "sh", "-c", script], name) {
        assert!(text.contains("raise the sysctl fs.inotify.max_user_watches"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by at_the_limit_of_watches_the_bucket_is_polled with a limit on watches"]
async fn a_bucket_without_watches() {
    let mut bench = Bench::new(json!({}));
    bench.limits.poll = Duration::from_millis(100);
    for i in 0..5 {
        fs::create_dir(bench.path(&format!("{i}"))).unwrap();
    }
    let server = bench.start().await;
    let slow = File::create(bench.path("3/slow")).unwrap();
    slow.set_len(1).unwrap();
    for i in 0..5 {
        bench.write(&format!("{i}/a"), "x");
    }
    bench.memory.until("5 events", |events| events.len() >= 5).await;
    bench.remove("4/a");
    bench.write("4/b", "x");
    bench.memory.until_told(&["Delete 4/a", "Put 4/b"]).await;
    slow.set_len(2).unwrap();
    drop(slow);
    bench.memory.until_told(&["Put 3/slow"]).await;
    server.stop().await;
    let told: HashSet<String> = bench.memory.told("f/on").into_iter().collect();
    assert_eq!((bench.memory.events().len(), told.len()), (8, 8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_is_prompt_in_the_middle_of_a_large_file() {
    let bench = Bench::new(json!({}));
    // Sparse: it takes no room, but many seconds to hash.
    File::create(bench.path("large")).unwrap().set_len(64 << 30).unwrap();
    for i in 0..500 {
        bench.write(&format!("{i}"), "x");
    }
    let server = bench.start().await;
    bench.memory.until("one is told", |events| !events.is_empty()).await;
    let asked = Instant::now();
    server.stop().await;
    // Under 10 ms on an idle machine; the tests may run on a busy one.
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    fs::remove_file(bench.path("large")).unwrap();
    // What was not emitted is found by the next start.
    let server = bench.start().await;
    bench.memory.until("all are told", |events| events.len() >= 500).await;
    server.stop().await;
    let told: HashSet<String> = bench.memory.told("f/on").into_iter().collect();
    assert_eq!((bench.memory.events().len(), told.len()), (500, 500));
}

#[tokio::test]
async fn a_missing_directory_is_one_sentence() {
    let bench = Bench::new(json!({}));
    let cases: [(&dyn Fn(), &str); 2] = [
        (&|| fs::remove_dir(bench.inbox()).unwrap(), "does not exist"),
        (&|| fs::write(bench.inbox(), "").unwrap(), "is not a directory"),
    ];
    for (break_it, problem) in cases {
        break_it();
        let error = bench.source().open(&Clock::system(), &bench.state()).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "the directory of bucket \"inbox\", {}, {problem}: create it or change sources.s3.buckets.inbox.path",
                bench.inbox().display()
            )
        );
    }
}
