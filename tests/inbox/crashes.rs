//! SIGKILL: at receivers, at workers, right after an event was finished, and by an event itself.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::figures::{report, report_time, rounds, scaled, times_matter};
use crate::ledger::{Step, now};
use crate::process::Process;
use crate::sender::{Event, Sender, distinct};
use crate::setup::Setup;
use crate::world::{DEAD, DONE, WAITING, World, until};

on_both! {
    receiver_killed
    worker_killed
    worker_with_effects_killed
    back_after_a_kill
    killed_after_finish
    poison
}

/// A pause of up to `most` that depends on `seed` only.
async fn pause(seed: u64, most: u64) {
    tokio::time::sleep(Duration::from_millis((seed.wrapping_mul(6_364_136_223_846_793_005) >> 33) % most.max(1))).await;
}

async fn receiver_killed(world: World) {
    let (events, kills) = (scaled(2_000), scaled(50));
    let worker = world.start(&world.setup().worker());
    let mut receiver = world.start(&world.setup().receiver());
    let sender = Sender::to(&receiver);
    let sends = {
        let sender = sender.clone();
        tokio::spawn(async move { sender.send_all(16, (0..events).map(Event::new)).await })
    };
    for kill in 1..=kills {
        let due = async || sender.accepted.load(Ordering::SeqCst) as u64 >= kill * events / (kills + 1);
        until("more are accepted", due, async || world.statuses().await).await;
        pause(kill, 20).await;
        receiver.kill();
        receiver = world.start(&world.setup().receiver());
        sender.change(&[&receiver]);
    }
    let sent = sends.await.expect("senders");
    world.until_done(events as usize).await;
    world.look(&receiver).await;
    world.look(&worker).await;
    let mut ledger = world.ledger();
    ledger.read();
    let accepted = distinct(&sent);
    let lost = accepted.difference(&ledger.events(Step::End)).count();
    let keys = world.number("SELECT count(DISTINCT row_key) FROM medhook_inbox").await;
    let rows = world.rows("true").await;
    let retried: u32 = sent.iter().map(|sent| sent.tries - 1).sum();
    let done = world.rows(DONE).await;
    report(
        "1 receiver killed",
        &world.database,
        format!(
            "{kills} kills, {} accepted after {retried} retries, {done} done, {lost} lost, {rows} rows of {keys} events",
            accepted.len(),
        ),
        lost == 0 && [done, rows, keys].iter().all(|number| *number == accepted.len() as i64),
    );
}

async fn worker_killed(world: World) {
    kill_workers("2 worker killed", &world, &world.setup()).await;
}

async fn worker_with_effects_killed(world: World) {
    let setup = Setup { effects: true, ..world.setup() };
    // The table is created before the workers need it.
    world.store_events(&setup, [Event::new("first")]).await;
    world.sql("CREATE TABLE medhook_effects (event text NOT NULL)").await;
    kill_workers("5 effects, worker killed", &world, &setup).await;
    let effects = world.number("SELECT count(*) FROM medhook_effects").await;
    let distinct = world.number("SELECT count(DISTINCT event) FROM medhook_effects").await;
    let done = world.rows(DONE).await;
    report(
        "5 effect once, worker killed",
        &world.database,
        format!("{done} done, {effects} effects of {distinct} events"),
        effects == distinct && effects == done,
    );
}

