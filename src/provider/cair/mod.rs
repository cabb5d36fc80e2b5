//! Cair Health: chart analyses, claim status changes, remittances.
//!
//! | what | where | trust |
//! |---|---|---|
//! | authentication | a header whose name you choose at Cair, so it has no default. `HMAC-256`, [`Cair::hmac_sha256`]: HMAC-SHA256 over the raw body | covers the body |
//! | | `API_SECRET`, [`Cair::shared_secret`]: the secret itself | authenticates the sender only |
//! | body | JSON, with another shape for each kind; no envelope | signed with `HMAC-256`, unsigned with `API_SECRET` |
//! | kind | absent: [pinned](Cair::pin_kind) per endpoint, otherwise inferred from the [shape](self#kinds-and-shapes) of the body | the pin is yours; the shape is as trustworthy as the body |
//! | time of the event | `timestamp` of a claim status change, `created_at` of a chart report in the older shapes; not checked by default | as the body |
//! | time of the attempt | absent | |
//! | event id | absent; see [Deduplication](self#deduplication) | |
//! | test or live mode | absent | |
//!
//! Source of each fact, unless stated otherwise: the page of each webhook under
//! <https://docs.cairhealth.com/api-reference/endpoint/>, such as [Chart
//! Analysis](https://docs.cairhealth.com/api-reference/endpoint/patient-chart-analysis/patient-chart-analysis-webhooks);
//! each event's type links to its page.
//!
//! # Retries
//! Cair documents nothing about retries, timeouts or the expected status. medhook assumes no retries.
//!
//! # After an outage
//! Cair documents no retries, no delivery log and no API that lists missed events; ask Cair. Its API returns the report
//! of a chart, in the form that the webhook has (*Fetch Patient Chart Report*), for charts whose analysis you know to
//! be complete.
//!
//! # Kinds and shapes
//! At Cair, each URL is subscribed to one event type, and the body does not repeat it. Pin the kind, so that nothing
//! has to be inferred:
//!
//! ```
//! use medhook::{Cair, MemoryStore, Receiver, Secret, cair};
//!
//! let secret = Secret::new("the secret of the credentials set")?;
//! let charts =
//!     Cair::hmac_sha256("X-Cair-Signature", secret).pin_kind(cair::Kind::ChartAnalysis);
//! let store = MemoryStore::new(10_000);
//! let receiver = Receiver::builder("cair-charts", charts).store(store).build()?;
//! # Ok::<(), medhook::ConfigError>(())
//! ```
//!
//! Every delivery to such an endpoint has the pinned kind, and its body is decoded as far as it fits. Without a pin,
//! the first matching row determines the kind:
//!
//! | the body has | kind |
//! |---|---|
//! | `resourceType` with the value `ClaimResponse` | [`Kind::ClaimsRemitAll`]: the three remittance kinds share one shape, and this kind covers all of them |
//! | `claimLifecycleId` and `newStatus` | [`Kind::ClaimStatusChange`] |
//! | `output`, an object with `optimizer_run_id` | [`Kind::ClaimsAiOptimizer`] |
//! | `report` or `analysis_result`, an object | [`Kind::ChartAnalysis`] |
//! | `callId` and `status` | [`Kind::AiPhoneCall`] |
//! | `edits` or `ai_generated_x12_837` | [`Kind::X12Optimizer`] |
//!
//! A body that matches no row may be of a new kind. It is delivered without a kind, as an [`Event::Undecodable`], and
//! logged.
//!
//! # Freshness
//! No delivery contains the time of the attempt, and most kinds lack the time of the event. By default, deliveries of
//! any age are accepted ([`Freshness::Unchecked`]): an attacker can replay a captured delivery once its event expires
//! from the store; a longer [`retention`](crate::Builder::retention) delays that. A delivery of a kind that can recur
//! can be replayed at any time, until [`max_repeats`](crate::Builder::max_repeats) is reached for the day. With
//! `API_SECRET` an attacker can also alter a captured delivery, which then counts as a new event at once. If every
//! event of an endpoint has a time, check its age:
//!
//! ```
//! # use std::time::Duration;
//! # use medhook::{Cair, Freshness, MemoryStore, Receiver, Secret, cair};
//! # let secret = Secret::new("the secret of the credentials set")?;
//! let changes = Cair::hmac_sha256("X-Cair-Signature", secret)
//!     .pin_kind(cair::Kind::ClaimStatusChange);
//! let receiver = Receiver::builder("cair-claims", changes)
//!     .freshness(Freshness::EventTime {
//!         max_age: Duration::from_secs(24 * 3600),
//!         max_skew: Duration::from_secs(300),
//!     })
//!     .store(MemoryStore::new(10_000))
//!     .build()?;
//! # Ok::<(), medhook::ConfigError>(())
//! ```
//!
//! Use this only with a pin to that kind. An event of a documented kind without a time is then rejected with 401
//! ([`Reason::TimeMissing`](crate::Reason::TimeMissing)): every chart report in the current shape, and every event of
//! the other kinds. A receiver pinned to one of those other kinds fails to build with [`Freshness::EventTime`]. The
//! delay between an event and its delivery is undocumented, so choose a generous age. With `API_SECRET` the time is
//! unsigned and its age only a hint, because any sender who knows the secret can set it.
//!
//! # Deduplication
//! No event has an id. The bodies contain ids of charts, claims and calls, but these may be sent again with new
//! content. For example, the documentation does not say whether each completed step of an analysis is sent under the
//! same id. Deduplication by such an id would lose the later event.
//!
//! | kind | deliveries with equal bytes |
//! |---|---|
//! | [`ClaimStatusChange`] with its claim, status and `timestamp` | are the same event |
//! | [`ClaimsAiOptimizer`] with `output.optimizer_run_id` | are the same event: each run has its own id |
//! | [`ChartReport`], [`X12Optimizer`] | may be two events: the same can be analyzed again, and no id or time of the analysis is documented |
//! | [`Remittance`] | may be two events: its `id` is that of the claim response, whose state can change and change back. One that is sent for two subscriptions (`CLAIMS_REMIT_ALL` and another) is handled twice |
//! | [`AiPhoneCall`] | may be two events: whether a call reports one status more than once is undocumented |
//!
//! A delivery that may be another event is handled, and
//! [`possible_duplicate`](crate::Delivery::possible_duplicate) returns whether the same bytes were delivered before. To
//! treat equal bytes as the same event for every kind, use [`Dedupe::by_bytes`](crate::Dedupe::by_bytes). If an id is
//! enough, use [`Dedupe::by`](crate::Dedupe::by).
//!
//! # Samples for tests
//! Configure a sample with the header and the scheme of your receiver. The names of the kinds are those of [`Kind`].
//! `at` sets the time of `CLAIM_STATUS_CHANGE` only. No event has an id: use `id` to get different bytes for chart
//! reports and remittances, and `body` for any kind.
//!
//! ```
//! use medhook::testing::{self, Signing};
//! use medhook::{Cair, NoDedupe, Receiver, Secret, cair};
//!
//! let secret = "a-secret-of-some-length";
//! let charts = Cair::hmac_sha256("X-API-KEY", Secret::new(secret)?)
//!     .pin_kind(cair::Kind::ChartAnalysis);
//! let receiver = Receiver::builder("cair", charts).store(NoDedupe).build()?;
//!
//! let request = testing::cair("PATIENT_CHART_ANALYSIS_COMPLETE")
//!     .signing(Signing::hmac_sha256("x-api-key"))
//!     .secret(secret)
//!     .request("/webhooks/cair");
//! let verified = receiver.verify(request.headers(), request.body().clone())?;
//! let delivery = receiver.open(verified)?;
//! assert!(matches!(delivery.decode()?, cair::Event::ChartAnalysis(_)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Undocumented behavior
//! - Everything about `HMAC-256` except its name. medhook uses the secret's UTF-8 bytes as the key and the raw body as
//!   the message, and reads both hexadecimal and base64, because either must decode to exactly 32 bytes. Set
//!   [`encoding`](Cair::encoding) and [`prefix`](Cair::prefix) to match your deliveries. The bare secret is never
//!   accepted in place of a MAC.
//! - The shape of chart reports: that of the current API, which the webhook's page links to, or that of the older
//!   webhook's page. [`ChartReport`] reads both, and the older API's shape as well.
//! - The rest of the truncated samples of chart reports and of the claim scrubber's output, and the possible values of
//!   fields with only one example. Undocumented fields are kept unchanged in the `rest` of their object; enums are
//!   open.
//! - The maximum size of a body. Reports contain long texts; several hundred kilobytes fit the default limit of 1 MiB,
//!   and [`body_limit`](crate::Builder::body_limit) raises it.
//! - The authentication of the [webhook of AI phone
//!   calls](https://docs.cairhealth.com/api-reference/endpoint/aiphonecall/webhook-delivery), whose separate settings
//!   contain no credentials. If it sends none, receivers reject it, because it cannot be authenticated.
//! - Names for that webhook and for the
//!   [older X12 optimizer](https://docs.cairhealth.com/api-reference/endpoint/claims/webhook-delivery). medhook calls
//!   them `ai-phone-call` and `x12-optimizer`.
//!
//! [`Freshness::EventTime`]: crate::Freshness::EventTime
//! [`Freshness::Unchecked`]: crate::Freshness::Unchecked

