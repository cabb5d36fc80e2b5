//! Schemes: how deliveries are authenticated.
//!
//! A scheme checks the headers first ([`begin`](SchemeVerifier::begin)), takes the body as it arrives
//! ([`push`](Check::push)) and compares at the end ([`finish`](Check::finish)). The set of schemes is closed. A
//! [`Verification`] is created in this module only, and a [`Verified`](crate::Verified) body requires one.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod challenge;
#[cfg(feature = "ed25519")]
mod ed25519;
mod encoding;
mod header;
mod keys;
#[cfg(test)]
pub(crate) mod rfc_4231;
mod shared_secret;
#[cfg(feature = "sign")]
mod sign;
mod signature;
mod standard_webhooks;
mod verification;

pub(crate) use self::challenge::ChallengeSafety;
pub use self::encoding::{Encoding, SecretEncoding};
pub use self::shared_secret::{SharedSecret, SharedSecretForm};
pub use self::signature::{
    Ed25519Body, HmacSha256Body, HmacSha512Body, SignatureAlgorithm, SignatureLayout, SignatureSettings,
    TimestampPlace, TimestampUnit, TimestampedHmac,
};
pub use self::standard_webhooks::StandardWebhooks;
pub use self::verification::SignatureScope;
pub(crate) use self::verification::Verification;

pub(crate) use self::header::{MOST_HEADERS, SignedHeaders};
#[cfg(feature = "sign")]
pub(crate) use self::keys::hmac_tag;
#[cfg(feature = "sign")]
pub(crate) use self::sign::SigningScheme;
#[cfg(all(feature = "ed25519", feature = "testing"))]
pub(crate) use self::sign::public_key;

use std::sync::Arc;

use http::HeaderName;

use self::keys::KeyUse;
use self::shared_secret::KeyedSharedSecret;
use self::signature::{KeyedSignature, SignatureCheck};
use self::standard_webhooks::{KeyedStandardWebhooks, StandardWebhooksCheck};
use crate::error::{ConfigError, Reason};
use crate::freshness::Freshness;
use crate::headers::{HeadFault, Headers};
use crate::secret::{Secret, Secrets};

/// The scheme of a [`Custom`](crate::Custom) provider. Converted from [`StandardWebhooks`], [`HmacSha256Body`],
/// [`HmacSha512Body`], [`TimestampedHmac`], [`Ed25519Body`] or [`SharedSecret`].
#[derive(Debug, Clone)]
pub struct SchemeConfig(pub(crate) Config);

/// A closed set of families: each has the code to verify and to sign in one module.
#[derive(Debug, Clone)]
pub(crate) enum Config {
    StandardWebhooks(StandardWebhooks),
    Signature(Box<SignatureSettings>),
    SharedSecret(SharedSecret),
}

impl From<StandardWebhooks> for SchemeConfig {
    fn from(config: StandardWebhooks) -> Self {
        SchemeConfig(Config::StandardWebhooks(config))
    }
}

impl From<SharedSecret> for SchemeConfig {
    fn from(config: SharedSecret) -> Self {
        SchemeConfig(Config::SharedSecret(config))
    }
}

impl From<SignatureSettings> for SchemeConfig {
    fn from(settings: SignatureSettings) -> Self {
        SchemeConfig(Config::Signature(Box::new(settings)))
    }
}

macro_rules! signature_schemes {
    ($($Scheme:ident)*) => {$(
        impl From<$Scheme> for SchemeConfig {
            fn from(scheme: $Scheme) -> Self {
                scheme.0.into()
            }
        }
    )*};
}
signature_schemes!(HmacSha256Body HmacSha512Body TimestampedHmac Ed25519Body);

impl SchemeConfig {
    /// Returns whether the scheme signs the time of an attempt.
    pub(crate) fn signs_attempt_time(&self) -> bool {
        match &self.0 {
            Config::StandardWebhooks(config) => !config.is_event_time(),
            Config::Signature(settings) => settings.signs_attempt_time(),
            Config::SharedSecret(_) => false,
        }
    }

