//! Hostile and unlucky functions: each gets its own error, and nobody else notices.

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    Answer, Function, Project, Server, children, command, error_of, get, invoke, invoke_logged, project_of, serve,
    value_of, wait_for,
};

const NEIGHBOUR: Function = (
    "neighbour",
    "handler: index.handler, timeout: 60s",
    &[(
        "index.mjs",
        "let count = 0; export const handler = async (event) => ({ asked: event.n, count: ++count });",
    )],
);

/// Evaluates what the event says; a thrown error is a value, too. `count` tells how often this environment was used.
const PROBE: &str = r#"
    const AsyncFunction = (async () => {}).constructor;
    let count = 0;
    exports.handler = async (event) => {
      count += 1;
      try {
        const value = await new AsyncFunction('require', 'root', 'count', event.js)(require, __dirname, count);
        return { value: value ?? null };
      } catch (error) {
        return { refused: error.code ?? error.name, message: String(error.message) };
      }
    };
"#;

/// Does the same without catching.
const RUN: &str = r#"
    const AsyncFunction = (async () => {}).constructor;
    let count = 0;
    exports.handler = async (event) => {
      count += 1;
      return await new AsyncFunction('require', 'count', event.js)(require, count);
    };
"#;

#[track_caller]
fn ask_neighbour(server: &Server, n: u64) {
    let answer = value_of(&invoke(server.endpoint(), "neighbour", &json!({ "n": n }).to_string()));
    assert_eq!(
        (&answer["asked"], answer["count"].as_u64() > Some(0)),
        (&json!(n), true),
        "{answer}"
    );
}

/// Invokes a function while its neighbour keeps answering, before, in between and after.
#[track_caller]
fn invoke_beside_neighbour(server: &Server, function: &str, js: &str) -> Answer {
    let event = json!({ "js": js }).to_string();
    let mut asked = 0;
    let answer = std::thread::scope(|scope| {
        let hostile = scope.spawn(|| invoke(server.endpoint(), function, &event));
        while !hostile.is_finished() {
            asked += 1;
            ask_neighbour(server, asked);
            std::thread::sleep(Duration::from_millis(5));
        }
        hostile.join().unwrap()
    });
    ask_neighbour(server, asked + 1);
    answer
}

#[track_caller]
fn run(server: &Server, function: &str, js: &str) -> Value {
    value_of(&invoke(server.endpoint(), function, &event(server, js)))
}

/// A probe's event. `PROJECT` in the program is the project's directory.
fn event(server: &Server, js: &str) -> String {
    let data = Path::new(server.ready["data"].as_str().unwrap());
    let project = data.parent().unwrap().to_str().unwrap();
    json!({ "js": js.replace("PROJECT", project) }).to_string()
}

fn entries(directory: &Path) -> usize {
    std::fs::read_dir(directory).map_or(0, Iterator::count)
}

// --- Time -------------------------------------------------------------------------------------------------------------

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
            run(&server, "run", "return count"),
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

// --- Memory -----------------------------------------------------------------------------------------------------------

/// Each program uses up 128 MB; the next invocation gets a fresh environment.
#[track_caller]
fn all_run_out_of_memory(programs: &[&str]) {
    let settings = "handler: index.handler, memory: 128MB, timeout: 60s";
    let (_project, server) = serve(&[NEIGHBOUR, ("run", settings, &[("index.js", RUN)])]);
    ask_neighbour(&server, 0);
    for js in programs {
        let answer = invoke_beside_neighbour(&server, "run", js);
        let (kind, message) = error_of(&answer);
        let id = answer.header("x-amzn-requestid").unwrap();
        let expected = format!("RequestId: {id} Error: Runtime exited with error: signal: killed");
        assert_eq!((kind.as_str(), message), ("Runtime.OutOfMemory", expected), "{js}");
        assert_eq!(
            run(&server, "run", "return count"),
            1,
            "the environment is gone after {js}"
        );
    }
}

#[test]
fn memory_used_up_by_objects_ends_one_environment() {
    all_run_out_of_memory(&[
        "const all = []; for (;;) { all.push({ a: [1, 2, 3] }); }",
        "const map = new Map(); for (let i = 0; ; i += 1) { map.set(i, { i }); }",
        "const all = []; for (;;) { all.push(new Promise(() => {})); }",
        "const grow = () => { const all = []; for (;;) { all.push(new Array(1000).fill(0)); } }; try { grow(); } catch {} grow();",
    ]);
}

