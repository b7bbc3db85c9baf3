//! Schedules, from the clock to the function: slots, restarts, and what `up` says about them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Project, Server, command, wait_for};

/// The slots of a binding in their order: when, and why not, if they were skipped.
fn slots(server: &Server, binding: &str) -> Vec<String> {
    let mut slots: Vec<String> = server
        .runs("?limit=1000")
        .iter()
        .filter(|run| text_of(&run["binding"]).ends_with(binding))
        .map(|run| {
            if run["status"] == "skipped" {
                return format!("{} {}", text_of(&run["startedAt"]), text_of(&run["reason"]));
            }
            assert_eq!(run["status"], "succeeded");
            let input: Value = serde_json::from_str(text_of(&server.run(&run["id"])["input"])).unwrap();
            text_of(&input["time"]).to_owned()
        })
        .collect();
    slots.sort();
    slots
}

fn slots_once_there_are(count: usize, server: &Server, binding: &str) -> Vec<String> {
    wait_for(&format!("{count} slots of {binding}"), || {
        Some(slots(server, binding)).filter(|slots| slots.len() >= count)
    })
}

const RETURN: &str = "export const handler = async (event) => event;";

#[test]
fn a_slot_in_the_hour_that_spring_skips_is_recorded_as_skipped_and_one_in_the_hour_that_autumn_repeats_fires_once() {
    let manifest = r#"
functions:
  job:
    code: ./job.mjs
    events:
      - name: nightly
        schedule: { rate: cron(30 2 * * ? *), timezone: Europe/Paris, overlap: queue }
"#;
    let spring = Project::new(manifest, &[("job.mjs", RETURN)]);
    let server = spring.up_with(&["--test-mode", "--clock", "2026-03-28T00:00:00Z"]);
    assert_eq!(server.move_clock("2026-03-30T12:00:00Z").status, 200);
    assert_eq!(
        slots_once_there_are(3, &server, "nightly"),
        [
            "2026-03-28T01:30:00Z",
            "2026-03-29T00:59:59Z 2026-03-29 02:30:00 does not exist: clocks go forward in Europe/Paris",
            "2026-03-30T00:30:00Z",
        ]
    );

    let autumn = Project::new(manifest, &[("job.mjs", RETURN)]);
    let server = autumn.up_with(&["--test-mode", "--clock", "2026-10-23T22:00:00Z"]);
    assert_eq!(server.move_clock("2026-10-26T12:00:00Z").status, 200);
    assert_eq!(
        slots_once_there_are(3, &server, "nightly"),
        ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
    );
}

#[test]
fn slots_missed_while_the_server_was_down_are_made_up_for_as_catch_up_says() {
    let manifest = r#"
functions:
  job:
    code: ./job.mjs
    events:
      - name: of-none
        schedule: { rate: cron(0 * * * ? *), catchUp: none }
      - name: of-last
        schedule: { rate: cron(0 * * * ? *), catchUp: last }
      - name: of-all
        schedule: { rate: cron(0 * * * ? *), catchUp: all }
"#;
    let project = Project::new(manifest, &[("job.mjs", RETURN)]);
    let server = project.up_with(&["--test-mode", "--clock", "2026-05-01T10:30:00Z"]);
    assert_eq!(server.move_clock("2026-05-01T11:10:00Z").status, 200);
    for binding in ["of-none", "of-last", "of-all"] {
        assert_eq!(slots_once_there_are(1, &server, binding), ["2026-05-01T11:00:00Z"]);
    }
    server.kill();

    let server = project.up_with(&["--test-mode", "--clock", "2026-05-01T14:30:00Z"]);
    let at = |hour: u32| format!("2026-05-01T{hour}:00:00Z");
    let skipped =
        |hour: u32, why: &str| format!("{} missed by {}h 30m; {why}", at(hour), 14 - hour).replace(" 0h 30m", " 30m");
    let none: Vec<String> = (12..15).map(|hour| skipped(hour, "catchUp is none")).collect();
    let last: Vec<String> = (12..14)
        .map(|hour| skipped(hour, "catchUp runs only the last missed slot"))
        .chain([at(14)])
        .collect();
    let all: Vec<String> = (12..15).map(at).collect();
    for (binding, missed) in [("of-none", &none), ("of-last", &last), ("of-all", &all)] {
        assert_eq!(slots_once_there_are(4, &server, binding)[1..], missed[..], "{binding}");
    }
    assert_eq!(server.move_clock("2026-05-01T15:00:00Z").status, 200);
    for binding in ["of-none", "of-last", "of-all"] {
        assert_eq!(slots_once_there_are(5, &server, binding)[4..], [at(15)], "{binding}");
    }
}

