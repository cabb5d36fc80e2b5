//! The receiver: all the checks of an endpoint, in their order.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderName, header};

use crate::claim::Admission;
use crate::dedupe::{DedupeStore, EventKey, EventKeys, NoDedupe, Retention};
use crate::headers::number;
use crate::provider::{Envelope, Provider, sealed};
use crate::scheme::SchemeVerifier;
use crate::time::{Clock, SystemClock, in_time, unix_seconds};
use crate::{ConfigError, Delivery, Found, Freshness, Headers, Intake, Mode, Reason, Rejection, Verified, observe};

/// One endpoint of ours: a provider, its secrets, and what is done with its deliveries. Cheap to clone.
///
/// Frameworks' layers take it. [`receive`](Receiver::receive), [`admit`](Receiver::admit) and
/// [`Admitted::run`](crate::Admitted::run) are what they call, in that order; [`verify`](Receiver::verify) and
/// [`open`](Receiver::open) are the part of it that needs no runtime.
#[derive(Clone)]
pub struct Receiver(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    name: Box<str>,
    keys: EventKeys,
    provider: Box<dyn Provider>,
    scheme: SchemeVerifier,
    freshness: Freshness,
    always_timed: bool,
    dedupe: Dedupe,
    clock: Arc<dyn Clock>,
    body_limit: usize,
    body_timeout: Duration,
    warnings: Vec<String>,
    pub(crate) store: Arc<dyn DedupeStore>,
    pub(crate) retention: Retention,
    pub(crate) lease: Duration,
    pub(crate) handler_timeout: Duration,
    pub(crate) store_timeout: Duration,
    pub(crate) on_store_error: OnStoreError,
    pub(crate) admission: Admission,
    pub(crate) unverified: observe::OncePerMinute,
    pub(crate) mode_mismatches: observe::OncePerMinute,
}

impl Receiver {
    /// Begins a receiver. Its name (1 to 64 of `[a-z0-9._-]`) is part of what events are remembered by, so it must not
    /// change between deployments; it also stands in logs and metrics.
    pub fn builder(name: impl Into<String>, provider: impl Provider) -> Builder {
        Builder::new(name.into(), Box::new(provider))
    }

    /// Looks at a head. Whatever it alone can refuse is refused here, before the body is read.
    ///
    /// # Errors
    /// The first check that failed, in the order of the code.
    pub fn begin<'a>(&'a self, method: &str, headers: &'a (impl Headers + ?Sized)) -> Result<Intake<'a>, Rejection> {
        let inner = &*self.0;
        inner.admission.is_open()?;
        is_post(method)?;
        not_encoded(headers)?;
        not_too_large(headers, inner.body_limit)?;
        let check = inner.scheme.begin(headers, inner.freshness, || self.now())?;
        Ok(Intake::new(self, check))
    }

    /// SignatureScope a body that is there already. Allocates nothing.
    ///
    /// # Errors
    /// As with [`begin`](Receiver::begin), [`Intake::push`] and [`Intake::finish`].
    pub fn verify<'a>(&'a self, headers: &'a (impl Headers + ?Sized), body: Bytes) -> Result<Verified<'a>, Rejection> {
        let mut intake = self.begin("POST", headers)?;
        intake.push(body)?;
        intake.finish()
    }

    /// Reads the envelope of a proven body and judges its mode and age.
    ///
    /// # Errors
    /// [`Reason::WrongMode`], [`Reason::SecretModeMismatch`], [`Reason::Stale`], [`Reason::InTheFuture`] or
    /// [`Reason::TimeMissing`]; or [`Reason::SignatureMismatch`], if it was another receiver that proved it.
    pub fn open(&self, verified: Verified<'_>) -> Result<Delivery, Rejection> {
        let inner = &*self.0;
        if !verified.receiver().is(self) {
            return Err(Reason::SignatureMismatch.into());
        }
        let mut envelope = inner.provider.open(&verified);
        let judged = self.of_this_mode(&verified, &envelope).and_then(|()| self.fresh(&envelope));
        if let Err(reason) = judged {
            return Err(Rejection::new(reason).about(envelope.kind, verified.secret_label()));
        }
        if envelope.id.is_none() {
            envelope.id = verified.message_id().map(Into::into);
        }
        let key = self.event_key(&envelope, verified.body());
        Ok(Delivery::new(envelope, verified, key))
    }

