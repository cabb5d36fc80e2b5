//! The builder of a receiver: options, their validation, and warnings.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::fresh::FreshnessRule;
use super::key_rule::{Dedupe, KeyRule};
use super::{Receiver, ReceiverState};
use crate::dedupe::{DedupeStore, NoDedupe};
use crate::endpoint::{EndpointFacts, Limits};
use crate::error::ConfigError;
use crate::event_key::EventKeys;
use crate::freshness::Freshness;
use crate::handling::{Handling, OnStoreError, Permits, Settings};
use crate::observe;
use crate::provider::{OptionError, Policy, Provider, ProviderFacts, ProviderOptions, sealed};
use crate::retention::Retention;
use crate::scheme::SchemeVerifier;
use crate::time::{Clock, SystemClock};

impl Receiver {
    /// Starts building a receiver. Its name (1 to 64 of `[a-z0-9._-]`) is part of the keys under which events are
    /// remembered, so it must not change between deployments; it is also a label in logs and metrics.
    pub fn builder(name: impl Into<String>, provider: impl Provider) -> Builder {
        Builder::new(name.into(), Box::new(provider))
    }

    /// As [`builder`](Receiver::builder), with the provider that an endpoint's configuration names: see
    /// [`registry`](crate::registry).
    ///
    /// # Errors
    /// An option that is missing, or that the provider cannot use.
    pub fn configured(
        name: impl Into<String>,
        facts: &ProviderFacts,
        options: &ProviderOptions,
    ) -> Result<Builder, OptionError> {
        Ok(Builder::new(name.into(), facts.provider(options)?))
    }
}

/// Builds a [`Receiver`]. Everything but the store has a default that fits the provider.
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    name: String,
    provider: Box<dyn Provider>,
    store: Option<Arc<dyn DedupeStore>>,
    clock: Arc<dyn Clock>,
    freshness: Option<Freshness>,
    retention: Option<Duration>,
    dedupe: Dedupe,
    body_limit: usize,
    body_timeout: Duration,
    lease: Duration,
    handler_timeout: Duration,
    max_in_flight: usize,
    on_store_error: OnStoreError,
}

impl Builder {
    fn new(name: String, provider: Box<dyn Provider>) -> Self {
        Builder {
            name,
            provider,
            store: None,
            clock: Arc::new(SystemClock),
            freshness: None,
            retention: None,
            dedupe: Dedupe::by_id(),
            body_limit: 1024 * 1024,
            body_timeout: Duration::from_secs(10),
            lease: Duration::from_secs(30),
            handler_timeout: Duration::from_secs(600),
            max_in_flight: 1024,
            on_store_error: OnStoreError::default(),
        }
    }

    /// Where events are claimed and remembered. There is no default: to remember nothing, say
    /// [`NoDedupe`](crate::NoDedupe). An `Arc<dyn DedupeStore>` is a store, too.
    pub fn store(mut self, store: impl DedupeStore) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// The age that is accepted, instead of the provider's default.
    pub fn freshness(mut self, freshness: Freshness) -> Self {
        self.freshness = Some(freshness);
        self
    }

    /// How long a handled event is remembered, instead of the provider's default.
    pub fn retention(mut self, retention: Duration) -> Self {
        self.retention = Some(retention);
        self
    }

    /// What counts as the same event. By default the same id.
    pub fn dedupe(mut self, dedupe: Dedupe) -> Self {
        self.dedupe = dedupe;
        self
    }

    /// The longest body that is taken, in bytes. By default 1 MiB.
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// How long a whole body may take to arrive. By default 10 s.
    pub fn body_timeout(mut self, timeout: Duration) -> Self {
        self.body_timeout = timeout;
        self
    }

    /// How long a claim holds without being renewed: after a crash, that long passes before the event can be handled
    /// again. By default 30 s; it is renewed three times in that time.
    ///
    /// Do not make it less than a third of what it was in one deployment: a store takes a claim that holds for longer than
    /// a fresh one for a sign that its clock was set back, and cuts it to the new length, while instances with the longer
    /// lease still renew at a third of theirs.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// How long a handler may take before it is canceled. By default 10 minutes.
    pub fn handler_timeout(mut self, longest: Duration) -> Self {
        self.handler_timeout = longest;
        self
    }

    /// How many deliveries may be handled at once. By default 1,024; more are answered 503.
    pub fn max_in_flight(mut self, most: usize) -> Self {
        self.max_in_flight = most;
        self
    }

    /// What becomes of a delivery whose event cannot be claimed, because the store is away or full. By default it is
    /// refused with 503.
    pub fn on_store_error(mut self, policy: OnStoreError) -> Self {
        self.on_store_error = policy;
        self
    }

    /// The clock that ages are judged by. By default the machine's.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Builds the receiver.
    ///
    /// # Errors
    /// One line about an invalid option: a name, a secret, no store, a freshness whose time the scheme does not sign, or
    /// a retention shorter than the time in which a delivery may be replayed or retried.
    pub fn build(self) -> Result<Receiver, ConfigError> {
        checked_name("receiver", &self.name)?;
        checked_name("provider", self.provider.name())?;
        let name = self.name.clone();
        self.try_build().map_err(|error| error.within(format_args!("receiver {name}")))
    }

