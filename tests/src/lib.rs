//! What tests over the borders of crates share: cases made ready to be played, and a sender that writes bytes itself.

pub mod properties;
pub mod providers;
pub mod route;
pub mod sender;
pub mod stage;

/// The example of the README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
