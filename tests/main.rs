//! End-to-end tests: the real binary, real files, real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

mod ahead;
mod bombs;
mod buckets;
mod cage;
mod canary;
mod code_cache;
mod code_signing;
mod commands;
mod contract;
mod deployments;
mod durability;
mod functions;
mod hostile;
mod house;
mod identity;
mod isolation;
mod kills;
mod layers;
mod logs;
mod network;
mod npm;
mod packages;
mod refusals;
mod resolution;
mod response_stream;
mod scratch;
mod signatures;
mod signing;
mod smoke;
mod streaming;
mod tls;
mod traces;
mod triggers;
mod zygote;
