//! The results of handlers, which are kept for the report.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use medhook::ClaimToken;
use medhook::registry::Decoding;

use super::forward::ForwardAnswer;

/// The results of a handler.
#[derive(Debug, Default)]
pub(super) struct HandlerNotes {
    pub(super) decoding: OnceLock<Decoding>,
    pub(super) upstream: OnceLock<ForwardAnswer>,
    /// Set once the line has been written.
    pub(super) reported: OnceLock<()>,
}

/// The attempts of an endpoint that are running, and the number of those that a shutdown has ended.
#[derive(Debug, Default)]
pub(super) struct RunningAttempts {
    notes: Mutex<HashMap<ClaimToken, Arc<HandlerNotes>>>,
    unfinished: AtomicUsize,
}

impl RunningAttempts {
    /// Keeps the notes of an attempt until it [ends](Self::end).
    pub(super) fn begin(&self, token: ClaimToken, notes: Arc<HandlerNotes>) {
        self.lock().insert(token, notes);
    }

    /// Takes the notes of an attempt.
    pub(super) fn end(&self, token: ClaimToken) -> Option<Arc<HandlerNotes>> {
        self.lock().remove(&token)
    }

    /// Counts an attempt that was canceled by a shutdown, or whose result could not be recorded.
    pub(super) fn count_unfinished(&self) {
        self.unfinished.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes the number of these attempts.
    pub(super) fn take_unfinished(&self) -> usize {
        self.unfinished.swap(0, Ordering::SeqCst)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClaimToken, Arc<HandlerNotes>>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