#[test]
fn a_slot_that_comes_while_the_previous_run_is_still_going_is_recorded_as_skipped() {
    let manifest = r#"
functions:
  slow:
    code: ./slow.mjs
    timeout: 60s
    env: { PROJECT: "${dir}" }
    allow: { read: [./signs], write: [./signs] }
    events:
      - schedule: { rate: rate(1 minute), overlap: skip }
"#;
    let slow = r#"
import { existsSync, writeFileSync } from "node:fs";
const signs = `${process.env.PROJECT}/signs`;
export const handler = async (event) => {
  writeFileSync(`${signs}/started`, event.time);
  while (!existsSync(`${signs}/go`)) await new Promise((resolve) => setTimeout(resolve, 10));
};
"#;
    let project = Project::new(manifest, &[("slow.mjs", slow)]);
    project.mkdir("signs");
    let server = project.up_with(&["--test-mode", "--clock", "2026-05-01T10:00:00Z"]);
    assert_eq!(server.move_clock("2026-05-01T10:01:00Z").status, 200);
    wait_for("the first run", || project.join("signs/started").exists().then_some(()));
    assert_eq!(server.move_clock("2026-05-01T10:02:00Z").status, 200);
    let skip = "2026-05-01T10:02:00Z the previous run is still going, or waits for its next attempt";
    assert_eq!(slots_once_there_are(1, &server, ""), [skip]);

    project.write("signs/go", "");
    assert_eq!(slots_once_there_are(2, &server, ""), ["2026-05-01T10:01:00Z", skip]);
    assert_eq!(server.move_clock("2026-05-01T10:03:00Z").status, 200);
    assert_eq!(
        slots_once_there_are(3, &server, ""),
        ["2026-05-01T10:01:00Z", skip, "2026-05-01T10:03:00Z"]
    );
}

#[test]
fn the_batch_example_writes_its_reports_at_their_local_times_and_makes_up_for_what_it_missed() {
    let project = Project::copy_of("configs/batch");
    // A Sunday evening; Paris is one hour ahead.
    let server = project.up_with(&["--test-mode", "--clock", "2026-11-22T22:00:00Z"]);
    let report = |name: &str| {
        wait_for(name, || {
            std::fs::read_to_string(project.join("reports").join(name))
                .ok()
                .filter(|text| text.ends_with('\n'))
        })
    };

    assert_eq!(server.move_clock("2026-11-23T00:59:59Z").status, 200);
    assert_eq!(server.move_clock("2026-11-23T01:00:00Z").status, 200);
    let daily: Value = serde_json::from_str(&report("sales-daily.json")).unwrap();
    assert_eq!(
        daily.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["2026-11-01", "2026-11-02"]
    );
    assert!((daily["2026-11-02"].as_f64().unwrap() - 207.0).abs() < 1e-9, "{daily}");
    let nightly = wait_for("the nightly run", || server.runs("?function=sales").pop());
    assert_eq!(
        (&nightly["startedAt"], &nightly["status"]),
        (&json!("2026-11-23T01:00:00Z"), &json!("succeeded"))
    );

    assert_eq!(server.move_clock("2026-11-23T07:00:00Z").status, 200);
    assert_eq!(report("reorder.txt"), "tea: 48 left\npot: 1 left\n");
    wait_for("the stock run", || server.runs("?function=stock").pop());
    assert!(!project.join("reports/sales-2026-11.json").exists());
    server.kill();

    let server = project.up_with(&["--test-mode", "--clock", "2026-12-01T10:01:00Z"]);
    let monthly: Value = serde_json::from_str(&report("sales-2026-11.json")).unwrap();
    assert!((monthly["2026-11"].as_f64().unwrap() - 290.7).abs() < 1e-9, "{monthly}");
    let sales = wait_for("what sales makes up for", || {
        Some(server.runs("?function=sales&status=succeeded&limit=1000")).filter(|runs| runs.len() >= 3)
    });
    assert_eq!(sales.len(), 3, "two nights and one month: {sales:?}");
    assert!(
        server.runs("?function=stock&status=succeeded&limit=1000").len() == 1,
        "stock makes up for nothing"
    );
}

