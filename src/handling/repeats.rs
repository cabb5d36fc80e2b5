//! Deliveries whose event can recur with the same bytes: they are recorded instead of claimed.
//!
//! A claim keeps two deliveries of one event apart. Here each delivery is of an event of its own, so nothing can be
//! held for it: no other delivery waits, and none is dropped. The record says whether the same bytes came before, and
//! limits how often a captured delivery can be replayed.

use std::future::{Future, pending};
use std::pin::pin;

use tokio::time::Instant;

use super::claim::{Claim, ClaimEnding};
use super::panics::Guarded;
use super::settings::{OnStoreError, REPEAT_PERIOD};
use crate::answered::Answered;
use crate::dedupe::DeliveryRecord;
use crate::event_key::EventKey;
use crate::observe;
use crate::rejection::Rejection;

/// The record of a delivery, and when it was made.
#[derive(Clone, Copy)]
pub(super) struct Recorded {
    record: DeliveryRecord,
    at: Instant,
}

impl Recorded {
    /// Returns whether the period that the delivery counts for is not over. A failure must not free a place in the next
    /// period.
    pub(super) fn is_current(&self) -> bool {
        self.record.period.saturating_add(self.at.elapsed()) < REPEAT_PERIOD
    }
}

impl Claim {
    /// Records the delivery, runs the handler, and records its failure.
    pub(super) async fn run_recorded<T>(
        self,
        body: EventKey,
        handler: Guarded<'_, impl Future<Output = T> + Unpin>,
        answered: Guarded<'_, impl FnOnce(&T) -> Answered>,
    ) -> Result<T, Rejection> {
        let (claim, recorded) = self.record(body).await?;
        claim.run_with_record(body, recorded, handler, answered).await
    }

    /// Records the delivery. Returns no record if the store is unavailable and the policy is
    /// [`HandleUnclaimed`](OnStoreError::HandleUnclaimed).
    pub(super) async fn record(mut self, body: EventKey) -> Result<(Self, Option<Recorded>), Rejection> {
        let (most, policy) = (self.settings.max_repeats, self.settings.on_store_error);
        // The first delivery is no repeat.
        let limit = u64::from(most).saturating_add(1);
        let record = match self.answer(|store| store.record_delivery(body, REPEAT_PERIOD, limit)).await {
            Ok(record) => record,
            Err(error) if policy == OnStoreError::HandleUnclaimed => {
                observe::unclaimed(self.delivery.subject(), &error);
                return Ok((self, None));
            }
            Err(error) => {
                let full = error.is_full();
                let rejection = Rejection::store(error);
                self.permit.finish();
                if !full {
                    // The store may have recorded the delivery, or may still do so.
                    self.settle_in_background(ClaimEnding::Failure(body));
                }
                return Err(rejection);
            }
        };
        if record.in_period >= limit {
            observe::repeat_limit(self.delivery.subject(), most);
            return Err(Rejection::repeat_limit(REPEAT_PERIOD.saturating_sub(record.period)));
        }
        if record.earlier > 0 {
            self.delivery.set_possible_duplicate(record.earlier, record.since);
        }
        Ok((self, Some(Recorded { record, at: Instant::now() })))
    }

    /// Runs the handler of a recorded delivery, and records its failure.
    pub(super) async fn run_with_record<T>(
        mut self,
        body: EventKey,
        recorded: Option<Recorded>,
        handler: Guarded<'_, impl Future<Output = T> + Unpin>,
        answered: Guarded<'_, impl FnOnce(&T) -> Answered>,
    ) -> Result<T, Rejection> {
        // With a known body it may be a replay.
        if self.delivery.repeats().is_none() {
            observe::new_event(self.delivery.facts());
        }
        let handled = self.handle(handler, answered, pin!(pending())).await;
        self.permit.finish();
        let failed = !matches!(handled, Ok((_, true)));
        if failed && recorded.is_some_and(|recorded| recorded.is_current()) {
            self.settle(ClaimEnding::Failure(body)).await;
        }
        handled.map(|(answer, _)| answer).map_err(Rejection::from)
    }
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures_util::future::join_all;
    use tokio::time::advance;

    use super::*;
    use crate::testing::StoppedClock;
    use crate::{Bytes, Custom, Delivery, MemoryStore, Reason, Receiver, Secret, SharedSecret, StoreError};

    const NOW: i64 = 1_767_225_600;
    const BODY: &str = r#"{"patient":"joined the waiting room"}"#;

    fn receiver(max_repeats: u32) -> Receiver {
        let custom = Custom::new("acme", SharedSecret::new("x-key"), Secret::new("0123456789abcdef").unwrap());
        let builder = Receiver::builder("acme", custom).store(MemoryStore::new(10)).clock(StoppedClock::at(NOW));
        builder.max_repeats(max_repeats).build().unwrap()
    }

