//! An upgrade and its rollback, while events are stored.

use std::os::unix::fs::PermissionsExt;

use super::events::{Handling, send};
use super::stage::{Stage, Which};

pub(super) const BLOCKS: [&str; 2] = ["upgrade", "rollback"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_and_its_rollback_lose_no_event() {
    let handling = Handling::start(503).await;
    let Some(mut stage) = Stage::new(Which::Sqlite, &BLOCKS, handling.application.url()).await else { return };
    stage.start();
    let inode = |stage: &Stage, name: &str| {
        use std::os::unix::fs::MetadataExt;
        stage.path(name).metadata().unwrap().ino()
    };
    let old = inode(&stage, "bin/medhook");

    // A program that rejects the config file does not replace the old one.
    let broken = stage.folder.file("bin/medhook.new", "#!/bin/sh\ntest \"$1\" = --version\n");
    std::fs::set_permissions(broken, std::fs::Permissions::from_mode(0o755)).unwrap();
    let ran = stage.run("upgrade");
    assert!(ran.code != 0 && inode(&stage, "bin/medhook") == old, "{ran:?}");

    std::fs::copy(env!("CARGO_BIN_EXE_medhook"), stage.path("bin/medhook.new")).unwrap();
    let new = inode(&stage, "bin/medhook.new");
    send(stage.instance().address, 0..3).await;
    let printed = stage.succeeds("upgrade");
    assert!(printed.starts_with("medhook ") && printed.contains("ok; not checked: "), "{printed}");
    assert_eq!(inode(&stage, "bin/medhook"), new);
    stage.restart();
    send(stage.instance().address, 3..6).await;
    stage.succeeds("rollback");
    assert_ne!(inode(&stage, "bin/medhook"), new);
    stage.restart();
    handling.answer(200);
    send(stage.instance().address, 6..7).await;
    handling.until_handled(7).await;
    stage.stop();
    let handled = handling.handled();
    assert!(handled.len() == 7 && handled.values().all(|times| *times == 1), "{handled:?}");
}
