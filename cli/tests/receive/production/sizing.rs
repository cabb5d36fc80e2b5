//! The figures of the section "Sizing": a receiver under load, with its application away and back.
//!
//! Run by `scripts/sizing` with a release build, and prints figures. Without it, nothing is measured.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use http::Request;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use medhook::Bytes;

use super::events::{event, until};
use super::stage::{Stage, Which};
use crate::application::with_status;
use crate::program::SECRET;
use crate::sender::Sender;

const SENDERS: usize = 16;
const BODY: usize = 8 * 1024;

/// Returns a delivery of 8 KiB.
fn delivery(number: usize) -> Request<Bytes> {
    let small = event(number, SECRET);
    let mut body: serde_json::Value = serde_json::from_slice(small.body()).unwrap();
    body["filling"] = "x".repeat(BODY - small.body().len() - ",\"filling\":\"\"".len()).into();
    let mut request = small.map(|_| Bytes::from(body.to_string()));
    request.headers_mut().remove("content-length");
    request
}

/// Returns a figure of /proc/PID/status in MiB.
fn memory(stage: &Stage, name: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", stage.instance().id())).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// Returns the bytes of the store: of all files, or of all tables with their indexes.
fn stored(stage: &Stage) -> u64 {
    if stage.which == Which::Sqlite {
        let files = std::fs::read_dir(stage.path("state")).unwrap();
        return files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
    }
    let sizes = "psql -At -d service=medhook -c \"SELECT sum(pg_total_relation_size(oid)) FROM pg_class \
                 WHERE relkind = 'r' AND relname LIKE 'medhook%'\"";
    stage.shell(sizes, "").out.trim().parse().unwrap()
}

/// An application that answers 200 and counts, without recording its requests.
async fn counting() -> (String, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/app", listener.local_addr().unwrap());
    let handled = Arc::new(AtomicUsize::new(0));
    let count = handled.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let count = count.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let count = count.clone();
                async move {
                    request.into_body().collect().await.unwrap();
                    count.fetch_add(1, Ordering::SeqCst);
                    Ok::<_, Infallible>(with_status(200))
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (url, handled)
}

async fn send_all(to: std::net::SocketAddr, events: usize) {
    let next = Arc::new(AtomicUsize::new(0));
    let senders = (0..SENDERS).map(|_| {
        let next = next.clone();
        tokio::spawn(async move {
            let sender = Sender::new();
            loop {
                let number = next.fetch_add(1, Ordering::SeqCst);
                if number >= events {
                    break;
                }
                assert_eq!(sender.send(to, &delivery(number)).await, Ok(200));
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
}

async fn measures(which: Which) {
    let Some(program) = std::env::var_os("MEDHOOK_TEST_RELEASE").map(PathBuf::from) else { return };
    let events: usize = std::env::var("MEDHOOK_TEST_EVENTS").map_or(10_000, |text| text.parse().unwrap());
    let (url, handled) = counting().await;
    let Some(mut stage) = Stage::new(which, &[], url).await else { return };
    let linked = stage.path("bin/medhook");
    std::fs::remove_file(&linked).unwrap();
    std::fs::copy(Path::new(&program), &linked).unwrap();
    stage.start();
    let started = memory(&stage, "VmRSS");
    assert_eq!(stage.shell("medhook inbox pause mediquo --config \"$config\"", "").code, 0);
    let (before, began) = (stored(&stage), Instant::now());
    send_all(stage.instance().address, events).await;
    let took = began.elapsed().as_secs_f64();
    let bytes = (stored(&stage) - before) as f64 / events as f64;
    let backlog = memory(&stage, "VmRSS");
    println!(
        "{which:?}: {events} events of {BODY} B stored at {:.0} a second; {bytes:.0} B on disk for each; \
         resident {started:.0} MiB after the start, {backlog:.0} MiB with the backlog",
        events as f64 / took
    );
    assert_eq!(stage.shell("medhook inbox resume mediquo --config \"$config\"", "").code, 0);
    let began = Instant::now();
    until("all are handled", async || handled.load(Ordering::SeqCst) >= events).await;
    println!(
        "{which:?}: handled at {:.0} a second; resident at most {:.0} MiB",
        events as f64 / began.elapsed().as_secs_f64(),
        memory(&stage, "VmHWM")
    );
    stage.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_with_sqlite_is_measured() {
    measures(Which::Sqlite).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_with_postgres_is_measured() {
    measures(Which::Postgres).await;
}
