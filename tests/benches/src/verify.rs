//! `verify`, compared with the bare MAC and with other crates that verify webhooks.

use std::hint::black_box;

use bytes::Bytes;
use hmac::Mac;
use http::{HeaderMap, HeaderValue};
use medhook::testing::Signing;
use medhook::{
    Custom, Encoding, Fasten, HmacSha256Body, HmacSha512Body, NoDedupe, Provider, Receiver, Rejection, SchemeConfig,
    Secret, Secrets, TimestampedHmac,
};
use octocrab::models::webhook_events::verification::WebhookVerifier;
use openai_compat::webhooks::Webhooks;
use webhook_verify::{Provider as TheirProvider, VerifyOptions};

use crate::report::{Figure, Report, Row, Target};
use crate::rounds::{Subject, medians};
use crate::setting;
use crate::signed::{self, OTHER_STANDARD_SECRET, STANDARD_SECRET, TEXT_SECRET, lasting};

const SIZES: &[(usize, &str)] = &[
    (256, "256 B"),
    (1024, "1 KiB"),
    (4 * 1024, "4 KiB"),
    (20 * 1024, "20 KiB"),
    (64 * 1024, "64 KiB"),
    (1024 * 1024, "1 MiB"),
];

pub fn run(report: &mut Report) {
    for (size, name) in SIZES {
        standard_webhooks(report, *size, name);
        body_hmac(report, *size, name);
        families(report, *size, name);
    }
    rejections(report);
}

pub fn receiver(provider: impl Provider) -> Receiver {
    Receiver::builder("bench", provider).store(NoDedupe).body_limit(16 << 20).build().expect("a receiver")
}

pub fn secret(text: &str) -> Secret {
    Secret::new(text).expect("a secret")
}

fn body(size: usize) -> Bytes {
    lasting(
        signed::fasten("7d4b9f0e-52a1-4c36-9b8e-1f0a6c2d3e45", 600)
            .into_bytes()
            .into_iter()
            .cycle()
            .take(size)
            .collect::<Vec<_>>(),
    )
}

fn standard_webhooks(report: &mut Report, size: usize, name: &str) {
    let body = body(size);
    let headers = signed::standard(ID, &body);
    let receiver = receiver(Fasten::live(secret(STANDARD_SECRET)));
    let message = [ID.as_bytes(), b".", value(&headers, "webhook-timestamp").as_bytes(), b".", &body].concat();
    let key = signed::standard_key();
    let theirs = webhook_verify::Secret::new(STANDARD_SECRET);
    let openai = Webhooks::new(STANDARD_SECRET).expect("a secret");
    let svix = svix::webhooks::Webhook::new(STANDARD_SECRET).expect("a secret");
    let reference = standardwebhooks::Webhook::new(STANDARD_SECRET).expect("a secret");
    let mut subjects = [
        Subject::new("medhook", || genuine(&receiver, &headers, &body)),
        Subject::new("bare HMAC", || {
            let mut mac = key.clone();
            mac.update(black_box(&message));
            mac.finalize()
        }),
        Subject::new("webhook-verify", || {
            let result = webhook_verify::verify(
                TheirProvider::StandardWebhooks,
                &headers,
                &body,
                &theirs,
                VerifyOptions::default(),
            );
            assert!(result.is_ok());
        }),
        Subject::new("openai-compat", || {
            let [id, timestamp, signature] =
                ["webhook-id", "webhook-timestamp", "webhook-signature"].map(|name| value(&headers, name));
            assert!(openai.verify(&body, id, timestamp, signature).is_ok());
        }),
        Subject::new("svix (no SHA-NI)", || assert!(svix.verify(&body, &headers).is_ok())),
        Subject::new("standardwebhooks (no SHA-NI)", || assert!(reference.verify(&body, &headers).is_ok())),
    ];
    rows(report, "verify: Standard Webhooks", name, &mut subjects, |other| match other {
        "bare HMAC" => over_bare(size),
        _ => FASTER,
    });
}

