//! Logs and metrics. Everything that the crate logs or counts about a delivery passes through this module: configured
//! labels, documented kinds and digests, but no value that the sender chose.

#[cfg(feature = "inbox")]
pub(crate) mod inbox;

use std::fmt::Display;
#[cfg(feature = "tracing")]
use std::sync::LazyLock;
use std::time::Duration;

#[cfg(feature = "tracing")]
use http::HeaderName;

use crate::activity::SecretUse;
use crate::answered::Answered;
use crate::endpoint::EndpointFacts;
use crate::envelope::Problem;
use crate::error::{Outcome, Reason, StoreError};
use crate::freshness::Freshness;
use crate::generation::Generation;
use crate::isolated::isolated;
pub(crate) use crate::isolated::{caught, discard};
#[cfg(feature = "metrics")]
use crate::meter;
use crate::notice::Notice;
use crate::pointer_fault::{PointedPart, PointerFault};
use crate::rejection::Rejection;
#[cfg(feature = "tracing")]
use crate::rejection_log::{Cause, RejectionLimit, RejectionLine};
use crate::silence::{Silence, Silent};
use crate::verified::Verified;

/// The labels with which a verified delivery is logged and counted.
#[cfg_attr(not(feature = "tracing"), allow(dead_code, reason = "metrics have fewer labels than logs"))]
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) endpoint: &'a EndpointFacts,
    pub(crate) kind: &'a str,
    pub(crate) secret: &'a SecretUse,
    /// Computed when it is written.
    #[cfg_attr(not(feature = "tracing"), allow(dead_code, reason = "logged, but not a metric's label"))]
    pub(crate) event_key: &'a (dyn Display + Sync),
    /// The number of earlier deliveries with the same bytes, if the event can recur with them.
    pub(crate) repeats: Option<u64>,
}

/// Logs and counts a rejection.
///
/// Any client can cause rejections of unverified deliveries, so each is logged at `debug`, and at `warn` the first one
/// with a cause, then the number of the others, at most once per minute. The rejection of a verified delivery is logged
/// at `warn`. For [`Reason::SecretModeMismatch`] a line with the remedy follows, with the same limit.
pub(crate) fn rejected(at: &EndpointFacts, rejection: &Rejection) {
    isolated(|| {
        let reason = rejection.reason();
        // Any client can choose the kind in an unverified body.
        let kind = if rejection.is_verified() { rejection.kind_label() } else { "" };
        count(at.name(), at.provider(), kind, reason.outcome(), Some(reason));
        if let Some(silence) = at.silence() {
            silence.rejected(reason);
        }
        unseen(at.name(), rejection);
        #[cfg(feature = "tracing")]
        {
            let (endpoint, provider, kind) = (&**at.name(), &**at.provider(), rejection.kind_label());
            let outcome = reason.outcome().as_str();
            let secret = rejection.secret_label();
            if rejection.is_verified() {
                let (next, reason) = (rejection.next_step(), reason.as_str());
                tracing::warn!(endpoint, provider, kind, secret, outcome, reason, next, "webhook delivery");
            } else {
                let (header, detail) = (rejection.header_name().map(HeaderName::as_str), rejection.detail());
                let reason = reason.as_str();
                tracing::debug!(endpoint, provider, outcome, reason, header, detail, "webhook delivery");
            }
            if !rejection.is_verified() {
                limited(at, unverified(rejection));
            } else if reason == Reason::SecretModeMismatch {
                limited(at, Cause::ModeMismatch { secret: secret.unwrap_or_default().into() });
            }
        }
    });
}

/// Logs and counts a handshake that was answered. Any client can cause those that are answered without a signature, so
/// the first one of each type is logged at once, then their number, at most once per minute.
pub(crate) fn handshake(at: &EndpointFacts, name: &'static str) {
    isolated(|| {
        #[cfg(feature = "metrics")]
        meter::handshake(at.name(), name);
        #[cfg(feature = "tracing")]
        limited(at, Cause::Handshake { name });
        let _ = (at, name);
    });
}

