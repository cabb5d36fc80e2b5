//! No answer to a handshake is a signature that the same endpoint accepts.
//!
//! Any client can have a challenge answered. It then sends the MAC as a signature, in every encoding, of deliveries
//! whose headers and body are made of the challenge: as a whole, and cut in pieces at every position.

use std::convert::Infallible;

use base64ct::{Base64, Base64Unpadded, Base64UrlUnpadded, Encoding as _};

use super::Handshake;
use crate::{
    Bytes, Custom, HmacSha256Body, HmacSha512Body, MemoryStore, Received, Receiver, RequestHead, SchemeConfig, Secret,
    Secrets, SharedSecret, StandardWebhooks, TimestampedHmac,
};

/// A scheme and the headers of a forged delivery: names, and how their values are made.
struct Target {
    name: &'static str,
    scheme: SchemeConfig,
    headers: &'static [(&'static str, Value)],
}

#[derive(Clone, Copy)]
enum Value {
    /// The MAC after this prefix.
    Mac(&'static str),
    /// A piece of the challenge.
    Piece,
    /// Elements with a piece of the challenge and the MAC.
    Elements,
}

/// Every scheme. A new one needs a row, also if a handshake with a MAC cannot be built with it.
fn targets() -> Vec<Target> {
    let row = |name, scheme, headers| Target { name, scheme, headers };
    vec![
        row(
            "standard webhooks",
            StandardWebhooks::new().into(),
            &[
                ("webhook-id", Value::Piece),
                ("webhook-timestamp", Value::Piece),
                ("webhook-signature", Value::Mac("v1,")),
            ],
        ),
        row("hmac of the body", HmacSha256Body::new("x-sig").into(), &[("x-sig", Value::Mac(""))]),
        row(
            "hmac of the body with a prefix",
            HmacSha256Body::new("x-sig").prefix("sha256=").into(),
            &[("x-sig", Value::Mac("sha256="))],
        ),
        row("several MACs", HmacSha256Body::new("x-sig").separator(',').into(), &[("x-sig", Value::Mac("a,"))]),
        row("HMAC-SHA512", HmacSha512Body::new("x-sig").into(), &[("x-sig", Value::Mac(""))]),
        row("a dot", timestamped("{timestamp}.{body}"), TIMESTAMPED),
        row("no separator", timestamped("{timestamp}{body}"), TIMESTAMPED),
        row("a hyphen", timestamped("{timestamp}-{body}"), TIMESTAMPED),
        row("the body first", timestamped("{body}_{timestamp}"), TIMESTAMPED),
        row("the body in base64", timestamped("{timestamp}-{body_base64}"), TIMESTAMPED),
        row("the body in base64 after a dot", timestamped("{timestamp}.{body_base64}"), TIMESTAMPED),
        row(
            "elements",
            TimestampedHmac::elements("x-sig", "t", "v1").signed("v1-{timestamp}-{body}").into(),
            &[("x-sig", Value::Elements)],
        ),
        row(
            "an id",
            TimestampedHmac::headers("x-sig", "x-time").id_header("x-id").signed("{id}_{timestamp}-{body}").into(),
            &[("x-id", Value::Piece), ("x-time", Value::Piece), ("x-sig", Value::Mac(""))],
        ),
        row("shared secret", SharedSecret::new("x-key").into(), &[("x-key", Value::Mac(""))]),
        row("bearer token", SharedSecret::bearer().into(), &[("authorization", Value::Mac("Bearer "))]),
        row("password", SharedSecret::basic("acme").into(), &[("authorization", Value::Mac("Basic "))]),
    ]
}

const TIMESTAMPED: &[(&str, Value)] = &[("x-time", Value::Piece), ("x-sig", Value::Mac(""))];

fn timestamped(template: &str) -> SchemeConfig {
    TimestampedHmac::headers("x-sig", "x-time").signed(template).into()
}

/// The secrets: keys as text and as base64, and two of them, since only the first one answers.
fn secrets() -> [Secrets; 2] {
    let secret = |text: &str, label: &str| Secret::new(text).unwrap().labeled(label).unwrap();
    let one = || Secrets::new(secret("MDEyMzQ1Njc4OWFiY2RlZg==", "one"));
    [one(), one().also(secret("ZmVkY2JhOTg3NjU0MzIxMA==", "two")).unwrap()]
}

/// Challenges of every length, of digits (which could be a timestamp), letters, and everything that is allowed.
fn challenges() -> impl Iterator<Item = String> {
    const ALPHABETS: [&str; 4] =
        ["1700000000", "v1", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-", "-_"];
    ALPHABETS.into_iter().flat_map(|alphabet| (1..=64).map(|length| alphabet.chars().cycle().take(length).collect()))
}

fn ready<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(future)
}

/// Returns the MAC with which the receiver answers a challenge.
fn answered(receiver: &Receiver, challenge: &str) -> String {
    let headers: [(&str, &str); 0] = [];
    let target = format!("/?msg={challenge}");
    let head = RequestHead::new("GET", &target, &headers);
    let body = futures_util::stream::pending::<Result<Bytes, Infallible>>();
    let Ok(Received::Reply(reply)) = ready(receiver.receive(&head, body)) else { panic!("{challenge} is a challenge") };
    let answer = str::from_utf8(&reply.body).unwrap();
    answer
        .strip_prefix("{\"mac\":\"")
        .and_then(|rest| rest.strip_suffix("\"}"))
        .expect("the documented form")
        .to_owned()
}

/// Returns the MAC in every encoding that a scheme reads.
fn encodings(hex: &str) -> Vec<String> {
    let mut mac = [0; 32];
    base16ct::lower::decode(hex, &mut mac).expect("lower-case hexadecimal digits");
    let base64 =
        [Base64::encode_string(&mac), Base64Unpadded::encode_string(&mac), Base64UrlUnpadded::encode_string(&mac)];
    [hex.to_owned(), hex.to_uppercase()].into_iter().chain(base64).collect()
}

/// Returns the ways to cut a text into as many pieces, the last of which is the body.
fn pieces(text: &str, count: usize) -> Vec<Vec<&str>> {
    if count == 1 {
        return vec![vec![text]];
    }
    let cut = |at: usize| {
        let rest = pieces(&text[at..], count - 1);
        rest.into_iter().map(move |rest| [&[&text[..at]], &*rest].concat())
    };
    (0..=text.len()).flat_map(cut).collect()
}

#[test]
fn no_answer_is_a_signature_that_the_endpoint_accepts() {
    let (mut built, mut tried) = (Vec::new(), 0_usize);
    for Target { name, scheme, headers } in targets() {
        for secrets in secrets() {
            let custom = Custom::new("acme", scheme.clone(), secrets).handshake(Handshake::hmac("msg", "mac"));
            let builder = Receiver::builder("in", custom).store(MemoryStore::new(10));
            // The age of a timestamp that is a piece of the challenge must not be what rejects it.
            let Ok(receiver) = builder.freshness(crate::Freshness::Unchecked).build() else { continue };
            built.push(name);
            for challenge in challenges() {
                let encodings = encodings(&answered(&receiver, &challenge));
                let in_headers = headers.iter().filter(|(_, value)| !matches!(value, Value::Mac(_))).count();
                // Cutting in three takes long texts too long, so only the cuts of short ones are tried.
                if in_headers > 0 && challenge.len() > 24 {
                    continue;
                }
                for mac in &encodings {
                    for pieces in pieces(&challenge, in_headers + 1) {
                        let mut piece = pieces.iter();
                        let headers: Vec<(&str, String)> = headers
                            .iter()
                            .map(|(header, value)| match value {
                                Value::Mac(prefix) => (*header, format!("{prefix}{mac}")),
                                Value::Elements => (*header, format!("t={},v1={mac}", piece.next().expect("counted"))),
                                Value::Piece => (*header, (*piece.next().expect("counted")).to_owned()),
                            })
                            .collect();
                        let body = Bytes::copy_from_slice(piece.next().expect("the body").as_bytes());
                        let verified = receiver.verify(&headers, body);
                        assert!(verified.is_err(), "{name}: {headers:?} with a body of {challenge}");
                        tried += 1;
                    }
                }
            }
        }
    }
    built.dedup();
    let all: Vec<_> = targets().into_iter().map(|target| target.name).collect();
    let unsafe_ones: Vec<_> = all.iter().filter(|name| !built.contains(name)).copied().collect();
    assert_eq!(unsafe_ones, ["HMAC-SHA512", "the body in base64"]);
    assert!(tried > 10_000, "{tried}");
}

#[test]
fn a_scheme_that_signs_the_body_alone_is_no_oracle() {
    for target in targets().into_iter().filter(|target| target.name.starts_with("hmac of the body")) {
        let [secrets, _] = secrets();
        let custom = Custom::new("acme", target.scheme, secrets).handshake(Handshake::hmac("msg", "mac"));
        let built = Receiver::builder("in", custom).store(MemoryStore::new(10)).build();
        // Every body must then begin with `{` or `[`, which no challenge contains.
        let receiver = built.unwrap();
        let mac = answered(&receiver, "abc");
        let prefix = if target.name.ends_with("prefix") { "sha256=" } else { "" };
        let headers = [("x-sig", format!("{prefix}{mac}"))];
        let rejection = receiver.verify(&headers, Bytes::from_static(b"abc")).unwrap_err();
        assert_eq!(rejection.reason(), crate::Reason::AmbiguousBody);
    }
}
