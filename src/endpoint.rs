//! The part of a receiver that its deliveries share: name, clock and limits.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::activity::LastTime;
use crate::freshness::Freshness;
#[cfg(feature = "tracing")]
use crate::rejection_log::RejectionLimit;
use crate::retention::Retention;
use crate::silence::Silence;
use crate::time::{Clock, unix_seconds};

/// The facts of an endpoint that are needed to verify, log and count its deliveries.
///
/// A receiver, its deliveries and their verified bodies share one [`Arc`] of it, whose address identifies the receiver.
pub(crate) struct EndpointFacts {
    name: Arc<str>,
    provider: Arc<str>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    silence: Option<Silence>,
    /// The time of the last genuine delivery.
    pub(crate) last_genuine: LastTime,
    /// Limits the log lines about rejections.
    #[cfg(feature = "tracing")]
    pub(crate) rejections: RejectionLimit,
    /// Which warnings about JSON pointers were logged: a bit for each pointer and each fault.
    pub(crate) pointer_warnings: AtomicU64,
}

/// The limits of an endpoint, how long its events are remembered, and how often deliveries are expected.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) methods: &'static [&'static str],
    /// The maximum length of a body, in bytes.
    pub(crate) body: usize,
    pub(crate) retention: Retention,
    pub(crate) freshness: Freshness,
    pub(crate) expect_every: Option<Duration>,
}

impl EndpointFacts {
    pub(crate) fn new(name: &str, provider: &str, clock: Arc<dyn Clock>, limits: Limits) -> Self {
        EndpointFacts {
            name: name.into(),
            provider: provider.into(),
            clock,
            limits,
            silence: limits.expect_every.map(Silence::new),
            last_genuine: LastTime::default(),
            #[cfg(feature = "tracing")]
            rejections: RejectionLimit::default(),
            pointer_warnings: AtomicU64::new(0),
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the record of genuine deliveries, if the endpoint has `expect_every`.
    #[inline]
    pub(crate) fn silence(&self) -> Option<&Silence> {
        self.silence.as_ref()
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(crate) fn provider(&self) -> &Arc<str> {
        &self.provider
    }

    /// Returns the current time in Unix seconds.
    pub(crate) fn now(&self) -> i64 {
        unix_seconds(self.clock.now())
    }
}
