//! Why a delivery is not verified. Every common mistake is tried; it is a cause if it makes the signature valid, and a
//! possible cause if the headers, the body or the time only suggest it. docs/verify.md lists the codes.

use base64ct::{Base64, Base64Unpadded, Base64Url, Base64UrlUnpadded, Encoding as _};
use medhook::sign::mac;
use medhook::testing::Signing;
use medhook::{Bytes, Encoding, Reason, Secret};
use medhook_conformance::Endpoint;

use super::headers::Head;
use super::rewritten::{self, Explanation};
use super::steps::Steps;
use crate::clock::in_words;

/// What is known before causes are looked for.
pub(super) struct Case<'c> {
    pub(super) endpoint: &'c Endpoint,
    pub(super) signing: &'c Signing,
    pub(super) secrets: &'c [Secret],
    pub(super) head: &'c Head,
    pub(super) body: &'c Bytes,
    pub(super) at: i64,
}

/// The causes that were found.
#[derive(Default)]
pub(super) struct Causes {
    pub(super) list: Vec<Cause>,
    /// How many combinations were tried on the signature.
    pub(super) tried: usize,
}

/// Why a delivery is not verified.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cause {
    /// A stable name.
    pub(super) code: &'static str,
    /// One line.
    pub(super) text: String,
    /// Whether it explains the delivery completely: with all causes that fit, the signature is valid.
    pub(super) fits: bool,
}

impl Cause {
    fn fitting(code: &'static str, text: impl Into<String>) -> Self {
        Cause { code, text: text.into(), fits: true }
    }

    fn possible(code: &'static str, text: impl Into<String>) -> Self {
        Cause { code, text: text.into(), fits: false }
    }
}

