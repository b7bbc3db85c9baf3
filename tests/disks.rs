//! Data directories that cannot be used, and disks that are full.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::durability::{accepted, noted, project, request_id, wait_for_empty_queue};
use crate::support::{Project, SmallDisk, command, get, invoke, invoke_event, wait_for};

const SIZE: &str = "size=8m";

/// What `up` says when it does not come up, with the data directory `data`.
fn refusal(project: &Project, data: &Path) -> String {
    let output = command(&["up", "hikigane.yaml", "--endpoint", "127.0.0.1:0", "--data"])
        .arg(data)
        .current_dir(project.path())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), String::new()));
    let error = text(&output.stderr);
    assert_eq!(error.lines().count(), 1, "one sentence: {error}");
    error
}

#[test]
fn a_data_directory_that_cannot_be_used_is_one_sentence_and_exit_code_1() {
    let project = project();
    project.write("file", "");
    let error = refusal(&project, &project.join("file/data"));
    assert!(error.contains("file/data\" cannot be written"), "{error}");

    let server = project.up();
    let error = refusal(&project, &project.join(".hikigane"));
    assert!(error.contains("another hikigane uses the data directory"), "{error}");
    assert!(server.stop(15).0.success());

    std::fs::write(project.join(".hikigane/hikigane.db"), vec![7; 8192]).unwrap();
    let error = refusal(&project, &project.join(".hikigane"));
    assert!(
        error.contains("is damaged") && error.contains("move the data directory away"),
        "{error}"
    );
}

#[test]
fn a_disk_that_can_only_be_read_is_one_sentence_and_exit_code_1() {
    let Some(disk) = SmallDisk::mount(SIZE) else { return };
    let project = project();
    let data = disk.path().join("data");
    assert!(
        project
            .up_with(&["--data", data.to_str().unwrap()])
            .stop(15)
            .0
            .success()
    );
    remount_read_only(&disk);
    for data in [data, disk.path().join("new")] {
        let error = refusal(&project, &data);
        assert!(error.contains("cannot be written (Read-only file system"), "{error}");
    }
}

#[test]
fn a_full_disk_is_one_sentence_and_exit_code_1_at_the_start() {
    let Some(disk) = SmallDisk::mount(SIZE) else { return };
    let project = project();
    let data = disk.path().join("data");
    assert!(
        project
            .up_with(&["--data", data.to_str().unwrap()])
            .stop(15)
            .0
            .success()
    );
    fill(&disk);
    let error = refusal(&project, &data);
    assert!(error.contains("hikigane.db: the disk is full"), "{error}");
    free(&disk);
    assert!(
        project
            .up_with(&["--data", data.to_str().unwrap()])
            .stop(15)
            .0
            .success()
    );
}

#[test]
fn a_server_whose_data_directory_is_removed_accepts_nothing_more_and_ends_with_the_cause() {
    let project = project();
    let mut server = command(&["up", "hikigane.yaml", "--endpoint", "127.0.0.1:0", "--json"])
        .current_dir(project.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = String::new();
    BufReader::new(server.stdout.take().unwrap())
        .read_line(&mut ready)
        .unwrap();
    let ready: Value = serde_json::from_str(&ready).unwrap();
    let endpoint = ready["endpoint"].as_str().unwrap();
    assert_eq!(invoke_event(endpoint, "many", "{}").status, 202);
    wait_for("the run", || (!noted(&project).is_empty()).then_some(()));
    std::fs::remove_file(project.join(".hikigane/hikigane.db")).unwrap();
    let refused = invoke_event(endpoint, "many", "{}");
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.text().contains("was removed"), "{refused:?}");
    let output = server.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("was removed") && error.lines().count() == 1, "{error}");
}

