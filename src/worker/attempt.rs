//! One attempt to handle a stored event.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use super::alone::Turn;
use super::breaker::Pass;
use super::handled::{Handled, HandlerResult};
use super::lease::{Held, Lease};
use super::report::{AttemptOutcome, AttemptReport};
use super::retry::Decision;
use super::shared::Shared;
use crate::dedupe::Settled;
use crate::dedupe::inbox::rules::Ending;
use crate::dedupe::inbox::store::Leased;
use crate::delivery::Delivery;
use crate::in_pool::{LONGEST_INLINE, in_pool};
use crate::inbox::Unsealable;
use crate::inbox::record::StoredHead;
use crate::observe::inbox::{Attempt, Attempted, Death};
use crate::observe::{self, discard};
use crate::time::in_time;

/// The end of a handler.
#[derive(Debug, PartialEq, Eq)]
enum Ran {
    Answered(Handled),
    Panicked,
    TimedOut,
    /// It still ran at the deadline of a drain, or did not begin before it.
    Canceled,
    /// It did not begin, because another worker has the event.
    Lost,
}

/// The time after which an event is attempted again that could not be opened.
const UNTIL_KEY: Duration = Duration::from_secs(60);

/// Attempts a leased event, and records the result.
pub(super) async fn run(mut leased: Box<Leased>, mut lease: Lease, turn: Turn, pass: Pass) {
    let shared = lease.shared.clone();
    let mut attempt = Attempt {
        endpoint: shared.receiver.endpoint(),
        kind: &leased.kind,
        event_key: None,
        id: leased.body.id,
        number: leased.attempts,
        stored_at: leased.stored_at,
    };
    let is_replay = leased.replays > 0;
    // Without a clone, so that it is opened in its own buffer. A handler can take long, and has only the opened body.
    let sealed = leased.body.sealed.take();
    let opened = if sealed.as_ref().is_some_and(|sealed| sealed.len() > LONGEST_INLINE) {
        let (receiver, leased, sealed) = (shared.receiver.clone(), leased.clone(), Mutex::new(sealed));
        let take = move || sealed.lock().unwrap_or_else(PoisonError::into_inner).take();
        in_pool(move || receiver.open_sealed(&leased, take())).await
    } else {
        shared.receiver.open_sealed(&leased, sealed)
    };
    let (delivery, head) = match opened {
        Ok(opened) => opened,
        Err(Unsealable::Damaged) => {
            let ending = Ending::Dead { reason: "damaged".to_owned() };
            let ended = Ended { attempt, is_replay, delivery: None, took: None };
            ended.record(lease, turn, ending, Some(Death::Damaged)).await;
            return;
        }
        Err(problem) => {
            let reason = if problem == Unsealable::OtherProvider { "other_provider" } else { "unknown_key" };
            observe::inbox::not_opened(&shared.limit, attempt, reason, &problem);
            lease.finish(&Ending::Retry { wait: UNTIL_KEY, reason, counted: false }, Some(turn)).await;
            return;
        }
    };
    attempt.event_key = Some(delivery.event_key());
    // The row's is not sealed.
    attempt.kind = delivery.kind_label();
    let began = Instant::now();
    let ran = handle(&shared, &mut lease, &delivery, head).await;
    let took = began.elapsed();
    let ended = Ended { attempt, is_replay, delivery: Some(&delivery), took: Some(took) };
    match &ran {
        Ran::Lost => {
            observe::claim_lost(delivery.subject());
            return ended.report(&shared, AttemptOutcome::Unrecorded);
        }
        Ran::Canceled => drop(pass),
        Ran::Answered(Handled(HandlerResult::Unreachable)) => {
            if pass.unreachable() {
                observe::inbox::unreachable(&shared.limit, attempt.endpoint);
            }
        }
        Ran::Answered(_) | Ran::Panicked | Ran::TimedOut => {
            if pass.answered() {
                observe::inbox::reachable(&shared.limit, attempt.endpoint);
            }
        }
    }
    if ran != Ran::Canceled {
        lease.permit.finish();
    }
    let (ending, death) = shared.ending(ran, &leased);
    if ended.record(lease, turn, ending, death).await == Some(Settled::Lost) {
        observe::claim_lost(delivery.subject());
    }
}

/// Runs the handler as a task of its own, so that the lease is renewed even if the handler blocks its thread.
async fn handle(shared: &Arc<Shared>, lease: &mut Lease, delivery: &Delivery, head: StoredHead) -> Ran {
    loop {
        match lease.ensure().await {
            Held::Yes => {}
            Held::Lost => return Ran::Lost,
            Held::Canceled => return Ran::Canceled,
        }
        let (granted, length) = (lease.granted, lease.length());
        let mut task = JoinSet::new();
        let (called, passed, head) = (shared.clone(), delivery.clone(), head.clone());
        task.spawn(async move {
            // The process may have been stopped since.
            if granted.elapsed() >= length {
                return None;
            }
            Some(called.handler.attempt(passed, head).await)
        });
        match join(shared, lease, delivery, &mut task).await {
            Ok(Some(handled)) => return Ran::Answered(handled),
            Ok(None) => {}
            Err(ran) => return ran,
        }
    }
}

