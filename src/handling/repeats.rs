//! Deliveries whose event can recur with the same bytes: they are recorded instead of claimed.
//!
//! A claim keeps two deliveries of one event apart. Here each delivery is of an event of its own, so nothing can be held
//! for it: no other delivery waits, and none is dropped. The record says whether the same bytes came before, and limits
//! how often a captured delivery can be replayed.

use std::future::{Future, pending};

use super::claim::Claim;
use super::settings::{OnStoreError, REPEAT_PERIOD};
use crate::error::Outcome;
use crate::event_key::EventKey;
use crate::observe;
use crate::rejection::Rejection;

impl Claim {
    /// Records the delivery and runs the handler. If the handler fails, removes the delivery from the record.
    pub(super) async fn run_recorded<T>(
        mut self,
        body: EventKey,
        handler: impl Future<Output = T> + Unpin,
        succeeded: impl FnOnce(&T) -> bool,
    ) -> Result<T, Rejection> {
        let recorded = self.record(body).await?;
        let watch = observe::Stopwatch::start();
        let (result, handled) = match self.run_handler(handler, pending()).await {
            Ok(answer) => {
                let handled = succeeded(&answer);
                let outcome = if handled { Outcome::Handled } else { Outcome::Failed };
                observe::finished(self.delivery.subject(), outcome, watch);
                self.permit.finish();
                (Ok(answer), handled)
            }
            Err(reason) => (Err(reason.into()), false),
        };
        if recorded && !handled {
            self.unrecord(body).await;
        }
        result
    }

    /// Records the delivery. Returns whether that succeeded, or the rejection of the delivery.
    async fn record(&self, body: EventKey) -> Result<bool, Rejection> {
        let record = match self.answer(|store| store.record_delivery(body, REPEAT_PERIOD)).await {
            Ok(record) => record,
            Err(error) if self.settings.on_store_error == OnStoreError::HandleUnclaimed => {
                observe::unclaimed(self.delivery.subject(), &error);
                return Ok(false);
            }
            Err(error) => return Err(Rejection::store(error)),
        };
        let max_repeats = self.settings.max_repeats;
        let beyond = record.earlier.saturating_sub(u64::from(max_repeats));
        if beyond > 0 {
            // Deliveries beyond the limit are recorded, too, so only one of them is the first.
            if beyond == 1 {
                observe::repeat_limit(self.delivery.subject(), max_repeats);
            }
            return Err(Rejection::repeat_limit(REPEAT_PERIOD.saturating_sub(record.since)));
        }
        if record.earlier > 0 {
            self.delivery.set_possible_duplicate(record.earlier, record.since);
        }
        Ok(true)
    }

    /// Removes the delivery from the record, in one attempt: if it fails, the next delivery of the body counts as a
    /// possible duplicate, which it is.
    async fn unrecord(&self, body: EventKey) {
        if let Err(error) = self.answer(|store| store.unrecord_delivery(body)).await {
            observe::settle_failed(self.delivery.subject(), "unrecord", &error);
        }
    }
}