#[test]
fn a_disk_that_its_own_history_fills_goes_on_accepting_events() {
    let Some(disk) = SmallDisk::mount(SIZE) else { return };
    let project = project();
    let data = disk.path().join("data");
    let server = project.up_with(&["--data", data.to_str().unwrap()]);
    let large = json!({"text": "x".repeat(200_000)}).to_string();
    wait_for("runs that are not recorded", || {
        assert_eq!(invoke(server.endpoint(), "many", &large).status, 200);
        let status = get(&format!("{}/_hikigane/status", server.endpoint())).json();
        (status["runsNotRecorded"].as_u64() > Some(20)).then_some(())
    });
    let ids: BTreeSet<_> = (0..40).map(|n| accepted(&server, "two", &json!({"n": n}))).collect();
    wait_for_empty_queue(&server);
    assert!(ids.iter().all(|id| noted(&project).contains_key(id)));
    assert!(server.stop(15).0.success());
}

#[test]
fn a_disk_that_events_fill_lets_them_end_and_then_accepts_more() {
    let Some(disk) = SmallDisk::mount(SIZE) else { return };
    let project = project();
    let data = disk.path().join("data");
    let server = project.up_with(&["--data", data.to_str().unwrap()]);
    let large = json!({"until": "go", "text": "x".repeat(50_000)}).to_string();
    let mut ids = BTreeSet::new();
    let refused = wait_for("a 503", || {
        let answer = invoke_event(server.endpoint(), "two", &large);
        if answer.status == 202 {
            ids.insert(request_id(&answer));
            return None;
        }
        Some(answer)
    });
    assert!(refused.status == 503 && refused.text().contains("full"), "{refused:?}");
    project.write("signs/go", "");
    wait_for_empty_queue(&server);
    assert_eq!(noted(&project).into_keys().collect::<BTreeSet<_>>(), ids);
    accepted(&server, "two", &json!({}));
    wait_for_empty_queue(&server);
    assert!(server.stop(15).0.success());
}

#[test]
fn a_full_disk_refuses_events_with_503_and_runs_what_it_accepted_before_and_after() {
    let Some(disk) = SmallDisk::mount(SIZE) else { return };
    let project = project();
    let data = disk.path().join("data");
    let server = project.up_with(&["--data", data.to_str().unwrap()]);
    let mut ids = BTreeSet::from([accepted(&server, "two", &json!({}))]);

    fill(&disk);
    let event = |text: &str| invoke_event(server.endpoint(), "two", &json!({"text": text}).to_string());
    // The log of the database may have room left for a few; whatever it answers must be true.
    let large = "x".repeat(20_000);
    let refused = wait_for("a 503", || {
        let answer = event(&large);
        if answer.status == 202 {
            ids.insert(request_id(&answer));
            return None;
        }
        Some(answer)
    });
    assert_eq!(
        (refused.status, refused.header("x-amzn-errortype")),
        (503, Some("ServiceException")),
        "{refused:?}"
    );
    assert!(refused.text().contains("full"), "{refused:?}");
    assert_eq!(
        invoke(server.endpoint(), "many", "{}").status,
        200,
        "callers that wait need no disk"
    );
    assert_eq!(event(&large).status, 503);

    free(&disk);
    let answer = wait_for("a 202", || Some(event(&large)).filter(|answer| answer.status != 503));
    assert_eq!(answer.status, 202, "{answer:?}");
    ids.insert(request_id(&answer));
    wait_for_empty_queue(&server);
    let noted = noted(&project);
    let lost: Vec<_> = ids.iter().filter(|id| !noted.contains_key(*id)).collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert!(server.stop(15).0.success());
}

/// Its mount, not the file system: in namespaces of its own, that is what may be changed.
fn remount_read_only(disk: &SmallDisk) {
    let mount = Command::new("mount")
        .args(["-o", "remount,bind,ro"])
        .arg(disk.path())
        .status();
    assert!(mount.unwrap().success());
}

/// Writes until nothing more fits.
fn fill(disk: &SmallDisk) {
    let mut filler = std::fs::File::create(disk.path().join("filler")).unwrap();
    for size in [65_536, 4096, 1] {
        while filler.write_all(&vec![0; size]).is_ok() {}
    }
}

fn free(disk: &SmallDisk) {
    std::fs::remove_file(disk.path().join("filler")).unwrap();
}
