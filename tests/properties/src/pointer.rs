//! The value at a JSON pointer, and the time that a text represents, for any input.
//!
//! The input is a pointer, a line feed, and a body. The receiver finds the same value as another reader, or none.

use medhook::testing::Signing;
use medhook::{Bytes, Custom, HmacSha256Body, NoDedupe, Receiver, Time};
use serde_json::Value;

use super::{SECRET, bodies, secret};

pub(super) fn holds(data: &[u8]) {
    let mut lines = data.splitn(2, |byte| *byte == b'\n');
    let (Some(Ok(pointer)), Some(body)) = (lines.next().map(str::from_utf8), lines.next()) else { return };
    let acme = Custom::new("acme", HmacSha256Body::new("x-signature"), secret());
    let acme = acme.id_pointer(pointer).kind_pointer(pointer).time_pointer(pointer).data_pointer(pointer);
    let Ok(receiver) = Receiver::builder("pointer", acme).store(NoDedupe).build() else {
        assert!(!pointer.starts_with('/'), "{pointer:?} is a pointer");
        return;
    };
    let body = Bytes::copy_from_slice(body);
    let headers = Signing::hmac_sha256("x-signature").headers(SECRET, "", "", &body).expect("signed");
    let delivery = receiver.open(receiver.verify(&headers, body.clone()).expect("genuine")).expect("a delivery");

    // Text that is JSON by its grammar alone (such as half of a surrogate pair) costs only its own field here, and is
    // rejected as a whole by the other reader.
    if let (Some(found), Ok(json)) = (delivery.id(), serde_json::from_slice::<Value>(&body)) {
        match json.pointer(pointer) {
            Some(Value::String(text)) => assert_eq!(found, text),
            Some(Value::Number(number)) => assert_eq!(found, number.to_string()),
            other => panic!("{found:?} instead of {other:?}"),
        }
        assert_eq!(delivery.kind(), Some(found));
        assert_eq!(delivery.occurred_at().map(Time::text), Some(found));
    }
    let time = Time::from(pointer);
    assert_eq!(time.text(), pointer);
    if let Some(unix) = time.unix() {
        assert_eq!(Time::from_unix(unix).unix(), Some(unix));
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let pointers = ["/id", "/data/id", "/data/0", "/a~1b/~0", "/", "/data/-", "id", "/data//x", "2024-02-27T10:30:00Z"];
    let paired = bodies().map(|(_, body)| body).zip(pointers.iter().cycle());
    let mut seeds: Vec<Vec<u8>> =
        paired.step_by(5).map(|(body, pointer)| [pointer.as_bytes(), b"\n", &*body].concat()).collect();
    seeds.push(
        br#"/a/01
{"a": [1, 2]}"#
            .to_vec(),
    );
    seeds.push(
        br#"/a
{"a": 1, "a": 2}"#
            .to_vec(),
    );
    seeds
}
