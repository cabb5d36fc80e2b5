//! Who sends: one folder each, with the facts in its documentation.

pub mod azodha;
pub mod cair;
mod custom;
pub mod fasten;
pub mod healthsync;
mod key;
pub mod mediquo;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

pub use self::custom::Custom;

use crate::payload::{Drift, FromPayload};
use crate::scheme::SchemeVerifier;
use crate::{ConfigError, Delivery, Freshness, Phi, RawJson, Time, Verified};

/// A sender of webhooks: how it proves itself, and where its body says what happened.
///
/// The set is closed. A sender that is not among them is a [`Custom`].
pub trait Provider: fmt::Debug + Send + Sync + 'static + sealed::Sealed {
    /// Its name in keys, logs and metrics.
    fn name(&self) -> &str;

    /// What a receiver does for it unless told otherwise.
    fn policy(&self) -> Policy;

    /// Its scheme, with its secrets read.
    #[doc(hidden)]
    fn scheme(&self, _: sealed::Seal) -> Result<sealed::KeyedScheme, ConfigError>;

    /// The mode that a secret is for, by its index; `None` where it is for any.
    #[doc(hidden)]
    fn mode_of_secret(&self, _secret: usize) -> Option<&Mode> {
        None
    }

    /// Reads the envelope of a proven body. Never fails: what is no envelope has a [`Problem`] for its kind.
    fn open(&self, verified: &Verified<'_>) -> Envelope;
}

/// Keeps the set of providers closed.
pub(crate) mod sealed {
    #[allow(unreachable_pub, reason = "named in a public trait so that nobody else can implement it")]
    pub trait Sealed {}
    #[allow(missing_debug_implementations, unreachable_pub, reason = "as above")]
    pub struct Seal;
    #[allow(missing_debug_implementations, unreachable_pub, reason = "as above")]
    pub struct KeyedScheme(pub(crate) super::SchemeVerifier);
}

/// What a provider asks of its receivers.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Policy {
    /// The age that is accepted.
    pub freshness: Freshness,
    /// How long a handled event is remembered.
    pub retention: Duration,
    /// How long after the first attempt the provider may still retry.
    pub retry_horizon: Duration,
    /// Whether its bodies say when their events happened, so that [`Freshness::EventTime`] can be asked for.
    pub tells_event_time: bool,
    /// Whether events of unknown kinds need such a time as well, where it is asked for.
    pub always_timed: bool,
}

impl Policy {
    /// Of a provider that signs no time and documents no retries.
    pub(crate) fn untold(tells_event_time: bool) -> Self {
        Policy {
            freshness: Freshness::Unchecked,
            retention: Duration::from_secs(24 * 3600),
            retry_horizon: Duration::ZERO,
            tells_event_time,
            always_timed: false,
        }
    }
}

/// What a proven body says about itself.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Envelope {
    /// The event's id, the same over all attempts.
    pub id: Option<Box<str>>,
    /// The kind of event.
    pub kind: Option<KindName>,
    /// When this attempt was made.
    pub sent_at: Option<Time>,
    /// When the event happened.
    pub occurred_at: Option<Time>,
    /// Test or live.
    pub mode: Option<Mode>,
    /// The payload: a part of the body.
    pub data: Option<Bytes>,
    /// Why the body is no envelope.
    pub problem: Option<Problem>,
}

impl Envelope {
    /// Of a body that is none.
    pub(crate) fn none(problem: Problem) -> Self {
        Envelope { problem: Some(problem), ..Envelope::default() }
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope").field("kind", &self.kind).field("problem", &self.problem).finish_non_exhaustive()
    }
}

/// The name of a kind of event. Debug output shows it only where it is a documented one: anything else is the sender's
/// own text.
#[derive(Clone, PartialEq, Eq)]
pub struct KindName {
    text: Cow<'static, str>,
    documented: bool,
}

impl KindName {
    pub(crate) fn documented(text: &'static str) -> Self {
        KindName { text: Cow::Borrowed(text), documented: true }
    }

    pub(crate) fn unknown(text: String) -> Self {
        KindName { text: Cow::Owned(text), documented: false }
    }

