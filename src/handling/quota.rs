//! The limit of the bytes that an endpoint may keep in an inbox.
//!
//! The store is asked at most every 15 seconds. In between, the bytes of each stored event are added. At the limit it
//! is asked again before a delivery is rejected, at most once per second, and less often if it takes long to count:
//! 100,000 events take PostgreSQL about 50 ms.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::StoreError;

/// The bytes of an endpoint in its inbox, and their limit.
pub(crate) struct Quota {
    most: u64,
    estimate: Mutex<Estimate>,
    /// Held while the store counts, so that the deliveries that depend on the count wait for it.
    counting: tokio::sync::Mutex<()>,
}

#[derive(Clone, Copy, Default)]
struct Estimate {
    bytes: u64,
    counted: Option<Instant>,
    /// The time that the store took to count.
    took: Duration,
}

/// Whether an event may be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// The bytes are reserved.
    Reserved,
    Full,
}

const COUNT_AGAIN: Duration = Duration::from_secs(15);
const COUNT_AGAIN_WHEN_FULL: Duration = Duration::from_secs(1);
/// The time between two counts is at least that of so many counts.
const COUNTS_APART: u32 = 20;

impl Quota {
    pub(crate) fn new(most: u64) -> Self {
        Quota { most, estimate: Mutex::default(), counting: tokio::sync::Mutex::new(()) }
    }

    pub(super) fn most(&self) -> u64 {
        self.most
    }

    /// Reserves room for a body. `count` returns the bytes in the store.
    pub(super) async fn reserve<C>(&self, size: u64, count: impl FnOnce() -> C) -> Result<Room, StoreError>
    where
        C: Future<Output = Result<u64, StoreError>>,
    {
        if let Some(room) = self.estimated(size) {
            return Ok(room);
        }
        let _counting = self.counting.lock().await;
        // Another delivery may have counted meanwhile.
        if let Some(room) = self.estimated(size) {
            return Ok(room);
        }
        let began = Instant::now();
        let bytes = count().await?;
        let mut estimate = self.lock();
        *estimate = Estimate { bytes, counted: Some(Instant::now()), took: began.elapsed() };
        Ok(self.room(&mut estimate, size))
    }

    /// Returns the bytes of an event that was not stored.
    pub(super) fn give_back(&self, size: u64) {
        let mut estimate = self.lock();
        estimate.bytes = estimate.bytes.saturating_sub(size);
    }

    /// Decides by the estimate, or returns `None` if it is too old for the decision.
    fn estimated(&self, size: u64) -> Option<Room> {
        let mut estimate = self.lock();
        let age = estimate.counted?.elapsed();
        let longest = if estimate.has_room(size, self.most) {
            COUNT_AGAIN
        } else {
            estimate.took.saturating_mul(COUNTS_APART).clamp(COUNT_AGAIN_WHEN_FULL, COUNT_AGAIN)
        };
        (age < longest).then(|| self.room(&mut estimate, size))
    }

