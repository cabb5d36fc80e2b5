//! Costs as keys in the store, endpoints in an app, and bodies grow.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::routing::post;
use bytes::Bytes;
use medhook::{Cair, ClaimToken, DedupeStore, EventKey, Fasten, MemoryStore, Receiver, Retention};
use sha2::{Digest, Sha256};
use tower::ServiceExt;

use crate::apps::Fresh;
use crate::report::{Figure, Report, Row, Target};
use crate::rounds::{alternating, median};
use crate::signed::{self, STANDARD_SECRET, TEXT_SECRET};
use crate::verify::{receiver, secret};

pub fn run(report: &mut Report) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    keys(report, &runtime);
    endpoints(report, &runtime);
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
        target: Target::Most(100.0),
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

/// Compares one endpoint among a hundred in an app with a single one.
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
    let apps: [Router; 2] = [app(100), app(1)];
    let mut fresh = Fresh::default();
    let figures = alternating(2, 101, |subject| {
        const DELIVERIES: u32 = 64;
        let path = ["/webhooks/fasten-57", "/webhooks/fasten-0"][subject];
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
    report.add(Row {
        bench: "axum, in process: a delivery".to_owned(),
        size: "100 endpoints".to_owned(),
        ours: Figure::Nanoseconds(figures[0][0]),
        other: Some(("1 endpoint", Figure::Nanoseconds(figures[1][0]))),
        target: Target::None,
    });
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
                target: Target::None,
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

fn resident() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: f64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number of pages");
    pages * 4096.0
}
