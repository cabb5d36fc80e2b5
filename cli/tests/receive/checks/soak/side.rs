//! One store with its receivers, its application and its senders.

use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use medhook_tests::servers::{PASSWORD, Server};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Executor};

use super::super::application::{Answer, Call};
use super::super::events::{Event, PROVIDERS};
use super::super::fleet::{Receivers, SQLITE, sqlite_in};
use super::super::kills::{number_of, unreliable};
use super::super::mounted::{files, secrets};
use super::super::settings::Settings;
use super::super::shared::database::{Database, Tables, until};
use super::super::shared::figures::report;
use super::super::shared::wire;
use super::Servers;
use super::ledger::Ledger;
use super::plan::{Disturbance, Plan};
use super::samples::{Samples, Unit};
use super::traffic::{Counts, Traffic};

/// Longer than anything holds up a machine, so that no claim expires unless its holder was killed.
const LEASE: &str = "15s";

/// Calls are entered into the ledger once their event is as old as this, so that the application forgets it.
const SETTLED: Duration = Duration::from_secs(120);

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = HOUR.saturating_mul(24);

/// The time for which receivers remember events: the longest that a provider can need.
const RETENTION: Duration = DAY.saturating_mul(7);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Store {
    Memory,
    Sqlite,
    Postgres,
    Redis,
}

pub(super) struct Side {
    name: &'static str,
    pub(super) store: Store,
    has_inbox: bool,
    receivers: Receivers,
    tables: Option<Tables>,
    /// The receiver that is killed and replaced. The others run from the beginning to the end.
    replaceable: Option<usize>,
    ledger: Arc<Mutex<Ledger>>,
    traffic: Option<Traffic>,
    counts: Counts,
    /// The number of the secrets that the provider signs with.
    generation: u32,
    probes: u32,
}

impl Side {
    /// Starts one receiver on a store in memory, and two on each other store.
    pub(super) async fn start(
        name: &'static str,
        store: Store,
        has_inbox: bool,
        replaceable: Option<usize>,
        servers: &Servers,
        plan: &Plan,
    ) -> Self {
        let more = if has_inbox {
            "retention = \"7d\"\nretain_dead = \"1m\"\n"
        } else {
            "retention = \"7d\"\nlease = \"15s\"\n"
        };
        let settings = Settings { inbox: has_inbox, lease: LEASE, more, ..Settings::default() };
        let (receivers, database) = match store {
            Store::Memory => (Receivers::stopped(|_| "memory".to_owned(), settings), None),
            Store::Redis => (Receivers::stopped(|_| servers.redis.url(), settings), None),
            Store::Sqlite => {
                let receivers = Receivers::stopped(sqlite_in, settings);
                let database = Database::Sqlite(receivers.folder().join(SQLITE));
                (receivers, Some(database))
            }
            Store::Postgres => {
                let url = servers.database(if has_inbox { "soak_inbox" } else { "soak" }).await;
                let database = Database::Postgres { url: url.clone(), namespace: "medhook".to_owned() };
                (Receivers::stopped(|_| url, settings), Some(database))
            }
        };
        receivers.application.answers(move |call| answer(has_inbox, call));
        receivers.application.up().await;
        let receivers = receivers.with(if store == Store::Memory { 1 } else { 2 });
        let ledger = Arc::<Mutex<Ledger>>::default();
        let prefix = format!("{}-{}", std::process::id(), name.replace([' ', ','], ""));
        let traffic = Traffic::start(prefix, receivers.sender.clone(), ledger.clone(), plan.interval);
        Side {
            name,
            store,
            has_inbox,
            receivers,
            tables: database.map(Tables::of),
            replaceable,
            ledger,
            traffic: Some(traffic),
            counts: Counts::default(),
            generation: 1,
            probes: 0,
        }
    }

    /// Notes that events may be called for again since this moment.
    pub(super) fn disturbed(&self, from: Instant) {
        self.ledger.lock().unwrap().disturbed(from);
    }