#[cfg(feature = "tracing")]
fn unverified(rejection: &Rejection) -> Cause {
    let (header, detail) = (rejection.header_name().cloned(), rejection.detail());
    Cause::Unverified { reason: rejection.reason(), header, detail }
}

#[cfg(feature = "tracing")]
fn limited(at: &EndpointFacts, cause: Cause) {
    let (endpoint, provider) = (at.name().clone(), Some(at.provider().clone()));
    at.rejections.count(RejectionLine { endpoint, provider, cause });
}

/// Logs the number of rejections that the limit of lines has held back, when a receiver closes.
pub(crate) fn closed(at: &EndpointFacts) {
    #[cfg(feature = "tracing")]
    at.rejections.write_rest();
    let _ = at;
}

/// Shows a developer that a delivery was rejected, if no log subscriber would.
fn unseen(endpoint: &str, rejection: &Rejection) {
    static NOTICE: Notice = Notice::new();
    if cfg!(feature = "tracing") && matches!(rejection.reason().outcome(), Outcome::Rejected | Outcome::Failed) {
        NOTICE.write(format_args!(
            "{rejection}; endpoint {endpoint}; this is not in the log because no `tracing` subscriber is installed, \
             and further rejections are not shown at all; install one, for example with \
             `tracing_subscriber::fmt::init()`"
        ));
    }
}

/// Logs and counts a request for which the tenant lookup returned no receiver. The client chose the tenant's name, so
/// it is not logged. Any client can cause these requests, so their log lines are limited as those of unverified
/// deliveries.
pub(crate) fn unresolved(rejection: &Rejection) {
    isolated(|| {
        let reason = rejection.reason();
        count(UNRESOLVED, UNRESOLVED, "", reason.outcome(), Some(reason));
        unseen(UNRESOLVED, rejection);
        #[cfg(feature = "tracing")]
        {
            static LIMIT: LazyLock<RejectionLimit> = LazyLock::new(RejectionLimit::default);
            let (endpoint, outcome) = (UNRESOLVED, reason.outcome().as_str());
            let (header, detail) = (rejection.header_name().map(HeaderName::as_str), rejection.detail());
            tracing::debug!(endpoint, outcome, reason = reason.as_str(), header, detail, "webhook delivery");
            LIMIT.count(RejectionLine { endpoint: UNRESOLVED.into(), provider: None, cause: unverified(rejection) });
        }
    });
}

/// The endpoint and provider label of a request without a receiver. No receiver can have this name.
const UNRESOLVED: &str = "(unresolved)";

/// Logs and counts a verified delivery whose handler did not run or did not finish, also a stored one.
pub(crate) fn not_handled(subject: Subject<'_>, rejection: &Rejection) {
    isolated(|| {
        let reason = rejection.reason();
        count(subject.endpoint.name(), subject.endpoint.provider(), subject.kind, reason.outcome(), Some(reason));
        if let Some(silence) = subject.endpoint.silence()
            && is_perhaps_replayed(subject.endpoint, reason)
        {
            silence.rejected(reason);
        }
        unseen(subject.endpoint.name(), rejection);
        #[cfg(feature = "tracing")]
        {
            let source = std::error::Error::source(rejection).map(tracing::field::display);
            macro_rules! line {
                ($level:ident, $repeats:expr, $next:expr) => {
                    tracing::$level!(
                        endpoint = &**subject.endpoint.name(),
                        provider = &**subject.endpoint.provider(),
                        kind = subject.kind,
                        event_key = %subject.event_key,
                        secret = &**subject.secret.label(),
                        outcome = reason.outcome().as_str(),
                        reason = reason.as_str(),
                        status = rejection.status().as_u16(),
                        repeats = $repeats,
                        source,
                        next = $next,
                        "webhook delivery"
                    )
                };
            }
            match reason.outcome() {
                Outcome::Stored => line!(info, subject.repeats, None::<&str>),
                Outcome::Duplicate | Outcome::InFlight => line!(info, None::<u64>, None::<&str>),
                // A warning of its own explains the first one: `repeat_limit`.
                _ if reason == Reason::RepeatLimit => line!(info, None::<u64>, None::<&str>),
                _ => line!(warn, None::<u64>, rejection.next_step()),
            }
        }
    });
}

