//! Mistakes in the configuration, and times in the wrong unit, are logged with their cause.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream;
use medhook::testing::{self, Sample, Signing, StoppedClock};
use medhook::{
    Builder, Custom, Dedupe, Delivery, Freshness, HealthSync, HmacSha256Body, IdFrom, MemoryStore, NoDedupe, Reason,
    Received, Receiver, Rejection, RequestHead, Secret, StandardWebhooks,
};
use medhook_tests::captured;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer};

/// 2026-01-01T00:00:00Z.
const NOW: i64 = 1_767_225_600;
const SECRET: &str = "whsec_AqM87BQiXPk6SqjUZMxJPR1FhvObGm6e";

/// The messages of the warnings since the last call of `take`.
#[derive(Clone, Default)]
pub struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    /// Returns the warnings without those about the rejection itself.
    fn causes(&self) -> Vec<String> {
        let is_cause = |line: &String| ["looks like", "_pointer"].iter().any(|part| line.contains(part));
        self.take().into_iter().filter(is_cause).collect()
    }
}

impl<S: tracing::Subscriber> Layer<S> for Warnings {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        struct Message(String);
        impl Visit for Message {
            fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        if *event.metadata().level() == tracing::Level::WARN {
            self.0.lock().unwrap().push(message.0);
        }
    }
}

fn acme(scheme: impl Into<medhook::SchemeConfig>) -> Custom {
    Custom::new("acme", scheme, Secret::new(SECRET).unwrap())
}

fn built(builder: Builder) -> Receiver {
    builder.clock(StoppedClock::at(NOW)).build().unwrap()
}

async fn receive(receiver: &Receiver, sample: Sample) -> Result<Delivery, Rejection> {
    let (head, body) = sample.request("/").into_parts();
    let body = stream::iter([Ok::<_, Infallible>(body)]);
    match receiver.receive(&RequestHead::new("POST", "/", &head.headers), body).await? {
        Received::Delivery(delivery) => Ok(delivery),
        other => panic!("{other:?}"),
    }
}

/// A delivery of acme's with this body, signed with an HMAC.
fn hmac(body: &str) -> Sample {
    testing::azodha("BookAppointment").signing(Signing::hmac_sha256("x-acme")).secret(SECRET).body(body.to_owned())
}

fn standard(body: &str, at: i64) -> Sample {
    testing::fasten("webhook.test").secret(SECRET).at(at).body(body.to_owned())
}