#[test]
fn memory_used_up_by_buffers_ends_one_environment() {
    all_run_out_of_memory(&[
        "const all = []; for (;;) { all.push(Buffer.alloc(1 << 20, 1)); }",
        "const all = []; for (;;) { all.push(new ArrayBuffer(1 << 24)); }",
        "const all = []; for (;;) { all.push(structuredClone(new Uint8Array(1 << 20))); }",
        "const all = []; for (;;) { all.push(require('crypto').randomBytes(1 << 20)); }",
        "let text = 'x'; const all = []; for (;;) { text += text.slice(0, 1000); all.push(Buffer.from(text)); await null; }",
    ]);
}

#[test]
fn memory_bombs_end_one_environment() {
    all_run_out_of_memory(&[
        "const all = []; for (let i = 0; ; i += 1) { all.push(`text ${i}`.repeat(1000).split('')); }",
        "return JSON.parse('[' + '[1],'.repeat(2e7) + '1]').length;",
        "return new Array(2 ** 30).fill({}).length;",
    ]);
}

#[test]
fn webassembly_memory_is_bounded() {
    let js = "const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536 }); let pages = 1;\
        try { for (;;) { memory.grow(256); pages += 256; new Uint8Array(memory.buffer).fill(1); } } catch (error) { return [error.name, pages]; }";
    let (_project, server) = serve(&[
        NEIGHBOUR,
        (
            "run",
            "handler: index.handler, memory: 128MB, timeout: 30s",
            &[("index.js", RUN)],
        ),
    ]);
    let answer = invoke_beside_neighbour(&server, "run", js);
    if answer.header("x-amz-function-error").is_some() {
        assert!(
            matches!(
                error_of(&answer).0.as_str(),
                "Runtime.OutOfMemory" | "Runtime.ExitError"
            ),
            "{answer:?}"
        );
    } else {
        let pages = answer.json()[1].as_u64().unwrap();
        assert_eq!(answer.json()[0], "RangeError");
        assert!(
            pages < 64 * 1024 * 1024 / 4096,
            "a function of 128 MB had {} MB",
            pages / 16
        );
    }
}

#[test]
fn a_function_may_use_the_memory_that_it_has() {
    let (_project, server) = serve(&[(
        "run",
        "handler: index.handler, memory: 512MB, timeout: 30s",
        &[("index.js", RUN)],
    )]);
    let buffers =
        "const all = []; for (let i = 0; i < 300; i += 1) { all.push(Buffer.alloc(1 << 20, 1)); } return all.length;";
    assert_eq!(run(&server, "run", buffers), 300);
    let again = "let sum = 0; for (let i = 0; i < 2000; i += 1) { sum += Buffer.alloc(1 << 20).length; } return sum;";
    assert_eq!(
        run(&server, "run", again),
        json!(2000_u64 << 20),
        "what is collected does not count"
    );
    let heap = "const all = []; for (let i = 0; i < 3e6; i += 1) { all.push({ i }); } return all.length;";
    assert_eq!(run(&server, "run", heap), 3_000_000);
}

// --- Exits and crashes ------------------------------------------------------------------------------------------------

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
        (
            "await new Promise(() => {})",
            "Runtime.NodeJsExit",
            "Runtime exited without providing a reason",
        ),
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
        let count = run(&server, "run", "return count");
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
    assert_eq!(run(&server, "run", handled), "RangeError");
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
    assert!(run(&server, "run", "return count").as_u64() > Some(0));
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
    assert_eq!(run(&server, "run", binary), "odd");
}

// --- The sandbox ------------------------------------------------------------------------------------------------------

fn sandbox() -> (Project, Server) {
    let project = project_of(&[
        NEIGHBOUR,
        (
            "probe",
            "handler: index.handler, timeout: 10s, allow: { read: [./in], write: [./out] }",
            &[("index.js", PROBE), ("data.txt", "data")],
        ),
    ]);
    project.write("in/given.txt", "given");
    project.write("out/old.txt", "old");
    project.write("outside/secret.txt", "sesame");
    project.write("in-but-longer/secret.txt", "sesame");
    for (link, target) in [
        ("code/probe/link", "/etc/passwd"),
        ("code/probe/dirlink", "../../outside"),
        ("code/probe/proc", "/proc"),
        ("in/link", "../outside/secret.txt"),
        ("out/escape", "../outside"),
    ] {
        std::os::unix::fs::symlink(target, project.join(link)).unwrap();
    }
    let server = project.up_as(
        command(&["up", "hikigane.yaml", "--endpoint", "127.0.0.1:0", "--json"]).env("HIKIGANE_CANARY", "open-sesame"),
    );
    (project, server)
}