    /// As sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the provider's documentation has it.
    #[must_use]
    pub fn is_documented(&self) -> bool {
        self.documented
    }

    /// For logs and metrics: the name if it is a documented one, else `unknown`.
    #[must_use]
    pub fn label(&self) -> &str {
        if self.documented { &self.text } else { "unknown" }
    }
}

impl fmt::Debug for KindName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KindName({})", self.label())
    }
}

/// Whether an event is about real patients.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// Real ones.
    Live,
    /// Made-up ones.
    Test,
    /// A mode that is not documented.
    Other(Phi<String>),
}

impl Mode {
    /// The text sent for it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Mode::Live => "live",
            Mode::Test => "test",
            Mode::Other(text) => text.expose(),
        }
    }
}

impl From<&str> for Mode {
    fn from(text: &str) -> Self {
        match text {
            "live" => Mode::Live,
            "test" => Mode::Test,
            other => Mode::Other(other.into()),
        }
    }
}

/// Why a body or a payload could not be decoded: a place and a rule of ours, never a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem(Box<str>);

impl Problem {
    pub(crate) fn new(text: impl Into<Box<str>>) -> Self {
        Problem(text.into())
    }

    /// From an error of the parser, whose own text may quote the input.
    pub(crate) fn json(error: &serde_json::Error) -> Self {
        let what = match error.classify() {
            serde_json::error::Category::Data => "not of the documented shape",
            _ => "not JSON",
        };
        Problem(format!("{what} (line {}, column {})", error.line(), error.column()).into())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An event of a kind that nobody documented.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Unknown {
    /// Its kind, as sent.
    pub kind: KindName,
    /// Its payload, or the whole body where it has none.
    pub data: RawJson,
}

/// A documented kind whose payload is not what is documented, or a proven body that is no envelope at all. The whole
/// body is at [`Delivery::body`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Undecodable {
    /// The kind; `None` where the body is no envelope.
    pub kind: Option<KindName>,
    /// What is wrong with it.
    pub problem: Problem,
    /// The payload as sent, where there is one.
    pub data: Option<RawJson>,
}

/// Events of one provider as a type, which [`Delivery::decode`] and the frameworks' `Webhook` extractors return.
///
/// Implement it for a type of your own to receive a [`Custom`] provider's events the same way:
///
/// ```
/// use medhook::{Bytes, Decoded, Event, Problem};
/// use serde::Deserialize;
///
/// #[derive(Debug, PartialEq, Deserialize)]
/// struct Ready {
///     sample: String,
/// }
///
/// #[derive(Debug, PartialEq)]
/// enum LabEvent {
///     Ready(Ready),
///     Unknown,
///     Undecodable(Problem),
/// }
///
/// impl Event for LabEvent {
///     const PROVIDER: &'static str = "laboratory"; // the name given to `Custom::new`
///
///     fn from_body(kind: Option<&str>, body: &Bytes) -> Decoded<Self> {
///         match kind {
///             Some("result.ready") => Decoded::from_json(body, LabEvent::Ready, LabEvent::Undecodable),
///             _ => Decoded::new(LabEvent::Unknown),
///         }
///     }
/// }
///
/// let body = Bytes::from_static(br#"{"sample": "a"}"#);
/// let decoded = LabEvent::from_body(Some("result.ready"), &body);
/// assert_eq!(decoded.event, LabEvent::Ready(Ready { sample: "a".to_owned() }));
///
/// let decoded = LabEvent::from_body(Some("result.ready"), &Bytes::from_static(b"{}"));
/// assert!(decoded.problem.is_some());
/// ```
pub trait Event: Sized {
    /// The name of the provider whose deliveries these are.
    const PROVIDER: &'static str;

    /// Reads the event from a body, such as one that was stored: with the [`kind`](Delivery::kind) and the
    /// [`body`](Delivery::body) of a delivery it returns the event that [`Delivery::decode`] does. Never fails: an event
    /// that cannot be read is a value of the type, too.
    ///
    /// The events of this crate's providers need `kind` where the kind was pinned to the endpoint, since the body does
    /// not name it; a documented kind that the body names itself takes precedence, except for Cair, whose bodies name
    /// none. They read the body in the provider's own format, as it was sent.
    ///
    /// It does not verify the body: pass only what came from a verified delivery.
    fn from_body(kind: Option<&str>, body: &Bytes) -> Decoded<Self>;

