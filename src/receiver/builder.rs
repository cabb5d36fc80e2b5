//! The builder of a receiver: options, their validation, and warnings.

use std::fmt;
use std::sync::{Arc, RwLock};
use std::time::Duration;

#[cfg(feature = "inbox")]
use http::StatusCode;

use super::current::Current;
use super::fresh::FreshnessRule;
use super::key_rule::{Dedupe, KeyRule};
use super::watch::Watch;
use super::{Receiver, ReceiverState};
use crate::dedupe::{DedupeStore, NoDedupe};
use crate::endpoint::{EndpointFacts, Limits};
use crate::error::ConfigError;
use crate::event_key::DeliveryNumbers;
use crate::freshness::Freshness;
use crate::generation::Generation;
use crate::handling::{Handling, OnStoreError, Permits, Settings};
#[cfg(feature = "inbox")]
use crate::handling::{InboxSettings, Quota};
use crate::handshake::{KeyedHandshakes, token_warnings};
#[cfg(feature = "inbox")]
use crate::inbox::Inbox;
use crate::observe;
use crate::process_keys::ProcessKeys;
#[cfg(feature = "inbox")]
use crate::provider::provider as registered;
use crate::provider::{OptionError, Policy, Provider, ProviderFacts, ProviderOptions, sealed};
use crate::retention::Retention;
use crate::scheme::{SchemeConfig, SchemeVerifier};
use crate::secret::Secrets;
use crate::store_id::StoreId;
use crate::time::{Clock, CoarseClock};

impl Receiver {
    /// Creates a builder for a receiver with this name: 1 to 64 characters of `[a-z0-9._-]`.
    ///
    /// The name is part of the event keys in the store, so it must not change between deployments. It is also a label
    /// in logs and metrics.
    pub fn builder(name: impl Into<String>, provider: impl Provider) -> Builder {
        Builder::new(name.into(), Box::new(provider))
    }

    /// Creates a builder as [`builder`](Receiver::builder) does, for a provider that a configuration names. See
    /// [`registry`](crate::registry).
    ///
    /// # Errors
    /// Returns an error if an option is missing, or does not apply to the provider.
    pub fn configured(
        name: impl Into<String>,
        facts: &ProviderFacts,
        options: &ProviderOptions,
    ) -> Result<Builder, OptionError> {
        Ok(Builder::new(name.into(), facts.provider(options)?))
    }
}

/// A builder of a [`Receiver`]. Every option except the store has a default that fits the provider.
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
    max_repeats: u32,
    expect_every: Option<Duration>,
    #[cfg(feature = "inbox")]
    inbox: InboxOptions,
}

/// The options of a receiver with an inbox. Each is `None` unless set.
#[cfg(feature = "inbox")]
#[derive(Default)]
struct InboxOptions {
    inbox: Option<Inbox>,
    ack_status: Option<StatusCode>,
    max_bytes: Option<u64>,
}

impl Builder {
    fn new(name: String, provider: Box<dyn Provider>) -> Self {
        Builder {
            name,
            provider,
            store: None,
            clock: Arc::new(CoarseClock),
            freshness: None,
            retention: None,
            dedupe: Dedupe::by_id(),
            body_limit: 1024 * 1024,
            body_timeout: Duration::from_secs(10),
            lease: Duration::from_secs(30),
            handler_timeout: Duration::from_secs(600),
            max_in_flight: 1024,
            on_store_error: OnStoreError::default(),
            max_repeats: 20,
            expect_every: None,
            #[cfg(feature = "inbox")]
            inbox: InboxOptions::default(),
        }
    }

    /// Sets the store in which events are claimed and recorded. There is no default; [`NoDedupe`](crate::NoDedupe)
    /// disables deduplication. An `Arc<dyn DedupeStore>` is also a store.
    pub fn store(mut self, store: impl DedupeStore) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// Sets the accepted age of a delivery, instead of the provider's default.
    pub fn freshness(mut self, freshness: Freshness) -> Self {
        self.freshness = Some(freshness);
        self
    }

    /// Sets how long a handled event is remembered, instead of the provider's default.
    pub fn retention(mut self, retention: Duration) -> Self {
        self.retention = Some(retention);
        self
    }

    /// Sets the rule for which deliveries are of the same event. The default is [`Dedupe::by_id`].
    pub fn dedupe(mut self, dedupe: Dedupe) -> Self {
        self.dedupe = dedupe;
        self
    }

