//! A fault of any part of a transaction leaves nothing of the event.

use super::*;
use crate::dedupe::inbox::store::Operated;
use crate::dedupe::{Claimed, DedupeStore};

/// Stores an event while `trigger` makes a part of it fail, and again without it.
async fn fails_whole(trigger: &str, message: &str) {
    let place = Place::new().await;
    place.run(trigger).await;
    let error = place.inbox.store_event(event(1)).await.unwrap_err();
    assert!(error.to_string().contains(message), "{error}");
    assert!(!error.is_full());
    assert_eq!(place.counts().await, [0, 0, 0]);
    place.run("DROP TRIGGER fault").await;
    place.store(event(1)).await;
    assert_eq!(place.counts().await, [1, 1, 1]);
}

fn trigger(table: &str) -> String {
    format!("CREATE TRIGGER fault BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'a fault of {table}'); END")
}

#[tokio::test]
async fn an_event_whose_mark_cannot_be_written_is_not_stored() {
    fails_whole(&trigger("medhook_events"), "a fault of medhook_events").await;
}

#[tokio::test]
async fn an_event_whose_row_cannot_be_written_is_not_stored() {
    fails_whole(&trigger("medhook_inbox"), "a fault of medhook_inbox").await;
}

#[tokio::test]
async fn an_event_whose_body_cannot_be_written_is_not_stored() {
    fails_whole(&trigger("medhook_inbox_bodies"), "a fault of medhook_inbox_bodies").await;
}

#[tokio::test]
async fn an_event_whose_commit_fails_is_not_stored() {
    let deferred = "CREATE TABLE other (id INTEGER PRIMARY KEY);
        CREATE TABLE checked (id INTEGER REFERENCES other (id) DEFERRABLE INITIALLY DEFERRED);
        CREATE TRIGGER fault AFTER INSERT ON medhook_inbox BEGIN INSERT INTO checked VALUES (1); END";
    fails_whole(deferred, "FOREIGN KEY constraint failed").await;
}

/// The event of one caller does not fail those of the others in its transaction.
#[tokio::test]
async fn an_event_that_cannot_be_stored_fails_alone() {
    let place = Place::new().await;
    place
        .run(
            "CREATE TRIGGER fault BEFORE INSERT ON medhook_inbox WHEN NEW.kind = 'faulty' \
             BEGIN SELECT RAISE(ABORT, 'faulty'); END",
        )
        .await;
    let faulty = NewEvent { kind: "faulty".into(), ..event(2) };
    let (one, faulty, three, claim) = tokio::join!(
        place.inbox.store_event(event(1)),
        place.inbox.store_event(faulty),
        place.inbox.store_event(event(3)),
        place.store.claim(key(4), token(4), LEASE),
    );
    assert!(faulty.unwrap_err().to_string().contains("faulty"));
    assert!(matches!(one, Ok(StoreResult::Stored { .. })) && matches!(three, Ok(StoreResult::Stored { .. })));
    assert_eq!(claim.unwrap(), Claimed::Acquired);
    assert_eq!(place.counts().await, [3, 2, 2]);
}

#[tokio::test]
async fn a_full_disk_is_a_full_store_and_nothing_is_stored() {
    let place = Place::new().await;
    place.store(event(1)).await;
    let pages = place.number("PRAGMA page_count").await;
    place.store.ask(Step::Inbox(InboxStep::Pragma(format!("PRAGMA max_page_count = {pages}")))).await.unwrap();
    let long = event_with(2, Bytes::from(vec![7; 1 << 20]));
    let error = place.inbox.store_event(long).await.unwrap_err();
    assert!(error.is_full(), "{error}");
    assert!(error.to_string().starts_with("SQLite store: no space left on the disk"), "{error}");
    assert_eq!(place.counts().await, [1, 1, 1]);
    place.store.ask(Step::Inbox(InboxStep::Pragma("PRAGMA max_page_count = 1000000".into()))).await.unwrap();
    place.store(event(2)).await;
}

/// The log is truncated after COMMIT, so that its fault is not one of the operations in the transaction.
#[tokio::test]
async fn a_log_that_cannot_be_truncated_fails_no_other_operation() {
    let place = Place::new().await;
    let id = place.store(event(1)).await;
    // The log of an attached database that is read-only cannot be copied into it.
    let path = place.folder.path().join("other.db");
    let mut other = SqliteConnectOptions::new().filename(&path).create_if_missing(true).connect().await.unwrap();
    sqlx::raw_sql("PRAGMA journal_mode = WAL; CREATE TABLE t (n)").execute(&mut other).await.unwrap();
    let attach = format!("ATTACH 'file:{}?mode=ro' AS other; SELECT * FROM other.t", path.display());
    place.store.ask(Step::Inbox(InboxStep::Pragma(attach))).await.unwrap();
    let (discarded, truncated) = tokio::join!(place.inbox.discard(id, audit("discard")), place.inbox.truncate_log());
    // If it was repeated, it would find the event discarded.
    assert_eq!(discarded.unwrap(), Operated::Done);
    assert!(truncated.is_err());
    assert_eq!(place.counts().await, [1, 1, 0]);
    place.store(event(2)).await;
    place.inbox.truncate_log().await.unwrap();
}