/// What the probe was refused with: an error code that Node.js code knows, or the class that Deno's layer gives.
#[track_caller]
fn refused(server: &Server, js: &str) -> String {
    let answer = value_of(&invoke(server.endpoint(), "probe", &event(server, js)));
    answer["refused"]
        .as_str()
        .unwrap_or_else(|| panic!("{js} was not refused: {answer}"))
        .to_owned()
}

#[track_caller]
fn all_are_refused(server: &Server, probes: &[&str]) {
    let through: Vec<String> = probes
        .iter()
        .filter_map(|js| {
            let answer = value_of(&invoke(server.endpoint(), "probe", &event(server, js)));
            let refusal = answer["refused"].as_str().unwrap_or_default();
            let good = matches!(
                refusal,
                "EACCES"
                    | "EPERM"
                    | "EROFS"
                    | "ENOENT"
                    | "MODULE_NOT_FOUND"
                    | "NotCapable"
                    | "NotSupported"
                    | "PermissionDenied"
                    | "ERR_ACCESS_DENIED"
                    | "ERR_FEATURE_UNAVAILABLE_ON_PLATFORM"
            );
            (!good).then(|| format!("{js}: {answer}"))
        })
        .collect();
    assert!(through.is_empty(), "{}", through.join("\n"));
    ask_neighbour(server, 0);
}

#[test]
fn what_is_allowed_works() {
    let (project, server) = sandbox();
    for (js, value) in [
        (
            "return require('fs').readFileSync(root + '/data.txt', 'utf8')",
            json!("data"),
        ),
        (
            "return require('fs').readFileSync('PROJECT/in/given.txt', 'utf8')",
            json!("given"),
        ),
        (
            "return require('fs').readFileSync('PROJECT/out/old.txt', 'utf8')",
            json!("old"),
        ),
        (
            "return require('fs').writeFileSync('PROJECT/out/new.txt', 'new')",
            json!(null),
        ),
        (
            "return require('fs').mkdirSync('PROJECT/out/a/b', { recursive: true }) !== undefined",
            json!(true),
        ),
        (
            "return require('fs').renameSync('PROJECT/out/new.txt', 'PROJECT/out/a/b/moved.txt')",
            json!(null),
        ),
        (
            "return require('fs').readdirSync('PROJECT/out/a/b').join()",
            json!("moved.txt"),
        ),
        ("return require('fs').rmSync('PROJECT/out/old.txt')", json!(null)),
        (
            "return (await require('fs/promises').stat(root + '/data.txt')).size",
            json!(4),
        ),
    ] {
        assert_eq!(run(&server, "probe", js), json!({ "value": value }), "{js}");
    }
    assert_eq!(
        std::fs::read_to_string(project.join("out/a/b/moved.txt")).unwrap(),
        "new"
    );
    assert!(!project.join("out/old.txt").exists());
}

