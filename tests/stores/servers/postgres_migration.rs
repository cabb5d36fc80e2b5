//! Tables of version 1 are migrated with their records.

use std::time::Duration;

use medhook::{ClaimToken, Claimed, DedupeStore, EventKey, PostgresStore, Retention, Settled};
use medhook_tests::servers::shared_postgres;
use sqlx::{AssertSqlSafe, Executor, PgPool, Row};

use super::unique;
use crate::suite::HOUR;

/// The tables of version 1.
const VERSION_1: &str = "CREATE TABLE {ns}_events (
    key bytea PRIMARY KEY,
    token bytea NOT NULL,
    handled boolean NOT NULL,
    until timestamptz NOT NULL
);
CREATE INDEX {ns}_events_until ON {ns}_events (until);
CREATE TABLE {ns}_committed (
    key bytea PRIMARY KEY,
    token bytea NOT NULL,
    until timestamptz NOT NULL
);
CREATE INDEX {ns}_committed_until ON {ns}_committed (until);
CREATE TABLE {ns}_schema (version integer NOT NULL);
INSERT INTO {ns}_schema (version) VALUES (1);
INSERT INTO {ns}_events VALUES
    (decode(repeat('01', 32), 'hex'), decode(repeat('01', 16), 'hex'), true, now() + interval '1 hour'),
    (decode(repeat('02', 32), 'hex'), decode(repeat('02', 16), 'hex'), false, now() + interval '1 hour');
INSERT INTO {ns}_committed VALUES
    (decode(repeat('03', 32), 'hex'), decode(repeat('03', 16), 'hex'), now() + interval '1 hour');
";

/// Statements of a version 1 instance: claim, commit and release, of the event $1 with the token $2.
const CLAIM_1: &str = "
WITH taken AS (
    INSERT INTO {ns}_events AS e (key, token, handled, until)
    SELECT $1, $2, false, clock_timestamp() + make_interval(secs => 3600)
    WHERE NOT EXISTS (SELECT FROM {ns}_committed AS c WHERE c.key = $1 AND c.until > clock_timestamp())
    ON CONFLICT (key) DO UPDATE SET
        token = CASE WHEN e.until <= clock_timestamp() THEN excluded.token ELSE e.token END,
        handled = false,
        until = clock_timestamp() + make_interval(secs => 3600)
    WHERE e.until <= clock_timestamp()
        OR NOT e.handled AND (e.token = excluded.token OR e.until > clock_timestamp() + make_interval(secs => 3600))
    RETURNING e.token = $2 AS won
)
SELECT true WHERE (SELECT won FROM taken)";
const COMMIT_1: &str = "
INSERT INTO {ns}_events AS e (key, token, handled, until)
SELECT $1, $2, true, clock_timestamp() + make_interval(secs => 3600)
WHERE NOT EXISTS (SELECT FROM {ns}_committed AS c WHERE c.key = $1 AND c.token <> $2 AND c.until > clock_timestamp())
ON CONFLICT (key) DO UPDATE SET
    handled = true,
    until = CASE WHEN e.handled THEN e.until ELSE clock_timestamp() + make_interval(secs => 3600) END
WHERE e.token = excluded.token
RETURNING true";
const RELEASE_1: &str = "
WITH released AS (DELETE FROM {ns}_events WHERE key = $1 AND token = $2 AND NOT handled)
SELECT true WHERE NOT EXISTS (SELECT FROM {ns}_events WHERE key = $1 AND token <> $2)";

fn key(number: u8) -> EventKey {
    EventKey::from_bytes([number; 32])
}

fn token(number: u8) -> ClaimToken {
    ClaimToken::from_bytes([number; 16])
}

struct Old {
    pool: PgPool,
    ns: String,
}

impl Old {
    async fn new() -> Self {
        let old = Old { pool: PgPool::connect(&shared_postgres()).await.unwrap(), ns: unique() };
        old.run(VERSION_1).await;
        old
    }

