use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use medhook::{Claimed, DedupeStore, PostgresBuilder, PostgresStore, Settled, StoreError};
use medhook_tests::servers::{PASSWORD, Server, shared_postgres};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};
use tokio::task::JoinHandle;

use super::away::{self, Between, Way};
use super::unique;
use crate::suite::{HOUR, key, retention, soon, token};

async fn direct() -> PgConnection {
    PgConnection::connect(&shared_postgres()).await.unwrap()
}

async fn run(connection: &mut PgConnection, statement: String) -> u64 {
    connection.execute(AssertSqlSafe(statement)).await.unwrap().rows_affected()
}

async fn number(connection: &mut PgConnection, query: String) -> i64 {
    sqlx::query(AssertSqlSafe(query)).fetch_one(connection).await.unwrap().get(0)
}

/// Returns a store on the server that all tests share, with a timeout that suits the slowest machine.
async fn store(namespace: &str) -> PostgresStore {
    builder(namespace).connect(&shared_postgres()).await.unwrap()
}

fn builder(namespace: &str) -> PostgresBuilder {
    PostgresStore::builder().namespace(namespace).step_timeout(HOUR)
}

/// Returns the error of a store that cannot connect, and checks that it is one line.
async fn rejected(url: &str, namespace: &str) -> String {
    let line = PostgresStore::builder().namespace(namespace).connect(url).await.unwrap_err().to_string();
    assert!(line.starts_with("PostgreSQL: ") && !line.contains('\n'), "{line}");
    line
}

/// Returns the URL with this role and its password.
fn with_role(url: &str, role: &str) -> String {
    let (_, place) = url.split_once('@').unwrap();
    format!("postgres://{role}:{PASSWORD}@{place}")
}

away::tests!(Server::postgres);

async fn own() -> (Server, PostgresStore) {
    let server = Server::postgres(&[]);
    let store = PostgresStore::connect(&server.url()).await.unwrap();
    (server, store)
}

/// Returns a store with a timeout that suits the slowest machine.
async fn patient(server: &Server) -> PostgresStore {
    at(&server.url(), 8, HOUR).await
}

