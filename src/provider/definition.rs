//! The trait that every provider implements, and the policy of its receivers.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::equal_bytes::EqualBytes;
use crate::envelope::{Envelope, Mode};
use crate::error::ConfigError;
use crate::freshness::Freshness;
use crate::handshake::Handshake;
use crate::scheme::SchemeConfig;
use crate::secret::Secrets;
use crate::unsigned::UnsignedNames;
use crate::verified::Verified;

/// A sender of webhooks: the authentication of its deliveries, and the envelope in their bodies.
///
/// This trait is sealed. Use [`Custom`](crate::Custom) for a provider that is not built in.
pub trait Provider: fmt::Debug + Send + Sync + 'static + sealed::Sealed {
    /// Returns the name in keys, logs and metrics.
    fn name(&self) -> &str;

    /// Returns the default policy of its receivers.
    fn policy(&self) -> Policy;

    /// Returns the scheme and its secrets.
    #[doc(hidden)]
    fn scheme(&self, _: sealed::Seal) -> Result<sealed::SchemeWithSecrets, ConfigError>;

    /// Returns whether deliveries of this kind that have equal bytes, and no id, are of the same event.
    #[doc(hidden)]
    fn equal_bytes(&self, _kind: Option<&str>) -> EqualBytes {
        EqualBytes::MayRecur("nothing is known about the events of this provider")
    }

    /// Returns the mode of the secret with this index, or `None` if it is valid for any mode.
    #[doc(hidden)]
    fn mode_of_secret(&self, _secret: usize) -> Option<&Mode> {
        None
    }

    /// Returns the options that are neither secrets nor part of the scheme or the policy, to compare them. The default
    /// implementation is for a provider without such options.
    #[doc(hidden)]
    fn settings(&self, _: sealed::Seal) -> String {
        String::new()
    }

    /// Returns the names of the unsigned headers that options read. The default implementation is for a provider
    /// without such options.
    #[doc(hidden)]
    fn unsigned_names(&self, _: sealed::Seal) -> Result<Option<UnsignedNames>, ConfigError> {
        Ok(None)
    }

    /// Returns the handshakes that its receivers answer. The default implementation is for a provider without any.
    #[doc(hidden)]
    fn handshakes(&self, _: sealed::Seal) -> &[Handshake] {
        &[]
    }

    /// Reads the envelope of a verified body. Never fails: the result for a body without an envelope contains a
    /// [`Problem`](crate::Problem).
    fn open(&self, verified: &Verified<'_>) -> Envelope {
        let mut envelope = self.read(verified.body(), sealed::Seal);
        self.complete(&mut envelope, verified, sealed::Seal);
        envelope
    }

    /// Reads the parts of the envelope that the body contains. For a long body, this runs outside of the request's
    /// task, so it must not log.
    #[doc(hidden)]
    fn read(&self, body: &Bytes, _: sealed::Seal) -> Envelope;

    /// Adds the parts that the body does not contain, and logs the faults of the configuration. Takes little time. The
    /// default implementation is for a provider whose events are in the body alone.
    #[doc(hidden)]
    fn complete(&self, _: &mut Envelope, _: &Verified<'_>, _: sealed::Seal) {}
}

/// The methods that all built-in providers use.
pub(crate) const METHODS: &[&str] = &["POST"];

/// Seals [`Provider`].
pub(crate) mod sealed {
    #[allow(unreachable_pub, reason = "used in a public trait to seal it")]
    pub trait Sealed {}
    #[allow(missing_debug_implementations, unreachable_pub, reason = "as above")]
    pub struct Seal;
    #[allow(missing_debug_implementations, unreachable_pub, reason = "as above")]
    pub struct SchemeWithSecrets {
        pub(crate) config: super::SchemeConfig,
        pub(crate) secrets: super::Secrets,
    }
}

/// The policy of a provider's receivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// The accepted age of deliveries.
    pub freshness: Freshness,
    /// Whether an endpoint must set the freshness, because only the operator knows how old a genuine event can be.
    pub needs_freshness: bool,
    /// The time for which a handled event is remembered.
    pub retention: Duration,
    /// The longest time between the first attempt and the last retry.
    pub retry_horizon: Duration,
    /// The methods of deliveries and handshakes.
    pub methods: &'static [&'static str],
    /// Whether the bodies of documented kinds contain the time of their event, which [`Freshness::EventTime`] needs.
    pub has_event_time: bool,
    /// Whether the bodies of undocumented kinds contain it as well. With [`Freshness::EventTime`], an event that lacks
    /// the time is rejected if its kind should have one.
    pub unknown_kinds_have_event_time: bool,
}

impl Policy {
    /// Returns the policy for a provider that signs no time and documents no retries.
    pub(crate) const fn undocumented(has_event_time: bool) -> Self {
        Policy {
            freshness: Freshness::Unchecked,
            needs_freshness: false,
            retention: Duration::from_secs(24 * 3600),
            retry_horizon: Duration::ZERO,
            methods: METHODS,
            has_event_time,
            unknown_kinds_have_event_time: false,
        }
    }
}
