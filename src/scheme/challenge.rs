//! MACs of challenges, which some providers ask for in a handshake.
//!
//! An endpoint that answers a challenge with its MAC signs what any client chose. This is only safe if no challenge can
//! be a message that the same secret signs for a delivery. A challenge has 1 to 64 characters of `A-Za-z0-9_-`.

use http::HeaderName;

use super::header::header_name;
use super::signature::{SignatureAlgorithm, SignatureSettings};
use super::{Config, SchemeConfig, SchemeVerifier};
use crate::error::ConfigError;

/// Whether an endpoint may answer challenges with a MAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChallengeSafety {
    /// No challenge can be a signed message.
    Safe,
    /// No challenge can be a signed message if each body must begin with `{` or `[`
    /// ([`requiring_json`](SchemeConfig::requiring_json)).
    SafeIfJson,
    /// The scheme has no HMAC-SHA256 key.
    NoKey,
    /// A challenge could be a signed message.
    Unsafe,
}

/// Returns whether a text is a challenge that may be answered with a MAC.
pub(crate) fn is_challenge(text: &[u8]) -> bool {
    (1..=64).contains(&text.len()) && text.iter().all(|byte| super::signature::is_challenge_byte(*byte))
}

impl SchemeConfig {
    /// Returns whether an endpoint with this scheme may answer challenges with a MAC.
    pub(crate) fn challenge_safety(&self) -> ChallengeSafety {
        match &self.0 {
            // A signed message contains dots.
            Config::StandardWebhooks(_) => ChallengeSafety::Safe,
            // A delivery contains the secret, not a MAC under it.
            Config::SharedSecret(_) => ChallengeSafety::Safe,
            Config::Signature(settings) => settings.challenge_safety(),
        }
    }

    /// Returns whether the scheme compares the secrets themselves.
    pub(crate) fn is_shared_secret(&self) -> bool {
        matches!(self.0, Config::SharedSecret(_))
    }

    /// Returns the headers that the scheme reads.
    pub(crate) fn signature_headers(&self) -> Result<Vec<HeaderName>, ConfigError> {
        match &self.0 {
            Config::StandardWebhooks(config) => config.header_names().iter().map(|name| header_name(name)).collect(),
            Config::Signature(settings) => settings.headers().map(header_name).collect(),
            Config::SharedSecret(config) => config.headers().map(header_name).collect(),
        }
    }

    /// Requires each body to begin with `{` or `[`.
    pub(crate) fn requiring_json(mut self) -> Self {
        if let Config::Signature(settings) = &mut self.0 {
            settings.needs_json = true;
        }
        self
    }
}

impl SignatureSettings {
    /// Returns whether receivers that answer challenges with a MAC require each body to begin with `{` or `[`: only
    /// the body differs from a challenge.
    #[must_use]
    pub fn needs_json_with_challenges(&self) -> bool {
        self.challenge_safety() == ChallengeSafety::SafeIfJson
    }

    fn challenge_safety(&self) -> ChallengeSafety {
        if self.algorithm != SignatureAlgorithm::HmacSha256 {
            return ChallengeSafety::NoKey;
        }
        match self.message_differs_from_challenges() {
            Some(true) => ChallengeSafety::Safe,
            Some(false) => ChallengeSafety::SafeIfJson,
            None => ChallengeSafety::Unsafe,
        }
    }
}

impl SchemeVerifier {
    /// Returns the HMAC-SHA256 of a challenge under the first key in lower hex, or `None` if the text is no challenge
    /// or the first key is of another kind. A shared secret is no key.
    pub(crate) fn answer_challenge(&self, challenge: &[u8]) -> Option<String> {
        if !is_challenge(challenge) {
            return None;
        }
        let mac = match self {
            SchemeVerifier::StandardWebhooks(scheme) => scheme.challenge_mac(challenge),
            SchemeVerifier::Signature(scheme) => scheme.challenge_mac(challenge),
            SchemeVerifier::SharedSecret(_) => None,
        };
        Some(base16ct::lower::encode_string(&mac?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HmacSha256Body, HmacSha512Body, Secret, SharedSecret, StandardWebhooks, TimestampedHmac};

    #[test]
    fn only_challenges_are_answered_with_a_mac() {
        let secrets = Secret::new("MDEyMzQ1Njc4OWFiY2RlZg==").unwrap().into();
        let keyed = |config: SchemeConfig| config.with_secrets(&secrets).unwrap();
        let (longest, too_long) = ("a".repeat(64), "a".repeat(65));
        let shared = keyed(SharedSecret::new("x-key").into());
        for scheme in [keyed(StandardWebhooks::new().into()), keyed(HmacSha256Body::new("x-mac").into())] {
            for challenge in ["a", "A-_9", &longest] {
                assert_eq!(scheme.answer_challenge(challenge.as_bytes()).map(|mac| mac.len()), Some(64), "{challenge}");
                assert_eq!(shared.answer_challenge(challenge.as_bytes()), None, "a shared secret is no key");
            }
            for text in ["", &*too_long, "a.b", "a b", "{}", "\u{e4}"] {
                assert_eq!(scheme.answer_challenge(text.as_bytes()), None, "{text:?}");
            }
        }
    }

    #[test]
    fn json_is_required_only_where_nothing_but_the_body_differs_from_a_challenge() {
        let needs_json = |config: SchemeConfig| match config.0 {
            Config::Signature(settings) => settings.needs_json_with_challenges(),
            _ => panic!("a signature"),
        };
        assert!(needs_json(HmacSha256Body::new("x-mac").into()));
        assert!(!needs_json(TimestampedHmac::terra().into()), "it signs a dot");
        assert!(!needs_json(HmacSha512Body::new("x-mac").into()), "it has no key for challenges");
    }

    #[test]
    fn a_challenge_is_safe_if_no_signed_message_has_its_characters_alone() {
        let of_body = || SchemeConfig::from(HmacSha256Body::new("x-mac"));
        assert_eq!(of_body().challenge_safety(), ChallengeSafety::SafeIfJson);
        assert_eq!(of_body().requiring_json().challenge_safety(), ChallengeSafety::Safe);
        let signed = |template: &str| SchemeConfig::from(TimestampedHmac::headers("x-mac", "x-time").signed(template));
        for (template, safety) in [
            ("{timestamp}.{body}", ChallengeSafety::Safe),
            ("{body}.{timestamp}", ChallengeSafety::Safe),
            ("{timestamp}-{body}", ChallengeSafety::SafeIfJson),
            ("a_{timestamp}-{body}", ChallengeSafety::SafeIfJson),
            // Bodies must begin with `{` or `[` in any case.
            ("{timestamp}{body}", ChallengeSafety::Safe),
            ("{timestamp}.{body_base64}", ChallengeSafety::Safe),
            ("{timestamp}-{body_base64}", ChallengeSafety::Unsafe),
            ("{timestamp}{body_base64}", ChallengeSafety::Unsafe),
        ] {
            assert_eq!(signed(template).challenge_safety(), safety, "{template}");
        }
    }
}
