//! Deliveries that differ in ways that an attacker could learn about if the time differed.

use std::hint::black_box;

use base64ct::{Base64, Encoding as _};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use medhook::testing::StoppedClock;
use medhook::{
    Custom, Encoding, HmacSha256Body, NoDedupe, Receiver, SchemeConfig, Secret, Secrets, SharedSecret, StandardWebhooks,
};
use sha2::Sha256;

/// Attempts that must execute the same number of instructions.
pub struct Group {
    pub name: String,
    pub attempts: Vec<Attempt>,
    /// A control: the comparison ends early on purpose, so the counts must differ.
    pub control: bool,
}

pub struct Attempt {
    pub name: &'static str,
    pub accepted: bool,
    pub run: Box<dyn Fn() -> bool>,
}

pub fn groups() -> Vec<Group> {
    let mut groups = Vec::new();
    for form in FORMS {
        for keys in [1, 4] {
            groups.push(forged_macs(form, keys));
        }
        groups.push(which_secret_matches(form));
    }
    groups.push(place_in_the_list());
    groups.extend([16, 40, 200].map(forged_tokens));
    groups.push(lengths_of_the_secret());
    groups.push(which_token_matches());
    groups.push(control());
    groups
}

/// An encoding of a MAC.
struct Form {
    name: &'static str,
    scheme: fn() -> SchemeConfig,
    /// The signed text before the body.
    before: &'static str,
    headers: fn(&[u8; 32]) -> Vec<(&'static str, String)>,
}

const FORMS: &[Form] = &[
    Form {
        name: "Standard Webhooks, base64",
        scheme: || StandardWebhooks::new().into(),
        before: "msg_1.1767225600.",
        headers: |tag| standard(&Base64::encode_string(tag)),
    },
    Form {
        name: "HMAC-SHA256 in hex",
        scheme: || HmacSha256Body::new("x-signature").prefix("sha256=").encoding(Encoding::Hex).into(),
        before: "",
        headers: |tag| {
            let hex: String = tag.iter().map(|byte| format!("{byte:02x}")).collect();
            vec![("x-signature", format!("sha256={hex}"))]
        },
    },
    Form {
        name: "HMAC-SHA256 in base64",
        scheme: || HmacSha256Body::new("x-signature").encoding(Encoding::Base64).into(),
        before: "",
        headers: |tag| vec![("x-signature", Base64::encode_string(tag))],
    },
];

const NOW: i64 = 1_767_225_600;
const BODY: &str = r#"{"id":"evt_1","type":"document.uploaded","data":{}}"#;
/// Secrets that one scheme decodes as base64 and the others use as they are.
const SECRETS: [&str; 4] =
    ["MDEyMzQ1Njc4OWFiY2RlZjA=", "MDEyMzQ1Njc4OWFiY2RlZjE=", "MDEyMzQ1Njc4OWFiY2RlZjI=", "MDEyMzQ1Njc4OWFiY2RlZjM="];

fn standard(signature: &str) -> Vec<(&'static str, String)> {
    vec![
        ("webhook-id", "msg_1".to_owned()),
        ("webhook-timestamp", NOW.to_string()),
        ("webhook-signature", format!("v1,{signature}")),
    ]
}

fn forged_macs(form: &Form, keys: usize) -> Group {
    let genuine = form.tag(SECRETS[keys - 1]);
    let altered = |changes: &[usize]| {
        let mut tag = genuine;
        changes.iter().for_each(|at| tag[*at] ^= 1);
        tag
    };
    let forgeries = [
        ("wrong in its first byte", altered(&[0])),
        ("wrong in the middle", altered(&[15])),
        ("wrong in its last byte", altered(&[31])),
        ("wrong at both ends", altered(&[0, 31])),
        ("wrong in every byte", genuine.map(|byte| !byte)),
    ];
    let receiver = receiver((form.scheme)(), &SECRETS[..keys]);
    let attempts =
        forgeries.into_iter().map(|(name, tag)| attempt(name, false, &receiver, (form.headers)(&tag))).collect();
    Group { name: format!("{}: forged, {keys} secrets", form.name), attempts, control: false }
}

fn which_secret_matches(form: &Form) -> Group {
    let receiver = receiver((form.scheme)(), &SECRETS);
    let names = ["the first", "the second", "the third", "the fourth"];
    let genuine = names.into_iter().zip(SECRETS);
    let attempts =
        genuine.map(|(name, secret)| attempt(name, true, &receiver, (form.headers)(&form.tag(secret)))).collect();
    Group { name: format!("{}: which of 4 secrets verifies", form.name), attempts, control: false }
}

fn place_in_the_list() -> Group {
    let form = &FORMS[0];
    let receiver = receiver((form.scheme)(), &SECRETS);
    let genuine = Base64::encode_string(&form.tag(SECRETS[2]));
    let other = Base64::encode_string(&[7; 32]);
    let lists = [
        ("at the start of the list", [&genuine, &other, &other]),
        ("in the middle of the list", [&other, &genuine, &other]),
        ("at the end of the list", [&other, &other, &genuine]),
    ];
    let attempts = lists
        .into_iter()
        .map(|(name, [one, two, three])| {
            attempt(name, true, &receiver, standard(&format!("{one} v1,{two} v1,{three}")))
        })
        .collect();
    Group { name: "Standard Webhooks: which of 3 signatures is genuine".to_owned(), attempts, control: false }
}

fn forged_tokens(length: usize) -> Group {
    let genuine = "s3cret-t0ken.".repeat(16)[..length].to_owned();
    let altered = |changes: &[usize]| {
        let mut token = genuine.clone().into_bytes();
        changes.iter().for_each(|at| token[*at] ^= 1);
        String::from_utf8(token).expect("ASCII stays ASCII")
    };
    let receiver = receiver(SharedSecret::new("x-token").into(), &[&genuine]);
    let forgeries = [
        ("wrong in its first byte", altered(&[0])),
        ("wrong in the middle", altered(&[length / 2])),
        ("wrong in its last byte", altered(&[length - 1])),
        ("wrong in every byte", "#".repeat(length)),
    ];
    let attempts =
        forgeries.into_iter().map(|(name, token)| attempt(name, false, &receiver, vec![("x-token", token)])).collect();
    Group { name: format!("shared secret: forged, {length} bytes"), attempts, control: false }
}

/// The presented token has one length; the secret has several, and begins with the token or does not.
fn lengths_of_the_secret() -> Group {
    let presented = "0123456789abcdefghij";
    let secrets = [
        ("against a shorter one that it begins with", "0123456789abcdef".to_owned()),
        ("against one of its own length", "9".repeat(presented.len())),
        ("against a longer one that begins with it", format!("{presented}klmnopqrst")),
        ("against one of 300 bytes", "z".repeat(300)),
    ];
    let attempts = secrets
        .into_iter()
        .map(|(name, secret)| {
            let receiver = receiver(SharedSecret::new("x-token").into(), &[&secret]);
            attempt(name, false, &receiver, vec![("x-token", presented.to_owned())])
        })
        .collect();
    Group { name: "shared secret: its length".to_owned(), attempts, control: false }
}

fn which_token_matches() -> Group {
    let receiver = receiver(SharedSecret::new("x-token").into(), &SECRETS);
    let names = ["the first", "the second", "the third", "the fourth"];
    let genuine = names.into_iter().zip(SECRETS);
    let attempts =
        genuine.map(|(name, token)| attempt(name, true, &receiver, vec![("x-token", token.to_owned())])).collect();
    Group { name: "shared secret: which of 4 verifies".to_owned(), attempts, control: false }
}

fn control() -> Group {
    fn leaks(presented: &[u8], secret: &[u8]) -> bool {
        presented.iter().zip(secret).all(|(one, other)| black_box(one) == other)
    }
    let secret = [1_u8; 32];
    let attempts = [("wrong in its first byte", 0), ("wrong in its last byte", 31)]
        .into_iter()
        .map(|(name, at)| {
            let mut presented = secret;
            presented[at] ^= 1;
            Attempt { name, accepted: false, run: Box::new(move || leaks(&presented, &secret)) }
        })
        .collect();
    Group { name: "control: a comparison with an early exit".to_owned(), attempts, control: true }
}

impl Form {
    fn tag(&self, secret: &str) -> [u8; 32] {
        let key = match self.before {
            "" => secret.as_bytes().to_vec(),
            _ => Base64::decode_vec(secret).expect("base64"),
        };
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("keys of any length");
        mac.update(self.before.as_bytes());
        mac.update(BODY.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

fn receiver(scheme: SchemeConfig, texts: &[&str]) -> Receiver {
    let mut secrets = texts
        .iter()
        .enumerate()
        .map(|(n, text)| Secret::new(*text).expect("a secret").labeled(&n.to_string()).expect("a secret"));
    let first = Secrets::new(secrets.next().expect("at least one"));
    let secrets = secrets.fold(first, |all, secret| all.also(secret).expect("no two alike"));
    let builder = Receiver::builder("counted", Custom::new("counted", scheme, secrets));
    builder.store(NoDedupe).clock(StoppedClock::at(NOW)).build().expect("a receiver")
}

fn attempt(name: &'static str, accepted: bool, receiver: &Receiver, headers: Vec<(&'static str, String)>) -> Attempt {
    let receiver = receiver.clone();
    let run = move || receiver.verify(&headers, Bytes::from_static(BODY.as_bytes())).is_ok();
    Attempt { name, accepted, run: Box::new(run) }
}
