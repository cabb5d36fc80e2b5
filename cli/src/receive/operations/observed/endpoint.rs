//! The observations at an endpoint.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use medhook::inbox::EndpointCounts;
use medhook::{Receiver, WorkerStatus};
use tokio::time::Instant;

use super::history::{CountedResult, Series, history};
use super::recent::Recents;
use super::state::{ApplicationState, EndpointState, SecretState};
use crate::receive::report::DeliveryReport;

/// The observations at an endpoint.
pub(in crate::receive) struct ObservedEndpoint {
    name: Arc<str>,
    path: String,
    /// The URL of the application. `None` if events are written to standard output.
    target: Option<String>,
    expect_every: Option<Duration>,
    receiver: Receiver,
    has_inbox: bool,
    /// Set if the endpoint has a worker.
    worker: OnceLock<WorkerStatus>,
    last_answer: Mutex<Option<ApplicationResult>>,
    recents: Arc<Recents>,
    series: Series,
}

/// The last answer of the application.
struct ApplicationResult {
    time: SystemTime,
    answer: String,
    is_failure: bool,
}

/// The facts about an endpoint that do not change.
pub(in crate::receive) struct EndpointFacts {
    pub(in crate::receive) path: String,
    pub(in crate::receive) target: Option<String>,
    pub(in crate::receive) expect_every: Option<Duration>,
    pub(in crate::receive) has_inbox: bool,
}

impl ObservedEndpoint {
    pub(super) fn new(receiver: Receiver, facts: EndpointFacts, recents: Arc<Recents>, started: Instant) -> Self {
        let EndpointFacts { path, target, expect_every, has_inbox } = facts;
        ObservedEndpoint {
            name: receiver.name().into(),
            path,
            target,
            expect_every,
            receiver,
            has_inbox,
            worker: OnceLock::new(),
            last_answer: Mutex::default(),
            recents,
            series: Series::new(started),
        }
    }

    /// Adds the worker of the endpoint.
    pub(in crate::receive) fn add_worker(&self, worker: WorkerStatus) {
        self.worker.get_or_init(|| worker);
    }

    /// Records what a line reports.
    pub(in crate::receive) fn reported(&self, report: &DeliveryReport<'_>) {
        let recent = report.recent(self.name.clone());
        // Deliveries that are reported together have been counted one by one.
        if report.is_one() {
            let is_trouble = recent.status.is_some_and(|status| status >= 500);
            match recent.outcome {
                "handled" | "stored" => self.series.count(CountedResult::Accepted, 1),
                "duplicate" | "ignored" | "in_flight" => self.series.count(CountedResult::Repeated, 1),
                "rejected" if !is_trouble => self.series.count(CountedResult::Rejected, 1),
                "rejected" | "failed" | "retry" | "dead" => self.series.count(CountedResult::Failed, 1),
                // An attempt that succeeded: the delivery has been counted when it was stored.
                _ => {}
            }
        }
        let timed_out = recent.reason.as_deref().filter(|reason| *reason == TIMED_OUT);
        if let Some(answer) = recent.upstream.as_deref().or(timed_out).filter(|_| self.target.is_some()) {
            let result = ApplicationResult {
                time: recent.time,
                answer: answer.to_owned(),
                is_failure: !matches!(recent.outcome, "handled" | "done"),
            };
            *self.last_answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        }
        self.recents.push(recent, report.is_verified());
    }

    /// Counts a delivery that was rejected, and that will be reported together with others.
    pub(in crate::receive) fn rejected(&self) {
        self.series.count(CountedResult::Rejected, 1);
    }

    /// Records the time in which a verified delivery was answered.
    pub(in crate::receive) fn answered_within(&self, time: Duration) {
        self.series.answered_within(time);
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn has_inbox(&self) -> bool {
        self.has_inbox
    }

    pub(super) fn series(&self) -> &Series {
        &self.series
    }

    /// Returns the state of the endpoint. `counts` is from the last sample of the inbox.
    pub(super) fn state(&self, started: Instant, counts: Option<EndpointCounts>) -> EndpointState {
        let activity = self.receiver.activity();
        let secrets = activity.secrets.into_iter().map(|secret| SecretState {
            label: secret.label,
            is_test: secret.is_test,
            last_used: secret.last_used,
        });
        let application = self.target.clone().map(|target| {
            let last = self.last_answer.lock().unwrap_or_else(PoisonError::into_inner);
            ApplicationState {
                target,
                is_breaker_open: self.worker.get().is_some_and(WorkerStatus::is_breaker_open),
                last_answer: last.as_ref().map(|last| (last.time, last.answer.clone())),
                is_failing: last.as_ref().is_some_and(|last| last.is_failure),
            }
        });
        EndpointState {
            name: self.name.to_string(),
            path: self.path.clone(),
            provider: self.receiver.provider().to_owned(),
            has_inbox: self.has_inbox,
            inbox: counts,
            application,
            last_genuine: activity.last_genuine,
            expect_every: self.expect_every,
            secrets: secrets.collect(),
            history: history(started, [&self.series]),
        }
    }
}

/// The reason of a delivery or an attempt whose application did not answer in time. There is then no answer of it.
const TIMED_OUT: &str = "handler_timeout";
