//! A generation of secrets: those that an endpoint accepts at a time.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::sync::Arc;

use crate::endpoint::EndpointFacts;
use crate::envelope::Mode;
use crate::scheme::SchemeVerifier;

/// The secrets that an endpoint accepts at a time, ready to verify with.
///
/// A delivery is verified with the generation with which its check began, also if the secrets are replaced meanwhile. A
/// generation is dropped, and its keys with it, once the last check with it has ended.
pub(crate) struct Generation {
    pub(crate) endpoint: Arc<EndpointFacts>,
    pub(crate) scheme: SchemeVerifier,
    /// The mode of each secret, in the order of their indexes. `None` if a secret is valid for any mode.
    modes: Box<[Option<Mode>]>,
}

impl Generation {
    /// Creates a generation. `mode` returns the mode of the secret with an index.
    pub(crate) fn new<'m>(
        endpoint: Arc<EndpointFacts>,
        scheme: SchemeVerifier,
        mode: impl Fn(usize) -> Option<&'m Mode>,
    ) -> Self {
        let modes = (0..).zip(scheme.labels()).map(|(secret, _)| mode(secret).cloned()).collect();
        Generation { endpoint, scheme, modes }
    }

    /// Returns the label of a secret, by its index.
    pub(crate) fn label(&self, secret: usize) -> Option<&Arc<str>> {
        self.scheme.label(secret)
    }

    /// Returns the mode of the secret with this index, or `None` if it is valid for any mode.
    pub(crate) fn mode(&self, secret: usize) -> Option<&Mode> {
        self.modes.get(secret).and_then(Option::as_ref)
    }
}
