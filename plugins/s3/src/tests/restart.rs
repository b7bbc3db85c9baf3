//! What the state remembers from one run to the next.

use std::fs::{self, File};
use std::io::Write;

use super::*;

#[tokio::test]
async fn a_start_tells_what_came_changed_and_went_and_nothing_twice() {
    let bench = Bench::new(json!({}));
    fs::create_dir(bench.path("in")).unwrap();
    for name in ["same", "changed", "in/removed"] {
        bench.write(name, "x");
    }
    let server = bench.start().await;
    bench
        .memory
        .until_told(&["Put same", "Put changed", "Put in/removed"])
        .await;
    server.stop().await;

    bench.write("changed", "longer");
    fs::remove_dir_all(bench.path("in")).unwrap();
    bench.write("new", "x");
    let server = bench.start().await;
    bench.memory.until_told(&["Put new", "Delete in/removed"]).await;
    bench.memory.until("all are told", |events| events.len() == 6).await;
    server.stop().await;
    let mut told = bench.memory.told("f/on").split_off(3);
    told.sort();
    assert_eq!(told, ["Delete in/removed", "Put changed", "Put new"]);

    let server = bench.start().await;
    bench.settle("last").await;
    server.stop().await;
    assert_eq!(bench.memory.events().len(), 7);
}

#[tokio::test]
async fn on_start_ignore_takes_what_is_there_as_seen() {
    let bench = Bench::new(json!({})).settings(json!({"onStart": "ignore"}));
    bench.write("old", "x");
    bench.write("dropped", "x");
    let server = bench.start().await;
    bench.settle("live").await;
    server.stop().await;
    bench.write("old", "changed while down");
    bench.write("came", "x");
    bench.remove("dropped");
    let server = bench.start().await;
    bench.settle("last").await;
    bench.remove("old");
    bench.memory.until_told(&["Delete old"]).await;
    server.stop().await;
    assert_eq!(bench.memory.told("f/on"), ["Put live", "Put last", "Delete old"]);
    let state: Vec<String> = bench.memory.state().into_keys().collect();
    assert_eq!(
        state,
        [
            "seen/inbox/f%2Fon/came",
            "seen/inbox/f%2Fon/last",
            "seen/inbox/f%2Fon/live"
        ]
    );
}

#[tokio::test]
async fn with_ignore_what_comes_after_the_opening_is_told() {
    let bench = Bench::new(json!({})).settings(json!({"onStart": "ignore"}));
    bench.write("old", "x");
    bench.write("rewritten", "x");
    let mut source = Box::new(bench.source());
    source.open(&Clock::system(), &bench.state()).await.unwrap();
    // No watch is set yet.
    bench.write("new", "x");
    bench.write("rewritten", "longer");
    let shutdown = CancellationToken::new();
    let context = Context {
        events: EventSink::new(bench.memory.clone()),
        state: PluginState::new("s3", bench.memory.clone()),
        shutdown: shutdown.clone(),
        clock: Clock::system(),
    };
    let task = tokio::spawn(source.run(context));
    bench.memory.until_told(&["Put new", "Put rewritten"]).await;
    shutdown.cancel();
    task.await.unwrap().unwrap();
    assert_eq!(bench.memory.events().len(), 2);
}

#[tokio::test]
async fn a_crash_between_two_bindings_leaves_the_second_to_be_told() {
    let bench = Bench::new(json!({})).binding("g/on", json!({"bucket": "inbox", "settle": "50ms"}));
    bench.memory.mood(|mood| mood.stuck.extend(["g/on".to_owned()]));
    let server = bench.start().await;
    bench.write("a", "x");
    bench.memory.until_told(&["Put a"]).await;
    server.stop().await;
    bench.memory.mood(|mood| mood.stuck.clear());
    let server = bench.start().await;
    bench.memory.until("both are told", |events| events.len() == 2).await;
    bench.settle("b").await;
    server.stop().await;
    assert_eq!(bench.memory.told("f/on"), ["Put a", "Put b"]);
    assert_eq!(bench.memory.told("g/on")[0], "Put a");
}

#[tokio::test]
async fn a_binding_that_only_wants_removals_remembers_what_was_there() {
    let mut bench = Bench::new(json!({}));
    bench.bindings = vec![(
        "f/on",
        json!({"bucket": "inbox", "event": "s3:ObjectRemoved:*", "settle": 0}),
    )];
    bench.write("a", "x");
    let server = bench.start().await;
    bench
        .memory
        .until("it is recorded", |_| bench.memory.state().len() == 1)
        .await;
    server.stop().await;
    bench.remove("a");
    let server = bench.start().await;
    bench.memory.until_told(&["Delete a"]).await;
    server.stop().await;
    assert_eq!(bench.memory.state(), BTreeMap::new());
    assert_eq!(bench.memory.events().len(), 1);
}

#[tokio::test]
async fn another_directory_or_rule_does_not_remove_what_it_does_not_hold() {
    let mut bench = Bench::new(json!({}));
    bench.write("a.csv", "x");
    bench.write("b.txt", "x");
    let server = bench.start().await;
    bench.memory.until_told(&["Put a.csv", "Put b.txt"]).await;
    server.stop().await;
    bench.bindings[0].1["rules"] = json!([{"suffix": ".csv"}]);
    bench.remove("b.txt");
    let server = bench.start().await;
    bench.settle("last.csv").await;
    server.stop().await;
    assert_eq!(bench.memory.events().len(), 3);
}

#[tokio::test]
async fn a_file_that_is_open_for_writing_at_the_start_waits_for_its_close() {
    let bench = Bench::new(json!({"settle": 0}));
    let mut file = File::create(bench.path("open")).unwrap();
    file.write_all(b"half").unwrap();
    let server = bench.start().await;
    for name in ["a", "b", "c"] {
        bench.settle(name).await;
    }
    assert_eq!(bench.memory.told("f/on"), ["Put a", "Put b", "Put c"]);
    file.write_all(b"half").unwrap();
    drop(file);
    bench.memory.until_told(&["Put open"]).await;
    server.stop().await;
    assert_eq!(bench.memory.events()[3].size, Some(8));
}

#[tokio::test]
async fn a_damaged_state_entry_costs_one_event_more() {
    let bench = Bench::new(json!({}));
    let server = bench.start().await;
    bench.settle("a").await;
    server.stop().await;
    bench
        .memory
        .stored
        .lock()
        .unwrap()
        .state
        .insert("seen/inbox/f%2Fon/a".into(), b"\xff".to_vec());
    let server = bench.start().await;
    bench.memory.until("it is told again", |events| events.len() == 2).await;
    server.stop().await;
}
