//! Capturing log lines in tests.

use tracing::subscriber::{DefaultGuard, set_default, set_global_default};
use tracing_subscriber::Registry;
use tracing_subscriber::layer::{Layer, SubscriberExt};

/// Passes the log lines of this thread to `layer` until the guard is dropped.
///
/// `tracing` caches for the whole process whether a line is wanted. With only one subscriber it asks the thread that
/// reaches the line first, which may be a test without one, and then no other thread gets the line. A global subscriber
/// that wants every line prevents that. A global recorder of metrics that records nothing prevents the warning that
/// there is none.
pub fn captured<L: Layer<Registry> + Send + Sync>(layer: L) -> DefaultGuard {
    // Fails if another test has set it.
    let _ = set_global_default(tracing_subscriber::registry());
    let _ = ::metrics::set_global_recorder(::metrics::NoopRecorder);
    set_default(tracing_subscriber::registry().with(layer))
}
