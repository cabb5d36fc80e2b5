//! HealthSync: documents, their analysis, and shares.
//!
//! | what | where | trust |
//! |---|---|---|
//! | authentication | `X-HealthSync-Signature: sha256=<hex>`: HMAC-SHA256 over the raw body, key = the secret's UTF-8 bytes | covers the body |
//! | body | `{id, type, created_at, data: {object}}` | signed |
//! | time of the event | `created_at`, the same for all attempts; accepted up to 2 h old and 5 min ahead | signed |
//! | time of the attempt | absent | |
//! | event id | `id` in the body | signed |
//! | other headers | `X-HealthSync-Event`, `X-HealthSync-Delivery` | unsigned: ignored |
//!
//! Source of each fact: HealthSync's developer page "Webhooks & Event Subscriptions".
//!
//! # Retries
//! HealthSync treats a 200 within 5 s as success. Retries follow "after 1 minute, 5 minutes, 30 minutes, 1 hour". The
//! documentation does not say whether these are intervals or offsets, or whether there are four or five attempts in
//! total. In the longest reading the last attempt comes 96 minutes after the event, so events up to two hours old are
//! accepted. A captured delivery would pass the age check for that long, so events are remembered for longer: 24 hours.
//!
//! # After an outage
//! Events of an outage that is longer than the retries are lost. The dashboard has a delivery log. An API that lists
//! missed events, or a manual resend, is not documented; ask HealthSync.
//!
//! # Undocumented behavior
//! - The payloads of all kinds except `document.uploaded`. These events carry their payload as [`Undocumented`], and no
//!   field is invented.
//! - The content of the dashboard's "Send Test Event". The delivery is verified like any other and decoded as
//!   [`Event::Unknown`] or [`Event::Undecodable`]. `created_at` may be missing from events of an undocumented kind, but
//!   not from events of a documented kind.

mod event;
#[cfg(feature = "testing")]
mod test_data;

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

pub use self::event::{Document, DocumentUploaded, Event, Kind};
pub use crate::event::Undocumented;

use super::definition::{METHODS, Policy, Provider, sealed};
use super::equal_bytes::EqualBytes;
use super::facts::{Pointers, ProviderFacts, RetrySchedule, UnsignedHeader, UnsignedValue};
use super::json::{Scalar, envelope_of, part_of};
use super::options::{OptionName, required};
use crate::any_event::AnyEvent;
use crate::envelope::Envelope;
use crate::scheme::{Encoding, HmacSha256Body};
use crate::{ConfigError, Freshness, Secrets};

/// The facts about HealthSync.
pub(crate) static FACTS: ProviderFacts = ProviderFacts {
    name: "healthsync",
    title: "HealthSync",
    kinds: event::KINDS,
    policy: Policy {
        needs_freshness: false,
        freshness: Freshness::EventTime { max_age: Duration::from_secs(2 * 3600), max_skew: Duration::from_secs(300) },
        retention: Duration::from_secs(24 * 3600),
        // The waits below, plus the timeouts of the four attempts before the last one.
        retry_horizon: Duration::from_secs(96 * 60 + 20),
        methods: METHODS,
        has_event_time: true,
        unknown_kinds_have_event_time: false,
    },
    required_options: &[],
    optional_options: &[],
    pointers: Pointers { id: Some("/id"), kind: Some("/type"), time: Some("/created_at"), mode: None },
    answer_timeout: Some(Duration::from_secs(5)),
    may_expect_result: &[],
    useful_for: &[],
    retries: Some(RetrySchedule {
        waits: &[
            Duration::from_secs(60),
            Duration::from_secs(300),
            Duration::from_secs(1_800),
            Duration::from_secs(3_600),
        ],
        remark: "healthsync documents retries after 1 min, 5 min, 30 min and 1 h, read here as waits between attempts",
    }),
    unsigned_headers: &[
        UnsignedHeader { name: "x-healthsync-event", value: UnsignedValue::Kind },
        UnsignedHeader { name: "x-healthsync-delivery", value: UnsignedValue::AttemptId },
    ],
    id_prefix: "evt_",
    natural_key: None,
    build: |options| Ok(Box::new(HealthSync::new(required(OptionName::Secrets, options.secrets.as_ref())?))),
    from_delivery: AnyEvent::from_delivery::<Event>,
    from_body: AnyEvent::from_body::<Event>,
    #[cfg(feature = "testing")]
    test_data: test_data::TEST_DATA,
};

/// The HealthSync provider. The [module](self) documents its checks.
#[derive(Debug, Clone)]
pub struct HealthSync {
    secrets: Secrets,
}

impl HealthSync {
    /// Accepts events signed with any of the secrets. The keys are the secrets' UTF-8 bytes, not decoded.
    #[must_use]
    pub fn new(secrets: impl Into<Secrets>) -> Self {
        HealthSync { secrets: secrets.into() }
    }
}

impl sealed::Sealed for HealthSync {}

impl Provider for HealthSync {
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
        let config = HmacSha256Body::new("x-healthsync-signature").prefix("sha256=").encoding(Encoding::Hex).into();
        Ok(sealed::SchemeWithSecrets { config, secrets: self.secrets.clone() })
    }

    fn read(&self, body: &Bytes, _: sealed::Seal) -> Envelope {
        envelope(None, body)
    }
}

/// Reads the envelope of a body; `kind` is the fallback for a body that names no kind.
fn envelope(kind: Option<&str>, body: &Bytes) -> Envelope {
    match envelope_of::<HealthSyncEnvelope<'_>>(body) {
        Ok(fields) => Envelope {
            id: fields.id.into_box(),
            kind: fields.kind.into_kind(kind, Kind::documented),
            occurred_at: fields.created_at.into_time(),
            data: fields.data.map(|data| part_of(body, data)),
            ..Envelope::default()
        },
        Err(problem) => Envelope::none(problem),
    }
}

#[derive(Deserialize)]
struct HealthSyncEnvelope<'b> {
    #[serde(borrow, default)]
    id: Scalar<'b>,
    #[serde(borrow, default, rename = "type")]
    kind: Scalar<'b>,
    #[serde(borrow, default)]
    created_at: Scalar<'b>,
    #[serde(borrow, default)]
    data: Option<&'b RawValue>,
}
