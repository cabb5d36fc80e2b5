//! Shared code of tests that cross the borders of crates: stages for cases, a sender that writes raw bytes, endpoints
//! with one fault each, and servers for stores.

mod capture;
pub mod counts;
pub mod families;
pub mod faulty;
pub mod guides;
pub mod leaks;
pub mod ledger;
pub mod listing;
pub mod metrics;
#[cfg(unix)]
pub mod pgbouncer;
pub mod program;
pub mod providers;
pub mod remote;
pub mod route;
pub mod sender;
pub mod served;
#[cfg(unix)]
pub mod servers;
pub mod stage;

pub use self::capture::captured;
