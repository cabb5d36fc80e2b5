use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use medhook::{Claimed, ConfigError, DedupeStore, Settled, SqliteStore};
use sqlx::{Row, SqlitePool};
use tempfile::TempDir;
use tracing::instrument::WithSubscriber;

use super::{Sqlite, connection, sql};
use crate::suite::{Clocked, HOUR, Place, key, retention, soon, token};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode() & 0o777
}

#[tokio::test]
async fn only_the_owner_can_read_the_database_files() {
    let place = Sqlite::fresh().await;
    let store = SqliteStore::open(place.path()).await.unwrap();
    store_one(&store).await;
    for end in ["", "-wal", "-shm"] {
        assert_eq!(mode(&place.folder.path().join(format!("medhook.db{end}"))), 0o600, "{end}");
    }
}

#[tokio::test]
async fn an_existing_file_keeps_its_mode() {
    for given in [0o600, 0o640, 0o660] {
        let place = Sqlite::fresh().await;
        fs::write(place.path(), "").unwrap();
        fs::set_permissions(place.path(), fs::Permissions::from_mode(given)).unwrap();
        let store = SqliteStore::open(place.path()).await.unwrap();
        store_one(&store).await;
        for end in ["", "-wal", "-shm"] {
            assert_eq!(mode(&place.folder.path().join(format!("medhook.db{end}"))), given, "{end}");
        }
    }
}

async fn store_one(store: &dyn DedupeStore) {
    assert_eq!(store.claim(key(1), token(1), HOUR).await.unwrap(), Claimed::Acquired);
}

/// Returns the error of opening a path, and checks that it is one line that names the path.
async fn rejection(path: &Path) -> String {
    one_line(SqliteStore::open(path).await.unwrap_err(), path)
}

fn one_line(error: ConfigError, path: &Path) -> String {
    let line = error.to_string();
    assert!(!line.contains('\n') && line.contains(path.to_str().unwrap()), "{line}");
    line
}

#[tokio::test]
async fn an_error_about_a_path_is_one_line() {
    let folder = TempDir::new().unwrap();
    let text = folder.path().join("text");
    fs::write(&text, "not a database, and longer than SQLite's own header is".repeat(10)).unwrap();
    let damaged = folder.path().join("damaged");
    store_one(&SqliteStore::open(&damaged).await.unwrap()).await;
    damage(&damaged).await;
    let in_its_way = folder.path().join("in_its_way");
    fs::create_dir(folder.path().join("in_its_way-journal")).unwrap();
    for (path, said) in [
        (folder.path().to_path_buf(), "is a directory, not a file"),
        (folder.path().join("missing/medhook.db"), "its directory does not exist"),
        (text.join("medhook.db"), "cannot be created: Not a directory"),
        ("/dev/null".into(), "is not a file"),
        (text, "is not a SQLite database"),
        (damaged, "the file is damaged"),
        (in_its_way, "cannot be opened; check that it exists"),
        (":memory:".into(), "is not a file"),
        ("".into(), "is not a file"),
    ] {
        let line = rejection(&path).await;
        assert!(line.contains(said), "{line}");
    }
}

