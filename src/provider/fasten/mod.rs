//! Fasten Connect: exports of patient records as FHIR.
//!
//! | what | where | trust |
//! |---|---|---|
//! | authentication | `webhook-signature`: [Standard Webhooks](https://www.standardwebhooks.com) `v1`, HMAC-SHA256, key = base64 after `whsec_` | covers the body, `webhook-id` and the time of the attempt |
//! | body | `{api_mode, type, date, id, data}` | signed |
//! | time of the attempt | `webhook-timestamp`, new for each attempt; accepted within 300 s either way | signed |
//! | | `date` in the body: the same moment | signed |
//! | time of the event | absent | |
//! | event id | `id` in the body, the same for all attempts | signed |
//!
//! Source of each fact, unless stated otherwise: <https://docs.connect.fastenhealth.com/webhooks> and its subpages.
//!
//! # Retries
//! Fasten treats any 2xx within 60 s as success. Otherwise it retries up to four times over about 24 hours. Each retry
//! carries a fresh timestamp and signature, so the tolerance of five minutes applies to each attempt. Events are
//! remembered for 72 hours.
//!
//! Fasten disables an endpoint after repeated failures, so a live endpoint answers unexpected test events with 200.
//!
//! # After an outage
//! - Retries cover about 24 hours. An endpoint that Fasten disabled must be enabled again in the portal.
//! - The endpoint's page "Delivery Logs" in the portal shows the deliveries of the last 15 days. An API that lists
//!   missed events, or a manual resend, is not documented; ask Fasten's support.
//! - An export whose event was missed: Fasten's API can be polled with `GET /bridge/fhir/ehi-export/{taskId}`, if your
//!   application recorded the task. An export is deleted after 24 hours; request it again. (Source: Fasten's OpenAPI
//!   and guides in the catalog <https://github.com/api-evangelist/fasten-health>.)
//!
//! # Test and live mode
//! Each endpoint has one secret per mode, and `api_mode` in the body names the mode of the event. medhook binds each
//! secret to its mode:
//!
//! | verified by | `test` | `live` | no mode, or an undocumented one |
//! |---|---|---|---|
//! | a live secret ([`Fasten::live`]) | 200, dropped: [`WrongMode`](crate::Reason::WrongMode) | delivered | delivered, because it may concern a real patient; see [`Delivery::mode`](crate::Delivery::mode) |
//! | a test secret ([`Fasten::test`], [`Fasten::and_test`]) | delivered | 503: [`SecretModeMismatch`](crate::Reason::SecretModeMismatch) | 503: [`SecretModeMismatch`](crate::Reason::SecretModeMismatch) |
//! | a secret of [`Fasten::any_mode`] | delivered | delivered | delivered |
//!
//! Test events under the live secret are dropped with 200, because 4xx answers would get the endpoint disabled. Any
//! other event under a test secret means that the secrets are swapped in the configuration, because Fasten signs live
//! events with the live secret only. The 503 makes Fasten retry the event. With the feature `tracing`, a warning names
//! the secret.
//!
//! # Undocumented behavior
//! - Fasten does not document whether `webhook-id` equals the `id` in the body, so medhook does not compare them. The
//!   `id` in the body is the event's id; if it is missing, `webhook-id` is used, which is signed as well.
//! - The form of the download links is undocumented and varies. `download_links` replaced `download_link` in October
//!   2025, but the portal's simulator sends only the older field, as a string, and the API catalog describes it as an
//!   object. All three forms are read; [`EhiExportSuccess::urls`] returns the links from any of them.
//! - Fasten does not document the exact retry schedule, or how many failures disable an endpoint. `FACTS.retries` in
//!   this module assumes a schedule, which `medhook send --retry` follows.

mod event;
#[cfg(feature = "testing")]
mod test_data;

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

pub use self::event::{
    AuthorizationRevoked, ConnectionStatus, ConnectionSuccess, DownloadLink, EhiExportFailed, EhiExportSuccess, Event,
    ExportStats, FailureReason, Kind, RequestHealthSystem, RequestSupport, TestPing,
};

use super::definition::{METHODS, Policy, Provider, sealed};
use super::equal_bytes::EqualBytes;
use super::facts::{Pointers, ProviderFacts, RetrySchedule};
use super::json::{Scalar, envelope_of, part_of};
use super::options::{OptionError, OptionName, ProviderOptions, SecretMode, required};
use crate::any_event::AnyEvent;
use crate::envelope::{Envelope, Mode};
use crate::scheme::StandardWebhooks;
use crate::{ConfigError, Freshness, Secrets};

