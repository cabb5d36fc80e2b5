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
/// Implement it for a type of your own to receive a [`Custom`](crate::Custom) provider's events the same way:
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

#[cfg(test)]
mod tests {
    use super::*;

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
