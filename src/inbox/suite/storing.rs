//! `store_event`.

use futures_util::future::join_all;

use super::*;
use crate::dedupe::Claimed;

pub(crate) async fn an_event_is_stored_with_its_body_and_its_mark(on: &StoreFixture) {
    let id = on.stored(event(1)).await;
    let row = on.row(id).await;
    assert_eq!((row.endpoint.as_str(), row.provider.as_str()), (ENDPOINT, "fasten"));
    assert_eq!((row.kind.as_str(), row.secret.as_str(), row.size), ("patient.updated", "current", 10));
    assert_eq!((row.status, row.attempts, row.replays), (Status::Waiting, 0, 0));
    assert_eq!((row.due, row.ended_at, row.reason), (Some(row.stored_at), None, None));
    assert_eq!((row.row_key, row.stored_by, row.has_body), (event(1).row_key, token(1), true));
    assert_eq!(row.sealed_key, event(1).sealed_key);
    assert_eq!(on.body(id).await.unwrap().sealed, Some(event(1).sealed));
    assert_eq!(on.store.claim(key(1), token(9), LONG).await.unwrap(), Claimed::AlreadyHandled);
}

pub(crate) async fn a_repeated_call_returns_the_same_id_and_changes_nothing(on: &StoreFixture) {
    let id = on.stored(event(1)).await;
    assert_eq!(on.stored(event(1)).await, id);
    on.leased(id, token(11)).await;
    assert_eq!(on.stored(event(1)).await, id);
    assert_eq!(on.status(id).await, Status::Processing);
    on.finish(id, token(11), Ending::Done).await;
    assert_eq!(on.stored(event(1)).await, id);
    assert_eq!(on.status(id).await, Status::Done);
    assert_eq!(on.all().await, [id]);
    assert!(on.body(id).await.is_none());
}

pub(crate) async fn a_handled_event_is_a_duplicate(on: &StoreFixture) {
    let retention = Retention::new(LONG, LONG);
    assert_eq!(on.store.claim(key(1), token(9), LONG).await.unwrap(), Claimed::Acquired);
    assert_eq!(on.store.commit(key(1), token(9), retention).await.unwrap(), Settled::Settled);
    assert_eq!(on.inbox.store_event(event(1)).await.unwrap(), StoreResult::Duplicate);
    assert!(on.all().await.is_empty());
}

pub(crate) async fn a_stored_event_is_a_duplicate_and_is_not_changed(on: &StoreFixture) {
    let id = on.stored(event(1)).await;
    let again = || NewEvent { token: token(2), sealed: sealed(1, b"other"), kind: "other".to_owned(), ..event(1) };
    assert_eq!(on.inbox.store_event(again()).await.unwrap(), StoreResult::Duplicate);
    on.leased(id, token(11)).await;
    assert_eq!(on.inbox.store_event(again()).await.unwrap(), StoreResult::Duplicate);
    on.finish_with(id, token(11), Ending::Done, true).await;
    assert_eq!(on.inbox.store_event(again()).await.unwrap(), StoreResult::Duplicate);
    assert_eq!(on.all().await, [id]);
    assert_eq!((on.row(id).await.kind, on.row(id).await.stored_by), (event(1).kind, token(1)));
    assert_eq!(on.body(id).await.unwrap().sealed, Some(event(1).sealed));
}

fn short_mark(event: NewEvent) -> NewEvent {
    NewEvent { retention: Retention::new(SHORT, SHORT), ..event }
}

pub(crate) async fn an_unfinished_event_is_a_duplicate_after_its_mark_has_expired(on: &StoreFixture) {
    let id = on.stored(short_mark(event(1))).await;
    expire().await;
    let again = || NewEvent { token: token(2), ..event(1) };
    assert_eq!(on.inbox.store_event(again()).await.unwrap(), StoreResult::Duplicate);
    on.leased(id, token(11)).await;
    assert_eq!(on.inbox.store_event(again()).await.unwrap(), StoreResult::Duplicate);
    assert_eq!(on.all().await, [id]);
}

pub(crate) async fn a_finished_event_is_stored_again_after_its_mark_has_expired(on: &StoreFixture) {
    let done = on.ended(short_mark(event(1)), Ending::Done, false).await;
    let dead = on.ended(short_mark(event(2)), dead(), false).await;
    expire().await;
    let again = [event(1), event(2)].map(|event| NewEvent { token: token(event.token.as_bytes()[0] + 10), ..event });
    for event in again {
        let id = on.stored(event).await;
        assert!(id > done && id > dead);
    }
    assert_eq!(on.all().await.len(), 4);
}

