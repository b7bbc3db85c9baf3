//! Starting the program and talking to it.

mod absent;
pub mod archives;
mod aws;
mod debugger;
mod functions;
mod http;
mod lambda;
mod namespaces;
mod neighbour;
mod processes;
mod recorded;
mod server;
mod small_disk;
mod stream;
mod terminal;

pub use absent::{lacking, skipped};
pub use aws::{ANYBODY, Key, aws, aws_lambda, boto3};
pub use debugger::Debugger;
pub use functions::{Function, call, error_of, invocations, invoke_logged, project_of, serve, value_of};
pub use http::{Answer, get, invoke, invoke_event, post, request, try_request};
pub use lambda::{
    FUNCTIONS, LAYERS, answering, api, base64, body_of, code_sha256, create, create_function, creation,
    declaring_server, done, empty_server, from_base64, layer_arn, package, packed, publish, publish_layer, refusal_of,
    refused, update, update_code, wait_until_ready, zip_of,
};
pub use neighbour::{NEIGHBOUR, PROBE, RUN, ask_neighbour, invoke_beside_neighbour, js_event, run_js};
pub use processes::{children, entries, in_session};
pub use recorded::{assert_as_recorded, assert_recorded, differences, is_like, recorded};
pub use server::{Project, Server, command};
pub use small_disk::SmallDisk;
pub use stream::{Stream, StreamEvent};
pub use terminal::{ECHO, Kept, ask, echo, ended, free_port, run_in, up_for_a_person, up_for_a_person_by};

use std::time::{Duration, Instant};

/// How long a condition may take to come true. Generous: the machine may be busy; nothing waits this long when all is well.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `look` finds something.
#[track_caller]
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
