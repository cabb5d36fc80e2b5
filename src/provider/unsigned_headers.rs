//! Options of [`Custom`] that read an id or a kind from a header that the provider does not sign.

use std::borrow::Cow;

use http::HeaderName;

use super::cloud_events::{self, CloudEvents};
use super::custom::{Custom, named};
use crate::envelope::Envelope;
use crate::error::ConfigError;
use crate::headers::Found;
use crate::observe;
use crate::pointer_fault::{PointedPart, PointerFault};
use crate::time::Time;
use crate::unsigned::{UnsignedNames, word};
use crate::verified::Verified;

/// The headers from which a [`Custom`] provider reads parts of the envelope.
#[derive(Debug, Clone, Default)]
pub(super) struct UnsignedOptions {
    id: Option<String>,
    kind: Option<String>,
    pub(super) cloud_events: Option<CloudEvents>,
}

impl Custom {
    /// Sets the header that contains the event's id, for a provider that signs no id.
    ///
    /// The header is not signed, so an attacker who captured a delivery can repeat it with any other id. The id never
    /// decides alone: the [event key](crate::Delivery::event_key) is computed from it and all bytes of the body. Two
    /// events with equal bytes and different ids are therefore two events, and a repeated delivery cannot make an event
    /// with other bytes look handled. If the ids can be guessed, it can make a later event with the same bytes look
    /// handled. A captured delivery with another id is handled again, as without an id, but not without limit: all ids
    /// of one body together are handled [`max_repeats`](crate::Builder::max_repeats) + 1 times in 24 hours, genuine
    /// ones included, and [`possible_duplicate`](crate::Delivery::possible_duplicate) returns the earlier deliveries of
    /// the bytes. Retries of one event are duplicates and do not count. If the provider sends many events with equal
    /// bytes, set `max_repeats` to the most that it sends in a day.
    ///
    /// A header that is missing, occurs more than once, is longer than 256 bytes or not visible ASCII is no id. The
    /// delivery is then handled as one without an id, and counted and logged as a pointer that found nothing. An id
    /// that [`id_pointer`](Custom::id_pointer) finds, or that the scheme signs, is used instead of the header.
    /// [`Delivery::unsigned_id`](crate::Delivery::unsigned_id) returns the id from the header.
    ///
    /// Terra sends `x-terra-trace-id`, which is the same for all attempts
    /// ([tryterra/agent-skills](https://github.com/tryterra/agent-skills), `webhooks-dedupe`, commit 1583d25):
    ///
    /// ```
    /// # use medhook::{Custom, HmacSha256Body, Secret};
    /// # let scheme = HmacSha256Body::new("x-signature");
    /// # let secret = Secret::new("a long random text")?;
    /// let terra = Custom::new("terra", scheme, secret)
    ///     .unsigned_id_header("x-terra-trace-id")
    ///     .kind_pointer("/type");
    /// # Ok::<(), medhook::ConfigError>(())
    /// ```
    #[must_use]
    pub fn unsigned_id_header(mut self, header: impl Into<String>) -> Self {
        self.unsigned.id = Some(header.into());
        self
    }

    /// Sets the header that contains the kind, for a provider whose bodies have none.
    ///
    /// The header is not signed: an attacker who captured a delivery can repeat it with another kind. The kind selects
    /// how a body is decoded, so a body must be safe to decode as any of the kinds. In logs and metrics it is a label
    /// only if it is one of the [known kinds](Custom::known_kinds). A kind that [`kind_pointer`](Custom::kind_pointer)
    /// finds is used instead of the header. A header without a usable value is treated as for
    /// [`unsigned_id_header`](Custom::unsigned_id_header).
    ///
    /// Medplum sends a resource as the body, and in `x-medplum-interaction` whether it was created, updated or deleted
    /// ([medplum/medplum](https://github.com/medplum/medplum), `packages/server/src/workers/subscription.ts`, commit
    /// 006a04b):
    ///
    /// ```
    /// # use medhook::{Custom, HmacSha256Body, Secret};
    /// # let secret = Secret::new("a long random text")?;
    /// let medplum = Custom::new("medplum", HmacSha256Body::new("x-signature"), secret)
    ///     .unsigned_kind_header("x-medplum-interaction")
    ///     .known_kinds(["create", "update", "delete"]);
    /// # Ok::<(), medhook::ConfigError>(())
    /// ```
    #[must_use]
    pub fn unsigned_kind_header(mut self, header: impl Into<String>) -> Self {
        self.unsigned.kind = Some(header.into());
        self
    }