impl Case<'_> {
    pub(super) fn causes(&self, steps: &Steps) -> Causes {
        let mut causes = Causes::default();
        self.look_at_age(steps, &mut causes);
        self.look_at_mode(steps, &mut causes);
        if steps.verify.has_passed() {
            return causes;
        }
        self.look_at_head(&mut causes);
        match self.signing {
            Signing::SharedSecret { header } => self.try_secrets(header, &mut causes),
            _ => self.try_macs(&mut causes),
        }
        causes
    }

    /// Which secret is configured for the wrong mode. Only this command's options and the endpoint's configuration can
    /// be wrong: the signature is valid.
    fn look_at_mode(&self, steps: &Steps, causes: &mut Causes) {
        let label = steps.secret.as_deref().unwrap_or("that verified it");
        match steps.envelope.reason {
            Some(Reason::WrongMode) => causes.add(Cause::fitting("live_secret_for_test_event", format!(
                "each mode has a secret of its own: secret {label} was given as a live secret, and the event is a test \
                 event; give a test secret with --test-secret-env or --test-secret-file (in a file of medhook receive \
                 with test_secrets, or with mode = \"test\" if the endpoint takes test events alone)"
            ))),
            Some(Reason::SecretModeMismatch) => {
                let mode = match self.mode().as_deref() {
                    Some("live") => "is a live event",
                    Some(_) => "is of a mode that is not documented",
                    None => "names no mode",
                };
                causes.add(Cause::fitting("test_secret_for_other_event", format!(
                    "each mode has a secret of its own: secret {label} was given as a test secret, and the event {mode}; \
                     give a live secret with --secret-env or --secret-file (in a file of medhook receive with secrets \
                     and mode = \"live\", not with test_secrets or mode = \"test\")"
                )));
            }
            _ => {}
        }
    }

    /// The mode that the body names.
    fn mode(&self) -> Option<String> {
        let body: serde_json::Value = serde_json::from_slice(self.body).ok()?;
        Some(body.pointer("/api_mode")?.as_str().filter(|mode| !mode.is_empty())?.to_owned())
    }

    fn look_at_age(&self, steps: &Steps, causes: &mut Causes) {
        if let Some(timestamp) = self.head.text("webhook-timestamp").filter(|_| self.is_standard()) {
            match timestamp.parse::<i64>() {
                Ok(time) if (1_000_000_000_000..100_000_000_000_000).contains(&time) => {
                    causes.add(Cause::possible(
                        "timestamp_in_milliseconds",
                        "webhook-timestamp is in milliseconds, and has to be in seconds",
                    ));
                    return;
                }
                Ok(time) if !steps.verify.has_passed() && time.abs_diff(self.at) > 300 => {
                    let apart = in_words(time.abs_diff(self.at));
                    causes.add(Cause::possible(
                        "timestamp_outside_window",
                        format!("webhook-timestamp is {apart} from the time it is judged at, and 300 s are allowed"),
                    ));
                }
                _ => {}
            }
        }
        match steps.fresh.reason {
            Some(Reason::Stale) => causes.add(Cause::possible("stale_delivery", "it is judged at the time of now, unless --at tells when it arrived; else it was sent again, or a clock is slow")),
            Some(Reason::InTheFuture) => causes.add(Cause::possible("clock_skew", "one of the two clocks is wrong")),
            _ => {}
        }
    }

    /// What the headers alone show.
    fn look_at_head(&self, causes: &mut Causes) {
        let packed = self.body.starts_with(&[0x1f, 0x8b]);
        let encodings = self.head.values("content-encoding");
        let encoded = encodings.map(<[u8]>::to_ascii_lowercase).any(|value| !value.is_empty() && value != b"identity");
        match (encoded, packed) {
            (true, false) => causes.add(Cause::possible(
                "decompressed_in_transit",
                "content-encoding says that the body is packed, and it is not: something between unpacked it, and may \
                 have changed it",
            )),
            (true, true) => causes.add(Cause::possible(
                "compressed_body",
                "the body is packed: the signature is that of the bytes before, or of these",
            )),
            (false, true) => causes.add(Cause::possible(
                "compressed_without_header",
                "the body is packed with gzip, and no header says so",
            )),
            (false, false) => {}
        }
        if let Some(length) = self.head.text("content-length").and_then(|text| text.parse::<usize>().ok())
            && length != self.body.len()
        {
            let known = self.body.len();
            causes.add(Cause::possible(
                "body_length_differs",
                format!("content-length was {length}, and the file has {known} bytes: it is not what was on the wire"),
            ));
        }
        for name in self.needed() {
            match self.head.values(&name).count() {
                0 => causes.add(Cause::possible("missing_header", format!("there is no header {name}"))),
                1 => {}
                times => {
                    causes.add(Cause::possible("repeated_header", format!("the header {name} is there {times} times")))
                }
            }
        }
        if self.is_standard() && self.head.has("svix-signature") && !self.head.has("webhook-signature") {
            causes.add(Cause::possible(
                "svix_headers",
                "the headers are called svix-*: the sender or a relay uses the names from before Standard Webhooks",
            ));
        }
        match self.mode().as_deref() {
            Some("test") if self.is_standard() && self.endpoint.test_secrets.is_empty() => causes.add(Cause::possible(
                "test_event_without_test_secret",
                "the body says that it is a test: the test mode has a secret of its own, which --test-secret-env or \
                 --test-secret-file names",
            )),
            Some("live") if self.is_standard() && self.endpoint.secrets.is_empty() => {
                causes.add(Cause::possible(
                    "live_event_without_live_secret",
                    "the body says that it is live, and only a secret of the test mode was given",
                ));
            }
            _ => {}
        }
    }

    fn needed(&self) -> Vec<String> {
        let mut needed = match self.signing {
            Signing::HmacSha256Body { header, .. } | Signing::SharedSecret { header } => vec![header.clone()],
            _ => ["webhook-id", "webhook-timestamp", "webhook-signature"].map(str::to_owned).to_vec(),
        };
        needed.extend(self.endpoint.also_header.clone());
        needed
    }

    /// Where the secret itself has to be in a header.
    fn try_secrets(&self, expected: &str, causes: &mut Causes) {
        for secret in self.secrets {
            let (label, secret) = (secret.label(), secret.expose_secret());
            for (name, value) in &self.head.headers {
                causes.tried = causes.tried.saturating_add(1);
                let Ok(value) = str::from_utf8(value) else { continue };
                if value == secret {
                    if name != expected {
                        causes.add(Cause::fitting(
                            "secret_in_other_header",
                            format!("secret {label} is in the header {name}, and is looked for in {expected}"),
                        ));
                    }
                } else if value.trim_matches(['"', '\'', ' ']) == secret {
                    causes.add(Cause::fitting(
                        "secret_in_quotes",
                        format!("in the header {name}, quotation marks or spaces are around secret {label}"),
                    ));
                } else if value.split(' ').next_back() == Some(secret) {
                    causes.add(Cause::fitting(
                        "secret_after_word",
                        format!("in the header {name}, a word stands before secret {label}"),
                    ));
                } else if value.eq_ignore_ascii_case(secret) {
                    causes.add(Cause::fitting(
                        "secret_in_other_case",
                        format!("the header {name} has secret {label} in other case"),
                    ));
                } else if Base64::decode_vec(value).is_ok_and(|text| text == secret.as_bytes()) {
                    causes.add(Cause::fitting(
                        "secret_in_base64",
                        format!("the header {name} has secret {label} in base64"),
                    ));
                } else if secret.len() > 8
                    && value.len() > 8
                    && (secret.starts_with(value) || value.starts_with(secret))
                {
                    causes.add(Cause::possible(
                        "secret_cut_off",
                        format!("the header {name} and secret {label} begin alike, and one of them is cut off"),
                    ));
                }
            }
            let expected = mac(secret.as_bytes(), &[self.body]);
            if let Some(tag) = self.tags().into_iter().find(|tag| tag.bytes == expected) {
                causes.add(Cause::fitting("hmac_instead_of_secret", format!(
                    "the header {} has an HMAC of the body under secret {label}: the sender signs, and the endpoint is \
                     told to look for the secret itself",
                    tag.header
                )));
            }
        }
    }

    /// Where there is an HMAC: every way in which the secret, what is signed and the body could have been taken. The
    /// one that needs the fewest explanations is told.
    fn try_macs(&self, causes: &mut Causes) {
        let tags = self.tags();
        if tags.is_empty() {
            causes.add(Cause::possible("no_signature_found", "no header has anything that could be an HMAC-SHA256"));
            return;
        }
        let bodies = rewritten::all(self.body);
        let mut budget = HASHED_AT_MOST;
        let mut best: Option<Vec<Cause>> = None;
        let mut bare = false;
        for (body_was, body) in &bodies {
            for (message_was, before) in self.messages() {
                for secret in self.secrets {
                    for (key_was, key) in keys(secret.expose_secret(), self.is_standard()) {
                        let Some(left) = budget.checked_sub(body.len().saturating_add(64)) else { break };
                        budget = left;
                        causes.tried = causes.tried.saturating_add(1);
                        let expected = mac(&key, &[before.as_bytes(), body]);
                        for tag in tags.iter().filter(|tag| tag.bytes == expected) {
                            let key_was = key_was
                                .map(|(code, was)| Cause::fitting(code, format!("secret {} {was}", secret.label())));
                            let message_was = message_was.map(|(code, text)| Cause::fitting(code, text));
                            let body_was = body_was.map(|(code, text)| Cause::fitting(code, text));
                            let mut explanations: Vec<_> =
                                [key_was, message_was, body_was].into_iter().flatten().collect();
                            explanations.extend(self.misplaced(tag));
                            if best.as_ref().is_none_or(|best| explanations.len() < best.len()) {
                                best = Some(explanations);
                            }
                        }
                    }
                }
            }
        }
        for secret in self.secrets {
            let text = secret.expose_secret().as_bytes();
            bare |= self.needed().iter().any(|name| self.head.values(name).any(|value| ends_with_word(value, text)));
        }
        match best {
            Some(explanations) if explanations.is_empty() => {}
            Some(explanations) => explanations.into_iter().for_each(|cause| causes.add(cause)),
            None if bare => causes.add(Cause::fitting(
                "secret_instead_of_hmac",
                "the header has the secret itself, and an HMAC is looked for",
            )),
            None => {}
        }
        if budget < self.body.len() {
            causes.add(Cause::possible("not_all_tried", "the body is long: not every combination was tried"));
        }
    }

    /// What could be an HMAC-SHA256, in any header.
    fn tags(&self) -> Vec<Tag<'_>> {
        let mut tags = Vec::new();
        for (name, value) in &self.head.headers {
            let Ok(value) = str::from_utf8(value) else { continue };
            for word in value.split([' ', ',', ';', '"', '\'']).take(64) {
                let after = word.split_once(['=', ':']).map(|(_, after)| after);
                for text in [Some(word), after].into_iter().flatten() {
                    let found = decoded(text).map(|(bytes, digits)| Tag { header: name, value, text, digits, bytes });
                    tags.extend(found);
                }
            }
        }
        tags.truncate(64);
        tags
    }

    /// What could stand before the body in what is signed, the right one first.
    fn messages(&self) -> Vec<(Option<Explanation>, String)> {
        let mut messages = Vec::new();
        let joined = |family: &str| {
            let (id, time) =
                (self.head.text(&format!("{family}-id"))?, self.head.text(&format!("{family}-timestamp"))?);
            Some((format!("{id}.{time}."), time.to_owned()))
        };
        if self.is_standard() {
            messages.extend(joined("webhook").map(|(before, _)| (None, before)));
            let svix = ("svix_id_and_time", "id and time are those of the headers svix-*");
            messages.extend(joined("svix").map(|(before, _)| (Some(svix), before)));
            let timed = ("id_not_signed", "only time and body are signed, without the id");
            messages.extend(joined("webhook").map(|(_, time)| (Some(timed), format!("{time}."))));
            let bare = ("only_body_signed", "only the body is signed: that is not Standard Webhooks");
            messages.push((Some(bare), String::new()));
        } else {
            messages.push((None, String::new()));
            let standard = ("id_and_time_signed", "id and time are signed, too: that is Standard Webhooks");
            messages.extend(joined("webhook").map(|(before, _)| (Some(standard), before)));
        }
        messages
    }

    /// What is wrong about where and how a right MAC is written.
    fn misplaced(&self, tag: &Tag<'_>) -> Vec<Cause> {
        let (expected, prefix) = match self.signing {
            Signing::HmacSha256Body { header, prefix, .. } => (header.as_str(), prefix.as_str()),
            _ => ("webhook-signature", "v1,"),
        };
        let mut wrong = Vec::new();
        if tag.header != expected {
            wrong.push(Cause::fitting(
                "signature_in_other_header",
                format!("the signature is in the header {}, and is looked for in {expected}", tag.header),
            ));
        }
        let list = self.is_standard() && tag.value.split(' ').any(|entry| entry == format!("v1,{}", tag.text));
        if !list && tag.value != format!("{prefix}{}", tag.text) {
            wrong.push(if prefix.is_empty() {
                let text = "something stands before or after the signature, and nothing is expected there";
                Cause::fitting("text_around_signature", text)
            } else {
                let text = format!("before the signature there has to be `{prefix}`, and nothing else");
                Cause::fitting("wrong_prefix", text)
            });
        }
        let fits = match self.signing {
            Signing::HmacSha256Body { encoding, .. } => match encoding {
                Encoding::Hex => tag.digits == MacEncoding::Hex,
                Encoding::Base64 => tag.digits == MacEncoding::Base64,
                _ => tag.digits != MacEncoding::Base64Url,
            },
            _ => tag.digits == MacEncoding::Base64,
        };
        if !fits {
            let digits = match tag.digits {
                MacEncoding::Hex => "in hexadecimal digits",
                MacEncoding::Base64 => "in base64",
                MacEncoding::Base64Url => "in the base64 of URLs",
            };
            let text = format!("the signature is written {digits}, which is not what is expected");
            wrong.push(Cause::fitting("wrong_encoding", text));
        }
        wrong
    }

    fn is_standard(&self) -> bool {
        *self.signing == Signing::StandardWebhooks
    }
}

