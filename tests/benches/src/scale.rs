//! Costs as keys in the store, endpoints in an app, idle connections, and bodies grow.

use std::future::Future;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::pin::pin;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::routing::post;
use bytes::Bytes;
use medhook::{Cair, ClaimToken, DedupeStore, EventKey, Fasten, MemoryStore, Receiver, Retention};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tower::ServiceExt;

use crate::apps::{Fresh, LAYER};
use crate::loopback::{CONNECTIONS, axum_server, connect, on_the_wire, request, send, served};
use crate::report::{Figure, Report, Row, Target};
use crate::rounds::{alternating, median};
use crate::signed::{self, STANDARD_SECRET, TEXT_SECRET};
use crate::verify::{receiver, secret};

pub fn run(report: &mut Report) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    keys(report, &runtime);
    endpoints(report, &runtime);
    idle_connections(report, &runtime);
    bodies(report, &runtime);
}

/// Measures a delivery from its head to its commit in stores of several sizes, and the memory for each key.
fn keys(report: &mut Report, runtime: &tokio::runtime::Runtime) {
    const SIZES: [(u64, &str); 4] =
        [(1_000, "1,000 keys"), (10_000, "10,000 keys"), (100_000, "100,000 keys"), (1_000_000, "1,000,000 keys")];
    let mut taken = 0.0;
    let receivers = SIZES.map(|(size, _)| {
        let before = resident();
        let store = MemoryStore::new(1 << 21);
        runtime.block_on(fill(&store, size));
        taken = (resident() - before) / size as f64;
        let fasten = Fasten::live(secret(STANDARD_SECRET));
        Receiver::builder("fasten", fasten).store(store).build().expect("a receiver")
    });
    let mut fresh = Fresh::default();
    let figures = alternating(SIZES.len(), 201, |subject| {
        const DELIVERIES: u32 = 8;
        let requests: Vec<_> = (0..DELIVERIES).map(|_| fresh.request("/")).collect();
        let began = Instant::now();
        runtime.block_on(async {
            for request in requests {
                let receiver = &receivers[subject];
                let (head, body) = request.into_parts();
                let verified = receiver.verify(&head.headers, body).expect("genuine");
                let admitted = receiver.admit(receiver.open(verified).expect("fresh")).expect("room");
                admitted.run(async {}, |()| true).await.expect("new");
            }
        });
        [began.elapsed().as_secs_f64() * 1e9 / f64::from(DELIVERIES)]
    });
    let fewest = Figure::Nanoseconds(figures[0][0]);
    for ((_, size), figure) in SIZES.iter().zip(&figures).skip(1) {
        report.add(Row {
            bench: "a delivery, memory store".to_owned(),
            size: (*size).to_owned(),
            ours: Figure::Nanoseconds(figure[0]),
            other: Some((SIZES[0].1, fewest)),
            target: Target::None,
        });
    }
    report.add(Row {
        bench: "memory store, resident for each key".to_owned(),
        size: SIZES[3].1.to_owned(),
        ours: Figure::Bytes(taken),
        other: None,
        target: Target::Most(104.0),
    });
}

async fn fill(store: &MemoryStore, keys: u64) {
    let hour = Duration::from_secs(3600);
    for key in 0..keys {
        let token = ClaimToken::from_bytes(u128::from(key).to_be_bytes());
        let key = EventKey::from_bytes(Sha256::digest(key.to_be_bytes()).into());
        store.claim(key, token, hour).await.expect("room");
        store.commit(key, token, Retention::new(hour, hour)).await.expect("room");
    }
}

/// Compares one endpoint among many in an app with a single one.
fn endpoints(report: &mut Report, runtime: &tokio::runtime::Runtime) {
    let app = |endpoints: usize| {
        let store = MemoryStore::new(1 << 20);
        (0..endpoints).fold(Router::new(), |app, endpoint| {
            let fasten = Fasten::live(secret(STANDARD_SECRET));
            let receiver = Receiver::builder(format!("fasten-{endpoint}"), fasten).store(store.clone()).build();
            let layer = medhook_axum::VerifyLayer::new(receiver.expect("a receiver"));
            app.route(&format!("/webhooks/fasten-{endpoint}"), post(async || StatusCode::OK).layer(layer))
        })
    };
    let apps: [Router; 3] = [app(1), app(100), app(1000)];
    let mut fresh = Fresh::default();
    let figures = alternating(apps.len(), 101, |subject| {
        const DELIVERIES: u32 = 64;
        let path = ["/webhooks/fasten-0", "/webhooks/fasten-57", "/webhooks/fasten-570"][subject];
        let requests: Vec<_> = (0..DELIVERIES).map(|_| fresh.request(path)).collect();
        let began = Instant::now();
        runtime.block_on(async {
            for request in requests {
                let response = apps[subject].clone().oneshot(request.map(Body::from)).await.expect("an answer");
                assert_eq!(response.status(), StatusCode::OK);
            }
        });
        [began.elapsed().as_secs_f64() * 1e9 / f64::from(DELIVERIES)]
    });
    for (size, figure) in ["100 endpoints", "1,000 endpoints"].into_iter().zip(&figures[1..]) {
        report.add(Row {
            bench: "axum, in process: a delivery".to_owned(),
            size: size.to_owned(),
            ours: Figure::Nanoseconds(figure[0]),
            other: Some(("1 endpoint", Figure::Nanoseconds(figures[0][0]))),
            target: Target::None,
        });
    }
}

