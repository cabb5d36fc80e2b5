//! Azodha: appointments, assessments, health records, and data for inference.
//!
//! | what | where | trust |
//! |---|---|---|
//! | authentication | a header whose name and content are undocumented, so neither has a default. [`Azodha::hmac_sha256`]: HMAC-SHA256 over the raw body | covers the body |
//! | | [`Azodha::shared_secret`]: the secret itself | authenticates the sender only |
//! | body | one JSON object, with another shape for each kind | signed with HMAC, unsigned with a shared secret |
//! | kind | `eventName`, else `event`, else the kind pinned with [`pin_kind`](Azodha::pin_kind) | as the body; the pin is yours |
//! | time of the event and of the attempt | absent | |
//! | event id | absent; see [Deduplication](self#deduplication) | |
//! | test or live mode | absent | |
//!
//! Source of each fact: <https://docs.azodha.com/webhook-guide>. The code blocks with sample headers and payloads are
//! empty in every copy that was available, so all facts come from the guide's prose.
//!
//! # Retries
//! The guide documents only that deliveries are a POST with JSON. The expected status, the timeout and retries are
//! undocumented. (Its "Implement retry logic" is advice to receivers.) medhook assumes no retries and remembers events
//! for 24 hours.
//!
//! # After an outage
//! The guide documents no retries, no delivery log and no API that lists missed events. Ask Azodha which events it sent
//! during the outage.
//!
//! # Freshness
//! Deliveries contain no time, so deliveries of any age are accepted ([`Freshness::Unchecked`]), and
//! [`Freshness::EventTime`] is not available. A captured delivery of a kind that can recur can be replayed until
//! [`max_repeats`](crate::Builder::max_repeats) is reached for the day. A captured delivery of any other kind is a
//! duplicate until its event expires from the store, and is then accepted again; a longer
//! [`retention`](crate::Builder::retention) delays that.
//!
//! # Kind
//! The guide names a key for the kind in six of the twelve kinds: `event` in the three `InferenceTo…` kinds,
//! `eventName` in [`AssessmentResponseToWellbeingScore`], [`HealthRecordCounter`] and [`SurveyAssessment`]. The other
//! kinds may or may not have one. In Azodha's configuration each event has its own URL, so the kind can be pinned to
//! the endpoint:
//!
//! ```
//! use medhook::{Azodha, MemoryStore, Receiver, Secret};
//!
//! let secret = Secret::new("the secret of the configuration")?;
//! let booked =
//!     Azodha::hmac_sha256("x-webhook-signature", secret).pin_kind("BookAppointment");
//! let store = MemoryStore::new(10_000);
//! let receiver = Receiver::builder("azodha-booked", booked).store(store).build()?;
//! # Ok::<(), medhook::ConfigError>(())
//! ```
//!
//! 1. A documented kind in the body takes precedence over the pin. The handler of a pinned endpoint may therefore
//!    receive another kind, and no event is lost.
//! 2. The pin takes precedence over any other text at these keys, which may be metadata, such as the category of a
//!    [`Notification`]. The text is kept in the payload's `rest`. Without a pin, the event is an [`Event::Unknown`]
//!    with the text as its kind.
//! 3. If `eventName` and `event` name two different documented kinds, the pin decides if it is one of them. Otherwise
//!    the kind is ambiguous: the event is an [`Event::Undecodable`] with the whole body, and is logged.
//! 4. A body that names no kind, at an endpoint without a pin, is also an [`Event::Undecodable`]. Pin the kind there.
//!
//! # Inference
//! [`InferenceToObservations`], [`InferenceToKeyFindings`] and [`InferenceToCareTasks`] carry prompts and the name of a
//! model, like requests. Whether Azodha expects the result in the response to the delivery, through its API, or not at
//! all is undocumented. Ask Azodha before you answer these kinds with an empty body. The handler's response is sent
//! unchanged, so it can contain a result. Deliveries of these kinds are never answered as duplicates.
//!
//! # Deduplication
//! No event has an id, and Azodha publishes no samples. Most kinds can recur with the same bytes: each delivery of such
//! a kind is handled as a separate event, and [`possible_duplicate`](crate::Delivery::possible_duplicate) returns
//! whether the same bytes were delivered before. Since Azodha documents no retries, such a delivery is probably another
//! event. Make the handler idempotent, so that a retry does no harm: store the count of a [`HealthRecordCounter`], for
//! example, and do not add it.
//!
//! | kind | deliveries with equal bytes |
//! |---|---|
//! | [`UploadedFileAndTest`] with `data.file.id` | are the same event: a file is uploaded once |
//! | [`HealthRecordCounter`] | may be two events: a count can change and change back |
//! | [`BookAppointment`] | may be two events: an appointment can be canceled and booked again |
//! | [`Notification`], [`HealthProgramActivated`] | may be two events: a patient can leave and join again |
//! | the three `InferenceTo…` kinds, [`AssessmentResponseToWellbeingScore`] | may be two events: the same can be requested again |
//! | [`SurveyAssessment`] | may be two events: no id or time of the answers is documented |
//! | `AppointmentToCareTaskActivityLog`, `OpenTele`, undocumented kinds | may be two events: their keys are undocumented |
//!
//! To treat equal bytes as the same event for every kind, use [`Dedupe::by_bytes`](crate::Dedupe::by_bytes). For one
//! event that is sent with different bytes, use [`natural_key`].
//!
//! # Samples for tests
//! Configure a sample with the header and the scheme of your receiver, because Azodha's are undocumented. Its events
//! have neither time nor id, so `at` and `id` have no effect. Samples contain the kind only where the guide documents a
//! key for it; for the others, pin the kind at the receiver.
//!
//! ```
//! use medhook::testing::{self, Signing};
//! use medhook::{Azodha, NoDedupe, Receiver, Secret, azodha};
//!
//! let secret = "a-secret-of-some-length";
//! let booked = Azodha::hmac_sha256("x-signature", Secret::new(secret)?)
//!     .pin_kind("BookAppointment");
//! let receiver = Receiver::builder("azodha", booked).store(NoDedupe).build()?;
//!
//! let request = testing::azodha("BookAppointment")
//!     .signing(Signing::hmac_sha256("x-signature"))
//!     .secret(secret)
//!     .request("/webhooks/azodha");
//! let verified = receiver.verify(request.headers(), request.body().clone())?;
//! let delivery = receiver.open(verified)?;
//! assert!(matches!(delivery.decode()?, azodha::Event::BookAppointment(_)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Undocumented behavior
//! - The authentication of deliveries. The guide recommends validating "using the secret" of the configuration, and
//!   once mentions a signature, but no header, algorithm, encoding or prefix. medhook guesses nothing: header and
//!   scheme have no default, and a value that fails HMAC verification is never compared to the bare secret. Ask Azodha.
//!   The configuration also takes `headers` of your choice. If they are sent with each delivery, as their name
//!   suggests, a shared secret of your own works there, whatever the signature is.
//! - With a shared secret the body is not authenticated, and an attacker who sees one delivery can forge others.
//! - Most types and some keys; see [`BookAppointment`]. Undocumented values are raw JSON, and every object keeps
//!   undocumented keys in its `rest`. The key of the organization code (`sendOrganizationCode`) is one of them.
//! - Whether ids are strings or numbers; those of the configuration are numbers. Both are read.
//!
//! [`Freshness::EventTime`]: crate::Freshness::EventTime
//! [`Freshness::Unchecked`]: crate::Freshness::Unchecked

