//! Operations that a suite for all stores does not reach.

use super::super::work::BATCH_BYTES;
use super::*;
use crate::dedupe::inbox::rules::{Ending, Status};
use crate::dedupe::inbox::store::{CountOf, Keep, LeaseHold, LeaseId, Operated, PurgedRows, RowFilter, SealedBody};
use crate::dedupe::{Claimed, DedupeStore, Forgotten, Settled};

#[tokio::test]
async fn an_event_is_claimed_and_stored_in_the_order_of_the_queue() {
    let place = Place::new().await;
    let (claimed, stored, again) = tokio::join!(
        place.store.claim(key(1), token(1), LEASE),
        place.inbox.store_event(NewEvent { token: token(2), ..event(1) }),
        place.inbox.store_event(event(2)),
    );
    assert_eq!(claimed.unwrap(), Claimed::Acquired);
    assert_eq!(stored.unwrap(), StoreResult::InFlight { retry_after: LEASE });
    assert_eq!(again.unwrap(), StoreResult::Stored { id: 1 });
    assert_eq!(place.store.claim(key(2), token(3), LEASE).await.unwrap(), Claimed::AlreadyHandled);
    assert_eq!(place.inbox.store_event(event(2)).await.unwrap(), StoreResult::Stored { id: 1 }, "the same token");
    let other = NewEvent { token: token(4), ..event(2) };
    assert_eq!(place.inbox.store_event(other.clone()).await.unwrap(), StoreResult::Duplicate);
    // The record of the event as handled expires before the row is finished.
    place.clock.advance(HOUR * 24);
    assert_eq!(place.inbox.store_event(other).await.unwrap(), StoreResult::Duplicate);
}

#[tokio::test]
async fn a_hold_lets_only_events_through_that_were_stored_since() {
    let place = Place::new().await;
    place.store(event(1)).await;
    place.clock.advance(HOUR);
    let since = place.clock.0.load(Ordering::SeqCst);
    place.store(event(2)).await;
    place.inbox.set_hold(LeaseHold::All, audit("hold")).await.unwrap();
    assert_eq!(place.lease(1, false).await, None);
    assert_eq!(place.inbox.counts(CountOf::All).await.unwrap().hold, LeaseHold::All);
    place.inbox.set_hold(LeaseHold::StoredBefore(since), audit("release")).await.unwrap();
    assert_eq!(place.inbox.counts(CountOf::All).await.unwrap().hold, LeaseHold::StoredBefore(since));
    assert_eq!(place.lease(1, false).await, Some(2));
    assert_eq!(place.lease(2, false).await, None);
    place.inbox.set_paused("acme".into(), true, audit("pause")).await.unwrap();
    place.inbox.set_hold(LeaseHold::None, audit("release")).await.unwrap();
    assert_eq!(place.lease(2, false).await, None);
    assert_eq!(place.lease(1, false).await, Some(2), "a repeated lease");
    place.inbox.set_paused("acme".into(), false, audit("resume")).await.unwrap();
    assert_eq!(place.lease(2, false).await, Some(1));
    assert_eq!(place.inbox.audit_entries(0, 10).await.unwrap().len(), 5);
    assert_eq!(place.inbox.audit_entries(3, 1).await.unwrap()[0].2, audit("release"));
}

