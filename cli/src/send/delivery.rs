//! Builds a request as the provider would, or with one flaw.

use http::Request;
use medhook::sign::Signer;
use medhook::testing::Signing;
use medhook::{Bytes, Freshness, Secret};
use medhook_conformance::Endpoint;

use crate::clock::now;
use crate::endpoint::unsigned_headers;
use crate::failure::Failure;
use crate::http_client::Target;
use crate::random;

/// A delivery to be sent.
pub(super) struct Delivery {
    pub(super) endpoint: Endpoint,
    pub(super) signing: Signing,
    pub(super) secret: Secret,
    pub(super) content: Content,
    pub(super) id: Option<String>,
    pub(super) at: Option<i64>,
    pub(super) flaw: Option<Flaw>,
}

/// The body of a delivery.
pub(super) enum Content {
    /// Sample data, into which an id, a time and a mode are written.
    Fixture { name: String, body: Bytes, mode: Option<Mode> },
    /// The bytes of a file, sent unchanged.
    Exact(Bytes),
}

impl Content {
    /// Returns whether this is an event of the test mode.
    pub(super) fn is_test(&self, endpoint: &Endpoint) -> bool {
        let (body, mode) = match self {
            Content::Fixture { body, mode, .. } => (body, *mode),
            Content::Exact(body) => (body, None),
        };
        let Some(pointer) = endpoint.known().and_then(|facts| facts.pointers.mode) else { return false };
        let json = || serde_json::from_slice::<serde_json::Value>(body).ok();
        match mode {
            Some((_, mode)) => mode == "test",
            None => json().is_some_and(|json| json.pointer(pointer).is_some_and(|mode| mode == "test")),
        }
    }
}

/// The JSON pointer of the mode, and the value to write there.
pub(super) type Mode = (&'static str, &'static str);

/// A flaw that makes the delivery invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    Tampered,
    Stale,
    Unsigned,
    WrongSecret,
}

/// An event. It stays the same over all attempts to deliver it.
#[derive(Debug, Clone)]
pub(super) struct SentEvent {
    id: String,
    at: i64,
}

impl Delivery {
    /// Creates the event, with a new id and the current time unless they are given.
    pub(super) fn event(&self) -> Result<SentEvent, Failure> {
        let id = match &self.id {
            Some(id) => id.clone(),
            None => {
                let prefix = self.endpoint.known().map_or("", |facts| facts.id_prefix);
                format!("{prefix}{}", random::uuid()?)
            }
        };
        let at = match (self.flaw, self.at) {
            (Some(Flaw::Stale), _) => now()?.saturating_sub(self.too_old()?),
            (_, Some(at)) => at,
            (_, None) => now()?,
        };
        Ok(SentEvent { id, at })
    }

    /// Creates the request of one attempt. For a retry, with `again`, a signed time of the attempt is the current time.
    pub(super) fn attempt(&self, event: &SentEvent, target: &Target, again: bool) -> Result<Request<Bytes>, Failure> {
        let at = if again && self.signing == Signing::standard_webhooks() { now()? } else { event.at };
        let body = self.body(event, at)?;
        // Receivers reject a message id with a dot, as Standard Webhooks requires.
        let message = format!("msg_{}", event.id.replace('.', "_"));
        let signature = self.signer()?.sign(&message, at, &body).map_err(|error| Failure::new(error.to_string()))?;
        let unsigned = unsigned_headers(&self.endpoint, &body)?;

        let body = if self.flaw == Some(Flaw::Tampered) { tampered(&body)? } else { body };
        let mut request = Request::post(target.path());
        if self.flaw != Some(Flaw::Unsigned) {
            for (name, value) in &signature {
                request = request.header(name, value);
            }
            if let Some((name, value)) = self.endpoint.also() {
                request = request.header(name, value);
            }
        }
        for (name, value) in unsigned {
            request = request.header(name, value);
        }
        // The text of the error could quote a header, so it is not shown.
        request.body(body).map_err(|_| {
            Failure::new("--id, the name of a header or a secret has characters that a request header cannot hold")
        })
    }

    /// Returns the signer, with a random secret if that is the flaw.
    fn signer(&self) -> Result<Signer, Failure> {
        let secret = match self.flaw {
            Some(Flaw::WrongSecret) => {
                &Secret::new(random::secret()?).map_err(|error| Failure::new(error.to_string()))?
            }
            _ => &self.secret,
        };
        Signer::new(&self.signing, secret).map_err(|error| Failure::new(error.to_string()))
    }

