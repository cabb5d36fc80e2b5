//! The same over PostgreSQL, where commands and receivers are on different machines.

use std::sync::atomic::{AtomicUsize, Ordering};

use medhook::{PostgresStore, Reason};
use medhook_tests::servers::shared_postgres;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::stage::{Stage, bodies, done, id, not_found};

/// Returns the URL of a new database.
pub(crate) async fn database(name: &str) -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let url = shared_postgres();
    let name = format!("cli_inbox_{name}_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::SeqCst));
    let mut server = PgConnection::connect(&url).await.unwrap();
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut server).await.unwrap();
    let (server, _) = url.rsplit_once('/').unwrap();
    format!("{server}/{name}")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inbox_in_postgres_is_operated() {
    let url = database("operated").await;
    let folder = tempfile::tempdir().unwrap();
    let store = PostgresStore::connect(&url).await.unwrap();
    let inbox = store.inbox(bodies()).await.unwrap();
    let stage = Stage::new(folder, inbox, &url);
    for number in 1..=3 {
        stage.store(number).await;
    }
    stage.handle(not_found).await;
    stage.inbox(&["list", "--status", "dead"]).says(0, "3 events are dead");
    stage.inbox(&["stats", "--fail-on-dead"]).says(1, "3 events are dead");
    stage.inbox(&["show", "1"]).says(0, "status_404: the application answered 404");
    stage.inbox(&["show", "1", "--body", "body", "--because", "x"]).says(0, "health data");
    assert!(std::fs::read_to_string(stage.folder().join("body")).unwrap().contains(&id(1)));
    stage.inbox(&["replay", "--status", "dead", "--dry-run"]).says(0, "3 events would be replayed");
    stage.inbox(&["replay", "1", "9"]).says(1, "1 event replayed").says(1, "purged: 9");
    stage.inbox(&["discard", "--status", "dead", "--limit", "1", "--because", "x"]).says(0, "1 event discarded");
    stage.inbox(&["pause", "clinic"]).says(0, "is paused");
    stage.inbox(&["resume", "clinic"]).says(0, "is resumed");
    stage.inbox(&["hold"]).says(0, "on hold");
    stage.inbox(&["release", "--stored-since", "1h"]).says(0, "released: events stored");
    stage.inbox(&["release"]).says(0, "all events");
    stage.handle(done).await;
    stage.inbox(&["purge"]).says(0, "clinic: 0 bodies, 0 events deleted");
    stage.inbox(&["rekey"]).says(0, "0 events sealed");
    stage.file("id", &id(1));
    stage
        .run(&["forget", "--endpoint", "clinic", "--id-file", "id", "--because", "x"])
        .says(0, "forgotten: the next delivery");
    assert_eq!(stage.store(1).await, Reason::Stored);
    let actions: Vec<_> = stage.audit().await.into_iter().map(|entry| entry.action).collect();
    let expected =
        ["body", "replay", "discard", "pause", "resume", "hold", "release", "release", "purge", "rekey", "forget"];
    assert_eq!(actions, expected);
    let mut server = PgConnection::connect(&url).await.unwrap();
    let broken = "ALTER TABLE medhook_inbox_schema RENAME COLUMN version TO other";
    sqlx::query(broken).execute(&mut server).await.unwrap();
    // A problem of the tables is not one of the key, and is named once.
    let ran = stage.inbox(&["list"]).says(2, "`store`: PostgreSQL: cannot check the tables of the inbox: ");
    assert_eq!(ran.err.matches("does not exist").count(), 1, "{ran:?}");
    stage.file("store", &database("empty").await);
    stage.inbox(&["list"]).says(2, "it has no tables of an inbox yet");
}
