//! Logs and metrics. Everything that the crate logs or counts about a delivery passes through here: labels of ours,
//! documented kinds and digests, never a value that the sender chose.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::endpoint::EndpointFacts;
use crate::envelope::Problem;
use crate::error::{Outcome, Reason, StoreError};
use crate::event_key::EventKey;
#[cfg(feature = "tracing")]
use crate::once_per_minute::OncePerMinute;
use crate::rejection::Rejection;

/// The labels under which a verified delivery is logged and counted.
#[cfg_attr(not(feature = "tracing"), allow(dead_code, reason = "metrics have fewer labels than logs"))]
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) endpoint: &'a EndpointFacts,
    pub(crate) kind: &'a str,
    pub(crate) secret: &'a str,
    #[cfg_attr(not(feature = "tracing"), allow(dead_code, reason = "logged, and no label of a metric"))]
    pub(crate) event_key: &'a EventKey,
}

/// Logs and counts a rejection. Unverified deliveries can be caused by any client, so each is a `debug` line, and they
/// are counted into one `warn` line a minute; a verified delivery is about a provider, and a `warn` line. What the
/// operator must do about a [`Reason::SecretModeMismatch`] is logged with the first one, then at most once a minute.
pub(crate) fn rejected(at: &EndpointFacts, rejection: &Rejection) {
    apart(|| {
        let reason = rejection.reason();
        count(at.name(), at.provider(), reason.outcome(), Some(reason));
        #[cfg(feature = "tracing")]
        {
            let (endpoint, provider, kind) = (at.name(), at.provider(), rejection.kind_label());
            let outcome = reason.outcome().as_str();
            if rejection.is_verified() {
                let secret = rejection.secret_label();
                tracing::warn!(endpoint, provider, kind, secret, outcome, reason = reason.as_str(), "webhook delivery");
                if reason == Reason::SecretModeMismatch {
                    mode_mismatch(at, secret.unwrap_or_default());
                }
            } else {
                tracing::debug!(endpoint, provider, outcome, reason = reason.as_str(), "webhook delivery");
                if let Some(rejected) = at.unverified.count(at.now()) {
                    tracing::warn!(endpoint, provider, rejected, "unverified webhook deliveries rejected");
                }
            }
        }
        #[cfg(not(feature = "tracing"))]
        let _ = (&at.unverified, &at.mode_mismatches, rejection.is_verified(), rejection.secret_label());
    });
}

/// Tells the operator how to repair a configuration that keeps events from being handled.
#[cfg(feature = "tracing")]
fn mode_mismatch(at: &EndpointFacts, secret: &str) {
    if let Some(rejected) = at.mode_mismatches.count(at.now()) {
        let (endpoint, provider) = (at.name(), at.provider());
        tracing::warn!(
            endpoint,
            provider,
            secret,
            rejected,
            "the secret labeled {secret:?} is configured as a test secret but verified an event that is not a test \
             event: configure it as the live secret"
        );
    }
}

/// Reports a request whose receiver was not found. The tenant that it names is the client's choice and is not logged. Any
/// client can cause both reasons, so they are logged no more often than unverified deliveries.
pub(crate) fn unresolved(reason: Reason) {
    apart(|| {
        count(UNRESOLVED, UNRESOLVED, reason.outcome(), Some(reason));
        #[cfg(feature = "tracing")]
        {
            static REJECTED: OncePerMinute = OncePerMinute::new();
            static FAILED: OncePerMinute = OncePerMinute::new();
            let (endpoint, outcome) = (UNRESOLVED, reason.outcome().as_str());
            tracing::debug!(endpoint, outcome, reason = reason.as_str(), "webhook delivery");
            let now = crate::time::unix_seconds(std::time::SystemTime::now());
            if reason == Reason::TenantLookupFailed {
                if let Some(failed) = FAILED.count(now) {
                    tracing::warn!(endpoint, failed, "tenant lookups failed or timed out");
                }
            } else if let Some(rejected) = REJECTED.count(now) {
                tracing::warn!(endpoint, rejected, "webhook deliveries rejected without a receiver");
            }
        }
    });
}

/// The endpoint and provider label of a request without a receiver. No receiver can have this name.
const UNRESOLVED: &str = "(unresolved)";

/// A genuine delivery whose handler did not run, or did not come to its end.
pub(crate) fn not_handled(subject: Subject<'_>, rejection: &Rejection) {
    apart(|| {
        let reason = rejection.reason();
        count(subject.endpoint.name(), subject.endpoint.provider(), reason.outcome(), Some(reason));
        #[cfg(feature = "tracing")]
        {
            let source = std::error::Error::source(rejection).map(tracing::field::display);
            macro_rules! line {
                ($level:ident) => {
                    tracing::$level!(
                        endpoint = subject.endpoint.name(),
                        provider = subject.endpoint.provider(),
                        kind = subject.kind,
                        event_key = %subject.event_key,
                        secret = subject.secret,
                        outcome = reason.outcome().as_str(),
                        reason = reason.as_str(),
                        source,
                        "webhook delivery"
                    )
                };
            }
            match reason.outcome() {
                Outcome::Duplicate | Outcome::InFlight => line!(info),
                _ => line!(warn),
            }
        }
    });
}

