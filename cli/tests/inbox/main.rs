//! `medhook inbox` and `medhook forget`: the built program, over stores that receivers of this process have filled.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a failed assumption of a test should end the test"
)]

mod bodies;
mod changes;
mod forget;
mod keys;
mod lists;
mod mistakes;
#[cfg(feature = "postgres")]
mod postgres;
mod program;
mod stage;
mod working;
