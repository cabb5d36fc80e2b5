//! The words for schemes and their options, the same in a config file and in arguments.

use clap::ValueEnum;
use medhook::{Encoding, SecretEncoding, TimestampUnit};

/// The scheme that authenticates deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemeName {
    /// Standard Webhooks (custom)
    StandardWebhooks,
    /// HMAC-SHA256 of the body
    HmacSha256,
    /// HMAC-SHA512 of the body (custom)
    HmacSha512,
    /// HMAC of a timestamp and the body (custom)
    TimestampedHmac,
    /// Ed25519 signature of the body (custom)
    Ed25519,
    /// The secret itself, sent in the header
    SharedSecret,
}

impl SchemeName {
    /// Returns the options that apply to the scheme.
    pub(super) fn keys(self) -> &'static [&'static str] {
        match self {
            SchemeName::StandardWebhooks => &["header_prefix", "secret_encoding", "timestamp_of"],
            SchemeName::HmacSha256 | SchemeName::HmacSha512 | SchemeName::Ed25519 => {
                &["header", "prefix", "encoding", "separator", "secret_encoding"]
            }
            SchemeName::TimestampedHmac => &[
                "header",
                "prefix",
                "encoding",
                "separator",
                "secret_encoding",
                "timestamp_of",
                "preset",
                "timestamp_element",
                "signature_element",
                "timestamp_header",
                "timestamp_unit",
                "signed",
                "hash",
                "id_header",
            ],
            SchemeName::SharedSecret => &["header", "form", "username"],
        }
    }
}

/// The encoding of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SignatureEncoding {
    Hex,
    Base64,
    #[value(name = "base64url")]
    Base64Url,
    /// Hex or base64 (the default)
    Either,
}

impl From<SignatureEncoding> for Encoding {
    fn from(word: SignatureEncoding) -> Self {
        match word {
            SignatureEncoding::Hex => Encoding::Hex,
            SignatureEncoding::Base64 => Encoding::Base64,
            SignatureEncoding::Base64Url => Encoding::Base64Url,
            SignatureEncoding::Either => Encoding::Either,
        }
    }
}

/// The encoding of a key in its secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyEncoding {
    /// The characters of the secret are the key
    Text,
    Base64,
    Hex,
}

impl From<KeyEncoding> for SecretEncoding {
    fn from(word: KeyEncoding) -> Self {
        match word {
            KeyEncoding::Text => SecretEncoding::Text,
            KeyEncoding::Base64 => SecretEncoding::Base64,
            KeyEncoding::Hex => SecretEncoding::Hex,
        }
    }
}

/// The event whose time is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TimestampOf {
    /// Each attempt has its own time (the default)
    Attempt,
    /// The time of the event, the same for all attempts
    Event,
}

/// The form of a signed timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum UnitName {
    /// Unix seconds (the default)
    Seconds,
    /// Unix milliseconds
    Milliseconds,
    /// A date and time such as 2026-01-01T00:00:00Z
    #[value(name = "rfc-3339")]
    Rfc3339,
}

impl From<UnitName> for TimestampUnit {
    fn from(word: UnitName) -> Self {
        match word {
            UnitName::Seconds => TimestampUnit::Seconds,
            UnitName::Milliseconds => TimestampUnit::Milliseconds,
            UnitName::Rfc3339 => TimestampUnit::Rfc3339,
        }
    }
}

/// The hash of an HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum HashName {
    /// The default
    #[value(name = "sha-256")]
    Sha256,
    #[value(name = "sha-512")]
    Sha512,
}

/// The form of a shared secret in the header `Authorization`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AuthorizationForm {
    /// A bearer token
    Bearer,
    /// The password of Basic authentication
    Basic,
}

/// Returns the word for a value.
pub(super) fn word<T: ValueEnum>(value: T) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}
