//! Silence is loud: an endpoint warns when no genuine delivery has arrived for `expect_every`.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::stream;
use medhook::testing::{self, Sample, Signing};
use medhook::{
    Builder, Clock, Custom, Fasten, Freshness, HealthSync, HmacSha256Body, MemoryStore, Provider, Reason, Received,
    Receiver, RequestHead, Secret,
};
use medhook_tests::captured;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use tokio::time::{Instant, sleep};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// 2026-01-01T00:00:00Z.
const START: i64 = 1_767_225_600;
const SECRET: &str = "whsec_AqM87BQiXPk6SqjUZMxJPR1FhvObGm6e";
const TEST_SECRET: &str = "whsec_BqM87BQiXPk6SqjUZMxJPR1FhvObGm6e";

/// The receiver's clock, which stops and continues with tokio's.
#[derive(Debug, Clone, Copy)]
struct PausedClock(Instant);

impl PausedClock {
    fn unix(self) -> i64 {
        START + i64::try_from(self.0.elapsed().as_secs()).unwrap()
    }
}

impl Clock for PausedClock {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(START.unsigned_abs()) + self.0.elapsed()
    }
}

/// The lines about silence: level, message, and the other fields.
type Lines = Arc<Mutex<Vec<(String, String, BTreeMap<&'static str, String>)>>>;

struct Capture(Lines);

struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

impl<S: tracing::Subscriber> Layer<S> for Capture {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "medhook::silence" {
            let mut fields = Fields(BTreeMap::new());
            event.record(&mut fields);
            let message = fields.0.remove("message").unwrap_or_default();
            self.0.lock().unwrap().push((event.metadata().level().to_string(), message, fields.0));
        }
    }
}

/// A receiver whose silence is captured.
struct World {
    clock: PausedClock,
    receiver: Receiver,
    lines: Lines,
    _guard: tracing::subscriber::DefaultGuard,
}

impl World {
    fn new(provider: impl Provider, options: impl FnOnce(Builder) -> Builder) -> Self {
        let lines = Lines::default();
        let guard = captured(Capture(lines.clone()));
        let clock = PausedClock(Instant::now());
        let builder = Receiver::builder("in", provider).store(MemoryStore::new(100)).clock(clock).expect_every(DAY);
        World { clock, receiver: options(builder).build().unwrap(), lines, _guard: guard }
    }

    /// Sends a request and returns the status of a handler that answers `status`, or the reason of the rejection.
    async fn send(&self, request: &http::Request<medhook::Bytes>, status: u16) -> Result<u16, Reason> {
        let head = RequestHead::new("POST", "/", request.headers());
        let body = stream::iter([Ok::<_, Infallible>(request.body().clone())]);
        let received = self.receiver.receive(&head, body).await.map_err(|rejection| rejection.reason())?;
        let Received::Delivery(delivery) = received else { panic!("a reply") };
        let admitted = self.receiver.admit(delivery).map_err(|rejection| rejection.reason())?;
        let run = admitted.run(async { status }, |status| (200..300).contains(status)).await;
        run.map_err(|rejection| rejection.reason())
    }

    /// Waits until just after the time of a check.
    async fn wait(&self, time: Duration) {
        sleep(time + Duration::from_millis(1)).await;
    }

    /// Returns the levels of the lines since the last call, with the number of rejections and their main reason.
    fn levels(&self) -> Vec<String> {
        let lines = std::mem::take(&mut *self.lines.lock().unwrap());
        let short = |(level, _, fields): &(String, _, BTreeMap<_, String>)| match fields.get("rejected") {
            Some(rejected) => {
                let mostly = fields.get("mostly").map_or("nothing", |reason| reason);
                format!("{level} {rejected} {mostly}")
            }
            None => level.clone(),
        };
        lines.iter().map(short).collect()
    }
}

fn secret(text: &str) -> Secret {
    Secret::new(text).unwrap()
}

