//! Files that come, change and go while the server runs.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::thread;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_burst_each_file_has_one_event_and_a_slow_writer_none_before_its_end() {
    let bench = Bench::new(json!({}));
    let server = bench.start().await;
    let slow: Vec<_> = (0..4)
        .map(|i| {
            let path = bench.path(&format!("slow-{i}"));
            thread::spawn(move || {
                let mut file = File::create(path).unwrap();
                for _ in 0..5 {
                    // Each pause is longer than the settle time.
                    file.write_all(&[b'x'; 1_000]).unwrap();
                    thread::sleep(Duration::from_millis(80));
                }
                let before_close = Instant::now();
                drop(file);
                before_close
            })
        })
        .collect();
    for i in 0..200 {
        bench.write(&format!("fast-{i}"), &"y".repeat(i));
    }
    let closed: Vec<Instant> = slow.into_iter().map(|writer| writer.join().unwrap()).collect();
    bench.memory.until("204 events", |events| events.len() >= 204).await;
    bench.settle("last").await;
    server.stop().await;

    let events = bench.memory.events();
    let told: HashSet<&str> = events.iter().map(|event| event.key.as_str()).collect();
    assert_eq!((events.len(), told.len()), (205, 205), "one event a file");
    for event in &events {
        let (kind, number) = event.key.split_once('-').unwrap_or(("last", "0"));
        let number: usize = number.parse().unwrap();
        match kind {
            "slow" => {
                assert_eq!(event.size, Some(5_000), "{event:?}");
                assert!(event.at >= closed[number], "{event:?} came before the file was closed");
            }
            "fast" => assert_eq!(event.size, Some(number as u64), "{event:?}"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_file_that_is_written_again_while_it_settles_waits_for_its_end() {
    let bench = Bench::new(json!({"settle": "200ms"}));
    let server = bench.start().await;
    bench.write("a", "one");
    let mut file = OpenOptions::new().append(true).open(bench.path("a")).unwrap();
    file.write_all(b"two").unwrap();
    bench.write("b", "");
    bench.memory.until_told(&["Put b"]).await;
    assert_eq!(bench.memory.told("f/on"), ["Put b"]);
    file.write_all(b"three").unwrap();
    drop(file);
    bench.memory.until_told(&["Put a"]).await;
    assert_eq!(bench.memory.events()[1].size, Some(11));
    server.stop().await;
}

#[tokio::test]
async fn a_rename_into_the_bucket_is_told_at_once() {
    let bench = Bench::new(json!({"settle": "1h"}));
    // Quiet for long enough already, so its event shows that the watch is set.
    bench.write("old", "x");
    let two_hours_ago = std::time::SystemTime::now() - Duration::from_secs(7_200);
    File::options()
        .append(true)
        .open(bench.path("old"))
        .unwrap()
        .set_modified(two_hours_ago)
        .unwrap();
    let server = bench.start().await;
    bench.memory.until_told(&["Put old"]).await;
    bench.send("a", "hello");
    bench.memory.until_told(&["Put a"]).await;
    let event = bench.memory.events().remove(1);
    assert_eq!(event.size, Some(5));
    assert_eq!(event.etag.as_deref(), Some("5d41402abc4b2a76b9719d911017c592"));
    server.stop().await;
}

#[tokio::test]
async fn a_rename_within_the_bucket_removes_one_key_and_creates_another() {
    let bench = Bench::new(json!({}));
    let server = bench.start().await;
    bench.send("old", "x");
    bench.memory.until_told(&["Put old"]).await;
    fs::rename(bench.path("old"), bench.path("new")).unwrap();
    bench.memory.until_told(&["Delete old", "Put new"]).await;
    fs::rename(bench.path("new"), bench.directory.path().join("away")).unwrap();
    bench.memory.until_told(&["Delete new"]).await;
    server.stop().await;
    assert_eq!(bench.memory.events().len(), 4);
    assert_eq!(bench.memory.state(), BTreeMap::new());
}

#[tokio::test]
async fn a_name_that_is_taken_back_and_forth_ends_as_it_is() {
    let bench = Bench::new(json!({}));
    let server = bench.start().await;
    bench.send("a", "x");
    bench.memory.until_told(&["Put a"]).await;
    fs::rename(bench.path("a"), bench.path("b")).unwrap();
    bench.memory.until_told(&["Delete a", "Put b"]).await;
    fs::rename(bench.path("b"), bench.path("a")).unwrap();
    bench
        .memory
        .until("a is told again", |events| {
            events.iter().filter(|e| e.key == "a" && e.what == "Put").count() == 2
        })
        .await;
    bench.memory.until_told(&["Delete b"]).await;
    server.stop().await;
}

#[tokio::test]
async fn a_download_that_gets_its_name_before_it_is_closed_is_not_told_early() {
    for part in ["a.part", "a.tmp"] {
        let bench = Bench::new(json!({"rules": [{"suffix": "a"}]}));
        let server = bench.start().await;
        let mut file = File::create(bench.path(part)).unwrap();
        file.write_all(b"half").unwrap();
        fs::rename(bench.path(part), bench.path("a")).unwrap();
        bench.settle("sentinel-a").await;
        bench.settle("another-a").await;
        assert_eq!(bench.memory.told("f/on"), ["Put sentinel-a", "Put another-a"], "{part}");
        file.write_all(b"half").unwrap();
        drop(file);
        bench.memory.until_told(&["Put a"]).await;
        assert_eq!(bench.memory.events()[2].size, Some(8), "{part}");
        server.stop().await;
    }
}

#[tokio::test]
async fn an_overwrite_is_told_again_with_a_larger_sequencer() {
    let bench = Bench::new(json!({}));
    let server = bench.start().await;
    for (count, content) in ["one", "three", "three"].iter().enumerate() {
        bench.write("a", content);
        bench
            .memory
            .until("it is told", |events| events.len() == count + 1)
            .await;
    }
    bench.send("a", "four");
    bench.memory.until("it is told", |events| events.len() == 4).await;
    server.stop().await;
    let events = bench.memory.events();
    assert_eq!(
        events.iter().map(|event| event.size).collect::<Vec<_>>(),
        [Some(3), Some(5), Some(5), Some(4)]
    );
    assert!(events.is_sorted_by(|a, b| a.sequencer.len() == b.sequencer.len() && a.sequencer < b.sequencer));
    assert!(events.iter().all(|event| event.what == "Put"));
}

#[tokio::test]
async fn a_touch_is_one_event_and_rights_are_none() {
    let bench = Bench::new(json!({}));
    let server = bench.start().await;
    drop(File::create(bench.path("empty")).unwrap());
    bench.memory.until_told(&["Put empty"]).await;
    fs::set_permissions(bench.path("empty"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    drop(File::open(bench.path("empty")).unwrap());
    drop(OpenOptions::new().append(true).open(bench.path("empty")).unwrap());
    bench.settle("last").await;
    server.stop().await;
    assert_eq!(bench.memory.told("f/on"), ["Put empty", "Put last"]);
    assert_eq!(bench.memory.events()[0].size, Some(0));
}

#[tokio::test]
async fn a_hard_link_is_an_object() {
    let bench = Bench::new(json!({}));
    let server = bench.start().await;
    let outside = bench.directory.path().join("outside");
    fs::write(&outside, "linked").unwrap();
    fs::hard_link(&outside, bench.path("a")).unwrap();
    // The old way to move: the link is the file's only name by the time it is looked at.
    fs::write(bench.directory.path().join("moved"), "x").unwrap();
    fs::hard_link(bench.directory.path().join("moved"), bench.path("b")).unwrap();
    fs::remove_file(bench.directory.path().join("moved")).unwrap();
    bench.memory.until_told(&["Put a", "Put b"]).await;
    server.stop().await;
    assert_eq!(bench.memory.events().len(), 2);
}

#[tokio::test]
async fn an_object_that_is_read_as_soon_as_it_has_its_name_is_told() {
    let bench = Bench::new(json!({}));
    let server = bench.start().await;
    // As mail is delivered: linked in, the other name removed. An indexer reads it at once.
    let outside = bench.directory.path().join("outside");
    fs::write(&outside, "mail").unwrap();
    fs::hard_link(&outside, bench.path("linked")).unwrap();
    fs::remove_file(&outside).unwrap();
    drop(File::open(bench.path("linked")).unwrap());
    // A file that gets its only name when it is complete.
    let flags = OFlags::TMPFILE | OFlags::WRONLY;
    let mut nameless = File::from(rustix::fs::open(bench.inbox(), flags, Mode::from_raw_mode(0o600)).unwrap());
    nameless.write_all(b"named late").unwrap();
    let proc = format!("/proc/self/fd/{}", nameless.as_raw_fd());
    rustix::fs::linkat(CWD, proc, CWD, bench.path("named"), AtFlags::SYMLINK_FOLLOW).unwrap();
    drop(nameless);
    drop(File::open(bench.path("named")).unwrap());
    bench.memory.until_told(&["Put linked", "Put named"]).await;
    server.stop().await;
    assert_eq!(bench.memory.events().len(), 2);
}

#[tokio::test]
async fn a_writer_that_waits_before_it_begins_is_not_told_early() {
    let bench = Bench::new(json!({"settle": 0}));
    let server = bench.start().await;
    bench.settle("first").await;
    let mut file = File::create(bench.path("slow")).unwrap();
    // Made by reading: it has no writer to be seen, and no content to be told.
    drop(rustix::fs::open(bench.path("lock"), OFlags::CREATE, Mode::from_raw_mode(0o600)).unwrap());
    bench.settle("a").await;
    bench.settle("b").await;
    bench.send("c", "");
    bench.memory.until_told(&["Put c"]).await;
    file.write_all(b"content").unwrap();
    drop(file);
    bench.memory.until_told(&["Put slow"]).await;
    server.stop().await;
    assert_eq!(
        bench.memory.told("f/on"),
        ["Put first", "Put a", "Put b", "Put c", "Put slow"]
    );
    assert_eq!(bench.memory.events()[4].size, Some(7));
}

#[tokio::test]
async fn ignored_names_are_no_objects() {
    let bench = Bench::new(json!({}));
    let server = bench.start().await;
    fs::create_dir(bench.path(".git")).unwrap();
    for name in [".hidden", "a.part", ".git/config"] {
        bench.send(name, "x");
    }
    // As rsync does: a hidden temporary name first.
    fs::rename(bench.path(".hidden"), bench.path("shown")).unwrap();
    fs::rename(bench.path("a.part"), bench.path("a")).unwrap();
    bench.memory.until_told(&["Put shown", "Put a"]).await;
    fs::rename(bench.path("a"), bench.path(".a")).unwrap();
    bench.memory.until_told(&["Delete a"]).await;
    bench.settle("last").await;
    server.stop().await;
    assert_eq!(bench.memory.events().len(), 4);
}

#[tokio::test]
async fn own_ignore_patterns_replace_the_default() {
    let bench = Bench::new(json!({})).settings(json!({"ignore": ["*.tmp"]}));
    let server = bench.start().await;
    bench.send("a.tmp", "x");
    bench.send(".a", "x");
    bench.send("a.part", "x");
    bench.memory.until_told(&["Put .a", "Put a.part"]).await;
    server.stop().await;
    assert_eq!(bench.memory.events().len(), 2);
}

#[tokio::test]
async fn each_binding_has_its_rules_and_its_settle_time() {
    let bench = Bench::new(json!({"rules": [{"prefix": "in/"}, {"suffix": ".csv"}]}))
        .binding(
            "f/late",
            json!({"bucket": "inbox", "settle": "300ms", "rules": [{"prefix": "in/"}]}),
        )
        .binding("g/gone", json!({"bucket": "inbox", "event": "s3:ObjectRemoved:Delete"}));
    fs::create_dir_all(bench.path("in")).unwrap();
    let server = bench.start().await;
    assert!(
        server.announced[0].text.starts_with("inbox  /") && server.announced[0].text.ends_with("/inbox  (-> f, g)")
    );
    let written = Instant::now();
    for name in ["in/a.csv", "in/b.txt", "c.csv", "in.csv"] {
        bench.write(name, "x");
    }
    bench.memory.until("three events", |events| events.len() == 3).await;
    let recorded = |key: &str| bench.memory.state().contains_key(&format!("seen/inbox/g%2Fgone/{key}"));
    bench
        .memory
        .until("both are recorded", |_| recorded("in/a.csv") && recorded("c.csv"))
        .await;
    bench.remove("in/a.csv");
    bench.remove("c.csv");
    bench.memory.until("three removals", |events| events.len() == 6).await;
    server.stop().await;
    let told = |binding| {
        let mut told = bench.memory.told(binding);
        told.sort();
        told
    };
    assert_eq!(told("f/on"), ["Delete in/a.csv", "Put in/a.csv"]);
    assert_eq!(told("f/late"), ["Put in/a.csv", "Put in/b.txt"]);
    assert_eq!(told("g/gone"), ["Delete c.csv", "Delete in/a.csv"]);
    let late = bench
        .memory
        .events()
        .into_iter()
        .find(|event| event.binding == "f/late")
        .unwrap();
    assert!(late.at - written >= Duration::from_millis(300));
}

#[tokio::test]
async fn what_is_no_regular_file_is_never_told_and_never_holds_anything_up() {
    let bench = Bench::new(json!({}));
    let secret = bench.directory.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    let make = |suffix: &str| {
        symlink(&secret, bench.path(&format!("link{suffix}"))).unwrap();
        symlink(bench.directory.path(), bench.path(&format!("directory{suffix}"))).unwrap();
        let fifo = bench.path(&format!("fifo{suffix}"));
        rustix::fs::mknodat(CWD, fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        std::os::unix::net::UnixListener::bind(bench.path(&format!("socket{suffix}"))).unwrap()
    };
    let _before = make("-before");
    let server = bench.start().await;
    let _after = make("-after");
    let outside = bench.directory.path().join("elsewhere");
    symlink(&secret, &outside).unwrap();
    fs::rename(&outside, bench.path("moved")).unwrap();
    // An object that is replaced by a link is gone.
    bench.settle("replaced").await;
    symlink(&secret, &outside).unwrap();
    fs::rename(&outside, bench.path("replaced")).unwrap();
    bench.memory.until_told(&["Delete replaced"]).await;
    fs::write(&secret, "new secret").unwrap();
    bench.settle("last").await;
    server.stop().await;
    let server = bench.start().await;
    bench.settle("after").await;
    server.stop().await;
    let mut told = bench.memory.told("f/on");
    told.sort();
    assert_eq!(told, ["Delete replaced", "Put after", "Put last", "Put replaced"]);
}

#[tokio::test]
async fn any_bytes_can_be_a_key() {
    let bench = Bench::new(json!({}));
    let server = bench.start().await;
    let names: [&[u8]; 4] = [b"a b@c", b"line\nbreak", b"\xff\xfe", b"\x1b[31mred"];
    for name in names {
        fs::write(bench.inbox().join(std::ffi::OsStr::from_bytes(name)), "x").unwrap();
    }
    bench
        .memory
        .until_told(&["Put a+b%40c", "Put line%0Abreak", "Put %FF%FE", "Put %1B%5B31mred"])
        .await;
    server.stop().await;
    // The keys come back from the state as they were.
    let server = bench.start().await;
    bench.settle("last").await;
    server.stop().await;
    assert_eq!(bench.memory.events().len(), 5);
}
