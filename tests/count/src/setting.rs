//! The clock of the work by hand, and the number of ids that it remembers and their hasher. None of them varies from
//! run to run.

use std::hash::{BuildHasherDefault, DefaultHasher};
use std::num::NonZeroUsize;

/// The time that both clocks show, in Unix seconds.
pub const NOW: i64 = 1_767_225_600;

/// The current time in Unix seconds.
pub fn now() -> i64 {
    NOW
}

/// Hashes the ids of events: the standard library's hasher with a fixed key. A random one makes a difference of some
/// instructions.
pub type IdHasher = BuildHasherDefault<DefaultHasher>;

/// The most events that are remembered, as in the `MemoryStore` beside it.
pub const CAPACITY: NonZeroUsize = NonZeroUsize::new(28_672).expect("not zero");
