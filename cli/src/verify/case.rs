//! A recorded delivery, with the endpoint that it was sent to.

use std::collections::BTreeMap;

use medhook::testing::Signing;
use medhook::{Bytes, Secret, SecretEncoding, SignatureAlgorithm, SignatureLayout, TimestampPlace, TimestampUnit};
use medhook_conformance::Endpoint;
use serde_json::value::RawValue;

use super::headers::Head;
use super::separators::other_separator;
use super::signed::SignedText;
use super::time_form::TimeForm;

/// A recorded delivery, with the endpoint that it was sent to and the time of its arrival.
pub(super) struct Case<'c> {
    pub(super) endpoint: &'c Endpoint,
    pub(super) signing: &'c Signing,
    pub(super) secrets: &'c [Secret],
    pub(super) head: &'c Head,
    pub(super) body: &'c Bytes,
    pub(super) at: i64,
}

/// The longest body that is parsed as JSON.
pub(super) const LONGEST_JSON: usize = 1024 * 1024;

impl Case<'_> {
    pub(super) fn is_standard(&self) -> bool {
        matches!(self.signing, Signing::StandardWebhooks(_))
    }

    pub(super) fn is_shared_secret(&self) -> bool {
        matches!(self.signing, Signing::SharedSecret { .. })
    }

    /// Returns the header that holds the signature or the shared secret.
    pub(super) fn signature_header(&self) -> String {
        self.signing.header()
    }

    /// Returns the text that must precede a signature of this algorithm.
    pub(super) fn signature_prefix(&self, algorithm: SignatureAlgorithm) -> String {
        match self.signing {
            Signing::StandardWebhooks(_) if algorithm == SignatureAlgorithm::Ed25519 => "v1a,".to_owned(),
            Signing::StandardWebhooks(_) => "v1,".to_owned(),
            Signing::Signature(settings) => match &settings.layout {
                SignatureLayout::Elements { signature, .. } if !signature.is_empty() => format!("{signature}="),
                _ => settings.prefix().to_owned(),
            },
            _ => String::new(),
        }
    }

    /// Returns the names of the required headers.
    pub(super) fn required_headers(&self) -> Vec<String> {
        let mut required = self.signing.header_names();
        required.extend(self.endpoint.also_header.clone());
        required
    }

    /// Returns the encoding of a key in its secret.
    pub(super) fn secret_encoding(&self) -> SecretEncoding {
        match self.signing {
            Signing::StandardWebhooks(scheme) => scheme.key_encoding(),
            Signing::Signature(settings) => settings.secret_encoding,
            _ => SecretEncoding::Text,
        }
    }

    /// Returns the template of what is signed. It is empty for a shared secret.
    pub(super) fn template(&self) -> &str {
        match self.signing {
            Signing::StandardWebhooks(_) => "{id}.{timestamp}.{body}",
            Signing::Signature(settings) => &settings.signed,
            _ => "",
        }
    }

    /// Returns the name of the header or element with the signed timestamp, if the scheme has one, and its text.
    pub(super) fn signed_time(&self) -> Option<(String, Option<&str>)> {
        match self.signing {
            Signing::StandardWebhooks(scheme) => {
                let [_, name, _] = scheme.header_names();
                let text = self.head.text(&name);
                Some((name, text))
            }
            Signing::Signature(settings) => Some(match settings.timestamp.as_ref()? {
                TimestampPlace::Header(name) => (name.clone(), self.head.text(name)),
                TimestampPlace::Element(element) => {
                    let name = format!("element {element} of {}", settings.header);
                    (name, self.element(&settings.header, element))
                }
                _ => return None,
            }),
            _ => None,
        }
    }

    /// Returns the text of the only element of this name in a header.
    fn element(&self, header: &str, name: &str) -> Option<&str> {
        let entries = self.head.text(header)?.split(other_separator(self.signing, self.head).unwrap_or(','));
        let mut texts = entries.filter_map(|entry| entry.trim().strip_prefix(name)?.strip_prefix('='));
        let text = texts.next()?;
        if texts.next().is_some() { None } else { Some(text) }
    }

    /// Returns the header with the signed id, if the scheme has one.
    pub(super) fn id_header(&self) -> Option<String> {
        match self.signing {
            Signing::StandardWebhooks(scheme) => {
                let [id, ..] = scheme.header_names();
                Some(id)
            }
            Signing::Signature(settings) => settings.id_header.clone(),
            _ => None,
        }
    }

    /// Returns the signed id of the delivery.
    pub(super) fn signed_id(&self) -> Option<&str> {
        self.head.text(&self.id_header()?)
    }

    /// Returns what must be signed, or `None` if a part is missing.
    pub(super) fn signed_text(&self) -> Option<SignedText> {
        let time = self.signed_time().and_then(|(_, text)| text);
        SignedText::of(self.template(), time, self.signed_id())
    }

    /// Returns the form of the signed timestamp, if the scheme has one.
    pub(super) fn unit(&self) -> Option<TimestampUnit> {
        match self.signing {
            Signing::StandardWebhooks(_) => Some(TimestampUnit::Seconds),
            Signing::Signature(settings) => settings.timestamp.as_ref().map(|_| settings.unit),
            _ => None,
        }
    }

    /// Returns whether the signed timestamp is the time of the event.
    pub(super) fn signs_event_time(&self) -> bool {
        match self.signing {
            Signing::StandardWebhooks(scheme) => scheme.is_event_time(),
            Signing::Signature(settings) => settings.timestamp.is_some() && settings.is_event_time,
            _ => false,
        }
    }

    /// Returns the signed time in Unix seconds, as a receiver reads it.
    pub(super) fn signed_unix(&self) -> Option<i64> {
        let (_, text) = self.signed_time()?;
        let text = text?;
        match self.unit()? {
            TimestampUnit::Milliseconds => text.parse().ok().map(|time: i64| time.div_euclid(1_000)),
            TimestampUnit::Rfc3339 => text.parse().ok().map(jiff::Timestamp::as_second),
            _ => text.parse().ok(),
        }
    }

    /// Returns the code and the description of a time in another unit than the configured one.
    pub(super) fn other_unit(&self, form: TimeForm, name: &str) -> Option<(&'static str, String)> {
        let (code, what) = form.in_other_unit(self.unit().unwrap_or_default(), name)?;
        let has_option = !self.is_standard() && self.unit().is_some() && self.endpoint.custom.is_some();
        let hint = if has_option { ", or set timestamp_unit to the unit of the sender" } else { "" };
        Some((code, format!("{what}; {}{hint}", self.accepted_time())))
    }

    /// Returns the form in which the time must be written.
    pub(super) fn accepted_time(&self) -> &'static str {
        match self.unit() {
            Some(TimestampUnit::Milliseconds) => "it must be an integer of Unix milliseconds",
            Some(TimestampUnit::Rfc3339) => "it must be RFC 3339 with seconds and an offset",
            Some(_) => "it must be an integer of Unix seconds",
            None => "it must be RFC 3339 or an integer of Unix seconds",
        }
    }

    /// Returns the mode that the body names.
    pub(super) fn mode(&self) -> Option<String> {
        // The pointer is that of a known provider.
        self.endpoint.known()?;
        serde_json::from_str(self.raw("/api_mode")?.get()).ok().filter(|mode: &String| !mode.is_empty())
    }

    /// Returns the time by which the age of the delivery is checked: the name of its header, of its element or of the
    /// body's field, its form, and its text.
    pub(super) fn time(&self) -> Option<(String, TimeForm, String)> {
        if let Some((name, text)) = self.signed_time() {
            return text.map(|text| (name, TimeForm::of(text), text.to_owned()));
        }
        let pointer = self.endpoint.time_pointer()?;
        let (form, text) = TimeForm::of_json(self.raw(pointer));
        let form = if self.is_json() { form } else { TimeForm::NotJson };
        Some((pointer.trim_start_matches('/').to_owned(), form, text))
    }

    /// Returns the name and the form of the time, for a receiver that found none.
    pub(super) fn unread_time(&self) -> Option<(String, TimeForm)> {
        let (name, form, text) = self.time()?;
        let is_readable = medhook::Time::from(text.as_str()).unix().is_some();
        Some((name, if is_readable && form != TimeForm::NotJson { TimeForm::Unread } else { form }))
    }

    fn is_json(&self) -> bool {
        str::from_utf8(self.body).is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok())
    }

    fn raw(&self, pointer: &str) -> Option<&RawValue> {
        if self.body.len() > LONGEST_JSON {
            return None;
        }
        let whole = serde_json::from_slice(self.body).ok()?;
        pointer.split('/').skip(1).try_fold(whole, |value: &RawValue, name| {
            let name = name.replace("~1", "/").replace("~0", "~");
            let in_list = |list: Vec<_>| list.get(name.parse::<usize>().ok()?).copied();
            match serde_json::from_str::<BTreeMap<String, &RawValue>>(value.get()) {
                Ok(members) => members.get(&name).copied(),
                Err(_) => serde_json::from_str(value.get()).ok().and_then(in_list),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_receivers_accept_is_not_blamed_for_the_rest_of_the_body() {
        let endpoint = Endpoint::new("healthsync");
        let (signing, head) = (endpoint.signing().unwrap(), Head::default());
        let form = |body: &str| {
            let body = Bytes::copy_from_slice(body.as_bytes());
            let case = Case { endpoint: &endpoint, signing: &signing, secrets: &[], head: &head, body: &body, at: 0 };
            case.unread_time().unwrap()
        };
        assert_eq!(
            form(r#"{"created_at":1,"created_at":"2026-01-01T00:00:00Z"}"#),
            ("created_at".to_owned(), TimeForm::Unread)
        );
        assert_eq!(form(r#"{"created_at":1.5}"#), ("created_at".to_owned(), TimeForm::Fraction));
        assert_eq!(form(r#"["created_at"]"#), ("created_at".to_owned(), TimeForm::Missing));
        assert_eq!(form(r#"{"created_at":1"#), ("created_at".to_owned(), TimeForm::NotJson));
    }
}
