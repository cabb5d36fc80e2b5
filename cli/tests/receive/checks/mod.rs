//! The promises of `medhook receive` with an inbox, checked from outside: fleets of real processes on one SQLite file
//! and on one PostgreSQL database, with an application that fails and a sender that signs. Each check prints its
//! figures in one line.
//!
//! `scripts/receive-check` runs the checks with their full counts. Otherwise a tenth of the events is sent, and figures
//! that depend on the speed of the machine are printed only.

/// Defines a test for each check and each database.
macro_rules! on_both {
    ($($check:ident)*) => {
        on_both!(@ sqlite Sqlite [$($check)*]);
        #[cfg(feature = "postgres")]
        on_both!(@ postgres Postgres [$($check)*]);
    };
    (@ $database:ident $which:ident [$($check:ident)*]) => {
        mod $database {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $check() {
                    super::$check($crate::checks::shared::database::Which::$which).await;
                }
            )*
        }
    };
}

mod application;
mod events;
mod fleet;
mod kills;
mod mounted;
mod operations;
mod outages;
mod rotation;
mod secrecy;
mod sender;
mod settings;
#[allow(
    clippy::print_stdout,
    dead_code,
    unreachable_pub,
    reason = "the checks of the library use the rest, from another package"
)]
mod shared;
#[cfg(all(feature = "postgres", feature = "redis"))]
#[allow(clippy::print_stdout, reason = "figures")]
mod soak;
mod tally;
