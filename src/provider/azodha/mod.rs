//! Azodha: appointments, assessments, health records, and data for an inference.
//!
//! | what | where | standing |
//! |---|---|---|
//! | origin | a header of which neither the name nor the content is documented, so [`Azodha`] takes both: [`hmac_sha256`](Azodha::hmac_sha256) over the raw body, | proves the body |
//! | | or [`shared_secret`](Azodha::shared_secret), the secret itself | proves the sender alone |
//! | body | one JSON object, of another shape for each kind | signed with HMAC, only claimed with a shared secret |
//! | kind | `eventName`, else `event`, else the one that [`pin_kind`](Azodha::pin_kind) pins | as the body; the pin is yours |
//! | time | of the event and of the attempt | absent |
//! | id | of the event | absent: the same bytes are the same event |
//! | test or live | | absent |
//!
//! Source of each fact: <https://docs.azodha.com/webhook-guide>. Its code blocks, the sample headers and payloads, are
//! empty in every copy we could read: what the guide's prose names is what is known.
//!
//! # Attempts
//! Documented is a POST with JSON, and nothing else: not which answer counts as received, nor how long it may take, nor
//! whether there are retries. ("Implement retry logic" is among the guide's advice to receivers.) None are assumed; an
//! event is remembered for 24 hours.
//!
//! With no time to judge, any age is accepted ([`Freshness::Unchecked`]). A delivery that someone captured is dropped as
//! a duplicate while its event is remembered, and passes again after that: a longer
//! [`retention`](crate::Builder::retention) puts it off. [`Freshness::EventTime`] cannot be asked for.
//!
//! # The kind
//! The guide names a key for it in six of the twelve kinds: `event` in the three `InferenceTo…`, `eventName` in
//! [`AssessmentResponseToWellbeingScore`], [`HealthRecordCounter`] and [`SurveyAssessment`]. The others may have it or
//! not. In Azodha's configuration each event has a URL of its own, so an endpoint can be told its kind:
//!
//! ```
//! use medhook::{Azodha, MemoryStore, Receiver, Secret};
//!
//! let secret = Secret::new("the secret of the configuration")?;
//! let booked = Azodha::hmac_sha256("x-webhook-signature", secret).pin_kind("BookAppointment");
//! let receiver = Receiver::builder("azodha-booked", booked).store(MemoryStore::new(10_000)).build()?;
//! # Ok::<(), medhook::ConfigError>(())
//! ```
//!
//! 1. One of the twelve names in the body wins over the pin: an event is never read as what it says it is not. So a
//!    handler of a pinned endpoint may be given another kind, and none is lost.
//! 2. Any other text at these keys loses to the pin: it may be metadata, such as the sort of a [`Notification`]. It is
//!    in the payload's `rest`. Without a pin the event is an [`Event::Unknown`] of that kind.
//! 3. If `eventName` and `event` give two of the twelve names, the pin decides if it is either of them; else nobody can
//!    tell, and it is an [`Event::Undecodable`] with the whole body, which is logged.
//! 4. A body that names no kind, at an endpoint without a pin, is an [`Event::Undecodable`] as well: pin the kind there.
//!
//! # Inference
//! [`InferenceToObservations`], [`InferenceToKeyFindings`] and [`InferenceToCareTasks`] carry prompts and the name of a
//! model: they read like requests. Whether Azodha expects the result in the answer to the delivery, or through its API,
//! or not at all, is not documented; ask before you answer them with an empty body. The handler's own answer goes out as
//! it is, so it can hold a result. A duplicate's does not: if results are expected in answers, set
//! [`Dedupe::off`](crate::Dedupe::off) for these endpoints.
//!
//! # The same event again
//! Without an id the same bytes are the same event. Two events that are the same byte for byte would be taken for one:
//!
//! | kind | could that be? | then |
//! |---|---|---|
//! | [`HealthRecordCounter`] | yes: the count went up and down again | the second is lost; to follow each change, [`Dedupe::off`](crate::Dedupe::off) |
//! | the three `InferenceTo…` | yes: the same inference, asked for again | see [above](self#inference) |
//! | `AppointmentToCareTaskActivityLog`, `OpenTele`, [`Notification`] | not known: keys that would tell are not documented | where losing one is worse than seeing one twice, [`Dedupe::off`](crate::Dedupe::off) |
//! | [`BookAppointment`], [`UploadedFileAndTest`], [`SurveyAssessment`] | hardly: each names something that is made once | bytes will do; the other way round, [`natural_key`] takes an event that is sent again with other bytes for the same |
//! | [`AssessmentResponseToWellbeingScore`] | perhaps: the score of the same answers was asked for again | [`Dedupe::off`](crate::Dedupe::off), if that matters |
//! | [`HealthProgramActivated`] | perhaps: left and joined again | [`Dedupe::off`](crate::Dedupe::off), if that matters |
//!
//! # Samples for tests
//! How Azodha signs is not documented: tell a sample what your receiver was told. Its events have neither time nor id, so
//! `at` and `id` change nothing. Where the kind is not documented to be in the body, it is not: pin it at the receiver.
//!
//! ```
//! use medhook::testing::{self, Signing};
//! use medhook::{Azodha, NoDedupe, Receiver, Secret, azodha};
//!
//! let azodha = Azodha::hmac_sha256("x-signature", Secret::new("a-secret-of-some-length")?);
//! let receiver = Receiver::builder("azodha", azodha.pin_kind("BookAppointment")).store(NoDedupe).build()?;
//!
//! let sample = testing::azodha("BookAppointment").signing(Signing::hmac_sha256("x-signature"));
//! let request = sample.secret("a-secret-of-some-length").request("/webhooks/azodha");
//! let delivery = receiver.open(receiver.verify(request.headers(), request.body().clone())?)?;
//! assert!(matches!(delivery.decode()?, azodha::Event::BookAppointment(_)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What the documentation leaves open
//! - How a delivery proves its origin. The guide speaks of validating "using the secret" of the configuration, and once
//!   of a signature: no header, algorithm, encoding or prefix. Nothing is guessed here: header and mode have no default,
//!   and what does not verify as an HMAC is never compared to the bare secret. Ask Azodha. The configuration also takes
//!   `headers` of your choice; if, as one would think, they are sent along with each delivery, a shared secret of your
//!   own there works whatever the signature is.
//! - With a shared secret the body is not protected, and whoever sees one delivery can make others.
//! - Most types, and some keys: see [`BookAppointment`]. What is not documented stays raw, and every object keeps in its
//!   `rest` what it has no field for. The key of the organization's code (`sendOrganizationCode`) is one of these.
//! - Whether ids are texts or numbers; the configuration's are numbers. Both are read.
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
use super::facts::{Pointers, ProviderFacts};
use super::json::{Scalar, envelope_of};
use super::key::{self, members, object, scalar};
use super::options::{OptionError, OptionName, ProviderOptions, needed};
use crate::any_event::AnyEvent;
use crate::envelope::{Envelope, KindName, Problem};
use crate::scheme::Encoding;
use crate::{ConfigError, Secrets, Verified};

