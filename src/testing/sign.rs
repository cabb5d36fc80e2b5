//! The schemes of the providers, for samples and test cases: [`sign`](crate::sign) with text as its input.

use crate::scheme::Config;
use crate::sign::Signer;
use crate::{ConfigError, Encoding, HmacSha256Body, SchemeConfig, Secret, SharedSecret, StandardWebhooks};

/// The signing scheme of a sample. To sign in production, use [`sign::Signer`](Signer), which also accepts a `Signing`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signing {
    /// Standard Webhooks, version 1.
    StandardWebhooks,
    /// HMAC-SHA256 over the body, in a header.
    HmacSha256Body {
        /// The header.
        header: String,
        /// The text that precedes the MAC.
        prefix: String,
        /// The encoding of the MAC. `Either` signs in hex.
        encoding: Encoding,
    },
    /// The secret itself, in a header.
    SharedSecret {
        /// The header.
        header: String,
    },
}

impl Signing {
    /// Creates the scheme HMAC-SHA256 over the body, as hex in this header.
    #[must_use]
    pub fn hmac_sha256(header: impl Into<String>) -> Self {
        Signing::HmacSha256Body { header: header.into(), prefix: String::new(), encoding: Encoding::Hex }
    }

    /// Creates the scheme with the secret itself in this header.
    #[must_use]
    pub fn shared_secret(header: impl Into<String>) -> Self {
        Signing::SharedSecret { header: header.into() }
    }

    /// Returns the headers that sign a body, as text. `id` and `timestamp` are used if the scheme signs them. For
    /// negative tests, both may be malformed, and the secret may be one that receivers reject.
    ///
    /// # Errors
    /// Returns an error if the scheme cannot use the secret or the header.
    pub fn headers(
        &self,
        secret: &str,
        id: &str,
        timestamp: &str,
        body: &[u8],
    ) -> Result<Vec<(String, String)>, ConfigError> {
        Ok(Signer::new(self, &Secret::unchecked(secret))?.sign_unchecked(id, timestamp, body))
    }
}

impl From<&Signing> for SchemeConfig {
    fn from(signing: &Signing) -> Self {
        match signing {
            Signing::StandardWebhooks => StandardWebhooks::new().into(),
            Signing::HmacSha256Body { header, prefix, encoding } => {
                HmacSha256Body::new(header).prefix(prefix).encoding(*encoding).into()
            }
            Signing::SharedSecret { header } => SharedSecret::new(header).into(),
        }
    }
}

/// Takes the first encoding that the receiver accepts, and omits the secrets of further headers.
impl From<&SchemeConfig> for Signing {
    fn from(scheme: &SchemeConfig) -> Self {
        match &scheme.0 {
            Config::StandardWebhooks(_) => Signing::StandardWebhooks,
            Config::HmacSha256Body(HmacSha256Body { header, prefix, encoding }) => {
                Signing::HmacSha256Body { header: header.clone(), prefix: prefix.clone(), encoding: *encoding }
            }
            Config::SharedSecret(SharedSecret { header, .. }) => Signing::SharedSecret { header: header.clone() },
        }
    }
}
