//! The comparisons with a secret that a client of an endpoint can cause. `tests/constant-time` counts each of them.

use crate::handshake::{Handshake, HandshakeForm};
use crate::scheme::{Config, SchemeConfig, SharedSecretForm, SignatureAlgorithm};

macro_rules! comparisons {
    ($($(#[$doc:meta])* $Variant:ident,)*) => {
        /// A way in which a client's text is compared with a secret. It is exhaustive on purpose: the matches over it
        /// no longer compile when a scheme is added, until its instructions are counted.
        #[doc(hidden)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Comparison { $($(#[$doc])* $Variant,)* }

        impl Comparison {
            /// All of them.
            pub const ALL: &'static [Comparison] = &[$(Comparison::$Variant,)*];
        }
    };
}

comparisons! {
    /// MACs of Standard Webhooks.
    StandardWebhooks,
    /// HMAC-SHA256 in a header.
    HmacSha256,
    /// HMAC-SHA512 in a header.
    HmacSha512,
    /// Ed25519, which compares nothing with a secret.
    Ed25519,
    /// A shared secret that is the value of its header.
    Verbatim,
    /// Shared secrets in several headers.
    SeveralHeaders,
    /// A bearer token.
    Bearer,
    /// The user name and password of Basic authentication.
    Basic,
    /// The token of a handshake.
    HandshakeToken,
}

impl Comparison {
    /// Returns the comparison of a scheme.
    #[must_use]
    pub fn of(scheme: &SchemeConfig) -> Self {
        match &scheme.0 {
            Config::StandardWebhooks(_) => Comparison::StandardWebhooks,
            Config::Signature(settings) => match settings.algorithm {
                SignatureAlgorithm::HmacSha256 => Comparison::HmacSha256,
                SignatureAlgorithm::HmacSha512 => Comparison::HmacSha512,
                SignatureAlgorithm::Ed25519 => Comparison::Ed25519,
            },
            Config::SharedSecret(config) if !config.others.is_empty() => Comparison::SeveralHeaders,
            Config::SharedSecret(config) => match &config.form {
                SharedSecretForm::Verbatim => Comparison::Verbatim,
                SharedSecretForm::Bearer => Comparison::Bearer,
                SharedSecretForm::Basic { .. } => Comparison::Basic,
            },
        }
    }

    /// Returns the comparison of a handshake. `None` if it compares nothing with a secret but what its scheme compares.
    #[must_use]
    pub fn of_handshake(handshake: &Handshake) -> Option<Self> {
        match &handshake.0 {
            HandshakeForm::Echo { .. } => Some(Comparison::HandshakeToken),
            // The ping is in a verified body; the MAC is an answer; the header of an unsigned ping is no secret.
            HandshakeForm::PingPong { .. }
            | HandshakeForm::Hmac { .. }
            | HandshakeForm::Head
            | HandshakeForm::UnsignedPing { .. } => None,
        }
    }
}
