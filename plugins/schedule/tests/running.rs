//! Running schedules: slots, clock changes, overlap, failures, events. Under a virtual clock unless said otherwise.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use chrono::{TimeDelta, Utc};
use hikigane_trigger::model::limits;
use hikigane_trigger::{Clock, EmitError, SourceSpec};
use serde_json::{Value, json};
use support::{Machine, Record, binding, run_unheard, utc};

#[tokio::test]
async fn each_slot_fires_when_its_time_has_come_and_not_before() {
    let machine = Machine::at("2026-01-01T00:00:30Z");
    let server = machine
        .start(vec![
            binding("f/tick", json!("*/5 * * * *")),
            binding("f/beat", json!("rate(2 minutes)")),
        ])
        .await;
    machine.advance("2026-01-01T00:04:59Z");
    machine
        .expect(&["f/beat 2026-01-01T00:02:30Z run", "f/beat 2026-01-01T00:04:30Z run"])
        .await;
    machine.clear();
    // A jump over several slots decides all, in the order of time over both schedules.
    machine.advance("2026-01-01T00:10:00Z");
    machine
        .expect(&[
            "f/tick 2026-01-01T00:05:00Z run",
            "f/beat 2026-01-01T00:06:30Z run",
            "f/beat 2026-01-01T00:08:30Z run",
            "f/tick 2026-01-01T00:10:00Z run",
        ])
        .await;
    server.stop().await;
    assert_eq!(machine.records().len(), 4);
}

#[tokio::test]
async fn a_one_time_schedule_fires_once_in_its_zone_also_across_restarts() {
    let machine = Machine::at("2026-07-01T00:00:00Z");
    let mut bindings = vec![binding(
        "f/once",
        json!({ "rate": "at(2026-07-01T09:30:00)", "timezone": "Asia/Tokyo", "catchUp": "all" }),
    )];
    let server = machine.start(bindings.clone()).await;
    machine.advance("2026-07-01T01:00:00Z");
    machine.expect(&["f/once 2026-07-01T00:30:00Z run"]).await;
    server.stop().await;
    machine.advance("2026-07-02T00:00:00Z");
    // The other schedule shows that the server has looked at what was missed.
    bindings.push(binding("f/other", json!("rate(1 hour)")));
    let server = machine.start(bindings).await;
    machine.advance("2026-07-02T01:00:00Z");
    machine
        .expect(&["f/once 2026-07-01T00:30:00Z run", "f/other 2026-07-02T01:00:00Z run"])
        .await;
    server.stop().await;
}

#[tokio::test]
async fn clocks_that_go_forward_leave_a_record_and_clocks_that_go_back_fire_once() {
    for (zone, before, spring, autumn_begins, autumn_ends, wanted) in [
        (
            "Europe/Paris",
            "2026-03-28T12:00:00Z",
            "2026-03-30T12:00:00Z",
            "2026-10-24T12:00:00Z",
            "2026-10-26T12:00:00Z",
            [
                "f/x 2026-03-29T00:59:59Z skip: 2026-03-29 02:30:00 does not exist: clocks go forward in Europe/Paris",
                "f/x 2026-03-30T00:30:00Z run",
                "f/x 2026-10-25T00:30:00Z run",
                "f/x 2026-10-26T01:30:00Z run",
            ],
        ),
        (
            "America/New_York",
            "2026-03-07T12:00:00Z",
            "2026-03-09T12:00:00Z",
            "2026-10-31T12:00:00Z",
            "2026-11-02T12:00:00Z",
            [
                "f/x 2026-03-08T06:59:59Z skip: 2026-03-08 02:30:00 does not exist: clocks go forward in America/New_York",
                "f/x 2026-03-09T06:30:00Z run",
                // 02:30 comes once in New York; its doubled hour is the one from 01:00.
                "f/x 2026-11-01T07:30:00Z run",
                "f/x 2026-11-02T07:30:00Z run",
            ],
        ),
    ] {
        let config = json!({ "rate": "cron(30 2 * * ? *)", "timezone": zone, "catchUp": "none" });
        let machine = Machine::at(before);
        let server = machine.start(vec![binding("f/x", config.clone())]).await;
        machine.advance(spring);
        machine.expect(&wanted[..2]).await;
        server.stop().await;

        let machine = Machine::at(autumn_begins);
        let server = machine.start(vec![binding("f/x", config)]).await;
        machine.advance(autumn_ends);
        machine.expect(&wanted[2..]).await;
        server.stop().await;
        assert_eq!(machine.records().len(), 2);
    }
}

