//! What happens after a restart to the slots that were missed. Under a virtual clock unless said otherwise.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use chrono::{TimeDelta, Utc};
use hikigane_trigger::{Clock, EmitError, SourceSpec};
use serde_json::{Value, json};
use support::{Machine, Record, binding};

/// Runs an hourly schedule at 00:00, is down over 01:00, 02:00 and 03:00, and starts again at 03:30.
async fn after_being_down(config: Value) -> Machine {
    let machine = Machine::at("2026-01-01T00:00:00Z");
    let bindings = vec![binding("f/x", config)];
    machine.start(bindings.clone()).await.stop().await;
    machine.advance("2026-01-01T03:30:00Z");
    let server = machine.start(bindings).await;
    machine.until(|world| !world.records.is_empty()).await;
    machine.advance("2026-01-01T04:00:00Z");
    machine
        .until(|world| world.lines().iter().any(|line| line.contains("T04:00:00Z")))
        .await;
    server.stop().await;
    machine
}

#[tokio::test]
async fn catch_up_none_skips_every_missed_slot() {
    let machine = after_being_down(json!({ "rate": "0 * * * *", "catchUp": "none" })).await;
    machine
        .expect(&[
            "f/x 2026-01-01T01:00:00Z skip: missed by 2h 30m; catchUp is none",
            "f/x 2026-01-01T02:00:00Z skip: missed by 1h 30m; catchUp is none",
            "f/x 2026-01-01T03:00:00Z skip: missed by 30m; catchUp is none",
            "f/x 2026-01-01T04:00:00Z run",
        ])
        .await;
}

#[tokio::test]
async fn catch_up_last_is_the_default_and_runs_the_last_missed_slot() {
    let machine = after_being_down(json!("0 * * * *")).await;
    machine
        .expect(&[
            "f/x 2026-01-01T01:00:00Z skip: missed by 2h 30m; catchUp runs only the last missed slot",
            "f/x 2026-01-01T02:00:00Z skip: missed by 1h 30m; catchUp runs only the last missed slot",
            "f/x 2026-01-01T03:00:00Z run",
            "f/x 2026-01-01T04:00:00Z run",
        ])
        .await;
}

#[tokio::test]
async fn catch_up_all_runs_every_missed_slot_in_order_one_at_a_time() {
    let machine = after_being_down(json!({ "rate": "rate(1 hour)", "catchUp": "all" })).await;
    machine
        .expect(&[
            "f/x 2026-01-01T01:00:00Z run",
            "f/x 2026-01-01T02:00:00Z run",
            "f/x 2026-01-01T03:00:00Z run",
            "f/x 2026-01-01T04:00:00Z run",
        ])
        .await;
}

#[tokio::test]
async fn many_missed_slots_share_a_record() {
    for (catch_up, records, runs, shared) in [
        (
            "none",
            101,
            0,
            "missed 1340 slots from 2026-01-01T00:01:00Z to 2026-01-01T22:20:00Z; catchUp is none",
        ),
        (
            "last",
            102,
            1,
            "missed 1339 slots from 2026-01-01T00:01:00Z to 2026-01-01T22:19:00Z; catchUp runs only the last missed slot",
        ),
        (
            "all",
            3,
            2,
            "missed 1438 slots from 2026-01-01T00:01:00Z to 2026-01-01T23:58:00Z; catchUpLimit is 2",
        ),
    ] {
        let spec = SourceSpec {
            settings: Some(json!({ "catchUpLimit": 2 })),
            bindings: vec![binding("f/x", json!({ "rate": "* * * * *", "catchUp": catch_up }))],
            ..SourceSpec::default()
        };
        let machine = Machine::at("2026-01-01T00:00:00Z");
        machine.start_with(spec.clone()).await.stop().await;
        machine.advance("2026-01-02T00:00:00Z");
        let server = machine.start_with(spec).await;
        machine.until(|world| world.records.len() >= records).await;
        server.stop().await;
        let found = machine.records();
        assert_eq!(found.len(), records, "{catch_up}");
        assert!(
            found[0].line().ends_with(&format!("skip: {shared}")),
            "{}",
            found[0].line()
        );
        let is_run = |record: &&Record| matches!(record, Record::Event { .. });
        assert_eq!(found.iter().filter(is_run).count(), runs, "{catch_up}");
    }
}

