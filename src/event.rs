//! Events as types: the [`Event`] trait.
//!
//! This module and `delivery` import each other: [`Delivery::decode`] returns any [`Event`], and
//! [`Event::from_delivery`] reads any [`Delivery`].

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use bytes::Bytes;
use serde::de::{DeserializeOwned, Deserializer};

use crate::delivery::Delivery;
use crate::envelope::{KindName, Problem};
use crate::payload::{Drift, FromPayload};
use crate::phi::RawJson;

/// An event whose kind is not in the provider's documentation.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Unknown {
    /// The kind as sent.
    pub kind: KindName,
    /// The payload, or the whole body if the event has none.
    pub data: RawJson,
}

/// An event of a documented kind whose payload does not match the documentation, or a verified body without an
/// envelope. [`Delivery::body`] returns the whole body.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Undecodable {
    /// The kind, or `None` if the body has no envelope.
    pub kind: Option<KindName>,
    /// The reason why decoding failed.
    pub problem: Problem,
    /// The payload as sent, if any.
    pub data: Option<RawJson>,
}

/// The events of one provider as a type. [`Delivery::decode`] and the frameworks' `Webhook` extractors return it.
///
/// Implement this trait for a type of your own to decode the events of a [`Custom`](crate::Custom) provider:
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
///             Some("result.ready") => {
///                 Decoded::from_json(body, LabEvent::Ready, LabEvent::Undecodable)
///             }
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
    /// The name of the provider that sends these events.
    const PROVIDER: &'static str;

    /// Decodes the event of a body, for example of a stored one. With the [`kind`](Delivery::kind) and the
    /// [`body`](Delivery::body) of a delivery it returns the same event as [`Delivery::decode`]. Never fails: an event
    /// that cannot be decoded is also a value of the type.
    ///
    /// The events of this crate's providers need `kind` if the kind was pinned to the endpoint, because the body does
    /// not name it. A documented kind in the body takes precedence, except for Cair, whose bodies name none. The body
    /// must be in the provider's own format, as it was sent.
    ///
    /// This does not verify the body: pass only bodies of verified deliveries.
    fn from_body(kind: Option<&str>, body: &Bytes) -> Decoded<Self>;

    /// Decodes the event of a delivery. The default implementation calls [`from_body`](Event::from_body) with its kind
    /// and body.
    fn from_delivery(delivery: &Delivery) -> Decoded<Self> {
        Self::from_body(delivery.kind(), delivery.body())
    }
}

/// A decoded event, with the deviations of its payload from the documentation.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Decoded<E> {
    /// The event.
    pub event: E,
    /// The reason why decoding failed, if it did.
    pub problem: Option<Problem>,
    /// The paths, within the payload, of fields omitted because their values do not have the documented type. At most
    /// 16.
    pub drifted: Vec<Box<str>>,
}

impl<E> Decoded<E> {
    /// Creates a decoded event without deviations.
    pub fn new(event: E) -> Self {
        Decoded { event, problem: None, drifted: Vec::new() }
    }

    /// Decodes a body as a type of your own and wraps it with `event`. If that fails, wraps the problem with
    /// `undecodable`. [`Delivery::decode`] logs and counts the problem, which never quotes the body.
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

/// The payload of a documented kind.
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
            Ok(payload) => payload.ok_or_else(|| Problem::new("the payload is not an object")),
            Err(error) => Err(Problem::json(&error)),
        }
    }
}

/// The payload of a kind that is documented by name only, as raw JSON.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
#[non_exhaustive]
pub struct Undocumented {
    /// The payload as sent.
    pub data: RawJson,
}

impl FromPayload for Undocumented {
    fn read<'de, D: Deserializer<'de>>(deserializer: D, drift: &mut Drift) -> Result<Option<Self>, D::Error> {
        Ok(RawJson::read(deserializer, drift)?.map(|data| Undocumented { data }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_kind_is_used_if_the_body_names_none() {
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