#[test]
fn files_outside_are_out_of_reach() {
    let (project, server) = sandbox();
    all_are_refused(
        &server,
        &[
            "return require('fs').readFileSync('/etc/passwd', 'utf8')",
            "return await require('fs/promises').readFile('/etc/passwd', 'utf8')",
            "return await new Promise((done, no) => require('fs').readFile('/etc/passwd', (error, x) => error ? no(error) : done(x)))",
            "return require('fs').openSync('/etc/passwd')",
            "return require('fs').statSync('/etc/passwd')",
            "return require('fs').readdirSync('/')",
            "return await require('fs').createReadStream('/etc/passwd').toArray()",
            "return require('fs').readFileSync('PROJECT/outside/secret.txt', 'utf8')",
            "return require('fs').readFileSync('PROJECT/in-but-longer/secret.txt', 'utf8')",
            "return require('fs').readFileSync('PROJECT/hikigane.yaml', 'utf8')",
            "return require('fs').readFileSync('PROJECT/code/neighbour/index.mjs', 'utf8')",
            "return require('fs').readdirSync('PROJECT/.hikigane')",
            "return require('fs').copyFileSync('/etc/passwd', 'PROJECT/out/copy')",
            "return require('fs').linkSync('/etc/passwd', 'PROJECT/out/hard')",
            "return require('fs').symlinkSync('/etc/passwd', 'PROJECT/out/soft')",
            "return require('fs').writeFileSync(root + '/new.txt', 'x')",
            "return require('fs').appendFileSync(root + '/data.txt', 'x')",
            "return require('fs').truncateSync(root + '/data.txt')",
            "return require('fs').unlinkSync(root + '/data.txt')",
            "return require('fs').chmodSync(root + '/data.txt', 0)",
            "return require('fs').renameSync(root + '/data.txt', 'PROJECT/out/data.txt')",
            "return require('fs').rmSync(root, { recursive: true })",
            "return require('fs').writeFileSync('PROJECT/in/new.txt', 'x')",
            "return require('fs').writeFileSync('PROJECT/outside/new.txt', 'x')",
            "return require('fs').mkdirSync('/var/evil')",
            "return require('fs').writeFileSync('/dev/shm/evil', 'x')",
            "return require('fs').mkdtempSync('/var/tmp/x')",
            "return process.chdir('/etc')",
            "return require('/etc/passwd')",
            "return require('fs').readFileSync('/dev/mem')",
            "return require('v8').writeHeapSnapshot('/var/tmp/heap')",
        ],
    );
    let imported = refused(&server, "return await import('file:///etc/passwd')");
    assert!(
        imported == "ERR_MODULE_NOT_FOUND" || imported == "NotCapable",
        "{imported}"
    );
    assert_eq!(
        std::fs::read_to_string(project.join("code/probe/data.txt")).unwrap(),
        "data"
    );
    assert_eq!(
        (entries(&project.join("outside")), entries(&project.join("in"))),
        (1, 2)
    );
}

#[test]
fn symbolic_links_do_not_lead_out() {
    let (project, server) = sandbox();
    all_are_refused(
        &server,
        &[
            "return require('fs').readFileSync(root + '/link', 'utf8')",
            "return require(root + '/link')",
            "return require('fs').readFileSync(root + '/dirlink/secret.txt', 'utf8')",
            "return require('fs').readdirSync(root + '/dirlink')",
            "return require('fs').readFileSync('PROJECT/in/link', 'utf8')",
            "return require('fs').writeFileSync('PROJECT/out/escape/evil.txt', 'x')",
            "return require('fs').rmSync('PROJECT/out/escape/secret.txt')",
            "return require('fs').readdirSync(root + '/proc/self/fd')",
            "return require('fs').readFileSync(root + '/proc/self/maps', 'utf8')",
        ],
    );
    assert_eq!(
        std::fs::read_to_string(project.join("outside/secret.txt")).unwrap(),
        "sesame"
    );
    assert_eq!(entries(&project.join("outside")), 1);
}

#[test]
fn a_refused_file_has_the_error_code_that_nodejs_gives() {
    let (_project, server) = sandbox();
    for js in [
        "return require('fs').readFileSync('/etc/passwd', 'utf8')",
        "return await require('fs/promises').readFile('/etc/passwd', 'utf8')",
        "return await new Promise((done, no) => require('fs').readFile('/etc/passwd', (error, x) => error ? no(error) : done(x)))",
        "return require('fs').writeFileSync(root + '/new.txt', 'x')",
        "return require('fs').accessSync('/etc/passwd')",
    ] {
        assert!(
            matches!(refused(&server, js).as_str(), "EACCES" | "EPERM"),
            "{js}: {}",
            refused(&server, js)
        );
        let answer = run(&server, "probe", js);
        assert!(
            !answer["message"].as_str().unwrap().contains("--allow"),
            "no hint for another program: {answer}"
        );
    }
}

