//! End-to-end tests: the real binary, real files, real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

mod durability;
mod house;
mod smoke;
mod triggers;
