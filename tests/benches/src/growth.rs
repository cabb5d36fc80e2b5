//! Costs as stores and inboxes grow: `scripts/bench growth`, which takes several minutes and 10 GB of disk.
//!
//! Ten million claims would take an hour, so events are added by statements and commands in the stores' own format, and
//! events of an inbox without their bodies. `MEDHOOK_BENCH_EVENTS` limits the number of events.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::future::try_join_all;
use http::HeaderMap;
use medhook::inbox::{Filter, Inbox, Status};
use medhook::{
    Bodies, ClaimToken, Claimed, DedupeStore, EventKey, Fasten, Handled, Keyring, MemoryStore, PostgresStore, Receiver,
    RedisStore, Retention, Secret, SqliteStore, Worker,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};

use crate::inbox::{delivery, store};
use crate::report::{Figure, Report, Row, Target};
use crate::rounds::median;
use crate::scale::resident;
use crate::signed::STANDARD_SECRET;
use crate::stores::{key, server, share_out, token, unique};
use crate::verify::secret;

const EVENTS: [u64; 3] = [1_000, 1_000_000, 10_000_000];
const EXPIRED: u64 = 1_000_000;
const BACKLOG: [u64; 2] = [1_000, 1_000_000];
const CALLERS: u64 = 64;
const ROUNDS: usize = 7;
const HOUR: Duration = Duration::from_secs(3600);
/// The time for which claims are measured during a purge, and without one.
const PURGING: Duration = Duration::from_secs(10);
/// The claims of each caller in that time, so that the memory store does not fill up.
const MOST_CLAIMS: u64 = 50_000;

pub fn run(report: &mut Report) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let binary = std::env::current_exe().expect("a path");
    let folder = tempfile::tempdir_in(binary.parent().expect("a folder")).expect("a folder");
    for name in ["memory", "sqlite", "postgres", "redis"] {
        runtime.block_on(remembered(name, folder.path(), report));
        runtime.block_on(purged(name, folder.path(), report));
    }
    for name in ["sqlite", "postgres"] {
        runtime.block_on(backlog(name, folder.path(), report));
    }
}

/// Measures claims and commits in a store with more and more events, and its size.
async fn remembered(name: &'static str, folder: &Path, report: &mut Report) {
    let mut subject = Subject::new(name, &folder.join("events.db")).await;
    let (mut events, mut next, mut fewest, empty) = (0, 0, None, subject.bytes().await);
    for wanted in limited(&EVENTS) {
        subject.add(events, wanted - events, Ends::Later).await;
        events = wanted;
        let mut rounds = Vec::new();
        // The first round warms up and is not counted.
        for _ in 0..=ROUNDS {
            rounds.push(share_out(&subject.store, next, 64 * CALLERS, CALLERS, true).await);
            next += 64 * CALLERS;
        }
        let ours = Figure::Nanoseconds(median(rounds.split_off(1)));
        let size = format!("{} events", grouped(events));
        add(report, format!("{name} claim + commit, {CALLERS} callers"), &size, ours, fewest);
        fewest.get_or_insert(("1,000 events", ours));
        if events > EVENTS[0] {
            let taken = (subject.bytes().await - empty) / (events + next) as f64;
            add(report, format!("{name}, taken by each event"), &size, Figure::Bytes(taken), None);
        }
    }
    subject.remove().await;
}

/// Measures claims while a million expired events are purged.
async fn purged(name: &'static str, folder: &Path, report: &mut Report) {
    let mut subject = Subject::new(name, &folder.join("expired.db")).await;
    let mut next = 0;
    let quiet = claims(&subject.store, &mut next).await;
    let expired = limited(&[EXPIRED])[0];
    subject.add(0, expired, Ends::Expired).await;
    subject.reopen().await;
    let busy = claims(&subject.store, &mut next).await;
    let left = subject.expired().await;
    let size = format!("{CALLERS} callers");
    for (what, ours, other) in [("a claim", busy.0, quiet.0), ("the longest claim", busy.1, quiet.1)] {
        let bench = format!("{name}: {what} while {} expired events are purged", grouped(expired));
        add(report, bench, &size, Figure::Nanoseconds(ours), Some(("without them", Figure::Nanoseconds(other))));
    }
    if let Some(left) = left {
        eprintln!("{name}: {left} of {expired} expired events were left after {PURGING:?}");
    }
    subject.remove().await;
}