    async fn run(&self, statements: &str) {
        self.pool.execute(AssertSqlSafe(statements.replace("{ns}", &self.ns))).await.unwrap();
    }

    /// Runs a statement of version 1, and returns whether it took effect.
    async fn step(&self, statement: &str, event: u8, by: u8) -> bool {
        let statement = AssertSqlSafe(statement.replace("{ns}", &self.ns));
        let query = sqlx::query(statement).bind(vec![event; 32]).bind(vec![by; 16]);
        query.fetch_optional(&self.pool).await.unwrap().is_some()
    }

    async fn version(&self) -> i32 {
        let version = format!("SELECT max(version) FROM {}_schema", self.ns);
        sqlx::query(AssertSqlSafe(version)).fetch_one(&self.pool).await.unwrap().get(0)
    }

    async fn connect(&self) -> PostgresStore {
        PostgresStore::builder().namespace(&self.ns).connect(&shared_postgres()).await.unwrap()
    }
}

async fn has_the_records(store: &PostgresStore) {
    for handled in [1, 3] {
        assert_eq!(store.claim(key(handled), token(9), HOUR).await.unwrap(), Claimed::AlreadyHandled, "{handled}");
    }
    let claimed = store.claim(key(2), token(9), HOUR).await.unwrap();
    assert!(matches!(claimed, Claimed::InFlight { .. }), "{claimed:?}");
}

#[tokio::test]
async fn handled_events_of_version_1_are_duplicates_after_the_migration() {
    let old = Old::new().await;
    let store = old.connect().await;
    assert_eq!(old.version().await, 2);
    has_the_records(&store).await;
    // The additions of version 2 work.
    assert_eq!(store.release(key(2), token(2)).await.unwrap(), Settled::Settled);
    let late = store.claim(key(2), token(2), HOUR).await.unwrap();
    assert!(matches!(late, Claimed::InFlight { .. }), "a claim that has ended is not acquired: {late:?}");
    assert_eq!(store.claim(key(2), token(4), HOUR).await.unwrap(), Claimed::Acquired);
    store.record_delivery(key(5), HOUR, 10).await.unwrap();
    has_the_columns_of_new_tables(&old).await;
}

async fn has_the_columns_of_new_tables(old: &Old) {
    let new = Old { pool: old.pool.clone(), ns: unique() };
    new.run(&PostgresStore::ddl(&new.ns).unwrap()).await;
    let columns = |ns: String| async move {
        let columns = "SELECT string_agg(format('%s.%s %s %s', replace(table_name, $1, ''), column_name, data_type, \
                       is_nullable), ', ' ORDER BY table_name, ordinal_position) FROM information_schema.columns \
                       WHERE starts_with(table_name, $1)";
        sqlx::query_scalar::<_, String>(columns).bind(ns).fetch_one(&old.pool).await.unwrap()
    };
    assert_eq!(columns(old.ns.clone()).await, columns(new.ns.clone()).await);
}

#[tokio::test]
async fn several_instances_migrate_at_once() {
    let old = Old::new().await;
    let connecting = (0..6).map(|_| {
        let ns = old.ns.clone();
        tokio::spawn(async move { PostgresStore::builder().namespace(&ns).connect(&shared_postgres()).await })
    });
    for connecting in connecting.collect::<Vec<_>>() {
        has_the_records(&connecting.await.unwrap().unwrap()).await;
    }
}

#[tokio::test]
async fn without_create_tables_the_statements_are_named_and_can_be_run() {
    let old = Old::new().await;
    let builder = || PostgresStore::builder().namespace(&old.ns).create_tables(false);
    let line = builder().connect(&shared_postgres()).await.unwrap_err().to_string();
    let expected = format!(
        "PostgreSQL: the tables {}_* have version 1, and create_tables is false; run the statements of \
         `PostgresStore::migration_ddl` as the owner of the tables",
        old.ns
    );
    assert_eq!(line, expected);
    assert_eq!(old.version().await, 1);
    old.run(&PostgresStore::migration_ddl(&old.ns).unwrap()).await;
    has_the_records(&builder().connect(&shared_postgres()).await.unwrap()).await;
}

