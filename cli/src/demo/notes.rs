//! What the server notes about each delivery, for the demo's eyes only: a sender is told no more than the status.

use std::collections::HashMap;

use http::{HeaderName, Response};
use medhook::{Outcome, Reason};
use tokio::sync::watch;

use super::patience::within;
use super::seen::OutcomeAndReason;
use crate::failure::Failure;

/// The number that a sender gives its delivery, so that both sides speak of the same one. Nothing signs it, and no
/// receiver looks at it.
pub(super) const NUMBER: HeaderName = HeaderName::from_static("demo-delivery");

/// What became of the deliveries, by their number.
#[derive(Debug, Default)]
pub(super) struct Notes(watch::Sender<HashMap<u64, Note>>);

#[derive(Debug, Clone, Copy)]
enum Note {
    Answered(Option<OutcomeAndReason>),
    HungUp,
}

impl Notes {
    /// Begins a note. Dropped before it is answered, it says that the sender hung up.
    pub(super) fn begin(&self, number: u64) -> Pending<'_> {
        Pending { notes: self, number, note: Note::HungUp }
    }

    /// What became of a delivery that was answered.
    pub(super) fn of(&self, number: u64) -> Option<OutcomeAndReason> {
        match self.0.borrow().get(&number) {
            Some(Note::Answered(became)) => *became,
            Some(Note::HungUp) | None => None,
        }
    }

    /// Waits until the server has noticed that this delivery's sender is gone.
    pub(super) async fn hung_up(&self, number: u64) -> Result<(), Failure> {
        let mut notes = self.0.subscribe();
        let noticed = notes.wait_for(|notes| matches!(notes.get(&number), Some(Note::HungUp)));
        within("the server to notice that its sender hung up", noticed).await?.map_err(|_| Failure::new("no notes"))?;
        Ok(())
    }
}

/// A note that is written when it is dropped.
pub(super) struct Pending<'n> {
    notes: &'n Notes,
    number: u64,
    note: Note,
}

impl Pending<'_> {
    /// Notes what the receiver left in the answer's extensions.
    pub(super) fn answered<B>(mut self, response: &Response<B>) {
        let reason = response.extensions().get::<Reason>().copied();
        let outcome = response.extensions().get::<Outcome>().copied();
        self.note = Note::Answered(outcome.map(|outcome| OutcomeAndReason { outcome, reason }));
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.notes.0.send_modify(|notes| {
            notes.insert(self.number, self.note);
        });
    }
}
