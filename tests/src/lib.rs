//! What tests over the borders of crates share: cases made ready to be played, a sender that writes bytes itself,
//! endpoints with one fault each, and servers for stores.

pub mod faulty;
pub mod ledger;
pub mod program;
pub mod providers;
pub mod route;
pub mod sender;
pub mod served;
#[cfg(unix)]
pub mod servers;
pub mod stage;

/// The examples of the README and the guides.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
#[doc = include_str!("../../CONTRIBUTING.md")]
#[doc = include_str!("../../middleware/actix/README.md")]
#[doc = include_str!("../../middleware/axum/README.md")]
#[doc = include_str!("../../middleware/tower/README.md")]
#[doc = include_str!("../../docs/fasten.md")]
#[doc = include_str!("../../docs/healthsync.md")]
#[doc = include_str!("../../docs/stores.md")]
pub struct Guides;
