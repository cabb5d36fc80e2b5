//! The kind of a secret: a shared key, or a key of a pair.

use medhook::testing::Signing;
use medhook::{Secret, SignatureAlgorithm};

/// Returns whether a secret is a key of a pair in this scheme.
pub(crate) fn is_ed25519(signing: &Signing, secret: &Secret) -> bool {
    match signing {
        Signing::Signature(settings) => settings.algorithm == SignatureAlgorithm::Ed25519,
        Signing::StandardWebhooks(_) => ["whsk_", "whpk_"].iter().any(|key| secret.expose_secret().starts_with(key)),
        _ => false,
    }
}

/// Returns whether a secret is the public key of a pair in this scheme.
pub(crate) fn is_public_key(signing: &Signing, secret: &Secret) -> bool {
    is_ed25519(signing, secret) && !secret.expose_secret().starts_with("whsk_")
}
