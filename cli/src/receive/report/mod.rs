//! Formats one line for each delivery, and for each attempt at a stored event. It only includes values chosen by the
//! sender if the delivery was verified, and truncates and escapes them.

mod recent;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use base16ct::HexDisplay;
use http::{HeaderName, StatusCode};
use jiff::Timestamp;
use medhook::registry::Decoding;
use medhook::{AttemptOutcome, AttemptReport, Delivery, EventKey, IdFrom, Outcome, Reason, Rejection};
use serde::Serialize;

use super::addresses::ADDRESS_NOT_ALLOWED;
use super::forward::ForwardAnswer;

/// The facts about a delivery, or an attempt, that its line reports.
pub(super) struct DeliveryReport<'r> {
    pub(super) time: Timestamp,
    pub(super) endpoint: &'r str,
    pub(super) path: &'r str,
    pub(super) provider: &'r str,
    pub(super) result: ReportedOutcome,
    /// `None` if the delivery is unverified, or was rejected before it was opened.
    pub(super) delivery: Option<&'r Delivery>,
    /// The result of decoding the event, if it was delivered to the handler.
    pub(super) decoding: Option<Decoding>,
    /// The answer of the application, if there is one.
    pub(super) upstream: Option<ForwardAnswer>,
}

/// The outcome of a delivery, or of several that are reported together.
#[derive(Debug, Clone)]
pub(super) enum ReportedOutcome {
    /// The handler answered with this status.
    Answered(StatusCode),
    /// The delivery was rejected. Its kind and the label of the secret that verified it are included if known.
    Rejected { cause: RejectionCause, status: StatusCode, kind: Option<String>, secret: Option<String> },
    /// An attempt to handle a stored event ended.
    Attempted(ReportedAttempt),
    /// This many more deliveries were rejected with a cause, without their own lines.
    Counted(RejectionCause, u64),
}

/// An attempt to handle a stored event.
#[derive(Debug, Clone)]
pub(super) struct ReportedAttempt {
    outcome: &'static str,
    reason: Option<String>,
    /// The number of the event in its inbox.
    id: i64,
    number: u32,
    is_replay: bool,
    stored_at: Timestamp,
    /// The next attempt.
    due: Option<Timestamp>,
    /// The kind and the key, for an event that no handler got.
    kind: Option<String>,
    event_key: Option<EventKey>,
}

impl ReportedAttempt {
    /// Returns what is reported about an attempt that ended at this time. Returns `None` if its result was not
    /// recorded, because the event is then attempted again.
    pub(super) fn new(report: &AttemptReport<'_>, now: Timestamp) -> Option<Self> {
        let (outcome, reason, wait) = match report.outcome {
            AttemptOutcome::Done => ("done", None, None),
            AttemptOutcome::Retry { reason, wait } => ("retry", Some(reason), Some(wait)),
            AttemptOutcome::Dead { reason } => ("dead", Some(reason), None),
            _ => return None,
        };
        Some(ReportedAttempt {
            outcome,
            reason: reason.map(str::to_owned),
            id: report.id,
            number: report.attempt,
            is_replay: report.is_replay,
            stored_at: Timestamp::try_from(report.stored_at).unwrap_or_default(),
            due: wait.map(|wait| now.saturating_add(wait).unwrap_or(Timestamp::MAX)),
            kind: Some(report.kind).filter(|kind| *kind != "unknown").map(str::to_owned),
            event_key: report.event_key,
        })
    }
}

/// The cause of a rejection: its reason, and what is wrong with which header.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct RejectionCause {
    /// The code of a [`Reason`], or [`ADDRESS_NOT_ALLOWED`].
    reason: &'static str,
    outcome: Outcome,
    status: StatusCode,
    header: Option<HeaderName>,
    detail: Option<&'static str>,
    next_step: &'static str,
}

impl RejectionCause {
    pub(super) fn of(rejection: &Rejection) -> Self {
        let header = rejection.header_name().cloned();
        RejectionCause {
            header,
            detail: rejection.detail(),
            next_step: rejection.next_step(),
            ..RejectionCause::from(rejection.reason())
        }
    }

    /// Returns the cause of a rejection because of `allow_from`.
    pub(super) fn address() -> Self {
        let (outcome, status) = (Outcome::Rejected, StatusCode::FORBIDDEN);
        let next_step = "if the provider sent them, add its networks to `allow_from`";
        RejectionCause { reason: ADDRESS_NOT_ALLOWED, outcome, status, header: None, detail: None, next_step }
    }
}

impl From<Reason> for RejectionCause {
    fn from(reason: Reason) -> Self {
        let (outcome, status) = (reason.outcome(), reason.status());
        let next_step = reason.next_step();
        RejectionCause { reason: reason.as_str(), outcome, status, header: None, detail: None, next_step }
    }
}

