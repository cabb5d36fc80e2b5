//! `medhook forget`.

use std::sync::Arc;

use medhook::{DedupeStore, EventKey, Reason, SqliteStore};

use crate::program::{Ran, medhook};
use crate::stage::{Stage, admitted, deliver, done, id, not_found, plain};

fn forget(stage: &Stage, rest: &[&str]) -> Ran {
    stage.run(&[&["forget", "--endpoint", "clinic", "--because", "ticket 4711", "--actor", "jdoe"], rest].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_forgotten_is_stored_again() {
    let stage = Stage::sqlite().await;
    stage.store(1).await;
    stage.handle(not_found).await;
    assert_eq!(stage.store(1).await, Reason::Duplicate);
    stage.file("id", &format!("{}\n", id(1)));
    stage.run(&["forget", "--endpoint", "clinic", "--id-file", "id"]).says(2, "needs a reason");
    stage.run(&["forget", "--endpoint", "lab", "--id-file", "id"]).says(2, "no endpoint lab; it has: clinic, plain");
    stage.run(&["forget", "--endpoint", "clinic"]).says(2, "--event-key");
    forget(&stage, &["--event-key", "0123456789abcdef"]).says(2, "the first 16 of 64 digits");
    forget(&stage, &["--id-file", "missing"]).says(2, "cannot be read");
    assert_eq!(stage.store(1).await, Reason::Duplicate, "nothing was changed");

    forget(&stage, &["--id-file", "id"])
        .says(0, "forgotten: the next delivery of the event to ")
        .says(0, "handled; this was recorded");
    forget(&stage, &["--id-file", "id"]).says(1, "there is no record that this event was handled");
    assert_eq!(stage.store(1).await, Reason::Stored);
    let key = EventKey::of_id("acme", "clinic", None, &id(1));
    forget(&stage, &["--event-key", &key.to_hex()]).says(2, "not finished").says(2, "medhook inbox replay 2");
    stage.handle(done).await;
    forget(&stage, &["--event-key", &key.to_hex()]).says(0, "forgotten: the next delivery of the event is handled");
    let entry = format!("forget {key} jdoe ticket 4711");
    assert_eq!(stage.audited().await, [entry.clone(), entry]);
}

/// Forgets an event of a receiver without an inbox, while it is claimed and afterwards.
async fn forgets(url: &str, endpoint: &str, store: Arc<dyn DedupeStore>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("store"), url).unwrap();
    let config = format!(
        "store = {{ file = \"store\" }}\n[[endpoint]]\npath = \"/clinic\"\nname = \"{endpoint}\"\nprovider = \"custom\"\n\
         provider_name = \"acme\"\nscheme = \"shared-secret\"\nheader = \"x-key\"\nsecrets = [{{ file = \"secret\" }}]\n"
    );
    std::fs::write(folder.path().join("medhook.toml"), config).unwrap();
    std::fs::write(folder.path().join("id"), id(1)).unwrap();
    let forget = || medhook(folder.path(), &["forget", "--endpoint", endpoint, "--id-file", "id"]);
    let receiver = plain(endpoint, store);
    forget().says(1, "there is no record");
    let claimed = admitted(&receiver, 1).await.run(
        async {
            forget().says(2, "the event is being handled now");
        },
        |()| true,
    );
    claimed.await.unwrap();
    assert_eq!(deliver(&receiver, 1).await, Reason::Duplicate);
    let ran = forget().says(0, "forgotten: the next delivery");
    assert!(!ran.out.contains("recorded"), "there is no audit table: {ran:?}");
    assert!(admitted(&receiver, 1).await.run(async {}, |()| true).await.is_ok());
    forget().says(0, "forgotten: the next delivery");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_forgotten_in_sqlite_without_an_inbox() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path).await.unwrap();
    forgets(&format!("sqlite:{}", path.display()), "clinic", Arc::new(store)).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_forgotten_in_postgres_without_an_inbox() {
    let url = crate::postgres::database("forget").await;
    let store = medhook::PostgresStore::connect(&url).await.unwrap();
    forgets(&url, "clinic", Arc::new(store)).await;
}

#[cfg(feature = "redis")]
#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_forgotten_in_redis() {
    let url = medhook_tests::servers::shared_redis();
    let store = medhook::RedisStore::connect(&url).await.unwrap();
    let endpoint = format!("clinic-{}", std::process::id());
    forgets(&url, &endpoint, Arc::new(store)).await;
}

#[test]
fn a_memory_store_says_why_it_cannot_forget() {
    let folder = tempfile::tempdir().unwrap();
    let config = "store = { url = \"memory\" }\n[[endpoint]]\npath = \"/a\"\nname = \"a\"\nprovider = \"fasten\"\n";
    std::fs::write(folder.path().join("medhook.toml"), config).unwrap();
    let ran = medhook(folder.path(), &["forget", "--endpoint", "a", "--event-key", &"0".repeat(64)]);
    ran.says(2, "memory store: cannot forget one event; restart the process");
}
