//! The `-wal` and the `-shm` of an open database are removed or replaced: no event is forgotten, or the store stops.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use medhook::{Claimed, DedupeStore, Settled, SqliteStore, StoreError};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};

use super::processes::{Killed, child, delivery, receiver};
use super::{Sqlite, connection, sql};
use crate::suite::{HOUR, Place, key, retention, soon, token};

const EVENTS: u64 = 200;
const LOG: &[&str] = &["-wal"];
const INDEX: &[&str] = &["-shm"];
const BOTH: &[&str] = &["-wal", "-shm"];

fn beside(path: &Path, ending: &str) -> PathBuf {
    path.with_extension(format!("db{ending}"))
}

fn remove(path: &Path, endings: &[&str]) {
    for ending in endings {
        fs::remove_file(beside(path, ending)).unwrap();
    }
}

fn says<T: std::fmt::Debug>(answer: Result<T, StoreError>, what: &str) {
    let error = answer.unwrap_err().to_string();
    assert!(error.contains(what), "{error}");
}

/// Claims all events, and commits those with an even number.
async fn hold(store: &dyn DedupeStore) {
    for n in 0..EVENTS {
        assert_eq!(store.claim(key(n), token(n), HOUR).await.unwrap(), Claimed::Acquired);
        if n % 2 == 0 {
            assert_eq!(store.commit(key(n), token(n), retention(HOUR)).await.unwrap(), Settled::Settled);
        }
    }
}

async fn is_held(store: &dyn DedupeStore) {
    for n in 0..EVENTS {
        match store.claim(key(n), token(1_000_000), HOUR).await.unwrap() {
            Claimed::AlreadyHandled => assert_eq!(n % 2, 0),
            Claimed::InFlight { .. } => assert_eq!(n % 2, 1),
            other => panic!("{n}: {other:?}"),
        }
    }
}

/// Runs in a process of its own: claims all events.
pub async fn second(path: &Path) {
    let store = SqliteStore::open(path).await.unwrap();
    let mut won = 0;
    for n in 0..EVENTS {
        won += u32::from(store.claim(key(n), token(1_000_000), HOUR).await.unwrap() == Claimed::Acquired);
    }
    println!("won={won};");
}

#[tokio::test]
async fn a_second_process_wins_no_event_after_the_log_or_its_index_was_removed() {
    for endings in [LOG, INDEX, BOTH] {
        let place = Sqlite::fresh().await;
        let store = SqliteStore::open(place.path()).await.unwrap();
        hold(&store).await;
        remove(&place.path(), endings);
        let path = place.path();
        let output = tokio::task::spawn_blocking(move || child("second", &path).output().unwrap()).await.unwrap();
        let output = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.contains("won=0;"), "{endings:?}: {output}");
        is_held(&store).await;
    }
}

#[tokio::test]
async fn a_removed_file_is_named_once_and_loses_no_event() {
    for endings in [LOG, INDEX, BOTH] {
        let place = Sqlite::fresh().await;
        let store = SqliteStore::open(place.path()).await.unwrap();
        let another = SqliteStore::open(place.path()).await.unwrap();
        hold(&store).await;
        // Each operation checks the files, so that no store does so by itself within the next second.
        for store in [&store, &another] {
            assert_eq!(store.claim(key(0), token(1), HOUR).await.unwrap(), Claimed::AlreadyHandled);
        }
        remove(&place.path(), endings);
        let named = format!("medhook.db{} was removed while the database was open", endings[0]);
        says(store.claim(key(EVENTS), token(1), HOUR).await, &named);
        says(another.claim(key(EVENTS), token(1), HOUR).await, &named);
        is_held(&another).await;
        is_held(&store).await;
        assert_eq!(store.commit(key(1), token(1), retention(HOUR)).await.unwrap(), Settled::Settled);
        assert_eq!(another.claim(key(1), token(2), HOUR).await.unwrap(), Claimed::AlreadyHandled);
    }
}

#[tokio::test]
async fn an_idle_store_copies_a_removed_log_into_the_database() {
    let place = Sqlite::fresh().await;
    let store = SqliteStore::open(place.path()).await.unwrap();
    hold(&store).await;
    remove(&place.path(), BOTH);
    // No operation of the store is needed: the check runs once a second.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let copy = place.folder.path().join("copy.db");
    fs::copy(place.path(), &copy).unwrap();
    is_held(&SqliteStore::open(copy).await.unwrap()).await;
}

/// Runs in a process of its own: handles one event after the other.
pub async fn committer(path: &Path) {
    let store = SqliteStore::open(path).await.unwrap();
    for n in 0.. {
        let handled = async {
            store.claim(key(n), token(n), HOUR).await?;
            store.commit(key(n), token(n), retention(HOUR)).await
        };
        match handled.await {
            Ok(Settled::Settled) => println!("handled={n};"),
            other => println!("failed={n}; {other:?}"),
        }
    }
}

