//! The requirements for every store, tested through the trait alone.
//!
//! No test depends on the speed of the machine: a lease that must expire is short and waited for, and one that must
//! not expire is an hour.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::FutureExt;
use medhook::{
    Bytes, ClaimToken, Claimed, Custom, DedupeStore, DeliveryRecord, EventKey, Forgotten, Reason, Receiver, Retention,
    Secret, Settled, SharedSecret,
};
use medhook_tests::counts::full_or;

/// A place for a store's data, and stores in it.
pub trait Place: Sized + Send + Sync + 'static {
    /// The shortest lease that the store can distinguish from none.
    const SHORT: Duration;

    /// Returns an empty place.
    async fn fresh() -> Self;

    /// Opens a store over the place's data, as another process would where the store supports that.
    async fn store(&self) -> Arc<dyn DedupeStore>;

    /// Lets this much time pass.
    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// A place for stores of several namespaces.
pub trait Namespaced: Place {
    /// Opens a store over the place's data with another namespace.
    async fn namespaced(&self, name: &str) -> Arc<dyn DedupeStore>;
}

/// A place whose stores can forget an event.
pub trait Forgetting: Place {}

/// A place on a server, which may receive operations late: after later ones with the same token.
pub trait Remote: Place {}

/// A place whose stores all use a clock that can be set.
pub trait Clocked: Place {
    fn clock(&self) -> &Hands;
}

/// Runs the suite for a [`Place`] from the store's own module: `suite!(Place)`, or with the other traits that it
/// implements, `suite!(Place: Namespaced, Clocked)`.
macro_rules! suite {
    ($place:ident $(: $($also:ident),+)?) => {
        $crate::suite::suite!(@ suite $place:
            one_of_64_concurrent_claims_is_acquired
            after_its_lease_expires_an_event_can_be_claimed_again
            a_late_holder_has_lost_its_claim
            a_renewed_lease_lasts
            a_release_frees_at_once
            a_handled_event_is_remembered_until_its_retention_ends
            a_repeated_step_has_the_same_answer
            a_claim_missing_from_the_store_can_be_settled
            a_dropped_claim_or_renewal_does_not_claim_after_the_release
            nothing_undoes_a_commit
            random_steps_have_the_results_of_a_simple_model
            in_flight_tells_the_remaining_lease
            many_events_from_many_tasks
            another_process_sees_the_same
            each_delivery_of_a_body_is_counted
            of_64_concurrent_deliveries_each_is_counted_once
            a_record_expires_after_its_period
            a_delivery_whose_handler_failed_does_not_count_in_its_period
            deliveries_beyond_the_limit_do_not_count
            forged_ids_are_handled_up_to_the_limit_and_retries_do_not_count
        );
        $($($crate::suite::suite!(@also $also $place);)+)?
    };
    (@also Namespaced $place:ident) => {
        $crate::suite::suite!(@ namespaces $place: namespaces_are_isolated);
    };
    (@also Forgetting $place:ident) => {
        $crate::suite::suite!(@ forget $place:
            a_forgotten_event_is_claimed_again
            a_claimed_event_is_not_forgotten
        );
    };
    (@also Remote $place:ident) => {
        $crate::suite::suite!(@ late $place:
            late_operations_after_a_release_do_not_claim
            late_operations_after_a_release_and_another_claim_do_not_claim
            late_operations_after_a_release_of_no_claim_do_not_claim
            late_operations_after_a_lost_commit_or_release_do_not_claim
            a_late_renewal_does_not_change_a_committed_event
            another_claim_released_meanwhile_does_not_end_a_claim
            many_released_claims_of_an_event_end_one_by_one
            random_late_steps_have_the_results_of_a_simple_model
        );
    };
    (@also Clocked $place:ident) => {
        $crate::suite::suite!(@ clock $place:
            a_clock_stepped_forward_ends_leases_and_the_token_fences
            a_clock_stepped_back_blocks_no_longer_than_a_lease
            periods_of_a_body_follow_one_another_and_a_clock_stepped_back_forgets_nothing
        );
    };
    (@ $name:ident $place:ident: $($test:ident)*) => {
        mod $name {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    $crate::suite::$test::<super::$place>().await;
                }
            )*
        }
    };
}

pub(crate) use suite;

pub const HOUR: Duration = Duration::from_secs(3600);
/// More deliveries of a body than any test records.
pub const MOST: u64 = 1_000;

