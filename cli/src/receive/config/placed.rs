//! A value and its place in the config file.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::fmt;

use crate::failure::Failure;

/// A value and its place in the config file or the arguments, for messages.
pub(in crate::receive) struct Placed<T> {
    pub(in crate::receive) place: String,
    pub(in crate::receive) value: T,
}

impl<T> Placed<T> {
    pub(in crate::receive) fn wrong(&self, problem: impl fmt::Display) -> Failure {
        Failure::because(&self.place, problem)
    }
}
