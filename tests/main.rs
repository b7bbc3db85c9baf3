//! End-to-end tests: the real binary, real files, real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

mod commands;
mod durability;
mod functions;
mod house;
mod isolation;
mod npm;
mod resolution;
mod smoke;
mod tls;
mod triggers;
