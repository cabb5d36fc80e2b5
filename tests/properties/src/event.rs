//! A verified body is delivered to the handler whatever it contains, is decoded without a panic, and no part of it is
//! printed. With one bit flipped it is not verified.
//!
//! The input is the number of the endpoint, the position of the bit, and the body.

use medhook::registry::{EqualBytes, OptionName, PROVIDERS, ProviderFacts, ProviderOptions, SecretMode};
use medhook::testing::{Signing, StoppedClock};
use medhook::{Bytes, Freshness, NoDedupe, Reason, Receiver, cair};

use super::{NOW, SECRET, bodies, secret};
use crate::providers;

/// Does not occur in any text of ours. If it is in a body, it must not be printed.
const MARK: &str = "canary";
const LIMIT: usize = 1 << 20;

/// An endpoint, selected by the first byte.
struct Endpoint {
    facts: &'static ProviderFacts,
    options: ProviderOptions,
}

/// Returns each provider's simplest endpoint, and one for each option that changes how bodies are read.
fn endpoints() -> Vec<Endpoint> {
    let of_provider = |facts: &&'static ProviderFacts| {
        let plain = providers::options(facts, secret());
        let mut all = vec![plain.clone()];
        if facts.takes(OptionName::PinKind) {
            let mut pinned = plain.clone();
            pinned.pin_kind = facts.kinds.first().map(|kind| kind.name.to_owned());
            all.push(pinned);
        }
        if facts.takes(OptionName::Mode) {
            for mode in [SecretMode::Live, SecretMode::Test] {
                let mut of_mode = plain.clone();
                of_mode.mode = Some(mode);
                all.push(of_mode);
            }
        }
        let facts = *facts;
        all.into_iter().map(move |options| Endpoint { facts, options }).collect::<Vec<_>>()
    };
    PROVIDERS.iter().flat_map(of_provider).collect()
}

pub(super) fn holds(data: &[u8]) {
    let [number, high, low, body @ ..] = data else { return };
    let endpoints = endpoints();
    let Some(Endpoint { facts, options }) = endpoints.get(usize::from(*number)) else { return };
    let body = Bytes::copy_from_slice(body);
    let builder = Receiver::configured("property", facts, options).expect("options that fit");
    let builder = builder.store(NoDedupe).clock(StoppedClock::at(NOW)).body_limit(LIMIT);
    let receiver = builder.build().expect("a receiver");
    let signing = providers::signing(facts, options);
    let headers = signing.headers(SECRET, "msg_1", &NOW.to_string(), &body).expect("signed");

    let verified = receiver.verify(&headers, body.clone()).expect("what was signed verifies");
    assert_eq!(verified.body(), &body);
    match receiver.open(verified) {
        Ok(delivery) => {
            assert_eq!(delivery.body(), &body);
            let read = providers::read(&delivery);
            shows_none(&body, &format!("{delivery:?} {:?} {}", read.drifted, read.printed));
            assert!(read.drifted.len() <= 16);
            if let Ok(cair::Event::ChartAnalysis(chart)) = delivery.decode() {
                let findings = chart.findings().map(|(path, finding)| format!("{path} {finding:?} "));
                shows_none(&body, &findings.collect::<String>());
            }
            let again = receiver.verify(&headers, body.clone()).expect("still genuine");
            let again = receiver.open(again).expect("still fresh");
            let is_same = again.event_key() == delivery.event_key();
            match (delivery.id(), facts.equal_bytes(delivery.kind())) {
                (Some(_), _) => assert!(is_same, "it has an id"),
                (None, EqualBytes::MayRecur(_)) => assert!(!is_same, "each delivery may be another event"),
                // The same, if the body contains the event's own id or time.
                (None, EqualBytes::SameEvent(..)) => {}
            }
            assert_eq!(providers::read(&again).printed, read.printed);
        }
        Err(rejection) => {
            let reason = rejection.reason();
            let may = match reason {
                Reason::Stale | Reason::InTheFuture | Reason::TimeMissing => {
                    matches!(facts.policy.freshness, Freshness::EventTime { .. })
                }
                Reason::WrongMode => options.mode == Some(SecretMode::Live),
                Reason::SecretModeMismatch => options.mode == Some(SecretMode::Test),
                _ => false,
            };
            assert!(may, "{}: a genuine delivery was rejected: {reason}", facts.name);
            shows_none(&body, &format!("{rejection:?} {rejection}"));
        }
    }

    let bit = usize::from(*high) << 8 | usize::from(*low);
    let mut altered = body.to_vec();
    if let Some(byte) = altered.get_mut(bit / 8) {
        *byte ^= 1 << (bit % 8);
        let verdict = receiver.verify(&headers, altered.into()).map(drop).map_err(|rejection| rejection.reason());
        // A shared secret authenticates the sender only.
        let shared_secret = matches!(signing, Signing::SharedSecret { .. });
        let expected = if shared_secret { Ok(()) } else { Err(Reason::SignatureMismatch) };
        assert_eq!(verdict, expected, "bit {bit}");
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let marked = |body: &Bytes| {
        // Replaces every string value by the mark. The kind stays, since it comes first or is known by the shape.
        let text = String::from_utf8_lossy(body).replace("\": \"", "\": \"canary ");
        Bytes::from(text)
    };
    let endpoints = endpoints();
    let all = bodies().flat_map(|(provider, body)| {
        let of_provider = (0_u8..).zip(&endpoints).filter(move |(_, endpoint)| endpoint.facts.name == provider);
        of_provider
            .flat_map(move |(number, _)| [body.clone(), marked(&body)].map(|body| [&[number, 0, 9], &*body].concat()))
    });
    all.collect()
}

fn shows_none(body: &[u8], printed: &str) {
    let marked = body.windows(MARK.len()).any(|window| window == MARK.as_bytes());
    assert!(!(marked && printed.contains(MARK)), "a part of the body is printed: {printed}");
}
