//! One line for each delivery. What a sender chose is in it only once it is proven, cut to a length, and with nothing
//! left that a terminal would obey.

use std::fmt::Write as _;

use http::StatusCode;
use medhook::registry::Decoding;
use medhook::{Delivery, Outcome, Reason, Rejection};
use serde::Serialize;

use super::forward::ForwardAnswer;

/// What became of a delivery.
pub(super) struct DeliveryReport<'r> {
    pub(super) endpoint: &'r str,
    pub(super) path: &'r str,
    pub(super) provider: &'r str,
    pub(super) became: ReportedOutcome,
    /// `None` where nothing was proven, or it was too old to be looked at.
    pub(super) delivery: Option<&'r Delivery>,
    /// As what it was handed over, where it was.
    pub(super) read: Option<Decoding>,
    /// What the application answered, where there is one.
    pub(super) upstream: Option<ForwardAnswer>,
}

/// The end of it.
#[derive(Debug, Clone)]
pub(super) enum ReportedOutcome {
    /// Ours, or the application's, answer.
    Answered(StatusCode),
    /// Rejected, with its kind and the label of the secret that verified it, as far as they are known.
    Rejected { reason: Reason, kind: Option<String>, secret: Option<String> },
    /// So many more were refused without a line of their own.
    Counted(Reason, u64),
}

impl ReportedOutcome {
    pub(super) fn rejected(rejection: &Rejection) -> Self {
        let kind = Some(rejection.kind_label()).filter(|kind| *kind != "unknown");
        let secret = rejection.secret_label().map(str::to_owned);
        ReportedOutcome::Rejected { reason: rejection.reason(), kind: kind.map(str::to_owned), secret }
    }

    fn outcome(&self) -> Outcome {
        match self {
            ReportedOutcome::Answered(status) if status.is_success() => Outcome::Handled,
            ReportedOutcome::Answered(_) => Outcome::Failed,
            ReportedOutcome::Rejected { reason, .. } | ReportedOutcome::Counted(reason, _) => reason.outcome(),
        }
    }

    fn reason(&self) -> Option<&'static str> {
        match self {
            ReportedOutcome::Answered(_) => None,
            ReportedOutcome::Rejected { reason, .. } | ReportedOutcome::Counted(reason, _) => Some(reason.as_str()),
        }
    }

    fn status(&self) -> u16 {
        match self {
            ReportedOutcome::Answered(status) => status.as_u16(),
            ReportedOutcome::Rejected { reason, .. } | ReportedOutcome::Counted(reason, _) => reason.status().as_u16(),
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

/// How lines are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) json: bool,
    /// Whether events' ids are shown: they can be patients'.
    pub(super) ids: bool,
    /// The length of the longest endpoint's name, for lines with words one below the other.
    pub(super) widest: usize,
}

impl Style {
    /// The line, with its end.
    pub(super) fn line(self, report: &DeliveryReport<'_>) -> String {
        let mut line = if self.json { self.as_json(report) } else { self.as_words(report) };
        line.push('\n');
        line
    }

    fn as_json(self, report: &DeliveryReport<'_>) -> String {
        let delivery = report.delivery;
        let kind = delivery.and_then(Delivery::kind);
        let fields = Fields {
            endpoint: report.endpoint,
            path: report.path,
            provider: report.provider,
            outcome: report.became.outcome().as_str(),
            reason: report.became.reason(),
            kind: kind.or(report.became.kind()).map(|kind| cut(kind, LONGEST_KIND)),
            unknown: report.read.map(|read| read == Decoding::Unknown),
            undecodable: report.read.map(|read| read == Decoding::Undecodable),
            event_key: delivery.map(|delivery| delivery.event_key().to_string()),
            secret: delivery.map(Delivery::secret_label).or(report.became.secret()),
            status: report.became.status(),
            count: report.became.count(),
            upstream: report.upstream.map(|answer| answer.to_string()),
            event_id: self.ids.then(|| delivery.and_then(Delivery::id).map(|id| cut(id, LONGEST_ID))),
        };
        // Texts, numbers and flags: nothing here that JSON could not say.
        let json = serde_json::to_string(&fields).unwrap_or_default();
        in_ascii(&json)
    }

    fn as_words(self, report: &DeliveryReport<'_>) -> String {
        let became = &report.became;
        let (outcome, status, endpoint) = (became.outcome().as_str(), became.status(), report.endpoint);
        let mut line = format!("{outcome:<9}  {status}  {endpoint:<width$}", width = self.widest);
        // Into a text nothing fails.
        if let Some(reason) = became.reason() {
            let _ = write!(line, "  {reason}");
        }
        if let Some(count) = became.count() {
            let _ = write!(line, "  {count} more");
        }
        let kind = report.delivery.and_then(Delivery::kind);
        if let Some(kind) = kind.or(became.kind()) {
            let _ = write!(line, "  {}", cut(kind, LONGEST_KIND).escape_debug());
        }
        match report.read {
            Some(Decoding::Unknown) => line.push_str("  (unknown kind)"),
            Some(Decoding::Undecodable) => line.push_str("  (undecodable)"),
            _ => {}
        }
        if let Some(delivery) = report.delivery {
            let _ = write!(line, "  event {}", delivery.event_key());
            if let Some(id) = delivery.id().filter(|_| self.ids) {
                let _ = write!(line, "  id {}", cut(id, LONGEST_ID).escape_debug());
            }
        }
        if let Some(secret) = report.delivery.map(Delivery::secret_label).or(became.secret()) {
            let _ = write!(line, "  by {}", secret.escape_debug());
        }
        if let Some(answer) = report.upstream {
            let _ = write!(line, "  upstream {answer}");
        }
        line
    }
}

/// In the order in which they are written.
#[derive(Serialize)]
struct Fields<'f> {
    endpoint: &'f str,
    path: &'f str,
    provider: &'f str,
    outcome: &'static str,
    reason: Option<&'static str>,
    kind: Option<String>,
    unknown: Option<bool>,
    undecodable: Option<bool>,
    event_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'f str>,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<Option<String>>,
}

