//! Limits of the memory that senders can make a server hold.
//!
//! This is a process of its own, because the counting allocator is global and counts for all threads. Its tests run one
//! after the other.

use std::alloc::System;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use medhook::{HealthSync, MemoryStore, Receiver, Secret, testing};
use medhook_tests::route::Route;
use medhook_tests::sender::Connection;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

mod inbox;
#[path = "../middleware/servers.rs"]
mod servers;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Locked by each test.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Returns the number of bytes that are currently allocated.
fn held() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated.saturating_sub(stats.bytes_deallocated)
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..6_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("still not: {what}");
}

/// Returns the head of a delivery with an invalid signature, except for its framing headers.
fn head() -> String {
    let request = testing::healthsync("document.uploaded").secret("somebody-elses-secret").request("/");
    let mut head = "POST /0 HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\n".to_owned();
    for (name, value) in request.headers() {
        head += &format!("{name}: {}\r\n", value.to_str().expect("text"));
    }
    head
}

/// Begins such a delivery and sends one byte of its body.
async fn stalled(address: SocketAddr, head: &str, framing: &str) -> Connection {
    let mut connection = Connection::open(address).await;
    connection.send(format!("{head}{framing}\r\n\r\n").as_bytes()).await;
    // A request for the body shows that the head has passed all checks.
    assert!(connection.is_asked_to_continue().await);
    connection.send(if framing.ends_with("chunked") { b"100000\r\n{" } else { b"{" }).await;
    connection
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_stalled_bodies_hold_little_memory() {
    let _alone = ALONE.lock().await;
    const COUNT: usize = 1_000;
    // Covers both ends of a connection, its task, and the buffers of server and receiver. A body may have up to 1
    // MiB.
    const AT_MOST: usize = 64 << 10;
    rlimit::increase_nofile_limit(8_192).expect("sockets for 1,000 connections at both ends");
    let head = head();
    for (name, start) in servers::ALL {
        let healthsync = HealthSync::new(Secret::new("a-secret-of-the-dashboard").expect("a secret"));
        let builder = Receiver::builder("memory", healthsync).store(MemoryStore::new(10));
        let receiver = builder.body_timeout(Duration::from_secs(600)).build().expect("a receiver");
        let address = start(Arc::new([Route::new(receiver, |_| std::future::ready(200))]));
        drop(stalled(address, &head, "content-length: 1048576").await);

        for framing in ["content-length: 1048576", "transfer-encoding: chunked"] {
            let before = held();
            let more = || held().saturating_sub(before);
            let connections = (0..COUNT).map(|_| stalled(address, &head, framing));
            let connections = futures_util::future::join_all(connections).await;
            let each = more() / COUNT;
            println!("{name}, {framing}: {each} B held for each");
            assert!(each <= AT_MOST, "{name}, {framing}: {each} B held for each");
            drop(connections);
            // Servers keep some of the memory for later connections.
            until("what they held is free", || more() < COUNT * each / 2).await;
        }
    }
}