    fn room(&self, estimate: &mut Estimate, size: u64) -> Room {
        if !estimate.has_room(size, self.most) {
            return Room::Full;
        }
        estimate.bytes = estimate.bytes.saturating_add(size);
        Room::Reserved
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Estimate> {
        self.estimate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Estimate {
    fn has_room(&self, size: u64, most: u64) -> bool {
        self.bytes.saturating_add(size) <= most
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::advance;

    use super::*;

    /// A store that contains this many bytes, and how often it was asked.
    #[derive(Default)]
    struct Counted {
        bytes: Cell<u64>,
        times: Cell<u32>,
    }

    impl Counted {
        async fn reserve(&self, quota: &Quota, size: u64) -> Room {
            let count = || async {
                self.times.set(self.times.get() + 1);
                Ok(self.bytes.get())
            };
            quota.reserve(size, count).await.unwrap()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_store_is_counted_every_15_seconds_and_the_stored_bytes_are_added_in_between() {
        let (quota, store) = (Quota::new(100), Counted::default());
        for _ in 0..10 {
            assert_eq!(store.reserve(&quota, 10).await, Room::Reserved);
        }
        assert_eq!(store.reserve(&quota, 1).await, Room::Full);
        assert_eq!(store.times.get(), 1);
        assert_eq!(store.reserve(&quota, 0).await, Room::Reserved);
        advance(COUNT_AGAIN).await;
        store.bytes.set(95);
        assert_eq!(store.reserve(&quota, 6).await, Room::Full);
        assert_eq!(store.reserve(&quota, 5).await, Room::Reserved);
        assert_eq!(store.times.get(), 2);
    }

    /// Otherwise the first delivery after a quiet hour would be rejected, although the events were handled long ago.
    #[tokio::test(start_paused = true)]
    async fn a_delivery_is_rejected_only_by_a_count_of_the_last_second() {
        let (quota, store) = (Quota::new(100), Counted::default());
        store.bytes.set(100);
        for _ in 0..1_000 {
            assert_eq!(store.reserve(&quota, 1).await, Room::Full);
        }
        assert_eq!(store.times.get(), 1);
        advance(COUNT_AGAIN_WHEN_FULL).await;
        store.bytes.set(0);
        for _ in 0..100 {
            assert_eq!(store.reserve(&quota, 1).await, Room::Reserved);
        }
        assert_eq!(store.times.get(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_counts_slowly_is_asked_less_often() {
        for (takes, again) in [(100, 2_000), (500, 10_000), (5_000, 15_000)] {
            let (quota, store) = (Quota::new(100), Counted::default());
            let slow = || async {
                tokio::time::sleep(Duration::from_millis(takes)).await;
                Ok(100)
            };
            assert_eq!(quota.reserve(1, slow).await.unwrap(), Room::Full);
            advance(Duration::from_millis(again - 1)).await;
            assert_eq!(store.reserve(&quota, 1).await, Room::Full, "{takes}");
            advance(Duration::from_millis(1)).await;
            assert_eq!(store.reserve(&quota, 1).await, Room::Reserved, "{takes}");
            assert_eq!(store.times.get(), 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn deliveries_that_arrive_while_the_store_counts_wait_for_the_count() {
        let (quota, store) = (Quota::new(100), Counted::default());
        store.bytes.set(100);
        assert_eq!(store.reserve(&quota, 1).await, Room::Full);
        advance(COUNT_AGAIN_WHEN_FULL).await;
        store.bytes.set(0);
        let slow = || async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            Ok(0)
        };
        let (first, second) = tokio::join!(quota.reserve(1, slow), store.reserve(&quota, 1));
        assert_eq!((first.unwrap(), second), (Room::Reserved, Room::Reserved));
        assert_eq!(store.times.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_bytes_of_an_event_that_was_not_stored_are_given_back() {
        let (quota, store) = (Quota::new(10), Counted::default());
        assert_eq!(store.reserve(&quota, 10).await, Room::Reserved);
        assert_eq!(store.reserve(&quota, 10).await, Room::Full);
        quota.give_back(10);
        assert_eq!(store.reserve(&quota, 10).await, Room::Reserved);
    }

    #[tokio::test(start_paused = true)]
    async fn a_count_that_fails_decides_nothing_and_is_tried_again_by_the_next_delivery() {
        let (quota, store) = (Quota::new(10), Counted::default());
        let fails = || async { Err(StoreError::unavailable("away")) };
        assert!(quota.reserve(1, fails).await.is_err());
        assert_eq!(store.reserve(&quota, 10).await, Room::Reserved);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_larger_than_the_limit_never_has_room() {
        let (quota, store) = (Quota::new(10), Counted::default());
        assert_eq!(store.reserve(&quota, 11).await, Room::Full);
        assert_eq!(store.reserve(&quota, u64::MAX).await, Room::Full);
    }
}
