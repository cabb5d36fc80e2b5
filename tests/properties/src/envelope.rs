//! The parts of the envelope that unsigned headers and CloudEvents contain are those that a reference implementation
//! finds. An id in such a header counts only together with the bytes of the body.
//!
//! The input is a letter (`b`: CloudEvents in binary mode, `s`: in structured mode, `u`: a header for the id and one
//! for the kind), lines with the source, the id, the kind and the time, and the body.

use medhook::testing::Signing;
use medhook::{Bytes, CloudEvents, Custom, Delivery, HmacSha256Body, IdFrom, Time};
use serde_json::Value;

use super::{SECRET, receiver, secret};

const NAMES: [&str; 4] = ["ce-source", "ce-id", "ce-type", "ce-time"];

pub(super) fn holds(data: &[u8]) {
    let Some((mode, rest)) = data.split_first() else { return };
    let acme = Custom::new("acme", HmacSha256Body::new("x-signature"), secret());
    let acme = match mode {
        b'b' => acme.cloud_events(CloudEvents::BinaryUnsigned),
        b's' => acme.cloud_events(CloudEvents::Structured),
        b'u' => acme.unsigned_id_header("ce-id").unsigned_kind_header("ce-type"),
        _ => return,
    };
    let mut lines = rest.splitn(5, |byte| *byte == b'\n');
    let values: [&[u8]; 4] = std::array::from_fn(|_| lines.next().unwrap_or_default());
    let body = lines.next().unwrap_or_default();
    let receiver = receiver(acme, 1 << 20);
    let delivered = |values: [&[u8]; 4], body: &[u8]| -> Delivery {
        let signed = Signing::hmac_sha256("x-signature").headers(SECRET, "", "", body).expect("signed");
        let mut headers: Vec<(&str, &[u8])> = vec![("x-signature", signed[0].1.as_bytes())];
        // A line that is `-` stands for a header that is missing.
        headers.extend(NAMES.into_iter().zip(values).filter(|(_, value)| *value != b"-"));
        let verified = receiver.verify(&headers, Bytes::copy_from_slice(body)).expect("genuine");
        receiver.open(verified).expect("not stale")
    };
    let delivery = delivered(values, body);
    if *mode == b's' {
        return structured(&delivery, body);
    }
    let [source, id, kind, time] = values.map(|value| if *mode == b'b' { attribute(value) } else { word(value) });
    let id = match mode {
        b'b' => source.zip(id).map(|(source, id)| serde_json::to_string(&[source, id]).expect("JSON")),
        _ => id,
    };
    assert_eq!(delivery.unsigned_id(), id.as_deref(), "{values:?}");
    assert_eq!(delivery.id(), None);
    assert_eq!(delivery.kind(), kind.as_deref(), "{values:?}");
    assert_eq!(delivery.occurred_at().map(Time::text), time.as_deref().filter(|_| *mode == b'b'), "{values:?}");

    let key = delivery.event_key();
    let again = delivered(values, body);
    let longer = [body, b" "].concat();
    assert_ne!(delivered(values, &longer).event_key(), key);
    if id.is_some() {
        assert_eq!(delivery.id_from(), IdFrom::UnsignedHeader);
        assert_eq!(again.event_key(), key);
        let other = delivered([values[0], b"another-id", values[2], values[3]], body);
        assert_eq!(other.event_key() == key, other.unsigned_id() == id.as_deref());
    } else {
        assert_eq!(delivery.id_from(), IdFrom::Nothing);
        assert_ne!(again.event_key(), key, "each delivery may be another event");
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let event = r#"{"specversion":"1.0","source":"api/notifications","id":"9c2d6a2e","type":"report.ready","time":"2026-01-01T00:00:00Z","data":{"a":1}}"#;
    let lines = [
        "api/notifications\n9c2d6a2e\nreport.ready\n2026-01-01T00:00:00Z",
        "\"a b\"\n\"say \\\"hi\\\"\"\nEuro%20%E2%82%AC\n-",
        "a\nb\"c\n%\n%2",
        "%22\n\"%22\"\n%c3%28\n%0a",
        "\"a\n\"a\"b\n\"a\\\n\"\"",
        "-\n-\n-\n-",
        "a b\n\ta\nevt-1~\n1767225600",
    ];
    let mut seeds: Vec<String> =
        ["b", "u"].iter().flat_map(|mode| lines.map(|lines| format!("{mode}{lines}\n{{\"a\":1}}"))).collect();
    seeds.push(format!("u-\n{}\n{}\n-\n", "i".repeat(256), "k".repeat(257)));
    for body in [
        event.to_owned(),
        event.replace("\"9c2d6a2e\"", "12"),
        event.replace("\"specversion\"", "\"id\":\"x\",\"specversion\""),
        event.replace("\"api/notifications\"", "null"),
        event.replace("report.ready", "\\ud83d\\ude00"),
        format!("[{event}]"),
        event.replace("\"data\"", "\"data_base64\":\"AA==\",\"x\""),
    ] {
        seeds.push(format!("s\n\n\n\n{body}"));
    }
    seeds.into_iter().map(String::into_bytes).collect()
}

/// Checks an event in structured mode: each attribute is the one that another reader finds, or none.
fn structured(delivery: &Delivery, body: &[u8]) {
    let Ok(Value::Object(event)) = serde_json::from_slice::<Value>(body) else {
        // Text that is JSON by its grammar alone, such as half of a surrogate pair, is no text for the other reader.
        return;
    };
    let scalar = |name: &str| match event.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    if let Some(id) = delivery.id() {
        let both = scalar("source").zip(scalar("id")).expect("both");
        assert_eq!(id, serde_json::to_string(&[both.0, both.1]).expect("JSON"));
        assert_eq!(delivery.id_from(), IdFrom::Body);
    }
    assert!(delivery.kind().is_none_or(|kind| Some(kind) == scalar("type").as_deref()));
    assert!(delivery.occurred_at().is_none_or(|time| Some(time.text()) == scalar("time").as_deref()));
    assert_eq!(delivery.unsigned_id(), None);
}

/// Returns the value of a header that is visible ASCII.
fn word(value: &[u8]) -> Option<String> {
    let is_usable = (1..=256).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic) && value != b"-";
    is_usable.then(|| String::from_utf8(value.to_vec()).expect("ASCII"))
}

/// Returns the value of an attribute in binary mode.
fn attribute(value: &[u8]) -> Option<String> {
    let is_plain = value.iter().all(|byte| *byte == b' ' || byte.is_ascii_graphic());
    if value.is_empty() || value.len() > 256 || !is_plain || value == b"-" {
        return None;
    }
    let mut unquoted = Vec::new();
    match value {
        [b'"', inner @ .., b'"'] => {
            let mut at = 0;
            while at < inner.len() {
                match inner[at] {
                    b'"' => return None,
                    b'\\' => {
                        at += 1;
                        unquoted.push(*inner.get(at)?);
                    }
                    byte => unquoted.push(byte),
                }
                at += 1;
            }
        }
        [b'"', ..] => return None,
        _ if value.contains(&b' ') => return None,
        _ => unquoted.extend_from_slice(value),
    }
    let mut decoded = Vec::new();
    let mut pieces = unquoted.split(|byte| *byte == b'%');
    decoded.extend_from_slice(pieces.next()?);
    for piece in pieces {
        let digits = piece.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
        decoded.push(u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?);
        decoded.extend_from_slice(&piece[2..]);
    }
    let is_decoded = unquoted.contains(&b'%');
    String::from_utf8(decoded)
        .ok()
        .filter(|text| !(text.is_empty() || is_decoded && text.chars().any(char::is_control)))
}
