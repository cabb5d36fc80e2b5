//! The facts of a report as the operator's page shows them.

use std::sync::Arc;
use std::time::SystemTime;

use medhook::inbox::Status;
use medhook::{Delivery, Outcome};

use super::{DeliveryReport, LONGEST_KIND, ReportedAttempt, ReportedOutcome, cut};
use crate::receive::forward::ForwardAnswer;
use crate::receive::operations::observed::state::{Recent, RecentAttempt};
use crate::words::advice_on;

impl DeliveryReport<'_> {
    /// Returns whether the facts are those of a verified event. All others can be caused by any client.
    pub(in crate::receive) fn is_verified(&self) -> bool {
        self.delivery.is_some() || self.result.secret().is_some() || self.result.attempt().is_some()
    }

    /// Returns whether it is about one delivery or attempt, not about several that are reported together.
    pub(in crate::receive) fn is_one(&self) -> bool {
        !matches!(self.result, ReportedOutcome::Counted(..))
    }

    /// Returns the facts for the operator's page, which has no event ids.
    pub(in crate::receive) fn recent(&self, endpoint: Arc<str>) -> Recent {
        let result = &self.result;
        let (delivery, attempt, cause) = (self.delivery, result.attempt(), result.cause());
        let kind = delivery.and_then(Delivery::kind).or(result.kind());
        let header = cause.and_then(|cause| cause.header.as_ref()?.as_str().to_owned().into());
        Recent {
            time: self.time.into(),
            endpoint,
            outcome: result.outcome(),
            reason: result.reason().map(str::to_owned),
            header: header.zip(cause.and_then(|cause| cause.detail)),
            next_step: self.next_step().map(str::to_owned),
            status: result.status(),
            kind: kind.map(|kind| cut(kind, LONGEST_KIND)),
            event_key: delivery.map(Delivery::event_key).or(attempt.and_then(|attempt| attempt.event_key)),
            secret: delivery.map(Delivery::secret_label).or(result.secret()).map(str::to_owned),
            count: result.count().unwrap_or(1),
            attempt: attempt.map(ReportedAttempt::recent),
            upstream: self.upstream.as_ref().map(ForwardAnswer::to_string),
        }
    }

    /// Returns the step that an operator should take. `None` if none is needed.
    fn next_step(&self) -> Option<&'static str> {
        match &self.result {
            ReportedOutcome::Answered(status) if status.is_success() => None,
            ReportedOutcome::Answered(_) => Some(match &self.upstream {
                Some(answer) => answer.next_step(),
                None => "check what reads standard output; the provider should retry",
            }),
            ReportedOutcome::Rejected { cause, .. } | ReportedOutcome::Counted(cause, _) => {
                let is_problem = matches!(cause.outcome, Outcome::Rejected | Outcome::Failed);
                is_problem.then_some(cause.next_step)
            }
            ReportedOutcome::Attempted(attempt) => {
                let status = match attempt.outcome {
                    "dead" => Status::Dead,
                    "retry" => Status::Waiting,
                    _ => return None,
                };
                advice_on(status, attempt.reason.as_deref())
                    .or(Some("see the log of the application; the event is attempted again by itself"))
            }
        }
    }
}

impl ReportedAttempt {
    fn recent(&self) -> RecentAttempt {
        // The event is due at once, but is attempted when the breaker lets it.
        let is_unreachable = self.reason.as_deref() == Some("unreachable");
        RecentAttempt {
            id: self.id,
            number: self.number,
            is_replay: self.is_replay,
            due: self.due.filter(|_| !is_unreachable).map(SystemTime::from),
        }
    }
}
