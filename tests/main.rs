//! End-to-end tests: the real binary, real files, real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

mod cage;
mod canary;
mod commands;
mod durability;
mod functions;
mod house;
mod isolation;
mod network;
mod packages;
mod scratch;
mod smoke;
mod triggers;
