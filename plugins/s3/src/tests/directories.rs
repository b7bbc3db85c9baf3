//! Directories that come, move and go while the server runs.

use std::fs;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_in_directories_made_a_moment_ago_are_told() {
    let bench = Bench::new(json!({}));
    let server = bench.start().await;
    for i in 0..50 {
        fs::create_dir_all(bench.path(&format!("{i}/b/c"))).unwrap();
        bench.write(&format!("{i}/b/c/deep"), "x");
        bench.write(&format!("{i}/shallow"), "x");
    }
    bench.memory.until("100 events", |events| events.len() >= 100).await;
    bench.settle("49/b/c/last").await;
    server.stop().await;
    let told: HashSet<String> = bench.memory.events().into_iter().map(|event| event.key).collect();
    assert_eq!(told, keys(&bench.inbox()));
    assert_eq!(bench.memory.events().len(), 101);
}

#[tokio::test]
async fn a_directory_that_moves_takes_its_objects_along() {
    let bench = Bench::new(json!({}));
    let server = bench.start().await;
    let outside = bench.directory.path().join("outside");
    fs::create_dir_all(outside.join("sub")).unwrap();
    fs::write(outside.join("sub/a"), "x").unwrap();
    fs::rename(&outside, bench.path("one")).unwrap();
    bench.memory.until_told(&["Put one/sub/a"]).await;
    fs::rename(bench.path("one"), bench.path("two")).unwrap();
    bench.memory.until_told(&["Delete one/sub/a", "Put two/sub/a"]).await;
    bench.write("two/sub/b", "x");
    bench.memory.until_told(&["Put two/sub/b"]).await;
    fs::rename(bench.path("two"), &outside).unwrap();
    bench.memory.until_told(&["Delete two/sub/a", "Delete two/sub/b"]).await;
    fs::write(outside.join("sub/c"), "x").unwrap();
    bench.settle("last").await;
    server.stop().await;
    assert_eq!(bench.memory.events().len(), 7);
}

#[tokio::test]
async fn a_directory_that_is_deleted_and_made_again_is_watched_again() {
    let bench = Bench::new(json!({}));
    let server = bench.start().await;
    for round in 0..10 {
        fs::create_dir_all(bench.path("a/b")).unwrap();
        bench.write("a/b/c", "x");
        let rounds = |what: &str, events: &[Emitted]| events.iter().filter(|event| event.what == what).count();
        bench
            .memory
            .until("it is put", |events| rounds("Put", events) == round + 1)
            .await;
        fs::remove_dir_all(bench.path("a")).unwrap();
        if round % 2 == 0 {
            bench
                .memory
                .until("it is removed", |events| rounds("Delete", events) > round / 2)
                .await;
        }
    }
    bench.settle("last").await;
    server.stop().await;
}

#[tokio::test]
async fn the_bucket_itself_may_go_and_come_back() {
    let bench = Bench::new(json!({}));
    let server = bench.start().await;
    bench.write("kept", "x");
    bench.write("dropped", "x");
    bench.memory.until_told(&["Put kept", "Put dropped"]).await;
    // Away and back: nothing happened to its objects.
    let away = bench.directory.path().join("away");
    fs::rename(bench.inbox(), &away).unwrap();
    fs::remove_file(away.join("dropped")).unwrap();
    fs::write(away.join("new"), "x").unwrap();
    fs::rename(&away, bench.inbox()).unwrap();
    bench.memory.until_told(&["Delete dropped", "Put new"]).await;
    bench.settle("after").await;
    assert_eq!(bench.memory.events().len(), 5);
    // Deleted and made again, possibly with the same inode.
    fs::remove_dir_all(bench.inbox()).unwrap();
    fs::create_dir(bench.inbox()).unwrap();
    bench.write("again", "x");
    bench
        .memory
        .until_told(&["Put again", "Delete kept", "Delete new", "Delete after"])
        .await;
    bench.settle("last").await;
    server.stop().await;
    assert_eq!(bench.memory.events().len(), 10);
    assert_eq!(bench.memory.state().len(), 2);
}

#[tokio::test]
async fn while_the_bucket_is_gone_nothing_is_said_about_its_objects() {
    let mut bench = Bench::new(json!({}));
    bench.limits.poll = Duration::from_millis(10);
    let server = bench.start().await;
    bench.settle("a").await;
    let away = bench.directory.path().join("away");
    fs::rename(bench.inbox(), &away).unwrap();
    // Nothing can be waited for: this is the time for ten looks at the directory.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(bench.memory.told("f/on"), ["Put a"]);
    fs::rename(&away, bench.inbox()).unwrap();
    bench.settle("b").await;
    server.stop().await;
    assert_eq!(bench.memory.told("f/on"), ["Put a", "Put b"]);
}
