//! Verifies and signs with signatures in a header.

use http::HeaderName;
use subtle::Choice;

use super::base64_body::Base64Body;
use super::layout::{MOST_ENTRIES, SignatureLayout};
use super::settings::{SignatureAlgorithm, SignatureSettings, TimestampPlace};
use super::template::{BodyForm, MessagePart, Template};
use super::timestamp::TimestampUnit;
use crate::headers::{HeadFault, HeaderProblem};
use crate::scheme::encoding::Encoding;
use crate::scheme::header::{SignedHeaders, header_name, most_ed25519, required};
use crate::scheme::keys::{KeyUse, KeyedMessage, Keys, Presented, same};
use crate::scheme::verification::{SignatureScope, Verification};
use crate::{ConfigError, Freshness, Reason, Secrets};

/// The scheme with its keys.
pub(crate) struct KeyedSignature {
    pub(in crate::scheme) keys: Keys,
    header: HeaderName,
    layout: SignatureLayout,
    encoding: Encoding,
    is_long: bool,
    most: usize,
    timestamp: Option<KeyedTimestamp>,
    id_header: Option<HeaderName>,
    template: Template,
    needs_json: bool,
}

struct KeyedTimestamp {
    place: KeyedPlace,
    unit: TimestampUnit,
    is_event_time: bool,
}

enum KeyedPlace {
    Header(HeaderName),
    Element(Box<str>),
}

/// The parts of a delivery that its signature covers, besides the body.
#[derive(Clone, Copy, Default)]
struct SignedParts<'a> {
    timestamp: &'a [u8],
    id: &'a [u8],
}

impl SignatureSettings {
    /// Checks the settings, and decodes the secrets.
    pub(in crate::scheme) fn keyed(&self, secrets: &Secrets, key_use: KeyUse) -> Result<KeyedSignature, ConfigError> {
        self.check_layout()?;
        let names: Vec<_> = self.headers().map(header_name).collect::<Result<_, _>>()?;
        let is_repeated = |(at, name): &(usize, &http::HeaderName)| names.iter().take(*at).any(|known| known == *name);
        if let Some((_, repeated)) = names.iter().enumerate().find(is_repeated) {
            return Err(ConfigError::new(format!("header {repeated} is configured twice")));
        }
        let template = self.template()?;
        let keys = Keys::read(secrets, key_use, |secret| self.key(secret))?;
        KeyedSignature::new(self, template, keys)
    }
}

impl KeyedSignature {
    fn new(settings: &SignatureSettings, template: Template, keys: Keys) -> Result<Self, ConfigError> {
        let timestamp = match &settings.timestamp {
            None => None,
            Some(place) => {
                let place = match place {
                    TimestampPlace::Header(name) => KeyedPlace::Header(header_name(name)?),
                    TimestampPlace::Element(name) => KeyedPlace::Element(name.as_str().into()),
                };
                Some(KeyedTimestamp { place, unit: settings.unit, is_event_time: settings.is_event_time })
            }
        };
        let most = match settings.algorithm {
            SignatureAlgorithm::Ed25519 => most_ed25519(keys.public()),
            _ => MOST_ENTRIES,
        };
        Ok(KeyedSignature {
            keys,
            header: header_name(&settings.header)?,
            layout: settings.layout.clone(),
            encoding: settings.encoding,
            is_long: settings.algorithm != SignatureAlgorithm::HmacSha256,
            most,
            timestamp,
            id_header: settings.id_header.as_deref().map(header_name).transpose()?,
            needs_json: settings.needs_json || template.lacks_separator,
            template,
        })
    }

