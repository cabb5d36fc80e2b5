//! Makes deliveries: changes before signing, the signature, and changes after it.

use bytes::Bytes;
use medhook::registry::SchemeChoice;
use medhook::testing::{Fixture, Signing, fixtures, replaced_at, spaced};
use medhook::{Encoding, Freshness, TimestampPlace};

use crate::body::{dated, written_like};
use crate::case::{Case, Transfer};
use crate::change::Change;
use crate::endpoint::Endpoint;
use crate::written::{entry, filler, separator, signed_as, signs_event_time, split, timestamp_place};

/// A delivery that is not signed yet.
pub(crate) struct Draft<'l> {
    endpoint: &'l Endpoint,
    signing: Signing,
    time_at: Option<&'l str>,
    now: i64,
    body: Bytes,
    secret: String,
    message_id: String,
    timestamp: String,
    /// The signed time, in Unix seconds.
    at: i64,
    /// The template of the signature, if it is not the scheme's own.
    signed_as: Option<String>,
    /// The beginning of its id, if that is not the fixture's.
    mark: Option<String>,
}

impl<'l> Draft<'l> {
    pub(crate) fn new(endpoint: &'l Endpoint, body: &str, secret: Option<&str>, now: i64) -> Result<Self, String> {
        let signing = endpoint.signing().map_err(|error| error.to_string())?;
        let found = match &endpoint.custom {
            Some(custom) => Some(custom.sample(None).map_err(|error| error.to_string())?),
            None => fixtures().iter().find(|fixture| fixture.path() == body).map(Fixture::body),
        };
        let mut draft = Draft {
            endpoint,
            timestamp: signing.timestamp_text(now),
            signing,
            time_at: endpoint.time_pointer(),
            now,
            body: found.ok_or_else(|| format!("no fixture {body}"))?,
            secret: endpoint.secret(secret).ok_or("its endpoint has no such secret")?.to_owned(),
            message_id: "msg_2b1f4c8e".to_owned(),
            at: now,
            signed_as: None,
            mark: None,
        };
        if let Some(pointer) = draft.time_at {
            draft.body = dated(&draft.body, pointer, now);
        }
        Ok(draft)
    }

    /// Sets this mark as the id of the event and of the message.
    pub(crate) fn mark(&mut self, mark: &str) {
        self.body = self.endpoint.marked(&self.body, mark);
        self.message_id = self.signing.message_id(mark).split_off("msg_".len());
        self.mark = Some(mark.to_owned());
    }

    /// Makes the bytes unique by trailing whitespace if a change removed the mark.
    pub(crate) fn make_unique(&mut self, mark: &str) {
        let is_marked = String::from_utf8_lossy(&self.body).contains(mark);
        if !is_marked && serde_json::from_slice::<serde::de::IgnoredAny>(&self.body).is_ok() {
            self.body = spaced(&self.body, mark);
        }
    }

    /// Returns whether the body has an id that does not begin with the mark.
    pub(crate) fn has_an_id_without(&self, mark: &str) -> bool {
        let json: Option<serde_json::Value> = serde_json::from_slice(&self.body).ok();
        let pointer = self.endpoint.custom.as_ref().and_then(|custom| custom.id_pointer.as_deref()).unwrap_or("/id");
        match json.as_ref().and_then(|json| json.pointer(pointer)) {
            Some(serde_json::Value::String(id)) => !id.is_empty() && !id.starts_with(mark),
            Some(serde_json::Value::Number(_)) => true,
            _ => false,
        }
    }

    /// Returns whether the body has no time, but a custom endpoint checks it for every event.
    pub(crate) fn lacks_a_checked_time(&self) -> bool {
        let is_checked = matches!(self.endpoint.freshness(), Freshness::EventTime { .. });
        let is_in_body = is_checked && !signs_event_time(&self.signing);
        let pointer = self.time_at.filter(|_| is_in_body && self.endpoint.custom.is_some());
        pointer.is_some_and(|pointer| replaced_at(&self.body, pointer, <[u8]>::to_vec).is_none())
    }