    /// Returns whether the scheme signs the time of the event in a header.
    pub(crate) fn signs_event_time(&self) -> bool {
        match &self.0 {
            Config::StandardWebhooks(config) => config.is_event_time(),
            Config::Signature(settings) => settings.signs_event_time(),
            Config::SharedSecret(_) => false,
        }
    }

    /// Returns the freshness that fits the scheme. `None` for a time of the event, since how old it may be depends on
    /// its provider's retries.
    pub(crate) fn freshness(&self) -> Option<Freshness> {
        let own = match &self.0 {
            Config::Signature(settings) => settings.freshness,
            _ => None,
        };
        own.or_else(|| match (self.signs_attempt_time(), self.signs_event_time()) {
            (true, _) => Some(Freshness::STANDARD_WEBHOOKS),
            (false, true) => None,
            (false, false) => Some(Freshness::Unchecked),
        })
    }

    /// Returns whether two schemes differ in nothing but the secrets of further headers.
    pub(crate) fn is_same_but_for_secrets(&self, other: &SchemeConfig) -> bool {
        match (&self.0, &other.0) {
            (Config::StandardWebhooks(one), Config::StandardWebhooks(other)) => one == other,
            (Config::Signature(one), Config::Signature(other)) => one == other,
            (Config::SharedSecret(one), Config::SharedSecret(other)) => {
                one.form() == other.form() && one.headers().eq(other.headers())
            }
            _ => false,
        }
    }

    /// Returns the label and the likely mistake of each secret, those of further headers included, whose text suggests
    /// one.
    pub(crate) fn suspicious_secrets<'s>(
        &'s self,
        secrets: &'s Secrets,
    ) -> impl Iterator<Item = (&'s str, &'static str)> {
        let others = match &self.0 {
            Config::SharedSecret(SharedSecret { others, .. }) => others.as_slice(),
            _ => &[],
        };
        let all = std::iter::once(secrets).chain(others.iter().map(|(_, secrets)| secrets)).flat_map(Secrets::iter);
        all.filter_map(|secret| Some((secret.label(), self.mistake(secret)?)))
    }

    fn mistake(&self, secret: &Secret) -> Option<&'static str> {
        let own = match &self.0 {
            Config::StandardWebhooks(config) if config.key_encoding() == SecretEncoding::Base64 => {
                standard_webhooks::is_hex(secret.text()).then_some(
                    "is `whsec_` and hexadecimal digits, which are decoded as base64; copy the secret as the provider \
                     shows it",
                )
            }
            _ => None,
        };
        secret.warning().or_else(|| own.filter(|_| !secret.is_literal()))
    }

    /// Decodes the secrets as the scheme requires.
    pub(crate) fn with_secrets(&self, secrets: &Secrets) -> Result<SchemeVerifier, ConfigError> {
        Ok(match &self.0 {
            Config::StandardWebhooks(config) => {
                SchemeVerifier::StandardWebhooks(config.keyed(secrets, KeyUse::Verify)?)
            }
            Config::Signature(settings) => {
                SchemeVerifier::Signature(Box::new(settings.keyed(secrets, KeyUse::Verify)?))
            }
            Config::SharedSecret(config) => SchemeVerifier::SharedSecret(config.keyed(secrets)?),
        })
    }
}

/// A scheme and its keys.
pub(crate) enum SchemeVerifier {
    StandardWebhooks(KeyedStandardWebhooks),
    Signature(Box<KeyedSignature>),
    SharedSecret(KeyedSharedSecret),
}

