//! The clock, and the number of ids and their hasher, for `by_hand.rs` and `signed.rs`. `tests/count` has others, which
//! do not vary.

use std::hash::RandomState;
use std::num::NonZeroUsize;
use std::time::{SystemTime, UNIX_EPOCH};

/// Hashes the ids of events.
pub type IdHasher = RandomState;

/// The most events that are remembered: enough for all of a run.
pub const CAPACITY: NonZeroUsize = NonZeroUsize::new(1 << 18).expect("not zero");

/// The current time in Unix seconds.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    since.as_secs().try_into().expect("before the end of time")
}
