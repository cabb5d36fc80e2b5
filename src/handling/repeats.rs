//! Deliveries that count for the body that they have, since the bytes alone are signed: they are recorded under it.
//!
//! The event of such a delivery either can recur with the same bytes, or only an unsigned id identifies it. The record
//! shows whether the same bytes came before, and limits how often a captured delivery can be replayed.
//!
//! A claim keeps two deliveries of one event apart. If the event can recur, each delivery is of an event of its own, so
//! nothing is claimed: no other delivery waits, and none is dropped. An event with an unsigned id is claimed before it
//! is recorded, so that its retries, which are duplicates or in flight, do not count.

use std::future::Future;

use tokio::time::Instant;

use super::claim::{AfterFailure, Claim, ClaimEnding};
use super::panics::Guarded;
use super::settings::{OnStoreError, REPEAT_PERIOD};
use crate::answered::Answered;
use crate::dedupe::{Claimed, DeliveryRecord};
use crate::error::Reason;
use crate::event_key::{EventKey, IdFrom};
use crate::observe;
use crate::rejection::Rejection;

/// The record in the store of a delivery that counts for its body.
#[derive(Clone, Copy)]
pub(super) struct Counted {
    event: EventClaim,
    /// `None` if the store is unavailable and the policy is [`HandleUnclaimed`](OnStoreError::HandleUnclaimed).
    recorded: Option<Recorded>,
}

/// The claim of the event of such a delivery.
#[derive(Clone, Copy)]
enum EventClaim {
    /// The event has this delivery only.
    NotNeeded,
    Since(Instant),
    /// The store is unavailable and the policy is [`HandleUnclaimed`](OnStoreError::HandleUnclaimed).
    Failed,
}

/// The record of a delivery, and when it was made.
#[derive(Clone, Copy)]
struct Recorded {
    body: EventKey,
    record: DeliveryRecord,
    at: Instant,
}

impl Counted {
    #[cfg(feature = "inbox")]
    pub(super) fn is_recorded(&self) -> bool {
        self.recorded.is_some()
    }

    /// Returns what is to be settled if the event was not handled: the delivery no longer counts, and the event's claim
    /// ends.
    fn failure(&self, after: AfterFailure) -> Option<ClaimEnding> {
        let after = if self.event.is_held() { after } else { AfterFailure::Nothing };
        match self.recorded {
            Some(recorded) if recorded.is_current() => Some(ClaimEnding::Failure(recorded.body, after)),
            _ => after.ending(),
        }
    }
}

impl EventClaim {
    fn is_held(&self) -> bool {
        matches!(self, EventClaim::Since(_))
    }
}

impl Recorded {
    /// Returns whether the period that the delivery counts for is not over. A failure must not lower the count of the
    /// next period.
    fn is_current(&self) -> bool {
        self.record.period.saturating_add(self.at.elapsed()) < REPEAT_PERIOD
    }
}

impl Claim {
    /// Claims the event if it has an unsigned id, records the delivery, runs the handler, and settles both.
    pub(super) async fn run_recorded<T>(
        self,
        body: EventKey,
        handler: Guarded<'_, impl Future<Output = T> + Unpin>,
        answered: Guarded<'_, impl FnOnce(&T) -> Answered>,
    ) -> Result<T, Rejection> {
        let (claim, counted) = self.count(body).await?;
        claim.run_counted(counted, handler, answered).await
    }

    /// Claims the event if it has an unsigned id, and records the delivery.
    pub(super) async fn count(self, body: EventKey) -> Result<(Self, Counted), Rejection> {
        if self.delivery.id_from() != IdFrom::UnsignedHeader {
            return self.record(body, EventClaim::NotNeeded).await;
        }
        match self.acquire().await {
            Ok(Claimed::Acquired) => self.record(body, EventClaim::Since(Instant::now())).await,
            Ok(Claimed::AlreadyHandled) => Err(Reason::Duplicate.into()),
            Ok(Claimed::InFlight { retry_after }) => Err(Rejection::in_flight(retry_after)),
            Err(error) if self.settings.on_store_error == OnStoreError::HandleUnclaimed => {
                observe::unclaimed(self.delivery.subject(), &error);
                Ok((self, Counted { event: EventClaim::Failed, recorded: None }))
            }
            Err(error) => {
                let maybe_claimed = !error.is_full();
                Err(self.reject(error, maybe_claimed.then_some(ClaimEnding::Disown)))
            }
        }
    }