impl ReportedOutcome {
    pub(super) fn rejected(rejection: &Rejection) -> Self {
        let kind = Some(rejection.kind_label()).filter(|kind| *kind != "unknown");
        let secret = rejection.secret_label().map(str::to_owned);
        let cause = RejectionCause::of(rejection);
        ReportedOutcome::Rejected { cause, status: rejection.status(), kind: kind.map(str::to_owned), secret }
    }

    fn outcome(&self) -> &'static str {
        match self {
            ReportedOutcome::Answered(status) if status.is_success() => Outcome::Handled.as_str(),
            ReportedOutcome::Answered(_) => Outcome::Failed.as_str(),
            ReportedOutcome::Rejected { cause, .. } | ReportedOutcome::Counted(cause, _) => cause.outcome.as_str(),
            ReportedOutcome::Attempted(attempt) => attempt.outcome,
        }
    }

    fn cause(&self) -> Option<&RejectionCause> {
        match self {
            ReportedOutcome::Answered(_) | ReportedOutcome::Attempted(_) => None,
            ReportedOutcome::Rejected { cause, .. } | ReportedOutcome::Counted(cause, _) => Some(cause),
        }
    }

    fn reason(&self) -> Option<&str> {
        match self {
            ReportedOutcome::Attempted(attempt) => attempt.reason.as_deref(),
            _ => self.cause().map(|cause| cause.reason),
        }
    }

    fn attempt(&self) -> Option<&ReportedAttempt> {
        match self {
            ReportedOutcome::Attempted(attempt) => Some(attempt),
            _ => None,
        }
    }

    /// Returns the status of the answer to the sender; `None` for an attempt, for which no sender waits.
    fn status(&self) -> Option<u16> {
        let status = match self {
            ReportedOutcome::Answered(status) | ReportedOutcome::Rejected { status, .. } => *status,
            ReportedOutcome::Counted(cause, _) => cause.status,
            ReportedOutcome::Attempted(_) => return None,
        };
        Some(status.as_u16())
    }

    fn kind(&self) -> Option<&str> {
        match self {
            ReportedOutcome::Answered(_) | ReportedOutcome::Counted(..) => None,
            ReportedOutcome::Rejected { kind, .. } => kind.as_deref(),
            ReportedOutcome::Attempted(attempt) => attempt.kind.as_deref(),
        }
    }

    fn secret(&self) -> Option<&str> {
        match self {
            ReportedOutcome::Rejected { secret, .. } => secret.as_deref(),
            _ => None,
        }
    }

    fn count(&self) -> Option<u64> {
        match self {
            ReportedOutcome::Counted(_, count) => Some(*count),
            _ => None,
        }
    }
}

/// The format of lines.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) json: bool,
    /// Whether event ids are included, which can identify patients.
    pub(super) ids: bool,
    /// The length of the longest endpoint name, which aligns the columns of text lines.
    pub(super) widest: usize,
}

impl Style {
    /// Returns the line for a report, with its line break.
    pub(super) fn line(self, report: &DeliveryReport<'_>) -> String {
        let mut line = if self.json { self.as_json(report) } else { self.as_text(report) };
        line.push('\n');
        line
    }

    fn as_json(self, report: &DeliveryReport<'_>) -> String {
        let delivery = report.delivery;
        let kind = delivery.and_then(Delivery::kind);
        let (cause, attempt) = (report.result.cause(), report.result.attempt());
        let event_key = delivery.map(Delivery::event_key).or(attempt.and_then(|attempt| attempt.event_key));
        let fields = Fields {
            time: shown(report.time),
            endpoint: report.endpoint,
            path: report.path,
            provider: report.provider,
            outcome: report.result.outcome(),
            reason: report.result.reason(),
            header: cause.and_then(|cause| cause.header.as_ref()).map(HeaderName::as_str),
            detail: cause.and_then(|cause| cause.detail),
            kind: kind.or(report.result.kind()).map(|kind| cut(kind, LONGEST_KIND)),
            unknown: report.decoding.map(|decoding| decoding == Decoding::Unknown),
            undecodable: report.decoding.map(|decoding| decoding == Decoding::Undecodable),
            event_key: event_key.map(|key| format!("{:x}", HexDisplay(key.as_bytes()))),
            id_from: delivery.map(|delivery| id_from(delivery.id_from())),
            secret: delivery.map(Delivery::secret_label).or(report.result.secret()),
            status: report.result.status(),
            count: report.result.count(),
            id: attempt.map(|attempt| attempt.id),
            attempt: attempt.map(|attempt| attempt.number),
            replay: attempt.map(|attempt| attempt.is_replay),
            stored_at: attempt.map(|attempt| shown(attempt.stored_at)),
            due: attempt.and_then(|attempt| attempt.due).map(shown),
            upstream: report.upstream.as_ref().map(|answer| answer.to_string()),
            possible_duplicate: delivery.and_then(Delivery::possible_duplicate).map(|duplicate| {
                PossibleDuplicateField { first_seen: duplicate.first_seen.unix(), count: duplicate.count }
            }),
            event_id: self.ids.then(|| delivery.and_then(Delivery::id).map(|id| cut(id, LONGEST_ID))),
        };
        // Strings, numbers and booleans always serialize.
        let json = serde_json::to_string(&fields).unwrap_or_default();
        in_ascii(&json)
    }

