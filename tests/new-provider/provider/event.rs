//! Example Laboratory's events.

use crate::event::Undocumented;
use crate::payload::payload;
use crate::provider::EqualBytes;
use crate::{Phi, Time};

const BY_ID: EqualBytes = EqualBytes::SameEvent(&["/id"], "every event has an id");

crate::provider::events::events! { "examplelab":
    /// A result is ready.
    ResultReady(ResultReady) = "result.ready": BY_ID,
    /// A result was amended.
    ResultAmended(ResultReady) = "result.amended": BY_ID,
    /// A result was withdrawn.
    ResultWithdrawn(Undocumented) = "result.withdrawn": BY_ID,
}

payload! {
    /// A result.
    pub struct ResultReady {
        /// The sample's id.
        pub sample: Option<Phi<String>> = "sample",
        /// The measured value.
        pub value: Option<Phi<u64>> = "value",
        /// When it was measured.
        pub measured_at: Option<Time> = "measured_at",
    }
}
