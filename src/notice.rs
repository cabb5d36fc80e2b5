//! Lines on standard error for development: without a log subscriber, rejections and missing layers would be invisible.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::fmt;
use std::io::{Write as _, stderr};
use std::sync::atomic::{AtomicBool, Ordering};

/// A line that is written at most once per process.
pub(crate) struct Notice(AtomicBool);

impl Notice {
    pub(crate) const fn new() -> Self {
        Notice(AtomicBool::new(false))
    }

    /// Writes the line in a debug build of a program without a log subscriber.
    pub(crate) fn write(&self, line: fmt::Arguments<'_>) {
        if cfg!(debug_assertions) && !has_subscriber() && !self.0.swap(true, Ordering::Relaxed) {
            // Fails if standard error is closed.
            let _ = writeln!(stderr(), "medhook: {line}");
        }
    }
}

fn has_subscriber() -> bool {
    #[cfg(feature = "tracing")]
    return tracing::dispatcher::has_been_set();
    #[cfg(not(feature = "tracing"))]
    false
}
