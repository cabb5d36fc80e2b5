//! Tests against other implementations: each side verifies what the other one signs, and what others published.

mod flips;
mod options;
mod published;
mod vectors;

use base64ct::{Base64, Encoding};
use medhook::testing::{Signing, StoppedClock};
use medhook::{Bytes, Custom, Fasten, HmacSha256Body, NoDedupe, Reason, Receiver, Rejection, Secret};
use proptest::prelude::*;

const NOW: i64 = 1_767_225_600;
const SECRET: &str = "whsec_c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz";
const BODY: &str = r#"{"type":"webhook.test","id":"1","api_mode":"live","data":{"hello":"wörld"}}"#;

fn receiver(secret: &str, now: i64) -> Receiver {
    let fasten = Fasten::live(Secret::new(secret).expect("a secret"));
    let builder = Receiver::builder("oracle", fasten).store(NoDedupe).clock(StoppedClock::at(now));
    builder.build().expect("a receiver")
}

fn verify(receiver: &Receiver, headers: &[(&str, Vec<u8>); 3], body: Vec<u8>) -> Result<(), Rejection> {
    receiver.verify(headers, Bytes::from(body)).map(drop)
}

fn headers(id: &str, timestamp: &str, signature: &str) -> [(&'static str, Vec<u8>); 3] {
    [
        ("webhook-id", id.as_bytes().to_vec()),
        ("webhook-timestamp", timestamp.as_bytes().to_vec()),
        ("webhook-signature", signature.as_bytes().to_vec()),
    ]
}

#[test]
fn signatures_of_svix_and_standardwebhooks_verify() {
    let receiver = receiver(SECRET, NOW);
    let svix = svix::webhooks::Webhook::new(SECRET).unwrap().sign("msg_1", NOW, BODY.as_bytes()).unwrap();
    let standard = standardwebhooks::Webhook::new(SECRET).unwrap().sign("msg_1", NOW, BODY.as_bytes()).unwrap();
    for signature in [svix, standard] {
        verify(&receiver, &headers("msg_1", &NOW.to_string(), &signature), BODY.into()).expect("genuine");
    }
}

#[test]
fn a_delivery_with_one_flipped_bit_does_not_verify() {
    let receiver = receiver(SECRET, NOW);
    let signature = svix::webhooks::Webhook::new(SECRET).unwrap().sign("msg_1", NOW, BODY.as_bytes()).unwrap();
    let genuine = headers("msg_1", &NOW.to_string(), &signature);
    verify(&receiver, &genuine, BODY.into()).expect("genuine");

    for bit in 0..BODY.len() * 8 {
        let mut body = BODY.as_bytes().to_vec();
        body[bit / 8] ^= 1 << (bit % 8);
        let rejection = verify(&receiver, &genuine, body).expect_err("an altered body");
        assert_eq!(rejection.reason(), Reason::SignatureMismatch, "bit {bit} of the body");
    }
    for altered in 0..genuine.len() {
        for bit in 0..genuine[altered].1.len() * 8 {
            let mut headers = genuine.clone();
            headers[altered].1[bit / 8] ^= 1 << (bit % 8);
            let name = headers[altered].0;
            assert!(verify(&receiver, &headers, BODY.into()).is_err(), "bit {bit} of {name}");
        }
    }
}

#[test]
fn the_differences_from_the_oracle_are_intended() {
    let svix = svix::webhooks::Webhook::new(SECRET).unwrap();
    let results = |id: &str, timestamp: &str, body: &[u8], signature: &str| {
        let mut map = http::HeaderMap::new();
        for (name, value) in headers(id, timestamp, signature) {
            map.insert(name, http::HeaderValue::from_bytes(&value).unwrap());
        }
        let theirs = svix.verify_ignoring_timestamp(body, &map).is_ok();
        let ours = receiver(SECRET, NOW).verify(&map, Bytes::copy_from_slice(body)).map(drop);
        (theirs, ours.map_err(|rejection| rejection.reason()))
    };
    let now = NOW.to_string();

    // With a dot in the id, two different deliveries would have one signature.
    let signature = svix.sign("msg.1", NOW, BODY.as_bytes()).unwrap();
    assert_eq!(results("msg.1", &now, BODY.as_bytes(), &signature), (true, Err(Reason::MalformedHeader)));

    // The header has a second notation of the same time.
    let signature = svix.sign("msg_1", NOW, BODY.as_bytes()).unwrap();
    assert_eq!(results("msg_1", &format!("+{now}"), BODY.as_bytes(), &signature), (true, Err(Reason::MalformedHeader)));

    assert_eq!(results("msg_1", &format!("0{now}"), BODY.as_bytes(), &signature), (true, Err(Reason::MalformedHeader)));

    // The other implementations sign text; we sign bytes.
    let body = b"\xff\xfe not UTF-8";
    let ours = Signing::standard_webhooks().headers(SECRET, "msg_1", &now, body).unwrap();
    assert_eq!(results("msg_1", &now, body, &ours[2].1), (false, Ok(())));
}

#[test]
fn headers_of_another_name_are_ignored() {
    let svix = svix::webhooks::Webhook::new(SECRET).unwrap();
    let signature = svix.sign("msg_1", NOW, BODY.as_bytes()).unwrap();
    let named = |prefix: &str| {
        let mut map = http::HeaderMap::new();
        for (name, value) in headers("msg_1", &NOW.to_string(), &signature) {
            let name = name.replace("webhook-", prefix);
            map.insert(http::HeaderName::try_from(name).unwrap(), http::HeaderValue::from_bytes(&value).unwrap());
        }
        map
    };
    let ours = |map: &http::HeaderMap| {
        let verdict = receiver(SECRET, NOW).verify(map, Bytes::from_static(BODY.as_bytes())).map(drop);
        verdict.map_err(|rejection| rejection.reason())
    };
    for (prefix, verdict) in [("webhook-", Ok(())), ("svix-", Err(Reason::MissingHeader))] {
        let map = named(prefix);
        assert!(svix.verify_ignoring_timestamp(BODY.as_bytes(), &map).is_ok(), "{prefix}");
        assert_eq!(ours(&map), verdict, "{prefix}");
    }
}

/// The test cases 2 and 4 of <https://www.rfc-editor.org/rfc/rfc4231>, through a receiver. The other keys are not
/// text, and Standard Webhooks, whose keys need not be text, signs more than a body. All seven are in
/// `src/scheme/keys.rs`.
#[test]
fn hmac_sha256_matches_rfc_4231() {
    let counted: String = (1..=25_u8).map(char::from).collect();
    for (key, body, mac) in [
        (
            "Jefe",
            b"what do ya want for nothing?".to_vec(),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (&counted, vec![0xcd; 50], "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
    ] {
        let acme = Custom::new("rfc", HmacSha256Body::new("x-mac"), Secret::unchecked(key));
        let receiver = Receiver::builder("rfc", acme).store(NoDedupe).build().unwrap();
        let verdict = |mac: &str, body: &[u8]| {
            let verdict = receiver.verify(&[("x-mac", mac)], Bytes::copy_from_slice(body)).map(drop);
            verdict.map_err(|rejection| rejection.reason())
        };
        assert_eq!(verdict(mac, &body), Ok(()));
        assert_eq!(verdict(mac, &body[1..]), Err(Reason::SignatureMismatch));
        let last = if mac.ends_with('0') { "1" } else { "0" };
        assert_eq!(verdict(&(mac[..63].to_owned() + last), &body), Err(Reason::SignatureMismatch));
    }
}

proptest! {
    #[test]
    fn any_secret_id_time_and_text_signed_by_them_verifies_here(
        key in prop::collection::vec(any::<u8>(), 24..=64),
        id in "[!-\\-/-~]{1,64}",
        now in 0_i64..=253_402_300_799,
        body in "\\PC{0,400}",
    ) {
        let secret = format!("whsec_{}", Base64::encode_string(&key));
        let receiver = receiver(&secret, now);
        let svix = svix::webhooks::Webhook::from_bytes(key.clone()).unwrap().sign(&id, now, body.as_bytes()).unwrap();
        let standard = standardwebhooks::Webhook::from_bytes(key).unwrap().sign(&id, now, body.as_bytes()).unwrap();
        for signature in [&svix, &standard] {
            let verified = verify(&receiver, &headers(&id, &now.to_string(), signature), body.clone().into());
            prop_assert!(verified.is_ok(), "{:?}", verified);
        }
    }

    #[test]
    fn our_signatures_verify_with_svix_and_standardwebhooks(id in "[!-\\-/-~]{1,64}", now in 0_i64..=253_402_300_799, body in "\\PC{0,400}") {
        let ours = Signing::standard_webhooks().headers(SECRET, &id, &now.to_string(), body.as_bytes()).unwrap();
        let mut map = http::HeaderMap::new();
        for (name, value) in ours {
            map.insert(http::HeaderName::try_from(name).unwrap(), http::HeaderValue::try_from(value).unwrap());
        }
        let svix = svix::webhooks::Webhook::new(SECRET).unwrap();
        prop_assert!(svix.verify_ignoring_timestamp(body.as_bytes(), &map).is_ok());
    }
}
