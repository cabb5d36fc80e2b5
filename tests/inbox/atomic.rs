//! Faults while an event is stored: its mark, its row, its body or the commit fails; the disk is full.

use std::collections::BTreeSet;
use std::process::Command;

use tempfile::TempDir;

use crate::figures::{report, scaled};
use crate::ledger::Step;
use crate::sender::{Event, Sender};
use crate::world::{DONE, Database, World};

on_both! { parts_fail }

/// A fault of about half of all transactions, and its end.
struct Fault {
    name: &'static str,
    begin: String,
    end: String,
}

fn faults(database: &Database) -> Vec<Fault> {
    let tables = [("mark", "medhook_events"), ("row", "medhook_inbox"), ("body", "medhook_inbox_bodies")];
    let mut faults: Vec<_> = tables
        .iter()
        .map(|(name, table)| {
            let (begin, end) = if database.is_sqlite() {
                let trigger = |on: &str| {
                    format!(
                        "CREATE TRIGGER fault_{on} BEFORE {on} ON {table} WHEN abs(random()) % 2 = 0 \
                         BEGIN SELECT RAISE(ABORT, 'fault'); END; "
                    )
                };
                let end = "DROP TRIGGER fault_insert; DROP TRIGGER fault_update;".to_owned();
                (trigger("insert") + &trigger("update"), end)
            } else {
                let begin = format!(
                    "CREATE FUNCTION medhook_fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                     IF random() < 0.5 THEN RAISE EXCEPTION 'fault'; END IF; RETURN NEW; END $$; \
                     CREATE TRIGGER fault BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW \
                     EXECUTE FUNCTION medhook_fault()"
                );
                (begin, format!("DROP TRIGGER fault ON {table}; DROP FUNCTION medhook_fault()"))
            };
            Fault { name, begin, end }
        })
        .collect();
    // A deferred constraint fails with the commit.
    faults.push(if database.is_sqlite() {
        Fault {
            name: "commit",
            begin:
                "CREATE TABLE none (id INTEGER PRIMARY KEY); CREATE TABLE deferred (id INTEGER REFERENCES none (id) \
                    DEFERRABLE INITIALLY DEFERRED); CREATE TRIGGER fault AFTER INSERT ON medhook_inbox_bodies \
                    WHEN abs(random()) % 2 = 0 BEGIN INSERT INTO deferred VALUES (1); END;"
                    .to_owned(),
            end: "DROP TRIGGER fault; DROP TABLE deferred; DROP TABLE none;".to_owned(),
        }
    } else {
        Fault {
            name: "commit",
            begin: "CREATE FUNCTION medhook_fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                    IF random() < 0.5 THEN RAISE EXCEPTION 'fault'; END IF; RETURN NEW; END $$; \
                    CREATE CONSTRAINT TRIGGER fault AFTER INSERT ON medhook_inbox_bodies DEFERRABLE INITIALLY DEFERRED \
                    FOR EACH ROW EXECUTE FUNCTION medhook_fault()"
                .to_owned(),
            end: "DROP TRIGGER fault ON medhook_inbox_bodies; DROP FUNCTION medhook_fault()".to_owned(),
        }
    });
    faults
}

async fn parts_fail(world: World) {
    let receiver = world.start(&world.setup().receiver());
    let sender = Sender::to(&receiver);
    let mut stored = 0;
    for fault in faults(&world.database) {
        world.sql(&fault.begin).await;
        let failures = scaled(1_000);
        let (mut failed, mut accepted, mut other) = (0, BTreeSet::new(), 0);
        let mut events = Vec::new();
        while failed < failures {
            let batch: Vec<_> = (0..16).map(|n| Event::new(format!("{}-{}", fault.name, events.len() + n))).collect();
            let bodies: Vec<_> = batch.iter().map(Event::body).collect();
            let answers = bodies.iter().map(|body| sender.try_to_send(body));
            for (event, answer) in batch.iter().zip(futures_util::future::join_all(answers).await) {
                match answer {
                    Some(200) => drop(accepted.insert(event.id.clone())),
                    Some(503) => failed += 1,
                    _ => other += 1,
                }
            }
            events.extend(batch);
            if events.len() as u64 > failures * 20 + 200 {
                break;
            }
        }
        world.sql(&fault.end).await;
        let (rows, bodies) = (world.rows("true").await, count(&world, "medhook_inbox_bodies").await);
        let differences = differences(&world).await;
        report(
            &format!("6 {} fails", fault.name),
            &world.database,
            format!(
                "{failed} x 503, {} x 200, {other} other answers; {} rows, {} bodies, {differences} differences",
                accepted.len(),
                rows - stored,
                bodies - stored
            ),
            // An answer may be 503 though the event is stored. The opposite must not be.
            rows - stored >= accepted.len() as i64
                && rows == bodies
                && differences == 0
                && other == 0
                && failed >= failures,
        );
        let sent = sender.send_all(16, events.clone()).await.len();
        stored += sent as i64;
        let rows = world.rows("true").await;
        assert_eq!(rows, stored, "every event has one row in the end");
    }
    let worker = world.start(&world.setup().worker());
    world.until_done(stored as usize).await;
    world.look(&receiver).await;
    world.look(&worker).await;
    let mut ledger = world.ledger();
    ledger.read();
    assert_eq!(ledger.events(Step::End).len() as i64, stored, "every event is handled");
}