/// Returns the nanoseconds for each claim, and those of the longest one.
async fn claims(store: &Arc<dyn DedupeStore>, next: &mut u64) -> (f64, f64) {
    let began = Instant::now();
    let callers = (0..CALLERS).map(|caller| {
        let (store, first) = (store.clone(), *next + caller * 1_000_000);
        tokio::spawn(async move {
            let (mut longest, mut n) = (Duration::ZERO, first);
            while began.elapsed() < PURGING && n < first + MOST_CLAIMS {
                let began = Instant::now();
                assert_eq!(store.claim(key(n), token(n), HOUR).await.unwrap(), Claimed::Acquired);
                longest = longest.max(began.elapsed());
                n += 1;
            }
            (n - first, longest)
        })
    });
    let answers = try_join_all(callers.collect::<Vec<_>>()).await.unwrap();
    let took = began.elapsed();
    *next += CALLERS * 1_000_000;
    let events: u64 = answers.iter().map(|(events, _)| events).sum();
    let longest = answers.iter().map(|(_, longest)| *longest).max().unwrap_or_default();
    (took.as_nanos() as f64 / events as f64, longest.as_nanos() as f64)
}

/// Measures the operations of an inbox with few and with many waiting events.
async fn backlog(name: &'static str, folder: &Path, report: &mut Report) {
    let mut subject = Subject::new(name, &folder.join("backlog.db")).await;
    let inbox = subject.inbox().await;
    let (mut events, mut next, mut fewest) = (0, 0, Vec::new());
    for wanted in limited(&BACKLOG) {
        subject.add_waiting(events, wanted - events).await;
        events = wanted;
        let mut rounds: [Vec<f64>; 6] = Default::default();
        for _ in 0..ROUNDS {
            // A new one for each round, since its workers end when it is drained.
            let fasten = Fasten::live(secret(STANDARD_SECRET));
            let receiver = Receiver::builder("bench", fasten).inbox(inbox.clone()).max_inbox_bytes(1 << 40);
            let receiver = receiver.build().expect("a receiver");
            let figures = [
                stored(&receiver, &mut next).await,
                handled(&receiver).await,
                timed(inbox.counts()).await,
                timed(inbox.count_kinds()).await,
                timed(inbox.list(&Filter::new().endpoint("bench").status(Status::Waiting).limit(100))).await,
                timed(inbox.list(&Filter::new().newest_first().limit(100))).await,
            ];
            rounds.iter_mut().zip(figures).for_each(|(round, figure)| round.push(figure));
        }
        let what = [
            "stored and acknowledged, 4 KiB, 64 callers",
            "lease + finish, 64 workers",
            "counts",
            "counts by kind",
            "list of 100 waiting events",
            "list of the 100 newest events",
        ];
        let figures: Vec<_> = rounds.into_iter().map(|round| Figure::Nanoseconds(median(round))).collect();
        for (at, (what, ours)) in what.into_iter().zip(&figures).enumerate() {
            let other = fewest.get(at).map(|few| ("1,000 waiting", *few));
            add(report, format!("{name} inbox: {what}"), &format!("{} waiting", grouped(events)), *ours, other);
        }
        if fewest.is_empty() {
            fewest = figures;
        }
    }
    subject.remove().await;
}

/// Stores events, and returns the nanoseconds for each.
async fn stored(receiver: &Receiver, next: &mut u64) -> f64 {
    const EACH: u64 = 16;
    let deliveries: Vec<_> = (*next..*next + EACH * CALLERS).map(|n| delivery(n, 4 << 10)).collect();
    *next += EACH * CALLERS;
    let began = Instant::now();
    let share = |share: &[(HeaderMap, Bytes)]| tokio::spawn(store(receiver.clone(), share.to_vec()));
    let callers: Vec<_> = deliveries.chunks(EACH as usize).map(share).collect();
    try_join_all(callers).await.expect("stored");
    began.elapsed().as_nanos() as f64 / (EACH * CALLERS) as f64
}

/// Handles the events that are due, and returns the nanoseconds for each.
async fn handled(receiver: &Receiver) -> f64 {
    const EVENTS: usize = 16 * CALLERS as usize;
    let (done, mut all) = tokio::sync::mpsc::unbounded_channel();
    let worker = Worker::builder(receiver).workers(CALLERS as usize).handler(move |_| {
        let _ = done.send(());
        std::future::ready(Handled::done())
    });
    let began = Instant::now();
    let worker = tokio::spawn(worker.expect("a worker").run());
    for _ in 0..EVENTS {
        all.recv().await.expect("an event");
    }
    receiver.drain(Duration::from_secs(5)).await;
    worker.await.expect("finished");
    began.elapsed().as_nanos() as f64 / EVENTS as f64
}

