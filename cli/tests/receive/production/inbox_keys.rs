//! The key of the inbox: its copy in escrow, a rotation, and what remains when it is lost.

use super::events::{Handling, send};
use super::guide;
use super::stage::{Stage, Which};

pub(super) const SQLITE: [&str; 5] = ["escrow", "key-create", "key-rekey", "key-forget", "key-lost-sqlite"];
pub(super) const POSTGRES: [&str; 5] = ["escrow", "key-create", "key-rekey", "key-forget", "key-lost-postgres"];

async fn the_key_is_rotated_and_its_copy_opens_the_inbox(which: Which, blocks: [&'static str; 5]) {
    let handling = Handling::start(503).await;
    let Some(mut stage) = Stage::new(which, &blocks, handling.application.url()).await else { return };
    stage.start();
    send(stage.instance().address, 0..5).await;
    std::fs::copy(stage.path("secrets/inbox.key"), stage.path("escrow/inbox.key")).unwrap();
    stage.succeeds("escrow");

    stage.succeeds("key-create");
    let created = stage.read("secrets/inbox-2.key");
    assert!(created.len() == 45 && created == stage.read("escrow/inbox-2.key"), "32 bytes in base64");
    stage.keys = vec!["inbox.key", "inbox-2.key"];
    stage.restart();
    send(stage.instance().address, 5..6).await;
    stage.keys = vec!["inbox-2.key", "inbox.key"];
    stage.restart();
    send(stage.instance().address, 6..8).await;
    let rekeyed = stage.succeeds("key-rekey");
    assert!(rekeyed.contains("6 events are not sealed") && rekeyed.contains("6 events sealed under"), "{rekeyed}");
    stage.keys = vec!["inbox-2.key"];
    stage.restart();
    let forgotten = stage.succeeds("key-forget");
    assert!(forgotten.contains(" is forgotten: nothing is sealed under it"), "{forgotten}");
    stage.succeeds("escrow");
    assert!(!stage.path("escrow/check.toml").exists());

    // A copy of the old key no longer opens it.
    std::fs::copy(stage.path("escrow/inbox.key"), stage.path("escrow/inbox-2.key")).unwrap();
    let ran = stage.run("escrow");
    assert!(ran.code == 2 && ran.err.contains(guide::lost_key()), "{ran:?}");

    // The key is lost: neither a receiver nor a command starts.
    stage.stop();
    stage.keys = vec!["inbox.key"];
    let output = stage.receive().output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && log.contains(guide::lost_key()), "{log}");
    let lost = blocks[4];
    let listed = stage.succeeds(lost);
    assert_eq!(listed.lines().count(), 9, "{listed}");
    assert!(listed.lines().next() == Some("endpoint,kind,stored_at"), "{listed}");
    assert!(listed.lines().skip(1).all(|line| line.starts_with("mediquo,prescription_created,")), "{listed}");

    // It is found: nothing is lost.
    stage.keys = vec!["inbox-2.key"];
    stage.start();
    handling.answer(200);
    handling.until_handled(8).await;
    stage.stop();
    let handled = handling.handled();
    assert!(handled.len() == 8 && handled.values().all(|times| *times == 1), "{handled:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_of_an_inbox_in_sqlite_is_rotated_and_its_copy_opens_the_inbox() {
    the_key_is_rotated_and_its_copy_opens_the_inbox(Which::Sqlite, SQLITE).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_of_an_inbox_in_postgres_is_rotated_and_its_copy_opens_the_inbox() {
    the_key_is_rotated_and_its_copy_opens_the_inbox(Which::Postgres, POSTGRES).await;
}
