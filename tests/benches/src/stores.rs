//! Benchmarks of claims and commits in each store: `scripts/bench stores`.
//!
//! Every figure is a median over rounds in which all stores take turns, so that other load on the machine affects all
//! of them alike. The speed of the disk is measured in the same rounds: a caller's claim and commit are two COMMITs,
//! and a COMMIT costs at least one `fdatasync`.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use medhook::{
    ClaimToken, Claimed, DedupeStore, EventKey, MemoryStore, PostgresStore, RedisStore, Retention, SqliteStore,
};

use crate::report::{Figure, Report, Row, Target};
use crate::rounds::median;

const CALLERS: [u64; 4] = [1, 2, 8, 64];
const LEASE: Duration = Duration::from_secs(3600);

const ROUNDS: usize = 15;

pub fn run(report: &mut Report) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    // The binary's folder is on a disk; a folder for temporary files may be in memory.
    let binary = std::env::current_exe().expect("a path");
    let folder = tempfile::tempdir_in(binary.parent().expect("a folder")).expect("a folder");
    let mut subjects = runtime.block_on(subjects(folder.path()));
    let mut disk = Disk::new(folder.path());
    let mut syncs = Vec::new();
    for _ in 0..ROUNDS {
        syncs.push(disk.sync());
        for subject in &mut subjects {
            subject.round(&runtime);
        }
    }
    let sync = median(syncs);
    for subject in subjects {
        subject.tell(sync, report);
    }
}

/// One store and its measurements.
struct Subject {
    name: &'static str,
    store: Arc<dyn DedupeStore>,
    /// Returns the number of events in a round for a number of callers.
    events: fn(u64) -> u64,
    next: AtomicU64,
    /// Nanoseconds for a claim, and for a claim and its commit, by number of callers.
    claims: Vec<Vec<f64>>,
    pairs: Vec<Vec<f64>>,
    /// For a number of callers, the minimum factor over one caller's rate.
    targets: &'static [(u64, f64)],
    /// The target for one caller's claim.
    claim_target: Target,
    on_disk: bool,
}

/// A new store on a server is one more line here, if the environment has its URL.
async fn subjects(folder: &Path) -> Vec<Subject> {
    let subject = |name, store, events, targets, claim_target, on_disk| Subject {
        name,
        store,
        events,
        next: AtomicU64::new(0),
        claims: vec![Vec::new(); CALLERS.len()],
        pairs: vec![Vec::new(); CALLERS.len()],
        targets,
        claim_target,
        on_disk,
    };
    let sqlite = SqliteStore::open(folder.join("medhook.db")).await.unwrap();
    // `scripts/bench` starts these servers with durable settings.
    let postgres = PostgresStore::builder().namespace(&unique());
    let postgres = postgres.connect(&server("MEDHOOK_TEST_POSTGRES")).await.unwrap();
    let redis = RedisStore::builder().namespace(&unique());
    let redis = redis.connect(&server("MEDHOOK_TEST_REDIS")).await.unwrap();
    vec![
        // Has room for all two million events: a full store also has to evict.
        subject("memory", Arc::new(MemoryStore::new(3 << 20)), |_| 16_000, &[(2, 1.0)], Target::Most(400.0), false),
        subject("sqlite", Arc::new(sqlite), |callers| 32 * callers, &[(64, 10.0)], Target::None, true),
        subject("postgres", Arc::new(postgres), |callers| 32 * callers, &[(64, 2.5)], Target::None, false),
        subject("redis", Arc::new(redis), |callers| 32 * callers, &[], Target::None, false),
    ]
}

/// Returns the server's URL from the environment.
pub fn server(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set; run scripts/bench"))
}

pub fn unique() -> String {
    format!("bench_{:x}", SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis())
}

impl Subject {
    fn round(&mut self, runtime: &tokio::runtime::Runtime) {
        // Warm-up, not counted: refills the caches that the previous subject displaced and wakes idle processors.
        let events = (self.events)(1);
        let first = self.next.fetch_add(events, Ordering::Relaxed);
        runtime.block_on(share_out(&self.store, first, events, 1, true));
        for (at, callers) in CALLERS.into_iter().enumerate() {
            let events = (self.events)(callers);
            let first = self.next.fetch_add(events, Ordering::Relaxed);
            let second = self.next.fetch_add(events, Ordering::Relaxed);
            self.claims[at].push(runtime.block_on(share_out(&self.store, first, events, callers, false)));
            self.pairs[at].push(runtime.block_on(share_out(&self.store, second, events, callers, true)));
        }
    }

