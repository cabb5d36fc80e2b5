//! The keys of an endpoint that all providers have: limits, timeouts and what happens without the store.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::ops::RangeInclusive;
use std::time::Duration;

use medhook::{Builder, OnStoreError};

use super::mistakes::noted;
use crate::failure::Failure;
use crate::receive::addresses::AllowedNetworks;
use crate::receive::keys::TableKeys;

/// The values of these keys, or their defaults.
pub(super) struct Settings {
    body_limit: Option<usize>,
    body_timeout: Duration,
    handler_timeout: Duration,
    retention: Option<Duration>,
    lease: Option<Duration>,
    on_store_error: OnStoreError,
    pub(super) max_in_flight: usize,
    pub(super) allow_from: Option<AllowedNetworks>,
    pub(super) expect_every: Option<Duration>,
}

/// No provider is documented to wait longer for an answer.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(60);
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The leases that a receiver accepts.
const LEASES: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);

/// The shortest `expect_every` that a receiver accepts.
const SHORTEST_EXPECTATION: Duration = Duration::from_secs(60);

/// Each event in flight holds a body in memory, and a connection to the application.
const MAX_IN_FLIGHT: usize = 256;

impl Settings {
    /// Takes the keys, and adds each mistake to those that were found.
    pub(super) fn take(keys: &mut TableKeys, found: &mut Vec<Failure>) -> Self {
        let body_limit = noted(keys.count("body_limit"), found).flatten();
        let body_timeout = noted(keys.duration("body_timeout"), found).flatten();
        let handler_timeout = noted(keys.duration("handler_timeout"), found).flatten();
        let max_in_flight = noted(keys.count("max_in_flight"), found).flatten();
        let retention = noted(keys.duration("retention"), found).flatten();
        let lease = noted(keys.duration("lease"), found).flatten();
        if lease.is_some_and(|lease| !LEASES.contains(&lease)) {
            found.push(keys.wrong("lease", "must be between 100ms and 1h"));
        }
        let down = [("reject", OnStoreError::Reject), ("handle-unclaimed", OnStoreError::HandleUnclaimed)];
        let on_store_error = noted(keys.choice("on_store_error", &down), found).flatten();
        let allow_from = noted(AllowedNetworks::take(keys), found).flatten();
        let expect_every = noted(keys.duration("expect_every"), found).flatten();
        if expect_every.is_some_and(|every| every < SHORTEST_EXPECTATION) {
            found.push(keys.wrong("expect_every", "must be at least 1m"));
        }
        Settings {
            body_limit,
            body_timeout: body_timeout.unwrap_or(BODY_TIMEOUT),
            handler_timeout: handler_timeout.unwrap_or(HANDLER_TIMEOUT),
            retention,
            lease,
            on_store_error: on_store_error.unwrap_or_default(),
            max_in_flight: max_in_flight.unwrap_or(MAX_IN_FLIGHT),
            allow_from,
            expect_every,
        }
    }

    /// Sets the values in the builder of a receiver.
    pub(super) fn apply(&self, mut builder: Builder) -> Builder {
        if let Some(bytes) = self.body_limit {
            builder = builder.body_limit(bytes);
        }
        builder = builder.body_timeout(self.body_timeout).handler_timeout(self.handler_timeout);
        builder = builder.max_in_flight(self.max_in_flight).on_store_error(self.on_store_error);
        if let Some(retention) = self.retention {
            builder = builder.retention(retention);
        }
        if let Some(lease) = self.lease {
            builder = builder.lease(lease);
        }
        match self.expect_every {
            Some(every) => builder.expect_every(every),
            None => builder,
        }
    }

    /// Returns whether deliveries are rejected while the store is unavailable.
    pub(super) fn needs_store(&self) -> bool {
        self.on_store_error == OnStoreError::Reject
    }
}
