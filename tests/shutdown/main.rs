//! Real processes that are signaled to stop while a handler runs, one for each framework.
#![cfg(unix)]

mod process;
mod servers;

use std::net::SocketAddr;
use std::time::Duration;

use medhook::{Reason, SqliteStore, testing};
use medhook_tests::sender::{self, Outgoing};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::process::{Process, until};
use crate::servers::{PATH, READINESS, SECRET, receiver};

/// Longer than any test waits.
const HOUR: Duration = Duration::from_secs(3600);
const NO_DELAY: Duration = Duration::ZERO;

macro_rules! for_every_framework {
    ($($test:ident)*) => { for_every_framework!(@ [axum actix hyper] [$($test)*]); };
    (@ [$($framework:ident)*] $tests:tt) => { $( for_every_framework!(@@ $framework $tests); )* };
    (@@ $framework:ident [$($test:ident)*]) => {
        mod $framework {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    for signal in ["TERM", "INT"] {
                        super::$test(stringify!($framework), signal).await;
                    }
                }
            )*
        }
    };
}

for_every_framework! {
    a_running_handler_finishes_and_its_sender_is_answered
    a_handler_whose_sender_hung_up_finishes
    a_handler_that_outlives_the_deadline_is_canceled_and_its_claim_released
    deliveries_are_handled_during_the_delay_and_a_second_signal_ends_it
}

async fn a_running_handler_finishes_and_its_sender_is_answered(framework: &str, signal: &str) {
    let mut process = Process::start(framework, HOUR, NO_DELAY);
    let sent = tokio::spawn(sender::send(process.address, PATH.to_owned(), delivery("1")));
    process.line("handling").await;
    process.signal(signal);
    no_longer_ready(&process).await;
    process.release_handlers();
    let response = sent.await.unwrap().expect("an answer");
    assert_eq!(response.status(), 200);
    process.ended().await;
    process.line("canceled: 0").await;
    assert_eq!(handled_by_another_instance(&process, "1").await, Err(Reason::Duplicate));
}

async fn a_handler_whose_sender_hung_up_finishes(framework: &str, signal: &str) {
    let mut process = Process::start(framework, HOUR, NO_DELAY);
    let hung_up = sender::begin(process.address, PATH, &delivery("1")).await;
    process.line("handling").await;
    // Sends a reset, because servers may take a plain end of a connection for a sender that still reads.
    hung_up.set_zero_linger().expect("a socket");
    drop(hung_up);
    process.signal(signal);
    no_longer_ready(&process).await;
    process.release_handlers();
    process.ended().await;
    process.line("canceled: 0").await;
    assert_eq!(handled_by_another_instance(&process, "1").await, Err(Reason::Duplicate));
}

async fn a_handler_that_outlives_the_deadline_is_canceled_and_its_claim_released(framework: &str, signal: &str) {
    let mut process = Process::start(framework, Duration::from_millis(500), NO_DELAY);
    let sent = tokio::spawn(sender::send(process.address, PATH.to_owned(), delivery("1")));
    process.line("handling").await;
    process.signal(signal);
    process.ended().await;
    process.line("canceled: 1").await;
    let response = sent.await.unwrap().expect("an answer");
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
    // The claim was released, and not left to its lease of an hour.
    assert_eq!(handled_by_another_instance(&process, "1").await, Ok(()));
}

async fn deliveries_are_handled_during_the_delay_and_a_second_signal_ends_it(framework: &str, signal: &str) {
    let mut process = Process::start(framework, HOUR, HOUR);
    process.release_handlers();
    assert_eq!(readiness(process.address).await, Some(200));
    process.signal(signal);
    no_longer_ready(&process).await;
    assert_eq!(readiness(process.address).await, Some(503));
    let response = sender::send(process.address, PATH.to_owned(), delivery("1")).await.expect("an answer");
    assert_eq!(response.status(), 200);
    process.signal(signal);
    process.ended().await;
    process.line("canceled: 0").await;
}

/// The server of the other tests, in a process of its own; see [`Process::start`].
#[test]
fn server() {
    if let Ok(framework) = std::env::var(process::FRAMEWORK) {
        servers::run(&framework);
    }
}

fn delivery(id: &str) -> Outgoing {
    testing::healthsync("document.uploaded").id(id).secret(SECRET).request(PATH).into()
}

/// Returns the status of the readiness probe, or `None` if the connection is refused or closed.
async fn readiness(address: SocketAddr) -> Option<u16> {
    let mut socket = TcpStream::connect(address).await.ok()?;
    let probe = format!("GET {READINESS} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    socket.write_all(probe.as_bytes()).await.ok()?;
    sender::read(&mut socket).await.map(|response| response.status().as_u16())
}

async fn no_longer_ready(process: &Process) {
    until("the instance is no longer ready", async || readiness(process.address).await != Some(200)).await;
}

/// Handles the event as another instance would that shares the store.
async fn handled_by_another_instance(process: &Process, id: &str) -> Result<(), Reason> {
    let store = SqliteStore::open(process.store()).await.expect("the store of the process");
    let receiver = receiver(store);
    let request = testing::healthsync("document.uploaded").id(id).secret(SECRET).request(PATH);
    let handled = async {
        let verified = receiver.verify(request.headers(), request.body().clone())?;
        receiver.admit(receiver.open(verified)?)?.run(async {}, |()| true).await
    };
    handled.await.map_err(|rejection| rejection.reason())
}