    fn tell(self, sync: f64, report: &mut Report) {
        let mut row = |what: &str, callers: u64, ours: f64, other, target| {
            report.add(Row {
                bench: format!("{} {what}", self.name),
                size: format!("{callers} caller{}", if callers == 1 { "" } else { "s" }),
                ours: Figure::Nanoseconds(ours),
                other,
                target,
            });
        };
        for (what, rounds) in [("claim", self.claims), ("claim + commit", self.pairs)] {
            let figures: Vec<f64> = rounds.into_iter().map(median).collect();
            let one = Some(("1 caller", Figure::Nanoseconds(figures[0])));
            if what == "claim" {
                row(what, 1, figures[0], None, self.claim_target);
            }
            for (callers, ours) in CALLERS.into_iter().zip(&figures).skip(1) {
                let target = self.targets.iter().find(|(of, _)| *of == callers && what == "claim");
                row(what, callers, *ours, one, target.map_or(Target::None, |(_, times)| Target::Ratio(1.0 / times)));
            }
            if self.on_disk && what == "claim" {
                for (callers, ours) in CALLERS.into_iter().zip(&figures) {
                    row(what, callers, *ours, Some(("fdatasync", Figure::Nanoseconds(sync))), Target::None);
                }
            }
        }
    }
}

/// Returns nanoseconds per event when this many callers share the events.
pub async fn share_out(store: &Arc<dyn DedupeStore>, first: u64, events: u64, callers: u64, commit: bool) -> f64 {
    let each = events / callers;
    let began = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in (first + caller * each)..(first + (caller + 1) * each) {
                    let (key, token) = (key(n), token(n));
                    assert_eq!(store.claim(key, token, LEASE).await.unwrap(), Claimed::Acquired);
                    if commit {
                        store.commit(key, token, Retention::new(Duration::ZERO, LEASE)).await.unwrap();
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let took = began.elapsed();
    if !commit {
        // Commits the claimed events, so that later claims meet a store with handled events in it.
        let retention = Retention::new(Duration::ZERO, LEASE);
        let commits = (first..first + events).map(|n| store.commit(key(n), token(n), retention));
        futures_util::future::join_all(commits).await.into_iter().for_each(|committed| {
            committed.unwrap();
        });
    }
    took.as_nanos() as f64 / (each * callers) as f64
}

/// Spreads keys evenly, as digests are, at a negligible cost.
pub fn key(n: u64) -> EventKey {
    let mut bytes = [0; 32];
    for (chunk, salt) in bytes.chunks_exact_mut(8).zip(1_u64..) {
        let mut x = n.wrapping_add(salt.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        chunk.copy_from_slice(&(x ^ (x >> 31)).to_le_bytes());
    }
    EventKey::from_bytes(bytes)
}

pub fn token(n: u64) -> ClaimToken {
    let mut bytes = [7; 16];
    bytes[8..].copy_from_slice(&n.to_be_bytes());
    ClaimToken::from_bytes(bytes)
}

/// Writes and syncs one page of a file that does not grow: the minimum cost of a COMMIT.
struct Disk(File);

impl Disk {
    fn new(folder: &Path) -> Self {
        let mut file = File::create(folder.join("raw")).unwrap();
        file.write_all(&[0; 4096]).unwrap();
        file.sync_all().unwrap();
        Disk(file)
    }

    fn sync(&mut self) -> f64 {
        const SYNCS: u32 = 64;
        let began = Instant::now();
        for _ in 0..SYNCS {
            self.0.seek(SeekFrom::Start(0)).unwrap();
            self.0.write_all(&[1; 4096]).unwrap();
            self.0.sync_data().unwrap();
        }
        began.elapsed().as_nanos() as f64 / f64::from(SYNCS)
    }
}