#[test]
fn other_processes_are_out_of_reach() {
    let (_project, server) = sandbox();
    let parent = server.pid();
    let kills = [
        format!("return process.kill({parent}, 9)"),
        format!("return process.kill({parent}, 0)"),
        format!("return process.kill(-{parent}, 9)"),
    ];
    let mut probes: Vec<&str> = kills.iter().map(String::as_str).collect();
    probes.extend([
        "return process.kill(process.ppid, 9)",
        "return process.kill(0, 9)",
        "return process.kill(-1, 9)",
        "throw require('child_process').spawnSync('id').error",
        "return await new Promise((done, no) => { const c = require('child_process').spawn('id'); c.on('error', no); c.on('exit', done); })",
        "return await new Promise((done, no) => require('child_process').exec('id', (error, out) => error ? no(error) : done(out)))",
        "return await new Promise((done, no) => require('child_process').execFile('/bin/true', (error, out) => error ? no(error) : done(out)))",
        "return await new Promise((done, no) => { const c = require('child_process').fork(root + '/index.js'); c.on('error', no); c.on('exit', done); })",
        "return new (require('worker_threads').Worker)('1', { eval: true })",
        "return require('cluster').fork()",
        "return process.dlopen({ exports: {} }, '/lib/x86_64-linux-gnu/libc.so.6')",
        "return process.setuid(1)",
    ]);
    all_are_refused(&server, &probes);
    let ran = run(
        &server,
        "probe",
        "return require('child_process').execSync('echo out').toString()",
    );
    assert!(ran.get("refused").is_some(), "{ran}");
    assert_eq!(
        run(&server, "probe", "return typeof Worker"),
        json!({"value": "undefined"})
    );
    assert_eq!(
        run(&server, "probe", "return [process.pid, process.ppid]"),
        json!({"value": [2, 1]})
    );
}

#[test]
fn the_network_is_closed_unless_opened() {
    let (_project, server) = sandbox();
    let port = server.endpoint().rsplit(':').next().unwrap().parse::<u16>().unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let other_port = other.local_addr().unwrap().port();
    let probes: Vec<String> = [
        "return (await fetch('http://127.0.0.1:PORT/2015-03-31/functions')).status",
        "return (await fetch('http://localhost:PORT/2015-03-31/functions')).status",
        "return (await fetch('http://[::1]:PORT/')).status",
        "return (await fetch('http://169.254.169.254/latest/meta-data/')).status",
        "return (await fetch('http://example.invalid/')).status",
        "return await new Promise((done, no) => { const s = require('net').connect(PORT, '127.0.0.1', () => done('open')); s.on('error', no); })",
        "return await new Promise((done, no) => { const s = require('net').connect('/var/run/x.sock', () => done('open')); s.on('error', no); })",
        "return await new Promise((done, no) => require('http').get('http://127.0.0.1:PORT/', done).on('error', no))",
        "return await new Promise((done, no) => require('https').get('https://127.0.0.1:PORT/', done).on('error', no))",
        "return await new Promise((done, no) => { const s = require('tls').connect(PORT, '127.0.0.1', done); s.on('error', no); })",
        "return await new Promise((done, no) => { const s = new WebSocket('ws://127.0.0.1:PORT/'); s.onerror = (event) => no(event.error ?? new Error(event.message)); s.onopen = done; })",
        "return await require('dns').promises.lookup('localhost')",
        "return await new Promise((done, no) => require('dns').lookup('localhost', (error, a) => error ? no(error) : done(a)))",
    ]
    .iter()
    .flat_map(|js| [port, other_port].map(|port| js.replace("PORT", &port.to_string())))
    .collect();
    all_are_refused(&server, &probes.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(!refused(&server, "return await require('dns').promises.resolve4('localhost')").is_empty());
    other.set_nonblocking(true).unwrap();
    assert!(other.accept().is_err(), "nobody connected");

    for js in [
        "return await new Promise((done, no) => { const s = require('net').createServer(); s.on('error', no); s.listen(0, '127.0.0.1', () => done('listens')); })",
        "return await new Promise((done, no) => { const s = require('dgram').createSocket('udp4'); s.on('error', no); s.send('x', 9, '127.0.0.1', (error) => error ? no(error) : done('sent')); })",
    ] {
        let answer = invoke(server.endpoint(), "probe", &json!({ "js": js }).to_string()).json();
        assert_eq!(answer.get("value"), None, "{js}: {answer}");
    }
    ask_neighbour(&server, 1);
}

#[test]
fn only_the_listed_hosts_are_open() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let settings = format!("handler: index.handler, timeout: 10s, allow: {{ net: [\"127.0.0.1:{port}\"] }}");
    let (_project, server) = serve(&[NEIGHBOUR, ("probe", &settings, &[("index.js", PROBE)])]);
    let connect = |port: &str| {
        let js = format!(
            "return await new Promise((done, no) => {{ const s = require('net').connect({port}, '127.0.0.1', () => {{ s.destroy(); done('open'); }}); s.on('error', no); }})"
        );
        run(&server, "probe", &js)
    };
    assert_eq!(connect(&port.to_string()), json!({"value": "open"}));
    let own = server.endpoint().rsplit(':').next().unwrap().to_owned();
    assert!(connect(&own).get("refused").is_some());
}

