//! The time for which handled events are remembered.

use std::time::Duration;

/// The period for which a handled event is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// The period in which a replay of the same bytes would be accepted. A store must not forget the event earlier,
    /// even if it is full.
    pub replay: Duration,
    /// The whole retention: longer than the provider retries.
    pub total: Duration,
}

impl Retention {
    /// Creates a retention. A `total` shorter than `replay` is raised to it.
    #[must_use]
    pub fn new(replay: Duration, total: Duration) -> Self {
        Retention { replay, total: total.max(replay) }
    }
}
