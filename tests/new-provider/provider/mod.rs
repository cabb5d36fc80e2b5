//! Example Laboratory: results. It does not exist; `scripts/new-provider` adds it to a copy of this project.
//!
//! | what | where | trust |
//! |---|---|---|
//! | origin | `X-Example-Lab-Signature: sha256=<hex>`: HMAC-SHA256 over the raw body, key = the secret's UTF-8 bytes | authenticates the body |
//! | body | `{id, type, created_at, data}` | signed |
//! | time | `created_at`: when the event was made, the same over all attempts | signed |
//! | id | `id` in the body | signed |
//!
//! Source of each fact: invented.

mod event;
#[cfg(feature = "testing")]
mod test_data;

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

pub use self::event::{Event, Kind, ResultReady};
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

/// The facts about Example Laboratory.
pub(crate) static FACTS: ProviderFacts = ProviderFacts {
    name: "examplelab",
    title: "Example Laboratory",
    kinds: event::KINDS,
    policy: Policy {
        freshness: Freshness::EventTime { max_age: Duration::from_secs(3600), max_skew: Duration::from_secs(300) },
        needs_freshness: false,
        retention: Duration::from_secs(24 * 3600),
        retry_horizon: Duration::from_secs(11 * 60),
        methods: METHODS,
        has_event_time: true,
        unknown_kinds_have_event_time: false,
    },
    required_options: &[],
    optional_options: &[],
    pointers: Pointers { id: Some("/id"), kind: Some("/type"), time: Some("/created_at"), mode: None },
    answer_timeout: Some(Duration::from_secs(10)),
    may_expect_result: &[],
    useful_for: &[],
    retries: Some(RetrySchedule {
        waits: &[Duration::from_secs(60), Duration::from_secs(600)],
        remark: "examplelab documents retries 1 min and 10 min after the attempt before",
    }),
    unsigned_headers: &[UnsignedHeader { name: "x-example-lab-event", value: UnsignedValue::Kind }],
    id_prefix: "res_",
    natural_key: None,
    build: |options| Ok(Box::new(ExampleLab::new(required(OptionName::Secrets, options.secrets.as_ref())?))),
    from_delivery: AnyEvent::from_delivery::<Event>,
    from_body: AnyEvent::from_body::<Event>,
    #[cfg(feature = "testing")]
    test_data: test_data::TEST_DATA,
};

/// Example Laboratory. See the [module](self) for what is verified and why.
#[derive(Debug, Clone)]
pub struct ExampleLab {
    secrets: Secrets,
}

impl ExampleLab {
    /// Accepts events signed with any of the secrets, which are used as they are, not decoded.
    #[must_use]
    pub fn new(secrets: impl Into<Secrets>) -> Self {
        ExampleLab { secrets: secrets.into() }
    }
}

impl sealed::Sealed for ExampleLab {}

impl Provider for ExampleLab {
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
        let config = HmacSha256Body::new("x-example-lab-signature").prefix("sha256=").encoding(Encoding::Hex).into();
        Ok(sealed::SchemeWithSecrets { config, secrets: self.secrets.clone() })
    }

    fn read(&self, body: &Bytes, _: sealed::Seal) -> Envelope {
        envelope(None, body)
    }
}

/// Reads the envelope of a body, with `kind` for one that names none.
fn envelope(kind: Option<&str>, body: &Bytes) -> Envelope {
    match envelope_of::<ExampleLabEnvelope<'_>>(body) {
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
struct ExampleLabEnvelope<'b> {
    #[serde(borrow, default)]
    id: Scalar<'b>,
    #[serde(borrow, default, rename = "type")]
    kind: Scalar<'b>,
    #[serde(borrow, default)]
    created_at: Scalar<'b>,
    #[serde(borrow, default)]
    data: Option<&'b RawValue>,
}
