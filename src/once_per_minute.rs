//! A rate limit for log lines.

/// Counts occurrences and limits the log lines about them: one for the first occurrence, then at most one per minute.
/// Any client can cause these occurrences, and `tracing` does not limit log lines.
#[derive(Default)]
pub(crate) struct OncePerMinute {
    #[cfg(feature = "tracing")]
    since: std::sync::Mutex<(Option<i64>, u64)>,
}

#[cfg(feature = "tracing")]
impl OncePerMinute {
    pub(crate) const fn new() -> Self {
        OncePerMinute { since: std::sync::Mutex::new((None, 0)) }
    }

    /// Counts one occurrence. When a line may be logged, returns the number of occurrences since the previous line.
    pub(crate) fn count(&self, now: i64) -> Option<u64> {
        let mut since = self.since.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (logged, count) = &mut *since;
        *count += 1;
        if logged.is_some_and(|logged| now.abs_diff(logged) < 60) {
            return None;
        }
        *logged = Some(now);
        Some(std::mem::take(count))
    }
}

#[cfg(all(test, feature = "tracing"))]
mod tests {
    use super::*;

    #[test]
    fn the_first_occurrence_is_logged_then_one_line_per_minute() {
        let unverified = OncePerMinute::default();
        assert_eq!(unverified.count(1_000), Some(1));
        assert_eq!(unverified.count(1_001), None);
        assert_eq!(unverified.count(1_059), None);
        assert_eq!(unverified.count(1_060), Some(3));
        assert_eq!(unverified.count(0), Some(1), "a clock that is set back does not suppress the line");
    }
}
