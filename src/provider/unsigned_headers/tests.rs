use bytes::Bytes;

use crate::{
    CloudEvents, Custom, Dedupe, Delivery, EventKey, IdFrom, MemoryStore, Reason, Receiver, Secret, SharedSecret,
};

const SECRET: &str = "0123456789abcdef";

fn acme() -> Custom {
    Custom::new("acme", SharedSecret::new("x-key"), Secret::new(SECRET).unwrap())
}

fn with_id() -> Custom {
    acme().unsigned_id_header("X-Trace-Id")
}

fn receiver(custom: Custom) -> Receiver {
    Receiver::builder("in", custom).store(MemoryStore::new(10)).build().unwrap()
}

fn opened(receiver: &Receiver, headers: &[(&str, &str)], body: &str) -> Delivery {
    let headers = [&[("x-key", SECRET)], headers].concat();
    let verified = receiver.verify(headers.as_slice(), Bytes::from(body.to_owned())).unwrap();
    receiver.open(verified).unwrap()
}

/// Returns the delivery of a body with the id in a header.
fn delivery(custom: Custom, id: &str, body: &str) -> Delivery {
    opened(&receiver(custom), &[("x-trace-id", id)], body)
}

#[test]
fn the_event_key_is_computed_from_the_unsigned_id_and_the_bytes_of_the_body() {
    let delivery = |id, body| delivery(with_id(), id, body);
    let first = delivery("t-1", "{}");
    assert_eq!((first.id(), first.unsigned_id(), first.id_from()), (None, Some("t-1"), IdFrom::UnsignedHeader));
    assert_eq!(delivery("t-1", "{}").event_key(), first.event_key(), "a retry");
    assert_ne!(delivery("t-2", "{}").event_key(), first.event_key(), "another event with equal bytes");
    assert_ne!(delivery("t-1", "{ }").event_key(), first.event_key(), "another body under the same id");
    assert_ne!(first.event_key(), EventKey::of_id("acme", "in", None, "t-1"), "the key of a signed id");
}

