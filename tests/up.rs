//! `hikigane up`: what it says when it starts, why it does not start, how it stops.

use std::io::{BufRead, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{
    ECHO, Project, children, ended, free_port, get, in_session, invoke, invoke_event, run_in, up_for_a_person, wait_for,
};

#[test]
fn up_tells_a_person_what_runs_where_and_what_to_try() {
    let project = Project::copy_of("configs/quickstart");
    let manifest = std::fs::read_to_string(project.join("hikigane.yaml")).unwrap();
    project.write("hikigane.yaml", &manifest.replace("127.0.0.1:8080", "127.0.0.1:0"));
    let begun = Instant::now();
    let (mut up, mut output, text) = up_for_a_person(&project);
    let took = begun.elapsed();
    let field = |label: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(label));
        line.unwrap_or_else(|| panic!("no {label}: {text}")).trim_start()[label.len()..]
            .trim()
            .to_owned()
    };
    let endpoint = field("endpoint").split(' ').next().unwrap().to_owned();
    let gateway = field("gateway").split(' ').next().unwrap().to_owned();
    let watched = text
        .lines()
        .find(|line| line.contains("inbox"))
        .unwrap_or_else(|| panic!("no watched directory: {text}"));
    assert!(
        watched.contains(project.path().to_str().unwrap()) || watched.contains("./inbox"),
        "{watched}"
    );
    let schedule = text
        .lines()
        .find(|line| line.contains("rate(1 minute)"))
        .unwrap_or_else(|| panic!("no schedule: {text}"));
    assert!(schedule.contains("next") && schedule.contains(':'), "{schedule}");
    assert!(field("data").ends_with(".hikigane"), "{text}");
    assert!(
        // A route and a bucket give their functions events that matter; the schedule's needs none.
        text.contains("hikigane invoke report --log") && text.contains("hikigane logs --follow --endpoint 127.0.0.1:"),
        "{text}"
    );
    let curl = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("curl "))
        .unwrap()
        .to_owned();
    assert_eq!(get(&curl).status, 200, "what is shown to try works: {curl}");
    assert!(get(&format!("{gateway}/hello/you")).text().contains("you"));
    assert_eq!(get(&format!("{endpoint}/2015-03-31/functions")).status, 200);
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(
        Command::new("kill")
            .args(["-2", &up.0.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert!(up.0.wait().unwrap().success());
    assert!(rest.contains("stopping"), "{rest}");
}

/// `up` must fail with exit code 1 and one sentence with these words, and leave nothing behind.
#[track_caller]
fn fails_to_start(project: &Project, arguments: &[&str], words: &[&str]) {
    // A session of its own: whatever it starts and leaves behind can be told by it.
    let up = Command::new("setsid")
        .arg(env!("CARGO_BIN_EXE_hikigane"))
        .arg("up")
        .args(arguments)
        .current_dir(project.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let session = up.id();
    let done = ended(up.wait_with_output().unwrap());
    assert_eq!((done.code, done.out.as_str()), (Some(1), ""), "{}", done.error);
    assert!(
        done.error.starts_with("error: ") && done.error.trim_end().lines().count() == 1,
        "{}",
        done.error
    );
    for word in words {
        assert!(done.error.contains(word), "{word}: {}", done.error);
    }
    wait_for("its processes to end", || in_session(session).is_empty().then_some(()));
}

#[test]
fn a_port_in_use_stops_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let free = free_port();
    let project = Project::new(
        &format!(
            "functions:\n  a: {{ code: ./a.mjs, events: [{{ http: GET /a }}] }}\nsources: {{ http: {{ listen: 127.0.0.1:{free} }} }}\n"
        ),
        &[("a.mjs", ECHO)],
    );
    fails_to_start(&project, &["--endpoint", &address], &[&address, "--endpoint"]);
    TcpListener::bind(("127.0.0.1", free)).expect("the gateway's port is free again");

    project.write("hikigane.yaml", &format!("functions:\n  a: {{ code: ./a.mjs, events: [{{ http: GET /a }}] }}\nsources: {{ http: {{ listen: \"{address}\" }} }}\n"));
    fails_to_start(&project, &["--endpoint", &format!("127.0.0.1:{free}")], &[&address]);
    TcpListener::bind(("127.0.0.1", free)).expect("the endpoint's port is free again");
}

#[test]
fn a_missing_bucket_directory_stops_the_start() {
    let free = free_port();
    let project = Project::new(
        "functions:\n  a: { code: ./a.mjs, events: [{ s3: { bucket: inbox, event: \"s3:ObjectCreated:*\" } }] }\nsources: { s3: { buckets: { inbox: { path: ./inbox } } } }\n",
        &[("a.mjs", ECHO)],
    );
    fails_to_start(&project, &["--endpoint", &format!("127.0.0.1:{free}")], &["inbox"]);
    project.write("inbox", "a file, no directory");
    fails_to_start(&project, &["--endpoint", &format!("127.0.0.1:{free}")], &["inbox"]);
    TcpListener::bind(("127.0.0.1", free)).expect("the endpoint's port is free again");
}

#[test]
fn a_data_directory_that_cannot_be_used_stops_the_start() {
    let free = free_port();
    let endpoint = format!("127.0.0.1:{free}");
    let project = Project::new(
        "functions:\n  a: { code: ./a.mjs }\n",
        &[("a.mjs", ECHO), ("file", "text")],
    );
    fails_to_start(
        &project,
        &["--endpoint", &endpoint, "--data", "file/data"],
        &["file/data"],
    );
    fails_to_start(&project, &["--endpoint", &endpoint, "--data", "file"], &["file"]);
    fails_to_start(
        &project,
        &["--endpoint", &endpoint, "--data", "/proc/hikigane"],
        &["/proc/hikigane"],
    );
    TcpListener::bind(("127.0.0.1", free)).expect("the endpoint's port is free again");
}

#[test]
fn a_data_directory_has_one_server() {
    let project = Project::new("functions:\n  a: { code: ./a.mjs }\n", &[("a.mjs", ECHO)]);
    let server = project.up();
    let free = free_port();
    let done = run_in(&project, &["up", "--endpoint", &format!("127.0.0.1:{free}")]);
    assert_eq!((done.code, done.out.as_str()), (Some(1), ""), "{}", done.error);
    assert!(
        done.error.starts_with("error: ") && done.error.trim_end().lines().count() == 1,
        "{}",
        done.error
    );
    assert!(
        done.error.contains(".hikigane") && done.error.contains("another"),
        "{}",
        done.error
    );
    TcpListener::bind(("127.0.0.1", free)).expect("the second server's port is free again");
    assert_eq!(
        invoke(server.endpoint(), "a", "1").json(),
        json!({"echo": 1}),
        "the first server goes on"
    );
    server.kill();
    let server = project.up();
    assert_eq!(
        invoke(server.endpoint(), "a", "1").json(),
        json!({"echo": 1}),
        "a killed server leaves no lock"
    );
}

#[test]
fn only_loopback_is_listened_on() {
    let project = Project::new("functions:\n  a: { code: ./a.mjs }\n", &[("a.mjs", ECHO)]);
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:9000"] {
        fails_to_start(&project, &["--endpoint", address], &["loopback", "127.0.0.1"]);
    }
    let done = run_in(&project, &["up", "--endpoint", "nonsense"]);
    assert_eq!(done.code, Some(2), "{}", done.error);
}

#[test]
fn the_second_signal_ends_at_once() {
    let slow = "import fs from 'node:fs'; export const handler = async () => { fs.writeFileSync(`${process.env.OUT}/begun`, ''); await new Promise((done) => setTimeout(done, 50000)); };";
    let project = Project::new(
        "functions:\n  slow: { code: ./slow.mjs, timeout: 60s, env: { OUT: \"${dir}/out\" }, allow: { write: [./out] } }\n",
        &[("slow.mjs", slow)],
    );
    project.mkdir("out");
    let (mut up, mut output, text) = up_for_a_person(&project);
    let endpoint = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("endpoint"))
        .unwrap()
        .trim()
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    assert_eq!(invoke_event(&endpoint, "slow", "{}").status, 202);
    wait_for("the event to run", || project.join("out/begun").exists().then_some(()));
    let workers = children(up.0.id());
    let signal = |number: &str| {
        assert!(
            Command::new("kill")
                .args([number, &up.0.id().to_string()])
                .status()
                .unwrap()
                .success()
        )
    };
    signal("-2");
    let mut stopping = String::new();
    while !stopping.contains("stopping") {
        assert!(output.read_line(&mut stopping).unwrap() > 0, "{stopping}");
    }
    let begun = Instant::now();
    signal("-2");
    let status = up.0.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    wait_for("the workers to end", || {
        workers
            .iter()
            .all(|pid| !Path::new(&format!("/proc/{pid}")).exists())
            .then_some(())
    });
    let server = project.up();
    wait_for("the event to be there again", || (server.queued() == 1).then_some(()));
}