/// Damages all pages but the first one, which identifies the file as a database.
async fn damage(path: &Path) {
    soon(async || !path.with_file_name("damaged-wal").exists()).await;
    let mut bytes = fs::read(path).unwrap();
    let page = usize::from(u16::from_be_bytes([bytes[16], bytes[17]]));
    bytes[page..].fill(0xff);
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_file_that_other_users_can_open_causes_a_warning() {
    for (mode, warned) in [(0o600, false), (0o700, false), (0o640, true), (0o602, true), (0o660, true)] {
        let place = Sqlite::fresh().await;
        fs::write(place.path(), "").unwrap();
        fs::set_permissions(place.path(), fs::Permissions::from_mode(mode)).unwrap();
        let log = Log::default();
        let to = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || to.clone()).finish();
        let store = SqliteStore::open(place.path()).with_subscriber(subscriber).await.unwrap();
        store_one(&store).await;
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert_eq!(log.contains("other users can access the store's file"), warned, "{mode:o}: {log}");
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_path_that_looks_like_a_uri_is_a_path() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("file:a?mode=memory");
    store_one(&SqliteStore::open(&path).await.unwrap()).await;
    assert!(path.is_file());
}

#[tokio::test]
async fn tables_of_a_newer_version_are_rejected_and_left_alone() {
    let place = Sqlite::fresh().await;
    drop(SqliteStore::open(place.path()).await.unwrap());
    let mut by_hand = connection(&place.path()).await;
    sql(&mut by_hand, "UPDATE medhook_schema SET version = 2").await;
    let line = rejection(&place.path()).await;
    assert!(line.contains("version 2 of a newer medhook, but this medhook supports version 1"), "{line}");
    sql(&mut by_hand, "UPDATE medhook_schema SET version = 0").await;
    assert!(rejection(&place.path()).await.contains("its tables were not created by medhook"));
    sql(&mut by_hand, "DELETE FROM medhook_schema").await;
    sql(&mut by_hand, "INSERT INTO medhook_schema VALUES (1), (1)").await;
    assert!(rejection(&place.path()).await.contains("its tables were not created by medhook"));
}

#[tokio::test]
async fn tables_are_created_only_if_allowed() {
    let place = Sqlite::fresh().await;
    let error = SqliteStore::builder().create_tables(false).open(place.path()).await.unwrap_err();
    let line = one_line(error, &place.path());
    assert!(line.contains("no such table: main.medhook_schema"), "{line}");
    drop(SqliteStore::open(place.path()).await.unwrap());
    store_one(&SqliteStore::builder().create_tables(false).open(place.path()).await.unwrap()).await;
}

#[tokio::test]
async fn an_invalid_namespace_is_rejected() {
    let place = Sqlite::fresh().await;
    let error = SqliteStore::builder().namespace("a; DROP TABLE b").open(place.path()).await.unwrap_err();
    assert!(error.to_string().contains("invalid namespace `a; DROP TABLE b`"), "{error}");
    assert!(!place.path().exists(), "nothing was done");
}

#[tokio::test]
async fn a_read_only_file_is_rejected() {
    let place = Sqlite::fresh().await;
    drop(SqliteStore::open(place.path()).await.unwrap());
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(place.path()).read_only(true);
    let pool = SqlitePool::connect_with(options).await.unwrap();
    let line = one_line(SqliteStore::on(&pool).await.unwrap_err(), &place.path());
    assert!(line.contains("the file is read-only"), "{line}");
}

#[tokio::test]
async fn old_expired_rows_are_purged_while_the_store_is_idle() {
    const EVENTS: u64 = 1_000;
    let place = Sqlite::fresh().await;
    let store = place.store().await;
    let claims = (0..EVENTS).map(|n| {
        let store = store.clone();
        async move {
            store.claim(key(n), token(n), HOUR).await.unwrap();
            if n % 2 == 0 {
                store.commit(key(n), token(n), retention(HOUR)).await.unwrap();
            }
        }
    });
    futures_util::future::join_all(claims).await;
    drop(store);
    place.clock().forward(HOUR + HOUR / 2);
    let store = place.store().await;
    store.claim(key(EVENTS), token(EVENTS), HOUR * 24).await.unwrap();
    assert_eq!(count(&place.path()).await, EVENTS as i64 + 1, "expired, but only recently");
    drop(store);
    place.clock().forward(HOUR);
    let store = place.store().await;
    let began = Instant::now();
    while count(&place.path()).await > 1 {
        assert!(began.elapsed() < Duration::from_secs(60), "never deleted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let kept = store.commit(key(EVENTS), token(EVENTS), retention(HOUR)).await.unwrap();
    assert_eq!(kept, Settled::Settled);
}

async fn count(path: &Path) -> i64 {
    let mut by_hand = connection(path).await;
    sqlx::query("SELECT count(*) FROM medhook_events").fetch_one(&mut by_hand).await.unwrap().get(0)
}

#[tokio::test]
async fn dropping_the_last_clone_ends_the_thread() {
    let place = Sqlite::fresh().await;
    let store = SqliteStore::open(place.path()).await.unwrap();
    let clone = store.clone();
    store_one(&store).await;
    drop(store);
    assert_eq!(clone.release(key(1), token(1)).await.unwrap(), Settled::Settled, "the clone goes on");
    drop(clone);
    // SQLite's last connection to a file removes the write-ahead log.
    let began = Instant::now();
    while place.folder.path().join("medhook.db-wal").exists() {
        assert!(began.elapsed() < Duration::from_secs(30), "never closed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn a_store_outlives_the_runtime_it_was_opened_in() {
    let folder = TempDir::new().unwrap();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let store = first.block_on(SqliteStore::open(folder.path().join("medhook.db"))).unwrap();
    drop(first);
    // Like actix-web's workers: several runtimes, each with one thread.
    let workers: Vec<_> = (0..4)
        .map(|n| {
            let store = store.clone();
            std::thread::spawn(move || {
                runtime().block_on(async {
                    for event in 0..20 {
                        assert_eq!(store.claim(key(100 * n + event), token(n), HOUR).await.unwrap(), Claimed::Acquired);
                    }
                });
            })
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
}

#[tokio::test]
async fn debug_shows_nothing() {
    let place = Sqlite::fresh().await;
    assert_eq!(format!("{:?}", SqliteStore::open(place.path()).await.unwrap()), "SqliteStore { .. }");
}
