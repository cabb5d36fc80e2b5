//! A request as the provider would make it, or with one thing wrong with it.

use http::Request;
use medhook::sign::Signer;
use medhook::testing::Signing;
use medhook::{Bytes, Freshness, Secret};
use medhook_conformance::Endpoint;

use crate::clock::now;
use crate::endpoint::{Provider, unsigned_headers};
use crate::failure::Failure;
use crate::http_client::Target;
use crate::random;

/// Everything that makes a delivery what it is.
pub(super) struct Delivery {
    pub(super) provider: Provider,
    pub(super) endpoint: Endpoint,
    pub(super) signing: Signing,
    pub(super) secret: Secret,
    pub(super) content: Content,
    pub(super) id: Option<String>,
    pub(super) at: Option<i64>,
    pub(super) flaw: Option<Flaw>,
}

/// What the body is.
pub(super) enum Content {
    /// Made up, in the shape of its kind.
    Fixture { name: String, body: Bytes, mode: Option<Mode> },
    /// These bytes.
    Exact(Bytes),
}

/// Where the mode is in the body, and what it is to be.
pub(super) type Mode = (&'static str, &'static str);

/// What is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    Tampered,
    Stale,
    Unsigned,
    WrongSecret,
}

/// An event: the same over all attempts to deliver it.
#[derive(Debug, Clone)]
pub(super) struct SentEvent {
    id: String,
    at: i64,
}

impl Delivery {
    /// A new event, unless its id and time are given.
    pub(super) fn event(&self) -> Result<SentEvent, Failure> {
        let id = match &self.id {
            Some(id) => id.clone(),
            None => format!("{}{}", self.provider.id_prefix, random::uuid()?),
        };
        let at = match (self.flaw, self.at) {
            (Some(Flaw::Stale), _) => now()?.saturating_sub(self.too_old()?),
            (_, Some(at)) => at,
            (_, None) => now()?,
        };
        Ok(SentEvent { id, at })
    }

    /// One attempt to deliver an event. Where the attempt's own time is signed, `again` makes it the time of now.
    pub(super) fn attempt(&self, event: &SentEvent, target: &Target, again: bool) -> Result<Request<Bytes>, Failure> {
        let at = if again && self.signing == Signing::StandardWebhooks { now()? } else { event.at };
        let body = self.body(event, at)?;
        // Receivers reject a message id with a dot, as Standard Webhooks asks for.
        let message = format!("msg_{}", event.id.replace('.', "_"));
        let signature = self.signer()?.sign(&message, at, &body).map_err(|error| Failure::new(error.to_string()))?;
        let unsigned = unsigned_headers(self.provider, &body)?;

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
        // The error's own text could quote a header.
        request.body(body).map_err(|_| Failure::new("an id, a header or a secret that no request can carry"))
    }

    /// Returns the signer of a genuine delivery, or one with a random secret if that is the flaw.
    fn signer(&self) -> Result<Signer, Failure> {
        let secret = match self.flaw {
            Some(Flaw::WrongSecret) => {
                &Secret::new(random::secret()?).map_err(|error| Failure::new(error.to_string()))?
            }
            _ => &self.secret,
        };
        Signer::new(&self.signing, secret).map_err(|error| Failure::new(error.to_string()))
    }

    /// What is sent, for the one who sends it; and whether it makes sense.
    pub(super) fn in_words(&self) -> Result<String, Failure> {
        if self.flaw == Some(Flaw::Tampered) && matches!(self.signing, Signing::SharedSecret { .. }) {
            return Err(Failure::new(
                "a shared secret does not prove the body: nobody can notice that it is tampered with",
            ));
        }
        if self.flaw == Some(Flaw::Stale) {
            self.too_old()?;
        }
        let what = match &self.content {
            Content::Fixture { name, .. } => format!("{} {name}, all made up", self.provider.name),
            Content::Exact(body) => {
                if self.id.is_some() && self.signing != Signing::StandardWebhooks {
                    return Err(Failure::new(
                        "with --body nothing is put into the body, so there is no place for --id",
                    ));
                }
                if self.flaw == Some(Flaw::Stale) && self.signing != Signing::StandardWebhooks {
                    return Err(Failure::new("with --body nothing is put into the body, so it cannot be made stale"));
                }
                format!("{}, {} bytes of a file", self.provider.name, body.len())
            }
        };
        let flaw = match self.flaw {
            None => "genuine",
            Some(Flaw::Tampered) => "tampered with",
            Some(Flaw::Stale) => "stale",
            Some(Flaw::Unsigned) => "unsigned",
            Some(Flaw::WrongSecret) => "signed with another secret",
        };
        Ok(format!("{what}, {flaw}"))
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
            serde_json::from_slice(&body).map_err(|error| Failure::because("the fixture has no mode", error))?;
        match json.pointer_mut(pointer) {
            Some(place) => *place = (*mode).into(),
            None => return Err(Failure::new("the fixture has no mode")),
        }
        Ok(json.to_string().into())
    }

    /// How old, in seconds, is certainly too old: many times what a receiver accepts unless told otherwise.
    fn too_old(&self) -> Result<i64, Failure> {
        let accepted = match self.provider.policy.freshness {
            Freshness::AttemptTime { max_age, .. } | Freshness::EventTime { max_age, .. } => max_age.as_secs(),
            _ => {
                return Err(Failure::new(format!(
                    "{} signs no time that an endpoint could count on: nothing of it can be stale",
                    self.provider.name
                )));
            }
        };
        Ok(i64::try_from(accepted).unwrap_or(i64::MAX).saturating_mul(12))
    }
}

/// With one bit flipped, in the middle.
fn tampered(body: &Bytes) -> Result<Bytes, Failure> {
    let mut bytes = body.to_vec();
    let middle = bytes.len() / 2;
    match bytes.get_mut(middle) {
        Some(byte) => *byte ^= 1,
        None => return Err(Failure::new("an empty body has no bit to flip")),
    }
    Ok(bytes.into())
}
