//! For tests of your own handlers, and for this project's.
//!
//! Signed requests like a provider's ([`sample()`], and a function with the name of each provider) and those of a
//! provider of your own ([`custom()`]), a [`StoppedClock`], every fixture ([`fixtures()`]), and the files that list
//! the cases of this project ([`case_files()`]), which the crate `medhook-conformance` plays.
//!
//! Helpers for tests fail loudly: what a sample cannot do panics with one line.
//!
//! ```
//! use medhook::{Fasten, NoDedupe, Receiver, Secret, fasten, testing};
//!
//! let secret = "whsec_c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz";
//! let receiver = Receiver::builder("fasten", Fasten::live(Secret::new(secret)?)).store(NoDedupe).build()?;
//!
//! let request = testing::fasten("patient.ehi_export_success").secret(secret).request("/webhooks/fasten");
//! let delivery = receiver.open(receiver.verify(request.headers(), request.body().clone())?)?;
//! assert!(matches!(delivery.decode()?, fasten::Event::EhiExportSuccess(_)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(feature = "actix-web-4")]
mod actix;
mod fixtures;
mod sign;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

#[cfg(feature = "actix-web-4")]
pub use self::actix::actix_request;
pub use self::fixtures::{CaseFile, Fixture, case_files, fixtures, marked, replaced_at, spaced};
pub use self::sign::Signing;

use crate::provider::each_provider;
use crate::registry::{self, ProviderFacts, ProviderOptions};
use crate::scheme::{Config, SchemeConfig};
use crate::time::{Clock, SystemClock, unix_seconds};
use crate::{Secrets, SharedSecret};
use fixtures::{fixture, with_text, with_time};

/// A clock that moves only when told to. Clones show the same time.
#[derive(Debug, Clone)]
pub struct StoppedClock(Arc<AtomicI64>);

impl StoppedClock {
    /// Stopped at this Unix time, in seconds.
    #[must_use]
    pub fn at(unix: i64) -> Self {
        StoppedClock(Arc::new(AtomicI64::new(unix)))
    }

    /// Sets it, forward or back.
    pub fn set(&self, unix: i64) {
        self.0.store(unix, Ordering::SeqCst);
    }
}

impl Clock for StoppedClock {
    fn now(&self) -> SystemTime {
        let unix = self.0.load(Ordering::SeqCst);
        let distance = Duration::from_secs(unix.unsigned_abs());
        let time = if unix < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
        time.unwrap_or(UNIX_EPOCH)
    }
}

/// A genuine delivery of this kind from the provider of this name, with made-up values in the documented shape; where the
/// payload is not documented, an invented one.
///
/// Where a provider agrees on its scheme with each endpoint, say it with [`signing`](Sample::signing), as your receiver has
/// it. [`at`](Sample::at) and [`id`](Sample::id) change nothing where the provider's events have no time or id.
pub fn sample(provider: &str, kind: &str) -> Sample {
    let known = registry::provider(provider).zip(fixture(provider, kind));
    let (facts, fixture) = known.unwrap_or_else(|| fails(&format!("no sample of {provider} {kind}")));
    let body = fixture.body();
    Sample { provider: Some(facts), time_at: facts.pointers.time, ..Sample::of(body) }
}

macro_rules! samples {
    ($($provider:ident)*) => {
        $(
            #[doc = concat!("A [`sample`] of [`", stringify!($provider), "`](mod@crate::", stringify!($provider), ").")]
            pub fn $provider(kind: &str) -> Sample {
                sample(stringify!($provider), kind)
            }
        )*
    };
}
each_provider!(samples);

/// A genuine delivery of a [`Custom`](crate::Custom) provider, signed by the scheme that its receiver has.
///
/// The body is sent byte for byte, with the id, the kind and the time that it has itself. [`id`](Sample::id) and
/// [`at`](Sample::at) set the headers `webhook-id` (`msg_` and the id) and `webhook-timestamp` of
/// [`StandardWebhooks`](crate::StandardWebhooks), and nothing in the other schemes.
///
/// ```
/// use medhook::{Custom, HmacSha256Body, NoDedupe, Receiver, Secret, testing};
///
/// let scheme = HmacSha256Body::new("x-lab-signature").prefix("sha256=");
/// let laboratory = Custom::new("laboratory", scheme.clone(), Secret::new("a long random text")?).id_pointer("/id");
/// let receiver = Receiver::builder("laboratory", laboratory).store(NoDedupe).build()?;
///
/// let request = testing::custom(scheme, r#"{"id": "1"}"#).secret("a long random text").request("/webhooks/laboratory");
/// let delivery = receiver.open(receiver.verify(request.headers(), request.body().clone())?)?;
/// assert_eq!(delivery.id(), Some("1"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn custom(scheme: impl Into<SchemeConfig>, body: impl Into<Bytes>) -> Sample {
    let scheme = scheme.into();
    let more = match &scheme.0 {
        Config::SharedSecret(SharedSecret { others, .. }) => {
            let first = |secrets: &Secrets| secrets.iter().next().map(|secret| secret.text().to_owned());
            others.iter().filter_map(|(header, secrets)| Some((header.clone(), first(secrets)?))).collect()
        }
        _ => Vec::new(),
    };
    Sample { signing: Some(Signing::from(&scheme)), more, ..Sample::of(body.into()) }
}

