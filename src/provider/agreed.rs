//! A scheme that the provider agrees on with each endpoint: an HMAC of the body or a shared secret, in any header.

use super::options::{OptionError, OptionName, ProviderOptions, SchemeChoice, needed};
use crate::error::ConfigError;
use crate::scheme::{Encoding, HmacSha256Body, SchemeConfig, SharedSecret};

/// The agreed scheme, and the first mistake in it.
#[derive(Debug, Clone)]
pub(super) struct AgreedScheme {
    scheme: HmacOrSecret,
    mistake: Option<String>,
}

#[derive(Debug, Clone)]
enum HmacOrSecret {
    Hmac(HmacSha256Body),
    Secret(SharedSecret),
}

impl AgreedScheme {
    pub(super) fn hmac_sha256(header: impl Into<String>) -> Self {
        AgreedScheme { scheme: HmacOrSecret::Hmac(HmacSha256Body::new(header)), mistake: None }
    }

    pub(super) fn shared_secret(header: impl Into<String>) -> Self {
        AgreedScheme { scheme: HmacOrSecret::Secret(SharedSecret::new(header)), mistake: None }
    }

    /// As the options say.
    pub(super) fn of(options: &ProviderOptions) -> Result<Self, OptionError> {
        let header = needed(OptionName::Header, options.header.as_ref())?;
        let mut scheme = match needed(OptionName::Scheme, options.scheme.as_ref())? {
            SchemeChoice::HmacSha256 => Self::hmac_sha256(header),
            SchemeChoice::SharedSecret => Self::shared_secret(header),
        };
        if let Some(prefix) = &options.prefix {
            scheme = scheme.prefix(prefix.as_str());
        }
        if let Some(encoding) = options.encoding {
            scheme = scheme.encoding(encoding);
        }
        Ok(scheme)
    }

    pub(super) fn encoding(self, encoding: Encoding) -> Self {
        self.of_hmac("encoding", |hmac| hmac.encoding(encoding))
    }

    pub(super) fn prefix(self, prefix: impl Into<String>) -> Self {
        self.of_hmac("prefix", |hmac| hmac.prefix(prefix))
    }

    fn of_hmac(mut self, what: &str, change: impl FnOnce(HmacSha256Body) -> HmacSha256Body) -> Self {
        match self.scheme {
            HmacOrSecret::Hmac(hmac) => {
                self.scheme = HmacOrSecret::Hmac(change(hmac));
                self
            }
            HmacOrSecret::Secret(_) => self.mistaken(format!("a shared secret has no {what}")),
        }
    }

    /// Remembers a mistake, to be told when the receiver is built. The first one counts.
    pub(super) fn mistaken(mut self, problem: String) -> Self {
        self.mistake.get_or_insert(problem);
        self
    }

    /// The scheme, or the mistake in it.
    pub(super) fn config(&self, provider: &str) -> Result<SchemeConfig, ConfigError> {
        if let Some(mistake) = &self.mistake {
            return Err(ConfigError::new(format!("provider {provider}: {mistake}")));
        }
        Ok(match &self.scheme {
            HmacOrSecret::Hmac(hmac) => hmac.clone().into(),
            HmacOrSecret::Secret(secret) => secret.clone().into(),
        })
    }
}
