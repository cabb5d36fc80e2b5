//! Queued bodies are limited by their bytes.

use futures_util::future::join_all;
use tokio::sync::oneshot;

use super::super::super::writer::{Op, fitting};
use super::super::work::QUEUE_BYTES;
use super::*;
use crate::dedupe::DedupeStore;
use crate::dedupe::inbox::store::CountOf;

fn op(length: usize) -> Op {
    let step = Step::StoreEvent(Box::new(event_with(1, Bytes::from(vec![0; length]))));
    Op { step, reply: oneshot::channel().0, _bytes: None }
}

#[test]
fn a_batch_has_up_to_4_mib_of_bodies_or_one_longer_one() {
    const MIB: usize = 1 << 20;
    for (lengths, fit) in [
        (vec![MIB; 6], 4),
        (vec![5 * MIB, 1], 1),
        (vec![1, 5 * MIB, 1], 1),
        (vec![4 * MIB, 1], 1),
        (vec![4 * MIB - 1, 1, 1], 2),
        (vec![0; 256], 256),
    ] {
        let ops: Vec<Op> = lengths.iter().copied().map(op).collect();
        assert_eq!(fitting(&ops), fit, "{lengths:?}");
    }
}

#[tokio::test]
async fn callers_wait_while_32_mib_of_bodies_are_queued_but_other_operations_do_not() {
    let place = Place::new().await;
    let mut other = place.other().await;
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let body = Bytes::from(vec![0; 1 << 20]);
    let stored: Vec<_> = (0..40)
        .map(|n| {
            let inbox = SqliteInbox(place.store.clone());
            let event = event_with(n, body.clone());
            tokio::spawn(async move { inbox.store_event(event).await })
        })
        .collect();
    while place.store.bytes.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    let queued = place.store.queue.max_capacity() - place.store.queue.capacity();
    assert!(queued <= (QUEUE_BYTES >> 20) as usize, "{queued}");
    // Operations without a body are not held up by the bodies that wait.
    let counts = tokio::spawn({
        let inbox = SqliteInbox(place.store.clone());
        async move { inbox.counts(CountOf::All).await }
    });
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    counts.await.unwrap().unwrap();
    for stored in stored {
        assert!(matches!(stored.await.unwrap().unwrap(), StoreResult::Stored { .. }));
    }
    // The permit of an operation is returned shortly after its answer.
    while place.store.bytes.available_permits() < QUEUE_BYTES as usize {
        tokio::task::yield_now().await;
    }
    assert_eq!(place.counts().await, [40, 40, 40]);
}

#[tokio::test]
async fn a_body_that_is_longer_than_the_queue_is_stored() {
    let place = Place::new().await;
    place.store(event_with(1, Bytes::from(vec![0; QUEUE_BYTES as usize + 1]))).await;
}

/// Returns the number of transactions in the write-ahead log: a frame that ends one has the size of the database.
fn commits(place: &Place) -> usize {
    let log = std::fs::read(format!("{}-wal", place.path().display())).unwrap();
    let page = u32::from_be_bytes(log[8..12].try_into().unwrap()) as usize;
    log[32..].chunks(24 + page).filter(|frame| frame[4..8] != [0; 4]).count()
}

#[tokio::test]
async fn events_that_wait_at_the_same_time_share_one_commit() {
    let place = Place::new().await;
    place.inbox.truncate_log().await.unwrap();
    let mut other = place.other().await;
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let stored: Vec<_> = (0..50)
        .map(|n| {
            let inbox = SqliteInbox(place.store.clone());
            tokio::spawn(async move { inbox.store_event(event(n)).await })
        })
        .collect();
    let bytes: usize = (0..50).map(|n| event(n).sealed.len()).sum();
    while place.store.bytes.available_permits() + bytes > QUEUE_BYTES as usize {
        tokio::task::yield_now().await;
    }
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    for stored in stored {
        stored.await.unwrap().unwrap();
    }
    // The writer may have begun with the first of them.
    let commits = commits(&place);
    assert!((1..=2).contains(&commits), "{commits}");
    assert_eq!(place.counts().await, [50, 50, 50]);
}

/// Each gets its own answer and its own body, whatever the others are.
#[tokio::test]
async fn many_events_are_stored_together() {
    let place = Place::new().await;
    place.store.claim(key(1), token(1_001), LEASE).await.unwrap();
    place.store.claim(key(2), token(1_002), LEASE).await.unwrap();
    place.store.commit(key(2), token(1_002), Retention::new(HOUR, HOUR)).await.unwrap();
    let earlier = place.store(event(3)).await;
    let again = |n| NewEvent { token: token(n + 2_000), ..event(n) };
    // Each number of 10 to 299 is stored, and some are repeated with the same or another token.
    let mut events: Vec<NewEvent> = vec![event(1), event(2), event(3), again(3)];
    events.extend((10..300).chain(10..50).map(event));
    events.extend((50..90).map(again));
    let numbers = [1, 2, 3, 3].into_iter().chain(10..300).chain(10..90);
    let tokens: Vec<ClaimToken> = events.iter().map(|event| event.token).collect();
    let results = join_all(events.into_iter().map(|event| place.inbox.store_event(event))).await;
    let results: Vec<StoreResult> = results.into_iter().map(Result::unwrap).collect();

    assert!(matches!(results[0], StoreResult::InFlight { .. }), "{:?}", results[0]);
    assert_eq!(results[1..4], [StoreResult::Duplicate, StoreResult::Stored { id: earlier }, StoreResult::Duplicate]);
    let (new, repeated) = results[4..].split_at(290);
    let (same, others) = repeated.split_at(40);
    assert_eq!(same, &new[..40]);
    for (one, other) in new[40..].iter().zip(others) {
        assert_eq!([one, other].iter().filter(|result| ***result == StoreResult::Duplicate).count(), 1);
    }
    let stored =
        results.iter().zip(numbers).zip(tokens).skip(4).filter(|((result, _), _)| **result != StoreResult::Duplicate);
    for ((result, n), stored_by) in stored {
        let StoreResult::Stored { id } = *result else { panic!("{result:?}") };
        let body = place.inbox.body(id, audit("body")).await.unwrap().unwrap();
        assert_eq!((body.row_key, body.stored_by, body.sealed), (*key(n).as_bytes(), stored_by, Some(event(n).sealed)));
    }
    assert_eq!(place.counts().await, [293, 291, 291]);
}
