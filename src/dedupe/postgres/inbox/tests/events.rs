//! Events, stored and leased.

use super::*;
use crate::dedupe::{Claimed, DedupeStore};

#[tokio::test]
async fn an_event_is_stored_once() {
    let fixture = Fixture::new().await;
    let id = fixture.stored(1).await;
    assert_eq!(fixture.inbox.store_event(event(1, 1)).await.unwrap(), StoreResult::Stored { id });
    assert_eq!(fixture.inbox.store_event(event(1, 2)).await.unwrap(), StoreResult::Duplicate);
    assert_eq!(fixture.numbers().await, [1, 1, 1]);
    // Also when a worker has finished it, and for an instance without an inbox.
    let leased = fixture.leased(9).await;
    fixture.inbox.finish(LeaseId::first(leased.body.id, token(9)), Ending::Done, false).await.unwrap();
    assert_eq!(fixture.inbox.store_event(event(1, 1)).await.unwrap(), StoreResult::Stored { id });
    assert_eq!(fixture.inbox.store_event(event(1, 2)).await.unwrap(), StoreResult::Duplicate);
    assert_eq!(fixture.store.claim(key(1), token(3), HOUR).await.unwrap(), Claimed::AlreadyHandled);
    assert_eq!(fixture.numbers().await, [1, 1, 0]);
}

#[tokio::test]
async fn of_many_that_store_one_event_at_once_one_does() {
    let fixture = Fixture::new().await;
    let tasks: Vec<_> = (1..=40)
        .map(|by| {
            let inbox = fixture.inbox.clone();
            tokio::spawn(async move { inbox.store_event(event(1, by % 20 + 1)).await.unwrap() })
        })
        .collect();
    let mut stored = 0;
    for task in tasks {
        stored += usize::from(matches!(task.await.unwrap(), StoreResult::Stored { .. }));
    }
    // Each token is used twice.
    assert_eq!(stored, 2);
    assert_eq!(fixture.numbers().await, [1, 1, 1]);
}

