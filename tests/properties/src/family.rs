//! The families of signing schemes with all their options, chosen by four bytes.

use base64ct::{Base64, Encoding as _};
use hmac::{Hmac, KeyInit, Mac};
use medhook::testing::Signing;
use medhook::{
    Ed25519Body, Encoding, HmacSha256Body, HmacSha512Body, SchemeConfig, Secret, SharedSecret, StandardWebhooks,
    TimestampUnit, TimestampedHmac,
};
use sha2::{Sha256, Sha512};

use super::SECRET;

/// Templates of what is signed, with and without separators.
pub(super) const TEMPLATES: [&str; 22] = [
    "{timestamp}.{body}",
    "{timestamp}{body}",
    "v0:{timestamp}:{body}",
    "{timestamp}0{body}",
    "{timestamp}-{body}",
    "{timestamp}Z{body}",
    "1{timestamp}.{body}",
    "{body}.{timestamp}",
    "{body}{timestamp}",
    "{body}9{timestamp}",
    "{body}.{timestamp}0",
    "{timestamp}.{body_base64}",
    "{timestamp}{body_base64}",
    "{body_base64}{timestamp}",
    "{id}.{timestamp}.{body}",
    "{id}.{timestamp}{body}",
    "{id}0{timestamp}.{body}",
    "{timestamp}{id}.{body}",
    "{timestamp}.{id}:{body}\n",
    "{timestamp}{id}0{body}",
    "{id}.{body}{timestamp}",
    "{id}:{body}-{timestamp}",
];

/// The seed of this key pair is the bytes 0 to 31.
const PUBLIC_KEY: &str = "whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=";
const PRIVATE_KEY: &str = "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Sha256Body,
    Sha512Body,
    Ed25519Body,
    /// The timestamp is an element.
    Elements,
    /// The timestamp has a header of its own.
    Headers,
    StandardWebhooks,
    /// Standard Webhooks with a key pair.
    StandardPair,
    Bearer,
    Basic,
}

/// A family and its options.
#[derive(Debug, Clone, Copy)]
pub(super) struct Family {
    pub(super) kind: Kind,
    pub(super) encoding: Encoding,
    pub(super) prefix: &'static str,
    pub(super) separator: Option<char>,
    /// The name of the elements with signatures.
    pub(super) element: &'static str,
    pub(super) unit: TimestampUnit,
    pub(super) is_sha512: bool,
    pub(super) template: &'static str,
}

const KINDS: [Kind; 9] = [
    Kind::Sha256Body,
    Kind::Sha512Body,
    Kind::Ed25519Body,
    Kind::Elements,
    Kind::Headers,
    Kind::StandardWebhooks,
    Kind::StandardPair,
    Kind::Bearer,
    Kind::Basic,
];
pub(super) const ENCODINGS: [Encoding; 4] = [Encoding::Hex, Encoding::Base64, Encoding::Base64Url, Encoding::Either];
pub(super) const UNITS: [TimestampUnit; 3] =
    [TimestampUnit::Seconds, TimestampUnit::Milliseconds, TimestampUnit::Rfc3339];
const SEPARATORS: [Option<char>; 4] = [None, Some(','), Some(' '), Some('|')];

impl Family {
    /// Reads a family from four bytes, so that the digits of seeds select the first values.
    pub(super) fn of([kind, encoding, layout, template]: [u8; 4]) -> Self {
        let at = |byte: u8, count: usize| usize::from(byte.wrapping_sub(b'0')) % count;
        let kind = KINDS[at(kind, KINDS.len())];
        let layout = at(layout, 256);
        let is_timestamped = matches!(kind, Kind::Elements | Kind::Headers);
        Family {
            kind,
            encoding: ENCODINGS[at(encoding, ENCODINGS.len())],
            prefix: ["", "v0="][layout % 2],
            separator: SEPARATORS[layout / 2 % 4],
            element: ["v1", ""][layout / 8 % 2],
            unit: UNITS[layout / 16 % 3],
            is_sha512: kind == Kind::Sha512Body || is_timestamped && layout >= 128,
            template: match kind {
                _ if is_timestamped => TEMPLATES[at(template, TEMPLATES.len())],
                Kind::StandardWebhooks | Kind::StandardPair => "{id}.{timestamp}.{body}",
                _ => "{body}",
            },
        }
    }

    /// Returns bytes that select every kind, encoding and unit, with layouts and templates in turn.
    pub(super) fn all() -> impl Iterator<Item = [u8; 4]> {
        let digit = |number: usize| b'0'.wrapping_add(number as u8);
        let kinds = (0..KINDS.len()).flat_map(|kind| (0..16).map(move |layout| (kind, layout)));
        let others = kinds.enumerate().map(move |(number, (kind, layout))| {
            // Units, and SHA-512, in turn.
            let layout = layout + number / 3 % 3 * 16 + number / 7 % 2 * 144;
            [digit(kind), digit(number), digit(layout), digit(number)]
        });
        let templates = (0..TEMPLATES.len())
            .flat_map(move |template| [0, 16, 32].map(|unit| [b'4', digit(template), digit(unit), digit(template)]));
        others.chain(templates)
    }

