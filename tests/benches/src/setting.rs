//! The clock and the set of ids for `by_hand.rs` and `signed.rs`. `tests/count` has others, which do not vary.

use std::collections::HashSet;
use std::time::{SystemTime, UNIX_EPOCH};

/// The ids of the events that were handled.
pub type Seen = HashSet<String>;

/// The current time in Unix seconds.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    since.as_secs().try_into().expect("before the end of time")
}