    /// Describes the delivery. Fails if its options cannot be combined.
    pub(super) fn description(&self) -> Result<String, Failure> {
        if self.flaw == Some(Flaw::Tampered) && matches!(self.signing, Signing::SharedSecret { .. }) {
            return Err(Failure::new(
                "--tamper: a shared secret does not sign the body, so a receiver cannot detect that it was modified",
            ));
        }
        if self.flaw == Some(Flaw::Stale) {
            self.too_old()?;
        }
        let what = match &self.content {
            Content::Fixture { name, .. } => format!("{} {name}, sample data", self.endpoint.provider),
            Content::Exact(body) => {
                if self.signing != Signing::standard_webhooks() {
                    let in_body = |option: &str, field: &str| {
                        let provider = &self.endpoint.provider;
                        Failure::new(format!(
                            "{option} cannot be used with --body: the {field} of {provider} is in the body, which is \
                             sent unchanged"
                        ))
                    };
                    if self.id.is_some() {
                        return Err(in_body("--id", "event id"));
                    }
                    if self.flaw == Some(Flaw::Stale) {
                        return Err(in_body("--stale", "event time"));
                    }
                }
                format!("{}, {} bytes from a file", self.endpoint.provider, body.len())
            }
        };
        let flaw = match self.flaw {
            None => "genuine",
            Some(Flaw::Tampered) => "tampered",
            Some(Flaw::Stale) => "stale",
            Some(Flaw::Unsigned) => "unsigned",
            Some(Flaw::WrongSecret) => "signed with a random secret",
        };
        Ok(format!("{what}, {flaw}"))
    }

    /// Returns a line with the reasons why a 200 may not mean that the event was handled, or an empty text. `copies` is
    /// whether the event was sent several times.
    pub(super) fn doubts(&self, copies: bool) -> Result<String, Failure> {
        let event = self.event()?;
        let body = self.body(&event, event.at)?;
        let repeated = match (&self.id, &self.content) {
            _ if copies => Some("copies of an event are answered 200 without being handled again (duplicate)"),
            (Some(_), _) => Some("the event of this --id may have been sent before (duplicate)"),
            (None, Content::Exact(_)) => Some("the event in this file may have been sent before (duplicate)"),
            (None, Content::Fixture { .. }) => None,
        };
        let json: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
        let mode = self
            .endpoint
            .known()
            .and_then(|facts| facts.pointers.mode)
            .zip(json.as_ref())
            .and_then(|(pointer, json)| json.pointer(pointer));
        let is_test = mode.is_some_and(|mode| mode == "test");
        let dropped = is_test.then_some("a test event that a live secret verifies is dropped (wrong_mode)");
        let reasons: Vec<_> = repeated.into_iter().chain(dropped).collect();
        Ok(match reasons.as_slice() {
            [] => String::new(),
            reasons => {
                let reasons = reasons.join(", and ");
                format!("note: 200 does not show that the event was handled: {reasons}; see the endpoint's log\n")
            }
        })
    }

    fn body(&self, event: &SentEvent, at: i64) -> Result<Bytes, Failure> {
        let (body, mode) = match &self.content {
            Content::Exact(body) => return Ok(body.clone()),
            Content::Fixture { body, mode, .. } => (body, mode),
        };
        let body = self.endpoint.renewed(body, &event.id, at);
        let Some((pointer, mode)) = mode else {
            return Ok(body);
        };
        let mut json: serde_json::Value =
            serde_json::from_slice(&body).map_err(|error| Failure::because("--mode: the sample is not JSON", error))?;
        match json.pointer_mut(pointer) {
            Some(value) => *value = (*mode).into(),
            None => return Err(Failure::new("--mode: the sample of this kind has no mode; omit the option")),
        }
        Ok(json.to_string().into())
    }

    /// Returns the age of a stale delivery in seconds: 12 times the age that a receiver accepts by default.
    fn too_old(&self) -> Result<i64, Failure> {
        let accepted = match self.endpoint.freshness() {
            Freshness::AttemptTime { max_age, .. } | Freshness::EventTime { max_age, .. } => max_age.as_secs(),
            _ => {
                return Err(Failure::new(format!(
                    "--stale does not apply to {}: by default receivers check no timestamp of its deliveries",
                    self.endpoint.provider
                )));
            }
        };
        Ok(i64::try_from(accepted).unwrap_or(i64::MAX).saturating_mul(12))
    }
}

/// Flips one bit in the middle of the body.
fn tampered(body: &Bytes) -> Result<Bytes, Failure> {
    let mut bytes = body.to_vec();
    let middle = bytes.len() / 2;
    match bytes.get_mut(middle) {
        Some(byte) => *byte ^= 1,
        None => return Err(Failure::new("--tamper: the body is empty, so there is no bit to flip")),
    }
    Ok(bytes.into())
}