pub fn key(n: u64) -> EventKey {
    let mut bytes = [0; 32];
    // Spreads keys evenly, as digests are.
    for (chunk, salt) in bytes.chunks_exact_mut(8).zip(1_u64..) {
        chunk.copy_from_slice(&n.wrapping_add(salt).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    }
    EventKey::from_bytes(bytes)
}

pub fn token(n: u64) -> ClaimToken {
    let mut bytes = [7; 16];
    bytes[8..].copy_from_slice(&n.to_be_bytes());
    ClaimToken::from_bytes(bytes)
}

pub fn retention(total: Duration) -> Retention {
    Retention::new(total / 2, total)
}

/// Claims until the claim is acquired: the current lease or retention is short.
async fn acquired_in_time(store: &dyn DedupeStore, key: EventKey, token: ClaimToken) {
    soon(async || store.claim(key, token, HOUR).await.unwrap() == Claimed::Acquired).await;
}

pub async fn a_forgotten_event_is_claimed_again<P: Forgetting>() {
    let place = P::fresh().await;
    let (store, operator) = (place.store().await, place.store().await);
    assert_eq!(operator.forget(key(1)).await.unwrap(), Forgotten::NotFound);
    store.claim(key(1), token(1), HOUR).await.unwrap();
    store.commit(key(1), token(1), retention(HOUR)).await.unwrap();
    store.claim(key(2), token(2), HOUR).await.unwrap();
    store.commit(key(2), token(2), retention(HOUR)).await.unwrap();
    assert_eq!(operator.forget(key(1)).await.unwrap(), Forgotten::Removed);
    assert_eq!(operator.forget(key(1)).await.unwrap(), Forgotten::NotFound);
    assert_eq!(store.claim(key(2), token(3), HOUR).await.unwrap(), Claimed::AlreadyHandled, "another event");
    assert_eq!(store.claim(key(1), token(4), HOUR).await.unwrap(), Claimed::Acquired);
    assert_eq!(store.commit(key(1), token(4), retention(HOUR)).await.unwrap(), Settled::Settled);
    assert_eq!(store.claim(key(1), token(5), HOUR).await.unwrap(), Claimed::AlreadyHandled);
}

pub async fn a_claimed_event_is_not_forgotten<P: Forgetting>() {
    let place = P::fresh().await;
    let (store, operator) = (place.store().await, place.store().await);
    store.claim(key(1), token(1), HOUR).await.unwrap();
    assert_eq!(operator.forget(key(1)).await.unwrap(), Forgotten::Claimed);
    assert_eq!(store.renew(key(1), token(1), HOUR).await.unwrap(), Settled::Settled, "the claim is unchanged");
    assert_eq!(store.commit(key(1), token(1), retention(HOUR)).await.unwrap(), Settled::Settled);
    // An expired claim is no record, and still fences.
    store.claim(key(2), token(2), P::SHORT).await.unwrap();
    place.pass(P::SHORT).await;
    soon(async || operator.forget(key(2)).await.unwrap() == Forgotten::NotFound).await;
    acquired_in_time(&*store, key(2), token(3)).await;
    assert_eq!(store.commit(key(2), token(2), retention(HOUR)).await.unwrap(), Settled::Lost);
    store.release(key(2), token(3)).await.unwrap();
    assert_eq!(operator.forget(key(2)).await.unwrap(), Forgotten::NotFound, "released");
}

fn in_flight(claimed: Claimed) -> bool {
    matches!(claimed, Claimed::InFlight { .. })
}

pub async fn one_of_64_concurrent_claims_is_acquired<P: Place>() {
    let place = P::fresh().await;
    let stores = [place.store().await, place.store().await];
    for round in 0..full_or(1_000, 250) {
        let racers: Vec<_> = (0..64)
            .map(|n| {
                let store = stores[n as usize % 2].clone();
                tokio::spawn(async move { store.claim(key(round), token(n), HOUR).await.unwrap() })
            })
            .collect();
        let (mut won, mut busy) = (0, 0);
        for racer in racers {
            match racer.await.unwrap() {
                Claimed::Acquired => won += 1,
                Claimed::InFlight { .. } => busy += 1,
                Claimed::AlreadyHandled => panic!("it was not handled"),
            }
        }
        assert_eq!((won, busy), (1, 63), "round {round}");
    }
}

pub async fn after_its_lease_expires_an_event_can_be_claimed_again<P: Place>() {
    let place = P::fresh().await;
    let store = place.store().await;
    assert_eq!(store.claim(key(1), token(1), P::SHORT).await.unwrap(), Claimed::Acquired);
    place.pass(P::SHORT).await;
    acquired_in_time(&*store, key(1), token(2)).await;
    assert!(in_flight(store.claim(key(1), token(3), HOUR).await.unwrap()), "the second's lease runs");
}

pub async fn a_late_holder_has_lost_its_claim<P: Place>() {
    let place = P::fresh().await;
    let store = place.store().await;
    store.claim(key(1), token(1), P::SHORT).await.unwrap();
    place.pass(P::SHORT).await;
    acquired_in_time(&*store, key(1), token(2)).await;
    let late = async |store: &dyn DedupeStore| {
        assert_eq!(store.renew(key(1), token(1), HOUR).await.unwrap(), Settled::Lost);
        assert_eq!(store.release(key(1), token(1)).await.unwrap(), Settled::Lost);
        assert_eq!(store.commit(key(1), token(1), retention(HOUR)).await.unwrap(), Settled::Lost);
    };
    late(&*store).await;
    assert!(in_flight(store.claim(key(1), token(3), HOUR).await.unwrap()), "the late holder changed nothing");
    assert_eq!(store.renew(key(1), token(2), P::SHORT).await.unwrap(), Settled::Settled);
    place.pass(P::SHORT).await;
    // No lease is valid now, and the late holder's calls must still fail: the second holder may have handled the
    // event.
    late(&*store).await;
    assert_eq!(store.commit(key(1), token(2), retention(HOUR)).await.unwrap(), Settled::Settled);
    late(&*store).await;
    assert_eq!(store.claim(key(1), token(3), HOUR).await.unwrap(), Claimed::AlreadyHandled);
}

pub async fn a_renewed_lease_lasts<P: Place>() {
    let place = P::fresh().await;
    let store = place.store().await;
    store.claim(key(1), token(1), P::SHORT).await.unwrap();
    assert_eq!(store.renew(key(1), token(1), HOUR).await.unwrap(), Settled::Settled);
    place.pass(P::SHORT * 2).await;
    assert!(in_flight(store.claim(key(1), token(2), HOUR).await.unwrap()));
    assert_eq!(store.renew(key(1), token(1), P::SHORT).await.unwrap(), Settled::Settled);
    place.pass(P::SHORT).await;
    acquired_in_time(&*store, key(1), token(2)).await;
}

pub async fn a_release_frees_at_once<P: Place>() {
    let place = P::fresh().await;
    let store = place.store().await;
    store.claim(key(1), token(1), HOUR).await.unwrap();
    assert_eq!(store.release(key(1), token(1)).await.unwrap(), Settled::Settled);
    assert_eq!(store.claim(key(1), token(2), HOUR).await.unwrap(), Claimed::Acquired);
}

pub async fn a_handled_event_is_remembered_until_its_retention_ends<P: Place>() {
    let place = P::fresh().await;
    let store = place.store().await;
    for (n, total) in [(1, HOUR), (2, P::SHORT)] {
        store.claim(key(n), token(1), HOUR).await.unwrap();
        assert_eq!(store.commit(key(n), token(1), retention(total)).await.unwrap(), Settled::Settled);
    }
    assert_eq!(store.claim(key(1), token(1), HOUR).await.unwrap(), Claimed::AlreadyHandled, "by its own token, too");
    place.pass(P::SHORT).await;
    acquired_in_time(&*store, key(2), token(2)).await;
    assert_eq!(store.claim(key(1), token(2), HOUR).await.unwrap(), Claimed::AlreadyHandled);
}

pub async fn a_repeated_step_has_the_same_answer<P: Place>() {
    let place = P::fresh().await;
    // Another connection repeats each step, as if the first answer was lost.
    let (first, again) = (place.store().await, place.store().await);
    for store in [&first, &again] {
        assert_eq!(store.claim(key(1), token(1), HOUR).await.unwrap(), Claimed::Acquired);
    }
    for store in [&first, &again] {
        assert_eq!(store.renew(key(1), token(1), HOUR).await.unwrap(), Settled::Settled);
    }
    for store in [&first, &again] {
        assert_eq!(store.commit(key(1), token(1), retention(HOUR)).await.unwrap(), Settled::Settled);
    }
    first.claim(key(2), token(2), HOUR).await.unwrap();
    for store in [&first, &again] {
        assert_eq!(store.release(key(2), token(2)).await.unwrap(), Settled::Settled);
    }
}

pub async fn a_claim_missing_from_the_store_can_be_settled<P: Place>() {
    let place = P::fresh().await;
    let store = place.store().await;
    assert_eq!(store.commit(key(1), token(1), retention(HOUR)).await.unwrap(), Settled::Settled);
    assert_eq!(store.claim(key(1), token(2), HOUR).await.unwrap(), Claimed::AlreadyHandled);
    assert_eq!(store.renew(key(2), token(1), HOUR).await.unwrap(), Settled::Settled);
    assert!(in_flight(store.claim(key(2), token(2), HOUR).await.unwrap()), "the renewal brought it back");
    assert_eq!(store.release(key(3), token(1)).await.unwrap(), Settled::Settled);
    assert_eq!(store.claim(key(3), token(2), HOUR).await.unwrap(), Claimed::Acquired);
}

/// The server may or may not receive the dropped operation, and may receive it after the release.
pub async fn a_dropped_claim_or_renewal_does_not_claim_after_the_release<P: Place>() {
    let place = P::fresh().await;
    let (store, other) = (place.store().await, place.store().await);
    for n in 0..200 {
        if n % 2 == 0 {
            store.claim(key(n), token(1), HOUR).await.unwrap();
            drop(store.renew(key(n), token(1), HOUR).now_or_never());
        } else {
            drop(store.claim(key(n), token(1), HOUR).now_or_never());
        }
        store.release(key(n), token(1)).await.unwrap();
        assert_eq!(other.claim(key(n), token(2), HOUR).await.unwrap(), Claimed::Acquired, "{n}");
    }
}

/// Calls the claim and the renewal of a token whose claim has ended, as if they arrived late.
async fn late(store: &dyn DedupeStore, key: EventKey, token: ClaimToken) {
    for _ in 0..2 {
        assert_eq!(store.renew(key, token, HOUR).await.unwrap(), Settled::Lost);
        assert!(in_flight(store.claim(key, token, HOUR).await.unwrap()));
    }
}

pub async fn late_operations_after_a_release_do_not_claim<P: Remote>() {
    let place = P::fresh().await;
    let store = place.store().await;
    store.claim(key(1), token(1), HOUR).await.unwrap();
    store.release(key(1), token(1)).await.unwrap();
    late(&*store, key(1), token(1)).await;
    assert_eq!(store.release(key(1), token(1)).await.unwrap(), Settled::Settled, "repeated");
    assert_eq!(store.claim(key(1), token(2), HOUR).await.unwrap(), Claimed::Acquired);
    late(&*store, key(1), token(1)).await;
    assert_eq!(store.commit(key(1), token(2), retention(HOUR)).await.unwrap(), Settled::Settled);
    assert_eq!(store.renew(key(1), token(1), HOUR).await.unwrap(), Settled::Lost);
    assert_eq!(store.claim(key(1), token(1), HOUR).await.unwrap(), Claimed::AlreadyHandled);
}

pub async fn late_operations_after_a_release_and_another_claim_do_not_claim<P: Remote>() {
    let place = P::fresh().await;
    let store = place.store().await;
    for n in 1..=2 {
        assert_eq!(store.claim(key(1), token(n), HOUR).await.unwrap(), Claimed::Acquired);
        assert_eq!(store.release(key(1), token(n)).await.unwrap(), Settled::Settled);
    }
    late(&*store, key(1), token(1)).await;
    late(&*store, key(1), token(2)).await;
    assert_eq!(store.claim(key(1), token(3), HOUR).await.unwrap(), Claimed::Acquired);
}

/// The claim itself is late: its caller has stopped waiting and has released it.
pub async fn late_operations_after_a_release_of_no_claim_do_not_claim<P: Remote>() {
    let place = P::fresh().await;
    let store = place.store().await;
    assert_eq!(store.release(key(1), token(1)).await.unwrap(), Settled::Settled);
    late(&*store, key(1), token(1)).await;
    assert_eq!(store.claim(key(1), token(2), HOUR).await.unwrap(), Claimed::Acquired);
    assert_eq!(store.release(key(1), token(3)).await.unwrap(), Settled::Lost);
    assert_eq!(store.release(key(1), token(2)).await.unwrap(), Settled::Settled);
    late(&*store, key(1), token(3)).await;
    assert_eq!(store.claim(key(1), token(4), HOUR).await.unwrap(), Claimed::Acquired);
}

pub async fn late_operations_after_a_lost_commit_or_release_do_not_claim<P: Remote>() {
    let place = P::fresh().await;
    let store = place.store().await;
    for n in [1, 2] {
        store.claim(key(n), token(1), P::SHORT).await.unwrap();
        place.pass(P::SHORT).await;
        acquired_in_time(&*store, key(n), token(2)).await;
        let settled = match n {
            1 => store.commit(key(n), token(1), retention(HOUR)).await,
            _ => store.release(key(n), token(1)).await,
        };
        assert_eq!(settled.unwrap(), Settled::Lost);
        assert_eq!(store.release(key(n), token(2)).await.unwrap(), Settled::Settled);
        late(&*store, key(n), token(1)).await;
        assert_eq!(store.claim(key(n), token(3), HOUR).await.unwrap(), Claimed::Acquired);
    }
}

pub async fn a_late_renewal_does_not_change_a_committed_event<P: Remote>() {
    let place = P::fresh().await;
    let store = place.store().await;
    // Released by mistake, or because the handler failed after it had committed the event.
    store.release(key(1), token(1)).await.unwrap();
    assert_eq!(store.commit(key(1), token(1), retention(HOUR)).await.unwrap(), Settled::Settled);
    store.renew(key(1), token(1), P::SHORT).await.unwrap();
    place.pass(P::SHORT).await;
    assert_eq!(store.claim(key(1), token(2), HOUR).await.unwrap(), Claimed::AlreadyHandled);
}

pub async fn another_claim_released_meanwhile_does_not_end_a_claim<P: Remote>() {
    let place = P::fresh().await;
    let store = place.store().await;
    for n in [1, 2] {
        store.claim(key(n), token(1), P::SHORT).await.unwrap();
        place.pass(P::SHORT).await;
        acquired_in_time(&*store, key(n), token(2)).await;
        store.release(key(n), token(2)).await.unwrap();
    }
    assert_eq!(store.renew(key(1), token(1), HOUR).await.unwrap(), Settled::Settled);
    assert!(in_flight(store.claim(key(1), token(3), HOUR).await.unwrap()), "the renewal restored the claim");
    assert_eq!(store.commit(key(2), token(1), retention(HOUR)).await.unwrap(), Settled::Settled);
    assert_eq!(store.claim(key(2), token(3), HOUR).await.unwrap(), Claimed::AlreadyHandled);
}

pub async fn many_released_claims_of_an_event_end_one_by_one<P: Remote>() {
    const CLAIMS: u64 = 300;
    let place = P::fresh().await;
    let store = place.store().await;
    for n in 0..CLAIMS {
        assert_eq!(store.claim(key(1), token(n), HOUR).await.unwrap(), Claimed::Acquired);
        assert_eq!(store.release(key(1), token(n)).await.unwrap(), Settled::Settled);
    }
    for n in CLAIMS - 100..CLAIMS {
        late(&*store, key(1), token(n)).await;
    }
    assert_eq!(store.claim(key(1), token(CLAIMS), HOUR).await.unwrap(), Claimed::Acquired);
}

pub async fn nothing_undoes_a_commit<P: Place>() {
    let place = P::fresh().await;
    let store = place.store().await;
    store.claim(key(1), token(1), P::SHORT).await.unwrap();
    store.commit(key(1), token(1), retention(HOUR)).await.unwrap();
    assert_eq!(store.renew(key(1), token(1), P::SHORT).await.unwrap(), Settled::Settled);
    assert_eq!(store.release(key(1), token(1)).await.unwrap(), Settled::Settled);
    place.pass(P::SHORT * 2).await;
    assert_eq!(store.claim(key(1), token(2), HOUR).await.unwrap(), Claimed::AlreadyHandled);
}

/// Each claim has a token of its own, as those of a receiver have.
pub async fn random_steps_have_the_results_of_a_simple_model<P: Place>() {
    random_steps::<P>(false).await;
}

pub async fn random_late_steps_have_the_results_of_a_simple_model<P: Remote>() {
    random_steps::<P>(true).await;
}

async fn random_steps<P: Place>(with_late_ones: bool) {
    let place = P::fresh().await;
    let stores = [place.store().await, place.store().await];
    let mut events = HashMap::<u64, (u64, bool)>::new();
    let mut ended = HashSet::<(u64, u64)>::new();
    let mut late_steps = 0;
    let mut random = 1_u64;
    for round in 0..2_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (n, step) = ((random >> 40) % 8 + round / 100 * 8, (random >> 60) % 4);
        let holder = (random >> 50) % 4;
        let (store, event) = (&stores[(random >> 33) as usize % 2], events.get(&n).copied());
        let theirs = event.is_some_and(|(other, _)| other != holder);
        let handled = event.is_some_and(|(_, handled)| handled);
        let late = step < 2 && ended.contains(&(n, holder));
        if late && !with_late_ones {
            continue;
        }
        late_steps += u32::from(late);
        if step == 0 {
            let claimed = store.claim(key(n), token(holder), HOUR).await.unwrap();
            match (handled, theirs || late) {
                (true, _) => assert_eq!(claimed, Claimed::AlreadyHandled, "round {round}"),
                (false, true) => assert!(in_flight(claimed), "round {round}: {claimed:?}"),
                (false, false) => assert_eq!(claimed, Claimed::Acquired, "round {round}"),
            }
        } else {
            let settled = match step {
                1 => store.renew(key(n), token(holder), HOUR).await.unwrap(),
                2 => store.commit(key(n), token(holder), retention(HOUR)).await.unwrap(),
                _ => store.release(key(n), token(holder)).await.unwrap(),
            };
            let wanted = if theirs || late && !handled { Settled::Lost } else { Settled::Settled };
            // A renewal changes nothing if its own token has committed the event, also after a release.
            if !(step == 1 && late && handled && !theirs) {
                assert_eq!(settled, wanted, "round {round}, step {step}");
            }
        }
        if !theirs && !handled && !late {
            match step {
                3 => events.remove(&n),
                _ => events.insert(n, (holder, step == 2)),
            };
        }
        if step == 3 || step == 2 && theirs {
            ended.insert((n, holder));
        }
    }
    assert!(late_steps > 50 || !with_late_ones, "{late_steps} late steps");
}

