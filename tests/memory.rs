//! Functions that use up their memory.

use serde_json::json;

use crate::support::{NEIGHBOUR, RUN, ask_neighbour, error_of, invoke_beside_neighbour, run_js, serve};

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
            run_js(&server, "run", "return count"),
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
    assert_eq!(run_js(&server, "run", buffers), 300);
    let again = "let sum = 0; for (let i = 0; i < 2000; i += 1) { sum += Buffer.alloc(1 << 20).length; } return sum;";
    assert_eq!(
        run_js(&server, "run", again),
        json!(2000_u64 << 20),
        "what is collected does not count"
    );
    let heap = "const all = []; for (let i = 0; i < 3e6; i += 1) { all.push({ i }); } return all.length;";
    assert_eq!(run_js(&server, "run", heap), 3_000_000);
}