mod event;
#[cfg(feature = "testing")]
mod test_data;
#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

pub use self::event::{
    AppointmentType, Assessment, AssessmentResponseToWellbeingScore, BookAppointment, Event, EventEntity, EventSubType,
    EventType, HealthProgram, HealthProgramActivated, HealthRecordCounter, InferenceToCareTasks,
    InferenceToKeyFindings, InferenceToObservations, KeyFindingsPatient, Kind, Notification, NotificationData,
    NotifiedAppointment, Prompt, SurveyAssessment, SurveyAssessmentData, UploadedFile, UploadedFileAndTest,
    UploadedFileData, UserType,
};
pub use crate::event::Undocumented;

use super::agreed::AgreedScheme;
use super::definition::{Policy, Provider, sealed};
use super::equal_bytes::EqualBytes;
use super::facts::{Pointers, ProviderFacts};
use super::json::{Scalar, envelope_of};
use super::key::{self, members, object, scalar};
use super::options::{OptionError, OptionName, ProviderOptions, required};
use crate::any_event::AnyEvent;
use crate::envelope::{Envelope, KindName, Problem};
use crate::scheme::Encoding;
use crate::{ConfigError, Secrets};

/// The facts about Azodha.
pub(crate) static FACTS: ProviderFacts = ProviderFacts {
    name: "azodha",
    title: "Azodha",
    kinds: event::KINDS,
    policy: Policy::undocumented(false),
    required_options: &[OptionName::Scheme, OptionName::Header],
    optional_options: &[OptionName::Prefix, OptionName::Encoding, OptionName::PinKind],
    pointers: Pointers::NONE,
    answer_timeout: None,
    may_expect_result: &["InferenceToObservations", "InferenceToKeyFindings", "InferenceToCareTasks"],
    useful_for: &[],
    retries: None,
    unsigned_headers: &[],
    id_prefix: "",
    natural_key: Some(natural_key),
    build: |options| Ok(Box::new(Azodha::configured(options)?)),
    from_delivery: AnyEvent::from_delivery::<Event>,
    from_body: AnyEvent::from_body::<Event>,
    #[cfg(feature = "testing")]
    test_data: test_data::TEST_DATA,
};

