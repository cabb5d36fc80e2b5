//! Commands that cannot run.

use medhook::SqliteStore;

use crate::stage::{CONFIG, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_exist_is_not_created() {
    let stage = Stage::sqlite().await;
    stage.file("store", "sqlite:other.db");
    stage.inbox(&["list"]).says(2, "other.db does not exist; no receiver has used this store yet");
    stage
        .run(&["forget", "--endpoint", "clinic", "--event-key", &"ab".repeat(32), "--because", "x"])
        .says(2, "does not exist");
    assert!(!stage.folder().join("other.db").exists());
    drop(SqliteStore::open(stage.folder().join("other.db")).await.unwrap());
    stage.inbox(&["list"]).says(2, "it has no tables of an inbox yet; start `medhook receive`");
    std::fs::write(stage.folder().join("empty.db"), "").unwrap();
    stage.file("store", "sqlite:empty.db");
    stage.inbox(&["stats"]).says(2, "it has no tables of an inbox yet");
    stage.file("store", "memory");
    stage.inbox(&["list"]).says(2, "only SQLite and PostgreSQL have one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_wrong_key_is_named() {
    let stage = Stage::sqlite().await;
    stage.store(1).await;
    stage.config(&CONFIG.replace("inbox_key = { file = \"key0\" }", ""));
    stage.inbox(&["list"]).says(2, "has neither `inbox_key` nor `allow_plaintext_bodies`, so it has no inbox");
    stage.config(&CONFIG.replace("inbox_key = { file = \"key0\" }", "allow_plaintext_bodies = true"));
    stage.inbox(&["list"]).says(2, "unreadable without its keys");
    stage.config(&CONFIG.replace("key0", "key2"));
    stage.inbox(&["list"]).says(2, "sealed with other keys");
    stage.config(&CONFIG.replace("key0", "missing"));
    stage.inbox(&["list"]).says(2, "inbox_key");
    for arguments in [["list", "--config", "none.toml"], ["--config", "none.toml", "list"]] {
        stage.inbox(&arguments).says(2, "none.toml");
    }
    stage.inbox(&["list", "--limit", "0"]).says(2, "--limit");
    stage.inbox(&["list", "--status", "lost"]).says(2, "waiting, processing, done, dead, discarded");
}
