//! Full disks, locked files, damaged and missing files: the result is 503, no event is lost, and no restart is
//! needed.

use std::fs;
use std::time::Duration;

use medhook::{Claimed, DedupeStore, Settled, SqliteStore, StoreError};
use sqlx::SqlitePool;
use sqlx::sqlite::SqliteConnectOptions;

use super::{Sqlite, connection, processes, sql};
use crate::suite::{Clocked, HOUR, Place, key, retention, soon, token};

fn says<T: std::fmt::Debug>(answer: Result<T, StoreError>, what: &str) {
    let error = answer.unwrap_err();
    assert!(error.to_string().contains(what) && !error.is_full() && !error.is_lost(), "{error}");
}

/// Claims and commits events until the store rejects several batches in a row. Returns the handled events and the
/// last error.
async fn fill(store: &dyn DedupeStore) -> (Vec<u64>, StoreError) {
    const AT_ONCE: u64 = 50;
    let (mut handled, mut failures) = (Vec::new(), 0);
    for from in (0..).step_by(AT_ONCE as usize) {
        let events = (from..from + AT_ONCE).map(|n| async move {
            assert_eq!(store.claim(key(n), token(n), HOUR).await?, Claimed::Acquired);
            assert_eq!(store.commit(key(n), token(n), retention(HOUR)).await?, Settled::Settled);
            Ok(n)
        });
        let (done, failed): (Vec<_>, Vec<_>) =
            futures_util::future::join_all(events).await.into_iter().partition(Result::is_ok);
        failures = if done.is_empty() { failures + 1 } else { 0 };
        handled.extend(done.into_iter().map(Result::unwrap));
        if let (3, Some(Err(error))) = (failures, failed.into_iter().next()) {
            return (handled, error);
        }
    }
    unreachable!("a range without end")
}

async fn all_handled(store: &dyn DedupeStore, events: &[u64]) {
    for n in events {
        assert_eq!(store.claim(key(*n), token(1_000_000), HOUR).await.unwrap(), Claimed::AlreadyHandled, "{n}");
    }
}

#[tokio::test]
async fn a_full_database_keeps_every_event_and_has_room_after_events_expire() {
    let place = Sqlite::fresh().await;
    let options = SqliteConnectOptions::new().filename(place.path()).create_if_missing(true);
    let pool = SqlitePool::connect_with(options.pragma("max_page_count", "24")).await.unwrap();
    let store = SqliteStore::builder().clock(place.clock().clone()).on(&pool).await.unwrap();
    let (handled, error) = fill(&store).await;
    assert!(handled.len() > 100 && error.to_string().contains("no space left"), "{}: {error}", handled.len());
    all_handled(&store, &handled).await;
    place.clock().forward(HOUR * 3);
    // Expired events are purged within a minute, or when a store is opened.
    let _another = SqliteStore::builder().clock(place.clock().clone()).on(&pool).await.unwrap();
    soon(async || store.claim(key(1_000_000), token(1), HOUR).await.is_ok()).await;
}

#[test]
fn a_full_disk_loses_no_event_and_recovers_without_a_restart() {
    // A file size limit is a full disk that needs no root. The signal is ignored, because it would end the process.
    let mut child = processes::child_through_sh("trap '' XFSZ; exec \"$@\"", "limited");
    let output = child.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Runs in the child of the test above.
pub async fn limited() {
    let place = Sqlite::fresh().await;
    let store = SqliteStore::open(place.path()).await.unwrap();
    let (_, most) = rlimit::getrlimit(rlimit::Resource::FSIZE).unwrap();
    rlimit::setrlimit(rlimit::Resource::FSIZE, 100_000, most).unwrap();
    let (handled, error) = fill(&store).await;
    assert!(handled.len() > 100 && error.to_string().contains("reading or writing the file failed"), "{error}");
    rlimit::setrlimit(rlimit::Resource::FSIZE, most, most).unwrap();
    assert_eq!(store.claim(key(1_000_000), token(1), HOUR).await.unwrap(), Claimed::Acquired);
    all_handled(&store, &handled).await;
}

#[tokio::test]
#[ignore = "mounts a file system, so it needs root: cargo test -p medhook-tests --test stores -- --ignored full_disk"]
async fn a_full_disk_loses_no_event_and_a_read_only_disk_is_rejected() {
    let place = Sqlite::fresh().await;
    let disk = Mounted::small(place.folder.path());
    let ballast = place.folder.path().join("ballast");
    fs::write(&ballast, vec![0; 300_000]).unwrap();
    let store = SqliteStore::open(place.path()).await.unwrap();
    let (handled, error) = fill(&store).await;
    assert!(handled.len() > 100 && error.to_string().contains("no space left"), "{}: {error}", handled.len());
    fs::remove_file(ballast).unwrap();
    assert_eq!(store.claim(key(1_000_000), token(1), HOUR).await.unwrap(), Claimed::Acquired);
    all_handled(&store, &handled).await;
    drop(store);
    soon(async || !place.path().with_extension("db-wal").exists()).await;
    disk.run("mount", &["-o", "remount,ro"]);
    let line = SqliteStore::open(place.path()).await.unwrap_err().to_string();
    assert!(line.contains(place.path().to_str().unwrap()) && !line.contains('\n'), "{line}");
    eprintln!("{error}; {line}");
}

struct Mounted<'a>(&'a std::path::Path);

