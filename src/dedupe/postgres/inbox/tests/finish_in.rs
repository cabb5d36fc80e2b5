//! Finishing an event in the application's transaction.

use super::*;
use crate::dedupe::inbox::rules::Status;
use crate::delivery::{InboxPart, StoredAttempt};
use crate::{Custom, Delivery, Receiver, Secret, SharedSecret, Time};

/// Returns a delivery as a worker makes it.
fn delivery(fixture: &Fixture, row: Option<i64>, by: u8) -> Delivery {
    let secret = "0123456789abcdef";
    let custom = Custom::new("acme", SharedSecret::new("x-key"), Secret::new(secret).unwrap()).id_pointer("/id");
    let receiver = Receiver::builder("acme", custom).store(fixture.store.clone()).build().unwrap();
    let headers = [("x-key", secret)];
    let verified = receiver.verify(&headers, Bytes::from(r#"{"id":"1"}"#)).unwrap();
    let delivery = receiver.open(verified).unwrap();
    let attempt = |row| StoredAttempt { row, number: 1, stored_at: Time::from_unix(0), is_replay: false };
    let part = row.map_or(InboxPart::None, |row| InboxPart::Attempt(Box::new(attempt(row))));
    delivery.with_inbox(part).with_claim_token(token(by), Some(fixture.store.inner.id))
}

/// Has an effect and finishes the event in one transaction.
async fn effect(fixture: &Fixture, delivery: &Delivery, commit_in: bool) -> Result<(), String> {
    let mut transaction = fixture.pool.begin().await.unwrap();
    let insert = format!("INSERT INTO {}_effects VALUES (1)", fixture.ns);
    transaction.execute(AssertSqlSafe(insert)).await.unwrap();
    let finished = if commit_in {
        fixture.store.commit_in(&mut transaction, delivery).await
    } else {
        fixture.store.finish_in(&mut transaction, delivery).await
    };
    finished.map_err(|error| error.to_string())?;
    transaction.commit().await.unwrap();
    Ok(())
}

async fn leased() -> (Fixture, i64) {
    let fixture = Fixture::new().await;
    fixture.run("CREATE TABLE {ns}_effects (n integer)").await;
    let id = fixture.stored(1).await;
    fixture.leased(1).await;
    (fixture, id)
}

#[tokio::test]
async fn an_effect_and_the_end_of_its_event_are_committed_together() {
    for commit_in in [false, true] {
        let (fixture, id) = leased().await;
        let delivery = delivery(&fixture, Some(id), 1);
        let mut transaction = fixture.pool.begin().await.unwrap();
        fixture.store.finish_in(&mut transaction, &delivery).await.unwrap();
        transaction.rollback().await.unwrap();
        assert_eq!(fixture.entry(id).await.status, Status::Processing);

        effect(&fixture, &delivery, commit_in).await.unwrap();
        assert_eq!(fixture.entry(id).await.status, Status::Done);
        assert_eq!(fixture.number("SELECT count(*) FROM {ns}_committed").await, 0);
        effect(&fixture, &delivery, commit_in).await.unwrap();
        // The event is done for any later answer of the handler, and the worker deletes its body.
        let retry = Ending::Retry { wait: HOUR, reason: "status_500", counted: true };
        assert_eq!(fixture.inbox.finish(LeaseId::first(id, token(1)), retry, false).await.unwrap(), Settled::Settled);
        assert_eq!(fixture.entry(id).await.status, Status::Done);
        assert_eq!(fixture.numbers().await, [1, 1, 0]);
    }
}

#[tokio::test]
async fn a_lease_that_was_lost_has_no_effect() {
    let (fixture, id) = leased().await;
    fixture.run("UPDATE {ns}_inbox SET due = now() - interval '1 second'").await;
    assert!(fixture.lease(2, true).await.leased.is_some());
    for commit_in in [false, true] {
        let error = effect(&fixture, &delivery(&fixture, Some(id), 1), commit_in).await.unwrap_err();
        assert!(error.starts_with("the claim expired"), "{error}");
    }
    assert_eq!(fixture.entry(id).await.status, Status::Processing);
    effect(&fixture, &delivery(&fixture, Some(id), 2), false).await.unwrap();
    assert_eq!(fixture.number("SELECT count(*) FROM {ns}_effects").await, 1);
}

/// While the application's transaction is open, its lease cannot be taken over, even if it has expired.
#[tokio::test]
async fn a_row_that_is_being_finished_is_not_leased() {
    let (fixture, id) = leased().await;
    fixture.run("UPDATE {ns}_inbox SET due = now() - interval '1 second'").await;
    let mut transaction = fixture.pool.begin().await.unwrap();
    fixture.store.finish_in(&mut transaction, &delivery(&fixture, Some(id), 1)).await.unwrap();
    let answer = fixture.lease(2, true).await;
    assert!(answer.leased.is_none() && answer.crashed.is_none());
    transaction.commit().await.unwrap();
    assert!(!fixture.lease(2, true).await.suspects);
}

#[tokio::test]
async fn a_delivery_of_another_store_or_database_or_without_an_inbox_is_rejected() {
    let (fixture, id) = leased().await;
    let error = effect(&fixture, &delivery(&fixture, None, 1), false).await.unwrap_err();
    assert_eq!(error, "PostgreSQL: finish_in: the delivery is not from an inbox; use `commit_in`");
    let other = Fixture::new().await;
    let error = effect(&fixture, &delivery(&other, Some(id), 1), false).await.unwrap_err();
    assert!(error.starts_with("PostgreSQL: finish_in: the receiver of the delivery has another store"), "{error}");
    fixture.run("CREATE DATABASE {ns}").await;
    let options: sqlx::postgres::PgConnectOptions = url().parse().unwrap();
    let elsewhere = sqlx::postgres::PgPoolOptions::new().connect_with(options.database(&fixture.ns)).await.unwrap();
    let mut transaction = elsewhere.begin().await.unwrap();
    let error = fixture.store.finish_in(&mut transaction, &delivery(&fixture, Some(id), 1)).await.unwrap_err();
    assert!(error.to_string().contains("finish_in: the transaction is on another database"), "{error}");
    assert_eq!(fixture.entry(id).await.status, Status::Processing);
}