    /// Reads the event of a delivery. By default [`from_body`](Event::from_body) of its kind and body.
    fn from_delivery(delivery: &Delivery) -> Decoded<Self> {
        Self::from_body(delivery.kind(), delivery.body())
    }
}

/// An event, and where its payload was not as documented.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Decoded<E> {
    /// The event.
    pub event: E,
    /// Why it is the variant for what cannot be decoded.
    pub problem: Option<Problem>,
    /// Paths, within the payload, of fields left out because they hold something else than documented: at most 16.
    pub drifted: Vec<Box<str>>,
}

impl<E> Decoded<E> {
    /// An event without anything to remark.
    pub fn new(event: E) -> Self {
        Decoded { event, problem: None, drifted: Vec::new() }
    }

    /// An event whose kind is known: `event` of the body as a type of your own, or `undecodable` of the problem if the
    /// body does not have that type. [`Delivery::decode`] logs and counts the problem, which quotes nothing of the body.
    pub fn from_json<T: DeserializeOwned>(
        body: &[u8],
        event: impl FnOnce(T) -> E,
        undecodable: impl FnOnce(Problem) -> E,
    ) -> Self {
        match serde_json::from_slice(body) {
            Ok(payload) => Decoded::new(event(payload)),
            Err(error) => {
                let problem = Problem::json(&error);
                Decoded { problem: Some(problem.clone()), ..Decoded::new(undecodable(problem)) }
            }
        }
    }
}

/// A payload of a documented kind.
pub(crate) trait Payload: Sized {
    fn from_data(data: &Bytes, drift: &mut Drift) -> Result<Self, Problem>;
}

impl<T: FromPayload> Payload for T {
    fn from_data(data: &Bytes, drift: &mut Drift) -> Result<Self, Problem> {
        let text = str::from_utf8(data).map_err(|_| Problem::new("not UTF-8"))?;
        let read = |drift: &mut Drift| {
            let mut deserializer = serde_json::Deserializer::from_str(text);
            let payload = T::read(&mut deserializer, drift)?;
            deserializer.end().map(|()| payload)
        };
        let payload = read(drift).or_else(|_| {
            *drift = Drift::one_by_one();
            read(drift)
        });
        match payload {
            Ok(payload) => payload.ok_or_else(|| Problem::new("the payload is no object")),
            Err(error) => Err(Problem::json(&error)),
        }
    }
}

/// The payload of a kind that is documented by name only: all of it, and nothing made up.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
#[non_exhaustive]
pub struct Undocumented {
    /// As sent.
    pub data: RawJson,
}

impl FromPayload for Undocumented {
    fn read<'de, D: Deserializer<'de>>(deserializer: D, drift: &mut Drift) -> Result<Option<Self>, D::Error> {
        Ok(RawJson::read(deserializer, drift)?.map(|data| Undocumented { data }))
    }
}