/// The Azodha provider. The [module](self) documents its checks.
#[derive(Debug, Clone)]
pub struct Azodha {
    scheme: AgreedScheme,
    secrets: Secrets,
    pinned: Option<Kind>,
}

impl Azodha {
    /// Accepts events with an HMAC-SHA256 of the raw body in this header, keyed with any of the secrets. The keys are
    /// the secrets' UTF-8 bytes, not decoded. The MAC may be hex or base64, unless [`encoding`](Azodha::encoding) sets
    /// one.
    #[must_use]
    pub fn hmac_sha256(header: impl Into<String>, secrets: impl Into<Secrets>) -> Self {
        Self::with(AgreedScheme::hmac_sha256(header), secrets.into())
    }

    /// Accepts events with any of the secrets, verbatim, in this header. Prefer [`hmac_sha256`](Azodha::hmac_sha256) if
    /// Azodha offers it to you: a shared secret does not authenticate the body.
    #[must_use]
    pub fn shared_secret(header: impl Into<String>, secrets: impl Into<Secrets>) -> Self {
        Self::with(AgreedScheme::shared_secret(header), secrets.into())
    }

    /// Sets the encoding of the HMAC. By default hex and base64 are both accepted.
    #[must_use]
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        self.scheme = self.scheme.encoding(encoding);
        self
    }

    /// Sets the exact text that precedes the HMAC. By default there is none.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.scheme = self.scheme.prefix(prefix);
        self
    }

    /// Pins the [kind](Kind) that this endpoint's URL is configured for. It applies to bodies that name no documented
    /// kind.
    #[must_use]
    pub fn pin_kind(mut self, name: impl AsRef<str>) -> Self {
        let name = name.as_ref();
        self.pinned = Kind::from_name(name);
        if self.pinned.is_none() {
            let problem = format!("pin_kind {name:?} is not one of the {} documented kinds", Kind::ALL.len());
            self.scheme = self.scheme.with_error(problem);
        }
        self
    }

    fn with(scheme: AgreedScheme, secrets: Secrets) -> Self {
        Azodha { scheme, secrets, pinned: None }
    }

    fn configured(options: &ProviderOptions) -> Result<Self, OptionError> {
        let secrets = required(OptionName::Secrets, options.secrets.as_ref())?;
        let azodha = Self::with(AgreedScheme::of(options)?, secrets);
        Ok(options.pin_kind.iter().fold(azodha, Azodha::pin_kind))
    }
}