/// Logs deliveries of bodies beyond the limit of repeats, and what to do: at once, then at most once per minute.
pub(crate) fn repeat_limit(subject: Subject<'_>, max_repeats: u32) {
    isolated(|| {
        #[cfg(feature = "tracing")]
        limited(
            subject.endpoint,
            Cause::RepeatLimit { kind: subject.kind.into(), secret: subject.secret.label().clone(), max_repeats },
        );
        let _ = (subject, max_repeats);
    });
}

/// Logs and counts a JSON pointer, or the name of an unsigned header, of the configuration that finds no usable value
/// in a verified delivery. `option` names the option that sets it. Each fault of each part is logged once per receiver,
/// since some events may lack a part that others have. For a stored event, this was done when it arrived.
pub(crate) fn pointer_fault(
    verified: &Verified<'_>,
    part: PointedPart,
    option: &str,
    pointer: &str,
    fault: PointerFault,
) {
    if verified.is_stored() {
        return;
    }
    isolated(|| {
        let at = verified.endpoint();
        #[cfg(feature = "metrics")]
        meter::pointer_missing(at.name(), part.as_str());
        #[cfg(feature = "tracing")]
        if fault.is_first(part, &at.pointer_warnings) {
            let (endpoint, provider) = (&**at.name(), &**at.provider());
            let compared =
                if fault.is_of_header() { "name with the headers of a request" } else { "pointer with a body" };
            let result = match part {
                PointedPart::Id if verified.message_id().is_some() => {
                    "the signed webhook-id identifies the event instead"
                }
                PointedPart::Id => {
                    "the event has no id, so a retry of it may be handled again, unless it is recognized by its bytes"
                }
                PointedPart::Kind => "the kind of the event is unknown",
                PointedPart::Time if matches!(at.limits().freshness, Freshness::EventTime { .. }) => {
                    "the delivery is rejected (time_missing)"
                }
                PointedPart::Time => "the time of the event is unknown",
                PointedPart::Data => "the payload is the whole body",
            };
            tracing::warn!(
                endpoint,
                provider,
                pointer = part.as_str(),
                "{option} {pointer:?} found {fault} in a delivery: {result}; compare the {compared} that the \
                 provider sent; this is logged once"
            );
        }
        let _ = (&at.pointer_warnings, part, option, pointer, fault);
    });
}

/// Logs that the time of a verified event is a number in a finer unit than seconds.
#[cold]
pub(crate) fn event_time_unit(at: &EndpointFacts, unit: &'static str) {
    isolated(|| {
        #[cfg(feature = "tracing")]
        {
            let is_checked = matches!(at.limits().freshness, Freshness::EventTime { .. });
            limited(at, Cause::EventTimeUnit { unit, is_checked });
        }
        let _ = (at, unit);
    });
}

