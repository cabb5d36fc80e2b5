//! Providers that are not built in.

use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::cloud_events::{self, CloudEvents};
use super::definition::{Policy, Provider, sealed};
use super::json::{part_of, scalar_at};
use super::unsigned_options::UnsignedOptions;
use crate::envelope::{Envelope, KindName, Problem};
use crate::handshake::{Handshake, methods};
use crate::observe;
use crate::pointer::follow;
use crate::pointer_fault::{PointedPart, PointerFault};
use crate::scheme::SchemeConfig;
use crate::unsigned::UnsignedNames;
use crate::{ConfigError, Freshness, Secrets, Time, Verified};

/// A provider of your own: a scheme, and JSON pointers ([RFC 6901](https://www.rfc-editor.org/rfc/rfc6901)) to the
/// parts of the envelope in its bodies.
///
/// | what | default |
/// |---|---|
/// | id | the signed id with Standard Webhooks (`webhook-id`) and with an [`id_header`](crate::TimestampedHmac::id_header), otherwise none: see [`Dedupe::by_id`](crate::Dedupe::by_id) |
/// | kind | none |
/// | times | a signed time of the attempt must be within 300 s; of a signed time of the event ([`timestamp_of_event`](crate::TimestampedHmac::timestamp_of_event)) the [`freshness`](crate::Builder::freshness) must be set, except with the presets, which accept 2 h; a time in the body is not checked |
/// | events are remembered | for 72 h if the time of the attempt is signed, otherwise for 24 h, or as long as the freshness accepts them |
/// | body | need not be JSON; if no separator precedes it in the signed text, it must begin with `{` or `[` |
/// | handshakes | none |
///
/// [`guide::schemes`](crate::guide::schemes) shows the scheme and the settings of many senders.
///
/// With [`cloud_events`](Custom::cloud_events) the envelope is that of CloudEvents. For providers that send the id or
/// the kind only in a header that they do not sign, there are [`unsigned_id_header`](Custom::unsigned_id_header) and
/// [`unsigned_kind_header`](Custom::unsigned_kind_header).
///
/// A delivery is accepted even if a pointer finds no usable value in it: nothing, `null`, or a value of the wrong type.
/// With the feature `tracing` the first such delivery is logged with the pointer and what it found, once for each
/// pointer and cause; with `metrics` each one is counted as `medhook_pointer_missing_total`, with the labels `endpoint`
/// and `pointer` (`id`, `kind`, `time` or `data`). [`Delivery::id_from`](crate::Delivery::id_from) returns what
/// identifies the event.
///
/// ```
/// use medhook::{Custom, HmacSha256Body, MemoryStore, Receiver, Secret};
///
/// let scheme = HmacSha256Body::new("x-acme-signature").prefix("sha256=");
/// let acme = Custom::new("acme", scheme, Secret::new("a long random text")?)
///     .id_pointer("/id")
///     .kind_pointer("/type")
///     .time_pointer("/created");
/// let store = MemoryStore::new(10_000);
/// let receiver = Receiver::builder("acme", acme).store(store).build()?;
/// # Ok::<(), medhook::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Custom {
    name: String,
    scheme: SchemeConfig,
    secrets: Secrets,
    id: Option<String>,
    kind: Option<String>,
    occurred_at: Option<String>,
    data: Option<String>,
    kinds: Vec<&'static str>,
    handshakes: Vec<Handshake>,
    pub(super) unsigned: UnsignedOptions,
}

impl Custom {
    /// Creates a provider whose deliveries `scheme` authenticates. The name consists of 1 to 64 characters of
    /// `[a-z0-9._-]`.
    pub fn new(name: impl Into<String>, scheme: impl Into<SchemeConfig>, secrets: impl Into<Secrets>) -> Self {
        Custom {
            name: name.into(),
            scheme: scheme.into(),
            secrets: secrets.into(),
            id: None,
            kind: None,
            occurred_at: None,
            data: None,
            kinds: Vec::new(),
            handshakes: Vec::new(),
            unsigned: UnsignedOptions::default(),
        }
    }

