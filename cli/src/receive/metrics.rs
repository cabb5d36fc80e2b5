//! The metrics of the receiver in the text format of Prometheus, served under `[operations]`.

use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderValue, Method, Response, header};
use http_body_util::Full;
use medhook::Bytes;
use metrics::{NoopRecorder, Unit, describe_gauge, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::sync::Mutex;
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep_until};

use super::health::Health;
use crate::failure::Failure;
use crate::server::{Connections, method_not_allowed};

/// The number of parts that were read again and keep what they had before.
const RELOAD_FAILING: &str = "medhook_reload_failing";

/// Records how many parts have files that cannot be used, after a pass over all of them.
pub(super) fn reload_failing(parts: usize) {
    gauge!(RELOAD_FAILING).set(number(parts));
}

/// The path of the metrics.
const PATH: &str = "/metrics";

/// The recorder of this process. The number of its series is bounded by the config file: no label has a value that a
/// sender can choose.
pub(super) struct Metrics {
    recorder: PrometheusHandle,
    connections: Connections,
    text: SharedText,
}

impl Metrics {
    /// Installs the recorder. Must run before the receivers are built, which describe their metrics to it.
    pub(super) fn install(connections: Connections, most: usize) -> Result<Self, Failure> {
        let cannot = |error| Failure::because("cannot record metrics", error);
        let builder = PrometheusBuilder::new().set_buckets(SECONDS).map_err(cannot)?;
        let recorder = builder.install_recorder().map_err(cannot)?;
        describe_gauge!("medhook_build_info", Unit::Count, "1, labeled with the version of this receiver.");
        describe_gauge!("process_start_time_seconds", Unit::Seconds, "Unix time at which this receiver started.");
        describe_gauge!("medhook_connections", Unit::Count, "Open connections at `listen`.");
        describe_gauge!("medhook_connections_max", Unit::Count, "The configured `max_connections`.");
        describe_gauge!("medhook_ready", Unit::Count, "1 while /readyz is answered 200, otherwise 0.");
        describe_gauge!("medhook_store_up", Unit::Count, "0 if the last operation of the store failed, otherwise 1.");
        describe_gauge!(
            RELOAD_FAILING,
            Unit::Count,
            "Endpoints, certificates and other parts whose changed files cannot be used."
        );
        gauge!(RELOAD_FAILING).set(0);
        gauge!("medhook_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1);
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        gauge!("process_start_time_seconds").set(started.as_secs_f64());
        gauge!("medhook_connections_max").set(number(most));
        Ok(Metrics { recorder, connections, text: SharedText::default() })
    }

    /// Moves the durations that were recorded since the last call into their buckets. Without it, they are kept in
    /// memory until the metrics are read.
    pub(super) fn run_upkeep(&self) {
        self.recorder.run_upkeep();
    }

    /// Answers a request for the metrics. Returns `None` for any other path.
    pub(super) async fn answer(&self, method: &Method, path: &str, health: &Health) -> Option<Response<Full<Bytes>>> {
        if path != PATH {
            return None;
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Some(method_not_allowed("GET, HEAD"));
        }
        let render = || {
            gauge!("medhook_connections").set(number(self.connections.open()));
            gauge!("medhook_ready").set(f64::from(health.is_ready()));
            gauge!("medhook_store_up").set(f64::from(health.is_store_up()));
            self.recorder.render()
        };
        let mut response = Response::new(Full::from(self.text.get(render).await));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(TEXT_FORMAT));
        Some(response)
    }
}

/// A text that any client can ask for, rendered for all that wait at the same time.
///
/// With 1,000 endpoints it has more than a megabyte. Without this limit, clients that keep asking for it take all
/// processors from the deliveries, and hold a text for each of their connections.
#[derive(Default)]
struct SharedText(Mutex<Texts>);

#[derive(Default)]
struct Texts {
    last: Option<RenderedText>,
    /// The texts that are in memory: the last one, and those that a client has not read yet.
    in_memory: Vec<Weak<String>>,
}

struct RenderedText {
    begun: Instant,
    /// The time from which the next one may be rendered.
    next: Instant,
    text: Arc<String>,
}

/// The owner of the bytes of an answer.
struct TextOf(Arc<String>);

