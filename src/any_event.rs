//! A decoded event with its type erased, for code that serves every provider.

use std::any::Any;
use std::fmt;

use bytes::Bytes;

use crate::delivery::{Delivery, WrongProvider};
use crate::envelope::Problem;
use crate::event::{Decoded, Event};

/// A decoded event of any provider. Its `Debug` output is that of the event, which shows no health data.
#[non_exhaustive]
pub struct AnyEvent {
    /// The result of decoding.
    pub decoding: Decoding,
    /// The reason why decoding failed, if it did.
    pub problem: Option<Problem>,
    /// The paths of fields omitted because their values do not have the documented type. At most 16.
    pub drifted: Vec<Box<str>>,
    event: Box<dyn ErasedEvent>,
}

/// The result of decoding an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decoding {
    /// The event has a documented kind and was decoded.
    Documented,
    /// The event has an undocumented kind.
    Unknown,
    /// The event has a documented kind but could not be decoded, or its body has no envelope.
    Undecodable,
}

/// Implemented for every event enum that `events!` declares.
pub(crate) trait Classified: Event + fmt::Debug + PartialEq + Send + Sync + 'static {
    fn decoding(&self) -> Decoding;

    /// Returns whether the payload is unchanged after a round trip through JSON; `None` if it has no type.
    #[cfg(feature = "testing")]
    fn is_read_again_as_written(&self) -> Option<bool>;
}

/// Returns whether a payload is unchanged after a round trip through JSON.
#[cfg(feature = "testing")]
pub(crate) fn is_read_again_as_written<T>(payload: &T) -> bool
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq,
{
    let written = serde_json::to_string(payload);
    written.and_then(|json| serde_json::from_str::<T>(&json)).is_ok_and(|again| again == *payload)
}

impl AnyEvent {
    pub(crate) fn from_delivery<E: Classified>(delivery: &Delivery) -> Result<Self, WrongProvider> {
        delivery.decoded::<E>().map(Self::new)
    }

    pub(crate) fn from_body<E: Classified>(kind: Option<&str>, body: &Bytes) -> Self {
        Self::new(E::from_body(kind, body))
    }

    /// Returns whether the payload is unchanged after a round trip through JSON; `None` if it has no type. For the
    /// tests of this project.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    #[must_use]
    pub fn is_read_again_as_written(&self) -> Option<bool> {
        self.event.is_read_again_as_written()
    }

    fn new<E: Classified>(decoded: Decoded<E>) -> Self {
        let Decoded { event, problem, drifted } = decoded;
        AnyEvent { decoding: event.decoding(), problem, drifted, event: Box::new(event) }
    }
}

impl fmt::Debug for AnyEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.event.fmt(f)
    }
}

impl PartialEq for AnyEvent {
    fn eq(&self, other: &Self) -> bool {
        (self.decoding, &self.problem, &self.drifted) == (other.decoding, &other.problem, &other.drifted)
            && self.event.equals(other.event.as_any())
    }
}

trait ErasedEvent: fmt::Debug + Send + Sync {
    fn as_any(&self) -> &dyn Any;
    fn equals(&self, other: &dyn Any) -> bool;
    #[cfg(feature = "testing")]
    fn is_read_again_as_written(&self) -> Option<bool>;
}

impl<E: Classified> ErasedEvent for E {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn equals(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<E>() == Some(self)
    }

    #[cfg(feature = "testing")]
    fn is_read_again_as_written(&self) -> Option<bool> {
        Classified::is_read_again_as_written(self)
    }
}