/// Waits for a handler, for at most the configured time. An attempt ends only when its handler is dropped, so that no
/// other one runs meanwhile.
async fn join(
    shared: &Shared,
    lease: &mut Lease,
    delivery: &Delivery,
    task: &mut JoinSet<Option<Handled>>,
) -> Result<Option<Handled>, Ran> {
    let canceled = lease.permit.cancellation();
    let renewing = std::pin::pin!(lease.keep_renewing(delivery));
    let work = async {
        let limit = shared.receiver.settings().handler_timeout;
        let stopped = tokio::select! {
            biased;
            joined = in_time(limit, Box::pin(task.join_next())) => match joined {
                Some(joined) => return result(joined, None),
                None => Ran::TimedOut,
            },
            () = canceled => Ran::Canceled,
        };
        task.abort_all();
        result(task.join_next().await, Some(stopped))
    };
    tokio::select! {
        biased;
        joined = work => joined,
        never = renewing => match never {},
    }
}

/// Returns the answer of a handler, also of one that was stopped and answered before it noticed.
fn result(joined: Option<Result<Option<Handled>, JoinError>>, stopped: Option<Ran>) -> Result<Option<Handled>, Ran> {
    let error = match joined {
        Some(Ok(answer)) => return Ok(answer),
        Some(Err(error)) => Some(error),
        None => None,
    };
    // A task that is canceled without having been stopped ends with its runtime.
    let ended = if error.as_ref().is_some_and(JoinError::is_panic) { Ran::Panicked } else { Ran::Canceled };
    discard(error);
    Err(stopped.unwrap_or(ended))
}

impl Shared {
    /// Decides what becomes of an event, and why if it is dead.
    fn ending(&self, ran: Ran, leased: &Leased) -> (Ending, Option<Death>) {
        let uncounted = |reason| (Ending::Retry { wait: Duration::ZERO, reason, counted: false }, None);
        let (reason, asked) = match ran {
            Ran::Answered(Handled(HandlerResult::Done)) => return (Ending::Done, None),
            Ran::Answered(Handled(HandlerResult::GiveUp { reason })) => {
                return (Ending::Dead { reason }, Some(Death::GivenUp));
            }
            Ran::Answered(Handled(HandlerResult::Unreachable)) => return uncounted("unreachable"),
            Ran::Canceled | Ran::Lost => return uncounted("canceled"),
            Ran::Answered(Handled(HandlerResult::Retry { reason, after })) => (reason, after),
            Ran::Panicked => ("handler_panicked", None),
            Ran::TimedOut => ("handler_timeout", None),
        };
        let age = (leased.replays == 0).then(|| {
            let now = self.receiver.endpoint().now().saturating_mul(1000);
            Duration::from_millis(u64::try_from(now.saturating_sub(leased.stored_at)).unwrap_or(0))
        });
        match self.retry.decide(leased.attempts, age, asked) {
            Decision::RetryAfter(wait) => (Ending::Retry { wait, reason, counted: true }, None),
            Decision::GiveUp(limit) => (Ending::Dead { reason: reason.to_owned() }, Some(Death::Limit(limit))),
        }
    }
}

/// An attempt that has ended.
struct Ended<'a> {
    attempt: Attempt<'a>,
    is_replay: bool,
    delivery: Option<&'a Delivery>,
    took: Option<Duration>,
}

impl Ended<'_> {
    /// Records the result, and then logs, counts and reports it.
    async fn record(self, lease: Lease, turn: Turn, ending: Ending, death: Option<Death>) -> Option<Settled> {
        let shared = lease.shared.clone();
        let finished = lease.finish(&ending, Some(turn)).await;
        if finished == Some(Settled::Settled) {
            let attempted = match &ending {
                Ending::Done => Attempted::Done,
                Ending::Retry { wait, reason, .. } => Attempted::Retry(reason, *wait),
                Ending::Dead { reason } => Attempted::Dead(reason, death.unwrap_or(Death::GivenUp)),
            };
            observe::inbox::attempted(self.attempt, attempted, self.took);
            self.report(&shared, attempted.into());
        } else {
            self.report(&shared, AttemptOutcome::Unrecorded);
        }
        finished
    }

    fn report(&self, shared: &Shared, outcome: AttemptOutcome<'_>) {
        shared.report(&AttemptReport::new(self.attempt, self.is_replay, self.delivery, outcome, self.took));
    }
}
