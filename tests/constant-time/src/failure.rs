//! The error of the program's modules that are compiled here.

use std::fmt;

#[derive(Debug)]
pub(crate) struct Failure(pub String);

impl Failure {
    pub(crate) fn because(message: impl fmt::Display, error: impl fmt::Display) -> Self {
        Failure(format!("{message}: {error}"))
    }
}