/// Logs and counts a verified delivery whose handler finished.
pub(crate) fn finished(subject: Subject<'_>, answered: Answered, watch: Stopwatch) {
    isolated(|| {
        let outcome = answered.outcome();
        count(subject.endpoint.name(), subject.endpoint.provider(), subject.kind, outcome, None);
        #[cfg(any(feature = "metrics", feature = "tracing"))]
        let took = watch.0.elapsed();
        let now = secret_used(subject);
        #[cfg(feature = "metrics")]
        {
            let endpoint = subject.endpoint.name();
            meter::finished(endpoint, took);
            if subject.repeats.is_some() {
                meter::possible_duplicate(endpoint);
            }
            if outcome == Outcome::Handled {
                meter::handled(endpoint, now);
            }
        }
        #[cfg(feature = "tracing")]
        {
            let (status, error) = match answered {
                Answered::Status(status) => (Some(status.as_u16()), None),
                Answered::Succeeded => (None, None),
                Answered::Failed => (None, Some("the handler failed without a status")),
            };
            macro_rules! line {
                ($level:ident) => {
                    tracing::$level!(
                        endpoint = &**subject.endpoint.name(),
                        provider = &**subject.endpoint.provider(),
                        kind = subject.kind,
                        event_key = %subject.event_key,
                        secret = &**subject.secret.label(),
                        outcome = outcome.as_str(),
                        status,
                        error,
                        repeats = subject.repeats,
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
        let _ = (subject, answered, watch, now);
    });
}

/// Records which secret verified a stored event, and whether its bytes had been delivered before. The attempts to
/// handle it do not, since they follow later and several times.
#[cfg(feature = "inbox")]
pub(crate) fn stored(subject: Subject<'_>) {
    isolated(|| {
        secret_used(subject);
        #[cfg(feature = "metrics")]
        if subject.repeats.is_some() {
            meter::possible_duplicate(subject.endpoint.name());
        }
    });
}

/// Records which secret verified an event. Returns the time.
fn secret_used(subject: Subject<'_>) -> i64 {
    let now = subject.endpoint.now();
    subject.secret.used(now);
    #[cfg(feature = "metrics")]
    meter::secret_used(subject.endpoint.name(), subject.secret.label(), now);
    now
}

/// Measures how long a handler takes. Reads no clock unless logs or metrics are enabled.
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

/// Logs and counts a payload that differs from the provider's documentation.
pub(crate) fn not_as_documented(subject: Subject<'_>, problem: Option<&Problem>, drifted: &[Box<str>]) {
    isolated(|| {
        #[cfg(feature = "metrics")]
        {
            let count = if problem.is_some() { meter::undecodable } else { meter::drifted };
            count(subject.endpoint.name(), subject.kind);
        }
        #[cfg(feature = "tracing")]
        {
            let (endpoint, kind) = (&**subject.endpoint.name(), subject.kind);
            match problem {
                Some(problem) => {
                    tracing::warn!(endpoint, kind, %problem, "a webhook event could not be decoded")
                }
                None => {
                    tracing::warn!(endpoint, kind, fields = ?drifted, "fields of a webhook event are not as documented")
                }
            }
        }
        let _ = (subject, problem, drifted);
    });
}

/// Logs and counts a claim that another delivery has taken over: the event may be handled twice.
pub(crate) fn claim_lost(subject: Subject<'_>) {
    isolated(|| {
        #[cfg(feature = "metrics")]
        meter::claim_lost(subject.endpoint.name());
        #[cfg(feature = "tracing")]
        tracing::warn!(
            endpoint = &**subject.endpoint.name(),
            event_key = %subject.event_key,
            "lost the claim of a webhook event; it may be handled twice"
        );
        let _ = subject;
    });
}

/// Logs and counts a delivery that is handled without a claim: the event may be handled twice.
pub(crate) fn unclaimed(subject: Subject<'_>, error: &StoreError) {
    isolated(|| {
        #[cfg(feature = "metrics")]
        {
            let reason = if error.is_full() { Reason::StoreFull } else { Reason::StoreUnavailable };
            meter::unclaimed(subject.endpoint.name(), reason);
        }
        #[cfg(feature = "tracing")]
        {
            let endpoint = &**subject.endpoint.name();
            tracing::warn!(
                endpoint,
                event_key = %subject.event_key,
                %error,
                "handling a webhook event without a claim"
            );
        }
        let _ = (subject, error);
    });
}

/// Logs that a destructor of the application panicked while a claim was held. The claim is settled regardless.
pub(crate) fn destructor_panicked(subject: Subject<'_>) {
    isolated(|| {
        #[cfg(feature = "tracing")]
        tracing::warn!(
            endpoint = &**subject.endpoint.name(),
            event_key = %subject.event_key,
            "a destructor of the handler or of the store panicked; the claim of the webhook event is settled regardless"
        );
        let _ = subject;
    });
}

/// Logs and counts a store operation that failed after the event was claimed.
pub(crate) fn settle_failed(subject: Subject<'_>, step: &'static str, error: &StoreError) {
    isolated(|| {
        #[cfg(feature = "metrics")]
        meter::settle_failed(subject.endpoint.name(), step);
        #[cfg(feature = "tracing")]
        {
            let endpoint = &**subject.endpoint.name();
            tracing::warn!(
                endpoint,
                event_key = %subject.event_key,
                step,
                %error,
                "store operation failed"
            );
        }
        let _ = (subject, step, error);
    });
}

/// Logs that a store could not purge expired events. It grows until a later purge succeeds.
#[cfg(feature = "postgres")]
pub(crate) fn purge_failed(error: &StoreError) {
    isolated(|| {
        #[cfg(feature = "tracing")]
        tracing::warn!(%error, "purging expired events failed; will retry");
        let _ = error;
    });
}

/// Logs that a file of a SQLite store was removed or replaced while the store had it open.
#[cfg(feature = "sqlite")]
pub(crate) fn store_files_lost(message: &str) {
    isolated(|| {
        #[cfg(feature = "tracing")]
        tracing::error!("SQLite store: {message}");
        let _ = message;
    });
}

/// Counts an event that a memory store forgot before its retention ended, to make room for another.
pub(crate) fn forgotten() {
    isolated(|| {
        #[cfg(feature = "metrics")]
        meter::forgotten();
    });
}

/// Logs that the store had not settled some claims when the receiver closed.
pub(crate) fn unsettled(at: &EndpointFacts, claims: usize) {
    isolated(|| {
        #[cfg(feature = "tracing")]
        {
            let endpoint = &**at.name();
            tracing::warn!(
                endpoint,
                claims,
                "claims not settled before the receiver closed: events that were handled may be handled again, and \
                 others can be claimed only after their leases expire"
            );
        }
        let _ = (at, claims);
    });
}

/// Records a genuine delivery: verified, of the endpoint's mode, and known to be no replay of an old one. Logs that it
/// ends a silence.
#[inline]
pub(crate) fn genuine(at: &EndpointFacts) {
    isolated(|| {
        let now = at.now();
        at.last_genuine.set(now);
        #[cfg(feature = "metrics")]
        meter::genuine(at.name(), now);
    });
    if let Some(length) = at.silence().and_then(Silence::record_genuine) {
        silence_ended(at, length);
    }
}

/// Records the delivery of a new event. If its age was not checked, only this shows that it is no replay. With
/// [`Freshness::EventTime`] the age may have been checked, and the delivery recorded, before: recording it again has no
/// effect.
#[inline]
pub(crate) fn new_event(at: &EndpointFacts) {
    if !matches!(at.limits().freshness, Freshness::AttemptTime { .. }) {
        genuine(at);
    }
}

/// Returns whether a verified delivery that was rejected for this reason may be a replay of an old one.
fn is_perhaps_replayed(at: &EndpointFacts, reason: Reason) -> bool {
    let unhandled =
        [Reason::Duplicate, Reason::RepeatLimit, Reason::StoreUnavailable, Reason::StoreFull, Reason::TooBusy];
    at.limits().freshness == Freshness::Unchecked && unhandled.contains(&reason)
}

/// Records that the endpoint is watched for silence.
pub(crate) fn watched(at: &EndpointFacts) {
    #[cfg(feature = "metrics")]
    if let Some(expect_every) = at.limits().expect_every {
        isolated(|| meter::watched(at.name(), at.provider(), expect_every));
    }
    let _ = at;
}

/// Logs and counts that no genuine delivery has arrived for a multiple of `expect_every`.
pub(crate) fn silent(at: &EndpointFacts, silent: &Silent) {
    isolated(|| {
        #[cfg(feature = "metrics")]
        meter::silent(at.name(), at.provider());
        #[cfg(feature = "tracing")]
        {
            let (endpoint, provider, rejected) = (&**at.name(), &**at.provider(), silent.rejected);
            let last = silent.last.and_then(|ago| {
                let seconds = at.now().saturating_sub_unsigned(ago.as_secs());
                jiff::Timestamp::from_second(seconds).ok().map(|time| time.to_string())
            });
            let last_one =
                last.as_deref().map_or("none since the start".to_owned(), |last| format!("the last at {last}"));
            let length = length(silent.length);
            let next = after_silence(silent.mostly);
            let since = match silent.mostly {
                Some(reason) => format!("{rejected} rejected since, mostly {reason}"),
                None => "none rejected since".to_owned(),
            };
            tracing::warn!(
                target: SILENCE,
                endpoint,
                provider,
                silent_seconds = silent.length.as_secs(),
                last,
                rejected,
                mostly = silent.mostly.map(Reason::as_str),
                "no genuine webhook delivery for {length} ({last_one}; {since}); {next}"
            );
        }
        let _ = (at, silent);
    });
}

/// Logs that a genuine delivery ended a silence that was logged before.
#[cold]
pub(crate) fn silence_ended(at: &EndpointFacts, lasted: Duration) {
    isolated(|| {
        #[cfg(feature = "tracing")]
        {
            let (endpoint, provider) = (&**at.name(), &**at.provider());
            let (seconds, lasted) = (lasted.as_secs(), length(Duration::from_secs(lasted.as_secs())));
            tracing::info!(
                target: SILENCE,
                endpoint,
                provider,
                silent_seconds = seconds,
                "genuine webhook deliveries arrive again after {lasted}; check what was missed"
            );
        }
        let _ = (at, lasted);
    });
}

/// The target of lines about silences, so that a filter can let them through without those about each delivery.
#[cfg(feature = "tracing")]
const SILENCE: &str = "medhook::silence";

/// Returns the step that most likely finds the cause of a silence.
#[cfg(feature = "tracing")]
fn after_silence(mostly: Option<Reason>) -> &'static str {
    use Reason::{
        Duplicate, InTheFuture, MalformedHeader, MissingHeader, RepeatLimit, RepeatedHeader, SecretModeMismatch,
        SignatureMismatch, Stale, StoreFull, StoreUnavailable, TimeMissing, TooBusy, WrongMode,
    };
    match mostly {
        None => {
            "requests may not reach this receiver: check at the provider whether the webhook is enabled and what was \
             sent, then DNS, the TLS certificate and the proxy of its URL"
        }
        Some(MissingHeader | RepeatedHeader | MalformedHeader | SignatureMismatch) => {
            "find out at the provider whether these are its requests; if so, compare the secret and \
             the header, and run `medhook verify` on a recorded request; if not, check DNS, the TLS certificate and \
             the proxy of its URL"
        }
        Some(Stale | InTheFuture | TimeMissing) => {
            "check the clock of this machine, and at the provider what was sent, because old deliveries may be \
             replays"
        }
        Some(Duplicate | RepeatLimit) => {
            "only known events arrive, perhaps replays: check at the provider whether the webhook is enabled and what was \
             sent"
        }
        Some(WrongMode | SecretModeMismatch) => "check that each secret is configured with its own mode",
        Some(StoreUnavailable | StoreFull | TooBusy) => "check the store and the load of this receiver",
        Some(_) => "check at the provider the URL and what was sent, and the proxy in front of this receiver",
    }
}

/// Returns a duration in its largest whole unit, such as `24h`.
#[cfg(feature = "tracing")]
fn length(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds % 3600, seconds % 60) {
        (0, _) => format!("{}h", seconds / 3600),
        (_, 0) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

/// Describes the metrics to the application's recorder, if it is installed before the receiver is built.
pub(crate) fn built() {
    #[cfg(feature = "metrics")]
    isolated(meter::describe);
}

/// Logs the configuration warnings of a receiver.
pub(crate) fn warnings(warnings: &[String]) {
    isolated(|| {
        #[cfg(feature = "tracing")]
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        let _ = warnings;
    });
}

/// Logs and counts that an endpoint has new secrets.
pub(crate) fn secrets_replaced(new: &Generation) {
    isolated(|| {
        let endpoint = &**new.endpoint.name();
        #[cfg(feature = "metrics")]
        meter::secrets_replaced(endpoint);
        #[cfg(feature = "tracing")]
        {
            let secrets = new.scheme.labels().map(|label| &**label).collect::<Vec<_>>().join(", ");
            tracing::info!(target: SECRETS, endpoint, secrets, "webhook secrets replaced");
        }
        let _ = endpoint;
    });
}

/// The target of lines about replaced secrets, so that a filter can let them through without those about each delivery.
#[cfg(feature = "tracing")]
const SECRETS: &str = "medhook::secrets";

/// Logs that a shutdown was requested. New deliveries are still handled until the delay is over.
#[cfg(feature = "shutdown")]
pub(crate) fn shutdown_requested() {
    isolated(|| {
        #[cfg(feature = "tracing")]
        tracing::info!("shutdown requested");
    });
}

/// Logs that the receivers are draining. New deliveries are answered with 503 from now on.
#[cfg(feature = "shutdown")]
pub(crate) fn draining(receivers: usize, within: std::time::Duration) {
    isolated(|| {
        #[cfg(feature = "tracing")]
        tracing::info!(receivers, within = within.as_secs_f64(), "draining webhook receivers");
        let _ = (receivers, within);
    });
}

/// Logs that all receivers are drained.
#[cfg(feature = "shutdown")]
pub(crate) fn drained(canceled: usize) {
    isolated(|| {
        #[cfg(feature = "tracing")]
        if canceled == 0 {
            tracing::info!(canceled, "webhook receivers drained");
        } else {
            tracing::warn!(canceled, "webhook receivers drained; handlers were canceled and their claims released");
        }
        let _ = canceled;
    });
}

/// Logs that the server did not stop by the deadline and that its future is dropped.
#[cfg(feature = "shutdown")]
pub(crate) fn server_dropped() {
    isolated(|| {
        #[cfg(feature = "tracing")]
        tracing::warn!("the server did not stop by the deadline and is dropped");
    });
}

fn count(endpoint: &str, provider: &str, kind: &str, outcome: Outcome, reason: Option<Reason>) {
    #[cfg(feature = "metrics")]
    meter::delivery(endpoint, provider, kind, outcome, reason);
    let _ = (endpoint, provider, kind, outcome, reason);
}

#[cfg(feature = "tracing")]
pub(crate) use tracing::Span;
#[cfg(not(feature = "tracing"))]
pub(crate) type Span = ();

/// Returns the span in which the delivery arrived, for the task that handles it.
pub(crate) fn current_span() -> Span {
    #[cfg(feature = "tracing")]
    return Span::current();
}

/// Runs `work` in a span. Panics of the application's subscriber are ignored.
#[inline]
pub(crate) fn within<T>(span: &Span, work: impl FnOnce() -> T) -> T {
    #[cfg(feature = "tracing")]
    let entered = caught(|| span.enter());
    let done = work();
    #[cfg(feature = "tracing")]
    discard(entered);
    let _ = span;
    done
}
