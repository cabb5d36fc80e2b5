//! What tests over the borders of crates share: cases made ready to be played, a sender that writes bytes itself, and
//! endpoints with one fault each.

pub mod faulty;
pub mod program;
pub mod providers;
pub mod route;
pub mod sender;
pub mod served;
pub mod stage;

/// The example of the README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
