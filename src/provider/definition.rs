//! What every provider implements, and what it asks of its receivers.

use std::fmt;
use std::time::Duration;

use crate::envelope::{Envelope, Mode};
use crate::error::ConfigError;
use crate::freshness::Freshness;
use crate::reply::Reply;
use crate::scheme::SchemeConfig;
use crate::secret::Secrets;
use crate::verified::Verified;

/// A sender of webhooks: how its deliveries are verified, and where their bodies say what happened.
///
/// The set is closed. For a provider that is not in it there is [`Custom`](crate::Custom).
pub trait Provider: fmt::Debug + Send + Sync + 'static + sealed::Sealed {
    /// Its name in keys, logs and metrics.
    fn name(&self) -> &str;

    /// What a receiver does for it unless told otherwise.
    fn policy(&self) -> Policy;

    /// Its scheme, and the secrets for it.
    #[doc(hidden)]
    fn scheme(&self, _: sealed::Seal) -> Result<sealed::SchemeWithSecrets, ConfigError>;

    /// The mode that a secret is for, by its index; `None` where it is for any.
    #[doc(hidden)]
    fn mode_of_secret(&self, _secret: usize) -> Option<&Mode> {
        None
    }

    /// Answers a handshake. By default a provider has none.
    #[doc(hidden)]
    fn handshake(&self, _method: &str, _target: &str) -> Option<Reply> {
        None
    }

    /// Reads the envelope of a verified body. Never fails: what is no envelope has a [`Problem`](crate::Problem) for its kind.
    fn open(&self, verified: &Verified<'_>) -> Envelope;
}

/// The methods that any provider uses.
pub(crate) const METHODS: &[&str] = &["POST"];

/// Keeps the set of providers closed.
pub(crate) mod sealed {
    #[allow(unreachable_pub, reason = "named in a public trait so that nobody else can implement it")]
    pub trait Sealed {}
    #[allow(missing_debug_implementations, unreachable_pub, reason = "as above")]
    pub struct Seal;
    #[allow(missing_debug_implementations, unreachable_pub, reason = "as above")]
    pub struct SchemeWithSecrets {
        pub(crate) config: super::SchemeConfig,
        pub(crate) secrets: super::Secrets,
    }
}

/// What a provider asks of its receivers.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Policy {
    /// The age that is accepted.
    pub freshness: Freshness,
    /// How long a handled event is remembered.
    pub retention: Duration,
    /// How long after the first attempt the provider may still retry.
    pub retry_horizon: Duration,
    /// The methods of its deliveries and handshakes.
    pub methods: &'static [&'static str],
    /// Whether the bodies of documented kinds carry the time of their event, which [`Freshness::EventTime`] needs.
    pub has_event_time: bool,
    /// Whether the bodies of all other kinds carry it as well. With [`Freshness::EventTime`] an event without a time that
    /// its kind should have is rejected.
    pub unknown_kinds_have_event_time: bool,
}

impl Policy {
    /// Returns the policy for a provider that signs no time and documents no retries.
    pub(crate) const fn undocumented(has_event_time: bool) -> Self {
        Policy {
            freshness: Freshness::Unchecked,
            retention: Duration::from_secs(24 * 3600),
            retry_horizon: Duration::ZERO,
            methods: METHODS,
            has_event_time,
            unknown_kinds_have_event_time: false,
        }
    }
}
