//! The numbers of stored events.

use std::time::Duration;

/// The number of events of an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointCounts {
    /// The name of the endpoint.
    pub endpoint: String,
    /// The number of waiting events.
    pub waiting: u64,
    /// The number of events that workers are handling.
    pub processing: u64,
    /// The number of dead events.
    pub dead: u64,
    /// The bytes of the bodies of waiting, processing and dead events.
    pub bytes: u64,
    /// The bytes of the bodies of waiting and processing events, which `max_inbox_bytes` limits.
    pub unfinished_bytes: u64,
    /// The age of the oldest waiting or processing event.
    pub oldest: Option<Duration>,
    /// Whether the endpoint is paused.
    pub paused: bool,
}