pub async fn in_flight_tells_the_remaining_lease<P: Place>() {
    let place = P::fresh().await;
    let store = place.store().await;
    store.claim(key(1), token(1), HOUR).await.unwrap();
    match store.claim(key(1), token(2), HOUR * 4).await.unwrap() {
        Claimed::InFlight { retry_after } => {
            assert!(retry_after > HOUR / 2 && retry_after <= HOUR, "{retry_after:?}");
        }
        other => panic!("{other:?}"),
    }
}

pub async fn many_events_from_many_tasks<P: Place>() {
    const EVENTS: u64 = 100_000;
    const TASKS: u64 = 500;
    let events = full_or(EVENTS, EVENTS / 5);
    let place = P::fresh().await;
    let store = place.store().await;
    let each = async |step: fn(Arc<dyn DedupeStore>, u64) -> futures_util::future::BoxFuture<'static, ()>| {
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let store = store.clone();
                tokio::spawn(async move {
                    for n in (task..events).step_by(TASKS as usize) {
                        step(store.clone(), n).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    };
    each(|store, n| {
        Box::pin(async move {
            assert_eq!(store.claim(key(n), token(n), HOUR).await.unwrap(), Claimed::Acquired, "{n}");
            let settled = match n % 2 {
                0 => store.commit(key(n), token(n), retention(HOUR)).await,
                _ => store.release(key(n), token(n)).await,
            };
            assert_eq!(settled.unwrap(), Settled::Settled, "{n}");
        })
    })
    .await;
    each(|store, n| {
        Box::pin(async move {
            let wanted = if n % 2 == 0 { Claimed::AlreadyHandled } else { Claimed::Acquired };
            assert_eq!(store.claim(key(n), token(EVENTS + n), HOUR).await.unwrap(), wanted, "{n}");
        })
    })
    .await;
}

pub async fn another_process_sees_the_same<P: Place>() {
    let place = P::fresh().await;
    let (one, other) = (place.store().await, place.store().await);
    assert_eq!(one.claim(key(1), token(1), HOUR).await.unwrap(), Claimed::Acquired);
    assert!(in_flight(other.claim(key(1), token(2), HOUR).await.unwrap()));
    assert_eq!(other.commit(key(1), token(2), retention(HOUR)).await.unwrap(), Settled::Lost);
    assert_eq!(one.commit(key(1), token(1), retention(HOUR)).await.unwrap(), Settled::Settled);
    assert_eq!(other.claim(key(1), token(2), HOUR).await.unwrap(), Claimed::AlreadyHandled);
}

pub async fn namespaces_are_isolated<P: Namespaced>() {
    let place = P::fresh().await;
    let (a, b) = (place.namespaced("clinic_a").await, place.namespaced("clinic_b").await);
    for store in [&a, &b] {
        assert_eq!(store.claim(key(1), token(1), HOUR).await.unwrap(), Claimed::Acquired);
    }
    a.commit(key(1), token(1), retention(HOUR)).await.unwrap();
    assert_eq!(a.claim(key(1), token(2), HOUR).await.unwrap(), Claimed::AlreadyHandled);
    b.release(key(1), token(1)).await.unwrap();
    assert_eq!(b.claim(key(1), token(2), HOUR).await.unwrap(), Claimed::Acquired);
    let again = place.namespaced("clinic_a").await;
    assert_eq!(again.claim(key(1), token(3), HOUR).await.unwrap(), Claimed::AlreadyHandled);
}

pub async fn a_clock_stepped_forward_ends_leases_and_the_token_fences<P: Clocked>() {
    let place = P::fresh().await;
    let store = place.store().await;
    let clock = place.clock();
    store.claim(key(1), token(1), HOUR).await.unwrap();
    store.claim(key(2), token(1), HOUR).await.unwrap();
    clock.forward(HOUR * 2);
    assert_eq!(
        store.claim(key(1), token(2), HOUR).await.unwrap(),
        Claimed::Acquired,
        "too early, by the first's clock"
    );
    assert_eq!(store.commit(key(1), token(1), retention(HOUR)).await.unwrap(), Settled::Lost);
    assert_eq!(store.commit(key(2), token(1), retention(HOUR)).await.unwrap(), Settled::Settled, "no other claim came");
}

pub async fn a_clock_stepped_back_blocks_no_longer_than_a_lease<P: Clocked>() {
    let place = P::fresh().await;
    let store = place.store().await;
    let clock = place.clock();
    store.claim(key(1), token(1), HOUR).await.unwrap();
    clock.back(HOUR * 1_000);
    let claimed = store.claim(key(1), token(2), HOUR).await.unwrap();
    assert_eq!(claimed, Claimed::InFlight { retry_after: HOUR }, "it may well be at work");
    clock.forward(HOUR);
    assert_eq!(store.claim(key(1), token(2), HOUR).await.unwrap(), Claimed::Acquired);
    assert_eq!(store.commit(key(1), token(1), retention(HOUR)).await.unwrap(), Settled::Lost);
}

pub async fn each_delivery_of_a_body_is_counted<P: Place>() {
    let place = P::fresh().await;
    let (store, other) = (place.store().await, place.store().await);
    let began = Instant::now();
    let first = store.record_delivery(key(1), HOUR, MOST).await.unwrap();
    assert_eq!(first, DeliveryRecord::default());
    assert_eq!(store.record_delivery(key(2), HOUR, MOST).await.unwrap(), DeliveryRecord::default(), "another body");
    place.pass(P::SHORT).await;
    for earlier in 1..4 {
        let store = if earlier % 2 == 0 { &store } else { &other };
        let record = store.record_delivery(key(1), HOUR, MOST).await.unwrap();
        assert_eq!(record.earlier, earlier);
        // A store may round the time of a delivery to milliseconds.
        assert!(record.since + Duration::from_millis(2) >= P::SHORT, "{record:?}");
        assert!(record.since <= began.elapsed() + P::SHORT + Duration::from_millis(2), "{record:?}");
    }
    // A record affects no claim, not even one with the same key.
    assert_eq!(store.claim(key(1), token(1), HOUR).await.unwrap(), Claimed::Acquired);
    assert_eq!(store.release(key(1), token(1)).await.unwrap(), Settled::Settled);
    assert_eq!(store.record_delivery(key(1), HOUR, MOST).await.unwrap().earlier, 4);
}

pub async fn of_64_concurrent_deliveries_each_is_counted_once<P: Place>() {
    let place = P::fresh().await;
    let stores = [place.store().await, place.store().await];
    for round in 0..20 {
        let deliveries: Vec<_> = (0..64)
            .map(|n: usize| {
                let store = stores[n % 2].clone();
                tokio::spawn(async move { store.record_delivery(key(round), HOUR, MOST).await.unwrap().earlier })
            })
            .collect();
        let mut earlier = Vec::new();
        for delivery in deliveries {
            earlier.push(delivery.await.unwrap());
        }
        earlier.sort_unstable();
        assert_eq!(earlier, (0..64).collect::<Vec<u64>>(), "round {round}");
    }
}

pub async fn a_record_expires_after_its_period<P: Place>() {
    let place = P::fresh().await;
    let store = place.store().await;
    store.record_delivery(key(1), P::SHORT, MOST).await.unwrap();
    place.pass(P::SHORT).await;
    assert_eq!(store.record_delivery(key(1), P::SHORT, MOST).await.unwrap(), DeliveryRecord::default());
}

pub async fn a_delivery_whose_handler_failed_does_not_count_in_its_period<P: Place>() {
    let place = P::fresh().await;
    let store = place.store().await;
    store.record_failure(key(1)).await.unwrap();
    for (earlier, in_period, failed) in [(0, 0, true), (1, 0, false), (2, 1, true), (3, 1, false), (4, 2, false)] {
        let record = store.record_delivery(key(1), HOUR, MOST).await.unwrap();
        assert_eq!((record.earlier, record.in_period), (earlier, in_period));
        assert!(record.period <= record.since + Duration::from_millis(1), "{record:?}");
        if failed {
            store.record_failure(key(1)).await.unwrap();
        }
    }
    for _ in 0..9 {
        store.record_failure(key(1)).await.unwrap();
    }
    let record = store.record_delivery(key(1), HOUR, MOST).await.unwrap();
    assert_eq!((record.earlier, record.in_period), (5, 0));
}

pub async fn deliveries_beyond_the_limit_do_not_count<P: Place>() {
    let place = P::fresh().await;
    let store = place.store().await;
    let record = async || {
        let record = store.record_delivery(key(1), HOUR, 2).await.unwrap();
        (record.earlier, record.in_period)
    };
    for expected in [(0, 0), (1, 1), (2, 2), (2, 2), (2, 2)] {
        assert_eq!(record().await, expected);
    }
    store.record_failure(key(1)).await.unwrap();
    for expected in [(2, 1), (3, 2), (3, 2)] {
        assert_eq!(record().await, expected);
    }
}

/// With an id that is not signed, a receiver claims the event and records its body.
pub async fn forged_ids_are_handled_up_to_the_limit_and_retries_do_not_count<P: Place>() {
    let place = P::fresh().await;
    let mut receivers = Vec::new();
    for _ in 0..2 {
        let custom = Custom::new("acme", SharedSecret::new("x-key"), Secret::new("0123456789abcdef").unwrap());
        let custom = custom.unsigned_id_header("x-trace-id");
        receivers.push(Receiver::builder("acme", custom).store(place.store().await).lease(HOUR).build().unwrap());
    }
    let deliver = async |number: usize, status: u16| {
        let id = format!("t-{}", number / 2);
        let headers = [("x-key", "0123456789abcdef"), ("x-trace-id", &*id)];
        let receiver = &receivers[number % 2];
        let delivery = receiver.open(receiver.verify(&headers, Bytes::from_static(b"{}")).unwrap()).unwrap();
        let ran = receiver.admit(delivery).unwrap().run(async { status }, |status| *status == 200).await;
        ran.map_err(|rejection| rejection.reason())
    };
    for number in 0..30 {
        assert_eq!(deliver(number, 500).await, Ok(500), "a failed handler gives its place back");
    }
    // The two receivers get the same id at the same time, and one of them handles it.
    let (mut handled, mut limited) = (0, 0);
    for number in (0..200).step_by(2) {
        match futures_util::future::join(deliver(number, 200), deliver(number + 1, 200)).await {
            (Ok(200), Err(Reason::Duplicate | Reason::InFlight))
            | (Err(Reason::Duplicate | Reason::InFlight), Ok(200)) => handled += 1,
            // The claim of the other one may be held for a moment.
            (Err(Reason::RepeatLimit), Err(Reason::RepeatLimit | Reason::InFlight))
            | (Err(Reason::InFlight), Err(Reason::RepeatLimit)) => limited += 1,
            other => panic!("{number}: {other:?}"),
        }
    }
    assert_eq!((handled, limited), (21, 79));
    for number in 0..42 {
        assert_eq!(deliver(number, 200).await, Err(Reason::Duplicate), "{number}");
    }
}

pub async fn periods_of_a_body_follow_one_another_and_a_clock_stepped_back_forgets_nothing<P: Clocked>() {
    let place = P::fresh().await;
    let store = place.store().await;
    let clock = place.clock();
    let second = Duration::from_secs(1);
    let record = async || {
        let record = store.record_delivery(key(1), HOUR, MOST).await.unwrap();
        (record.earlier, record.since, record.in_period, record.period)
    };
    assert_eq!(record().await, (0, Duration::ZERO, 0, Duration::ZERO));
    clock.forward(HOUR - second);
    assert_eq!(record().await, (1, HOUR - second, 1, HOUR - second));
    clock.forward(second);
    assert_eq!(record().await, (2, HOUR, 0, Duration::ZERO));
    clock.forward(second);
    assert_eq!(record().await, (3, HOUR + second, 1, second));
    // A correction of the clock forgets no delivery.
    clock.back(2 * HOUR);
    assert_eq!(record().await, (4, Duration::ZERO, 2, Duration::ZERO));
    clock.forward(second);
    assert_eq!(record().await, (5, second, 3, second));
    clock.forward(HOUR);
    assert_eq!(record().await, (0, Duration::ZERO, 0, Duration::ZERO));
}

/// A clock that shows the time that it was set to.
#[derive(Clone)]
pub struct Hands(Arc<std::sync::Mutex<SystemTime>>);

impl Hands {
    pub fn new() -> Self {
        Hands(Arc::new(std::sync::Mutex::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600))))
    }

    pub fn forward(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }

    pub fn back(&self, by: Duration) {
        *self.0.lock().unwrap() -= by;
    }
}

impl medhook::Clock for Hands {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }
}

impl fmt::Debug for Hands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hands")
    }
}

/// Waits until the condition holds.
pub async fn soon(mut so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !so().await {
        assert!(began.elapsed() < Duration::from_secs(120), "never came about");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
