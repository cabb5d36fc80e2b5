//! The parts of an envelope that headers without a signature contain, for [`Custom`](super::Custom).

use std::borrow::Cow;

use http::HeaderName;

use super::cloud_events::{self, CloudEvents};
use crate::envelope::{Envelope, KindName};
use crate::error::ConfigError;
use crate::headers::Found;
use crate::observe;
use crate::pointer_fault::{PointedPart, PointerFault};
use crate::time::Time;
use crate::unsigned::{UnsignedNames, word};
use crate::verified::Verified;

/// The headers from which a [`Custom`](super::Custom) provider reads parts of the envelope.
#[derive(Debug, Clone, Default)]
pub(super) struct UnsignedOptions {
    pub(super) id: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) cloud_events: Option<CloudEvents>,
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

    /// Adds the parts that the body lacks, from the headers. A time in a header is not used if `has_time` is set (there
    /// is a pointer to the time), since the freshness could depend on it, or if the scheme signs the time of the event.
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
                envelope.kind =
                    value(PointedPart::Kind, "ce-type", found.kind).map(|kind| KindName::among(known_kinds, kind));
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
            envelope.kind = kind.ok().map(|kind| KindName::among(known_kinds, Cow::Borrowed(kind)));
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