    /// Sets the maximum length of a body, in bytes. The default is 1 MiB.
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// Sets the time within which the whole body must arrive. The default is 10 s.
    pub fn body_timeout(mut self, timeout: Duration) -> Self {
        self.body_timeout = timeout;
        self
    }

    /// Sets how long a claim is held without a renewal. After a crash, the event cannot be handled again until its
    /// lease has expired. The default is 30 s; a lease is renewed every third of its length.
    ///
    /// In one deployment, do not reduce it to less than a third of its previous value. A store assumes that its clock
    /// was set back if a claim lasts longer than a new claim would, and shortens the claim to the new lease, while
    /// instances with the longer lease still renew at a third of theirs.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Sets how long a handler may run before it is canceled. The default is 10 minutes.
    pub fn handler_timeout(mut self, longest: Duration) -> Self {
        self.handler_timeout = longest;
        self
    }

    /// Sets how many deliveries may be handled concurrently. The default is 1,024; further ones are answered with 503.
    pub fn max_in_flight(mut self, most: usize) -> Self {
        self.max_in_flight = most;
        self
    }

    /// Sets the handling of deliveries whose event cannot be claimed because the store is unavailable or full. By
    /// default they are rejected with 503.
    pub fn on_store_error(mut self, policy: OnStoreError) -> Self {
        self.on_store_error = policy;
        self
    }

    /// Sets how many times a body may be delivered again within 24 hours of its first delivery, if its event can recur
    /// with the same bytes ([`Dedupe::by_id`]), or if only an [unsigned header](crate::Custom::unsigned_id_header)
    /// contains its id. The default is 20; 0 allows each body once in 24 hours.
    ///
    /// Where no time is signed, this limits how often a captured delivery can be replayed. Further deliveries are
    /// answered with 503 ([`Reason::RepeatLimit`](crate::Reason::RepeatLimit)) until the day is over, and a warning is
    /// logged. Deliveries whose handler failed do not count, and with an unsigned id neither do retries, which are
    /// duplicates or in flight.
    pub fn max_repeats(mut self, number: u32) -> Self {
        self.max_repeats = number;
        self
    }

    /// Sets how often genuine deliveries are expected, at least 1 minute. After this time without one, and after each
    /// multiple of it, a warning is logged (feature `tracing`) and `medhook_silence_total` is counted (feature
    /// `metrics`). The first genuine delivery after that is logged at `INFO`. There is no default, since no provider
    /// documents how often it sends.
    ///
    /// [`guide::silence`](crate::guide::silence) describes which deliveries are genuine, the warning, and alerts by
    /// metrics alone.
    ///
    /// The time counts from the build of the receiver. If it is built in a tokio runtime, which needs a timer, a task
    /// of this runtime watches, and ends with the runtime. Otherwise a thread of its own watches. Both end when the
    /// receiver is [drained](Receiver::drain) or its last clone is dropped.
    pub fn expect_every(mut self, time: Duration) -> Self {
        self.expect_every = Some(time);
        self
    }

    /// Stores each event in an inbox before the delivery is acknowledged, instead of running the handler while the
    /// sender waits. A [`Worker`](crate::Worker) handles the stored events, as often as it takes. The inbox's store is
    /// also the store in which events are recorded, so [`store`](Builder::store) must not be set.
    ///
    /// A delivery is answered with 200 (see [`ack_status`](Builder::ack_status)) after its event was committed, and
    /// with 503 if that failed. With [`OnStoreError::HandleUnclaimed`], the handler runs in the latter case, while the
    /// sender waits.
    ///
    /// Stored are the body, the path and the content type of the request, its signed id and time, and the unsigned
    /// headers that an [option](crate::Custom::unsigned_id_header) reads, but neither the query nor other headers. The
    /// path is the one that the layer sees, without the prefixes of nested routers. A path that is longer than 2,048
    /// bytes or not visible ASCII is stored as `/`; a content type that is longer than 256 bytes or not ASCII is not
    /// stored.
    #[cfg(feature = "inbox")]
    pub fn inbox(mut self, inbox: Inbox) -> Self {
        self.inbox.inbox = Some(inbox);
        self
    }

