//! Cair Health: analyses of patients' charts, claims on their way, remittances.
//!
//! | what | where | standing |
//! |---|---|---|
//! | origin | a header whose name you choose at Cair, so it has no default. `HMAC-256`, [`Cair::hmac_sha256`]: HMAC-SHA256 over the raw body | proves the body |
//! | | `API_SECRET`, [`Cair::shared_secret`]: the secret itself | proves the sender alone |
//! | body | JSON, of another shape for each kind; no envelope | signed with `HMAC-256`, only claimed with `API_SECRET` |
//! | kind | absent: [pinned](Cair::pin_kind) per endpoint, else told by the [shape](self#kinds-and-shapes) of the body | the pin is yours; the shape as the body |
//! | time | of the event: `timestamp` of a claim's change of status, `created_at` of a chart report in the older shapes; not judged by default | as the body |
//! | | of the attempt | absent |
//! | id | absent: the same bytes are the same event | |
//! | test or live | absent | |
//!
//! Source of each fact, unless another is named: the page of each webhook below
//! <https://docs.cairhealth.com/api-reference/endpoint/>, such as
//! [Chart Analysis](https://docs.cairhealth.com/api-reference/endpoint/patient-chart-analysis/patient-chart-analysis-webhooks); each event's
//! type names its own.
//!
//! # Attempts
//! Nothing is documented: not which answer counts as received, nor how long it may take, nor whether there are retries.
//! None are assumed; whoever sends the same bytes again within 24 hours is told that they were handled.
//!
//! # Kinds and shapes
//! At Cair an event type is chosen for each URL, and the body does not repeat it. Pin it, then nothing is guessed:
//!
//! ```
//! use medhook::{Cair, MemoryStore, Receiver, Secret, cair};
//!
//! let secret = Secret::new("the secret of the credentials set")?;
//! let charts = Cair::hmac_sha256("X-Cair-Signature", secret).pin_kind(cair::Kind::ChartAnalysis);
//! let receiver = Receiver::builder("cair-charts", charts).store(MemoryStore::new(10_000)).build()?;
//! # Ok::<(), medhook::ConfigError>(())
//! ```
//!
//! Whatever arrives at such an endpoint is of that kind, and decoded as far as it fits. Without a pin the first of
//! these that holds tells the kind:
//!
//! | the body has | kind |
//! |---|---|
//! | `resourceType`, and it is `ClaimResponse` | [`Kind::ClaimsRemitAll`]: the three kinds of remittance have one body, and this one is true of all |
//! | `claimLifecycleId` and `newStatus` | [`Kind::ClaimStatusChange`] |
//! | `output`, an object with `optimizer_run_id` | [`Kind::ClaimsAiOptimizer`] |
//! | `report`, an object; or `analysis_result`, one as well | [`Kind::ChartAnalysis`] |
//! | `callId` and `status` | [`Kind::AiPhoneCall`] |
//! | `edits` or `ai_generated_x12_837` | [`Kind::X12Optimizer`] |
//!
//! A body with none of these is handed over without a kind, as an [`Event::Undecodable`], and is logged: there may be a
//! new kind.
//!
//! # Age
//! No delivery says when it was sent, and most kinds not when they happened, so by default any age is accepted
//! ([`Freshness::Unchecked`]): who has captured a delivery can send it again once its event is forgotten. A longer
//! [`retention`](crate::Builder::retention) puts that off; with `API_SECRET`, though, what was captured can be altered
//! and is then another event at once. Where every event has a time, its age can be judged:
//!
//! ```
//! # use std::time::Duration;
//! # use medhook::{Cair, Freshness, MemoryStore, Receiver, Secret, cair};
//! # let secret = Secret::new("the secret of the credentials set")?;
//! let changes = Cair::hmac_sha256("X-Cair-Signature", secret).pin_kind(cair::Kind::ClaimStatusChange);
//! let receiver = Receiver::builder("cair-claims", changes)
//!     .freshness(Freshness::EventTime { max_age: Duration::from_secs(24 * 3600), max_skew: Duration::from_secs(300) })
//!     .store(MemoryStore::new(10_000))
//!     .build()?;
//! # Ok::<(), medhook::ConfigError>(())
//! ```
//!
//! Do so with that pin only. An event of a documented kind without a time is then refused with 401
//! ([`Reason::TimeMissing`](crate::Reason::TimeMissing)), and that is every chart report in today's shape and every
//! event of the other kinds; with a pin to one of these no receiver is built. How long after an event Cair delivers it is not documented: be generous. With
//! `API_SECRET` the time is not signed but claimed, and its age a hint: who can send deliveries can date them.
//!
//! # The same event again
//! Ids in the bodies are those of charts, claims and calls, and these may come again with news: whether each completed
//! step of an analysis is sent under the same id is not documented, for one. By such an id the news would be dropped;
//! so it is the bytes that tell events apart. A remittance sent for two subscriptions (`CLAIMS_REMIT_ALL` and another)
//! is the same bytes twice: at one endpoint it is handled once, at two endpoints once at each. Where an id is enough
//! for you, as `output.optimizer_run_id` may be, use [`Dedupe::by`](crate::Dedupe::by).
//!
//! # Samples for tests
//! Cair takes the header's name from you and has two ways to fill it: tell a sample what your receiver was told. Kinds
//! have the names of [`Kind`]. Only `CLAIM_STATUS_CHANGE` has a time for `at` to set. No event has an id, and the same
//! bytes are the same event: `id` makes other bytes of chart reports and remittances, and `body` of all.
//!
//! ```
//! use medhook::testing::{self, Signing};
//! use medhook::{Cair, NoDedupe, Receiver, Secret, cair};
//!
//! let cair = Cair::hmac_sha256("X-API-KEY", Secret::new("a-secret-of-some-length")?);
//! let receiver = Receiver::builder("cair", cair.pin_kind(cair::Kind::ChartAnalysis)).store(NoDedupe).build()?;
//!
//! let sample = testing::cair("PATIENT_CHART_ANALYSIS_COMPLETE").signing(Signing::hmac_sha256("x-api-key"));
//! let request = sample.secret("a-secret-of-some-length").request("/webhooks/cair");
//! let delivery = receiver.open(receiver.verify(request.headers(), request.body().clone())?)?;
//! assert!(matches!(delivery.decode()?, cair::Event::ChartAnalysis(_)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What the documentation leaves open
//! - Everything about `HMAC-256` but its name. The key is taken to be the secret's UTF-8 bytes, the message the raw
//!   body; hexadecimal and base64 are both read, as both must come to the same 32 bytes. [`encoding`](Cair::encoding)
//!   and [`prefix`](Cair::prefix) are there for what your deliveries show. The bare secret is never accepted in its
//!   place.
//! - Whether a chart report is sent in the shape of today's API, as the webhook's page says by a link, or in that of
//!   the older webhook's page. [`ChartReport`] reads both, and the older API's.
//! - The samples of chart reports and of the claim scrubber's output are cut, and many values have one example. What
//!   is not documented is in the `rest` of the object it stands in, as it came; enums are open.
//! - How large a body can be. Reports hold long texts; some hundred kilobytes fit the default limit of 1 MiB, and
//!   [`body_limit`](crate::Builder::body_limit) raises it.
//! - The [webhook of AI phone calls](https://docs.cairhealth.com/api-reference/endpoint/aiphonecall/webhook-delivery)
//!   has settings of its own, and no credentials among them. If it sends none, a receiver refuses it: nobody could tell
//!   who sent it.
//! - Names for that webhook and for the older [X12 optimizer's](https://docs.cairhealth.com/api-reference/endpoint/claims/webhook-delivery):
//!   `ai-phone-call` and `x12-optimizer` are ours.
//!
//! [`Freshness::Unchecked`]: crate::Freshness::Unchecked

