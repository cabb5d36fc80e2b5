//! The way in which a scheme derives its keys from the texts of secrets.

use medhook::testing::Signing;
use medhook::{SecretEncoding, SignatureAlgorithm};

use crate::verify::case::Case;
use crate::verify::encodings::{base64, hex};

/// The way in which a scheme derives its keys from the texts of secrets.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyForm {
    /// Whether it is Standard Webhooks, whose secrets may begin with `whsec_`.
    pub(super) standard: bool,
    pub(super) encoding: SecretEncoding,
    pub(super) algorithm: SignatureAlgorithm,
    /// Whether the scheme is that of a custom provider, so that its options can be set.
    pub(super) custom: bool,
    /// Whether a timestamp is signed as well.
    pub(super) timed: bool,
}

impl KeyForm {
    pub(super) fn of(case: &Case<'_>) -> Self {
        let algorithm = match case.signing {
            Signing::Signature(settings) => settings.algorithm,
            _ => SignatureAlgorithm::HmacSha256,
        };
        let custom = case.endpoint.custom.is_some();
        KeyForm {
            standard: case.is_standard(),
            encoding: case.secret_encoding(),
            algorithm,
            custom,
            timed: case.unit().is_some(),
        }
    }

    /// Returns what to set, for a custom provider.
    pub(super) fn option(self, option: impl FnOnce() -> String) -> String {
        if self.custom { format!(": set {}", option()) } else { String::new() }
    }

    pub(super) fn is_text(self) -> bool {
        self.encoding == SecretEncoding::Text
    }

    /// Continues the words "secret NAME must".
    pub(super) fn must(self) -> &'static str {
        match self.encoding {
            SecretEncoding::Text => "be used as text",
            SecretEncoding::Hex => "be decoded as hexadecimal",
            _ => "be decoded as base64",
        }
    }

    /// Returns the key that the scheme derives from a secret's text.
    pub(super) fn correct(self, text: &str) -> Option<Vec<u8>> {
        let removes_whsec = self.encoding == SecretEncoding::Base64 || (self.standard && !self.is_text());
        let bare = if removes_whsec { bare(text) } else { text };
        let key = match self.encoding {
            _ if self.standard && is_of_pair(text) => None,
            SecretEncoding::Text => Some(text.into()),
            SecretEncoding::Hex => hex(bare),
            _ => base64(bare),
        };
        key.filter(|key| !key.is_empty())
    }
}

/// Returns the text of a secret without `whsec_`.
pub(super) fn bare(text: &str) -> &str {
    text.strip_prefix("whsec_").unwrap_or(text)
}

/// Returns whether a secret of Standard Webhooks is a key of a pair.
pub(super) fn is_of_pair(text: &str) -> bool {
    text.starts_with("whpk_") || text.starts_with("whsk_")
}
