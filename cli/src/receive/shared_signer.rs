//! The signer of forwarded events, whose secret can be replaced.

use std::sync::{Arc, PoisonError, RwLock};

use medhook::sign::Signer;

/// The signer of an endpoint's forwarded events. Clones share it, and see its replacement.
#[derive(Debug, Clone)]
pub(super) struct SharedSigner(Arc<RwLock<Signer>>);

impl SharedSigner {
    pub(super) fn new(signer: Signer) -> Self {
        SharedSigner(Arc::new(RwLock::new(signer)))
    }

    /// Returns the signer with the current secret.
    pub(super) fn current(&self) -> Signer {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn replace(&self, signer: Signer) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = signer;
    }
}
