//! Logs and metrics of attempts at stored events.

#[cfg(feature = "tracing")]
use std::sync::Arc;
use std::time::Duration;

use crate::counts::EndpointCounts;
use crate::endpoint::EndpointFacts;
use crate::error::StoreError;
use crate::event_key::EventKey;
use crate::isolated::isolated;
#[cfg(feature = "metrics")]
use crate::meter;
#[cfg(feature = "tracing")]
use crate::once_per_minute::{Line, OncePerMinute};

/// The labels with which an attempt is logged and counted.
#[cfg_attr(
    not(all(feature = "tracing", feature = "metrics")),
    allow(dead_code, reason = "metrics have fewer labels than logs, and logs no time of storing")
)]
#[derive(Clone, Copy)]
pub(crate) struct Attempt<'a> {
    pub(crate) endpoint: &'a EndpointFacts,
    pub(crate) kind: &'a str,
    /// `None` if the event could not be opened.
    pub(crate) event_key: Option<EventKey>,
    /// The id of the row.
    pub(crate) id: i64,
    pub(crate) number: u32,
    /// Unix milliseconds.
    pub(crate) stored_at: i64,
}

/// The result of an attempt.
#[cfg_attr(not(feature = "tracing"), allow(dead_code, reason = "metrics have fewer labels than logs"))]
#[derive(Clone, Copy)]
pub(crate) enum Attempted<'a> {
    Done,
    /// The event is attempted again after this time.
    Retry(&'a str, Duration),
    Dead(&'a str, Death),
}

/// The cause for which an event is dead.
#[cfg_attr(not(feature = "tracing"), allow(dead_code, reason = "metrics have fewer labels than logs"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Death {
    /// The application gave it up.
    GivenUp,
    /// Its attempt failed, and was the last one that this limit of the retry policy allows.
    Limit(&'static str),
    /// It cannot be opened, whatever the keys.
    Damaged,
    /// Processes died while they handled it alone.
    Crashed,
}

/// Logs and counts an attempt whose result is recorded.
pub(crate) fn attempted(attempt: Attempt<'_>, attempted: Attempted<'_>, took: Option<Duration>) {
    isolated(|| {
        let (outcome, reason) = match attempted {
            Attempted::Done => ("done", None),
            Attempted::Retry(reason, _) => ("retry", Some(reason)),
            Attempted::Dead(reason, _) => ("dead", Some(reason)),
        };
        #[cfg(feature = "metrics")]
        {
            let endpoint = attempt.endpoint.name();
            meter::attempted(endpoint, attempt.kind, outcome, reason.unwrap_or_default());
            if outcome == "done" {
                meter::stored_to_done(endpoint, age(attempt));
            }
        }
        #[cfg(feature = "tracing")]
        {
            macro_rules! line {
                ($level:ident, $wait:expr, $limit:expr, $next:expr) => {
                    tracing::$level!(
                        endpoint = &**attempt.endpoint.name(),
                        provider = &**attempt.endpoint.provider(),
                        kind = attempt.kind,
                        event_key = attempt.event_key.map(tracing::field::display),
                        id = attempt.id,
                        outcome,
                        attempt = attempt.number,
                        reason,
                        limit = $limit,
                        seconds = took.map(|took| took.as_secs_f64()),
                        wait_seconds = $wait,
                        next = $next,
                        "webhook attempt"
                    )
                };
            }
            match attempted {
                Attempted::Done => line!(info, None::<f64>, None::<&str>, None::<&str>),
                Attempted::Retry(_, wait) => line!(warn, Some(wait.as_secs_f64()), None::<&str>, None::<&str>),
                Attempted::Dead(_, Death::Limit(limit)) => {
                    line!(warn, None::<f64>, Some(limit), Some(Death::Limit(limit).next_step()));
                }
                Attempted::Dead(_, death @ Death::GivenUp) => {
                    line!(warn, None::<f64>, None::<&str>, Some(death.next_step()));
                }
                Attempted::Dead(_, death) => line!(error, None::<f64>, None::<&str>, Some(death.next_step())),
            }
        }
        let _ = (attempt, attempted, took, outcome, reason);
    });
}

#[cfg(feature = "tracing")]
impl Death {
    /// Returns the step that an operator should take.
    fn next_step(self) -> &'static str {
        match self {
            Death::GivenUp | Death::Limit(_) => {
                "correct the cause, which the log of the application may name, and then replay or discard the event"
            }
            Death::Damaged => {
                "the stored event was changed or is incomplete: check the disk and the database, and whether a backup \
                 has it; then discard it"
            }
            Death::Crashed => {
                "the process died each time it handled this event alone: find out why, for example from its last \
                 output or the memory limit, and then replay or discard the event"
            }
        }
    }
}

#[cfg(feature = "metrics")]
fn age(attempt: Attempt<'_>) -> Duration {
    let stored_at = attempt.stored_at.div_euclid(1000);
    Duration::from_secs(u64::try_from(attempt.endpoint.now().saturating_sub(stored_at)).unwrap_or(0))
}

/// Limits the lines about the state of an inbox.
#[derive(Default)]
pub(crate) struct LineLimit {
    #[cfg(feature = "tracing")]
    lines: Arc<OncePerMinute<InboxLine>>,
}

/// A line about the state of an inbox that can recur.
#[cfg(feature = "tracing")]
#[derive(Clone)]
pub(crate) struct InboxLine {
    endpoint: Arc<str>,
    about: About,
}

