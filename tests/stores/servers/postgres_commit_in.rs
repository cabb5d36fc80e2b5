//! The effect and the mark in one transaction of the application: one effect for each event, even if a lease expires.

use std::sync::Arc;
use std::time::Duration;

use medhook::{
    ClaimToken, Claimed, DedupeStore, Delivery, DeliveryRecord, EventKey, MemoryStore, NoDedupe, PostgresStore, Reason,
};
use medhook::{Retention, Settled, StoreError, StoreFuture, StoreId};
use medhook_tests::servers::{Server, shared_postgres};
use sqlx::{AssertSqlSafe, Executor, PgPool, Postgres, Row, Transaction};

use super::away::Endpoint;
use super::unique;
use crate::suite::{HOUR, retention, token};

/// A store in the application's database, and a table for effects.
struct Application {
    pool: PgPool,
    store: PostgresStore,
    namespace: String,
}

impl Application {
    async fn new() -> Self {
        let (pool, namespace) = (PgPool::connect(&shared_postgres()).await.unwrap(), unique());
        // With one connection, a blocked connection is noticed. The timeout exceeds the locks that a test holds.
        let builder = PostgresStore::builder().namespace(&namespace).max_connections(1).step_timeout(HOUR / 60);
        let store = builder.on(&pool).await.unwrap();
        pool.execute(AssertSqlSafe(format!("CREATE TABLE {namespace}_effects (by int)"))).await.unwrap();
        Application { pool, store, namespace }
    }

