//! MediQuo: consultations, reports, prescriptions and messages of a telehealth service.
//!
//! | what | where | standing |
//! |---|---|---|
//! | origin | `x-webhook-signature`: a text agreed upon with MediQuo, the same in every request; or any header of the subscription's `meta.headers` | proves that the sender knows it, and nothing about the body |
//! | body | `{type, occurred_on, payload}` | only claimed: nothing signs it |
//! | time | `occurred_on`: when the event happened, in Unix seconds | only claimed: a hint |
//! | | when an attempt was made | absent |
//! | id | | absent: the digest of the body stands in |
//!
//! Sources: MediQuo's [SDK documentation](https://github.com/mediquo/docs-sdk/blob/HEAD/docs/api/sdk/webhooks.md) for
//! the header, its [API documentation](https://github.com/mediquo/mediquo-api-docs) for subscriptions
//! (`api-v1/organizations`) and payloads (`webhooks`), as of May 2026. Where the two disagree, both are read.
//!
//! # What the header is worth
//! It is called a signature but does not depend on the body: whoever sees one request can make any other, with any
//! payload. So take deliveries over TLS only, let the text be long and random (32 bytes or more), keep it out of the
//! proxy's logs, too, and have MediQuo's addresses or a client certificate checked by the proxy where you can.
//! [`Delivery::signature_scope`](crate::Delivery::signature_scope) is [`SenderOnly`](crate::SignatureScope::SenderOnly).
//!
//! Several [`Secrets`] are a rotation: any of them will do. Several headers are further factors: with
//! [`MediQuo::also_header`] every one of them must be right.
//!
//! ```
//! use medhook::{MediQuo, MemoryStore, Receiver, Secret};
//!
//! let text = Secret::new("agreed-upon-with-the-support-team")?.labeled("signature")?;
//! let other = Secret::new("set-as-a-header-of-the-subscription")?;
//! let mediquo = MediQuo::new(text).also_header("x-tenant-key", other);
//! let receiver = Receiver::builder("mediquo", mediquo).store(MemoryStore::new(10_000)).build()?;
//! # Ok::<(), medhook::ConfigError>(())
//! ```
//!
//! User and password, should they be what was agreed upon, are a header like any other: `authorization`, with
//! `Basic …` as its text. Should MediQuo ever compute a MAC for you, [`Custom`](crate::Custom) by the name `mediquo`
//! takes it, and its deliveries decode as this module's [`Event`].
//!
//! # Attempts
//! "Your endpoint … returns a `2xx` response" is all that is said: not how long MediQuo waits, not whether or when it
//! tries again, not in which order events come. Count on no retry.
//!
//! # Age
//! None is judged ([`Freshness::Unchecked`]). The only time, `occurred_on`, is as easily forged as the rest of the
//! body; a `prescription_created` carries the time of the prescription, though it is sent when its PDF is there; and
//! how late a retry may come is not documented. A captured delivery is therefore accepted again once its event is no
//! longer remembered, after 24 hours.
//!
//! [`Freshness::EventTime`] can be switched on at the [`Builder`](crate::Builder). Contrary to its name it goes by
//! an unsigned time here: a hint that keeps out late copies, and nobody who edits them.
//!
//! # The same event again
//! Without an id, deliveries are the same event if their bodies are the same bytes, at one endpoint, within 24 hours.
//! That fails in two ways:
//!
//! - *Two events are one.* A `patient_message_received` says who wrote to whom in which second, and nothing of the
//!   message: two messages within one second are one body, and the second is answered as a duplicate. Where each
//!   counts, use [`Dedupe::off`](crate::Dedupe::off) and a handler that may run twice for one event, or
//!   [`Dedupe::by`](crate::Dedupe::by) with a key of your own.
//! - *One event is two.* Links are signed and `is_read` is looked up for each sending, presumably, so the same event
//!   may come in other bytes. [`natural_key`] leaves these out:
//!
//! ```
//! use medhook::{Dedupe, MediQuo, MemoryStore, Receiver, Secret, mediquo};
//!
//! let secret = Secret::new("agreed-upon-with-the-support-team")?;
//! let receiver = Receiver::builder("mediquo", MediQuo::new(secret))
//!     .store(MemoryStore::new(10_000))
//!     .dedupe(Dedupe::by(mediquo::natural_key))
//!     .build()?;
//! # Ok::<(), medhook::ConfigError>(())
//! ```
//!
//! Several subscriptions may deliver the same event to one endpoint; with equal bodies it is handed over once.
//!
//! # What the documentation leaves open
//! - Ids are numbers here and texts there, times have an offset or none (read as UTC, which the overview promises),
//!   and what is nullable differs from page to page. All of it is read; every field is optional.
//! - `reports` is an object in one table and an array in its example: both are read.
//! - `occurred_on` is a `number` here and an `integer` there: of a fraction only whole seconds are kept, except in the
//!   [`natural_key`], which takes the number as it stands.
//! - The SDK documentation calls an event `patient_message_sent` whose example says `patient_message_received`. The
//!   former is read as the latter; [`Delivery::kind`](crate::Delivery::kind) tells which was sent.
//! - The subscriptions `message_unread` and `patient_message_received` deliver the same kind, and so do
//!   `appointment_finished` and `chat_consultation_finished`: look at the payload.
//! - A report's `content` depends on its type, of which only `soap` is documented: the four fields of that are typed,
//!   [`rest`](ReportContent::rest) keeps all others.
//! - Whether `active_substances` is always a list of texts, as in every example.
//!
//! # Links
//! `url`, `consultation_url` and `pdf_url` are signed or public, and open to whoever has them: treat them as secrets.
//! Those of `preconsultation.documents` end 24 hours after the delivery was sent.
//!
//! [`Freshness::EventTime`]: crate::Freshness::EventTime
//! [`Freshness::Unchecked`]: crate::Freshness::Unchecked