#[test]
fn nothing_of_the_servers_environment_is_visible() {
    let (_project, server) = sandbox();
    let parent = server.pid();
    assert_eq!(
        run(
            &server,
            "probe",
            "return JSON.stringify(process.env).includes('sesame')"
        ),
        json!({"value": false})
    );
    let environ = format!("return require('fs').readFileSync('/proc/{parent}/environ', 'utf8')");
    let linked = format!("return require('fs').readFileSync(root + '/proc/{parent}/environ', 'utf8')");
    all_are_refused(
        &server,
        &[
            "return require('fs').readFileSync('/proc/self/environ', 'utf8')",
            "return require('fs').readFileSync('/proc/1/environ', 'utf8')",
            "return require('fs').readFileSync('/proc/self/maps', 'utf8')",
            "return require('fs').readdirSync('/proc/self/fd')",
            "return require('fs').readFileSync('/proc/self/cmdline', 'utf8')",
            "return require('fs').readFileSync('/proc/self/mem')",
            "return require('fs').openSync('/proc/self/mem', 'r+')",
            &environ,
            &linked,
        ],
    );
    let report = run(
        &server,
        "probe",
        "return JSON.stringify(process.report?.getReport?.() ?? {}).includes('sesame')",
    );
    assert_eq!(report, json!({"value": false}));
    let workers = children(parent);
    assert!(!workers.is_empty());
    for worker in workers {
        let environ = std::fs::read(format!("/proc/{worker}/environ")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&environ).contains("sesame"), "worker {worker}");
    }
}

#[test]
fn standard_streams_are_empty_and_descriptors_closed() {
    let (_project, server) = sandbox();
    let input = "return await new Promise((done) => { process.stdin.on('data', done); process.stdin.on('end', () => done('end')); process.stdin.on('error', done); })";
    assert_eq!(run(&server, "probe", input), json!({"value": "end"}));
    let each = |what: &str| {
        format!(
            "return Array.from({{ length: 64 }}, (_, fd) => {{ try {{ return String({what}); }} catch (error) {{ return error.code ?? error.name; }} }}).slice(3).every((result) => ['EBADF', 'EINVAL'].includes(result))"
        )
    };
    for what in [
        "require('fs').fstatSync(fd).ino",
        "require('fs').readSync(fd, Buffer.alloc(16))",
        "require('fs').writeSync(fd, 'x')",
        "require('fs').closeSync(fd)",
    ] {
        assert_eq!(run(&server, "probe", &each(what)), json!({"value": true}), "{what}");
        ask_neighbour(&server, 1);
    }
    assert_eq!(
        run(&server, "probe", "console.log('still logs'); return 'alive'"),
        json!({"value": "alive"})
    );
}

