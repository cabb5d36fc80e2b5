//! The verified body.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::endpoint::EndpointFacts;
use crate::scheme::{SignatureScope, Verification};

/// A verified body and the scope of its signature. Only verified bodies are parsed.
///
/// Only a [`Receiver`](crate::Receiver) creates it, from bytes that its scheme verified.
pub struct Verified<'h> {
    body: Bytes,
    verification: Verification<'h>,
    by: &'h Arc<EndpointFacts>,
}

impl<'h> Verified<'h> {
    /// Joins a body with the result of its verification. This is the only constructor of a verified body.
    pub(crate) fn assertion(body: Bytes, verification: Verification<'h>, by: &'h Arc<EndpointFacts>) -> Self {
        Verified { body, verification, by }
    }

    /// Returns the endpoint that verified the delivery.
    pub(crate) fn endpoint(&self) -> &'h Arc<EndpointFacts> {
        self.by
    }

    /// Returns the verified bytes.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Returns what the signature covers.
    #[must_use]
    pub fn signature_scope(&self) -> SignatureScope {
        self.verification.signature_scope
    }

    /// Returns the label of the secret that verified the delivery.
    #[must_use]
    pub fn secret_label(&self) -> &'h str {
        self.by.secret_label(self.verification.secret)
    }

    /// Returns the id of the message, if the scheme signs one.
    #[must_use]
    pub fn message_id(&self) -> Option<&'h str> {
        self.verification.message_id.and_then(|id| str::from_utf8(id).ok())
    }

    /// Returns the time of this attempt in Unix seconds, if the scheme signs it.
    #[must_use]
    pub fn attempted_at(&self) -> Option<i64> {
        self.verification.attempted_at
    }

    /// Returns the index of the secret that verified the delivery, in the order of configuration.
    pub(crate) fn secret_index(&self) -> usize {
        self.verification.secret
    }

    pub(crate) fn into_body(self) -> Bytes {
        self.body
    }
}

impl fmt::Debug for Verified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified")
            .field("signature_scope", &self.verification.signature_scope)
            .field("secret", &self.secret_label())
            .field("body_len", &self.body.len())
            .finish_non_exhaustive()
    }
}