mod event;
#[cfg(feature = "testing")]
mod test_data;
#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;

use bytes::Bytes;
use serde::de::{IgnoredAny, MapAccess, SeqAccess};

pub use self::event::{
    AiPhoneCall, AnalysisStatus, Answer, CallError, CallStatus, ChartReport, ClaimStatus, ClaimStatusChange,
    ClaimsAiOptimizer, CodingReport, CompletedEvent, Demographics, DiagnosisCode, DocumentationDiscrepancyReport, Edit,
    Event, Finding, Kind, NcdLcdAnalysis, OptimizerOutput, ProcedureCode, Remittance, RemittanceOutcome,
    RemittanceStatus, Report, ReportStatus, Severity, SuggestionsReport, TimeBasedRequirementsReport, X12Optimizer,
};

use super::agreed::AgreedScheme;
use super::definition::{Policy, Provider, sealed};
use super::facts::{Pointers, ProviderFacts};
use super::options::{OptionError, OptionName, ProviderOptions, needed};
use crate::any_event::AnyEvent;
use crate::envelope::{Envelope, KindName, Problem};
use crate::event::Payload;
use crate::payload::{Drift, FromPayload, payload};
use crate::scheme::Encoding;
use crate::{ConfigError, Secrets, Time, Verified};

/// What is known about Cair Health.
pub(crate) static FACTS: ProviderFacts = ProviderFacts {
    name: "cair",
    title: "Cair Health",
    kinds: event::KINDS,
    policy: Policy::undocumented(true),
    required_options: &[OptionName::Scheme, OptionName::Header],
    optional_options: &[OptionName::Prefix, OptionName::Encoding, OptionName::PinKind],
    // The time of the one kind that plainly has it.
    pointers: Pointers { time: Some("/timestamp"), ..Pointers::NONE },
    answer_timeout: None,
    retries: None,
    unsigned_headers: &[],
    id_prefix: "",
    natural_key: None,
    build: |options| Ok(Box::new(Cair::configured(options)?)),
    from_delivery: AnyEvent::from_delivery::<Event>,
    from_body: AnyEvent::from_body::<Event>,
    #[cfg(feature = "testing")]
    test_data: test_data::TEST_DATA,
};

