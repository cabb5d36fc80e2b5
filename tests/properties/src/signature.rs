//! Parses a signature's headers in two ways: with the receiver, and with a reference implementation of the rules
//! here. Both must agree.
//!
//! The input is a letter for the scheme and the header's value, in which some bytes stand for the genuine signature,
//! because a fuzzer cannot guess one. For Standard Webhooks the lines are the id, the timestamp and the signatures.

use base64ct::{Base64, Encoding as _};
use hmac::{Hmac, KeyInit, Mac};
use medhook::{Bytes, Custom, Encoding, HmacSha256Body, Reason, SchemeConfig, SharedSecret, StandardWebhooks};
use sha2::Sha256;

use super::{NOW, SECRET, receiver, secret};

const BODY: &[u8] = b"{\"id\":1}";
/// Stands for the genuine signature in the encoding of its scheme.
const GENUINE: u8 = b'$';
/// Stands for the genuine signature in upper-case digits, or for that of another secret.
const ALIKE: u8 = b'&';

pub(super) fn holds(data: &[u8]) {
    match data.split_first() {
        Some((b's', rest)) => standard_webhooks(rest),
        Some((b'h', rest)) => hmac(Encoding::Hex, "sha256=", rest),
        Some((b'b', rest)) => hmac(Encoding::Base64, "", rest),
        Some((b'e', rest)) => hmac(Encoding::Either, "v1 ", rest),
        Some((b't', rest)) => token(rest),
        _ => {}
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let now = NOW.to_string();
    let many = |count: usize| format!("smsg\n{now}\n{}", vec!["v1,$"; count].join(" "));
    let mut seeds: Vec<String> = [
        format!("smsg_1\n{now}\nv1,$"),
        format!("smsg.1\n{now}\nv1,$"),
        format!("smsg_1\n+{now}\nv1,$"),
        format!("smsg_1\n0{now}\nv1,$"),
        "smsg_1\n-9223372036854775808\nv1,$".to_owned(),
        "smsg_1\n9223372036854775808\nv1,$".to_owned(),
        format!("smsg_1\n{}\nv1,$", NOW - 300),
        format!("smsg_1\n{}\nv1,$", NOW + 301),
        format!("smsg_1\n{now}\n  v1a,AAAA v1, v1,& v1,$  v2,$ "),
        format!("smsg_1\n{now}\nv1,$v1,$"),
        format!("smsg_1\n{now}\nv1 ,$"),
        many(32),
        many(33),
        many(80),
        "hsha256=$".to_owned(),
        "hsha256=&".to_owned(),
        "hSHA256=$".to_owned(),
        "hsha256= $".to_owned(),
        "b$".to_owned(),
        "b$=".to_owned(),
        "ev1 $".to_owned(),
        "ev1 &".to_owned(),
        format!("t{SECRET}"),
        format!("t{SECRET} "),
    ]
    .into();
    seeds.push(format!("t{}", "x".repeat(4_097)));
    seeds.into_iter().map(String::into_bytes).collect()
}

fn standard_webhooks(data: &[u8]) {
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let (id, timestamp) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let template = lines.next().unwrap_or_default();

    let message = [id, b".", timestamp, b"."].concat();
    let text = |key: &[u8]| Base64::encode_string(&tag(key, &[&message, BODY]));
    let (genuine, alike) = (text(&Base64::decode_vec(SECRET).expect("base64")), text(b"another"));
    let signatures = filled(template, &genuine, &alike);
    let headers = [("webhook-id", id), ("webhook-timestamp", timestamp), ("webhook-signature", &signatures)];

    let entries: Vec<&[u8]> = signatures.split(|byte| *byte == b' ').filter(|entry| !entry.is_empty()).collect();
    let plausible = |entry: &&&[u8]| entry.starts_with(b"v1,") && entry.len() == 47;
    let well_formed = [id, timestamp, &signatures].iter().all(|value| (1..=4096).contains(&value.len()))
        && id.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'.')
        && signatures.is_ascii()
        && entries.len() <= 32
        && entries.iter().find(plausible).is_some();
    let seconds = str::from_utf8(timestamp).ok().and_then(|text| {
        let seconds: i64 = text.parse().ok()?;
        (seconds >= 0 && seconds.to_string() == text).then_some(seconds)
    });
    if has_text_with_spaces(&signatures) {
        return accepted_if_genuine(&headers, &format!("v1,{genuine}"), &entries);
    }
    let expected = match seconds {
        Some(seconds) if well_formed => {
            if seconds < NOW - 300 {
                Err(Reason::Stale)
            } else if seconds > NOW + 300 {
                Err(Reason::InTheFuture)
            } else if entries.contains(&format!("v1,{genuine}").as_bytes()) {
                Ok(())
            } else {
                Err(Reason::SignatureMismatch)
            }
        }
        _ => Err(Reason::MalformedHeader),
    };
    same(StandardWebhooks::new().into(), &headers, expected);
}

