//! Finds the causes of a failed verification by trying the common mistakes. A mistake that explains the delivery
//! completely is a cause; one that the headers, the body or the time only suggest is a possible cause. docs/verify.md
//! lists the codes.

use base64ct::{Base64, Base64Unpadded, Base64Url, Base64UrlUnpadded, Encoding as _};
use medhook::sign::mac;
use medhook::testing::Signing;
use medhook::{Bytes, Encoding, Reason, Secret};
use medhook_conformance::Endpoint;

use super::headers::Head;
use super::rewritten::{self, Explanation};
use super::steps::Steps;
use crate::clock::in_words;

/// A delivery whose verification failed.
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
    /// The number of combinations of secret, signature and body that were tried.
    pub(super) tried: usize,
}

/// A cause of a failed verification.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cause {
    /// The stable name, for scripts.
    pub(super) code: &'static str,
    /// One line for the operator.
    pub(super) text: String,
    /// Whether the cause, alone or with all other causes that fit, explains the delivery completely.
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
        self.check_age(steps, &mut causes);
        self.check_mode(steps, &mut causes);
        if steps.verify.has_passed() {
            return causes;
        }
        self.check_head(&mut causes);
        match self.signing {
            Signing::SharedSecret { header } => self.try_secrets(header, &mut causes),
            _ => self.try_macs(&mut causes),
        }
        causes
    }

    /// Finds a secret that is configured for the wrong mode. The signature is valid then, so the mistake is in the
    /// options or in the endpoint's configuration.
    fn check_mode(&self, steps: &Steps, causes: &mut Causes) {
        let label = steps.secret.as_deref().unwrap_or("that verified it");
        match steps.envelope.reason {
            Some(Reason::WrongMode) => causes.add(Cause::fitting(
                "live_secret_for_test_event",
                format!(
                    "each mode has its own secret: secret {label} was given as a live secret, but the event is a test \
                 event; pass a test secret with --test-secret-env or --test-secret-file (in the config file of medhook \
                 receive: test_secrets, or mode = \"test\" if the endpoint receives only test events)"
                ),
            )),
            Some(Reason::SecretModeMismatch) => {
                let mode = match self.mode().as_deref() {
                    Some("live") => "is a live event",
                    Some(_) => "has an undocumented mode",
                    None => "names no mode",
                };
                causes.add(Cause::fitting("test_secret_for_other_event", format!(
                    "each mode has its own secret: secret {label} was given as a test secret, but the event {mode}; \
                     pass a live secret with --secret-env or --secret-file (in the config file of medhook receive: \
                     secrets with mode = \"live\", not test_secrets or mode = \"test\")"
                )));
            }
            _ => {}
        }
    }

    /// Returns the mode that the body names.
    fn mode(&self) -> Option<String> {
        let body: serde_json::Value = serde_json::from_slice(self.body).ok()?;
        Some(body.pointer("/api_mode")?.as_str().filter(|mode| !mode.is_empty())?.to_owned())
    }

    fn check_age(&self, steps: &Steps, causes: &mut Causes) {
        if let Some(timestamp) = self.head.text("webhook-timestamp").filter(|_| self.is_standard()) {
            match timestamp.parse::<i64>() {
                Ok(time) if (1_000_000_000_000..100_000_000_000_000).contains(&time) => {
                    causes.add(Cause::possible(
                        "timestamp_in_milliseconds",
                        "webhook-timestamp is in milliseconds, but must be in seconds",
                    ));
                    return;
                }
                Ok(time) if !steps.verify.has_passed() && time.abs_diff(self.at) > 300 => {
                    let apart = in_words(time.abs_diff(self.at));
                    causes.add(Cause::possible(
                        "timestamp_outside_window",
                        format!(
                            "webhook-timestamp is {apart} away from the time of arrival; at most 300 s are allowed"
                        ),
                    ));
                }
                _ => {}
            }
        }
        match steps.fresh.reason {
            Some(Reason::Stale) => causes.add(Cause::possible(
                "stale_delivery",
                "the delivery is too old at the time of arrival, which is now unless --at sets it; if --at is right, \
                 the delivery was replayed or a clock is wrong",
            )),
            Some(Reason::InTheFuture) => causes.add(Cause::possible(
                "clock_skew",
                "the timestamp is in the future: the clock of the sender or of the receiver is wrong",
            )),
            _ => {}
        }
    }

    /// Finds causes that the head and the beginning of the body suggest.
    fn check_head(&self, causes: &mut Causes) {
        let compressed = self.body.starts_with(&[0x1f, 0x8b]);
        let encodings = self.head.values("content-encoding");
        let encoded = encodings.map(<[u8]>::to_ascii_lowercase).any(|value| !value.is_empty() && value != b"identity");
        match (encoded, compressed) {
            (true, false) => causes.add(Cause::possible(
                "decompressed_in_transit",
                "content-encoding says that the body is compressed, but it is not: a proxy decompressed it, and may \
                 have changed it",
            )),
            (true, true) => causes.add(Cause::possible(
                "compressed_body",
                "the body is compressed: the signature covers either these bytes or the uncompressed ones",
            )),
            (false, true) => causes.add(Cause::possible(
                "compressed_without_header",
                "the body is compressed with gzip, but there is no content-encoding",
            )),
            (false, false) => {}
        }
        if let Some(length) = self.head.text("content-length").and_then(|text| text.parse::<usize>().ok())
            && length != self.body.len()
        {
            let known = self.body.len();
            causes.add(Cause::possible(
                "body_length_differs",
                format!(
                    "content-length was {length}, but the file has {known} bytes: it is not the body that was sent"
                ),
            ));
        }
        for name in self.required_headers() {
            match self.head.values(&name).count() {
                0 => causes.add(Cause::possible("missing_header", format!("the header {name} is missing"))),
                1 => {}
                times => {
                    causes.add(Cause::possible("repeated_header", format!("the header {name} occurs {times} times")))
                }
            }
        }
        if self.is_standard() && self.head.has("svix-signature") && !self.head.has("webhook-signature") {
            causes.add(Cause::possible(
                "svix_headers",
                "the headers are named svix-*: the sender or a relay uses the names that predate Standard Webhooks",
            ));
        }
        match self.mode().as_deref() {
            Some("test") if self.is_standard() && self.endpoint.test_secrets.is_empty() => causes.add(Cause::possible(
                "test_event_without_test_secret",
                "the body names the test mode, which has its own secret; pass it with --test-secret-env or \
                 --test-secret-file",
            )),
            Some("live") if self.is_standard() && self.endpoint.secrets.is_empty() => {
                causes.add(Cause::possible(
                    "live_event_without_live_secret",
                    "the body names the live mode, but only a test secret was given; pass the live secret with \
                     --secret-env or --secret-file",
                ));
            }
            _ => {}
        }
    }

    fn required_headers(&self) -> Vec<String> {
        let mut required = match self.signing {
            Signing::HmacSha256Body { header, .. } | Signing::SharedSecret { header } => vec![header.clone()],
            _ => ["webhook-id", "webhook-timestamp", "webhook-signature"].map(str::to_owned).to_vec(),
        };
        required.extend(self.endpoint.also_header.clone());
        required
    }

    /// Tries the mistakes of a shared secret.
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
                            format!("secret {label} is in the header {name}, but is expected in {expected}"),
                        ));
                    }
                } else if value.trim_matches(['"', '\'', ' ']) == secret {
                    causes.add(Cause::fitting(
                        "secret_in_quotes",
                        format!("in the header {name}, quotation marks or spaces surround secret {label}"),
                    ));
                } else if value.split(' ').next_back() == Some(secret) {
                    causes.add(Cause::fitting(
                        "secret_after_word",
                        format!("in the header {name}, a word precedes secret {label}"),
                    ));
                } else if value.eq_ignore_ascii_case(secret) {
                    causes.add(Cause::fitting(
                        "secret_in_other_case",
                        format!("the header {name} holds secret {label} with letters in a different case"),
                    ));
                } else if Base64::decode_vec(value).is_ok_and(|text| text == secret.as_bytes()) {
                    causes.add(Cause::fitting(
                        "secret_in_base64",
                        format!("the header {name} holds secret {label} encoded as base64"),
                    ));
                } else if secret.len() > 8
                    && value.len() > 8
                    && (secret.starts_with(value) || value.starts_with(secret))
                {
                    causes.add(Cause::possible(
                        "secret_cut_off",
                        format!("the header {name} and secret {label} begin alike, but one of them is truncated"),
                    ));
                }
            }
            let expected = mac(secret.as_bytes(), &[self.body]);
            if let Some(tag) = self.tags().into_iter().find(|tag| tag.bytes == expected) {
                causes.add(Cause::fitting("hmac_instead_of_secret", format!(
                    "the header {} holds an HMAC of the body under secret {label}: the sender signs, but the endpoint \
                     expects the secret itself",
                    tag.header
                )));
            }
        }
    }

    /// Tries the mistakes of an HMAC: every combination of a key, a signed prefix and a body. Reports the one with the
    /// fewest explanations.
    fn try_macs(&self, causes: &mut Causes) {
        let tags = self.tags();
        if tags.is_empty() {
            causes.add(Cause::possible("no_signature_found", "no header holds a value that could be an HMAC-SHA256"));
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
            bare |= self
                .required_headers()
                .iter()
                .any(|name| self.head.values(name).any(|value| ends_with_word(value, text)));
        }
        match best {
            Some(explanations) if explanations.is_empty() => {}
            Some(explanations) => explanations.into_iter().for_each(|cause| causes.add(cause)),
            None if bare => causes.add(Cause::fitting(
                "secret_instead_of_hmac",
                "the header holds the secret itself, but an HMAC is expected",
            )),
            None => {}
        }
        if budget < self.body.len() {
            causes.add(Cause::possible("not_all_tried", "the body is so long that not every combination was tried"));
        }
    }

    /// Returns every value in any header that could be an HMAC-SHA256.
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

    /// Returns the texts that may have been signed before the body, the correct one first.
    fn messages(&self) -> Vec<(Option<Explanation>, String)> {
        let mut messages = Vec::new();
        let joined = |family: &str| {
            let (id, time) =
                (self.head.text(&format!("{family}-id"))?, self.head.text(&format!("{family}-timestamp"))?);
            Some((format!("{id}.{time}."), time.to_owned()))
        };
        if self.is_standard() {
            messages.extend(joined("webhook").map(|(before, _)| (None, before)));
            let svix = ("svix_id_and_time", "the signed id and time are those of the headers svix-*");
            messages.extend(joined("svix").map(|(before, _)| (Some(svix), before)));
            let timed = ("id_not_signed", "only the time and the body are signed, without the id");
            messages.extend(joined("webhook").map(|(_, time)| (Some(timed), format!("{time}."))));
            let bare = ("only_body_signed", "only the body is signed, which is not Standard Webhooks");
            messages.push((Some(bare), String::new()));
        } else {
            messages.push((None, String::new()));
            let standard = ("id_and_time_signed", "the id and the time are signed as well, as in Standard Webhooks");
            messages.extend(joined("webhook").map(|(before, _)| (Some(standard), before)));
        }
        messages
    }

    /// Explains what is wrong with the header, prefix and encoding of a correct MAC.
    fn misplaced(&self, tag: &Tag<'_>) -> Vec<Cause> {
        let (expected, prefix) = match self.signing {
            Signing::HmacSha256Body { header, prefix, .. } => (header.as_str(), prefix.as_str()),
            _ => ("webhook-signature", "v1,"),
        };
        let mut wrong = Vec::new();
        if tag.header != expected {
            wrong.push(Cause::fitting(
                "signature_in_other_header",
                format!("the signature is in the header {}, but is expected in {expected}", tag.header),
            ));
        }
        let list = self.is_standard() && tag.value.split(' ').any(|entry| entry == format!("v1,{}", tag.text));
        if !list && tag.value != format!("{prefix}{}", tag.text) {
            wrong.push(if prefix.is_empty() {
                let text = "text surrounds the signature, but none is expected";
                Cause::fitting("text_around_signature", text)
            } else {
                let text = format!("the signature must follow `{prefix}`, without any other text");
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
                MacEncoding::Hex => "hexadecimal",
                MacEncoding::Base64 => "base64",
                MacEncoding::Base64Url => "base64url",
            };
            let text = format!("the signature is encoded as {digits}, but another encoding is expected");
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

/// A value in a header that could be a MAC.
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

/// The most bytes hashed while trying combinations, which takes a few seconds.
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

/// Returns the keys that may have been derived from a secret's text, the correct one first.
fn keys(text: &str, standard: bool) -> Vec<(Option<Explanation>, Vec<u8>)> {
    let bare = text.strip_prefix("whsec_").unwrap_or(text);
    let base64 = Base64::decode_vec(bare).or_else(|_| Base64Unpadded::decode_vec(bare)).ok();
    let mut keys = Vec::new();
    let as_base64 = ("secret_read_as_base64", "was decoded as base64 to sign, but must be used as text");
    let as_text = ("secret_read_as_text", "was used as text to sign, but must be decoded as base64");
    if standard {
        keys.extend(base64.map(|key| (None, key)));
        keys.push((Some(as_text), text.as_bytes().to_vec()));
        let bare_text = "was used as text without `whsec_` to sign, but must be decoded as base64";
        keys.push((Some(("secret_read_as_text_without_whsec", bare_text)), bare.as_bytes().to_vec()));
    } else {
        keys.push((None, text.as_bytes().to_vec()));
        keys.extend(base64.map(|key| (Some(as_base64), key)));
        let without_whsec = "was used without `whsec_` to sign, but `whsec_` is part of it";
        keys.push((Some(("secret_read_without_whsec", without_whsec)), bare.as_bytes().to_vec()));
    }
    let url = Base64Url::decode_vec(bare).or_else(|_| Base64UrlUnpadded::decode_vec(bare));
    keys.extend(url.map(|key| (Some(("secret_read_as_base64url", "was decoded as base64url to sign")), key)));
    keys.extend(hex(bare).map(|key| (Some(("secret_read_as_hex", "was decoded as hexadecimal to sign")), key)));
    for (code, was, before, after) in [
        ("secret_read_with_line_break", "was used with a line break at its end to sign", "", "\n"),
        ("secret_read_with_crlf", "was used with a line break (CR LF) at its end to sign", "", "\r\n"),
        ("secret_read_with_quotes", "was used with quotation marks around it to sign", "\"", "\""),
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