#[test]
fn forged_frames_hurt_nobody_else() {
    let (_project, server) = sandbox();
    // A frame: length, kind (20: returned), memory, text; and what is no frame at all.
    let forged = "const text = Buffer.from('\"forged\"'); const frame = Buffer.alloc(9 + text.length);\
        frame.writeUInt32LE(5 + text.length, 0); frame[4] = 20; text.copy(frame, 9);";
    for bytes in [
        "frame",
        "Buffer.concat([frame, frame, frame])",
        "Buffer.from([255, 255, 255, 255])",
        "Buffer.alloc(64)",
        "Buffer.from([1, 0, 0, 0, 16])",
        "Buffer.from([1, 0, 0, 0, 22])",
        "Buffer.from([200, 0, 0, 0, 20])",
    ] {
        for fd in [3, 7, 11] {
            let js = format!(
                "{forged} await new Promise((done) => {{ const s = new (require('net').Socket)({{ fd: {fd} }}); s.on('error', done); s.write({bytes}, done); setTimeout(done, 50); }}); return 'own';"
            );
            let answer = invoke(server.endpoint(), "probe", &json!({ "js": js }).to_string());
            assert_eq!(answer.status, 200, "{fd} {bytes}");
            ask_neighbour(&server, fd);
        }
    }
    // Whatever the function did to its own environments, an environment that it did not touch answers for itself.
    let mine = wait_for("an own answer", || {
        Some(invoke(server.endpoint(), "probe", r#"{"js":"return 'mine'"}"#))
            .filter(|answer| answer.text() == r#"{"value":"mine"}"#)
    });
    assert_eq!(mine.status, 200);
}

#[test]
fn an_answer_is_never_a_forged_or_stale_one() {
    let (_project, server) = sandbox();
    let forged = "const text = Buffer.from('\"forged\"'); const frame = Buffer.alloc(9 + text.length);\
        frame.writeUInt32LE(5 + text.length, 0); frame[4] = 20; text.copy(frame, 9);\
        await new Promise((done) => { const s = new (require('net').Socket)({ fd: 3 }); s.on('error', done); s.write(Buffer.concat([frame, frame]), done); setTimeout(done, 50); }); return 'own';";
    let _ = invoke(server.endpoint(), "probe", &json!({ "js": forged }).to_string());
    for n in 0..4 {
        let answer = run(&server, "probe", &format!("return {n}"));
        assert_eq!(
            answer,
            json!({ "value": n }),
            "the next caller gets an answer of its own"
        );
    }
}

// --- Polluted globals -------------------------------------------------------------------------------------------------

#[test]
fn polluted_globals_do_not_break_answers_errors_or_logs() {
    let pollutions = [
        "Object.prototype.toJSON = undefined; Object.prototype.errorType = 'evil'; Object.prototype.get = 1; Object.prototype.value = 2;",
        "Array.prototype[Symbol.iterator] = function* () { yield 'evil'; };",
        "Array.prototype.map = Array.prototype.join = Array.prototype.push = () => { throw new Error('evil'); };",
        "Promise.prototype.then = function () { throw new Error('evil'); };",
        "Promise.resolve = () => { throw new Error('evil'); };",
        "JSON.stringify = () => 'evil'; JSON.parse = () => { throw new Error('evil'); };",
        "String.prototype.split = String.prototype.replaceAll = String.prototype.slice = () => { throw new Error('evil'); };",
        "Date.prototype.toISOString = () => 'evil'; Date.now = () => NaN; globalThis.Date = null;",
        "Error.prepareStackTrace = () => { throw new Error('evil'); };",
        "Error.prepareStackTrace = () => ({ evil: true });",
        "Error.stackTraceLimit = 0;",
        "Reflect.apply = Function.prototype.call = Function.prototype.apply = Function.prototype.bind = () => { throw new Error('evil'); };",
        "globalThis.console = undefined; globalThis.Buffer = undefined; globalThis.Error = undefined;",
        "globalThis.setTimeout = globalThis.queueMicrotask = globalThis.structuredClone = null;",
        "process.env = null;",
        "globalThis.process = undefined;",
        "for (const name of Object.getOwnPropertyNames(globalThis)) { if (!/^(eval|undefined|NaN|Infinity|Object|globalThis)$/.test(name)) { try { delete globalThis[name]; } catch {} } }",
        "Object.freeze(Object.prototype); Object.freeze(globalThis);",
    ];
    let names: Vec<String> = (0..pollutions.len()).map(|index| format!("run{index}")).collect();
    let files = [("index.js", RUN)];
    let mut functions = vec![NEIGHBOUR];
    functions.extend(
        names
            .iter()
            .map(|name| (name.as_str(), "handler: index.handler, timeout: 2s", &files[..])),
    );
    let (_project, server) = serve(&functions);
    for (pollution, function) in pollutions.iter().zip(&names) {
        let tell = |js: &str| {
            let answer = invoke(server.endpoint(), function, &json!({ "js": js }).to_string());
            assert_eq!(answer.status, 200, "{pollution}: {}", answer.text());
            (answer.header("x-amz-function-error").is_some(), answer.json())
        };
        let (failed, first) = tell(&format!("{pollution} return 'polluted';"));
        assert!(
            if failed {
                first["errorType"].is_string()
            } else {
                first == "polluted"
            },
            "{pollution}: {first}"
        );
        let (failed, second) = tell("return { sum: 1 + 1, list: [1, 2] }");
        let right = second == json!({"sum": 2, "list": [1, 2]});
        assert!(
            if failed { second["errorType"].is_string() } else { right },
            "{pollution}: {second}"
        );
        let (failed, third) = tell("throw { mine: 1 }");
        assert!(failed && third["errorType"].is_string(), "{pollution}: {third}");
        ask_neighbour(&server, 1);
    }
}

#[test]
fn every_sort_of_broken_error_is_still_an_answer() {
    let (_project, server) = serve(&[
        NEIGHBOUR,
        ("run", "handler: index.handler, timeout: 5s", &[("index.js", RUN)]),
    ]);
    let mut wrong = Vec::new();
    for js in [
        "const e = new Error('x'); Object.defineProperty(e, 'message', { get() { throw new Error('evil'); } }); throw e;",
        "const e = new Error('x'); Object.defineProperty(e, 'stack', { get() { throw new Error('evil'); } }); throw e;",
        "const e = new Error('x'); e.stack = { not: 'text' }; throw e;",
        "const e = new Error('x'); e.name = { toString() { throw new Error('evil'); } }; throw e;",
        "const e = new Error('x'); e.name = 7; e.message = 8n; throw e;",
        "const e = new Error('x'); e.big = 1n; e.self = e; throw e;",
        "const e = new Error('x'); e.toJSON = () => { throw new Error('evil'); }; throw e;",
        "throw new Proxy(new Error('x'), { get() { throw new Error('evil'); } });",
        "throw new Proxy({}, { get() { throw 1; }, getPrototypeOf() { throw 2; }, ownKeys() { throw 3; } });",
        "throw Object.create(null);",
        "throw Symbol('s');",
        "throw () => 1;",
        "throw { toString: null, valueOf: null };",
        "throw Object.assign(new Error('x'), { errorType: 'evil', errorMessage: 'evil', trace: 'evil' });",
        "throw new AggregateError([new Error('a'), new Error('b')], 'both');",
        "throw new DOMException('dom', 'AbortError');",
        "throw new Error('x'.repeat(7 * 1024 * 1024));",
        "return { then(yes, no) { no(new Error('thenable')); } };",
        "return { then(yes, no) { yes(1); yes(2); no(3); } };",
        "return { get then() { throw new Error('getter'); } };",
    ] {
        let answer = invoke(server.endpoint(), "run", &json!({ "js": js }).to_string());
        let body = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        if answer.status != 200 || !(body == 1 || body["errorType"].is_string()) {
            wrong.push(format!("{js}: {} {body}", answer.status));
        }
        ask_neighbour(&server, 1);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn two_functions_share_no_process() {
    let code = "globalThis.shared ??= []; export const handler = async (event) => { shared.push(event.n); Object.prototype.dirt = event.n; return shared; };";
    let look = "export const handler = async () => ({ shared: globalThis.shared ?? null, dirt: {}.dirt ?? null });";
    let (_project, server) = serve(&[
        ("one", "handler: index.handler", &[("index.mjs", code)]),
        ("two", "handler: index.handler", &[("index.mjs", code)]),
        ("look", "handler: index.handler", &[("index.mjs", look)]),
    ]);
    for n in 1..=3 {
        let expected: Vec<u64> = (1..=n).collect();
        assert_eq!(
            value_of(&invoke(server.endpoint(), "one", &json!({ "n": n }).to_string())),
            json!(expected)
        );
    }
    assert_eq!(value_of(&invoke(server.endpoint(), "two", r#"{"n":9}"#)), json!([9]));
    assert_eq!(
        value_of(&invoke(server.endpoint(), "look", "{}")),
        json!({"shared": null, "dirt": null})
    );
}

// --- Nothing is left behind -------------------------------------------------------------------------------------------

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
fn workers_end_with_a_server_that_is_killed() {
    let (_project, server) = serve(&[
        NEIGHBOUR,
        (
            "spin",
            "handler: index.handler, timeout: 60s",
            &[("index.js", "exports.handler = async () => { while (true) {} };")],
        ),
    ]);
    ask_neighbour(&server, 0);
    let url = format!("{}/2015-03-31/functions/spin/invocations", server.endpoint());
    crate::support::post(&url, &[("x-amz-invocation-type", "Event")], b"{}");
    let status = format!("{}/_hikigane/status", server.endpoint());
    wait_for("the event to be taken", || {
        (children(server.pid()).len() >= 4 && get(&status).status == 200).then_some(())
    });
    let workers = children(server.pid());
    server.kill();
    wait_for("the workers to end", || {
        let gone = |pid: &u32| {
            std::fs::read_to_string(format!("/proc/{pid}/cmdline"))
                .map_or(true, |line| !line.contains("hikigane-worker"))
        };
        workers.iter().all(gone).then_some(())
    });
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
