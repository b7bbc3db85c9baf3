//! Files dropped in numbers, and all that their event says.
//!
//! `HIKIGANE_DROPS=50000 cargo test --release drops` drops that many, beside a thousand slow writers.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use md5::{Digest, Md5};
use serde_json::{Value, json};

use crate::support::{Project, Server, command, wait_for};

const INBOX: &str = r#"
functions:
  note:
    code: ./note.mjs
    env: { LIST: "${dir}/seen/list" }
    allow: { write: [./seen] }
    events:
      - name: drops
        s3: { bucket: inbox, event: ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"], rules: [{ prefix: now/ }], settle: 200ms }
      - name: patient
        s3: { bucket: inbox, rules: [{ prefix: later/ }], settle: 5s }
sources:
  s3: { buckets: { inbox: { path: ./inbox } } }
"#;

/// Writes `KEY SIZE` of each event to `seen/list`.
const NOTE: &str = r#"
import { appendFileSync } from "node:fs";
export const handler = async ({ Records: [{ s3 }] }) =>
  appendFileSync(process.env.LIST, `${s3.object.key} ${s3.object.size ?? "gone"}\n`);
"#;

/// What a slow writer writes at a time, and how often.
const PIECE: [u8; 16 * 1024] = [b's'; 16 * 1024];
const PIECES: usize = 6;

fn project() -> Project {
    let project = Project::new(INBOX, &[("note.mjs", NOTE)]);
    for directory in ["inbox/now", "inbox/later", "seen"] {
        project.mkdir(directory);
    }
    project
}

fn wait_for_lines(project: &Project, count: usize) -> Vec<String> {
    wait_for(&format!("{count} events"), || {
        let text = std::fs::read_to_string(project.join("seen/list")).unwrap_or_default();
        let lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
        Some(lines).filter(|lines| lines.len() >= count)
    })
}

/// Files that stay open; one of the pauses is longer than the settle time.
fn hold_and_write(paths: &[PathBuf]) {
    let mut files: Vec<File> = paths.iter().map(|path| File::create(path).unwrap()).collect();
    for piece in 0..PIECES {
        files.iter_mut().for_each(|file| file.write_all(&PIECE).unwrap());
        sleep(Duration::from_millis(if piece == 2 { 700 } else { 50 }));
    }
}

/// Files that are closed after each piece and go on long before they have settled, on a busy machine too.
fn open_and_append(paths: &[PathBuf]) {
    for _ in 0..PIECES {
        for path in paths {
            let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
            file.write_all(&PIECE).unwrap();
        }
        sleep(Duration::from_millis(300));
    }
}

#[test]
fn thousands_of_drops_beside_slow_writers_fire_once_each_and_complete() {
    let count: usize = std::env::var("HIKIGANE_DROPS").map_or(2_000, |count| count.parse().unwrap());
    let project = project();
    let _server = project.up();
    let mut expected = BTreeMap::new();
    let mut slow = |kind: &str| -> Vec<PathBuf> {
        let names = (0..count.div_ceil(100)).map(|index| format!("{kind}/slow-{index}"));
        let paths = names.map(|name| {
            let path = project.join("inbox").join(&name);
            expected.insert(name, PIECES * PIECE.len());
            path
        });
        paths.collect()
    };
    let (held, reopened) = (slow("now"), slow("later"));
    std::thread::scope(|scope| {
        scope.spawn(|| hold_and_write(&held));
        scope.spawn(|| open_and_append(&reopened));
        for index in 0..count {
            let name = format!("now/fast-{index}");
            std::fs::write(project.join("inbox").join(&name), vec![b'f'; index % 97]).unwrap();
            expected.insert(name, index % 97);
        }
    });
    wait_for_lines(&project, expected.len());
    // What was due too often has had its second event before this one's.
    project.write("inbox/later/last", "x");
    expected.insert("later/last".into(), 1);
    let mut told = wait_for_lines(&project, expected.len());
    told.sort();
    let mut expected: Vec<String> = expected.iter().map(|(name, size)| format!("{name} {size}\n")).collect();
    expected.sort();
    assert_eq!(told, expected);
}

/// The events of the newest runs, newest first.
fn inputs(server: &Server, count: usize) -> Vec<Value> {
    let runs = wait_for("the runs", || {
        Some(server.runs("?function=note&limit=10")).filter(|runs| runs.len() >= count)
    });
    let input = |run: &Value| server.run(&run["id"])["input"].as_str().unwrap().to_owned();
    runs.iter()
        .map(|run| serde_json::from_str(&input(run)).unwrap())
        .collect()
}

#[test]
fn an_event_has_the_fields_of_aws_and_no_others() {
    let project = project();
    let server = project.up_with(&["--test-mode", "--clock", "2026-11-22T12:00:30.007Z"]);
    let name = "now/in \u{e9}/a+b @100%~(1).csv";
    project.mkdir("inbox/now/in \u{e9}");
    project.write(&format!("inbox/{name}"), "a,b\n1,2\n");
    wait_for_lines(&project, 1);
    std::fs::remove_file(project.join("inbox").join(name)).unwrap();
    wait_for_lines(&project, 2);
    let events = inputs(&server, 2);
    let [removed, created] = [&events[0]["Records"][0], &events[1]["Records"][0]];
    let digest: String = Md5::digest("a,b\n1,2\n")
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    for (record, name, content) in [
        (created, "ObjectCreated:Put", json!({"size": 8, "eTag": digest})),
        (removed, "ObjectRemoved:Delete", json!({})),
    ] {
        let sequencer = &record["s3"]["object"]["sequencer"];
        let mut object = json!({"key": "now/in+%C3%A9/a%2Bb+%40100%25%7E%281%29.csv", "sequencer": sequencer});
        object
            .as_object_mut()
            .unwrap()
            .extend(content.as_object().unwrap().clone());
        let expected = json!({
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": "us-east-1",
            "eventTime": "2026-11-22T12:00:30.007Z",
            "eventName": name,
            "userIdentity": {"principalId": "AWS:HIKIGANE"},
            "requestParameters": {"sourceIPAddress": "127.0.0.1"},
            "responseElements": record["responseElements"],
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "note/drops",
                "bucket": {
                    "name": "inbox",
                    "ownerIdentity": {"principalId": "HIKIGANE"},
                    "arn": "arn:aws:s3:::inbox",
                },
                "object": object,
            },
        });
        assert_eq!(record, &expected);
        let elements = record["responseElements"].as_object().unwrap();
        assert_eq!(elements.keys().collect::<Vec<_>>(), ["x-amz-request-id", "x-amz-id-2"]);
        assert!(
            elements
                .values()
                .all(|element| element.as_str().is_some_and(|text| !text.is_empty()))
        );
    }
    let sequencers = [created, removed].map(|record| record["s3"]["object"]["sequencer"].as_str().unwrap());
    assert!(
        sequencers[0].len() == sequencers[1].len() && sequencers[0] < sequencers[1],
        "{sequencers:?}"
    );
    assert!(
        sequencers[0]
            .chars()
            .all(|c| c.is_ascii_digit() || ('A'..='F').contains(&c))
    );
}