impl Causes {
    fn add(&mut self, cause: Cause) {
        if !self.list.contains(&cause) {
            self.list.push(cause);
        }
    }
}

/// What could be a MAC.
struct Tag<'h> {
    header: &'h str,
    value: &'h str,
    text: &'h str,
    digits: MacEncoding,
    bytes: [u8; 32],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MacEncoding {
    Hex,
    Base64,
    Base64Url,
}

/// How much is hashed in search of what was signed: a few seconds at most.
const HASHED_AT_MOST: usize = 512 * 1024 * 1024;

fn decoded(text: &str) -> Option<([u8; 32], MacEncoding)> {
    let (bytes, digits) = match text.len() {
        64 => (hex(text)?, MacEncoding::Hex),
        43 | 44 => match Base64::decode_vec(text).or_else(|_| Base64Unpadded::decode_vec(text)) {
            Ok(bytes) => (bytes, MacEncoding::Base64),
            Err(_) => {
                let other = Base64Url::decode_vec(text).or_else(|_| Base64UrlUnpadded::decode_vec(text));
                (other.ok()?, MacEncoding::Base64Url)
            }
        },
        _ => return None,
    };
    Some((bytes.try_into().ok()?, digits))
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs.map(|pair| Some(digit(pair.first()?)? << 4 | digit(pair.last()?)?)).collect()
}