/// The facts about Fasten Connect.
pub(crate) static FACTS: ProviderFacts = ProviderFacts {
    name: "fasten",
    title: "Fasten Connect",
    kinds: event::KINDS,
    policy: Policy {
        needs_freshness: false,
        freshness: Freshness::STANDARD_WEBHOOKS,
        retention: Duration::from_secs(72 * 3600),
        retry_horizon: Duration::from_secs(25 * 3600),
        methods: METHODS,
        has_event_time: false,
        unknown_kinds_have_event_time: false,
    },
    required_options: &[],
    optional_options: &[OptionName::TestSecrets, OptionName::Mode],
    pointers: Pointers { id: Some("/id"), kind: Some("/type"), time: Some("/date"), mode: Some("/api_mode") },
    answer_timeout: Some(Duration::from_secs(60)),
    may_expect_result: &[],
    useful_for: &[("patient.ehi_export_success", Duration::from_secs(24 * 3600))],
    retries: Some(RetrySchedule {
        // Each wait is four times the previous one; together they take 24 h.
        waits: &[
            Duration::from_secs(1_016),
            Duration::from_secs(4_066),
            Duration::from_secs(16_264),
            Duration::from_secs(65_054),
        ],
        remark: "fasten documents up to 4 retries with exponential backoff over about 24 h; these waits are a guess",
    }),
    unsigned_headers: &[],
    id_prefix: "",
    natural_key: None,
    build: |options| Ok(Box::new(Fasten::configured(options)?)),
    from_delivery: AnyEvent::from_delivery::<Event>,
    from_body: AnyEvent::from_body::<Event>,
    #[cfg(feature = "testing")]
    test_data: test_data::TEST_DATA,
};

/// The Fasten Connect provider. The [module](self) documents its checks.
#[derive(Debug, Clone)]
pub struct Fasten {
    secrets: Result<Secrets, std::sync::Arc<ConfigError>>,
    modes: Vec<Option<Mode>>,
}

impl Fasten {
    /// Accepts live events, verified with the live mode's secrets. A test event under one of these secrets is answered
    /// with 200 and dropped: [`Reason::WrongMode`](crate::Reason::WrongMode).
    ///
    /// The [table of modes](self#test-and-live-mode) compares the constructors.
    #[must_use]
    pub fn live(secrets: impl Into<Secrets>) -> Self {
        Self::bound(secrets.into(), Some(Mode::Live))
    }

    /// Accepts test events, verified with the test mode's secrets. Any other event under one of these secrets is
    /// answered with 503: [`Reason::SecretModeMismatch`](crate::Reason::SecretModeMismatch).
    ///
    /// For an endpoint of its own in test mode. The [table of modes](self#test-and-live-mode) compares the constructors.
    #[must_use]
    pub fn test(secrets: impl Into<Secrets>) -> Self {
        Self::bound(secrets.into(), Some(Mode::Test))
    }

