//! Finishing an event in the application's transaction.

use sqlx::SqlitePool;
use sqlx::sqlite::SqlitePoolOptions;

use super::*;
use crate::dedupe::Settled;
use crate::dedupe::inbox::rules::{Ending, Status};
use crate::dedupe::inbox::store::{LeaseId, RowFilter};
use crate::delivery::{InboxPart, StoredAttempt};
use crate::{Custom, Delivery, Receiver, Secret, SharedSecret, Time};

/// Returns a delivery as a worker makes it.
fn delivery(place: &Place, row: Option<i64>, n: u16) -> Delivery {
    let secret = "0123456789abcdef";
    let custom = Custom::new("acme", SharedSecret::new("x-key"), Secret::new(secret).unwrap()).id_pointer("/id");
    let receiver = Receiver::builder("acme", custom).store(place.store.clone()).build().unwrap();
    let headers = [("x-key", secret)];
    let verified = receiver.verify(&headers, Bytes::from(r#"{"id":"1"}"#)).unwrap();
    let delivery = receiver.open(verified).unwrap();
    let attempt = |row| StoredAttempt { row, number: 1, stored_at: Time::from_unix(0), is_replay: false };
    let part = row.map_or(InboxPart::None, |row| InboxPart::Attempt(Box::new(attempt(row))));
    delivery.with_inbox(part).with_claim_token(token(n), Some(place.store.id))
}

async fn pool(place: &Place) -> SqlitePool {
    let options = SqliteConnectOptions::new().filename(place.path());
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    sqlx::query("CREATE TABLE effects (n INTEGER)").execute(&pool).await.unwrap();
    pool
}

/// Has an effect and finishes the event in one transaction.
async fn effect(place: &Place, pool: &SqlitePool, delivery: &Delivery, commit_in: bool) -> Result<(), String> {
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    sqlx::query("INSERT INTO effects VALUES (1)").execute(&mut *transaction).await.unwrap();
    let finished = if commit_in {
        place.store.commit_in(&mut transaction, delivery).await
    } else {
        place.store.finish_in(&mut transaction, delivery).await
    };
    finished.map_err(|error| error.to_string())?;
    transaction.commit().await.unwrap();
    Ok(())
}

async fn status(place: &Place, id: i64) -> Status {
    let filter = RowFilter { id: Some(id), limit: 1, ..RowFilter::default() };
    place.inbox.list(filter).await.unwrap()[0].status
}

#[tokio::test]
async fn an_effect_and_the_end_of_its_event_are_committed_together() {
    for commit_in in [false, true] {
        let place = Place::new().await;
        let pool = pool(&place).await;
        let id = place.store(event(1)).await;
        place.lease(1, false).await.unwrap();
        let delivery = delivery(&place, Some(id), 1);

        let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
        place.store.finish_in(&mut transaction, &delivery).await.unwrap();
        transaction.rollback().await.unwrap();
        assert_eq!(status(&place, id).await, Status::Processing);

        effect(&place, &pool, &delivery, commit_in).await.unwrap();
        assert_eq!(status(&place, id).await, Status::Done);
        assert_eq!(place.counts().await, [1, 1, 1], "the store's own connection deletes the body");
        effect(&place, &pool, &delivery, commit_in).await.unwrap();

        // The event is done, also if its handler then fails.
        let retry = Ending::Retry { wait: LEASE, reason: "status_500", counted: true };
        assert_eq!(place.inbox.finish(LeaseId::first(id, token(1)), retry, false).await.unwrap(), Settled::Settled);
        assert_eq!(status(&place, id).await, Status::Done);
        assert_eq!(place.counts().await, [1, 1, 0]);
    }
}

/// The body of an event whose worker died after the application's transaction.
#[tokio::test]
async fn a_purge_deletes_the_body_of_an_event_that_no_worker_has_finished() {
    let place = Place::new().await;
    let pool = pool(&place).await;
    let id = place.store(event(1)).await;
    place.lease(1, false).await.unwrap();
    effect(&place, &pool, &delivery(&place, Some(id), 1), false).await.unwrap();
    let keep = crate::dedupe::inbox::store::Keep { done: Duration::ZERO, dead: None, rows: HOUR };
    assert_eq!(place.inbox.purge("acme".into(), keep).await.unwrap().bodies, 1);
    assert_eq!(place.counts().await, [1, 1, 0]);
}

#[tokio::test]
async fn a_lease_that_was_lost_is_an_error() {
    let place = Place::new().await;
    let pool = pool(&place).await;
    let id = place.store(event(1)).await;
    place.lease(1, false).await.unwrap();
    place.clock.advance(LEASE);
    assert_eq!(place.lease(2, true).await, Some(id));
    for commit_in in [false, true] {
        let error = effect(&place, &pool, &delivery(&place, Some(id), 1), commit_in).await.unwrap_err();
        assert!(error.starts_with("the claim expired"), "{error}");
    }
    assert_eq!(status(&place, id).await, Status::Processing);
    effect(&place, &pool, &delivery(&place, Some(id), 2), false).await.unwrap();
    assert_eq!(place.number("SELECT count(*) FROM effects").await, 1);
}

#[tokio::test]
async fn a_delivery_of_another_store_or_without_an_inbox_is_rejected() {
    let place = Place::new().await;
    let pool = pool(&place).await;
    let id = place.store(event(1)).await;
    place.lease(1, false).await.unwrap();
    let without = delivery(&place, None, 1);
    assert_eq!(
        effect(&place, &pool, &without, false).await.unwrap_err(),
        "SQLite store: finish_in: the delivery is not from an inbox; use `commit_in`"
    );
    let other = Place::new().await;
    let of_other = delivery(&other, Some(id), 1);
    let error = effect(&place, &pool, &of_other, false).await.unwrap_err();
    assert!(error.starts_with("SQLite store: finish_in: the receiver of the delivery has another store"), "{error}");
    let mine = delivery(&place, Some(id), 1);
    let elsewhere = self::pool(&other).await;
    let error = effect(&place, &elsewhere, &mine, false).await.unwrap_err();
    assert!(
        error.starts_with("SQLite store: finish_in: the main database of the transaction is another file"),
        "{error}"
    );
    assert_eq!(status(&place, id).await, Status::Processing);
}

#[tokio::test]
async fn an_event_that_was_given_back_is_not_finished() {
    let place = Place::new().await;
    let pool = pool(&place).await;
    let id = place.store(event(1)).await;
    place.lease(1, false).await.unwrap();
    let retry = Ending::Retry { wait: LEASE, reason: "stopped", counted: false };
    place.inbox.finish(LeaseId::first(id, token(1)), retry, false).await.unwrap();
    let error = effect(&place, &pool, &delivery(&place, Some(id), 1), false).await.unwrap_err();
    assert!(error.starts_with("the claim expired"), "{error}");
    assert_eq!(status(&place, id).await, Status::Waiting);
}
