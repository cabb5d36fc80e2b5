//! Tables of one name in several schemas: a claim and the record of a transaction concern the same one.

use medhook::{Claimed, DedupeStore, PostgresBuilder, PostgresStore, Reason};
use medhook_tests::servers::{PASSWORD, shared_postgres};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Executor, PgPool};

use super::away::Endpoint;
use super::unique;
use crate::suite::{HOUR, key, token};

fn builder(namespace: &str) -> PostgresBuilder {
    PostgresStore::builder().namespace(namespace).step_timeout(HOUR)
}

async fn run(pool: &PgPool, statements: String) {
    pool.execute(AssertSqlSafe(statements)).await.unwrap();
}

async fn count(pool: &PgPool, table: String) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {table}"))).fetch_one(pool).await.unwrap()
}

/// Returns a pool whose hook runs statements on each connection.
async fn pool_with_hook(statements: String) -> PgPool {
    let hook = PgPoolOptions::new().after_connect(move |connection, _| {
        let statements = statements.clone();
        Box::pin(async move { connection.execute(AssertSqlSafe(statements)).await.map(drop) })
    });
    hook.connect(&shared_postgres()).await.unwrap()
}

/// Handles a delivery whose handler commits it in a transaction and then fails, as a process that crashes does, so
/// that the receiver does not commit it.
async fn handle(pool: &PgPool, store: &PostgresStore, endpoint: &Endpoint) -> Result<(), Reason> {
    let admitted = endpoint.receiver().admit(endpoint.delivery(1)).unwrap();
    let delivery = admitted.delivery().clone();
    let handler = Box::pin(async {
        let mut transaction = pool.begin().await.unwrap();
        store.commit_in(&mut transaction, &delivery).await.unwrap();
        transaction.commit().await.unwrap();
    });
    admitted.run(handler, |()| false).await.map_err(|rejection| rejection.reason())
}

#[tokio::test]
async fn a_search_path_of_the_pools_hook_changes_no_table() {
    let namespace = unique();
    let pool = pool_with_hook(format!("SET search_path TO {namespace}")).await;
    run(&pool, format!("CREATE SCHEMA {namespace}")).await;
    // The tables of an earlier version of the application.
    run(&pool, PostgresStore::ddl(&namespace).unwrap()).await;
    let store = builder(&namespace).on(&pool).await.unwrap();
    let endpoint = Endpoint::new(store.clone());
    assert_eq!(handle(&pool, &store, &endpoint).await, Ok(()));
    assert_eq!(count(&pool, format!("public.{namespace}_committed")).await, 1);
    assert_eq!(count(&pool, format!("{namespace}.{namespace}_committed")).await, 0);
    assert_eq!(handle(&pool, &store, &endpoint).await, Err(Reason::Duplicate));
}

#[tokio::test]
async fn a_temporary_table_of_the_same_name_changes_no_table() {
    let namespace = unique();
    let store = builder(&namespace).connect(&shared_postgres()).await.unwrap();
    let columns = "(key bytea PRIMARY KEY, token bytea, handled boolean, until timestamptz)";
    let pool = pool_with_hook(format!(
        "CREATE TEMP TABLE {namespace}_events {columns}; CREATE TEMP TABLE {namespace}_committed {columns}"
    ))
    .await;
    let endpoint = Endpoint::new(store.clone());
    assert_eq!(handle(&pool, &store, &endpoint).await, Ok(()));
    assert_eq!(handle(&pool, &store, &endpoint).await, Err(Reason::Duplicate));
}

#[tokio::test]
async fn a_search_path_that_changes_later_changes_no_table() {
    let namespace = unique();
    let admin = PgPool::connect(&shared_postgres()).await.unwrap();
    let later = format!("{namespace}_later");
    run(&admin, format!("CREATE ROLE {namespace} LOGIN SUPERUSER PASSWORD '{PASSWORD}'; CREATE SCHEMA {later}")).await;
    let options: PgConnectOptions = shared_postgres().parse().unwrap();
    let pool = PgPoolOptions::new().connect_lazy_with(options.username(&namespace).password(PASSWORD));
    let store = builder(&namespace).on(&pool).await.unwrap();
    // Connections get the new setting from now on. The store has opened none for its operations yet.
    run(&admin, format!("ALTER ROLE {namespace} SET search_path TO {later}")).await;
    run(&pool, PostgresStore::ddl(&namespace).unwrap()).await;
    assert_eq!(store.claim(key(1), token(1), HOUR).await.unwrap(), Claimed::Acquired);
    assert_eq!(count(&admin, format!("public.{namespace}_events")).await, 1);
    assert_eq!(count(&admin, format!("{later}.{namespace}_events")).await, 0);
}

#[tokio::test]
async fn tables_are_not_created_as_temporary_ones() {
    let url = format!("{}?options=-c%20search_path%3Dpg_temp,public", shared_postgres());
    let line = builder(&unique()).connect(&url).await.unwrap_err().to_string();
    assert!(line.contains("cannot create the tables") && line.contains("begins with pg_temp"), "{line}");
}

#[tokio::test]
async fn a_name_of_a_schema_that_needs_quotes_is_quoted() {
    let namespace = unique();
    let pool = PgPool::connect(&shared_postgres()).await.unwrap();
    let schema = format!("\"The \"\"{namespace}\"\" schema; it's\"");
    run(&pool, format!("CREATE SCHEMA {schema}")).await;
    let pool = pool_with_hook(format!("SET search_path TO {schema}")).await;
    let options: PgConnectOptions = shared_postgres().parse().unwrap();
    let in_schema = PgPoolOptions::new().connect_lazy_with(options.options([("search_path", &schema)]));
    let store = builder(&namespace).on(&in_schema).await.unwrap();
    let endpoint = Endpoint::new(store.clone());
    assert_eq!(handle(&pool, &store, &endpoint).await, Ok(()));
    assert_eq!(handle(&pool, &store, &endpoint).await, Err(Reason::Duplicate));
    assert_eq!(count(&pool, format!("{schema}.{namespace}_committed")).await, 1);
}

/// For example a database for each tenant, and one store for all.
#[tokio::test]
async fn a_transaction_on_another_database_is_rejected() {
    let namespace = unique();
    let store = builder(&namespace).connect(&shared_postgres()).await.unwrap();
    let admin = PgPool::connect(&shared_postgres()).await.unwrap();
    run(&admin, format!("CREATE DATABASE {namespace}")).await;
    let options: PgConnectOptions = shared_postgres().parse().unwrap();
    let other = PgPoolOptions::new().connect_with(options.database(&namespace)).await.unwrap();
    builder(&namespace).on(&other).await.unwrap();

    let endpoint = Endpoint::new(store.clone());
    let admitted = endpoint.receiver().admit(endpoint.delivery(1)).unwrap();
    let mut transaction = other.begin().await.unwrap();
    let error = store.commit_in(&mut transaction, admitted.delivery()).await.unwrap_err().to_string();
    assert!(
        error.starts_with("PostgreSQL: commit_in: the transaction is on another database than this store; begin it on")
            && !error.contains('\n'),
        "{error}"
    );
}