    pub(super) fn scheme(&self) -> SchemeConfig {
        macro_rules! body {
            ($Scheme:ident) => {{
                let scheme = $Scheme::new("x-signature").prefix(self.prefix).encoding(self.encoding);
                match self.separator {
                    Some(separator) => scheme.separator(separator).into(),
                    None => scheme.into(),
                }
            }};
        }
        match self.kind {
            Kind::Sha256Body => body!(HmacSha256Body),
            Kind::Sha512Body => body!(HmacSha512Body),
            Kind::Ed25519Body => body!(Ed25519Body),
            Kind::Elements => self.timestamped(TimestampedHmac::elements("x-signature", "t", self.element)),
            Kind::Headers => {
                let scheme = TimestampedHmac::headers("x-signature", "x-timestamp").prefix(self.prefix);
                self.timestamped(match self.separator {
                    Some(separator) => scheme.separator(separator),
                    None => scheme,
                })
            }
            Kind::StandardWebhooks => StandardWebhooks::new().into(),
            Kind::StandardPair => StandardWebhooks::new().header_prefix("svix-").into(),
            Kind::Bearer => SharedSecret::bearer().into(),
            Kind::Basic => SharedSecret::basic("acme").into(),
        }
    }

    fn timestamped(&self, scheme: TimestampedHmac) -> SchemeConfig {
        let scheme = scheme.encoding(self.encoding).timestamp_unit(self.unit).signed(self.template);
        let scheme = if self.has_id() { scheme.id_header("x-id") } else { scheme };
        if self.is_sha512 { scheme.sha512() } else { scheme }.into()
    }

    pub(super) fn has_id(&self) -> bool {
        self.template.contains("{id}")
    }

    pub(super) fn has_time(&self) -> bool {
        self.template.contains("{timestamp}")
    }

    pub(super) fn signs_body(&self) -> bool {
        !matches!(self.kind, Kind::Bearer | Kind::Basic)
    }

    pub(super) fn has_pair(&self) -> bool {
        matches!(self.kind, Kind::Ed25519Body | Kind::StandardPair)
    }

    /// Returns the secret of the receiver.
    pub(super) fn secret(&self) -> Secret {
        Secret::new(if self.has_pair() { PUBLIC_KEY } else { SECRET }).expect("a secret")
    }

    /// Returns the headers of a delivery that this crate signs.
    pub(super) fn headers(&self, id: &str, time: &str, body: &[u8]) -> Vec<(String, String)> {
        let secret = if self.has_pair() { PRIVATE_KEY } else { SECRET };
        Signing::of(self.scheme()).headers(secret, id, time, body).expect("signed")
    }

    /// Returns the text of this time as it is signed.
    pub(super) fn time(&self, seconds: i64) -> String {
        Signing::of(self.scheme()).timestamp_text(seconds)
    }

    /// Returns whether only the form of the timestamp and the body tells where they meet in the message.
    pub(super) fn lacks_separator(&self) -> bool {
        let Some((before, after)) = self.template.split_once("{timestamp}") else { return false };
        let joins = |character: Option<char>| character.is_some_and(|it| it.is_ascii_digit() || "{}".contains(it));
        joins(after.chars().next()) || before.contains("{body") && joins(before.chars().next_back())
    }

    /// Returns the value of the header with the MAC of this message.
    pub(super) fn signature_of(&self, message: &[u8]) -> String {
        if self.kind == Kind::StandardWebhooks {
            let key = Base64::decode_vec(SECRET).expect("base64");
            return format!("v1,{}", Base64::encode_string(&mac::<Hmac<Sha256>>(&key, message)));
        }
        let tag = match self.is_sha512 {
            true => mac::<Hmac<Sha512>>(SECRET.as_bytes(), message),
            false => mac::<Hmac<Sha256>>(SECRET.as_bytes(), message),
        };
        self.encoded(&tag)
    }

    /// Returns the value of the header with this MAC.
    pub(super) fn encoded(&self, tag: &[u8]) -> String {
        let text = match self.encoding {
            Encoding::Base64 => Base64::encode_string(tag),
            Encoding::Base64Url => Base64::encode_string(tag).replace('+', "-").replace('/', "_"),
            _ => tag.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        format!("{}{text}", self.prefix)
    }

    /// Returns the message, from the template as text.
    pub(super) fn message(&self, id: &[u8], time: &[u8], body: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        let mut rest = self.template;
        while let Some(first) = rest.chars().next() {
            let length = match first {
                '{' => rest.find('}').expect("a placeholder") + 1,
                _ => rest.find('{').unwrap_or(rest.len()),
            };
            let (token, after) = rest.split_at(length);
            match token {
                "{id}" => message.extend_from_slice(id),
                "{timestamp}" => message.extend_from_slice(time),
                "{body}" => message.extend_from_slice(body),
                "{body_base64}" => message.extend_from_slice(Base64::encode_string(body).as_bytes()),
                literal => message.extend_from_slice(literal.as_bytes()),
            }
            rest = after;
        }
        message
    }
}

/// Returns the MAC of a message.
pub(super) fn mac<M: Mac + KeyInit>(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}
