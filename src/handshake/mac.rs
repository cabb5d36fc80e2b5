//! The key of a handshake that is answered with a MAC.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::error::ConfigError;
use crate::scheme::SchemeVerifier;
use crate::secret::Secrets;

/// The key of the MACs.
pub(super) enum MacKey {
    /// The first key of the scheme.
    OfScheme,
    /// The text of the first secret. A shared secret is no key of its scheme, which only compares digests.
    Text(Box<Hmac<Sha256>>),
}

impl MacKey {
    pub(super) fn of_text(secrets: &Secrets) -> Result<Self, ConfigError> {
        let text = secrets.iter().next().map_or("", |secret| secret.text());
        let mac = Hmac::new_from_slice(text.as_bytes());
        let mac = mac.map_err(|error| ConfigError::new("the secret is not an HMAC key").with_source(error))?;
        Ok(MacKey::Text(Box::new(mac)))
    }

    /// Returns the MAC of a challenge in lower-case hexadecimal digits, or `None` if the scheme has no key for it.
    pub(super) fn answer(&self, scheme: &SchemeVerifier, challenge: &str) -> Option<String> {
        match self {
            MacKey::OfScheme => scheme.answer_challenge(challenge.as_bytes()),
            MacKey::Text(mac) => {
                let mut mac = mac.clone();
                mac.update(challenge.as_bytes());
                let mut hex = [0; 64];
                base16ct::lower::encode_str(&mac.finalize().into_bytes(), &mut hex).ok().map(str::to_owned)
            }
        }
    }
}