    /// Everything up to the [`Delivery`], from a request as a framework has it: at most as long as
    /// [`Builder::body_timeout`] says, and rejections are logged and counted.
    ///
    /// Dropping the future before it is done gives the delivery up; nothing has been handled or claimed.
    ///
    /// # Errors
    /// As with [`begin`](Receiver::begin), [`Intake`] and [`open`](Receiver::open), and [`Reason::BodyTimeout`] or
    /// [`Reason::BodyIncomplete`].
    ///
    /// # Panics
    /// Outside a tokio runtime with its timer enabled.
    pub async fn receive<H, S, E>(&self, method: &str, headers: &H, body: S) -> Result<Delivery, Rejection>
    where
        H: Headers + ?Sized,
        S: Stream<Item = Result<Bytes, E>>,
    {
        let body = pin!(body);
        let opened = async {
            let mut intake = self.begin(method, headers)?;
            in_time(self.0.body_timeout, pin!(intake.read(body))).await.ok_or(Reason::BodyTimeout)??;
            self.open(intake.finish()?)
        };
        let result = opened.await;
        if let Err(rejection) = &result {
            observe::rejected(self, rejection);
        }
        result
    }

    /// The receiver's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The provider's name.
    #[must_use]
    pub fn provider(&self) -> &str {
        self.0.provider.name()
    }

    /// What works but should not stay so: for the operator's eyes.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.0.warnings
    }

    pub(crate) fn body_limit(&self) -> usize {
        self.0.body_limit
    }

    pub(crate) fn secret_label(&self, secret: usize) -> &str {
        self.0.scheme.label(secret)
    }

    /// Whether it is this one, and not another that was built alike.
    pub(crate) fn is(&self, other: &Receiver) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn now(&self) -> i64 {
        unix_seconds(self.0.clock.now())
    }

    /// Checks that the secret is for the event's mode. With a live secret an event of no mode or an unknown one is
    /// delivered, since it may be about a patient, and a test event is dropped. With a test secret any other event means
    /// that our own configuration is wrong: the event may be about a patient, so it must not be answered 2xx.
    fn of_this_mode(&self, verified: &Verified<'_>, envelope: &Envelope) -> Result<(), Reason> {
        match (self.0.provider.mode_of_secret(verified.secret_index()), &envelope.mode) {
            (Some(Mode::Live), Some(Mode::Test)) => Err(Reason::WrongMode),
            (Some(Mode::Test), mode) if *mode != Some(Mode::Test) => Err(Reason::SecretModeMismatch),
            _ => Ok(()),
        }
    }

    /// Judges the event's own time, where that is what freshness goes by. An event of no documented kind may lack it
    /// (a provider's test button, say): it is handed over.
    fn fresh(&self, envelope: &Envelope) -> Result<(), Reason> {
        if !matches!(self.0.freshness, Freshness::EventTime { .. }) {
            return Ok(());
        }
        match envelope.occurred_at.as_ref().and_then(crate::Time::unix) {
            Some(occurred_at) => self.0.freshness.judge(occurred_at, self.now()),
            None if self.0.always_timed => Err(Reason::TimeMissing),
            None if envelope.kind.as_ref().is_some_and(|kind| kind.is_documented()) => Err(Reason::TimeMissing),
            None => Ok(()),
        }
    }

    fn event_key(&self, envelope: &Envelope, body: &Bytes) -> EventKey {
        let keys = &self.0.keys;
        let mode = envelope.mode.as_ref().map_or("", Mode::as_str);
        if let Dedupe(Policy::By(own)) = &self.0.dedupe
            && let Some(own) = own(envelope, body)
        {
            return keys.of_own(mode, &own);
        }
        match &envelope.id {
            Some(id) => keys.of_id(mode, id),
            None => keys.of_body(body),
        }
    }
}

