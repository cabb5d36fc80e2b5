//! Tests of stores on servers, for example when the server stops, hangs, or is misconfigured.
//!
//! `scripts/test` starts one server of each kind that all tests share, and sets the paths of its programs; a test
//! that stops or changes a server starts one of its own.

mod away;
mod late;
mod postgres;
mod postgres_abandoned;
mod postgres_commit_in;
mod postgres_migration;
mod postgres_pooler;
mod postgres_schema;
mod redis;
mod redis_memory;
mod runtimes;
mod tls;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Returns a namespace that has not been used before.
pub fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    format!("t{:x}_{process:x}_{count}", now & 0xffff_ffff)
}
