//! `rekey`.

use crate::stage::{CONFIG, Stage, id, not_found};

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_rotated_by_the_config_file() {
    let stage = Stage::sqlite().await;
    for number in 1..=10 {
        stage.store(number).await;
    }
    stage.handle(not_found).await;
    let keys = |listed: &str| CONFIG.replace("{ file = \"key0\" }", listed);
    stage.inbox(&["rekey"]).says(0, "0 events sealed under the first key");
    stage.config(&keys("[{ file = \"key1\" }, { file = \"key0\" }]"));
    stage.inbox(&["rekey", "--dry-run"]).says(0, "10 events are not sealed under the first key; nothing was changed");
    stage.inbox(&["rekey", "--dry-run", "--json"]).says(0, "{\"dry_run\":true,\"events\":10}");
    stage.inbox(&["rekey", "--actor", "jdoe", "--because", "yearly"]).says(0, "10 events sealed under the first key");
    stage.config(&keys("{ file = \"key1\" }"));
    let ran = stage.inbox(&["rekey", "--json"]);
    let line = &ran.json()[0];
    assert_eq!((ran.code, line["sealed"].as_u64(), line["left"].as_u64()), (0, Some(0), Some(0)), "{ran:?}");
    assert_eq!(line["forgotten_keys"].as_array().unwrap().len(), 1);
    let audit = stage.audit().await;
    assert_eq!(audit.iter().filter(|entry| entry.action == "rekey").count(), 3);
    assert!(audit.iter().any(|entry| entry.actor == "jdoe" && entry.reason == "yearly"));
    stage.inbox(&["show", "1", "--body", "body", "--because", "check"]).says(0, "health data");
    assert!(std::fs::read_to_string(stage.folder().join("body")).unwrap().contains(&id(1)));
    stage.config(CONFIG);
    stage.inbox(&["list"]).says(2, "sealed with other keys");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_cannot_be_opened_are_named() {
    let stage = Stage::sqlite().await;
    stage.store(1).await;
    stage.config(&CONFIG.replace("{ file = \"key0\" }", "[{ file = \"key1\" }, { file = \"key0\" }]"));
    stage.inbox(&["stats"]).says(0, "");
    stage.config(&CONFIG.replace("key0", "key1"));
    stage.inbox(&["rekey"]).says(1, "1 event is not readable, and left unchanged").says(1, "damaged: 1\n");
    stage.inbox(&["show", "1", "--body", "body", "--because", "check"]).says(2, "event 1 cannot be opened");
    assert!(!stage.folder().join("body").exists());
}