/// A genuine delivery whose handler came to its end.
pub(crate) fn finished(subject: Subject<'_>, outcome: Outcome, watch: Stopwatch) {
    apart(|| {
        count(subject.endpoint.name(), subject.endpoint.provider(), outcome, None);
        #[cfg(any(feature = "metrics", feature = "tracing"))]
        let took = watch.0.elapsed();
        #[cfg(feature = "metrics")]
        {
            #[allow(clippy::cast_precision_loss, reason = "seconds since 1970 fit a float's 53 bits")]
            let now = subject.endpoint.now() as f64;
            let endpoint = subject.endpoint.name().to_owned();
            let secret = subject.secret.to_owned();
            metrics::histogram!("medhook_handler_seconds", "endpoint" => endpoint.clone()).record(took);
            metrics::gauge!("medhook_secret_last_used_seconds", "endpoint" => endpoint.clone(), "secret" => secret)
                .set(now);
            if outcome == Outcome::Handled {
                metrics::gauge!("medhook_last_handled_seconds", "endpoint" => endpoint).set(now);
            }
        }
        #[cfg(feature = "tracing")]
        {
            macro_rules! line {
                ($level:ident) => {
                    tracing::$level!(
                        endpoint = subject.endpoint.name(),
                        provider = subject.endpoint.provider(),
                        kind = subject.kind,
                        event_key = %subject.event_key,
                        secret = subject.secret,
                        outcome = outcome.as_str(),
                        seconds = took.as_secs_f64(),
                        "webhook delivery"
                    )
                };
            }
            match outcome {
                Outcome::Handled => line!(info),
                _ => line!(warn),
            }
        }
        let _ = (subject, outcome, watch);
    });
}

/// How long a handler takes. Where nobody is told, no clock is looked at.
#[derive(Clone, Copy)]
pub(crate) struct Stopwatch(#[cfg(any(feature = "metrics", feature = "tracing"))] tokio::time::Instant);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Stopwatch(
            #[cfg(any(feature = "metrics", feature = "tracing"))]
            tokio::time::Instant::now(),
        )
    }
}

/// A payload that is not what the provider documents: how its changes show.
pub(crate) fn not_as_documented(subject: Subject<'_>, problem: Option<&Problem>, drifted: &[Box<str>]) {
    apart(|| {
        #[cfg(feature = "metrics")]
        {
            let endpoint = subject.endpoint.name().to_owned();
            let kind = subject.kind.to_owned();
            let name = if problem.is_some() { "medhook_undecodable_total" } else { "medhook_drifted_total" };
            metrics::counter!(name, "endpoint" => endpoint, "kind" => kind).increment(1);
        }
        #[cfg(feature = "tracing")]
        {
            let (endpoint, kind) = (subject.endpoint.name(), subject.kind);
            match problem {
                Some(problem) => {
                    tracing::warn!(endpoint, kind, %problem, "webhook event could not be decoded")
                }
                None => {
                    tracing::warn!(endpoint, kind, fields = ?drifted, "webhook event has fields not as documented")
                }
            }
        }
        let _ = (subject, problem, drifted);
    });
}

/// Someone else has the event: it may be handled twice.
pub(crate) fn claim_lost(subject: Subject<'_>) {
    apart(|| {
        #[cfg(feature = "metrics")]
        metrics::counter!("medhook_claims_lost_total", "endpoint" => subject.endpoint.name().to_owned()).increment(1);
        #[cfg(feature = "tracing")]
        tracing::warn!(endpoint = subject.endpoint.name(), event_key = %subject.event_key, "claim of webhook event lost");
        let _ = subject;
    });
}

/// A delivery is handled without a claim: it may be handled twice.
pub(crate) fn unclaimed(subject: Subject<'_>, error: &StoreError) {
    apart(|| {
        #[cfg(feature = "metrics")]
        {
            let reason = if error.is_full() { Reason::StoreFull } else { Reason::StoreUnavailable };
            let endpoint = subject.endpoint.name().to_owned();
            metrics::counter!("medhook_unclaimed_total", "endpoint" => endpoint, "reason" => reason.as_str())
                .increment(1);
        }
        #[cfg(feature = "tracing")]
        {
            let endpoint = subject.endpoint.name();
            tracing::warn!(endpoint, event_key = %subject.event_key, %error, "webhook event handled without a claim");
        }
        let _ = (subject, error);
    });
}