#[test]
fn up_says_when_each_schedule_fires_next_in_local_time_and_in_its_own() {
    let manifest = r#"
defaults: { timezone: Europe/Paris }
functions:
  job:
    code: ./job.mjs
    events:
      - { name: nightly, schedule: cron(30 2 * * ? *) }
      - { name: in-utc, schedule: { rate: 0 2 * * *, timezone: UTC } }
      - { name: here, schedule: { rate: 30 23 * * *, timezone: America/New_York } }
      - { name: past, schedule: at(2026-01-01T00:00:00) }
      - { name: beat, schedule: { rate: rate(1 hour), timezone: UTC } }
"#;
    let project = Project::new(manifest, &[("job.mjs", RETURN)]);
    let up = |clock: &str| {
        // A machine in New York, with or without a time zone database.
        let mut command = command(&[
            "up",
            "--json",
            "--endpoint",
            "127.0.0.1:0",
            "--test-mode",
            "--clock",
            clock,
        ]);
        project.up_as(command.env("TZ", "EST5EDT,M3.2.0,M11.1.0"))
    };
    let lines = |server: &Server| -> Vec<String> {
        let sources = server.ready["sources"].as_array().unwrap();
        sources.iter().map(|line| text_of(&line["text"]).to_owned()).collect()
    };
    // The night in which Paris goes forward; New York did three weeks ago.
    let server = up("2026-03-28T20:00:30Z");
    assert_eq!(
        lines(&server),
        [
            "job/nightly  cron(30 2 * * ? *)  next Sun 2026-03-29 20:30:00 -04:00, which is Mon 2026-03-30 02:30:00 CEST (Europe/Paris)",
            "job/in-utc  0 2 * * *  next Sat 2026-03-28 22:00:00 -04:00, which is Sun 2026-03-29 02:00:00 UTC",
            "job/here  30 23 * * *  next Sat 2026-03-28 23:30:00 EDT (America/New_York)",
            "job/past  at(2026-01-01T00:00:00)  does not fire any more",
            "job/beat  rate(1 hour)  next Sat 2026-03-28 17:00:30 -04:00, which is Sat 2026-03-28 21:00:30 UTC",
        ]
    );
    assert_eq!(server.move_clock("2026-03-28T21:00:30Z").status, 200);
    slots_once_there_are(1, &server, "beat");
    server.kill();
    // A rate keeps its beat over a restart.
    let server = up("2026-03-28T21:50:00Z");
    assert!(
        lines(&server)[4].ends_with("which is Sat 2026-03-28 22:00:30 UTC"),
        "{:?}",
        lines(&server)
    );
    assert_eq!(server.move_clock("2026-03-28T22:00:30Z").status, 200);
    assert_eq!(
        slots_once_there_are(2, &server, "beat"),
        ["2026-03-28T21:00:30Z", "2026-03-28T22:00:30Z"]
    );
}