async fn at(url: &str, connections: u32, step_timeout: Duration) -> PostgresStore {
    let builder = PostgresStore::builder().max_connections(connections).step_timeout(step_timeout);
    builder.connect(url).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_connections_fail_no_step() {
    let server = Server::postgres(&[]);
    let store = Arc::new(patient(&server).await);
    let mut killer = PgConnection::connect(&server.url()).await.unwrap();
    let mut killed = 0;
    for round in 0..10 {
        let claims: Vec<_> = (0..40)
            .map(|n| {
                let store = store.clone();
                tokio::spawn(async move { store.claim(key(round * 40 + n), token(n), HOUR).await })
            })
            .collect();
        killed += number(
            &mut killer,
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
                .to_owned(),
        )
        .await;
        for claim in claims {
            assert_eq!(claim.await.unwrap().unwrap(), Claimed::Acquired);
        }
    }
    assert!(killed >= 10, "{killed} were there to be killed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_about_to_start_is_waited_for() {
    let mut server = Server::postgres(&[]);
    let store = patient(&server).await;
    assert_eq!(store.claim(key(1), token(1), HOUR).await.unwrap(), Claimed::Acquired);
    server.stop();
    let claim = tokio::spawn(async move { store.claim(key(2), token(2), HOUR).await });
    // Long enough for some attempts to fail.
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.start();
    assert_eq!(claim.await.unwrap().unwrap(), Claimed::Acquired);
}

#[tokio::test]
async fn a_server_with_too_many_connections_is_waited_for() {
    const MOST: usize = 10;
    let server = Server::postgres(&[&format!("max_connections={MOST}")]);
    let store = at(&server.url(), 1, HOUR).await;
    let mut others = Vec::new();
    // Opens connections until the server accepts no more.
    while let Ok(other) = PgConnection::connect(&server.url()).await {
        others.push(other);
    }
    assert!(others.len() <= MOST);
    let claim = tokio::spawn(async move { store.claim(key(1), token(1), HOUR).await });
    // Long enough for some attempts to fail.
    tokio::time::sleep(Duration::from_millis(300)).await;
    others.truncate(MOST / 2);
    assert_eq!(claim.await.unwrap().unwrap(), Claimed::Acquired);
}

#[tokio::test]
async fn a_permanent_reconnection_error_is_reported_at_once() {
    let server = Server::postgres(&[]);
    let store = patient(&server).await;
    assert_eq!(store.claim(key(1), token(1), HOUR).await.unwrap(), Claimed::Acquired);
    let mut admin = PgConnection::connect(&server.url()).await.unwrap();
    let others = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                  WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'";
    run(&mut admin, "ALTER ROLE medhook NOLOGIN".to_owned()).await;
    number(&mut admin, others.to_owned()).await;
    let claim = tokio::time::timeout(Duration::from_secs(60), store.claim(key(2), token(2), HOUR)).await;
    let error = claim.expect("an answer").unwrap_err();
    assert!(error.to_string().contains("is not permitted to log in"), "{error}");
}

#[tokio::test]
async fn a_wrong_url_or_password_is_one_line_without_it() {
    let url = shared_postgres();
    let (scheme_and_user, place) = url.split_once('@').unwrap();
    let user = scheme_and_user.strip_prefix("postgres://").unwrap().split(':').next().unwrap();
    for (url, problem) in [
        (format!("postgres://{user}:wrong-{PASSWORD}@{place}"), "password authentication failed"),
        (format!("postgres://{user}:wrong-{PASSWORD}@127.0.0.1:1/x"), "cannot connect: Connection refused"),
        (format!("postgres://{user}:{PASSWORD}@no-such-host.invalid/x"), "cannot connect: "),
        (format!("mysql://{user}:{PASSWORD}@{place}"), "must begin with `postgres://`"),
        (format!("{user}:{PASSWORD}@{place}"), "must begin"),
        (format!("postgres://{user}:{PASSWORD}@host:port/x"), "invalid port"),
        (format!("postgres://{user}:1/{PASSWORD}@{place}"), "`@`"),
        (format!("postgres://{user}:{PASSWORD}@{place}?passwd={PASSWORD}"), "unknown parameter passwd"),
        (format!("postgres://{user}:{PASSWORD}@{place}?sslmode=sometimes"), "ssl"),
        (format!("postgres://{user}:{PASSWORD}@{place}?sslmode=require"), "TLS"),
    ] {
        let line = rejected(&url, "medhook").await;
        assert!(line.contains(problem) && !line.contains(PASSWORD), "{line}");
    }
    let (all_but_database, _) = url.rsplit_once('/').unwrap();
    assert!(rejected(&format!("{all_but_database}/nowhere"), "medhook").await.contains("\"nowhere\" does not exist"));
}

#[tokio::test]
async fn a_standby_is_rejected() {
    let namespace = unique();
    drop(store(&namespace).await);
    let url = format!("{}?options=-c%20default_transaction_read_only%3Don", shared_postgres());
    assert!(rejected(&url, &namespace).await.contains("the server is read-only"), "although the tables exist");
}

#[tokio::test]
async fn a_primary_that_becomes_a_standby_is_unavailable_until_it_is_one_again() {
    let server = Server::postgres(&[]);
    let store = patient(&server).await;
    assert_eq!(store.claim(key(1), token(1), HOUR).await.unwrap(), Claimed::Acquired);
    let mut admin = PgConnection::connect(&server.url()).await.unwrap();
    for (setting, is_standby) in [("on", true), ("off", false)] {
        run(&mut admin, "SET default_transaction_read_only = off".to_owned()).await;
        run(&mut admin, format!("ALTER SYSTEM SET default_transaction_read_only = {setting}")).await;
        run(&mut admin, "SELECT pg_reload_conf()".to_owned()).await;
        let began = std::time::Instant::now();
        // The setting reaches each connection at its own time.
        while store.renew(key(1), token(1), HOUR).await.is_err() != is_standby {
            assert!(began.elapsed() < Duration::from_secs(120));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_instances_that_start_at_once_create_the_tables_once() {
    let namespace: Arc<str> = unique().into();
    let instances: Vec<_> = (0..10)
        .map(|_| {
            let namespace = namespace.clone();
            tokio::spawn(async move { store(&namespace).await })
        })
        .collect();
    for (n, instance) in instances.into_iter().enumerate() {
        let won = instance.await.unwrap().claim(key(1), token(n as u64), HOUR).await.unwrap();
        assert_eq!(won == Claimed::Acquired, n == 0);
    }
    assert_eq!(number(&mut direct().await, format!("SELECT count(*) FROM {namespace}_schema")).await, 1);
}

#[tokio::test]
async fn tables_of_another_version_are_left_alone() {
    let namespace = unique();
    drop(store(&namespace).await);
    run(&mut direct().await, format!("UPDATE {namespace}_schema SET version = 3")).await;
    let line = rejected(&shared_postgres(), &namespace).await;
    assert!(line.contains("have version 3, but this medhook supports version 2"), "{line}");
}

#[tokio::test]
async fn a_role_that_cannot_create_tables_uses_existing_ones() {
    let namespace = unique();
    let mut admin = direct().await;
    run(&mut admin, format!("CREATE ROLE {namespace} LOGIN PASSWORD '{PASSWORD}'")).await;
    let url = with_role(&shared_postgres(), &namespace);
    let line = rejected(&url, &namespace).await;
    assert!(
        line.contains("cannot create the tables")
            && line.contains("(permission denied for schema public)")
            && line.contains("ddl"),
        "{line}"
    );
    let opened = PostgresStore::builder().namespace(&namespace).create_tables(false).connect(&shared_postgres()).await;
    assert!(opened.unwrap_err().to_string().contains("create_tables is false"));

    run(&mut admin, PostgresStore::ddl(&namespace).unwrap()).await;
    run(&mut admin, format!("GRANT SELECT ON {namespace}_schema TO {namespace}")).await;
    let all_but_one = ["events", "committed", "bodies"]
        .map(|table| format!("GRANT SELECT, INSERT, UPDATE ON {namespace}_{table} TO {namespace}"));
    for grant in all_but_one {
        run(&mut admin, grant).await;
    }
    assert!(rejected(&url, &namespace).await.contains("needs SELECT, INSERT, UPDATE and DELETE"));

    let tables = format!("{namespace}_events, {namespace}_committed, {namespace}_bodies");
    run(&mut admin, format!("GRANT DELETE ON {tables} TO {namespace}")).await;
    let store = builder(&namespace).connect(&url).await.unwrap();
    assert_eq!(store.claim(key(1), token(1), HOUR).await.unwrap(), Claimed::Acquired);
    assert_eq!(store.commit(key(1), token(1), retention(HOUR)).await.unwrap(), Settled::Settled);
    run(&mut admin, format!("DROP OWNED BY {namespace}; DROP ROLE {namespace}")).await;
}

#[tokio::test]
async fn a_locked_row_is_not_waited_for_longer_than_the_lock_timeout() {
    let namespace = unique();
    // A third of the step's timeout is the limit for a lock.
    let builder = builder(&namespace).step_timeout(Duration::from_secs(9));
    let store = builder.connect(&shared_postgres()).await.unwrap();
    store.claim(key(1), token(1), HOUR).await.unwrap();
    let mut holder = direct().await;
    run(&mut holder, format!("BEGIN; SELECT * FROM {namespace}_events FOR UPDATE")).await;
    let error = store.renew(key(1), token(1), HOUR).await.unwrap_err();
    assert!(error.to_string().contains("lock timeout") && !error.is_full(), "{error}");
    run(&mut holder, "ROLLBACK".to_owned()).await;
    assert_eq!(store.renew(key(1), token(1), HOUR).await.unwrap(), Settled::Settled);
}

#[tokio::test]
async fn a_step_may_take_up_to_its_timeout() {
    let namespace = unique();
    let store = store(&namespace).await;
    let mut holder = direct().await;
    run(&mut holder, format!("BEGIN; LOCK TABLE {namespace}_events")).await;
    let claim = tokio::spawn(async move { store.claim(key(1), token(1), HOUR).await });
    // The wait is longer than the default limit for a lock.
    tokio::time::sleep(Duration::from_secs(2)).await;
    run(&mut holder, "ROLLBACK".to_owned()).await;
    assert_eq!(claim.await.unwrap().unwrap(), Claimed::Acquired);
}

/// Returns the backends of a namespace's store, found by their last query.
async fn backends(namespace: &str) -> BTreeSet<i32> {
    let asked = format!(
        "SELECT pid FROM pg_stat_activity WHERE query LIKE '%{namespace}_events AS e%' AND pid <> pg_backend_pid()
         AND wait_event_type IS DISTINCT FROM 'Lock'"
    );
    let rows = sqlx::query(AssertSqlSafe(asked)).fetch_all(&mut direct().await).await.unwrap();
    rows.into_iter().map(|row| row.get(0)).collect()
}

/// Starts a renewal of event 1, whose row is locked, and returns once it waits for the lock.
async fn waiting_renewal(store: &PostgresStore, namespace: &str) -> JoinHandle<Result<Settled, StoreError>> {
    let renewing = store.clone();
    let renewal = tokio::spawn(async move { renewing.renew(key(1), token(1), HOUR).await });
    let mut direct = direct().await;
    let waiting = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%{namespace}_events%' AND wait_event_type = 'Lock'"
    );
    soon(async || number(&mut direct, waiting.clone()).await == 1).await;
    renewal
}

async fn drop_a_waiting_renewal(store: &PostgresStore, namespace: &str) {
    let renewal = waiting_renewal(store, namespace).await;
    renewal.abort();
    assert!(renewal.await.unwrap_err().is_cancelled());
}

/// A statement sees other rows as of its beginning, but the row that it waited for as it is then.
#[tokio::test]
async fn a_late_renewal_or_claim_that_waits_for_its_row_sees_the_release() {
    let namespace = unique();
    let store = store(&namespace).await;
    store.claim(key(1), token(1), HOUR).await.unwrap();
    let mut holder = direct().await;
    let hex: String = token(1).as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let release =
        format!("UPDATE {namespace}_events SET token = NULL, until = now(), ended = ARRAY['\\x{hex}'::bytea]");
    run(&mut holder, format!("BEGIN; {release}")).await;
    let renewal = waiting_renewal(&store, &namespace).await;
    let claiming = store.clone();
    let claim = tokio::spawn(async move { claiming.claim(key(1), token(1), HOUR).await });
    let waiting = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%{namespace}_events%' AND wait_event_type = 'Lock'"
    );
    let mut direct = direct().await;
    soon(async || number(&mut direct, waiting.clone()).await == 2).await;
    run(&mut holder, "COMMIT".to_owned()).await;
    assert_eq!(renewal.await.unwrap().unwrap(), Settled::Lost);
    assert!(matches!(claim.await.unwrap().unwrap(), Claimed::InFlight { .. }));
    assert_eq!(store.claim(key(1), token(2), HOUR).await.unwrap(), Claimed::Acquired);
}

async fn claim_many(store: &PostgresStore, from: u64) {
    let claims = (from..from + 50).map(|n| store.claim(key(n), token(n), HOUR));
    for claimed in futures_util::future::join_all(claims).await {
        assert_eq!(claimed.unwrap(), Claimed::Acquired);
    }
}

#[tokio::test]
async fn the_store_opens_max_connections_and_keeps_them() {
    let namespace = unique();
    let store = builder(&namespace).max_connections(2).connect(&shared_postgres()).await.unwrap();
    claim_many(&store, 0).await;
    let first = backends(&namespace).await;
    assert_eq!(first.len(), 2);
    claim_many(&store, 100).await;
    assert_eq!(backends(&namespace).await, first);
}

#[tokio::test]
async fn a_failed_or_dropped_step_costs_no_other_step_its_connection() {
    let namespace = unique();
    let store = builder(&namespace).max_connections(2).connect(&shared_postgres()).await.unwrap();
    claim_many(&store, 0).await;
    let before = backends(&namespace).await;
    let mut holder = direct().await;

    // The server rejects the query, and the connection remains usable.
    run(&mut holder, format!("ALTER TABLE {namespace}_events RENAME TO {namespace}_away")).await;
    let error = store.renew(key(1), token(1), HOUR).await.unwrap_err();
    assert!(error.to_string().contains("does not exist"), "{error}");
    run(&mut holder, format!("ALTER TABLE {namespace}_away RENAME TO {namespace}_events")).await;
    claim_many(&store, 100).await;
    assert_eq!(backends(&namespace).await, before);

    // The caller stops waiting: the connection stays with the step, and other steps use the other connection.
    run(&mut holder, format!("BEGIN; SELECT * FROM {namespace}_events FOR UPDATE")).await;
    drop_a_waiting_renewal(&store, &namespace).await;
    let now = backends(&namespace).await;
    assert!(now.len() == 1 && now.is_subset(&before), "{now:?} of {before:?}");
    claim_many(&store, 200).await;
    let afterwards = backends(&namespace).await;
    assert_eq!(afterwards.intersection(&before).count(), 1, "{afterwards:?} and {before:?}");
    run(&mut holder, "ROLLBACK".to_owned()).await;
}

#[tokio::test]
async fn a_connection_in_use_while_another_broke_is_not_used_again() {
    let namespace = unique();
    let store = builder(&namespace).max_connections(2).connect(&shared_postgres()).await.unwrap();
    claim_many(&store, 0).await;
    let both = backends(&namespace).await;
    let mut holder = direct().await;
    run(&mut holder, format!("BEGIN; SELECT * FROM {namespace}_events FOR UPDATE")).await;
    let renewal = waiting_renewal(&store, &namespace).await;
    // Connections that wait for a lock are not in use by other steps.
    let idle = backends(&namespace).await;
    assert_eq!(idle.len(), 1);
    for idle in idle {
        assert_eq!(number(&mut direct().await, format!("SELECT pg_terminate_backend({idle})::int::bigint")).await, 1);
    }
    soon(async || backends(&namespace).await.is_empty()).await;
    assert_eq!(store.claim(key(100), token(100), HOUR).await.unwrap(), Claimed::Acquired, "on another");
    run(&mut holder, "ROLLBACK".to_owned()).await;
    assert_eq!(renewal.await.unwrap().unwrap(), Settled::Settled);
    claim_many(&store, 200).await;
    let now = backends(&namespace).await;
    assert!(now.len() == 2 && now.is_disjoint(&both), "{now:?} and {both:?}");
    claim_many(&store, 300).await;
    assert_eq!(backends(&namespace).await, now, "those that were made since are kept");
}

#[tokio::test]
async fn after_a_dead_connection_the_others_are_not_trusted() {
    let server = Server::postgres(&[]);
    let between = Between::to(&server).await;
    // Before the time at which an idle connection is checked.
    let store = at(&between.url(&server), 8, Duration::from_secs(7)).await;
    claim_many(&store, 0).await;
    between.change(Way::Forgotten);
    store.claim(key(100), token(100), HOUR).await.unwrap_err();
    assert_eq!(store.claim(key(101), token(101), HOUR).await.unwrap(), Claimed::Acquired);
}

#[tokio::test]
async fn debug_shows_only_the_namespace() {
    let namespace = unique();
    let shown = format!("PostgresStore {{ namespace: Namespace(\"{namespace}\"), .. }}");
    assert_eq!(format!("{:?}", store(&namespace).await), shown);
}

#[tokio::test]
async fn a_claim_from_before_the_clock_was_set_back_holds_no_longer_than_a_lease() {
    let namespace = unique();
    let store = store(&namespace).await;
    store.claim(key(1), token(1), HOUR).await.unwrap();
    let mut direct = direct().await;
    run(&mut direct, format!("UPDATE {namespace}_events SET until = until + interval '1000 hours'")).await;
    assert_eq!(store.claim(key(1), token(2), HOUR).await.unwrap(), Claimed::InFlight { retry_after: HOUR });
    let too_far =
        format!("SELECT count(*) FROM {namespace}_events WHERE until > clock_timestamp() + interval '1 hour'");
    assert_eq!(number(&mut direct, too_far).await, 0);
    assert_eq!(store.renew(key(1), token(1), HOUR).await.unwrap(), Settled::Settled, "it is still the holder's");
}

#[tokio::test]
async fn only_expired_rows_are_purged() {
    let namespace = unique();
    drop(store(&namespace).await);
    let mut direct = direct().await;
    for (table, columns, row) in [
        ("events", "key, token, handled, until", "decode(md5(n::text), 'hex'), '', n % 2 = 0"),
        ("committed", "key, token, until", "decode(md5(n::text), 'hex'), ''"),
    ] {
        let insert = |age: &str, from: u32, to: u32| {
            format!(
                "INSERT INTO {namespace}_{table} ({columns})
                 SELECT {row}, clock_timestamp() - interval '{age}' FROM generate_series({from}, {to}) AS n"
            )
        };
        run(&mut direct, insert("61 minutes", 1, 1_200)).await;
        run(&mut direct, insert("59 minutes", 1_201, 1_210)).await;
        run(&mut direct, insert("-1 hour", 1_211, 1_220)).await;
    }
    let locked = format!("BEGIN; SELECT FROM {namespace}_events WHERE key = decode(md5('1'), 'hex') FOR UPDATE");
    run(&mut direct, locked).await;

    let every = Duration::from_millis(20);
    let store = builder(&namespace).purge_every(every).connect(&shared_postgres()).await.unwrap();
    let count = format!("SELECT (SELECT count(*) FROM {namespace}_events) * 100 + count(*) FROM {namespace}_committed");
    let began = std::time::Instant::now();
    // The row of the event that is claimed and released below is kept, too.
    while number(&mut direct, count.clone()).await != 2_220 {
        assert!(began.elapsed() < Duration::from_secs(120), "{}", number(&mut direct, count.clone()).await);
        assert!(store.claim(key(1), token(1), HOUR).await.is_ok());
        store.release(key(1), token(1)).await.unwrap();
        tokio::time::sleep(every).await;
    }
}

#[tokio::test]
async fn purging_reads_only_expired_rows() {
    const KEPT: i64 = 20_000;
    let server = Server::postgres(&["autovacuum=off"]);
    drop(PostgresStore::connect(&server.url()).await.unwrap());
    let mut direct = PgConnection::connect(&server.url()).await.unwrap();
    let keep = format!(
        "INSERT INTO medhook_events (key, token, handled, until)
         SELECT decode(md5(n::text), 'hex'), '', true, clock_timestamp() + interval '1 hour'
         FROM generate_series(1, {KEPT}) AS n"
    );
    run(&mut direct, keep).await;
    run(&mut direct, "ANALYZE medhook_events".to_owned()).await;
    let looked_at =
        "SELECT (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relname = 'medhook_events')::bigint
         + (SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'medhook_events')";
    let times = "SELECT (SELECT sum(idx_scan) FROM pg_stat_user_indexes WHERE relname = 'medhook_events')::bigint
         + (SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'medhook_events')";
    let before = (number(&mut direct, looked_at.to_owned()).await, number(&mut direct, times.to_owned()).await);

    let builder = PostgresStore::builder().purge_every(Duration::from_millis(20));
    let _store = builder.connect(&server.url()).await.unwrap();
    let began = std::time::Instant::now();
    while number(&mut direct, times.to_owned()).await < before.1 + 3 {
        assert!(began.elapsed() < Duration::from_secs(120), "nothing is deleted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let looked_at = number(&mut direct, looked_at.to_owned()).await - before.0;
    assert!(looked_at < KEPT, "{looked_at} rows to find none");
}

#[tokio::test]
async fn a_locked_table_does_not_stop_the_purge_of_others() {
    let namespace = unique();
    drop(store(&namespace).await);
    let mut holds = direct().await;
    let mut direct = direct().await;
    let old = format!(
        "INSERT INTO {namespace}_committed (key, token, until) VALUES ('1', '', clock_timestamp() - interval '2 hours')"
    );
    run(&mut direct, old).await;
    run(&mut holds, format!("BEGIN; LOCK TABLE {namespace}_events IN EXCLUSIVE MODE")).await;

    let builder = builder(&namespace).purge_every(Duration::from_millis(20));
    let builder = builder.step_timeout(Duration::from_secs(3));
    let _store = builder.connect(&shared_postgres()).await.unwrap();
    let began = std::time::Instant::now();
    while number(&mut direct, format!("SELECT count(*) FROM {namespace}_committed")).await > 0 {
        assert!(began.elapsed() < Duration::from_secs(120), "it is never deleted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn answered_steps_are_on_disk_whatever_the_settings_of_the_role() {
    let namespace = unique();
    let store = store(&namespace).await;
    let mut direct = direct().await;
    let spy = format!(
        "CREATE TABLE {namespace}_spy (setting text);
         CREATE FUNCTION {namespace}_spy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO {namespace}_spy VALUES (current_setting('synchronous_commit')); RETURN NULL;
         END $$;
         CREATE TRIGGER spy AFTER INSERT OR UPDATE ON {namespace}_events FOR EACH ROW EXECUTE FUNCTION {namespace}_spy()"
    );
    run(&mut direct, spy).await;
    store.claim(key(1), token(1), HOUR).await.unwrap();
    let url = format!("{}?options=-c%20synchronous_commit%3Doff", shared_postgres());
    let careless = builder(&namespace).connect(&url).await.unwrap();
    careless.commit(key(1), token(1), retention(HOUR)).await.unwrap();
    let on = format!("SELECT count(*) FILTER (WHERE setting = 'on') * 10 + count(*) FROM {namespace}_spy");
    assert_eq!(number(&mut direct, on).await, 22);
}