mod event;
mod key;
#[cfg(feature = "testing")]
mod test_data;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

pub use self::event::{
    AttachedDocument, BlockedProfessional, Channel, Consultation, ConsultationReport, ConsultationType, Derivation,
    Event, HistoryEntry, ImmediateVideoCall, IssuedPrescription, Kind, Medication, Message, Patient, PatientCode,
    PatientConsultation, PatientConsultationNoShow, PatientImmediateVideoCallAssigned, PatientMessageReceived,
    PatientReportSent, PatientWaitingRoomPositionUpdate, PreConsultation, Prescription, PrescriptionCreated,
    Professional, ProfessionalBlock, ReportContent, ReportType, ServiceType, Speciality, WaitingRoom,
};
pub use self::key::natural_key;

use super::definition::{Policy, Provider, sealed};
use super::facts::{Pointers, ProviderFacts};
use super::json::{Scalar, envelope_of, part_of};
use super::options::{OptionError, OptionName, ProviderOptions, needed};
use crate::any_event::AnyEvent;
use crate::envelope::Envelope;
use crate::scheme::SharedSecret;
use crate::{ConfigError, Secrets, Time, Verified};

/// What is known about MediQuo.
pub(crate) static FACTS: ProviderFacts = ProviderFacts {
    name: "mediquo",
    title: "MediQuo",
    kinds: event::KINDS,
    policy: Policy::undocumented(true),
    required_options: &[],
    optional_options: &[OptionName::Header, OptionName::AlsoHeader, OptionName::AlsoSecrets],
    pointers: Pointers { kind: Some("/type"), time: Some("/occurred_on"), ..Pointers::NONE },
    answer_timeout: None,
    retries: None,
    unsigned_headers: &[],
    id_prefix: "",
    natural_key: Some(natural_key),
    build: |options| Ok(Box::new(MediQuo::configured(options)?)),
    from_delivery: AnyEvent::from_delivery::<Event>,
    from_body: AnyEvent::from_body::<Event>,
    #[cfg(feature = "testing")]
    test_data: test_data::TEST_DATA,
};

/// MediQuo. See the [module](self) for what is checked and why.
#[derive(Debug, Clone)]
pub struct MediQuo {
    header: String,
    secrets: Secrets,
    others: Vec<(String, Secrets)>,
}

impl MediQuo {
    /// Takes deliveries with any of the secrets, as it is, in `x-webhook-signature`.
    #[must_use]
    pub fn new(secrets: impl Into<Secrets>) -> Self {
        MediQuo { header: "x-webhook-signature".to_owned(), secrets: secrets.into(), others: Vec::new() }
    }

    /// Reads the secret from this header instead.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>) -> Self {
        self.header = name.into();
        self
    }

    /// Asks for one of these secrets in another header, too: every header must hold one of its own.
    #[must_use]
    pub fn also_header(mut self, name: impl Into<String>, secrets: impl Into<Secrets>) -> Self {
        self.others.push((name.into(), secrets.into()));
        self
    }

    fn configured(options: &ProviderOptions) -> Result<Self, OptionError> {
        let mut mediquo = MediQuo::new(needed(OptionName::Secrets, options.secrets.as_ref())?);
        if let Some(header) = &options.header {
            mediquo = mediquo.header(header);
        }
        Ok(match (&options.also_header, &options.also_secrets) {
            (Some(header), also) => mediquo.also_header(header, needed(OptionName::AlsoSecrets, also.as_ref())?),
            (None, Some(_)) => return Err(OptionError::new(OptionName::AlsoHeader, "is needed for `also_secrets`")),
            (None, None) => mediquo,
        })
    }
}

impl sealed::Sealed for MediQuo {}

impl Provider for MediQuo {
    fn name(&self) -> &str {
        FACTS.name
    }

    fn policy(&self) -> Policy {
        FACTS.policy
    }

    fn scheme(&self, _: sealed::Seal) -> Result<sealed::SchemeWithSecrets, ConfigError> {
        let scheme = self.others.iter().fold(SharedSecret::new(self.header.as_str()), |scheme, (name, secrets)| {
            scheme.also_header(name.as_str(), secrets.clone())
        });
        Ok(sealed::SchemeWithSecrets { config: scheme.into(), secrets: self.secrets.clone() })
    }

    fn open(&self, verified: &Verified<'_>) -> Envelope {
        envelope(None, verified.body())
    }
}

/// Reads the envelope of a body, with `kind` for one that names none.
fn envelope(kind: Option<&str>, body: &Bytes) -> Envelope {
    match envelope_of::<MediQuoEnvelope<'_>>(body) {
        Ok(fields) => Envelope {
            kind: fields.kind.into_kind(kind, Kind::documented),
            occurred_at: fields.occurred_on.and_then(seconds),
            data: fields.payload.map(|payload| part_of(body, payload)),
            ..Envelope::default()
        },
        Err(problem) => Envelope::none(problem),
    }
}

#[derive(Deserialize)]
struct MediQuoEnvelope<'b> {
    #[serde(borrow, default, rename = "type")]
    kind: Scalar<'b>,
    #[serde(borrow, default)]
    occurred_on: Option<&'b RawValue>,
    #[serde(borrow, default)]
    payload: Option<&'b RawValue>,
}

/// A time in seconds, whole or not.
fn seconds(json: &RawValue) -> Option<Time> {
    let scalar: Scalar<'_> = serde_json::from_str(json.get()).ok()?;
    scalar.into_time().or_else(|| {
        let fraction: f64 = serde_json::from_str(json.get()).ok()?;
        Some(Time::from_unix(fraction.floor() as i64))
    })
}
