//! Deliveries that differ in ways that an attacker could learn about if the time differed.

use std::hint::black_box;

use base64ct::{Base64, Base64Url, Encoding as _};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use medhook::testing::{Comparison, StoppedClock};
use medhook::{
    Custom, Encoding, HmacSha256Body, HmacSha512Body, NoDedupe, Receiver, SchemeConfig, Secret, Secrets, SharedSecret,
    StandardWebhooks, TimestampedHmac,
};
use sha2::{Sha256, Sha512};

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

/// Returns the groups of everything that a client's text is compared with.
pub fn groups() -> Vec<Group> {
    let mut groups: Vec<_> = Comparison::ALL.iter().flat_map(|comparison| groups_of(*comparison)).collect();
    groups.extend(crate::handshakes::answers());
    groups.extend(crate::receive::groups());
    groups.extend(crate::sealed::groups());
    groups
}

/// Returns the groups of a comparison of the library, and its control.
fn groups_of(comparison: Comparison) -> Vec<Group> {
    match comparison {
        Comparison::StandardWebhooks => {
            let mut groups = macs(comparison);
            groups.extend([place_in_the_list(), beside_a_public_key()]);
            groups
        }
        Comparison::HmacSha256 => {
            let mut groups = macs(comparison);
            groups.push(place_among_several_macs());
            groups
        }
        Comparison::HmacSha512 => macs(comparison),
        // The key, the signature and the message are known to every sender: no instruction depends on a secret.
        Comparison::Ed25519 => Vec::new(),
        Comparison::Verbatim => {
            let mut groups = tokens(comparison);
            groups.push(lengths_of_the_secret());
            groups
        }
        Comparison::SeveralHeaders => vec![which_header_is_wrong(), control(comparison, 32)],
        Comparison::Bearer => tokens(comparison),
        Comparison::Basic => {
            let mut groups = tokens(comparison);
            groups.push(user_or_password());
            groups
        }
        Comparison::HandshakeToken => {
            let mut groups = crate::handshakes::groups();
            groups.push(control(comparison, 32));
            groups
        }
    }
}

fn macs(comparison: Comparison) -> Vec<Group> {
    let forms = FORMS.iter().filter(|form| Comparison::of(&(form.scheme)()) == comparison);
    let of_form = |form| [forged_macs(form, 1), forged_macs(form, 4), which_secret_matches(form)];
    let mut groups: Vec<_> = forms.flat_map(of_form).collect();
    assert!(!groups.is_empty(), "{comparison:?} has no form");
    groups.push(control(comparison, if comparison == Comparison::HmacSha512 { 64 } else { 32 }));
    groups
}

fn tokens(comparison: Comparison) -> Vec<Group> {
    let form = TOKENS.iter().find(|form| Comparison::of(&(form.scheme)().into()) == comparison);
    let form = form.expect("a form of every shared secret");
    let mut groups: Vec<_> = [16, 40, 200].map(|length| forged_tokens(form, length)).into();
    groups.extend([which_token_matches(form), control(comparison, 32)]);
    groups
}

