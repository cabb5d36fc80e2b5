//! Signing with each scheme, by the same keys and MACs that verify.

use std::sync::Arc;

use http::HeaderName;
use zeroize::Zeroizing;

#[cfg(all(feature = "ed25519", feature = "testing"))]
use super::ed25519::PrivateKey;
#[cfg(all(feature = "ed25519", feature = "testing"))]
use super::encoding::SecretEncoding;
#[cfg(all(feature = "ed25519", feature = "testing"))]
use super::keys::KeyMaterial;
use super::keys::KeyUse;
use super::shared_secret::SharedSecretForm;
use super::signature::KeyedSignature;
#[cfg(all(feature = "ed25519", feature = "testing"))]
use super::signature::{SignatureAlgorithm, ed25519_key};
#[cfg(all(feature = "ed25519", feature = "testing"))]
use super::standard_webhooks::is_of_pair;
use super::standard_webhooks::{KeyedStandardWebhooks, is_message_id};
use super::{Config, SchemeConfig};
use crate::{ConfigError, Secret, Secrets};

/// A scheme and its signing secret.
#[derive(Clone)]
pub(crate) enum SigningScheme {
    StandardWebhooks(Arc<KeyedStandardWebhooks>),
    Signature(Arc<KeyedSignature>),
    SharedSecret(Vec<(HeaderName, SharedSecretForm, Secret)>),
}

/// A header and its value, which can be the secret itself.
pub(crate) type SignedHeader = (HeaderName, Zeroizing<String>);

impl SigningScheme {
    pub(crate) fn new(config: &SchemeConfig, secret: &Secret) -> Result<Self, ConfigError> {
        let secrets = Secrets::new(secret.clone());
        Ok(match &config.0 {
            Config::StandardWebhooks(config) => {
                SigningScheme::StandardWebhooks(Arc::new(config.keyed(&secrets, KeyUse::Sign)?))
            }
            Config::Signature(settings) => SigningScheme::Signature(Arc::new(settings.keyed(&secrets, KeyUse::Sign)?)),
            Config::SharedSecret(config) => {
                let keyed = config.keyed(&secrets)?;
                let forms = std::iter::once(config.form()).chain(std::iter::repeat(&SharedSecretForm::Verbatim));
                let headers = keyed.headers().zip(forms).zip(config.signing_secrets(&secrets));
                SigningScheme::SharedSecret(
                    headers.map(|((name, form), secret)| (name.clone(), form.clone(), secret.clone())).collect(),
                )
            }
        })
    }

    /// Returns an error if the scheme signs the id and the timestamp and its receivers reject one of them as malformed.
    pub(crate) fn check(&self, id: &str, timestamp: i64) -> Result<(), ConfigError> {
        match self {
            SigningScheme::SharedSecret(_) => return Ok(()),
            SigningScheme::Signature(keyed) => return keyed.check_signed(id, timestamp),
            SigningScheme::StandardWebhooks(_) => {}
        }
        if !is_message_id(id) {
            return Err(ConfigError::new("message id must be 1 to 4096 visible ASCII characters without a `.`"));
        }
        if timestamp < 0 {
            return Err(ConfigError::new("timestamp must not be before 1970"));
        }
        Ok(())
    }

    /// Returns the text of a time in the form that the scheme signs.
    pub(crate) fn timestamp_text(&self, seconds: i64) -> String {
        match self {
            SigningScheme::Signature(keyed) => keyed.timestamp_text(seconds),
            SigningScheme::StandardWebhooks(_) | SigningScheme::SharedSecret(_) => seconds.to_string(),
        }
    }

    /// Signs a text other than a message. Returns `None` if the scheme is not Standard Webhooks.
    pub(crate) fn sign_text(&self, text: &[u8]) -> Option<String> {
        match self {
            SigningScheme::StandardWebhooks(keyed) => keyed.sign_text(text),
            SigningScheme::Signature(_) | SigningScheme::SharedSecret(_) => None,
        }
    }

    /// Returns whether a list of signatures has one of this text.
    pub(crate) fn has_signed_text(&self, text: &[u8], signatures: &[u8]) -> bool {
        match self {
            SigningScheme::StandardWebhooks(keyed) => keyed.has_signed_text(text, signatures),
            SigningScheme::Signature(_) | SigningScheme::SharedSecret(_) => false,
        }
    }

    /// Signs a body and returns the headers. `id` and `timestamp` are not checked, and are ignored if the scheme does
    /// not sign them.
    pub(crate) fn headers(&self, id: &str, timestamp: &str, body: &[u8]) -> Vec<SignedHeader> {
        match self {
            SigningScheme::StandardWebhooks(keyed) => {
                keyed.sign(id, timestamp, body).into_iter().flatten().map(zeroizing).collect()
            }
            SigningScheme::Signature(keyed) => {
                keyed.sign(id, timestamp, body).into_iter().flatten().map(zeroizing).collect()
            }
            SigningScheme::SharedSecret(headers) => {
                headers.iter().map(|(name, form, secret)| (name.clone(), form.value(secret.text()))).collect()
            }
        }
    }
}

/// Returns the text of the public key, `whpk_` and base64, if a scheme takes this secret for an Ed25519 private key.
#[cfg(all(feature = "ed25519", feature = "testing"))]
pub(crate) fn public_key(scheme: &SchemeConfig, secret: &str) -> Option<String> {
    use base64ct::Encoding as _;

    let signs_with_pairs = match &scheme.0 {
        // Any other text is the key of an HMAC, also the base64 of a PKCS #8 file.
        Config::StandardWebhooks(_) => is_of_pair(secret),
        Config::Signature(settings) => settings.algorithm == SignatureAlgorithm::Ed25519,
        Config::SharedSecret(_) => false,
    };
    let KeyMaterial::PrivateKey(seed) =
        ed25519_key(SecretEncoding::Base64, secret).ok().filter(|_| signs_with_pairs)?
    else {
        return None;
    };
    Some(format!("whpk_{}", base64ct::Base64::encode_string(&PrivateKey::new(&seed).public())))
}

fn zeroizing((name, value): (HeaderName, String)) -> SignedHeader {
    (name, Zeroizing::new(value))
}