#[tokio::test]
async fn overlap_holds_for_the_last_missed_slot_and_catch_up_all_queues_behind() {
    for (catch_up, wanted) in [
        (
            "last",
            "f/x 2026-01-01T01:00:00Z skip: the previous run is still going, or waits for its next attempt",
        ),
        ("all", "f/x 2026-01-01T01:00:00Z run"),
    ] {
        let machine = Machine::at("2026-01-01T00:00:00Z");
        let bindings = vec![binding("f/x", json!({ "rate": "0 * * * *", "catchUp": catch_up }))];
        machine.start(bindings.clone()).await.stop().await;
        machine.advance("2026-01-01T01:30:00Z");
        machine.change(|world| world.pending = 1);
        let server = machine.start(bindings.clone()).await;
        machine.expect(&[wanted]).await;
        server.stop().await;
        // The decision is durable, whichever it was: the next server does not take it again.
        machine.change(|world| world.pending = 0);
        machine.advance("2026-01-01T02:10:00Z");
        let server = machine.start(bindings).await;
        machine.until(|world| world.records.len() > 1).await;
        server.stop().await;
        let lines: Vec<String> = machine.records().iter().map(Record::line).collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[1].starts_with("f/x 2026-01-01T02:00:00Z run"), "{lines:?}");
    }
}

#[tokio::test]
async fn a_catch_up_that_is_interrupted_goes_on_where_it_was() {
    let machine = Machine::at("2026-01-01T00:00:00Z");
    let bindings = vec![binding("f/x", json!({ "rate": "0 * * * *", "catchUp": "all" }))];
    machine.start(bindings.clone()).await.stop().await;
    machine.advance("2026-01-01T03:30:00Z");
    machine.change(|world| {
        world.failures = (1, Some(EmitError::Unavailable("the disk is full".into())));
        world.fail_from = 1;
    });
    let server = machine.start(bindings.clone()).await;
    machine.until(|world| world.failed == 1).await;
    machine.expect(&["f/x 2026-01-01T01:00:00Z run"]).await;
    // The wait before the next attempt outlives the server: another one finds what is left to do.
    server.stop().await;
    let server = machine.start(bindings).await;
    machine
        .expect(&[
            "f/x 2026-01-01T01:00:00Z run",
            "f/x 2026-01-01T02:00:00Z run",
            "f/x 2026-01-01T03:00:00Z run",
        ])
        .await;
    server.stop().await;
}

#[tokio::test]
async fn no_missed_slot_is_lost_to_a_failed_attempt() {
    for (catch_up, what) in [("all", "run"), ("none", "skip: missed by")] {
        let machine = Machine::at("2026-01-01T00:00:00Z");
        let bindings = vec![binding("f/x", json!({ "rate": "0 * * * *", "catchUp": catch_up }))];
        machine.start(bindings.clone()).await.stop().await;
        machine.advance("2026-01-01T03:30:00Z");
        machine.change(|world| {
            world.failures = (1, Some(EmitError::Unavailable("the disk is full".into())));
            world.fail_from = 1;
        });
        let server = machine.start(bindings).await;
        machine.until(|world| world.failed == 1).await;
        machine.advance("2026-01-01T03:30:01Z");
        machine.until(|world| world.records.len() == 3).await;
        server.stop().await;
        for (record, hour) in machine.records().iter().zip(1..) {
            let line = record.line();
            assert!(
                line.starts_with(&format!("f/x 2026-01-01T0{hour}:00:00Z {what}")),
                "{line}"
            );
        }
    }
}

