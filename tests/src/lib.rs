//! What tests over the borders of crates share: cases made ready to be played, and a sender that writes bytes itself.

pub mod providers;
pub mod route;
pub mod sender;
pub mod stage;

/// The examples of the README and the guides.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
#[doc = include_str!("../../docs/fasten.md")]
#[doc = include_str!("../../docs/healthsync.md")]
pub struct Guides;
