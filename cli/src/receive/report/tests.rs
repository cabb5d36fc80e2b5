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
    RejectionCause::from(reason)
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
    let key = format!("{:x}", HexDisplay(delivery.event_key().as_bytes()));
    assert_eq!(
        style.line(&report),
        format!(
            "{{\"time\":\"2026-01-01T00:00:00.123Z\",\"endpoint\":\"acme\",\"path\":\"/acme\",\"provider\":\"acme\",\"outcome\":\"handled\",\
             \"reason\":null,\"kind\":\"new\",\"unknown\":true,\"undecodable\":false,\"event_key\":\"{key}\",\
             \"id_from\":\"body\",\
             \"secret\":\"label\",\"status\":200,\"possible_duplicate\":null}}\n"
        )
    );
    report.result = ReportedOutcome::Rejected {
        cause: cause(Reason::SignatureMismatch),
        status: StatusCode::UNAUTHORIZED,
        kind: None,
        secret: None,
    };
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
fn a_detail_without_a_header_is_in_a_text_line() {
    let delivery = delivery("new", "1");
    let mut report = report(&delivery);
    (report.delivery, report.decoding) = (None, None);
    let rejected = RejectionCause { detail: Some("the token is missing"), ..cause(Reason::HandshakeRejected) };
    report.result = ReportedOutcome::Counted(rejected, 2);
    let line = Style { json: false, ids: true, widest: 4 }.line(&report);
    assert!(line.ends_with("  acme  handshake_rejected  (the token is missing)  2 more\n"), "{line}");
}

#[test]
fn text_lines_have_aligned_columns() {
    let delivery = delivery("new", "1");
    let mut report = report(&delivery);
    let style = Style { json: false, ids: true, widest: 6 };
    let key = delivery.event_key();
    report.upstream = Some(ForwardAnswer::from(StatusCode::OK));
    assert_eq!(
        style.line(&report),
        format!(
            "2026-01-01T00:00:00.123Z  handled    200  acme    new  (unknown kind)  event {key}  id 1  by label  upstream 200\n"
        )
    );
    let (kind, secret) = (Some("documented".to_owned()), Some("label".to_owned()));
    report.result =
        ReportedOutcome::Rejected { cause: cause(Reason::Stale), status: StatusCode::UNAUTHORIZED, kind, secret };
    (report.delivery, report.decoding, report.upstream) = (None, None, None);
    assert_eq!(style.line(&report), "2026-01-01T00:00:00.123Z  rejected   401  acme    stale  documented  by label\n");
    report.result = ReportedOutcome::Counted(missing(), 41);
    assert_eq!(
        style.line(&report),
        "2026-01-01T00:00:00.123Z  rejected   401  acme    missing_header  (x-key: missing)  41 more\n"
    );
}

/// An attempt of the row 17, which was stored 10 s before the time of the line.
fn attempt(outcome: &'static str, reason: Option<&str>) -> ReportedAttempt {
    ReportedAttempt {
        outcome,
        reason: reason.map(str::to_owned),
        id: 17,
        number: 2,
        is_replay: false,
        stored_at: Timestamp::from_second(1_767_225_590).unwrap(),
        due: None,
        kind: None,
        event_key: None,
    }
}

#[test]
fn an_attempt_has_the_fields_of_a_delivery_and_its_own() {
    let delivery = delivery("new", "1");
    let mut report = report(&delivery);
    let due = Some(Timestamp::from_millisecond(1_767_225_605_500).unwrap());
    report.result = ReportedOutcome::Attempted(ReportedAttempt { due, ..attempt("retry", Some("status_503")) });
    report.upstream = Some(ForwardAnswer::from(StatusCode::SERVICE_UNAVAILABLE));
    let (json, text) = (Style { json: true, ids: false, widest: 4 }, Style { json: false, ids: false, widest: 4 });
    let (key, short) = (format!("{:x}", HexDisplay(delivery.event_key().as_bytes())), delivery.event_key());
    assert_eq!(
        json.line(&report),
        format!(
            "{{\"time\":\"2026-01-01T00:00:00.123Z\",\"endpoint\":\"acme\",\"path\":\"/acme\",\"provider\":\"acme\",\"outcome\":\"retry\",\
             \"reason\":\"status_503\",\"kind\":\"new\",\"unknown\":true,\"undecodable\":false,\"event_key\":\"{key}\",\
             \"id_from\":\"body\",\"secret\":\"label\",\"status\":null,\"id\":17,\"attempt\":2,\"replay\":false,\
             \"stored_at\":\"2025-12-31T23:59:50.000Z\",\"due\":\"2026-01-01T00:00:05.500Z\",\"upstream\":\"503\",\
             \"possible_duplicate\":null}}\n"
        )
    );
    assert_eq!(
        text.line(&report),
        format!(
            "2026-01-01T00:00:00.123Z  retry      -    acme  status_503  new  (unknown kind)  inbox id 17  attempt 2  \
             next at 2026-01-01T00:00:05.500Z  event {short}  by label  upstream 503\n"
        )
    );
    report.result = ReportedOutcome::Attempted(ReportedAttempt { is_replay: true, ..attempt("done", None) });
    report.upstream = Some(ForwardAnswer::from(StatusCode::OK));
    let line = json.line(&report);
    assert!(line.contains("\"outcome\":\"done\",\"reason\":null,"), "{line}");
    assert!(line.contains("\"replay\":true,\"stored_at\":\"2025-12-31T23:59:50.000Z\",\"upstream\":\"200\""), "{line}");
    let line = text.line(&report);
    assert!(
        line.contains("  done       -    acme  new  (unknown kind)  inbox id 17  attempt 2  (replay)  event "),
        "{line}"
    );
}

/// Its processes died, or its stored form is damaged, so no handler got it.
#[test]
fn an_event_that_is_dead_without_an_attempt_has_a_line() {
    let delivery = delivery("new", "1");
    let key = delivery.event_key();
    let mut report = report(&delivery);
    (report.delivery, report.decoding) = (None, None);
    let known = ReportedAttempt {
        kind: Some("documented".to_owned()),
        event_key: Some(key),
        ..attempt("dead", Some("crashed"))
    };
    report.result = ReportedOutcome::Attempted(known);
    assert_eq!(
        Style { json: false, ids: true, widest: 4 }.line(&report),
        format!(
            "2026-01-01T00:00:00.123Z  dead       -    acme  crashed  documented  inbox id 17  attempt 2  event {key}\n"
        )
    );
    let line = Style { json: true, ids: true, widest: 4 }.line(&report);
    let key = format!("\"event_key\":\"{:x}\",\"id_from\":null,\"status\":null,\"id\":17", HexDisplay(key.as_bytes()));
    assert!(
        line.contains("\"reason\":\"crashed\",\"kind\":\"documented\",\"unknown\":null") && line.contains(&key),
        "{line}"
    );
}

#[test]
fn the_length_of_a_line_is_bounded() {
    let long = "ñ".repeat(100_000);
    let line = Style { json: true, ids: true, widest: 4 }.line(&report(&delivery(&long, &long)));
    assert!(line.len() < 6 * (LONGEST_KIND + LONGEST_ID) + 400, "{}", line.len());
}
