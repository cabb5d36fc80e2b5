//! The clock and the set of ids that the work by hand uses. Neither varies from run to run.

use std::hash::{BuildHasherDefault, DefaultHasher};
use std::num::NonZeroUsize;

use lru::LruCache;

/// The time that both clocks show, in Unix seconds.
pub const NOW: i64 = 1_767_225_600;

/// The current time in Unix seconds.
pub fn now() -> i64 {
    NOW
}

/// The ids of the events that were handled: a bounded cache, because `MemoryStore` is bounded, too.
///
/// Its hasher is the standard library's with a fixed key. A random one makes a difference of some instructions.
pub struct Seen(LruCache<String, (), BuildHasherDefault<DefaultHasher>>);

impl Seen {
    /// Returns whether the id is a new one.
    pub fn insert(&mut self, id: String) -> bool {
        self.0.put(id, ()).is_none()
    }
}

impl Default for Seen {
    fn default() -> Self {
        const CAPACITY: NonZeroUsize = NonZeroUsize::new(28_672).expect("not zero");
        Seen(LruCache::with_hasher(CAPACITY, BuildHasherDefault::default()))
    }
}