#[tokio::test]
async fn the_default_time_zone_holds_where_none_is_given() {
    let machine = Machine::at("2026-01-01T00:00:00Z");
    let spec = SourceSpec {
        bindings: vec![
            binding("f/a", json!("0 3 * * *")),
            binding("f/b", json!({ "rate": "0 3 * * *", "timezone": "UTC" })),
        ],
        timezone: Some("Europe/Paris".into()),
        ..SourceSpec::default()
    };
    let server = machine.start_with(spec).await;
    machine.advance("2026-01-01T04:00:00Z");
    machine
        .expect(&["f/a 2026-01-01T02:00:00Z run", "f/b 2026-01-01T03:00:00Z run"])
        .await;
    server.stop().await;
}

#[tokio::test]
async fn overlap_says_what_happens_while_the_previous_run_is_going() {
    for (overlap, wanted) in [
        (
            "skip",
            "f/x 2026-01-01T01:00:00Z skip: the previous run is still going, or waits for its next attempt",
        ),
        ("allow", "f/x 2026-01-01T01:00:00Z run beside"),
        ("queue", "f/x 2026-01-01T01:00:00Z run"),
    ] {
        let machine = Machine::at("2026-01-01T00:00:00Z");
        machine.change(|world| world.pending = 1);
        let server = machine
            .start(vec![binding("f/x", json!({ "rate": "0 * * * *", "overlap": overlap }))])
            .await;
        machine.advance("2026-01-01T01:00:00Z");
        machine.expect(&[wanted]).await;
        // When the previous run is done, the next slot runs under each rule.
        machine.change(|world| world.pending = 0);
        machine.clear();
        machine.advance("2026-01-01T02:00:00Z");
        let run = if overlap == "allow" {
            "f/x 2026-01-01T02:00:00Z run beside"
        } else {
            "f/x 2026-01-01T02:00:00Z run"
        };
        machine.expect(&[run]).await;
        server.stop().await;
    }
}

#[tokio::test]
async fn a_slot_that_cannot_be_stored_stays_undecided_and_is_tried_again() {
    let machine = Machine::at("2026-01-01T00:00:00Z");
    let server = machine.start(vec![binding("f/x", json!("0 * * * *"))]).await;
    machine.change(|world| world.failures = (3, Some(EmitError::Unavailable("the disk is full".into()))));
    machine.advance("2026-01-01T01:00:00Z");
    // Each wait is longer than the one before: 1, 2, 4 seconds.
    for (failed, next) in [
        (1, "2026-01-01T01:00:01Z"),
        (2, "2026-01-01T01:00:03Z"),
        (3, "2026-01-01T01:00:07Z"),
    ] {
        machine.until(|world| world.failed == failed).await;
        machine
            .until(|world| {
                world.records.is_empty() && String::from_utf8_lossy(&world.state["decided/f/x"]).contains("00:00:00Z")
            })
            .await;
        machine.advance(next);
    }
    machine.expect(&["f/x 2026-01-01T01:00:00Z run"]).await;
    server.stop().await;
}

#[test]
fn a_source_whose_troubles_nobody_reads_goes_on() {
    run_unheard("a_slot_that_cannot_be_stored_stays_undecided_and_is_tried_again");
    run_unheard("a_store_that_is_not_ready_at_the_start_is_asked_again");
}

#[tokio::test]
async fn slots_behind_one_that_cannot_be_stored_wait_and_come_in_order() {
    let machine = Machine::at("2026-01-01T00:00:00Z");
    let server = machine.start(vec![binding("f/x", json!("* * * * *"))]).await;
    machine.change(|world| world.failures = (1, Some(EmitError::Unavailable("the disk is full".into()))));
    machine.advance("2026-01-01T00:01:00Z");
    machine.until(|world| world.failed == 1).await;
    machine.advance("2026-01-01T00:03:00Z");
    machine
        .expect(&[
            "f/x 2026-01-01T00:01:00Z run",
            "f/x 2026-01-01T00:02:00Z run",
            "f/x 2026-01-01T00:03:00Z run",
        ])
        .await;
    server.stop().await;
}