    fn delivery(receiver: &Receiver) -> Delivery {
        let headers = [("x-key", "0123456789abcdef")];
        receiver.open(receiver.verify(&headers, Bytes::from(BODY)).unwrap()).unwrap()
    }

    /// Delivers the body once to a handler that answers with this status.
    async fn deliver(receiver: &Receiver, status: u16) -> Result<Option<(i64, u64)>, Rejection> {
        let admitted = receiver.admit(delivery(receiver)).unwrap();
        let delivery = admitted.delivery().clone();
        assert_eq!(delivery.possible_duplicate(), None, "not known before the handler runs");
        let seen = async {
            let duplicate = delivery.possible_duplicate();
            (status, duplicate.map(|duplicate| (duplicate.first_seen.unix().unwrap(), duplicate.count)))
        };
        admitted.run(seen, |(status, _)| *status == 200).await.map(|(_, seen)| seen)
    }

    #[tokio::test(start_paused = true)]
    async fn each_delivery_is_handled_and_knows_of_the_earlier_ones_until_a_day_after_the_last() {
        let receiver = receiver(20);
        assert_eq!(deliver(&receiver, 200).await.unwrap(), None);
        advance(Duration::from_secs(3600)).await;
        assert_eq!(deliver(&receiver, 200).await.unwrap(), Some((NOW - 3600, 1)));
        advance(Duration::from_secs(24 * 3600 - 1)).await;
        assert_eq!(deliver(&receiver, 200).await.unwrap(), Some((NOW - 25 * 3600 + 1, 2)));
        advance(Duration::from_secs(24 * 3600)).await;
        assert_eq!(deliver(&receiver, 200).await.unwrap(), None, "a day after the last one");
    }

    #[tokio::test(start_paused = true)]
    async fn deliveries_at_the_same_time_are_all_handled() {
        let receiver = receiver(49);
        let handled = AtomicUsize::new(0);
        let all = (0..50).map(|_| {
            let admitted = receiver.admit(delivery(&receiver)).unwrap();
            let handler = async {
                tokio::time::sleep(Duration::from_secs(60)).await;
                handled.fetch_add(1, Ordering::SeqCst)
            };
            admitted.run(handler, |_| true)
        });
        assert!(join_all(all).await.iter().all(Result::is_ok));
        assert_eq!(handled.into_inner(), 50);
    }

