//! The schemes of the providers, for samples and test cases: [`sign`](crate::sign) with text as its input.

use crate::scheme::Config;
use crate::sign::Signer;
use crate::{
    ConfigError, Encoding, Freshness, HmacSha256Body, SchemeConfig, Secret, SharedSecret, SharedSecretForm,
    SignatureSettings, StandardWebhooks,
};

/// The signing scheme of a sample. To sign in production, use [`sign::Signer`](Signer), which also accepts a `Signing`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signing {
    /// Standard Webhooks.
    StandardWebhooks(StandardWebhooks),
    /// A signature in a header.
    Signature(Box<SignatureSettings>),
    /// The secret itself, in a header.
    SharedSecret {
        /// The header.
        header: String,
        /// The form of the secret.
        form: SharedSecretForm,
    },
}

impl Signing {
    /// Creates the signing scheme of a receiver's scheme.
    #[must_use]
    pub fn of(scheme: impl Into<SchemeConfig>) -> Self {
        Signing::from(&scheme.into())
    }

    /// Creates Standard Webhooks, version 1.
    #[must_use]
    pub fn standard_webhooks() -> Self {
        Signing::of(StandardWebhooks::new())
    }

    /// Creates the scheme HMAC-SHA256 over the body, as hex in this header.
    #[must_use]
    pub fn hmac_sha256(header: impl Into<String>) -> Self {
        Signing::of(HmacSha256Body::new(header).encoding(Encoding::Hex))
    }

    /// Creates the scheme with the secret itself in this header.
    #[must_use]
    pub fn shared_secret(header: impl Into<String>) -> Self {
        Signing::of(SharedSecret::new(header))
    }

    /// Returns the name of the header with the signatures or the secret.
    #[must_use]
    pub fn header(&self) -> String {
        match self {
            Signing::StandardWebhooks(scheme) => format!("{}signature", scheme.prefix()),
            Signing::Signature(settings) => settings.header.clone(),
            Signing::SharedSecret { header, .. } => header.clone(),
        }
    }

    /// Returns the names of all headers of the scheme, except further shared secrets.
    #[must_use]
    pub fn header_names(&self) -> Vec<String> {
        match self {
            Signing::StandardWebhooks(scheme) => scheme.header_names().to_vec(),
            Signing::Signature(settings) => settings.headers().map(str::to_owned).collect(),
            Signing::SharedSecret { header, .. } => vec![header.clone()],
        }
    }

    /// Returns whether the scheme signs a timestamp in the headers.
    #[must_use]
    pub fn signs_time(&self) -> bool {
        match self {
            Signing::StandardWebhooks(_) => true,
            Signing::Signature(settings) => settings.timestamp.is_some(),
            Signing::SharedSecret { .. } => false,
        }
    }

    /// Returns whether the scheme signs an id in the headers.
    #[must_use]
    pub fn signs_id(&self) -> bool {
        match self {
            Signing::StandardWebhooks(_) => true,
            Signing::Signature(settings) => settings.id_header.is_some(),
            Signing::SharedSecret { .. } => false,
        }
    }

    /// Returns the freshness that receivers have by default. `None` if the endpoint must set one.
    #[must_use]
    pub fn freshness(&self) -> Option<Freshness> {
        SchemeConfig::from(self).freshness()
    }

    /// Returns a time as the scheme signs it: in its unit, or in seconds.
    #[must_use]
    pub fn timestamp_text(&self, seconds: i64) -> String {
        match self {
            Signing::Signature(settings) => settings.unit.write(seconds),
            Signing::StandardWebhooks(_) | Signing::SharedSecret { .. } => seconds.to_string(),
        }
    }

    /// Returns `msg_` and this id, as a signed id: a character that ends a signed id becomes `_`.
    #[must_use]
    pub fn message_id(&self, id: &str) -> String {
        let after = match self {
            Signing::StandardWebhooks(_) => Some('.'),
            Signing::Signature(settings) => {
                settings.signed.split_once("{id}").and_then(|(_, after)| after.chars().next())
            }
            Signing::SharedSecret { .. } => None,
        };
        let id = format!("msg_{id}");
        after.map_or_else(|| id.clone(), |after| id.replace(after, if after == '_' { "-" } else { "_" }))
    }

    /// Returns the secret with which receivers verify what this one signs: the public key, `whpk_` and base64, of an
    /// Ed25519 private key, `whsk_` and base64, and otherwise the same text.
    ///
    /// ```
    /// use medhook::{StandardWebhooks, testing::Signing};
    ///
    /// let signing = Signing::of(StandardWebhooks::new());
    /// let shared = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    /// assert_eq!(signing.receiver_secret(shared), shared);
    /// # #[cfg(feature = "ed25519")]
    /// assert_eq!(
    ///     signing.receiver_secret("whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
    ///     "whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="
    /// );
    /// ```
    #[must_use]
    pub fn receiver_secret(&self, secret: &str) -> String {
        #[cfg(feature = "ed25519")]
        if let Some(public) = crate::scheme::public_key(&self.into(), secret) {
            return public;
        }
        secret.to_owned()
    }

    /// Makes the names of headers lower case.
    pub fn make_headers_lowercase(&mut self) {
        match self {
            Signing::StandardWebhooks(scheme) => {
                *scheme = scheme.clone().header_prefix(scheme.prefix().to_ascii_lowercase())
            }
            Signing::Signature(settings) => settings.make_headers_lowercase(),
            Signing::SharedSecret { header, .. } => header.make_ascii_lowercase(),
        }
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
            Signing::StandardWebhooks(scheme) => scheme.clone().into(),
            Signing::Signature(settings) => (**settings).clone().into(),
            Signing::SharedSecret { header, form } => SharedSecret::in_form(header, form.clone()).into(),
        }
    }
}

impl From<&SchemeConfig> for Signing {
    fn from(scheme: &SchemeConfig) -> Self {
        match &scheme.0 {
            Config::StandardWebhooks(scheme) => Signing::StandardWebhooks(scheme.clone()),
            Config::Signature(settings) => Signing::Signature(settings.clone()),
            Config::SharedSecret(SharedSecret { header, form, .. }) => {
                Signing::SharedSecret { header: header.clone(), form: form.clone() }
            }
        }
    }
}
