//! Tests of what is specific to SQLite. The contract of the operations is tested by a suite that all stores share.

mod contract;
mod erased;
mod faults;
mod files;
#[cfg(feature = "sqlx-09")]
mod finish_in;
mod operations;
mod plans;
mod queue;

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, SqliteConnection};
use tempfile::TempDir;

use super::super::{SqliteStore, writer::Step};
use super::SqliteInbox;
use super::work::InboxStep;
use crate::Clock;
use crate::claim_token::ClaimToken;
use crate::dedupe::inbox::store::{AuditRow, InboxStore, LeaseRequest, NewEvent, StoreResult};
use crate::event_key::EventKey;
use crate::retention::Retention;

const HOUR: Duration = Duration::from_secs(3600);
const LEASE: Duration = Duration::from_secs(30);

/// A clock that a test sets, in Unix milliseconds.
#[derive(Debug, Clone)]
struct TestClock(std::sync::Arc<AtomicI64>);

impl TestClock {
    fn advance(&self, time: Duration) {
        self.0.fetch_add(i64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.0.load(Ordering::SeqCst).try_into().unwrap())
    }
}

/// A store with an open inbox in a folder of its own.
struct Place {
    folder: TempDir,
    clock: TestClock,
    store: SqliteStore,
    inbox: SqliteInbox,
}

impl Place {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let clock = TestClock(std::sync::Arc::new(AtomicI64::new(1_790_000_000_000)));
        let store = SqliteStore::builder().clock(clock.clone()).open(folder.path().join("medhook.db")).await.unwrap();
        let inbox = open(&store).await;
        Place { folder, clock, store, inbox }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("medhook.db")
    }

    /// Returns a connection that is not the store's.
    async fn other(&self) -> SqliteConnection {
        SqliteConnectOptions::new().filename(self.path()).connect().await.unwrap()
    }

    async fn run(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.other().await).await.unwrap();
    }

    async fn number(&self, sql: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut self.other().await).await.unwrap()
    }

    /// Returns the number of marks, rows and bodies.
    async fn counts(&self) -> [i64; 3] {
        [
            self.number("SELECT count(*) FROM medhook_events").await,
            self.number("SELECT count(*) FROM medhook_inbox").await,
            self.number("SELECT count(*) FROM medhook_inbox_bodies").await,
        ]
    }

    /// Stores an event and returns its id.
    async fn store(&self, event: NewEvent) -> i64 {
        match self.inbox.store_event(event).await.unwrap() {
            StoreResult::Stored { id } => id,
            other => panic!("{other:?}"),
        }
    }

    /// Leases the next event and returns its id.
    async fn lease(&self, n: u16, alone: bool) -> Option<i64> {
        let leased = self.inbox.lease(request(n, alone)).await.unwrap().leased;
        leased.map(|leased| leased.body.id)
    }
}

/// Opens the tables of a store's inbox.
async fn open(store: &SqliteStore) -> SqliteInbox {
    store.database.open_inbox();
    store.ask(Step::Inbox(InboxStep::Open)).await.unwrap();
    SqliteInbox(store.clone())
}

fn event(n: u16) -> NewEvent {
    event_with(n, Bytes::from(format!("body {n}")))
}

fn event_with(n: u16, sealed: Bytes) -> NewEvent {
    NewEvent {
        event_key: key(n),
        row_key: *key(n).as_bytes(),
        token: token(n),
        retention: Retention::new(HOUR, HOUR * 24),
        endpoint: "acme".into(),
        provider: "custom".into(),
        kind: "unknown".into(),
        secret: "secret-1".into(),
        size: sealed.len() as u64,
        sealed_key: Bytes::from_static(b"\x00key"),
        sealed,
    }
}

fn key(n: u16) -> EventKey {
    let mut key = [0; 32];
    key[..2].copy_from_slice(&n.to_be_bytes());
    EventKey::from_bytes(key)
}

fn token(n: u16) -> ClaimToken {
    let mut token = [0; 16];
    token[..2].copy_from_slice(&n.to_be_bytes());
    ClaimToken::from_bytes(token)
}

fn request(n: u16, alone: bool) -> LeaseRequest {
    LeaseRequest { endpoint: "acme".into(), token: token(n), lease: LEASE, alone }
}

fn audit(action: &str) -> AuditRow {
    AuditRow { actor: "ada".into(), action: action.into(), subject: "1".into(), reason: "a test".into() }
}
