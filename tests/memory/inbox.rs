//! The memory of many deliveries at once, for which an inbox waits for its store.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use http::Request;
use medhook::{Bodies, Custom, Inbox, PostgresStore, Receiver, Secret, SharedSecret, SqliteStore};
use medhook_axum::post_to_inbox;
use medhook_tests::servers::shared_postgres;

use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tokio::sync::Barrier;
use tower::ServiceExt;

use crate::{ALONE, held};

const COUNT: usize = 64;
const LENGTH: usize = 1 << 20;
const PIECE: usize = 16 << 10;
const SECRET: &str = "0123456789abcdef";

/// Returns a delivery in pieces. The last one arrives when all deliveries have come so far.
fn delivery(number: usize, declared: bool, all: Arc<Barrier>) -> Request<Body> {
    let (first, last) = (format!(r#"{{"id":"{number}","text":""#), r#""}"#);
    let rest = LENGTH - first.len() - last.len();
    let middle = Bytes::from_static(&[b'x'; PIECE]);
    let pieces = (0..rest).step_by(PIECE).map(move |at| middle.slice(..PIECE.min(rest - at)));
    let pieces = stream::iter(std::iter::once(Bytes::from(first)).chain(pieces));
    let end = stream::once(async move {
        all.wait().await;
        Bytes::from_static(last.as_bytes())
    });
    let mut request = Request::post("/").header("x-key", SECRET);
    if declared {
        request = request.header("content-length", LENGTH);
    }
    request.body(Body::from_stream(pieces.chain(end).map(Ok::<_, Infallible>))).expect("a request")
}

/// Returns the greatest number of bytes that deliveries hold until they are answered, with a store that waits for
/// `unlock`, and the number of those that were stored.
async fn peak(inbox: &Inbox, declared: bool, unlock: impl Future<Output = ()>) -> (usize, usize) {
    let custom = Custom::new("acme", SharedSecret::new("x-key"), Secret::new(SECRET).expect("a secret"));
    // More than the bodies have, so that a buffer that doubles is not cut off by the limit.
    let receiver = Receiver::builder("memory", custom.id_pointer("/id")).inbox(inbox.clone()).body_limit(8 << 20);
    let receiver = receiver.build().expect("a receiver");
    let before = held();
    let (most, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let watch = std::thread::spawn({
        let (most, ended) = (most.clone(), ended.clone());
        move || {
            while !ended.load(Ordering::SeqCst) {
                most.fetch_max(held().saturating_sub(before), Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    let all = Arc::new(Barrier::new(COUNT + 1));
    let app = Router::new().route("/", post_to_inbox(receiver).expect("a receiver with an inbox"));
    let deliveries =
        (0..COUNT).map(|number| tokio::spawn(app.clone().oneshot(delivery(number, declared, all.clone()))));
    let deliveries: Vec<_> = deliveries.collect();
    all.wait().await;
    let at_barrier = held().saturating_sub(before);
    assert!(at_barrier >= COUNT * (LENGTH - PIECE), "all bodies are there: {at_barrier} B");
    // All of them come to wait for the store. On a slow machine, some of them may not get so far: that only makes the
    // peak smaller.
    let (began, mut last, mut since) = (Instant::now(), 0, Instant::now());
    while began.elapsed() < Duration::from_millis(1_500) && since.elapsed() < Duration::from_millis(300) {
        let now = most.load(Ordering::SeqCst);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    unlock.await;
    let answers = join_all(deliveries).await;
    ended.store(true, Ordering::SeqCst);
    watch.join().expect("a thread");
    let answers = answers.into_iter().map(|answer| answer.expect("a delivery").expect("an answer").status());
    let stored = answers.filter(|status| *status == 200).count();
    (most.load(Ordering::SeqCst), stored)
}

fn check(store: &str, declared: bool, (most, stored): (usize, usize), driver: usize) {
    let length = if declared { "declared" } else { "unknown" };
    let mib = most as f64 / (1 << 20) as f64;
    println!("{store}, length {length}: {COUNT} of 1 MiB hold at most {mib:.1} MiB, {stored} stored");
    // The bodies, and 32 MiB of them sealed. Beside each, 32 KiB for its task and its events.
    let most_allowed = COUNT * (LENGTH + (32 << 10)) + (32 << 20) + driver;
    assert!(most <= most_allowed, "{store}, length {length}: {most} B, allowed are {most_allowed} B");
}

/// Bodies in clear take the same buffers, and a build without optimizations takes 0.2 s to seal one of 1 MiB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_that_wait_for_sqlite_hold_their_bodies_and_32_mib_sealed() {
    let _alone = ALONE.lock().await;
    for declared in [true, false] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("medhook.db");
        let store = SqliteStore::builder().open(&path).await.expect("a store");
        let inbox = store.inbox(Bodies::plaintext()).await.expect("an inbox");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
        let mut other = options.connect().await.expect("a connection");
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.expect("the lock");
        let unlock = async {
            sqlx::raw_sql("ROLLBACK").execute(&mut other).await.expect("the end of the lock");
        };
        // The arguments of one batch, and the bodies whose buffers grow, in the two threads of the runtime.
        check("SQLite", declared, peak(&inbox, declared, unlock).await, (4 << 20) + 2 * LENGTH);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_that_wait_for_postgresql_hold_their_bodies_and_32_mib_sealed() {
    const CONNECTIONS: u32 = 8;
    let _alone = ALONE.lock().await;
    for declared in [true, false] {
        let url = shared_postgres();
        let namespace = format!("memory_{}_{declared}", std::process::id());
        let store = PostgresStore::builder().namespace(&namespace).max_connections(CONNECTIONS);
        let store = store.connect(&url).await.expect("a store");
        let inbox = store.inbox(Bodies::plaintext()).await.expect("an inbox");
        let options: sqlx::postgres::PgConnectOptions = url.parse().expect("a URL");
        let mut other = options.connect().await.expect("a connection");
        let lock = format!("BEGIN; LOCK TABLE {namespace}_inbox_bodies IN EXCLUSIVE MODE");
        sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut other).await.expect("the lock");
        let unlock = async {
            sqlx::raw_sql("ROLLBACK").execute(&mut other).await.expect("the end of the lock");
        };
        // For each connection, the arguments of a statement, and its buffer, which doubles.
        let driver = CONNECTIONS as usize * (3 * LENGTH + (64 << 10)) + 2 * LENGTH;
        check("PostgreSQL", declared, peak(&inbox, declared, unlock).await, driver);
        other.close().await.expect("closed");
    }
}
