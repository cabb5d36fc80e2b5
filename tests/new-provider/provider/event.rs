//! Example Laboratory's events.

use crate::event::Undocumented;
use crate::payload::payload;
use crate::{Phi, Time};

crate::provider::events::events! { "examplelab":
    /// A result is ready.
    ResultReady(ResultReady) = "result.ready",
    /// A result was amended.
    ResultAmended(ResultReady) = "result.amended",
    /// A result was withdrawn.
    ResultWithdrawn(Undocumented) = "result.withdrawn",
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