#[tokio::test]
async fn a_crash_before_the_first_slot_does_not_lose_it() {
    let machine = Machine::at("2026-01-01T00:59:59Z");
    let bindings = vec![binding("f/x", json!("0 * * * *"))];
    machine.start(bindings.clone()).await.kill().await;
    machine.advance("2026-01-01T01:10:00Z");
    let server = machine.start(bindings).await;
    machine.expect(&["f/x 2026-01-01T01:00:00Z run"]).await;
    server.stop().await;
}

#[tokio::test]
async fn another_expression_another_zone_or_an_absence_begins_anew() {
    let old = json!({ "rate": "0 * * * *", "timezone": "UTC" });
    for (label, meanwhile, now) in [
        ("expression", None, json!({ "rate": "0/30 * * * *", "timezone": "UTC" })),
        ("zone", None, json!({ "rate": "0 * * * *", "timezone": "Europe/Paris" })),
        ("absence", Some(binding("f/other", json!("0 0 1 1 *"))), old.clone()),
    ] {
        let machine = Machine::at("2026-01-01T00:00:00Z");
        machine.start(vec![binding("f/x", old.clone())]).await.stop().await;
        machine.advance("2026-01-01T02:59:00Z");
        if let Some(other) = meanwhile {
            machine.start(vec![other]).await.stop().await;
        }
        let server = machine.start(vec![binding("f/x", now)]).await;
        machine
            .until(|world| {
                world
                    .state
                    .get("decided/f/x")
                    .is_some_and(|value| String::from_utf8_lossy(value).contains("02:59:00"))
            })
            .await;
        machine.advance("2026-01-01T03:00:00Z");
        machine.until(|world| !world.records.is_empty()).await;
        server.stop().await;
        let lines: Vec<String> = machine.records().iter().map(Record::line).collect();
        assert_eq!(lines, ["f/x 2026-01-01T03:00:00Z run"], "{label}");
    }
}

#[tokio::test]
async fn a_state_from_the_future_or_unreadable_begins_anew() {
    for state in [
        r#"{"slot":"2031-01-01T00:00:00Z","expression":"0 * * * *","timezone":"UTC"}"#,
        "no JSON",
    ] {
        let machine = Machine::at("2026-01-01T00:30:00Z");
        machine.change(|world| {
            world.state.insert("decided/f/x".into(), state.into());
        });
        let server = machine.start(vec![binding("f/x", json!("0 * * * *"))]).await;
        machine
            .until(|world| world.state["decided/f/x"] != state.as_bytes())
            .await;
        machine.advance("2026-01-01T01:00:00Z");
        machine.expect(&["f/x 2026-01-01T01:00:00Z run"]).await;
        server.stop().await;
    }
}

#[tokio::test]
async fn on_the_machines_clock_a_slot_is_missed_after_a_minute() {
    let now = Utc::now();
    let state = |ago: TimeDelta| {
        let slot = now - TimeDelta::minutes(10) - ago;
        json!({ "slot": slot, "expression": "rate(10 minutes)", "timezone": "UTC" }).to_string()
    };
    let machine = Machine::new(Clock::system());
    machine.change(|world| {
        world
            .state
            .insert("decided/f/late".into(), state(TimeDelta::seconds(20)).into());
        world
            .state
            .insert("decided/f/missed".into(), state(TimeDelta::seconds(80)).into());
    });
    let config = json!({ "rate": "rate(10 minutes)", "catchUp": "none" });
    let server = machine
        .start(vec![binding("f/late", config.clone()), binding("f/missed", config)])
        .await;
    machine.until(|world| world.records.len() == 2).await;
    server.stop().await;
    let mut lines: Vec<String> = machine.records().iter().map(Record::line).collect();
    lines.sort();
    assert!(lines[0].starts_with("f/late") && lines[0].ends_with("run"), "{lines:?}");
    assert!(
        lines[1].starts_with("f/missed") && lines[1].contains("skip: missed by 1m"),
        "{lines:?}"
    );
}