    #[tokio::test(start_paused = true)]
    async fn replays_of_a_captured_delivery_are_limited_until_the_day_is_over() {
        let receiver = receiver(20);
        let mut handled = 0;
        for _ in 0..1_000 {
            match deliver(&receiver, 200).await {
                Ok(_) => handled += 1,
                Err(rejection) => {
                    assert_eq!(rejection.reason(), Reason::RepeatLimit);
                    assert_eq!(rejection.header().unwrap().1, "86400");
                }
            }
        }
        assert_eq!(handled, 21, "the first one and 20 repeats");
        advance(Duration::from_secs(24 * 3600 - 1)).await;
        let rejection = deliver(&receiver, 200).await.unwrap_err();
        assert_eq!(rejection.header().unwrap().1, "1");
        advance(Duration::from_secs(1)).await;
        for earlier in 21..42 {
            assert_eq!(deliver(&receiver, 200).await.unwrap().unwrap().1, earlier, "handled again, and marked");
        }
        assert_eq!(deliver(&receiver, 200).await.unwrap_err().reason(), Reason::RepeatLimit, "the next day");
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_of_zero_handles_a_body_once_a_day() {
        let receiver = receiver(0);
        assert!(deliver(&receiver, 200).await.is_ok());
        assert_eq!(deliver(&receiver, 200).await.unwrap_err().reason(), Reason::RepeatLimit);
    }

    /// Otherwise a sender that retries often while the handler fails would use up the limit, and its event be lost.
    #[tokio::test(start_paused = true)]
    async fn deliveries_whose_handler_failed_are_marked_and_do_not_use_up_the_limit() {
        let receiver = receiver(0);
        for earlier in 0..100 {
            let repeats = deliver(&receiver, 500).await.unwrap().map_or(0, |(_, count)| count);
            assert_eq!(repeats, earlier, "the failed handler may have had an effect");
        }
        let admitted = receiver.admit(delivery(&receiver)).unwrap();
        let panicked = admitted.run(async { panic!("the handler panics") }, |(): &()| true).await;
        assert_eq!(panicked.unwrap_err().reason(), Reason::HandlerPanicked);
        let admitted = receiver.admit(delivery(&receiver)).unwrap();
        let timed_out = admitted.run(std::future::pending::<()>(), |()| true).await;
        assert_eq!(timed_out.unwrap_err().reason(), Reason::HandlerTimeout);
        assert_eq!(deliver(&receiver, 200).await.unwrap().unwrap().1, 102);
        assert_eq!(deliver(&receiver, 200).await.unwrap_err().reason(), Reason::RepeatLimit);
    }

    /// Otherwise an application that hangs while its sender retries would use up the limit with nothing handled.
    #[tokio::test(start_paused = true)]
    async fn deliveries_beyond_the_limit_do_not_use_it_up() {
        let receiver = receiver(1);
        let running = |seconds, status| {
            let admitted = receiver.admit(delivery(&receiver)).unwrap();
            let handler = async move {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                status
            };
            tokio::spawn(admitted.run(handler, |status| *status == 200))
        };
        let (first, second) = (running(60, 500), running(60, 500));
        advance(Duration::from_secs(1)).await;
        for _ in 0..100 {
            assert_eq!(deliver(&receiver, 200).await.unwrap_err().reason(), Reason::RepeatLimit);
        }
        assert_eq!((first.await.unwrap().unwrap(), second.await.unwrap().unwrap()), (500, 500));
        assert_eq!(deliver(&receiver, 200).await.unwrap().unwrap().1, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_does_not_count_for_the_next_day() {
        let receiver = receiver(1);
        assert!(deliver(&receiver, 200).await.is_ok());
        advance(Duration::from_secs(24 * 3600 - 30)).await;
        let admitted = receiver.admit(delivery(&receiver)).unwrap();
        let handler = async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            500
        };
        let running = tokio::spawn(admitted.run(handler, |status| *status == 200));
        tokio::time::sleep(Duration::from_secs(31)).await;
        assert!(deliver(&receiver, 200).await.is_ok() && deliver(&receiver, 200).await.is_ok());
        assert!(running.await.unwrap().is_ok_and(|status| status == 500));
        assert_eq!(deliver(&receiver, 200).await.unwrap_err().reason(), Reason::RepeatLimit);
    }

    /// A store that records deliveries, and loses this many answers.
    #[derive(Debug)]
    struct LosesAnswers(MemoryStore, AtomicUsize);

    impl crate::DedupeStore for LosesAnswers {
        fn claim(&self, _: EventKey, _: crate::ClaimToken, _: Duration) -> crate::StoreFuture<'_, crate::Claimed> {
            unreachable!("such a delivery is not claimed")
        }
        fn renew(&self, _: EventKey, _: crate::ClaimToken, _: Duration) -> crate::StoreFuture<'_, crate::Settled> {
            unreachable!()
        }
        fn commit(
            &self,
            _: EventKey,
            _: crate::ClaimToken,
            _: crate::Retention,
        ) -> crate::StoreFuture<'_, crate::Settled> {
            unreachable!()
        }
        fn release(&self, _: EventKey, _: crate::ClaimToken) -> crate::StoreFuture<'_, crate::Settled> {
            unreachable!()
        }
        fn record_delivery(
            &self,
            body: EventKey,
            period: Duration,
            most: u64,
        ) -> crate::StoreFuture<'_, crate::DeliveryRecord> {
            Box::pin(async move {
                let record = self.0.record_delivery(body, period, most).await;
                if self.1.fetch_sub(1, Ordering::SeqCst) == 0 {
                    self.1.store(0, Ordering::SeqCst);
                    return record;
                }
                Err(StoreError::unavailable("the answer got lost"))
            })
        }
        fn record_failure(&self, body: EventKey) -> crate::StoreFuture<'_, ()> {
            self.0.record_failure(body)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_delivery_that_was_recorded_but_not_handled_does_not_use_up_the_limit() {
        let custom = Custom::new("acme", SharedSecret::new("x-key"), Secret::new("0123456789abcdef").unwrap());
        let store = LosesAnswers(MemoryStore::new(10), AtomicUsize::new(1));
        let receiver = Receiver::builder("acme", custom).store(store).max_repeats(0).build().unwrap();
        assert_eq!(deliver(&receiver, 200).await.unwrap_err().reason(), Reason::StoreUnavailable);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(deliver(&receiver, 200).await.unwrap().unwrap().1, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn without_the_store_the_policy_for_store_errors_applies() {
        for (policy, expected) in
            [(OnStoreError::Reject, Err(Reason::StoreUnavailable)), (OnStoreError::HandleUnclaimed, Ok(None))]
        {
            let custom = Custom::new("acme", SharedSecret::new("x-key"), Secret::new("0123456789abcdef").unwrap());
            let store = LosesAnswers(MemoryStore::new(10), AtomicUsize::new(usize::MAX));
            let builder = Receiver::builder("acme", custom).store(store).on_store_error(policy);
            let receiver = builder.build().unwrap();
            for status in [200, 500] {
                let answer = deliver(&receiver, status).await.map_err(|rejection| rejection.reason());
                assert_eq!(answer, expected, "{policy:?}");
            }
        }
    }
}
