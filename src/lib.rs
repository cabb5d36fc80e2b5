//! Receive webhooks from health-tech providers safely.
//!
//! This crate is the core: it knows no web framework. Most users want `medhook-axum`, `medhook-actix` or
//! `medhook-tower`, which re-export everything here.
//!
//! # The way of a delivery
//!
//! | step | where | what |
//! |---|---|---|
//! | head | [`Receiver::begin`] | method, encoding, size, the signature's headers, the attempt's age: refused before the body is read |
//! | handshake | [`Receiver::receive`] | where the provider has one: answered with a [`Reply`], never delivered |
//! | body | [`Intake::push`] | counted against the limit and fed to the MACs as it arrives |
//! | proof | [`Intake::finish`] | MACs compared in constant time; from here on the bytes are [`Verified`] |
//! | envelope, age | [`Receiver::open`] | id, kind, times and mode are read; the event's age is judged; out comes a [`Delivery`] |
//! | claim | [`Receiver::admit`], [`Admitted::run`] | the event is claimed, once among all deliveries of it |
//! | handler | your application | gets the [`Delivery`], and from it the event as a type |
//! | settle | [`Admitted::run`] | 2xx commits the claim, anything else releases it; then the answer goes out |
//!
//! Nothing from a sender who has not shown the secret reaches a parser. What was not handled is never answered 2xx, and
//! what was genuine never 4xx unless its time forbids it, or its form: too large, encoded, no `POST`.
//!
//! # In an application
//!
//! With axum (`medhook-axum`); actix-web and plain tower look much the same.
//!
//! ```ignore (the core depends on no framework; the tests of the workspace compile and run this)
//! let store = SqliteStore::open("medhook.db").await?; // one for all endpoints
//! let keys = Secrets::from_env("FASTEN_SECRET")?.also_env("FASTEN_SECRET_OLD")?; // unset second is fine
//! let fasten = Receiver::builder("fasten", Fasten::live(keys)).store(store.clone()).build()?;
//!
//! let app = Router::new().route("/webhooks/fasten", post(on_fasten).layer(VerifyLayer::new(fasten.clone())));
//!
//! async fn on_fasten(Webhook(event): Webhook<fasten::Event>, delivery: Delivery) -> StatusCode {
//!     match event {
//!         fasten::Event::EhiExportSuccess(export) => enqueue(export.download_links).await,
//!         fasten::Event::Undecodable(_) => keep_for_a_human(delivery.body()).await, // payload not as documented
//!         _ => StatusCode::OK,
//!     }
//! }
//!
//! // SIGTERM and SIGINT: running handlers finish and settle, or are canceled after half a minute.
//! let shutdown = Shutdown::on_signals(Duration::from_secs(30))?.receivers([fasten]);
//! shutdown.serve(axum::serve(listener, app).with_graceful_shutdown(shutdown.draining())).await?;
//! ```
//!
//! # Without a framework
//!
//! ```
//! use bytes::Bytes;
//! use medhook::{HealthSync, MemoryStore, Reason, Receiver, Secret, testing};
//!
//! let secret = Secret::new("a-secret-of-the-dashboard")?;
//! let receiver = Receiver::builder("healthsync", HealthSync::new(secret)).store(MemoryStore::new(10_000)).build()?;
//!
//! let request = testing::healthsync("document.uploaded").secret("a-secret-of-the-dashboard").request("/");
//! let verified = receiver.verify(request.headers(), request.body().clone())?;
//! let delivery = receiver.open(verified)?;
//! assert_eq!(delivery.kind(), Some("document.uploaded"));
//!
//! let altered = Bytes::from_static(b"{}");
//! let rejection = receiver.verify(request.headers(), altered).unwrap_err();
//! assert_eq!(rejection.reason(), Reason::SignatureMismatch);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//! `sqlite`, `postgres` and `redis` add stores that remember events over restarts; with `sqlx-09` the first two can be in
//! the application's own database, and part of its transactions. `tracing` logs one event per delivery; `metrics` counts
//! them; `shutdown` adds `Shutdown`, which drains all receivers when the process is signaled to stop (on by default in the
//! crates for frameworks); `jiff-02` adds `Time::to_jiff`; `sign` adds `sign::Signer`, which signs what your own code sends;
//! `testing` adds signed test requests and this project's fixtures, and includes `sign`. `axum-core-05` and `actix-web-4`
//! implement the traits of these frameworks for [`Delivery`] and add the extractor `Webhook`; `medhook-axum` and
//! `medhook-actix` enable them. No feature changes what another does.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    test,
    allow(
        clippy::string_slice,
        reason = "a failed assumption of a test should end the test; what is shipped is checked in the build without tests"
    )
)]

