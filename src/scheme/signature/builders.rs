//! Schemes with a signature of the body, which is the value of one header.

use super::layout::SignatureLayout;
use super::settings::{SignatureAlgorithm, SignatureSettings};
use crate::{Encoding, SecretEncoding};

macro_rules! body_schemes {
    ($($(#[$doc:meta])* $Scheme:ident, $secret:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $Scheme(pub(in crate::scheme) SignatureSettings);

        impl $Scheme {
            /// Creates the scheme for a signature in this header.
            pub fn new(header: impl Into<String>) -> Self {
                $Scheme(SignatureSettings::of_body(SignatureAlgorithm::$Scheme, header.into()))
            }

            /// Sets the text that must precede each signature exactly. The default is none.
            #[must_use]
            pub fn prefix(mut self, text: impl Into<String>) -> Self {
                if let SignatureLayout::Value { prefix, .. } = &mut self.0.layout {
                    *prefix = text.into();
                }
                self
            }

            /// Accepts several signatures in the header, separated by this character, for example while the sender
            /// replaces its key. Each has the prefix, and one of them must be valid. At most 32 are accepted.
            #[must_use]
            pub fn separator(mut self, character: char) -> Self {
                if let SignatureLayout::Value { separator, .. } = &mut self.0.layout {
                    *separator = Some(character);
                }
                self
            }

            /// Sets the encoding of a signature. The default is [`Encoding::Either`].
            #[must_use]
            pub fn encoding(mut self, encoding: Encoding) -> Self {
                self.0.encoding = encoding;
                self
            }

            #[doc = concat!("Sets the encoding of the key in the secret. The default is ", $secret, ".")]
            #[must_use]
            pub fn secret_encoding(mut self, encoding: SecretEncoding) -> Self {
                self.0.secret_encoding = encoding;
                self
            }
        }
    )*};
}

impl SignatureAlgorithm {
    #[allow(non_upper_case_globals, reason = "named as the scheme, for the macro")]
    const HmacSha256Body: Self = SignatureAlgorithm::HmacSha256;
    #[allow(non_upper_case_globals, reason = "as above")]
    const HmacSha512Body: Self = SignatureAlgorithm::HmacSha512;
    #[allow(non_upper_case_globals, reason = "as above")]
    const Ed25519Body: Self = SignatureAlgorithm::Ed25519;
}

body_schemes! {
    /// A scheme with the HMAC-SHA256 of the raw body in a header. The key is the UTF-8 bytes of the secret.
    ///
    /// ```
    /// use medhook::{Encoding, HmacSha256Body};
    ///
    /// let scheme = HmacSha256Body::new("x-acme-signature");
    /// let scheme = scheme.prefix("sha256=").encoding(Encoding::Hex);
    /// ```
    HmacSha256Body, "[`SecretEncoding::Text`]";

    /// A scheme with the HMAC-SHA512 of the raw body in a header. The key is the UTF-8 bytes of the secret.
    ///
    /// ```
    /// use medhook::{Encoding, HmacSha512Body};
    ///
    /// let scheme = HmacSha512Body::new("x-acme-signature").encoding(Encoding::Base64Url);
    /// ```
    HmacSha512Body, "[`SecretEncoding::Text`]";

    /// A scheme with the Ed25519 signature of the raw body in a header, under a key pair of the sender (feature
    /// `ed25519`). The secret is the sender's public key: 32 bytes in base64, with or without the prefix `whpk_`, or
    /// what stands between the first and the last line of a PEM file.
    ///
    /// ```
    /// use medhook::Ed25519Body;
    ///
    /// // Elation Health signs like this.
    /// let scheme = Ed25519Body::new("El8-Ed25519-Signature");
    /// ```
    Ed25519Body, "[`SecretEncoding::Base64`]";
}
