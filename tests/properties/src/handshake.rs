//! A request is a handshake exactly if a reference implementation of the rules says so, and its answer is the expected
//! one. The answer to a challenge, which any client can send, is never the signature of a delivery.
//!
//! The input is a digit for the handshake, a line with the target of the request or with the value of a header, and for
//! a signed ping the body. In the line, `$` stands for the token.

use std::convert::Infallible;

use hmac::Hmac;
use medhook::testing::Signing;
use medhook::{
    Bytes, Custom, EchoToken, Handshake, HmacSha256Body, Received, Receiver, RequestHead, SchemeConfig, SharedSecret,
    TimestampedHmac,
};
use serde_json::{Value, json};
use sha2::Sha256;

use super::family::mac;
use super::{SECRET, block_on, receiver, secret};

const TOKEN: &str = "the-verification-token";

pub(super) fn holds(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let mut lines = rest.splitn(2, |byte| *byte == b'\n');
    let (line, body) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let line = line.iter().flat_map(|byte| if *byte == b'$' { TOKEN.as_bytes().to_vec() } else { vec![*byte] });
    let line: Vec<u8> = line.collect();
    match kind {
        b'0' => echo(&line, false),
        b'1' => echo(&line, true),
        b'2' => challenge(HmacSha256Body::new("x-signature").into(), &line),
        b'3' => challenge(TimestampedHmac::headers("x-signature", "x-timestamp").into(), &line),
        b'4' => challenge(SharedSecret::new("x-signature").into(), &line),
        b'5' => signed_ping(&line, body),
        b'6' => unsigned_ping(&line),
        _ => {}
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let targets = [
        "/?token=$&challenge=9c2d6a2e-0b7b",
        "/in?challenge=a.b_c~d%2Be%2F%3D&token=$#&token=x",
        "/?token=$&token=$&challenge=1",
        "/?t%6fken=$&challenge=a&challeng%65=b",
        "/?token=$&challenge=",
        "/?token=$&challenge=a+b",
        "/?token=$x&challenge=a",
        "/?challenge=%7b%22id%22%3a1%7d",
        "/?challenge=%ff%zz%",
        "http://host/?&&token=$&challenge=a",
    ];
    let mut seeds: Vec<String> =
        ["0", "1", "2", "3", "4"].iter().flat_map(|kind| targets.map(|target| format!("{kind}{target}"))).collect();
    for length in [64, 65, 512, 513, 4_096] {
        seeds.extend(["0", "2"].map(|kind| format!("{kind}/?token=$&challenge={}", "a".repeat(length))));
    }
    for (line, body) in [
        ("abc", "{\"ping\":\"abc\"}"),
        ("\u{1f600}\"\\\u{7}", "{\"meta\":{\"ping\":1},\"ping\":\"\\ud83d\\ude00\"}"),
        ("", "{\"ping\":\"\",\"ping\":\"a\"}"),
        ("x", "{\"ping\":\"\\ud83d\"}"),
    ] {
        seeds.push(format!("5{line}\n{body}"));
    }
    seeds.extend(["6PING", "6ping", "6PING ", "6"].map(str::to_owned));
    seeds.into_iter().map(String::into_bytes).collect()
}

/// Sends a `GET` request for this target. Returns the body of the reply.
fn answer(receiver: &Receiver, target: &str, headers: &[(&str, &str)]) -> Option<Bytes> {
    let body = futures_util::stream::empty::<Result<Bytes, Infallible>>();
    match block_on(receiver.receive(&RequestHead::new("GET", target, headers), body)) {
        Ok(Received::Reply(reply)) => {
            assert_eq!(reply.headers["cache-control"], "no-store");
            Some(reply.body)
        }
        Ok(Received::Delivery(_)) => panic!("{target:?} is a delivery"),
        Err(rejection) => {
            assert_eq!(rejection.reason(), medhook::Reason::HandshakeRejected);
            None
        }
    }
}

fn echo(line: &[u8], is_header: bool) {
    let Ok(target) = str::from_utf8(line) else { return };
    let token = medhook::Secret::new(TOKEN).expect("a secret");
    let (place, headers) = match is_header {
        true => (EchoToken::header("x-token", token), vec![("x-token", TOKEN)]),
        false => (EchoToken::parameter("token", token), vec![]),
    };
    let acme = Custom::new("acme", HmacSha256Body::new("x-signature"), secret());
    let acme = acme.handshake(Handshake::echo_json("challenge", place, "answer"));
    let has_token = is_header || parameter(target, "token").as_deref() == Some(TOKEN.as_bytes());
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._~+/=-".contains(byte);
    let expected = parameter(target, "challenge")
        .filter(|challenge| has_token && (1..=512).contains(&challenge.len()) && challenge.iter().all(is_allowed));
    let reply = answer(&receiver(acme, 1_000), target, &headers);
    let reply: Option<Value> = reply.map(|body| serde_json::from_slice(&body).expect("JSON"));
    let expected = expected.map(|challenge| json!({ "answer": String::from_utf8(challenge).expect("ASCII") }));
    assert_eq!(reply, expected, "{target:?}");
}

fn challenge(scheme: SchemeConfig, line: &[u8]) {
    let Ok(target) = str::from_utf8(line) else { return };
    let is_shared = matches!(Signing::of(scheme.clone()), Signing::SharedSecret { .. });
    let acme = Custom::new("acme", scheme, secret()).handshake(Handshake::hmac("challenge", "answer"));
    let receiver = receiver(acme, 1_000);
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-".contains(byte);
    let challenge = parameter(target, "challenge")
        .filter(|challenge| (1..=64).contains(&challenge.len()) && challenge.iter().all(is_allowed));
    let mac = challenge.as_ref().map(|challenge| {
        let mac = mac::<Hmac<Sha256>>(SECRET.as_bytes(), challenge);
        mac.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    });
    let reply = answer(&receiver, target, &[]);
    let reply: Option<Value> = reply.map(|body| serde_json::from_slice(&body).expect("JSON"));
    assert_eq!(reply, mac.as_ref().map(|mac| json!({ "answer": mac })), "{target:?}");
    if let (Some(mac), Some(challenge)) = (mac, challenge) {
        // No signer needs to have signed the time of the attempt: the challenge may end with it.
        let headers = [("x-signature", &*mac), ("x-timestamp", "1767225600")];
        assert!(receiver.verify(&headers, challenge.clone().into()).is_err(), "{target:?}");
        let rest = challenge.strip_prefix(b"1767225600").unwrap_or_default();
        assert!(is_shared || receiver.verify(&headers, Bytes::copy_from_slice(rest)).is_err(), "{target:?}");
    }
}

/// Returns the value of a parameter that occurs once, by a parser of its own.
fn parameter(target: &str, name: &str) -> Option<Vec<u8>> {
    let target = target.split('#').next().unwrap_or_default();
    let query = &target[target.find('?')? + 1..];
    if query.len() > 4_096 {
        return None;
    }
    let mut found = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if decoded(key) == name {
            found.push(decoded(value).into_bytes());
        }
    }
    if found.len() == 1 { found.pop() } else { None }
}

fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, after @ ..] = rest {
        rest = after;
        let digit = |at: usize| Some(char::from(*after.get(at)?).to_digit(16)? as u8);
        bytes.push(match (*first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                rest = &after[2..];
                high << 4 | low
            }
            (b'+', ..) => b' ',
            (byte, ..) => byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Checks the ping of this text, and any signed body.
fn signed_ping(line: &[u8], body: &[u8]) {
    let acme = Custom::new("acme", HmacSha256Body::new("x-signature"), secret());
    let receiver = receiver(acme.handshake(Handshake::ping_pong("/ping", "pong")), 1 << 20);
    let signing = Signing::hmac_sha256("x-signature");
    let reply = |body: &[u8]| {
        let headers = signing.headers(SECRET, "", "", body).expect("signed");
        let verified = receiver.verify(&headers, Bytes::copy_from_slice(body)).expect("genuine");
        let reply = receiver.reply_to(&verified).map(|reply| reply.body);
        reply.map(|reply| serde_json::from_slice::<Value>(&reply).expect("JSON"))
    };
    if let Ok(text) = str::from_utf8(line) {
        let is_ping = (1..=1_024).contains(&text.len());
        let ping = json!({ "event": 1, "ping": text }).to_string();
        assert_eq!(reply(ping.as_bytes()), is_ping.then(|| json!({ "pong": text })));
    }
    if let (Some(reply), Ok(body)) = (reply(body), serde_json::from_slice::<Value>(body)) {
        assert_eq!(reply, json!({ "pong": body["ping"] }));
    }
}

fn unsigned_ping(value: &[u8]) {
    let acme = Custom::new("acme", HmacSha256Body::new("x-signature"), secret());
    let receiver = receiver(acme.handshake(Handshake::unsigned_ping("x-event", "PING")), 1_000);
    let received = |headers: &[(&str, &[u8])]| {
        let body = futures_util::stream::empty::<Result<Bytes, Infallible>>();
        block_on(receiver.receive(&RequestHead::new("POST", "/", headers), body))
            .map(|received| matches!(received, Received::Reply(_)))
    };
    let is_reply = received(&[("x-event", value)]).unwrap_or(false);
    assert_eq!(is_reply, value == b"PING");
    // With a header of the scheme it is a delivery, here a forged one.
    assert!(received(&[("x-event", value), ("x-signature", b"0")]).is_err());
}
