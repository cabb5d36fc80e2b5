//! HealthSync: documents, their analysis, and who shares them.
//!
//! | what | where | standing |
//! |---|---|---|
//! | origin | `X-HealthSync-Signature: sha256=<hex>`: HMAC-SHA256 over the raw body, key = the secret's UTF-8 bytes | proves the body |
//! | body | `{id, type, created_at, data: {object}}` | signed |
//! | time | `created_at`: when the event was made, the same over all attempts; judged within 2 h back, 5 min ahead | signed |
//! | | when an attempt was made | absent |
//! | id | `id` in the body | signed |
//! | | `X-HealthSync-Event`, `X-HealthSync-Delivery` | only claimed: not looked at |
//!
//! Source of each fact: HealthSync's developer page "Webhooks & Event Subscriptions".
//!
//! # Attempts
//! 200 within 5 s counts as received. Retries follow "after 1 minute, 5 minutes, 30 minutes, 1 hour"; whether these
//! are intervals or offsets, and whether four or five attempts in all, is not said. By the longest reading the last
//! attempt comes 96 minutes after the event, so an age of two hours is accepted. Within that time captured bytes would
//! pass again; therefore an event is remembered for longer (24 hours).
//!
//! # What the documentation leaves open
//! - The payloads of all kinds but `document.uploaded`: these events carry their payload as [`Undocumented`], and no
//!   field is made up.
//! - What the dashboard's "Send Test Event" sends. It is proven like any other and handed over as
//!   [`Event::Unknown`] or [`Event::Undecodable`]; an event of no documented kind may come without `created_at`, one
//!   of a documented kind may not.

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
use super::facts::{Pointers, ProviderFacts, RetrySchedule, UnsignedHeader, UnsignedValue};
use super::json::{Scalar, envelope_of, part_of};
use super::options::{OptionName, needed};
use crate::any_event::AnyEvent;
use crate::envelope::Envelope;
use crate::scheme::{Encoding, HmacSha256Body};
use crate::{ConfigError, Freshness, Secrets, Verified};

/// What is known about HealthSync.
pub(crate) static FACTS: ProviderFacts = ProviderFacts {
    name: "healthsync",
    title: "HealthSync",
    kinds: event::KINDS,
    policy: Policy {
        freshness: Freshness::EventTime { max_age: Duration::from_secs(2 * 3600), max_skew: Duration::from_secs(300) },
        retention: Duration::from_secs(24 * 3600),
        // The waits below, and five answers that do not come.
        retry_horizon: Duration::from_secs(96 * 60 + 20),
        methods: METHODS,
        has_event_time: true,
        unknown_kinds_have_event_time: false,
    },
    required_options: &[],
    optional_options: &[],
    pointers: Pointers { id: Some("/id"), kind: Some("/type"), time: Some("/created_at"), mode: None },
    answer_timeout: Some(Duration::from_secs(5)),
    retries: Some(RetrySchedule {
        waits: &[
            Duration::from_secs(60),
            Duration::from_secs(300),
            Duration::from_secs(1_800),
            Duration::from_secs(3_600),
        ],
        remark: "healthsync documents retries after 1 min, 5 min, 30 min and 1 h: taken here as waits between attempts",
    }),
    unsigned_headers: &[
        UnsignedHeader { name: "x-healthsync-event", value: UnsignedValue::Kind },
        UnsignedHeader { name: "x-healthsync-delivery", value: UnsignedValue::AttemptId },
    ],
    id_prefix: "evt_",
    natural_key: None,
    build: |options| Ok(Box::new(HealthSync::new(needed(OptionName::Secrets, options.secrets.as_ref())?))),
    from_delivery: AnyEvent::from_delivery::<Event>,
    from_body: AnyEvent::from_body::<Event>,
    #[cfg(feature = "testing")]
    test_data: test_data::TEST_DATA,
};

/// HealthSync. See the [module](self) for what is checked and why.
#[derive(Debug, Clone)]
pub struct HealthSync {
    secrets: Secrets,
}

impl HealthSync {
    /// Takes events signed with any of the secrets, which are used as they are, not decoded.
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

    fn policy(&self) -> Policy {
        FACTS.policy
    }

    fn scheme(&self, _: sealed::Seal) -> Result<sealed::SchemeWithSecrets, ConfigError> {
        let config = HmacSha256Body::new("x-healthsync-signature").prefix("sha256=").encoding(Encoding::Hex).into();
        Ok(sealed::SchemeWithSecrets { config, secrets: self.secrets.clone() })
    }

    fn open(&self, verified: &Verified<'_>) -> Envelope {
        envelope(None, verified.body())
    }
}

/// Reads the envelope of a body, with `kind` for one that names none.
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
