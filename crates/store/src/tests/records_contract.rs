//! What state and history promise, one promise a test.

use bytes::Bytes;
use hikigane_model::{BindingId, InvokeMode};

use super::*;
use crate::{History, RunFilter, State};

contracts! {
    state_is_kept_by_namespace
    state_goes_with_its_event_and_its_skip
    runs_come_back_whole_and_newest_first
    filters_choose_runs
    long_bodies_are_cut
}

async fn state_is_kept_by_namespace(state: &dyn State) {
    let writes = vec![
        set("s3", "b/2", "2"),
        set("s3", "b/1", "1"),
        set("s3", "c", "3"),
        set("schedule", "b/1", "other"),
    ];
    state.write(writes, None).await.unwrap();
    assert_eq!(state.get("s3", "b/1").await.unwrap(), Some(b"1".to_vec()));
    assert_eq!(state.get("s3", "b").await.unwrap(), None);
    let pair = |key: &str, value: &str| (key.to_owned(), value.as_bytes().to_vec());
    assert_eq!(
        state.scan("s3", "b/").await.unwrap(),
        [pair("b/1", "1"), pair("b/2", "2")]
    );
    assert_eq!(state.scan("s3", "").await.unwrap().len(), 3);
    // The last write of a key counts.
    state
        .write(vec![set("s3", "c", "x"), delete("s3", "b/1"), set("s3", "c", "")], None)
        .await
        .unwrap();
    assert_eq!(state.scan("s3", "").await.unwrap(), [pair("b/2", "2"), pair("c", "")]);
    assert_eq!(state.get("schedule", "b/1").await.unwrap(), Some(b"other".to_vec()));
}

async fn state_goes_with_its_event_and_its_skip(store: &dyn Store) {
    store
        .enqueue(event("f", "1"), vec![set("schedule", "slot", "1")])
        .await
        .unwrap();
    assert_eq!(store.get("schedule", "slot").await.unwrap(), Some(b"1".to_vec()));
    let skip = Run {
        status: RunStatus::Skipped,
        reason: Some("still running".into()),
        ..run("f", "skip")
    };
    State::write(store, vec![set("schedule", "slot", "2")], Some(skip.clone()))
        .await
        .unwrap();
    assert_eq!(store.get("schedule", "slot").await.unwrap(), Some(b"2".to_vec()));
    let runs = recorded(store, ten(), 1).await;
    assert_eq!(
        runs.iter().map(|recorded| &recorded.run).collect::<Vec<_>>(),
        [&brief(&skip)]
    );
    assert_eq!(store.run(runs[0].id).await.unwrap().unwrap().run, skip);
}

fn ten() -> RunFilter {
    RunFilter {
        limit: 10,
        ..RunFilter::default()
    }
}

/// The run as lists have it.
fn brief(run: &Run) -> Run {
    Run {
        input: Bytes::new(),
        output: Bytes::new(),
        log: String::new(),
        ..run.clone()
    }
}

/// The runs that match, which are so many: those recorded a moment ago, too.
async fn recorded(history: &dyn History, filter: RunFilter, count: usize) -> Vec<crate::RecordedRun> {
    let runs = history.runs(filter).await.unwrap();
    assert_eq!(runs.len(), count);
    runs
}

async fn runs_come_back_whole_and_newest_first(history: &dyn History) {
    let full = run("f", "1");
    let bare = Run {
        binding: None,
        mode: InvokeMode::Async,
        status: RunStatus::TimedOut,
        reason: Some("Sandbox.Timedout".into()),
        init_ms: None,
        ..run("f", "2")
    };
    history.record(full.clone());
    history.record(bare.clone());
    let runs = recorded(history, ten(), 2).await;
    assert_eq!(
        runs.iter().map(|recorded| &recorded.run).collect::<Vec<_>>(),
        [&brief(&bare), &brief(&full)]
    );
    for (recorded, run) in runs.iter().zip([bare, full]) {
        assert_eq!(history.run(recorded.id).await.unwrap().unwrap().run, run);
    }
    assert_eq!(history.run(runs[0].id + 1).await.unwrap(), None);
    assert_eq!(history.dropped(), 0);
}

