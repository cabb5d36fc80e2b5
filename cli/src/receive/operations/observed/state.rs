//! The values that the page renders. None of them contains a body, an event id, a header value or a secret.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use medhook::EventKey;
use medhook::inbox::{AuditEntry, EndpointCounts, Entry, Hold, Status};

/// The state of the receiver.
pub(in crate::receive) struct Overview {
    pub(in crate::receive) now: SystemTime,
    /// The start of this process. Deliveries and charts go back to it at most.
    pub(in crate::receive) started: SystemTime,
    /// The reason why /readyz is 503, if it is.
    pub(in crate::receive) not_ready: Option<&'static str>,
    /// The URL of the store, without a password.
    pub(in crate::receive) store: String,
    pub(in crate::receive) is_store_up: bool,
    pub(in crate::receive) connections: usize,
    pub(in crate::receive) max_connections: usize,
    /// `None` if no endpoint has an inbox.
    pub(in crate::receive) inbox: Option<InboxState>,
    pub(in crate::receive) endpoints: Vec<EndpointState>,
    /// All endpoints together.
    pub(in crate::receive) history: History,
    /// The deliveries that were rejected or failed, and the attempts that failed, newest first, at most 10.
    pub(in crate::receive) problems: Vec<Recent>,
}

/// The inbox as it was at its last sample.
pub(in crate::receive) struct InboxState {
    /// `None` before the first sample.
    pub(in crate::receive) sampled: Option<SystemTime>,
    /// Whether the last sample failed, so that the numbers are older.
    pub(in crate::receive) is_failing: bool,
    pub(in crate::receive) hold: Hold,
    /// The form in which bodies are stored, in words.
    pub(in crate::receive) bodies: String,
    /// Events of endpoints that this receiver does not have.
    pub(in crate::receive) others: Vec<EndpointCounts>,
}

/// The state of an endpoint.
pub(in crate::receive) struct EndpointState {
    pub(in crate::receive) name: String,
    pub(in crate::receive) path: String,
    pub(in crate::receive) provider: String,
    pub(in crate::receive) has_inbox: bool,
    /// The counts of the last sample. `None` without an inbox, and before the first sample.
    pub(in crate::receive) inbox: Option<EndpointCounts>,
    /// `None` if events are written to standard output.
    pub(in crate::receive) application: Option<ApplicationState>,
    pub(in crate::receive) last_genuine: Option<SystemTime>,
    pub(in crate::receive) expect_every: Option<Duration>,
    pub(in crate::receive) secrets: Vec<SecretState>,
    pub(in crate::receive) history: History,
}

/// The application of an endpoint.
pub(in crate::receive) struct ApplicationState {
    /// Its URL as `--check` shows it.
    pub(in crate::receive) target: String,
    /// Whether the worker has found it unreachable, so that single events probe it. False without an inbox.
    pub(in crate::receive) is_breaker_open: bool,
    /// The last answer of it, or why there was none: the `upstream` of the report.
    pub(in crate::receive) last_answer: Option<(SystemTime, String)>,
    /// Whether the last event that it got failed.
    pub(in crate::receive) is_failing: bool,
}

/// A secret that verifies deliveries.
pub(in crate::receive) struct SecretState {
    pub(in crate::receive) label: String,
    pub(in crate::receive) is_test: bool,
    /// Since the start of this process.
    pub(in crate::receive) last_used: Option<SystemTime>,
}

/// Numbers over time, oldest first. The last point is not yet complete.
pub(in crate::receive) struct History {
    pub(in crate::receive) step: Duration,
    pub(in crate::receive) points: Vec<Point>,
}

/// The numbers of one step.
#[derive(Debug, Clone, Default)]
pub(in crate::receive) struct Point {
    /// Deliveries that were handled or stored.
    pub(in crate::receive) accepted: u64,
    /// Duplicates and other deliveries that were answered without being handled or stored again.
    pub(in crate::receive) repeated: u64,
    pub(in crate::receive) rejected: u64,
    /// Deliveries that were answered 5xx, and attempts that failed.
    pub(in crate::receive) failed: u64,
    /// The median and the 95th percentile of the time from a verified delivery to its answer. Bounds of a bucket, as in
    /// /metrics. `None` if there was none.
    pub(in crate::receive) latency: Option<(Duration, Duration)>,
    /// Waiting and processing events at the end of the step. `None` without a sample.
    pub(in crate::receive) backlog: Option<u64>,
    pub(in crate::receive) dead: Option<u64>,
}

/// A delivery, an attempt at a stored event, or a number of deliveries that were rejected for the same cause.
#[derive(Debug, Clone)]
pub(in crate::receive) struct Recent {
    pub(in crate::receive) time: SystemTime,
    pub(in crate::receive) endpoint: Arc<str>,
    /// The outcome, as in the report.
    pub(in crate::receive) outcome: &'static str,
    pub(in crate::receive) reason: Option<String>,
    /// The header that is wrong, and what is wrong with it.
    pub(in crate::receive) header: Option<(String, &'static str)>,
    /// The step that an operator should take, in words.
    pub(in crate::receive) next_step: Option<String>,
    /// The status of the answer. `None` for an attempt.
    pub(in crate::receive) status: Option<u16>,
    /// Known if the delivery was verified.
    pub(in crate::receive) kind: Option<String>,
    pub(in crate::receive) event_key: Option<EventKey>,
    pub(in crate::receive) secret: Option<String>,
    /// More than 1 for deliveries that are reported together.
    pub(in crate::receive) count: u64,
    pub(in crate::receive) attempt: Option<RecentAttempt>,
    pub(in crate::receive) upstream: Option<String>,
}

/// The part of an attempt.
#[derive(Debug, Clone)]
pub(in crate::receive) struct RecentAttempt {
    /// The id of the event in the inbox.
    pub(in crate::receive) id: i64,
    pub(in crate::receive) number: u32,
    pub(in crate::receive) is_replay: bool,
    pub(in crate::receive) due: Option<SystemTime>,
}

/// A page of events.
pub(in crate::receive) struct EventsState {
    pub(in crate::receive) now: SystemTime,
    pub(in crate::receive) hold: Hold,
    pub(in crate::receive) paused: Vec<String>,
    /// The endpoints with an inbox, for the filter.
    pub(in crate::receive) endpoints: Vec<String>,
    /// Unfinished and dead events by endpoint, status and kind.
    pub(in crate::receive) kinds: Vec<KindState>,
    /// Whether `kinds` counts all of them.
    pub(in crate::receive) is_complete: bool,
    pub(in crate::receive) page: Vec<Entry>,
    /// The id to continue from, if there are more.
    pub(in crate::receive) next: Option<i64>,
}

/// The number of events with an endpoint, a status and a kind.
pub(in crate::receive) struct KindState {
    pub(in crate::receive) endpoint: String,
    pub(in crate::receive) status: Status,
    pub(in crate::receive) kind: String,
    pub(in crate::receive) count: u64,
}

/// An event, and what has happened to it.
pub(in crate::receive) struct EventState {
    pub(in crate::receive) now: SystemTime,
    pub(in crate::receive) entry: Entry,
    pub(in crate::receive) hold: Hold,
    pub(in crate::receive) is_paused: bool,
    /// The attempts of this process that are still known, oldest first.
    pub(in crate::receive) attempts: Vec<Recent>,
    /// The acts of operators, oldest first.
    pub(in crate::receive) audit: Vec<AuditEntry>,
}