    /// Accepts events of either mode under any of the secrets.
    ///
    /// A handler that does not check [`Delivery::mode`](crate::Delivery::mode) then treats test events as real ones.
    /// Use it only if you do not know to which mode a secret belongs; for one URL in both modes, use
    /// [`and_test`](Fasten::and_test).
    ///
    /// ```
    /// # use medhook::{Delivery, Fasten, Mode, NoDedupe, Receiver, Rejection, Secret, testing};
    /// # const SECRET: &str = "whsec_c2VjcmV0IG9mIHRoZSBkb2N1bWVudGF0aW9u";
    /// let fasten = Fasten::any_mode(Secret::new(SECRET)?);
    /// let receiver = Receiver::builder("fasten", fasten).store(NoDedupe).build()?;
    ///
    /// let receive = |mode: &str| -> Result<Delivery, Rejection> {
    ///     let body =
    ///         format!(r#"{{"id": "1", "type": "webhook.test", "api_mode": "{mode}"}}"#);
    ///     let sample = testing::fasten("webhook.test").secret(SECRET).body(body);
    ///     let request = sample.request("/");
    ///     receiver.open(receiver.verify(request.headers(), request.body().clone())?)
    /// };
    /// assert_eq!(receive("live")?.mode(), Some(&Mode::Live));
    /// assert_eq!(receive("test")?.mode(), Some(&Mode::Test));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn any_mode(secrets: impl Into<Secrets>) -> Self {
        Self::bound(secrets.into(), None)
    }

    /// Also accepts test events on this endpoint, verified with the test mode's secrets. Any other event under one of
    /// these secrets is answered with 503: [`Reason::SecretModeMismatch`](crate::Reason::SecretModeMismatch).
    ///
    /// For one URL that is registered in both modes:
    ///
    /// ```
    /// # use medhook::{Delivery, Fasten, NoDedupe, Reason, Receiver, Rejection, Secret};
    /// # use medhook::testing;
    /// # const LIVE: &str = "whsec_bGl2ZSBzZWNyZXQgb2YgdGhlIGRvY3VtZW50cw==";
    /// # const TEST: &str = "whsec_dGVzdCBzZWNyZXQgb2YgdGhlIGRvY3VtZW50cw==";
    /// let fasten = Fasten::live(Secret::new(LIVE)?).and_test(Secret::new(TEST)?);
    /// let receiver = Receiver::builder("fasten", fasten).store(NoDedupe).build()?;
    ///
    /// let receive = |secret: &str, mode: &str| -> Result<Delivery, Rejection> {
    ///     let body =
    ///         format!(r#"{{"id": "1", "type": "webhook.test", "api_mode": "{mode}"}}"#);
    ///     let sample = testing::fasten("webhook.test").secret(secret).body(body);
    ///     let request = sample.request("/");
    ///     receiver.open(receiver.verify(request.headers(), request.body().clone())?)
    /// };
    /// assert!(receive(LIVE, "live").is_ok());
    /// assert!(receive(TEST, "test").is_ok());
    /// // Answered with 200 and dropped.
    /// let dropped = receive(LIVE, "test").unwrap_err();
    /// assert_eq!(dropped.reason(), Reason::WrongMode);
    /// // Answered with 503: the secrets are swapped.
    /// let retried = receive(TEST, "live").unwrap_err();
    /// assert_eq!(retried.reason(), Reason::SecretModeMismatch);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn and_test(mut self, secrets: impl Into<Secrets>) -> Self {
        let more = secrets.into();
        self.modes.extend(std::iter::repeat_n(Some(Mode::Test), more.len()));
        self.secrets = self.secrets.and_then(|known| {
            more.iter().try_fold(known, |known, secret| known.also(secret.clone())).map_err(std::sync::Arc::new)
        });
        self
    }

    fn configured(options: &ProviderOptions) -> Result<Self, OptionError> {
        let secrets = || required(OptionName::Secrets, options.secrets.as_ref());
        let mode = options.mode.unwrap_or(SecretMode::Live);
        Ok(match (mode, &options.test_secrets) {
            // Test secrets alone are enough only if the mode is not stated.
            (SecretMode::Live, Some(test)) if options.secrets.is_none() && options.mode.is_none() => {
                Fasten::test(test.clone())
            }
            (SecretMode::Live, Some(test)) => Fasten::live(secrets()?).and_test(test.clone()),
            (SecretMode::Live, None) => Fasten::live(secrets()?),
            (SecretMode::Test, None) => Fasten::test(secrets()?),
            (SecretMode::Any, None) => Fasten::any_mode(secrets()?),
            (SecretMode::Test | SecretMode::Any, Some(_)) => {
                return Err(OptionError::new(OptionName::TestSecrets, "can only be combined with `mode` live"));
            }
        })
    }

    fn bound(secrets: Secrets, mode: Option<Mode>) -> Self {
        let modes = vec![mode; secrets.len()];
        Fasten { secrets: Ok(secrets), modes }
    }
}

impl sealed::Sealed for Fasten {}

impl Provider for Fasten {
    fn name(&self) -> &str {
        FACTS.name
    }

    fn equal_bytes(&self, kind: Option<&str>) -> EqualBytes {
        FACTS.equal_bytes(kind)
    }

    fn policy(&self) -> Policy {
        FACTS.policy
    }

    fn scheme(&self, _: sealed::Seal) -> Result<sealed::SchemeWithSecrets, ConfigError> {
        let secrets = self.secrets.as_ref().map_err(|error| ConfigError::new(error.to_string()))?;
        Ok(sealed::SchemeWithSecrets { config: StandardWebhooks::new().into(), secrets: secrets.clone() })
    }

    fn mode_of_secret(&self, secret: usize) -> Option<&Mode> {
        self.modes.get(secret).and_then(Option::as_ref)
    }

    fn read(&self, body: &Bytes, _: sealed::Seal) -> Envelope {
        envelope(None, body)
    }
}

/// Reads the envelope of a body; `kind` is the fallback for a body that names no kind.
fn envelope(kind: Option<&str>, body: &Bytes) -> Envelope {
    match envelope_of::<FastenEnvelope<'_>>(body) {
        Ok(fields) => Envelope {
            id: fields.id.into_box(),
            kind: fields.kind.into_kind(kind, Kind::documented),
            sent_at: fields.date.into_time(),
            mode: fields.api_mode.into_mode(),
            data: fields.data.map(|data| part_of(body, data)),
            ..Envelope::default()
        },
        Err(problem) => Envelope::none(problem),
    }
}

#[derive(Deserialize)]
struct FastenEnvelope<'b> {
    #[serde(borrow, default)]
    id: Scalar<'b>,
    #[serde(borrow, default, rename = "type")]
    kind: Scalar<'b>,
    #[serde(borrow, default)]
    date: Scalar<'b>,
    #[serde(borrow, default)]
    api_mode: Scalar<'b>,
    #[serde(borrow, default)]
    data: Option<&'b RawValue>,
}
