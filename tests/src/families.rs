//! Endpoints of custom providers, one for each family of schemes, with the arguments that describe them to the program.

use std::time::Duration;

use medhook::testing::Signing;
use medhook::{
    Ed25519Body, Encoding, Freshness, HmacSha256Body, HmacSha512Body, SchemeConfig, SharedSecret, StandardWebhooks,
    TimestampUnit, TimestampedHmac,
};
use medhook_conformance::{CustomProvider, Endpoint};

/// An endpoint, and the arguments that describe it, but for its secret.
pub struct Family {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// The arguments.
    pub arguments: Vec<&'static str>,
    /// Whether the secret is an Ed25519 private key.
    pub has_key_pair: bool,
}

/// A text that is base64.
pub const SHARED: &str = "Y2FuYXJ5LXRoYXQtbXVzdC1uZXZlci1iZS1zaG93bg";
/// An Ed25519 private key. The seed is the bytes 0 to 31.
pub const PRIVATE: &str = "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// Its public key.
pub const PUBLIC: &str = "whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=";

const POINTERS: [&str; 4] = ["--id-pointer", "/id", "--kind-pointer", "/type"];

fn family(scheme: impl Into<SchemeConfig>, secret: &str, arguments: &str) -> Family {
    let mut custom = CustomProvider::new(Signing::of(scheme));
    (custom.id_pointer, custom.kind_pointer) = (Some("/id".to_owned()), Some("/type".to_owned()));
    let mut endpoint = Endpoint::custom("custom", custom);
    endpoint.secrets.insert("current".to_owned(), secret.to_owned());
    let arguments: &'static str = String::from(arguments).leak();
    let arguments = ["--scheme"].into_iter().chain(arguments.split(' ')).chain(POINTERS).collect();
    Family { endpoint, arguments, has_key_pair: secret == PRIVATE }
}

fn of_event(mut family: Family) -> Family {
    let (max_age, max_skew) = (Duration::from_secs(48 * 3600), Duration::from_secs(300));
    family.endpoint.freshness = Some(Freshness::EventTime { max_age, max_skew });
    family
}

/// Returns endpoints of all families.
#[must_use]
pub fn families() -> Vec<Family> {
    let mac = || HmacSha256Body::new("X-Mac");
    let headers = || TimestampedHmac::headers("X-Mac", "X-Time");
    vec![
        family(StandardWebhooks::new().header_prefix("svix-"), SHARED, "standard-webhooks --header-prefix svix-"),
        family(StandardWebhooks::new(), PRIVATE, "standard-webhooks"),
        of_event(family(
            StandardWebhooks::new().timestamp_of_event(),
            SHARED,
            "standard-webhooks --timestamp-of event --max-age 48h",
        )),
        family(
            mac().prefix("sha256=").separator(',').encoding(Encoding::Base64Url),
            SHARED,
            "hmac-sha256 --header X-Mac --prefix sha256= --separator , --encoding base64url",
        ),
        family(HmacSha512Body::new("X-Mac"), SHARED, "hmac-sha512 --header X-Mac"),
        family(
            TimestampedHmac::elements("X-Mac", "t", "v1").timestamp_unit(TimestampUnit::Milliseconds),
            SHARED,
            "timestamped-hmac --header X-Mac --timestamp-element t --signature-element v1 \
             --timestamp-unit milliseconds",
        ),
        family(
            TimestampedHmac::elements("X-Mac", "t", "").sha512().encoding(Encoding::Base64),
            SHARED,
            "timestamped-hmac --header X-Mac --timestamp-element t --signature-element= --hash sha-512 \
             --encoding base64",
        ),
        family(
            headers().prefix("v0=").signed("v0:{timestamp}:{body}").timestamp_unit(TimestampUnit::Rfc3339),
            SHARED,
            "timestamped-hmac --header X-Mac --timestamp-header X-Time --prefix v0= --signed v0:{timestamp}:{body} \
             --timestamp-unit rfc-3339",
        ),
        family(
            headers().id_header("X-Id").signed("{id}.{timestamp}.{body}"),
            SHARED,
            "timestamped-hmac --header X-Mac --timestamp-header X-Time --id-header X-Id \
             --signed {id}.{timestamp}.{body}",
        ),
        family(TimestampedHmac::terra(), SHARED, "timestamped-hmac --preset terra"),
        family(TimestampedHmac::whoop(), SHARED, "timestamped-hmac --preset whoop"),
        family(TimestampedHmac::oura(), SHARED, "timestamped-hmac --preset oura"),
        family(Ed25519Body::new("X-Mac"), PRIVATE, "ed25519 --header X-Mac"),
        family(SharedSecret::bearer(), SHARED, "shared-secret --form bearer"),
        family(SharedSecret::basic("acme"), SHARED, "shared-secret --form basic --username acme"),
    ]
}