    async fn begin(&self, by: i32) -> Transaction<'static, Postgres> {
        let mut transaction = self.pool.begin().await.unwrap();
        let effect = format!("INSERT INTO {}_effects VALUES ({by})", self.namespace);
        transaction.execute(AssertSqlSafe(effect)).await.unwrap();
        transaction
    }

    async fn effects(&self) -> Vec<i32> {
        let effects = format!("SELECT by FROM {}_effects ORDER BY by", self.namespace);
        let rows = sqlx::query(AssertSqlSafe(effects)).fetch_all(&self.pool).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Waits until a query on this test's tables waits for a lock.
    async fn until_a_query_waits(&self) {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE $1";
        let began = std::time::Instant::now();
        loop {
            let row = sqlx::query(waiting).bind(format!("%{}%", self.namespace)).fetch_one(&self.pool).await.unwrap();
            if row.get::<i64, _>(0) > 0 {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(120), "no query waits for a lock");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Returns two admitted deliveries of one event, each with its own claim token.
fn twice(endpoint: &Endpoint) -> [Delivery; 2] {
    [0, 1].map(|_| endpoint.receiver().admit(endpoint.delivery(1)).unwrap().delivery().clone())
}

async fn claim(store: &PostgresStore, delivery: &Delivery, lease: Duration) -> Claimed {
    store.claim(delivery.event_key(), delivery.claim_token().unwrap(), lease).await.unwrap()
}

fn is_lost(result: Result<(), StoreError>) -> bool {
    result.unwrap_err().is_lost()
}

#[tokio::test]
async fn effect_and_mark_are_committed_together_or_not_at_all() {
    let app = Application::new().await;
    let endpoint = Endpoint::new(app.store.clone());
    for (by, commit) in [(1, false), (2, true)] {
        let admitted = endpoint.receiver().admit(endpoint.delivery(1)).unwrap();
        let delivery = admitted.delivery().clone();
        let handler = async {
            let mut transaction = app.begin(by).await;
            app.store.commit_in(&mut transaction, &delivery).await.unwrap();
            app.store.commit_in(&mut transaction, &delivery).await.unwrap();
            if commit {
                transaction.commit().await.unwrap();
            }
            commit
        };
        assert_eq!(admitted.run(handler, |done| *done).await.unwrap(), commit);
    }
    assert_eq!(app.effects().await, [2]);
    assert_eq!(endpoint.deliver(1).await.unwrap_err().reason(), Reason::Duplicate);
}

#[tokio::test]
async fn a_process_that_dies_after_its_transaction_has_handled_the_event() {
    let app = Application::new().await;
    let [first, second] = twice(&Endpoint::new(app.store.clone()));
    assert_eq!(claim(&app.store, &first, HOUR).await, Claimed::Acquired);
    let mut transaction = app.begin(1).await;
    app.store.commit_in(&mut transaction, &first).await.unwrap();
    transaction.commit().await.unwrap();
    // The receiver sends no commit, and the lease need not expire.
    assert_eq!(claim(&app.store, &second, HOUR).await, Claimed::AlreadyHandled);
    let (key, late) = (first.event_key(), first.claim_token().unwrap());
    assert_eq!(app.store.release(key, late).await.unwrap(), Settled::Settled);
    assert_eq!(claim(&app.store, &second, HOUR).await, Claimed::AlreadyHandled, "nothing undoes it");
    assert_eq!(app.store.commit(key, token(9), retention(HOUR)).await.unwrap(), Settled::Lost);
    assert_eq!(app.store.renew(key, token(9), HOUR).await.unwrap(), Settled::Lost);
}

#[tokio::test]
async fn no_step_waits_for_the_open_transaction() {
    let app = Application::new().await;
    let [first, second] = twice(&Endpoint::new(app.store.clone()));
    assert_eq!(claim(&app.store, &first, HOUR).await, Claimed::Acquired);
    let mut transaction = app.begin(1).await;
    app.store.commit_in(&mut transaction, &first).await.unwrap();
    let (key, token) = (first.event_key(), first.claim_token().unwrap());
    // The renewal must wait neither for the store's only connection nor, up to a minute, for a lock.
    assert_eq!(app.store.renew(key, token, HOUR).await.unwrap(), Settled::Settled);
    assert!(matches!(claim(&app.store, &second, HOUR).await, Claimed::InFlight { .. }));
    assert_eq!(app.store.commit(key, token, retention(HOUR)).await.unwrap(), Settled::Settled);
    transaction.commit().await.unwrap();
}

#[tokio::test]
async fn one_of_two_handlers_after_an_expired_lease_has_an_effect() {
    for first_commits in [true, false] {
        let app = Application::new().await;
        let [first, second] = twice(&Endpoint::new(app.store.clone()));
        assert_eq!(claim(&app.store, &first, Duration::from_millis(1)).await, Claimed::Acquired);
        // The lease of the first holder expires here, and another delivery acquires the event.
        let mut one = app.begin(1).await;
        app.store.commit_in(&mut one, &first).await.unwrap();
        while claim(&app.store, &second, HOUR).await != Claimed::Acquired {}
        let mut other = app.begin(2).await;
        let later = app.store.commit_in(&mut other, &second);
        let ended = async {
            app.until_a_query_waits().await;
            if first_commits { one.commit().await.unwrap() } else { one.rollback().await.unwrap() }
        };
        let (later, ()) = tokio::join!(later, ended);
        if first_commits {
            assert!(is_lost(later));
            other.rollback().await.unwrap();
        } else {
            later.unwrap();
            other.commit().await.unwrap();
        }
        assert_eq!(app.effects().await, [if first_commits { 1 } else { 2 }]);
    }
}

#[tokio::test]
async fn a_handler_that_lost_its_claim_has_no_effect() {
    let app = Application::new().await;
    let [first, second] = twice(&Endpoint::new(app.store.clone()));
    assert_eq!(claim(&app.store, &first, Duration::from_millis(1)).await, Claimed::Acquired);
    while claim(&app.store, &second, HOUR).await != Claimed::Acquired {}
    let mut transaction = app.begin(1).await;
    assert!(is_lost(app.store.commit_in(&mut transaction, &first).await), "the second is at work");
}

/// A claim reads the committed state and is then blocked. The first holder's transaction commits and its claim is
/// released before the claim is written. The claim is therefore acquired although the event is handled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_acquired_from_an_old_snapshot_has_no_second_effect() {
    let app = Application::new().await;
    let [first, second] = twice(&Endpoint::new(app.store.clone()));
    assert_eq!(claim(&app.store, &first, HOUR).await, Claimed::Acquired);
    let mut one = app.begin(1).await;
    app.store.commit_in(&mut one, &first).await.unwrap();

    let mut release = app.pool.begin().await.unwrap();
    let delete = format!("DELETE FROM {}_events", app.namespace);
    release.execute(AssertSqlSafe(delete)).await.unwrap();
    let claimed = tokio::spawn({
        let (store, second) = (app.store.clone(), second.clone());
        async move { claim(&store, &second, HOUR).await }
    });
    app.until_a_query_waits().await;
    one.commit().await.unwrap();
    release.commit().await.unwrap();
    assert_eq!(claimed.await.unwrap(), Claimed::Acquired, "this is the race, or the test shows nothing");

    let mut other = app.begin(2).await;
    assert!(is_lost(app.store.commit_in(&mut other, &second).await));
    other.rollback().await.unwrap();
    assert_eq!(app.effects().await, [1]);
}

#[tokio::test]
async fn a_delivery_that_was_not_admitted_cannot_be_committed() {
    let app = Application::new().await;
    let delivery = Endpoint::new(app.store.clone()).delivery(1);
    let mut transaction = app.begin(1).await;
    let error = app.store.commit_in(&mut transaction, &delivery).await.unwrap_err();
    assert!(error.to_string().contains("not admitted by a receiver") && !error.is_lost(), "{error}");
}

/// A user's store that passes every operation on to another store.
#[derive(Debug)]
struct Wrapper {
    store: PostgresStore,
    has_its_id: bool,
}

impl DedupeStore for Wrapper {
    fn claim(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Claimed> {
        DedupeStore::claim(&self.store, key, token, lease)
    }

    fn renew(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Settled> {
        self.store.renew(key, token, lease)
    }

    fn commit(&self, key: EventKey, token: ClaimToken, retention: Retention) -> StoreFuture<'_, Settled> {
        self.store.commit(key, token, retention)
    }

    fn release(&self, key: EventKey, token: ClaimToken) -> StoreFuture<'_, Settled> {
        self.store.release(key, token)
    }

    fn record_delivery(&self, body: EventKey, period: Duration, most: u64) -> StoreFuture<'_, DeliveryRecord> {
        self.store.record_delivery(body, period, most)
    }

    fn record_failure(&self, body: EventKey) -> StoreFuture<'_, ()> {
        self.store.record_failure(body)
    }

    fn store_id(&self) -> Option<StoreId> {
        self.has_its_id.then_some(self.store.store_id()).flatten()
    }
}

