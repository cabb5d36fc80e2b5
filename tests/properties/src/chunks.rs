//! The verdict on a body does not depend on how it is split into chunks.
//!
//! The input is a letter for the scheme, the number of repetitions of the body, the number of the following bytes
//! that are lengths to split at, and the body. Genuine, altered and oversized (by one byte) bodies are tried.

use std::cell::RefCell;
use std::convert::Infallible;

use medhook::testing::Signing;
use medhook::{
    Bytes, Custom, HmacSha256Body, Reason, Receiver, RequestHead, SchemeConfig, SharedSecret, StandardWebhooks,
};
use tokio::runtime::{Builder, Runtime};

use super::{NOW, SECRET, bodies, receiver, secret};

pub(super) fn holds(data: &[u8]) {
    let [letter, times, cuts, rest @ ..] = data else { return };
    let (scheme, signing): (SchemeConfig, Signing) = match letter {
        b's' => (StandardWebhooks::new().into(), Signing::standard_webhooks()),
        b'h' => (HmacSha256Body::new("x-signature").into(), Signing::hmac_sha256("x-signature")),
        b't' => (SharedSecret::new("x-token").into(), Signing::shared_secret("x-token")),
        _ => return,
    };
    let (cuts, body) = rest.split_at(rest.len().min(usize::from(*cuts)));
    // Long enough to be hashed in several parts, and short enough for a fast run.
    let times = usize::from(*times).clamp(1, 1 + 100_000 / body.len().max(1));
    let body = body.repeat(times);
    let headers = signing.headers(SECRET, "msg_1", &NOW.to_string(), &body).expect("signed");

    let roomy = receiver(Custom::new("acme", scheme, secret()).id_pointer("/id"), body.len().max(1));
    let mut altered = body.clone();
    altered.last_mut().into_iter().for_each(|byte| *byte ^= 1);
    let longer = [&*body, b" "].concat();
    for body in [body, altered, longer] {
        let whole = roomy.verify(&headers, body.clone().into()).map(|verified| verified.body().clone());
        let whole = whole.map_err(|rejection| rejection.reason());
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
    all.collect()
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
    thread_local! {
        static RUNTIME: RefCell<Runtime> =
            RefCell::new(Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime"));
    }
    let body = futures_util::stream::iter(pieces.iter().cloned().map(Ok::<_, Infallible>));
    RUNTIME.with_borrow(|runtime| {
        let delivery = runtime.block_on(receiver.receive(&RequestHead::new("POST", "/", headers), body));
        delivery.map(drop).map_err(|rejection| rejection.reason())
    })
}
