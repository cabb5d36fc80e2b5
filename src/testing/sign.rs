//! What the providers do on their side: signing.

use base64ct::{Base64, Encoding as _};

use crate::provider::{healthsync, mediquo};
use crate::scheme::{decode_secret, hmac_tag};
use crate::{ConfigError, Encoding, Secret};

/// HMAC-SHA256 over parts in a row, for those who look for what a sender signed.
#[must_use]
pub fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    hmac_tag(key, parts)
}

/// How a provider signs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signing {
    /// Standard Webhooks, version 1.
    StandardWebhooks,
    /// HMAC-SHA256 over the body, in a header.
    HmacSha256Body {
        /// The header.
        header: String,
        /// What stands before the MAC.
        prefix: String,
        /// How the MAC is written; hex where either will do.
        encoding: Encoding,
    },
    /// The secret itself, in a header.
    SharedSecret {
        /// The header.
        header: String,
    },
}

impl Signing {
    /// HMAC-SHA256 over the body, in hex, in this header.
    #[must_use]
    pub fn hmac_sha256(header: impl Into<String>) -> Self {
        Signing::HmacSha256Body { header: header.into(), prefix: String::new(), encoding: Encoding::Hex }
    }

    /// The secret itself, in this header.
    #[must_use]
    pub fn shared_secret(header: impl Into<String>) -> Self {
        Signing::SharedSecret { header: header.into() }
    }

    /// HealthSync's way.
    #[must_use]
    pub fn healthsync() -> Self {
        Signing::HmacSha256Body {
            header: healthsync::SIGNATURE.to_owned(),
            prefix: healthsync::PREFIX.to_owned(),
            encoding: Encoding::Hex,
        }
    }

    /// MediQuo's way, unless another header was agreed upon.
    #[must_use]
    pub fn mediquo() -> Self {
        Signing::SharedSecret { header: mediquo::SIGNATURE.to_owned() }
    }

    /// The same with a [`Secret`], whose text nobody else gets to see.
    ///
    /// # Errors
    /// A secret that the scheme cannot read.
    pub fn headers_with(
        &self,
        secret: &Secret,
        id: &str,
        timestamp: &str,
        body: &[u8],
    ) -> Result<Vec<(String, String)>, ConfigError> {
        self.headers(secret.text(), id, timestamp, body)
    }

    /// The headers that prove a body. `id` and `timestamp` are used where the scheme signs them, as they are.
    ///
    /// # Errors
    /// A secret that the scheme cannot read.
    pub fn headers(
        &self,
        secret: &str,
        id: &str,
        timestamp: &str,
        body: &[u8],
    ) -> Result<Vec<(String, String)>, ConfigError> {
        Ok(match self {
            Signing::StandardWebhooks => {
                let key = decode_secret(secret).map_err(ConfigError::new)?;
                let tag = hmac_tag(&key, &[id.as_bytes(), b".", timestamp.as_bytes(), b".", body]);
                vec![
                    ("webhook-id".to_owned(), id.to_owned()),
                    ("webhook-timestamp".to_owned(), timestamp.to_owned()),
                    ("webhook-signature".to_owned(), format!("v1,{}", Base64::encode_string(&tag))),
                ]
            }
            Signing::HmacSha256Body { header, prefix, encoding } => {
                let tag = hmac_tag(secret.as_bytes(), &[body]);
                let text = match encoding {
                    Encoding::Base64 => Base64::encode_string(&tag),
                    Encoding::Hex | Encoding::Either => tag.iter().map(|byte| format!("{byte:02x}")).collect(),
                };
                vec![(header.clone(), format!("{prefix}{text}"))]
            }
            Signing::SharedSecret { header } => vec![(header.clone(), secret.to_owned())],
        })
    }
}