#[tokio::test]
async fn an_operation_whose_audit_entry_fails_changes_nothing() {
    let place = Place::new().await;
    let [handled, id] = [place.store(event(1)).await, place.store(event(2)).await];
    assert_eq!(place.lease(1, false).await, Some(handled));
    place.inbox.finish(LeaseId::first(handled, token(1)), Ending::Done, false).await.unwrap();
    let fails = "a fault of medhook_inbox_audit";
    let before = (place.counts().await, place.number("SELECT sum(due) FROM medhook_inbox").await);
    place.clock.advance(HOUR);
    place
        .run(&format!(
            "CREATE TRIGGER fault BEFORE INSERT ON medhook_inbox_audit BEGIN SELECT RAISE(ABORT, '{fails}'); END"
        ))
        .await;
    for (operation, error) in [
        ("discard", place.inbox.discard(id, audit("discard")).await.unwrap_err()),
        ("replay", place.inbox.replay(id, audit("replay")).await.unwrap_err()),
        ("body", place.inbox.body(id, audit("body")).await.unwrap_err()),
        ("pause", place.inbox.set_paused("acme".into(), true, audit("pause")).await.unwrap_err()),
        ("hold", place.inbox.set_hold(LeaseHold::All, audit("hold")).await.unwrap_err()),
        ("forget", place.inbox.forget(key(1), *key(1).as_bytes(), audit("forget")).await.unwrap_err()),
    ] {
        assert!(error.to_string().contains(fails), "{operation}: {error}");
    }
    let after = (place.counts().await, place.number("SELECT sum(due) FROM medhook_inbox").await);
    assert_eq!(after, before);
    assert_eq!(place.store.claim(key(1), token(9), LEASE).await.unwrap(), Claimed::AlreadyHandled, "not forgotten");
    assert_eq!(place.lease(5, false).await, Some(id), "neither discarded nor held");
    place.run("DROP TRIGGER fault").await;
    assert_eq!(place.inbox.discard(id, audit("discard")).await.unwrap(), Operated::Processing);
    assert_eq!(place.inbox.forget(key(1), *key(1).as_bytes(), audit("forget")).await.unwrap(), Forgotten::Removed);
}

#[tokio::test]
async fn lists_apply_every_filter() {
    let place = Place::new().await;
    for n in 1..4 {
        place.store(NewEvent { kind: format!("kind {n}"), ..event(n) }).await;
    }
    place.store(NewEvent { endpoint: "other".into(), ..event(4) }).await;
    let id = place.lease(1, false).await.unwrap();
    place
        .inbox
        .finish(LeaseId::first(id, token(1)), Ending::Dead { reason: "status_503".into() }, false)
        .await
        .unwrap();
    place.clock.advance(HOUR);
    let now = place.clock.0.load(Ordering::SeqCst);
    place.store(event(5)).await;
    let all = RowFilter { limit: 100, ..RowFilter::default() };
    let ids = async |filter: RowFilter| -> Vec<i64> {
        place.inbox.list(filter).await.unwrap().iter().map(|row| row.id).collect()
    };
    assert_eq!(ids(all.clone()).await, [1, 2, 3, 4, 5]);
    assert_eq!(ids(RowFilter { after: Some(3), ..all.clone() }).await, [4, 5]);
    assert_eq!(ids(RowFilter { limit: 2, ..all.clone() }).await, [1, 2]);
    assert_eq!(ids(RowFilter { id: Some(3), ..all.clone() }).await, [3]);
    assert_eq!(ids(RowFilter { endpoint: Some("other".into()), ..all.clone() }).await, [4]);
    assert_eq!(ids(RowFilter { kind: Some("kind 2".into()), ..all.clone() }).await, [2]);
    assert_eq!(ids(RowFilter { reason: Some("status_503".into()), ..all.clone() }).await, [1]);
    assert_eq!(ids(RowFilter { stored_since: Some(now), ..all.clone() }).await, [5]);
    for (status, wanted) in Status::ALL.into_iter().zip([vec![2, 3, 4, 5], vec![], vec![], vec![1], vec![]]) {
        assert_eq!(ids(RowFilter { status: Some(status), ..all.clone() }).await, wanted);
    }
    assert_eq!(ids(RowFilter { endpoint: Some("acme".into()), status: Some(Status::Waiting), ..all }).await, [2, 3, 5]);
}