async fn count(world: &World, table: &str) -> i64 {
    world.number(&format!("SELECT count(*) FROM {table}")).await
}

/// Returns the number of rows without a mark or a body, and of marks and bodies without a row. In clear, the key of a
/// row is the key of its event.
async fn differences(world: &World) -> i64 {
    let mut sum = 0;
    for query in [
        "SELECT count(*) FROM medhook_inbox i WHERE NOT EXISTS (SELECT 1 FROM medhook_events e WHERE e.key = i.row_key)",
        "SELECT count(*) FROM medhook_events e WHERE NOT EXISTS (SELECT 1 FROM medhook_inbox i WHERE e.key = i.row_key)",
        "SELECT count(*) FROM medhook_inbox i WHERE NOT EXISTS (SELECT 1 FROM medhook_inbox_bodies b WHERE b.id = i.id)",
        "SELECT count(*) FROM medhook_inbox_bodies b WHERE NOT EXISTS (SELECT 1 FROM medhook_inbox i WHERE b.id = i.id)",
    ] {
        sum += world.number(query).await;
    }
    sum
}

/// A file system of 4 MiB, unmounted when dropped.
struct Small(TempDir);

impl Small {
    fn mounted() -> Option<Self> {
        let folder = TempDir::new().expect("a folder");
        let mounted = mount(&["-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs"], folder.path());
        mounted.then_some(Small(folder))
    }

    fn grow(&self) {
        assert!(mount(&["-o", "remount,size=256m"], self.0.path()), "it grows");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

fn mount(arguments: &[&str], at: &std::path::Path) -> bool {
    let ran = Command::new("mount").args(arguments).arg(at).output();
    ran.is_ok_and(|ran| ran.status.success())
}

/// For SQLite only: a server for PostgreSQL ends if its disk is full.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disk_full() {
    let Some(small) = Small::mounted() else {
        println!("11 disk full (SQLite): skipped: no right to mount a small file system");
        return;
    };
    let database = Database::Sqlite(small.0.path().join("medhook.db"));
    let world = World::with(database, TempDir::new().expect("a folder"));
    world.set("held");
    let mut both = world.start(&world.setup().receiver().worker());
    let sender = Sender::to(&both);
    let (mut accepted, mut full, mut other) = (BTreeSet::new(), 0, Vec::new());
    let mut sent = 0;
    while full < scaled(500) {
        // Each keeps its body until there is room again.
        let batch: Vec<_> = (0..8).map(|n| Event::new(sent + n).of(8 * 1024).with("held_by", "held")).collect();
        sent += batch.len();
        let bodies: Vec<_> = batch.iter().map(Event::body).collect();
        let answers = futures_util::future::join_all(bodies.iter().map(|body| sender.try_to_send(body))).await;
        for (event, answer) in batch.into_iter().zip(answers) {
            match answer {
                Some(200) => drop(accepted.insert(event.id)),
                Some(503) => full += 1,
                answer => other.push(answer),
            }
        }
        assert!(sent < 100_000, "the disk is not full after {} events", accepted.len());
    }
    // The disk stays full while the handlers end, which needs room, too.
    world.unset("held");
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    small.grow();
    let again = Event::new("afterwards");
    sender.send(&again).await;
    let mut ledger = world.ledger();
    let began = std::time::Instant::now();
    loop {
        ledger.read();
        let ended = ledger.events(Step::End);
        let missing = accepted.iter().filter(|id| !ended.contains(id.as_str())).count();
        if missing == 0 && ended.contains(again.id.as_str()) {
            break;
        }
        assert!(began.elapsed() < crate::process::PATIENCE, "{missing} not handled; {}", world.statuses().await);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let rows = world.rows("true").await;
    world.until_done(rows as usize).await;
    let integrity = world.texts("PRAGMA integrity_check").await;
    let done = world.rows(DONE).await;
    world.look(&both).await;
    let survived = both.is_running();
    report(
        "11 disk full",
        &world.database,
        format!(
            "{} x 200, {full} x 503, other answers: {other:?}; {done} of {rows} rows done, integrity {integrity:?}, \
             process {}",
            accepted.len(),
            if survived { "alive" } else { "ended" }
        ),
        other.is_empty() && integrity == ["ok"] && survived && rows as usize > accepted.len(),
    );
    both.stop();
    world.disconnect();
}