/// In characters.
const LONGEST_KIND: usize = 128;
const LONGEST_ID: usize = 512;

/// The beginning, with a mark where something is missing.
fn cut(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The same JSON, with everything that is not visible ASCII escaped. It stands within texts only.
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
            endpoint: "acme",
            path: "/acme",
            provider: "acme",
            became: ReportedOutcome::Answered(StatusCode::OK),
            delivery: Some(delivery),
            read: Some(Decoding::Unknown),
            upstream: None,
        }
    }

    const HOSTILE: &str = "\x1b[2J\r\n\u{9b}31m\u{202e}\u{2028}\0\x7f\"ñ\u{1f600}";

    #[test]
    fn nothing_that_a_terminal_or_a_line_reader_would_obey_comes_through() {
        let delivery = delivery(HOSTILE, HOSTILE);
        for json in [false, true] {
            let line = Style { json, ids: true, widest: 4 }.line(&report(&delivery));
            let line = line.strip_suffix('\n').unwrap();
            let obeyed = |c: char| c.is_control() || "\u{202e}\u{2028}".contains(c);
            assert!(!line.contains(obeyed), "{line:?}");
        }
    }

    #[test]
    fn json_says_what_was_sent() {
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
                "{{\"endpoint\":\"acme\",\"path\":\"/acme\",\"provider\":\"acme\",\"outcome\":\"handled\",\
                 \"reason\":null,\"kind\":\"new\",\"unknown\":true,\"undecodable\":false,\"event_key\":\"{key}\",\
                 \"secret\":\"label\",\"status\":200}}\n"
            )
        );
        report.became = ReportedOutcome::Rejected { reason: Reason::SignatureMismatch, kind: None, secret: None };
        (report.delivery, report.read) = (None, None);
        assert_eq!(
            style.line(&report),
            "{\"endpoint\":\"acme\",\"path\":\"/acme\",\"provider\":\"acme\",\"outcome\":\"rejected\",\
             \"reason\":\"signature_mismatch\",\"kind\":null,\"unknown\":null,\"undecodable\":null,\"event_key\":null,\
             \"status\":401}\n"
        );
        report.became = ReportedOutcome::Counted(Reason::SignatureMismatch, 41);
        assert_eq!(
            style.line(&report),
            "{\"endpoint\":\"acme\",\"path\":\"/acme\",\"provider\":\"acme\",\"outcome\":\"rejected\",\
             \"reason\":\"signature_mismatch\",\"kind\":null,\"unknown\":null,\"undecodable\":null,\"event_key\":null,\
             \"status\":401,\"count\":41}\n"
        );
    }

    #[test]
    fn words_stand_one_below_the_other() {
        let delivery = delivery("new", "1");
        let mut report = report(&delivery);
        let style = Style { json: false, ids: true, widest: 6 };
        let key = delivery.event_key();
        report.upstream = Some(ForwardAnswer::Status(StatusCode::OK));
        assert_eq!(
            style.line(&report),
            format!("handled    200  acme    new  (unknown kind)  event {key}  id 1  by label  upstream 200\n")
        );
        let (kind, secret) = (Some("documented".to_owned()), Some("label".to_owned()));
        report.became = ReportedOutcome::Rejected { reason: Reason::Stale, kind, secret };
        (report.delivery, report.read, report.upstream) = (None, None, None);
        assert_eq!(style.line(&report), "rejected   401  acme    stale  documented  by label\n");
        report.became = ReportedOutcome::Counted(Reason::Stale, 41);
        assert_eq!(style.line(&report), "rejected   401  acme    stale  41 more\n");
    }

    #[test]
    fn a_kind_of_any_length_makes_a_line_of_some_length() {
        let long = "ñ".repeat(100_000);
        let line = Style { json: true, ids: true, widest: 4 }.line(&report(&delivery(&long, &long)));
        assert!(line.len() < 6 * (LONGEST_KIND + LONGEST_ID) + 300, "{}", line.len());
    }
}
