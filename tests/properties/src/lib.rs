//! What must hold for any bytes at all. The fuzzer looks for bytes for which it does not; tests play the fixtures, and
//! whatever the fuzzer once found, through the same functions.

mod chunks;
mod config;
mod event;
mod pointer;
#[allow(dead_code, reason = "shared with other tests")]
#[path = "../../src/providers.rs"]
mod providers;
mod signature;

use medhook::testing::{StoppedClock, fixtures};
use medhook::{Bytes, NoDedupe, Provider, Receiver, Secret};

/// One property.
#[derive(Debug)]
pub struct Property {
    /// Its name, and that of its fuzz target.
    pub name: &'static str,
    /// Panics where it does not hold. What the bytes mean is each property's own affair.
    pub holds: fn(&[u8]),
    /// Bytes worth beginning with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const PROPERTIES: &[Property] = &[
    Property { name: "signature", holds: signature::holds, seeds: signature::seeds },
    Property { name: "event", holds: event::holds, seeds: event::seeds },
    Property { name: "chunks", holds: chunks::holds, seeds: chunks::seeds },
    Property { name: "pointer", holds: pointer::holds, seeds: pointer::seeds },
    Property { name: "config", holds: config::holds, seeds: config::seeds },
];

/// The property of this name.
#[must_use]
pub fn property(name: &str) -> &'static Property {
    PROPERTIES.iter().find(|property| property.name == name).unwrap_or_else(|| panic!("no property {name}"))
}

/// How much memory a property may take at once for this many bytes. It is what a body and what is made of it take, a
/// few times over, since a property looks at it in several ways; a length that a sender made up is far from it.
#[must_use]
pub const fn most_memory(bytes: usize) -> u64 {
    4 * 1024 * 1024 + 400 * bytes as u64
}

const NOW: i64 = 1_767_225_600;
/// Base64 as well as text, so that every scheme can use it.
const SECRET: &str = "c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz";

fn secret() -> Secret {
    Secret::new(SECRET).expect("a secret")
}

fn receiver(provider: impl Provider, body_limit: usize) -> Receiver {
    let builder = Receiver::builder("property", provider).store(NoDedupe).clock(StoppedClock::at(NOW));
    builder.body_limit(body_limit).build().expect("a receiver")
}

/// The bodies of all fixtures, with their providers.
fn bodies() -> impl Iterator<Item = (&'static str, Bytes)> {
    fixtures().iter().map(|fixture| (fixture.provider(), fixture.body()))
}
