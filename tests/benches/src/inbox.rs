//! Benchmarks of the inbox in each store that has one: `scripts/bench inbox`.
//!
//! Storing an event is one COMMIT, and claiming and committing it without an inbox are two. Leasing and finishing it
//! are two again. A round stores events with a number of callers and then has as many workers handle them, so that each
//! round begins with an empty inbox.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use medhook::inbox::Inbox;
use medhook::{
    Bodies, DedupeStore, Fasten, Handled, Keyring, PostgresStore, Reason, Receiver, Secret, SqliteStore, Worker,
};

use crate::report::{Figure, Report, Row, Target};
use crate::rounds::median;
use crate::signed::{self, STANDARD_SECRET};
use crate::stores::{server, share_out, unique};
use crate::verify::secret;

const CALLERS: [u64; 3] = [1, 8, 64];
const SIZES: [(usize, &str, u64); 2] = [(4 << 10, "4 KiB", 32), (64 << 10, "64 KiB", 8)];
const ROUNDS: usize = 15;

pub fn run(report: &mut Report) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let binary = std::env::current_exe().expect("a path");
    let folder = tempfile::tempdir_in(binary.parent().expect("a folder")).expect("a folder");
    let mut subjects = runtime.block_on(subjects(folder.path()));
    for _ in 0..ROUNDS {
        for subject in &mut subjects {
            runtime.block_on(subject.round());
        }
    }
    for subject in subjects {
        subject.tell(report);
    }
}

/// One store and its measurements: nanoseconds for an event, by number of callers.
struct Subject {
    name: &'static str,
    store: Arc<dyn DedupeStore>,
    inbox: Inbox,
    next: u64,
    pairs: [Vec<f64>; CALLERS.len()],
    stored: [[Vec<f64>; CALLERS.len()]; SIZES.len()],
    handled: [[Vec<f64>; CALLERS.len()]; SIZES.len()],
}

async fn subjects(folder: &Path) -> Vec<Subject> {
    let subject = |name, store, inbox| Subject {
        name,
        store,
        inbox,
        next: 0,
        pairs: Default::default(),
        stored: Default::default(),
        handled: Default::default(),
    };
    let bodies = || {
        let key = Secret::new("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=").expect("a key");
        Bodies::sealed(Keyring::new(key).expect("a key"))
    };
    let sqlite = SqliteStore::open(folder.join("inbox.db")).await.expect("a file");
    let sqlite_inbox = sqlite.inbox(bodies()).await.expect("an inbox");
    let postgres = PostgresStore::builder().namespace(&unique());
    let postgres = postgres.connect(&server("MEDHOOK_TEST_POSTGRES")).await.expect("a server");
    let postgres_inbox = postgres.inbox(bodies()).await.expect("an inbox");
    vec![subject("sqlite", Arc::new(sqlite), sqlite_inbox), subject("postgres", Arc::new(postgres), postgres_inbox)]
}

impl Subject {
    async fn round(&mut self) {
        // Warm-up, not counted.
        let first = self.numbers(64);
        share_out(&self.store, first, 64, 1, true).await;
        for (at, callers) in CALLERS.into_iter().enumerate() {
            let events = 32 * callers;
            let first = self.numbers(events);
            self.pairs[at].push(share_out(&self.store, first, events, callers, true).await);
            for (of, (size, _, each)) in SIZES.into_iter().enumerate() {
                let events = each * callers;
                let first = self.numbers(events);
                let (stored, handled) = self.through(first, events, callers, size).await;
                self.stored[of][at].push(stored);
                self.handled[of][at].push(handled);
            }
        }
    }

    fn numbers(&mut self, events: u64) -> u64 {
        let first = self.next;
        self.next += events;
        first
    }

    /// Stores the events and handles them. Returns the nanoseconds for each event of both.
    async fn through(&self, first: u64, events: u64, callers: u64, size: usize) -> (f64, f64) {
        let fasten = Fasten::live(secret(STANDARD_SECRET));
        let receiver = Receiver::builder("bench", fasten).inbox(self.inbox.clone()).build().expect("a receiver");
        let deliveries: Vec<_> = (first..first + events).map(|n| delivery(n, size)).collect();
        let began = Instant::now();
        let tasks: Vec<_> = deliveries
            .chunks((events / callers) as usize)
            .map(|share| tokio::spawn(store(receiver.clone(), share.to_vec())))
            .collect();
        for task in tasks {
            task.await.expect("stored");
        }
        let stored = began.elapsed();

        let handled = Arc::new(AtomicU64::new(0));
        let (all, counted) = (Arc::new(tokio::sync::Notify::new()), handled.clone());
        let last = all.clone();
        let worker = Worker::builder(&receiver).workers(callers as usize).handler(move |_| {
            if counted.fetch_add(1, Ordering::Relaxed) + 1 == events {
                last.notify_one();
            }
            std::future::ready(Handled::done())
        });
        let began = Instant::now();
        let worker = tokio::spawn(worker.expect("a worker").run());
        all.notified().await;
        receiver.drain(Duration::from_secs(5)).await;
        worker.await.expect("finished");
        let finished = began.elapsed();
        assert_eq!(handled.load(Ordering::Relaxed), events);
        let each = |took: Duration| took.as_nanos() as f64 / events as f64;
        (each(stored), each(finished))
    }

    fn tell(self, report: &mut Report) {
        let pairs = self.pairs.map(median);
        for (of, (_, size, _)) in SIZES.into_iter().enumerate() {
            for (what, rounds) in [("stored and acknowledged", &self.stored), ("lease + finish", &self.handled)] {
                for (at, callers) in CALLERS.into_iter().enumerate() {
                    let unit = if what == "lease + finish" { "worker" } else { "caller" };
                    let is_target = what == "stored and acknowledged" && callers == 64 && of == 0;
                    report.add(Row {
                        bench: format!("{} inbox: {what}, {size}", self.name),
                        size: format!("{callers} {unit}{}", if callers == 1 { "" } else { "s" }),
                        ours: Figure::Nanoseconds(median(rounds[of][at].clone())),
                        other: Some(("claim + commit", Figure::Nanoseconds(pairs[at]))),
                        target: if is_target { Target::Ratio(1.5) } else { Target::None },
                    });
                }
            }
        }
    }
}

pub fn delivery(n: u64, size: usize) -> (HeaderMap, Bytes) {
    let body = Bytes::from(signed::fasten(&format!("5f6e7d8c-0000-4000-8000-{n:012}"), size));
    (signed::standard(&format!("msg_{n}"), &body), body)
}

pub async fn store(receiver: Receiver, deliveries: Vec<(HeaderMap, Bytes)>) {
    for (headers, body) in deliveries {
        let verified = receiver.verify(&headers, body).expect("genuine");
        let admitted = receiver.admit(receiver.open(verified).expect("fresh")).expect("room");
        let stored = admitted.run(async {}, |()| true).await.expect_err("stored");
        assert_eq!(stored.reason(), Reason::Stored);
    }
}