    /// Records the delivery.
    async fn record(self, body: EventKey, event: EventClaim) -> Result<(Self, Counted), Rejection> {
        let (most, policy) = (self.settings.max_repeats, self.settings.on_store_error);
        // The first delivery is no repeat.
        let limit = u64::from(most).saturating_add(1);
        let after = if event.is_held() { AfterFailure::Disown } else { AfterFailure::Nothing };
        let record = match self.answer(|store| store.record_delivery(body, REPEAT_PERIOD, limit)).await {
            Ok(record) => record,
            Err(error) if policy == OnStoreError::HandleUnclaimed => {
                observe::unclaimed(self.delivery.subject(), &error);
                return Ok((self, Counted { event, recorded: None }));
            }
            // Unless it is full, the store may have recorded the delivery, or may still do so.
            Err(error) => {
                let ending = if error.is_full() { after.ending() } else { Some(ClaimEnding::Failure(body, after)) };
                return Err(self.reject(error, ending));
            }
        };
        if record.in_period >= limit {
            observe::repeat_limit(self.delivery.subject(), most);
            if let Some(ending) = after.ending() {
                self.settle(ending).await;
            }
            return Err(Rejection::repeat_limit(REPEAT_PERIOD.saturating_sub(record.period)));
        }
        if record.earlier > 0 {
            self.delivery.set_possible_duplicate(record.earlier, record.since);
        }
        Ok((self, Counted { event, recorded: Some(Recorded { body, record, at: Instant::now() }) }))
    }

    /// Runs the handler of a counted delivery, and settles it.
    pub(super) async fn run_counted<T>(
        mut self,
        counted: Counted,
        handler: Guarded<'_, impl Future<Output = T> + Unpin>,
        answered: Guarded<'_, impl FnOnce(&T) -> Answered>,
    ) -> Result<T, Rejection> {
        if matches!(counted.event, EventClaim::Failed) {
            return self.run_claimed(false, handler, answered).await;
        }
        // With a known body it may be a replay.
        if self.delivery.repeats().is_none() {
            observe::new_event(self.delivery.facts());
        }
        let renewed_after = || match counted.event {
            EventClaim::Since(claimed) => Some(self.settings.part_of_lease(3).saturating_sub(claimed.elapsed())),
            EventClaim::NotNeeded | EventClaim::Failed => None,
        };
        let handled = self.handle(handler, answered, renewed_after).await;
        self.permit.finish();
        if matches!(handled, Ok((_, true))) {
            if counted.event.is_held() {
                self.settle(ClaimEnding::Commit).await;
            }
        } else {
            self.give_back(counted, AfterFailure::Release).await;
        }
        handled.map(|(answer, _)| answer).map_err(Rejection::from)
    }

    /// Removes a delivery that was not handled from the count, and ends the claim of its event as `after` says.
    pub(super) async fn give_back(self, counted: Counted, after: AfterFailure) {
        let Some(ending) = counted.failure(after) else { return };
        if !self.try_settle(ending).await {
            self.settle_in_background(ending);
        } else if let Some(next) = ending.next() {
            self.settle(next).await;
        }
    }
}

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests {
    use std::sync::Arc;
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

    /// A store that records deliveries, loses this many answers, and counts releases.
    #[derive(Debug)]
    struct LosesAnswers(MemoryStore, AtomicUsize, Arc<AtomicUsize>);

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
            self.2.fetch_add(1, Ordering::SeqCst);
            Box::pin(std::future::ready(Ok(crate::Settled::Lost)))
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
        let releases = Arc::default();
        let store = LosesAnswers(MemoryStore::new(10), AtomicUsize::new(1), Arc::clone(&releases));
        let receiver = Receiver::builder("acme", custom).store(store).max_repeats(0).build().unwrap();
        assert_eq!(deliver(&receiver, 200).await.unwrap_err().reason(), Reason::StoreUnavailable);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(deliver(&receiver, 500).await.unwrap().unwrap().1, 1);
        assert_eq!(deliver(&receiver, 200).await.unwrap().unwrap().1, 2);
        assert_eq!(releases.load(Ordering::SeqCst), 0, "nothing was claimed");
    }

    #[tokio::test(start_paused = true)]
    async fn without_the_store_the_policy_for_store_errors_applies() {
        for (policy, expected) in
            [(OnStoreError::Reject, Err(Reason::StoreUnavailable)), (OnStoreError::HandleUnclaimed, Ok(None))]
        {
            let custom = Custom::new("acme", SharedSecret::new("x-key"), Secret::new("0123456789abcdef").unwrap());
            let store = LosesAnswers(MemoryStore::new(10), AtomicUsize::new(usize::MAX), Arc::default());
            let builder = Receiver::builder("acme", custom).store(store).on_store_error(policy);
            let receiver = builder.build().unwrap();
            for status in [200, 500] {
                let answer = deliver(&receiver, status).await.map_err(|rejection| rejection.reason());
                assert_eq!(answer, expected, "{policy:?}");
            }
        }
    }
}