impl<'a> Mounted<'a> {
    fn small(at: &'a std::path::Path) -> Self {
        let disk = Mounted(at);
        disk.run("mount", &["-t", "tmpfs", "-o", "size=800k", "tmpfs"]);
        disk
    }

    fn run(&self, program: &str, args: &[&str]) {
        assert!(std::process::Command::new(program).args(args).arg(self.0).status().unwrap().success());
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

#[tokio::test]
async fn a_held_lock_is_an_error_in_time_and_loses_no_event() {
    let place = Sqlite::fresh().await;
    let store = place.store().await;
    store.claim(key(1), token(1), HOUR).await.unwrap();
    let mut other = connection(&place.path()).await;
    sql(&mut other, "BEGIN IMMEDIATE").await;
    says(store.commit(key(1), token(1), retention(HOUR)).await, "locked by another connection");
    sql(&mut other, "COMMIT").await;
    assert_eq!(store.commit(key(1), token(1), retention(HOUR)).await.unwrap(), Settled::Settled);
}

#[tokio::test]
async fn opening_waits_for_a_lock() {
    let place = Sqlite::fresh().await;
    drop(place.store().await);
    let mut other = connection(&place.path()).await;
    sql(&mut other, "BEGIN IMMEDIATE").await;
    let opening = tokio::spawn(SqliteStore::open(place.path()));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!opening.is_finished());
    sql(&mut other, "COMMIT").await;
    opening.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_missing_file_is_detected_and_recognized_when_it_is_back() {
    let place = Sqlite::fresh().await;
    let store = place.store().await;
    store.claim(key(1), token(1), HOUR).await.unwrap();
    let away = place.folder.path().join("elsewhere");
    for end in ["", "-wal", "-shm"] {
        fs::rename(place.path().with_extension(format!("db{end}")), away.with_extension(format!("db{end}"))).unwrap();
    }
    says(store.claim(key(2), token(2), HOUR).await, "cannot be opened");
    assert!(!place.path().exists(), "an empty one in its place would have forgotten everything");
    for end in ["", "-wal", "-shm"] {
        fs::rename(away.with_extension(format!("db{end}")), place.path().with_extension(format!("db{end}"))).unwrap();
    }
    assert!(matches!(store.claim(key(1), token(2), HOUR).await.unwrap(), Claimed::InFlight { .. }));
    assert_eq!(store.commit(key(1), token(1), retention(HOUR)).await.unwrap(), Settled::Settled);
}

#[tokio::test]
async fn a_damaged_row_affects_only_its_own_event() {
    let place = Sqlite::fresh().await;
    let store = place.store().await;
    store.claim(key(1), token(1), HOUR).await.unwrap();
    let mut by_hand = connection(&place.path()).await;
    sql(&mut by_hand, "PRAGMA ignore_check_constraints = ON").await;
    sql(&mut by_hand, "UPDATE medhook_events SET token = x'00'").await;
    // The claims wait for the lock together and form one batch.
    sql(&mut by_hand, "BEGIN IMMEDIATE").await;
    let claims: Vec<_> = (0..20)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move { store.claim(key(n), token(2), HOUR).await })
        })
        .collect();
    // Lets every claim begin. The busy timeout is only 2 s.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    sql(&mut by_hand, "COMMIT").await;
    for (n, claim) in claims.into_iter().enumerate() {
        let claimed = claim.await.unwrap();
        if n == 1 {
            says(claimed, "the row of an event is damaged");
        } else {
            assert_eq!(claimed.unwrap(), Claimed::Acquired, "{n}");
        }
    }
}

#[tokio::test]
async fn dropped_callers_leave_no_claim_behind() {
    let place = Sqlite::fresh().await;
    let store = place.store().await;
    let mut other = connection(&place.path()).await;
    for round in 0..50 {
        sql(&mut other, "BEGIN IMMEDIATE").await;
        for n in 0..20 {
            let claim = store.claim(key(n), token(round), HOUR);
            assert!(tokio::time::timeout(Duration::from_millis(n % 2), claim).await.is_err());
        }
        sql(&mut other, "COMMIT").await;
        for n in 0..20 {
            assert_eq!(store.release(key(n), token(round)).await.unwrap(), Settled::Settled, "{n}");
        }
    }
    for n in 0..20 {
        assert_eq!(store.claim(key(n), token(1_000), HOUR).await.unwrap(), Claimed::Acquired, "{n}");
    }
}

#[tokio::test]
async fn a_panicking_clock_does_not_stop_the_store() {
    #[derive(Debug)]
    struct Panics(std::sync::atomic::AtomicU32);
    impl medhook::Clock for Panics {
        fn now(&self) -> std::time::SystemTime {
            match self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst) % 3 {
                0 => panic!("a clock's own"),
                _ => std::time::SystemTime::now(),
            }
        }
    }
    let place = Sqlite::fresh().await;
    let store = SqliteStore::builder().clock(Panics(1.into())).open(place.path()).await.unwrap();
    let (mut won, mut failed) = (0, 0);
    for n in 0..30 {
        match store.claim(key(n), token(n), HOUR).await {
            Ok(claimed) => won += u32::from(claimed == Claimed::Acquired),
            Err(error) => failed += u32::from(error.to_string().contains("did not answer")),
        }
    }
    assert!(won >= 10 && failed >= 8 && won + failed == 30, "{won} won, {failed} failed");
}
