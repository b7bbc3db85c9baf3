//! What a newcomer sees first: a server that is up at once, and says what is true where it runs.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Kept, Project, command, get, request, up_for_a_person, up_for_a_person_by, wait_for};

/// The quickstart, with a gateway on any port.
fn quickstart() -> Project {
    let project = Project::copy_of("configs/quickstart");
    let manifest = std::fs::read_to_string(project.join("hikigane.yaml")).unwrap();
    project.write("hikigane.yaml", &manifest.replace("127.0.0.1:8080", "127.0.0.1:0"));
    project
}

#[test]
fn the_quickstart_is_up_within_a_second() {
    let project = quickstart();
    // The machine may be busy with other tests, and so may be one start; not each of them.
    let start = |_| {
        let begun = Instant::now();
        let up = up_for_a_person(&project);
        let took = begun.elapsed();
        drop(up);
        took
    };
    let quickest = (0..5).map(start).min().unwrap();
    assert!(quickest < Duration::from_secs(1), "{quickest:?}");
}

#[test]
fn a_server_is_up_however_much_it_says_first() {
    // More than a pipe holds.
    let says_much = "head -c 200000 /dev/zero | tr '\\0' '\\n' >&2; exec \"$0\" \"$@\"";
    let up = command(&["up", "--endpoint", "127.0.0.1:0", "--json"]);
    let project = quickstart();
    let server = project.up_as(
        Command::new("sh")
            .args(["-c", says_much])
            .arg(up.get_program())
            .args(up.get_args()),
    );
    assert!(server.stop(15).0.success());
}

#[test]
fn schedules_say_when_they_fire_next_as_the_clocks_here_show_it() {
    let project = Project::new(
        "functions:\n  f:\n    code: ./f.mjs\n    events:\n      - { name: nightly, schedule: { rate: cron(0 2 * * ? *), timezone: Europe/Paris } }\n      - { name: often, schedule: rate(1 minute) }\n",
        &[("f.mjs", "export const handler = async () => 1;")],
    );
    let clock = ["--test-mode", "--clock", "2026-11-22T12:00:30Z"];
    let (_up, _output, text) = up_for_a_person_by(
        command(&["up", "--endpoint", "127.0.0.1:0"])
            .args(clock)
            .env("TZ", "Asia/Tokyo")
            .current_dir(project.path()),
    );
    for (binding, next) in [
        (
            "f/nightly",
            "next Mon 2026-11-23 10:00:00 +09:00, which is Mon 2026-11-23 02:00:00 CET (Europe/Paris)",
        ),
        ("f/often", "next Sun 2026-11-22 21:01:30 +09:00"),
    ] {
        let line = text.lines().find(|line| line.contains(binding));
        assert!(line.is_some_and(|line| line.contains(next)), "{binding}: {text}");
    }
}

#[test]
fn what_is_said_to_be_tried_next_works() {
    let project = quickstart();
    let (_up, _output, text) = up_for_a_person(&project);
    let (_, tries) = text.split_once("Try next, in another terminal:\n").unwrap();
    let mut tried = 0;
    for line in tries.lines().take_while(|line| !line.is_empty()) {
        let line = line.trim();
        if let Some(url) = line.strip_prefix("curl ") {
            assert_eq!(get(url).status, 200, "{line}");
        // It does not end by itself; `commands.rs` follows it.
        } else if !line.contains(" logs --follow") {
            let output = Command::new("sh").args(["-c", line]).output().unwrap();
            assert!(output.status.success(), "{line}: {output:?}");
        }
        tried += 1;
    }
    assert_eq!(tried, 5, "{text}");
    wait_for("the summary of the file that was dropped", || {
        project.join("outbox/example.summary.json").exists().then_some(())
    });
}

#[test]
fn data_lies_beside_the_manifest_wherever_the_server_is_started() {
    let project = Project::new(
        "functions:\n  f: { code: ./f.mjs }\n",
        &[("f.mjs", "export const handler = async () => 1;")],
    );
    let elsewhere = Project::new("functions: {}\n", &[]);
    let manifest = project.join("hikigane.yaml");
    let server = elsewhere.up_as(&mut command(&[
        "up",
        manifest.to_str().unwrap(),
        "--endpoint",
        "127.0.0.1:0",
        "--json",
    ]));
    assert_eq!(server.ready["data"].as_str(), project.join(".hikigane").to_str());
    assert!(project.join(".hikigane/hikigane.db").exists());
    assert!(!elsewhere.join(".hikigane").exists());
}