#[tokio::test]
async fn no_handled_event_is_forgotten_after_a_removal_and_a_crash() {
    for endings in [LOG, INDEX, BOTH] {
        let place = Sqlite::fresh().await;
        let mut process = Killed(child("committer", &place.path()).stdout(Stdio::piped()).spawn().unwrap());
        let mut lines = BufReader::new(process.0.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut handled = Vec::new();
        let number = |line: &str, of: &str| line.split_once(of)?.1.split_once(';')?.0.parse::<u64>().ok();
        let mut events = |until: u64, or_failed: bool| {
            let (mut count, mut failed) = (0, false);
            for line in lines.by_ref() {
                if let Some(n) = number(&line, "handled=") {
                    handled.push(n);
                    count += 1;
                } else if line.contains("failed=") {
                    (count, failed) = (0, true);
                }
                if count >= if failed && or_failed { 20 } else { until } {
                    break;
                }
            }
        };
        events(50, false);
        remove(&place.path(), endings);
        events(2_000, true);
        process.0.kill().unwrap();
        process.0.wait().unwrap();
        let store = SqliteStore::open(place.path()).await.unwrap();
        assert!(handled.len() >= 70, "{}", handled.len());
        let mut forgotten = Vec::new();
        for n in handled {
            if store.claim(key(n), token(1_000_000), HOUR).await.unwrap() != Claimed::AlreadyHandled {
                forgotten.push(n);
            }
        }
        assert!(forgotten.is_empty(), "{endings:?}: {} forgotten: {forgotten:?}", forgotten.len());
    }
}

#[tokio::test]
async fn a_replaced_file_stops_the_store_and_changes_nothing() {
    for ending in ["-wal", "-shm"] {
        let place = Sqlite::fresh().await;
        let store = SqliteStore::open(place.path()).await.unwrap();
        hold(&store).await;
        fs::rename(beside(&place.path(), ending), place.folder.path().join("away")).unwrap();
        fs::write(beside(&place.path(), ending), vec![7; 32 * 1024]).unwrap();
        let database = fs::read(place.path()).unwrap();
        let named = format!("medhook.db{ending} was replaced while the database was open");
        says(store.claim(key(EVENTS), token(1), HOUR).await, &named);
        says(store.claim(key(EVENTS), token(1), HOUR).await, "medhook.db was replaced");
        let error = SqliteStore::open(place.path()).await.unwrap_err().to_string();
        assert!(error.contains("was replaced") && error.contains("start them again"), "{error}");
        drop(store);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        assert!(fs::read(place.path()).unwrap() == database, "closing the store must not copy the log");
        assert_eq!(fs::read(beside(&place.path(), ending)).unwrap().len(), 32 * 1024);
    }
}

#[tokio::test]
async fn an_empty_file_in_the_place_of_the_log_is_like_none() {
    let place = Sqlite::fresh().await;
    let store = SqliteStore::open(place.path()).await.unwrap();
    hold(&store).await;
    remove(&place.path(), LOG);
    fs::write(beside(&place.path(), "-wal"), "").unwrap();
    says(store.claim(key(EVENTS), token(1), HOUR).await, "medhook.db-wal was removed");
    is_held(&store).await;
}

#[tokio::test]
async fn a_store_waits_until_no_other_connection_uses_the_removed_log() {
    let place = Sqlite::fresh().await;
    let store = SqliteStore::open(place.path()).await.unwrap();
    hold(&store).await;
    let mut other = connection(&place.path()).await;
    sql(&mut other, "SELECT count(*) FROM medhook_events").await;
    remove(&place.path(), LOG);
    says(store.claim(key(EVENTS), token(1), HOUR).await, "medhook.db-wal was removed");
    says(store.claim(key(EVENTS), token(1), HOUR).await, "medhook.db-wal is missing while another connection");
    assert!(!beside(&place.path(), "-wal").exists(), "a new one would be used beside the removed one");
    drop(other);
    soon(async || store.claim(key(EVENTS), token(1), HOUR).await.is_ok()).await;
    is_held(&store).await;
}

async fn application(place: &Sqlite, mode: Option<SqliteJournalMode>) -> (SqlitePool, SqliteStore) {
    let options = SqliteConnectOptions::new().filename(place.path()).create_if_missing(true);
    let options = if let Some(mode) = mode { options.journal_mode(mode) } else { options };
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    sqlx::query("CREATE TABLE IF NOT EXISTS effects (n INTEGER)").execute(&pool).await.unwrap();
    let store = SqliteStore::on(&pool).await.unwrap();
    (pool, store)
}

#[tokio::test]
async fn an_application_may_use_other_journal_modes() {
    for mode in [SqliteJournalMode::Delete, SqliteJournalMode::Truncate, SqliteJournalMode::Persist] {
        let place = Sqlite::fresh().await;
        let (pool, store) = application(&place, Some(mode)).await;
        hold(&store).await;
        let (_, another) = application(&place, Some(mode)).await;
        is_held(&another).await;
        assert!(!beside(&place.path(), "-wal").exists());
        drop(pool);
    }
}

#[tokio::test]
async fn a_log_that_the_application_enables_later_is_checked() {
    let place = Sqlite::fresh().await;
    let (pool, store) = application(&place, None).await;
    assert_eq!(store.claim(key(EVENTS), token(1), HOUR).await.unwrap(), Claimed::Acquired);
    sqlx::query("PRAGMA journal_mode = WAL").execute(&pool).await.unwrap();
    hold(&store).await;
    pool.close().await;
    remove(&place.path(), LOG);
    says(store.claim(key(0), token(1), HOUR).await, "medhook.db-wal was removed");
    is_held(&store).await;
}

#[tokio::test]
async fn a_transaction_of_the_application_does_not_commit_into_a_removed_log() {
    let place = Sqlite::fresh().await;
    let (pool, store) = application(&place, Some(SqliteJournalMode::Wal)).await;
    let receiver = receiver(store.clone(), HOUR);
    let admitted = receiver.admit(delivery(&receiver)).unwrap();
    let delivery = admitted.delivery().clone();
    let handler = async {
        remove(&place.path(), LOG);
        let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
        says(store.commit_in(&mut transaction, &delivery).await, "medhook.db-wal was removed");
        500
    };
    assert_eq!(admitted.run(handler, |_| false).await.unwrap(), 500);
}
