//! Workers are copies of one process; what must not be the same in two of them is not.

use std::collections::BTreeSet;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use rustix::event::{EventfdFlags, eventfd};
use rustix::net::{AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType};
use serde_json::{Value, json};

use crate::support::{children, invoke, serve, value_of, wait_for};

const SOURCES: &str = r#"
    import { randomBytes, randomUUID, randomInt, webcrypto, generateKeyPairSync } from "node:crypto";
    export const handler = async () => [
      Math.random(),
      crypto.randomUUID(), randomUUID(),
      randomBytes(8).toString("hex"), randomInt(2 ** 47),
      Array.from(crypto.getRandomValues(new Uint32Array(2))).join(), Array.from(webcrypto.getRandomValues(new Uint32Array(2))).join(),
      Buffer.from((await crypto.subtle.exportKey("raw", await crypto.subtle.generateKey({ name: "AES-GCM", length: 128 }, true, ["encrypt"])))).toString("hex"),
      generateKeyPairSync("ed25519").publicKey.export({ type: "spki", format: "der" }).toString("hex"),
      process.hrtime.bigint().toString(),
    ].map(String);
"#;

#[test]
fn no_two_environments_share_their_randomness() {
    const ENVIRONMENTS: usize = 24;
    let names: Vec<String> = (0..ENVIRONMENTS).map(|n| format!("f{n}")).collect();
    let functions: Vec<_> = names
        .iter()
        .map(|name| {
            (
                name.as_str(),
                "handler: index.handler, memory: 256MB, timeout: 30s",
                &[("index.mjs", SOURCES)] as &[_],
            )
        })
        .collect();
    let (_project, server) = serve(&functions);
    let drawn: Vec<Value> = names
        .iter()
        .map(|name| value_of(&invoke(server.endpoint(), name, "{}")))
        .collect();
    let kinds = drawn[0].as_array().unwrap().len();
    for kind in 0..kinds {
        let distinct: BTreeSet<String> = drawn.iter().map(|values| values[kind].to_string()).collect();
        assert_eq!(distinct.len(), ENVIRONMENTS, "source {kind}: {distinct:?}");
    }
}

#[test]
fn a_zygote_that_dies_is_replaced_and_costs_no_invocation() {
    let (_project, server) = serve(&[
        (
            "echo",
            "handler: index.handler, timeout: 30s",
            &[("index.mjs", "export const handler = async (event) => event;")],
        ),
        (
            "die",
            "handler: index.handler, timeout: 30s",
            &[("index.mjs", "export const handler = async () => process.exit(7);")],
        ),
    ]);
    let zygote = || {
        children(server.pid()).into_iter().find(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "hikigane-zygote")
        })
    };
    let echo = |n: u64| assert_eq!(value_of(&invoke(server.endpoint(), "echo", &json!(n).to_string())), n);
    echo(1);
    let first = wait_for("the zygote", zygote);
    assert!(
        Command::new("kill")
            .args(["-9", &first.to_string()])
            .status()
            .unwrap()
            .success()
    );
    // The environment that runs already, and as many fresh ones as it takes to use up the stock.
    echo(2);
    for _ in 0..5 {
        let answer = invoke(server.endpoint(), "die", "{}");
        assert!(answer.text().contains("exit status 7"), "{}", answer.text());
    }
    wait_for("another zygote", || zygote().filter(|second| *second != first));
    echo(3);
}

#[test]
fn nothing_of_the_rehearsal_is_left_in_a_function() {
    let look = "({ cwd: process.cwd(), \
        globals: [typeof awslambda, typeof navigator, Symbol.for('aws.lambda.runtime.requestId') in globalThis] })";
    let script = format!(
        "exports.handler = async () => ({{ ...{look}, cache: Object.keys(require.cache), paths: Object.keys(module.constructor._pathCache) }});"
    );
    let module = format!("export const handler = async () => {look};");
    let (_project, server) = serve(&[
        (
            "script",
            "handler: index.handler, runtime: nodejs20.x",
            &[("index.js", &script)],
        ),
        (
            "module",
            "handler: index.handler, runtime: nodejs24.x",
            &[("index.mjs", &module)],
        ),
    ]);
    let run = |name: &str| value_of(&invoke(server.endpoint(), name, "{}"));
    assert_eq!(
        run("script"),
        json!({
            "cwd": "/var/task", "globals": ["object", "undefined", true],
            "cache": ["/var/task/index.js"], "paths": run("script")["paths"],
        })
    );
    assert!(!run("script")["paths"].to_string().contains("rehearsal"));
    assert_eq!(
        run("module"),
        json!({ "cwd": "/var/task", "globals": ["object", "object", false] })
    );
}

/// A server that cannot start says why, and its zygote, which just then makes workers for it, adds nothing to that.
#[test]
fn workers_for_a_server_that_has_ended_end_without_a_word() {
    // In a process of its own: it adopts what is orphaned beneath it, as the server does.
    let ended = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "zygote::a_server_that_ends_at_once"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
#[ignore = "started by the test above"]
fn a_server_that_ends_at_once() {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let (orders, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    let zygote = Command::new(env!("CARGO_BIN_EXE_hikigane"))
        .arg("zygote")
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    for _ in 0..4 {
        // The end of a server that has gone: nobody has the other one.
        let (socket, _) = std::os::unix::net::UnixStream::pair().unwrap();
        let tickets = eventfd(0, EventfdFlags::SEMAPHORE).unwrap();
        let descriptors = [socket.as_fd(), tickets.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
        rustix::net::sendmsg(&orders, &[IoSlice::new(&[0])], &mut ancillary, SendFlags::NOSIGNAL).unwrap();
    }
    drop(orders);
    // Ends when the last worker has closed the stream.
    let ended = zygote.wait_with_output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
}
