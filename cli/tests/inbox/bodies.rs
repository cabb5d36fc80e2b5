//! `show --body`.

use std::os::unix::fs::MetadataExt;

use crate::stage::{Stage, done, id, not_found};

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_written_to_a_new_private_file_and_the_view_is_recorded() {
    let stage = Stage::sqlite().await;
    stage.store(1).await;
    stage.handle(not_found).await;
    let show = |rest: &[&str]| stage.inbox(&[&["show", "1", "--actor", "jdoe"], rest].concat());
    let because = ["--because", "ticket 4711"];
    show(&["--body", "body.json"]).says(2, "viewing a body needs a reason");
    show(&[&["--body", "-"], &because[..]].concat()).says(2, "never to standard output");
    let existing = stage.file("existing", "x");
    show(&[&["--body", "existing"], &because[..]].concat()).says(2, "exists; name a new file");
    std::os::unix::fs::symlink(stage.folder().join("target"), stage.folder().join("link")).unwrap();
    show(&[&["--body", "link"], &because[..]].concat()).says(2, "exists; name a new file");
    assert_eq!(stage.audited().await, [""; 0], "nothing was viewed");

    let ran = show(&[&["--body", "body.json"], &because[..]].concat());
    assert!(ran.code == 0 && ran.err.contains("health data") && ran.err.contains("was recorded"), "{ran:?}");
    let file = stage.folder().join("body.json");
    assert!(std::fs::read_to_string(&file).unwrap().contains(&id(1)));
    assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
    assert_eq!(stage.audited().await, ["body 1 jdoe ticket 4711"]);
    // Recorded before the file is created.
    show(&[&["--body", "missing/body.json"], &because[..]].concat()).says(2, "the view is recorded nevertheless");
    assert_eq!(stage.audited().await.len(), 2);
    assert_eq!(std::fs::read_to_string(existing).unwrap(), "x");
    assert!(!stage.folder().join("target").exists());

    stage.inbox(&["replay", "1"]).says(0, "1 event replayed");
    stage.handle(done).await;
    show(&[&["--body", "other.json"], &because[..]].concat()).says(1, "was deleted; nothing was written");
    assert!(!stage.folder().join("other.json").exists());
}