/// An encoding of a MAC.
struct Form {
    name: &'static str,
    scheme: fn() -> SchemeConfig,
    /// The signed text before the body.
    before: &'static str,
    hash: Hash,
    headers: fn(&[u8]) -> Vec<(&'static str, String)>,
}

#[derive(Clone, Copy)]
enum Hash {
    /// SHA-256, and the key is the base64 of the secret.
    Standard,
    Sha256,
    Sha512,
}

const FORMS: &[Form] = &[
    Form {
        name: "Standard Webhooks, base64",
        scheme: || StandardWebhooks::new().into(),
        before: "msg_1.1767225600.",
        hash: Hash::Standard,
        headers: |tag| standard(&Base64::encode_string(tag)),
    },
    Form {
        name: "HMAC-SHA256 in hex",
        scheme: || HmacSha256Body::new("x-signature").prefix("sha256=").encoding(Encoding::Hex).into(),
        before: "",
        hash: Hash::Sha256,
        headers: |tag| vec![("x-signature", format!("sha256={}", hex(tag)))],
    },
    Form {
        name: "HMAC-SHA256 in base64",
        scheme: || HmacSha256Body::new("x-signature").encoding(Encoding::Base64).into(),
        before: "",
        hash: Hash::Sha256,
        headers: |tag| vec![("x-signature", Base64::encode_string(tag))],
    },
    Form {
        name: "HMAC-SHA512 in base64url",
        scheme: || HmacSha512Body::new("x-signature").encoding(Encoding::Base64Url).into(),
        before: "",
        hash: Hash::Sha512,
        headers: |tag| vec![("x-signature", Base64Url::encode_string(tag))],
    },
    Form {
        name: "timestamped HMAC-SHA256, elements",
        scheme: || TimestampedHmac::elements("x-signature", "t", "v1").encoding(Encoding::Hex).into(),
        before: "1767225600.",
        hash: Hash::Sha256,
        headers: |tag| vec![("x-signature", format!("t={NOW},v1={}", hex(tag)))],
    },
    Form {
        name: "timestamped HMAC-SHA512, headers",
        scheme: || {
            let scheme = TimestampedHmac::headers("x-signature", "x-timestamp").signed("{timestamp}:{body}");
            scheme.encoding(Encoding::Hex).sha512().into()
        },
        before: "1767225600:",
        hash: Hash::Sha512,
        headers: |tag| vec![("x-signature", hex(tag)), ("x-timestamp", NOW.to_string())],
    },
    Form {
        name: "HMAC-SHA256 in hex or base64",
        scheme: || HmacSha256Body::new("x-signature").into(),
        before: "",
        hash: Hash::Sha256,
        headers: |tag| vec![("x-signature", Base64::encode_string(tag))],
    },
    Form {
        name: "several HMAC-SHA256",
        scheme: || HmacSha256Body::new("x-signature").separator(',').encoding(Encoding::Hex).into(),
        before: "",
        hash: Hash::Sha256,
        headers: |tag| vec![("x-signature", format!("{},{},{}", hex(&[7; 32]), hex(tag), hex(&[9; 32])))],
    },
];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

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
    let last = genuine.len() - 1;
    let altered = |changes: &[usize]| {
        let mut tag = genuine.clone();
        changes.iter().for_each(|at| tag[*at] ^= 1);
        tag
    };
    let forgeries = [
        ("wrong in its first byte", altered(&[0])),
        ("wrong in the middle", altered(&[last / 2])),
        ("wrong in its last byte", altered(&[last])),
        ("wrong at both ends", altered(&[0, last])),
        ("wrong in every byte", genuine.iter().map(|byte| !byte).collect()),
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

fn place_among_several_macs() -> Group {
    let scheme = HmacSha256Body::new("x-signature").separator(',').encoding(Encoding::Hex);
    let receiver = receiver(scheme.into(), &SECRETS);
    let genuine = hex(&mac::<Hmac<Sha256>>(SECRETS[2].as_bytes(), BODY));
    let other = hex(&[7; 32]);
    let lists = [
        ("at the start of the list", [&genuine, &other, &other]),
        ("in the middle of the list", [&other, &genuine, &other]),
        ("at the end of the list", [&other, &other, &genuine]),
    ];
    let headers = |list: [&String; 3]| vec![("x-signature", list.map(String::as_str).join(","))];
    let attempts = lists.into_iter().map(|(name, list)| attempt(name, true, &receiver, headers(list))).collect();
    Group { name: "several HMAC-SHA256: which of 3 is genuine".to_owned(), attempts, control: false }
}

/// A forged HMAC at an endpoint that accepts signatures under a public key as well.
fn beside_a_public_key() -> Group {
    let form = &FORMS[0];
    let genuine = form.tag(SECRETS[0]);
    let receiver = receiver((form.scheme)(), &[SECRETS[0], PUBLIC_KEY]);
    let altered = |at: usize| {
        let mut tag = genuine.clone();
        tag[at] ^= 1;
        (form.headers)(&tag)
    };
    let attempts = [("wrong in its first byte", 0), ("wrong in its last byte", genuine.len() - 1)];
    let attempts = attempts.map(|(name, at)| attempt(name, false, &receiver, altered(at))).into();
    Group { name: "Standard Webhooks: forged HMAC beside a public key".to_owned(), attempts, control: false }
}

/// The public key of the first test of RFC 8032, section 7.1.
const PUBLIC_KEY: &str = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

/// A form of a shared secret.
struct TokenForm {
    name: &'static str,
    scheme: fn() -> SharedSecret,
    header: fn(&str) -> (&'static str, String),
}

const TOKENS: &[TokenForm] = &[
    TokenForm {
        name: "shared secret",
        scheme: || SharedSecret::new("x-token"),
        header: |token| ("x-token", token.to_owned()),
    },
    TokenForm {
        name: "bearer token",
        scheme: SharedSecret::bearer,
        header: |token| ("authorization", format!("Bearer {token}")),
    },
    TokenForm {
        name: "Basic authentication",
        scheme: || SharedSecret::basic("acme"),
        header: |token| {
            ("authorization", format!("Basic {}", Base64::encode_string(format!("acme:{token}").as_bytes())))
        },
    },
];

fn forged_tokens(form: &TokenForm, length: usize) -> Group {
    let genuine = "s3cret-t0ken.".repeat(16)[..length].to_owned();
    let altered = |changes: &[usize]| {
        let mut token = genuine.clone().into_bytes();
        changes.iter().for_each(|at| token[*at] ^= 1);
        String::from_utf8(token).expect("ASCII stays ASCII")
    };
    let receiver = receiver((form.scheme)().into(), &[&genuine]);
    let forgeries = [
        ("wrong in its first byte", altered(&[0])),
        ("wrong in the middle", altered(&[length / 2])),
        ("wrong in its last byte", altered(&[length - 1])),
        ("wrong in every byte", "#".repeat(length)),
    ];
    let forgeries = forgeries.into_iter().map(|(name, token)| (name, vec![(form.header)(&token)]));
    let attempts = forgeries.map(|(name, headers)| attempt(name, false, &receiver, headers)).collect();
    Group { name: format!("{}: forged, {length} bytes", form.name), attempts, control: false }
}

/// Two headers, of which each must contain its own secret.
fn which_header_is_wrong() -> Group {
    let further = Secret::new("the secret of the second one").expect("a secret");
    let scheme = SharedSecret::new("x-first").also_header("x-second", further);
    assert_eq!(Comparison::of(&scheme.clone().into()), Comparison::SeveralHeaders);
    let receiver = receiver(scheme.into(), &["the secret of the first one."]);
    let cases = [
        ("the first one", ["The secret of the first one.", "the secret of the second one"]),
        ("the second one", ["the secret of the first one.", "the secret of the second onE"]),
        ("both", ["The secret of the first one.", "the secret of the second onE"]),
    ];
    let headers = |[one, other]: [&str; 2]| vec![("x-first", one.to_owned()), ("x-second", other.to_owned())];
    let attempts = cases.into_iter().map(|(name, texts)| attempt(name, false, &receiver, headers(texts))).collect();
    Group { name: "shared secrets in two headers: which of them is wrong".to_owned(), attempts, control: false }
}

/// The user name and the password are one text when they are compared.
fn user_or_password() -> Group {
    let receiver = receiver(SharedSecret::basic("acme").into(), &["s3cret-t0ken.s3cret-t0ken."]);
    let header = |pair: &str| vec![("authorization", format!("Basic {}", Base64::encode_string(pair.as_bytes())))];
    let attempts = [
        ("the user name", "Acme:s3cret-t0ken.s3cret-t0ken."),
        ("the password", "acme:s3cret-t0ken.s3cret-t0ken,"),
        ("both", "Acme:s3cret-t0ken.s3cret-t0ken,"),
        ("the user name, all of it", "zzzz:s3cret-t0ken.s3cret-t0ken."),
    ];
    let attempts = attempts.map(|(name, pair)| attempt(name, false, &receiver, header(pair))).into();
    Group { name: "Basic authentication: which part is wrong".to_owned(), attempts, control: false }
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

fn which_token_matches(form: &TokenForm) -> Group {
    let receiver = receiver((form.scheme)().into(), &SECRETS);
    let names = ["the first", "the second", "the third", "the fourth"];
    let genuine = names.into_iter().zip(SECRETS);
    let attempts = genuine.map(|(name, token)| attempt(name, true, &receiver, vec![(form.header)(token)])).collect();
    Group { name: format!("{}: which of 4 verifies", form.name), attempts, control: false }
}

/// Compares texts of this length with an early exit, as the comparison must not.
pub fn control(comparison: impl std::fmt::Debug, length: usize) -> Group {
    fn leaks(presented: &[u8], secret: &[u8]) -> bool {
        presented.iter().zip(secret).all(|(one, other)| black_box(one) == other)
    }
    let secret = vec![1_u8; length];
    let attempts = [("wrong in its first byte", 0), ("wrong in its last byte", length - 1)]
        .into_iter()
        .map(|(name, at)| {
            let secret = secret.clone();
            let mut presented = secret.clone();
            presented[at] ^= 1;
            Attempt { name, accepted: false, run: Box::new(move || leaks(&presented, &secret)) }
        })
        .collect();
    Group { name: format!("control of {comparison:?}: an early exit"), attempts, control: true }
}

impl Form {
    fn tag(&self, secret: &str) -> Vec<u8> {
        let message = [self.before, BODY].concat();
        match self.hash {
            Hash::Standard => mac::<Hmac<Sha256>>(&Base64::decode_vec(secret).expect("base64"), &message),
            Hash::Sha256 => mac::<Hmac<Sha256>>(secret.as_bytes(), &message),
            Hash::Sha512 => mac::<Hmac<Sha512>>(secret.as_bytes(), &message),
        }
    }
}

fn mac<M: Mac + KeyInit>(key: &[u8], message: &str) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("keys of any length");
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
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