    #[inline]
    pub(in crate::scheme) fn begin<'a>(
        &self,
        found: &SignedHeaders<'a>,
        freshness: Freshness,
        now: impl FnOnce() -> i64,
    ) -> Result<SignatureCheck<'a>, HeadFault> {
        let value = required(found[0]).map_err(|problem| problem.of(&self.header))?;
        let (first, has_others) = self.first(value).map_err(|problem| problem.of(&self.header))?;
        let mut check = SignatureCheck {
            message: KeyedMessage::default(),
            base64: None,
            value,
            first,
            has_others,
            parts: SignedParts::default(),
            signed_time: None,
            begins: None,
        };
        if self.timestamp.is_some() || self.id_header.is_some() {
            self.read_signed(&mut check, found, freshness, now)?;
        }
        if self.template.body == BodyForm::Base64 {
            check.base64 = Some(Base64Body::default());
        }
        Ok(check)
    }

    /// Reads the id and the timestamp. Is not inlined: with it, `verify` of an HMAC of the body takes more instructions
    /// (`scripts/count`).
    #[inline(never)]
    fn read_signed<'a>(
        &self,
        check: &mut SignatureCheck<'a>,
        [_, second, third]: &SignedHeaders<'a>,
        freshness: Freshness,
        now: impl FnOnce() -> i64,
    ) -> Result<(), HeadFault> {
        if let Some(name) = &self.id_header {
            let id = if self.timestamp_header().is_some() { third } else { second };
            check.parts.id = required(*id).and_then(|id| self.id(id)).map_err(|it| it.of(name))?;
        }
        if let Some(timestamp) = &self.timestamp {
            let (name, text) = match &timestamp.place {
                KeyedPlace::Header(name) => (name, required(*second)),
                KeyedPlace::Element(element) => (&self.header, SignatureLayout::timestamp(element, check.value)),
            };
            let text = text.map_err(|problem| problem.of(name))?;
            let time = timestamp.unit.parse(text, self.template.lacks_separator);
            let time = time.map_err(|problem| problem.of(name))?;
            if timestamp.is_checked_by(freshness) {
                let problem = |reason| match reason {
                    Reason::Stale => timestamp.unit.old(time),
                    _ if timestamp.unit == TimestampUnit::Seconds => HeaderProblem::ahead(time),
                    _ => HeaderProblem::Ahead,
                };
                freshness.check(time, now()).map_err(|reason| problem(reason).of(name))?;
            }
            check.parts.timestamp = text;
            check.signed_time = Some(time);
        }
        Ok(())
    }

    /// Returns the names of the headers, in the order in which they are found.
    pub(in crate::scheme) fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        std::iter::once(&self.header).chain(self.timestamp_header()).chain(&self.id_header)
    }

    fn timestamp_header(&self) -> Option<&HeaderName> {
        match &self.timestamp {
            Some(KeyedTimestamp { place: KeyedPlace::Header(name), .. }) => Some(name),
            _ => None,
        }
    }

    /// Returns the first signature, in 32 of the 64 bytes if it is short, and whether there are others.
    #[inline]
    fn first(&self, value: &[u8]) -> Result<([u8; 64], bool), HeaderProblem> {
        let SignatureLayout::Value { prefix, separator: None } = &self.layout else { return self.first_of_list(value) };
        let text = value.strip_prefix(prefix.as_bytes()).ok_or(HeaderProblem::NoPrefix)?;
        let first = self.decode(text).ok_or_else(|| self.encoding.problem(self.is_long))?;
        Ok((first, false))
    }

    /// Is not inlined, because a single signature is the usual case.
    #[inline(never)]
    fn first_of_list(&self, value: &[u8]) -> Result<([u8; 64], bool), HeaderProblem> {
        let (mut first, mut count, mut signatures, mut problem) = (None, 0_usize, 0_usize, self.layout.problem());
        for entry in self.layout.entries(value) {
            count = count.saturating_add(1);
            signatures = signatures.saturating_add(usize::from(entry.is_some()));
            if count > MOST_ENTRIES || signatures > self.most {
                return Err(HeaderProblem::TooManySignatures);
            }
            let Some(text) = entry else { continue };
            if first.is_none() {
                first = self.decode(text);
                problem = self.encoding.problem(self.is_long);
            }
        }
        first.map(|first| (first, signatures > 1)).ok_or(problem)
    }

    #[inline]
    fn decode(&self, text: &[u8]) -> Option<[u8; 64]> {
        if self.is_long {
            return self.encoding.decode::<64>(text);
        }
        let short = self.encoding.decode::<32>(text)?;
        let mut bytes = [0; 64];
        let (begin, _) = bytes.split_first_chunk_mut::<32>()?;
        *begin = short;
        Some(bytes)
    }

    pub(in crate::scheme) fn signs_attempt_time(&self) -> bool {
        self.timestamp.as_ref().is_some_and(|timestamp| !timestamp.is_event_time)
    }

    fn id<'a>(&self, id: &'a [u8]) -> Result<&'a [u8], HeaderProblem> {
        if !id.iter().all(u8::is_ascii_graphic) {
            return Err(HeaderProblem::NotVisibleAscii);
        }
        match self.template.after_id {
            Some(byte) if id.contains(&byte) => Err(HeaderProblem::Separator),
            _ => Ok(id),
        }
    }

    fn parts<'p>(
        &'p self,
        parts: &'p [MessagePart],
        signed: SignedParts<'p>,
    ) -> impl Iterator<Item = &'p [u8]> + Clone {
        parts.iter().map(move |part| match part {
            MessagePart::Text(text) => text,
            MessagePart::Timestamp => signed.timestamp,
            MessagePart::Id => signed.id,
        })
    }

    /// Returns the HMAC-SHA256 of a challenge under the first key.
    pub(in crate::scheme) fn challenge_mac(&self, challenge: &[u8]) -> Option<[u8; 32]> {
        self.keys.sha256_mac(challenge)
    }

    /// Signs a body with this id and timestamp, and returns the headers. The id and the timestamp are written as given.
    #[cfg(feature = "sign")]
    pub(in crate::scheme) fn sign(&self, id: &str, timestamp: &str, body: &[u8]) -> Option<Vec<(HeaderName, String)>> {
        let signed = SignedParts { timestamp: timestamp.as_bytes(), id: id.as_bytes() };
        let encoded;
        let body = match self.template.body {
            BodyForm::Raw => body,
            BodyForm::Base64 => {
                encoded = Encoding::Base64.encode(body);
                encoded.as_bytes()
            }
        };
        let message = self.parts(&self.template.before, signed).chain(std::iter::once(body));
        let tag = self.keys.sign(message.chain(self.parts(&self.template.after, signed)))?;
        let text = match self.encoding {
            // An Ed25519 signature is written in base64 unless hex is configured.
            Encoding::Either if self.keys.signs_with_ed25519() => Encoding::Base64.encode(&tag),
            encoding => encoding.encode(&tag),
        };
        let mut headers = Vec::new();
        let value = match &self.layout {
            SignatureLayout::Value { prefix, .. } => format!("{prefix}{text}"),
            SignatureLayout::Elements { signature, .. } => {
                let time = self.timestamp.as_ref().and_then(KeyedTimestamp::element);
                let time = time.map(|name| format!("{name}={timestamp},")).unwrap_or_default();
                let name = if signature.is_empty() { String::new() } else { format!("{signature}=") };
                format!("{time}{name}{text}")
            }
        };
        headers.push((self.header.clone(), value));
        headers.extend(self.timestamp_header().map(|name| (name.clone(), timestamp.to_owned())));
        headers.extend(self.id_header.iter().map(|name| (name.clone(), id.to_owned())));
        Some(headers)
    }

    /// Returns the text of a signed time, in seconds if the scheme signs none.
    #[cfg(feature = "sign")]
    pub(in crate::scheme) fn timestamp_text(&self, seconds: i64) -> String {
        self.timestamp.as_ref().map_or(TimestampUnit::Seconds, |timestamp| timestamp.unit).write(seconds)
    }

    /// Returns whether receivers accept this id and this body.
    #[cfg(feature = "sign")]
    pub(in crate::scheme) fn check_signed(&self, id: &str, timestamp: i64) -> Result<(), ConfigError> {
        if self.id_header.is_some() && required_id(id).and_then(|id| self.id(id)).is_err() {
            return Err(ConfigError::new(
                "message id must be 1 to 4096 visible ASCII characters without the one that follows it in the template",
            ));
        }
        if let Some(keyed) = &self.timestamp
            && keyed.unit.parse(keyed.unit.write(timestamp).as_bytes(), self.template.lacks_separator).is_err()
        {
            return Err(ConfigError::new(
                "timestamp must not be before 1970, and within the years 2001 to 2286 for a \
                                         template without a separator",
            ));
        }
        Ok(())
    }
}

