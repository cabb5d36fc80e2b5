//! The application, or the store, is away for a while; and senders that do not wait for slow handlers.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use medhook_tests::servers::Server;
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;

use crate::figures::{percentile, report, report_time, rounds, scaled};
use crate::ledger::{Step, now};
use crate::sender::{Event, Sender, distinct};
use crate::setup::Setup;
use crate::world::{DEAD, DONE, Database, World, until};

on_both! {
    application_away
    slow_handlers
    memory
}

/// An hour, scaled 60 times, and a tenth of that where the speed of the machine must not matter.
fn outage() -> Duration {
    Duration::from_secs(rounds(60, 1))
}

async fn application_away(world: World) {
    let events = scaled(5_000);
    let setup = world.setup();
    world.set("unreachable");
    let receiver = world.start(&setup.clone().receiver());
    let worker = world.start(&setup.worker());
    let sender = Sender::to(&receiver);
    let began = Instant::now();
    let sent = sender.send_all(8, (0..events).map(Event::new)).await;
    tokio::time::sleep(outage().saturating_sub(began.elapsed())).await;
    let mut ledger = world.ledger();
    ledger.read();
    let connects = ledger.of(Step::Start).count();
    // The pause after the last probe is at most twice as long as the one before.
    let calls: Vec<_> = ledger.of(Step::Start).map(|line| line.at).collect();
    let pause = calls.windows(2).map(|pair| pair[1] - pair[0]).fold(1_000.0, f64::max) * 3.0;
    let dead = world.rows(DEAD).await;
    world.unset("unreachable");
    let back = now();
    world.until_done(sent.len()).await;
    world.look(&worker).await;
    ledger.read();
    let first = ledger.of(Step::End).map(|line| line.at - back).fold(f64::MAX, f64::min);
    let lost = distinct(&sent).difference(&ledger.events(Step::End)).count();
    report(
        "7 application away",
        &world.database,
        format!("{:?}, {events} events, {connects} calls while away, {dead} dead, {lost} lost", outage()),
        connects <= 200 && dead == 0 && lost == 0,
    );
    report_time(
        "7 application back",
        &world.database,
        format!("first event handled after {first:.0} ms, longest pause before {:.0} ms", pause / 3.0),
        first <= pause.min(31_000.0),
    );
}

async fn slow_handlers(world: World) {
    let setup = Setup { workers: 16, lease: 10_000, ..world.setup() };
    let both = world.start(&setup.receiver().worker());
    let sender = Sender::to(&both);
    for (length, limit) in [(8 * 1024, 100), (1024 * 1024, 500)] {
        let number = if length < 100_000 { scaled(500) } else { scaled(100) };
        let mut sends = Vec::new();
        for n in 0..number {
            let sender = sender.clone();
            // 60 s, scaled.
            let event = Event::new(format!("{length}-{n}")).with("takes", 1_000).of(length);
            sends.push(tokio::spawn(async move { sender.send(&event).await }));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let sent = futures_util::future::join_all(sends).await;
        let mut took: Vec<_> = sent.into_iter().map(|sent| sent.expect("a sender").took).collect();
        let (p50, p99) = (percentile(&mut took, 50), percentile(&mut took, 99));
        report_time(
            "21 answers while handlers are slow",
            &world.database,
            format!("{number} of {length} bytes, 50/s: p50 {p50:.1?}, p99 {p99:.1?}, limit {limit} ms"),
            p99 <= Duration::from_millis(limit),
        );
    }
    world.look(&both).await;
}

async fn memory(world: World) {
    let both = world.start(&world.setup().receiver().worker());
    let sender = Sender::to(&both);
    let began = Instant::now();
    let mut sent = 0;
    loop {
        let events = (0..64).map(|n| Event::new(format!("{sent}-{n}")).of(1024 * 1024 - 8));
        sent += sender.send_all(64, events).await.len();
        if began.elapsed() >= Duration::from_secs(rounds(60, 1)) {
            break;
        }
    }
    let [most, idle] = ["VmHWM", "VmRSS"].map(|name| both.memory(name) / 1_048_576);
    world.until_done(sent).await;
    report(
        "25 memory",
        &world.database,
        format!("{sent} of 1 MiB, 64 at once: at most {most} MiB, {idle} MiB at the end"),
        most < 300,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_away() {
    let mut server = Server::postgres(&[]);
    let world = World::with(World::postgres_at(server.url()), TempDir::new().expect("a folder"));
    away(&world, async || {
        world.disconnect();
        server.stop();
        tokio::time::sleep(outage()).await;
        server.start();
    })
    .await;
    drop(world);
}

/// Another program locks the file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_locked() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("medhook.db");
    let world = World::with(Database::Sqlite(path.clone()), folder);
    away(&world, async || {
        let mut other = SqliteConnectOptions::new().filename(&path).busy_timeout(outage()).connect().await.unwrap();
        sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.expect("the lock");
        tokio::time::sleep(outage()).await;
        sqlx::query("COMMIT").execute(&mut other).await.expect("the end of the lock");
    })
    .await;
}

async fn away(world: &World, mut store_away: impl AsyncFnMut()) {
    let (mut receiver, mut worker) = (world.start(&world.setup().receiver()), world.start(&world.setup().worker()));
    let sender = Sender::to(&receiver);
    let events = scaled(2_000).max(64);
    let part = events as usize / 4;
    let mut sent = sender.send_all(8, (0..part).map(|n| Event::new(n).with("takes", 5))).await;
    let sends = tokio::spawn({
        let sender = sender.clone();
        async move { sender.send_all(8, (part..events as usize).map(|n| Event::new(n).with("takes", 5))).await }
    });
    let more = async || sender.accepted.load(Ordering::SeqCst) > part;
    until("some more are accepted", more, async || world.statuses().await).await;
    store_away().await;
    let back = now();
    let accepted = sender.accepted.load(Ordering::SeqCst);
    let began = Instant::now();
    while sender.accepted.load(Ordering::SeqCst) <= accepted && !sends.is_finished() {
        assert!(began.elapsed() < crate::process::PATIENCE, "nothing is accepted any more");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let intake = began.elapsed();
    sent.extend(sends.await.expect("senders"));
    world.until_done(sent.len()).await;
    let alive = receiver.is_running() && worker.is_running();
    world.look(&receiver).await;
    world.look(&worker).await;
    let mut ledger = world.ledger();
    ledger.read();
    let resumed = ledger.of(Step::End).map(|line| line.at - back).filter(|at| *at > 0.0).fold(f64::MAX, f64::min);
    let answers: BTreeSet<_> = sent.iter().flat_map(|sent| &sent.answers).copied().collect();
    let lost = distinct(&sent).difference(&ledger.events(Step::End)).count();
    let done = world.rows(DONE).await;
    report(
        "13 store away",
        &world.database,
        format!(
            "{:?}: processes {}, other answers {answers:?}, {done} of {} done, {lost} lost",
            outage(),
            if alive { "alive" } else { "ended" },
            sent.len()
        ),
        alive && lost == 0 && done as usize == sent.len() && answers.iter().all(|answer| *answer == Some(503)),
    );
    report_time(
        "13 store back",
        &world.database,
        format!("first accepted after {intake:.0?}, first handled after {resumed:.0} ms"),
        intake <= Duration::from_secs(2) && resumed <= 2_000.0,
    );
}
