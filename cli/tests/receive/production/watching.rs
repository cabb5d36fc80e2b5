//! Commands for cron, for the time after an alert, and for operators on call.

use super::events::{Handling, send, until};
use super::guide;
use super::stage::{Stage, Which};

pub(super) const BLOCKS: [&str; 6] = ["operator-config", "check", "look", "cron", "disk", "vacuum"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_cron_and_of_the_operator_find_what_is_wrong() {
    let handling = Handling::start(200).await;
    let Some(mut stage) = Stage::new(Which::Sqlite, &BLOCKS, handling.application.url()).await else { return };
    stage.more = "retry = { initial_backoff = \"20ms\", max_backoff = \"20ms\", max_attempts = 1 }".to_owned();
    stage.write_config();
    assert!(stage.succeeds("check").contains("ok; not checked: "));
    let ran = stage.run("cron");
    assert!(ran.code == 1 && ran.err.contains("medhook.db does not exist"), "{ran:?}");
    stage.start();
    stage.succeeds("look");
    // systemd removes the credentials when the receiver stops.
    let originals = stage.read("medhook.toml");
    let secrets = stage.path("secrets").display().to_string();
    stage.folder.file("medhook.toml", &originals.replace(&secrets, "/run/credentials/medhook.service"));
    stage.succeeds("operator-config");
    let missing = stage.shell("medhook inbox stats --config \"$config\"", "");
    assert!(missing.code == 2 && missing.err.contains("the file does not exist"), "{missing:?}");
    assert_eq!(stage.shell("medhook inbox stats --config \"$config.operator\"", "").code, 0);
    stage.folder.file("medhook.toml", &originals);
    let silent = |stage: &Stage| {
        let ran = stage.run("cron");
        assert!(ran.code == 0 && ran.out.is_empty() && ran.err.is_empty(), "{ran:?}");
    };
    let complains = |stage: &Stage, of: &str| {
        let ran = stage.run("cron");
        assert!(ran.code == 1 && (ran.out.contains(of) || ran.err.contains(of)), "{of}: {ran:?}");
    };
    silent(&stage);
    let address = stage.instance().address;
    let do_now = |stage: &Stage, command: &str| {
        let ran = stage.shell(&format!("medhook inbox {command} --config \"$config\""), "");
        assert_eq!(ran.code, 0, "{ran:?}");
    };

    do_now(&stage, "pause mediquo");
    complains(&stage, "late, paused or on hold: mediquo");
    // An event that was stored an hour ago.
    send(address, 1..2).await;
    do_now(&stage, "resume mediquo");
    handling.until_handled(1).await;
    silent(&stage);
    do_now(&stage, "hold");
    complains(&stage, "late, paused or on hold: mediquo");
    do_now(&stage, "release");
    silent(&stage);

    handling.answer(500);
    send(address, 2..4).await;
    until("the events are dead", async || stage.stats()["dead"] == 2).await;
    complains(&stage, "2 events are dead");
    for command in guide::on_call() {
        let ran = stage.shell(command, "");
        assert!(ran.code == 0 && !ran.out.is_empty(), "{command}: {ran:?}");
    }
    assert!(guide::on_call().len() >= 10);
    let disk = stage.succeeds("disk");
    assert!(disk.contains("Use%") && disk.contains("would be deleted"), "{disk}");
    handling.answer(200);
    do_now(&stage, "replay --status dead");
    handling.until_handled(3).await;
    until("the events end", async || stage.stats()["processing"] == 0).await;
    silent(&stage);

    do_now(&stage, "pause mediquo");
    send(address, 4..5).await;
    let late = "sqlite3 \"$state/medhook.db\" 'PRAGMA busy_timeout = 60000; \
                UPDATE medhook_inbox SET stored_at = stored_at - 3600000'";
    stage.stop();
    assert_eq!(stage.shell(late, "").code, 0);
    handling.answer(503);
    stage.more = "retry = { initial_backoff = \"20ms\", max_backoff = \"20ms\" }".to_owned();
    stage.start();
    do_now(&stage, "resume mediquo");
    complains(&stage, "late, paused or on hold: mediquo");
    handling.answer(200);
    handling.until_handled(4).await;
    until("the event ends", async || stage.stats()["processing"] == 0).await;
    silent(&stage);

    stage.stop();
    let before = stage.path("state/medhook.db").metadata().unwrap().len();
    stage.succeeds("vacuum");
    assert!(stage.path("state/medhook.db").metadata().unwrap().len() <= before);
    complains(&stage, "Failed to connect");
    stage.start();
    silent(&stage);
    stage.stop();
}