    /// Sets the status with which a delivery is answered whose event was stored in the [inbox](Builder::inbox): any
    /// 2xx. The default is 200, which every provider takes for a success.
    #[cfg(feature = "inbox")]
    pub fn ack_status(mut self, status: StatusCode) -> Self {
        self.inbox.ack_status = Some(status);
        self
    }

    /// Sets how many bytes the unfinished events of this receiver, those that wait or are being handled, may take in
    /// the [inbox](Builder::inbox): for each its body and 4 KiB. The default is 1 GiB. Further deliveries are answered
    /// with 503 ([`Reason::StoreFull`](crate::Reason::StoreFull)), so that events that are not handled do not fill the
    /// disk. Dead events do not count.
    ///
    /// The bytes in the store are counted every 15 seconds, so several instances may exceed the limit by the bytes that
    /// they store in that time.
    #[cfg(feature = "inbox")]
    pub fn max_inbox_bytes(mut self, bytes: u64) -> Self {
        self.inbox.max_bytes = Some(bytes);
        self
    }

    /// Sets the clock by which ages are checked. The default is the system's clock.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Builds the receiver.
    ///
    /// # Errors
    /// Returns an error if an option is invalid: a name, a limit, a secret, a missing store, a freshness whose time the
    /// provider does not send, or a retention shorter than the time in which a delivery may be replayed or retried.
    pub fn build(self) -> Result<Receiver, ConfigError> {
        checked_name("receiver", &self.name)?;
        checked_name("provider", self.provider.name())?;
        let name = self.name.clone();
        self.try_build().map_err(|error| error.within(format_args!("receiver {name}")))
    }

    fn try_build(self) -> Result<Receiver, ConfigError> {
        let sealed::SchemeWithSecrets { config, secrets } = self.provider.scheme(sealed::Seal)?;
        let handshakes = self.provider.handshakes(sealed::Seal);
        let (config, scheme, keyed) = KeyedHandshakes::keyed(handshakes, config, &secrets)?;
        let unsigned = self.provider.unsigned_names(sealed::Seal)?;
        let policy = self.provider.policy();
        if policy.needs_freshness && self.freshness.is_none() {
            return Err(ConfigError::new(
                "the signed timestamp is that of the event, so `freshness` must be set: `EventTime` with a `max_age` that \
                 covers the provider's last retry",
            ));
        }
        let freshness = self.freshness.unwrap_or(policy.freshness);
        let window = window(freshness);
        let total = self.retention.unwrap_or(policy.retention.max(window));

        check_freshness(freshness, &scheme, &policy)?;
        check_retention(total, window.max(policy.retry_horizon))?;
        self.check_limits()?;
        let mut warnings = secret_warnings(&self.name, &config, &secrets, &scheme);
        warnings.extend(token_warnings(&self.name, handshakes));
        warnings.extend(late_retries(&self.name, freshness, &policy));

        #[cfg(feature = "inbox")]
        let (inbox, inbox_store) = self.inbox.settings(self.store.is_some(), self.provider.name())?;
        #[cfg(feature = "inbox")]
        if inbox.is_some() {
            warnings.extend(result_expected(&self.name, self.provider.name()));
        }
        #[cfg(feature = "inbox")]
        let (store, store_id) = match inbox_store {
            Some((store, id)) => (store_of(&self.dedupe, Some(store))?, Some(id)),
            None => with_id(store_of(&self.dedupe, self.store)?),
        };
        #[cfg(not(feature = "inbox"))]
        let (store, store_id) = with_id(store_of(&self.dedupe, self.store)?);
        let permits = Permits::new(self.max_in_flight).map_err(ConfigError::no_randomness)?;
        let numbers = DeliveryNumbers::new().map_err(ConfigError::no_randomness)?;
        let process_keys = (store.in_process().is_some() || self.dedupe.is_off())
            .then(|| ProcessKeys::new(self.provider.name(), &self.name))
            .transpose()
            .map_err(ConfigError::no_randomness)?;
        // If no age is checked, a replay is accepted at any time, so no event may be forgotten early.
        let retention = Retention::new(if freshness == Freshness::Unchecked { total } else { window }, total);
        let limits = Limits {
            methods: policy.methods,
            body: self.body_limit,
            retention,
            freshness,
            expect_every: self.expect_every,
        };
        let settings = Settings {
            store_id,
            store,
            process_keys,
            retention,
            lease: self.lease,
            handler_timeout: self.handler_timeout,
            // A lease must be longer than a store operation that hangs.
            store_timeout: STORE_TIMEOUT.min(self.lease.checked_div(3).unwrap_or(self.lease)),
            on_store_error: self.on_store_error,
            max_repeats: self.max_repeats,
            #[cfg(feature = "inbox")]
            inbox,
        };
        observe::built();
        observe::warnings(&warnings);
        let endpoint = Arc::new(EndpointFacts::new(&self.name, self.provider.name(), self.clock, limits));
        #[cfg(feature = "inbox")]
        if let Some(inbox) = &settings.inbox {
            observe::inbox::useful_for(&endpoint, inbox.useful_for);
        }
        let provider: Arc<dyn Provider> = self.provider.into();
        let generation =
            Generation::new(endpoint.clone(), scheme, keyed, |secret| provider.mode_of_secret(secret), None);
        Ok(Receiver(Arc::new(ReceiverState {
            watch: Watch::begin(&endpoint)?,
            endpoint,
            current: RwLock::new(Current { provider, generation: Arc::new(generation) }),
            body_timeout: self.body_timeout,
            freshness_rule: FreshnessRule {
                freshness,
                unknown_kinds_have_event_time: policy.unknown_kinds_have_event_time,
            },
            unsigned,
            key_rule: KeyRule::new(numbers, self.dedupe),
            handling: Handling::new(settings, permits),
            warnings,
        })))
    }

