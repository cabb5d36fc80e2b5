//! When an event is tried again, and by which instance it is handled.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::figures::{percentile, report, report_time, scaled};
use crate::ledger::Step;
use crate::sender::{Event, Sender};
use crate::setup::Setup;
use crate::world::{DEAD, DONE, World, operator, until};

on_both! {
    retry_after
    always_fails
    two_instances
    paused
    duplicate_after_retention
}

async fn retry_after(world: World) {
    let setup = Setup { service: true, longest: 3_000, ..world.setup() };
    let both = world.start(&setup.receiver().worker());
    let answer = |name: &str, after: &str| Event::new(name).with("fails", 503).with("retry_after", after);
    let events = [answer("two", "2"), answer("capped", "99999999")];
    Sender::to(&both).send_all(2, events).await;
    world.until_done(2).await;
    world.look(&both).await;
    let mut ledger = world.ledger();
    ledger.read();
    for (name, after) in [("two", 2_000.0), ("capped", 3_000.0)] {
        let of = |step| ledger.of(step).filter(|line| line.event == Event::new(name).id).map(|line| line.at);
        let failed = of(Step::Failure).next().expect("it failed once");
        let again = of(Step::Start).nth(1).expect("it started again") - failed;
        // Milliseconds are rounded.
        report(
            &format!("8 Retry-After, {name}"),
            &world.database,
            format!("again after {again:.0} ms instead of {after:.0} ms"),
            again >= after - 5.0,
        );
        report_time(
            &format!("8 Retry-After in time, {name}"),
            &world.database,
            format!("{:.0} ms late", again - after),
            again <= after + 500.0,
        );
    }
}

async fn always_fails(world: World) {
    let (first, longest) = (50.0, 800.0_f64);
    let setup = Setup { attempts: 8, longest: 800, workers: 16, ..world.setup() };
    let both = world.start(&setup.receiver().worker());
    let events = 20;
    let failing = |n| Event::new(n).with("fails", 500).with("times", 1_000);
    Sender::to(&both).send_all(8, (0..events).map(failing)).await;
    let dead = async || world.rows(DEAD).await == events;
    until("all are dead", dead, async || world.statuses().await).await;
    world.look(&both).await;
    let mut ledger = world.ledger();
    ledger.read();
    let (mut early, mut late, mut misnumbered, mut attempts) = (0, 0.0_f64, 0, BTreeMap::new());
    for starts in ledger.starts().values() {
        *attempts.entry(starts.len()).or_insert(0) += 1;
        misnumbered += starts.iter().enumerate().filter(|(n, start)| start.attempt as usize != n + 1).count();
        for (n, pair) in starts.windows(2).enumerate() {
            let wait = longest.min(first * 2_f64.powi(n as i32));
            let waited = pair[1].at - pair[0].at;
            early += u32::from(waited < wait / 2.0 - 2.0);
            late = late.max(waited - wait);
        }
    }
    let listed = world.inbox(&[]).await.list(&dead_ones()).await.expect("a list").len() as i64;
    report(
        "10 always 500",
        &world.database,
        format!("attempts {attempts:?}, {early} intervals below half of the backoff, {listed} listed as dead"),
        attempts == BTreeMap::from([(8, events)]) && misnumbered == 0 && early == 0 && listed == events,
    );
    report_time(
        "10 always 500, in time",
        &world.database,
        format!("longest interval {late:.0} ms beyond the backoff"),
        late <= 500.0,
    );
}

fn dead_ones() -> medhook::inbox::Filter {
    medhook::inbox::Filter::new().status(medhook::inbox::Status::Dead).limit(1_000)
}

async fn two_instances(world: World) {
    let events = scaled(10_000);
    // No lease expires, however slow the machine is.
    let setup = Setup { lease: 60_000, ..world.setup() };
    let stored = world.store_events(&setup, (0..events).map(Event::new)).await;
    let workers = [world.start(&setup.clone().worker()), world.start(&setup.worker())];
    world.until_done(stored).await;
    for worker in &workers {
        world.look(worker).await;
    }
    let mut ledger = world.ledger();
    ledger.read();
    let twice = ledger.starts().values().filter(|starts| starts.len() > 1).count();
    let started = ledger.of(Step::Start).count();
    let shares = workers
        .each_ref()
        .map(|worker| ledger.of(Step::Start).filter(|line| line.process == worker.id()).count() * 100 / started.max(1));
    let mut first: Vec<f64> = ledger.of(Step::Start).map(|line| line.at).collect();
    first.sort_by(f64::total_cmp);
    let took = first.last().zip(first.first()).map_or(0.0, |(last, first)| last - first);
    report(
        "12 two instances",
        &world.database,
        format!(
            "{stored} events, {twice} started twice, shares {shares:?} %, {:.0} events/s",
            stored as f64 / took * 1e3
        ),
        twice == 0 && started == stored,
    );
    report_time(
        "12 two instances, shares",
        &world.database,
        format!("{shares:?} %"),
        shares.iter().all(|share| *share >= 20),
    );
}

async fn paused(world: World) {
    let setup = world.setup();
    let mut both = world.start(&setup.clone().receiver().worker());
    let sender = Sender::to(&both);
    let first = sender.send_all(4, [Event::new("before")]).await.len();
    world.until_done(first).await;
    let inbox = world.inbox(&[]).await;
    inbox.pause(crate::world::ENDPOINT, &operator()).await.expect("paused");
    let events = scaled(500) as usize;
    let half = sender.send_all(8, (0..events / 2).map(Event::new)).await;
    world.look(&both).await;
    both.stop();
    let mut both = world.start(&setup.clone().receiver().worker());
    sender.change(&[&both]);
    let rest = sender.send_all(8, (events / 2..events).map(Event::new)).await;
    // Ten minutes, scaled 600 times.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut ledger = world.ledger();
    ledger.read();
    let while_paused = ledger.of(Step::Start).count() - first;
    let attempts = world.number("SELECT count(*) FROM medhook_inbox WHERE status <> 2 AND attempts > 0").await;
    inbox.resume(crate::world::ENDPOINT, &operator()).await.expect("resumed");
    world.until_done(first + events).await;
    world.look(&both).await;
    both.stop();
    let mut took: Vec<_> = half.iter().chain(&rest).map(|sent| sent.took).collect();
    report(
        "22 paused",
        &world.database,
        format!(
            "{} accepted over a restart (p99 {:.0?}), {while_paused} started while paused, {attempts} attempts counted, \
             {} done afterwards",
            half.len() + rest.len(),
            percentile(&mut took, 99),
            world.rows(DONE).await
        ),
        while_paused == 0 && attempts == 0 && half.len() + rest.len() == events,
    );
}

async fn duplicate_after_retention(world: World) {
    let setup = Setup { retention: Some(1_000), ..world.setup() };
    let receiver = world.start(&setup.clone().receiver());
    let sender = Sender::to(&receiver);
    let body = Event::new("waits").body();
    let first = sender.try_to_send(&body).await;
    // The wait is longer than the retention of its mark.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let again = sender.try_to_send(&body).await;
    let rows = world.rows("true").await;
    let worker = world.start(&setup.worker());
    world.until_done(1).await;
    world.look(&receiver).await;
    world.look(&worker).await;
    report(
        "16 duplicate while waiting",
        &world.database,
        format!("answers {first:?} and {again:?} after the retention, {rows} row"),
        first == Some(200) && again == Some(200) && rows == 1,
    );
}
