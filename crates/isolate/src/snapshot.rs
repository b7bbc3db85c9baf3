//! What the build script made.

/// The realm, all extensions evaluated.
pub static SNAPSHOT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/snapshot.bin"));

include!(concat!(env!("OUT_DIR"), "/lazy_sources.rs"));
