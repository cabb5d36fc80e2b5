//! Fasten Connect: exports of patients' records as FHIR.
//!
//! | what | where | standing |
//! |---|---|---|
//! | origin | `webhook-signature`: [Standard Webhooks](https://www.standardwebhooks.com) `v1`, HMAC-SHA256, key = base64 after `whsec_` | proves the body and the time of the attempt |
//! | body | `{api_mode, type, date, id, data}` | signed |
//! | time | `webhook-timestamp`, new with each attempt; judged within 300 s either way | signed |
//! | | `date` in the body: the same moment. When the event happened is told nowhere | signed |
//! | id | `id` in the body, the same over all attempts | signed |
//!
//! Source of each fact, unless another is named: <https://docs.connect.fastenhealth.com/webhooks> and the pages below
//! it.
//!
//! # Attempts
//! Any 2xx within 60 s counts as received. Up to four retries follow over about 24 hours, each with a fresh timestamp
//! and signature, so five minutes of tolerance are right for all of them, and an event is remembered for 72 hours.
//! After repeated failures the endpoint is switched off; so test events that a live endpoint does not expect are answered
//! 200.
//!
//! # Test and live
//! Each endpoint has one secret per mode, and the body's `api_mode` says which mode an event is of. Here a secret is bound
//! to its mode:
//!
//! | verified by | `test` | `live` | no mode, or an undocumented one |
//! |---|---|---|---|
//! | a live secret ([`Fasten::live`]) | 200, dropped: [`WrongMode`](crate::Reason::WrongMode) | delivered | delivered, since it may be about a patient: [`Delivery::mode`](crate::Delivery::mode) tells |
//! | a test secret ([`Fasten::test`], [`Fasten::and_test`]) | delivered | 503: [`SecretModeMismatch`](crate::Reason::SecretModeMismatch) | 503: [`SecretModeMismatch`](crate::Reason::SecretModeMismatch) |
//! | a secret of [`Fasten::any_mode`] | delivered | delivered | delivered |
//!
//! A test event under the live secret is dropped with a 200, since a 4xx would get the endpoint switched off. Anything
//! but a test event under a test secret means that the secrets are swapped in our own configuration, since Fasten signs
//! live events with the live secret alone. The 503 makes Fasten send the event again, and with the feature `tracing` a
//! warning names the secret.
//!
//! # What the documentation leaves open
//! - Whether `webhook-id` equals the body's `id`. Equality is not asked for; the body's `id` is the event's. Where it
//!   is missing, `webhook-id` stands in, which is signed as well.
//! - `download_links` replaced `download_link` in October 2025, yet the portal's simulator sends the older one alone,
//!   as text, and the catalogue of the API calls it an object. All three forms are read:
//!   [`EhiExportSuccess::urls`] gives the links whichever way they came.
//! - The exact schedule of the retries (`medhook send --retry` follows the guess in [`registry`](crate::registry)), and how many failures switch an endpoint off.

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
use super::facts::{Pointers, ProviderFacts, RetrySchedule};
use super::json::{Scalar, envelope_of, part_of};
use super::options::{OptionError, OptionName, ProviderOptions, SecretMode, needed};
use crate::any_event::AnyEvent;
use crate::envelope::{Envelope, Mode};
use crate::scheme::StandardWebhooks;
use crate::{ConfigError, Freshness, Secrets, Verified};

/// What is known about Fasten Connect.
pub(crate) static FACTS: ProviderFacts = ProviderFacts {
    name: "fasten",
    title: "Fasten Connect",
    kinds: event::KINDS,
    policy: Policy {
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
    retries: Some(RetrySchedule {
        // Each four times the one before it, and 24 h in all.
        waits: &[
            Duration::from_secs(1_016),
            Duration::from_secs(4_066),
            Duration::from_secs(16_264),
            Duration::from_secs(65_054),
        ],
        remark: "fasten documents up to 4 retries with growing waits over about 24 h: how they grow is a guess",
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

/// Fasten Connect. See the [module](self) for what is checked and why.
#[derive(Debug, Clone)]
pub struct Fasten {
    secrets: Result<Secrets, std::sync::Arc<ConfigError>>,
    modes: Vec<Option<Mode>>,
}

impl Fasten {
    /// Takes live events, with the live mode's secrets.
    #[must_use]
    pub fn live(secrets: impl Into<Secrets>) -> Self {
        Self::bound(secrets.into(), Some(Mode::Live))
    }

    /// Takes test events, with the test mode's secrets. Any other event under one of them is answered 503:
    /// [`Reason::SecretModeMismatch`](crate::Reason::SecretModeMismatch).
    #[must_use]
    pub fn test(secrets: impl Into<Secrets>) -> Self {
        Self::bound(secrets.into(), Some(Mode::Test))
    }

    /// Takes events of either mode with any of the secrets. A test event then looks like any other to a handler that
    /// does not ask for its mode: prefer [`live`](Fasten::live) and, for an endpoint that serves both,
    /// [`and_test`](Fasten::and_test).
    #[must_use]
    pub fn any_mode(secrets: impl Into<Secrets>) -> Self {
        Self::bound(secrets.into(), None)
    }

    /// Takes test events on the same endpoint, if the test mode's secrets verify them. Any other event under one of these
    /// secrets is answered 503: [`Reason::SecretModeMismatch`](crate::Reason::SecretModeMismatch).
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
        let secrets = || needed(OptionName::Secrets, options.secrets.as_ref());
        let mode = options.mode.unwrap_or(SecretMode::Live);
        Ok(match (mode, &options.test_secrets) {
            (SecretMode::Live, Some(test)) if options.secrets.is_none() => Fasten::test(test.clone()),
            (SecretMode::Live, Some(test)) => Fasten::live(secrets()?).and_test(test.clone()),
            (SecretMode::Live, None) => Fasten::live(secrets()?),
            (SecretMode::Test, None) => Fasten::test(secrets()?),
            (SecretMode::Any, None) => Fasten::any_mode(secrets()?),
            (SecretMode::Test | SecretMode::Any, Some(_)) => {
                return Err(OptionError::new(OptionName::TestSecrets, "goes with the mode live alone"));
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

    fn open(&self, verified: &Verified<'_>) -> Envelope {
        envelope(None, verified.body())
    }
}

/// Reads the envelope of a body, with `kind` for one that names none.
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
