//! The metrics of the receiver in the text format of Prometheus, served under `[operations]`.

use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;
use medhook::Bytes;
use metrics::{NoopRecorder, Unit, describe_gauge, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use super::health::Health;
use crate::failure::Failure;
use crate::server::{Connections, empty};

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
        Ok(Metrics { recorder, connections })
    }

    /// Moves the durations that were recorded since the last call into their buckets. Without it, they are kept in
    /// memory until the metrics are read.
    pub(super) fn run_upkeep(&self) {
        self.recorder.run_upkeep();
    }

    /// Answers a request for the metrics. Returns `None` for any other path.
    pub(super) fn answer(&self, method: &Method, path: &str, health: &Health) -> Option<Response<Full<Bytes>>> {
        if path != PATH {
            return None;
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Some(empty(StatusCode::METHOD_NOT_ALLOWED));
        }
        gauge!("medhook_connections").set(number(self.connections.open()));
        gauge!("medhook_ready").set(f64::from(health.is_ready()));
        gauge!("medhook_store_up").set(f64::from(health.is_store_up()));
        let mut response = Response::new(Full::from(self.recorder.render()));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(TEXT_FORMAT));
        Some(response)
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