/// Returns the result of `commit_in` for a delivery of a receiver with another store.
async fn commit_in_for(app: &Application, store: impl DedupeStore) -> Result<(), StoreError> {
    let admitted = Endpoint::new(store);
    let admitted = admitted.receiver().admit(admitted.delivery(1)).unwrap();
    let mut transaction = app.begin(1).await;
    let committed = app.store.commit_in(&mut transaction, admitted.delivery()).await;
    transaction.rollback().await.unwrap();
    committed
}

#[tokio::test]
async fn a_delivery_of_a_receiver_with_another_store_is_rejected() {
    let app = Application::new().await;
    let builder = |namespace: &str| PostgresStore::builder().namespace(namespace).max_connections(1);
    let other_database = Server::postgres(&[]);
    let others: [(&str, Arc<dyn DedupeStore>); 6] = [
        ("memory", Arc::new(MemoryStore::new(10))),
        ("none", Arc::new(NoDedupe)),
        ("another namespace", Arc::new(builder(&unique()).on(&app.pool).await.unwrap())),
        ("another database", Arc::new(builder(&app.namespace).connect(&other_database.url()).await.unwrap())),
        ("the same tables, but another object", Arc::new(builder(&app.namespace).on(&app.pool).await.unwrap())),
        ("a wrapper without the identity", Arc::new(Wrapper { store: app.store.clone(), has_its_id: false })),
    ];
    for (name, store) in others {
        let error = commit_in_for(&app, store).await.expect_err(name).to_string();
        assert!(
            error.starts_with("PostgreSQL: commit_in: the receiver of the delivery has another store")
                && error.contains("with a clone of this store")
                && error.contains("must return its `store_id`")
                && !error.contains('\n'),
            "{name}: {error}"
        );
    }
}

#[tokio::test]
async fn a_delivery_of_a_receiver_with_a_clone_or_a_wrapper_is_committed() {
    let app = Application::new().await;
    let clones: [Arc<dyn DedupeStore>; 3] = [
        Arc::new(app.store.clone()),
        Arc::new(Arc::new(app.store.clone())),
        Arc::new(Wrapper { store: app.store.clone(), has_its_id: true }),
    ];
    for store in clones {
        commit_in_for(&app, store).await.unwrap();
    }
}
