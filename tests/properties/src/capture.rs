//! A recording of `medhook capture` contains no secret of its endpoint, and `medhook verify` reads what was recorded.
//!
//! The input is a digit for the provider, and lines `name: value`, in which `$` stands for the secret.

use base64ct::{Base64, Encoding as _};
use http::{HeaderMap, HeaderName, HeaderValue};
use medhook::registry::PROVIDERS;
use medhook_cli::parsers::{capture, headers};
use medhook_conformance::Endpoint;

use super::SECRET;

pub(super) fn holds(data: &[u8]) {
    let Some((number, lines)) = data.split_first() else { return };
    let Some(facts) = PROVIDERS.get(usize::from(number.wrapping_sub(b'0'))) else { return };
    let mut endpoint = Endpoint::new(facts.name);
    endpoint.secrets.insert("CURRENT".to_owned(), SECRET.to_owned());
    let mut sent = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n').take(64) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let value = value.trim_ascii().iter();
        let value = value.flat_map(|byte| if *byte == b'$' { SECRET.as_bytes().to_vec() } else { vec![*byte] });
        let value: Vec<u8> = value.collect();
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(&value)) else { continue };
        sent.append(name, value);
    }
    let Ok(recorded) = capture(&endpoint, &sent, b"{}") else { return };
    let text = String::from_utf8_lossy(&recorded).to_ascii_lowercase();
    let names: String = sent.keys().map(HeaderName::as_str).collect();
    for secret in [SECRET.to_owned(), Base64::encode_string(SECRET.as_bytes())] {
        let secret = secret.trim_end_matches('=').to_ascii_lowercase();
        assert!(names.contains(&secret) || !text.contains(&secret), "{text}");
    }

    let (read, redacted) = match headers(&recorded) {
        Ok(read) => read,
        Err(problem) => {
            assert!(sent.is_empty() || sent.len() > 1_000, "{problem}: {text}");
            return;
        }
    };
    assert_eq!(read.len() + redacted.len(), sent.len());
    for (name, value) in &read {
        let is_sent = |sent: &HeaderValue| sent.as_bytes().trim_ascii() == value;
        assert!(sent.get_all(name).iter().any(is_sent), "{name}");
    }
    assert!(redacted.iter().all(|name| sent.contains_key(name)), "{redacted:?}");
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mac = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    let lines = [
        "host: a\nwebhook-id: msg_1\nwebhook-timestamp: 1767225600\nwebhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=".to_owned(),
        "x-api-key: $\nauthorization: Bearer $\ncookie: a=$".to_owned(),
        "x-api-key: \"$\"\nx-other: x$x\nuser-agent: $".to_owned(),
        format!("x-api-key: {mac}\nx-signature: sha256={mac}\nx-hub-signature: {mac}"),
        format!("authorization: Basic {}", Base64::encode_string(format!("acme:{SECRET}").as_bytes())),
        format!("content-type: {}", Base64::encode_string(SECRET.as_bytes())),
        format!("x: {}", &SECRET[..12]),
        format!("date: {}", SECRET.to_ascii_uppercase()),
        "x: \u{ff}\u{fe}\nx: a\nX: a\nempty:\n#arrived: 1".to_owned(),
    ];
    (b'0'..b'5').flat_map(|number| lines.clone().map(|lines| [&[number], lines.as_bytes()].concat())).collect()
}
