//! A loop that leases one event after the other. Nothing is leased in advance, so a process that dies holds back only
//! the events whose handlers were running.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, sleep};

use super::alone::Turn;
use super::attempt;
use super::breaker::Pass;
use super::lease::{LONGEST_RETRY, Lease};
use super::random::random_within;
use super::report::AttemptReport;
use super::shared::Shared;
use crate::claim_token::ClaimToken;
use crate::dedupe::inbox::rules::{CRASHED, Ending};
use crate::dedupe::inbox::store::{EntryRow, LeaseAnswer, LeaseRequest, Leased};
use crate::error::StoreError;
use crate::handling::Permit;
use crate::observe::inbox::{self as observe, Attempt, Attempted, Death};

/// The time after which an idle worker looks for events that another process stored, or that an operator replayed.
const POLL: Duration = Duration::from_secs(1);
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// One of the slots of a worker, each of which handles one event at a time.
pub(super) struct Slot {
    shared: Arc<Shared>,
    pass: Option<Pass>,
    /// The permit of the request for a lease, until its answer is known, and of the attempt that follows.
    permit: Option<Permit>,
    /// The token of a request for a lease whose answer is not known. The next request repeats it, since the store may
    /// have granted it. With the time of the first of these requests, at which the lease may have begun.
    asked: Option<(ClaimToken, Instant)>,
    /// The request that runs. It is kept when the receiver drains: until it has ended, a repeated request would see
    /// neither its lease nor the row that it has locked.
    asking: Option<Asking>,
    /// Held while this slot waits for events.
    poller: Option<OwnedMutexGuard<()>>,
    /// The number of requests in a row that failed, and of those that leased nothing although an event was due.
    failed: u32,
    overdue: u32,
}

type Asking = Pin<Box<dyn Future<Output = Result<LeaseAnswer, StoreError>> + Send>>;

struct Ready {
    leased: Box<Leased>,
    lease: Lease,
    turn: Turn,
    pass: Pass,
}