#[test]
fn the_time_for_which_a_schedule_was_switched_off_or_gone_is_not_made_up_for() {
    let on = "functions: { job: { code: ./job.mjs, events: [{ schedule: { rate: rate(1 hour), catchUp: all } }] } }";
    let off = "functions: { job: { code: ./job.mjs, events: [{ enabled: false, schedule: { rate: rate(1 hour), catchUp: all } }] } }";
    let gone = "functions: { job: { code: ./job.mjs } }";
    for without in [off, gone] {
        let project = Project::new(on, &[("job.mjs", RETURN)]);
        let up = |manifest: &str, clock: &str| {
            project.write("hikigane.yaml", manifest);
            project.up_with(&["--test-mode", "--clock", clock])
        };
        let server = up(on, "2026-05-01T10:00:00Z");
        assert_eq!(server.move_clock("2026-05-01T11:00:00Z").status, 200);
        assert_eq!(slots_once_there_are(1, &server, "schedule").len(), 1);
        server.stop(15);
        let server = up(without, "2026-05-01T15:00:00Z");
        server.stop(15);
        let server = up(on, "2026-05-01T20:30:00Z");
        assert_eq!(server.move_clock("2026-05-01T21:30:00Z").status, 200);
        assert_eq!(
            slots_once_there_are(2, &server, "schedule"),
            ["2026-05-01T11:00:00Z", "2026-05-01T21:30:00Z"]
        );
    }
}

#[test]
fn what_was_running_when_the_server_was_killed_what_waited_and_what_is_made_up_for_run_one_after_the_other() {
    let slow = r#"
import { appendFileSync, existsSync } from "node:fs";
const signs = `${process.env.PROJECT}/signs`;
export const handler = async ({ time }) => {
  appendFileSync(`${signs}/list`, `begin ${time}\n`);
  while (!existsSync(`${signs}/go`)) await new Promise((resolve) => setTimeout(resolve, 10));
  await new Promise((resolve) => setTimeout(resolve, 50));
  appendFileSync(`${signs}/list`, `end ${time}\n`);
};
"#;
    for (overlap, clock_at_kill, queued_at_kill) in [
        ("skip", "2026-05-01T11:59:59Z", 1),
        ("queue", "2026-05-01T12:00:00Z", 2),
    ] {
        let manifest = r#"
functions:
  slow:
    code: ./slow.mjs
    timeout: 60s
    env: { PROJECT: "${dir}" }
    allow: { read: [./signs], write: [./signs] }
    events:
      - schedule: { rate: rate(1 hour), overlap: OVERLAP, catchUp: all }
"#;
        let project = Project::new(&manifest.replace("OVERLAP", overlap), &[("slow.mjs", slow)]);
        project.mkdir("signs");
        let list = || std::fs::read_to_string(project.join("signs/list")).unwrap_or_default();
        let server = project.up_with(&["--test-mode", "--clock", "2026-05-01T10:00:00Z"]);
        assert_eq!(server.move_clock("2026-05-01T11:00:00Z").status, 200);
        wait_for("the first run", || list().contains("begin").then_some(()));
        assert_eq!(server.move_clock(clock_at_kill).status, 200);
        wait_for("what is queued", || (server.queued() == queued_at_kill).then_some(()));
        server.kill();

        let server = project.up_with(&["--test-mode", "--clock", "2026-05-01T13:30:00Z"]);
        wait_for("three events in the queue", || (server.queued() == 3).then_some(()));
        project.write("signs/go", "");
        wait_for("all runs", || (server.queued() == 0).then_some(()));
        let whole = |hour: u32| format!("begin 2026-05-01T{hour}:00:00Z\nend 2026-05-01T{hour}:00:00Z\n");
        let wanted = [
            "begin 2026-05-01T11:00:00Z\n".to_owned(),
            whole(11),
            whole(12),
            whole(13),
        ]
        .concat();
        assert_eq!(list(), wanted, "{overlap}");
    }
}

