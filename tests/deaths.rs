//! Functions that die, in all the ways there are: each has its own error, a neighbour keeps answering, and nothing is left behind.

use std::path::Path;

use serde_json::json;

use crate::support::{
    NEIGHBOUR, RUN, ask_neighbour, children, entries, error_of, invoke, invoke_beside_neighbour, invoke_logged, run_js,
    serve, value_of, wait_for,
};

#[test]
fn each_way_to_die_has_its_own_error() {
    let (_project, server) = serve(&[
        NEIGHBOUR,
        ("run", "handler: index.handler, timeout: 10s", &[("index.js", RUN)]),
    ]);
    for (js, kind, message) in [
        (
            "process.exit(0)",
            "Runtime.ExitError",
            "Error: Runtime exited without providing a reason",
        ),
        (
            "process.exit(3)",
            "Runtime.ExitError",
            "Error: Runtime exited with error: exit status 3",
        ),
        (
            "try { process.exit(4) } catch { return 'caught' }",
            "Runtime.ExitError",
            "Error: Runtime exited with error: exit status 4",
        ),
        (
            "setTimeout(() => process.exit(5), 5); await new Promise((done) => setTimeout(done, 5000))",
            "Runtime.ExitError",
            "Error: Runtime exited with error: exit status 5",
        ),
        (
            "process.exitCode = 6; process.exit()",
            "Runtime.ExitError",
            "Error: Runtime exited with error: exit status 6",
        ),
        (
            "process.abort()",
            "Runtime.ExitError",
            "Error: Runtime exited with error: signal: aborted",
        ),
        ("throw new Error('just that')", "Error", "just that"),
    ] {
        let answer = invoke_beside_neighbour(&server, "run", js);
        let (found, text) = error_of(&answer);
        let id = answer.header("x-amzn-requestid").unwrap();
        let prefix = if kind == "Runtime.ExitError" {
            format!("RequestId: {id} ")
        } else {
            String::new()
        };
        assert_eq!((found.as_str(), text), (kind, format!("{prefix}{message}")), "{js}");
        let count = run_js(&server, "run", "return count");
        assert!(
            count == 1 || kind == "Error",
            "the environment is gone after {js}: {count}"
        );
    }
}

#[test]
fn deep_recursion_can_be_handled() {
    let (_project, server) = serve(&[
        NEIGHBOUR,
        ("run", "handler: index.handler, timeout: 20s", &[("index.js", RUN)]),
    ]);
    let handled = "const deep = () => deep() + 1; try { deep(); } catch (error) { return error.name; }";
    assert_eq!(run_js(&server, "run", handled), "RangeError");
    for (js, kind) in [
        ("const deep = () => deep() + 1; return deep();", "RangeError"),
        ("return 'x'.repeat(2 ** 30);", "RangeError"),
        ("return new Array(-1);", "RangeError"),
    ] {
        let (found, message) = error_of(&invoke_beside_neighbour(&server, "run", js));
        assert_eq!(found, kind, "{js}: {message}");
    }
    for js in [
        "let o = {}; for (let i = 0; i < 1e5; i += 1) { o = { o }; } return o;",
        "return JSON.parse('['.repeat(1e6) + ']'.repeat(1e6));",
        "let f = 'x'; for (let i = 0; i < 1e5; i += 1) { f = `(${f})`; } return new Function(f)();",
    ] {
        let answer = invoke_beside_neighbour(&server, "run", js);
        assert!(answer.status == 200 && answer.body.len() > 2, "{js}: {}", answer.status);
    }
    assert!(run_js(&server, "run", "return count").as_u64() > Some(0));
}

#[test]
fn deep_json_in_an_event_reaches_the_function_or_is_refused() {
    let code = "export const handler = async (event) => JSON.stringify(event).length;";
    let (_project, server) = serve(&[NEIGHBOUR, ("f", "handler: index.handler", &[("index.mjs", code)])]);
    for depth in [100, 10_000, 500_000] {
        let event = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        let answer = invoke(server.endpoint(), "f", &event);
        assert!(matches!(answer.status, 200 | 400), "{depth}: {}", answer.status);
        if depth == 100 {
            assert_eq!(value_of(&answer), json!(201));
        }
        ask_neighbour(&server, depth as u64);
    }
}

#[test]
fn a_flood_of_log_is_cut_and_hurts_nobody() {
    let (_project, server) = serve(&[
        NEIGHBOUR,
        (
            "run",
            "handler: index.handler, timeout: 60s, memory: 512MB",
            &[("index.js", RUN)],
        ),
    ]);
    let flood = "for (let i = 0; i < 50000; i += 1) { console.log('x'.repeat(100)); } return 'lines';";
    assert_eq!(value_of(&invoke_beside_neighbour(&server, "run", flood)), "lines");
    let line = "console.log('y'.repeat(20 * 1024 * 1024)); return 'one line';";
    assert_eq!(value_of(&invoke_beside_neighbour(&server, "run", line)), "one line");
    let runs = wait_for("both runs", || {
        Some(server.runs("?function=run")).filter(|runs| runs.len() == 2)
    });
    for recorded in &runs {
        let log = server.run(&recorded["id"])["log"].as_str().unwrap().to_owned();
        assert!(log.len() < 2 * 1024 * 1024, "{}", log.len());
        assert!(
            log.contains("[hikigane] the log of this invocation is cut here"),
            "{}",
            &log[..200]
        );
        assert!(
            log.trim_end().lines().last().unwrap().starts_with("REPORT "),
            "the report is never cut"
        );
    }
    let binary =
        "process.stdout.write(Buffer.from([0, 255, 254, 10])); console.log('\\u001b[2J\\u0000'); return 'odd';";
    assert_eq!(run_js(&server, "run", binary), "odd");
}

