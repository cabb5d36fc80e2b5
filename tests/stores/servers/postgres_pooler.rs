//! A store behind PgBouncer.

use std::time::{Duration, Instant};

use medhook::{Claimed, DedupeStore, PostgresBuilder, PostgresStore, Settled};
use medhook_tests::pgbouncer::PgBouncer;
use medhook_tests::servers::shared_postgres;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, Row};

use super::away::Endpoint;
use super::unique;
use crate::suite::{HOUR, key, retention, token};

const DROPS_OPTIONS: &str = "ignore_startup_parameters = extra_float_digits, options";

fn builder(namespace: &str) -> PostgresBuilder {
    PostgresStore::builder().namespace(namespace).step_timeout(HOUR)
}

async fn direct() -> PgConnection {
    PgConnection::connect(&shared_postgres()).await.unwrap()
}

async fn run(connection: &mut PgConnection, statement: String) {
    connection.execute(AssertSqlSafe(statement)).await.unwrap();
}

async fn texts(connection: &mut PgConnection, query: String) -> Vec<String> {
    let rows = sqlx::query(AssertSqlSafe(query)).fetch_all(connection).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn settings_of_the_store_have_an_effect_with_session_pooling() {
    for settings in [&["pool_mode = session"][..], &["pool_mode = session", DROPS_OPTIONS]] {
        let Some(pooler) = PgBouncer::before(&shared_postgres(), settings) else {
            return;
        };
        let namespace = unique();
        // A third of the timeout is the limit for a lock, and two thirds the limit for a statement.
        let store = builder(&namespace).step_timeout(Duration::from_secs(9)).connect(pooler.url()).await.unwrap();
        let mut direct = direct().await;
        let spy = format!(
            "CREATE TABLE {namespace}_spy (setting text);
             CREATE FUNCTION {namespace}_spy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 INSERT INTO {namespace}_spy SELECT concat_ws(' ', current_setting('lock_timeout'),
                     current_setting('statement_timeout'), current_setting('default_transaction_isolation'),
                     current_setting('tcp_keepalives_idle'), current_setting('tcp_user_timeout'));
                 RETURN NULL;
             END $$;
             CREATE TRIGGER spy AFTER INSERT ON {namespace}_events FOR EACH ROW EXECUTE FUNCTION {namespace}_spy()"
        );
        run(&mut direct, spy).await;
        assert_eq!(store.claim(key(1), token(1), HOUR).await.unwrap(), Claimed::Acquired);
        let seen = texts(&mut direct, format!("SELECT setting FROM {namespace}_spy")).await;
        assert_eq!(seen, ["3s 6s read committed 10 30000"], "{settings:?}");

        run(&mut direct, format!("BEGIN; SELECT * FROM {namespace}_events FOR UPDATE")).await;
        let began = Instant::now();
        let error = store.renew(key(1), token(1), HOUR).await.unwrap_err();
        assert!(error.to_string().contains("lock timeout") && began.elapsed() < Duration::from_secs(9), "{error}");
        run(&mut direct, "ROLLBACK".to_owned()).await;
        assert_eq!(store.commit(key(1), token(1), retention(HOUR)).await.unwrap(), Settled::Settled);
    }
}

#[tokio::test]
async fn a_pooler_needs_no_more_backends_than_the_store_has_connections() {
    let settings = ["pool_mode = session", "default_pool_size = 8"];
    let Some(pooler) = PgBouncer::before(&shared_postgres(), &settings) else {
        return;
    };
    let store = builder(&unique()).max_connections(8).connect(pooler.url()).await.unwrap();
    let claims = (0..50).map(|n| store.claim(key(n), token(n), HOUR));
    for claimed in futures_util::future::join_all(claims).await {
        assert_eq!(claimed.unwrap(), Claimed::Acquired);
    }
}

#[tokio::test]
async fn a_pooler_with_one_backend_serves_a_store_with_one_connection() {
    let settings = ["pool_mode = session", "default_pool_size = 1"];
    let Some(pooler) = PgBouncer::before(&shared_postgres(), &settings) else {
        return;
    };
    let store = builder(&unique()).max_connections(1).connect(pooler.url()).await.unwrap();
    assert_eq!(store.claim(key(1), token(1), HOUR).await.unwrap(), Claimed::Acquired);
}

#[tokio::test]
async fn transaction_and_statement_pooling_are_rejected_and_no_setting_is_left_behind() {
    for mode in ["transaction", "statement"] {
        let mode = format!("pool_mode = {mode}");
        for more in [&[][..], &["server_round_robin = 1"], &["min_pool_size = 3"], &[DROPS_OPTIONS]] {
            let settings = [&[&*mode], more].concat();
            let Some(pooler) = PgBouncer::before(&shared_postgres(), &settings) else {
                return;
            };
            // Several backends are idle.
            let options: PgConnectOptions = pooler.url().parse().unwrap();
            let options = options.extra_float_digits(None);
            let mut clients = Vec::new();
            for _ in 0..3 {
                let mut client = options.connect().await.unwrap();
                sqlx::raw_sql("SELECT 1").execute(&mut client).await.unwrap();
                clients.push(client);
            }
            let line = builder(&unique()).connect(pooler.url()).await.unwrap_err().to_string();
            assert!(
                line.starts_with("PostgreSQL: the connection pooler uses transaction or statement pooling")
                    && line.contains("with PgBouncer set pool_mode = session")
                    && !line.contains('\n'),
                "{settings:?}: {line}"
            );
            for client in &mut clients {
                let row = sqlx::raw_sql("SELECT current_setting('lock_timeout')").fetch_one(client).await.unwrap();
                assert_eq!(row.get::<String, _>(0), "0", "{settings:?}");
            }
        }
    }
}

/// Other clients use the backends that a connection of the store has used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transaction_pooling_is_rejected_while_other_clients_use_the_pooler() {
    for more in [&[][..], &["server_round_robin = 1"]] {
        let settings = [&["pool_mode = transaction", "default_pool_size = 4"][..], more].concat();
        let Some(pooler) = PgBouncer::before(&shared_postgres(), &settings) else {
            return;
        };
        let options = pooler.url().parse::<PgConnectOptions>().unwrap().extra_float_digits(None);
        let mut clients = Vec::new();
        for _ in 0..8 {
            let mut client = options.connect().await.unwrap();
            clients.push(tokio::spawn(async move {
                loop {
                    sqlx::raw_sql("SELECT pg_sleep(random() / 200)").execute(&mut client).await.unwrap();
                }
            }));
        }
        for _ in 0..10 {
            let line = builder(&unique()).connect(pooler.url()).await.unwrap_err().to_string();
            assert!(line.contains("uses transaction or statement pooling"), "{settings:?}: {line}");
        }
        clients.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

#[tokio::test]
async fn a_search_path_that_the_pooler_drops_is_set_nevertheless() {
    let Some(pooler) = PgBouncer::before(&shared_postgres(), &["pool_mode = session", DROPS_OPTIONS]) else {
        return;
    };
    let (namespace, mut direct) = (unique(), direct().await);
    run(&mut direct, format!("CREATE SCHEMA \"{namespace} it's\"")).await;
    let url = format!("{}?options=-c%20search_path%3D\"{namespace}\\%20it's\"", pooler.url());
    let store = builder(&namespace).connect(&url).await.unwrap();
    assert_eq!(store.claim(key(1), token(1), HOUR).await.unwrap(), Claimed::Acquired);
    let schemas = format!(
        "SELECT nspname::text FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
         WHERE relname = '{namespace}_events'"
    );
    assert_eq!(texts(&mut direct, schemas).await, [format!("{namespace} it's")]);
}

#[tokio::test]
async fn a_transaction_through_the_pooler_commits_the_event() {
    let settings = ["pool_mode = session", "ignore_startup_parameters = extra_float_digits"];
    let Some(pooler) = PgBouncer::before(&shared_postgres(), &settings) else {
        return;
    };
    let pool = PgPoolOptions::new().connect(pooler.url()).await.unwrap();
    let store = builder(&unique()).on(&pool).await.unwrap();
    let endpoint = Endpoint::new(store.clone());
    let admitted = endpoint.receiver().admit(endpoint.delivery(1)).unwrap();
    let delivery = admitted.delivery().clone();
    let handler = Box::pin(async {
        let mut transaction = pool.begin().await.unwrap();
        store.commit_in(&mut transaction, &delivery).await.unwrap();
        transaction.commit().await.unwrap();
    });
    admitted.run(handler, |()| false).await.unwrap();
    let (key, token) = (delivery.event_key(), token(9));
    assert_eq!(DedupeStore::claim(&store, key, token, HOUR).await.unwrap(), Claimed::AlreadyHandled);
}
