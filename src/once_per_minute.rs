//! A rate limit for log lines that any client can cause.

use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::panicking;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};
use tracing::dispatcher::has_been_set;
use tracing::instrument::WithSubscriber as _;

use crate::isolated::isolated;

/// A log line that can recur. Equal lines are counted together, so there must be few different ones.
pub(crate) trait Line: Clone + PartialEq + Send + 'static {
    /// Writes the line. `count` is the number of occurrences since it was last written.
    fn write(&self, count: u64);
}

/// Writes each line at its first occurrence, and counts the following ones. The count is written every [`INTERVAL`]
/// without waiting for another occurrence, and the rest when the limit is dropped. After an interval without an
/// occurrence the line is forgotten, so that the next one is written at once again.
///
/// A task of the runtime writes the counts. It exists only while there are lines to forget.
pub(crate) struct OncePerMinute<L: Line>(Mutex<State<L>>);

struct State<L> {
    lines: Vec<Counted<L>>,
    /// Whether a task writes the counts.
    is_flushed: bool,
}

struct Counted<L> {
    line: L,
    count: u64,
    written: Instant,
}

/// The time between two lines about the same occurrence.
const INTERVAL: Duration = Duration::from_secs(60);

impl<L: Line> Default for OncePerMinute<L> {
    fn default() -> Self {
        OncePerMinute(Mutex::new(State { lines: Vec::new(), is_flushed: false }))
    }
}

impl<L: Line> OncePerMinute<L> {
    /// Counts an occurrence, and writes its line if it is the first one.
    pub(crate) fn count(self: &Arc<Self>, line: L) {
        // Outside of a runtime, the next occurrence writes the counts that are due.
        self.write_due();
        let runtime = Handle::try_current().ok();
        let mut state = self.lock();
        let start = runtime.filter(|_| !state.is_flushed);
        state.is_flushed |= start.is_some();
        let known = state.lines.iter_mut().find(|known| known.line == line);
        let first = match known {
            Some(known) => {
                known.count = known.count.saturating_add(1);
                None
            }
            None => {
                state.lines.push(Counted { line: line.clone(), count: 0, written: Instant::now() });
                Some(line)
            }
        };
        drop(state);
        if let Some(line) = first {
            isolated(|| line.write(1));
        }
        if let Some(runtime) = start {
            let flushing = Flushing(Arc::downgrade(self)).run();
            if has_been_set() {
                runtime.spawn(flushing.with_current_subscriber());
            } else {
                // The current subscriber, which is none, would count as one that has been set.
                runtime.spawn(flushing);
            }
        }
    }

    /// Writes all counts, for the end of a receiver.
    pub(crate) fn write_rest(&self) {
        let rest = take(&mut self.lock().lines);
        write_counts(rest);
    }

    /// Writes the counts that are due, and forgets the lines that have not occurred since they were last written.
    fn write_due(&self) {
        let now = Instant::now();
        let mut due = Vec::new();
        self.lock().lines.retain_mut(|known| {
            if now.saturating_duration_since(known.written) < INTERVAL {
                return true;
            }
            known.written = now;
            let count = take(&mut known.count);
            if count > 0 {
                due.push((known.line.clone(), count));
            }
            count > 0
        });
        write(due);
    }

    /// Returns when the next line is due, or `None` if there is none.
    fn next(&self) -> Option<Instant> {
        let oldest = self.lock().lines.iter().map(|known| known.written).min()?;
        oldest.checked_add(INTERVAL)
    }

    fn lock(&self) -> MutexGuard<'_, State<L>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<L: Line> Drop for OncePerMinute<L> {
    fn drop(&mut self) {
        self.write_rest();
    }
}

/// Writes the lines after the lock is released, since a subscriber can take any time.
fn write<L: Line>(lines: impl IntoIterator<Item = (L, u64)>) {
    for (line, count) in lines {
        isolated(|| line.write(count));
    }
}

fn write_counts<L: Line>(lines: Vec<Counted<L>>) {
    write(lines.into_iter().map(|known| (known.line, known.count)).filter(|(_, count)| *count > 0));
}

/// The task that writes the counts. It does not keep the limit alive.
struct Flushing<L: Line>(Weak<OncePerMinute<L>>);

impl<L: Line> Flushing<L> {
    async fn run(self) {
        while let Some(next) = self.0.upgrade().and_then(|limit| limit.next()) {
            sleep_until(next).await;
            if let Some(limit) = self.0.upgrade() {
                limit.write_due();
            }
        }
    }
}