#[tokio::test]
async fn a_store_that_is_not_ready_at_the_start_is_asked_again() {
    let machine = Machine::at("2026-01-01T00:00:00Z");
    machine.change(|world| world.failures = (6, Some(EmitError::Unavailable("locked".into()))));
    let server = machine.start(vec![binding("f/x", json!("0 * * * *"))]).await;
    // As for a slot: 1, 2, 4, 5, 5 seconds.
    for (failed, next) in [
        (2, "2026-01-01T00:00:01Z"),
        (3, "2026-01-01T00:00:03Z"),
        (4, "2026-01-01T00:00:07Z"),
        (5, "2026-01-01T00:00:12Z"),
        (6, "2026-01-01T00:00:17Z"),
    ] {
        machine.until(|world| world.failed == failed).await;
        assert!(machine.state().is_empty());
        machine.advance(next);
    }
    machine.until(|world| !world.state.is_empty()).await;
    machine.advance("2026-01-01T01:00:00Z");
    machine.expect(&["f/x 2026-01-01T01:00:00Z run"]).await;
    server.stop().await;
}

#[tokio::test]
async fn an_event_that_is_refused_as_too_large_is_skipped() {
    let machine = Machine::at("2026-01-01T00:00:00Z");
    let server = machine.start(vec![binding("f/x", json!("0 * * * *"))]).await;
    let too_large = EmitError::TooLarge {
        size: limits::ASYNC_PAYLOAD + 1,
        limit: limits::ASYNC_PAYLOAD,
    };
    machine.change(|world| world.failures = (1, Some(too_large)));
    machine.advance("2026-01-01T01:00:00Z");
    machine
        .expect(&["f/x 2026-01-01T01:00:00Z skip: the event has 1048577 bytes; an asynchronous event may have 1048576"])
        .await;
    server.stop().await;
}

#[tokio::test]
async fn on_the_machines_clock_a_slot_fires_in_time() {
    let slot = (Utc::now() + TimeDelta::seconds(2))
        .format("at(%Y-%m-%dT%H:%M:%S)")
        .to_string();
    let machine = Machine::new(Clock::system());
    let server = machine.start(vec![binding("f/x", json!(slot))]).await;
    machine.until(|world| !world.records.is_empty()).await;
    let Record::Event { event, .. } = &machine.records()[0] else {
        panic!("the slot was not missed")
    };
    let late = Utc::now() - event.time;
    assert!(late >= TimeDelta::zero() && late < TimeDelta::seconds(2), "{late}");
    server.stop().await;
}

#[tokio::test]
async fn a_thousand_schedules_fire_at_the_same_second() {
    let machine = Machine::at("2026-01-01T00:00:00Z");
    let server = machine
        .start(
            (0..1000)
                .map(|number| binding(&format!("f/{number}"), json!("0 * * * *")))
                .collect(),
        )
        .await;
    machine.advance("2026-01-01T01:00:00Z");
    machine.until(|world| world.records.len() >= 1000).await;
    machine.advance("2026-01-01T02:00:00Z");
    machine.until(|world| world.records.len() >= 2000).await;
    server.stop().await;
    let mut lines: Vec<String> = machine.records().iter().map(Record::line).collect();
    lines.sort();
    lines.dedup();
    assert_eq!(lines.len(), 2000);
    assert!(lines.iter().all(|line| line.ends_with("run")));
}