    fn check_limits(&self) -> Result<(), ConfigError> {
        for (option, is_zero) in [
            ("body_limit", self.body_limit == 0),
            ("max_in_flight", self.max_in_flight == 0),
            ("body_timeout", self.body_timeout.is_zero()),
            ("handler_timeout", self.handler_timeout.is_zero()),
        ] {
            if is_zero {
                return Err(ConfigError::new(format!("{option} must be greater than 0")));
            }
        }
        if self.lease < SHORTEST_LEASE || self.lease > LONGEST_LEASE {
            return Err(ConfigError::new("lease must be between 100 ms and 1 h"));
        }
        if self.expect_every.is_some_and(|every| every < SHORTEST_EXPECTATION) {
            return Err(ConfigError::new("expect_every must be at least 1 min"));
        }
        Ok(())
    }
}

/// Checks that the provider sends the time that freshness depends on.
fn check_freshness(freshness: Freshness, scheme: &SchemeVerifier, policy: &Policy) -> Result<(), ConfigError> {
    freshness.validate()?;
    match freshness {
        Freshness::AttemptTime { .. } if !scheme.signs_attempt_time() => {
            Err(ConfigError::new("Freshness::AttemptTime needs a scheme that signs a timestamp; this one does not"))
        }
        Freshness::EventTime { .. } if !policy.has_event_time => {
            Err(ConfigError::new("Freshness::EventTime needs bodies that contain the event's time; these do not"))
        }
        _ => Ok(()),
    }
}

/// Checks that a handled event is remembered for as long as its deliveries may be retried or replayed.
fn check_retention(retention: Duration, least: Duration) -> Result<(), ConfigError> {
    if retention >= least {
        return Ok(());
    }
    Err(ConfigError::new(format!(
        "retention of {} s is too short: deliveries may be retried or replayed for {} s",
        retention.as_secs(),
        least.as_secs()
    )))
}

/// Returns how long a replay of the same bytes is accepted; zero if ages are not checked.
fn window(freshness: Freshness) -> Duration {
    match freshness {
        Freshness::Unchecked => Duration::ZERO,
        // Both ends of the window are compared in whole seconds.
        limited => limited.window().saturating_add(ROUNDING),
    }
}