/// Compares a server that keeps many connections open, each after one delivery, with one that has no others.
///
/// The other ends of these connections are in a process of their own, because a process may not open 20,000 sockets
/// everywhere.
fn idle_connections(report: &mut Report, runtime: &tokio::runtime::Runtime) {
    let servers = [(); 2].map(|()| served(axum_server));
    let mut connections = servers.map(|server| runtime.block_on(connect(server, CONNECTIONS)));
    let mut fresh = Fresh::default();
    let before = resident();
    let (mut child, idle) = Idle::start(servers[0]);
    let taken = (resident() - before) / idle as f64;
    let figures = alternating(2, 31, |server| request(runtime, &mut connections[server], LAYER, &mut fresh));
    child.end();
    let size = format!("{idle} idle connections");
    for (index, what) in ["time", "CPU"].into_iter().enumerate() {
        report.add(Row {
            bench: format!("axum over HTTP: {what} per request"),
            size: size.clone(),
            ours: Figure::Nanoseconds(figures[0][index]),
            other: Some(("none", Figure::Nanoseconds(figures[1][index]))),
            target: Target::None,
        });
    }
    report.add(Row {
        bench: "axum over HTTP: resident for each connection".to_owned(),
        size,
        ours: Figure::Bytes(taken),
        other: None,
        target: Target::None,
    });
}

/// The process that keeps connections open.
struct Idle(Child);

const IDLE: usize = 10_000;

impl Idle {
    /// Returns the number of connections, too.
    fn start(server: SocketAddr) -> (Self, usize) {
        let program = std::env::current_exe().expect("a path");
        let mut command = Command::new(program);
        command.args(["keep-idle", &server.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a process");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut line).expect("a line");
        (Idle(child), line.trim().parse().expect("a number"))
    }

    fn end(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().expect("ended");
    }
}

/// Opens connections to a server and keeps them until the end of the standard input. Prints their number, which is
/// lower than wanted where a process may not open as many files.
pub fn keep_idle(server: SocketAddr) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut fresh = Fresh(1 << 40);
    let kept = runtime.block_on(async {
        let mut kept = Vec::with_capacity(IDLE);
        while kept.len() < IDLE
            && let Ok(mut connection) = TcpStream::connect(server).await
        {
            let delivery = send(&mut connection, vec![on_the_wire(&mut fresh, LAYER)]);
            if tokio::time::timeout(Duration::from_secs(5), delivery).await.is_err() {
                break;
            }
            kept.push(connection);
        }
        kept
    });
    println!("{}", kept.len());
    let _ = std::io::stdin().read_line(&mut String::new());
}

/// Measures the longest time that one poll of [`Receiver::receive`] blocks its thread.
fn bodies(report: &mut Report, runtime: &tokio::runtime::Runtime) {
    let fasten = receiver(Fasten::live(secret(STANDARD_SECRET)));
    let cair = receiver(Cair::hmac_sha256(signed::HMAC_HEADER, secret(TEXT_SECRET)).prefix(signed::HMAC_PREFIX));
    for (size, name) in [(64 << 10, "64 KiB"), (1 << 20, "1 MiB"), (8 << 20, "8 MiB")] {
        let export = Bytes::from(signed::fasten("7d4b9f0e-52a1-4c36-9b8e-1f0a6c2d3e45", size));
        let chart = Bytes::from(signed::chart_report(size));
        for (what, receiver, headers, body) in [
            ("Fasten export", &fasten, signed::standard("msg_1", &export), export),
            ("Cair chart report", &cair, signed::hmac(&chart), chart),
        ] {
            let longest = (0..21).map(|_| runtime.block_on(longest_poll(receiver, &headers, &body))).collect();
            report.add(Row {
                bench: format!("longest poll: {what}"),
                size: name.to_owned(),
                ours: Figure::Nanoseconds(median(longest)),
                other: None,
                target: Target::Most(1e6),
            });
        }
    }
}

async fn longest_poll(receiver: &Receiver, headers: &http::HeaderMap, body: &Bytes) -> f64 {
    let pieces = futures_util::stream::iter([Ok::<_, std::convert::Infallible>(body.clone())]);
    let head = medhook::RequestHead::new("POST", "/", headers);
    let mut receiving = pin!(receiver.receive(&head, pieces));
    let mut longest = Duration::ZERO;
    let delivery = std::future::poll_fn(|context| {
        let began = Instant::now();
        let answer = receiving.as_mut().poll(context);
        longest = longest.max(began.elapsed());
        answer
    });
    assert!(delivery.await.is_ok());
    longest.as_secs_f64() * 1e9
}

pub fn resident() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: f64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number of pages");
    pages * 4096.0
}