/// What is known about Azodha.
pub(crate) static FACTS: ProviderFacts = ProviderFacts {
    name: "azodha",
    title: "Azodha",
    kinds: event::KINDS,
    policy: Policy::undocumented(false),
    required_options: &[OptionName::Scheme, OptionName::Header],
    optional_options: &[OptionName::Prefix, OptionName::Encoding, OptionName::PinKind],
    pointers: Pointers::NONE,
    answer_timeout: None,
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

/// Azodha. See the [module](self) for what is checked and why.
#[derive(Debug, Clone)]
pub struct Azodha {
    scheme: AgreedScheme,
    secrets: Secrets,
    pinned: Option<Kind>,
}

impl Azodha {
    /// Takes events with an HMAC-SHA256 of the raw body in this header, keyed with any of the secrets, which are used as
    /// they are, not decoded. In hex or base64, unless [`encoding`](Azodha::encoding) says which.
    #[must_use]
    pub fn hmac_sha256(header: impl Into<String>, secrets: impl Into<Secrets>) -> Self {
        Self::with(AgreedScheme::hmac_sha256(header), secrets.into())
    }

    /// Takes events with any of the secrets itself in this header. Prefer [`hmac_sha256`](Azodha::hmac_sha256) if
    /// Azodha offers it to you: a shared secret proves nothing about the body.
    #[must_use]
    pub fn shared_secret(header: impl Into<String>, secrets: impl Into<Secrets>) -> Self {
        Self::with(AgreedScheme::shared_secret(header), secrets.into())
    }

    /// How the HMAC is written. By default either way.
    #[must_use]
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        self.scheme = self.scheme.encoding(encoding);
        self
    }

    /// Text that stands before the HMAC, exactly so. By default there is none.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.scheme = self.scheme.prefix(prefix);
        self
    }

    /// The [kind](Kind) that this endpoint's URL is configured for, for bodies that do not name their own.
    #[must_use]
    pub fn pin_kind(mut self, name: impl AsRef<str>) -> Self {
        let name = name.as_ref();
        self.pinned = Kind::from_name(name);
        if self.pinned.is_none() {
            let problem = format!("{name:?} is none of the {} documented kinds", Kind::ALL.len());
            self.scheme = self.scheme.mistaken(problem);
        }
        self
    }

    fn with(scheme: AgreedScheme, secrets: Secrets) -> Self {
        Azodha { scheme, secrets, pinned: None }
    }

    fn configured(options: &ProviderOptions) -> Result<Self, OptionError> {
        let secrets = needed(OptionName::Secrets, options.secrets.as_ref())?;
        let azodha = Self::with(AgreedScheme::of(options)?, secrets);
        Ok(options.pin_kind.iter().fold(azodha, Azodha::pin_kind))
    }
}