pub(crate) async fn an_event_that_another_instance_handles_is_in_flight(on: &StoreFixture) {
    assert_eq!(on.store.claim(key(1), token(9), LONG).await.unwrap(), Claimed::Acquired);
    match on.inbox.store_event(event(1)).await.unwrap() {
        StoreResult::InFlight { retry_after } => assert!(!retry_after.is_zero() && retry_after <= LONG),
        other => panic!("{other:?}"),
    }
    assert!(on.all().await.is_empty());
    assert_eq!(on.store.renew(key(1), token(9), LONG).await.unwrap(), Settled::Settled);
    assert_eq!(on.store.release(key(1), token(9)).await.unwrap(), Settled::Settled);
    on.stored(event(1)).await;
}

pub(crate) async fn an_expired_claim_is_taken_over_and_its_commit_is_lost(on: &StoreFixture) {
    on.store.claim(key(1), token(9), SHORT).await.unwrap();
    expire().await;
    on.stored(event(1)).await;
    let retention = Retention::new(LONG, LONG);
    assert_eq!(on.store.commit(key(1), token(9), retention).await.unwrap(), Settled::Lost);
    assert_eq!(on.store.release(key(1), token(9)).await.unwrap(), Settled::Lost);
    assert_eq!(on.store.claim(key(1), token(10), LONG).await.unwrap(), Claimed::AlreadyHandled);
}

/// Such a claim was made before the clock was set back, and would block the event for as long as that.
pub(crate) async fn a_claim_that_lasts_longer_than_the_retention_is_taken_over(on: &StoreFixture) {
    let retention = Retention::new(LONG, LONG);
    on.store.claim(key(1), token(9), LONG * 2).await.unwrap();
    on.stored(NewEvent { retention, ..event(1) }).await;
    assert_eq!(on.store.commit(key(1), token(9), retention).await.unwrap(), Settled::Lost);
    on.store.claim(key(2), token(10), LONG - SHORT).await.unwrap();
    let in_flight = on.inbox.store_event(NewEvent { retention, ..event(2) }).await.unwrap();
    assert!(matches!(in_flight, StoreResult::InFlight { .. }), "{in_flight:?}");
}

pub(crate) async fn equal_bodies_with_keys_of_their_own_are_two_rows(on: &StoreFixture) {
    let first = on.stored(event(1)).await;
    let second = on.stored(NewEvent { sealed: event(1).sealed, ..event(2) }).await;
    assert_ne!(first, second);
    let leased = [on.leased(first, token(11)).await, on.leased(second, token(12)).await];
    assert_eq!(leased.map(|leased| leased.body.sealed), [Some(event(1).sealed), Some(event(1).sealed)]);
}

pub(crate) async fn of_concurrent_calls_for_one_event_one_stores_it(on: &StoreFixture) {
    let calls = (1..=8).map(|number| on.inbox.store_event(NewEvent { token: token(number), ..event(1) }));
    let results: Vec<_> = join_all(calls).await.into_iter().map(Result::unwrap).collect();
    let stored = results.iter().filter(|result| matches!(result, StoreResult::Stored { .. })).count();
    let duplicates = results.iter().filter(|result| **result == StoreResult::Duplicate).count();
    assert_eq!((stored, duplicates), (1, 7), "{results:?}");
    assert_eq!(on.all().await.len(), 1);
}

pub(crate) async fn concurrent_calls_with_one_token_store_one_row(on: &StoreFixture) {
    let results = join_all((1..=4).map(|_| on.inbox.store_event(event(1)))).await;
    let ids: Vec<_> = results.into_iter().map(Result::unwrap).collect();
    assert!(matches!(ids[0], StoreResult::Stored { .. }));
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(on.all().await.len(), 1);
}

pub(crate) async fn the_longest_retention_does_not_overflow(on: &StoreFixture) {
    let retention = Retention::new(Duration::MAX, Duration::MAX);
    on.stored(NewEvent { retention, ..event(1) }).await;
    let again = NewEvent { token: token(2), ..event(1) };
    assert_eq!(on.inbox.store_event(again).await.unwrap(), StoreResult::Duplicate);
}

pub(crate) async fn empty_bodies_and_quotes_are_stored_as_they_are(on: &StoreFixture) {
    let kind = "it's; \"quoted\" \\ $1 ?1 %s é 🩺".to_owned();
    let unusual = NewEvent { kind: kind.clone(), sealed: Bytes::new(), sealed_key: Bytes::new(), size: 0, ..event(1) };
    let id = on.stored(unusual).await;
    let leased = on.leased(id, token(11)).await;
    assert_eq!(leased.body.sealed.as_deref(), Some(&[][..]));
    assert_eq!(leased.kind, kind);
    let filter = RowFilter { kind: Some(kind), limit: 10, ..RowFilter::default() };
    assert_eq!(on.list(filter).await, [id]);
}
