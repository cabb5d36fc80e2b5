//! The time limit of each step of the demo.

use std::future::Future;
use std::time::Duration;

use crate::failure::Failure;

/// The time limit of every wait. Nothing in the demo takes nearly as long, unless it never ends.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for a future within the time limit.
pub(super) async fn within<T>(what: &str, future: impl Future<Output = T>) -> Result<T, Failure> {
    tokio::time::timeout(PATIENCE, future)
        .await
        .map_err(|_| Failure::new(format!("waited {} s for {what}", PATIENCE.as_secs())))
}
