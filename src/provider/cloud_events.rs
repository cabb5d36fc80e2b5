//! The envelope of [CloudEvents 1.0](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md), for
//! [`Custom`](super::Custom).

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderName;
use serde_json::value::RawValue;

use super::json::{part_of, scalar_at};
use super::key::members;
use crate::envelope::{Envelope, KindName, Problem};
use crate::headers::Found;
use crate::observe;
use crate::pointer_fault::{PointedPart, PointerFault, PointerFaults};
use crate::time::Time;
use crate::unsigned::{UnsignedNames, text, word};
use crate::verified::Verified;

/// The mode in which a provider sends CloudEvents: where the attributes of an event are.
///
/// The id of the event consists of its `source` and its `id`, which together are unique. It is written as a JSON array:
/// `["api/notifications","9c2d6a2e"]`. Without one of them the event has no id. `specversion`, `subject` and extensions
/// are not read. The endpoint's option decides about the mode, and not the content type, which is not signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloudEvents {
    /// The body is a JSON object with all attributes, so they are as trustworthy as the body: the id, the kind in
    /// `type`, the time in `time`, and the payload in `data`.
    ///
    /// The content type need not be `application/cloudevents+json`. A binary payload, in `data_base64`, is not decoded:
    /// the payload is then the whole body. A batch, which is a JSON array, is delivered as one event without id and
    /// kind. If one of these attributes occurs twice, none of them is used.
    ///
    /// Particle Health sends this mode
    /// ([ParticleHealth/particle-connect](https://github.com/ParticleHealth/particle-connect),
    /// `agent-documentation/12-notification-data-contract.md`, version 1.0), and so does Photon Health, whose
    /// `specversion` may be a number ([medplum/medplum](https://github.com/medplum/medplum),
    /// `examples/medplum-photon-integration`).
    Structured,
    /// The body is the payload, and the attributes are in the headers `ce-source`, `ce-id`, `ce-type` and `ce-time`,
    /// which no signature of a webhook covers. They are decoded as the
    /// [HTTP binding](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md)
    /// describes.
    ///
    /// The rules of [`unsigned_id_header`](crate::Custom::unsigned_id_header) and
    /// [`unsigned_kind_header`](crate::Custom::unsigned_kind_header) apply: the id counts only together with the bytes
    /// of the body, [`max_repeats`](crate::Builder::max_repeats) limits the ids of one body, and what a pointer finds
    /// in the body is used instead. The time is informative: [`Freshness::EventTime`](crate::Freshness::EventTime)
    /// needs a [`time_pointer`](crate::Custom::time_pointer), and with one `ce-time` is ignored. A request in
    /// structured mode is delivered as an event without these attributes.
    BinaryUnsigned,
}

/// Reads the envelope of an event in structured mode.
pub(super) fn structured(body: &Bytes, known_kinds: &[&'static str]) -> Envelope {
    let raw: Result<&RawValue, _> = serde_json::from_slice(body);
    let found = raw.as_deref().ok().and_then(|raw| members(Some(raw), ["source", "id", "type", "time", "data"]));
    let [source, id, kind, time, data] = found.unwrap_or_default();
    let [source_text, id_text, kind_text, time_text] = [source, id, kind, time].map(scalar_at);
    let occurred_at = time_text.map(|text| Time::from(&*text));
    let attributes = [
        (source, source_text.is_some()),
        (id, id_text.is_some()),
        (kind, kind_text.is_some()),
        // The attribute is optional.
        (time, time.is_none() || occurred_at.as_ref().is_some_and(|at| at.unix().is_some())),
    ];
    Envelope {
        faults: attributes.map(|(found, is_usable)| (!is_usable).then(|| PointerFault::in_body(raw.is_ok(), found))),
        id: joined(source_text, id_text),
        kind: kind_text.map(|text| KindName::among(known_kinds, text)),
        occurred_at,
        data: data.map(|data| part_of(body, data)),
        problem: raw.as_ref().err().map(Problem::json),
        ..Envelope::default()
    }
}

/// Logs the faults of an event in structured mode.
pub(super) fn report(faults: PointerFaults, verified: &Verified<'_>) {
    let attributes = [
        (PointedPart::Id, "/source"),
        (PointedPart::Id, "/id"),
        (PointedPart::Kind, "/type"),
        (PointedPart::Time, "/time"),
    ];
    for ((part, pointer), fault) in attributes.into_iter().zip(faults) {
        if let Some(fault) = fault {
            observe::pointer_fault(verified, part, "cloud_events", pointer, fault);
        }
    }
}

/// Joins a source and an id so that different pairs never have the same text.
pub(super) fn joined(source: Option<Cow<'_, str>>, id: Option<Cow<'_, str>>) -> Option<Box<str>> {
    serde_json::to_string(&(source?, id?)).ok().map(Into::into)
}

/// Returns the names of the headers in binary mode.
pub(super) fn header_names() -> UnsignedNames {
    UnsignedNames {
        id: Some(HeaderName::from_static("ce-id")),
        source: Some(HeaderName::from_static("ce-source")),
        kind: Some(HeaderName::from_static("ce-type")),
        time: Some(HeaderName::from_static("ce-time")),
    }
}

/// Decodes the value of a header in binary mode: a quoted string is unquoted, then percent-encoding is decoded. Only a
/// quoted string may contain spaces.
pub(super) fn header_value(found: Found<'_>) -> Result<Cow<'_, str>, PointerFault> {
    let value = text(found)?;
    let unquoted = match value.strip_prefix('"') {
        Some(quoted) => Cow::Owned(unquoted(quoted).ok_or(PointerFault::HeaderMalformed)?),
        None => Cow::Borrowed(word(found)?),
    };
    let decoded = if unquoted.contains('%') {
        Cow::Owned(percent_decoded(&unquoted).ok_or(PointerFault::HeaderMalformed)?)
    } else {
        unquoted
    };
    if decoded.is_empty() { Err(PointerFault::HeaderEmpty) } else { Ok(decoded) }
}

/// Returns the content of a quoted string of RFC 7230, without its first quotation mark.
fn unquoted(quoted: &str) -> Option<String> {
    let mut unquoted = String::with_capacity(quoted.len());
    let mut rest = quoted.chars();
    loop {
        match rest.next()? {
            '"' => return rest.as_str().is_empty().then_some(unquoted),
            '\\' => unquoted.push(rest.next()?),
            other => unquoted.push(other),
        }
    }
}

/// Decodes each `%xy`. Returns `None` if two digits do not follow a `%`, or if the result is not UTF-8 or contains a
/// control character.
fn percent_decoded(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' {
            let (digits, after) = rest.split_first_chunk::<2>()?;
            let mut byte = [0];
            base16ct::mixed::decode(digits, &mut byte).ok()?;
            decoded.extend_from_slice(&byte);
            rest = after;
        } else {
            decoded.push(*first);
        }
    }
    // No attribute may contain a control character.
    String::from_utf8(decoded).ok().filter(|text| !text.contains(char::is_control))
}

#[cfg(test)]
mod tests;
