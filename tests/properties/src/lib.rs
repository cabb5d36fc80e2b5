//! Properties that must hold for any bytes. The fuzzer searches for counterexamples; tests run the fixtures and
//! everything that the fuzzer has found through the same functions.

mod answer;
mod capture;
mod certificate;
mod chunks;
mod config;
mod envelope;
mod event;
mod explained;
mod family;
mod handshake;
mod headers;
mod page;
mod pointer;
#[allow(dead_code, reason = "shared with other tests")]
#[path = "../../src/providers.rs"]
mod providers;
mod scheme;
mod secret;
mod signature;
mod split;
mod stored;
mod times;

use std::cell::RefCell;

use medhook::testing::{StoppedClock, fixtures};
use medhook::{Bytes, NoDedupe, Provider, Receiver, Secret};
use tokio::runtime::{Builder, Runtime};

/// One property.
#[derive(Debug)]
pub struct Property {
    /// The name of the property and of its fuzz target.
    pub name: &'static str,
    /// Panics if the property does not hold. Each property gives the bytes a meaning of its own.
    pub holds: fn(&[u8]),
    /// Returns seeds for the fuzzer.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All properties.
pub const PROPERTIES: &[Property] = &[
    Property { name: "signature", holds: signature::holds, seeds: signature::seeds },
    Property { name: "scheme", holds: scheme::holds, seeds: scheme::seeds },
    Property { name: "split", holds: split::holds, seeds: split::seeds },
    Property { name: "event", holds: event::holds, seeds: event::seeds },
    Property { name: "chunks", holds: chunks::holds, seeds: chunks::seeds },
    Property { name: "pointer", holds: pointer::holds, seeds: pointer::seeds },
    Property { name: "config", holds: config::holds, seeds: config::seeds },
    Property { name: "handshake", holds: handshake::holds, seeds: handshake::seeds },
    Property { name: "envelope", holds: envelope::holds, seeds: envelope::seeds },
    Property { name: "secret", holds: secret::holds, seeds: secret::seeds },
    Property { name: "stored", holds: stored::holds, seeds: stored::seeds },
    Property { name: "answer", holds: answer::holds, seeds: answer::seeds },
    Property { name: "certificate", holds: certificate::holds, seeds: certificate::seeds },
    Property { name: "times", holds: times::holds, seeds: times::seeds },
    Property { name: "headers", holds: headers::holds, seeds: headers::seeds },
    Property { name: "capture", holds: capture::holds, seeds: capture::seeds },
    Property { name: "explained", holds: explained::holds, seeds: explained::seeds },
    Property { name: "page", holds: page::holds, seeds: page::seeds },
];

/// Returns the property of this name.
#[must_use]
pub fn property(name: &str) -> &'static Property {
    PROPERTIES.iter().find(|property| property.name == name).unwrap_or_else(|| panic!("no property {name}"))
}

/// Returns the maximum memory for a property with this many bytes of input: a few times that of a body and its
/// decoded forms, and far less than a length that a sender made up.
#[must_use]
pub const fn most_memory(bytes: usize) -> u64 {
    4 * 1024 * 1024 + 400 * bytes as u64
}

const NOW: i64 = 1_767_225_600;
/// Is valid base64 and valid text, so that every scheme can use it.
const SECRET: &str = "c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz";

fn secret() -> Secret {
    Secret::new(SECRET).expect("a secret")
}

fn receiver(provider: impl Provider, body_limit: usize) -> Receiver {
    let builder = Receiver::builder("property", provider).store(NoDedupe).clock(StoppedClock::at(NOW));
    builder.body_limit(body_limit).build().expect("a receiver")
}

/// Returns the bodies of all fixtures, with their providers.
fn bodies() -> impl Iterator<Item = (&'static str, Bytes)> {
    fixtures().iter().map(|fixture| (fixture.provider(), fixture.body()))
}

/// Runs a future that waits for nothing but time, which passes at once.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: RefCell<Runtime> =
            RefCell::new(Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime"));
    }
    RUNTIME.with_borrow(|runtime| runtime.block_on(future))
}
