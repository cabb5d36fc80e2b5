//! Helpers for tests of your own handlers, and for the tests of this project.
//!
//! - Signed requests of a built-in provider ([`sample()`], and a function named after each provider) or of a provider
//!   of your own ([`custom()`])
//! - A [`StoppedClock`]
//! - All fixtures ([`fixtures()`])
//! - The case files of this project ([`case_files()`]), which the crate `medhook-conformance` runs
//!
//! These helpers panic with a one-line message if they are used incorrectly.
//!
//! ```
//! use medhook::{Fasten, NoDedupe, Receiver, Secret, fasten, testing};
//!
//! let secret = "whsec_c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz";
//! let fasten = Fasten::live(Secret::new(secret)?);
//! let receiver = Receiver::builder("fasten", fasten).store(NoDedupe).build()?;
//!
//! let request = testing::fasten("patient.ehi_export_success")
//!     .secret(secret)
//!     .request("/webhooks/fasten");
//! let verified = receiver.verify(request.headers(), request.body().clone())?;
//! let delivery = receiver.open(verified)?;
//! assert!(matches!(delivery.decode()?, fasten::Event::EhiExportSuccess(_)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(feature = "actix-web-4")]
mod actix;
mod comparisons;
mod fixtures;
mod sign;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

#[cfg(feature = "actix-web-4")]
pub use self::actix::actix_request;
#[doc(hidden)]
pub use self::comparisons::Comparison;
pub use self::fixtures::{CaseFile, Fixture, case_files, fixtures, marked, replaced_at, spaced};
pub use self::sign::Signing;

use crate::provider::each_provider;
use crate::registry::{self, ProviderFacts, ProviderOptions};
use crate::scheme::{Config, SchemeConfig};
use crate::time::{Clock, SystemClock, unix_seconds};
use crate::{Secrets, SharedSecret};
use fixtures::{fixture, with_text, with_time};

/// A clock that changes only when it is set. Clones share the time.
#[derive(Debug, Clone)]
pub struct StoppedClock(Arc<AtomicI64>);

impl StoppedClock {
    /// Creates a clock that shows this Unix time, in seconds.
    #[must_use]
    pub fn at(unix: i64) -> Self {
        StoppedClock(Arc::new(AtomicI64::new(unix)))
    }

    /// Sets the clock to this Unix time, in seconds.
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

/// Returns a sample delivery of a built-in provider, by the names of the provider and the kind. Its values are
/// invented; its shape is the documented one, or invented if the payload is undocumented.
///
/// If the provider's scheme is configured per endpoint, set the scheme of your receiver with
/// [`signing`](Sample::signing). [`at`](Sample::at) and [`id`](Sample::id) have no effect if the provider's events have
/// no time or id.
///
/// # Panics
/// Panics if there is no sample of this provider and kind.
pub fn sample(provider: &str, kind: &str) -> Sample {
    let known = registry::provider(provider).zip(fixture(provider, kind));
    let (facts, fixture) = known.unwrap_or_else(|| fails(&format!("there is no sample of {provider} {kind}")));
    let body = fixture.body();
    Sample { provider: Some(facts), time_at: facts.pointers.time, ..Sample::of(body) }
}

macro_rules! samples {
    ($($provider:ident)*) => {
        $(
            #[doc = concat!(
                "Returns a [`sample`] of [`", stringify!($provider), "`](mod@crate::", stringify!($provider), ")."
            )]
            pub fn $provider(kind: &str) -> Sample {
                sample(stringify!($provider), kind)
            }
        )*
    };
}
each_provider!(samples);

/// Returns a sample delivery of a [`Custom`](crate::Custom) provider, signed with the scheme of its receiver.
///
/// The body is sent unchanged. If the scheme signs an id, [`id`](Sample::id) sets it to `msg_` and this id. If the
/// scheme signs a timestamp, [`at`](Sample::at) sets it, in the scheme's unit. Otherwise they have no effect. With
/// Ed25519 the sample is signed with the private key, `whsk_` and base64; the receiver has the public key
/// ([`Signing::receiver_secret`]).
///
/// ```
/// use medhook::{Custom, HmacSha256Body, NoDedupe, Receiver, Secret, testing};
///
/// let scheme = HmacSha256Body::new("x-lab-signature").prefix("sha256=");
/// let secret = "a long random text";
/// let laboratory =
///     Custom::new("laboratory", scheme.clone(), Secret::new(secret)?).id_pointer("/id");
/// let receiver = Receiver::builder("laboratory", laboratory).store(NoDedupe).build()?;
///
/// let request = testing::custom(scheme, r#"{"id": "1"}"#)
///     .secret(secret)
///     .request("/webhooks/laboratory");
/// let verified = receiver.verify(request.headers(), request.body().clone())?;
/// let delivery = receiver.open(verified)?;
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

/// A builder of a signed delivery, created by [`sample()`], [`custom()`] or the function of a provider.
#[derive(Clone)]
#[must_use = "a sample does nothing until `request` is called"]
pub struct Sample {
    provider: Option<&'static ProviderFacts>,
    signing: Option<Signing>,
    /// Further headers, each with its own secret.
    more: Vec<(String, String)>,
    /// The JSON pointer to the time in the body, if it is set.
    time_at: Option<&'static str>,
    body: Bytes,
    secret: Option<String>,
    id: Option<String>,
    at: i64,
}