#[tokio::test]
async fn a_purge_deletes_bodies_before_rows_and_no_row_before_its_mark() {
    let place = Place::new().await;
    for n in 1..4 {
        place.store(event(n)).await;
    }
    for n in 1..3 {
        let id = place.lease(n, false).await.unwrap();
        let ending = if n == 1 { Ending::Done } else { Ending::Dead { reason: "status_503".into() } };
        place.inbox.finish(LeaseId::first(id, token(n)), ending, true).await.unwrap();
    }
    let keep = Keep { done: HOUR, dead: None, rows: HOUR };
    let purge = async |keep| place.inbox.purge("acme".into(), keep).await.unwrap();
    assert_eq!(purge(keep).await, PurgedRows::default());
    assert_eq!(place.inbox.purge("other".into(), Keep { done: Duration::ZERO, ..keep }).await.unwrap().bodies, 0);
    place.clock.advance(HOUR);
    assert_eq!(purge(keep).await, PurgedRows { bodies: 1, rows: 0, more: false }, "its mark has not expired");
    place.clock.advance(HOUR * 23);
    assert_eq!(purge(keep).await, PurgedRows { bodies: 0, rows: 1, more: false });
    assert_eq!(purge(keep).await, PurgedRows::default());
    let keep = Keep { dead: Some(HOUR * 25), ..keep };
    assert_eq!(purge(keep).await, PurgedRows::default());
    assert_eq!(purge(Keep { dead: Some(HOUR), ..keep }).await, PurgedRows { bodies: 1, rows: 1, more: false });
    assert_eq!(place.number("SELECT id FROM medhook_inbox").await, 3, "the event that waits");
    assert_eq!(purge(Keep { done: Duration::MAX, dead: Some(Duration::MAX), rows: Duration::MAX }).await.rows, 0);
}

#[tokio::test]
async fn a_purge_is_limited_by_rows_and_by_bytes() {
    let place = Place::new().await;
    let done = async |n: u16, body: Bytes| {
        place.store(event_with(n, body)).await;
        let id = place.lease(n, false).await.unwrap();
        place.inbox.finish(LeaseId::first(id, token(n)), Ending::Done, true).await.unwrap();
    };
    for n in 0..26 {
        done(n, Bytes::new()).await;
    }
    let keep = Keep { done: Duration::ZERO, dead: None, rows: HOUR };
    let purge = async || place.inbox.purge("acme".into(), keep).await.unwrap();
    assert_eq!(purge().await, PurgedRows { bodies: 25, rows: 0, more: true });
    assert_eq!(purge().await, PurgedRows { bodies: 1, rows: 0, more: false });
    for n in 200..204 {
        done(n, Bytes::from(vec![0; 1 << 20])).await;
    }
    assert_eq!(purge().await, PurgedRows { bodies: 2, rows: 0, more: true });
    assert_eq!(purge().await, PurgedRows { bodies: 2, rows: 0, more: false });
}

