//! The application's recorder of metrics: described metrics, and a warning if there is none. The warning is logged once
//! in a process, so each test runs another one.

use std::process::Command;
use std::sync::{Arc, Mutex};

use medhook::{Bytes, HealthSync, NoDedupe, Receiver, RequestHead, Secret, testing};
use metrics::NoopRecorder;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

const SECRET: &str = "0123456789abcdef";

/// Writes the message of each warning to standard output.
struct Printed;

impl<S: tracing::Subscriber> Layer<S> for Printed {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let message: Arc<Mutex<String>> = Arc::default();
        event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            if field.name() == "message" {
                *message.lock().unwrap() = format!("{value:?}");
            }
        });
        let message = message.lock().unwrap();
        if message.contains("recorder") {
            println!("logged: {} {message}", event.metadata().level());
            assert_ne!(recorder(), "none, and a subscriber that panics");
        }
    }
}

/// Receives two deliveries in another process with this recorder, and returns what it logs about recorders.
fn logged_with(recorder: &str) -> Vec<String> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "recorder::receives_two_deliveries", "--ignored", "--nocapture", "--test-threads", "1"]);
    let output = command.env("TEST_RECORDER", recorder).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("received 2"), "{text}");
    text.lines().filter_map(|line| line.split_once("logged: ")).map(|(_, line)| line.to_owned()).collect()
}

#[tokio::test]
#[ignore = "run by the other tests, in a process of its own"]
async fn receives_two_deliveries() {
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Printed)).unwrap();
    let healthsync = HealthSync::new(Secret::new(SECRET).unwrap());
    let receiver = Receiver::builder("in", healthsync).store(NoDedupe).build().unwrap();
    // After the receiver was built, and before the first delivery.
    match &*recorder() {
        "debugging" => metrics::set_global_recorder(DebuggingRecorder::new()).unwrap(),
        "noop" => metrics::set_global_recorder(NoopRecorder).unwrap(),
        _ => {}
    }
    let later = DebuggingRecorder::new();
    let snapshotter = later.snapshotter();
    for n in 1..=2 {
        let _recording = (n == 2).then(|| metrics::set_default_local_recorder(&later));
        let headers = http::HeaderMap::new();
        let body = futures_util::stream::iter([Ok::<_, std::convert::Infallible>(Bytes::new())]);
        receiver.receive(&RequestHead::new("POST", "/", &headers), body).await.unwrap_err();
        println!("received {n}");
    }
    assert_eq!(snapshotter.snapshot().into_vec().len(), 1);
}

fn recorder() -> String {
    std::env::var("TEST_RECORDER").unwrap_or_default()
}

#[test]
fn a_missing_recorder_is_logged_once_with_its_version_and_the_next_step() {
    let expected = "WARN the feature `metrics` is enabled, but no recorder for metrics 0.24 is installed, so nothing is \
                    counted; install a recorder before the first delivery; if one is installed, run `cargo tree -i \
                    metrics`: it must use the same version of `metrics` (docs/metrics.md)";
    assert_eq!(logged_with("none"), [expected]);
}

#[test]
fn after_a_subscriber_that_panics_at_the_warning_deliveries_are_counted() {
    assert_eq!(logged_with("none, and a subscriber that panics").len(), 1);
}

#[test]
fn an_installed_recorder_is_not_reported_as_missing() {
    assert_eq!(logged_with("debugging"), [""; 0]);
}

/// An application that deliberately records nothing says so with the recorder that does nothing.
#[test]
fn an_installed_noop_recorder_is_not_reported_as_missing() {
    assert_eq!(logged_with("noop"), [""; 0]);
}

#[tokio::test]
async fn metrics_are_described_with_unit_and_help() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let healthsync = HealthSync::new(Secret::new(SECRET).unwrap());
    let builder = Receiver::builder("in", healthsync).store(NoDedupe);
    let receiver = builder.expect_every(std::time::Duration::from_secs(3600)).build().unwrap();
    let request = testing::healthsync("document.uploaded").secret(SECRET).request("/");
    let verified = receiver.verify(request.headers(), request.body().clone()).unwrap();
    let admitted = receiver.admit(receiver.open(verified).unwrap()).unwrap();
    admitted.run(async { 200 }, |status| *status == 200).await.unwrap();
    let recorded = snapshotter.snapshot().into_vec();
    assert_eq!(recorded.len(), 7, "{recorded:?}");
    for (key, unit, help, value) in recorded {
        let name = key.key().name();
        let unit = unit.unwrap_or_else(|| panic!("{name} has no unit")).as_str();
        assert_eq!(unit == "seconds", name.ends_with("_seconds"), "{name}: {unit}");
        assert!(help.is_some_and(|help| help.ends_with('.')), "{name}");
        if name == "medhook_expect_every_seconds" {
            assert!(matches!(value, DebugValue::Gauge(seconds) if seconds.0 == 3600.0), "{value:?}");
        }
    }
}
