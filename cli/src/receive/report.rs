//! Formats one line for each delivery. It only includes values chosen by the sender if the delivery was verified, and
//! truncates and escapes them.

use std::fmt::Write as _;

use http::{HeaderName, StatusCode};
use medhook::registry::Decoding;
use medhook::{Delivery, IdFrom, Outcome, Reason, Rejection};
use serde::Serialize;

use super::forward::ForwardAnswer;

/// The facts about a delivery that its line reports.
pub(super) struct DeliveryReport<'r> {
    pub(super) time: jiff::Timestamp,
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
    Rejected { cause: RejectionCause, kind: Option<String>, secret: Option<String> },
    /// This many more deliveries were rejected with a cause, without their own lines.
    Counted(RejectionCause, u64),
}

/// The cause of a rejection: its reason, and what is wrong with which header.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct RejectionCause {
    reason: Reason,
    header: Option<HeaderName>,
    detail: Option<&'static str>,
}

impl RejectionCause {
    pub(super) fn of(rejection: &Rejection) -> Self {
        let header = rejection.header_name().cloned();
        RejectionCause { reason: rejection.reason(), header, detail: rejection.detail() }
    }
}

impl ReportedOutcome {
    pub(super) fn rejected(rejection: &Rejection) -> Self {
        let kind = Some(rejection.kind_label()).filter(|kind| *kind != "unknown");
        let secret = rejection.secret_label().map(str::to_owned);
        let cause = RejectionCause::of(rejection);
        ReportedOutcome::Rejected { cause, kind: kind.map(str::to_owned), secret }
    }

    fn outcome(&self) -> Outcome {
        match self {
            ReportedOutcome::Answered(status) if status.is_success() => Outcome::Handled,
            ReportedOutcome::Answered(_) => Outcome::Failed,
            ReportedOutcome::Rejected { cause, .. } | ReportedOutcome::Counted(cause, _) => cause.reason.outcome(),
        }
    }

    fn cause(&self) -> Option<&RejectionCause> {
        match self {
            ReportedOutcome::Answered(_) => None,
            ReportedOutcome::Rejected { cause, .. } | ReportedOutcome::Counted(cause, _) => Some(cause),
        }
    }

    fn status(&self) -> u16 {
        match self {
            ReportedOutcome::Answered(status) => status.as_u16(),
            ReportedOutcome::Rejected { cause, .. } | ReportedOutcome::Counted(cause, _) => {
                cause.reason.status().as_u16()
            }
        }
    }

    fn kind(&self) -> Option<&str> {
        match self {
            ReportedOutcome::Answered(_) | ReportedOutcome::Counted(..) => None,
            ReportedOutcome::Rejected { kind, .. } => kind.as_deref(),
        }
    }

    fn secret(&self) -> Option<&str> {
        match self {
            ReportedOutcome::Answered(_) | ReportedOutcome::Counted(..) => None,
            ReportedOutcome::Rejected { secret, .. } => secret.as_deref(),
        }
    }

