//! Manifests in, bindings or diagnostics out, through the public API and with a plug-in of the tests' own.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod demo;
mod diagnostics;
mod identity;
mod loading;
mod robustness;
mod schema;