#[test]
fn a_function_that_may_write_where_each_file_calls_it_is_warned_of() {
    let manifest = |write: &str, event: &str| {
        format!(
            "functions:\n  f:\n    code: ./f.mjs\n    allow: {{ write: [{write}] }}\n    events:\n      - {event}\n\
             sources: {{ s3: {{ buckets: {{ inbox: {{ path: ./inbox }} }} }} }}\n"
        )
    };
    let warning = "the function may write where each new file calls it again, without end";
    for (write, event, warned) in [
        ("./inbox", "s3: inbox", true),
        (".", "s3: { bucket: inbox, event: \"s3:ObjectCreated:Put\" }", true),
        ("./inbox/out", "s3: inbox", true),
        ("./outbox", "s3: inbox", false),
        // A link to the inbox, and what is not there yet below it.
        ("./link", "s3: inbox", true),
        ("./link/out", "s3: inbox", true),
        ("./inbox", "s3: { bucket: inbox, rules: [{ prefix: in/ }] }", false),
        ("./inbox", "s3: { bucket: inbox, event: \"s3:ObjectRemoved:*\" }", false),
        ("./inbox", "{ s3: inbox, enabled: false }", false),
        (
            "./inbox",
            "{ s3: inbox, filter: { Records: { s3: { object: { size: [{ numeric: [\">\", 0] }] } } } } }",
            false,
        ),
    ] {
        let project = Project::new(&manifest(write, event), &[("f.mjs", "export const handler = () => 1;")]);
        project.mkdir("inbox");
        std::os::unix::fs::symlink("inbox", project.join("link")).unwrap();
        let checked = command(&["check", "hikigane.yaml"])
            .current_dir(project.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&checked.stderr);
        assert_eq!(
            (checked.status.success(), text.contains(warning)),
            (true, warned),
            "{write} {event}: {text}"
        );
        let remedy = "let it write elsewhere, or give the event `rules` that leave out what it writes";
        assert_eq!(text.contains(remedy), warned, "{text}");
    }
}

#[test]
fn the_quickstart_takes_a_large_export_of_a_spreadsheet() {
    let project = Project::copy_of("configs/quickstart");
    let manifest = std::fs::read_to_string(project.join("hikigane.yaml")).unwrap();
    project.write("hikigane.yaml", &manifest.replace("127.0.0.1:8080", "127.0.0.1:0"));
    let _server = project.up();
    let rows: String = (0..200_000)
        .map(|row| format!("item {row},{}\r\n", row % 1_000))
        .collect();
    project.write("inbox/export.csv", &format!("\u{feff}item,amount\r\n{rows}"));
    let summary = wait_for("the summary", || {
        let text = std::fs::read_to_string(project.join("outbox/export.summary.json")).ok()?;
        serde_json::from_str::<Value>(&text).ok()
    });
    assert_eq!(summary["rows"], 200_000);
    assert_eq!(
        summary["columns"],
        json!({"amount": {"count": 200_000, "sum": 99_900_000, "min": 0, "max": 999, "mean": 499.5}})
    );
}
