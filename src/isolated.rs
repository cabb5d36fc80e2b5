//! Runs code of the application, such as a log subscriber or a destructor, and ignores its panics.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `report` and ignores its panics. Subscribers and recorders belong to the application, and one that panics (a
/// logger whose pipe is broken, for example) must not cause a lost claim or prevent a commit.
pub(crate) fn isolated(report: impl FnOnce()) {
    // The panic hook has reported the panic.
    let _ = caught(report);
}

/// Runs code of the application. Returns `None` if it panics, which the panic hook has reported.
#[inline]
pub(crate) fn caught<T>(code: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(code)) {
        Ok(value) => Some(value),
        Err(payload) => {
            discard(payload);
            None
        }
    }
}

/// Drops a value of the application. Returns false if its destructor panics.
#[inline]
pub(crate) fn discard(value: impl Sized) -> bool {
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(value)));
    // The payload of a panic can have a destructor that panics as well, so it is leaked.
    dropped.map_err(std::mem::forget).is_ok()
}
