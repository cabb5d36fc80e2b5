//! A recorded delivery, with the endpoint that it was sent to.

use std::collections::BTreeMap;

use medhook::testing::Signing;
use medhook::{Bytes, Secret};
use medhook_conformance::Endpoint;
use serde_json::value::RawValue;

use super::headers::Head;
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

    /// Returns the header that holds the signature or the shared secret, and the text that must precede a signature.
    pub(super) fn signature_header(&self) -> (&str, &str) {
        match self.signing {
            Signing::Signature(settings) => (&settings.header, settings.prefix()),
            Signing::SharedSecret { header, .. } => (header, ""),
            _ => ("webhook-signature", "v1,"),
        }
    }

    /// Returns the names of the required headers, in the order in which a receiver checks them.
    pub(super) fn required_headers(&self) -> Vec<&str> {
        let mut required = match self.is_standard() {
            true => vec!["webhook-id", "webhook-timestamp"],
            false => Vec::new(),
        };
        required.push(self.signature_header().0);
        required.extend(self.endpoint.also_header.as_deref());
        required
    }

    /// Returns the mode that the body names.
    pub(super) fn mode(&self) -> Option<String> {
        // The pointer is that of a known provider.
        self.endpoint.known()?;
        serde_json::from_str(self.raw("/api_mode")?.get()).ok().filter(|mode: &String| !mode.is_empty())
    }

    /// Returns the time by which the age of the delivery is checked: the name of its header or of the body's field, its
    /// form, and its text.
    pub(super) fn time(&self) -> Option<(&str, TimeForm, String)> {
        if self.is_standard() {
            let text = self.head.text("webhook-timestamp")?;
            return Some(("webhook-timestamp", TimeForm::of(text), text.to_owned()));
        }
        let pointer = self.endpoint.time_pointer()?;
        let (form, text) = TimeForm::of_json(self.raw(pointer));
        let form = if self.is_json() { form } else { TimeForm::NotJson };
        Some((pointer.trim_start_matches('/'), form, text))
    }

    /// Returns the name and the form of the time, for a receiver that found none.
    pub(super) fn unread_time(&self) -> Option<(&str, TimeForm)> {
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
            let (name, form) = case.unread_time().unwrap();
            (name.to_owned(), form)
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