impl sealed::Sealed for Azodha {}

impl Provider for Azodha {
    fn name(&self) -> &str {
        FACTS.name
    }

    fn policy(&self) -> Policy {
        FACTS.policy
    }

    fn scheme(&self, _: sealed::Seal) -> Result<sealed::SchemeWithSecrets, ConfigError> {
        Ok(sealed::SchemeWithSecrets { config: self.scheme.config(FACTS.name)?, secrets: self.secrets.clone() })
    }

    fn open(&self, verified: &Verified<'_>) -> Envelope {
        pinned_envelope(self.pinned, verified.body())
    }
}

/// Reads the envelope of a body, with `kind` for one that names none.
fn envelope(kind: Option<&str>, body: &Bytes) -> Envelope {
    pinned_envelope(kind.and_then(Kind::from_name), body)
}

fn pinned_envelope(pinned: Option<Kind>, body: &Bytes) -> Envelope {
    let kind = match envelope_of::<Names<'_>>(body) {
        Ok(names) => names.kind(pinned),
        Err(problem) if serde_json::from_slice::<&RawValue>(body).is_err() => return Envelope::none(problem),
        // An object that says its kind twice is not taken for the pinned one.
        Err(problem) if body.trim_ascii_start().starts_with(b"{") => Err(problem),
        // Other JSON has no names in it. Where nothing is documented of a payload, that can be it.
        Err(problem) => pinned.map(documented).ok_or(problem),
    };
    let (kind, problem) = match kind {
        Ok(kind) => (Some(kind), None),
        Err(problem) => (None, Some(problem)),
    };
    Envelope { kind, problem, data: Some(body.clone()), ..Envelope::default() }
}

/// Returns a key made of what the guide names of an event, for [`Dedupe::by`](crate::Dedupe::by): deliveries with the same
/// key are the same event even if their bytes differ. Every part is taken exactly as it stands in the body. An absent
/// part (or `null`) differs from a present one.
///
/// Returns `None`, so that the body's bytes decide, for every kind that is not in the table, and where a required part
/// is missing, empty or of another type, or where a name stands twice in one object.
///
/// By default the bytes decide. Use this key only if Azodha is seen to send one event with different bytes, and if the
/// last column does no harm:
///
/// | kind | required | also part of the key | two events that are taken for one |
/// |---|---|---|---|
/// | [`BookAppointment`] | `id`, `status`, `date`, `startTime` | `endTime`, `locationType`, `patientId`, `firstName`, `lastName`, `email`, `patientMobileNumber`; `appointmentType`, `participants`, `attributes` and `resources`, if they stand at these keys | an appointment that returns to an earlier state (booked, canceled, booked again) while that is remembered; bookings that differ only in type, participants, attributes or resources, if these stand at other keys: the guide names none |
/// | [`UploadedFileAndTest`] | `data.file` with its `id`, `data.patient` | `data.providers` | none that differ in anything documented |
/// | [`SurveyAssessment`] | `data.assessment` with its `id` and `status`, `data.patient` | `eventType`, `eventSubType`, `userType` | an assessment that returns to an earlier state while that is remembered |
///
/// A moved appointment differs in `date` or `startTime`, one that became shorter in `endTime`, and one that became a
/// video call in `locationType`. The objects `data.file`, `data.assessment` and `data.patient` are part of the key as a
/// whole, since the guide puts results, scores and answers there without naming their keys. An
/// [`AssessmentResponseToWellbeingScore`] has no key: the guide names no place for the score, so a second score of the
/// same answers could not be told from the first one.
///
/// ```
/// use medhook::{Azodha, Dedupe, MemoryStore, Receiver, Secret, azodha};
///
/// let secret = Secret::new("the secret of the configuration")?;
/// let receiver = Receiver::builder("azodha", Azodha::hmac_sha256("x-webhook-signature", secret))
///     .dedupe(Dedupe::by(azodha::natural_key))
///     .store(MemoryStore::new(10_000))
///     .build()?;
/// # Ok::<(), medhook::ConfigError>(())
/// ```
///
/// The key holds health data. [`Dedupe`](crate::Dedupe) passes only its digest to a store; do the same.
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

/// The parts of a [`BookAppointment`]'s natural key; the first four are required. The guide speaks of the last four
/// without naming their keys: these are its own words.
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

/// Where a body may say its kind.
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
            (None, [None, None]) => Err(Problem::new("the body names no kind, and none is pinned")),
        }
    }
}

fn documented(kind: Kind) -> KindName {
    KindName::documented(kind.as_str())
}
