//! Files of other versions, and files that other users can access.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::super::super::file::beside;
use super::super::access;
use super::*;
use crate::ConfigError;
use crate::dedupe::Forgotten;
use crate::dedupe::inbox::store::RowFilter;
use crate::inbox::{Bodies, ring};

/// The tables of medhook before it recorded bodies, with version 1.
const OLD: &str = "CREATE TABLE IF NOT EXISTS medhook_events (
    key BLOB NOT NULL PRIMARY KEY CHECK (length(key) = 32),
    token BLOB NOT NULL CHECK (length(token) = 16),
    handled INTEGER NOT NULL CHECK (handled IN (0, 1)),
    until INTEGER NOT NULL -- milliseconds since 1970
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS medhook_events_until ON medhook_events (until);
CREATE TABLE IF NOT EXISTS medhook_schema (version INTEGER NOT NULL) STRICT;
INSERT INTO medhook_schema (version) SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM medhook_schema);
INSERT INTO medhook_events VALUES (x'0001000000000000000000000000000000000000000000000000000000000000', randomblob(16),
    1, 9000000000000);";

#[tokio::test]
async fn a_file_of_the_first_version_gets_an_inbox() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("medhook.db");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut old = options.connect().await.unwrap();
    sqlx::raw_sql(OLD).execute(&mut old).await.unwrap();
    drop(old);
    let store = SqliteStore::open(&path).await.unwrap();
    let inbox = open(&store).await;
    assert_eq!(inbox.store_event(event(1)).await.unwrap(), StoreResult::Duplicate);
    assert_eq!(inbox.store_event(event(2)).await.unwrap(), StoreResult::Stored { id: 1 });
}

/// Busy processes on the same file can hold its lock for long, because it is not fair.
#[tokio::test]
async fn opening_an_inbox_and_operators_wait_for_the_lock_of_another_connection() {
    let place = Place::new().await;
    let store = SqliteStore::open(place.path()).await.unwrap();
    let mut other = SqliteConnectOptions::new().filename(place.path()).connect().await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let unlocked = async {
        // Longer than the busy timeout.
        tokio::time::sleep(Duration::from_millis(2_300)).await;
        sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    };
    let NewEvent { event_key, row_key, .. } = event(1);
    let forget = place.inbox.forget(event_key, row_key, audit("forget"));
    let (opened, listed, forgotten, ()) =
        tokio::join!(store.inbox(keyless()), place.inbox.list(RowFilter::default()), forget, unlocked);
    opened.unwrap();
    assert!(listed.unwrap().is_empty());
    assert_eq!(forgotten.unwrap(), Forgotten::NotFound);
}

#[tokio::test]
async fn tables_of_a_newer_version_are_an_error_that_says_so() {
    let place = Place::new().await;
    place.run("UPDATE medhook_inbox_schema SET version = 2").await;
    let error = place.store.inbox(keyless()).await.unwrap_err().to_string();
    let path = place.path();
    assert_eq!(
        error.replace(&path.display().to_string(), "FILE"),
        "SQLite store FILE: cannot open the inbox: the tables of its inbox have version 2 of a newer medhook, but \
         this medhook supports version 1; upgrade medhook"
    );
    place.run("UPDATE medhook_inbox_schema SET version = 0").await;
    let error = place.store.inbox(keyless()).await.unwrap_err().to_string();
    assert!(error.ends_with("the tables of its inbox were not created by medhook"), "{error}");
}

#[tokio::test]
async fn missing_tables_are_created_only_if_the_application_does_not_do_it() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("medhook.db");
    drop(SqliteStore::open(&path).await.unwrap());
    let store = SqliteStore::builder().create_tables(false).open(&path).await.unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    let error = store.inbox(keyless()).await.unwrap_err().to_string();
    assert!(error.contains("cannot open the inbox: ") && error.contains("no such table"), "{error}");
    let mut other = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    let ddl = SqliteStore::inbox_ddl("medhook").unwrap();
    sqlx::raw_sql(AssertSqlSafe(ddl)).execute(&mut other).await.unwrap();
    open(&store).await;
}

#[test]
fn the_statements_of_another_namespace_have_its_prefix_only() {
    let ddl = SqliteStore::inbox_ddl("clinic").unwrap();
    assert!(ddl.contains("CREATE TABLE IF NOT EXISTS clinic_inbox (") && !ddl.contains("medhook"));
    assert!(SqliteStore::inbox_ddl("a; DROP TABLE b").is_err());
}

#[tokio::test]
async fn bodies_in_clear_need_files_and_a_directory_of_the_owner() {
    let place = Place::new().await;
    let folder = place.folder.path();
    let chmod = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    let rejected = async || -> Option<String> {
        let opened: Result<_, ConfigError> = place.store.inbox(Bodies::plaintext()).await;
        let error = opened.err()?.to_string();
        Some(error.replace(&folder.display().to_string(), "DIR"))
    };
    chmod(folder, 0o755);
    assert_eq!(rejected().await, None);

    for (file, mode) in [("", 0o640), ("", 0o604), ("-wal", 0o660)] {
        let path = beside(&place.path(), file);
        chmod(&path, mode);
        let wanted = format!(
            "SQLite store DIR/medhook.db: bodies in clear need files that other users cannot access, but the mode of \
             DIR/medhook.db{file} is {mode:04o}; run `chmod 600 DIR/medhook.db{file}`, or seal the bodies"
        );
        assert_eq!(rejected().await, Some(wanted));
        chmod(&path, 0o600);
        assert_eq!(rejected().await, None);
    }
    for mode in [0o1777, 0o775, 0o757] {
        chmod(folder, mode);
        let wanted = format!(
            "SQLite store DIR/medhook.db: bodies in clear need a directory that other users cannot write to, but the \
             mode of DIR is {mode:04o}; run `chmod go-w DIR`, move the file to another directory, or seal the bodies"
        );
        assert_eq!(rejected().await, Some(wanted));
        chmod(folder, 0o700);
        assert_eq!(rejected().await, None);
    }
    // Sealed ones do not.
    chmod(folder, 0o775);
    place.store.inbox(Bodies::sealed(ring(&[0]))).await.unwrap();
}

fn keyless() -> Bodies {
    Bodies::plaintext()
}

/// SQLite removes them with the last connection, and may not have created them yet.
#[test]
fn files_beside_the_database_may_be_missing_but_not_unreadable() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("medhook.db");
    std::fs::write(&path, "").unwrap();
    for (path, mode) in [(folder.path(), 0o700), (&*path, 0o600)] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }
    access::check(&path).unwrap();
    // A link to itself.
    let log = beside(&path.canonicalize().unwrap(), "-wal");
    std::os::unix::fs::symlink(&log, &log).unwrap();
    let error = access::check(&path).unwrap_err();
    assert!(error.message().contains("medhook.db-wal cannot be checked: "), "{error:?}");
}
