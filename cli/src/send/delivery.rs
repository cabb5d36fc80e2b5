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
use crate::key_kind::is_ed25519;
use crate::output::harmless;
use crate::random;
use crate::sender::signer;

/// A delivery to be sent.
pub(super) struct Delivery {
    pub(super) endpoint: Endpoint,
    pub(super) signing: Signing,
    pub(super) secret: Secret,
    pub(super) content: Content,
    pub(super) id: Option<String>,
    pub(super) at: Option<i64>,
    pub(super) flaw: Option<Flaw>,
    /// Whether the secret is that of a config file.
    pub(super) has_config: bool,
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
        let at = if again && self.signs_attempt_time() { now()? } else { event.at };
        let body = self.body(event, event.at)?;
        let message = self.signing.message_id(&event.id);
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
    pub(super) fn signer(&self) -> Result<Signer, Failure> {
        // The own secret is examined, too, so that a mistake in it is not hidden by the flaw.
        let own = signer(&self.signing, &self.secret, self.has_config)?;
        if self.flaw != Some(Flaw::WrongSecret) {
            return Ok(own);
        }
        let text = if is_ed25519(&self.signing, &self.secret) { random::private_key()? } else { random::secret()? };
        let random = Secret::new(text).map_err(|error| Failure::new(error.to_string()))?;
        signer(&self.signing, &random, false)
    }

    /// Returns whether the scheme signs the time of the attempt, which a retry changes.
    fn signs_attempt_time(&self) -> bool {
        self.signing.signs_time() && !self.signs_event_time()
    }

    fn signs_event_time(&self) -> bool {
        match &self.signing {
            Signing::StandardWebhooks(scheme) => scheme.is_event_time(),
            Signing::Signature(settings) => settings.timestamp.is_some() && settings.is_event_time,
            _ => false,
        }
    }

    /// Returns what to compare with the endpoint if it rejects a genuine delivery.
    pub(super) fn to_compare(&self) -> String {
        if is_ed25519(&self.signing, &self.secret) {
            let public = self.signing.receiver_secret(self.secret.expose_secret());
            return format!("the endpoint needs the public key {public}");
        }
        match &self.signing {
            Signing::StandardWebhooks(scheme) => {
                format!("the endpoint must read the headers that begin with `{}`", harmless(scheme.prefix().as_bytes()))
            }
            Signing::Signature(settings) if settings.timestamp.is_some() => format!(
                "the endpoint must read the same unit of the timestamp and sign the same text, `{}`",
                harmless(settings.signed.as_bytes())
            ),
            Signing::Signature(_) => "the endpoint must expect the same hash, prefix and encoding".to_owned(),
            Signing::SharedSecret { header, .. } => {
                format!("the endpoint must expect the secret in the same form in `{}`", harmless(header.as_bytes()))
            }
            _ => String::new(),
        }
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
                let in_body = |option: &str, field: &str| {
                    let provider = &self.endpoint.provider;
                    Failure::new(format!(
                        "{option} cannot be used with --body: the {field} of {provider} is in the body, which is sent \
                         unchanged"
                    ))
                };
                if self.id.is_some() && !self.signing.signs_id() {
                    return Err(in_body("--id", "event id"));
                }
                if self.flaw == Some(Flaw::Stale) && !self.signing.signs_time() {
                    return Err(in_body("--stale", "event time"));
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

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use medhook::{StandardWebhooks, TimestampUnit, TimestampedHmac};
    use medhook_conformance::CustomProvider;

    use super::*;

    const SECRET: &str = "c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz";
    /// Long ago, so that a fresh timestamp differs.
    const AT: i64 = 1_767_225_600;

    fn delivery(signing: Signing) -> Delivery {
        Delivery {
            endpoint: Endpoint::custom("custom", CustomProvider::new(signing.clone())),
            signing,
            secret: Secret::new(SECRET).unwrap(),
            content: Content::Exact(Bytes::from_static(b"{}")),
            id: Some("a.1".to_owned()),
            at: Some(AT),
            flaw: None,
            has_config: false,
        }
    }

    fn attempts(signing: Signing) -> [HeaderMap; 2] {
        let delivery = delivery(signing);
        let (event, target) = (delivery.event().unwrap(), Target::parse("http://127.0.0.1:9/in").unwrap());
        [false, true].map(|again| delivery.attempt(&event, &target, again).unwrap().headers().clone())
    }

    #[test]
    fn a_retry_has_a_fresh_timestamp_if_that_of_the_attempt_is_signed() {
        let headers = || TimestampedHmac::headers("X-Mac", "X-Time").timestamp_unit(TimestampUnit::Milliseconds);
        for (signing, name, text, is_fresh) in [
            (Signing::of(StandardWebhooks::new()), "webhook-timestamp", "1767225600", true),
            (Signing::of(StandardWebhooks::new().timestamp_of_event()), "webhook-timestamp", "1767225600", false),
            (Signing::of(headers()), "x-time", "1767225600000", true),
            (Signing::of(headers().timestamp_of_event()), "x-time", "1767225600000", false),
            (Signing::of(TimestampedHmac::whoop()), "x-whoop-signature-timestamp", "1767225600000", false),
        ] {
            let [first, again] = attempts(signing.clone());
            assert_eq!(first[name], text, "{signing:?}");
            assert_eq!(again[name] != text, is_fresh, "{signing:?}");
            assert_eq!(again[name].len(), text.len(), "{signing:?}");
        }
    }

    #[test]
    fn a_signed_id_has_no_character_that_ends_it() {
        let headers = TimestampedHmac::headers("X-Mac", "X-Time").id_header("X-Id");
        for (signing, name, id) in [
            (Signing::of(StandardWebhooks::new().header_prefix("svix-")), "svix-id", "msg_a_1"),
            (Signing::of(headers.clone().signed("{id}.{timestamp}.{body}")), "x-id", "msg_a_1"),
            (Signing::of(headers.clone().signed("{id}:{timestamp}:{body}")), "x-id", "msg_a.1"),
            (Signing::of(headers.signed("{id}_{timestamp}.{body}")), "x-id", "msg-a.1"),
        ] {
            assert_eq!(attempts(signing.clone()).map(|headers| headers[name].clone()), [id, id], "{signing:?}");
        }
    }
}
