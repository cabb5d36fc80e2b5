//! MediQuo: consultations, reports, prescriptions and messages of a telehealth service.
//!
//! | what | where | trust |
//! |---|---|---|
//! | authentication | `x-webhook-signature`: a shared secret agreed with MediQuo, the same in every request; or any header of the subscription's `meta.headers` | authenticates the sender, covers nothing of the body |
//! | body | `{type, occurred_on, payload}` | unsigned |
//! | time of the event | `occurred_on`, in Unix seconds | unsigned: a hint |
//! | time of the attempt | absent | |
//! | event id | absent; see [Deduplication](self#deduplication) | |
//!
//! Sources: MediQuo's [SDK documentation](https://github.com/mediquo/docs-sdk/blob/HEAD/docs/api/sdk/webhooks.md) for
//! the header, and its [API documentation](https://github.com/mediquo/mediquo-api-docs) for subscriptions
//! (`api-v1/organizations`) and payloads (`webhooks`), as of May 2026. Where the two disagree, both forms are read.
//!
//! # Security of the header
//! Despite its name, the header is no signature of the body. An attacker who sees one request can forge others with any
//! payload. Therefore:
//!
//! - Accept deliveries over TLS only.
//! - Use a long random secret of at least 32 bytes.
//! - Keep the header out of the proxy's logs.
//! - If possible, let the proxy check MediQuo's addresses or a client certificate.
//!
//! [`Delivery::signature_scope`](crate::Delivery::signature_scope) is
//! [`SenderOnly`](crate::SignatureScope::SenderOnly).
//!
//! Several [`Secrets`] serve rotation: a delivery needs one of them. Several headers are additional factors: with
//! [`MediQuo::also_header`], a delivery needs a valid secret in every header.
//!
//! ```
//! use medhook::{MediQuo, MemoryStore, Receiver, Secret};
//!
//! let secret = Secret::new("agreed-upon-with-the-support-team")?.labeled("signature")?;
//! let other = Secret::new("set-as-a-header-of-the-subscription")?;
//! let mediquo = MediQuo::new(secret).also_header("x-tenant-key", other);
//! let store = MemoryStore::new(10_000);
//! let receiver = Receiver::builder("mediquo", mediquo).store(store).build()?;
//! # Ok::<(), medhook::ConfigError>(())
//! ```
//!
//! If MediQuo's support team agrees on a user name and password with you, use the header `authorization` with the
//! secret `Basic …`. If it computes a MAC for you, use [`Custom`](crate::Custom) with the name `mediquo`; its
//! deliveries decode as this module's [`Event`].
//!
//! # Retries
//! MediQuo documents only "Your endpoint … returns a `2xx` response". Its timeout, its retries and the order of events
//! are undocumented. Do not rely on retries.
//!
//! # After an outage
//! MediQuo documents no retries, no delivery log and no API that lists missed events. Ask its support team, with which
//! the secret was agreed, which events it sent during the outage.
//!
//! # Freshness
//! The age of deliveries is not checked by default ([`Freshness::Unchecked`]). The only time, `occurred_on`, is as easy
//! to forge as the rest of the body. A `prescription_created` carries the time of the prescription, although it is sent
//! when the PDF is ready, and the retry horizon is undocumented. A captured delivery is therefore accepted again once
//! its event expires from the store, after 24 hours. If its kind can recur, it is accepted at any time, until
//! [`max_repeats`](crate::Builder::max_repeats) is reached for the day. An attacker who has it also has the secret.
//!
//! [`Freshness::EventTime`] can be enabled in the [`Builder`](crate::Builder). Here it checks an unsigned time: it
//! rejects late copies, but not copies with an edited time.
//!
//! # Deduplication
//! No event has an id, and `occurred_on` counts whole seconds.
//!
//! | kind | deliveries with equal bytes, at one endpoint, within 24 hours |
//! |---|---|
//! | `patient_consultation_created`, `…_cancelled`, `…_finished`, `…_no_show`; `professional_block_created`, `…_deleted`; `prescription_created`; with their id | are the same event: it happens once |
//! | `patient_report_sent` with the patient's code | are the same event: two reports of one patient in one second with the same text say the same |
//! | `patient_message_received` | may be two events: nothing of the message is in the body, so two messages within one second have identical bodies |
//! | `patient_consultation_rescheduled`, `professional_block_updated`, `patient_waiting_room_position_update`, `patient_immediate_video_call_assigned` | may be two events: the state can change and change back within one second |
//! | undocumented kinds | may be two events |
//!
//! A delivery that may be another event is handled, and
//! [`possible_duplicate`](crate::Delivery::possible_duplicate) returns whether the same bytes were delivered before. To
//! treat equal bytes as the same event for every kind, use [`Dedupe::by_bytes`](crate::Dedupe::by_bytes).
//!
//! One event may also have two bodies: MediQuo presumably signs links and evaluates `is_read` for each attempt, so the
//! bytes of an event may differ between attempts. [`natural_key`] ignores these fields:
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
//! Several subscriptions may send the same event to one endpoint. If the bodies are identical, an event of a kind in
//! the first two rows is handled once, and an event of any other kind once for each subscription.
//!
//! # Undocumented behavior
//! - Types. The pages disagree about whether ids are numbers or strings, whether times have an offset, and which fields
//!   are nullable. All forms are read, times without an offset as UTC (promised by the overview), and every field is
//!   optional.
//! - `reports` is an object in one table and an array in its example. Both are read.
//! - `occurred_on` is a `number` on one page and an `integer` on another. A fraction is rounded down to whole seconds,
//!   except in [`natural_key`], which uses the number exactly as sent.
//! - The SDK documentation names an event `patient_message_sent`, but its example contains `patient_message_received`.
//!   The former is read as the latter; [`Delivery::kind`](crate::Delivery::kind) returns the name that was sent.
//! - The subscriptions `message_unread` and `patient_message_received` send the same kind, and so do
//!   `appointment_finished` and `chat_consultation_finished`. Only the payload can distinguish them.
//! - The `content` of a report depends on its type, and only `soap` is documented. Its four fields are typed; all
//!   others are in [`rest`](ReportContent::rest).
//! - Whether `active_substances` is always a list of strings, as in every example.
//!
//! # Links
//! `url`, `consultation_url` and `pdf_url` are signed or public, and work without authentication: treat them as
//! secrets. The links of `preconsultation.documents` expire 24 hours after the delivery was sent.
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
use super::equal_bytes::EqualBytes;
use super::facts::{Pointers, ProviderFacts};
use super::json::{Scalar, envelope_of, part_of};
use super::options::{OptionError, OptionName, ProviderOptions, required};
use crate::any_event::AnyEvent;
use crate::envelope::Envelope;
use crate::scheme::SharedSecret;
use crate::{ConfigError, Secrets, Time};

