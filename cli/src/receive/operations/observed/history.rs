//! The numbers of the last hour, in steps of 15 s.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::state::{History, Point};
use crate::receive::metrics::SECONDS;

/// The numbers of an endpoint. It has at most [`MOST`] steps of about 100 bytes: 25 MB for 1,000 endpoints.
#[derive(Debug)]
pub(in crate::receive) struct Series {
    started: Instant,
    steps: Mutex<VecDeque<Step>>,
}

const STEP: Duration = Duration::from_secs(15);
const MOST: u64 = 240;

/// The results that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::receive) enum CountedResult {
    Accepted,
    Repeated,
    Rejected,
    Failed,
}

/// The numbers of a step. Steps without any are not kept.
#[derive(Debug, Clone, Default)]
struct Step {
    /// The number of steps between the start and this one.
    number: u64,
    accepted: u32,
    repeated: u32,
    rejected: u32,
    failed: u32,
    /// The times to answer, by the bucket of [`SECONDS`] they are in; the last one is above them all.
    latencies: [u32; SECONDS.len() + 1],
    stored: Option<StoredEvents>,
}

/// The last sample of an inbox in a step.
#[derive(Debug, Clone, Copy)]
struct StoredEvents {
    backlog: u64,
    dead: u64,
}

impl Series {
    /// Creates the series of an endpoint. All series that are [added up](history) have the same start.
    pub(super) fn new(started: Instant) -> Self {
        Series { started, steps: Mutex::default() }
    }

    /// Counts results.
    pub(in crate::receive) fn count(&self, counted: CountedResult, count: u64) {
        self.with_step(|step| {
            let number = match counted {
                CountedResult::Accepted => &mut step.accepted,
                CountedResult::Repeated => &mut step.repeated,
                CountedResult::Rejected => &mut step.rejected,
                CountedResult::Failed => &mut step.failed,
            };
            *number = number.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        });
    }

    /// Counts the time that a delivery took until it was answered.
    pub(in crate::receive) fn answered_within(&self, time: Duration) {
        let bucket = SECONDS.iter().take_while(|bound| time.as_secs_f64() > **bound).count();
        self.with_step(|step| {
            if let Some(count) = step.latencies.get_mut(bucket) {
                *count = count.saturating_add(1);
            }
        });
    }

    /// Records the number of stored events that are waiting or processing, and of those that are dead.
    pub(super) fn sample(&self, backlog: u64, dead: u64) {
        self.with_step(|step| step.stored = Some(StoredEvents { backlog, dead }));
    }