#[cfg(feature = "tracing")]
#[derive(Clone)]
enum About {
    Store { step: &'static str, error: Arc<str> },
    NotOpened { problem: Arc<str> },
    Unreachable,
    Reachable,
}

#[cfg(feature = "tracing")]
impl PartialEq for InboxLine {
    /// The texts of errors differ, so only the first one of each step is logged.
    fn eq(&self, other: &Self) -> bool {
        let same = match (&self.about, &other.about) {
            (About::Store { step, .. }, About::Store { step: other, .. }) => step == other,
            (about, other) => std::mem::discriminant(about) == std::mem::discriminant(other),
        };
        same && self.endpoint == other.endpoint
    }
}

#[cfg(feature = "tracing")]
impl Line for InboxLine {
    fn write(&self, count: u64) {
        let endpoint = &*self.endpoint;
        match &self.about {
            About::Store { step, error } => {
                let error = &**error;
                tracing::warn!(endpoint, step, error, count, "inbox operation failed; will retry");
            }
            About::NotOpened { problem } => {
                let problem = &**problem;
                tracing::warn!(endpoint, problem, count, "stored webhook events cannot be opened, so they wait");
            }
            About::Unreachable => tracing::warn!(
                endpoint,
                count,
                "the application is unreachable, so stored webhook events wait and only one at a time is attempted; \
                 start it, or correct its address"
            ),
            About::Reachable => tracing::info!(
                target: "medhook::inbox",
                endpoint,
                count,
                "the application is reachable again, so stored webhook events are attempted as usual"
            ),
        }
    }
}

fn limited(limit: &LineLimit, at: &EndpointFacts, #[cfg(feature = "tracing")] about: About) {
    #[cfg(feature = "tracing")]
    limit.lines.count(InboxLine { endpoint: at.name().clone(), about });
    let _ = (limit, at);
}

/// Logs an operation of the inbox that failed and is retried, and counts it if the event was leased.
pub(crate) fn store_failed(limit: &LineLimit, at: &EndpointFacts, step: &'static str, error: &StoreError) {
    isolated(|| {
        #[cfg(feature = "metrics")]
        if matches!(step, "renew" | "finish") {
            meter::settle_failed(at.name(), step);
        }
        limited(
            limit,
            at,
            #[cfg(feature = "tracing")]
            About::Store { step, error: error.to_string().into() },
        );
        let _ = (step, error);
    });
}

/// Counts an event that waits because it could not be opened. The log line is limited, since there may be many of them.
pub(crate) fn not_opened(
    limit: &LineLimit,
    attempt: Attempt<'_>,
    reason: &'static str,
    problem: &dyn std::fmt::Display,
) {
    isolated(|| {
        #[cfg(feature = "metrics")]
        meter::attempted(attempt.endpoint.name(), attempt.kind, "retry", reason);
        limited(
            limit,
            attempt.endpoint,
            #[cfg(feature = "tracing")]
            About::NotOpened { problem: problem.to_string().into() },
        );
        let _ = (reason, problem);
    });
}

/// Logs that the breaker of an endpoint opened.
pub(crate) fn unreachable(limit: &LineLimit, at: &EndpointFacts) {
    isolated(|| {
        limited(
            limit,
            at,
            #[cfg(feature = "tracing")]
            About::Unreachable,
        );
    });
}

/// Logs that the breaker of an endpoint closed.
pub(crate) fn reachable(limit: &LineLimit, at: &EndpointFacts) {
    isolated(|| {
        limited(
            limit,
            at,
            #[cfg(feature = "tracing")]
            About::Reachable,
        );
    });
}

/// Records the state of an endpoint's inbox.
pub(crate) fn measured(at: &EndpointFacts, counts: &EndpointCounts, breaker_open: bool) {
    #[cfg(feature = "metrics")]
    isolated(|| meter::inbox(at.name(), counts, breaker_open));
    let _ = (at, counts, breaker_open);
}

/// Records for how long events of an endpoint with an inbox are useful.
pub(crate) fn useful_for(at: &EndpointFacts, kinds: &[(&'static str, Duration)]) {
    #[cfg(feature = "metrics")]
    isolated(|| kinds.iter().for_each(|(kind, time)| meter::useful_for(at.name(), kind, *time)));
    let _ = (at, kinds);
}

/// Records the age of the oldest unfinished event of a kind that is useful for a limited time; 0 if there is none.
pub(crate) fn oldest_useful(at: &EndpointFacts, kind: &'static str, age: Duration) {
    #[cfg(feature = "metrics")]
    isolated(|| meter::oldest_useful(at.name(), kind, age));
    let _ = (at, kind, age);
}

/// An unfinished event that is useful for a limited time, of which more than half has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expiring {
    pub(crate) kind: &'static str,
    /// The id of the row.
    pub(crate) id: i64,
    pub(crate) age: Duration,
    pub(crate) useful_for: Duration,
}

impl Expiring {
    /// Returns whether all of the time has passed.
    pub(crate) fn is_past(&self) -> bool {
        self.age >= self.useful_for
    }
}

/// Logs that an event waits for longer than half of the time for which it is useful. The caller limits the lines.
pub(crate) fn expiring(at: &EndpointFacts, event: Expiring) {
    isolated(|| {
        #[cfg(feature = "tracing")]
        {
            let (seconds, useful) = (event.age.as_secs(), event.useful_for.as_secs());
            let (message, next) = if event.is_past() {
                (
                    "a stored webhook event was not handled within the time for which it is useful",
                    "if its attempts fail for that reason, discard it, and get its data from the provider in another way",
                )
            } else {
                (
                    "a stored webhook event is useful for a limited time, and more than half of it has passed",
                    "find out why it is not handled: its entry in the inbox has the reason of the last attempt; see \
                     whether the endpoint is paused or the application unreachable",
                )
            };
            tracing::warn!(
                endpoint = &**at.name(),
                provider = &**at.provider(),
                kind = event.kind,
                id = event.id,
                age_seconds = seconds,
                useful_seconds = useful,
                next,
                "{message}"
            );
        }
        let _ = (at, event);
    });
}