    /// Sets the JSON pointer to the event's id. The id must be the same for all attempts, and different for every
    /// event.
    #[must_use]
    pub fn id_pointer(mut self, pointer: impl Into<String>) -> Self {
        self.id = Some(pointer.into());
        self
    }

    /// Sets the JSON pointer to the kind.
    #[must_use]
    pub fn kind_pointer(mut self, pointer: impl Into<String>) -> Self {
        self.kind = Some(pointer.into());
        self
    }

    /// Sets the JSON pointer to the time of the event: RFC 3339, or a number of seconds. It is checked only with
    /// [`Freshness::EventTime`](crate::Freshness::EventTime). A number that looks like milliseconds, microseconds or
    /// nanoseconds is read as seconds, too, and logged with its unit.
    #[must_use]
    pub fn time_pointer(mut self, pointer: impl Into<String>) -> Self {
        self.occurred_at = Some(pointer.into());
        self
    }

    /// Sets the JSON pointer to the payload. By default the payload is the whole body.
    #[must_use]
    pub fn data_pointer(mut self, pointer: impl Into<String>) -> Self {
        self.data = Some(pointer.into());
        self
    }

    /// Adds known kinds. Logs and metrics show these by name, and all others as `unknown`, because a label must never
    /// be text from the sender. Each has at most 256 bytes.
    #[must_use]
    pub fn known_kinds(mut self, kinds: impl IntoIterator<Item = &'static str>) -> Self {
        self.kinds.extend(kinds);
        self
    }

    /// Adds a handshake, which the receiver answers itself. There can be one for `GET` requests, and one of each other
    /// type.
    #[must_use]
    pub fn handshake(mut self, handshake: Handshake) -> Self {
        self.handshakes.push(handshake);
        self
    }
}

/// The length of the longest known kind, in bytes.
const LONGEST_KIND: usize = 256;

impl sealed::Sealed for Custom {}

impl Provider for Custom {
    fn name(&self) -> &str {
        &self.name
    }

    fn policy(&self) -> Policy {
        let signs_time = self.scheme.signs_attempt_time();
        let freshness = self.scheme.freshness();
        Policy {
            freshness: freshness.unwrap_or(Freshness::Unchecked),
            needs_freshness: freshness.is_none(),
            retention: Duration::from_secs(if signs_time { 72 * 3600 } else { 24 * 3600 }),
            retry_horizon: Duration::ZERO,
            methods: methods(&self.handshakes),
            // A time in an unsigned header is not among them.
            has_event_time: self.occurred_at.is_some()
                || self.scheme.signs_event_time()
                || self.unsigned.cloud_events == Some(CloudEvents::Structured),
            unknown_kinds_have_event_time: true,
        }
    }

    fn scheme(&self, _: sealed::Seal) -> Result<sealed::SchemeWithSecrets, ConfigError> {
        for pointer in [&self.id, &self.kind, &self.occurred_at, &self.data].into_iter().flatten() {
            if !pointer.starts_with('/') {
                return Err(ConfigError::new(format!(
                    "provider {}: JSON pointer {pointer:?} must start with `/`",
                    self.name
                )));
            }
        }
        let set = [("id_pointer", &self.id), ("kind_pointer", &self.kind)].into_iter();
        let set = set.chain([("time_pointer", &self.occurred_at), ("data_pointer", &self.data)]);
        let set: Vec<_> = set.filter(|(_, pointer)| pointer.is_some()).map(|(option, _)| option).collect();
        self.unsigned.check(&set).map_err(|error| error.within(format_args!("provider {}", self.name)))?;
        // An inbox indexes the kind, and an index of PostgreSQL has a limit.
        if let Some(kind) = self.kinds.iter().find(|kind| kind.len() > LONGEST_KIND) {
            return Err(ConfigError::new(format!(
                "provider {}: a known kind must have at most {LONGEST_KIND} bytes, but one has {}",
                self.name,
                kind.len()
            )));
        }
        Ok(sealed::SchemeWithSecrets { config: self.scheme.clone(), secrets: self.secrets.clone() })
    }

