//! The metrics of stored events that are useful for a limited time.

use std::collections::BTreeMap;
use std::time::Duration;

use medhook::inbox::Operator;
use medhook::{Bodies, Fasten, Receiver, Secret, SqliteStore, Worker, testing};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

const SECRET: &str = "whsec_AqM87BQiXPk6SqjUZMxJPR1FhvObGm6e";
const EXPORT: &str = "{endpoint=in,kind=patient.ehi_export_success}";

fn gauges(snapshotter: &Snapshotter) -> BTreeMap<String, f64> {
    let gauge = snapshotter.snapshot().into_vec().into_iter().filter_map(|(key, _, _, value)| {
        let labels = key.key().labels().map(|label| format!("{}={}", label.key(), label.value()));
        let name = format!("{}{{{}}}", key.key().name(), labels.collect::<Vec<_>>().join(","));
        match value {
            DebugValue::Gauge(value) => Some((name, value.into_inner())),
            _ => None,
        }
    });
    gauge.filter(|(name, _)| name.contains("useful")).collect()
}

/// Waits until the worker has measured an age that is 0, or one that is not.
async fn measured(snapshotter: &Snapshotter, is_zero: bool) -> f64 {
    loop {
        let gauges = gauges(snapshotter);
        let age = gauges.get(&format!("medhook_inbox_oldest_useful_seconds{EXPORT}")).copied();
        if let Some(age) = age.filter(|age| (*age == 0.0) == is_zero) {
            return age;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_age_of_an_event_is_measured_until_it_is_handled_or_discarded() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("inbox.db")).await.unwrap();
    let inbox = store.inbox(Bodies::plaintext()).await.unwrap();
    let fasten = Fasten::live(Secret::new(SECRET).unwrap());
    let receiver = Receiver::builder("in", fasten).inbox(inbox.clone()).build().unwrap();
    let useful = [(format!("medhook_useful_for_seconds{EXPORT}"), 86_400.0)];
    assert_eq!(gauges(&snapshotter), useful.into(), "from the build on");

    let operator = Operator::new("ann", "a test").unwrap();
    inbox.pause("in", &operator).await.unwrap();
    for kind in ["patient.ehi_export_success", "patient.ehi_export_failed"] {
        let request = testing::fasten(kind).secret(SECRET).request("/");
        let verified = receiver.verify(request.headers(), request.body().clone()).unwrap();
        let admitted = receiver.admit(receiver.open(verified).unwrap()).unwrap();
        admitted.run(async {}, |()| true).await.unwrap_err();
    }
    tokio::time::sleep(Duration::from_millis(5)).await;
    let worker = || tokio::spawn(Worker::builder(&receiver).handler(async |_| true).unwrap().run());
    // Each worker measures when it begins.
    let first = worker();
    assert!(measured(&snapshotter, false).await < 3_600.0);
    first.abort();
    assert_eq!(gauges(&snapshotter).len(), 2, "one kind has a limited time");
    inbox.discard(1, &operator).await.unwrap();
    let second = worker();
    measured(&snapshotter, true).await;
    second.abort();
}
