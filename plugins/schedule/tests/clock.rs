//! Clocks that are set while schedules run, and between two starts.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use serde_json::json;
use support::{Machine, binding, run_unheard};

#[tokio::test]
async fn a_clock_that_goes_back_by_up_to_a_day_decides_no_slot_twice() {
    for (back, restarts) in [
        ("2026-01-02T00:59:59Z", false),
        ("2026-01-02T00:10:00Z", false),
        ("2026-01-01T03:00:00Z", false),
        ("2026-01-01T03:00:00Z", true),
    ] {
        let machine = Machine::at("2026-01-02T00:00:00Z");
        let bindings = vec![binding("f/x", json!("0 * * * *")), binding("f/y", json!("30 * * * *"))];
        let mut server = machine.start(bindings.clone()).await;
        machine.advance("2026-01-02T02:00:00Z");
        let before = [
            "f/y 2026-01-02T00:30:00Z run",
            "f/x 2026-01-02T01:00:00Z run",
            "f/y 2026-01-02T01:30:00Z run",
            "f/x 2026-01-02T02:00:00Z run",
        ];
        machine.expect(&before).await;
        if restarts {
            server.stop().await;
            machine.set_clock(back);
            server = machine.start(bindings).await;
        } else {
            machine.set_clock(back);
            // The source looks at the clock when it is woken, not when it is set.
            tokio::task::yield_now().await;
        }
        machine.advance("2026-01-02T02:29:59Z");
        machine.advance("2026-01-02T03:00:00Z");
        let after = ["f/y 2026-01-02T02:30:00Z run", "f/x 2026-01-02T03:00:00Z run"];
        machine.expect(&[&before[..], &after[..]].concat()).await;
        server.stop().await;
        assert_eq!(machine.records().len(), 6, "back to {back}");
    }
}

#[test]
fn a_source_that_rests_unheard_goes_on() {
    run_unheard("a_clock_that_goes_back_by_up_to_a_day_decides_no_slot_twice");
}

#[tokio::test]
async fn a_clock_that_was_days_ahead_does_not_silence_schedules() {
    for restarts in [false, true] {
        let machine = Machine::at("2026-01-04T00:00:00Z");
        let bindings = vec![
            binding("f/x", json!("0 * * * *")),
            binding("f/once", json!("at(2026-01-04T00:30:00)")),
        ];
        let mut server = machine.start(bindings.clone()).await;
        machine.advance("2026-01-04T01:00:00Z");
        let ahead = ["f/once 2026-01-04T00:30:00Z run", "f/x 2026-01-04T01:00:00Z run"];
        machine.expect(&ahead).await;
        if restarts {
            server.stop().await;
            machine.set_clock("2026-01-01T10:20:00Z");
            server = machine.start(bindings).await;
        } else {
            machine.set_clock("2026-01-01T10:20:00Z");
            // The source looks at the clock when it is woken, not when it is set.
            tokio::task::yield_now().await;
        }
        machine.advance("2026-01-01T11:00:00Z");
        machine
            .expect(&[&ahead[..], &["f/x 2026-01-01T11:00:00Z run"]].concat())
            .await;
        // What fires once has fired.
        machine.advance("2026-01-04T00:59:59Z");
        machine
            .until(|world| world.lines().iter().any(|line| line == "f/x 2026-01-04T00:00:00Z run"))
            .await;
        server.stop().await;
        let once = machine
            .records()
            .iter()
            .filter(|record| record.line().starts_with("f/once"))
            .count();
        assert_eq!(once, 1);
    }
}

#[tokio::test]
async fn a_rate_goes_on_from_a_clock_that_was_set_back_and_keeps_its_beat_over_small_corrections() {
    for (back, next) in [
        ("2026-01-01T10:29:30Z", "2026-01-01T10:40:00Z"),
        ("2026-01-01T10:28:00Z", "2026-01-01T10:38:00Z"),
        ("2026-01-01T07:00:00Z", "2026-01-01T07:10:00Z"),
        ("2025-12-31T10:30:00Z", "2025-12-31T10:40:00Z"),
    ] {
        let machine = Machine::at("2026-01-01T10:20:00Z");
        let server = machine.start(vec![binding("f/x", json!("rate(10 minutes)"))]).await;
        machine.advance("2026-01-01T10:30:00Z");
        machine.expect(&["f/x 2026-01-01T10:30:00Z run"]).await;
        machine.set_clock(back);
        tokio::task::yield_now().await;
        machine.advance(next);
        machine
            .expect(&["f/x 2026-01-01T10:30:00Z run", &format!("f/x {next} run")])
            .await;
        server.stop().await;
    }
}