/// Declares a provider's documented kinds and the event enum that has a variant for each.
macro_rules! events {
    ($provider:literal: $($(#[$doc:meta])* $Variant:ident($Payload:ty) = $kind:literal $(| $alias:literal)*,)*) => {
        /// The documented kinds.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Kind { $($(#[$doc])* $Variant,)* }

        impl Kind {
            /// Every documented kind.
            pub const ALL: &'static [Kind] = &[$(Kind::$Variant,)*];

            /// Its name on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Kind::$Variant => $kind,)* }
            }

            /// The kind of this name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($kind $(| $alias)* => Some(Kind::$Variant),)* _ => None }
            }

            /// The name itself, if it is a documented one. A kind that has two keeps the one it was sent under.
            #[allow(dead_code, reason = "a provider whose kinds can be pinned names them by their `Kind`")]
            pub(crate) fn documented(name: &str) -> Option<&'static str> {
                match name { $($kind => Some($kind), $($alias => Some($alias),)*)* _ => None }
            }
        }

        /// An event, by its kind.
        #[derive(Debug, Clone, PartialEq)]
        #[non_exhaustive]
        pub enum Event {
            $($(#[$doc])* $Variant($Payload),)*
            /// A kind that is not documented.
            Unknown($crate::provider::Unknown),
            /// A documented kind that could not be decoded, or no envelope at all.
            Undecodable($crate::provider::Undecodable),
        }

        impl $crate::provider::Event for Event {
            const PROVIDER: &'static str = $provider;

            fn from_body(kind: Option<&str>, body: &bytes::Bytes) -> $crate::provider::Decoded<Self> {
                Event::decoded(&super::envelope(kind, body), body)
            }

            fn from_delivery(delivery: &$crate::Delivery) -> $crate::provider::Decoded<Self> {
                Event::decoded(delivery.envelope(), delivery.body())
            }
        }

        impl Event {
            fn decoded(envelope: &$crate::Envelope, body: &bytes::Bytes) -> $crate::provider::Decoded<Self> {
                $crate::provider::decode(
                    envelope,
                    body,
                    Kind::from_name,
                    |kind, data, drift| match kind {
                        $(Kind::$Variant => <$Payload as $crate::provider::Payload>::from_data(data, drift).map(Event::$Variant),)*
                    },
                    Event::Unknown,
                    Event::Undecodable,
                )
            }
        }
    };
}
pub(crate) use events;

/// Decodes the event of an envelope, the same way for every provider.
pub(crate) fn decode<E, K>(
    envelope: &Envelope,
    body: &Bytes,
    known: impl Fn(&str) -> Option<K>,
    read: impl Fn(K, &Bytes, &mut Drift) -> Result<E, Problem>,
    unknown: impl Fn(Unknown) -> E,
    undecodable: impl Fn(Undecodable) -> E,
) -> Decoded<E> {
    let fails = |problem: Problem| Decoded {
        event: undecodable(Undecodable {
            kind: envelope.kind.clone(),
            problem: problem.clone(),
            data: envelope.data.clone().map(RawJson::accepted),
        }),
        problem: Some(problem),
        drifted: Vec::new(),
    };
    let Some(kind) = &envelope.kind else {
        let problem = envelope.problem.clone();
        return fails(problem.unwrap_or_else(|| Problem::new("no kind in the envelope")));
    };
    let Some(documented) = known(kind.as_str()) else {
        let data = envelope.data.clone().unwrap_or_else(|| body.clone());
        return Decoded::new(unknown(Unknown { kind: kind.clone(), data: RawJson::accepted(data) }));
    };
    let Some(data) = &envelope.data else {
        let problem = envelope.problem.clone();
        return fails(problem.unwrap_or_else(|| Problem::new("the payload is missing")));
    };
    let mut drift = Drift::default();
    match read(documented, data, &mut drift) {
        Ok(event) => Decoded { event, problem: None, drifted: drift.into_paths() },
        Err(problem) => fails(problem),
    }
}

/// Parses the one JSON object that an envelope is.
pub(crate) fn envelope_of<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, Problem> {
    let text = str::from_utf8(body).map_err(|_| Problem::new("not UTF-8"))?;
    // serde would read a struct from an array, too.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(Problem::new("not a JSON object"));
    }
    serde_json::from_str(text).map_err(|error| Problem::json(&error))
}

/// The part of a body that a parser pointed at, without a copy.
pub(crate) fn part_of(body: &Bytes, part: &RawValue) -> Bytes {
    body.slice_ref(part.get().as_bytes())
}

/// What stands before and after the value that a JSON pointer leads to.
#[cfg(feature = "testing")]
pub(crate) fn pointed_at<'b>(body: &'b Bytes, pointer: &str) -> Option<(&'b [u8], &'b [u8])> {
    let raw: &RawValue = serde_json::from_slice(body).ok()?;
    let value = custom::follow(raw, pointer).filter(|_| !pointer.is_empty())?.get();
    let start = (value.as_ptr() as usize).checked_sub(body.as_ptr() as usize)?;
    Some((body.get(..start)?, body.get(start.checked_add(value.len())?..)?))
}

/// A text, or a whole number as its digits; anything else, `null` and `""` are absent.
#[derive(Default)]
pub(crate) struct Scalar<'b>(pub(crate) Option<Cow<'b, str>>);