    fn with_step(&self, change: impl FnOnce(&mut Step)) {
        let number = step_number(self.started);
        let mut steps = self.lock();
        if steps.back().is_none_or(|last| last.number < number) {
            while steps.front().is_some_and(|first| first.number.saturating_add(MOST) <= number) {
                steps.pop_front();
            }
            steps.push_back(Step { number, ..Step::default() });
        }
        if let Some(step) = steps.back_mut() {
            change(step);
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Step>> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the numbers of these endpoints together.
pub(super) fn history<'s>(started: Instant, endpoints: impl IntoIterator<Item = &'s Series>) -> History {
    let last = step_number(started);
    let first = last.saturating_sub(MOST.saturating_sub(1));
    let count = usize::try_from(last.saturating_sub(first).saturating_add(1)).unwrap_or_default();
    let mut sums: Vec<Step> = (first..).take(count).map(|number| Step { number, ..Step::default() }).collect();
    for series in endpoints {
        // An interval without a sample, because the timer was late, has that of the one before.
        let mut before = None;
        let steps = series.lock();
        let mut known = steps.iter().skip_while(|step| step.number < first).peekable();
        for sum in &mut sums {
            let step = known.next_if(|step| step.number == sum.number);
            if let Some(step) = step {
                sum.add(step);
            }
            let stored = step.and_then(|step| step.stored);
            if let Some(stored) = stored.or(before) {
                sum.add_stored(stored);
            }
            before = stored;
        }
    }
    History { step: STEP, points: sums.iter().map(Step::point).collect() }
}

fn step_number(started: Instant) -> u64 {
    started.elapsed().as_secs() / STEP.as_secs()
}

impl Step {
    fn add(&mut self, other: &Step) {
        let add = |sum: &mut u32, count: u32| *sum = sum.saturating_add(count);
        add(&mut self.accepted, other.accepted);
        add(&mut self.repeated, other.repeated);
        add(&mut self.rejected, other.rejected);
        add(&mut self.failed, other.failed);
        self.latencies.iter_mut().zip(other.latencies).for_each(|(sum, count)| add(sum, count));
    }

    fn add_stored(&mut self, StoredEvents { backlog, dead }: StoredEvents) {
        let stored = self.stored.get_or_insert(StoredEvents { backlog: 0, dead: 0 });
        stored.backlog = stored.backlog.saturating_add(backlog);
        stored.dead = stored.dead.saturating_add(dead);
    }

    fn point(&self) -> Point {
        Point {
            accepted: self.accepted.into(),
            repeated: self.repeated.into(),
            rejected: self.rejected.into(),
            failed: self.failed.into(),
            latency: self.quantile(50).zip(self.quantile(95)),
            backlog: self.stored.map(|stored| stored.backlog),
            dead: self.stored.map(|stored| stored.dead),
        }
    }

    /// Returns the upper bound of the bucket with this percentile.
    fn quantile(&self, percent: u64) -> Option<Duration> {
        let all: u64 = self.latencies.iter().map(|count| u64::from(*count)).sum();
        let rank = all.saturating_mul(percent).div_ceil(100);
        let mut below = 0_u64;
        let bucket = self.latencies.iter().position(|count| {
            below = below.saturating_add(u64::from(*count));
            rank > 0 && below >= rank
        })?;
        // Above the last bound, it is at least that.
        SECONDS.get(bucket).or(SECONDS.last()).map(|bound| Duration::from_secs_f64(*bound))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn accepted(history: &History) -> Vec<u64> {
        history.points.iter().map(|point| point.accepted).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn steps_without_deliveries_are_zero() {
        let started = Instant::now();
        let series = Series::new(started);
        series.count(CountedResult::Accepted, 2);
        advance(STEP * 3).await;
        series.count(CountedResult::Accepted, 1);
        advance(STEP).await;
        assert_eq!(accepted(&history(started, [&series])), [2, 0, 0, 1, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_history_covers_an_hour() {
        let started = Instant::now();
        let series = Series::new(started);
        for _ in 0..500 {
            series.count(CountedResult::Rejected, 1);
            advance(STEP).await;
        }
        assert_eq!(series.lock().len() as u64, MOST);
        let history = history(started, [&series]);
        assert_eq!(history.points.len() as u64, MOST);
        assert_eq!(history.points.iter().map(|point| point.rejected).sum::<u64>(), MOST - 1, "the last one has begun");
        advance(STEP * 500).await;
        let later = super::history(started, [&series]);
        assert!(later.points.iter().all(|point| point.rejected == 0) && later.points.len() as u64 == MOST);
    }

    #[test]
    fn an_endpoint_needs_at_most_25_kilobytes() {
        assert!(size_of::<Step>() * (MOST as usize) < 25_000, "{}", size_of::<Step>());
    }

    #[tokio::test(start_paused = true)]
    async fn endpoints_are_added_up() {
        let started = Instant::now();
        let (one, other) = (Series::new(started), Series::new(started));
        one.count(CountedResult::Accepted, 1);
        one.sample(10, 0);
        advance(STEP).await;
        other.count(CountedResult::Accepted, 2);
        other.count(CountedResult::Failed, 3);
        other.sample(5, 2);
        let history = history(started, [&one, &other]);
        assert_eq!(accepted(&history), [1, 2]);
        assert_eq!(history.points[1].failed, 3);
        let stored: Vec<_> = history.points.iter().map(|point| (point.backlog, point.dead)).collect();
        assert_eq!(stored, [(Some(10), Some(0)), (Some(15), Some(2))], "the sample of the first one is still valid");
    }

    #[tokio::test(start_paused = true)]
    async fn a_gap_of_several_steps_without_a_sample_is_a_gap() {
        let started = Instant::now();
        let series = Series::new(started);
        series.sample(7, 0);
        advance(STEP * 3).await;
        series.sample(0, 1);
        let backlog: Vec<_> = history(started, [&series]).points.iter().map(|point| point.backlog).collect();
        assert_eq!(backlog, [Some(7), Some(7), None, Some(0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn latencies_are_the_bounds_of_buckets() {
        let started = Instant::now();
        let series = Series::new(started);
        let latency = || history(started, [&series]).points[0].latency;
        assert_eq!(latency(), None);
        series.answered_within(Duration::from_millis(5));
        assert_eq!(latency(), Some((Duration::from_millis(5), Duration::from_millis(5))), "the bound is included");
        for _ in 0..17 {
            series.answered_within(Duration::from_millis(6));
        }
        assert_eq!(latency(), Some((Duration::from_millis(10), Duration::from_millis(10))));
        for _ in 0..2 {
            series.answered_within(Duration::from_secs(100));
        }
        assert_eq!(latency(), Some((Duration::from_millis(10), Duration::from_secs(60))), "2 of 20 are above 95 %");
    }

    #[tokio::test(start_paused = true)]
    async fn the_numbers_of_a_flood_do_not_overflow() {
        let started = Instant::now();
        let series = Series::new(started);
        series.count(CountedResult::Rejected, u64::MAX);
        series.count(CountedResult::Rejected, 5);
        assert_eq!(history(started, [&series]).points[0].rejected, u64::from(u32::MAX));
    }
}
