//! `medhook verify` accepts a recorded delivery exactly if a receiver does, explains every other one without a panic,
//! and prints neither a secret nor a part of the body.
//!
//! The input is a digit for the endpoint, the file of headers up to an empty line, and the body. `$` in a header stands
//! for the genuine signature.

use medhook::registry::PROVIDERS;
use medhook::testing::StoppedClock;
use medhook::{Bytes, NoDedupe};
use medhook_cli::parsers::{headers, verify};
use medhook_conformance::Endpoint;

use super::{NOW, SECRET, bodies};

/// Does not occur in any text of ours. If it is in a body or a value, it must not be printed.
const MARK: &str = "canary";
/// The search for causes takes longer for longer bodies.
const LONGEST: usize = 2_048;

pub(super) fn holds(data: &[u8]) {
    let Some((number, rest)) = data.split_first() else { return };
    let Some(endpoint) = endpoint(*number) else { return };
    if rest.len() > LONGEST {
        return;
    }
    let end = rest.windows(2).position(|window| window == b"\n\n");
    let (template, body) = end.map_or((rest, &b""[..]), |end| (&rest[..end + 1], &rest[end + 2..]));
    let body = Bytes::copy_from_slice(body);
    let signature = signed(&endpoint, &body).last().map(|(_, value)| value.clone()).unwrap_or_default();
    let mut file = Vec::new();
    for byte in template {
        match byte {
            b'$' if file.len() < 2 * LONGEST => file.extend_from_slice(signature.as_bytes()),
            byte => file.push(*byte),
        }
    }
    let (Ok((accepted, outputs)), Ok((sent, redacted))) =
        (verify(endpoint.clone(), &file, body.clone(), NOW), headers(&file))
    else {
        return;
    };
    let builder = endpoint.builder("property").expect("an endpoint").store(NoDedupe).clock(StoppedClock::at(NOW));
    let receiver = builder.build().expect("a receiver");
    let sent: Vec<_> = sent.iter().map(|(name, value)| (&**name, &**value)).collect();
    let delivered = receiver.verify(&sent, body).and_then(|verified| receiver.open(verified));
    if sent.iter().any(|(name, _)| name.contains(MARK)) {
        // Names of headers are printed.
        return;
    }
    // A value that a capture recognized as the secret is put back.
    assert!(!redacted.is_empty() || accepted == delivered.is_ok(), "{outputs:?} {:?}", delivered.err());
    for output in outputs {
        assert!(!output.contains(SECRET) && !output.contains(MARK), "{output}");
        assert!(!output.contains(|c: char| c.is_control() && c != '\n'), "{output:?}");
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (number, facts) in PROVIDERS.iter().enumerate() {
        let Some(endpoint) = endpoint(b'0' + number as u8) else { continue };
        let own = bodies().filter(|(provider, body)| *provider == facts.name && body.len() < 1_200);
        for (_, body) in own.take(2) {
            let head: String =
                signed(&endpoint, &body).iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
            let with = |head: String, body: &[u8]| [&[b'0' + number as u8], head.as_bytes(), b"\n", body].concat();
            let marked = String::from_utf8_lossy(&body).replace("\": \"", "\": \"canary ");
            seeds.push(with(head.clone(), &body));
            seeds.push(with(head.clone(), marked.as_bytes()));
            seeds.push(with(head.replace(&NOW.to_string(), &(NOW * 1_000).to_string()), &body));
            seeds.push(with(head.to_ascii_uppercase(), &body));
            seeds.push(with(head.replace(": ", ": \"canary"), &body));
        }
    }
    seeds
}

fn endpoint(number: u8) -> Option<Endpoint> {
    let facts = PROVIDERS.get(usize::from(number.wrapping_sub(b'0')))?;
    let mut endpoint = Endpoint::new(facts.name);
    endpoint.secrets.insert("CURRENT".to_owned(), SECRET.to_owned());
    // Some providers agree on the scheme with each endpoint.
    endpoint.builder("property").is_ok().then_some(endpoint)
}

fn signed(endpoint: &Endpoint, body: &[u8]) -> Vec<(String, String)> {
    let signing = endpoint.signing().expect("a scheme");
    signing.headers(SECRET, "msg_1", &NOW.to_string(), body).expect("signed")
}
