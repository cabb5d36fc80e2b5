//! A proven body is handed over whatever it is, reads as an event without harm, and shows none of itself; and proves
//! nothing any more once a bit of it is another.
//!
//! The bytes are a letter for the receiver, the place of the bit, and the body.

use medhook::testing::Signing;
use medhook::{Azodha, Bytes, Cair, Fasten, HealthSync, MediQuo, Reason, Receiver, azodha, cair};

use super::{NOW, SECRET, bodies, receiver, secret};
use crate::providers;

/// Occurs in nothing of ours. Where it is in a body, it must not be in what is printed.
const MARK: &str = "canary";
const LIMIT: usize = 1 << 20;

struct Endpoint {
    letter: u8,
    provider: &'static str,
    receiver: fn() -> Receiver,
    signing: fn() -> Signing,
}

const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        letter: b'a',
        provider: "azodha",
        receiver: || receiver(Azodha::hmac_sha256("x-signature", secret()), LIMIT),
        signing: || Signing::hmac_sha256("x-signature"),
    },
    Endpoint {
        letter: b'A',
        provider: "azodha",
        receiver: || {
            let kind = azodha::Kind::ALL[0].as_str();
            receiver(Azodha::hmac_sha256("x-signature", secret()).pin_kind(kind), LIMIT)
        },
        signing: || Signing::hmac_sha256("x-signature"),
    },
    Endpoint {
        letter: b'c',
        provider: "cair",
        receiver: || receiver(Cair::hmac_sha256("x-signature", secret()), LIMIT),
        signing: || Signing::hmac_sha256("x-signature"),
    },
    Endpoint {
        letter: b'C',
        provider: "cair",
        receiver: || receiver(Cair::hmac_sha256("x-signature", secret()).pin_kind(cair::Kind::ChartAnalysis), LIMIT),
        signing: || Signing::hmac_sha256("x-signature"),
    },
    Endpoint {
        letter: b'f',
        provider: "fasten",
        receiver: || receiver(Fasten::any_mode(secret()), LIMIT),
        signing: || Signing::StandardWebhooks,
    },
    Endpoint {
        letter: b'F',
        provider: "fasten",
        receiver: || receiver(Fasten::live(secret()), LIMIT),
        signing: || Signing::StandardWebhooks,
    },
    Endpoint {
        letter: b'T',
        provider: "fasten",
        receiver: || receiver(Fasten::test(secret()), LIMIT),
        signing: || Signing::StandardWebhooks,
    },
    Endpoint {
        letter: b'h',
        provider: "healthsync",
        receiver: || receiver(HealthSync::new(secret()), LIMIT),
        signing: Signing::healthsync,
    },
    Endpoint {
        letter: b'm',
        provider: "mediquo",
        receiver: || receiver(MediQuo::new(secret()), LIMIT),
        signing: Signing::mediquo,
    },
];

pub(super) fn holds(data: &[u8]) {
    let [letter, high, low, body @ ..] = data else { return };
    let Some(endpoint) = ENDPOINTS.iter().find(|endpoint| endpoint.letter == *letter) else { return };
    let body = Bytes::copy_from_slice(body);
    let receiver = (endpoint.receiver)();
    let signing = (endpoint.signing)();
    let headers = signing.headers(SECRET, "msg_1", &NOW.to_string(), &body).expect("signed");

    let verified = receiver.verify(&headers, body.clone()).expect("what was signed verifies");
    assert_eq!(verified.body(), &body);
    match receiver.open(verified) {
        Ok(delivery) => {
            assert_eq!(delivery.body(), &body);
            let read = providers::read(&delivery);
            shows_none(&body, &format!("{delivery:?} {:?} {}", read.drifted, read.printed));
            assert!(read.drifted.len() <= 16);
            let again = receiver.verify(&headers, body.clone()).expect("still genuine");
            let again = receiver.open(again).expect("still fresh");
            assert_eq!(again.event_key(), delivery.event_key());
            assert_eq!(providers::read(&again).printed, read.printed);
        }
        Err(rejection) => {
            let (reason, provider) = (rejection.reason(), endpoint.provider);
            let may = match reason {
                Reason::Stale | Reason::InTheFuture | Reason::TimeMissing => provider == "healthsync",
                Reason::WrongMode => *letter == b'F',
                Reason::SecretModeMismatch => *letter == b'T',
                _ => false,
            };
            assert!(may, "{provider}: a genuine delivery was refused: {reason}");
            shows_none(&body, &format!("{rejection:?} {rejection}"));
        }
    }

    let bit = usize::from(*high) << 8 | usize::from(*low);
    let mut altered = body.to_vec();
    if let Some(byte) = altered.get_mut(bit / 8) {
        *byte ^= 1 << (bit % 8);
        let verdict = receiver.verify(&headers, altered.into()).map(drop).map_err(|rejection| rejection.reason());
        // A shared secret proves the sender alone.
        let expected = if endpoint.provider == "mediquo" { Ok(()) } else { Err(Reason::SignatureMismatch) };
        assert_eq!(verdict, expected, "bit {bit}");
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let marked = |body: &Bytes| {
        // Every text that is a value becomes the mark; the kind stays, since it stands first or is told by shape.
        let text = String::from_utf8_lossy(body).replace("\": \"", "\": \"canary ");
        Bytes::from(text)
    };
    let all = bodies().flat_map(|(provider, body)| {
        let endpoints = ENDPOINTS.iter().filter(move |endpoint| endpoint.provider == provider);
        endpoints.flat_map(move |endpoint| {
            [body.clone(), marked(&body)].map(|body| [&[endpoint.letter, 0, 9], &*body].concat())
        })
    });
    all.collect()
}

fn shows_none(body: &[u8], printed: &str) {
    let marked = body.windows(MARK.len()).any(|window| window == MARK.as_bytes());
    assert!(!(marked && printed.contains(MARK)), "a part of the body is printed: {printed}");
}
