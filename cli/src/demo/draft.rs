//! A delivery being made: everything that a sender who knows the secret decides.

use http::Request;
use medhook::{Bytes, testing};
use serde_json::Value;

use super::providers::{DemoProvider, Edit};
use crate::clock::now;
use crate::failure::Failure;

/// A genuine delivery of a new event, unless told otherwise.
#[derive(Clone)]
pub(super) struct Draft<'e> {
    provider: &'e DemoProvider,
    kind: &'e str,
    secret: &'e str,
    event: usize,
    seconds_from_now: i64,
    edits: Vec<Edit>,
}

impl<'e> Draft<'e> {
    /// Of the event of this number: two drafts with one number are one event.
    pub(super) fn new(provider: &'e DemoProvider, secret: &'e str, event: usize) -> Self {
        let edits = provider.modes.iter().map(|modes| modes.live).collect();
        Draft { provider, kind: provider.kind, secret, event, seconds_from_now: 0, edits }
    }

    pub(super) fn kind(self, kind: &'e str) -> Self {
        Draft { kind, ..self }
    }

    pub(super) fn secret(self, secret: &'e str) -> Self {
        Draft { secret, ..self }
    }

    /// Happened, and was sent, so many seconds from now.
    pub(super) fn dated(self, seconds: i64) -> Self {
        Draft { seconds_from_now: seconds, ..self }
    }

    pub(super) fn edited(mut self, edit: Edit) -> Self {
        self.edits.push(edit);
        self
    }

    /// The request, signed.
    pub(super) fn request(&self) -> Result<Request<Bytes>, Failure> {
        let Draft { provider, kind, .. } = self;
        if !provider.has_sample(kind) {
            return Err(Failure::new(format!("there is no sample of {} {kind}", provider.name)));
        }
        let mut sample = (provider.sample)(kind).secret(self.secret).id(format!("demo-{}", self.event));
        if self.seconds_from_now != 0 {
            sample = sample.at(now()?.saturating_add(self.seconds_from_now));
        }
        let path = provider.path();
        let plain = sample.request(&path);
        let mut body = plain.body().clone();
        for edit in &self.edits {
            body = edited(body, *edit)?;
        }
        if !provider.ids {
            body = testing::marked(provider.name, &body, &format!("demo-{}", self.event));
        }
        Ok(if body == *plain.body() { plain } else { sample.body(body).request(&path) })
    }
}

/// The body with another value at a place; the very same bytes if it has that value already.
fn edited(body: Bytes, edit: Edit) -> Result<Bytes, Failure> {
    let fails = |error| Failure::because(format_args!("the sample cannot be changed at {}", edit.at), error);
    let mut json: Value = serde_json::from_slice(&body).map_err(fails)?;
    let to: Value = serde_json::from_str(edit.to).map_err(fails)?;
    let Some(place) = json.pointer_mut(edit.at) else {
        return Err(Failure::new(format!("the sample has nothing at {}", edit.at)));
    };
    if *place == to {
        return Ok(body);
    }
    *place = to;
    Ok(json.to_string().into())
}

#[cfg(test)]
mod tests {
    use super::super::providers::PROVIDERS;
    use super::*;

    /// Also good base64, for the schemes that want that.
    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn draft(provider: &DemoProvider) -> Draft<'_> {
        Draft::new(provider, SECRET, 1)
    }

    #[test]
    fn every_change_fits_the_sample() {
        for provider in PROVIDERS {
            let test = provider.modes.map(|modes| modes.test);
            let drifted = provider.drifted.map(|drifted| drifted.edit);
            for edit in [provider.unknown, drifted, provider.undecodable, test].into_iter().flatten() {
                let request = draft(provider).edited(edit).request().unwrap();
                assert_ne!(request.body(), draft(provider).request().unwrap().body(), "{} {edit:?}", provider.name);
            }
        }
    }

    #[test]
    fn a_place_that_is_not_there_is_named() {
        let edit = Edit { at: "/no/such/place", to: "1" };
        let failure = draft(&PROVIDERS[0]).edited(edit).request().unwrap_err();
        assert!(failure.to_string().contains("/no/such/place"));
        let failure = draft(&PROVIDERS[0]).kind("no.such.kind").request().unwrap_err();
        assert!(failure.to_string().contains("no.such.kind"));
    }

    #[test]
    fn other_numbers_are_other_events_with_ids_or_without() {
        for provider in PROVIDERS {
            let body = |event| Draft::new(provider, SECRET, event).request().unwrap().into_body();
            assert_ne!(body(1), body(2), "{}", provider.name);
        }
    }

    #[test]
    fn what_needs_no_change_is_sent_as_it_is() {
        let body = Bytes::from_static(br#"{ "api_mode" : "live" }"#);
        assert_eq!(edited(body.clone(), Edit { at: "/api_mode", to: r#""live""# }).unwrap(), body);
    }
}