/// Returns whether an entry begins like a signature and ends where one would, with spaces inside. The receiver looks
/// directly at the expected end and takes the entry for a signature that does not match. It then counts fewer
/// entries, and may give another reason for the same rejection.
fn has_text_with_spaces(signatures: &[u8]) -> bool {
    let starts = (0..signatures.len()).filter(|at| *at == 0 || signatures[at - 1] == b' ');
    let mut texts = starts.filter_map(|at| signatures[at..].strip_prefix(b"v1,")?.split_at_checked(44));
    texts.any(|(text, rest)| rest.first().is_none_or(|next| *next == b' ') && text.contains(&b' '))
}

/// Checks the verdict but not the reason: rejected without the genuine signature, accepted with it.
fn accepted_if_genuine(headers: &[(&str, &[u8])], genuine: &str, entries: &[&[u8]]) {
    let receiver = receiver(Custom::new("acme", StandardWebhooks::new(), secret()), 1_000);
    let accepted = receiver.verify(headers, Bytes::from_static(BODY)).is_ok();
    let there = entries.contains(&genuine.as_bytes());
    assert!(there || !accepted, "{headers:?}");
    let (id, timestamp, signatures) = (headers[0].1, headers[1].1, headers[2].1);
    let sound = id == b"msg_1" && timestamp == NOW.to_string().as_bytes() && signatures.len() <= 4096;
    assert!(accepted || !(there && sound && signatures.is_ascii() && entries.len() <= 32), "{headers:?}");
}

fn hmac(encoding: Encoding, prefix: &str, template: &[u8]) {
    let tag = tag(SECRET.as_bytes(), &[BODY]);
    let hex: String = tag.iter().map(|byte| format!("{byte:02x}")).collect();
    let base64 = Base64::encode_string(&tag);
    let (genuine, alike) = match encoding {
        Encoding::Base64 => (base64.clone(), base64.trim_end_matches('=').to_owned()),
        Encoding::Hex => (hex.clone(), hex.to_uppercase()),
        _ => (hex.clone(), base64.clone()),
    };
    let value = filled(template, &genuine, &alike);

    let (as_hex, as_base64) = match encoding {
        Encoding::Hex => (true, false),
        Encoding::Base64 => (false, true),
        _ => (true, true),
    };
    let expected = match value.strip_prefix(prefix.as_bytes()).map(str::from_utf8) {
        Some(Ok(mac)) if value.len() <= 4096 => {
            let is_hex = as_hex && mac.len() == 64 && mac.bytes().all(|byte| byte.is_ascii_hexdigit());
            let padded = if mac.len() == 43 { format!("{mac}=") } else { mac.to_owned() };
            let is_base64 =
                as_base64 && padded.len() == 44 && Base64::decode_vec(&padded).is_ok_and(|mac| mac.len() == 32);
            if is_hex && mac.eq_ignore_ascii_case(&hex) || is_base64 && padded == base64 {
                Ok(())
            } else if is_hex || is_base64 {
                Err(Reason::SignatureMismatch)
            } else {
                Err(Reason::MalformedHeader)
            }
        }
        _ => Err(Reason::MalformedHeader),
    };
    let scheme = HmacSha256Body::new("x-signature").prefix(prefix).encoding(encoding);
    same(scheme.into(), &[("x-signature", &value)], expected);
}

fn token(value: &[u8]) {
    let expected = if value.is_empty() || value.len() > 4096 {
        Err(Reason::MalformedHeader)
    } else if value == SECRET.as_bytes() {
        Ok(())
    } else {
        Err(Reason::SignatureMismatch)
    };
    same(SharedSecret::new("x-token").into(), &[("x-token", value)], expected);
}

fn same(scheme: SchemeConfig, headers: &[(&str, &[u8])], expected: Result<(), Reason>) {
    let receiver = receiver(Custom::new("acme", scheme, secret()), 1_000);
    let verdict = receiver.verify(headers, Bytes::from_static(BODY)).map(drop);
    assert_eq!(verdict.map_err(|rejection| rejection.reason()), expected, "{headers:?}");
}

/// Returns the template with the signatures filled in, up to a length that no header has.
fn filled(template: &[u8], genuine: &str, alike: &str) -> Vec<u8> {
    let mut value = Vec::with_capacity(template.len());
    for byte in template {
        match *byte {
            GENUINE if value.len() < 8_192 => value.extend_from_slice(genuine.as_bytes()),
            ALIKE if value.len() < 8_192 => value.extend_from_slice(alike.as_bytes()),
            byte => value.push(byte),
        }
    }
    value
}

fn tag(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}
