//! The worker: leases stored events one by one, and runs the application's handler until each has succeeded.
//!
//! | module | content |
//! |---|---|
//! | `builder` | the options |
//! | `shared` | what the slots of a worker share |
//! | `slot` | a loop that leases one event after the other; a worker has as many as handlers may run |
//! | `attempt` | one attempt: opens the event, keeps its lease, runs the handler, and records the result |
//! | `lease` | the lease of an event: renewal, and recording the result |
//! | `handled`, `retry` | the result that the application returns, and the policy for failed attempts |
//! | `alone` | suspects are attempted alone in the process |
//! | `breaker` | while the application is unreachable, single events probe it |
//! | `report` | the report of an attempt, for the application |
//! | `status` | whether the breaker of a running worker is open |
//! | `service` | closures and tower services as handlers |
//! | `housekeeping` | purges ended events, and measures the inbox |
//! | `expiry` | warns about events that are soon no longer useful |

mod alone;
mod attempt;
mod breaker;
mod builder;
mod expiry;
mod handled;
mod housekeeping;
mod lease;
mod random;
mod report;
mod retry;
mod service;
mod shared;
mod slot;
mod status;
#[cfg(test)]
mod tests;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::task::JoinSet;
use tokio::time::sleep;

pub use self::builder::WorkerBuilder;
pub use self::handled::Handled;
pub use self::report::{AttemptOutcome, AttemptReport};
pub use self::retry::Retry;
pub use self::status::WorkerStatus;

use self::lease::LONGEST_RETRY;
use self::shared::Shared;
use self::slot::Slot;
use crate::observe::discard;

/// A worker that handles the events that a receiver has stored in its [`Inbox`](crate::Inbox): it leases one after the
/// other, runs the handler, and records the result, until each event is done or given up.
///
/// Any number of instances can run workers for the same endpoint. An event is leased by one of them at a time, and is
/// leased again if that one dies.
///
/// # Reasons
/// An event that waits for its next attempt or is dead has the reason of its last failure:
///
/// | reason | the attempt | counts |
/// |---|---|---|
/// | `status_503` and so on | was answered with this status | yes |
/// | `handler_failed` | returned `false` or an error | yes |
/// | `handler_panicked` | panicked | yes |
/// | `handler_timeout` | took longer than [`handler_timeout`](crate::Builder::handler_timeout) | yes |
/// | a code of the application, or `given_up` | gave the event up | yes |
/// | `unreachable` | found something unreachable that it needs | no |
/// | `canceled` | still ran at the deadline of a shutdown | no |
/// | `other_provider` | did not begin: the endpoint had another provider when the event was stored | no |
/// | `unknown_key` | did not begin: the event is sealed under a key that is not on the ring, is in clear and not accepted, or was stored by a later version | no |
/// | `damaged` | did not begin: the stored event was changed, or is incomplete | yes |
/// | `crashed` | its process died, as often as 5 times while it attempted this event alone | yes |
///
/// An event is dead if a failed attempt was the last one that the [`Retry`] policy allows, if the application has given
/// it up, and if it is `damaged` or `crashed`.
///
/// # Example
/// ```no_run
/// # async fn example(receiver: medhook::Receiver) -> Result<(), medhook::ConfigError> {
/// use medhook::{Delivery, Worker};
///
/// let worker = Worker::builder(&receiver).handler(async |delivery: Delivery| {
///     delivery.body().len() > 2 // your work; true if it succeeded
/// })?;
/// tokio::spawn(worker.run()); // ends when the receiver is drained
/// # Ok(())
/// # }
/// ```
#[must_use = "a worker does nothing until `run`"]
pub struct Worker {
    shared: Arc<Shared>,
    workers: usize,
}

impl Worker {
    /// Returns a view of the worker's state, which is current also while [`run`](Worker::run) has the worker.
    ///
    /// ```no_run
    /// # async fn example(receiver: medhook::Receiver) -> Result<(), medhook::ConfigError> {
    /// use medhook::{Delivery, Worker};
    ///
    /// let worker = Worker::builder(&receiver).handler(async |_: Delivery| true)?;
    /// let status = worker.status();
    /// tokio::spawn(worker.run());
    /// // Later, for example in a health check:
    /// if status.is_breaker_open() {
    ///     eprintln!("the application is unreachable, so stored events wait");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn status(&self) -> WorkerStatus {
        WorkerStatus::new(self.shared.breaker.clone())
    }

    /// Handles stored events until the receiver is [drained](crate::Receiver::drain). Store errors never end it.
    ///
    /// When the receiver drains, no further event is leased, and running handlers may finish until the deadline. Those
    /// that still run then are canceled, and their events are given back without counting the attempt. If the future is
    /// dropped, handlers are canceled at once, and their events are attempted again after their leases have expired.
    ///
    /// # Panics
    /// Panics outside a tokio runtime with its timer enabled.
    pub async fn run(self) {
        let Worker { shared, workers } = self;
        let mut slots = JoinSet::new();
        for _ in 0..workers {
            slots.spawn(run_slot(shared.clone()));
        }
        let ended = pin!(async { while slots.join_next().await.is_some() {} });
        tokio::select! {
            () = ended => {}
            never = housekeeping::run(&shared) => match never {},
        }
    }
}

/// Runs a slot. If the application's clock panics in it, another one takes its place.
async fn run_slot(shared: Arc<Shared>) {
    while let Err(payload) = AssertUnwindSafe(Slot::new(shared.clone()).run()).catch_unwind().await {
        discard(payload);
        sleep(LONGEST_RETRY).await;
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("receiver", &self.shared.receiver.name()).finish_non_exhaustive()
    }
}