    fn settings(&self, _: sealed::Seal) -> String {
        let parts = (&self.id, &self.kind, &self.occurred_at, &self.data, &self.kinds);
        format!("{:?}", (parts, &self.handshakes, &self.unsigned))
    }

    fn handshakes(&self, _: sealed::Seal) -> &[Handshake] {
        &self.handshakes
    }

    fn unsigned_names(&self, _: sealed::Seal) -> Result<Option<UnsignedNames>, ConfigError> {
        self.unsigned.names().map_err(|error| error.within(format_args!("provider {}", self.name)))
    }

    fn read(&self, body: &Bytes, _: sealed::Seal) -> Envelope {
        if self.unsigned.cloud_events == Some(CloudEvents::Structured) {
            return cloud_events::structured(body, &self.kinds);
        }
        let pointers = self.pointers();
        if pointers == [None; 4] {
            return Envelope::default();
        }
        let raw: Result<&RawValue, _> = serde_json::from_slice(body);
        let found = pointers.map(|pointer| pointer.and_then(|pointer| follow(raw.as_deref().ok()?, pointer)));
        let [id, kind, occurred_at, data] = found;
        let mut envelope = Envelope {
            id: scalar_at(id).map(|text| text.into_owned().into()),
            kind: scalar_at(kind).map(|text| KindName::among(&self.kinds, text)),
            occurred_at: scalar_at(occurred_at).map(|text| Time::from(&*text)),
            data: data.map(|data| part_of(body, data)),
            problem: raw.as_ref().err().map(Problem::json),
            ..Envelope::default()
        };
        let usable = usable(&envelope);
        let parts = pointers.into_iter().zip(found).zip(usable);
        for (fault, ((pointer, found), is_usable)) in envelope.faults.iter_mut().zip(parts) {
            *fault = (pointer.is_some() && !is_usable).then(|| PointerFault::in_body(raw.is_ok(), found));
        }
        envelope
    }

    fn complete(&self, envelope: &mut Envelope, verified: &Verified<'_>, _: sealed::Seal) {
        if self.unsigned.cloud_events == Some(CloudEvents::Structured) {
            return cloud_events::report(envelope.faults, verified);
        }
        self.unsigned.complete(envelope, verified, &self.kinds, self.occurred_at.is_some());
        if envelope.faults == [None; 4] {
            return;
        }
        let parts = [PointedPart::Id, PointedPart::Kind, PointedPart::Time, PointedPart::Data];
        // An unsigned header can have the part that the body lacks.
        let parts = parts.into_iter().zip(usable(envelope)).zip(self.pointers()).zip(envelope.faults);
        for (((part, is_usable), pointer), fault) in parts {
            if let (false, Some(pointer), Some(fault)) = (is_usable, pointer, fault) {
                observe::pointer_fault(verified, part, part.option(), pointer, fault);
            }
        }
    }
}

impl Custom {
    /// Returns the pointers to the id, the kind, the time and the payload.
    fn pointers(&self) -> [Option<&str>; 4] {
        [&self.id, &self.kind, &self.occurred_at, &self.data].map(Option::as_deref)
    }
}

/// Returns whether the envelope has an id, a kind, a time and a payload.
fn usable(envelope: &Envelope) -> [bool; 4] {
    [
        envelope.id.is_some() || envelope.unsigned_id.is_some(),
        envelope.kind.is_some(),
        envelope.occurred_at.as_ref().is_some_and(|time| time.unix().is_some()),
        envelope.data.is_some(),
    ]
}
