//! The lease of an event: renewal, and recording the result of the attempt.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::alone::Turn;
use super::shared::Shared;
use crate::dedupe::Settled;
use crate::dedupe::inbox::rules::Ending;
use crate::dedupe::inbox::store::LeaseId;
use crate::delivery::Delivery;
use crate::error::StoreError;
use crate::handling::Permit;
use crate::observe::inbox as observe;

/// The lease of an event, with the permit of its attempt.
pub(super) struct Lease {
    pub(super) shared: Arc<Shared>,
    pub(super) id: LeaseId,
    /// A time before the store granted or renewed the lease.
    pub(super) granted: Instant,
    pub(super) permit: Permit,
}

/// Whether an attempt may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    Yes,
    /// The lease expired, and another worker has the event.
    Lost,
    /// The receiver drains, and its deadline has passed.
    Canceled,
}

const FIRST_RETRY: Duration = Duration::from_millis(100);
/// The database is used again within this time after it was away.
pub(super) const LONGEST_RETRY: Duration = Duration::from_secs(2);

/// The time for which the result of an event that is not done is repeated. If the store fails only for this event, the
/// slot is then free for others.
const LONGEST_FINISHING: Duration = Duration::from_secs(3600);

impl Lease {
    pub(super) fn length(&self) -> Duration {
        self.shared.receiver.settings().lease
    }

    /// Returns the time at which the lease is renewed next.
    fn renewal(&self) -> Instant {
        self.granted + self.length() / 3
    }

    /// Makes sure that the lease is held, before the attempt begins. The process may have been stopped since the lease
    /// was granted, for longer than it lasts.
    pub(super) async fn ensure(&mut self) -> Held {
        let mut wait = FIRST_RETRY;
        while self.renewal() <= Instant::now() {
            match self.renew().await {
                Ok(Settled::Settled) => {}
                Ok(Settled::Lost) => return Held::Lost,
                Err(_) => tokio::select! {
                    () = sleep(wait) => wait = wait.saturating_mul(2).min(self.length() / 10),
                    () = self.permit.canceled() => return Held::Canceled,
                },
            }
        }
        Held::Yes
    }

    /// Renews the lease for as long as it is polled. If the lease is lost, the handler can see it, and there is no
    /// renewal anymore.
    pub(super) async fn keep_renewing(&mut self, delivery: &Delivery) -> Infallible {
        let mut next = self.renewal();
        loop {
            sleep_until(next).await;
            next = match self.renew().await {
                Ok(Settled::Settled) => self.renewal(),
                Ok(Settled::Lost) => {
                    delivery.lose_claim();
                    pending().await
                }
                Err(_) => Instant::now() + self.length() / 10,
            };
        }
    }

    async fn renew(&mut self) -> Result<Settled, StoreError> {
        let (id, length, now) = (self.id, self.length(), Instant::now());
        let renewed = self.shared.answer(|tables| tables.renew(id.row, id.token, length)).await;
        match &renewed {
            Ok(Settled::Settled) => self.granted = now,
            Ok(Settled::Lost) => {}
            Err(error) => self.failed("renew", error),
        }
        renewed
    }

    /// Records the result of the attempt. If the store fails, repeats it until the receiver has drained, or for an hour
    /// if the event is not done. Meanwhile the lease of an event that is done is renewed, so that it is not handled
    /// twice. Another worker can lease the others once their leases have expired; if none has, as in an outage of the
    /// store, the result is recorded, and the expired lease does not count as the death of a process. Returns `None` if
    /// the store never answered.
    ///
    /// A turn alone ends after the first try: the process must not wait for a store.
    pub(super) async fn finish(mut self, ending: &Ending, turn: Option<Turn>) -> Option<Settled> {
        let mut turn = turn.filter(Turn::is_alone);
        let keep_body = !self.shared.retain_done.is_zero();
        let (began, mut wait, mut is_last) = (Instant::now(), FIRST_RETRY, false);
        loop {
            let id = self.id;
            let finished = self.shared.answer(|tables| tables.finish(id, ending.clone(), keep_body)).await;
            turn.take();
            match finished {
                Ok(settled) => return Some(settled),
                Err(error) => self.failed("finish", &error),
            }
            if is_last || (*ending != Ending::Done && began.elapsed() >= LONGEST_FINISHING) {
                return None;
            }
            tokio::select! {
                () = sleep(wait) => {}
                () = self.permit.canceled() => is_last = true,
            }
            wait = wait.saturating_mul(2).min(LONGEST_RETRY).min(self.length() / 3);
            if *ending == Ending::Done && !is_last && self.renewal() <= Instant::now() {
                // A renewal may succeed although the result was not recorded. If the lease is lost, the next try says
                // so.
                let _ = self.renew().await;
            }
        }
    }

    fn failed(&self, step: &'static str, error: &StoreError) {
        observe::store_failed(&self.shared.limit, self.shared.receiver.endpoint(), step, error);
    }
}
