//! A signature verifies one delivery: no two different triples of an id, a timestamp and a body that are accepted have
//! one signed message.
//!
//! The input is four bytes for the [family](super::family), of which the unit and the template count, lines with the id
//! and the timestamp, and the body. Every other triple that the template joins to the same message is tried with the
//! signature of that message. Ages are not checked, so that any timestamp may be accepted.

use base64ct::{Base64, Encoding as _};
use medhook::{Bytes, Custom, Freshness, NoDedupe, Reason, Receiver, testing::StoppedClock};

use super::NOW;
use super::family::{Family, Kind, TEMPLATES};

/// The longest message, so that all its splits are tried in a short time.
const LONGEST: usize = 96;

#[derive(Debug, Clone, Default, PartialEq)]
struct Triple {
    id: Vec<u8>,
    time: Vec<u8>,
    body: Vec<u8>,
}

pub(super) fn holds(data: &[u8]) {
    let Some((choice, rest)) = data.split_first_chunk::<4>() else { return };
    let mut family = Family::of(*choice);
    if !matches!(family.kind, Kind::Headers | Kind::StandardWebhooks) {
        family = Family::of([b'4', choice[1], choice[2], choice[3]]);
    }
    let mut lines = rest.splitn(3, |byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default().to_vec();
    let triple = Triple { id: line(), time: line(), body: line() };
    let message = family.message(&triple.id, &triple.time, &triple.body);
    if message.len() > LONGEST {
        return;
    }
    let triples = triples(family.template, &message);
    // Without an id in the template, that of the input is not part of the message.
    let is_known = Triple { id: if family.has_id() { triple.id } else { Vec::new() }, ..triple };
    assert!(triples.contains(&is_known), "{is_known:?} {triples:?}");

    let receiver = Receiver::builder("split", Custom::new("acme", family.scheme(), family.secret()));
    let receiver = receiver.store(NoDedupe).clock(StoppedClock::at(NOW)).freshness(Freshness::Unchecked);
    let receiver = receiver.body_limit(LONGEST).build().expect("a receiver");
    let accepted: Vec<_> = triples.iter().filter(|triple| is_accepted(&receiver, &family, triple, &message)).collect();
    assert!(accepted.len() <= 1, "{family:?}: {accepted:?} have one signature");
}

/// Returns whether the receiver accepts a triple with the signature of this message.
fn is_accepted(receiver: &Receiver, family: &Family, triple: &Triple, message: &[u8]) -> bool {
    let Triple { id, time, body } = triple;
    assert_eq!(family.message(id, time, body), message);
    let signature = family.signature_of(message);
    let headers: Vec<(&str, &[u8])> = match family.kind {
        Kind::StandardWebhooks => {
            vec![("webhook-id", id), ("webhook-timestamp", time), ("webhook-signature", signature.as_bytes())]
        }
        _ => vec![("x-id", id), ("x-timestamp", time), ("x-signature", signature.as_bytes())],
    };
    let verdict = receiver.verify(&headers, Bytes::copy_from_slice(body)).map(drop);
    let reason = verdict.map_err(|rejection| rejection.reason());
    assert_ne!(reason, Err(Reason::SignatureMismatch), "{family:?} {triple:?}: the message is the signed one");
    reason.is_ok()
}

/// Returns all triples that the template joins to this message.
fn triples(template: &str, message: &[u8]) -> Vec<Triple> {
    if template.is_empty() {
        return if message.is_empty() { vec![Triple::default()] } else { Vec::new() };
    }
    let length = match template.starts_with('{') {
        true => template.find('}').expect("a placeholder") + 1,
        false => template.find('{').unwrap_or(template.len()),
    };
    let (token, template) = template.split_at(length);
    if !token.starts_with('{') {
        return message.strip_prefix(token.as_bytes()).map(|rest| triples(template, rest)).unwrap_or_default();
    }
    let mut found = Vec::new();
    for (part, rest) in (0..=message.len()).map(|at| message.split_at(at)) {
        for mut triple in triples(template, rest) {
            match token {
                "{id}" => triple.id = part.to_vec(),
                "{timestamp}" => triple.time = part.to_vec(),
                "{body}" => triple.body = part.to_vec(),
                _ => match str::from_utf8(part).ok().and_then(|part| Base64::decode_vec(part).ok()) {
                    Some(body) => triple.body = body,
                    None => continue,
                },
            }
            found.push(triple);
        }
    }
    found
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    // Texts in which a part could end elsewhere: digits, separators and whole timestamps, at the start and at the end.
    let units = [
        (0, ["1767225600", "17672256001"]),
        (16, ["1767225600000", "17672256001767225600"]),
        (32, ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.5+00:00"]),
    ];
    let bodies = [
        "{\"a\":1}",
        "{}",
        "[",
        "0{}",
        "1767225600{}",
        "{1767225600{}",
        "{}0.1767225600",
        "{}91767225600",
        ".1767225600.{}",
        "{}2026-01-01T00:00:00Z",
        "{}-2026-01-01T00:00:00Z",
        "a.1767225600.{",
        "a:{}:\n",
    ];
    for template in 0..TEMPLATES.len() {
        for (unit, times) in units {
            for (number, body) in bodies.iter().enumerate() {
                let (id, time) = (["m", "m.1", "1", "17672256009"][number % 4], times[(number + template) % 2]);
                let choice = [b'4', b'0', b'0' + unit, b'0' + template as u8];
                seeds.push([&choice[..], format!("{id}\n{time}\n{body}").as_bytes()].concat());
            }
        }
    }
    seeds.extend(bodies.map(|body| format!("5000m\n1767225600\n{body}").into_bytes()));
    seeds
}
