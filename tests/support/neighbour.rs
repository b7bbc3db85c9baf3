use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Answer, Function, Server, invoke, value_of};

/// A function that has done nothing wrong.
pub const NEIGHBOUR: Function = (
    "neighbour",
    "handler: index.handler, timeout: 60s",
    &[(
        "index.mjs",
        "let count = 0; export const handler = async (event) => ({ asked: event.n, count: ++count });",
    )],
);

/// The neighbour answers as if nothing had happened.
#[track_caller]
pub fn ask_neighbour(server: &Server, n: u64) {
    let answer = value_of(&invoke(server.endpoint(), "neighbour", &json!({ "n": n }).to_string()));
    assert_eq!(
        (&answer["asked"], answer["count"].as_u64() > Some(0)),
        (&json!(n), true),
        "{answer}"
    );
}

/// Invokes a function while its neighbour keeps answering, before, in between and after.
#[track_caller]
pub fn invoke_beside_neighbour(server: &Server, function: &str, js: &str) -> Answer {
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

/// Evaluates what the event says; a thrown error is a value, too. `count` tells how often this environment was used.
pub const PROBE: &str = r#"
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

/// As [`PROBE`], without catching.
pub const RUN: &str = r#"
    const AsyncFunction = (async () => {}).constructor;
    let count = 0;
    exports.handler = async (event) => {
      count += 1;
      return await new AsyncFunction('require', 'count', event.js)(require, count);
    };
"#;

/// What a program returns that the function runs.
#[track_caller]
pub fn run_js(server: &Server, function: &str, js: &str) -> Value {
    value_of(&invoke(server.endpoint(), function, &js_event(server, js)))
}

/// A probe's event. `PROJECT` in the program is the project's directory.
pub fn js_event(server: &Server, js: &str) -> String {
    let data = Path::new(server.ready["data"].as_str().unwrap());
    let project = data.parent().unwrap().to_str().unwrap();
    json!({ "js": js.replace("PROJECT", project) }).to_string()
}
