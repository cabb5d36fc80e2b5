//! One scheme of each family and layout, for tests.

use crate::{
    Encoding, HmacSha256Body, HmacSha512Body, SchemeConfig, Secret, SecretEncoding, SharedSecret, StandardWebhooks,
    TimestampUnit, TimestampedHmac,
};

/// Returns schemes whose secret is any text that is base64.
pub(crate) fn schemes() -> Vec<SchemeConfig> {
    let further = Secret::new("the second header's secret").unwrap();
    let mac = || HmacSha256Body::new("X-Mac");
    let long = || HmacSha512Body::new("X-Mac");
    let elements = || TimestampedHmac::elements("X-Mac", "t", "v1");
    let headers = || TimestampedHmac::headers("X-Mac", "X-Time");
    vec![
        StandardWebhooks::new().into(),
        StandardWebhooks::new().header_prefix("svix-").into(),
        StandardWebhooks::new().secret_encoding(SecretEncoding::Text).into(),
        mac().into(),
        mac().prefix("sha256=").encoding(Encoding::Hex).into(),
        mac().prefix("v1 ").encoding(Encoding::Base64).into(),
        mac().prefix("sha256=").separator(',').encoding(Encoding::Base64Url).into(),
        mac().secret_encoding(SecretEncoding::Base64).into(),
        long().into(),
        long().prefix("sha512=").encoding(Encoding::Base64Url).into(),
        elements().into(),
        elements().timestamp_unit(TimestampUnit::Milliseconds).sha512().encoding(Encoding::Base64).into(),
        TimestampedHmac::elements("X-Mac", "t", "").timestamp_unit(TimestampUnit::Rfc3339).into(),
        headers().prefix("v0=").signed("v0:{timestamp}:{body}").separator(',').into(),
        headers().signed("{timestamp}.{body_base64}").timestamp_unit(TimestampUnit::Rfc3339).into(),
        headers().id_header("X-Id").signed("{id}.{timestamp}.{body}").into(),
        TimestampedHmac::terra().into(),
        TimestampedHmac::whoop().into(),
        TimestampedHmac::oura().into(),
        SharedSecret::new("X-Key").into(),
        SharedSecret::new("X-Key").also_header("x-second", further).into(),
        SharedSecret::bearer().into(),
        SharedSecret::basic("acme").into(),
    ]
}

/// Returns schemes whose secret is a key pair.
#[cfg(feature = "ed25519")]
pub(crate) fn key_pair_schemes() -> Vec<SchemeConfig> {
    use crate::Ed25519Body;

    vec![
        StandardWebhooks::new().into(),
        StandardWebhooks::new().header_prefix("svix-").into(),
        Ed25519Body::new("X-Mac").into(),
        Ed25519Body::new("X-Mac").prefix("ed25519=").separator(',').encoding(Encoding::Hex).into(),
    ]
}

/// Two private keys with their public keys. The first is that of the seed 0 to 31.
#[cfg(feature = "ed25519")]
pub(crate) const KEY_PAIRS: [(&str, &str); 2] = [
    ("whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="),
    ("whsk_HSHOlQ4Kj2PgcCqfPZdB1Y9ep4MuHEkEflWUGzUvFjE=", "whpk_Tgesw8XC+/k21f5hEYGmMauQOzwJUTldyG3jqlUMoYY="),
];