impl fmt::Debug for Sample {
    /// Writes neither secrets nor the body.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let provider = self.provider.map(|facts| facts.name);
        f.debug_struct("Sample").field("provider", &provider).field("at", &self.at).finish_non_exhaustive()
    }
}

impl Sample {
    fn of(body: Bytes) -> Self {
        let at = unix_seconds(SystemClock.now());
        Sample { provider: None, signing: None, more: Vec::new(), time_at: None, body, secret: None, id: None, at }
    }

    /// Signs with this secret, written as in the receiver's configuration, or with this Ed25519 private key, `whsk_`
    /// and base64. Required.
    pub fn secret(mut self, secret: impl Into<String>) -> Self {
        self.secret = Some(secret.into());
        self
    }

    /// Signs with this scheme. Required if the provider's scheme is undocumented.
    pub fn signing(mut self, signing: Signing) -> Self {
        self.signing = Some(signing);
        self
    }

    /// Sets the time of the event and of the attempt, in Unix seconds. By default the current time.
    pub fn at(mut self, unix: i64) -> Self {
        self.at = unix;
        self
    }

    /// Sets the event id, if the provider's events have one. By default the id of the fixture, which is always the
    /// same.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Sets the exact body. The time and the id in it are not changed.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.time_at = None;
        self
    }

    /// Returns the signed request.
    ///
    /// # Panics
    /// Panics without a secret or a scheme, and if the scheme cannot decode the secret.
    pub fn request(&self, path: &str) -> http::Request<Bytes> {
        let secret = self.secret.as_deref().unwrap_or_else(|| fails("a sample needs a secret; call `secret`"));
        let signing = self.signing.clone().or_else(|| self.documented_signing());
        let signing = signing.unwrap_or_else(|| fails("the scheme of this provider is undocumented; call `signing`"));
        let mut body = self.body.clone();
        if let Some(time_at) = self.time_at {
            body = with_time(&body, time_at, self.at);
            if let Some(id) = &self.id {
                body = with_text(&body, "/id", id);
            }
        }
        let message = signing.message_id(self.id.as_deref().unwrap_or("sample"));
        let headers = signing
            .headers(secret, &message, &signing.timestamp_text(self.at), &body)
            .unwrap_or_else(|error| fails(&error.to_string()));
        let mut request = http::Request::post(path).header("content-type", "application/json");
        for (name, value) in headers.iter().chain(&self.more) {
            request = request.header(name, value);
        }
        request.body(body).unwrap_or_else(|error| fails(&format!("cannot build the request: {error}")))
    }

    /// Returns the provider's scheme, if it needs no configuration.
    fn documented_signing(&self) -> Option<Signing> {
        self.provider?.scheme(&ProviderOptions::default()).ok().as_ref().map(Signing::from)
    }
}

#[track_caller]
#[allow(clippy::panic, reason = "a test helper reports incorrect use by failing the test")]
fn fails(problem: &str) -> ! {
    panic!("medhook::testing: {problem}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::families;
    use crate::{Custom, MemoryStore, Reason, Receiver, Secret};

    #[test]
    fn a_receiver_verifies_a_custom_sample_in_every_scheme() {
        const SECRET: &str = "c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz";
        for scheme in families::schemes() {
            only_this_secret_is_verified(&scheme, SECRET, "YW5vdGhlciBzZWNyZXQgb2Ygc2VuZGVycw");
        }
        #[cfg(feature = "ed25519")]
        for scheme in families::key_pair_schemes() {
            let [(ours, _), (other, _)] = families::KEY_PAIRS;
            only_this_secret_is_verified(&scheme, ours, other);
        }
    }

    /// Asserts that a receiver verifies a sample that is signed with a secret, and none with another secret or at
    /// another time than that of a signed attempt.
    fn only_this_secret_is_verified(scheme: &SchemeConfig, ours: &str, other: &str) {
        let signing = Signing::from(scheme);
        let custom = Custom::new("acme", scheme.clone(), Secret::new(signing.receiver_secret(ours)).unwrap());
        let store: Arc<dyn crate::DedupeStore> = Arc::new(MemoryStore::new(1));
        let receiver = Receiver::builder("acme", custom).store(store).clock(StoppedClock::at(AT)).build().unwrap();
        let sample = |secret: &str, at: i64| {
            let request = super::custom(scheme.clone(), r#"{"not":"a kind"}"#).secret(secret).id("7").at(at);
            let request = request.request("/");
            let verified = receiver.verify(request.headers(), request.body().clone());
            verified.map(|verified| verified.message_id().map(str::to_owned)).map_err(|rejection| rejection.reason())
        };
        let message_id = signing.signs_id().then(|| "msg_7".to_owned());
        assert_eq!(sample(ours, AT), Ok(message_id), "{scheme:?}");
        assert_eq!(sample(other, AT), Err(Reason::SignatureMismatch), "{scheme:?}");
        let late = if signing.signs_time() { Some(Reason::Stale) } else { None };
        assert_eq!(sample(ours, AT - 24 * 3600).err(), late, "{scheme:?}");
    }

    const AT: i64 = 1_767_225_600;
}