/// An attacker who captured a delivery cannot make a genuine event look handled, or be in flight.
#[tokio::test]
async fn a_forged_id_does_not_suppress_the_genuine_event_with_that_id() {
    let receiver = receiver(with_id());
    let outcome = async |id, body| {
        let admitted =
            receiver.admit(opened(&receiver, &[("x-trace-id", id)], body)).map_err(|error| error.reason())?;
        admitted.run(async { 200 }, |_| true).await.map_err(|error| error.reason())
    };
    let (captured, genuine) = (r#"{"n":1}"#, r#"{"n":2}"#);
    assert_eq!(outcome("t-1", captured).await, Ok(200));
    assert_eq!(outcome("t-1", captured).await, Err(Reason::Duplicate), "a replay with its own id");
    assert_eq!(outcome("t-2", captured).await, Ok(200), "a replay with another id is a new event");
    assert_eq!(outcome("t-2", genuine).await, Ok(200));
    assert_eq!(outcome("t-2", genuine).await, Err(Reason::Duplicate), "its retry");

    let forged = receiver.admit(opened(&receiver, &[("x-trace-id", "t-3")], captured)).unwrap();
    let running = forged.run(async { outcome("t-3", genuine).await }, |genuine| {
        assert_eq!(*genuine, Ok(200), "handled while the replay with its id is being handled");
        true
    });
    running.await.unwrap().unwrap();
}

#[test]
fn a_header_without_a_usable_value_is_no_id_and_no_reason_to_reject() {
    let receiver = receiver(with_id());
    let (longest, too_long) = ("t".repeat(256), "t".repeat(257));
    for (headers, id) in [
        (&[("x-trace-id", "t-1")][..], Some("t-1")),
        (&[("x-trace-id", &longest)], Some(&*longest)),
        (&[("x-trace-id", &too_long)], None),
        (&[("x-trace-id", "")], None),
        (&[("x-trace-id", "t 1")], None),
        (&[("x-trace-id", "t-é")], None),
        (&[("x-trace-id", "t-1"), ("x-trace-id", "t-1")], None),
        (&[("x-trace-ids", "t-1")], None),
    ] {
        let delivery = opened(&receiver, headers, "{}");
        let from = if id.is_some() { IdFrom::UnsignedHeader } else { IdFrom::Nothing };
        assert_eq!((delivery.unsigned_id(), delivery.id_from()), (id, from), "{headers:?}");
    }
}

#[test]
fn an_id_in_the_body_is_used_instead_of_the_header() {
    let custom = || with_id().id_pointer("/id");
    let with_both = delivery(custom(), "t-1", r#"{"id": "evt-1"}"#);
    assert_eq!((with_both.id(), with_both.unsigned_id()), (Some("evt-1"), None));
    assert_eq!(with_both.id_from(), IdFrom::Body);
    assert_eq!(with_both.event_key(), delivery(custom(), "t-2", r#"{"id": "evt-1"}"#).event_key());
    let without = delivery(custom(), "t-1", r#"{"id": null}"#);
    assert_eq!((without.id(), without.unsigned_id(), without.id_from()), (None, Some("t-1"), IdFrom::UnsignedHeader));
}

#[test]
fn the_dedupe_rule_decides_before_an_unsigned_id_does() {
    let id_from = |dedupe| {
        let builder = Receiver::builder("in", with_id()).store(MemoryStore::new(1)).dedupe(dedupe);
        opened(&builder.build().unwrap(), &[("x-trace-id", "t-1")], "{}").id_from()
    };
    assert_eq!(id_from(Dedupe::by_id()), IdFrom::UnsignedHeader);
    assert_eq!(id_from(Dedupe::by_bytes()), IdFrom::UnsignedHeader);
    assert_eq!(id_from(Dedupe::off()), IdFrom::Nothing);
    assert_eq!(id_from(Dedupe::by(|_, _| None)), IdFrom::UnsignedHeader);
    let own = |envelope: &crate::Envelope, _: &Bytes| {
        assert_eq!((envelope.id.as_deref(), envelope.unsigned_id.as_deref()), (None, Some("t-1")));
        Some("own".to_owned())
    };
    assert_eq!(id_from(Dedupe::by(own)), IdFrom::Own);
}

#[test]
fn an_unsigned_kind_is_a_label_only_if_it_is_known() {
    let receiver = receiver(acme().unsigned_kind_header("x-event").kind_pointer("/type").known_kinds(["ready"]));
    for (headers, body, kind, label) in [
        (&[("x-event", "ready")][..], "{}", Some("ready"), "ready"),
        (&[("x-event", "ready")], "not JSON", Some("ready"), "ready"),
        (&[("x-event", "A-Patient")], "{}", Some("A-Patient"), "unknown"),
        (&[("x-event", "ready")], r#"{"type": "late"}"#, Some("late"), "unknown"),
        (&[("x-event", "ready"), ("x-event", "ready")], "{}", None, "unknown"),
        (&[("x-event", "ready now")], "{}", None, "unknown"),
        (&[], "{}", None, "unknown"),
    ] {
        let delivery = opened(&receiver, headers, body);
        assert_eq!((delivery.kind(), delivery.kind_label()), (kind, label), "{headers:?} {body}");
        assert!(!format!("{delivery:?}").contains("Patient"));
    }
}

#[test]
fn headers_are_not_read_without_an_option() {
    let headers =
        [("x-trace-id", "t-1"), ("x-event", "ready"), ("ce-id", "1"), ("ce-source", "/a"), ("ce-type", "ready")];
    for custom in [acme(), acme().id_pointer("/id").kind_pointer("/type")] {
        let delivery = opened(&receiver(custom), &headers, "{}");
        assert_eq!((delivery.unsigned_id(), delivery.kind(), delivery.id_from()), (None, None, IdFrom::Nothing));
    }
}

/// A time in an unsigned header must neither reject a delivery nor stand for the time that is signed.
#[cfg(feature = "testing")]
#[test]
fn an_unsigned_time_does_not_replace_a_signed_one() {
    use crate::testing::{Signing, StoppedClock};
    use crate::{Freshness, SecretEncoding, StandardWebhooks};
    use std::time::Duration;

    const NOW: i64 = 1_767_225_600;
    let scheme = StandardWebhooks::new().timestamp_of_event().secret_encoding(SecretEncoding::Text);
    let custom = Custom::new("acme", scheme.clone(), Secret::new(SECRET).unwrap());
    let custom = custom.cloud_events(CloudEvents::BinaryUnsigned);
    let (max_age, max_skew) = (Duration::from_secs(3600), Duration::from_secs(300));
    let builder = Receiver::builder("in", custom).store(MemoryStore::new(10)).clock(StoppedClock::at(NOW));
    let receiver = builder.freshness(Freshness::EventTime { max_age, max_skew }).build().unwrap();
    for time in ["2025-12-31T23:59:00Z", "2020-01-01T00:00:00Z", "yesterday"] {
        let mut headers = Signing::of(scheme.clone()).headers(SECRET, "msg_1", &NOW.to_string(), b"{}").unwrap();
        headers.push(("ce-time".parse().unwrap(), time.to_owned()));
        let opened = receiver.open(receiver.verify(&headers, Bytes::from_static(b"{}")).unwrap()).unwrap();
        assert_eq!(opened.occurred_at().and_then(crate::Time::unix), Some(NOW), "{time}");
    }
}

#[test]
fn invalid_and_conflicting_options_are_errors_that_name_them() {
    let problem =
        |custom| Receiver::builder("in", custom).store(MemoryStore::new(1)).build().map(drop).unwrap_err().to_string();
    for (custom, expected) in [
        (acme().unsigned_id_header(""), r#"provider acme: unsigned_id_header: "" is not a valid header name"#),
        (
            acme().unsigned_kind_header("x-event: canary"),
            r#"provider acme: unsigned_kind_header: "x-event" is not a valid header name"#,
        ),
        (
            with_id().cloud_events(CloudEvents::BinaryUnsigned),
            "`unsigned_id_header` and `cloud_events` read the same part of the envelope; remove one of them",
        ),
        (
            acme().unsigned_kind_header("x-event").cloud_events(CloudEvents::BinaryUnsigned),
            "`unsigned_kind_header` and",
        ),
        (with_id().cloud_events(CloudEvents::Structured), "`unsigned_id_header` and `cloud_events`"),
        (acme().id_pointer("/id").cloud_events(CloudEvents::Structured), "`id_pointer` and `cloud_events`"),
        (acme().kind_pointer("/type").cloud_events(CloudEvents::Structured), "`kind_pointer` and `cloud_events`"),
        (acme().time_pointer("/time").cloud_events(CloudEvents::Structured), "`time_pointer` and `cloud_events`"),
        (acme().data_pointer("/data").cloud_events(CloudEvents::Structured), "`data_pointer` and `cloud_events`"),
    ] {
        let problem = problem(custom);
        assert!(problem.contains(expected), "{problem:?} instead of {expected:?}");
        assert!(!problem.contains("canary"), "{problem}");
    }
    let pointers = acme().id_pointer("/id").kind_pointer("/type").time_pointer("/at").data_pointer("/data");
    receiver(pointers.clone().cloud_events(CloudEvents::BinaryUnsigned));
    receiver(pointers.unsigned_id_header("x-trace-id").unsigned_kind_header("x-event"));
}

#[test]
fn the_headers_are_not_replaced_with_the_secrets() {
    let receiver = receiver(with_id());
    assert!(receiver.replace_secrets(with_id()).is_ok());
    for other in [acme(), with_id().unsigned_kind_header("x-event"), acme().unsigned_id_header("x-other")] {
        let error = receiver.replace_secrets(other).unwrap_err().to_string();
        assert!(error.contains("an option of the provider differs"), "{error}");
    }
}