async fn timed<T>(work: impl Future<Output = Result<T, medhook::StoreError>>) -> f64 {
    let began = Instant::now();
    work.await.expect("an answer");
    began.elapsed().as_nanos() as f64
}

/// When the records of added events end.
#[derive(Clone, Copy, PartialEq)]
enum Ends {
    /// Between one and 24 hours from now.
    Later,
    /// Long ago, or as soon as they are added where the store cannot have such events.
    Expired,
}

/// A store, and a connection of its own to add events.
struct Subject {
    store: Arc<dyn DedupeStore>,
    backing: Backing,
}

enum Backing {
    Memory(MemoryStore, f64),
    Sqlite { store: SqliteStore, connection: SqliteConnection, path: PathBuf },
    Postgres { store: PostgresStore, connection: PgConnection, namespace: String },
    Redis { stream: TcpStream, namespace: String },
}

impl Subject {
    async fn new(name: &str, path: &Path) -> Self {
        let namespace = unique();
        match name {
            "memory" => {
                let before = resident();
                let store = MemoryStore::new(3 << 22);
                Subject { store: Arc::new(store.clone()), backing: Backing::Memory(store, before) }
            }
            "sqlite" => {
                let store = SqliteStore::open(path).await.expect("a file");
                let connection = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await;
                let (connection, path) = (connection.expect("a file"), path.to_owned());
                let backing = Backing::Sqlite { store: store.clone(), connection, path };
                Subject { store: Arc::new(store), backing }
            }
            "postgres" => {
                let url = server("MEDHOOK_TEST_POSTGRES");
                let store = PostgresStore::builder().namespace(&namespace).purge_every(Duration::from_secs(1));
                let store = store.connect(&url).await.expect("a server");
                let connection = PgConnection::connect(&url).await.expect("a server");
                let backing = Backing::Postgres { store: store.clone(), connection, namespace };
                Subject { store: Arc::new(store), backing }
            }
            _ => {
                let url = server("MEDHOOK_TEST_REDIS");
                let store = RedisStore::builder().namespace(&namespace).connect(&url).await.expect("a server");
                let address = url.trim_start_matches("redis://").trim_end_matches('/');
                let stream = TcpStream::connect(address).expect("a server");
                Subject { store: Arc::new(store), backing: Backing::Redis { stream, namespace } }
            }
        }
    }

