//! JavaScript on V8: the only crate that knows it.
//!
//! [`zygote_main`] starts V8, makes an isolate from the snapshot, and forks workers. A worker loads one function and runs invocations one after
//! another, until the server closes its socket.

mod authorities;
mod cage;
mod code_cache;
mod environment;
mod extensions;
mod files;
mod import_errors;
mod levels;
mod link;
mod links;
mod memory;
mod modules;
mod mounts;
mod net;
mod permissions;
mod quota;
mod rehearsal;
mod require;
mod sandbox;
mod scope;
mod seccomp;
mod snapshot;
mod source_maps;
mod walls;
mod worker;
mod zygote;

pub use levels::{Level, Levels, probe};
pub use zygote::zygote_main;

/// The version of V8 that is linked.
pub fn v8_version() -> &'static str {
    deno_core::v8::VERSION_STRING
}

/// The day on which it was published (`YYYY-MM-DD`), as it stands beside the checksum of the archive; nothing where none stands there.
pub fn v8_released() -> &'static str {
    let head = include_str!("../../../third_party/v8/SHA256SUMS").lines().next();
    head.and_then(|head| head.split_once(" of "))
        .map_or("", |(_, date)| date)
}