#[tokio::test]
async fn a_pointer_that_finds_no_usable_value_is_logged_once_with_what_it_found_and_counted() {
    let warnings = Warnings::default();
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let _guard = captured(warnings.clone());
    let custom = acme(HmacSha256Body::new("x-acme")).id_pointer("/idd").kind_pointer("/type").time_pointer("/at");
    let receiver = built(Receiver::builder("acme-in", custom).store(NoDedupe));
    let deliver = async |body: &str| {
        receive(&receiver, hmac(body)).await.unwrap();
        let lines = warnings.take();
        assert!(!lines.iter().any(|line| line.contains("canary")), "{lines:?}");
        lines
    };
    let good = r#"{"idd": "canary-1", "type": "canary", "at": "2026-01-01T00:00:00Z"}"#;
    assert_eq!(deliver(good).await, [] as [&str; 0]);
    assert_eq!(
        deliver(r#"{"id": "canary-2", "type": "canary", "at": 1767225600}"#).await,
        [
            "id_pointer \"/idd\" found nothing (or a key that occurs twice) in a delivery: the event has no id, so a retry of it \
          may be handled again, unless it is recognized by its bytes; compare the pointer with a body that the provider sent; this is logged once"
        ]
    );
    assert_eq!(deliver(r#"{"id": "canary-3", "type": "canary", "at": 1767225600}"#).await, [] as [&str; 0]);
    for (body, found) in [
        (r#"{"idd": null, "type": "canary", "at": 1}"#, "id_pointer \"/idd\" found null"),
        (r#"{"idd": {"canary": 1}, "type": "canary", "at": 1}"#, "id_pointer \"/idd\" found an object"),
        (r#"{"idd": 1.5, "type": "canary", "at": 1}"#, "id_pointer \"/idd\" found a number that is not whole"),
        (r#"{"idd": 1, "type": ["canary"], "at": 1}"#, "kind_pointer \"/type\" found an array"),
        (r#"{"idd": 1, "type": "", "at": 1}"#, "kind_pointer \"/type\" found an empty text"),
        (r#"{"idd": 1, "type": true, "at": 1}"#, "kind_pointer \"/type\" found a boolean"),
        (r#"{"idd": 1, "type": "\ud800", "at": 1}"#, "kind_pointer \"/type\" found a text that is not valid Unicode"),
        (r#"{"idd": 1, "type": "canary", "at": "canary"}"#, "time_pointer \"/at\" found a text that is not a time"),
        (
            r#"{"idd": 1, "type": "canary", "at": 1767225600.5}"#,
            "time_pointer \"/at\" found a number that is not whole",
        ),
        (r#"{"idd": 1, "type": "canary", "at": 99999999999999999999}"#, ""),
    ] {
        let lines = deliver(body).await;
        assert!(lines.iter().all(|line| line.starts_with(found)), "{body}: {lines:?}");
        assert_eq!(lines.len(), usize::from(!found.is_empty()), "{body}: {lines:?}");
    }
    let lines = deliver("canary, not JSON").await;
    assert!(
        lines.len() == 3 && lines[2].starts_with("time_pointer \"/at\" found a body that is not JSON"),
        "{lines:?}"
    );

    let mut counts = BTreeMap::new();
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        let labels: Vec<_> = key.key().labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        if let ("medhook_pointer_missing_total", DebugValue::Counter(count)) = (key.key().name(), value) {
            counts.insert(labels.join(","), count);
        }
    }
    let counted = |pointer: &str| counts.get(&format!("endpoint=acme-in,pointer={pointer}")).copied();
    assert_eq!([counted("id"), counted("kind"), counted("time")], [Some(6), Some(5), Some(4)], "{counts:?}");
}

#[tokio::test]
async fn the_warning_about_a_pointer_says_what_happens_to_the_delivery() {
    let warnings = Warnings::default();
    let _guard = captured(warnings.clone());
    let signed = built(Receiver::builder("signed", acme(StandardWebhooks::new()).id_pointer("/no")).store(NoDedupe));
    receive(&signed, standard("{}", NOW)).await.unwrap();
    assert!(warnings.take()[0].contains("the signed webhook-id identifies the event instead"));

    let custom = acme(HmacSha256Body::new("x-acme")).time_pointer("/no").data_pointer("/none");
    let max_age = Duration::from_secs(60);
    let freshness = Freshness::EventTime { max_age, max_skew: max_age };
    let aged = built(Receiver::builder("aged", custom).store(NoDedupe).freshness(freshness));
    let rejection = receive(&aged, hmac("{}")).await.unwrap_err();
    assert_eq!(rejection.reason(), Reason::TimeMissing);
    let lines = warnings.causes();
    assert!(lines[0].contains("the delivery is rejected (time_missing)"), "{lines:?}");
    assert!(lines[1].contains("the payload is the whole body"), "{lines:?}");
}

#[tokio::test]
async fn a_delivery_knows_what_identifies_its_event() {
    let receiver = |custom: Custom, dedupe: Dedupe| {
        built(Receiver::builder("acme", custom).store(MemoryStore::new(10)).dedupe(dedupe))
    };
    let pointed = || acme(HmacSha256Body::new("x-acme")).id_pointer("/id");
    let signed = || acme(StandardWebhooks::new()).id_pointer("/id");
    let own = || Dedupe::by(|_, body| (body.len() < 10).then(|| "short".to_owned()));
    for (custom, dedupe, sample, expected) in [
        (pointed(), Dedupe::by_id(), hmac(r#"{"id": "evt-1"}"#), IdFrom::Body),
        (pointed(), Dedupe::by_id(), hmac("{}"), IdFrom::Nothing),
        (pointed(), Dedupe::by_bytes(), hmac("{}"), IdFrom::Bytes),
        (pointed(), Dedupe::off(), hmac(r#"{"id": "evt-1"}"#), IdFrom::Nothing),
        (pointed(), own(), hmac("{}"), IdFrom::Own),
        (pointed(), own(), hmac(r#"{"id": "evt-1"}"#), IdFrom::Body),
        (signed(), Dedupe::by_id(), standard(r#"{"id": "evt-1"}"#, NOW), IdFrom::Body),
        (signed(), Dedupe::by_id(), standard("{}", NOW), IdFrom::Header),
    ] {
        let delivery = receive(&receiver(custom, dedupe), sample).await.unwrap();
        assert_eq!(delivery.id_from(), expected);
    }
}

#[tokio::test]
async fn times_in_milliseconds_are_rejected_as_before_and_logged_with_their_unit() {
    let warnings = Warnings::default();
    let _guard = captured(warnings.clone());
    let healthsync = HealthSync::new(Secret::new(SECRET).unwrap());
    let healthsync = built(Receiver::builder("healthsync", healthsync).store(NoDedupe));
    let event = |time: &str| {
        let body = format!(r#"{{"id": "evt-1", "type": "document.uploaded", "created_at": {time}, "data": {{}}}}"#);
        testing::healthsync("document.uploaded").secret(SECRET).body(body)
    };
    for (time, unit) in [("1767225600000", "milliseconds"), ("\"1767225600000000\"", "microseconds")] {
        // A receiver of its own: the line is limited to one per minute. When it is dropped, it logs the count.
        let healthsync = HealthSync::new(Secret::new(SECRET).unwrap());
        let healthsync = built(Receiver::builder("healthsync", healthsync).store(NoDedupe));
        let rejection = receive(&healthsync, event(time)).await.unwrap_err();
        assert_eq!(rejection.reason(), Reason::InTheFuture, "{time}");
        let lines = warnings.causes();
        let expected = format!(
            "the time of an event looks like {unit}, but numbers are read as seconds: the delivery is rejected;"
        );
        assert!(lines.len() == 1 && lines[0].starts_with(&expected), "{lines:?}");
        receive(&healthsync, event(time)).await.unwrap_err();
        assert_eq!(warnings.causes(), [] as [&str; 0], "at most one line per minute");
        drop(healthsync);
        assert_eq!(warnings.causes().len(), 1);
    }
    // An hour ahead, and a number that is a time in no unit.
    for time in ["1767229200", "999999999999999999"] {
        receive(&healthsync, event(time)).await.unwrap_err();
        assert_eq!(warnings.causes(), [] as [&str; 0], "{time}");
    }

    let acme = built(Receiver::builder("acme", acme(StandardWebhooks::new())).store(NoDedupe));
    let rejection = receive(&acme, standard("{}", NOW * 1_000)).await.unwrap_err();
    assert_eq!(rejection.reason(), Reason::InTheFuture);
    let lines = warnings.take();
    assert!(
        lines.len() == 1
            && lines[0].ends_with("otherwise the sender, or a proxy that rewrites the header, must send seconds"),
        "{lines:?}"
    );
    receive(&acme, standard("{}", NOW + 3_600)).await.unwrap_err();
    assert!(warnings.take()[0].contains("check the clock of this machine"), "an hour ahead");
}

#[tokio::test]
async fn a_time_in_milliseconds_is_logged_also_if_no_age_is_checked() {
    let warnings = Warnings::default();
    let _guard = captured(warnings.clone());
    let custom = acme(HmacSha256Body::new("x-acme")).time_pointer("/at");
    let receiver = built(Receiver::builder("acme", custom).store(NoDedupe));
    receive(&receiver, hmac(r#"{"at": 1767225600000}"#)).await.unwrap();
    let lines = warnings.causes();
    assert!(lines.len() == 1 && lines[0].contains("the handler sees a time far in the future"), "{lines:?}");
}
