//! The metrics: their names, types, units, labels and help texts. docs/metrics.md has a row for each of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use metrics::{Key, Label, Level, Metadata, Recorder, SharedString, Unit, with_recorder};

use crate::error::{Outcome, Reason};

/// A metric and the names of its labels.
struct Metric<const LABELS: usize> {
    kind: Kind,
    name: &'static str,
    unit: Unit,
    labels: [&'static str; LABELS],
    help: &'static str,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Declares the metrics, and the function that describes all of them to a recorder.
macro_rules! metrics {
    ($($CONSTANT:ident = $Kind:ident $name:literal { $($label:literal),* } $Unit:ident, $help:literal;)*) => {
        $(const $CONSTANT: Metric<{ <[&str]>::len(&[$($label),*]) }> = Metric {
            kind: Kind::$Kind,
            name: $name,
            unit: Unit::$Unit,
            labels: [$($label),*],
            help: $help,
        };)*

        /// Passes the type, unit and help text of every metric to the recorder.
        pub(crate) fn describe() {
            with_recorder(|recorder| { $($CONSTANT.describe(recorder);)* });
        }

        /// The rows of docs/metrics.md: name, type, unit and labels.
        #[cfg(test)]
        fn rows() -> Vec<(&'static str, Kind, &'static str, Vec<&'static str>)> {
            vec![$(($CONSTANT.name, $CONSTANT.kind, $CONSTANT.unit.as_str(), $CONSTANT.labels.into()),)*]
        }
    };
}

metrics! {
    DELIVERIES = Counter "medhook_deliveries_total" { "endpoint", "provider", "kind", "outcome", "reason" } Count,
        "Deliveries by outcome and, if the handler did not finish, by reason.";
    HANDSHAKES = Counter "medhook_handshakes_total" { "endpoint", "handshake" } Count,
        "Handshakes that the receiver answered, by type.";
    HANDLER = Histogram "medhook_handler_seconds" { "endpoint" } Seconds,
        "Time that handlers took, in seconds. Handlers that panicked or timed out are not included.";
    LAST_HANDLED = Gauge "medhook_last_handled_seconds" { "endpoint" } Seconds,
        "Unix time of the last event that the handler answered 2xx.";
    LAST_GENUINE = Gauge "medhook_last_genuine_seconds" { "endpoint" } Seconds,
        "Unix time of the last genuine delivery: verified, of the right mode, and no replay.";
    SECRET_LAST_USED = Gauge "medhook_secret_last_used_seconds" { "endpoint", "secret" } Seconds,
        "Unix time of the last event that the secret with this label verified and that reached the handler or the inbox.";
    SECRETS_REPLACED = Counter "medhook_secrets_replaced_total" { "endpoint" } Count,
        "Times that the secrets were replaced while the receiver ran.";
    EXPECT_EVERY = Gauge "medhook_expect_every_seconds" { "endpoint", "provider" } Seconds,
        "The configured expect_every, in seconds.";
    SILENCE = Counter "medhook_silence_total" { "endpoint", "provider" } Count,
        "Times that no genuine delivery had arrived for a further expect_every.";
    POSSIBLE_DUPLICATES = Counter "medhook_possible_duplicates_total" { "endpoint" } Count,
        "Deliveries to the handler or the inbox with the same bytes as an earlier one, of a kind that can recur with them.";
    UNDECODABLE = Counter "medhook_undecodable_total" { "endpoint", "kind" } Count,
        "Events whose payload could not be decoded into the documented type.";
    DRIFTED = Counter "medhook_drifted_total" { "endpoint", "kind" } Count,
        "Events with fields that differ from the documentation of the provider.";
    POINTER_MISSING = Counter "medhook_pointer_missing_total" { "endpoint", "pointer" } Count,
        "Verified deliveries of a custom provider in which a configured JSON pointer or header found nothing usable.";
    CLAIMS_LOST = Counter "medhook_claims_lost_total" { "endpoint" } Count,
        "Claims that another delivery took over: their events may be handled twice.";
    UNCLAIMED = Counter "medhook_unclaimed_total" { "endpoint", "reason" } Count,
        "Events delivered to the handler without a claim because the store failed.";
    SETTLE_FAILED = Counter "medhook_settle_failed_total" { "endpoint", "step" } Count,
        "Store operations that failed after the event was claimed.";
    ATTEMPTS = Counter "medhook_attempts_total" { "endpoint", "kind", "outcome", "reason" } Count,
        "Attempts to handle stored events by outcome and, if they failed, by reason.";
    STORED_TO_DONE = Histogram "medhook_stored_to_done_seconds" { "endpoint" } Seconds,
        "Time from when events were stored until they were handled, in seconds.";
    INBOX_WAITING = Gauge "medhook_inbox_waiting" { "endpoint" } Count,
        "Stored events that wait for an attempt.";
    INBOX_PROCESSING = Gauge "medhook_inbox_processing" { "endpoint" } Count,
        "Stored events that are leased by a worker.";
    INBOX_DEAD = Gauge "medhook_inbox_dead" { "endpoint" } Count,
        "Stored events that were given up and are not discarded.";
    INBOX_OLDEST = Gauge "medhook_inbox_oldest_seconds" { "endpoint" } Seconds,
        "Age of the oldest stored event that is not done or given up, 0 if there is none.";
    INBOX_BYTES = Gauge "medhook_inbox_bytes" { "endpoint" } Bytes,
        "Length of the bodies of waiting, processing and dead events.";
    INBOX_PAUSED = Gauge "medhook_inbox_paused" { "endpoint" } Count,
        "1 while an operator has paused the endpoint, otherwise 0.";
    INBOX_BREAKER_OPEN = Gauge "medhook_inbox_breaker_open" { "endpoint" } Count,
        "1 while the application is unreachable and single events probe it, otherwise 0.";
    USEFUL_FOR = Gauge "medhook_useful_for_seconds" { "endpoint", "kind" } Seconds,
        "Time for which an event of this kind is useful after it was sent, in seconds.";
    INBOX_OLDEST_USEFUL = Gauge "medhook_inbox_oldest_useful_seconds" { "endpoint", "kind" } Seconds,
        "Age of the oldest stored event of a kind that is useful for a limited time, 0 without one that is unfinished.";
    STORE_FORGOTTEN = Counter "medhook_store_forgotten_total" {} Count,
        "Events that a memory store forgot before their retention ended.";
}

impl<const LABELS: usize> Metric<LABELS> {
    fn describe(&self, recorder: &dyn Recorder) {
        let (name, unit, help) = (self.name.into(), Some(self.unit), self.help.into());
        match self.kind {
            Kind::Counter => recorder.describe_counter(name, unit, help),
            Kind::Gauge => recorder.describe_gauge(name, unit, help),
            Kind::Histogram => recorder.describe_histogram(name, unit, help),
        }
    }

    fn key(&self, values: [SharedString; LABELS]) -> Key {
        let labels = self.labels.into_iter().zip(values).map(|(name, value)| Label::new(name, value));
        Key::from_parts(self.name, labels.collect::<Vec<_>>())
    }

    fn add(&self, count: u64, values: [SharedString; LABELS]) {
        let key = self.key(values);
        with_recorder(|recorder| recorder.register_counter(&key, &METADATA)).increment(count);
    }

    fn set(&self, value: f64, values: [SharedString; LABELS]) {
        let key = self.key(values);
        with_recorder(|recorder| recorder.register_gauge(&key, &METADATA)).set(value);
    }

    #[allow(clippy::cast_precision_loss, reason = "seconds since 1970 fit a float's 53 bits")]
    fn set_time(&self, unix_seconds: i64, values: [SharedString; LABELS]) {
        self.set(unix_seconds as f64, values);
    }

    fn record(&self, value: f64, values: [SharedString; LABELS]) {
        let key = self.key(values);
        with_recorder(|recorder| recorder.register_histogram(&key, &METADATA)).record(value);
    }
}

static METADATA: Metadata<'static> = Metadata::new("medhook", Level::INFO, Some(module_path!()));

/// Returns a label value that lives as long as the recorder keeps it.
fn owned(value: &str) -> SharedString {
    SharedString::from(value.to_owned())
}

/// Counts a delivery. `kind` is empty unless the delivery is verified.
pub(crate) fn delivery(endpoint: &str, provider: &str, kind: &str, outcome: Outcome, reason: Option<Reason>) {
    check_recorder();
    let reason = reason.map_or("", Reason::as_str);
    DELIVERIES.add(1, [owned(endpoint), owned(provider), owned(kind), outcome.as_str().into(), reason.into()]);
}

/// Counts a handshake that was answered.
pub(crate) fn handshake(endpoint: &str, name: &'static str) {
    check_recorder();
    HANDSHAKES.add(1, [owned(endpoint), name.into()]);
}

/// Records an event whose handler finished.
pub(crate) fn finished(endpoint: &str, took: Duration) {
    HANDLER.record(took.as_secs_f64(), [owned(endpoint)]);
}

/// Records an event that a secret verified.
pub(crate) fn secret_used(endpoint: &str, secret: &str, now: i64) {
    SECRET_LAST_USED.set_time(now, [owned(endpoint), owned(secret)]);
}

/// Counts that an endpoint has new secrets.
pub(crate) fn secrets_replaced(endpoint: &str) {
    SECRETS_REPLACED.add(1, [owned(endpoint)]);
}

/// Records an event whose handler answered 2xx.
pub(crate) fn handled(endpoint: &str, now: i64) {
    LAST_HANDLED.set_time(now, [owned(endpoint)]);
}

/// Records a genuine delivery.
pub(crate) fn genuine(endpoint: &str, now: i64) {
    LAST_GENUINE.set_time(now, [owned(endpoint)]);
}

/// Records that silences of an endpoint are counted from now on. The counter is created with the value 0, because
/// Prometheus does not see an increment that creates one.
pub(crate) fn watched(endpoint: &str, provider: &str, expect_every: Duration) {
    EXPECT_EVERY.set(expect_every.as_secs_f64(), [owned(endpoint), owned(provider)]);
    SILENCE.add(0, [owned(endpoint), owned(provider)]);
}

/// Counts a silence.
pub(crate) fn silent(endpoint: &str, provider: &str) {
    SILENCE.add(1, [owned(endpoint), owned(provider)]);
}

/// Counts a JSON pointer or an unsigned header without a usable value.
pub(crate) fn pointer_missing(endpoint: &str, pointer: &'static str) {
    POINTER_MISSING.add(1, [owned(endpoint), pointer.into()]);
}

/// Counts a possible duplicate.
pub(crate) fn possible_duplicate(endpoint: &str) {
    POSSIBLE_DUPLICATES.add(1, [owned(endpoint)]);
}

/// Counts an event that could not be decoded.
pub(crate) fn undecodable(endpoint: &str, kind: &str) {
    UNDECODABLE.add(1, [owned(endpoint), owned(kind)]);
}

/// Counts an event with fields that are not as documented.
pub(crate) fn drifted(endpoint: &str, kind: &str) {
    DRIFTED.add(1, [owned(endpoint), owned(kind)]);
}

/// Counts a claim that another delivery has taken over.
pub(crate) fn claim_lost(endpoint: &str) {
    CLAIMS_LOST.add(1, [owned(endpoint)]);
}

/// Counts an event that is handled without a claim.
pub(crate) fn unclaimed(endpoint: &str, reason: Reason) {
    UNCLAIMED.add(1, [owned(endpoint), reason.as_str().into()]);
}

/// Counts a store operation that failed after the event was claimed.
pub(crate) fn settle_failed(endpoint: &str, step: &'static str) {
    SETTLE_FAILED.add(1, [owned(endpoint), step.into()]);
}

/// Counts an attempt to handle a stored event.
#[cfg(feature = "inbox")]
pub(crate) fn attempted(endpoint: &str, kind: &str, outcome: &'static str, reason: &str) {
    check_recorder();
    ATTEMPTS.add(1, [owned(endpoint), owned(kind), outcome.into(), owned(reason)]);
}

/// Records the time from when an event was stored until it was handled.
#[cfg(feature = "inbox")]
pub(crate) fn stored_to_done(endpoint: &str, time: Duration) {
    STORED_TO_DONE.record(time.as_secs_f64(), [owned(endpoint)]);
}

/// Records the state of an endpoint's inbox.
#[cfg(feature = "inbox")]
#[allow(clippy::cast_precision_loss, reason = "numbers of events and bytes are far below 2^53")]
pub(crate) fn inbox(endpoint: &str, counts: &crate::counts::EndpointCounts, breaker_open: bool) {
    INBOX_WAITING.set(counts.waiting as f64, [owned(endpoint)]);
    INBOX_PROCESSING.set(counts.processing as f64, [owned(endpoint)]);
    INBOX_DEAD.set(counts.dead as f64, [owned(endpoint)]);
    INBOX_OLDEST.set(counts.oldest.unwrap_or_default().as_secs_f64(), [owned(endpoint)]);
    INBOX_BYTES.set(counts.bytes as f64, [owned(endpoint)]);
    INBOX_PAUSED.set(f64::from(u8::from(counts.paused)), [owned(endpoint)]);
    INBOX_BREAKER_OPEN.set(f64::from(u8::from(breaker_open)), [owned(endpoint)]);
}

/// Records for how long an event of a kind is useful.
#[cfg(feature = "inbox")]
pub(crate) fn useful_for(endpoint: &str, kind: &'static str, time: Duration) {
    USEFUL_FOR.set(time.as_secs_f64(), [owned(endpoint), kind.into()]);
}

/// Records the age of the oldest unfinished event of a kind that is useful for a limited time.
#[cfg(feature = "inbox")]
pub(crate) fn oldest_useful(endpoint: &str, kind: &'static str, age: Duration) {
    INBOX_OLDEST_USEFUL.set(age.as_secs_f64(), [owned(endpoint), kind.into()]);
}

/// Counts an event that a memory store forgot early.
pub(crate) fn forgotten() {
    STORE_FORGOTTEN.add(1, []);
}

/// Describes the metrics again at the first delivery of the process, because the application may have installed its
/// recorder after it built its receivers. Logs if there is no recorder by then.
fn check_recorder() {
    // Not a `Once`: if a subscriber panics, every later call of that would panic as well.
    static CHECKED: AtomicBool = AtomicBool::new(false);
    if CHECKED.load(Ordering::Relaxed) || CHECKED.swap(true, Ordering::Relaxed) {
        return;
    }
    describe();
    #[cfg(feature = "tracing")]
    if !is_recorder_installed() {
        tracing::warn!(
            "the feature `metrics` is enabled, but no recorder for metrics {VERSION} is installed, so nothing is \
             counted; install a recorder before the first delivery; if one is installed, run `cargo tree -i metrics`: \
             it must use the same version of `metrics` (docs/metrics.md)"
        );
    }
}

/// The version of the crate `metrics` in Cargo.toml: recorders for another one see nothing.
#[cfg(any(feature = "tracing", test))]
const VERSION: &str = "0.24";

/// Returns whether the application has installed a recorder. Without one, `metrics` uses a static without fields. An
/// installed recorder without fields is in a box, whose pointer is not an address but the alignment.
#[cfg(any(feature = "tracing", test))]
fn is_recorder_installed() -> bool {
    with_recorder(|recorder| size_of_val(recorder) > 0 || std::ptr::from_ref(recorder).addr() <= align_of_val(recorder))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn file(path: &str) -> String {
        std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    #[test]
    fn every_metric_is_documented_with_its_type_unit_and_labels() {
        let documented = file("docs/metrics.md");
        let (documented, _) = documented.split_once("## Metrics of `medhook receive`").unwrap();
        let documented: Vec<_> = documented.lines().filter(|line| line.starts_with("| `medhook_")).collect();
        let mut expected = Vec::new();
        for (name, kind, unit, labels) in rows() {
            let kind = format!("{kind:?}").to_lowercase();
            let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
            expected.push(format!("| `{name}` | {kind} | {unit} | {} |", labels.join(", ")).replace("|  |", "| |"));
        }
        let start = |line: &&str| line.split_inclusive('|').take(5).collect::<String>();
        assert_eq!(documented.iter().map(start).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn no_other_file_names_a_metric_that_is_not_declared_here() {
        let declared: BTreeSet<_> = rows().into_iter().map(|(name, ..)| name).collect();
        let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
        let mut files = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    files += 1;
                    let text = std::fs::read_to_string(&path).unwrap();
                    for name in text.split("\"medhook_").skip(1).filter_map(|rest| rest.split('"').next()) {
                        let name = format!("medhook_{name}");
                        let is_metric = ["_total", "_seconds"].iter().any(|end| name.ends_with(end));
                        assert!(!is_metric || declared.contains(&*name), "{}: {name}", path.display());
                    }
                }
            }
        }
        assert!(files > 50, "{files}");
    }

    #[test]
    fn the_warning_names_the_version_in_the_manifest() {
        assert!(file("Cargo.toml").contains(&format!("\nmetrics = \"{VERSION}\"\n")));
    }

    #[test]
    fn a_recorder_with_fields_and_a_boxed_one_without_count_as_installed() {
        assert!(!is_recorder_installed());
        let with_fields = Box::new(metrics::NoopRecorder);
        assert!(metrics::with_local_recorder(&with_fields, is_recorder_installed));
        assert!(metrics::with_local_recorder(&*with_fields, is_recorder_installed));
    }
}