mod event;
mod findings;
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
pub use self::findings::FindingPath;

use super::agreed::AgreedScheme;
use super::definition::{Policy, Provider, sealed};
use super::equal_bytes::EqualBytes;
use super::facts::{Pointers, ProviderFacts};
use super::options::{OptionError, OptionName, ProviderOptions, required};
use crate::any_event::AnyEvent;
use crate::envelope::{Envelope, KindName, Problem};
use crate::event::Payload;
use crate::payload::{Drift, FromPayload, payload};
use crate::scheme::Encoding;
use crate::{ConfigError, Secrets, Time};

/// The facts about Cair Health.
pub(crate) static FACTS: ProviderFacts = ProviderFacts {
    name: "cair",
    title: "Cair Health",
    kinds: event::KINDS,
    policy: Policy::undocumented(true),
    required_options: &[OptionName::Scheme, OptionName::Header],
    optional_options: &[OptionName::Prefix, OptionName::Encoding, OptionName::PinKind],
    // `CLAIM_STATUS_CHANGE` is the only kind with a time at one documented place.
    pointers: Pointers { time: Some("/timestamp"), ..Pointers::NONE },
    answer_timeout: None,
    may_expect_result: &[],
    useful_for: &[],
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

/// The Cair Health provider. The [module](self) documents its checks.
#[derive(Debug, Clone)]
pub struct Cair {
    scheme: AgreedScheme,
    secrets: Secrets,
    pinned: Option<Kind>,
}

impl Cair {
    /// Accepts deliveries with the authentication type `API_SECRET`: the header contains the secret itself.
    ///
    /// This authenticates the sender but not the body, and an attacker who sees one delivery can forge others. Prefer
    /// [`hmac_sha256`](Cair::hmac_sha256).
    #[must_use]
    #[doc(alias = "API_SECRET")]
    pub fn shared_secret(header: impl Into<String>, secrets: impl Into<Secrets>) -> Self {
        Self::with(AgreedScheme::shared_secret(header), secrets.into())
    }

    /// Accepts deliveries with the authentication type `HMAC-256`: the header contains the HMAC-SHA256 of the body. The
    /// key is the secret's UTF-8 bytes.
    #[must_use]
    #[doc(alias = "HMAC-256")]
    pub fn hmac_sha256(header: impl Into<String>, secrets: impl Into<Secrets>) -> Self {
        Self::with(AgreedScheme::hmac_sha256(header), secrets.into())
    }

    /// Sets the encoding of the MAC (`HMAC-256` only). By default hex and base64 are both accepted.
    #[must_use]
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        self.scheme = self.scheme.encoding(encoding);
        self
    }

    /// Sets the exact text that precedes the MAC (`HMAC-256` only). By default there is none.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.scheme = self.scheme.prefix(prefix);
        self
    }

    /// Pins the kind: every event at this endpoint is read as this kind. Use the event type of the subscription with
    /// this endpoint's URL.
    #[must_use]
    pub fn pin_kind(mut self, kind: Kind) -> Self {
        self.pinned = Some(kind);
        self
    }

    fn with(scheme: AgreedScheme, secrets: Secrets) -> Self {
        Cair { scheme, secrets, pinned: None }
    }

    fn configured(options: &ProviderOptions) -> Result<Self, OptionError> {
        let secrets = required(OptionName::Secrets, options.secrets.as_ref())?;
        let pinned = options.pin_kind.as_deref().and_then(Kind::from_name);
        Ok(Cair { pinned, ..Self::with(AgreedScheme::of(options)?, secrets) })
    }
}