impl<'b> Scalar<'b> {
    /// What one value is. One that is JSON by its grammar alone (`1e999`, half of a surrogate pair) is absent, too, and
    /// costs nothing else.
    pub(crate) fn of(raw: &'b RawValue) -> Self {
        // A text without escapes is what stands between its quotes, and was parsed once to find its end.
        let quoted = raw.get().strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        if let Some(text) = quoted.filter(|text| !text.contains('\\')) {
            return Scalar((!text.is_empty()).then_some(Cow::Borrowed(text)));
        }
        Self::visited(&mut serde_json::Deserializer::from_str(raw.get())).unwrap_or_default()
    }

    fn visited<'de: 'b, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalars;

        impl<'de> Visitor<'de> for Scalars {
            type Value = Scalar<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any JSON value")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Scalar((!text.is_empty()).then_some(Cow::Borrowed(text))))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Scalar((!text.is_empty()).then(|| Cow::Owned(text.to_owned()))))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Scalar(Some(number.to_string().into())))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
                Ok(Scalar(Some(number.to_string().into())))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                // Digits may be lost by now, and two ids must not become one.
                Ok(Scalar(None))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(Scalar(None))
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Scalar(None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
                while array.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Scalar(None))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
                while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Scalar(None))
            }
        }

        deserializer.deserialize_any(Scalars)
    }
}

impl<'de: 'b, 'b> Deserialize<'de> for Scalar<'b> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(Scalar::of)
    }
}

impl Scalar<'_> {
    pub(crate) fn into_box(self) -> Option<Box<str>> {
        self.0.map(|text| text.into_owned().into())
    }

    /// The kind that the body names, else the `given` one.
    pub(crate) fn into_kind(
        self,
        given: Option<&str>,
        documented: impl Fn(&str) -> Option<&'static str>,
    ) -> Option<KindName> {
        self.0.or(given.map(Cow::Borrowed)).map(|text| match documented(&text) {
            Some(name) => KindName::documented(name),
            None => KindName::unknown(text.into_owned()),
        })
    }

    pub(crate) fn into_time(self) -> Option<Time> {
        self.0.map(|text| Time::from(&*text))
    }

    pub(crate) fn into_mode(self) -> Option<Mode> {
        self.0.map(|text| Mode::from(&*text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_where_and_never_what() {
        for (json, told) in [
            (r#""A. Patient""#, "not of the documented shape (line 1, column 12)"),
            ("{\n A. Patient", "not JSON (line 2, column 2)"),
        ] {
            let error = serde_json::from_str::<std::collections::BTreeMap<String, u8>>(json).unwrap_err();
            assert_eq!(Problem::json(&error).to_string(), told);
        }
    }

    #[test]
    fn a_stored_kind_stands_in_for_one_that_the_body_does_not_name() {
        use crate::{azodha, cair, fasten};

        let body = Bytes::from_static(br#"{"data": {}}"#);
        let event = |kind| fasten::Event::from_body(kind, &body).event;
        assert!(matches!(event(Some("patient.ehi_export_success")), fasten::Event::EhiExportSuccess(_)));
        assert!(
            matches!(event(Some("another")), fasten::Event::Unknown(unknown) if unknown.kind.as_str() == "another")
        );
        assert!(matches!(event(None), fasten::Event::Undecodable(_)));
        let named = Bytes::from_static(br#"{"type": "patient.ehi_export_failed", "data": {}}"#);
        let event = fasten::Event::from_body(Some("patient.ehi_export_success"), &named).event;
        assert!(matches!(event, fasten::Event::EhiExportFailed(_)), "the body takes precedence");

        let remittance = Bytes::from_static(br#"{"resourceType": "ClaimResponse"}"#);
        let event = |kind| cair::Event::from_body(kind, &remittance).event;
        assert!(matches!(event(Some("CLAIMS_REMIT_DENIED")), cair::Event::ClaimsRemitDenied(_)));
        assert!(matches!(event(None), cair::Event::ClaimsRemitAll(_)));

        let event = |kind| azodha::Event::from_body(kind, &body).event;
        assert!(matches!(event(Some("BookAppointment")), azodha::Event::BookAppointment(_)));
        assert!(matches!(event(None), azodha::Event::Undecodable(_)));
    }
}