    pub(super) async fn disturb(&mut self, disturbance: Disturbance, plan: &Plan, servers: &mut Servers) {
        match (disturbance, self.replaceable) {
            (Disturbance::Kill, Some(number)) => self.receivers.kill(number),
            (Disturbance::Replace, Some(number)) => self.receivers.replace(number).await,
            (Disturbance::Kill | Disturbance::Replace, None) => {}
            (Disturbance::StoreAway, _) => self.store_away(plan.outage, servers).await,
            (Disturbance::ApplicationAway, _) => {
                self.receivers.application.down().await;
                tokio::time::sleep(plan.outage).await;
                self.receivers.application.up().await;
            }
            (Disturbance::RotateSecrets, _) => self.rotate_secrets().await,
            (Disturbance::Operate, _) => self.operate(),
        }
    }

    async fn store_away(&self, outage: Duration, servers: &mut Servers) {
        let server = match self.store {
            Store::Memory => return,
            Store::Sqlite => {
                let path = self.receivers.folder().join(SQLITE);
                let options = SqliteConnectOptions::new().filename(path).busy_timeout(Duration::from_secs(60));
                let mut other = options.connect().await.unwrap();
                other.execute("BEGIN IMMEDIATE").await.unwrap();
                tokio::time::sleep(outage).await;
                other.execute("COMMIT").await.unwrap();
                return;
            }
            Store::Postgres => &mut servers.postgres,
            Store::Redis => &mut servers.redis,
        };
        server.stop();
        tokio::time::sleep(outage).await;
        server.start();
    }

    /// The provider signs with the new secrets as soon as every receiver accepts them, and the old ones are removed.
    async fn rotate_secrets(&mut self) {
        let (old, new) = (self.generation, 3 - self.generation);
        self.receivers.mounted.swap(&files(&[new, old]));
        self.receivers.signal("HUP");
        self.until_answered(new, |status| status != 401).await;
        self.receivers.sender.sign_with(secrets(new));
        self.receivers.mounted.swap(&files(&[new]));
        self.receivers.signal("HUP");
        self.until_answered(old, |status| status == 401).await;
        self.generation = new;
    }