#[tokio::test]
async fn the_event_is_eventbridges_scheduled_event() {
    let machine = Machine::at("2026-01-01T00:00:00Z");
    let server = machine
        .start(vec![binding("ingest/nightly", json!("cron(0 2 * * ? *)"))])
        .await;
    machine.advance("2026-01-01T02:00:00Z");
    machine.until(|world| !world.records.is_empty()).await;
    server.stop().await;
    let Record::Event { event, .. } = &machine.records()[0] else {
        panic!("it ran")
    };
    assert_eq!(event.time, utc("2026-01-01T02:00:00Z"));
    let text = String::from_utf8(event.payload.to_vec()).unwrap();
    let id = serde_json::from_str::<Value>(&text).unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(id.len(), 36);
    assert_eq!(
        text.replace(&id, "ID"),
        r#"{"version":"0","id":"ID","detail-type":"Scheduled Event","source":"aws.events","account":"000000000000","time":"2026-01-01T02:00:00Z","region":"us-east-1","resources":["arn:aws:events:us-east-1:000000000000:rule/ingest-nightly"],"detail":{}}"#
    );
}

#[tokio::test]
async fn an_input_is_the_event_verbatim() {
    for (name, input) in [
        ("object", json!({ "b": 1, "a": [true, null], "s": "é\n" })),
        ("null", Value::Null),
        ("text", json!("go")),
    ] {
        let machine = Machine::at("2026-01-01T00:00:00Z");
        let server = machine
            .start(vec![binding("f/x", json!({ "rate": "0 * * * *", "input": input }))])
            .await;
        machine.advance("2026-01-01T01:00:00Z");
        machine.until(|world| !world.records.is_empty()).await;
        server.stop().await;
        let Record::Event { event, .. } = &machine.records()[0] else {
            panic!("it ran")
        };
        assert_eq!(event.payload, input.to_string(), "{name}");
    }
}

#[tokio::test]
async fn the_keywords_of_eventbridge_scheduler_are_replaced_in_an_input() {
    let machine = Machine::at("2026-01-01T00:00:00Z");
    let input = json!({
        "<aws.scheduler.schedule-arn>": ["at <aws.scheduler.scheduled-time>, <aws.scheduler.scheduled-time>"],
        "attempt": "<aws.scheduler.attempt-number>",
        "execution": "<aws.scheduler.execution-id>",
        "others": "<aws.scheduler.other> <b>",
    });
    let server = machine
        .start(vec![binding(
            "ingest/nightly",
            json!({ "rate": "0 * * * *", "input": input }),
        )])
        .await;
    machine.change(|world| world.failures = (1, Some(EmitError::Unavailable("the disk is full".into()))));
    machine.advance("2026-01-01T01:00:00Z");
    machine.until(|world| world.failed == 1).await;
    machine.advance("2026-01-01T01:00:01Z");
    machine.until(|world| world.records.len() == 1).await;
    machine.advance("2026-01-01T02:00:00Z");
    machine.until(|world| world.records.len() == 2).await;
    server.stop().await;
    let events: Vec<Value> = machine
        .records()
        .iter()
        .map(|record| match record {
            Record::Event { event, .. } => serde_json::from_slice(&event.payload).unwrap(),
            Record::Skip { .. } => panic!("both ran"),
        })
        .collect();
    let executions: Vec<&str> = events
        .iter()
        .map(|event| event["execution"].as_str().unwrap())
        .collect();
    assert!(
        executions[0].len() == 32 && executions[0] != executions[1],
        "{executions:?}"
    );
    for (event, attempt, time) in [
        (&events[0], "2", "2026-01-01T01:00:00Z"),
        (&events[1], "1", "2026-01-01T02:00:00Z"),
    ] {
        assert_eq!(
            *event,
            json!({
                "arn:aws:scheduler:us-east-1:000000000000:schedule/default/ingest-nightly": [format!("at {time}, {time}")],
                "attempt": attempt,
                "execution": event["execution"],
                "others": "<aws.scheduler.other> <b>",
            })
        );
    }
}

#[tokio::test]
async fn a_slot_whose_event_the_filter_refuses_has_a_record() {
    let machine = Machine::at("2026-01-01T00:00:00Z");
    machine.change(|world| world.filtering = true);
    let server = machine.start(vec![binding("f/x", json!("0 * * * *"))]).await;
    machine.advance("2026-01-01T02:00:00Z");
    machine
        .expect(&[
            "f/x 2026-01-01T01:00:00Z skip: the filter does not match the event",
            "f/x 2026-01-01T02:00:00Z skip: the filter does not match the event",
        ])
        .await;
    server.stop().await;
}