impl sealed::Sealed for Cair {}

impl Provider for Cair {
    fn name(&self) -> &str {
        FACTS.name
    }

    fn equal_bytes(&self, kind: Option<&str>) -> EqualBytes {
        FACTS.equal_bytes(kind)
    }

    fn policy(&self) -> Policy {
        Policy { has_event_time: self.pinned.is_none_or(|kind| TIMED.contains(&kind)), ..FACTS.policy }
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

/// Reads the envelope of a body; a documented `kind` takes precedence over the shape of the body.
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
        problem: problem.or_else(|| kind.is_none().then(|| Problem::new("the body matches no documented kind"))),
        ..Envelope::default()
    }
}

/// The kinds whose bodies can contain the time of the event. See [`Shape::time`].
const TIMED: [Kind; 2] = [Kind::ClaimStatusChange, Kind::ChartAnalysis];

payload! {
    /// The members that identify the kind and the time of an event.
    struct Shape {
        /// Remittances: `ClaimResponse`.
        pub resource_type: Option<String> = "resourceType",
        /// Claim status changes.
        pub claim_lifecycle_id: Option<Anything> = "claimLifecycleId",
        /// Claim status changes.
        pub new_status: Option<Anything> = "newStatus",
        /// Claim status changes.
        pub timestamp: Option<Time> = "timestamp",
        /// The claim scrubber.
        pub output: Option<Output> = "output",
        /// Chart reports.
        pub report: Option<Timed> = "report",
        /// Chart reports.
        pub analysis_result: Option<Timed> = "analysis_result",
        /// Chart reports.
        pub created_at: Option<Time> = "created_at",
        /// Phone calls.
        pub call_id: Option<Anything> = "callId",
        /// Phone calls.
        pub status: Option<Anything> = "status",
        /// The X12 optimizer.
        pub edits: Option<Anything> = "edits",
        /// The X12 optimizer.
        pub ai_generated_x12_837: Option<Anything> = "ai_generated_x12_837",
    }

    /// The claim scrubber's output.
    struct Output {
        /// The id of the run.
        pub optimizer_run_id: Option<Anything> = "optimizer_run_id",
    }

    /// A chart's report.
    struct Timed {
        /// When the report was created.
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

    /// Returns the time of an event of this kind, if its place is documented.
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

/// The presence of a value of any type.
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