#[tokio::test]
async fn a_migration_waits_for_transactions_of_the_application() {
    let old = Old::new().await;
    let mut transaction = old.pool.begin().await.unwrap();
    let read = format!("SELECT FROM {}_events", old.ns);
    transaction.execute(AssertSqlSafe(read)).await.unwrap();
    let ns = old.ns.clone();
    let connecting =
        tokio::spawn(async move { PostgresStore::builder().namespace(&ns).connect(&shared_postgres()).await });
    tokio::time::sleep(Duration::from_millis(700)).await;
    // Claims of the instances of version 1 go on meanwhile.
    assert!(old.step(CLAIM_1, 7, 7).await);
    assert_eq!(old.version().await, 1);
    transaction.commit().await.unwrap();
    has_the_records(&connecting.await.unwrap().unwrap()).await;
    assert_eq!(old.version().await, 2);
}

#[tokio::test]
async fn running_instances_of_version_1_continue_to_work() {
    let old = Old::new().await;
    // Its statements are prepared on the old tables.
    assert!(old.step(CLAIM_1, 6, 6).await && old.step(COMMIT_1, 6, 6).await && old.step(CLAIM_1, 7, 7).await);
    let store = old.connect().await;
    assert!(old.step(COMMIT_1, 7, 7).await, "a claim from before the migration is committed");
    assert_eq!(store.claim(key(7), token(9), HOUR).await.unwrap(), Claimed::AlreadyHandled);
    // Each sees the other's claims and handled events.
    assert_eq!(store.claim(key(8), token(8), HOUR).await.unwrap(), Claimed::Acquired);
    assert!(!old.step(CLAIM_1, 8, 9).await && !old.step(COMMIT_1, 8, 9).await);
    let retention = Retention::new(HOUR, HOUR);
    assert_eq!(store.commit(key(8), token(8), retention).await.unwrap(), Settled::Settled);
    assert!(!old.step(CLAIM_1, 8, 9).await);
    // A row without a token has expired.
    assert_eq!(store.claim(key(10), token(10), HOUR).await.unwrap(), Claimed::Acquired);
    assert_eq!(store.release(key(10), token(10)).await.unwrap(), Settled::Settled);
    assert!(old.step(CLAIM_1, 10, 11).await && old.step(RELEASE_1, 10, 11).await);
    assert_eq!(store.claim(key(10), token(12), HOUR).await.unwrap(), Claimed::Acquired);
    assert!(old.step(RELEASE_1, 6, 6).await, "it changes nothing");
    assert_eq!(store.claim(key(6), token(9), HOUR).await.unwrap(), Claimed::AlreadyHandled);
}

#[tokio::test]
async fn a_role_that_does_not_own_the_tables_does_not_migrate_them() {
    let old = Old::new().await;
    old.run("CREATE ROLE {ns} LOGIN PASSWORD 'p'; GRANT ALL ON {ns}_events, {ns}_committed, {ns}_schema TO {ns}").await;
    let options: sqlx::postgres::PgConnectOptions = shared_postgres().parse().unwrap();
    let pool = sqlx::postgres::PgPoolOptions::new().connect_lazy_with(options.username(&old.ns).password("p"));
    let line = PostgresStore::builder().namespace(&old.ns).on(&pool).await.unwrap_err().to_string();
    assert!(
        line.starts_with(&format!("PostgreSQL: cannot migrate the tables {}_* (must be owner of table", old.ns)),
        "{line}"
    );
    assert!(
        line.ends_with("run the statements of `PostgresStore::migration_ddl` as the owner of the tables"),
        "{line}"
    );
    assert_eq!(old.version().await, 1);
}
