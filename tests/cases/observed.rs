//! Each delivery is logged once and counted once, with its outcome.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use medhook::testing::{self, StoppedClock};
use medhook::{
    Answered, Bodies, Bytes, ClaimToken, Custom, DedupeStore, Encoding, EventKey, Fasten, HmacSha256Body, Keyring,
    MemoryStore, NoDedupe, OnStoreError, Outcome, Reason, Received, Receiver, Rejection, RequestHead, Retention,
    Secret, SharedSecret, SqliteStore, StandardWebhooks, Worker,
};
use medhook_tests::captured;
use medhook_tests::stage::{Broken, Stage};
use metrics_util::CompositeKey;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer};

/// The fields of each log line about a delivery.
type Lines = Arc<Mutex<Vec<BTreeMap<&'static str, String>>>>;

struct Capture(Lines);

struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

impl<S: tracing::Subscriber> Layer<S> for Capture {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields(BTreeMap::new());
        event.record(&mut fields);
        if fields.0.get("message").is_some_and(|message| message == "webhook delivery") {
            self.0.lock().unwrap().push(fields.0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_delivery_is_logged_and_counted_once_with_its_outcome() {
    let lines = Lines::default();
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let _guard = captured(Capture(lines.clone()));

    let stages: Arc<[Stage]> = Stage::all(super::cases()).into();
    for (n, stage) in stages.iter().enumerate() {
        let played = stage.play(|| {
            let stages = stages.clone();
            Box::pin(async move { super::deliver(&stages[n]).await })
        });
        let name = &stage.case.name;
        played.await.unwrap_or_else(|problem| panic!("{name}: {problem}"));

        let logged: Vec<_> = std::mem::take(&mut *lines.lock().unwrap());
        let deliveries = stage.answers.lock().unwrap().len();
        assert_eq!(logged.len(), deliveries, "{name}: {logged:?}");
        let expected = &stage.case.expected;
        let outcome = expected.outcome.as_str();
        let reason = expected.reason.map(|reason| reason.as_str());
        let is_it = |line: &&BTreeMap<&str, String>| {
            line["outcome"] == outcome && line.get("reason").map(String::as_str) == reason
        };
        assert!(logged.iter().any(|line| is_it(&line)), "{name}: {logged:?}");
        let mut expected = BTreeMap::new();
        for line in &logged {
            assert_eq!(line["endpoint"], stage.case.endpoint, "{name}");
            assert_eq!(line["provider"], stage.receiver.provider(), "{name}");
            // Unverified bodies have no kind.
            let labels = ["endpoint", "provider", "kind", "outcome", "reason"];
            let labels = labels.map(|label| format!("{label}={}", line.get(label).map_or("", |value| value)));
            *expected.entry(format!("medhook_deliveries_total{{{}}}", labels.join(","))).or_insert(0) += 1;
        }
        let counted = counted(&snapshotter).into_iter();
        let counted = counted.filter(|(counter, _)| counter.starts_with("medhook_deliveries_total"));
        assert_eq!(counted.collect::<BTreeMap<_, _>>(), expected, "{name}");
    }
}

/// Every line at `WARN`, with its fields.
#[derive(Clone, Default)]
struct Warnings(Lines);

impl<S: tracing::Subscriber> Layer<S> for Warnings {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() == tracing::Level::WARN {
            let mut fields = Fields(BTreeMap::new());
            event.record(&mut fields);
            self.0.lock().unwrap().push(fields.0);
        }
    }
}

impl Warnings {
    fn taken(&self) -> Vec<BTreeMap<&'static str, String>> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    /// Returns these fields of the lines, without their messages.
    fn taken_fields<const COUNT: usize>(&self, names: [&str; COUNT]) -> Vec<[String; COUNT]> {
        let fields = |line: BTreeMap<_, String>| names.map(|name| line.get(name).cloned().unwrap_or_default());
        self.taken().into_iter().map(fields).collect()
    }
}

async fn receive(receiver: &Receiver, headers: &[(&str, &str)], body: &'static str) -> Result<Received, Rejection> {
    let body = futures_util::stream::iter([Ok::<_, std::convert::Infallible>(Bytes::from_static(body.as_bytes()))]);
    receiver.receive(&RequestHead::new("POST", "/canary-path", headers), body).await
}

#[tokio::test(start_paused = true)]
async fn the_first_rejection_with_each_cause_is_logged_at_once_and_the_others_within_a_minute() {
    let warnings = Warnings::default();
    let _guard = captured(warnings.clone());
    let secret = Secret::new("whsec_AqM87BQiXPk6SqjUZMxJPR1FhvObGm6e").unwrap();
    let provider = Fasten::live(secret);
    let receiver = Receiver::builder("fasten-in", provider).store(NoDedupe).clock(StoppedClock::at(1_767_225_600));
    let receiver = receiver.build().unwrap();
    let signature = "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let forged = [("webhook-id", "canary-id"), ("webhook-timestamp", "1767225600"), ("webhook-signature", signature)];
    for headers in [&forged[..], &forged[..2], &forged[..2], &forged, &forged, &forged[..2]] {
        assert!(receive(&receiver, headers, "canary body").await.is_err());
    }
    const FIELDS: [&str; 6] = ["endpoint", "provider", "reason", "count", "header", "detail"];
    let mismatch = |count| ["fasten-in", "fasten", "signature_mismatch", count, "", ""].map(str::to_owned);
    let missing =
        |count| ["fasten-in", "fasten", "missing_header", count, "webhook-signature", "missing"].map(str::to_owned);
    assert_eq!(warnings.taken_fields(FIELDS), [mismatch("1"), missing("1")]);
    tokio::time::sleep(Duration::from_millis(60_001)).await;
    assert_eq!(warnings.taken_fields(FIELDS), [mismatch("2"), missing("2")], "without another delivery");
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(warnings.taken_fields(FIELDS), [[""; 6]; 0]);

    assert!(receive(&receiver, &forged, "canary body").await.is_err());
    assert!(receive(&receiver, &forged, "canary body").await.is_err());
    drop(receiver);
    let lines = warnings.taken();
    assert_eq!(lines.iter().map(|line| &*line["count"]).collect::<Vec<_>>(), ["1", "1"], "also when it is dropped");
    assert!(!format!("{lines:?}").contains("canary"), "{lines:?}");
    let message = &lines[0]["message"];
    assert!(message.starts_with("webhook deliveries rejected; "), "{message}");
    assert!(message.contains("compare the secret with the provider's"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_rejection_says_what_is_wrong_with_which_header_but_not_its_value() {
    let warnings = Warnings::default();
    let _guard = captured(warnings.clone());
    let secret = || Secret::new("whsec_AqM87BQiXPk6SqjUZMxJPR1FhvObGm6e").unwrap();
    let standard = |headers: [&'static str; 3]| {
        let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
        let headers: Vec<_> = names.into_iter().zip(headers).filter(|(_, value)| *value != "none").collect();
        (Custom::new("acme", StandardWebhooks::new(), secret()), headers)
    };
    let hmac = |value: &'static str, encoding| {
        let scheme = HmacSha256Body::new("X-Acme").prefix("sha256=").encoding(encoding);
        (Custom::new("acme", scheme, secret()), vec![("x-acme", value)])
    };
    let shared = |headers: Vec<_>| (Custom::new("acme", SharedSecret::new("X-Key"), secret()), headers);
    const SIGNATURE: &str = "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    for ((custom, headers), reason, header, detail) in [
        (standard(["none", "1767225600", SIGNATURE]), "missing_header", "webhook-id", "missing"),
        (standard(["canary.1", "1767225600", SIGNATURE]), "malformed_header", "webhook-id", "contains a dot"),
        (standard(["canary 1", "1767225600", SIGNATURE]), "malformed_header", "webhook-id", "not visible ASCII"),
        (standard(["1", "1767225600.25", SIGNATURE]), "malformed_header", "webhook-timestamp", "not an integer"),
        (standard(["1", "01767225600", SIGNATURE]), "malformed_header", "webhook-timestamp", "begins with a zero"),
        (
            standard(["1", "1767225600", "canary"]),
            "malformed_header",
            "webhook-signature",
            "contains no `v1,` with 44 characters of base64",
        ),
        (standard(["1", "1767225200", SIGNATURE]), "stale", "webhook-timestamp", "older than the freshness window"),
        (
            standard(["1", "1767226000", SIGNATURE]),
            "in_the_future",
            "webhook-timestamp",
            "further in the future than the allowed clock skew",
        ),
        (
            standard(["1", "1767225600000", SIGNATURE]),
            "in_the_future",
            "webhook-timestamp",
            "further in the future than the allowed clock skew; not in seconds but in milliseconds or finer",
        ),
        (hmac("canary", Encoding::Hex), "malformed_header", "x-acme", "does not begin with the configured prefix"),
        (hmac("sha256=canary", Encoding::Hex), "malformed_header", "x-acme", "not 64 hexadecimal digits"),
        (hmac("sha256=canary", Encoding::Base64), "malformed_header", "x-acme", "not the base64 of 32 bytes"),
        (
            hmac("sha256=canary", Encoding::Either),
            "malformed_header",
            "x-acme",
            "neither 64 hexadecimal digits nor the base64 of 32 bytes",
        ),
        (shared(vec![("x-key", "")]), "malformed_header", "x-key", "empty"),
        (shared(vec![("x-key", "canary"), ("X-KEY", "canary")]), "repeated_header", "x-key", "occurs more than once"),
        (
            shared(vec![("x-key", "canary"), ("content-encoding", "canary")]),
            "content_encoding",
            "content-encoding",
            "names an encoding of the body",
        ),
        (
            shared(vec![("x-key", "canary"), ("content-length", "99999999999")]),
            "too_large",
            "content-length",
            "exceeds body_limit",
        ),
    ] {
        let builder = Receiver::builder("in", custom.id_pointer("/id")).store(NoDedupe);
        let receiver = builder.clock(StoppedClock::at(1_767_225_600)).build().unwrap();
        let rejection = receive(&receiver, &headers, "{}").await.unwrap_err();
        assert_eq!(rejection.header_name().map(|name| name.as_str()), Some(header), "{detail}");
        assert_eq!((rejection.reason().as_str(), rejection.detail()), (reason, Some(detail)));
        assert_eq!(rejection.to_string(), format!("delivery rejected: {reason} ({header}: {detail})"));
        let lines = warnings.taken();
        assert!(!format!("{lines:?}").contains("canary"), "{lines:?}");
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!([&line["reason"], &line["header"], &line["detail"]], [reason, header, detail]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_handler_is_logged_with_its_status_or_as_an_error() {
    let warnings = Warnings::default();
    let _guard = captured(warnings.clone());
    let custom = Custom::new("acme", SharedSecret::new("x-key"), Secret::new("0123456789abcdef").unwrap());
    let receiver = Receiver::builder("in", custom.id_pointer("/id")).store(NoDedupe).build().unwrap();
    let admitted = async || {
        let received = receive(&receiver, &[("x-key", "0123456789abcdef")], r#"{"id":1}"#).await;
        let Ok(Received::Delivery(delivery)) = received else { panic!("{received:?}") };
        receiver.admit(delivery).unwrap()
    };
    const FIELDS: [&str; 6] = ["message", "outcome", "reason", "status", "error", "next"];
    let line = |fields: [&str; 5]| {
        let [outcome, reason, status, error, next] = fields.map(str::to_owned);
        vec![["webhook delivery".to_owned(), outcome, reason, status, error, next]]
    };
    let bad_gateway = http::StatusCode::BAD_GATEWAY;
    assert!(admitted().await.run(async { bad_gateway }, |status| *status).await.is_ok());
    assert_eq!(warnings.taken_fields(FIELDS), line(["failed", "", "502", "", ""]));
    assert!(admitted().await.run(async {}, |()| Answered::Failed).await.is_ok());
    assert_eq!(warnings.taken_fields(FIELDS), line(["failed", "", "", "the handler failed without a status", ""]));
    let timed_out = admitted().await.run(std::future::pending(), |()| true).await;
    assert_eq!(timed_out.unwrap_err().reason(), Reason::HandlerTimeout);
    assert_eq!(
        warnings.taken_fields(FIELDS),
        line(["failed", "handler_timeout", "504", "", "make the handler faster, or increase `handler_timeout`"])
    );

    let running = tokio::spawn(admitted().await.run(std::future::pending(), |()| true));
    tokio::task::yield_now().await;
    assert_eq!(receiver.drain(Duration::from_secs(1)).await, 1);
    let canceled = running.await.unwrap().unwrap_err();
    assert_eq!((canceled.reason(), canceled.reason().outcome()), (Reason::HandlerCanceled, Outcome::Failed));
    assert_eq!((canceled.status().as_u16(), canceled.header().unwrap().0.as_str()), (503, "retry-after"));
    let next = "allow more time for the shutdown, or make the handler faster; the provider should retry";
    assert_eq!(warnings.taken_fields(FIELDS), line(["failed", "handler_canceled", "503", "", next]));
}

#[tokio::test(start_paused = true)]
async fn a_test_secret_that_verifies_a_live_event_is_explained_at_once_then_once_a_minute() {
    const START: i64 = 1_767_225_600;
    let warnings = Warnings::default();
    let _guard = captured(warnings.clone());
    let text = "whsec_AqM87BQiXPk6SqjUZMxJPR1FhvObGm6e";
    let provider = Fasten::test(Secret::new(text).unwrap().labeled("SWAPPED").unwrap());
    let clock = StoppedClock::at(START);
    let receiver = Receiver::builder("fasten-in", provider).store(NoDedupe).clock(clock).build().unwrap();
    let reject = async || {
        let body = r#"{"id":"canary-id","type":"webhook.test","api_mode":"live","data":{"hello":"canary"}}"#;
        let sample = testing::fasten("webhook.test").secret(text).at(START).body(body);
        let (head, body) = sample.request("/").into_parts();
        let body = futures_util::stream::iter([Ok::<_, std::convert::Infallible>(body)]);
        let rejection = receiver.receive(&RequestHead::new("POST", "/", &head.headers), body).await.unwrap_err();
        assert_eq!(rejection.reason(), Reason::SecretModeMismatch);
        let mut lines = warnings.taken();
        assert!(!format!("{lines:?}").contains("canary"), "{lines:?}");
        let line = lines.remove(0);
        assert_eq!((&*line["outcome"], &*line["reason"]), ("rejected", "secret_mode_mismatch"));
        assert_eq!((&*line["kind"], &*line["secret"]), ("webhook.test", "SWAPPED"));
        assert_eq!(line["next"], "configure the secret as the live secret");
        lines
    };
    let explanation = |count: &str| {
        let message = "the secret labeled \"SWAPPED\" is configured as a test secret but verified an event that is \
                       not a test event; configure it as the live secret";
        let fields = [
            ("endpoint", "fasten-in"),
            ("provider", "fasten"),
            ("reason", "secret_mode_mismatch"),
            ("count", count),
            ("secret", "SWAPPED"),
            ("message", message),
        ];
        [BTreeMap::from(fields.map(|(name, value)| (name, value.to_owned())))]
    };
    assert_eq!(reject().await, explanation("1"));
    assert_eq!(reject().await, []);
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!(reject().await, []);
    tokio::time::sleep(Duration::from_millis(1_001)).await;
    assert_eq!(warnings.taken(), explanation("2"), "without another delivery");
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(reject().await, explanation("1"));
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_receiver_is_logged_without_the_tenant_it_names() {
    let lines = Lines::default();
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let _guard = captured(Capture(lines.clone()));

    let headers = http::HeaderMap::new();
    let lookups: [(Reason, BoxFuture<'_, _>); 3] = [
        (Reason::UnknownTenant, Box::pin(async { Ok(None) })),
        (Reason::TenantLookupFailed, Box::pin(async { Err("no such tenant: mallory") })),
        (Reason::TenantLookupFailed, Box::pin(std::future::pending())),
    ];
    for (reason, lookup) in lookups {
        let rejection = Receiver::resolve(&RequestHead::new("POST", "/", &headers), lookup).await.unwrap_err();
        assert_eq!(rejection.reason(), reason);
        let logged = std::mem::take(&mut *lines.lock().unwrap());
        let expected = [
            ("message", "webhook delivery"),
            ("endpoint", "(unresolved)"),
            ("outcome", "rejected"),
            ("reason", reason.as_str()),
        ];
        assert_eq!(logged, [expected.map(|(name, value)| (name, value.to_owned())).into()]);
        let labels = format!("endpoint=(unresolved),provider=(unresolved),kind=,outcome=rejected,reason={reason}");
        assert_eq!(counted(&snapshotter), [(format!("medhook_deliveries_total{{{labels}}}"), 1)].into());
    }
}

#[tokio::test]
async fn only_known_kinds_of_verified_deliveries_are_labels() {
    const SECRET: &str = "0123456789abcdef";
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);

    let custom = Custom::new("acme", SharedSecret::new("x-key"), Secret::new(SECRET).unwrap());
    let custom = custom.kind_pointer("/type").known_kinds(["known"]);
    let receiver = Receiver::builder("in", custom).store(NoDedupe).build().unwrap();
    for (secret, kind, label) in [
        (SECRET, "known", "known"),
        (SECRET, "chosen-by-sender", "unknown"),
        ("forged", "known", ""),
        ("forged", "chosen-by-sender", ""),
    ] {
        let mut headers = http::HeaderMap::new();
        headers.insert("x-key", secret.parse().unwrap());
        let body = Bytes::from(format!(r#"{{"type":"{kind}"}}"#));
        let body = futures_util::stream::iter([Ok::<_, std::convert::Infallible>(body)]);
        if let Ok(received) = receiver.receive(&RequestHead::new("POST", "/", &headers), body).await {
            let medhook::Received::Delivery(delivery) = received else { panic!("not a handshake") };
            receiver.admit(delivery).unwrap().run(async { 200 }, |status| *status == 200).await.unwrap();
        }
        let counted = counted(&snapshotter);
        let (counter, count) = counted.iter().find(|(name, _)| name.starts_with("medhook_deliveries_total")).unwrap();
        assert!(counter.contains(&format!(",kind={label},")) && *count == 1, "{secret} {kind}: {counted:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn failed_store_operations_are_counted() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);

    for (full, reason) in [(false, "store_unavailable"), (true, "store_full")] {
        for (status, step, outcome) in [(200, "commit", "handled"), (500, "release", "failed")] {
            let secret = Secret::new("0123456789abcdef").unwrap();
            let custom = Custom::new("acme", SharedSecret::new("x-key"), secret);
            let builder = Receiver::builder("in", custom.id_pointer("/id")).store(Broken { full });
            let receiver = builder.on_store_error(OnStoreError::HandleUnclaimed).build().unwrap();
            let headers = [("x-key", "0123456789abcdef")];
            let delivery =
                receiver.open(receiver.verify(&headers, Bytes::from_static(br#"{"id":1}"#)).unwrap()).unwrap();
            let admitted = receiver.admit(delivery).unwrap();
            assert_eq!(admitted.run(async { status }, |status| *status == 200).await.unwrap(), status);
            // An unclaimed delivery is settled by a spawned task.
            tokio::time::sleep(Duration::from_secs(1)).await;
            let expected = [
                format!("medhook_deliveries_total{{endpoint=in,provider=acme,kind=unknown,outcome={outcome},reason=}}"),
                format!("medhook_settle_failed_total{{endpoint=in,step={step}}}"),
                format!("medhook_unclaimed_total{{endpoint=in,reason={reason}}}"),
            ];
            assert_eq!(counted(&snapshotter), expected.map(|counter| (counter, 1)).into());
        }
    }
}

/// A stored event is genuine, and shows that its secret is in use, but was not handled yet.
#[tokio::test]
async fn a_stored_event_is_logged_and_counted_once_and_is_genuine() {
    let (lines, recorder) = (Lines::default(), DebuggingRecorder::new());
    let snapshotter = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let _guard = captured(Capture(lines.clone()));

    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("inbox.db")).await.unwrap();
    let custom = Custom::new("acme", SharedSecret::new("x-key"), Secret::new("0123456789abcdef").unwrap());
    let builder = Receiver::builder("in", custom.id_pointer("/id")).ack_status(http::StatusCode::ACCEPTED);
    let receiver = builder.inbox(store.inbox(Bodies::plaintext()).await.unwrap()).build().unwrap();
    let count = |outcome| {
        format!("medhook_deliveries_total{{endpoint=in,provider=acme,kind=unknown,outcome={outcome},reason={outcome}}}")
    };
    let gauges = |snapshotter: &Snapshotter| -> Vec<_> {
        let names = snapshotter.snapshot().into_vec().into_iter().filter_map(|(key, _, _, value)| match value {
            DebugValue::Gauge(_) => Some(key.key().name().to_owned()),
            _ => None,
        });
        names.filter(|name| name.contains("_last_")).collect()
    };
    for (body, outcome, status, repeats) in [
        (r#"{"id":1}"#, "stored", "202", None),
        (r#"{"id":1}"#, "duplicate", "200", None),
        ("{}", "stored", "202", None),
        ("{}", "stored", "202", Some("1")),
    ] {
        let Received::Delivery(delivery) = receive(&receiver, &[("x-key", "0123456789abcdef")], body).await.unwrap()
        else {
            panic!("no handshake")
        };
        let stored = receiver.admit(delivery).unwrap().run(async { 200 }, |status| *status == 200).await;
        assert_eq!(stored.unwrap_err().reason().as_str(), outcome);
        let logged = std::mem::take(&mut *lines.lock().unwrap());
        let [line] = &logged[..] else { panic!("{logged:?}") };
        let field = |name| line.get(name).map(String::as_str);
        assert_eq!((field("outcome"), field("reason"), field("status")), (Some(outcome), Some(outcome), Some(status)));
        assert_eq!((field("repeats"), field("next"), field("source")), (repeats, None, None));
        let mut expected = BTreeMap::from([(count(outcome), 1)]);
        expected.extend(repeats.map(|_| ("medhook_possible_duplicates_total{endpoint=in}".to_owned(), 1)));
        let mut counted = counted(&snapshotter);
        counted.retain(|name, _| !name.starts_with("medhook_pointer_missing_total"));
        assert_eq!(counted, expected);
    }
    let mut last = gauges(&snapshotter);
    last.sort();
    assert_eq!(last, ["medhook_last_genuine_seconds", "medhook_secret_last_used_seconds"]);
}

#[tokio::test(start_paused = true)]
async fn events_evicted_early_from_a_memory_store_are_counted() {
    const HOUR: Duration = Duration::from_secs(3600);
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);

    let store = MemoryStore::new(1);
    for n in 0..3 {
        let (key, token) = (EventKey::from_bytes([n; 32]), ClaimToken::from_bytes([n; 16]));
        store.claim(key, token, HOUR).await.unwrap();
        let forgot = [("medhook_store_forgotten_total{}".to_owned(), 1)];
        assert_eq!(counted(&snapshotter), forgot.into_iter().filter(|_| n > 0).collect(), "{n}");
        store.commit(key, token, Retention::new(Duration::ZERO, HOUR)).await.unwrap();
        assert_eq!(counted(&snapshotter), [].into(), "{n}");
    }
}

/// Passes on the problem of each line that has one.
struct Problems(tokio::sync::mpsc::UnboundedSender<String>);

impl<S: tracing::Subscriber> Layer<S> for Problems {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields(BTreeMap::new());
        event.record(&mut fields);
        if let Some(problem) = fields.0.remove("problem") {
            let _ = self.0.send(problem);
        }
    }
}

#[tokio::test]
async fn the_log_says_why_a_stored_event_cannot_be_opened() {
    let (sender, mut problems) = tokio::sync::mpsc::unbounded_channel();
    let _guard = captured(Problems(sender));
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("inbox.db")).await.unwrap();
    let receiver = async |bodies| {
        let custom = Custom::new("acme", SharedSecret::new("x-key"), Secret::new("0123456789abcdef").unwrap());
        Receiver::builder("in", custom.id_pointer("/id")).inbox(store.inbox(bodies).await.unwrap()).build().unwrap()
    };
    let in_clear = receiver(Bodies::plaintext()).await;
    let received = receive(&in_clear, &[("x-key", "0123456789abcdef")], r#"{"id":1}"#).await.unwrap();
    let Received::Delivery(delivery) = received else { panic!("no handshake") };
    in_clear.admit(delivery).unwrap().run(async { 200 }, |status| *status == 200).await.unwrap_err();

    let key = Secret::new("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=").unwrap();
    let sealed = receiver(Bodies::sealed(Keyring::new(key).unwrap())).await;
    let worker = tokio::spawn(Worker::builder(&sealed).handler(async |_| true).unwrap().run());
    let problem = problems.recv().await.unwrap();
    assert!(problem.starts_with("it is in clear; "), "{problem}");
    sealed.drain(Duration::ZERO).await;
    worker.await.unwrap();
}

/// The lines about handshakes, with their targets.
struct Handshakes(Lines);

impl<S: tracing::Subscriber> Layer<S> for Handshakes {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        if metadata.target() == "medhook::handshakes" && *metadata.level() == tracing::Level::INFO {
            let mut fields = Fields(BTreeMap::new());
            event.record(&mut fields);
            self.0.lock().unwrap().push(fields.0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn answered_handshakes_are_counted_and_their_lines_are_limited() {
    let (lines, warnings) = (Lines::default(), Warnings::default());
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let _guard = captured(Handshakes(lines.clone()).and_then(warnings.clone()));
    let token = Secret::new("a-long-random-token").unwrap();
    let echo = medhook::Handshake::echo_text("c", medhook::EchoToken::parameter("token", token.clone()));
    let scheme = SharedSecret::new("x-key");
    let provider = Custom::new("acme", scheme, token).handshake(echo).handshake(medhook::Handshake::head());
    let provider = provider.handshake(medhook::Handshake::ping_pong("/ping", "pong"));
    let receiver = Receiver::builder("acme-in", provider).store(NoDedupe).build().unwrap();
    let request = async |method: &str, target: &str| {
        let body = futures_util::stream::iter([Ok::<_, std::convert::Infallible>(r#"{"ping":"canary"}"#.into())]);
        let headers = [("x-key", "a-long-random-token")];
        receiver
            .receive(&RequestHead::new(method, target, &headers), body)
            .await
            .map_err(|rejection| rejection.reason())
    };
    for (method, target) in [
        ("GET", "/canary?token=a-long-random-token&c=canary"),
        ("GET", "/canary?token=a-long-random-token&c=canary"),
        ("HEAD", "/canary"),
        ("POST", "/canary"),
        ("GET", "/canary?token=a-long-random-token&c=canary"),
    ] {
        assert!(matches!(request(method, target).await, Ok(Received::Reply(_))), "{method}");
    }
    for target in ["/canary?token=canary&c=a", "/canary?token=canary&c=a", "/canary?token=a-long-random-token"] {
        assert_eq!(request("GET", target).await.map(drop), Err(Reason::HandshakeRejected));
    }

    let labels = |label: &str| format!("medhook_handshakes_total{{endpoint=acme-in,handshake={label}}}");
    let rejected = "medhook_deliveries_total{endpoint=acme-in,provider=acme,kind=,outcome=rejected,reason=";
    let expected = [
        (labels("echo"), 3),
        (labels("head"), 1),
        (labels("ping-pong"), 1),
        (format!("{rejected}handshake_rejected}}"), 3),
    ];
    assert_eq!(counted(&snapshotter), BTreeMap::from(expected));

    let taken = || {
        let lines = std::mem::take(&mut *lines.lock().unwrap());
        let fields = ["endpoint", "provider", "handshake", "count", "message"];
        assert!(!format!("{lines:?}").contains("canary") && lines.iter().all(|line| line.len() == fields.len()));
        lines.iter().map(|line| fields.map(|field| line[field].clone())).collect::<Vec<_>>()
    };
    let line = |name, count| ["acme-in", "acme", name, count, "webhook handshakes answered"].map(str::to_owned);
    assert_eq!(taken(), [line("echo", "1"), line("head", "1"), line("ping-pong", "1")]);
    const FIELDS: [&str; 4] = ["endpoint", "reason", "count", "detail"];
    let wrong =
        |count| ["acme-in", "handshake_rejected", count, "the token is not a configured one"].map(str::to_owned);
    let missing = ["acme-in", "handshake_rejected", "1", "the challenge is missing"].map(str::to_owned);
    assert_eq!(warnings.taken_fields(FIELDS), [wrong("1"), missing]);
    tokio::time::sleep(Duration::from_millis(60_001)).await;
    assert_eq!(taken(), [line("echo", "2")], "without another one");
    assert_eq!(warnings.taken_fields(FIELDS), [wrong("1")]);
}

/// Returns the counts since the last call, by name and labels.
fn counted(snapshotter: &Snapshotter) -> BTreeMap<String, u64> {
    let counted = |(key, _, _, value): (CompositeKey, _, _, _)| match value {
        DebugValue::Counter(count) => {
            let labels = key.key().labels().map(|label| format!("{}={}", label.key(), label.value()));
            let labels: Vec<_> = labels.collect();
            Some((format!("{}{{{}}}", key.key().name(), labels.join(",")), count))
        }
        _ => None,
    };
    // A counter stays in the snapshot after it was read.
    snapshotter.snapshot().into_vec().into_iter().filter_map(counted).filter(|(_, count)| *count > 0).collect()
}
