//! The scheme of providers that let each endpoint choose it: an HMAC of the body or a shared secret, in any header.

use super::options::{OptionError, OptionName, ProviderOptions, SchemeChoice, required};
use crate::error::ConfigError;
use crate::scheme::{Encoding, HmacSha256Body, SchemeConfig, SharedSecret};

/// The scheme of an endpoint, and its first configuration error.
#[derive(Debug, Clone)]
pub(super) struct AgreedScheme {
    scheme: HmacOrSecret,
    error: Option<String>,
}

#[derive(Debug, Clone)]
enum HmacOrSecret {
    Hmac(HmacSha256Body),
    Secret(SharedSecret),
}

impl AgreedScheme {
    pub(super) fn hmac_sha256(header: impl Into<String>) -> Self {
        AgreedScheme { scheme: HmacOrSecret::Hmac(HmacSha256Body::new(header)), error: None }
    }

    pub(super) fn shared_secret(header: impl Into<String>) -> Self {
        AgreedScheme { scheme: HmacOrSecret::Secret(SharedSecret::new(header)), error: None }
    }

    /// Creates the scheme that the options describe.
    pub(super) fn of(options: &ProviderOptions) -> Result<Self, OptionError> {
        let header = required(OptionName::Header, options.header.as_ref())?;
        let mut scheme = match required(OptionName::Scheme, options.scheme.as_ref())? {
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

    fn of_hmac(mut self, option: &str, change: impl FnOnce(HmacSha256Body) -> HmacSha256Body) -> Self {
        match self.scheme {
            HmacOrSecret::Hmac(hmac) => {
                self.scheme = HmacOrSecret::Hmac(change(hmac));
                self
            }
            HmacOrSecret::Secret(_) => self.with_error(format!("{option} does not apply to a shared secret")),
        }
    }

    /// Records an error, which building the receiver reports. Only the first one is kept.
    pub(super) fn with_error(mut self, problem: String) -> Self {
        self.error.get_or_insert(problem);
        self
    }

    /// Returns the scheme, or the recorded error.
    pub(super) fn config(&self, provider: &str) -> Result<SchemeConfig, ConfigError> {
        if let Some(error) = &self.error {
            return Err(ConfigError::new(format!("provider {provider}: {error}")));
        }
        Ok(match &self.scheme {
            HmacOrSecret::Hmac(hmac) => hmac.clone().into(),
            HmacOrSecret::Secret(secret) => secret.clone().into(),
        })
    }
}