    /// Sends events to every endpoint of every receiver until they are answered as expected.
    async fn until_answered(&mut self, generation: u32, is_expected: impl Fn(u16) -> bool) {
        for number in 0..self.receivers.processes.len() {
            for provider in &PROVIDERS {
                let secret = &secrets(generation)[provider.name];
                let began = Instant::now();
                loop {
                    self.probes += 1;
                    let event =
                        Event::of(provider, &format!("{}-probe-{}-{}", std::process::id(), self.name, self.probes));
                    let address = self.receivers.processes[number].address;
                    let answer = wire::ask(address, &event.head(secret), &event.body).await.map(|(status, _)| status);
                    let is_accepted = answer.is_some_and(|status| (200..300).contains(&status));
                    self.ledger.lock().unwrap().sent(&event.body, is_accepted);
                    if answer.is_some_and(&is_expected) {
                        break;
                    }
                    assert!(began.elapsed() < super::super::shared::process::PATIENCE, "{}: {answer:?}", self.name);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// Runs the commands of an operator. Events that the application has given up are dead until they are purged.
    fn operate(&self) {
        if !self.has_inbox {
            return;
        }
        let run = |codes: &[i32], arguments: &[&str]| {
            let ran =
                self.receivers.run(&[&["inbox", arguments[0], "--config", "medhook.toml"], &arguments[1..]].concat());
            assert!(ran.code.is_some_and(|code| codes.contains(&code)), "{arguments:?}: {ran:?}");
        };
        run(&[0], &["pause", "mediquo", "--because", "a check"]);
        run(&[0], &["list", "--json"]);
        run(&[0], &["stats", "--json"]);
        run(&[0, 1], &["replay", "--status", "dead", "--endpoint", "cair", "--because", "a check"]);
        run(&[0, 1], &["discard", "--status", "dead", "--endpoint", "fasten", "--because", "a check"]);
        run(&[0], &["rekey", "--json"]);
        run(&[0], &["resume", "mediquo"]);
        run(&[0], &["audit", "--json"]);
    }

    /// Enters old calls into the ledger, and lets eight days pass for the events that were handled before: receivers
    /// remember an event for seven days, and keep the row of one that is done as long. Then they purge them.
    pub(super) async fn upkeep(&self, servers: &Servers) {
        if let Some(old) = Instant::now().checked_sub(SETTLED) {
            self.settle(old);
        }
        if self.store == Store::Redis {
            forget_old_keys(&servers.redis);
        }
        let Some(tables) = &self.tables else { return };
        let is_sqlite = tables.database.is_sqlite();
        let now = if is_sqlite { "unixepoch() * 1000" } else { "now()" };
        let time = |time: Duration| match is_sqlite {
            true => time.as_millis().to_string(),
            false => format!("interval '{} milliseconds'", time.as_millis()),
        };
        let [remembered, passed] = [RETENTION - SETTLED, RETENTION + DAY].map(time);
        let handled = if is_sqlite { "handled = 1" } else { "handled" };
        let old = format!("until < {now} OR {handled} AND until < {now} + {remembered}");
        tables.sql(&format!("UPDATE medhook_events SET until = until - {passed} WHERE {old}")).await;
        if self.has_inbox {
            let times = format!("ended_at = ended_at - {passed}, mark_until = mark_until - {passed}");
            let old = format!("status IN (2, 3, 4) AND mark_until < {now} + {remembered}");
            tables.sql(&format!("UPDATE medhook_inbox SET {times} WHERE {old}")).await;
        }
    }

    fn settle(&self, before: Instant) {
        let mut ledger = self.ledger.lock().unwrap();
        for event in self.receivers.application.take_before(before).values() {
            let has_inbox = self.has_inbox;
            let loses = |call: &Call| matches!(answer(has_inbox, call), Answer::RecordAndHangUp);
            ledger.called(event, loses, |call| matches!(answer(has_inbox, call), Answer::GiveUp));
        }
    }

    pub(super) async fn sample(&self, servers: &Servers, samples: &mut Samples) {
        let mut add = |name: &str, unit, value| samples.add(self.name, name, unit, value);
        for (number, process) in self.receivers.processes.iter().enumerate() {
            let of = |what: &str| {
                let is_replaced = self.replaceable == Some(number);
                if is_replaced { format!("replaced receiver, {what}") } else { format!("receiver, {what}") }
            };
            let unit = if self.replaceable == Some(number) { Unit::Control } else { Unit::Memory };
            add(&of("heap and stacks"), unit, process.memory("RssAnon"));
            add(&of("resident"), Unit::Resident, process.memory("VmRSS"));
            let entries = |folder: &str| std::fs::read_dir(format!("/proc/{}/{folder}", process.id())).unwrap().count();
            add(&of("open files"), Unit::Count, entries("fd") as u64);
            add(&of("threads"), Unit::Count, entries("task") as u64);
            let metrics = self.receivers.look(number).await;
            add(&of("lines of metrics"), Unit::Count, metrics.lines().count() as u64);
        }
        if let Some(tables) = &self.tables {
            let number = async |query: &str| tables.number(query).await.unsigned_abs();
            match tables.database.is_sqlite() {
                true => {
                    for (name, end, unit) in [("file", "", Unit::Size), ("log", "-wal", Unit::Log)] {
                        let path = self.receivers.folder().join(format!("{SQLITE}{end}"));
                        add(name, unit, path.metadata().map_or(0, |metadata| metadata.len()));
                    }
                }
                false => add("database", Unit::Size, number("SELECT pg_database_size(current_database())").await),
            }
            add("records of events", Unit::Rows, number("SELECT count(*) FROM medhook_events").await);
            for (status, name) in [(0, "waiting"), (1, "processing"), (2, "done"), (3, "dead"), (4, "discarded")] {
                if self.has_inbox {
                    add(
                        &format!("{name} rows"),
                        Unit::Rows,
                        tables.rows(&format!("status = {status}")).await.unsigned_abs(),
                    );
                }
            }
            // The server may be restarted before the next sample.
            tables.disconnect();
        }
        if self.store == Store::Redis {
            let (memory, keys) = redis(&servers.redis);
            add("memory of the server", Unit::Size, memory);
            add("records of events", Unit::Rows, keys);
        }
        let fates = self.ledger.lock().unwrap().fates();
        add("settled events, accepted", Unit::Total, fates.accepted as u64);
        add("settled events, recorded", Unit::Total, fates.recorded as u64);
    }

    pub(super) async fn stop_sending(&mut self) {
        if let Some(traffic) = self.traffic.take() {
            self.counts = traffic.stop().await;
        }
    }

    /// Waits until every event has ended, and compares what was sent with what was recorded.
    pub(super) async fn conclude(self) -> Verdict {
        let state = async || match &self.tables {
            Some(tables) if self.has_inbox => tables.statuses().await,
            _ => String::new(),
        };
        let mut unfinished = 0;
        if let Some(tables) = self.tables.as_ref().filter(|_| self.has_inbox) {
            until("all events have ended", async || tables.rows("status < 2").await == 0, &state).await;
            unfinished = tables.rows("status < 2").await;
        }
        let (bytes, marks) = self.receivers.silent().await;
        let mut this = self;
        this.receivers.stop_all();
        this.receivers.application.down().await;
        this.settle(Instant::now() + SETTLED);
        let (deliveries, not_accepted) = (this.counts.deliveries(), this.counts.not_accepted);
        let mut mistakes = this.receivers.application.mistakes();
        mistakes.append(&mut this.counts.wrong);
        let mut ledger = this.ledger.lock().unwrap();
        mistakes.append(&mut ledger.mistakes);
        let (fates, again) = (ledger.fates(), ledger.again);
        let figure = format!(
            "{deliveries} senders, {not_accepted} never accepted; {fates:?}; {again} calls repeated after a kill, an outage \
             or a lost answer, {} mistakes, such as {:?}; {unfinished} unfinished; {marks} marks in {} KiB written",
            mistakes.len(),
            mistakes.first(),
            bytes / 1024,
        );
        println!("{}: {figure}", this.name);
        let has_run = fates.bad > 0 && fates.recorded > 0;
        let holds = fates.lost == 0 && mistakes.is_empty() && unfinished == 0 && marks == 0 && has_run;
        Verdict { name: this.name, figure, holds }
    }
}

/// The result of a side.
pub(super) struct Verdict {
    name: &'static str,
    figure: String,
    holds: bool,
}

impl Verdict {
    pub(super) fn report(&self) {
        report("soak", self.name, &self.figure, self.holds);
    }
}

/// Returns the answer to a call. It depends on the event and the number of calls only.
fn answer(has_inbox: bool, call: &Call) -> Answer {
    match unreliable(call) {
        _ if call.is_replay => Answer::Record,
        // Without an inbox, the sender would send the event forever.
        Answer::Record if has_inbox && call.before == 0 && number_of(&call.id).is_multiple_of(11) => Answer::GiveUp,
        answer => answer,
    }
}

/// Lets the keys expire of events that were handled, and of claims that ended, which are kept for an hour.
fn forget_old_keys(server: &Server) {
    let [day, remembered, hour] = [DAY, RETENTION - SETTLED, HOUR - SETTLED].map(|time| time.as_millis());
    let script = format!(
        "for _, key in ipairs(redis.call('KEYS', '*')) do local time = redis.call('PTTL', key) \
         if time > {day} and time < {remembered} or time < {hour} then redis.call('PEXPIRE', key, 1) end end return 'passed'"
    );
    let answer = ask_redis(server, &format!("EVAL \"{script}\" 0"));
    assert!(answer.contains("passed"), "{answer}");
}

fn ask_redis(server: &Server, commands: &str) -> String {
    let mut connection = std::net::TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    connection.write_all(format!("AUTH {PASSWORD}\r\n{commands}\r\nQUIT\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

/// Returns the bytes that a Redis server uses, and its number of keys.
fn redis(server: &Server) -> (u64, u64) {
    let answer = ask_redis(server, "DBSIZE\r\nINFO memory");
    let after = |text: &str| {
        let digits = answer.split(text).nth(1).unwrap_or_default();
        digits.split(|other: char| !other.is_ascii_digit()).next().unwrap_or_default().parse().expect("a number")
    };
    (after("used_memory:"), after("+OK\r\n:"))
}
