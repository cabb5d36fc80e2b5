//! The verdict on a body does not depend on how it is split into chunks.
//!
//! The input is a letter for the scheme (`f` and four bytes for a [family](super::family)), the number of repetitions of
//! the body, the number of the following bytes that are lengths to split at, and the body. Genuine, altered and
//! oversized (by one byte) bodies are tried.

use std::convert::Infallible;

use medhook::testing::Signing;
use medhook::{
    Bytes, Custom, HmacSha256Body, Reason, Receiver, RequestHead, SchemeConfig, Secret, SharedSecret, StandardWebhooks,
};

use super::family::Family;
use super::{NOW, SECRET, block_on, bodies, receiver, secret};

pub(super) fn holds(data: &[u8]) {
    match data {
        [b'f', a, b, c, d, rest @ ..] => {
            let family = Family::of([*a, *b, *c, *d]);
            let headers = |body: &[u8]| family.headers("msg_1", &family.time(NOW), body);
            splits(family.scheme(), family.secret(), headers, family.lacks_separator(), family.signs_body(), rest);
        }
        [letter, rest @ ..] => {
            let (scheme, signing): (SchemeConfig, Signing) = match letter {
                b's' => (StandardWebhooks::new().into(), Signing::standard_webhooks()),
                b'h' => (HmacSha256Body::new("x-signature").into(), Signing::hmac_sha256("x-signature")),
                b't' => (SharedSecret::new("x-token").into(), Signing::shared_secret("x-token")),
                _ => return,
            };
            let headers = |body: &[u8]| signing.headers(SECRET, "msg_1", &NOW.to_string(), body).expect("signed");
            splits(scheme, secret(), headers, false, *letter != b't', rest);
        }
        [] => {}
    }
}

/// Checks a delivery that is signed as `headers` does, and altered ones.
fn splits(
    scheme: SchemeConfig,
    secret: Secret,
    headers: impl Fn(&[u8]) -> Vec<(String, String)>,
    needs_json: bool,
    signs_body: bool,
    data: &[u8],
) {
    let [times, cuts, rest @ ..] = data else { return };
    let (cuts, body) = rest.split_at(rest.len().min(usize::from(*cuts)));
    // Long enough to be hashed in several parts, and short enough for a fast run.
    let times = usize::from(*times).clamp(1, 1 + 100_000 / body.len().max(1));
    let body = body.repeat(times);
    let headers = headers(&body);

    let roomy = receiver(Custom::new("acme", scheme, secret).id_pointer("/id"), body.len().max(1));
    let genuine = roomy.verify(&headers, body.clone().into()).map(drop).map_err(|rejection| rejection.reason());
    let is_ambiguous = needs_json && !matches!(body.first(), Some(b'{' | b'['));
    assert_eq!(genuine, if is_ambiguous { Err(Reason::AmbiguousBody) } else { Ok(()) });
    let mut altered = body.clone();
    altered.last_mut().into_iter().for_each(|byte| *byte ^= 1);
    let longer = [&*body, b" "].concat();
    for (is_altered, body) in [(false, body.clone()), (!body.is_empty(), altered), (true, longer)] {
        let whole = roomy.verify(&headers, body.clone().into()).map(|verified| verified.body().clone());
        let whole = whole.map_err(|rejection| rejection.reason());
        assert!(!(is_altered && signs_body) || whole.is_err(), "a change of the body is not noticed");
        let pieces = pieces(&body, cuts);
        assert_eq!(pushed(&roomy, &headers, &pieces), whole);
        assert_eq!(received(&roomy, &headers, &pieces), whole.map(drop));
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let bodies = bodies().map(|(_, body)| body).step_by(20);
    let all = bodies.zip(b"sht".iter().cycle()).flat_map(|(body, letter)| {
        [[*letter, 1, 0].as_slice(), &[*letter, 3, 4, 1, 0, 0, 200], &[*letter, 255, 2, 255, 255]]
            .map(|head| [head, &*body].concat())
    });
    let families = Family::all().zip((0..).map(|number: usize| number * 37));
    let families = families.flat_map(|(family, length)| {
        let body = [&b"{\"id\":\""[..], "x".repeat(length % 3_001).as_bytes(), b"\"}"].concat();
        [(&[1, 3, 0, 1, 5][..], body.clone()), (&[2, 1, 27], body), (&[1, 1, 1], b"x".repeat(length % 5))]
            .map(|(head, body)| [&b"f"[..], &family, head, &body].concat())
    });
    all.chain(families.step_by(4)).collect()
}

/// Splits into chunks whose lengths are the squares of these, repeated as needed, but at most a thousand chunks.
fn pieces(body: &[u8], cuts: &[u8]) -> Vec<Bytes> {
    let whole = Bytes::copy_from_slice(body);
    let mut pieces = Vec::new();
    let mut from = 0;
    let mut cuts = cuts.iter().cycle();
    while pieces.len() < 1_000 {
        let Some(length) = cuts.next() else { break };
        // Squared for longer chunks, which make the receiver yield to the executor more often.
        let until = (from + usize::from(*length) * usize::from(*length)).min(whole.len());
        pieces.push(whole.slice(from..until));
        from = until;
        if from == whole.len() {
            break;
        }
    }
    pieces.push(whole.slice(from..));
    pieces
}

fn pushed(receiver: &Receiver, headers: &[(String, String)], pieces: &[Bytes]) -> Result<Bytes, Reason> {
    let verified = || {
        let mut intake = receiver.begin(&RequestHead::new("POST", "/", headers))?;
        pieces.iter().try_for_each(|piece| intake.push(piece.clone()))?;
        intake.finish().map(|verified| verified.body().clone())
    };
    verified().map_err(|rejection| rejection.reason())
}

fn received(receiver: &Receiver, headers: &[(String, String)], pieces: &[Bytes]) -> Result<(), Reason> {
    let body = futures_util::stream::iter(pieces.iter().cloned().map(Ok::<_, Infallible>));
    let delivery = block_on(receiver.receive(&RequestHead::new("POST", "/", headers), body));
    delivery.map(drop).map_err(|rejection| rejection.reason())
}