/// The facts about MediQuo.
pub(crate) static FACTS: ProviderFacts = ProviderFacts {
    name: "mediquo",
    title: "MediQuo",
    kinds: event::KINDS,
    policy: Policy::undocumented(true),
    required_options: &[],
    optional_options: &[OptionName::Header, OptionName::AlsoHeader, OptionName::AlsoSecrets],
    pointers: Pointers { kind: Some("/type"), time: Some("/occurred_on"), ..Pointers::NONE },
    answer_timeout: None,
    may_expect_result: &[],
    useful_for: &[],
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

/// The MediQuo provider. The [module](self) documents its checks.
#[derive(Debug, Clone)]
pub struct MediQuo {
    header: String,
    secrets: Secrets,
    others: Vec<(String, Secrets)>,
}

impl MediQuo {
    /// Accepts deliveries with any of the secrets, verbatim, in the header `x-webhook-signature`.
    #[must_use]
    pub fn new(secrets: impl Into<Secrets>) -> Self {
        MediQuo { header: "x-webhook-signature".to_owned(), secrets: secrets.into(), others: Vec::new() }
    }

    /// Reads the secret from this header instead of `x-webhook-signature`.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>) -> Self {
        self.header = name.into();
        self
    }

    /// Additionally requires one of these secrets in another header. Every header must contain one of its own secrets.
    #[must_use]
    pub fn also_header(mut self, name: impl Into<String>, secrets: impl Into<Secrets>) -> Self {
        self.others.push((name.into(), secrets.into()));
        self
    }

    fn configured(options: &ProviderOptions) -> Result<Self, OptionError> {
        let mut mediquo = MediQuo::new(required(OptionName::Secrets, options.secrets.as_ref())?);
        if let Some(header) = &options.header {
            mediquo = mediquo.header(header);
        }
        Ok(match (&options.also_header, &options.also_secrets) {
            (Some(header), also) => mediquo.also_header(header, required(OptionName::AlsoSecrets, also.as_ref())?),
            (None, Some(_)) => return Err(OptionError::new(OptionName::AlsoHeader, "is required with `also_secrets`")),
            (None, None) => mediquo,
        })
    }
}

impl sealed::Sealed for MediQuo {}

impl Provider for MediQuo {
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
        let scheme = self.others.iter().fold(SharedSecret::new(self.header.as_str()), |scheme, (name, secrets)| {
            scheme.also_header(name.as_str(), secrets.clone())
        });
        Ok(sealed::SchemeWithSecrets { config: scheme.into(), secrets: self.secrets.clone() })
    }

    fn read(&self, body: &Bytes, _: sealed::Seal) -> Envelope {
        envelope(None, body)
    }
}

/// Reads the envelope of a body; `kind` is the fallback for a body that names no kind.
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

/// Reads a time in seconds, which may have a fraction.
fn seconds(json: &RawValue) -> Option<Time> {
    let scalar: Scalar<'_> = serde_json::from_str(json.get()).ok()?;
    scalar.into_time().or_else(|| {
        let fraction: f64 = serde_json::from_str(json.get()).ok()?;
        Some(Time::from_unix(fraction.floor() as i64))
    })
}