#[cfg(feature = "sign")]
fn required_id(id: &str) -> Result<&[u8], HeaderProblem> {
    required(crate::Found::Once(id.as_bytes()))
}

impl KeyedTimestamp {
    fn is_checked_by(&self, freshness: Freshness) -> bool {
        match freshness {
            Freshness::AttemptTime { .. } => !self.is_event_time,
            Freshness::EventTime { .. } => self.is_event_time,
            Freshness::Unchecked => false,
        }
    }

    #[cfg(feature = "sign")]
    fn element(&self) -> Option<&str> {
        match &self.place {
            KeyedPlace::Element(name) => Some(name),
            KeyedPlace::Header(_) => None,
        }
    }
}

/// The check of one delivery, in progress.
pub(crate) struct SignatureCheck<'a> {
    message: KeyedMessage,
    base64: Option<Base64Body>,
    value: &'a [u8],
    first: [u8; 64],
    has_others: bool,
    parts: SignedParts<'a>,
    signed_time: Option<i64>,
    /// The first byte of the body.
    begins: Option<u8>,
}

/// The signatures of a delivery.
struct PresentedSignatures<'p> {
    scheme: &'p KeyedSignature,
    value: &'p [u8],
    first: &'p [u8; 64],
    has_others: bool,
}

impl Presented for PresentedSignatures<'_> {
    #[inline]
    fn has_mac<const LENGTH: usize>(&self, mac: &[u8; LENGTH]) -> Choice {
        let is = |bytes: &[u8; 64]| bytes.first_chunk::<LENGTH>().map_or(Choice::from(0), |bytes| same(mac, bytes));
        let first = is(self.first);
        if !self.has_others {
            return first;
        }
        self.all().fold(first, |found, signature| found | is(&signature))
    }

    #[cfg(feature = "ed25519")]
    fn ed25519(&self) -> impl Iterator<Item = [u8; 64]> {
        self.all()
    }
}

