//! JavaScript on V8: the only crate that knows it.
//!
//! [`worker_main`] is the whole life of a worker process: V8 is started, an isolate is made from the snapshot, one function is loaded into it,
//! and invocations are run one after another, until the server closes the socket.

mod code_cache;
mod environment;
mod extensions;
mod memory;
mod modules;
mod permissions;
mod sandbox;
mod snapshot;
mod source_maps;
mod worker;

pub use worker::worker_main;

/// The version of V8 that is linked.
pub fn v8_version() -> &'static str {
    deno_core::v8::VERSION_STRING
}
