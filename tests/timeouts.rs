//! Functions that do not end in time.

use std::time::{Duration, Instant};

use crate::support::{
    NEIGHBOUR, RUN, ask_neighbour, error_of, invoke_beside_neighbour, invoke_logged, run_js, serve, wait_for,
};

/// Each program runs on its own, with a timeout of one second, and must be answered within two and a half.
#[track_caller]
fn all_time_out(programs: &[&str]) {
    let (_project, server) = serve(&[
        NEIGHBOUR,
        // Memory enough for what a fast machine piles up in that second.
        (
            "run",
            "handler: index.handler, timeout: 1s, memory: 3GB",
            &[("index.js", RUN)],
        ),
    ]);
    ask_neighbour(&server, 0);
    for js in programs {
        let begun = Instant::now();
        let answer = invoke_beside_neighbour(&server, "run", js);
        let took = begun.elapsed();
        let (kind, message) = error_of(&answer);
        let id = answer.header("x-amzn-requestid").unwrap();
        let expected = format!("RequestId: {id} Error: Task timed out after 1.00 seconds");
        assert_eq!((kind.as_str(), message), ("Sandbox.Timedout", expected), "{js}");
        assert!(
            took >= Duration::from_secs(1) && took < Duration::from_millis(2500),
            "{js}: {took:?}"
        );
        assert_eq!(
            run_js(&server, "run", "return count"),
            1,
            "the environment is gone after {js}"
        );
    }
}

#[test]
fn endless_loops_are_ended_by_the_timeout() {
    all_time_out(&[
        "while (true) {}",
        "try { while (true) {} } finally { while (true) {} }",
        "return /^(a+)+$/.test('a'.repeat(60) + 'b');",
    ]);
}

#[test]
fn endless_microtasks_are_ended_by_the_timeout() {
    all_time_out(&[
        "for (;;) { await null; }",
        "const again = () => queueMicrotask(again); again(); await new Promise(() => {});",
        "const again = () => process.nextTick(again); again(); await new Promise(() => {});",
    ]);
}

#[test]
fn endless_events_are_ended_by_the_timeout() {
    all_time_out(&[
        "const again = () => setImmediate(again); again(); await new Promise(() => {});",
        "const again = () => setTimeout(again, 0); again(); await new Promise(() => {});",
        "setInterval(() => {}, 1000); await new Promise(() => {});",
    ]);
}

#[test]
fn endless_loops_behind_the_handler_are_ended_by_the_timeout() {
    all_time_out(&[
        "return { toJSON() { while (true) {} } };",
        "throw { get stack() { while (true) {} }, toString() { while (true) {} } };",
        "return new Proxy({}, { ownKeys() { while (true) {} } });",
        "return { then() { while (true) {} } };",
    ]);
}

#[test]
fn endless_native_work_is_ended_by_the_timeout() {
    all_time_out(&[
        "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0); return 1;",
        "const code = new Uint8Array([0,97,115,109,1,0,0,0,1,4,1,96,0,0,3,2,1,0,7,5,1,1,102,0,0,10,9,1,7,0,3,64,12,0,11,11]);\
         new WebAssembly.Instance(new WebAssembly.Module(code)).exports.f();",
        "return 3n ** (3n ** 18n) > 1n;",
    ]);
}

#[test]
fn a_timeout_is_logged_and_recorded() {
    let (_project, server) = serve(&[("run", "handler: index.handler, timeout: 1s", &[("index.js", RUN)])]);
    let (answer, log) = invoke_logged(
        server.endpoint(),
        "run",
        r#"{"js":"console.log('before'); while (true) {}"}"#,
    );
    assert_eq!(error_of(&answer).0, "Sandbox.Timedout");
    assert!(log.contains("\tINFO\tbefore\n"), "{log}");
    assert!(log.contains("Task timed out after 1.00 seconds"), "{log}");
    let recorded = wait_for("the run", || server.runs("?function=run").into_iter().next());
    assert_eq!(recorded["status"], "timed-out");
    assert!(recorded["durationMs"].as_f64() >= Some(1000.0), "{recorded}");
}

#[test]
fn endless_initialisation_is_ended_too() {
    let (_project, server) = serve(&[
        NEIGHBOUR,
        (
            "init",
            "handler: index.handler, timeout: 1s",
            &[(
                "index.mjs",
                "export const handler = async () => {}; await new Promise((done) => setTimeout(done, 60000));",
            )],
        ),
    ]);
    let (kind, message) = error_of(&invoke_beside_neighbour(&server, "init", ""));
    assert_eq!(kind, "Sandbox.Timedout");
    assert!(message.ends_with("Task timed out after 1.00 seconds"), "{message}");
}
