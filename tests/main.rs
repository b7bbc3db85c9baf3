//! End-to-end tests: the real binary, real files, real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

mod ahead;
mod bombs;
mod buckets;
mod cage;
mod canary;
mod code_cache;
mod commands;
mod concurrency;
mod contract;
mod deployed;
mod deployments;
mod destinations;
mod durability;
mod functions;
mod fuzz;
mod hostile;
mod house;
mod identity;
mod isolation;
mod kills;
mod layers;
mod life;
mod logs;
mod network;
mod npm;
mod packages;
mod provisioned;
mod recorded;
mod refusals;
mod reset;
mod resolution;
mod response_stream;
mod scratch;
mod signatures;
mod smoke;
mod storm;
mod streaming;
mod tls;
mod traces;
mod triggers;
mod urls;
mod zygote;
