//! Each delivery is logged once and counted once, with its outcome.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use medhook::testing::{self, StoppedClock};
use medhook::{
    Bytes, ClaimToken, Custom, DedupeStore, EventKey, Fasten, MemoryStore, NoDedupe, OnStoreError, Reason, Receiver,
    RequestHead, Retention, Secret, SharedSecret,
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
        for line in &logged {
            assert_eq!(line["endpoint"], stage.case.endpoint, "{name}");
            assert_eq!(line["provider"], stage.receiver.provider(), "{name}");
        }
        let counted = counted(&snapshotter).into_iter();
        let counted = counted.filter(|(counter, _)| counter.starts_with("medhook_deliveries_total"));
        assert_eq!(counted.map(|(_, count)| count).sum::<u64>(), deliveries as u64, "{name}");
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

#[tokio::test(start_paused = true)]
async fn a_test_secret_that_verifies_a_live_event_is_explained_at_once_then_once_a_minute() {
    const START: i64 = 1_767_225_600;
    let warnings = Warnings::default();
    let _guard = captured(warnings.clone());
    let text = "whsec_AqM87BQiXPk6SqjUZMxJPR1FhvObGm6e";
    let clock = StoppedClock::at(START);
    let provider = Fasten::test(Secret::new(text).unwrap().labeled("SWAPPED").unwrap());
    let receiver = Receiver::builder("fasten-in", provider).store(NoDedupe).clock(clock.clone()).build().unwrap();
    let reject = async |second: i64| {
        clock.set(START + second);
        let body = r#"{"id":"canary-id","type":"webhook.test","api_mode":"live","data":{"hello":"canary"}}"#;
        let sample = testing::fasten("webhook.test").secret(text).at(START + second).body(body);
        let (head, body) = sample.request("/").into_parts();
        let body = futures_util::stream::iter([Ok::<_, std::convert::Infallible>(body)]);
        let rejection = receiver.receive(&RequestHead::new("POST", "/", &head.headers), body).await.unwrap_err();
        assert_eq!(rejection.reason(), Reason::SecretModeMismatch);
        std::mem::take(&mut *warnings.0.lock().unwrap())
    };
    let explanation = |rejected: &str| {
        BTreeMap::from([
            ("endpoint", "fasten-in".to_owned()),
            ("provider", "fasten".to_owned()),
            ("secret", "SWAPPED".to_owned()),
            ("rejected", rejected.to_owned()),
            (
                "message",
                "the secret labeled \"SWAPPED\" is configured as a test secret but verified an event that is not a test \
                 event; configure it as the live secret"
                    .to_owned(),
            ),
        ])
    };
    for (second, explained) in [(0, Some("1")), (1, None), (59, None), (60, Some("3")), (61, None), (200, Some("2"))] {
        let mut lines = reject(second).await;
        assert!(!format!("{lines:?}").contains("canary"), "{lines:?}");
        let line = lines.remove(0);
        assert_eq!((&*line["outcome"], &*line["reason"]), ("rejected", "secret_mode_mismatch"));
        assert_eq!((&*line["kind"], &*line["secret"]), ("webhook.test", "SWAPPED"));
        assert_eq!(lines, explained.map(explanation).into_iter().collect::<Vec<_>>(), "{second}");
    }
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
        let labels = format!("endpoint=(unresolved),provider=(unresolved),outcome=rejected,reason={reason}");
        assert_eq!(counted(&snapshotter), [(format!("medhook_deliveries_total{{{labels}}}"), 1)].into());
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
                format!("medhook_deliveries_total{{endpoint=in,provider=acme,outcome={outcome},reason=}}"),
                format!("medhook_settle_failed_total{{endpoint=in,step={step}}}"),
                format!("medhook_unclaimed_total{{endpoint=in,reason={reason}}}"),
            ];
            assert_eq!(counted(&snapshotter), expected.map(|counter| (counter, 1)).into());
        }
    }
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
