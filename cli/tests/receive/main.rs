//! `medhook receive`: the built program, real sockets and signals.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a failed assumption of a test should end the test"
)]

mod application;
mod commands;
mod config;
mod fleet;
mod forward;
mod metrics;
mod mistakes;
mod output;
mod program;
mod providers;
mod rejected;
mod secret;
mod sender;
mod serving;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod stores;
mod stray;