    fn as_text(self, report: &DeliveryReport<'_>) -> String {
        let result = &report.result;
        let status = result.status().map_or_else(|| "-".to_owned(), |status| status.to_string());
        let (outcome, endpoint, width) = (result.outcome(), report.endpoint, self.widest);
        let time = report.time;
        let mut line = format!("{time:.3}  {outcome:<9}  {status:<3}  {endpoint:<width$}");
        // Writing to a string never fails.
        if let Some(reason) = result.reason().filter(|reason| *reason != outcome) {
            let _ = write!(line, "  {reason}");
        }
        match result.cause() {
            Some(RejectionCause { header: Some(header), detail: Some(detail), .. }) => {
                let _ = write!(line, "  ({header}: {detail})");
            }
            Some(RejectionCause { detail: Some(detail), .. }) => {
                let _ = write!(line, "  ({detail})");
            }
            _ => {}
        }
        if let Some(count) = result.count() {
            let _ = write!(line, "  {count} more");
        }
        let kind = report.delivery.and_then(Delivery::kind);
        if let Some(kind) = kind.or(result.kind()) {
            let _ = write!(line, "  {}", cut(kind, LONGEST_KIND).escape_debug());
        }
        match report.decoding {
            Some(Decoding::Unknown) => line.push_str("  (unknown kind)"),
            Some(Decoding::Undecodable) => line.push_str("  (undecodable)"),
            _ => {}
        }
        if let Some(duplicate) = report.delivery.and_then(Delivery::possible_duplicate) {
            let _ = write!(line, "  (possible duplicate of {})", duplicate.count);
        }
        if let Some(attempt) = result.attempt() {
            let _ = write!(line, "  inbox id {}  attempt {}", attempt.id, attempt.number);
            if attempt.is_replay {
                line.push_str("  (replay)");
            }
            if let Some(due) = attempt.due {
                let _ = write!(line, "  next at {due:.3}");
            }
            if let (None, Some(key)) = (report.delivery, attempt.event_key) {
                let _ = write!(line, "  event {key}");
            }
        }
        if let Some(delivery) = report.delivery {
            let _ = write!(line, "  event {}", delivery.event_key());
            if let Some(id) = delivery.id().filter(|_| self.ids) {
                let _ = write!(line, "  id {}", cut(id, LONGEST_ID).escape_debug());
            }
        }
        if let Some(secret) = report.delivery.map(Delivery::secret_label).or(result.secret()) {
            let _ = write!(line, "  by {}", secret.escape_debug());
        }
        if let Some(answer) = &report.upstream {
            let _ = write!(line, "  upstream {answer}");
        }
        line
    }
}

/// The fields of a JSON line, in their order.
#[derive(Serialize)]
struct Fields<'f> {
    time: String,
    endpoint: &'f str,
    path: &'f str,
    provider: &'f str,
    outcome: &'static str,
    reason: Option<&'f str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<&'f str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'static str>,
    kind: Option<String>,
    unknown: Option<bool>,
    undecodable: Option<bool>,
    event_key: Option<String>,
    id_from: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'f str>,
    /// `null` for an attempt.
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replay: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stored_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    due: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<String>,
    possible_duplicate: Option<PossibleDuplicateField>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<Option<String>>,
}

#[derive(Serialize)]
struct PossibleDuplicateField {
    /// In Unix seconds.
    first_seen: Option<i64>,
    count: u64,
}

/// Formats a time in UTC, with milliseconds.
fn shown(time: Timestamp) -> String {
    format!("{time:.3}")
}

/// Returns the value for what identifies an event, in the words of the config file.
fn id_from(source: IdFrom) -> &'static str {
    match source {
        IdFrom::Body => "body",
        IdFrom::Header => "header",
        IdFrom::Own => "natural",
        IdFrom::Bytes => "bytes",
        _ => "none",
    }
}

/// The limits of values from the sender, in characters.
const LONGEST_KIND: usize = 128;
const LONGEST_ID: usize = 512;

/// Truncates a text, and marks that with an ellipsis.
fn cut(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Escapes everything in the JSON that is not printable ASCII. Such characters only occur in strings.
fn in_ascii(json: &str) -> String {
    let mut ascii = String::with_capacity(json.len());
    for c in json.chars() {
        if matches!(c, ' '..='~') {
            ascii.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(ascii, "\\u{unit:04x}");
            }
        }
    }
    ascii
}
