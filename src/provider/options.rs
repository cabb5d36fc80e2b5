//! What an endpoint's configuration says about its provider, before it is a provider.

use std::fmt;

use crate::scheme::Encoding;
use crate::secret::Secrets;

/// The options of an endpoint that depend on its provider, as configuration files and command lines give them. All are
/// absent by default.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ProviderOptions {
    /// The secrets that verify its deliveries.
    pub secrets: Option<Secrets>,
    /// Secrets of the test mode, beside those of the live mode or alone.
    pub test_secrets: Option<Secrets>,
    /// Which mode `secrets` are for. By default the live mode.
    pub mode: Option<SecretMode>,
    /// How deliveries are signed.
    pub scheme: Option<SchemeChoice>,
    /// The header with the signature or the shared secret.
    pub header: Option<String>,
    /// Text before a MAC.
    pub prefix: Option<String>,
    /// How a MAC is written. By default hex or base64.
    pub encoding: Option<Encoding>,
    /// The name of the kind that the endpoint's URL is configured for.
    pub pin_kind: Option<String>,
    /// A second header that must hold one of `also_secrets`.
    pub also_header: Option<String>,
    /// The second header's secrets.
    pub also_secrets: Option<Secrets>,
}

impl ProviderOptions {
    /// Options with these secrets and nothing else.
    #[must_use]
    pub fn new(secrets: impl Into<Secrets>) -> Self {
        ProviderOptions { secrets: Some(secrets.into()), ..ProviderOptions::default() }
    }

    /// The options that are present.
    pub(super) fn given(&self) -> impl Iterator<Item = OptionName> {
        OptionName::ALL.iter().copied().filter(|name| self.has(*name))
    }

    fn has(&self, name: OptionName) -> bool {
        match name {
            OptionName::Secrets => self.secrets.is_some(),
            OptionName::TestSecrets => self.test_secrets.is_some(),
            OptionName::Mode => self.mode.is_some(),
            OptionName::Scheme => self.scheme.is_some(),
            OptionName::Header => self.header.is_some(),
            OptionName::Prefix => self.prefix.is_some(),
            OptionName::Encoding => self.encoding.is_some(),
            OptionName::PinKind => self.pin_kind.is_some(),
            OptionName::AlsoHeader => self.also_header.is_some(),
            OptionName::AlsoSecrets => self.also_secrets.is_some(),
        }
    }
}

/// Reads an option that is needed here.
pub(super) fn needed<T: Clone>(option: OptionName, value: Option<&T>) -> Result<T, OptionError> {
    value.cloned().ok_or_else(|| OptionError::new(option, "is needed"))
}

/// The mode that secrets are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SecretMode {
    /// Live events.
    Live,
    /// Test events.
    Test,
    /// Events of either mode.
    Any,
}

/// How deliveries are signed, where the provider agrees on it with each endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SchemeChoice {
    /// HMAC-SHA256 over the body.
    HmacSha256,
    /// The secret itself, in a header.
    SharedSecret,
}

/// The name of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OptionName {
    /// `secrets`
    Secrets,
    /// `test_secrets`
    TestSecrets,
    /// `mode`
    Mode,
    /// `scheme`
    Scheme,
    /// `header`
    Header,
    /// `prefix`
    Prefix,
    /// `encoding`
    Encoding,
    /// `pin_kind`
    PinKind,
    /// `also_header`
    AlsoHeader,
    /// `also_secrets`
    AlsoSecrets,
}

impl OptionName {
    /// Every option.
    pub const ALL: &'static [OptionName] = &[
        OptionName::Secrets,
        OptionName::TestSecrets,
        OptionName::Mode,
        OptionName::Scheme,
        OptionName::Header,
        OptionName::Prefix,
        OptionName::Encoding,
        OptionName::PinKind,
        OptionName::AlsoHeader,
        OptionName::AlsoSecrets,
    ];

    /// The name as a configuration key.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            OptionName::Secrets => "secrets",
            OptionName::TestSecrets => "test_secrets",
            OptionName::Mode => "mode",
            OptionName::Scheme => "scheme",
            OptionName::Header => "header",
            OptionName::Prefix => "prefix",
            OptionName::Encoding => "encoding",
            OptionName::PinKind => "pin_kind",
            OptionName::AlsoHeader => "also_header",
            OptionName::AlsoSecrets => "also_secrets",
        }
    }
}

impl fmt::Display for OptionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An option that is missing, or that the provider cannot use. Quotes no secret and no header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{option}` {problem}")]
#[non_exhaustive]
pub struct OptionError {
    /// The option.
    pub option: OptionName,
    /// What is wrong with it, such as "is needed".
    pub problem: String,
}

impl OptionError {
    pub(super) fn new(option: OptionName, problem: impl Into<String>) -> Self {
        OptionError { option, problem: problem.into() }
    }
}