#[test]
fn an_example_that_was_run_is_copied_as_it_was_cloned() {
    let run = Project::new(
        "functions: {}\n",
        &[
            ("functions/f.mjs", ""),
            ("inbox/.gitkeep", ""),
            ("inbox/sales.csv", ""),
            (".hikigane/hikigane.db", ""),
        ],
    );
    let copy = Project::copy_of(run.path().to_str().unwrap());
    for (path, is_there) in [
        ("hikigane.yaml", true),
        ("functions/f.mjs", true),
        ("inbox/.gitkeep", true),
        ("inbox/sales.csv", false),
        (".hikigane", false),
    ] {
        assert_eq!(copy.join(path).exists(), is_there, "{path}");
    }
}

#[test]
fn an_address_that_wants_a_signature_is_not_proposed() {
    let start = |auth: &str| {
        let manifest = format!("functions:\n  f: {{ code: ./f.mjs, url: {{ auth: {auth} }} }}\n");
        let project = Project::new(&manifest, &[("f.mjs", "export const handler = async () => 1;")]);
        up_for_a_person(&project).2
    };
    assert!(start("none").contains("\n  curl http://"));
    let signed = start("iam");
    assert!(signed.contains("-> function f") && !signed.contains("curl"), "{signed}");
}

#[test]
fn a_run_that_fails_is_told_where_the_server_runs() {
    let project = Project::new(
        "functions:\n  good: { code: ./good.js }\n  bad: { code: ./bad.js }\n  slow: { code: ./slow.js, timeout: 1s }\n  \
         once: { code: ./bad.js, async: { retries: 0 } }\n",
        &[
            ("good.js", "exports.handler = async () => 1;"),
            (
                "bad.js",
                "exports.handler = async () => { throw new TypeError('no luck\\u001b[2J\\nand more') };",
            ),
            ("slow.js", "exports.handler = async () => { for (;;); };"),
        ],
    );
    let (up, output, text) = up_for_a_person(&project);
    let endpoint = endpoint_of(&text);
    for (function, kind) in [
        ("good", "RequestResponse"),
        ("bad", "RequestResponse"),
        ("bad", "Event"),
        ("once", "Event"),
        ("slow", "RequestResponse"),
    ] {
        let path = format!("{endpoint}/2015-03-31/functions/{function}/invocations");
        let answer = request("POST", &path, &[("x-amz-invocation-type", kind)], b"{}");
        assert!(matches!(answer.status, 200 | 202), "{answer:?}");
    }
    let mut told: Vec<String> = output
        .lines()
        .map(|line| line.unwrap())
        .filter(|line| !line.is_empty())
        .take(4)
        .map(|line| line.split_once("  ").unwrap().1.to_owned())
        .collect();
    told.sort();
    let again = told[1].clone();
    assert!(
        again.starts_with("bad failed: TypeError: no luck\u{1b}[2J ... (attempt 1; again at ") && again.ends_with(')'),
        "{told:?}"
    );
    assert_eq!(
        [&told[0], &told[2], &told[3]],
        [
            "bad failed: TypeError: no luck\u{1b}[2J ...",
            "once failed: TypeError: no luck\u{1b}[2J ... (attempt 1, the last: now a dead letter)",
            "slow timed out: Task timed out after 1.00 seconds",
        ]
    );
    drop(up);
}

/// What holds a few lines is full of failures after a second.
#[test]
fn a_server_whose_output_nobody_reads_goes_on_and_ends() {
    let long = "x".repeat(300);
    let code = format!("exports.handler = async () => {{ throw new Error('{long}') }};");
    let project = Project::new("functions: { bad: { code: ./bad.js } }\n", &[("bad.js", code.as_str())]);
    let (ours, theirs) = UnixStream::pair().unwrap();
    rustix::net::sockopt::set_socket_send_buffer_size(&theirs, 4096).unwrap();
    let mut up = {
        let mut up = command(&["up", "--endpoint", "127.0.0.1:0"]);
        up.current_dir(project.path()).stdout(OwnedFd::from(theirs));
        Kept(up.spawn().unwrap())
    };
    let (mut output, mut text) = (BufReader::new(ours), String::new());
    while !text.contains("Ctrl-C stops.") {
        assert!(output.read_line(&mut text).unwrap() > 0, "{text}");
    }
    let path = format!("{}/2015-03-31/functions/bad/invocations", endpoint_of(&text));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        assert_eq!(request("POST", &path, &[], b"{}").status, 200);
    }
    let pid = rustix::process::Pid::from_child(&up.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = wait_for("the server to end", || up.0.try_wait().unwrap());
    assert!(status.success(), "{status}");
    let mut rest = Vec::new();
    let _ = output.read_to_end(&mut rest);
    assert!(
        !String::from_utf8_lossy(&rest).contains("stopping"),
        "it was read in time"
    );
}

/// The endpoint's address, from what `up` says.
fn endpoint_of(text: &str) -> String {
    let line = text.lines().find_map(|line| line.trim().strip_prefix("endpoint "));
    line.unwrap().split_whitespace().next().unwrap().to_owned()
}
