//! The mistakes in a config file.

use crate::failure::Failure;

/// At least one mistake in a config file.
pub(in crate::receive) struct Mistakes {
    pub(in crate::receive) first: Failure,
    pub(in crate::receive) others: Vec<Failure>,
}

impl Mistakes {
    /// Fails if a mistake was found.
    pub(super) fn fail(found: Vec<Failure>) -> Result<(), Self> {
        let mut found = found.into_iter();
        match found.next() {
            Some(first) => Err(Mistakes { first, others: found.collect() }),
            None => Ok(()),
        }
    }
}

impl From<Failure> for Mistakes {
    fn from(first: Failure) -> Self {
        Mistakes { first, others: Vec::new() }
    }
}

/// Adds a mistake to those that were found, so that the next keys are still read.
pub(super) fn noted<T>(result: Result<T, Failure>, found: &mut Vec<Failure>) -> Option<T> {
    result.map_err(|failure| found.push(failure)).ok()
}
