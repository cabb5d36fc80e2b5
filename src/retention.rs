//! How long a handled event is remembered.

use std::time::Duration;

/// How long a handled event is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// As long as the same bytes would be accepted again: never to be forgotten earlier, even if room runs out.
    pub replay: Duration,
    /// As long as the sender may retry, and longer.
    pub total: Duration,
}

impl Retention {
    /// A retention; `total` is at least `replay`.
    #[must_use]
    pub fn new(replay: Duration, total: Duration) -> Self {
        Retention { replay, total: total.max(replay) }
    }
}