impl Slot {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Slot { shared, pass: None, permit: None, asked: None, asking: None, poller: None, failed: 0, overdue: 0 }
    }

    /// Handles events until the receiver drains.
    pub(super) async fn run(mut self) {
        let attempts = self.shared.attempts.clone();
        let mut draining = pin!(attempts.draining());
        loop {
            tokio::select! {
                biased;
                () = &mut draining => break,
                ready = self.next() => attempt::run(ready.leased, ready.lease, ready.turn, ready.pass).await,
            }
        }
        self.give_back().await;
    }

    /// Waits for an event, and leases it.
    async fn next(&mut self) -> Ready {
        let stored = self.shared.inbox.stored.clone();
        loop {
            // A probe is kept until there is an event. The breaker may have opened since any other pass.
            if !self.pass.as_ref().is_some_and(Pass::is_probe) {
                self.pass = self.shared.breaker.try_pass();
            }
            if self.pass.is_none() {
                // The slot with the probe waits for events instead.
                self.poller = None;
                self.pass = Some(self.shared.breaker.pass().await);
            }
            let mut stored = pin!(stored.notified());
            stored.as_mut().enable();
            let turn = self.shared.gate.turn().await;
            let wait = match self.ask(turn.is_alone()).await {
                Ok(answer) => {
                    self.failed = 0;
                    let granted = self.asked.take().map_or_else(Instant::now, |(_, since)| since);
                    self.shared.gate.answered(&turn, answer.leased.is_some(), answer.suspects);
                    let crashed = answer.crashed.is_some();
                    if let Some(row) = answer.crashed {
                        self.report_crashed(row);
                    }
                    match (answer.leased, self.permit.take(), self.pass.take()) {
                        (Some(leased), Some(permit), Some(pass)) => {
                            (self.overdue, self.poller) = (0, None);
                            let id = leased.lease_id();
                            let lease = Lease { shared: self.shared.clone(), id, granted, permit };
                            return Ready { leased, lease, turn, pass };
                        }
                        (_, _, pass) => self.pass = pass,
                    }
                    self.permit = None;
                    if crashed {
                        continue;
                    }
                    self.until_due(answer.next_due)
                }
                Err(error) => {
                    observe::store_failed(&self.shared.limit, self.shared.receiver.endpoint(), "lease", &error);
                    self.failed = self.failed.saturating_add(1);
                    let longest = doubled(FIRST_WAIT, self.failed).min(LONGEST_RETRY);
                    random_within(longest / 2, longest)
                }
            };
            drop(turn);
            if self.poller.is_none() {
                self.poller = Some(self.shared.poller.clone().lock_owned().await);
                continue;
            }
            tokio::select! {
                () = sleep(wait) => {}
                () = stored => {}
            }
        }
    }

    /// Logs, counts and reports an event that is dead because processes died while they handled it alone.
    fn report_crashed(&self, row: EntryRow) {
        let (number, stored_at) = (row.attempts, row.stored_at);
        let entry = self.shared.inbox.entry(row);
        let (endpoint, kind) = (&**self.shared.receiver.endpoint(), &*entry.kind);
        let attempt = Attempt { endpoint, kind, event_key: entry.event_key, id: entry.id, number, stored_at };
        let attempted = Attempted::Dead(CRASHED, Death::Crashed);
        observe::attempted(attempt, attempted, None);
        self.shared.report(&AttemptReport::new(attempt, entry.replays > 0, None, attempted.into(), None));
    }

    /// Requests a lease.
    async fn ask(&mut self, alone: bool) -> Result<LeaseAnswer, StoreError> {
        let attempts = &self.shared.attempts;
        if self.permit.is_none() {
            match attempts.acquire() {
                Ok(permit) => self.permit = Some(permit),
                // The receiver drains, which ends the slot.
                Err(_) => std::future::pending().await,
            }
        }
        let token = self.asked.get_or_insert_with(|| (attempts.token(), Instant::now())).0;
        let asking = self.asking.insert(request(self.shared.clone(), token, alone));
        let answer = asking.await;
        self.asking = None;
        answer
    }

    /// Returns how long to wait after nothing was leased.
    pub(super) fn until_due(&mut self, next_due: Option<Duration>) -> Duration {
        let poll = random_within(POLL * 3 / 4, POLL);
        match next_due {
            // Another worker has it, or its store's clock differs.
            Some(due) if due < SOON => {
                self.overdue = self.overdue.saturating_add(1);
                doubled(SOON, self.overdue).min(poll)
            }
            due => {
                self.overdue = 0;
                due.map_or(poll, |due| due.min(poll))
            }
        }
    }

    /// Gives an event back that was leased while the receiver began to drain, without counting the attempt.
    async fn give_back(mut self) {
        let (Some((token, _)), Some(mut permit)) = (self.asked, self.permit.take()) else { return };
        // A drain has no handler to cancel here.
        permit.finish();
        let mut answer = match self.asking {
            Some(asking) => asking.await,
            None => request(self.shared.clone(), token, false).await,
        };
        if answer.is_err() {
            answer = request(self.shared.clone(), token, false).await;
        }
        // An answer that is not known by now would be known only after the lease has expired.
        let Ok(answer) = answer else { return };
        if let Some(leased) = answer.leased {
            let (id, granted) = (leased.lease_id(), Instant::now());
            let lease = Lease { shared: self.shared.clone(), id, granted, permit };
            let ending = Ending::Retry { wait: Duration::ZERO, reason: "canceled", counted: false };
            lease.finish(&ending, None).await;
        }
    }
}

/// Requests a lease, or the one that this token already has.
fn request(shared: Arc<Shared>, token: ClaimToken, alone: bool) -> Asking {
    Box::pin(async move {
        let (endpoint, lease) = (shared.receiver.name().to_owned(), shared.receiver.settings().lease);
        shared.answer(|tables| tables.lease(LeaseRequest { endpoint, token, lease, alone })).await
    })
}

/// The shortest wait for an event that is due.
const SOON: Duration = Duration::from_millis(10);

fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1_u32.checked_shl(times.saturating_sub(1)).unwrap_or(u32::MAX))
}