/// Cair Health. See the [module](self) for what is checked and why.
#[derive(Debug, Clone)]
pub struct Cair {
    scheme: AgreedScheme,
    secrets: Secrets,
    pinned: Option<Kind>,
}

impl Cair {
    /// Authentication type `API_SECRET`: the header holds the secret itself. It proves the sender and not the body,
    /// and whoever sees one delivery can make others: prefer [`hmac_sha256`](Cair::hmac_sha256).
    #[must_use]
    #[doc(alias = "API_SECRET")]
    pub fn shared_secret(header: impl Into<String>, secrets: impl Into<Secrets>) -> Self {
        Self::with(AgreedScheme::shared_secret(header), secrets.into())
    }

    /// Authentication type `HMAC-256`: the header holds the HMAC-SHA256 of the body. The key is the secret's UTF-8
    /// bytes.
    #[must_use]
    #[doc(alias = "HMAC-256")]
    pub fn hmac_sha256(header: impl Into<String>, secrets: impl Into<Secrets>) -> Self {
        Self::with(AgreedScheme::hmac_sha256(header), secrets.into())
    }

    /// `HMAC-256`: how the MAC is written. By default either way.
    #[must_use]
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        self.scheme = self.scheme.encoding(encoding);
        self
    }

    /// `HMAC-256`: text that stands before the MAC, exactly so. By default there is none.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.scheme = self.scheme.prefix(prefix);
        self
    }

    /// Takes every event for one of this kind: that of the subscription that has this endpoint's URL.
    #[must_use]
    pub fn pin_kind(mut self, kind: Kind) -> Self {
        self.pinned = Some(kind);
        self
    }

    fn with(scheme: AgreedScheme, secrets: Secrets) -> Self {
        Cair { scheme, secrets, pinned: None }
    }

    fn configured(options: &ProviderOptions) -> Result<Self, OptionError> {
        let secrets = needed(OptionName::Secrets, options.secrets.as_ref())?;
        let pinned = options.pin_kind.as_deref().and_then(Kind::from_name);
        Ok(Cair { pinned, ..Self::with(AgreedScheme::of(options)?, secrets) })
    }
}

impl sealed::Sealed for Cair {}

impl Provider for Cair {
    fn name(&self) -> &str {
        FACTS.name
    }

    fn policy(&self) -> Policy {
        Policy { has_event_time: self.pinned.is_none_or(|kind| TIMED.contains(&kind)), ..FACTS.policy }
    }

    fn scheme(&self, _: sealed::Seal) -> Result<sealed::SchemeWithSecrets, ConfigError> {
        Ok(sealed::SchemeWithSecrets { config: self.scheme.config(FACTS.name)?, secrets: self.secrets.clone() })
    }

    fn open(&self, verified: &Verified<'_>) -> Envelope {
        pinned_envelope(self.pinned, verified.body())
    }
}

/// Reads the envelope of a body of this kind.
fn envelope(kind: Option<&str>, body: &Bytes) -> Envelope {
    pinned_envelope(kind.and_then(Kind::from_name), body)
}