mod any_event;
mod claim_token;
mod dedupe;
mod delivery;
mod endpoint;
mod envelope;
mod error;
mod event;
mod event_key;
#[cfg(any(feature = "actix-web-4", feature = "axum-core-05"))]
mod extract;
mod freshness;
mod handling;
mod headers;
mod observe;
mod once_per_minute;
mod payload;
mod phi;
mod provider;
mod receiver;
mod rejection;
mod reply;
mod retention;
mod scheme;
mod secret;
#[cfg(feature = "shutdown")]
mod shutdown;
#[cfg(feature = "sign")]
pub mod sign;
#[cfg(feature = "testing")]
pub mod testing;
mod time;
mod verified;

pub use bytes::Bytes;
pub use http;

pub use self::claim_token::ClaimToken;
pub use self::dedupe::{Claimed, DedupeStore, MemoryStore, NoDedupe, Settled, StoreFuture};
#[cfg(feature = "postgres")]
pub use self::dedupe::{PostgresBuilder, PostgresStore};
#[cfg(feature = "redis")]
pub use self::dedupe::{RedisBuilder, RedisStore};
#[cfg(feature = "sqlite")]
pub use self::dedupe::{SqliteBuilder, SqliteStore};
pub use self::delivery::{Delivery, WrongProvider};
pub use self::envelope::{Envelope, KindName, Mode, Problem};
pub use self::error::{ConfigError, Outcome, Reason, StoreError};
pub use self::event::{Decoded, Event, Undecodable, Undocumented, Unknown};
pub use self::event_key::EventKey;
#[cfg(any(feature = "actix-web-4", feature = "axum-core-05"))]
pub use self::extract::{Misplaced, Webhook};
pub use self::freshness::Freshness;
pub use self::handling::{Admitted, OnStoreError, detached};
pub use self::headers::{Found, Headers};
pub use self::phi::{Phi, RawJson};
pub use self::provider::all::*;
pub use self::provider::{Custom, Policy, Provider};
pub use self::receiver::{Builder, Dedupe, Intake, Received, Receiver, RequestHead};
pub use self::rejection::Rejection;
pub use self::reply::Reply;
pub use self::retention::Retention;
pub use self::scheme::{Encoding, HmacSha256Body, SchemeConfig, SharedSecret, SignatureScope, StandardWebhooks};
pub use self::secret::{Secret, Secrets};
#[cfg(feature = "shutdown")]
pub use self::shutdown::Shutdown;
pub use self::time::{Clock, SystemClock, Time};
pub use self::verified::Verified;

/// What is known about every provider, as data, for code that serves whichever one a configuration names.
///
/// ```
/// use medhook::registry::{self, OptionName, ProviderOptions};
/// use medhook::{MemoryStore, Receiver, Secret};
///
/// let facts = registry::provider("healthsync").ok_or("no such provider")?;
/// assert_eq!(facts.kinds.len(), 13);
/// assert!(!facts.takes(OptionName::Header), "its header is documented");
///
/// let options = ProviderOptions::new(Secret::new("a-secret-of-the-dashboard")?);
/// let receiver = Receiver::configured("in", facts, &options)?.store(MemoryStore::new(10_000)).build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub mod registry {
    pub use crate::any_event::{AnyEvent, Decoding};
    pub use crate::provider::{
        KindFacts, NaturalKey, OptionError, OptionName, PROVIDERS, Pointers, ProviderFacts, ProviderOptions,
        RetrySchedule, SchemeChoice, SecretMode, UnsignedHeader, UnsignedValue, provider,
    };
}
