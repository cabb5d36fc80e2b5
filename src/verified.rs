//! The verified body.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::activity::SecretUse;
use crate::endpoint::EndpointFacts;
use crate::envelope::Mode;
use crate::generation::Generation;
use crate::scheme::{SignatureScope, Verification};
use crate::unsigned::UnsignedValues;

/// A verified body and the scope of its signature. Only verified bodies are parsed.
///
/// Only a [`Receiver`](crate::Receiver) creates it, from bytes that its scheme verified.
pub struct Verified<'h> {
    body: Bytes,
    verification: Verification<'h>,
    by: Arc<Generation>,
    /// The unsigned headers that options of the provider read, if there are such options.
    unsigned: Option<Box<UnsignedValues<'h>>>,
    /// The label of the secret that verified the delivery when it was stored. The secret may not be configured anymore.
    #[cfg(feature = "inbox")]
    stored_label: Option<&'h str>,
}

/// Shows that a body was opened as an inbox had sealed it, so that it was verified when it arrived. Only the inbox
/// implements it, for a type that only opening a stored event creates.
#[cfg(feature = "inbox")]
pub(crate) trait OpenedFromInbox {}

impl<'h> Verified<'h> {
    /// Joins a body with the result of its verification. This and `from_inbox` are the only constructors of a verified
    /// body.
    pub(crate) fn assertion(
        body: Bytes,
        verification: Verification<'h>,
        by: Arc<Generation>,
        unsigned: Option<Box<UnsignedValues<'h>>>,
    ) -> Self {
        Verified {
            body,
            verification,
            by,
            unsigned,
            #[cfg(feature = "inbox")]
            stored_label: None,
        }
    }

    /// Joins a body that this endpoint verified and stored with the result of that verification.
    #[cfg(feature = "inbox")]
    pub(crate) fn from_inbox(
        body: Bytes,
        verification: Verification<'h>,
        by: Arc<Generation>,
        unsigned: Option<Box<UnsignedValues<'h>>>,
        label: &'h str,
        _: &impl OpenedFromInbox,
    ) -> Self {
        Verified { body, verification, by, unsigned, stored_label: Some(label) }
    }

    /// Returns whether the body comes from an inbox.
    pub(crate) fn is_stored(&self) -> bool {
        #[cfg(feature = "inbox")]
        return self.stored_label.is_some();
        #[cfg(not(feature = "inbox"))]
        false
    }

    /// Returns the endpoint that verified the delivery.
    pub(crate) fn endpoint(&self) -> &Arc<EndpointFacts> {
        &self.by.endpoint
    }

    /// Returns the secrets and the handshakes of that endpoint that were current when the delivery arrived.
    pub(crate) fn generation(&self) -> &Arc<Generation> {
        &self.by
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
    pub fn secret_label(&self) -> &str {
        #[cfg(feature = "inbox")]
        if let Some(label) = self.stored_label {
            return label;
        }
        self.by.usage(self.verification.secret).map_or("", |usage| usage.label())
    }

    /// Returns the label and the record of use, to be kept longer than the secret. Those of a stored event belong to no
    /// secret.
    pub(crate) fn secret_use(&self) -> Arc<SecretUse> {
        #[cfg(feature = "inbox")]
        if let Some(label) = self.stored_label {
            return SecretUse::new(label.into());
        }
        self.by.usage(self.verification.secret).cloned().unwrap_or_default()
    }

    /// Returns the mode of the secret that verified the delivery, or `None` if it is valid for any mode.
    pub(crate) fn mode_of_secret(&self) -> Option<&Mode> {
        self.by.mode(self.verification.secret)
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

    /// Returns the time of the event in Unix seconds, if the headers sign it.
    pub(crate) fn event_time(&self) -> Option<i64> {
        self.verification.occurred_at
    }

    /// Returns the unsigned headers that options of the provider read. The sender, or a proxy, may have changed them.
    pub(crate) fn unsigned(&self) -> Option<&UnsignedValues<'h>> {
        self.unsigned.as_deref()
    }

    /// Returns the index of the secret that verified the delivery, in the order of configuration.
    #[cfg(test)]
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