impl Inner {
    pub(crate) fn part_of_lease(&self, parts: u32) -> Duration {
        self.lease.checked_div(parts).unwrap_or(self.lease)
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("name", &self.name())
            .field("provider", &self.0.provider)
            .field("freshness", &self.0.freshness)
            .field("store", &self.0.store)
            .finish_non_exhaustive()
    }
}

pub(crate) fn is_post(method: &str) -> Result<(), Reason> {
    if method == "POST" { Ok(()) } else { Err(Reason::Method) }
}

/// Signatures cover the bytes on the wire, and a body that has to be unpacked first could be one that never ends.
pub(crate) fn not_encoded(headers: &(impl Headers + ?Sized)) -> Result<(), Reason> {
    const NAME: HeaderName = header::CONTENT_ENCODING;
    match headers.find(&NAME) {
        Found::Absent => Ok(()),
        Found::Once(value) if value.eq_ignore_ascii_case(b"identity") || value.is_empty() => Ok(()),
        Found::Once(_) | Found::Repeated => Err(Reason::ContentEncoding),
    }
}

/// Refuses what says itself that it is too large. Whether a length is a sensible one, and kept, is the server's to
/// see to; what really arrives is counted again.
fn not_too_large(headers: &(impl Headers + ?Sized), limit: usize) -> Result<(), Reason> {
    const NAME: HeaderName = header::CONTENT_LENGTH;
    let Found::Once(value) = headers.find(&NAME) else {
        return Ok(());
    };
    match number(value) {
        Some(length) if usize::try_from(length).map_or(true, |length| length > limit) => Err(Reason::TooLarge),
        _ => Ok(()),
    }
}

/// What counts as the same event.
pub struct Dedupe(Policy);

type OwnKey = Box<dyn Fn(&Envelope, &Bytes) -> Option<String> + Send + Sync>;

enum Policy {
    ById,
    Off,
    By(OwnKey),
}

impl Dedupe {
    /// The same id; where a provider gives none, the same bytes. The default.
    #[must_use]
    pub fn by_id() -> Self {
        Dedupe(Policy::ById)
    }

    /// Nothing: every genuine delivery is handed over. For endpoints where two events may be the same byte for byte.
    #[must_use]
    pub fn off() -> Self {
        Dedupe(Policy::Off)
    }

    /// The same text, made from envelope and body; where it makes none, as [`by_id`](Dedupe::by_id). Only a digest of
    /// the text is stored.
    #[must_use]
    pub fn by(own: impl Fn(&Envelope, &Bytes) -> Option<String> + Send + Sync + 'static) -> Self {
        Dedupe(Policy::By(Box::new(own)))
    }
}

impl fmt::Debug for Dedupe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Policy::ById => "Dedupe::by_id()",
            Policy::Off => "Dedupe::off()",
            Policy::By(_) => "Dedupe::by(..)",
        })
    }
}

