//! The tables, and the privileges on them.

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use super::*;

async fn error(store: &PostgresStore) -> String {
    store.open_inbox().await.map(drop).unwrap_err().to_string()
}

async fn as_role(role: &str, create: bool) -> PostgresStore {
    let options: PgConnectOptions = url().parse().unwrap();
    let builder = PostgresStore::builder().namespace(role).create_tables(create);
    builder.connect_with(options.username(role).password("p")).await.unwrap()
}

/// Creates the tables of a store, and a role of the same name that can use them.
async fn role() -> (PgPool, String) {
    let (pool, ns) = (PgPoolOptions::new().connect(&url()).await.unwrap(), unique());
    let create = PostgresStore::ddl(&ns).unwrap();
    let grant = format!(
        "CREATE ROLE {ns} LOGIN PASSWORD 'p'; GRANT SELECT ON {ns}_schema TO {ns};
        GRANT SELECT, INSERT, UPDATE, DELETE ON {ns}_events, {ns}_committed, {ns}_bodies TO {ns}"
    );
    pool.execute(AssertSqlSafe(create + &grant)).await.unwrap();
    (pool, ns)
}

#[tokio::test]
async fn several_instances_create_the_tables_at_once() {
    let ns = unique();
    let connect = || async { PostgresStore::builder().namespace(&ns).connect(&url()).await.unwrap() };
    let stores = [connect().await, connect().await, connect().await, connect().await];
    let opening = stores.map(|store| tokio::spawn(async move { store.open_inbox().await.map(drop) }));
    for opening in opening {
        opening.await.unwrap().unwrap();
    }
    let fixture = Fixture::on(connect().await, ns.clone()).await;
    assert_eq!(fixture.number("SELECT count(*) FROM {ns}_inbox_schema").await, 1);
    fixture.run("UPDATE {ns}_inbox_schema SET version = 2").await;
    let expected = format!(
        "PostgreSQL: the tables {ns}_inbox* have version 2, but this medhook supports version 1; use the medhook that \
         created them, or another namespace"
    );
    assert_eq!(error(&fixture.store).await, expected);
}

#[tokio::test]
async fn a_role_with_the_documented_privileges_is_enough() {
    let (pool, ns) = role().await;
    let store = as_role(&ns, true).await;
    let line = error(&store).await;
    assert!(
        line.starts_with(&format!("PostgreSQL: cannot create the tables {ns}_inbox* (permission denied")),
        "{line}"
    );
    assert!(line.contains("run the statements of `PostgresStore::inbox_ddl` as a role with the privilege"), "{line}");
    let line = error(&as_role(&ns, false).await).await;
    assert!(line.contains("do not exist, and create_tables is false"), "{line}");

    pool.execute(AssertSqlSafe(PostgresStore::inbox_ddl(&ns).unwrap())).await.unwrap();
    let grant = format!("GRANT SELECT ON {ns}_inbox_schema TO {ns}");
    pool.execute(AssertSqlSafe(grant)).await.unwrap();
    for (table, privileges) in [
        ("_inbox", "SELECT, INSERT, UPDATE, DELETE"),
        ("_inbox_bodies", "SELECT, INSERT, UPDATE, DELETE"),
        ("_inbox_control", "SELECT, INSERT, UPDATE"),
        ("_inbox_keys", "SELECT, INSERT, DELETE"),
        ("_inbox_audit", "SELECT, INSERT"),
    ] {
        assert_eq!(error(&store).await, format!("PostgreSQL: the role needs {privileges} on {ns}{table}"));
        pool.execute(AssertSqlSafe(format!("GRANT {privileges} ON {ns}{table} TO {ns}"))).await.unwrap();
    }
    let fixture = Fixture::on(store, ns).await;
    let id = fixture.stored(1).await;
    fixture.leased(5).await;
    fixture
        .inbox
        .finish(LeaseId::first(id, token(5)), Ending::Dead { reason: "given_up".into() }, false)
        .await
        .unwrap();
    fixture.inbox.discard(id, audit("discard")).await.unwrap();
    fixture.inbox.set_hold(LeaseHold::None, audit("release")).await.unwrap();
    fixture.inbox.set_hold(LeaseHold::All, audit("hold")).await.unwrap();
    fixture.inbox.add_key_record(KeyRecord { key_id: *b"aaaa", sealed: Bytes::new() }).await.unwrap();
    assert!(fixture.inbox.remove_key_record(*b"bbbb").await.unwrap());
    fixture.run("UPDATE {ns}_inbox SET mark_until = now()").await;
    let keep = Keep { done: Duration::ZERO, dead: None, rows: Duration::ZERO };
    assert_eq!(fixture.inbox.purge("fasten".into(), keep).await.unwrap().rows, 1);
}

#[tokio::test]
async fn the_tables_are_in_the_schema_of_the_stores_tables() {
    let fixture = Fixture::new().await;
    let ns = unique();
    fixture.run(&PostgresStore::ddl(&ns).unwrap()).await;
    fixture.run(&format!("CREATE SCHEMA {ns}")).await;
    let options: PgConnectOptions = url().parse().unwrap();
    let options = options.options([("search_path", &format!("{ns},public"))]);
    let store = PostgresStore::builder().namespace(&ns).connect_with(options).await.unwrap();
    store.open_inbox().await.unwrap();
    assert_eq!(fixture.number(&format!("SELECT count(*) FROM public.{ns}_inbox")).await, 0);
}

#[tokio::test]
async fn an_inbox_is_counted_without_being_opened() {
    let ns = unique();
    let connect = || async { PostgresStore::builder().namespace(&ns).connect(&url()).await.unwrap() };
    assert_eq!(connect().await.inbox_counts().await.unwrap(), None);
    let fixture = Fixture::on(connect().await, ns.clone()).await;
    fixture.stored(1).await;
    let counts = connect().await.inbox_counts().await.unwrap().unwrap();
    assert_eq!(counts.endpoints[0].waiting, 1);
}
