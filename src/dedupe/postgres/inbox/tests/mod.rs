//! Tests on the server that `scripts/test` starts.

mod events;
#[cfg(feature = "sqlx-09")]
mod finish_in;
mod operators;
mod plans;
mod tables;

use bytes::Bytes;
use sqlx::{Executor, PgPool};

use super::*;
use crate::dedupe::inbox::store::{LeaseId, Leased};
use crate::event_key::EventKey;
use crate::retention::Retention;

const HOUR: Duration = Duration::from_secs(3600);

fn url() -> String {
    let variable = "MEDHOOK_TEST_POSTGRES";
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set: run scripts/test, which starts the server"))
}

fn unique() -> String {
    use std::hash::{BuildHasher, Hasher, RandomState};
    format!("t{:016x}", RandomState::new().build_hasher().finish())
}

struct Fixture {
    inbox: PostgresInbox,
    store: PostgresStore,
    pool: PgPool,
    ns: String,
}

impl Fixture {
    async fn new() -> Self {
        let ns = unique();
        let store = PostgresStore::builder().namespace(&ns).step_timeout(Duration::from_secs(30));
        Self::on(store.connect(&url()).await.unwrap(), ns).await
    }

    async fn on(store: PostgresStore, ns: String) -> Self {
        let inbox = store.open_inbox().await.unwrap();
        Fixture { inbox, store, pool: PgPool::connect(&url()).await.unwrap(), ns }
    }

    async fn run(&self, statements: &str) {
        self.pool.execute(AssertSqlSafe(statements.replace("{ns}", &self.ns))).await.unwrap();
    }

    async fn number(&self, query: &str) -> i64 {
        let query = query.replace("{ns}", &self.ns);
        sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&self.pool).await.unwrap()
    }

    /// Returns the numbers of marks, rows and bodies.
    async fn numbers(&self) -> [i64; 3] {
        [
            self.number("SELECT count(*) FROM {ns}_events WHERE handled").await,
            self.number("SELECT count(*) FROM {ns}_inbox").await,
            self.number("SELECT count(*) FROM {ns}_inbox_bodies").await,
        ]
    }

    async fn stored(&self, number: u8) -> i64 {
        match self.inbox.store_event(event(number, number)).await.unwrap() {
            StoreResult::Stored { id } => id,
            other => panic!("{other:?}"),
        }
    }

    async fn lease(&self, number: u8, alone: bool) -> LeaseAnswer {
        self.inbox.lease(request(number, alone)).await.unwrap()
    }

    async fn leased(&self, number: u8) -> Leased {
        *self.lease(number, false).await.leased.expect("an event is due")
    }

    async fn entry(&self, id: i64) -> EntryRow {
        let filter = RowFilter { id: Some(id), limit: 1, ..RowFilter::default() };
        self.inbox.list(filter).await.unwrap().remove(0)
    }
}

fn token(number: u8) -> ClaimToken {
    ClaimToken::from_bytes([number; 16])
}

fn key(number: u8) -> EventKey {
    EventKey::from_bytes([number; 32])
}

fn event(number: u8, by: u8) -> NewEvent {
    NewEvent {
        event_key: key(number),
        row_key: [number; 32],
        token: token(by),
        retention: Retention::new(HOUR, HOUR),
        endpoint: "fasten".into(),
        provider: "fasten".into(),
        kind: "patient.ehi_export_success".into(),
        secret: "first".into(),
        size: 4,
        sealed_key: Bytes::from_static(b"\x01aaaakey"),
        sealed: Bytes::from_static(b"\x01aaaabody"),
    }
}

fn request(by: u8, alone: bool) -> LeaseRequest {
    LeaseRequest { endpoint: "fasten".into(), token: token(by), lease: HOUR, alone }
}

fn audit(action: &str) -> AuditRow {
    AuditRow { actor: "ann".into(), action: action.into(), subject: "1".into(), reason: "why".into() }
}

/// Inserts rows of a status, with one byte as the body.
async fn fill(fixture: &Fixture, rows: u32, status: &str, due: &str) {
    let insert = format!(
        "WITH stored AS (
            INSERT INTO {{ns}}_inbox (row_key, stored_by, endpoint, provider, kind, secret, status, due, stored_at,
                ended_at, mark_until, size, sealed_key)
            SELECT uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()), uuid_send(gen_random_uuid()), 'fasten',
                'fasten', 'k', 's', {status}, {due}, now() - interval '2 days',
                CASE WHEN {status} >= 2 THEN now() - interval '1 day' END, now(), 1, '\\x0161616161'
            FROM generate_series(1, {rows}) RETURNING id
        ) INSERT INTO {{ns}}_inbox_bodies SELECT id, '\\x0161616161' FROM stored"
    );
    fixture.run(&insert).await;
}

/// The contract of a store with an inbox.
mod contract {
    use std::sync::Arc;

    use crate::inbox::suite::{StoreFixture, inbox_suite};

    async fn fixture() -> StoreFixture {
        let super::Fixture { inbox, store, .. } = super::Fixture::new().await;
        StoreFixture { inbox: Arc::new(inbox), store: Arc::new(store), _guard: Box::new(()) }
    }

    inbox_suite!(tokio::test, fixture().await);
}
