//! Starting the program and talking to it.

pub mod archives;
mod aws;
mod deploy;
mod functions;
mod http;
pub mod operations;
mod processes;
mod recorded;
mod server;
mod stream;

pub use aws::{Key, aws, boto3};
pub use deploy::{
    FUNCTIONS, answering, api, base64, body_of, code_sha256, create, create_function, creation, lambda, packed,
    publish, refusal_of, settled, update_code, wait_until_ready, zip_of,
};
pub use functions::{Function, error_of, from_base64, invoke_logged, project_of, serve, value_of};
pub use http::{Answer, get, invoke, invoke_event, post, request, try_request};
pub use processes::{children, in_session};
pub use recorded::{assert_as_recorded, assert_recorded, recorded};
pub use server::{Project, Server, command};
pub use stream::{Stream, StreamEvent};

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