/// The store did not do what it was asked after the event was claimed.
pub(crate) fn settle_failed(subject: Subject<'_>, step: &'static str, error: &StoreError) {
    apart(|| {
        #[cfg(feature = "metrics")]
        {
            let endpoint = subject.endpoint.name().to_owned();
            metrics::counter!("medhook_settle_failed_total", "endpoint" => endpoint, "step" => step).increment(1);
        }
        #[cfg(feature = "tracing")]
        {
            let endpoint = subject.endpoint.name();
            tracing::warn!(endpoint, event_key = %subject.event_key, step, %error, "store failed; trying again");
        }
        let _ = (subject, step, error);
    });
}

/// What has run out could not be deleted: the store grows until it can.
#[cfg(feature = "postgres")]
pub(crate) fn purge_failed(error: &StoreError) {
    apart(|| {
        #[cfg(feature = "tracing")]
        tracing::warn!(%error, "what has run out could not be deleted from the store; trying again");
        let _ = error;
    });
}

/// A store in memory made room by forgetting an event that it should still have remembered.
pub(crate) fn forgotten() {
    apart(|| {
        #[cfg(feature = "metrics")]
        metrics::counter!("medhook_store_forgotten_total").increment(1);
    });
}

/// The store has not taken the marks of some claims before the receiver ended.
pub(crate) fn unsettled(at: &EndpointFacts, claims: usize) {
    apart(|| {
        #[cfg(feature = "tracing")]
        {
            let endpoint = at.name();
            tracing::warn!(
                endpoint,
                claims,
                "the store did not answer before the receiver ended: events that were handled may be handled again, and \
                 others wait for their lease to end"
            );
        }
        let _ = (at, claims);
    });
}

/// What the operator should change.
pub(crate) fn warnings(warnings: &[String]) {
    apart(|| {
        #[cfg(feature = "tracing")]
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        let _ = warnings;
    });
}

/// A shutdown was requested. New deliveries are still handled until the delay is over.
#[cfg(feature = "shutdown")]
pub(crate) fn shutdown_requested() {
    apart(|| {
        #[cfg(feature = "tracing")]
        tracing::info!("shutdown requested");
    });
}

/// New deliveries are answered 503 from now on.
#[cfg(feature = "shutdown")]
pub(crate) fn draining(receivers: usize, within: std::time::Duration) {
    apart(|| {
        #[cfg(feature = "tracing")]
        tracing::info!(receivers, within = within.as_secs_f64(), "draining webhook receivers");
        let _ = (receivers, within);
    });
}

/// All receivers are drained.
#[cfg(feature = "shutdown")]
pub(crate) fn drained(canceled: usize) {
    apart(|| {
        #[cfg(feature = "tracing")]
        if canceled == 0 {
            tracing::info!(canceled, "webhook receivers drained");
        } else {
            tracing::warn!(canceled, "webhook receivers drained; handlers were canceled and their claims released");
        }
        let _ = canceled;
    });
}

/// The server did not stop by the deadline, and its future is dropped.
#[cfg(feature = "shutdown")]
pub(crate) fn server_dropped() {
    apart(|| {
        #[cfg(feature = "tracing")]
        tracing::warn!("the server did not stop by the deadline and is dropped");
    });
}

fn count(endpoint: &str, provider: &str, outcome: Outcome, reason: Option<Reason>) {
    #[cfg(feature = "metrics")]
    metrics::counter!(
        "medhook_deliveries_total",
        "endpoint" => endpoint.to_owned(),
        "provider" => provider.to_owned(),
        "outcome" => outcome.as_str(),
        "reason" => reason.map_or("", Reason::as_str),
    )
    .increment(1);
    let _ = (endpoint, provider, outcome, reason);
}

/// Tells something, and goes on whatever becomes of it: subscribers and recorders are the application's, and one that
/// panics (as a logger may whose pipe is broken) must not cost a handler its claim, nor an event its commit.
fn apart(tell: impl FnOnce()) {
    // The panic has been reported by its own hook.
    let _ = catch_unwind(AssertUnwindSafe(tell));
}

#[cfg(feature = "tracing")]
pub(crate) use tracing::Span;
#[cfg(not(feature = "tracing"))]
pub(crate) type Span = ();

/// The span that the delivery arrived in, so that a task of its own stays in it.
pub(crate) fn current_span() -> Span {
    #[cfg(feature = "tracing")]
    return Span::current();
}

pub(crate) fn within<T>(span: Span, work: impl Future<Output = T>) -> impl Future<Output = T> {
    #[cfg(feature = "tracing")]
    return tracing::Instrument::instrument(work, span);
    #[cfg(not(feature = "tracing"))]
    {
        let () = span;
        work
    }
}