impl SchemeVerifier {
    /// Checks the headers and rejects everything that can be rejected without reading the body.
    ///
    /// `found` are the first [`headers`](SchemeVerifier::headers); any further ones are looked up in `headers`.
    #[inline]
    pub(crate) fn begin<'a>(
        &self,
        found: &SignedHeaders<'a>,
        headers: &'a (impl Headers + ?Sized),
        freshness: Freshness,
        now: impl FnOnce() -> i64,
    ) -> Result<Check<'a>, HeadFault> {
        match self {
            SchemeVerifier::StandardWebhooks(scheme) => {
                scheme.begin(found, freshness, now).map(Check::StandardWebhooks)
            }
            SchemeVerifier::Signature(scheme) => scheme.begin(found, freshness, now).map(Check::Signature),
            SchemeVerifier::SharedSecret(scheme) => scheme.begin(found, headers).map(Check::Done),
        }
    }

    /// Returns the names of the headers that the scheme reads, at most [`MOST_HEADERS`] unless it is a shared secret.
    pub(crate) fn headers(&self) -> Vec<&HeaderName> {
        match self {
            SchemeVerifier::StandardWebhooks(scheme) => scheme.headers().iter().collect(),
            SchemeVerifier::Signature(scheme) => scheme.headers().collect(),
            SchemeVerifier::SharedSecret(scheme) => scheme.headers().collect(),
        }
    }

    /// Returns the labels of all secrets, in the order of their indexes.
    pub(crate) fn labels(&self) -> impl Iterator<Item = &Arc<str>> {
        (0..).map_while(|secret| self.label(secret))
    }

    /// Returns the label of a secret, or `None` if the index is beyond the last secret.
    pub(crate) fn label(&self, secret: usize) -> Option<&Arc<str>> {
        match self {
            SchemeVerifier::SharedSecret(scheme) => scheme.label(secret),
            SchemeVerifier::StandardWebhooks(scheme) => scheme.keys.label(secret),
            SchemeVerifier::Signature(scheme) => scheme.keys.label(secret),
        }
    }

    /// Returns whether the scheme signs the time of an attempt.
    pub(crate) fn signs_attempt_time(&self) -> bool {
        match self {
            SchemeVerifier::StandardWebhooks(scheme) => scheme.signs_attempt_time(),
            SchemeVerifier::Signature(scheme) => scheme.signs_attempt_time(),
            SchemeVerifier::SharedSecret(_) => false,
        }
    }

    /// Returns how many hashes of the body a delivery may need at most, as far as public keys need them.
    pub(crate) fn most_public_hashes(&self) -> usize {
        let public_keys = match self {
            SchemeVerifier::StandardWebhooks(scheme) => scheme.keys.public(),
            SchemeVerifier::Signature(scheme) => scheme.keys.public(),
            SchemeVerifier::SharedSecret(_) => 0,
        };
        public_keys.saturating_mul(header::most_ed25519(public_keys))
    }

    /// Returns the labels of the secrets that are short enough to be guessed.
    pub(crate) fn short_secrets(&self) -> Vec<&str> {
        match self {
            SchemeVerifier::StandardWebhooks(scheme) => scheme.keys.short(),
            SchemeVerifier::Signature(scheme) => scheme.keys.short(),
            SchemeVerifier::SharedSecret(scheme) => scheme.short(),
        }
    }
}