    fn count(&self) -> Option<u64> {
        match self {
            ReportedOutcome::Answered(_) | ReportedOutcome::Rejected { .. } => None,
            ReportedOutcome::Counted(_, count) => Some(*count),
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
        let cause = report.result.cause();
        let fields = Fields {
            time: format!("{:.3}", report.time),
            endpoint: report.endpoint,
            path: report.path,
            provider: report.provider,
            outcome: report.result.outcome().as_str(),
            reason: cause.map(|cause| cause.reason.as_str()),
            header: cause.and_then(|cause| cause.header.as_ref()).map(HeaderName::as_str),
            detail: cause.and_then(|cause| cause.detail),
            kind: kind.or(report.result.kind()).map(|kind| cut(kind, LONGEST_KIND)),
            unknown: report.decoding.map(|decoding| decoding == Decoding::Unknown),
            undecodable: report.decoding.map(|decoding| decoding == Decoding::Undecodable),
            event_key: delivery.map(|delivery| delivery.event_key().to_string()),
            id_from: delivery.map(|delivery| id_from(delivery.id_from())),
            secret: delivery.map(Delivery::secret_label).or(report.result.secret()),
            status: report.result.status(),
            count: report.result.count(),
            upstream: report.upstream.map(|answer| answer.to_string()),
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
        let (outcome, status, endpoint) = (result.outcome().as_str(), result.status(), report.endpoint);
        let (time, width) = (report.time, self.widest);
        let mut line = format!("{time:.3}  {outcome:<9}  {status}  {endpoint:<width$}");
        // Writing to a string never fails.
        if let Some(cause) = result.cause() {
            let _ = write!(line, "  {}", cause.reason);
            if let (Some(header), Some(detail)) = (&cause.header, cause.detail) {
                let _ = write!(line, "  ({header}: {detail})");
            }
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
        if let Some(delivery) = report.delivery {
            let _ = write!(line, "  event {}", delivery.event_key());
            if let Some(id) = delivery.id().filter(|_| self.ids) {
                let _ = write!(line, "  id {}", cut(id, LONGEST_ID).escape_debug());
            }
        }
        if let Some(secret) = report.delivery.map(Delivery::secret_label).or(result.secret()) {
            let _ = write!(line, "  by {}", secret.escape_debug());
        }
        if let Some(answer) = report.upstream {
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
    reason: Option<&'static str>,
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
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
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

#[cfg(test)]
mod tests {
    use medhook::testing::{self, Signing};
    use medhook::{Custom, NoDedupe, Receiver, Secret, SharedSecret};

    use super::*;

    fn delivery(kind: &str, id: &str) -> Delivery {
        let secret = Secret::new("a-secret-of-some-length").unwrap().labeled("label").unwrap();
        let custom = Custom::new("acme", SharedSecret::new("x-secret"), secret).id_pointer("/id").kind_pointer("/type");
        let receiver = Receiver::builder("acme", custom).store(NoDedupe).build().unwrap();
        let body = serde_json::json!({ "id": id, "type": kind }).to_string();
        let sample = testing::azodha("BookAppointment").signing(Signing::shared_secret("x-secret"));
        let request = sample.secret("a-secret-of-some-length").body(body).request("/");
        let verified = receiver.verify(request.headers(), request.body().clone()).unwrap();
        receiver.open(verified).unwrap()
    }

    fn report(delivery: &Delivery) -> DeliveryReport<'_> {
        DeliveryReport {
            time: jiff::Timestamp::from_microsecond(1_767_225_600_123_456).unwrap(),
            endpoint: "acme",
            path: "/acme",
            provider: "acme",
            result: ReportedOutcome::Answered(StatusCode::OK),
            delivery: Some(delivery),
            decoding: Some(Decoding::Unknown),
            upstream: None,
        }
    }

    fn cause(reason: Reason) -> RejectionCause {
        RejectionCause { reason, header: None, detail: None }
    }

    fn missing() -> RejectionCause {
        let header = Some(HeaderName::from_static("x-key"));
        RejectionCause { header, detail: Some("missing"), ..cause(Reason::MissingHeader) }
    }

    const HOSTILE: &str = "\x1b[2J\r\n\u{9b}31m\u{202e}\u{2028}\0\x7f\"ñ\u{1f600}";

    #[test]
    fn control_characters_are_escaped() {
        let delivery = delivery(HOSTILE, HOSTILE);
        for json in [false, true] {
            let line = Style { json, ids: true, widest: 4 }.line(&report(&delivery));
            let line = line.strip_suffix('\n').unwrap();
            let is_control = |c: char| c.is_control() || "\u{202e}\u{2028}".contains(c);
            assert!(!line.contains(is_control), "{line:?}");
        }
    }

    #[test]
    fn json_preserves_the_kind_and_the_id() {
        let delivery = delivery(HOSTILE, "the-id");
        let style = |ids| Style { json: true, ids, widest: 4 };
        let line = style(true).line(&report(&delivery));
        assert!(line.is_ascii());
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((json["kind"].as_str(), json["event_id"].as_str()), (Some(HOSTILE), Some("the-id")));
        let line = style(false).line(&report(&delivery));
        assert!(!line.contains("the-id") && !line.contains("event_id"), "{line}");
    }

    #[test]
    fn json_has_these_fields_in_this_order() {
        let delivery = delivery("new", "1");
        let mut report = report(&delivery);
        let style = Style { json: true, ids: false, widest: 4 };
        let key = delivery.event_key();
        assert_eq!(
            style.line(&report),
            format!(
                "{{\"time\":\"2026-01-01T00:00:00.123Z\",\"endpoint\":\"acme\",\"path\":\"/acme\",\"provider\":\"acme\",\"outcome\":\"handled\",\
                 \"reason\":null,\"kind\":\"new\",\"unknown\":true,\"undecodable\":false,\"event_key\":\"{key}\",\
                 \"id_from\":\"body\",\
                 \"secret\":\"label\",\"status\":200,\"possible_duplicate\":null}}\n"
            )
        );
        report.result = ReportedOutcome::Rejected { cause: cause(Reason::SignatureMismatch), kind: None, secret: None };
        (report.delivery, report.decoding) = (None, None);
        assert_eq!(
            style.line(&report),
            "{\"time\":\"2026-01-01T00:00:00.123Z\",\"endpoint\":\"acme\",\"path\":\"/acme\",\"provider\":\"acme\",\"outcome\":\"rejected\",\
             \"reason\":\"signature_mismatch\",\"kind\":null,\"unknown\":null,\"undecodable\":null,\"event_key\":null,\
             \"id_from\":null,\
             \"status\":401,\"possible_duplicate\":null}\n"
        );
        report.result = ReportedOutcome::Counted(missing(), 41);
        assert_eq!(
            style.line(&report),
            "{\"time\":\"2026-01-01T00:00:00.123Z\",\"endpoint\":\"acme\",\"path\":\"/acme\",\"provider\":\"acme\",\"outcome\":\"rejected\",\
             \"reason\":\"missing_header\",\"header\":\"x-key\",\"detail\":\"missing\",\"kind\":null,\
             \"unknown\":null,\"undecodable\":null,\"event_key\":null,\"id_from\":null,\"status\":401,\"count\":41,\"possible_duplicate\":null}\n"
        );
    }

    #[test]
    fn text_lines_have_aligned_columns() {
        let delivery = delivery("new", "1");
        let mut report = report(&delivery);
        let style = Style { json: false, ids: true, widest: 6 };
        let key = delivery.event_key();
        report.upstream = Some(ForwardAnswer::Status(StatusCode::OK));
        assert_eq!(
            style.line(&report),
            format!(
                "2026-01-01T00:00:00.123Z  handled    200  acme    new  (unknown kind)  event {key}  id 1  by label  upstream 200\n"
            )
        );
        let (kind, secret) = (Some("documented".to_owned()), Some("label".to_owned()));
        report.result = ReportedOutcome::Rejected { cause: cause(Reason::Stale), kind, secret };
        (report.delivery, report.decoding, report.upstream) = (None, None, None);
        assert_eq!(
            style.line(&report),
            "2026-01-01T00:00:00.123Z  rejected   401  acme    stale  documented  by label\n"
        );
        report.result = ReportedOutcome::Counted(missing(), 41);
        assert_eq!(
            style.line(&report),
            "2026-01-01T00:00:00.123Z  rejected   401  acme    missing_header  (x-key: missing)  41 more\n"
        );
    }

    #[test]
    fn the_length_of_a_line_is_bounded() {
        let long = "ñ".repeat(100_000);
        let line = Style { json: true, ids: true, widest: 4 }.line(&report(&delivery(&long, &long)));
        assert!(line.len() < 6 * (LONGEST_KIND + LONGEST_ID) + 300, "{}", line.len());
    }
}
