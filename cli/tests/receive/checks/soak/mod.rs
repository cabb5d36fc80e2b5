//! A long run of receivers on all stores at once: processes are killed and replaced, stores and applications go away,
//! secrets are rotated, and every kind of delivery arrives, at a rate that leaves the machine to others. Every accepted
//! event must be recorded, none twice without a cause, and memory, files and tables must not grow.
//!
//! `scripts/soak` runs it for hours. Without it, one round of a few seconds is played, whose samples are too few to
//! compare.

mod ledger;
mod plan;
mod samples;
mod side;
mod traffic;

use std::time::Instant;

use medhook_tests::servers::Server;
use sqlx::{Connection, Executor, PgConnection};

use self::plan::{Action, Disturbance, Plan};
use self::samples::Samples;
use self::side::{Side, Store, Verdict};

/// The servers of the run, which it restarts.
struct Servers {
    postgres: Server,
    redis: Server,
}

impl Servers {
    fn start() -> Self {
        Servers { postgres: Server::postgres(&["fsync=on"]), redis: Server::redis(&[]) }
    }

    /// Creates a database, and returns its URL.
    async fn database(&self, name: &str) -> String {
        let mut connection = PgConnection::connect(&self.postgres.url()).await.unwrap();
        connection.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
        connection.close().await.unwrap();
        self.postgres.url().replace("/postgres", &format!("/{name}"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_stores_at_once() {
    let plan = Plan::from_environment();
    let mut servers = Servers::start();
    let mut sides = Vec::new();
    for (name, store, has_inbox, replaceable) in [
        ("memory", Store::Memory, false, None),
        ("memory, killed", Store::Memory, false, Some(0)),
        ("SQLite", Store::Sqlite, false, Some(1)),
        ("SQLite with an inbox", Store::Sqlite, true, Some(1)),
        ("PostgreSQL", Store::Postgres, false, Some(1)),
        ("PostgreSQL with an inbox", Store::Postgres, true, Some(1)),
        ("Redis", Store::Redis, false, Some(1)),
    ] {
        sides.push(Side::start(name, store, has_inbox, replaceable, &servers, &plan).await);
    }
    let mut samples = Samples::default();
    let began = Instant::now();
    for (due, action) in plan.actions(sides.len()) {
        tokio::time::sleep(due.saturating_sub(began.elapsed())).await;
        match action {
            Action::Sample => {
                for side in &sides {
                    side.upkeep(&servers).await;
                    side.sample(&servers, &mut samples).await;
                }
                samples.write(began.elapsed());
            }
            Action::Disturb(disturbance, number) => {
                let from = Instant::now();
                sides[number].disturb(disturbance, &plan, &mut servers).await;
                // Both on PostgreSQL have one server.
                let is_of_all = disturbance == Disturbance::StoreAway && sides[number].store == Store::Postgres;
                for (other, side) in sides.iter().enumerate() {
                    if other == number || is_of_all && side.store == Store::Postgres {
                        side.disturbed(from);
                    }
                }
            }
        }
    }
    tokio::time::sleep(plan.duration.saturating_sub(began.elapsed())).await;
    for side in &mut sides {
        side.stop_sending().await;
    }
    let mut verdicts = Vec::new();
    for side in sides {
        verdicts.push(side.conclude().await);
    }
    verdicts.iter().for_each(Verdict::report);
    samples.conclude(plan.duration);
}