fn body_hmac(report: &mut Report, size: usize, name: &str) {
    let body = body(size);
    let headers = signed::hmac(&body);
    let scheme = HmacSha256Body::new(signed::HMAC_HEADER).prefix(signed::HMAC_PREFIX);
    let receiver = receiver(Custom::new("acme", scheme, secret(TEXT_SECRET)));
    let key = signed::text_key();
    let theirs = webhook_verify::Secret::new(TEXT_SECRET);
    let octocrab = WebhookVerifier::new(TEXT_SECRET);
    let mut subjects = [
        Subject::new("medhook", || genuine(&receiver, &headers, &body)),
        Subject::new("bare HMAC", || {
            let mut mac = key.clone();
            mac.update(black_box(&body));
            mac.finalize()
        }),
        Subject::new("webhook-verify", || {
            let result =
                webhook_verify::verify(TheirProvider::GitHub, &headers, &body, &theirs, VerifyOptions::default());
            assert!(result.is_ok());
        }),
        Subject::new("octocrab", || assert!(octocrab.verify(value(&headers, signed::HMAC_HEADER), &body).is_ok())),
    ];
    rows(report, "verify: body HMAC, hex", name, &mut subjects, |other| match other {
        "bare HMAC" => over_bare(size),
        _ => FASTER,
    });
}

/// Compares the other families of schemes with the bare MAC of the same message.
fn families(report: &mut Report, size: usize, name: &str) {
    let body = body(size);
    let hex = Encoding::Hex;
    let header = signed::HMAC_HEADER;
    let elements: SchemeConfig = TimestampedHmac::elements(header, "t", "v1").encoding(hex).into();
    let own_header: SchemeConfig = TimestampedHmac::headers(header, "x-timestamp").encoding(hex).into();
    let several: SchemeConfig = HmacSha256Body::new(header).separator(',').encoding(hex).into();
    let sha512: SchemeConfig = HmacSha512Body::new(header).encoding(hex).into();
    let timestamped = [setting::now().to_string().as_bytes(), b".", &body].concat();
    for (bench, scheme, message) in [
        ("verify: timestamped HMAC, elements", elements, &timestamped),
        ("verify: timestamped HMAC, headers", own_header, &timestamped),
        ("verify: two HMACs", several, &body.to_vec()),
        ("verify: body HMAC-SHA512", sha512, &body.to_vec()),
    ] {
        let mut headers = signed::by(&Signing::of(scheme.clone()), TEXT_SECRET, &body);
        if bench == "verify: two HMACs" {
            let list = format!("{},{}", "0".repeat(64), value(&headers, header));
            headers.insert(header, HeaderValue::try_from(list).expect("a value"));
        }
        let receiver = receiver(Custom::new("acme", scheme, secret(TEXT_SECRET)));
        let (sha256, sha512) = (signed::text_key(), signed::text_key_of_sha512());
        let bare = || {
            if bench == "verify: body HMAC-SHA512" {
                let mut mac = sha512.clone();
                mac.update(black_box(message));
                black_box(mac.finalize());
            } else {
                let mut mac = sha256.clone();
                mac.update(black_box(message));
                black_box(mac.finalize());
            }
        };
        let mut subjects =
            [Subject::new("medhook", || genuine(&receiver, &headers, &body)), Subject::new("bare HMAC", bare)];
        rows(report, bench, name, &mut subjects, |_| over_bare(size));
    }
}

