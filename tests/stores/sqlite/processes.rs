//! Several processes that share one file, and a process that is killed.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use medhook::{Bytes, Claimed, Custom, DedupeStore, Delivery, Reason, Receiver, Secret, SharedSecret, SqliteStore};

use super::{Sqlite, connection, lost, trouble};
use crate::suite::{HOUR, Place, key, soon, token};

const ROLE: &str = "MEDHOOK_TEST_ROLE";
const PATH: &str = "MEDHOOK_TEST_PATH";

/// Runs this binary again for one role in a process of its own.
pub fn child(role: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(ARGS).env(ROLE, role).env(PATH, path);
    command
}

pub fn child_through_sh(script: &str, role: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(std::env::current_exe().unwrap()).args(ARGS).env(ROLE, role);
    command
}

const ARGS: [&str; 4] = ["--exact", "sqlite::processes::child_process", "--ignored", "--nocapture"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "not a test: what other tests start as a process of its own"]
async fn child_process() {
    let path = std::env::var_os(PATH).map(PathBuf::from).unwrap_or_default();
    match std::env::var(ROLE).as_deref() {
        Ok("handler") => handler(&path).await,
        Ok("racer") => racer(&path).await,
        Ok("second") => lost::second(&path).await,
        Ok("committer") => lost::committer(&path).await,
        Ok("limited") => trouble::limited().await,
        _ => {}
    }
}

/// Kills the process when dropped.
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn receiver(store: impl DedupeStore, lease: Duration) -> Receiver {
    let scheme = SharedSecret::new("x-key");
    let custom = Custom::new("acme", scheme, Secret::new("0123456789abcdef").unwrap()).id_pointer("/id");
    Receiver::builder("acme", custom).store(store).lease(lease).build().unwrap()
}

pub fn delivery(receiver: &Receiver) -> Delivery {
    let headers = [("x-key", "0123456789abcdef")];
    receiver.open(receiver.verify(&headers, Bytes::from_static(br#"{"id":"1"}"#)).unwrap()).unwrap()
}

async fn handle(receiver: &Receiver) -> Result<u16, Reason> {
    let admitted = receiver.admit(delivery(receiver)).map_err(|rejection| rejection.reason())?;
    admitted.run(async { 200 }, |_| true).await.map_err(|rejection| rejection.reason())
}

const LEASE: Duration = Duration::from_secs(10);

async fn handler(path: &Path) {
    let receiver = receiver(SqliteStore::open(path).await.unwrap(), LEASE);
    let handler = async {
        println!("handling");
        std::future::pending::<u16>().await
    };
    receiver.admit(delivery(&receiver)).unwrap().run(handler, |_| true).await.unwrap();
}

#[tokio::test]
async fn a_process_killed_while_it_handles_leaves_the_event_to_the_retry() {
    let place = Sqlite::fresh().await;
    let mut child = Killed(child("handler", &place.path()).stdout(Stdio::piped()).spawn().unwrap());
    let lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains("handling")), "it never came to its handler");
    let receiver = receiver(SqliteStore::open(place.path()).await.unwrap(), LEASE);
    assert_eq!(handle(&receiver).await, Err(Reason::InFlight));
    // Sends SIGKILL.
    child.0.kill().unwrap();
    child.0.wait().unwrap();
    let mut last = None;
    soon(async || {
        last = Some(handle(&receiver).await);
        last == Some(Ok(200))
    })
    .await;
    assert_eq!(handle(&receiver).await, Err(Reason::Duplicate));
}

const EVENTS: u64 = 100;

async fn racer(path: &Path) {
    let go = path.with_extension("go");
    println!("ready");
    while !go.exists() {
        std::thread::yield_now();
    }
    let store = &unlocked(async || SqliteStore::open(path).await).await;
    let mine = token(u64::from(std::process::id()));
    let claims = (0..EVENTS).map(|n| async move { unlocked(async || store.claim(key(n), mine, HOUR).await).await });
    let claims = futures_util::future::join_all(claims).await;
    let won = claims.into_iter().filter(|claimed| *claimed == Claimed::Acquired).count();
    println!("won={won};");
}

/// Retries while other processes keep the database locked, which on a slow disk may exceed the busy timeout.
async fn unlocked<T, E: std::fmt::Display>(mut step: impl AsyncFnMut() -> Result<T, E>) -> T {
    let began = Instant::now();
    loop {
        match step().await {
            Ok(done) => return done,
            Err(error) if error.to_string().contains("locked by another connection") => {}
            Err(error) => panic!("{error}"),
        }
        assert!(began.elapsed() < Duration::from_secs(120), "locked for ever");
    }
}

#[tokio::test]
async fn ten_processes_create_one_file_and_share_its_events() {
    let place = Sqlite::fresh().await;
    let mut racers: Vec<_> = (0..10)
        .map(|_| {
            let mut child = Killed(child("racer", &place.path()).stdout(Stdio::piped()).spawn().unwrap());
            let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map_while(Result::ok);
            assert!(lines.any(|line| line.contains("ready")));
            (child, lines)
        })
        .collect();
    assert!(!place.path().exists());
    std::fs::write(place.path().with_extension("go"), "").unwrap();
    let mut won = 0;
    for (child, lines) in &mut racers {
        let of_this: Vec<u64> =
            lines.filter_map(|line| line.split_once("won=")?.1.split_once(';')?.0.parse().ok()).collect();
        assert!(child.0.wait().unwrap().success());
        assert_eq!(of_this.len(), 1);
        won += of_this[0];
    }
    assert_eq!(won, EVENTS, "each event once");
    let mut by_hand = connection(&place.path()).await;
    let check: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut by_hand).await.unwrap();
    assert_eq!(check, "ok");
}
