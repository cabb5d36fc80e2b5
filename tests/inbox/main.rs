//! The promises of the inbox, checked from outside: real processes that receive and work, killed, stopped and cut off
//! from their store, on SQLite and on PostgreSQL. Each check prints its figures in one line.
//!
//! `scripts/inbox-check` runs the checks with their full counts. Otherwise a tenth of the events is sent, and figures
//! that depend on the speed of the machine are printed only.
#![cfg(unix)]

/// Defines a test for each check and each database.
macro_rules! on_both {
    ($($check:ident)*) => {
        on_both!(@ sqlite Sqlite [$($check)*]);
        on_both!(@ postgres Postgres [$($check)*]);
    };
    (@ $database:ident $which:ident [$($check:ident)*]) => {
        mod $database {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $check() {
                    super::$check($crate::world::World::new($crate::world::Which::$which).await).await;
                }
            )*
        }
    };
}

mod atomic;
mod crashes;
mod database;
mod figures;
mod ledger;
mod marks;
mod operations;
mod outages;
mod process;
mod retries;
mod role;
mod secrecy;
mod sender;
mod setup;
mod stalls;
mod wire;
mod world;

#[test]
#[ignore = "not a test: what the checks start as processes of their own"]
fn child_process() {
    if let Ok(setup) = std::env::var(setup::SETUP) {
        role::run(&serde_json::from_str(&setup).expect("a setup"));
    }
}