#[cfg(feature = "inbox")]
impl InboxOptions {
    /// Checks the options. Returns the inbox with its settings, and its store.
    #[allow(clippy::type_complexity, reason = "each part is used once")]
    fn settings(
        self,
        has_store: bool,
        provider: &str,
    ) -> Result<(Option<InboxSettings>, Option<(Arc<dyn DedupeStore>, StoreId)>), ConfigError> {
        let unused = [("ack_status", self.ack_status.is_some()), ("max_inbox_bytes", self.max_bytes.is_some())];
        let Some(inbox) = self.inbox else {
            return match unused.into_iter().find(|(_, is_set)| *is_set) {
                Some((option, _)) => Err(ConfigError::new(format!("{option} is set, but `inbox` is not"))),
                None => Ok((None, None)),
            };
        };
        if has_store {
            let problem = "`store` and `inbox` are both set; remove `store`, since the inbox has a store already";
            return Err(ConfigError::new(problem));
        }
        let ack_status = self.ack_status.unwrap_or(StatusCode::OK);
        if !ack_status.is_success() {
            return Err(ConfigError::new(format!("ack_status must be a 2xx status, not {}", ack_status.as_u16())));
        }
        let max_bytes = self.max_bytes.unwrap_or(1024 * 1024 * 1024);
        if max_bytes == 0 {
            return Err(ConfigError::new("max_inbox_bytes must be greater than 0"));
        }
        let store = (inbox.store.clone(), inbox.store_id);
        let useful_for = registered(provider).map_or(&[][..], |facts| facts.useful_for);
        let settings = InboxSettings { inbox, ack_status, quota: Quota::new(max_bytes), useful_for };
        Ok((Some(settings), Some(store)))
    }
}

/// Returns the warning for a provider that may expect a result in the answer.
#[cfg(feature = "inbox")]
fn result_expected(name: &str, provider: &str) -> Option<String> {
    let kinds = registered(provider)?.may_expect_result;
    (!kinds.is_empty()).then(|| {
        format!(
            "receiver {name}: the sender of {} may expect a result in the answer, but with an inbox the answer is sent \
             before the handler runs; ask {provider}, or receive these kinds without an inbox",
            kinds.join(", ")
        )
    })
}

fn with_id(store: Arc<dyn DedupeStore>) -> (Arc<dyn DedupeStore>, Option<StoreId>) {
    let id = store.store_id();
    (store, id)
}

fn store_of(dedupe: &Dedupe, store: Option<Arc<dyn DedupeStore>>) -> Result<Arc<dyn DedupeStore>, ConfigError> {
    if dedupe.is_off() {
        return Ok(Arc::new(NoDedupe));
    }
    store
        .ok_or_else(|| ConfigError::new("no store configured; set `store`, or use `NoDedupe` to disable deduplication"))
}

/// Returns warnings about valid secrets that the operator should change.
pub(super) fn secret_warnings(
    name: &str,
    config: &SchemeConfig,
    secrets: &Secrets,
    scheme: &SchemeVerifier,
) -> Vec<String> {
    let short = scheme.short_secrets();
    let short = short
        .iter()
        .map(|label| format!("receiver {name}: secret {label} is shorter than 16 bytes and can be guessed"));
    let suspicious = config.suspicious_secrets(secrets).map(|(label, mistake)| {
        format!("receiver {name}: secret {label} {mistake}, or call Secret::literal if the text is intended")
    });
    short.chain(suspicious).collect()
}

/// Returns the warning if late retries are rejected.
fn late_retries(name: &str, freshness: Freshness, policy: &Policy) -> Option<String> {
    // A retry is as old as its event, since it contains the event's time.
    if let Freshness::EventTime { max_age, .. } = freshness
        && max_age < policy.retry_horizon
    {
        return Some(format!(
            "receiver {name}: max_age of {} s is shorter than the provider's retry horizon of {} s; late retries will \
             be rejected and their events lost",
            max_age.as_secs(),
            policy.retry_horizon.as_secs()
        ));
    }
    None
}

const SHORTEST_LEASE: Duration = Duration::from_millis(100);
const LONGEST_LEASE: Duration = Duration::from_secs(3600);

/// Shorter pauses are usual at every provider, and each one would be a log line.
const SHORTEST_EXPECTATION: Duration = Duration::from_secs(60);

/// The extra time after its window in which a replay may be accepted, because of rounding.
const ROUNDING: Duration = Duration::from_secs(2);

/// The time limit of a store operation, after which the store counts as unavailable.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("name", &self.name).field("provider", &self.provider).finish_non_exhaustive()
    }
}

fn checked_name(what: &str, name: &str) -> Result<(), ConfigError> {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    if (1..=64).contains(&name.len()) && name.bytes().all(is_allowed) {
        Ok(())
    } else {
        Err(ConfigError::new(format!("{what} name {name:?} must be 1 to 64 characters of a-z, 0-9, `.`, `_` and `-`")))
    }
}
