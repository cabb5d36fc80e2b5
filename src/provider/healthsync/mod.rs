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

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

pub use self::event::{Document, DocumentUploaded, Event, Kind};
pub use crate::event::Undocumented;

use super::{METHODS, Policy, Provider, Scalar, envelope_of, part_of, sealed};
use crate::envelope::Envelope;
use crate::scheme::{Encoding, HmacSha256Body, SchemeConfig};
use crate::{ConfigError, Freshness, Secrets, Verified};

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
        NAME
    }

    fn policy(&self) -> Policy {
        Policy {
            freshness: Freshness::EventTime {
                max_age: Duration::from_secs(2 * 3600),
                max_skew: Duration::from_secs(300),
            },
            retention: Duration::from_secs(24 * 3600),
            retry_horizon: Duration::from_secs(96 * 60 + 20),
            methods: METHODS,
            has_event_time: true,
            unknown_kinds_have_event_time: false,
        }
    }

    fn scheme(&self, _: sealed::Seal) -> Result<sealed::KeyedScheme, ConfigError> {
        let scheme = HmacSha256Body::new(SIGNATURE).prefix(PREFIX).encoding(Encoding::Hex);
        SchemeConfig::from(scheme).with_secrets(&self.secrets).map(sealed::KeyedScheme)
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

pub(crate) const NAME: &str = "healthsync";
pub(crate) const SIGNATURE: &str = "x-healthsync-signature";
pub(crate) const PREFIX: &str = "sha256=";

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