fn healthsync(clock: PausedClock, id: &str) -> Sample {
    let created_at = jiff::Timestamp::from_second(clock.unix()).unwrap();
    let body = format!(r#"{{"id":"{id}","type":"user.updated","created_at":"{created_at}","data":{{"object":{{}}}}}}"#);
    testing::healthsync("user.updated").secret(SECRET).body(body)
}

#[tokio::test(start_paused = true)]
async fn silence_is_logged_and_counted_when_it_begins_again_each_period_and_when_it_ends() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let world = World::new(HealthSync::new(secret(SECRET)), |builder| builder);
    let counter = "medhook_silence_total{endpoint=in,provider=healthsync}";
    let gauge = "medhook_last_genuine_seconds{endpoint=in}";
    assert_eq!(
        values(&snapshotter),
        [(counter.to_owned(), 0)].into(),
        "a counter that exists before it is incremented"
    );

    world.wait(DAY - Duration::from_secs(1)).await;
    assert!(world.lines.lock().unwrap().is_empty());
    world.wait(Duration::from_secs(1)).await;
    let expected = |level: &str, message: &str, fields: &[(&'static str, &str)]| {
        let fields = [("endpoint", "in"), ("provider", "healthsync")].iter().chain(fields);
        (level.to_owned(), message.to_owned(), fields.map(|(name, value)| (*name, (*value).to_owned())).collect())
    };
    let next_step = "requests may not reach this receiver: check at the provider whether the webhook is enabled and what was \
                     sent, then DNS, the TLS certificate and the proxy of its URL";
    let message =
        format!("no genuine webhook delivery for 24h (none since the start; none rejected since); {next_step}");
    let first = expected("WARN", &message, &[("silent_seconds", "86400"), ("rejected", "0")]);
    assert_eq!(std::mem::take(&mut *world.lines.lock().unwrap()), [first]);
    assert_eq!(values(&snapshotter), [(counter.to_owned(), 1)].into());

    world.wait(DAY).await;
    let message =
        format!("no genuine webhook delivery for 48h (none since the start; none rejected since); {next_step}");
    let second = expected("WARN", &message, &[("silent_seconds", "172800"), ("rejected", "0")]);
    assert_eq!(std::mem::take(&mut *world.lines.lock().unwrap()), [second]);

    sleep(HOUR).await;
    assert_eq!(world.send(&healthsync(world.clock, "evt_1").request("/"), 200).await, Ok(200));
    let message = "genuine webhook deliveries arrive again after 49h; check what was missed";
    let ended = expected("INFO", message, &[("silent_seconds", "176400")]);
    assert_eq!(std::mem::take(&mut *world.lines.lock().unwrap()), [ended]);
    let now = world.clock.unix();
    assert_eq!(values(&snapshotter).get(gauge), Some(&now));
    let activity = world.receiver.activity();
    let time = UNIX_EPOCH + Duration::from_secs(now.unsigned_abs());
    assert_eq!((activity.last_genuine, activity.secrets[0].last_used), (Some(time), Some(time)));

    // The next line is due a day after that delivery, not after the last line.
    assert_eq!(world.send(&healthsync(world.clock, "evt_2").request("/"), 200).await, Ok(200));
    world.wait(DAY - Duration::from_secs(1)).await;
    assert!(world.lines.lock().unwrap().is_empty(), "regular deliveries cause no line");
    let request = healthsync(world.clock, "evt_3").request("/");
    let forged = http::Request::builder().header("x-healthsync-signature", "sha256=00").body("{}".into()).unwrap();
    for _ in 0..3 {
        assert_eq!(world.send(&forged, 200).await, Err(Reason::MalformedHeader));
    }
    let mut other = request.clone();
    *other.body_mut() = "{}".into();
    assert_eq!(world.send(&other, 200).await, Err(Reason::SignatureMismatch));
    world.wait(Duration::from_secs(1)).await;
    let lines = std::mem::take(&mut *world.lines.lock().unwrap());
    let (level, message, fields) = lines.first().unwrap();
    assert_eq!((lines.len(), level.as_str()), (1, "WARN"));
    let begin = "no genuine webhook delivery for 24h (the last at 2026-01-03T01:00:00Z; 4 rejected since, mostly \
                 malformed_header); find out at the provider whether these are its requests";
    assert!(message.starts_with(begin), "{message}");
    assert_eq!((&*fields["last"], &*fields["mostly"]), ("2026-01-03T01:00:00Z", "malformed_header"));
}

/// Returns the values of the counters since the last call and of the gauges, by name and labels.
fn values(snapshotter: &Snapshotter) -> BTreeMap<String, i64> {
    let values = snapshotter.snapshot().into_vec().into_iter().filter_map(|(key, _, _, value)| {
        let labels = key.key().labels().map(|label| format!("{}={}", label.key(), label.value()));
        let name = format!("{}{{{}}}", key.key().name(), labels.collect::<Vec<_>>().join(","));
        #[allow(clippy::cast_possible_truncation, reason = "whole seconds")]
        match value {
            DebugValue::Counter(count) => Some((name, count.try_into().unwrap())),
            DebugValue::Gauge(value) => Some((name, value.into_inner() as i64)),
            DebugValue::Histogram(_) => None,
        }
    });
    values.filter(|(name, _)| name.contains("silence") || name.contains("genuine")).collect()
}

#[tokio::test(start_paused = true)]
async fn forged_and_old_deliveries_do_not_end_a_silence_but_duplicates_of_known_age_do() {
    let world = World::new(HealthSync::new(secret(SECRET)), |builder| builder);
    let captured = healthsync(world.clock, "evt_1").request("/");
    assert_eq!(world.send(&captured, 200).await, Ok(200));
    world.wait(DAY).await;
    assert_eq!(world.levels(), ["WARN 0 nothing"]);

    assert_eq!(world.send(&captured, 200).await, Err(Reason::Stale), "a replay");
    assert_eq!(world.send(&captured, 200).await, Err(Reason::Stale), "a replay");
    let mut forged = captured.clone();
    *forged.body_mut() = "{}".into();
    assert_eq!(world.send(&forged, 200).await, Err(Reason::SignatureMismatch));
    assert!(world.levels().is_empty());
    let start = UNIX_EPOCH + Duration::from_secs(START.unsigned_abs());
    assert_eq!(world.receiver.activity().last_genuine, Some(start), "none of them");
    world.wait(DAY).await;
    assert_eq!(world.levels(), ["WARN 3 stale"]);

    let fresh = healthsync(world.clock, "evt_2").request("/");
    assert_eq!(world.send(&fresh, 200).await, Ok(200));
    assert_eq!(world.levels(), ["INFO"]);
    // A retry an hour later is a duplicate, and moves the beginning of the next silence.
    world.wait(HOUR).await;
    assert_eq!(world.send(&fresh, 200).await, Err(Reason::Duplicate));
    world.wait(DAY - HOUR).await;
    assert!(world.levels().is_empty());
    world.wait(HOUR).await;
    assert_eq!(world.levels(), ["WARN 0 nothing"]);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_the_handler_fails_or_that_finds_no_permit_is_genuine() {
    let world = World::new(HealthSync::new(secret(SECRET)), |builder| builder.max_in_flight(1));
    world.wait(DAY).await;
    assert_eq!(world.levels(), ["WARN 0 nothing"]);
    assert_eq!(world.send(&healthsync(world.clock, "evt_1").request("/"), 500).await, Ok(500));
    assert_eq!(world.levels(), ["INFO"]);
    world.wait(DAY).await;
    assert_eq!(world.levels(), ["WARN 0 nothing"]);
    let request = healthsync(world.clock, "evt_2").request("/");
    let delivery = world.receiver.open(world.receiver.verify(request.headers(), request.body().clone()).unwrap());
    let admitted = world.receiver.admit(delivery.unwrap());
    assert_eq!(world.levels(), ["INFO"], "genuine before a permit is acquired");
    assert_eq!(world.send(&healthsync(world.clock, "evt_3").request("/"), 200).await, Err(Reason::TooBusy));
    drop(admitted);
}

/// A replay of any age verifies, and a store forgets.
#[tokio::test(start_paused = true)]
async fn without_a_checked_age_only_a_new_event_is_genuine() {
    let scheme = HmacSha256Body::new("x-acme-signature");
    let custom = Custom::new("acme", scheme.clone(), secret(SECRET)).id_pointer("/id");
    let world = World::new(custom, |builder| builder.retention(10 * DAY));
    let request = |id: &str| testing::custom(scheme.clone(), format!(r#"{{"id":"{id}"}}"#)).secret(SECRET).request("/");
    assert_eq!(world.send(&request("1"), 200).await, Ok(200));
    world.wait(HOUR).await;
    for _ in 0..2 {
        assert_eq!(world.send(&request("1"), 200).await, Err(Reason::Duplicate), "perhaps a replay");
    }
    world.wait(DAY - HOUR).await;
    assert_eq!(world.levels(), ["WARN 2 duplicate"]);
    assert_eq!(world.send(&request("1"), 200).await, Err(Reason::Duplicate));
    assert!(world.levels().is_empty());
    assert_eq!(world.send(&request("2"), 500).await, Ok(500));
    assert_eq!(world.levels(), ["INFO"]);
}

/// Each delivery of such a body is of an event of its own.
#[tokio::test(start_paused = true)]
async fn a_repeated_body_of_a_kind_that_can_recur_is_not_genuine() {
    let scheme = HmacSha256Body::new("x-acme-signature");
    let custom = Custom::new("acme", scheme.clone(), secret(SECRET)).id_pointer("/id");
    let world = World::new(custom, |builder| builder.max_repeats(2));
    let request = testing::custom(scheme, r#"{"no":"id"}"#).secret(SECRET).request("/");
    assert_eq!(world.send(&request, 200).await, Ok(200));
    world.wait(HOUR).await;
    for _ in 0..2 {
        assert_eq!(world.send(&request, 200).await, Ok(200), "handled, but perhaps a replay");
    }
    assert_eq!(world.send(&request, 200).await, Err(Reason::RepeatLimit));
    world.wait(DAY - HOUR).await;
    assert_eq!(world.levels(), ["WARN 1 repeat_limit"]);
    assert_eq!(world.send(&request, 200).await, Ok(200), "the limit is that of a day");
    assert!(world.levels().is_empty());
    world.wait(DAY).await;
    assert_eq!(world.levels(), ["WARN 1 repeat_limit"]);
    // The record expires a day after the last delivery.
    assert_eq!(world.send(&request, 200).await, Ok(200));
    assert_eq!(world.levels(), ["INFO"]);
}

/// The time of such an event was not checked, so it counts as in the test before.
#[tokio::test(start_paused = true)]
async fn an_event_that_lacks_its_time_is_genuine_if_it_is_new() {
    let world = World::new(HealthSync::new(secret(SECRET)), |builder| builder.retention(10 * DAY));
    let test = |id: &str| {
        let body = format!(r#"{{"id":"{id}","type":"test.event"}}"#);
        testing::healthsync("user.updated").secret(SECRET).body(body).request("/")
    };
    world.wait(DAY).await;
    assert_eq!(world.levels(), ["WARN 0 nothing"]);
    assert_eq!(world.send(&test("evt_1"), 200).await, Ok(200));
    assert_eq!(world.levels(), ["INFO"]);
    world.wait(HOUR).await;
    assert_eq!(world.send(&test("evt_1"), 200).await, Err(Reason::Duplicate));
    world.wait(DAY - HOUR).await;
    assert_eq!(world.levels(), ["WARN 0 nothing"]);
}

/// Otherwise the events of a simulator would hide that the live secret is wrong.
#[tokio::test(start_paused = true)]
async fn events_of_the_wrong_mode_are_not_genuine() {
    let fasten = |clock: PausedClock, text: &str, mode: &str| {
        let body = format!(r#"{{"id":"1","type":"webhook.test","api_mode":"{mode}","data":{{"hello":"world"}}}}"#);
        testing::fasten("webhook.test").secret(text).at(clock.unix()).body(body).request("/")
    };
    let provider = Fasten::live(secret(SECRET)).and_test(secret(TEST_SECRET));
    let world = World::new(provider, |builder| builder);
    assert_eq!(world.send(&fasten(world.clock, SECRET, "test"), 200).await, Err(Reason::WrongMode));
    assert_eq!(world.send(&fasten(world.clock, TEST_SECRET, "live"), 200).await, Err(Reason::SecretModeMismatch));
    assert_eq!(world.send(&fasten(world.clock, TEST_SECRET, "live"), 200).await, Err(Reason::SecretModeMismatch));
    world.wait(DAY).await;
    assert_eq!(world.levels(), ["WARN 3 secret_mode_mismatch"]);
    assert_eq!(world.send(&fasten(world.clock, SECRET, "live"), 200).await, Ok(200));
    assert_eq!(world.levels(), ["INFO"]);
    // A retry has a new timestamp and signature.
    world.wait(DAY).await;
    assert_eq!(world.levels(), ["WARN 0 nothing"]);
    assert_eq!(world.send(&fasten(world.clock, SECRET, "live"), 200).await, Err(Reason::Duplicate));
    assert_eq!(world.levels(), ["INFO"]);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_without_the_option_and_one_that_is_drained_or_dropped_are_not_watched() {
    for case in ["drained", "dropped", "kept"] {
        let world = World::new(HealthSync::new(secret(SECRET)), |builder| builder);
        let without = Receiver::builder("without", HealthSync::new(secret(SECRET))).store(MemoryStore::new(1));
        let _without = without.build().unwrap();
        let (clone, kept) = (world.receiver.clone(), world.receiver.clone());
        match case {
            "drained" => assert_eq!(world.receiver.drain(HOUR).await, 0),
            "dropped" => {
                drop((world.receiver, clone, kept));
                sleep(3 * DAY).await;
                assert!(world.lines.lock().unwrap().is_empty(), "{case}");
                continue;
            }
            _ => drop(clone),
        }
        world.wait(3 * DAY).await;
        let expected: &[&str] = if case == "kept" { &["WARN 0 nothing"; 3] } else { &[] };
        assert_eq!(world.levels(), expected, "{case}");
    }
}

/// An unsigned time is easy to edit, but one that was not edited is checked.
#[tokio::test(start_paused = true)]
async fn the_age_of_an_event_is_checked_if_configured() {
    let scheme = medhook::SharedSecret::new("x-key");
    let custom = Custom::new("acme", scheme, secret(SECRET)).id_pointer("/id").time_pointer("/at");
    let freshness = Freshness::EventTime { max_age: 2 * HOUR, max_skew: HOUR };
    let world = World::new(custom, |builder| builder.freshness(freshness));
    let sample = testing::azodha("BookAppointment").signing(Signing::shared_secret("x-key")).secret(SECRET);
    let old = sample.clone().body(format!(r#"{{"id":"1","at":{START}}}"#)).request("/");
    assert_eq!(world.send(&old, 200).await, Ok(200));
    world.wait(DAY).await;
    assert_eq!(world.send(&old, 200).await, Err(Reason::Stale));
    assert_eq!(world.levels(), ["WARN 0 nothing"]);
}
