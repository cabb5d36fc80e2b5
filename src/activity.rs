//! The activity of a receiver: when it last received a genuine delivery, and when each of its secrets was last used.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use crate::time::from_unix_seconds;

/// The activity of a receiver since it was built, in this process. See
/// [`Receiver::activity`](crate::Receiver::activity).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Activity {
    /// The time of the last [genuine delivery](crate::guide::silence#genuine-deliveries), in whole seconds of the
    /// receiver's clock; `None` before the first one. The metric `medhook_last_genuine_seconds` is the same.
    pub last_genuine: Option<SystemTime>,
    /// The current secrets, in the order of their configuration.
    pub secrets: Vec<SecretActivity>,
}

/// The last use of a secret. See [`Receiver::activity`](crate::Receiver::activity).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SecretActivity {
    /// The label of the secret.
    pub label: String,
    /// Whether the secret is configured for test events only.
    pub is_test: bool,
    /// The time of the last event that the secret verified and whose handler finished, or that was stored in an inbox;
    /// in whole seconds of the receiver's clock. `None` if there was none. The metric
    /// `medhook_secret_last_used_seconds` is the same.
    pub last_used: Option<SystemTime>,
}

/// The label of a secret, and its last use. All generations of secrets in which the label occurs share it, and so do
/// the deliveries that the secret verified.
#[derive(Debug, Default)]
pub(crate) struct SecretUse {
    label: Arc<str>,
    last: LastTime,
}

impl SecretUse {
    pub(crate) fn new(label: Arc<str>) -> Arc<Self> {
        Arc::new(SecretUse { label, last: LastTime::default() })
    }

    pub(crate) fn label(&self) -> &Arc<str> {
        &self.label
    }

    /// Records a use, at a time in Unix seconds.
    pub(crate) fn used(&self, now: i64) {
        self.last.set(now);
    }

    pub(crate) fn last_used(&self) -> Option<SystemTime> {
        self.last.get()
    }
}

/// A time that is recorded for each delivery, so without a lock. Times that are recorded at the same moment differ by a
/// second at most, so it does not matter which of them remains.
#[derive(Debug)]
pub(crate) struct LastTime(AtomicI64);

/// No clock returns this time.
const NEVER: i64 = i64::MIN;

impl LastTime {
    /// Records a time in Unix seconds.
    pub(crate) fn set(&self, now: i64) {
        self.0.store(now, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Option<SystemTime> {
        match self.0.load(Ordering::Relaxed) {
            NEVER => None,
            seconds => Some(from_unix_seconds(seconds)),
        }
    }
}

impl Default for LastTime {
    fn default() -> Self {
        LastTime(AtomicI64::new(NEVER))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_time_is_none_until_it_is_recorded() {
        let last = LastTime::default();
        assert_eq!(last.get(), None);
        for seconds in [0, 1_790_000_000, 5] {
            last.set(seconds);
            assert_eq!(last.get(), Some(UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs())));
        }
        last.set(-1);
        assert_eq!(last.get(), Some(UNIX_EPOCH - Duration::from_secs(1)));
    }
}