    pub(crate) fn before_signing(&mut self, change: &Change) -> Result<(), String> {
        match change {
            Change::Secret(label) => {
                self.secret = self.endpoint.secret(Some(label)).ok_or("its endpoint has no such secret")?.to_owned();
            }
            Change::ForeignSecret(secret) => self.secret.clone_from(secret),
            Change::Scheme(scheme) => {
                if self.signing.signs_time() {
                    return Err("its provider's headers are not those of another scheme".to_owned());
                }
                let header = self.signing.header();
                self.signing = match scheme {
                    SchemeChoice::HmacSha256 => Signing::hmac_sha256(header),
                    SchemeChoice::SharedSecret => Signing::shared_secret(header),
                    _ => return Err("the list knows no such scheme".to_owned()),
                };
            }
            Change::Base64 => match &mut self.signing {
                Signing::Signature(settings) => settings.encoding = Encoding::Base64,
                _ => return Err("no HMAC that could be written otherwise".to_owned()),
            },
            Change::Hex => match &mut self.signing {
                Signing::Signature(settings) => settings.encoding = Encoding::Hex,
                _ => return Err("no signature that could be written otherwise".to_owned()),
            },
            Change::SignedAs(template) => self.signed_as = Some(template.clone()),
            Change::Text(text) => self.body = text.clone().into(),
            Change::Bytes(hex) => self.body = bytes_of(hex).ok_or("no hexadecimal digits")?.into(),
            Change::Replace(from, to) => {
                let text = str::from_utf8(&self.body).map_err(|_| "not UTF-8")?;
                self.body = replaced(text, from, to)?.into();
            }
            Change::Set(pointer, json) => {
                let json = json.replace("{now}", &self.now.to_string());
                self.put(pointer, |_| json.into_bytes())?;
            }
            Change::Nest(pointer, levels) => self.put(pointer, |value| {
                [b"[".repeat(*levels).as_slice(), value, b"]".repeat(*levels).as_slice()].concat()
            })?,
            Change::Long(pointer, letters) => {
                let mark = self.mark.as_deref().filter(|_| pointer == "/id").unwrap_or_default();
                let text = format!("\"{mark}{}\"", "x".repeat(letters.saturating_sub(mark.len())));
                self.put(pointer, |_| text.into())?;
            }
            Change::Wrap(before, after) => {
                self.body = [before.as_bytes(), &self.body, after.as_bytes()].concat().into();
            }
            Change::Pad(length) => {
                let spaces = length.checked_sub(self.body.len()).ok_or("longer already")?;
                self.body = [&self.body, b" ".repeat(spaces).as_slice()].concat().into();
            }
            Change::MessageId(id) => self.message_id.clone_from(id),
            Change::Timestamp(text) => self.timestamp = text.replace("{now}", &self.signing.timestamp_text(self.now)),
            Change::Attempt(offset) => {
                self.at = self.now.saturating_add(*offset);
                self.timestamp = self.signing.timestamp_text(self.at);
            }
            Change::Event(offset) => {
                let happened = self.now.saturating_add(*offset);
                let pointer = self.time_at.ok_or("the bodies of its provider have no time")?;
                self.put(pointer, |time| written_like(time, happened).into())?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns the headers that sign the body, the body, and how the scheme has written the headers.
    pub(crate) fn sign(self) -> Result<SignedDelivery, String> {
        let signed = self.signing.headers(&self.secret, &self.message_id, &self.timestamp, &self.body);
        let mut headers = signed.map_err(|error| error.to_string())?;
        if let Some(template) = &self.signed_as {
            let parts = (self.message_id.as_str(), self.timestamp.as_str());
            let other = signed_as(&self.signing, &self.secret, template, parts, &self.body)?;
            let header = self.signing.header().to_ascii_lowercase();
            for (_, value) in headers.iter_mut().filter(|(name, _)| *name == header) {
                *value = format!("{}{other}", split(&self.signing, value).0);
            }
        }
        headers.extend(self.endpoint.also());
        Ok((headers, self.body, Signed { signing: self.signing, timestamp: self.timestamp, at: self.at }))
    }

    /// Replaces the JSON at a pointer.
    fn put(&mut self, pointer: &str, other: impl FnOnce(&[u8]) -> Vec<u8>) -> Result<(), String> {
        self.body = replaced_at(&self.body, pointer, other).ok_or_else(|| format!("nothing at {pointer}"))?;
        Ok(())
    }
}

/// The headers that sign a body, the body, and how the scheme has written the headers.
type SignedDelivery = (Vec<(String, String)>, Bytes, Signed);

/// The forms in which the headers of a delivery were written.
pub(crate) struct Signed {
    signing: Signing,
    timestamp: String,
    /// The signed time, in Unix seconds.
    at: i64,
}

impl Signed {
    /// Replaces the timestamp in its header.
    fn set_timestamp(&self, case: &mut Case, text: &str) -> Result<(), String> {
        match timestamp_place(&self.signing) {
            Some(TimestampPlace::Header(name)) => text.clone_into(header(case, &name)?),
            Some(TimestampPlace::Element(name)) => {
                let value = header(case, &self.signing.header().to_ascii_lowercase())?;
                *value = replaced(value, &format!("{name}={}", self.timestamp), &format!("{name}={text}"))?;
            }
            _ => return Err("no timestamp is signed".to_owned()),
        }
        Ok(())
    }

    /// Returns the value of a header with placeholders.
    fn filled(&self, template: &str, headers: &[(String, String)]) -> String {
        let template = template.replace("{now}", &self.timestamp);
        headers.iter().fold(template, |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
    }

    /// Returns the header with the signatures, and the character between them.
    fn list<'c>(&self, case: &'c mut Case) -> Result<(&'c mut String, char), String> {
        let separator = separator(&self.signing).ok_or("the header has one signature")?;
        Ok((header(case, &self.signing.header().to_ascii_lowercase())?, separator))
    }
}

/// Applies a change that is made to a signed delivery.
pub(crate) fn after_signing(change: &Change, case: &mut Case, signed: &Signed) -> Result<(), String> {
    match change {
        Change::Flip(bit) => {
            let mut body = case.body.to_vec();
            let byte = body.get_mut(bit / 8).ok_or("no such bit")?;
            *byte ^= 1 << (bit % 8);
            case.body = body.into();
        }
        Change::Append(text) => case.body = [&case.body, text.as_bytes()].concat().into(),
        Change::Without(name) => {
            header(case, name)?;
            case.headers.retain(|(known, _)| known != name);
        }
        Change::Header(name, template) => {
            let value = signed.filled(template, &case.headers);
            match header(case, name) {
                Ok(known) => *known = value,
                Err(_) => case.headers.push((name.clone(), value)),
            }
        }
        Change::And(name, template) => {
            let value = signed.filled(template, &case.headers);
            case.headers.push((name.clone(), value));
        }
        Change::Edit(name, from, to) => {
            let value = header(case, name)?;
            *value = replaced(value, from, to)?;
        }
        Change::UpperCase(name) => {
            let value = header(case, name)?;
            let (before, text) = split(&signed.signing, value);
            *value = format!("{before}{}", text.to_ascii_uppercase());
        }
        Change::Lengthen(name, length) => {
            let value = header(case, name)?;
            let missing = length.checked_sub(value.len()).ok_or("longer already")?;
            value.push_str(&"x".repeat(missing));
        }
        Change::Cut(name, length) => {
            let value = header(case, name)?;
            *value = value.get(..*length).ok_or("shorter already")?.to_owned();
        }
        Change::Spoil(name, place) => {
            let value = header(case, name)?;
            let digit = value.len().checked_sub(*place).ok_or("shorter than that")?;
            let other = if value.get(digit..=digit) == Some("0") { "1" } else { "0" };
            value.replace_range(value.get(digit..=digit).map(|_| digit..=digit).ok_or("not ASCII")?, other);
        }
        Change::Trim(name, text) => {
            let value = header(case, name)?;
            *value = value.strip_suffix(text.as_str()).ok_or_else(|| format!("no {text} at the end"))?.to_owned();
        }
        Change::Resplit(characters) => resplit(*characters, case, signed)?,
        Change::Redate(offset) => {
            let moved = signed.signing.timestamp_text(signed.at.saturating_add(*offset));
            signed.set_timestamp(case, &moved)?;
        }
        Change::Among(entries) => {
            let (value, separator) = signed.list(case)?;
            let (before, text) = split(&signed.signing, value);
            let made_up = format!("{}{}{separator}", entry(&signed.signing, before), filler(text));
            let others = entries.checked_sub(value.split(separator).count()).ok_or("a list has the genuine one")?;
            *value = made_up.repeat(others) + value;
        }
        Change::Stretch(length) => {
            let (value, separator) = signed.list(case)?;
            if !value.contains(' ') {
                value.push(separator);
            }
            let missing = length.checked_sub(value.len()).ok_or("longer already")?;
            value.push_str(&"x".repeat(missing));
        }
        Change::Method(method) => case.method.clone_from(method),
        Change::Chunked(length) => case.transfer = Transfer::Chunked(*length),
        Change::Declares(length) => case.transfer = Transfer::Declares(*length),
        Change::HangsUp => case.transfer = Transfer::HangsUp,
        Change::Stalls => case.transfer = Transfer::Stalls,
        Change::State(state) => case.state = *state,
        Change::Handler(status) => case.handler = *status,
        _ => {}
    }
    Ok(())
}

fn header<'c>(case: &'c mut Case, name: &str) -> Result<&'c mut String, String> {
    let found = case.headers.iter_mut().find(|(known, _)| known == name);
    found.map(|(_, value)| value).ok_or_else(|| format!("no header {name}"))
}

/// Moves characters from the end of the timestamp to the beginning of the body, or bytes back.
fn resplit(characters: isize, case: &mut Case, signed: &Signed) -> Result<(), String> {
    let count = characters.unsigned_abs();
    if characters >= 0 {
        let at = signed.timestamp.len().checked_sub(count).ok_or("the timestamp is shorter")?;
        let (kept, moved) = signed.timestamp.split_at_checked(at).ok_or("not ASCII")?;
        signed.set_timestamp(case, kept)?;
        case.body = [moved.as_bytes(), &case.body].concat().into();
    } else {
        let (moved, kept) = case.body.split_at_checked(count).ok_or("the body is shorter")?;
        let longer = format!("{}{}", signed.timestamp, str::from_utf8(moved).map_err(|_| "not UTF-8")?);
        case.body = Bytes::copy_from_slice(kept);
        signed.set_timestamp(case, &longer)?;
    }
    Ok(())
}

fn replaced(text: &str, from: &str, to: &str) -> Result<String, String> {
    if text.contains(from) { Ok(text.replacen(from, to, 1)) } else { Err(format!("no {from} to replace")) }
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.split_whitespace().collect::<String>();
    let mut bytes = vec![0; digits.len() / 2];
    base16ct::lower::decode(&digits, &mut bytes).ok()?;
    Some(bytes)
}
