//! Properties that must hold for any bytes. The fuzzer searches for counterexamples; tests run the fixtures and
//! everything that the fuzzer has found through the same functions.

mod chunks;
mod config;
mod event;
mod family;
mod pointer;
#[allow(dead_code, reason = "shared with other tests")]
#[path = "../../src/providers.rs"]
mod providers;
mod scheme;
mod signature;
mod split;

use medhook::testing::{StoppedClock, fixtures};
use medhook::{Bytes, NoDedupe, Provider, Receiver, Secret};

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
