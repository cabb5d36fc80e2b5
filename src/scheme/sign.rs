//! Signing with each scheme, by the same keys and MACs that verify.

use std::sync::Arc;

use http::HeaderName;
use zeroize::Zeroizing;

use super::standard_webhooks::is_message_id;
use super::{Config, SchemeConfig, hmac_sha256, standard_webhooks};
use crate::{ConfigError, Secret, Secrets};

/// A scheme and its signing secret.
#[derive(Clone)]
pub(crate) enum SigningScheme {
    StandardWebhooks(Arc<standard_webhooks::KeyedStandardWebhooks>),
    HmacSha256Body(Arc<hmac_sha256::KeyedHmacSha256Body>),
    SharedSecret(Vec<(HeaderName, Secret)>),
}

/// A header and its value, which can be the secret itself.
pub(crate) type SignedHeader = (HeaderName, Zeroizing<String>);

impl SigningScheme {
    pub(crate) fn new(config: &SchemeConfig, secret: &Secret) -> Result<Self, ConfigError> {
        let secrets = Secrets::new(secret.clone());
        Ok(match &config.0 {
            Config::StandardWebhooks(config) => SigningScheme::StandardWebhooks(Arc::new(config.keyed(&secrets)?)),
            Config::HmacSha256Body(config) => SigningScheme::HmacSha256Body(Arc::new(config.keyed(&secrets)?)),
            Config::SharedSecret(config) => {
                let keyed = config.keyed(&secrets)?;
                let names = keyed.header_names().cloned();
                SigningScheme::SharedSecret(names.zip(config.signing_secrets(&secrets).cloned()).collect())
            }
        })
    }

    /// Returns an error if the scheme signs the id and the timestamp and its receivers reject one of them as malformed.
    pub(crate) fn check(&self, id: &str, timestamp: i64) -> Result<(), ConfigError> {
        if !matches!(self, SigningScheme::StandardWebhooks(_)) {
            return Ok(());
        }
        if !is_message_id(id) {
            return Err(ConfigError::new("message id must be 1 to 4096 visible ASCII characters without a `.`"));
        }
        if timestamp < 0 {
            return Err(ConfigError::new("timestamp must not be before 1970"));
        }
        Ok(())
    }

    /// Signs a text other than a message. Returns `None` if the scheme is not Standard Webhooks.
    pub(crate) fn sign_text(&self, text: &[u8]) -> Option<String> {
        match self {
            SigningScheme::StandardWebhooks(keyed) => keyed.sign_text(text),
            SigningScheme::HmacSha256Body(_) | SigningScheme::SharedSecret(_) => None,
        }
    }

    /// Returns whether a list of signatures has one of this text.
    pub(crate) fn has_signed_text(&self, text: &[u8], signatures: &[u8]) -> bool {
        match self {
            SigningScheme::StandardWebhooks(keyed) => keyed.has_signed_text(text, signatures),
            SigningScheme::HmacSha256Body(_) | SigningScheme::SharedSecret(_) => false,
        }
    }

    /// Signs a body and returns the headers. `id` and `timestamp` are not checked, and are ignored if the scheme does
    /// not sign them.
    pub(crate) fn headers(&self, id: &str, timestamp: &str, body: &[u8]) -> Vec<SignedHeader> {
        match self {
            SigningScheme::StandardWebhooks(keyed) => {
                keyed.sign(id, timestamp, body).into_iter().flatten().map(zeroizing).collect()
            }
            SigningScheme::HmacSha256Body(keyed) => keyed.sign(body).into_iter().map(zeroizing).collect(),
            SigningScheme::SharedSecret(headers) => {
                headers.iter().map(|(name, secret)| zeroizing((name.clone(), secret.text().to_owned()))).collect()
            }
        }
    }
}

fn zeroizing((name, value): (HeaderName, String)) -> SignedHeader {
    (name, Zeroizing::new(value))
}