#[tokio::test]
async fn an_event_that_an_instance_without_an_inbox_has_is_not_stored() {
    let fixture = Fixture::new().await;
    assert_eq!(fixture.store.claim(key(1), token(7), HOUR).await.unwrap(), Claimed::Acquired);
    let StoreResult::InFlight { retry_after } = fixture.inbox.store_event(event(1, 1)).await.unwrap() else {
        panic!("a claim is held");
    };
    assert!(retry_after <= HOUR && retry_after > HOUR / 2, "{retry_after:?}");
    assert_eq!(fixture.numbers().await, [0, 0, 0]);
    // Its effect is in a transaction of the application, and it stopped before its commit.
    fixture
        .run(r"INSERT INTO {ns}_committed VALUES (decode(repeat('02', 32), 'hex'), '\x07', now() + interval '1 hour')")
        .await;
    assert_eq!(fixture.inbox.store_event(event(2, 2)).await.unwrap(), StoreResult::Duplicate);
    // A claim that has expired or was released is taken over, and its holder finds out.
    fixture.store.release(key(1), token(7)).await.unwrap();
    fixture.stored(1).await;
    fixture.store.claim(key(3), token(8), Duration::from_millis(1)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    fixture.stored(3).await;
    let retention = Retention::new(HOUR, HOUR);
    assert_eq!(fixture.store.commit(key(3), token(8), retention).await.unwrap(), Settled::Lost);
    assert_eq!(fixture.store.release(key(3), token(8)).await.unwrap(), Settled::Lost);
    assert_eq!(fixture.inbox.store_event(event(3, 9)).await.unwrap(), StoreResult::Duplicate);
}

#[tokio::test]
async fn a_failure_of_the_mark_the_row_the_body_or_the_commit_leaves_nothing() {
    let fixture = Fixture::new().await;
    fixture
        .run(
            "CREATE FUNCTION {ns}_fail() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'the disk is full'; END $$",
        )
        .await;
    for (trigger, table) in [
        ("TRIGGER {ns}_t BEFORE INSERT", "events"),
        ("TRIGGER {ns}_t BEFORE INSERT", "inbox"),
        ("TRIGGER {ns}_t BEFORE INSERT", "inbox_bodies"),
        ("CONSTRAINT TRIGGER {ns}_t AFTER INSERT", "inbox_bodies"),
    ] {
        let deferred = if trigger.starts_with("C") { "DEFERRABLE INITIALLY DEFERRED" } else { "" };
        let create =
            format!("CREATE {trigger} ON {{ns}}_{table} {deferred} FOR EACH ROW EXECUTE FUNCTION {{ns}}_fail()");
        fixture.run(&create).await;
        let error = fixture.inbox.store_event(event(1, 1)).await.unwrap_err().to_string();
        assert!(error.contains("the disk is full"), "{error}");
        assert_eq!(fixture.numbers().await, [0, 0, 0], "{trigger} on {table}");
        fixture.run(&format!("DROP TRIGGER {{ns}}_t ON {{ns}}_{table}")).await;
    }
    fixture.stored(1).await;
    assert_eq!(fixture.numbers().await, [1, 1, 1]);
}

#[tokio::test]
async fn events_are_leased_by_their_time_and_skip_locked_ones() {
    let fixture = Fixture::new().await;
    let first = fixture.stored(1).await;
    let second = fixture.stored(2).await;
    let mut transaction = fixture.pool.begin().await.unwrap();
    let lock = format!("SELECT FROM {}_inbox WHERE id = {first} FOR UPDATE", fixture.ns);
    transaction.execute(AssertSqlSafe(lock)).await.unwrap();
    assert_eq!(fixture.leased(5).await.body.id, second);
    let answer = fixture.lease(6, false).await;
    assert!(answer.leased.is_none() && answer.next_due == Some(Duration::from_millis(20)), "{answer:?}");
    transaction.rollback().await.unwrap();
    assert_eq!(fixture.leased(6).await.body.id, first);
}

#[tokio::test]
async fn a_finish_does_not_wait_for_a_transaction_of_the_application() {
    let ns = unique();
    let store = PostgresStore::builder().namespace(&ns).step_timeout(Duration::from_secs(3));
    let fixture = Fixture::on(store.connect(&url()).await.unwrap(), ns).await;
    let id = fixture.stored(1).await;
    fixture.leased(5).await;
    let mut transaction = fixture.pool.begin().await.unwrap();
    let lock = format!("SELECT FROM {}_inbox WHERE id = {id} FOR UPDATE", fixture.ns);
    transaction.execute(AssertSqlSafe(lock)).await.unwrap();
    let error = fixture.inbox.finish(LeaseId::first(id, token(5)), Ending::Done, false).await.unwrap_err().to_string();
    assert!(error.contains("lock timeout"), "{error}");
    transaction.rollback().await.unwrap();
    assert_eq!(
        fixture.inbox.finish(LeaseId::first(id, token(5)), Ending::Done, false).await.unwrap(),
        Settled::Settled
    );
}

#[tokio::test]
async fn operations_are_repeated_when_their_connection_is_broken() {
    let ns = unique();
    let application =
        format!("{}&application_name={ns}", url()).replacen('&', if url().contains('?') { "&" } else { "?" }, 1);
    let store = PostgresStore::builder().namespace(&ns).connect(&application).await.unwrap();
    let fixture = Fixture::on(store, ns.clone()).await;
    let break_connections =
        format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = '{ns}'");
    fixture.number(&break_connections).await;
    let id = fixture.stored(1).await;
    for action in ["discard", "replay"] {
        fixture.number(&break_connections).await;
        let operated = match action {
            "discard" => fixture.inbox.discard(id, audit(action)).await,
            _ => fixture.inbox.replay(id, audit(action)).await,
        };
        assert!(operated.is_ok(), "{operated:?}");
    }
    fixture.number(&break_connections).await;
    assert!(fixture.lease(5, false).await.leased.is_none());
    assert_eq!(fixture.inbox.audit_entries(0, 10).await.unwrap().len(), 1);
}

/// The answer of a COMMIT is lost if the connection breaks during it.
#[tokio::test]
async fn an_operation_without_an_answer_is_repeated_unless_that_would_have_another_effect() {
    let fixture = Fixture::new().await;
    let id = fixture.stored(1).await;
    fixture
        .run(
            "CREATE SEQUENCE {ns}_tries;
            CREATE FUNCTION {ns}_break() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM nextval('{ns}_tries'); PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;
            CREATE CONSTRAINT TRIGGER {ns}_t AFTER INSERT OR UPDATE ON {ns}_inbox DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION {ns}_break()",
        )
        .await;
    let tries = async || {
        let tries = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {ns}_tries";
        let tries = fixture.number(tries).await;
        fixture.run("ALTER SEQUENCE {ns}_tries RESTART").await;
        tries
    };
    assert!(fixture.inbox.store_event(event(2, 2)).await.is_err());
    assert_eq!(tries().await, 3);
    assert!(fixture.inbox.lease(request(5, false)).await.is_err());
    assert_eq!(tries().await, 3);
    assert!(fixture.inbox.replay(id, audit("replay")).await.is_err());
    assert_eq!(tries().await, 1);
    assert_eq!(fixture.numbers().await, [1, 1, 1]);
}

#[tokio::test]
async fn a_token_never_has_two_rows() {
    let fixture = Fixture::new().await;
    let first = fixture.stored(1).await;
    fixture.stored(2).await;
    // An earlier transaction with the token that waits in its COMMIT.
    let mut transaction = fixture.pool.begin().await.unwrap();
    let lease = format!(
        "UPDATE {}_inbox SET status = 1, token = decode(repeat('05', 16), 'hex'), due = now() + interval '1 hour'
        WHERE id = {first}",
        fixture.ns
    );
    transaction.execute(AssertSqlSafe(lease)).await.unwrap();
    let inbox = fixture.inbox.clone();
    let second = tokio::spawn(async move { inbox.lease(request(5, false)).await });
    let waits =
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%UPDATE%{ns}_inbox%'";
    while fixture.number(waits).await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    transaction.commit().await.unwrap();
    let error = second.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("_inbox_token"), "{error}");
    assert_eq!(fixture.leased(5).await.body.id, first);
}

#[tokio::test]
async fn a_process_that_stands_still_in_a_transaction_holds_its_lock_for_a_limited_time() {
    let ns = unique();
    let store = PostgresStore::builder().namespace(&ns).step_timeout(Duration::from_millis(600));
    let fixture = Fixture::on(store.connect(&url()).await.unwrap(), ns).await;
    fixture.stored(1).await;
    let mut stopped = fixture.store.inner.inbox.sessions.open_in_time().await.unwrap();
    stopped.execute("BEGIN").await.unwrap();
    let lock = format!("SELECT FROM {}_inbox FOR UPDATE", fixture.ns);
    stopped.execute(AssertSqlSafe(lock)).await.unwrap();
    assert!(fixture.lease(5, false).await.leased.is_none());
    while fixture.lease(5, false).await.leased.is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let error = stopped.execute("COMMIT").await.unwrap_err().to_string();
    assert!(error.contains("idle-in-transaction timeout"), "{error}");
}
