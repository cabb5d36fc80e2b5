//! Operations while events arrive: replay, purge, and a roll-out over one store.

use std::time::Duration;

use medhook::inbox::{Filter, Keep, Status};

use crate::figures::{percentile, report, report_time, scaled};
use crate::ledger::Step;
use crate::sender::{Event, Sender};
use crate::setup::Setup;
use crate::world::{DEAD, DONE, ENDPOINT, World, operator, until};

on_both! {
    replay
    roll_out
    purge
}

async fn replay(world: World) {
    let events = scaled(500);
    world.set("gives_up");
    let both = world.start(&world.setup().receiver().worker());
    let event = |n| Event::new(n).with("gives_up_if", "gives_up");
    Sender::to(&both).send_all(8, (0..events).map(event)).await;
    let dead = async || world.rows(DEAD).await as u64 == events;
    until("all are dead", dead, async || world.statuses().await).await;
    world.unset("gives_up");
    let inbox = world.inbox(&[]).await;
    let all = Filter::new().endpoint(ENDPOINT).status(Status::Dead).reason("not_wanted");
    let counted = inbox.count(&all).await.expect("a count");
    let replayed = inbox.replay_all(&all, None, &operator()).await.expect("replayed");
    world.until_done(events as usize).await;
    let again = inbox.replay_all(&all, None, &operator()).await.expect("replayed");
    world.look(&both).await;
    let mut ledger = world.ledger();
    ledger.read();
    let as_replays = ledger.of(Step::End).filter(|line| line.is_replay).count();
    report(
        "15 replay",
        &world.database,
        format!("{counted} counted, {replayed:?} replayed, {as_replays} done as replays, {again:?} replayed again"),
        counted as u64 == events && as_replays as u64 == events,
    );
}

/// Instances with and without an inbox share a store, in both directions.
async fn roll_out(world: World) {
    let events = scaled(1_000) as usize;
    // No lease expires, however slow the machine is.
    let with = Setup { lease: 60_000, ..world.setup() };
    let without = Setup { inbox: false, ..with.clone() };
    let worker = world.start(&with.clone().worker());
    let sender = Sender::default();
    let mut accepted = 0;
    let mut instances = Vec::new();
    // Each event is sent in two phases, and to both kinds of instances at once while both run.
    for (phase, kinds) in [vec![&without], vec![&without, &with], vec![&with], vec![&with, &without], vec![&without]]
        .into_iter()
        .enumerate()
    {
        let started: Vec<_> = kinds.into_iter().map(|setup| world.start(&setup.clone().receiver())).collect();
        sender.change(&started.iter().collect::<Vec<_>>());
        for process in &mut instances {
            world.look(process).await;
            crate::process::Process::stop(process);
        }
        instances = started;
        let part = events / 5;
        let numbers = (phase * part).saturating_sub(part)..(phase + 1) * part;
        let copies = numbers.flat_map(|n| [Event::new(n), Event::new(n)]);
        accepted += sender.send_all(16, copies).await.len();
    }
    let stored = world.rows("true").await as usize;
    world.until_done(stored).await;
    world.look(&worker).await;
    for process in &instances {
        world.look(process).await;
    }
    let mut ledger = world.ledger();
    ledger.read();
    let all = events / 5 * 5;
    let lost = all - ledger.events(Step::End).len();
    let twice = ledger.starts().values().filter(|starts| starts.len() > 1).count();
    report(
        "24 roll-out",
        &world.database,
        format!(
            "{accepted} deliveries of {all} events accepted, {stored} of them stored; {lost} lost, {twice} handled twice"
        ),
        lost == 0 && twice == 0 && stored > 0,
    );
}

async fn purge(world: World) {
    let events = scaled(10_000);
    // Bodies stay until the purge.
    let setup = Setup { retain_done: 3_600_000, ..world.setup() };
    let both = world.start(&setup.clone().receiver().worker());
    let sender = Sender::to(&both);
    let old: Vec<_> = (0..events).map(|n| Event::new(format!("{n}-{}", std::process::id()))).collect();
    let pieces: Vec<_> = old.iter().step_by(old.len().div_ceil(20)).map(Event::piece).collect();
    sender.send_all(16, old).await;
    world.until_done(events as usize).await;
    let present = world.count_pieces(&pieces).await;
    let mut before = load(&sender, "before").await;
    let inbox = world.inbox(&[]).await;
    let purging = tokio::spawn(async move { inbox.purge(ENDPOINT, Keep::default(), &operator()).await });
    let mut during = load(&sender, "during").await;
    let purged = purging.await.expect("a purge").expect("purged");
    let sent = before.len() + during.len() + events as usize;
    world.until_done(sent).await;
    let left = if world.database.is_sqlite() { world.count_pieces(&pieces).await } else { 0 };
    world.look(&both).await;
    report(
        "17 purge",
        &world.database,
        format!(
            "{purged:?}; of {} pieces of deleted bodies {present} were there before and {left} are left; {} done",
            pieces.len(),
            world.rows(DONE).await
        ),
        left == 0 && (present > 0 || !world.database.is_sqlite()),
    );
    let [before, during] = [percentile(&mut before, 99), percentile(&mut during, 99)];
    report_time(
        "17 storing during a purge",
        &world.database,
        format!("p99 {before:.1?} before, {during:.1?} during"),
        during <= before + Duration::from_millis(10),
    );
}

/// Sends 200 events per second, and returns the durations.
async fn load(sender: &Sender, name: &str) -> Vec<Duration> {
    let mut sends = Vec::new();
    for n in 0..scaled(2_000) {
        let (sender, event) = (sender.clone(), Event::new(format!("{name}-{n}")));
        sends.push(tokio::spawn(async move { sender.send(&event).await.took }));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    futures_util::future::join_all(sends).await.into_iter().map(|took| took.expect("a sender")).collect()
}