impl PresentedSignatures<'_> {
    fn all(&self) -> impl Iterator<Item = [u8; 64]> {
        self.scheme.layout.entries(self.value).flatten().filter_map(|text| self.scheme.decode(text))
    }
}

impl<'a> SignatureCheck<'a> {
    pub(in crate::scheme) fn push(&mut self, scheme: &KeyedSignature, bytes: &[u8]) {
        self.begins = self.begins.or(bytes.first().copied());
        let SignatureCheck { message, base64, value, first, has_others, parts, .. } = self;
        let presented = PresentedSignatures { scheme, value, first, has_others: *has_others };
        let before = || scheme.parts(&scheme.template.before, *parts);
        let mut feed = |bytes: &[u8]| message.update(&scheme.keys, before(), &presented, bytes);
        match base64 {
            Some(base64) => base64.update(bytes, feed),
            None => feed(bytes),
        }
    }

    #[inline]
    pub(in crate::scheme) fn finish(self, scheme: &KeyedSignature, rest: &[u8]) -> Result<Verification<'a>, Reason> {
        let begins = self.begins.or(rest.first().copied());
        let (parts, signed_time) = (self.parts, self.signed_time);
        let secret = if scheme.template.is_body {
            let SignatureCheck { message, value, first, has_others, .. } = self;
            let presented = PresentedSignatures { scheme, value, first: &first, has_others };
            message.first_match(&scheme.keys, std::iter::empty(), &presented, std::iter::once(rest))?
        } else {
            self.first_match_of_template(scheme, rest)?
        };
        if scheme.needs_json && !matches!(begins, Some(b'{' | b'[')) {
            return Err(Reason::AmbiguousBody);
        }
        let is_event_time = scheme.timestamp.as_ref().is_some_and(|timestamp| timestamp.is_event_time);
        let (attempted_at, occurred_at) = if is_event_time { (None, signed_time) } else { (signed_time, None) };
        Ok(Verification {
            signature_scope: if attempted_at.is_some() { SignatureScope::BodyAndTime } else { SignatureScope::Body },
            secret,
            message_id: scheme.id_header.is_some().then_some(parts.id),
            attempted_at,
            occurred_at,
        })
    }

    /// Is not inlined, for the usual case of a body alone.
    #[inline(never)]
    fn first_match_of_template(mut self, scheme: &KeyedSignature, rest: &[u8]) -> Result<usize, Reason> {
        let mut rest = rest;
        if self.base64.is_some() {
            self.push(scheme, std::mem::take(&mut rest));
        }
        let SignatureCheck { mut message, base64, value, first, has_others, parts, .. } = self;
        let presented = PresentedSignatures { scheme, value, first: &first, has_others };
        let before = || scheme.parts(&scheme.template.before, parts);
        if let Some(base64) = base64 {
            base64.finish(|text| message.update(&scheme.keys, before(), &presented, text));
        }
        let last = std::iter::once(rest).chain(scheme.parts(&scheme.template.after, parts));
        message.first_match(&scheme.keys, before(), &presented, last)
    }
}