    /// Adds handled events whose keys spread evenly, as digests do.
    async fn add(&mut self, first: u64, events: u64, ends: Ends) {
        match &mut self.backing {
            Backing::Memory(store, _) => {
                let retention = if ends == Ends::Later { HOUR * 24 } else { Duration::ZERO };
                for n in first..first + events {
                    let (key, token) = (EventKey::from_bytes(spread(n)), ClaimToken::from_bytes([7; 16]));
                    store.claim(key, token, HOUR).await.expect("room");
                    store.commit(key, token, Retention::new(Duration::ZERO, retention)).await.expect("room");
                }
            }
            Backing::Sqlite { connection, .. } => {
                // In the order of the keys, and then of the index, so that each page is written once.
                let from = if ends == Ends::Later { 3_600_000 } else { -100_000_000 };
                let statements = format!(
                    "PRAGMA synchronous = OFF; PRAGMA cache_size = -200000; DROP INDEX medhook_events_until;
                    WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n + 1 < {events})
                    INSERT INTO medhook_events SELECT
                        unhex(printf('%014x', n * {}) || hex(randomblob(25))), randomblob(16), 1,
                        {} + abs(random() % 82800000) FROM n;
                    CREATE INDEX medhook_events_until ON medhook_events (until); PRAGMA wal_checkpoint(TRUNCATE)",
                    (1_u64 << 56) / events,
                    now() + from
                );
                sqlx::raw_sql(AssertSqlSafe(statements)).execute(connection).await.expect("added");
            }
            Backing::Postgres { connection, namespace, .. } => {
                let from = if ends == Ends::Later { "1 hour" } else { "-48 hours" };
                let statements = format!(
                    "ALTER TABLE {namespace}_events DROP CONSTRAINT {namespace}_events_pkey;
                    DROP INDEX {namespace}_events_until;
                    INSERT INTO {namespace}_events (key, token, handled, until) SELECT
                        sha256(int8send(n)), substr(sha256(int8send(n)), 1, 16), true,
                        now() + interval '{from}' + random() * interval '23 hours'
                        FROM generate_series({first}, {first} + {events} - 1) AS n;
                    ALTER TABLE {namespace}_events ADD PRIMARY KEY (key);
                    CREATE INDEX {namespace}_events_until ON {namespace}_events (until)"
                );
                sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut *connection).await.expect("added");
                let vacuum = format!("VACUUM ANALYZE {namespace}_events");
                sqlx::raw_sql(AssertSqlSafe(vacuum)).execute(connection).await.expect("vacuumed");
            }
            Backing::Redis { stream, namespace } => {
                // All expired events expire at once, after the last one was added.
                let at = now() + if ends == Ends::Later { 36_000_000 } else { 30_000 };
                for first in (first..first + events).step_by(1_000) {
                    let mut commands = Vec::new();
                    for n in first..first + 1_000 {
                        let key: String = spread(n).iter().map(|byte| format!("{byte:02x}")).collect();
                        let key = format!("{namespace}:{key}");
                        let head = format!("*5\r\n$3\r\nSET\r\n${}\r\n{key}\r\n$17\r\nh", key.len());
                        commands.extend_from_slice(head.as_bytes());
                        commands.extend_from_slice(&[7; 16]);
                        commands.extend_from_slice(format!("\r\n$4\r\nPXAT\r\n$13\r\n{at:013}\r\n").as_bytes());
                    }
                    stream.write_all(&commands).expect("sent");
                    let mut answers = BufReader::new(&*stream).lines();
                    (0..1_000).for_each(|_| assert_eq!(answers.next().expect("an answer").expect("text"), "+OK"));
                }
                if ends == Ends::Expired {
                    tokio::time::sleep(Duration::from_millis(u64::try_from(at - now()).unwrap_or(0))).await;
                }
            }
        }
    }

    /// Begins the purge: SQLite's begins when the store is opened, and the others' at any time.
    async fn reopen(&mut self) {
        if let Backing::Sqlite { store, path, .. } = &mut self.backing {
            *store = SqliteStore::open(&*path).await.expect("the file");
            self.store = Arc::new(store.clone());
        }
    }

    /// Returns the number of expired events that were not purged.
    async fn expired(&mut self) -> Option<i64> {
        match &mut self.backing {
            Backing::Sqlite { connection, .. } => {
                let expired = format!("SELECT count(*) FROM medhook_events WHERE until < {}", now());
                Some(sqlx::query_scalar(AssertSqlSafe(expired)).fetch_one(connection).await.expect("a number"))
            }
            Backing::Postgres { connection, namespace, .. } => {
                let expired = format!("SELECT count(*) FROM {namespace}_events WHERE until < now()");
                Some(sqlx::query_scalar(AssertSqlSafe(expired)).fetch_one(connection).await.expect("a number"))
            }
            Backing::Memory(..) | Backing::Redis { .. } => None,
        }
    }

    /// Returns the memory or disk that the store takes.
    async fn bytes(&mut self) -> f64 {
        match &mut self.backing {
            Backing::Memory(_, before) => resident() - *before,
            Backing::Sqlite { connection, .. } => {
                let pages = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
                sqlx::query_scalar::<_, i64>(pages).fetch_one(connection).await.expect("a number") as f64
            }
            Backing::Postgres { connection, namespace, .. } => {
                let size = format!("SELECT pg_total_relation_size('{namespace}_events')");
                sqlx::query_scalar::<_, i64>(AssertSqlSafe(size)).fetch_one(connection).await.expect("a number") as f64
            }
            Backing::Redis { stream, .. } => {
                stream.write_all(b"*2\r\n$4\r\nINFO\r\n$6\r\nMEMORY\r\n").expect("sent");
                let mut lines = BufReader::new(&*stream).lines().map(|line| line.expect("text"));
                let used = lines.find_map(|line| line.strip_prefix("used_memory:")?.parse().ok()).expect("a number");
                // The empty line after the last one.
                lines.find(|line| line.starts_with("lazyfreed_objects"));
                used
            }
        }
    }

    async fn inbox(&self) -> Inbox {
        let key = Secret::new("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=").expect("a key");
        let bodies = Bodies::sealed(Keyring::new(key).expect("a key"));
        match &self.backing {
            Backing::Sqlite { store, .. } => store.inbox(bodies).await.expect("an inbox"),
            Backing::Postgres { store, .. } => store.inbox(bodies).await.expect("an inbox"),
            Backing::Memory(..) | Backing::Redis { .. } => panic!("there is no inbox in this store"),
        }
    }

    /// Adds events that wait for an attempt in an hour.
    async fn add_waiting(&mut self, first: u64, events: u64) {
        let columns = "(row_key, stored_by, endpoint, provider, kind, secret, size, stored_at, due, mark_until, \
                       sealed_key";
        match &mut self.backing {
            Backing::Sqlite { connection, .. } => {
                let now = now();
                let statements = format!(
                    "PRAGMA synchronous = OFF;
                    WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n + 1 < {events})
                    INSERT INTO medhook_inbox {columns}, status, attempts, crashes, alone, replays) SELECT
                        randomblob(32), randomblob(16), 'bench', 'fasten', 'unknown', 'secret-1', 4096, {now},
                        {now} + 3600000 + n, {now} + 86400000, randomblob(81), 0, 1, 0, 0, 0 FROM n;
                    PRAGMA wal_checkpoint(TRUNCATE)"
                );
                sqlx::raw_sql(AssertSqlSafe(statements)).execute(connection).await.expect("added");
            }
            Backing::Postgres { connection, namespace, .. } => {
                let statements = format!(
                    "INSERT INTO {namespace}_inbox {columns}, has_body) SELECT
                        sha256(int8send(n)), substr(sha256(int8send(n)), 1, 16), 'bench', 'fasten', 'unknown',
                        'secret-1', 4096, now(), now() + interval '1 hour' + n * interval '1 ms',
                        now() + interval '24 hours', sha256(int8send(n)) || sha256(int8send(n)), false
                        FROM generate_series({first}, {first} + {events} - 1) AS n"
                );
                sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut *connection).await.expect("added");
                let vacuum = format!("VACUUM ANALYZE {namespace}_inbox");
                sqlx::raw_sql(AssertSqlSafe(vacuum)).execute(connection).await.expect("vacuumed");
            }
            Backing::Memory(..) | Backing::Redis { .. } => panic!("there is no inbox in this store"),
        }
    }

    /// Frees the memory or disk for the next subject.
    async fn remove(self) {
        drop(self.store);
        match self.backing {
            Backing::Memory(..) => {}
            Backing::Sqlite { store, connection, path } => {
                drop(store);
                connection.close().await.expect("closed");
                std::fs::remove_file(path).expect("removed");
            }
            Backing::Postgres { mut connection, namespace, .. } => {
                let tables = "SELECT format('DROP TABLE %I CASCADE', relname) FROM pg_class
                    WHERE relkind = 'r' AND relname LIKE $1";
                let like = format!("{namespace}%");
                let drops: Vec<String> =
                    sqlx::query_scalar(tables).bind(like).fetch_all(&mut connection).await.expect("tables");
                sqlx::raw_sql(AssertSqlSafe(drops.join("; "))).execute(&mut connection).await.expect("removed");
            }
            Backing::Redis { mut stream, .. } => {
                stream.write_all(b"*1\r\n$8\r\nFLUSHALL\r\n").expect("sent");
                BufReader::new(&stream).lines().next();
            }
        }
    }
}

/// Spreads the keys of added events, apart from those of claims.
fn spread(n: u64) -> [u8; 32] {
    let mut bytes = *key(n).as_bytes();
    bytes.iter_mut().for_each(|byte| *byte ^= 0x5a);
    bytes
}

/// Returns Unix milliseconds.
fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

fn limited(sizes: &[u64]) -> Vec<u64> {
    let most = std::env::var("MEDHOOK_BENCH_EVENTS").ok().and_then(|most| most.parse().ok()).unwrap_or(u64::MAX);
    let mut sizes: Vec<u64> = sizes.iter().map(|size| (*size).min(most)).collect();
    sizes.dedup();
    sizes
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap()).collect();
    groups.join(",")
}

fn add(report: &mut Report, bench: String, size: &str, ours: Figure, other: Option<(&'static str, Figure)>) {
    report.add(Row { bench, size: size.to_owned(), ours, other, target: Target::None });
}
