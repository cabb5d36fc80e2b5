//! Events of four providers, each with marks and with a body of its own, and their signatures.

use std::time::Instant;

use medhook::Bytes;
use medhook::testing::{Signing, sample};
use serde_json::Value;

use super::shared::marks::{MARK, words};
use crate::sender::now;

/// An endpoint of the config, which has the name of its provider.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) name: &'static str,
    kind: &'static str,
    /// The field of the body that makes its bytes unique.
    id: &'static str,
    /// The scheme and other keys of the endpoint.
    pub(super) keys: &'static str,
    /// Whether the secret is base64 with `whsec_`.
    pub(super) is_base64: bool,
}

/// The kinds are those whose equal bytes are the same event, so that a retry is a duplicate.
pub(super) static PROVIDERS: [Provider; 4] = [
    Provider {
        name: "mediquo",
        kind: "patient_consultation_finished",
        id: "/payload/consultation/id",
        keys: "",
        is_base64: false,
    },
    Provider {
        name: "cair",
        kind: "CLAIM_STATUS_CHANGE",
        id: "/claimLifecycleId",
        keys: "scheme = \"hmac-sha256\"\nheader = \"X-API-KEY\"\n",
        is_base64: false,
    },
    Provider { name: "healthsync", kind: "document.uploaded", id: "/id", keys: "", is_base64: false },
    Provider {
        name: "fasten",
        kind: "patient.ehi_export_success",
        id: "/id",
        keys: "mode = \"live\"\n",
        is_base64: true,
    },
];

/// An event, which can be sent any number of times.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) provider: &'static Provider,
    pub(super) id: String,
    pub(super) body: Bytes,
}

impl Event {
    /// Creates the event with this number, of each provider in turn.
    pub(super) fn new(prefix: &str, number: u64) -> Self {
        let provider = &PROVIDERS[number as usize % PROVIDERS.len()];
        Event::of(provider, &format!("{prefix}-{number}"))
    }

    pub(super) fn of(provider: &'static Provider, name: &str) -> Self {
        let id = format!("{MARK}-{name}");
        let mut body: Value =
            serde_json::from_slice(signed(provider, None, now(), "c2VjcmV0IHNlY3JldCE=").body()).unwrap();
        *body.pointer_mut(provider.id).unwrap() = id.clone().into();
        // An undocumented field, which is passed on.
        body["text"] = words(&id, 200).into();
        Event { provider, id, body: body.to_string().into() }
    }

    /// Returns 32 bytes of the body that are in no other one.
    pub(super) fn piece(&self) -> Vec<u8> {
        words(&self.id, 32).into_bytes()
    }

    /// Returns a delivery that is signed now. A header and the query are marked.
    pub(super) fn request(&self, secret: &str) -> http::Request<Bytes> {
        self.request_at(now(), secret)
    }

    /// Returns a delivery that is signed at this time, in Unix seconds.
    pub(super) fn request_at(&self, time: i64, secret: &str) -> http::Request<Bytes> {
        let mut request = signed(self.provider, Some(self.body.clone()), time, secret);
        *request.uri_mut() = format!("/{}?token={MARK}", self.provider.name).parse().unwrap();
        request.headers_mut().insert("x-request-id", http::HeaderValue::from_static(MARK));
        request
    }

    /// Returns the head of a delivery that is signed now.
    pub(super) fn head(&self, secret: &str) -> String {
        head_of(&self.request(secret))
    }
}

/// Returns the lines of the head of a request.
pub(super) fn head_of(request: &http::Request<Bytes>) -> String {
    let mut head = format!("POST {} HTTP/1.1\r\n", request.uri());
    for (name, value) in request.headers() {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    head
}

fn signed(provider: &Provider, body: Option<Bytes>, time: i64, secret: &str) -> http::Request<Bytes> {
    let mut sample = sample(provider.name, provider.kind).at(time).id(format!("{MARK}-message")).secret(secret);
    if let Some(body) = body {
        sample = sample.body(body);
    }
    if provider.name == "cair" {
        sample = sample.signing(Signing::hmac_sha256("x-api-key"));
    }
    sample.request("/")
}

/// An event that was sent, and the answers.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) event: Event,
    /// The status of each try; `None` without an answer.
    pub(super) answers: Vec<Option<u16>>,
    /// The duration of the last try, and its end.
    pub(super) took: std::time::Duration,
    pub(super) at: Instant,
}

impl Sent {
    pub(super) fn is_accepted(&self) -> bool {
        self.answers.last().is_some_and(|answer| answer.is_some_and(|status| (200..300).contains(&status)))
    }
}