async fn kill_workers(check: &str, world: &World, setup: &Setup) {
    let (events, kills) = (scaled(1_000), scaled(50));
    let before = if setup.effects { world.rows("true").await as usize } else { 0 };
    let stored = world.store_events(setup, (0..events).map(|n| Event::new(n).with("takes", 20))).await + before;
    let setup = setup.clone().worker();
    let mut workers = [world.start(&setup), world.start(&setup)];
    let mut ledger = world.ledger();
    for kill in 1..=kills {
        loop {
            ledger.read();
            if ledger.events(Step::End).len() as u64 >= kill * events / (kills + 1) {
                break;
            }
            assert!(workers.iter_mut().all(Process::is_running), "a worker has ended by itself");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        pause(kill, 30).await;
        let victim = &mut workers[kill as usize % 2];
        victim.kill();
        *victim = world.start(&setup);
    }
    world.until_done(stored).await;
    for worker in &workers {
        world.look(worker).await;
    }
    ledger.read();
    let starts = ledger.starts();
    // A process may be killed between the commit of an effect and the line that tells of it.
    let handled = if setup.effects {
        world.number("SELECT count(DISTINCT event) FROM medhook_effects").await as usize
    } else {
        ledger.events(Step::End).len()
    };
    let lost = stored - handled;
    let extra: usize = starts.values().map(|lines| lines.len() - 1).sum();
    let done = world.rows(DONE).await;
    let places = setup.workers * kills as usize;
    report(
        check,
        &world.database,
        format!(
            "{kills} kills, {lost} lost, {done} of {stored} recorded done, {extra} starts again (at most {places})"
        ),
        lost == 0 && done as usize == stored && extra <= places,
    );
}

/// Kills a worker with events in hand while another one goes on, and does not start it again.
async fn back_after_a_kill(world: World) {
    let setup = world.setup();
    let receiver = world.start(&setup.clone().receiver());
    let sender = Sender::to(&receiver);
    let mut ledger = world.ledger();
    let (mut sent, mut back) = (0, Vec::new());
    for round in 0..rounds(20, 1) {
        let mut workers = [world.start(&setup.clone().worker()), world.start(&setup.clone().worker())];
        let known = ledger.read().len();
        // More than the other one has done when the leases have expired.
        let events = (0..400).map(|n| Event::new(format!("{round}-{n}")).with("takes", 40));
        let sends = tokio::spawn({
            let (sender, events) = (sender.clone(), events.collect::<Vec<_>>());
            async move { sender.send_all(8, events).await.len() }
        });
        while ledger.in_hand(workers[0].id(), known).len() < 4 {
            ledger.read();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        workers[0].kill();
        let at = now();
        sent += sends.await.expect("senders");
        world.until_done(sent).await;
        ledger.read();
        let starts = ledger.starts();
        for event in ledger.in_hand(workers[0].id(), known) {
            // There is no later line if its end was recorded, and the line was lost.
            back.extend(starts[event.as_str()].iter().find(|line| line.at > at).map(|line| line.at - at));
        }
    }
    back.sort_by(f64::total_cmp);
    let slowest = back.last().copied().unwrap_or_default();
    let median = back.get(back.len() / 2).copied().unwrap_or_default();
    report_time(
        "2 back after a kill",
        &world.database,
        format!("{} in hand, back after {median:.0} ms (median), {slowest:.0} ms (slowest), lease 1000 ms", back.len()),
        slowest <= 2_000.0,
    );
}

async fn killed_after_finish(world: World) {
    let rounds = rounds(200, 5);
    world.store_events(&world.setup(), (0..rounds).map(Event::new)).await;
    let setup = Setup { workers: 1, ..world.setup() }.worker();
    let mut finished = BTreeMap::new();
    let mut kills = 0;
    while (finished.len() as u64) < rounds {
        let mut worker = world.start(&setup);
        let before = finished.len();
        while world.rows(DONE).await as usize <= before {
            tokio::task::yield_now().await;
        }
        worker.kill();
        kills += 1;
        finished.extend(world.ended().await);
    }
    // The wait is longer than any lease that the killed workers had.
    let mut worker = world.start(&setup);
    tokio::time::sleep(Duration::from_millis(2 * setup.lease)).await;
    world.store_events(&world.setup(), [Event::new("last")]).await;
    world.until_done(rounds as usize + 1).await;
    worker.stop();
    let now = world.ended().await;
    let again = finished.iter().filter(|(id, as_it_ended)| now.get(*id) != Some(as_it_ended)).count();
    report(
        "3 killed after finish",
        &world.database,
        format!("{kills} kills, {again} of {} finished events run again", finished.len()),
        again == 0,
    );
}

async fn poison(world: World) {
    let (events, kills) = (scaled(1_000), scaled(10));
    let good = |n| Event::new(n).with("takes", 10);
    let all = (0..events).map(good).chain([Event::new("poison").with("abort", 1)]);
    let stored = world.store_events(&world.setup(), all).await;
    // Five deaths in a row take five leases.
    let lease = if times_matter() { 1_000 } else { 300 };
    let setup = Setup { workers: 16, lease, ..world.setup() }.worker();
    let mut worker = world.start(&setup);
    let (mut aborts, mut killed) = (0, 0);
    let mut ledger = world.ledger();
    until_all_ended(&world, stored, async || {
        if !worker.is_running() {
            aborts += 1;
            worker = world.start(&setup);
        }
        ledger.read();
        if killed < kills && ledger.events(Step::End).len() as u64 >= (killed + 1) * events / (kills + 1) {
            worker.kill();
            killed += 1;
            worker = world.start(&setup);
        }
    })
    .await;
    ledger.read();
    world.look(&worker).await;
    let (done, dead) = (world.rows(DONE).await, world.rows(DEAD).await);
    let reasons = world.texts("SELECT reason FROM medhook_inbox WHERE status = 3").await;
    let starts = ledger.starts().get(Event::new("poison").id.as_str()).map_or(0, Vec::len);
    report(
        "9 poison",
        &world.database,
        format!(
            "{killed} kills, {aborts} aborts by {starts} starts of one event, {done} done, {dead} dead: {reasons:?}"
        ),
        done as u64 == events && dead == 1 && reasons == ["crashed"] && killed == kills,
    );
}

async fn until_all_ended(world: &World, stored: usize, mut between: impl AsyncFnMut()) {
    let began = std::time::Instant::now();
    while world.rows(WAITING).await + world.rows("status = 1").await > 0 {
        between().await;
        let patient = began.elapsed() < crate::process::PATIENCE * 2;
        assert!(patient, "not all of {stored} have ended: {}", world.statuses().await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
