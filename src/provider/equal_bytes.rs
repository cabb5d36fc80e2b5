//! Whether equal bytes are the same event.

use serde_json::value::RawValue;

use super::json::scalar_at;
use crate::pointer::follow;

/// The rule for deliveries of one kind with equal bytes and no event id: whether they are the same event. Each variant
/// contains the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EqualBytes {
    /// They are the same event if the body has a text or a number at each of these JSON pointers, which together
    /// identify one event.
    SameEvent(&'static [&'static str], &'static str),
    /// They may be different events, since nothing in the body identifies one event.
    MayRecur(&'static str),
}

impl EqualBytes {
    /// Returns whether deliveries with exactly this body are of the same event.
    pub(crate) fn are_the_same_event(self, body: &[u8]) -> bool {
        let EqualBytes::SameEvent(pointers, _) = self else { return false };
        let Ok(body) = serde_json::from_slice::<&RawValue>(body) else { return false };
        let is_there = |pointer: &&str| scalar_at(follow(body, pointer)).is_some_and(|text| !text.is_empty());
        pointers.iter().all(is_there)
    }
}
