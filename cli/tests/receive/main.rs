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

mod addresses;
mod application;
mod checks;
mod commands;
mod config;
mod containers;
mod custom;
mod file_modes;
mod fleet;
mod forward;
#[allow(clippy::print_stdout, reason = "programs that are skipped")]
mod forward_signature;
mod forward_targets;
mod guides;
mod inbox;
mod inbox_config;
mod metrics;
mod mistakes;
mod observed;
mod operations;
mod operations_config;
mod operations_limits;
mod output;
mod page_client;
#[allow(clippy::print_stdout, reason = "figures, and drills that are skipped or not run")]
mod production;
mod program;
mod providers;
mod proxies;
mod rejected;
mod rolling;
mod rotation;
mod secret;
mod sender;
mod serving;
mod setup;
#[cfg(target_os = "linux")]
mod sockets;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod stores;
mod stray;
mod tls;
mod wire;
