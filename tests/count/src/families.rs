//! `verify` of each family of schemes, and the same by hand.

use std::hint::black_box;

use bytes::Bytes;
use hmac::Mac;
use http::{HeaderMap, HeaderName, HeaderValue};
use medhook::testing::{Signing, StoppedClock};
use medhook::{
    Custom, Encoding, HmacSha256Body, NoDedupe, Receiver, SchemeConfig, Secret, SharedSecret, TimestampedHmac,
};

use crate::Subject;
use crate::apps::{Fresh, LAYER};
use crate::by_hand::Rejected;
use crate::rows::{BODY_LENGTH, FIRST, Steps, header};
use crate::setting::NOW;
use crate::signed::{self, HMAC_HEADER, HMAC_PREFIX, HmacSha256, TEXT_SECRET};

type Verify = Box<dyn Fn(&HeaderMap, &[u8]) -> Result<(), Rejected>>;

/// Returns the deliveries of a family's row.
pub(super) fn family(row: &str, by_hand: bool) -> Option<Box<dyn Subject>> {
    let hex = Encoding::Hex;
    let body = || HmacSha256Body::new(HMAC_HEADER).prefix(HMAC_PREFIX).encoding(hex);
    let (scheme, theirs): (SchemeConfig, Verify) = match row {
        "verify, HMAC of the body" => {
            let key = signed::text_key();
            let verify = move |headers: &HeaderMap, body: &[u8]| {
                let text = get(headers, HMAC_HEADER)?.strip_prefix(HMAC_PREFIX).ok_or(Rejected)?;
                matches(&key, &[body], text)
            };
            (body().into(), Box::new(verify))
        }
        "verify, two HMACs" => {
            let key = signed::text_key();
            let verify = move |headers: &HeaderMap, body: &[u8]| {
                let mut texts = get(headers, HMAC_HEADER)?.split(',').filter_map(|text| text.strip_prefix(HMAC_PREFIX));
                texts.any(|text| matches(&key, &[body], text).is_ok()).then_some(()).ok_or(Rejected)
            };
            (body().separator(',').into(), Box::new(verify))
        }
        "verify, time in element" => {
            let key = signed::text_key();
            let verify = move |headers: &HeaderMap, body: &[u8]| {
                let (mut time, mut signatures) = (None, Vec::new());
                for element in get(headers, HMAC_HEADER)?.split(',') {
                    match element.split_once('=') {
                        Some(("t", text)) => time = Some(text),
                        Some(("v1", text)) => signatures.push(text),
                        _ => {}
                    }
                }
                let time = fresh(time.ok_or(Rejected)?)?;
                let message = [time.as_bytes(), b".", body];
                signatures.iter().any(|text| matches(&key, &message, text).is_ok()).then_some(()).ok_or(Rejected)
            };
            (TimestampedHmac::elements(HMAC_HEADER, "t", "v1").encoding(hex).into(), Box::new(verify))
        }
        "verify, time in a header" => {
            let key = signed::text_key();
            let verify = move |headers: &HeaderMap, body: &[u8]| {
                let text = get(headers, HMAC_HEADER)?;
                let time = fresh(get(headers, "x-timestamp")?)?;
                matches(&key, &[time.as_bytes(), b".", body], text)
            };
            (TimestampedHmac::headers(HMAC_HEADER, "x-timestamp").encoding(hex).into(), Box::new(verify))
        }
        "verify, bearer token" => {
            let verify = |headers: &HeaderMap, _: &[u8]| {
                let token = get(headers, "authorization")?.strip_prefix("Bearer ").ok_or(Rejected)?;
                let pairs = token.bytes().zip(TEXT_SECRET.bytes());
                let difference = pairs.fold(0, |difference, (one, other)| black_box(difference | (one ^ other)));
                (token.len() == TEXT_SECRET.len() && difference == 0).then_some(()).ok_or(Rejected)
            };
            (SharedSecret::bearer().into(), Box::new(verify))
        }
        _ => return None,
    };
    let receiver = receiver(scheme.clone());
    let is_list = row == "verify, two HMACs";
    Some(Steps::new(deliveries(Signing::of(scheme), is_list), move |request: &mut Option<(HeaderMap, Bytes)>| {
        let Some((headers, body)) = request else { return };
        if by_hand {
            theirs(headers, body).expect("genuine");
        } else {
            drop(black_box(receiver.verify(headers, std::mem::take(body)).expect("genuine")));
        }
    }))
}

fn receiver(scheme: SchemeConfig) -> Receiver {
    let acme = Custom::new("acme", scheme, Secret::new(TEXT_SECRET).expect("a secret"));
    let builder = Receiver::builder("acme", acme).store(NoDedupe).clock(StoppedClock::at(NOW));
    builder.build().expect("a receiver")
}

/// Returns the deliveries of other rows with the headers of this scheme. In a list, a MAC of another key is the first.
fn deliveries(signing: Signing, is_list: bool) -> impl FnMut() -> (HeaderMap, Bytes) {
    let mut fresh = Fresh(FIRST);
    move || {
        let (head, body) = fresh.request(LAYER).into_parts();
        assert_eq!(body.len(), BODY_LENGTH);
        let mut headers = head.headers;
        for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            headers.remove(name);
        }
        for (name, value) in signing.headers(TEXT_SECRET, "", &NOW.to_string(), &body).expect("signed") {
            let value = if is_list { format!("{HMAC_PREFIX}{},{value}", "0".repeat(64)) } else { value };
            headers.insert(HeaderName::try_from(name).expect("a name"), HeaderValue::try_from(value).expect("a value"));
        }
        (headers, body)
    }
}

fn get<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str, Rejected> {
    header(headers)(name).ok_or(Rejected)
}

fn fresh(time: &str) -> Result<&str, Rejected> {
    let sent: i64 = time.parse().map_err(|_| Rejected)?;
    if sent.abs_diff(NOW) > 300 { Err(Rejected) } else { Ok(time) }
}

fn matches(key: &HmacSha256, parts: &[&[u8]], text: &str) -> Result<(), Rejected> {
    let mut tag = [0; 32];
    let tag = base16ct::mixed::decode(text, &mut tag).map_err(|_| Rejected)?;
    let mut mac = key.clone();
    parts.iter().for_each(|part| mac.update(part));
    mac.verify_slice(tag).map_err(|_| Rejected)
}
