//! Functions that use up memory, in eight ways and many times: each costs one environment, and nothing is left of it.
//!
//! `HIKIGANE_BOMBS=1000 cargo test --release bombs` runs a thousand.

use std::path::Path;

use serde_json::json;

use crate::support::{children, error_of, invoke, serve, value_of, wait_for};

/// Every way goes on until something stops it.
const WAYS: [(&str, &str); 8] = [
    (
        "objects",
        "const all = []; for (;;) all.push({ a: all.length, b: [1, 2, 3] });",
    ),
    (
        "maps",
        "const all = new Map(); for (let i = 0; ; i++) all.set(`key ${i}`, { i });",
    ),
    (
        "strings",
        "const all = []; for (let i = 0; ; i++) all.push(`${i}`.repeat(50_000) + String.fromCharCode(256 + i % 9));",
    ),
    (
        "array buffers",
        "const all = []; for (;;) all.push(new Uint8Array(new ArrayBuffer(1 << 22)).fill(1));",
    ),
    (
        "buffers",
        "const all = []; for (;;) all.push(Buffer.alloc(1 << 20, 1));",
    ),
    (
        "webassembly",
        "const all = []; for (;;) all.push(new Uint8Array(new WebAssembly.Memory({ initial: 64 }).buffer).fill(1));",
    ),
    (
        "promises",
        "const all = []; for (;;) all.push(new Promise((done) => all.push(done)));",
    ),
    (
        "json",
        "let text = '[1]'; for (;;) { text = `[${text},${text}]`; globalThis.kept = JSON.parse(text); }",
    ),
];

const CLIENTS: usize = 4;

#[test]
fn the_guard_of_memory_cannot_be_taken_away() {
    let js = "export const handler = async () => { try { process.on('SIGPROF', () => {}); } catch {}\
        const all = []; for (;;) all.push(new Uint8Array(new WebAssembly.Memory({ initial: 64 }).buffer).fill(1)); };";
    let (_project, server) = serve(&[(
        "bomb",
        "handler: index.handler, memory: 128MB, timeout: 60s",
        &[("index.mjs", js)],
    )]);
    let answer = invoke(server.endpoint(), "bomb", "{}");
    assert_eq!(error_of(&answer).0, "Runtime.OutOfMemory");
}

#[test]
fn memory_bombs_kill_no_server_and_leave_nothing() {
    let bombs = std::env::var("HIKIGANE_BOMBS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(24);
    let code: Vec<[(&str, String); 1]> = WAYS
        .iter()
        .map(|(_, js)| [("index.mjs", format!("export const handler = async () => {{ {js} }};"))])
        .collect();
    let files: Vec<[(&str, &str); 1]> = code.iter().map(|file| [(file[0].0, file[0].1.as_str())]).collect();
    let names: Vec<String> = (0..WAYS.len()).map(|way| format!("way{way}")).collect();
    let mut functions: Vec<_> = names
        .iter()
        .zip(&files)
        .map(|(name, file)| {
            (
                name.as_str(),
                "handler: index.handler, memory: 128MB, timeout: 60s",
                file as &[_],
            )
        })
        .collect();
    let echo = [("index.mjs", "export const handler = async (event) => event;")];
    functions.push(("neighbour", "handler: index.handler, timeout: 60s", &echo));
    let (_project, server) = serve(&functions);
    let server = &server;
    let echo = |n: usize| {
        assert_eq!(
            value_of(&invoke(server.endpoint(), "neighbour", &n.to_string())),
            json!(n)
        )
    };
    let left = || {
        let descriptors = std::fs::read_dir(Path::new(&format!("/proc/{}/fd", server.pid())))
            .unwrap()
            .count();
        (children(server.pid()).len(), descriptors)
    };
    echo(0);
    let before = wait_for("the stock to be full", || Some(left()).filter(|left| left.0 >= 6));
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                for n in (client..bombs).step_by(CLIENTS) {
                    let (way, _) = WAYS[n % WAYS.len()];
                    let answer = invoke(server.endpoint(), &format!("way{}", n % WAYS.len()), "{}");
                    let (kind, message) = error_of(&answer);
                    // V8 answers a WebAssembly memory that cannot be had with an error.
                    let expected = [
                        "Runtime.OutOfMemory",
                        if way == "webassembly" { "RangeError" } else { "" },
                    ];
                    assert!(expected.contains(&kind.as_str()), "{way}: {kind}: {message}");
                    echo(n);
                }
            });
        }
    });
    echo(bombs);
    wait_for("all to be as before", || {
        let (processes, descriptors) = left();
        // An environment that answered with an error of its own is still there.
        (processes <= before.0 + CLIENTS && descriptors <= before.1 + CLIENTS).then_some(())
    });
}
