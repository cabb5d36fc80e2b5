//! The effect and the claim in one transaction of the application.

use std::sync::Arc;
use std::time::Duration;

use medhook::{Claimed, DedupeStore, Delivery, MemoryStore, Reason, Receiver, SqliteStore, StoreError};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use super::Sqlite;
use super::processes::{delivery, receiver};
use crate::suite::{Clocked, HOUR, Place, key, token};

const LEASE: Duration = Duration::from_secs(30);

/// Returns an application with a table of its own and one connection.
async fn application(place: &Sqlite) -> (SqlitePool, SqliteStore, Receiver) {
    let options = SqliteConnectOptions::new().filename(place.path()).create_if_missing(true);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    sqlx::query("CREATE TABLE effects (n INTEGER)").execute(&pool).await.unwrap();
    let store = SqliteStore::builder().namespace("app").clock(place.clock().clone()).on(&pool).await.unwrap();
    let receiver = receiver(store.clone(), LEASE);
    (pool, store, receiver)
}

async fn effects(pool: &SqlitePool) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM effects").fetch_one(pool).await.unwrap()
}

/// Has an effect and commits the claim in the same transaction, which is committed if `commit` is set.
async fn effect(pool: &SqlitePool, store: &SqliteStore, delivery: &Delivery, commit: bool) -> Result<(), StoreError> {
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    sqlx::query("INSERT INTO effects VALUES (1)").execute(&mut *transaction).await.unwrap();
    store.commit_in(&mut transaction, delivery).await?;
    if commit {
        transaction.commit().await.unwrap();
    }
    Ok(())
}

/// Handles a delivery with [`effect`] and then returns a status.
async fn handle(
    (pool, store, receiver): &(SqlitePool, SqliteStore, Receiver),
    commit: bool,
    status: u16,
) -> Result<u16, Reason> {
    let admitted = receiver.admit(delivery(receiver)).unwrap();
    let delivery = admitted.delivery().clone();
    let handler = async {
        effect(pool, store, &delivery, commit).await.unwrap();
        status
    };
    admitted.run(handler, |status| *status == 200).await.map_err(|rejection| rejection.reason())
}

#[tokio::test]
async fn a_handler_that_fails_after_its_transaction_was_committed_has_handled_the_event() {
    let place = Sqlite::fresh().await;
    let app = application(&place).await;
    assert_eq!(handle(&app, true, 500).await, Ok(500));
    assert_eq!(handle(&app, true, 200).await, Err(Reason::Duplicate));
    assert_eq!(effects(&app.0).await, 1);
}

#[tokio::test]
async fn rolling_back_the_transaction_removes_the_mark() {
    let place = Sqlite::fresh().await;
    let app = application(&place).await;
    assert_eq!(handle(&app, false, 500).await, Ok(500));
    assert_eq!(effects(&app.0).await, 0);
    assert_eq!(handle(&app, true, 200).await, Ok(200));
    assert_eq!(handle(&app, true, 200).await, Err(Reason::Duplicate));
    assert_eq!(effects(&app.0).await, 1);
}

#[tokio::test]
async fn a_claim_that_was_lost_is_an_error_and_the_effect_is_undone() {
    let place = Sqlite::fresh().await;
    let (pool, store, receiver) = &application(&place).await;
    let admitted = receiver.admit(delivery(receiver)).unwrap();
    let delivery = admitted.delivery().clone();
    let handler = async {
        place.clock().forward(LEASE * 2);
        let other = store.claim(delivery.event_key(), token(1), HOUR).await.unwrap();
        assert_eq!(other, Claimed::Acquired);
        let error = effect(pool, store, &delivery, true).await.unwrap_err();
        assert!(error.is_lost(), "{error}");
        500
    };
    assert_eq!(admitted.run(handler, |_| false).await.unwrap(), 500);
    assert_eq!(effects(pool).await, 0);
    assert_eq!(
        store.claim(delivery.event_key(), token(2), HOUR).await.unwrap(),
        Claimed::InFlight { retry_after: HOUR },
        "the other's claim is as it was"
    );
}

#[tokio::test]
async fn an_event_committed_in_a_transaction_is_kept_for_the_receivers_retention() {
    let place = Sqlite::fresh().await;
    let app = application(&place).await;
    assert_eq!(handle(&app, true, 200).await, Ok(200));
    place.clock().forward(HOUR * 24 - Duration::from_secs(1));
    assert_eq!(handle(&app, true, 200).await, Err(Reason::Duplicate));
    place.clock().forward(Duration::from_secs(1));
    assert_eq!(handle(&app, true, 200).await, Ok(200));
}

#[tokio::test]
async fn a_delivery_that_was_not_admitted_commits_nothing() {
    let place = Sqlite::fresh().await;
    let (pool, store, receiver) = &application(&place).await;
    let error = effect(pool, store, &delivery(receiver), true).await.unwrap_err();
    assert!(error.to_string().contains("not admitted by a receiver"), "{error}");
    assert_eq!(effects(pool).await, 0);
}