    /// Reads the envelope as [CloudEvents 1.0](https://github.com/cloudevents/spec) define it, in one of its two modes.
    #[must_use]
    pub fn cloud_events(mut self, mode: CloudEvents) -> Self {
        self.unsigned.cloud_events = Some(mode);
        self
    }
}

impl UnsignedOptions {
    fn is_binary(&self) -> bool {
        self.cloud_events == Some(CloudEvents::BinaryUnsigned)
    }

    /// Checks that no two options read the same part. `pointers` are the names of the pointers that are set.
    pub(super) fn check(&self, pointers: &[&'static str]) -> Result<(), ConfigError> {
        let headers = [("unsigned_id_header", &self.id), ("unsigned_kind_header", &self.kind)];
        let header = headers.into_iter().find(|(_, header)| header.is_some()).map(|(option, _)| option);
        let conflict = match self.cloud_events {
            None => None,
            Some(CloudEvents::BinaryUnsigned) => header,
            Some(CloudEvents::Structured) => header.or(pointers.first().copied()),
        };
        conflict.map_or(Ok(()), |option| {
            let problem =
                format!("`{option}` and `cloud_events` read the same part of the envelope; remove one of them");
            Err(ConfigError::new(problem))
        })
    }

    /// Returns the names of the headers, or `None` if no option reads one.
    pub(super) fn names(&self) -> Result<Option<UnsignedNames>, ConfigError> {
        if self.is_binary() {
            return Ok(Some(cloud_events::header_names()));
        }
        if self.id.is_none() && self.kind.is_none() {
            return Ok(None);
        }
        let (id, kind) = (parsed("unsigned_id_header", &self.id)?, parsed("unsigned_kind_header", &self.kind)?);
        Ok(Some(UnsignedNames { id, kind, ..UnsignedNames::default() }))
    }

    /// Adds the parts that the body has not, from the headers. `has_time` is whether a pointer to the time is set: then
    /// a time in a header is not used, since the freshness could depend on it. Neither is it if the scheme signs the
    /// time of the event.
    pub(super) fn complete(
        &self,
        envelope: &mut Envelope,
        verified: &Verified<'_>,
        known_kinds: &[&'static str],
        has_time: bool,
    ) {
        let Some(found) = verified.unsigned() else { return };
        let report = |part, option, header: &str, fault| observe::pointer_fault(verified, part, option, header, fault);
        if self.is_binary() {
            let value = |part, header, found| {
                let value = cloud_events::header_value(found);
                value.map_err(|fault| report(part, CLOUD_EVENTS, header, fault)).ok()
            };
            if envelope.id.is_none() && verified.message_id().is_none() {
                let source = value(PointedPart::Id, "ce-source", found.source);
                let id = value(PointedPart::Id, "ce-id", found.id);
                envelope.unsigned_id = cloud_events::joined(source, id);
            }
            if envelope.kind.is_none() {
                envelope.kind = value(PointedPart::Kind, "ce-type", found.kind).map(|kind| named(known_kinds, kind));
            }
            // The attribute is optional.
            if !has_time && verified.event_time().is_none() && found.time != Found::Absent {
                envelope.occurred_at = value(PointedPart::Time, "ce-time", found.time).map(|time| Time::from(&*time));
                if envelope.occurred_at.as_ref().is_some_and(|time| time.unix().is_none()) {
                    report(PointedPart::Time, CLOUD_EVENTS, "ce-time", PointerFault::HeaderMalformed);
                }
            }
            return;
        }
        if let Some(header) = &self.id
            && envelope.id.is_none()
            && verified.message_id().is_none()
        {
            let id = word(found.id).map_err(|fault| report(PointedPart::Id, "unsigned_id_header", header, fault));
            envelope.unsigned_id = id.ok().map(Into::into);
        }
        if let Some(header) = &self.kind
            && envelope.kind.is_none()
        {
            let kind =
                word(found.kind).map_err(|fault| report(PointedPart::Kind, "unsigned_kind_header", header, fault));
            envelope.kind = kind.ok().map(|kind| named(known_kinds, Cow::Borrowed(kind)));
        }
    }
}

/// The option that reads the headers of binary mode.
const CLOUD_EVENTS: &str = "cloud_events";

fn parsed(option: &str, header: &Option<String>) -> Result<Option<HeaderName>, ConfigError> {
    let Some(name) = header else { return Ok(None) };
    HeaderName::try_from(name).map(Some).map_err(|error| {
        // A whole header line may have been pasted.
        let shown = name.split([':', ' ', '=']).next().unwrap_or_default();
        ConfigError::new(format!("{option}: {shown:?} is not a valid header name")).with_source(error)
    })
}

#[cfg(test)]
mod tests;