fn pinned_envelope(pinned: Option<Kind>, body: &Bytes) -> Envelope {
    let (shape, problem) = match Shape::of(body) {
        Ok(shape) => (Some(shape), None),
        Err(problem) => (None, Some(problem)),
    };
    let kind = pinned.or_else(|| shape.as_ref()?.kind());
    Envelope {
        kind: kind.map(|kind| KindName::documented(kind.as_str())),
        occurred_at: kind.and_then(|kind| shape.as_ref()?.time(kind)).cloned(),
        data: shape.is_some().then(|| body.clone()),
        problem: problem.or_else(|| kind.is_none().then(|| Problem::new("the shape of no documented kind"))),
        ..Envelope::default()
    }
}

/// The kinds that can say when they happened. See [`Shape::time`].
const TIMED: [Kind; 2] = [Kind::ClaimStatusChange, Kind::ChartAnalysis];

payload! {
    /// What tells one kind from another, and when.
    struct Shape {
        /// `ClaimResponse`.
        pub resource_type: Option<String> = "resourceType",
        /// Of a change of status.
        pub claim_lifecycle_id: Option<Anything> = "claimLifecycleId",
        /// Of a change of status.
        pub new_status: Option<Anything> = "newStatus",
        /// Of a change of status.
        pub timestamp: Option<Time> = "timestamp",
        /// The claim scrubber's.
        pub output: Option<Output> = "output",
        /// A chart's.
        pub report: Option<Timed> = "report",
        /// A chart's.
        pub analysis_result: Option<Timed> = "analysis_result",
        /// A chart's.
        pub created_at: Option<Time> = "created_at",
        /// A phone call's.
        pub call_id: Option<Anything> = "callId",
        /// A phone call's.
        pub status: Option<Anything> = "status",
        /// The X12 optimizer's.
        pub edits: Option<Anything> = "edits",
        /// The X12 optimizer's.
        pub ai_generated_x12_837: Option<Anything> = "ai_generated_x12_837",
    }

    /// The claim scrubber's output.
    struct Output {
        /// The run.
        pub optimizer_run_id: Option<Anything> = "optimizer_run_id",
    }

    /// A chart's report.
    struct Timed {
        /// When it was made.
        pub created_at: Option<Time> = "created_at",
    }
}

impl Shape {
    fn of(body: &Bytes) -> Result<Self, Problem> {
        Self::from_data(body, &mut Drift::default())
    }

    fn kind(&self) -> Option<Kind> {
        let ran = |output: &Output| output.optimizer_run_id.is_some();
        if self.resource_type.as_deref() == Some("ClaimResponse") {
            Some(Kind::ClaimsRemitAll)
        } else if self.claim_lifecycle_id.is_some() && self.new_status.is_some() {
            Some(Kind::ClaimStatusChange)
        } else if self.output.as_ref().is_some_and(ran) {
            Some(Kind::ClaimsAiOptimizer)
        } else if self.report.is_some() || self.analysis_result.is_some() {
            Some(Kind::ChartAnalysis)
        } else if self.call_id.is_some() && self.status.is_some() {
            Some(Kind::AiPhoneCall)
        } else if self.edits.is_some() || self.ai_generated_x12_837.is_some() {
            Some(Kind::X12Optimizer)
        } else {
            None
        }
    }

    /// When an event of this kind happened, where that is documented.
    fn time(&self, kind: Kind) -> Option<&Time> {
        match kind {
            Kind::ClaimStatusChange => self.timestamp.as_ref(),
            Kind::ChartAnalysis => {
                self.report.as_ref().and_then(|report| report.created_at.as_ref()).or(self.created_at.as_ref())
            }
            _ => None,
        }
    }
}

/// A value that is there, whatever it is.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
struct Anything;

impl FromPayload for Anything {
    fn text(_: &str) -> Option<Self> {
        Some(Anything)
    }

    fn integer(_: i128) -> Option<Self> {
        Some(Anything)
    }

    fn boolean(_: bool) -> Option<Self> {
        Some(Anything)
    }

    fn array<'de, A: SeqAccess<'de>>(mut array: A, _: &mut Drift) -> Result<Option<Self>, A::Error> {
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Some(Anything))
    }

    fn object<'de, A: MapAccess<'de>>(mut object: A, _: &mut Drift) -> Result<Option<Self>, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Some(Anything))
    }
}
