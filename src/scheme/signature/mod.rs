//! Signatures in a header, over a template of the timestamp, an id and the body.
//!
//! [`HmacSha256Body`], [`HmacSha512Body`], [`TimestampedHmac`] and [`Ed25519Body`] are builders of one configuration,
//! [`SignatureSettings`], which [`keyed`](self::keyed) verifies and signs with. A further family of this kind is a
//! builder with other constants.

mod base64_body;
mod builders;
mod keyed;
mod layout;
mod settings;
mod template;
#[cfg(test)]
mod tests;
mod timestamp;
mod timestamped_hmac;

pub use self::builders::{Ed25519Body, HmacSha256Body, HmacSha512Body};
pub(crate) use self::keyed::{KeyedSignature, SignatureCheck};
pub use self::layout::SignatureLayout;
#[cfg(feature = "ed25519")]
pub(in crate::scheme) use self::settings::ed25519_key;
pub use self::settings::{SignatureAlgorithm, SignatureSettings, TimestampPlace};
pub(in crate::scheme) use self::template::is_challenge_byte;
pub use self::timestamp::TimestampUnit;
pub(in crate::scheme) use self::timestamp::canonical_integer;
pub use self::timestamped_hmac::TimestampedHmac;
