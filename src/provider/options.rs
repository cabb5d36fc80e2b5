//! The provider options of an endpoint's configuration.

use std::fmt;

use crate::scheme::Encoding;
use crate::secret::Secrets;

/// The provider-specific options of an endpoint, as set in configuration files and on command lines. All are absent by
/// default.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ProviderOptions {
    /// The secrets that verify deliveries.
    pub secrets: Option<Secrets>,
    /// The secrets of the test mode, with or without those of the live mode.
    pub test_secrets: Option<Secrets>,
    /// The mode of `secrets`. By default live.
    pub mode: Option<SecretMode>,
    /// The scheme of deliveries.
    pub scheme: Option<SchemeChoice>,
    /// The header with the signature or the shared secret.
    pub header: Option<String>,
    /// The text that precedes a MAC.
    pub prefix: Option<String>,
    /// The encoding of a MAC. By default hex and base64 are both accepted.
    pub encoding: Option<Encoding>,
    /// The name of the kind that the endpoint's URL is configured for.
    pub pin_kind: Option<String>,
    /// A second header that must contain one of `also_secrets`.
    pub also_header: Option<String>,
    /// The secrets of the second header.
    pub also_secrets: Option<Secrets>,
}

impl ProviderOptions {
    /// Creates options with these secrets only.
    #[must_use]
    pub fn new(secrets: impl Into<Secrets>) -> Self {
        ProviderOptions { secrets: Some(secrets.into()), ..ProviderOptions::default() }
    }

    /// Returns the names of the options that are present.
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

/// Returns a required option.
pub(super) fn required<T: Clone>(option: OptionName, value: Option<&T>) -> Result<T, OptionError> {
    value.cloned().ok_or_else(|| OptionError::new(option, "is required"))
}

/// The mode of a secret.
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

/// The scheme of deliveries, for providers whose scheme is configured per endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SchemeChoice {
    /// HMAC-SHA256 over the body.
    HmacSha256,
    /// A shared secret, verbatim in a header.
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

    /// Returns the name as a configuration key.
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

/// The error for an option that is missing or that the provider does not accept. It quotes no secret and no header.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{option}` {problem}")]
#[non_exhaustive]
pub struct OptionError {
    /// The option.
    pub option: OptionName,
    /// The problem, such as "is required".
    pub problem: String,
}

crate::error::debug_as_message!(OptionError);

impl OptionError {
    pub(super) fn new(option: OptionName, problem: impl Into<String>) -> Self {
        OptionError { option, problem: problem.into() }
    }
}