impl sealed::Sealed for Azodha {}

impl Provider for Azodha {
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
        Ok(sealed::SchemeWithSecrets { config: self.scheme.config(FACTS.name)?, secrets: self.secrets.clone() })
    }

    fn settings(&self, _: sealed::Seal) -> String {
        format!("{:?}", self.pinned)
    }

    fn read(&self, body: &Bytes, _: sealed::Seal) -> Envelope {
        pinned_envelope(self.pinned, body)
    }
}

/// Reads the envelope of a body; `kind` is the fallback for a body that names no documented kind.
fn envelope(kind: Option<&str>, body: &Bytes) -> Envelope {
    pinned_envelope(kind.and_then(Kind::from_name), body)
}

fn pinned_envelope(pinned: Option<Kind>, body: &Bytes) -> Envelope {
    let kind = match envelope_of::<Names<'_>>(body) {
        Ok(names) => names.kind(pinned),
        Err(problem) if serde_json::from_slice::<&RawValue>(body).is_err() => return Envelope::none(problem),
        // The pin does not apply to an object that contains a kind's key twice.
        Err(problem) if body.trim_ascii_start().starts_with(b"{") => Err(problem),
        // JSON other than an object names no kind, and can be the payload of a kind whose payload is undocumented.
        Err(problem) => pinned.map(documented).ok_or(problem),
    };
    let (kind, problem) = match kind {
        Ok(kind) => (Some(kind), None),
        Err(problem) => (None, Some(problem)),
    };
    Envelope { kind, problem, data: Some(body.clone()), ..Envelope::default() }
}