async fn filters_choose_runs(history: &dyn History) {
    for (name, id, status) in [
        ("a", "1", RunStatus::Succeeded),
        ("a", "2", RunStatus::Failed),
        ("b", "3", RunStatus::Failed),
        ("a", "4", RunStatus::Failed),
        ("b", "4", RunStatus::Crashed),
    ] {
        history.record(Run {
            status,
            ..run(name, id)
        });
    }
    let all = recorded(
        history,
        RunFilter {
            limit: 10,
            ..RunFilter::default()
        },
        5,
    )
    .await;
    let filter = RunFilter {
        limit: 10,
        ..RunFilter::default()
    };
    let (a, failed) = (Some(function("a")), Some(RunStatus::Failed));
    let binding = Some(BindingId::new(&function("b"), "drop"));
    let four = Some(RequestId::from_text("4"));
    let cases = [
        (
            RunFilter {
                limit: 2,
                ..filter.clone()
            },
            vec!["4", "4"],
        ),
        (
            RunFilter {
                before: Some(all[1].id),
                limit: 2,
                ..filter.clone()
            },
            vec!["3", "2"],
        ),
        (
            RunFilter {
                function: a.clone(),
                ..filter.clone()
            },
            vec!["4", "2", "1"],
        ),
        (
            RunFilter {
                function: a.clone(),
                before: Some(all[1].id),
                ..filter.clone()
            },
            vec!["2", "1"],
        ),
        (
            RunFilter {
                function: a.clone(),
                status: failed,
                ..filter.clone()
            },
            vec!["4", "2"],
        ),
        (
            RunFilter {
                binding: binding.clone(),
                ..filter.clone()
            },
            vec!["4", "3"],
        ),
        (
            RunFilter {
                binding,
                status: failed,
                ..filter.clone()
            },
            vec!["3"],
        ),
        (
            RunFilter {
                request_id: four.clone(),
                ..filter.clone()
            },
            vec!["4", "4"],
        ),
        (
            RunFilter {
                request_id: four,
                function: a,
                ..filter.clone()
            },
            vec!["4"],
        ),
        (
            RunFilter {
                status: failed,
                ..filter.clone()
            },
            vec!["4", "3", "2"],
        ),
        (RunFilter { limit: 0, ..filter }, vec![]),
    ];
    for (filter, expected) in cases {
        let runs = history.runs(filter.clone()).await.unwrap();
        assert_eq!(
            runs.iter().map(|r| r.run.request_id.as_str()).collect::<Vec<_>>(),
            expected,
            "{filter:?}"
        );
    }
}

async fn long_bodies_are_cut(store: &dyn Store) {
    const LIMIT: usize = 256 * 1024;
    let body = Bytes::from("é".repeat(LIMIT));
    let long = Run {
        input: body.slice(1..),
        output: body.clone(),
        log: format!("{}last line", "é".repeat(LIMIT)),
        ..run("f", "1")
    };
    store.record(long.clone());
    recorded(store, ten(), 1).await;
    State::write(store, vec![], Some(long)).await.unwrap();
    for recorded in recorded(store, ten(), 2).await {
        let run = store.run(recorded.id).await.unwrap().unwrap().run;
        assert_eq!((run.output.len(), &run.output[..]), (LIMIT, &body[..LIMIT]));
        assert_eq!(run.input, body.slice(1..LIMIT));
        assert!(
            run.log.len() <= LIMIT && run.log.len() > LIMIT - 100,
            "{}",
            run.log.len()
        );
        assert!(
            run.log.starts_with("[the first ") && run.log.ends_with("last line"),
            "{}",
            &run.log[..80]
        );
    }
}