/// The keys that a secret's text could have been taken for, the right one first.
fn keys(text: &str, standard: bool) -> Vec<(Option<Explanation>, Vec<u8>)> {
    let bare = text.strip_prefix("whsec_").unwrap_or(text);
    let base64 = Base64::decode_vec(bare).or_else(|_| Base64Unpadded::decode_vec(bare)).ok();
    let mut keys = Vec::new();
    let as_base64 = ("secret_read_as_base64", "was taken as base64, and has to be taken as text");
    let as_text = ("secret_read_as_text", "was taken as text, and has to be taken as base64");
    if standard {
        keys.extend(base64.map(|key| (None, key)));
        keys.push((Some(as_text), text.as_bytes().to_vec()));
        let bare_text = "was taken as text without `whsec_`, and has to be taken as base64";
        keys.push((Some(("secret_read_as_text_without_whsec", bare_text)), bare.as_bytes().to_vec()));
    } else {
        keys.push((None, text.as_bytes().to_vec()));
        keys.extend(base64.map(|key| (Some(as_base64), key)));
        keys.push((Some(("secret_read_without_whsec", "was taken without `whsec_`")), bare.as_bytes().to_vec()));
    }
    let url = Base64Url::decode_vec(bare).or_else(|_| Base64UrlUnpadded::decode_vec(bare));
    keys.extend(url.map(|key| (Some(("secret_read_as_base64url", "was taken as the base64 of URLs")), key)));
    keys.extend(hex(bare).map(|key| (Some(("secret_read_as_hex", "was taken as hexadecimal digits")), key)));
    for (code, was, before, after) in [
        ("secret_read_with_line_break", "was taken together with a line break", "", "\n"),
        ("secret_read_with_crlf", "was taken together with a line break (CR LF)", "", "\r\n"),
        ("secret_read_with_quotes", "was taken in quotation marks", "\"", "\""),
    ] {
        keys.push((Some((code, was)), [before, text, after].concat().into_bytes()));
    }
    let mut distinct: Vec<(Option<Explanation>, Vec<u8>)> = Vec::new();
    for (was, key) in keys {
        if !distinct.iter().any(|(_, known)| *known == key) {
            distinct.push((was, key));
        }
    }
    distinct
}

fn ends_with_word(value: &[u8], word: &[u8]) -> bool {
    value.strip_suffix(word).is_some_and(|before| before.is_empty() || before.ends_with(b" ") || before.ends_with(b"="))
}