/// What becomes of a delivery whose event cannot be claimed, because the store is away or full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnStoreError {
    /// It is answered 503 and not handled: the sender tries again. The default, and right for senders that do.
    #[default]
    Reject,
    /// It is handled without a claim, and with that perhaps twice: for senders that never try again, whose event would
    /// be lost. The handler has to be idempotent, or twice has to be better than never. If it fails, and a store that
    /// hung makes the claim late all the same, the next attempt waits for a lease.
    HandleUnclaimed,
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

    /// How long a handler may take before it is given up. By default 10 minutes.
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
    /// One line about what does not fit: a name, a secret, no store, a freshness that the scheme signs no time for, or
    /// a retention shorter than the time in which a delivery may be replayed or retried.
    pub fn build(self) -> Result<Receiver, ConfigError> {
        let policy = self.provider.policy();
        checked_name("receiver", &self.name)?;
        checked_name("provider", self.provider.name())?;
        let fails = |problem: &str| ConfigError::new(format!("receiver {}: {problem}", self.name));

        let sealed::KeyedScheme(scheme) =
            self.provider.scheme(sealed::Seal).map_err(|error| fails(&error.to_string()).with_source(error))?;
        let freshness = self.freshness.unwrap_or(policy.freshness);
        freshness.validate().map_err(|error| fails(&error.to_string()))?;
        if matches!(freshness, Freshness::AttemptTime { .. }) && !scheme.signs_attempt_time() {
            return Err(fails("its scheme signs no time of the attempt to judge freshness by"));
        }
        if matches!(freshness, Freshness::EventTime { .. }) && !policy.tells_event_time {
            return Err(fails("its bodies say no time of the event to judge freshness by"));
        }

        // Ages are judged in whole seconds on both sides.
        let window = if freshness == Freshness::Unchecked {
            Duration::ZERO
        } else {
            freshness.window().saturating_add(ROUNDING)
        };
        let total = self.retention.unwrap_or(policy.retention.max(window));
        let least = window.max(policy.retry_horizon);
        if total < least {
            return Err(fails(&format!(
                "a retention of {} s is less than the {} s in which a delivery may be repeated",
                total.as_secs(),
                least.as_secs()
            )));
        }
        if self.body_limit == 0 || self.max_in_flight == 0 {
            return Err(fails("a body limit or a number of deliveries in flight of 0 refuses everything"));
        }
        if self.body_timeout.is_zero() || self.handler_timeout.is_zero() {
            return Err(fails("a time limit of 0 refuses everything"));
        }
        if self.lease < SHORTEST_LEASE || self.lease > LONGEST_LEASE {
            return Err(fails("a lease must be between 100 ms and 1 h"));
        }

        let store: Arc<dyn DedupeStore> = match (&self.dedupe, self.store) {
            (Dedupe(Policy::Off), _) => Arc::new(NoDedupe),
            (_, Some(store)) => store,
            (_, None) => {
                return Err(fails("no store to remember events in (`NoDedupe` remembers none)"));
            }
        };
        let short = scheme.short_secrets();
        let mut warnings: Vec<String> = short
            .iter()
            .map(|label| {
                format!("receiver {}: secret {label} is shorter than 16 bytes and could be guessed", self.name)
            })
            .collect();
        // A retry carries its event's own time: it is as old as the event by then.
        if let Freshness::EventTime { max_age, .. } = freshness
            && max_age < policy.retry_horizon
        {
            warnings.push(format!(
                "receiver {}: events older than {} s are refused, and the provider may retry for {} s: what failed at \
                 first can be lost",
                self.name,
                max_age.as_secs(),
                policy.retry_horizon.as_secs()
            ));
        }
        let receiver = Receiver(Arc::new(Inner {
            admission: Admission::new(self.max_in_flight)
                .map_err(|error| fails("no random numbers").with_source(error))?,
            keys: EventKeys::new(self.provider.name(), &self.name),
            name: self.name.into(),
            provider: self.provider,
            scheme,
            freshness,
            always_timed: policy.always_timed,
            dedupe: self.dedupe,
            clock: self.clock,
            body_limit: self.body_limit,
            body_timeout: self.body_timeout,
            warnings,
            store,
            // Where no age is judged the same bytes are accepted at any time: none may be forgotten early.
            retention: Retention::new(if freshness == Freshness::Unchecked { total } else { window }, total),
            lease: self.lease,
            handler_timeout: self.handler_timeout,
            on_store_error: self.on_store_error,
            // A claim is to outlive a step of its store that hangs.
            store_timeout: STORE_TIMEOUT.min(self.lease.checked_div(3).unwrap_or(self.lease)),
            unverified: observe::OncePerMinute::default(),
            mode_mismatches: observe::OncePerMinute::default(),
        }));
        observe::warnings(&receiver);
        Ok(receiver)
    }
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

#[cfg(test)]
#[path = "receiver_tests.rs"]
mod tests;
