//! A backup while deliveries arrive, and its restore with a hold and, as a control, without one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::events::{Arriving, Handling, send, until};
use super::stage::{Stage, Which};

pub(super) const SQLITE: [&str; 7] =
    ["backup-sqlite", "restore-sqlite", "hold", "release-since", "compare", "discard", "release"];
pub(super) const POSTGRES: [&str; 7] =
    ["backup-postgres", "restore-postgres", "hold", "release-since", "compare", "discard", "release"];

type Handled = BTreeMap<String, usize>;

/// Returns the events that were handled between two counts, each of them once.
fn since(before: &Handled, after: &Handled) -> BTreeSet<String> {
    let times = |key: &String| after[key] - before.get(key).copied().unwrap_or_default();
    let keys: BTreeSet<_> = after.keys().filter(|key| times(key) > 0).cloned().collect();
    assert!(keys.iter().all(|key| times(key) == 1), "{keys:?}");
    keys
}

async fn a_restored_backup_handles_nothing_twice(which: Which, blocks: [&'static str; 7]) {
    let handling = Handling::start(503).await;
    let Some(mut stage) = Stage::new(which, &blocks, handling.application.url()).await else { return };
    let [backup, restore, ..] = blocks;
    stage.start();
    let address = stage.instance().address;
    send(address, 0..10).await;
    let arriving = Arriving::start(address, 10).await;
    stage.succeeds(backup);
    let next = arriving.stop().await;
    let made: Vec<_> = std::fs::read_dir(stage.path("backups")).unwrap().map(|file| file.unwrap()).collect();
    assert!(made.len() == 1 && !made[0].file_name().to_str().unwrap().ends_with(".part"), "{made:?}");

    // Handled after the backup, and so are events that it does not contain.
    handling.answer(200);
    handling.until_handled(next).await;
    send(address, next..next + 3).await;
    handling.until_handled(next + 3).await;
    let first = handling.handled();
    assert!(first.len() == next + 3 && first.values().all(|times| *times == 1), "{first:?}");
    stage.stop();

    // The control: without a hold, all that was unfinished at the backup is handled again.
    stage.succeeds(restore);
    stage.use_restored();
    stage.start();
    until("the restored events end", async || stage.unfinished() == 0).await;
    stage.stop();
    let control = handling.handled();
    let unfinished = since(&first, &control);
    assert!((10..=next).contains(&unfinished.len()), "{} of {next}", unfinished.len());

    if which == Which::Sqlite {
        std::fs::remove_dir_all(stage.path("state/broken")).unwrap();
    }
    stage.succeeds(restore);
    stage.use_restored();
    // The noted time has seconds. In practice, a restore takes longer.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    stage.succeeds("hold");
    stage.start();
    send(stage.instance().address, next + 3..next + 6).await;
    // Workers look for events every second.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(handling.handled(), control, "on hold");
    assert_eq!(stage.unfinished(), unfinished.len() + 3);

    stage.succeeds("release-since");
    until("the new events are handled", async || stage.unfinished() == unfinished.len()).await;
    let released = handling.handled();
    let new = since(&control, &released);
    assert!(new.len() == 3 && new.is_disjoint(&unfinished), "{new:?}");

    stage.succeeds("compare");
    let lines = stage.read("backups/unfinished");
    let listed: BTreeSet<_> = lines.lines().map(|line| line.split_once(' ').unwrap().0.to_owned()).collect();
    assert_eq!(listed, unfinished);
    // The application has handled all but two.
    let open: BTreeSet<_> = unfinished.iter().take(2).cloned().collect();
    let known: Vec<_> = control.keys().filter(|key| !open.contains(*key)).cloned().collect();
    stage.folder.file("backups/handled", &format!("{}\n", known.join("\n")));
    let discarded = stage.succeeds("discard");
    assert!(discarded.contains(&format!("{} events discarded", unfinished.len() - 2)), "{discarded}");
    assert_eq!(stage.unfinished(), 2);

    stage.succeeds("release");
    until("the rest is handled", async || stage.unfinished() == 0).await;
    assert_eq!(since(&released, &handling.handled()), open);
    let audit = stage.shell("medhook inbox audit --config \"$config\"", "").out;
    for line in ["restored the backup of 3:00", "arrived after the restore", "compared with the application"] {
        assert!(audit.contains(line), "{audit}");
    }
    stage.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_backup_of_sqlite_handles_nothing_twice() {
    a_restored_backup_handles_nothing_twice(Which::Sqlite, SQLITE).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_backup_of_postgres_handles_nothing_twice() {
    a_restored_backup_handles_nothing_twice(Which::Postgres, POSTGRES).await;
}
