//! Each delivery is told of once, in the log and in the counters, as what it came out as.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use medhook_tests::stage::Stage;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// The fields of each line about a delivery.
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
async fn every_delivery_is_logged_and_counted_once_as_what_it_came_out_as() {
    let lines = Lines::default();
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(Capture(lines.clone())));

    let stages: Arc<[Stage]> = Stage::all(super::cases()).into();
    for (n, stage) in stages.iter().enumerate() {
        let played = stage.play(|| {
            let stages = stages.clone();
            Box::pin(async move { super::deliver(&stages[n]).await })
        });
        let name = &stage.case.name;
        played.await.unwrap_or_else(|problem| panic!("{name}: {problem}"));

        let told: Vec<_> = std::mem::take(&mut *lines.lock().unwrap());
        let deliveries = stage.answers.lock().unwrap().len();
        assert_eq!(told.len(), deliveries, "{name}: {told:?}");
        let expected = &stage.case.expected;
        let outcome = expected.outcome.as_str();
        let reason = expected.reason.map(|reason| reason.as_str());
        let is_it = |line: &&BTreeMap<&str, String>| {
            line["outcome"] == outcome && line.get("reason").map(String::as_str) == reason
        };
        assert!(told.iter().any(|line| is_it(&line)), "{name}: {told:?}");
        for line in &told {
            assert_eq!(line["endpoint"], stage.case.endpoint, "{name}");
            assert_eq!(line["provider"], stage.receiver.provider(), "{name}");
        }
        let counted: u64 = snapshotter
            .snapshot()
            .into_vec()
            .into_iter()
            .filter(|(key, ..)| key.key().name() == "medhook_deliveries_total")
            .filter_map(|(.., value)| if let DebugValue::Counter(count) = value { Some(count) } else { None })
            .sum();
        // A snapshot takes what has been counted since the last one.
        assert_eq!(counted, deliveries as u64, "{name}");
    }
}
