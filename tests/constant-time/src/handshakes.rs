//! Handshakes with a token that is wrong in different places.

use std::convert::Infallible;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use medhook::testing::Comparison;
use medhook::{
    Custom, EchoToken, Handshake, HmacSha256Body, NoDedupe, Received, Receiver, RequestHead, SchemeConfig, Secret,
    Secrets, SharedSecret,
};

use crate::attempts::{Attempt, Group};

const TOKENS: [&str; 4] =
    ["a-long-random-token-1", "a-long-random-token-2", "a-long-random-token-3", "a-long-random-token-4"];

/// Returns the groups of the tokens of handshakes.
pub fn groups() -> Vec<Group> {
    [true, false].into_iter().flat_map(|in_header| [forged(in_header), which_token_matches(in_header)]).collect()
}

/// Returns the groups of the keys that answer challenges.
pub fn answers() -> Vec<Group> {
    let hmac: SchemeConfig = HmacSha256Body::new("x-signature").prefix("sha256=").into();
    [(hmac, "HMAC-SHA256"), (SharedSecret::new("x-key").into(), "a shared secret")].map(answered_by).into()
}

const LONG_KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789";

/// Any client can have a challenge answered, under whichever key the endpoint has.
fn answered_by((scheme, name): (SchemeConfig, &str)) -> Group {
    let keys = [
        ("a key", "a-long-random-key-0001"),
        ("another one", "z-other-random-key-002"),
        ("one of 90 bytes, which is hashed once when the receiver is built", LONG_KEY),
    ];
    let attempts = keys.map(|(name, key)| {
        let custom = Custom::new("counted", scheme.clone(), Secret::new(key).expect("a secret"));
        let handshake = Handshake::hmac("challenge", "answer");
        assert_eq!(Comparison::of_handshake(&handshake), None);
        attempt_at(name, true, custom.handshake(handshake), "/?challenge=abcdefgh".to_owned(), String::new())
    });
    Group {
        name: format!("handshake answered with a MAC under {name}: its key"),
        attempts: attempts.into(),
        control: false,
    }
}

fn forged(in_header: bool) -> Group {
    let genuine = TOKENS[3];
    let forgeries = [
        ("wrong in its first byte", genuine.replacen('a', "b", 1)),
        ("wrong in the middle", genuine.replace("random", "rancom")),
        ("wrong in its last byte", genuine.replace('4', "5")),
        ("wrong in every byte", "z".repeat(genuine.len())),
    ];
    let attempts = forgeries.into_iter().map(|(name, token)| attempt(name, false, in_header, token)).collect();
    Group { name: format!("handshake token in {}: forged", place(in_header)), attempts, control: false }
}

fn which_token_matches(in_header: bool) -> Group {
    let names = ["the first", "the second", "the third", "the fourth"];
    let genuine = names.into_iter().zip(TOKENS);
    let attempts = genuine.map(|(name, token)| attempt(name, true, in_header, token.to_owned())).collect();
    Group {
        name: format!("handshake token in {}: which of 4 is presented", place(in_header)),
        attempts,
        control: false,
    }
}

fn place(in_header: bool) -> &'static str {
    if in_header { "a header" } else { "the query" }
}

fn attempt(name: &'static str, accepted: bool, in_header: bool, token: String) -> Attempt {
    let secret =
        |(n, text): (usize, &str)| Secret::new(text).expect("a secret").labeled(&n.to_string()).expect("a label");
    let mut secrets = TOKENS.into_iter().enumerate().map(secret);
    let first = Secrets::new(secrets.next().expect("at least one"));
    let tokens = secrets.fold(first, |all, secret| all.also(secret).expect("no two alike"));
    let place =
        if in_header { EchoToken::header("x-token", tokens.clone()) } else { EchoToken::parameter("token", tokens) };
    let scheme = SharedSecret::new("x-key");
    let custom = Custom::new("counted", scheme, Secret::new("a-long-random-key").expect("a secret"));
    let handshake = Handshake::echo_text("challenge", place);
    assert_eq!(Comparison::of_handshake(&handshake), Some(Comparison::HandshakeToken));
    // The token is in both places, of which one is read.
    let target = format!("/?token={token}&challenge=abc");
    attempt_at(name, accepted, custom.handshake(handshake), target, token)
}

fn attempt_at(name: &'static str, accepted: bool, custom: Custom, target: String, token: String) -> Attempt {
    let receiver = Receiver::builder("counted", custom).store(NoDedupe).build().expect("a receiver");
    Attempt { name, accepted, run: Box::new(move || is_answered(&receiver, &target, &token)) }
}

fn is_answered(receiver: &Receiver, target: &str, token: &str) -> bool {
    let headers = [("x-token", token)];
    let head = RequestHead::new("GET", target, &headers);
    let body = futures_util::stream::empty::<Result<Bytes, Infallible>>();
    let received = pin!(receiver.receive(&head, body)).poll(&mut Context::from_waker(Waker::noop()));
    matches!(received, Poll::Ready(Ok(Received::Reply(_))))
}
