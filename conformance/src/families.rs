//! Tests of the cases for custom providers, with each family of schemes.

use std::collections::BTreeSet;
use std::time::Duration;

use medhook::testing::{Signing, StoppedClock};
use medhook::{
    Ed25519Body, Encoding, Freshness, HmacSha256Body, HmacSha512Body, MemoryStore, SchemeConfig, SecretEncoding,
    SharedSecret, StandardWebhooks, TimestampUnit, TimestampedHmac,
};

use crate::case::{Case, Transfer};
use crate::change::State;
use crate::custom::CustomProvider;
use crate::custom_cases;
use crate::custom_sections::OF_CUSTOM_PROVIDERS;
use crate::endpoint::Endpoint;
use crate::outside::{Prepared, cases_inside};

const NOW: i64 = 1_800_000_000;
const TEXT: [&str; 2] = ["bXktb3duLXNlY3JldC1vZi1lbm91Z2gtbGVuZ3Ro", "bXktb3duLW90aGVyLXNlY3JldC1vZi1sZW5ndGg"];
const HEX: [&str; 2] = ["000102030405060708090a0b0c0d0e0f", "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"];
const PAIRS: [&str; 2] =
    ["whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "whsk_HSHOlQ4Kj2PgcCqfPZdB1Y9ep4MuHEkEflWUGzUvFjE="];

fn endpoint(scheme: impl Into<SchemeConfig>, [current, old]: [&str; 2]) -> Endpoint {
    let mut custom = CustomProvider::new(Signing::of(scheme));
    (custom.id_pointer, custom.kind_pointer) = (Some("/id".to_owned()), Some("/type".to_owned()));
    let mut endpoint = Endpoint::custom("acme", custom);
    endpoint.secrets = [("current", current), ("old", old)].map(|(label, text)| (label.into(), text.into())).into();
    endpoint
}

fn of_event(mut endpoint: Endpoint) -> Endpoint {
    let (max_age, max_skew) = (Duration::from_secs(48 * 3600), Duration::from_secs(300));
    endpoint.freshness = Some(Freshness::EventTime { max_age, max_skew });
    endpoint
}

fn families() -> Vec<Endpoint> {
    let mac = || HmacSha256Body::new("X-Mac");
    let long = || HmacSha512Body::new("X-Mac");
    let elements = || TimestampedHmac::elements("X-Mac", "t", "v1");
    let bare = || TimestampedHmac::elements("X-Mac", "t", "");
    let headers = || TimestampedHmac::headers("X-Mac", "X-Time");
    vec![
        endpoint(StandardWebhooks::new(), TEXT),
        endpoint(StandardWebhooks::new().header_prefix("svix-"), TEXT),
        endpoint(StandardWebhooks::new().secret_encoding(SecretEncoding::Hex), HEX),
        endpoint(StandardWebhooks::new(), PAIRS),
        endpoint(StandardWebhooks::new(), [PAIRS[0], TEXT[0]]),
        endpoint(StandardWebhooks::new(), [TEXT[0], PAIRS[0]]),
        of_event(endpoint(StandardWebhooks::new().timestamp_of_event(), TEXT)),
        endpoint(mac(), TEXT),
        endpoint(mac().prefix("sha256=").encoding(Encoding::Hex), TEXT),
        endpoint(mac().encoding(Encoding::Base64), TEXT),
        endpoint(mac().encoding(Encoding::Base64Url), TEXT),
        endpoint(mac().prefix("sha256=").separator(',').encoding(Encoding::Hex), TEXT),
        endpoint(mac().separator(' '), TEXT),
        endpoint(mac().secret_encoding(SecretEncoding::Hex), HEX),
        endpoint(mac().secret_encoding(SecretEncoding::Base64), TEXT),
        endpoint(long(), TEXT),
        endpoint(long().prefix("sha512=").separator(',').encoding(Encoding::Hex), TEXT),
        endpoint(long().prefix("sha512=").separator(',').encoding(Encoding::Base64Url), TEXT),
        endpoint(elements(), TEXT),
        endpoint(elements().timestamp_unit(TimestampUnit::Milliseconds).encoding(Encoding::Base64), TEXT),
        endpoint(elements().timestamp_unit(TimestampUnit::Rfc3339).sha512(), TEXT),
        endpoint(bare().encoding(Encoding::Hex), TEXT),
        endpoint(bare().timestamp_unit(TimestampUnit::Rfc3339).encoding(Encoding::Base64Url), TEXT),
        of_event(endpoint(elements().timestamp_of_event(), TEXT)),
        endpoint(headers().prefix("v0=").signed("v0:{timestamp}:{body}").encoding(Encoding::Hex), TEXT),
        endpoint(headers().separator(',').timestamp_unit(TimestampUnit::Milliseconds), TEXT),
        endpoint(headers().timestamp_unit(TimestampUnit::Rfc3339).signed("{body}|{timestamp}"), TEXT),
        endpoint(headers().signed("{timestamp}.{body_base64}").encoding(Encoding::Base64), TEXT),
        endpoint(headers().signed("{timestamp}{body}"), TEXT),
        endpoint(headers().signed("{timestamp}{body_base64}").timestamp_unit(TimestampUnit::Milliseconds), TEXT),
        endpoint(headers().id_header("X-Id").signed("{id}:{timestamp}:{body}"), TEXT),
        endpoint(elements().id_header("X-Id").signed("{timestamp}.{id}.{body}").sha512(), TEXT),
        endpoint(TimestampedHmac::terra(), TEXT),
        endpoint(TimestampedHmac::whoop(), TEXT),
        endpoint(TimestampedHmac::oura(), TEXT),
        endpoint(Ed25519Body::new("X-Mac"), PAIRS),
        endpoint(Ed25519Body::new("X-Mac").prefix("ed25519=").separator(',').encoding(Encoding::Hex), PAIRS),
        endpoint(Ed25519Body::new("X-Mac").encoding(Encoding::Base64Url), PAIRS),
        endpoint(SharedSecret::new("X-Key"), TEXT),
        endpoint(SharedSecret::bearer(), TEXT),
        endpoint(SharedSecret::basic("acme"), TEXT),
    ]
}

/// Returns whether one delivery decides the case.
fn is_one_delivery(case: &Case) -> bool {
    let whole = matches!(case.transfer, Transfer::Whole | Transfer::Chunked(_));
    whole && case.state == State::Usual && case.method == "POST" && case.handler == 200
}

#[test]
fn a_receiver_of_every_family_has_exactly_the_expected_results() {
    let mut problems = Vec::new();
    for endpoint in families() {
        let scheme = endpoint.signing().unwrap();
        let builder = endpoint.builder("acme").unwrap().clock(StoppedClock::at(NOW)).store(MemoryStore::new(1));
        let receiver = builder.build().unwrap();
        let mut played = 0;
        for Prepared { case, skipped } in cases_inside(&endpoint, "mark-", NOW).unwrap() {
            if skipped.is_some() || !is_one_delivery(&case) {
                continue;
            }
            played += 1;
            let opened = receiver.verify(&case.headers, case.body.clone()).and_then(|verified| receiver.open(verified));
            let found = opened.map(|delivery| delivery.kind().map(str::to_owned)).map_err(|no| no.reason());
            let expected = match case.expected.reason {
                Some(reason) => Err(reason),
                None => Ok(case.expected.kind.clone()),
            };
            if found != expected {
                problems.push(format!("{}: {found:?}, not {expected:?}: {scheme:?} {:?}", case.name, case.headers));
            }
        }
        assert!(played > 50, "{scheme:?}: {played}");
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn every_section_of_custom_providers_is_played() {
    let mut used = BTreeSet::new();
    for endpoint in families() {
        used.extend(custom_cases::list(&endpoint, endpoint.custom.as_ref().unwrap()).unwrap().sections);
    }
    for section in OF_CUSTOM_PROVIDERS {
        assert!(used.contains(section), "{section}");
    }
}
