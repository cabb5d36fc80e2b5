//! Any text is accepted as a secret, or rejected with one line that does not contain it. A receiver that accepts it
//! verifies what a signer with it signs, under the key that another decoder finds.
//!
//! The input is four bytes for the [family](super::family), and the text.

use base64ct::{Base64, Base64Unpadded, Encoding as _};
use hmac::Hmac;
use medhook::inbox::Keyring;
use medhook::sign::Signer;
use medhook::testing::Signing;
use medhook::{Bytes, ConfigError, Custom, EventKey, NoDedupe, Receiver, Secret};
use sha2::{Sha256, Sha512};

use super::NOW;
use super::family::{Family, Kind, mac};

/// Does not occur in any text of ours. If it is in a secret, it must not be printed.
const MARK: &str = "canary";
const BODY: &[u8] = b"{\"id\":1}";

pub(super) fn holds(data: &[u8]) {
    let Some((family, text)) = data.split_first_chunk() else { return };
    let (family, Ok(text)) = (Family::of(*family), str::from_utf8(text)) else { return };
    let secret = match Secret::new(text) {
        Ok(secret) => secret,
        Err(error) => return shows_nothing(&error),
    };
    assert!(!format!("{secret:?} {:?}", secret.warning()).contains(MARK));
    assert!(secret.is_same_as(&secret) && secret.expose_secret() == text);
    keyring(&secret);
    event_key(text);
    labeled(text);

    let acme = Custom::new("acme", family.scheme(), secret.clone());
    let receiver = Receiver::builder("property", acme).store(NoDedupe);
    let receiver = receiver.clock(medhook::testing::StoppedClock::at(NOW)).build();
    let signer = Signer::new(family.scheme(), &secret);
    let errors = receiver.as_ref().err().into_iter().chain(signer.as_ref().err());
    errors.for_each(shows_nothing);
    if let Ok(receiver) = &receiver {
        assert!(!receiver.warnings().iter().any(|warning| warning.contains(MARK)));
    }
    let Ok(signer) = signer else { return };
    let headers = signer.sign("msg_1", NOW, BODY).expect("an id and a time that every receiver accepts");
    assert!(!format!("{signer:?} {headers:?}").contains(MARK));
    let receiver = match receiver {
        Ok(receiver) if !family.has_pair() => receiver,
        // The secret of a signer may be a private key.
        _ => {
            let public = Secret::new(Signing::of(family.scheme()).receiver_secret(text)).expect("a key");
            let acme = Custom::new("acme", family.scheme(), public);
            let receiver = Receiver::builder("property", acme).store(NoDedupe);
            receiver.clock(medhook::testing::StoppedClock::at(NOW)).build().expect("the key of a signer")
        }
    };
    receiver.verify(&headers, Bytes::from_static(BODY)).expect("signed");
    if family.signs_body() {
        assert!(receiver.verify(&headers, Bytes::from_static(b"{\"id\":2}")).is_err());
    }
    reference(&family, text, &headers);
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz",
        "whsec_c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVzIQ==",
        "whsec_c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVzIQ",
        "whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=",
        "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g",
        "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "-----BEGIN PUBLIC KEY-----",
        "canary-0123456789",
        "whsec_canary",
        "\"canary canary\"",
        "${CANARY}canary",
        "Bearer canary",
        "canary\u{feff}",
        " canary",
        "canary\n",
        "whpk_AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "x",
    ];
    let families = Family::all().step_by(3).zip(texts.iter().cycle()).map(|(family, text)| (family, *text));
    // Each kind of key with every text.
    let kinds = (b'0'..=b'8').flat_map(|kind| texts.map(|text| ([kind, b'3', b'0', b'0'], text)));
    families.chain(kinds).map(|(family, text)| [&family[..], text.as_bytes()].concat()).collect()
}

fn shows_nothing(error: &ConfigError) {
    let mut shown = format!("{error} {error:?}");
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        shown.push_str(&format!("{error} {error:?}"));
        source = error.source();
    }
    assert!(!shown.contains(MARK), "{shown}");
    assert!(!error.to_string().chars().any(char::is_control), "{error:?}");
}

/// The key of an inbox: 32 bytes in standard base64.
fn keyring(secret: &Secret) {
    let text = secret.expose_secret();
    let decoded = Base64::decode_vec(text).or_else(|_| Base64Unpadded::decode_vec(text));
    let is_key = decoded.is_ok_and(|bytes| bytes.len() == 32 && bytes.iter().any(|byte| Some(byte) != bytes.first()));
    match Keyring::new(secret.clone()) {
        Ok(ring) => assert!(is_key && !format!("{ring:?}").contains(MARK)),
        Err(error) => {
            assert!(!is_key, "{error}");
            shows_nothing(&error);
        }
    }
}

fn event_key(text: &str) {
    let is_key = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let key = EventKey::from_hex(text).map(|key| key.to_hex());
    assert_eq!(key, is_key.then(|| text.to_ascii_lowercase()));
}

fn labeled(text: &str) {
    match Secret::new("0123456789abcdef").expect("a secret").labeled(text) {
        Ok(secret) => assert_eq!(secret.label(), text),
        Err(error) => shows_nothing(&error),
    }
}

/// Compares the signature with the one under the key that is decoded here.
fn reference(family: &Family, text: &str, headers: &http::HeaderMap) {
    let value = |name: &str| str::from_utf8(headers[name].as_bytes()).expect("UTF-8").to_owned();
    match family.kind {
        Kind::Sha256Body => {
            let genuine = family.encoded(&mac::<Hmac<Sha256>>(text.as_bytes(), BODY));
            assert_eq!(value("x-signature"), genuine);
        }
        Kind::Sha512Body => {
            let genuine = family.encoded(&mac::<Hmac<Sha512>>(text.as_bytes(), BODY));
            assert_eq!(value("x-signature"), genuine);
        }
        Kind::StandardWebhooks if !text.starts_with("whsk_") => {
            let bare = text.strip_prefix("whsec_").unwrap_or(text);
            let key = Base64::decode_vec(bare).or_else(|_| Base64Unpadded::decode_vec(bare)).expect("base64");
            let message = [format!("msg_1.{NOW}.").as_bytes(), BODY].concat();
            let genuine = Base64::encode_string(&mac::<Hmac<Sha256>>(&key, &message));
            assert_eq!(value("webhook-signature"), format!("v1,{genuine}"));
        }
        Kind::Bearer => assert_eq!(value("authorization"), format!("Bearer {text}")),
        Kind::Basic => {
            let both = Base64::encode_string(format!("acme:{text}").as_bytes());
            assert_eq!(value("authorization"), format!("Basic {both}"));
        }
        _ => {}
    }
}
