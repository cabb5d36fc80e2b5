//! Receives webhooks from health-tech providers: verifies each delivery, rejects stale ones, delivers each event to the
//! handler once, and decodes it into a type.
//!
//! This crate is the core and depends on no web framework. Most applications use `medhook-axum`, `medhook-actix` or
//! `medhook-tower`, which re-export everything here and add a layer.
//!
//! ```
//! use medhook::{Bytes, HealthSync, MemoryStore, Reason, Receiver, Secret};
//! use medhook::{healthsync, testing};
//!
//! let secret = "a-secret-of-the-dashboard";
//! let receiver = Receiver::builder("healthsync", HealthSync::new(Secret::new(secret)?))
//!     .store(MemoryStore::new(10_000))
//!     .build()?;
//!
//! let request = testing::healthsync("document.uploaded").secret(secret).request("/");
//! let verified = receiver.verify(request.headers(), request.body().clone())?;
//! let delivery = receiver.open(verified)?;
//! let event = delivery.decode::<healthsync::Event>()?;
//! assert!(matches!(event, healthsync::Event::DocumentUploaded(_)));
//!
//! let forged = Bytes::from_static(b"{}");
//! let rejection = receiver.verify(request.headers(), forged).unwrap_err();
//! assert_eq!(rejection.reason(), Reason::SignatureMismatch);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Steps of a delivery
//!
//! | step | where | what |
//! |---|---|---|
//! | head | [`Receiver::begin`] | checks method, encoding, size, the signature's headers and the age of the attempt, before the body is read |
//! | handshake | [`Receiver::receive`] | answers the provider's [`Handshake`], if it has one, with a [`Reply`], before the body or after its verification; a handshake is never delivered to the handler |
//! | body | [`Intake::push`] | counts the body against the limit and feeds it to the MACs as it arrives |
//! | verify | [`Intake::finish`] | compares the MACs in constant time and returns the [`Verified`] body |
//! | envelope, age | [`Receiver::open`] | reads id, kind, times and mode, checks the age of the event, and returns a [`Delivery`] |
//! | claim | [`Receiver::admit`], [`Admitted::run`] | reserves a concurrency permit and claims the event, so that only one of its deliveries is handled |
//! | handler | the application | handles the [`Delivery`], or its event decoded into a type |
//! | settle | [`Admitted::run`] | commits the claim after a 2xx, otherwise releases it; then the answer is sent |
//!
//! Unverified bodies are never parsed. A delivery is answered 2xx only if its event was handled or stored; the
//! exception is a test event verified with a live secret, which is dropped. A genuine delivery is answered 4xx only if
//! its age, size, content encoding or method is rejected, if it lacks the time by which its age is checked, if its body
//! did not arrive completely, or if its tenant is unknown. [`Reason`] lists every rejection and its status.
//!
//! # Guides
//!
//! [`guide::inbox`], [`guide::tenants`], [`guide::rotation`], [`guide::proxies`], [`guide::layers`],
//! [`guide::shutdown`], [`guide::silence`] and [`guide::logs`] cover production setups. [`Custom`] describes a provider
//! that is not listed here: [`guide::schemes`] has the settings of many senders, and [`guide::handshakes`] the checks
//! that some make first. [`DedupeStore`] is the trait for your own store.
//!
//! # Features
//!
//! No feature changes the behavior of another.
//!
//! | feature | adds |
//! |---|---|
//! | `sqlite`, `postgres`, `redis` | stores that survive restarts |
//! | `inbox` | with `sqlite` or `postgres`: [stores events](guide::inbox) before they are handled |
//! | `sqlx-09` | lets `sqlite` and `postgres` use the application's own database and take part in its transactions |
//! | `tracing` | [log lines](guide::logs); on by default in the crates for frameworks |
//! | `metrics` | counters, gauges and histograms through the crate `metrics` 0.24, listed in `docs/metrics.md` |
//! | `shutdown` | `Shutdown`, which drains all receivers on SIGTERM; on by default in the crates for frameworks |
//! | `jiff-02`, `chrono-04`, `time-03` | `Time::to_jiff`, `Time::to_chrono`, `Time::to_time` |
//! | `ed25519` | signatures by the sender's key pair: [`Ed25519Body`], and `v1a` in [`StandardWebhooks`] |
//! | `sign` | `sign::Signer`, which signs webhooks that the application sends |
//! | `testing` | signed test requests, a clock and fixtures; includes `sign` |
//! | `axum-core-05`, `actix-web-4` | extractors for [`Delivery`] and `Webhook`; enabled by `medhook-axum` and `medhook-actix` |

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    test,
    allow(
        clippy::string_slice,
        reason = "a failed assumption of a test should end the test; the build without tests checks the shipped code"
    )
)]

