//! SIGSTOP: a worker that stands still for three leases with events in hand, while another one goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::figures::{report, rounds, times_matter};
use crate::ledger::Step;
use crate::sender::Event;
use crate::setup::Setup;
use crate::world::{DONE, World};

on_both! {
    stalled
    stalled_with_effects
}

async fn stalled(world: World) {
    stall("4 stalled", &world, &world.setup()).await;
}

async fn stalled_with_effects(world: World) {
    let setup = Setup { effects: true, ..world.setup() };
    world.store_events(&setup, [Event::new("first")]).await;
    world.sql("CREATE TABLE medhook_effects (event text NOT NULL)").await;
    stall("5 effects, stalled", &world, &setup).await;
    let effects = world.number("SELECT count(*) FROM medhook_effects").await;
    let distinct = world.number("SELECT count(DISTINCT event) FROM medhook_effects").await;
    let done = world.rows(DONE).await;
    report(
        "5 effect once, stalled",
        &world.database,
        format!("{done} done, {effects} effects of {distinct} events"),
        effects == distinct && effects == done,
    );
}

async fn stall(check: &str, world: &World, setup: &Setup) {
    let rounds = rounds(100, 2);
    let setup = &Setup { lease: if times_matter() { 1_000 } else { 400 }, ..setup.clone() };
    let mut receiver = world.start(&setup.clone().receiver());
    let sender = crate::sender::Sender::to(&receiver);
    let worker = setup.clone().worker();
    // The second one still holds the lease when the first one finishes.
    let (first, second) = (world.start(&worker), world.start(&Setup { ends_second: true, ..worker }));
    let mut ledger = world.ledger();
    let (mut sent, mut taken_over) = (usize::from(setup.effects), 0);
    for round in 0..rounds {
        // In turn: some that take long, so that the first worker stands still while it handles them, and many short
        // ones, so that it stands still at any point between leasing and finishing.
        let (number, takes) = if round % 2 == 0 { (16, 1_000) } else { (100, 1) };
        let events = (0..number).map(|n| Event::new(format!("{round}-{n}")).with("takes", takes));
        let known = ledger.read().len();
        let sends = tokio::spawn({
            let (sender, events) = (sender.clone(), events.collect::<Vec<_>>());
            async move { sender.send_all(8, events).await.len() }
        });
        if round % 2 == 0 {
            while ledger.in_hand(first.id(), known).is_empty() {
                ledger.read();
                tokio::time::sleep(Duration::from_millis(2)).await;
                if sends.is_finished() && ledger.events(Step::End).len() >= sent + number {
                    break;
                }
            }
        } else {
            tokio::time::sleep(Duration::from_millis(5 + round * 7 % 40)).await;
        }
        first.pause();
        tokio::time::sleep(Duration::from_millis(3 * setup.lease)).await;
        ledger.read();
        taken_over += ledger.in_hand(first.id(), known).len();
        first.go_on();
        // A process that stands still within a transaction has locked the file of SQLite, so only now.
        sent += sends.await.expect("senders");
        world.until_done(sent).await;
    }
    world.look(&first).await;
    world.look(&second).await;
    receiver.stop();
    drop((first, second));
    ledger.read();
    // Each row has its token and its end.
    let rows: BTreeMap<String, i64> = world
        .texts(&format!("SELECT {} || ' ' || {} FROM medhook_inbox", world.hex("token"), world.millis("ended_at")))
        .await
        .iter()
        .filter_map(|row| row.split_once(' '))
        .map(|(token, end)| (token.to_owned(), end.parse().expect("milliseconds")))
        .collect();
    let (mut late_starts, mut late_finishes, mut again) = (0, 0, 0);
    for (event, starts) in ledger.starts() {
        let Some(last) = starts.iter().find(|start| rows.contains_key(&start.token)) else {
            late_finishes += 1;
            println!("{event}: no start has the token of its row");
            continue;
        };
        again += starts.len() - 1;
        late_starts += starts.iter().filter(|start| start.at > last.at).count();
        let end = ledger.of(Step::End).find(|end| end.token == last.token);
        // A row that ended before the handler of its last lease did was finished by an earlier lease.
        if !setup.effects && end.is_none_or(|end| end.at.floor() as i64 > rows[&last.token] + 1) {
            late_finishes += 1;
            println!("{event}: finished by a lease that was lost");
        }
    }
    let done = world.rows(DONE).await;
    report(
        check,
        &world.database,
        format!(
            "{rounds} stalls, {taken_over} in hand, {again} starts again, {late_finishes} late finishes accepted, \
             {late_starts} started after their lease was lost, {done} of {sent} done"
        ),
        late_finishes == 0 && late_starts == 0 && done as usize == sent,
    );
}