#[tokio::test]
async fn a_row_is_resealed_unless_it_has_changed() {
    let place = Place::new().await;
    let sealed = |key: &[u8; 4]| Bytes::from([b"\x01", &key[..]].concat());
    place.store(NewEvent { sealed_key: sealed(b"key1"), ..event_with(1, sealed(b"key1")) }).await;
    place.store(event(2)).await;
    let before = place.inbox.sealed_otherwise(*b"key2", 0, 10).await.unwrap();
    assert_eq!(before.iter().map(|row| row.id).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(place.inbox.sealed_otherwise(*b"key1", 0, 10).await.unwrap(), [before[1].clone()]);
    assert!(!place.inbox.remove_key_record(*b"key1").await.unwrap());
    let after = SealedBody { sealed_key: sealed(b"key2"), sealed: Some(sealed(b"key2")), ..before[0].clone() };
    let other = SealedBody { sealed: None, ..before[0].clone() };
    assert!(!place.inbox.reseal(other, after.clone()).await.unwrap());
    assert!(place.inbox.reseal(before[0].clone(), after.clone()).await.unwrap());
    assert!(!place.inbox.reseal(before[0].clone(), after.clone()).await.unwrap());
    assert_eq!(place.inbox.body(1, audit("body")).await.unwrap(), Some(after));
    assert!(place.inbox.remove_key_record(*b"key1").await.unwrap());
}

/// A done event is finished again by the same lease if the answer was lost.
#[tokio::test]
async fn the_body_of_an_event_that_is_done_is_deleted_by_the_same_lease() {
    let place = Place::new().await;
    let id = place.store(event(1)).await;
    place.lease(1, false).await.unwrap();
    for keep_body in [true, false, false] {
        assert_eq!(
            place.inbox.finish(LeaseId::first(id, token(1)), Ending::Done, keep_body).await.unwrap(),
            Settled::Settled
        );
        assert_eq!(place.counts().await, [1, 1, keep_body.into()]);
    }
    assert_eq!(place.inbox.finish(LeaseId::first(id, token(2)), Ending::Done, false).await.unwrap(), Settled::Lost);
    assert_eq!(place.inbox.replay(id, audit("replay")).await.unwrap(), Operated::NoBody);
}

#[tokio::test]
async fn an_inbox_is_counted_without_being_opened() {
    let place = Place::new().await;
    place.store(event(1)).await;
    let other = SqliteStore::builder().clock(place.clock.clone()).open(place.path()).await.unwrap();
    assert_eq!(other.inbox_counts().await.unwrap().unwrap().endpoints[0].waiting, 1);
    let without = SqliteStore::open(place.folder.path().join("without.db")).await.unwrap();
    assert_eq!(without.inbox_counts().await.unwrap(), None);
}

#[tokio::test]
async fn an_event_is_stored_again_from_the_moment_at_which_its_record_or_claim_expires() {
    let place = Place::new().await;
    let moment = Duration::from_millis(1);
    let id = place.store(event(1)).await;
    place.lease(9, false).await.unwrap();
    place.inbox.finish(LeaseId::first(id, token(9)), Ending::Done, false).await.unwrap();
    let again = || place.inbox.store_event(NewEvent { token: token(2), ..event(1) });
    place.clock.advance(HOUR * 24 - moment);
    assert_eq!(again().await.unwrap(), StoreResult::Duplicate);
    place.clock.advance(moment);
    assert!(matches!(again().await.unwrap(), StoreResult::Stored { .. }));

    assert_eq!(place.store.claim(key(3), token(3), LEASE).await.unwrap(), Claimed::Acquired);
    let again = || place.inbox.store_event(NewEvent { token: token(4), ..event(3) });
    place.clock.advance(LEASE - moment);
    assert_eq!(again().await.unwrap(), StoreResult::InFlight { retry_after: moment });
    place.clock.advance(moment);
    assert!(matches!(again().await.unwrap(), StoreResult::Stored { .. }));
}

#[tokio::test]
async fn few_long_bodies_are_read_at_once_to_be_resealed() {
    let place = Place::new().await;
    for (number, length) in [(1, 1 << 20), (2, 1), (3, 1)] {
        place.store(event_with(number, vec![1; length].into())).await;
    }
    assert_eq!(place.inbox.sealed_otherwise([9; 4], 0, 8).await.unwrap().len(), 2, "more than 1 MiB");
    assert_eq!(place.inbox.sealed_otherwise([9; 4], 1, 8).await.unwrap().len(), 2);
}

#[test]
fn the_bodies_of_a_rekeying_count_in_the_queue() {
    let body = |sealed: Option<Bytes>| SealedBody {
        id: 1,
        endpoint: "acme".into(),
        row_key: [1; 32],
        stored_by: token(1),
        sealed_key: Bytes::from_static(b"key"),
        sealed,
    };
    let bodies = [body(Some(vec![1; 1000].into())), body(Some(vec![1; 500].into()))];
    assert_eq!(InboxStep::Reseal(Box::new(bodies)).bytes(), 1500);
    assert_eq!(InboxStep::Reseal(Box::new([body(None), body(None)])).bytes(), 0);
    assert_eq!(InboxStep::SealedOtherwise([1; 4], 0, 8).bytes(), BATCH_BYTES);
}