/// Returns a key for [`Dedupe::by`](crate::Dedupe::by), made of the documented keys of an event.
///
/// Deliveries with the same key are the same event even if their bytes differ. Every part is used exactly as it appears
/// in the body. An absent part (or `null`) differs from a present one.
///
/// Returns `None` for every kind that is not in the table, and if a required part is missing, empty or of another type,
/// or if an object contains a key twice. The event is then identified as by [`Dedupe::by_id`](crate::Dedupe::by_id).
///
/// Use this key only if you observe that Azodha sends one event with different bytes, and if the last column is
/// acceptable:
///
/// | kind | required | also part of the key | distinct events with the same key |
/// |---|---|---|---|
/// | [`BookAppointment`] | `id`, `status`, `date`, `startTime` | `endTime`, `locationType`, `patientId`, `firstName`, `lastName`, `email`, `patientMobileNumber`; `appointmentType`, `participants`, `attributes` and `resources`, if these are their keys | an appointment that returns to an earlier state (booked, canceled, booked again) within the retention; bookings that differ only in type, participants, attributes or resources, if these have other keys (the guide names none) |
/// | [`UploadedFileAndTest`] | `data.file` with its `id`, `data.patient` | `data.providers` | none, except events that differ only in undocumented fields |
/// | [`SurveyAssessment`] | `data.assessment` with its `id` and `status`, `data.patient` | `eventType`, `eventSubType`, `userType` | an assessment that returns to an earlier state within the retention |
///
/// A rescheduled appointment differs in `date` or `startTime`, a shortened one in `endTime`, and one changed to a video
/// call in `locationType`. The objects `data.file`, `data.assessment` and `data.patient` are part of the key as a
/// whole, because the guide places results, scores and answers there without naming their keys. An
/// [`AssessmentResponseToWellbeingScore`] has no natural key: the guide names no key for the score, so two scores of
/// the same answers could not be distinguished.
///
/// ```
/// use medhook::{Azodha, Dedupe, MemoryStore, Receiver, Secret, azodha};
///
/// let secret = Secret::new("the secret of the configuration")?;
/// let azodha = Azodha::hmac_sha256("x-webhook-signature", secret);
/// let receiver = Receiver::builder("azodha", azodha)
///     .dedupe(Dedupe::by(azodha::natural_key))
///     .store(MemoryStore::new(10_000))
///     .build()?;
/// # Ok::<(), medhook::ConfigError>(())
/// ```
///
/// The key contains health data. [`Dedupe`](crate::Dedupe) passes only its digest to a store; do the same.
#[must_use]
pub fn natural_key(envelope: &Envelope, body: &Bytes) -> Option<String> {
    let kind = Kind::from_name(envelope.kind.as_ref()?.as_str())?;
    let body = || serde_json::from_slice::<&RawValue>(body).ok();
    match kind {
        Kind::BookAppointment => {
            let appointment = members(Some(body()?), APPOINTMENT)?;
            let [id, status, date, start_time, ..] = appointment;
            scalar(id).and(scalar(status)).and(scalar(date)).and(scalar(start_time))?;
            key::written(kind.as_str(), &appointment.as_slice())
        }
        Kind::UploadedFileAndTest => {
            let [data] = members(Some(body()?), ["data"])?;
            let [file, patient, providers] = members(data, ["file", "patient", "providers"])?;
            let [id] = members(file, ["id"])?;
            scalar(id).and(object(patient))?;
            key::written(kind.as_str(), &[file, patient, providers])
        }
        Kind::SurveyAssessment => {
            let [data, event_type, event_sub_type, user_type] =
                members(Some(body()?), ["data", "eventType", "eventSubType", "userType"])?;
            let [assessment, patient] = members(data, ["assessment", "patient"])?;
            let [id, status] = members(assessment, ["id", "status"])?;
            scalar(id).and(scalar(status)).and(object(patient))?;
            key::written(kind.as_str(), &[assessment, patient, event_type, event_sub_type, user_type])
        }
        _ => None,
    }
}

/// The parts of a [`BookAppointment`]'s natural key; the first four are required. The guide describes the last four
/// without naming their keys; these names are its descriptions.
const APPOINTMENT: [&str; 15] = [
    "id",
    "status",
    "date",
    "startTime",
    "endTime",
    "locationType",
    "patientId",
    "firstName",
    "lastName",
    "email",
    "patientMobileNumber",
    "appointmentType",
    "participants",
    "attributes",
    "resources",
];

/// The keys at which a body may name its kind.
#[derive(Deserialize)]
struct Names<'b> {
    #[serde(borrow, default, rename = "eventName")]
    event_name: Scalar<'b>,
    #[serde(borrow, default)]
    event: Scalar<'b>,
}

impl Names<'_> {
    fn kind(self, pinned: Option<Kind>) -> Result<KindName, Problem> {
        let names = [self.event_name.0, self.event.0];
        let kind = match names.each_ref().map(|name| Kind::from_name(name.as_deref()?)) {
            [Some(one), Some(other)] if one != other => {
                let either = pinned.filter(|pinned| [one, other].contains(pinned));
                Some(either.ok_or_else(|| Problem::new("`eventName` and `event` name two kinds"))?)
            }
            [Some(kind), _] | [None, Some(kind)] => Some(kind),
            [None, None] => pinned,
        };
        match (kind, names) {
            (Some(kind), _) => Ok(documented(kind)),
            (None, [Some(name), _] | [None, Some(name)]) => Ok(KindName::unknown(name.into_owned())),
            (None, [None, None]) => Err(Problem::new("the body names no kind and pin_kind is not set")),
        }
    }
}

fn documented(kind: Kind) -> KindName {
    KindName::documented(kind.as_str())
}
