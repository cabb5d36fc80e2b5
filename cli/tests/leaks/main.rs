//! Marked secrets, bodies, headers, paths, answers and URLs go in; everything that the program writes is searched for
//! the marks: the output of every command, logs, answers, metrics, the operator's page, and files.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a failed assumption of a test should end the test"
)]

#[path = "../receive/application.rs"]
#[allow(dead_code, reason = "shared with the tests of `receive`")]
mod application;
mod commands;
mod mistakes;
#[path = "../receive/page_client.rs"]
#[allow(dead_code, reason = "shared with the tests of `receive`")]
mod page_client;
#[path = "../receive/program.rs"]
#[allow(dead_code, reason = "shared with the tests of `receive`")]
mod program;
mod receiver;
mod requests;
#[path = "../receive/sender.rs"]
#[allow(dead_code, reason = "shared with the tests of `receive`")]
mod sender;
mod stage;
mod written;
