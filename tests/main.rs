//! End-to-end tests: the real binary, real files, real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

mod code_cache;
mod commands;
mod contract;
mod durability;
mod functions;
mod hostile;
mod house;
mod isolation;
mod logs;
mod refusals;
mod smoke;
mod streaming;
mod traces;
mod triggers;