/// A delivery to be signed. Made by [`fasten()`] and its like.
#[derive(Debug, Clone)]
#[must_use = "a sample is nothing until `request`"]
pub struct Sample {
    provider: Option<&'static ProviderFacts>,
    signing: Option<Signing>,
    /// Further headers with a secret of their own.
    more: Vec<(String, String)>,
    /// Where the time is put, if anywhere.
    time_at: Option<&'static str>,
    body: Bytes,
    secret: Option<String>,
    id: Option<String>,
    at: i64,
}

impl Sample {
    fn of(body: Bytes) -> Self {
        let at = unix_seconds(SystemClock.now());
        Sample { provider: None, signing: None, more: Vec::new(), time_at: None, body, secret: None, id: None, at }
    }

    /// Signs with this secret, given as a receiver is given it. Needed.
    pub fn secret(mut self, secret: impl Into<String>) -> Self {
        self.secret = Some(secret.into());
        self
    }

    /// Signs this way. Needed where the provider's way is not documented.
    pub fn signing(mut self, signing: Signing) -> Self {
        self.signing = Some(signing);
        self
    }

    /// Happens, and is sent, at this Unix time, in seconds. By default now.
    pub fn at(mut self, unix: i64) -> Self {
        self.at = unix;
        self
    }

    /// With this event id, if the provider has any. By default the fixture's, which is always the same.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// With this body, byte for byte: neither time nor id are put into it.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.time_at = None;
        self
    }

    /// The request, signed.
    ///
    /// # Panics
    /// Without a secret or a way to sign, or with a secret that the scheme cannot read.
    pub fn request(&self, path: &str) -> http::Request<Bytes> {
        let secret = self.secret.as_deref().unwrap_or_else(|| fails("a sample needs a secret to be signed with"));
        let signing = self.signing.clone().or_else(|| self.documented_signing());
        let signing = signing.unwrap_or_else(|| fails("a sample of this provider needs its `signing`"));
        let mut body = self.body.clone();
        if let Some(time_at) = self.time_at {
            body = with_time(&body, time_at, self.at);
            if let Some(id) = &self.id {
                body = with_text(&body, "/id", id);
            }
        }
        let message = format!("msg_{}", self.id.as_deref().unwrap_or("sample").replace('.', "_"));
        let headers = signing
            .headers(secret, &message, &self.at.to_string(), &body)
            .unwrap_or_else(|error| fails(&error.to_string()));
        let mut request = http::Request::post(path).header("content-type", "application/json");
        for (name, value) in headers.iter().chain(&self.more) {
            request = request.header(name, value);
        }
        request.body(body).unwrap_or_else(|error| fails(&format!("no request: {error}")))
    }

    /// How the provider signs, where it needs no option to say so.
    fn documented_signing(&self) -> Option<Signing> {
        self.provider?.scheme(&ProviderOptions::default()).ok().as_ref().map(Signing::from)
    }
}

#[track_caller]
#[allow(clippy::panic, reason = "a helper for tests: a wrong call is a failing test")]
fn fails(problem: &str) -> ! {
    panic!("medhook::testing: {problem}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Custom, Encoding, HmacSha256Body, MemoryStore, Receiver, Secret, StandardWebhooks};

    #[test]
    fn a_custom_sample_is_genuine_under_every_scheme() {
        const SECRET: &str = "whsec_c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz";
        let secret = |text: &str| Secret::new(text).unwrap();
        let hmac = |encoding| HmacSha256Body::new("x-mac").prefix("v1=").encoding(encoding);
        let schemes: [SchemeConfig; 5] = [
            StandardWebhooks::new().into(),
            hmac(Encoding::Hex).into(),
            hmac(Encoding::Base64).into(),
            hmac(Encoding::Either).into(),
            SharedSecret::new("x-secret").also_header("x-other", secret("another secret")).into(),
        ];
        for scheme in schemes {
            let custom = Custom::new("acme", scheme.clone(), secret(SECRET));
            let store: Arc<dyn crate::DedupeStore> = Arc::new(MemoryStore::new(1));
            let receiver = Receiver::builder("acme", custom).store(store).build().unwrap();
            let sample = super::custom(scheme.clone(), "not JSON").secret(SECRET).id("7");
            let verify = |request: http::Request<Bytes>| {
                let verified = receiver.verify(request.headers(), request.body().clone());
                verified.map(|verified| verified.message_id().map(str::to_owned))
            };
            let message_id = matches!(scheme.0, Config::StandardWebhooks(_)).then(|| "msg_7".to_owned());
            assert_eq!(verify(sample.request("/")).unwrap(), message_id, "{scheme:?}");
            assert!(verify(sample.secret("whsec_YW5vdGhlciBzZWNyZXQ=").request("/")).is_err(), "{scheme:?}");
        }
    }
}
