//! Ids and kinds from unsigned headers, and CloudEvents, with signed bodies: what is logged and counted about them.

use std::convert::Infallible;

use futures_util::stream;
use medhook::testing::{self, StoppedClock};
use medhook::{
    CloudEvents, Custom, Delivery, HmacSha256Body, IdFrom, MemoryStore, Reason, Received, Receiver, Rejection,
    RequestHead, Secret, StandardWebhooks,
};
use medhook_tests::captured;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};

use crate::misconfigured::Warnings;

/// 2026-01-01T00:00:00Z.
const NOW: i64 = 1_767_225_600;
const SECRET: &str = "whsec_AqM87BQiXPk6SqjUZMxJPR1FhvObGm6e";

fn hmac() -> HmacSha256Body {
    HmacSha256Body::new("x-acme")
}

fn acme(scheme: impl Into<medhook::SchemeConfig>) -> Custom {
    Custom::new("acme", scheme, Secret::new(SECRET).unwrap())
}

fn built(custom: Custom) -> Receiver {
    let builder = Receiver::builder("acme-in", custom).store(MemoryStore::new(10));
    builder.clock(StoppedClock::at(NOW)).build().unwrap()
}

type HeaderList<'h> = &'h [(&'static str, &'h str)];

/// Receives a signed body with further headers, which are not signed.
async fn receive(
    receiver: &Receiver,
    scheme: impl Into<medhook::SchemeConfig>,
    headers: HeaderList<'_>,
    body: &str,
) -> Result<Delivery, Rejection> {
    let sample = testing::custom(scheme, body.to_owned()).secret(SECRET).at(NOW);
    let (mut head, body) = sample.request("/").into_parts();
    for (name, value) in headers {
        head.headers.append(*name, value.parse().unwrap());
    }
    let body = stream::iter([Ok::<_, Infallible>(body)]);
    match receiver.receive(&RequestHead::new("POST", "/", &head.headers), body).await? {
        Received::Delivery(delivery) => Ok(delivery),
        other => panic!("{other:?}"),
    }
}

