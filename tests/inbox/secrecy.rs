//! Sealed bodies: what is in the files, what does not open, and the rotation of keys. And what the processes write.

use std::time::Duration;

use medhook::inbox::{Filter, Status};

use crate::figures::{report, scaled};
use crate::ledger::Step;
use crate::marks::MARK;
use crate::sender::{Event, Sender, distinct};
use crate::setup::Setup;
use crate::world::{DEAD, DONE, WAITING, World, operator, until};

on_both! {
    sealed
    swapped
    unknown_key
    rotation
    silence
}

/// 32 bytes in base64.
const OLD: &str = "b2xkIG9sZCBvbGQgb2xkIG9sZCBvbGQgb2xkIG9sZCE=";
const NEW: &str = "bmV3IG5ldyBuZXcgbmV3IG5ldyBuZXcgbmV3IG5ldyE=";

async fn sealed(world: World) {
    for (keys, is_sealed) in [(vec![], false), (vec![OLD.to_owned()], true)] {
        // Events of another check must not be found.
        let event = |n| Event::new(format!("{is_sealed}-{}-{n}", std::process::id())).of(500);
        let events: Vec<_> = (0..20).map(event).collect();
        let mut pieces: Vec<_> = events.iter().map(Event::piece).collect();
        pieces.extend(events.iter().map(|event| event.id.clone().into_bytes()));
        // An inbox is sealed or in clear, so each has a world of its own.
        let other = World::new(if world.database.is_sqlite() { SQLITE } else { POSTGRES }).await;
        let receiver = other.start(&Setup { keys: keys.clone(), ..other.setup() }.receiver());
        Sender::to(&receiver).send_all(4, events).await;
        let waiting = other.rows(WAITING).await;
        let found = other.count_pieces(&pieces).await;
        report(
            if is_sealed { "18 sealed" } else { "18 in clear, as a control" },
            &other.database,
            format!("{waiting} wait, {found} of {} pieces of bodies and ids in the files", pieces.len()),
            waiting == 20 && (found == 0) == is_sealed,
        );
    }
}

const SQLITE: crate::world::Which = crate::world::Which::Sqlite;
const POSTGRES: crate::world::Which = crate::world::Which::Postgres;

async fn swapped(world: World) {
    let setup = Setup { keys: vec![OLD.to_owned()], ..world.setup() };
    world.store_events(&setup, (0..4).map(Event::new)).await;
    world
        .sql(
            "CREATE TABLE swapped AS SELECT * FROM medhook_inbox_bodies; \
             UPDATE medhook_inbox_bodies SET sealed = (SELECT s.sealed FROM swapped s WHERE s.id = \
             (SELECT min(id) FROM swapped) + (SELECT min(id) FROM swapped) + 1 - medhook_inbox_bodies.id) \
             WHERE id <= (SELECT min(id) + 1 FROM swapped); DROP TABLE swapped;",
        )
        .await;
    let worker = world.start(&setup.worker());
    world.until_done(2).await;
    // The wait is longer than a lease, so that the two others have their turn.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    world.look(&worker).await;
    let mut ledger = world.ledger();
    ledger.read();
    let handed_over = ledger.events(Step::Start).len();
    report(
        "18 swapped",
        &world.database,
        format!("{handed_over} of 4 reached the handler; {}", world.statuses().await),
        handed_over == 2 && world.rows(DONE).await == 2,
    );
}

async fn unknown_key(world: World) {
    let old = Setup { keys: vec![OLD.to_owned()], ..world.setup() };
    let both = Setup { keys: vec![NEW.to_owned(), OLD.to_owned()], ..world.setup() };
    let new = Setup { keys: vec![NEW.to_owned()], ..world.setup() };
    world.store_events(&old, (0..3).map(Event::new)).await;
    world.store_events(&both, (3..6).map(Event::new)).await;
    let worker = world.start(&new.clone().worker());
    world.until_done(3).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let (waiting, dead) = (world.rows("status IN (0, 1)").await, world.rows(DEAD).await);
    let warned = worker.log().contains("WARN");
    world.look(&worker).await;
    drop(worker);
    let worker = world.start(&both.clone().worker());
    // They would be due again within a minute.
    let inbox = world.inbox(&both.keys).await;
    for entry in inbox.list(&Filter::new().status(Status::Waiting)).await.expect("a list") {
        inbox.replay(entry.id, &operator()).await.expect("due now");
    }
    world.until_done(6).await;
    world.look(&worker).await;
    report(
        "18 unknown key",
        &world.database,
        format!("{waiting} kept, {dead} dead, warned: {warned}; done once the key is back"),
        waiting == 3 && dead == 0 && warned,
    );
}

async fn rotation(world: World) {
    let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
    let setup = |of: &[&str]| Setup { keys: keys(of), ..world.setup() };
    let events = scaled(2_000) as usize;
    let mut receiver = world.start(&setup(&[OLD]).receiver());
    let sender = Sender::to(&receiver);
    let sends = tokio::spawn({
        let sender = sender.clone();
        async move { sender.send_all(8, (0..events).map(Event::new)).await }
    });
    let accepted = async |part: usize| {
        let enough = async || sender.accepted.load(std::sync::atomic::Ordering::SeqCst) >= events * part / 4;
        until("more are accepted", enough, async || world.statuses().await).await;
    };
    accepted(1).await;
    receiver.stop();
    receiver = world.start(&setup(&[NEW, OLD]).receiver());
    sender.change(&[&receiver]);
    let mut worker = world.start(&Setup { workers: 1, takes: Some(5), ..setup(&[NEW, OLD]) }.worker());
    accepted(2).await;
    let rekeyed = world.inbox(&keys(&[NEW, OLD])).await.rekey(&operator()).await.expect("rekeyed");
    let rekeyed = format!("{rekeyed:?}");
    worker.stop();
    accepted(3).await;
    receiver.stop();
    receiver = world.start(&setup(&[NEW]).receiver());
    sender.change(&[&receiver]);
    let sent = sends.await.expect("senders");
    let worker = world.start(&setup(&[NEW]).worker());
    world.until_done(sent.len()).await;
    world.look(&receiver).await;
    world.look(&worker).await;
    let mut ledger = world.ledger();
    ledger.read();
    let lost = distinct(&sent).difference(&ledger.events(Step::End)).count();
    report(
        "19 rotation",
        &world.database,
        format!("{} accepted over three rings, {rekeyed} sealed again, {lost} lost or unreadable", sent.len()),
        lost == 0,
    );
}

/// Every way in which an event can end. The other checks look for marks as well, when they end.
async fn silence(world: World) {
    let setup = Setup { keys: vec![OLD.to_owned()], attempts: 2, ..world.setup() };
    let both = world.start(&setup.receiver().worker());
    let sender = Sender::to(&both);
    world.set("no");
    let fails = |name: &str, status: u16| Event::new(name).with("fails", status).with("times", 100);
    let events = [
        Event::new("good"),
        fails("fails", 500),
        fails("absent", 404),
        Event::new("given-up").with("gives_up_if", "no"),
        Event::new("again").with("fails", 503).with("retry_after", MARK),
    ];
    sender.send_all(1, events).await;
    // A duplicate, and one that is not JSON.
    sender.send_all(1, [Event::new("good")]).await;
    sender.try_to_send(format!("{} is not JSON", MARK).as_bytes()).await;
    let ended = async || world.rows("status < 2").await == 0;
    until("all have ended", ended, async || world.statuses().await).await;
    world.look(&both).await;
    let (bytes, marks) = world.silent();
    report("20 silence", &world.database, format!("{marks} marks in {bytes} bytes of logs and metrics"), marks == 0);
}