    fn try_build(self) -> Result<Receiver, ConfigError> {
        let sealed::SchemeWithSecrets { config, secrets } = self.provider.scheme(sealed::Seal)?;
        let scheme = config.with_secrets(&secrets)?;
        let policy = self.provider.policy();
        let freshness = self.freshness.unwrap_or(policy.freshness);
        let window = window(freshness);
        let total = self.retention.unwrap_or(policy.retention.max(window));

        check_freshness(freshness, &scheme, &policy)?;
        check_retention(total, window.max(policy.retry_horizon))?;
        self.check_limits()?;
        let warnings = warnings(&self.name, freshness, &scheme, &policy);

        let store = store(&self.dedupe, self.store)?;
        let permits = Permits::new(self.max_in_flight)
            .map_err(|error| ConfigError::new("no random numbers").with_source(error))?;
        // Where no age is checked the same bytes are accepted at any time: no event may be forgotten early.
        let retention = Retention::new(if freshness == Freshness::Unchecked { total } else { window }, total);
        let limits = Limits { methods: policy.methods, body: self.body_limit, retention };
        let settings = Settings {
            store,
            retention,
            lease: self.lease,
            handler_timeout: self.handler_timeout,
            // A claim must outlast an operation of its store that hangs.
            store_timeout: STORE_TIMEOUT.min(self.lease.checked_div(3).unwrap_or(self.lease)),
            on_store_error: self.on_store_error,
        };
        observe::warnings(&warnings);
        Ok(Receiver(Arc::new(ReceiverState {
            endpoint: Arc::new(EndpointFacts::new(
                &self.name,
                self.provider.name(),
                scheme.labels(),
                self.clock,
                limits,
            )),
            scheme,
            body_timeout: self.body_timeout,
            freshness_rule: FreshnessRule {
                freshness,
                unknown_kinds_have_event_time: policy.unknown_kinds_have_event_time,
            },
            key_rule: KeyRule::new(EventKeys::new(self.provider.name(), &self.name), self.dedupe),
            provider: self.provider,
            handling: Handling::new(settings, permits),
            warnings,
        })))
    }

    fn check_limits(&self) -> Result<(), ConfigError> {
        if self.body_limit == 0 || self.max_in_flight == 0 {
            return Err(ConfigError::new("a body limit or a number of deliveries in flight of 0 refuses everything"));
        }
        if self.body_timeout.is_zero() || self.handler_timeout.is_zero() {
            return Err(ConfigError::new("a time limit of 0 refuses everything"));
        }
        if self.lease < SHORTEST_LEASE || self.lease > LONGEST_LEASE {
            return Err(ConfigError::new("a lease must be between 100 ms and 1 h"));
        }
        Ok(())
    }
}

/// Checks that the time which freshness depends on is signed, or stated in the body.
fn check_freshness(freshness: Freshness, scheme: &SchemeVerifier, policy: &Policy) -> Result<(), ConfigError> {
    freshness.validate()?;
    match freshness {
        Freshness::AttemptTime { .. } if !scheme.signs_attempt_time() => {
            Err(ConfigError::new("its scheme signs no time of the attempt to judge freshness by"))
        }
        Freshness::EventTime { .. } if !policy.has_event_time => {
            Err(ConfigError::new("its bodies say no time of the event to judge freshness by"))
        }
        _ => Ok(()),
    }
}

/// Checks that a handled event is remembered for as long as a delivery of it may be repeated.
fn check_retention(retention: Duration, least: Duration) -> Result<(), ConfigError> {
    if retention >= least {
        return Ok(());
    }
    Err(ConfigError::new(format!(
        "a retention of {} s is less than the {} s in which a delivery may be repeated",
        retention.as_secs(),
        least.as_secs()
    )))
}

/// Returns how long the same bytes are accepted, if their age is checked.
fn window(freshness: Freshness) -> Duration {
    match freshness {
        Freshness::Unchecked => Duration::ZERO,
        // Ages are compared in whole seconds on both sides.
        limited => limited.window().saturating_add(ROUNDING),
    }
}

fn store(dedupe: &Dedupe, store: Option<Arc<dyn DedupeStore>>) -> Result<Arc<dyn DedupeStore>, ConfigError> {
    if dedupe.is_off() {
        return Ok(Arc::new(NoDedupe));
    }
    store.ok_or_else(|| ConfigError::new("no store to remember events in (`NoDedupe` remembers none)"))
}

/// Returns what the operator should change, although it works.
fn warnings(name: &str, freshness: Freshness, scheme: &SchemeVerifier, policy: &Policy) -> Vec<String> {
    let short = scheme.short_secrets();
    let mut warnings: Vec<String> = short
        .iter()
        .map(|label| format!("receiver {name}: secret {label} is shorter than 16 bytes and could be guessed"))
        .collect();
    // A retry carries its event's own time: it is as old as the event by then.
    if let Freshness::EventTime { max_age, .. } = freshness
        && max_age < policy.retry_horizon
    {
        warnings.push(format!(
            "receiver {name}: events older than {} s are refused, and the provider may retry for {} s: what failed at \
             first can be lost",
            max_age.as_secs(),
            policy.retry_horizon.as_secs()
        ));
    }
    warnings
}

const SHORTEST_LEASE: Duration = Duration::from_millis(100);
const LONGEST_LEASE: Duration = Duration::from_secs(3600);

/// By how much the time in which the same bytes are accepted can be longer than the window says.
const ROUNDING: Duration = Duration::from_secs(2);

/// How long one step of the store may take before it counts as unavailable.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("name", &self.name).field("provider", &self.provider).finish_non_exhaustive()
    }
}

fn checked_name(what: &str, name: &str) -> Result<(), ConfigError> {
    let of_the_set = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    if (1..=64).contains(&name.len()) && name.bytes().all(of_the_set) {
        Ok(())
    } else {
        Err(ConfigError::new(format!("{what} name {name:?}: not 1 to 64 characters of a-z, 0-9, `.`, `_` and `-`")))
    }
}