/// The signature is valid for any id, so the id alone must not decide.
#[tokio::test]
async fn a_captured_delivery_under_a_foreign_id_does_not_suppress_the_event_with_that_id() {
    let receiver = built(acme(hmac()).unsigned_id_header("x-terra-trace-id"));
    let outcome = async |id, body| {
        let delivery = receive(&receiver, hmac(), &[("x-terra-trace-id", id)], body).await.unwrap();
        let admitted = receiver.admit(delivery).unwrap();
        admitted.run(async { 200 }, |_| true).await.map_err(|rejection| rejection.reason())
    };
    let (captured, genuine) = (r#"{"type":"activity","data":[]}"#, r#"{"type":"sleep","data":[]}"#);
    assert_eq!(outcome("8a2f", captured).await, Ok(200));
    assert_eq!(outcome("9b30", captured).await, Ok(200), "the replay is handled again");
    assert_eq!(outcome("9b30", genuine).await, Ok(200), "and the genuine event, too");
    assert_eq!(outcome("9b30", genuine).await, Err(Reason::Duplicate), "a retry");
    assert_eq!(outcome("8a2f:chunk:1", genuine).await, Ok(200), "another event with equal bytes");
}

#[tokio::test]
async fn a_signed_id_is_used_instead_of_the_header() {
    let receiver = built(acme(StandardWebhooks::new()).unsigned_id_header("x-trace-id"));
    let delivery = receive(&receiver, StandardWebhooks::new(), &[("x-trace-id", "t-1")], "{}").await.unwrap();
    assert_eq!((delivery.id_from(), delivery.unsigned_id()), (IdFrom::Header, None));
    let other = receive(&receiver, StandardWebhooks::new(), &[("x-trace-id", "t-2")], "{}").await.unwrap();
    assert_eq!(other.event_key(), delivery.event_key());
}

#[tokio::test]
async fn a_header_without_a_usable_value_is_logged_once_for_each_cause_and_counted() {
    let warnings = Warnings::default();
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let _guard = captured(warnings.clone());
    let custom = acme(hmac()).unsigned_id_header("x-trace-id").unsigned_kind_header("x-event").kind_pointer("/type");
    let receiver = built(custom);
    let deliver = async |headers: HeaderList<'_>, body: &str| {
        receive(&receiver, hmac(), headers, body).await.unwrap();
        let lines = warnings.take();
        assert!(!lines.iter().any(|line| line.contains("canary")), "{lines:?}");
        lines
    };
    let (id, kind) = (("x-trace-id", "canary-1"), ("x-event", "canary"));
    assert_eq!(deliver(&[id, kind], "{}").await, [] as [&str; 0]);
    assert_eq!(deliver(&[id], r#"{"type": "canary"}"#).await, [] as [&str; 0], "the kind is in the body");
    assert_eq!(
        deliver(&[kind], "{}").await,
        [
            "unsigned_id_header \"x-trace-id\" found no header in a delivery: the event has no id, so a retry of it may be \
          handled again, unless it is recognized by its bytes; compare the name with the headers of a request that the \
          provider sent; this is logged once"
        ]
    );
    assert_eq!(deliver(&[kind], "{}").await, [] as [&str; 0]);
    let long = "canary".repeat(43);
    for (headers, found) in [
        (&[id, id, kind][..], "unsigned_id_header \"x-trace-id\" found a header that occurs more than once in"),
        (&[("x-trace-id", ""), kind], "unsigned_id_header \"x-trace-id\" found an empty header in"),
        (
            &[("x-trace-id", &long), kind],
            "unsigned_id_header \"x-trace-id\" found a header that is longer than 256 bytes in",
        ),
        (
            &[("x-trace-id", "a canary"), kind],
            "unsigned_id_header \"x-trace-id\" found a header that is not visible ASCII in",
        ),
        (
            &[id, ("x-event", "a canary")],
            "unsigned_kind_header \"x-event\" found a header that is not visible ASCII in",
        ),
    ] {
        let lines = deliver(headers, "{}").await;
        assert!(lines[0].starts_with(found), "{lines:?}");
    }

    let binary = built(acme(hmac()).cloud_events(CloudEvents::BinaryUnsigned));
    let headers = [("ce-id", "1"), ("ce-source", "%canary"), ("ce-type", "canary"), ("ce-time", "canary")];
    receive(&binary, hmac(), &headers, "{}").await.unwrap();
    let lines = warnings.take();
    assert!(lines[0].starts_with("cloud_events \"ce-source\" found a header that is malformed in"), "{lines:?}");
    assert!(lines[1].starts_with("cloud_events \"ce-time\" found a header that is malformed in"), "{lines:?}");
    assert!(lines.len() == 2 && !lines.iter().any(|line| line.contains("canary")), "{lines:?}");

    let structured = built(acme(hmac()).cloud_events(CloudEvents::Structured));
    receive(&structured, hmac(), &[], r#"[{"source": "/a", "id": "1", "type": "canary"}]"#).await.unwrap();
    let lines = warnings.take();
    let found = ["/source", "/id", "/type"].map(|pointer| format!("cloud_events {pointer:?} found nothing"));
    // The id has two pointers, which are one part of the envelope.
    assert!(lines.len() == 2 && lines[0].starts_with(&found[0]) && lines[1].starts_with(&found[2]), "{lines:?}");

    let mut counts = [0, 0, 0];
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        if let ("medhook_pointer_missing_total", DebugValue::Counter(count)) = (key.key().name(), value) {
            let label = key.key().labels().find(|label| label.key() == "pointer").unwrap().value().to_owned();
            let at = ["id", "kind", "time"].iter().position(|name| *name == label).unwrap();
            counts[at] += count;
        }
    }
    assert_eq!(counts, [9, 3, 1]);
}