#[tokio::test]
async fn a_delivery_of_a_receiver_with_another_store_is_rejected() {
    let place = Sqlite::fresh().await;
    let (pool, store, _) = &application(&place).await;
    let elsewhere = Sqlite::fresh().await;
    let other_file = SqliteStore::builder().namespace("app").open(elsewhere.path()).await.unwrap();
    let others: [(&str, Arc<dyn DedupeStore>); 4] = [
        ("memory", Arc::new(MemoryStore::new(10))),
        ("another namespace", Arc::new(SqliteStore::on(pool).await.unwrap())),
        ("another file", Arc::new(other_file)),
        (
            "the same tables, but another object",
            Arc::new(SqliteStore::builder().namespace("app").on(pool).await.unwrap()),
        ),
    ];
    for (name, other) in others {
        let receiver = receiver(other, LEASE);
        let admitted = receiver.admit(delivery(&receiver)).unwrap();
        let error = effect(pool, store, admitted.delivery(), true).await.expect_err(name).to_string();
        assert!(
            error.starts_with("SQLite store: commit_in: the receiver of the delivery has another store")
                && error.contains("with a clone of this store"),
            "{name}: {error}"
        );
    }
    assert_eq!(effects(pool).await, 0);
    let shared: Arc<dyn DedupeStore> = Arc::new(store.clone());
    let receiver = receiver(shared, LEASE);
    let admitted = receiver.admit(delivery(&receiver)).unwrap();
    effect(pool, store, admitted.delivery(), true).await.unwrap();
}

#[tokio::test]
async fn a_temporary_table_of_the_same_name_changes_no_table() {
    let place = Sqlite::fresh().await;
    let app = application(&place).await;
    let table = "CREATE TEMP TABLE app_events (key BLOB PRIMARY KEY, token BLOB, handled INTEGER, until INTEGER)";
    sqlx::query(table).execute(&app.0).await.unwrap();
    // The process crashes after its transaction was committed, so the receiver does not commit.
    assert_eq!(handle(&app, true, 500).await, Ok(500));
    assert_eq!(handle(&app, true, 200).await, Err(Reason::Duplicate));
    assert_eq!(effects(&app.0).await, 1);
}

#[tokio::test]
async fn a_transaction_on_another_file_is_rejected() {
    let (place, elsewhere) = (Sqlite::fresh().await, Sqlite::fresh().await);
    let (_, store, receiver) = &application(&place).await;
    // It has a store with the same tables.
    let (pool, ..) = &application(&elsewhere).await;
    let attach = format!("ATTACH '{}' AS events", place.path().display());
    for statement in ["SELECT 1", &attach] {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(pool).await.unwrap();
        let admitted = receiver.admit(delivery(receiver)).unwrap();
        let error = effect(pool, store, admitted.delivery(), true).await.unwrap_err().to_string();
        assert!(
            error.starts_with("SQLite store: commit_in: the main database of the transaction is another file"),
            "{error}"
        );
    }
    let in_memory = SqlitePool::connect("sqlite::memory:").await.unwrap();
    let mut transaction = in_memory.begin().await.unwrap();
    let admitted = receiver.admit(delivery(receiver)).unwrap();
    let error = store.commit_in(&mut transaction, admitted.delivery()).await.unwrap_err().to_string();
    assert!(error.contains("is another file"), "{error}");
}

#[tokio::test]
async fn a_transaction_through_another_path_to_the_file_commits_the_event() {
    let place = Sqlite::fresh().await;
    let (_, store, receiver) = &application(&place).await;
    let link = place.path().with_file_name("link.db");
    std::os::unix::fs::symlink(place.path(), &link).unwrap();
    let pool = SqlitePool::connect_with(SqliteConnectOptions::new().filename(link)).await.unwrap();
    let admitted = receiver.admit(delivery(receiver)).unwrap();
    effect(&pool, store, admitted.delivery(), true).await.unwrap();
    assert_eq!(effects(&pool).await, 1);
}

#[tokio::test]
async fn a_store_uses_no_connection_of_the_pool() {
    let place = Sqlite::fresh().await;
    let (pool, store, _) = &application(&place).await;
    let only = pool.acquire().await.unwrap();
    assert_eq!(store.claim(key(1), token(1), HOUR).await.unwrap(), Claimed::Acquired);
    drop(only);
}

#[tokio::test]
async fn a_database_in_memory_is_rejected() {
    for url in ["sqlite::memory:", "sqlite://"] {
        let pool = SqlitePool::connect(url).await.unwrap();
        let line = SqliteStore::on(&pool).await.unwrap_err().to_string();
        assert!(line.contains("is not a file"), "{line}");
    }
}