/// The check of one delivery, in progress. It borrows from the headers only: the scheme, which can be replaced while
/// the body arrives, is passed to each step, and must be the one that began the check.
pub(crate) enum Check<'a> {
    StandardWebhooks(StandardWebhooksCheck<'a>),
    Signature(SignatureCheck<'a>),
    /// The scheme needs no body: the headers have been verified.
    Done(Verification<'a>),
}

impl<'a> Check<'a> {
    /// Takes the next bytes of the body, except the last ones.
    pub(crate) fn push(&mut self, scheme: &SchemeVerifier, bytes: &[u8]) {
        match (self, scheme) {
            (Check::StandardWebhooks(check), SchemeVerifier::StandardWebhooks(scheme)) => check.push(scheme, bytes),
            (Check::Signature(check), SchemeVerifier::Signature(scheme)) => check.push(scheme, bytes),
            _ => {}
        }
    }

    /// Takes the last bytes of the body and compares the signatures.
    #[inline]
    pub(crate) fn finish(self, scheme: &SchemeVerifier, rest: &[u8]) -> Result<Verification<'a>, Reason> {
        match (self, scheme) {
            (Check::StandardWebhooks(check), SchemeVerifier::StandardWebhooks(scheme)) => check.finish(scheme, rest),
            (Check::Signature(check), SchemeVerifier::Signature(scheme)) => check.finish(scheme, rest),
            (Check::Done(verification), _) => Ok(verification),
            // Never: another scheme than the one that began the check.
            _ => Err(Reason::SignatureMismatch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;
    use crate::headers::{Found, HeaderProblem};

    const NEVER: fn() -> i64 = || panic!("the clock is not read by a scheme that signs no time");

    fn secrets() -> Secrets {
        let old = Secret::new("MDEyMzQ1Njc4OWFiY2RlZg==").unwrap().labeled("old").unwrap();
        Secrets::new(old).also(Secret::new("ZmVkY2JhOTg3NjU0MzIxMA==").unwrap().labeled("new").unwrap()).unwrap()
    }

    fn scheme(config: impl Into<SchemeConfig>) -> SchemeVerifier {
        config.into().with_secrets(&secrets()).unwrap()
    }

    fn begin<'h>(
        scheme: &SchemeVerifier,
        headers: &'h [(&str, &str)],
        freshness: Freshness,
        now: impl FnOnce() -> i64,
    ) -> Result<Check<'h>, HeadFault> {
        let mut found = [Found::Absent; MOST_HEADERS];
        for (name, found) in scheme.headers().into_iter().zip(&mut found) {
            *found = headers.find(name);
        }
        scheme.begin(&found, headers, freshness, now)
    }

    /// The signatures are from Python's `hmac.new(key, message, "sha256")`, with the second secret. For Standard
    /// Webhooks the key is the decoded text and the message `msg_1.1700000000.{}`; otherwise the key is the text and
    /// the message `{}`.
    #[test]
    fn a_verification_has_the_scope_and_the_secret_of_the_signature() {
        let standard = scheme(StandardWebhooks::new());
        let headers = [
            ("webhook-id", "msg_1"),
            ("webhook-timestamp", "1700000000"),
            ("webhook-signature", "v1,wTdLt8XCJKOQ0jtBkmOY3r3d59vrapVH4YnSlhoh0uE="),
        ];
        let begun = || begin(&standard, &headers, Freshness::STANDARD_WEBHOOKS, || 1_700_000_300).unwrap();
        signature_scope(&standard, begun, (SignatureScope::BodyAndTime, Some(b"msg_1"), Some(1_700_000_000)));
        assert!(standard.signs_attempt_time() && SchemeConfig::from(StandardWebhooks::new()).signs_attempt_time());
        let late = begin(&standard, &headers, Freshness::STANDARD_WEBHOOKS, || 1_700_000_301);
        assert_eq!(late.map(drop), Err(HeaderProblem::Old.of(&http::HeaderName::from_static("webhook-timestamp"))));

        let config = HmacSha256Body::new("x-signature");
        let body = scheme(config.clone());
        let headers = [("x-signature", "ad88b6588c240b661ff5890a7c0056c7a6c3d4a7bfd740351fe6563e424889e5")];
        let begun = || begin(&body, &headers, Freshness::Unchecked, NEVER).unwrap();
        signature_scope(&body, begun, (SignatureScope::Body, None, None));
        assert!(!body.signs_attempt_time() && !SchemeConfig::from(config).signs_attempt_time());

        let config = SharedSecret::new("x-key");
        let sender = scheme(config.clone());
        let headers = [("x-key", "ZmVkY2JhOTg3NjU0MzIxMA==")];
        let begun = || begin(&sender, &headers, Freshness::Unchecked, NEVER).unwrap();
        signature_scope(&sender, begun, (SignatureScope::SenderOnly, None, None));
        assert!(!sender.signs_attempt_time() && !SchemeConfig::from(config).signs_attempt_time());
    }

    /// Asserts the verification of the body `{}`, in one piece and in several, and that a scheme that signs the body
    /// rejects another one.
    fn signature_scope<'a>(
        scheme: &SchemeVerifier,
        begun: impl Fn() -> Check<'a>,
        (of, id, at): (SignatureScope, Option<&[u8]>, Option<i64>),
    ) {
        for (pieces, rest) in [(&[][..], "{}"), (&["{"][..], "}"), (&["{", "}"], ""), (&["", "{"], "}")] {
            let finished = |rest: &str| {
                let mut check = begun();
                pieces.iter().for_each(|piece| check.push(scheme, piece.as_bytes()));
                check.finish(scheme, rest.as_bytes())
            };
            let verification = finished(rest).unwrap();
            assert_eq!(
                (verification.signature_scope, verification.message_id, verification.attempted_at),
                (of, id, at),
                "{pieces:?}"
            );
            assert_eq!(
                (verification.secret, scheme.label(verification.secret).map(|label| &**label), scheme.label(2)),
                (1, Some("new"), None),
                "{pieces:?}"
            );
            let altered = finished(&format!("{rest} ")).map(|verification| verification.signature_scope);
            let expected = if of == SignatureScope::SenderOnly { Ok(of) } else { Err(Reason::SignatureMismatch) };
            assert_eq!(altered, expected, "{pieces:?}");
        }
    }

    #[test]
    fn a_public_key_is_not_the_key_of_an_hmac() {
        let secret = Secret::new("whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=").unwrap();
        let schemes: [SchemeConfig; 3] =
            [HmacSha256Body::new("x-sig").into(), HmacSha512Body::new("x-sig").into(), TimestampedHmac::terra().into()];
        for scheme in schemes {
            let error = scheme.with_secrets(&Secrets::new(secret.clone())).map(drop).unwrap_err().to_string();
            let expected =
                "secret secret: is the public key of a pair, which others may know; it is not the key of an HMAC";
            assert_eq!(error, expected);
            assert!(scheme.with_secrets(&Secrets::new(secret.clone().literal())).is_ok());
        }
    }

    /// The same MAC as above, and another one.
    #[test]
    fn a_list_is_genuine_if_one_of_its_signatures_is() {
        let scheme = scheme(HmacSha256Body::new("x-signature").separator(','));
        let genuine = "ad88b6588c240b661ff5890a7c0056c7a6c3d4a7bfd740351fe6563e424889e5";
        let other = genuine.replace('a', "b");
        for (list, is_genuine) in [
            (format!("{genuine},{other}"), true),
            (format!("{other},{genuine}"), true),
            (format!("{genuine},{genuine}"), true),
            (format!("{other},{other}"), false),
        ] {
            let headers = [("x-signature", &*list)];
            let check = begin(&scheme, &headers, Freshness::Unchecked, NEVER).unwrap();
            assert_eq!(check.finish(&scheme, b"{}").is_ok(), is_genuine, "{list}");
        }
    }

    #[test]
    fn a_list_has_at_most_32_entries() {
        let name = http::HeaderName::from_static("x-sig");
        let found = |config: SchemeConfig, list: &str| {
            let secrets = Secret::new("A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=").unwrap().into();
            begin(&config.with_secrets(&secrets).unwrap(), &[("x-sig", list)], Freshness::Unchecked, NEVER).map(drop)
        };
        let too_many = Err(HeaderProblem::TooManySignatures.of(&name));
        let short = format!("v={}", "0".repeat(64));
        let hmac = || HmacSha256Body::new("x-sig").prefix("v=").separator(',').into();
        assert_eq!(found(hmac(), &vec![&*short; 32].join(",")), Ok(()));
        assert_eq!(found(hmac(), &vec![&*short; 33].join(",")), too_many);
        assert_eq!(found(hmac(), &format!("{short}{}", ",a".repeat(31))), Ok(()));
        assert_eq!(found(hmac(), &format!("{short}{}", ",a".repeat(32))), too_many, "others count, too");
        #[cfg(feature = "ed25519")]
        {
            let long = format!("v={}", "0".repeat(128));
            let public = || Ed25519Body::new("x-sig").prefix("v=").separator(',').into();
            assert_eq!(found(public(), &vec![&*long; 16].join(",")), Ok(()));
            assert_eq!(found(public(), &vec![&*long; 17].join(",")), too_many, "each needs a hash of the body");
        }
    }

    #[test]
    fn a_time_outside_of_the_window_has_the_likely_cause() {
        let now = || 1_700_000_000;
        let problem = |unit, time: &str| {
            let scheme = scheme(TimestampedHmac::headers("x-sig", "x-time").timestamp_unit(unit));
            let (mac, name) = ("0".repeat(64), http::HeaderName::from_static("x-time"));
            let headers = [("x-sig", &*mac), ("x-time", time)];
            let fault = begin(&scheme, &headers, Freshness::STANDARD_WEBHOOKS, now).map(drop).unwrap_err();
            let (header, problem) = fault.header.unwrap();
            assert_eq!((header, fault.reason), (name, problem.reason()));
            problem
        };
        let (seconds, milliseconds) = (TimestampUnit::Seconds, TimestampUnit::Milliseconds);
        assert_eq!(problem(seconds, "1700000301"), HeaderProblem::Ahead);
        assert_eq!(problem(seconds, "1700000000000"), HeaderProblem::FinerUnit);
        assert_eq!(problem(seconds, "1699999699"), HeaderProblem::Old);
        assert_eq!(problem(milliseconds, "1700000301000"), HeaderProblem::Ahead);
        assert_eq!(problem(milliseconds, "1700000000000000"), HeaderProblem::Ahead);
        assert_eq!(problem(milliseconds, "1700000000"), HeaderProblem::CoarserUnit);
    }

    #[test]
    fn the_time_of_an_attempt_is_not_checked_as_the_time_of_its_event() {
        let attempt = TimestampedHmac::headers("x-sig", "x-time");
        let event = SchemeConfig::from(attempt.clone().timestamp_of_event());
        let attempt = SchemeConfig::from(attempt);
        assert!(attempt.signs_attempt_time() && !attempt.signs_event_time());
        assert!(!event.signs_attempt_time() && event.signs_event_time());
        let mac = "0".repeat(64);
        let headers = [("x-sig", &*mac), ("x-time", "1700000000")];
        let (max_age, max_skew) = (std::time::Duration::from_secs(60), std::time::Duration::from_secs(60));
        let (of_attempt, of_event) =
            (Freshness::AttemptTime { max_age, max_skew }, Freshness::EventTime { max_age, max_skew });
        for (config, freshness) in [(&attempt, of_event), (&event, of_attempt), (&attempt, Freshness::Unchecked)] {
            assert!(begin(&scheme(config.clone()), &headers, freshness, NEVER).is_ok());
        }
        for (config, freshness) in [(attempt, of_attempt), (event, of_event)] {
            let late = begin(&scheme(config), &headers, freshness, || 1_700_000_061).map(drop);
            assert_eq!(late.unwrap_err().reason, Reason::Stale);
        }
    }

    /// Otherwise a part of the id could be moved into the next signed part, under the same signature.
    #[test]
    fn a_signed_id_does_not_contain_the_character_that_follows_it() {
        let config = TimestampedHmac::headers("x-sig", "x-time").id_header("x-id").signed("{id}.{timestamp}.{body}");
        let scheme = scheme(config);
        let (mac, name) = ("0".repeat(64), http::HeaderName::from_static("x-id"));
        for (id, problem) in [
            ("msg_1", None),
            ("a.b", Some(HeaderProblem::Separator)),
            ("a b", Some(HeaderProblem::NotVisibleAscii)),
            ("", Some(HeaderProblem::Empty)),
        ] {
            let headers = [("x-sig", &*mac), ("x-time", "1700000000"), ("x-id", id)];
            let begun = begin(&scheme, &headers, Freshness::Unchecked, NEVER).map(drop);
            assert_eq!(begun.err(), problem.map(|problem| problem.of(&name)), "{id}");
            #[cfg(feature = "sign")]
            {
                let SchemeVerifier::Signature(keyed) = &scheme else { panic!("a signature") };
                assert_eq!(keyed.check_signed(id, 1_700_000_000).is_ok(), problem.is_none(), "{id}");
            }
        }
    }

    /// Between two yields, a receiver hashes as many bytes less as there may be hashes.
    #[test]
    #[cfg(feature = "ed25519")]
    fn only_signatures_under_public_keys_need_hashes_of_their_own() {
        let public = [
            "whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=",
            "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
            "whpk_PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=",
        ];
        let most = |config: SchemeConfig, texts: &[&str]| {
            let secrets: Vec<_> = texts.iter().map(|text| Secret::new(*text).unwrap()).collect();
            let first = Secrets::new(secrets[0].clone());
            let secrets = secrets.into_iter().skip(1).try_fold(first, Secrets::also).unwrap();
            config.with_secrets(&secrets).unwrap().most_public_hashes()
        };
        let [standard, signature]: [SchemeConfig; 2] =
            [StandardWebhooks::new().into(), Ed25519Body::new("x-sig").into()];
        for config in [standard.clone(), signature] {
            let found = [1, 2, 3].map(|count| most(config.clone(), &public[..count]));
            assert_eq!(found, [16, 32, 30]);
        }
        assert_eq!(most(standard, &["MDEyMzQ1Njc4OWFiY2RlZg==", public[0]]), 16);
        assert_eq!(most(HmacSha256Body::new("x-sig").into(), &["0123456789abcdef"]), 0);
        assert_eq!(most(SharedSecret::new("x-key").into(), &["0123456789abcdef"]), 0);
    }

    #[test]
    fn a_secret_in_another_encoding_is_an_error_that_names_the_configured_one() {
        let problem = |config: SchemeConfig| {
            config.with_secrets(&Secrets::new(Secret::new("hunter2!").unwrap())).map(drop).unwrap_err().to_string()
        };
        let hmac = |encoding| problem(HmacSha256Body::new("x-sig").secret_encoding(encoding).into());
        assert_eq!(hmac(SecretEncoding::Hex), "secret secret: not hexadecimal digits");
        assert_eq!(hmac(SecretEncoding::Base64), "secret secret: not base64");
        let standard = |encoding| problem(StandardWebhooks::new().secret_encoding(encoding).into());
        assert_eq!(standard(SecretEncoding::Hex), "secret secret: not hexadecimal digits, as configured");
        assert_eq!(
            standard(SecretEncoding::Base64),
            "secret secret: not base64; a Standard Webhooks secret is base64, with or without the prefix `whsec_`"
        );
    }

    #[test]
    fn short_secrets_are_listed_by_label() {
        // The texts have 15 and 16 bytes; decoded, they have 11 and 12.
        let short = Secret::new("MDEyMzQ1Njc4OWE").unwrap().labeled("short").unwrap();
        let long = Secret::new("MDEyMzQ1Njc4OWFi").unwrap().labeled("long").unwrap();
        let secrets = Secrets::new(short).also(long).unwrap();
        let named = |config: SchemeConfig| {
            let scheme = config.with_secrets(&secrets).unwrap();
            scheme.short_secrets().into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(named(StandardWebhooks::new().into()), ["short", "long"]);
        assert_eq!(named(HmacSha256Body::new("x-signature").into()), ["short"]);
        assert_eq!(named(SharedSecret::new("x-key").into()), ["short"]);
    }
}