#[test]
fn an_input_is_sent_as_it_is_with_the_slot_where_it_asks_for_it_and_a_filter_that_refuses_leaves_a_record() {
    let manifest = r#"
functions:
  job:
    code: ./job.mjs
    events:
      - name: report
        schedule: { rate: rate(1 hour), input: { b: [null, 1.5, "é"], a: { of: <aws.scheduler.scheduled-time> } } }
      - name: text
        schedule: { rate: rate(1 hour), input: go }
      - name: refused
        schedule: { rate: rate(1 hour) }
        filter: { source: [aws.s3] }
"#;
    let project = Project::new(manifest, &[("job.mjs", RETURN)]);
    let server = project.up_with(&["--test-mode", "--clock", "2026-05-01T10:00:00Z"]);
    assert_eq!(server.move_clock("2026-05-01T11:00:00Z").status, 200);
    let runs = wait_for("three records", || Some(server.runs("")).filter(|runs| runs.len() == 3));
    let found: BTreeMap<&str, Value> = runs
        .iter()
        .map(|run| {
            let what = match text_of(&run["status"]) {
                "skipped" => run["reason"].clone(),
                _ => server.run(&run["id"])["input"].clone(),
            };
            (text_of(&run["binding"]), what)
        })
        .collect();
    assert_eq!(
        found,
        BTreeMap::from([
            ("job/refused", json!("the filter does not match the event")),
            (
                "job/report",
                json!(r#"{"b":[null,1.5,"é"],"a":{"of":"2026-05-01T11:00:00Z"}}"#)
            ),
            ("job/text", json!(r#""go""#)),
        ])
    );
}

#[test]
fn a_server_that_is_stopped_or_killed_around_its_slots_decides_each_of_them_once() {
    let manifest = r#"
functions:
  job:
    code: ./job.mjs
    events:
      - { name: none, schedule: { rate: rate(1 minute), catchUp: none } }
      - { name: last, schedule: { rate: rate(1 minute), catchUp: last, overlap: allow } }
      - { name: all, schedule: { rate: "* * * * *", catchUp: all, overlap: queue } }
"#;
    const ROUNDS: u32 = 24;
    let project = Project::new(manifest, &[("job.mjs", RETURN)]);
    let time = |minute: u32, second: u32| format!("2026-05-01T10:{minute:02}:{second:02}Z");
    let mut server = project.up_with(&["--test-mode", "--clock", &time(0, 0)]);
    for round in 1..=ROUNDS {
        let (before, after) = (time(round - 1, 58 + round % 2), time(round, round % 3));
        assert_eq!(server.move_clock(&before).status, 200);
        // It ends while it decides; or before, and the slot passes while nothing runs.
        if round % 4 != 0 {
            assert_eq!(server.move_clock(&after).status, 200);
        }
        if round % 2 == 0 {
            server.kill();
        } else {
            server.stop(15);
        }
        server = project.up_with(&["--test-mode", "--clock", &after]);
    }
    wait_for("all runs", || (server.queued() == 0).then_some(()));
    for binding in ["none", "last", "all"] {
        let slots = slots_once_there_are(ROUNDS as usize, &server, binding);
        let times: Vec<&str> = slots.iter().map(|slot| slot.split(' ').next().unwrap()).collect();
        let wanted: Vec<String> = (1..=ROUNDS).map(|minute| time(minute, 0)).collect();
        assert_eq!(times, wanted, "{binding}: {slots:?}");
    }
}

#[test]
fn the_virtual_clock_goes_forward_only_and_says_so() {
    let project = Project::new("functions: {}", &[]);
    let server = project.up_with(&["--test-mode", "--clock", "2026-05-01T10:00:00Z"]);
    assert_eq!(
        server.move_clock("2026-05-01T12:00:00+01:00").json(),
        json!({"time": "2026-05-01T11:00:00Z"})
    );
    assert_eq!(server.move_clock("2026-05-01T11:00:00Z").status, 200);
    let back = server.move_clock("2026-05-01T10:59:59Z");
    assert_eq!(back.status, 400);
    assert!(
        back.text()
            .contains("the clock shows 2026-05-01T11:00:00Z and does not go back"),
        "{back:?}"
    );
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap()
}