impl AsRef<[u8]> for TextOf {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Rendering takes at most one part of this many of a processor.
const SHARE: u32 = 5;

/// Once as many texts are in memory, requests share the last one while it is not older than [`RECENT`]. Clients that
/// read slowly can so hold one more text each time, until their connections reach their maximum age.
const MOST_TEXTS: usize = 4;
const RECENT: Duration = Duration::from_secs(10);

impl Texts {
    /// Returns the last text, if it is the answer to a request of this time.
    fn shared(&self, asked: Instant) -> Option<&RenderedText> {
        let is_full = self.in_memory.len() >= MOST_TEXTS;
        let is_recent = |last: &RenderedText| asked.saturating_duration_since(last.begun) < RECENT;
        self.last.as_ref().filter(|last| last.begun > asked || (is_full && is_recent(last)))
    }
}

impl SharedText {
    /// Returns the text as it was at the time of the call or later; if clients hold many, that of up to [`RECENT`] ago.
    async fn get(&self, render: impl FnOnce() -> String) -> Bytes {
        let asked = Instant::now();
        let mut texts = self.0.lock().await;
        texts.in_memory.retain(|text| text.strong_count() > 0);
        if let Some(last) = texts.shared(asked) {
            return Bytes::from_owner(TextOf(last.text.clone()));
        }
        if let Some(last) = &texts.last {
            sleep_until(last.next).await;
        }
        let begun = Instant::now();
        // It takes milliseconds, so it does not run in a thread that also answers deliveries.
        let text = Arc::new(block_in_place(render));
        let rest = begun.elapsed().saturating_mul(SHARE.saturating_sub(1));
        let next = Instant::now().checked_add(rest).unwrap_or(begun);
        texts.in_memory.push(Arc::downgrade(&text));
        texts.last = Some(RenderedText { begun, next, text: text.clone() });
        Bytes::from_owner(TextOf(text))
    }
}

/// Declares that this process records no metrics, which the library otherwise warns of.
pub(super) fn record_none() {
    let _ = metrics::set_global_recorder(NoopRecorder);
}

/// Version 0.0.4 of the format, which every version of Prometheus reads.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The upper bounds of the buckets, from an application on the same machine to the default `handler_timeout`.
pub(super) const SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Renders numbered texts.
    async fn numbered(shared: &SharedText, rendered: &AtomicUsize, takes: Duration) -> Bytes {
        let render = || {
            std::thread::sleep(takes);
            rendered.fetch_add(1, Ordering::SeqCst).to_string()
        };
        shared.get(render).await
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn requests_at_the_same_time_share_a_text_that_is_not_older_than_them() {
        const REQUESTS: usize = 50;
        let all = Arc::new((SharedText::default(), AtomicUsize::new(0), AtomicUsize::new(0)));
        let held = all.0.0.lock().await;
        let request = |_| {
            let all = all.clone();
            tokio::spawn(async move {
                all.2.fetch_add(1, Ordering::SeqCst);
                numbered(&all.0, &all.1, Duration::ZERO).await
            })
        };
        let requests: Vec<_> = (0..REQUESTS).map(request).collect();
        while all.2.load(Ordering::SeqCst) < REQUESTS {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(held);
        for request in requests {
            request.await.unwrap();
        }
        // A request that is just beginning when the first text is rendered has another one.
        let rendered = all.1.load(Ordering::SeqCst);
        assert!(rendered < REQUESTS / 2, "rendered {rendered} times");
        let later = numbered(&all.0, &all.1, Duration::ZERO).await;
        assert_eq!(later, rendered.to_string(), "a later request has a text of its own");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_after_the_other_texts_take_a_part_of_a_processor() {
        let (shared, rendered) = (SharedText::default(), AtomicUsize::new(0));
        let (begun, takes) = (std::time::Instant::now(), Duration::from_millis(10));
        for _ in 0..4 {
            numbered(&shared, &rendered, takes).await;
        }
        // Between four texts there are three pauses.
        assert!(begun.elapsed() >= takes * (4 + 3 * (SHARE - 1)), "{:?}", begun.elapsed());
        assert_eq!(rendered.into_inner(), 4);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn unread_texts_are_few_and_then_the_last_one_is_the_answer_for_a_while() {
        let (shared, rendered) = (SharedText::default(), AtomicUsize::new(0));
        let next = async || numbered(&shared, &rendered, Duration::ZERO).await;
        let mut unread = Vec::new();
        for _ in 0..MOST_TEXTS {
            unread.push(next().await);
        }
        assert_eq!(unread, ["0", "1", "2", "3"]);
        let texts = shared.0.lock().await;
        let begun = texts.last.as_ref().unwrap().begun;
        assert!(texts.shared(begun + RECENT - Duration::from_millis(1)).is_some());
        // Otherwise clients that read slowly would stop the metrics of others.
        assert!(texts.shared(begun + RECENT).is_none());
        drop(texts);
        unread.remove(0);
        assert_eq!(next().await, "4");
    }
}