mod activity;
mod answered;
mod any_event;
mod claim_token;
#[cfg(feature = "inbox")]
mod counts;
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
mod generation;
pub mod guide;
mod handling;
mod handshake;
mod headers;
mod in_pool;
#[cfg(feature = "inbox")]
#[cfg_attr(not(any(feature = "postgres", feature = "sqlite")), allow(dead_code, reason = "no store has an inbox"))]
pub mod inbox;
mod isolated;
#[cfg(feature = "metrics")]
mod meter;
mod next_step;
mod notice;
mod observe;
#[cfg(feature = "tracing")]
mod once_per_minute;
mod payload;
mod phi;
mod pointer;
mod pointer_fault;
mod process_keys;
mod provider;
mod receiver;
mod rejection;
#[cfg(feature = "tracing")]
mod rejection_log;
mod reply;
mod request_head;
mod retention;
mod scheme;
mod secret;
#[cfg(feature = "shutdown")]
mod shutdown;
#[cfg(feature = "sign")]
pub mod sign;
mod silence;
mod store_id;
#[cfg(feature = "testing")]
pub mod testing;
mod time;
mod unsigned;
mod verified;
#[cfg(feature = "inbox")]
mod worker;

pub use bytes::Bytes;
pub use http;

pub use self::activity::{Activity, SecretActivity};
pub use self::answered::Answered;
pub use self::claim_token::ClaimToken;
pub use self::dedupe::{Claimed, DedupeStore, DeliveryRecord, Forgotten, MemoryStore, NoDedupe, Settled, StoreFuture};
#[cfg(feature = "postgres")]
pub use self::dedupe::{PostgresBuilder, PostgresStore};
#[cfg(feature = "redis")]
pub use self::dedupe::{RedisBuilder, RedisStore};
#[cfg(feature = "sqlite")]
pub use self::dedupe::{SqliteBuilder, SqliteStore};
pub use self::delivery::{Delivery, PossibleDuplicate, WrongProvider};
pub use self::envelope::{Envelope, KindName, Mode, Problem};
pub use self::error::{ConfigError, Outcome, Reason, StoreError};
pub use self::event::{Decoded, Event, Undecodable, Undocumented, Unknown};
pub use self::event_key::{EventKey, IdFrom};
#[cfg(any(feature = "actix-web-4", feature = "axum-core-05"))]
pub use self::extract::{Misplaced, Webhook};
pub use self::freshness::Freshness;
pub use self::handling::{Admitted, OnStoreError, detached};
pub use self::handshake::{EchoToken, Handshake};
pub use self::headers::{Found, Headers};
#[cfg(feature = "inbox")]
pub use self::inbox::{Bodies, Inbox, Keyring};
pub use self::phi::{Phi, RawJson};
pub use self::provider::all::*;
pub use self::provider::{CloudEvents, Custom, Policy, Provider};
pub use self::receiver::{Builder, Dedupe, Intake, Received, Receiver};
pub use self::rejection::Rejection;
pub use self::reply::Reply;
pub use self::request_head::RequestHead;
pub use self::retention::Retention;
pub use self::scheme::{
    Ed25519Body, Encoding, HmacSha256Body, HmacSha512Body, SchemeConfig, SecretEncoding, SharedSecret,
    SharedSecretForm, SignatureAlgorithm, SignatureLayout, SignatureScope, SignatureSettings, StandardWebhooks,
    TimestampPlace, TimestampUnit, TimestampedHmac,
};
pub use self::secret::{Secret, Secrets};
#[cfg(feature = "shutdown")]
pub use self::shutdown::Shutdown;
pub use self::store_id::StoreId;
pub use self::time::{Clock, SystemClock, Time};
pub use self::verified::Verified;
#[cfg(feature = "inbox")]
pub use self::worker::{AttemptOutcome, AttemptReport, Handled, Retry, Worker, WorkerBuilder, WorkerStatus};

/// The built-in providers as data, for applications that choose the provider by its name in a configuration.
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
/// let receiver = Receiver::configured("in", facts, &options)?
///     .store(MemoryStore::new(10_000))
///     .build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub mod registry {
    pub use crate::any_event::{AnyEvent, Decoding};
    pub use crate::provider::{
        EqualBytes, KindFacts, NaturalKey, OptionError, OptionName, PROVIDERS, Pointers, ProviderFacts,
        ProviderOptions, RetrySchedule, SchemeChoice, SecretMode, UnsignedHeader, UnsignedValue, provider,
    };
}