#[test]
fn thirty_deaths_leave_no_process_and_no_directory() {
    let (project, server) = serve(&[
        NEIGHBOUR,
        ("run", "handler: index.handler, timeout: 1s", &[("index.js", RUN)]),
    ]);
    let tmp = project.join(".hikigane/tmp");
    ask_neighbour(&server, 0);
    let js = [
        "process.abort()",
        "await new Promise(() => {})",
        "setTimeout(() => { throw 1; }, 1); await new Promise((done) => setTimeout(done, 900));",
    ];
    std::thread::scope(|scope| {
        for js in js {
            let server = &server;
            scope.spawn(move || {
                for _ in 0..9 {
                    error_of(&invoke(server.endpoint(), "run", &json!({ "js": js }).to_string()));
                }
                error_of(&invoke(server.endpoint(), "run", r#"{"js":"while (true) {}"}"#));
            });
        }
    });
    // What is left: the zygote, the neighbour's environment, the four workers in stock and four directories for them, and what three at
    // once left in /tmp to those that would replace them.
    wait_for("the dead to be buried", || {
        (children(server.pid()).len() <= 6 && entries(&tmp) <= 8).then_some(())
    });
    ask_neighbour(&server, 1);
    let workers = children(server.pid());
    let (status, _) = server.stop(15);
    assert!(status.success());
    wait_for("the workers to end", || {
        workers
            .iter()
            .all(|pid| !Path::new(&format!("/proc/{pid}")).exists())
            .then_some(())
    });
    assert_eq!(entries(&tmp), 0);
}

#[test]
fn a_thousand_kills_leave_no_process_no_socket_and_no_directory() {
    const CLIENTS: usize = 8;
    let (project, server) = serve(&[
        NEIGHBOUR,
        (
            "die",
            "handler: index.handler, timeout: 30s",
            &[(
                "index.mjs",
                "export const handler = async ({ how }) => how === 'abort' ? process.abort() : process.exit(how);",
            )],
        ),
    ]);
    let descriptors = || entries(Path::new(&format!("/proc/{}/fd", server.pid())));
    let left = || (children(server.pid()).len(), descriptors());
    ask_neighbour(&server, 0);
    let before = wait_for("the stock to be full", || Some(left()).filter(|left| left.0 >= 6));
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let server = &server;
            scope.spawn(move || {
                for n in 0..1_000 / CLIENTS {
                    let event = if (n + client) % 2 == 0 {
                        json!({ "how": "abort" })
                    } else {
                        json!({ "how": n })
                    };
                    assert_eq!(
                        error_of(&invoke(server.endpoint(), "die", &event.to_string())).0,
                        "Runtime.ExitError"
                    );
                }
            });
        }
    });
    ask_neighbour(&server, 1);
    wait_for("all to be as before", || {
        let (processes, descriptors) = left();
        (processes <= before.0 && descriptors <= before.1).then_some(())
    });
    // What those that died last left in /tmp waits for the environments that would replace them, and four directories for the stock.
    assert!(entries(&project.join(".hikigane/tmp")) <= CLIENTS + 1 + 4);
}

#[test]
fn the_report_of_a_death_says_how_much_memory_was_held() {
    let code = "exports.handler = async (event) => eval(event.js);";
    let (_project, server) = serve(&[(
        "f",
        "handler: index.handler, memory: 256MB, timeout: 4s",
        &[("index.js", code)],
    )]);
    let used = |js: &str| -> u32 {
        let (_, log) = invoke_logged(server.endpoint(), "f", &json!({ "js": js }).to_string());
        let (_, rest) = log.split_once("Max Memory Used: ").unwrap();
        rest.split(' ').next().unwrap().parse().unwrap()
    };
    let idle = used("1");
    assert!((10..100).contains(&idle), "{idle}");
    // What was held since the last answer, is known of a process that still lives.
    let hog = "globalThis.held = Buffer.alloc(100 * 1024 * 1024, 1); for (;;);";
    let held = used(hog);
    assert!(held >= idle + 90 && held < 256, "{idle}, {held}");
    assert!(used("1") < idle + 50, "a new environment");
    let exits = used("globalThis.held = Buffer.alloc(100 * 1024 * 1024, 1); process.exit(1)");
    assert!(exits >= idle + 90 && exits < 256, "{idle}, {exits}");
    let bomb = "globalThis.held = []; for (;;) held.push(new Array(1e5).fill(held.length))";
    assert_eq!(used(bomb), 256);
}