/// Measures rejections: other secrets, wrong signatures, and request heads that are rejected.
fn rejections(report: &mut Report) {
    let size = "1 KiB";
    let body = body(1024);
    let huge = lasting(vec![b'x'; 1 << 20]);
    let good = signed::standard(ID, &body);
    let signature = value(&good, "webhook-signature").to_owned();
    let with = |signatures: &str| {
        let mut headers = good.clone();
        headers.insert("webhook-signature", HeaderValue::try_from(signatures).expect("a value"));
        headers
    };
    let one = receiver(Fasten::live(secret(STANDARD_SECRET)));
    let two = Secrets::new(Secret::new(OTHER_STANDARD_SECRET).expect("a secret").labeled("other").expect("a secret"));
    let two = receiver(Fasten::live(two.also(secret(STANDARD_SECRET)).expect("another secret")));
    let key = signed::standard_key();
    let message = [ID.as_bytes(), b".", value(&good, "webhook-timestamp").as_bytes(), b".", &body].concat();

    let junk = |which: usize| format!("v1,{which:02}{}", &signature[5..]);
    let one_junk = with(&junk(0));
    let many_junk = with(&(0..32).map(junk).collect::<Vec<_>>().join(" "));
    let theirs = webhook_verify::Secret::new(STANDARD_SECRET);
    let their_answer = |headers: &HeaderMap| {
        webhook_verify::verify(TheirProvider::StandardWebhooks, headers, &body, &theirs, VerifyOptions::default())
            .is_err()
    };
    let mut subjects = [
        Subject::new("genuine, one secret", || genuine(&one, &good, &body)),
        Subject::new("second of two secrets", || genuine(&two, &good, &body)),
        Subject::new("two bare HMACs", || {
            [(); 2].map(|()| {
                let mut mac = key.clone();
                mac.update(black_box(&message));
                mac.finalize()
            })
        }),
        Subject::new("one junk signature", || rejected(&one, &one_junk, &body)),
        Subject::new("32 junk signatures", || rejected(&one, &many_junk, &body)),
        Subject::new("webhook-verify", || assert!(their_answer(&many_junk))),
    ];
    let figures = medians(&mut subjects);
    drop(subjects);
    let [genuine, second, two_bare, one_wrong, many_wrong, their_many] =
        figures[..].try_into().map(|figures: [f64; 6]| figures.map(Figure::Nanoseconds)).expect("six");
    let mut row = |bench: &str, size: &str, ours, other, target| {
        report.add(Row { bench: bench.to_owned(), size: size.to_owned(), ours, other, target });
    };
    row("verify: second of two secrets", size, second, Some(("two bare HMACs", two_bare)), Target::None);
    row("verify: wrong signature", size, one_wrong, Some(("right one", genuine)), Target::None);
    row("verify: 32 junk signatures", size, many_wrong, Some(("one", one_wrong)), Target::None);
    row("verify: 32 junk signatures", size, many_wrong, Some(("webhook-verify", their_many)), Target::None);

    let mut unsigned = good.clone();
    unsigned.remove("webhook-signature");
    let mut stale = good.clone();
    stale.insert("webhook-timestamp", HeaderValue::from(setting::now() - 301));
    for (body, size) in [(&body, "1 KiB"), (&huge, "1 MiB")] {
        let mut subjects = [
            Subject::new("rejected: missing signature", || rejected(&one, &unsigned, body)),
            Subject::new("rejected: stale", || rejected(&one, &stale, body)),
        ];
        let figures = medians(&mut subjects);
        for (subject, figure) in subjects.iter().zip(figures) {
            let target = if subject.name == "rejected: stale" { Target::Most(100.0) } else { Target::None };
            row(subject.name, size, Figure::Nanoseconds(figure), None, target);
        }
    }
}

const ID: &str = "msg_2b1c4f7e9a3d5b8c6e0f1a2b";

fn value<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).expect("a header")
}

fn genuine(receiver: &Receiver, headers: &HeaderMap, body: &Bytes) {
    assert!(receiver.verify(headers, body.clone()).is_ok());
}

fn rejected(receiver: &Receiver, headers: &HeaderMap, body: &Bytes) -> Rejection {
    receiver.verify(headers, body.clone()).expect_err("rejected")
}

/// Adds one row for each of the other subjects.
fn rows(report: &mut Report, bench: &str, size: &str, subjects: &mut [Subject<'_>], target: impl Fn(&str) -> Target) {
    let figures = medians(subjects);
    let ours = Figure::Nanoseconds(figures[0]);
    for (subject, figure) in subjects.iter().zip(figures).skip(1) {
        report.add(Row {
            bench: bench.to_owned(),
            size: size.to_owned(),
            ours,
            other: Some((subject.name, Figure::Nanoseconds(figure))),
            target: target(subject.name),
        });
    }
}

fn over_bare(size: usize) -> Target {
    match size {
        1024 => Target::Ratio(1.25),
        4096 => Target::Ratio(1.07),
        65_536.. => Target::Ratio(1.01),
        _ => Target::None,
    }
}

/// The target beside every peer.
const FASTER: Target = Target::Ratio(1.0);