impl<L: Line> Drop for Flushing<L> {
    /// Ends the task. If its runtime shuts down, no other task writes what is left. In a runtime without a timer the
    /// task panics: none is started again, and the next occurrence writes the counts that are due.
    fn drop(&mut self) {
        if let Some(limit) = self.0.upgrade()
            && !panicking()
        {
            // At once, so that no line is counted in between and then has no task.
            let rest = {
                let mut state = limit.lock();
                state.is_flushed = false;
                take(&mut state.lines)
            };
            write_counts(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, sleep};

    use super::*;

    #[derive(Clone)]
    struct Written(&'static str, Arc<Mutex<Vec<(&'static str, u64)>>>);

    impl PartialEq for Written {
        fn eq(&self, other: &Self) -> bool {
            self.0 == other.0
        }
    }

    impl Line for Written {
        fn write(&self, count: u64) {
            self.1.lock().unwrap().push((self.0, count));
        }
    }

    #[derive(Default)]
    struct Stage {
        limit: Arc<OncePerMinute<Written>>,
        written: Arc<Mutex<Vec<(&'static str, u64)>>>,
    }

    impl Stage {
        fn count(&self, line: &'static str, times: usize) {
            (0..times).for_each(|_| self.limit.count(Written(line, self.written.clone())));
        }

        fn written(&self) -> Vec<(&'static str, u64)> {
            take(&mut *self.written.lock().unwrap())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_of_each_line_is_written_at_once_and_the_count_within_a_minute() {
        let stage = Stage::default();
        stage.count("one", 4);
        stage.count("other", 2);
        assert_eq!(stage.written(), [("one", 1), ("other", 1)]);
        sleep(INTERVAL - Duration::from_millis(1)).await;
        assert_eq!(stage.written(), []);
        sleep(Duration::from_millis(2)).await;
        assert_eq!(stage.written(), [("one", 3), ("other", 1)], "without another occurrence");
        sleep(INTERVAL * 10).await;
        assert_eq!(stage.written(), []);
        assert!(!stage.limit.lock().is_flushed, "the task has ended");
        stage.count("one", 1);
        assert_eq!(stage.written(), [("one", 1)], "at once again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_that_goes_on_is_written_once_a_minute() {
        let stage = Stage::default();
        let mut lines = Vec::new();
        for _ in 0..600 {
            stage.count("one", 1);
            sleep(Duration::from_secs(1)).await;
            lines.append(&mut stage.written());
        }
        drop(stage.limit);
        lines.append(&mut take(&mut *stage.written.lock().unwrap()));
        assert!(lines.len() <= 12, "{lines:?}");
        assert_eq!(lines.iter().map(|(_, count)| count).sum::<u64>(), 600);
    }

    #[tokio::test(start_paused = true)]
    async fn the_task_does_not_keep_the_limit_alive_and_the_rest_is_written_when_it_is_dropped() {
        let stage = Stage::default();
        stage.count("one", 3);
        drop(stage.limit);
        assert_eq!(*stage.written.lock().unwrap(), [("one", 1), ("one", 2)]);
    }

    #[test]
    fn the_rest_is_written_when_the_runtime_ends() {
        let stage = Stage::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async { stage.count("one", 3) });
        drop(runtime);
        assert_eq!(stage.written(), [("one", 1), ("one", 2)]);
    }

    #[test]
    fn without_a_runtime_the_next_occurrence_writes_the_count() {
        let stage = Stage::default();
        stage.count("one", 3);
        for known in &mut stage.limit.lock().lines {
            known.written -= INTERVAL;
        }
        stage.count("one", 1);
        assert_eq!(stage.written(), [("one", 1), ("one", 2)]);
    }

    #[test]
    fn a_runtime_without_a_timer_limits_the_lines_as_well() {
        let stage = Stage::default();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            for _ in 0..3 {
                stage.count("one", 1);
                tokio::task::yield_now().await;
            }
        });
        assert_eq!(stage.written(), [("one", 1)]);
        drop(runtime);
        drop(stage.limit);
        assert_eq!(*stage.written.lock().unwrap(), [("one", 2)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_subscriber_that_panics_stops_neither_the_caller_nor_the_task() {
        #[derive(Clone, PartialEq)]
        struct Panics;
        impl Line for Panics {
            fn write(&self, _: u64) {
                panic!("the subscriber panics");
            }
        }
        let limit = Arc::new(OncePerMinute::default());
        limit.count(Panics);
        limit.count(Panics);
        advance(INTERVAL).await;
        sleep(INTERVAL).await;
        limit.count(Panics);
        assert_eq!(limit.lock().lines.len(), 1);
    }
}
