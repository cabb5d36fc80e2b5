//! The stored part of a delivery, and its encoding: a version byte, the length of the head in four bytes, the head as
//! JSON, and the body.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::from_inbox::FromInbox;
use super::sealing::{Binding, SealedPart, Sealer, Unsealable};
use crate::error::StoreError;
use crate::event_key::IdFrom;
use crate::scheme::SignatureScope;
use crate::unsigned::StoredUnsigned;

/// The part of a delivery from which a worker makes it again. Id, kind, times and mode are read again from the body,
/// and from the unsigned headers that are read.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredHead {
    /// The event key.
    pub(crate) event_key: [u8; 32],
    /// The key of the body, if the event can recur with the same bytes.
    pub(crate) recurring_body: Option<[u8; 32]>,
    /// The name of the delivery's [`IdFrom`](crate::IdFrom).
    pub(crate) id_from: String,
    /// The name of the delivery's [`SignatureScope`](crate::SignatureScope).
    pub(crate) signature_scope: String,
    /// The signed id of the message, if the scheme signs one.
    pub(crate) message_id: Option<String>,
    /// The signed time of the attempt, in Unix seconds.
    pub(crate) attempted_at: Option<i64>,
    /// The time of the event in Unix seconds, if the headers sign it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) event_time: Option<i64>,
    /// The label of the secret that verified the delivery.
    pub(crate) secret: String,
    /// The path of the request, without its query.
    pub(crate) path: String,
    pub(crate) content_type: Option<String>,
    /// The time of the first earlier delivery of the same bytes in Unix seconds, and their number.
    pub(crate) possible_duplicate: Option<(i64, u64)>,
    /// The unsigned headers that options of the provider read. Absent for all other providers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unsigned: Option<Box<StoredUnsigned>>,
}

/// A stored delivery: its head and its body.
#[derive(Clone)]
pub(crate) struct StoredRecord {
    pub(crate) head: StoredHead,
    pub(crate) body: Bytes,
}

const VERSION: u8 = 1;

/// The maximum length of a head. The texts of a delivery's head together are shorter than a third of it.
const LONGEST_HEAD: usize = 64 * 1024;

impl StoredRecord {
    /// Encodes and seals a delivery, in one buffer. Apart from each other, its body would be in memory three times.
    pub(crate) fn seal(&self, sealer: &Sealer, to: Binding<'_>) -> Result<Vec<u8>, StoreError> {
        sealer.seal(SealedPart::Body, to, &[&self.encode_head()?, &self.body])
    }

    /// Encodes all that comes before the body, which follows as it is.
    fn encode_head(&self) -> Result<Vec<u8>, StoreError> {
        let failed = |what| StoreError::unavailable(format!("the inbox cannot encode the delivery: {what}"));
        let head = serde_json::to_vec(&self.head).map_err(|_| failed("its head is no JSON"))?;
        let length = u32::try_from(head.len()).ok().filter(|_| head.len() <= LONGEST_HEAD);
        let length = length.ok_or_else(|| failed("its head is too long"))?;
        Ok([&[VERSION][..], &length.to_be_bytes(), &head].concat())
    }

    pub(crate) fn decode(encoded: Bytes) -> Result<Self, Unsealable> {
        let (&version, rest) = encoded.split_first().ok_or(Unsealable::Damaged)?;
        if version != VERSION {
            return Err(Unsealable::Unsupported);
        }
        let (length, rest) = rest.split_first_chunk::<4>().ok_or(Unsealable::Damaged)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| Unsealable::Damaged)?;
        if length > LONGEST_HEAD {
            return Err(Unsealable::Damaged);
        }
        let (head, _) = rest.split_at_checked(length).ok_or(Unsealable::Damaged)?;
        let head = serde_json::from_slice(head).map_err(|_| Unsealable::Damaged)?;
        Ok(StoredRecord { head, body: encoded.slice(PREFIX.saturating_add(length)..) })
    }

    /// Opens and decodes the body of an event, in its own buffer if it has no clones.
    pub(crate) fn open(sealer: &Sealer, to: Binding<'_>, sealed: Bytes) -> Result<(Self, FromInbox), Unsealable> {
        let opened = sealer.open_in_place(SealedPart::Body, to, sealed)?;
        Ok((StoredRecord::decode(opened)?, FromInbox::opened()))
    }
}

/// The length of the version and of the length of the head.
const PREFIX: usize = 5;

pub(crate) fn id_from_name(id_from: IdFrom) -> &'static str {
    match id_from {
        IdFrom::Body => "body",
        IdFrom::Header => "header",
        IdFrom::UnsignedHeader => "unsigned_header",
        IdFrom::Own => "own",
        IdFrom::Bytes => "bytes",
        IdFrom::Nothing => "nothing",
    }
}

pub(crate) fn signature_scope_name(scope: SignatureScope) -> &'static str {
    match scope {
        SignatureScope::BodyAndTime => "body_and_time",
        SignatureScope::Body => "body",
        SignatureScope::SenderOnly => "sender_only",
    }
}

impl StoredHead {
    /// Returns the source of the id, or `None` if a later version has more sources.
    pub(crate) fn id_from(&self) -> Option<IdFrom> {
        let all = [IdFrom::Body, IdFrom::Header, IdFrom::UnsignedHeader, IdFrom::Own, IdFrom::Bytes, IdFrom::Nothing];
        all.into_iter().find(|id_from| id_from_name(*id_from) == self.id_from)
    }

    /// Returns the scope of the signature, or `None` if a later version has more scopes.
    pub(crate) fn signature_scope(&self) -> Option<SignatureScope> {
        let all = [SignatureScope::BodyAndTime, SignatureScope::Body, SignatureScope::SenderOnly];
        all.into_iter().find(|scope| signature_scope_name(*scope) == self.signature_scope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl StoredRecord {
        fn encode(&self) -> Result<Vec<u8>, StoreError> {
            Ok([&self.encode_head()?, &self.body[..]].concat())
        }
    }

    fn record() -> StoredRecord {
        let head = StoredHead {
            event_key: [7; 32],
            recurring_body: Some([8; 32]),
            id_from: id_from_name(IdFrom::Nothing).to_owned(),
            signature_scope: signature_scope_name(SignatureScope::SenderOnly).to_owned(),
            message_id: Some("msg_\"1\"".to_owned()),
            attempted_at: Some(i64::MIN),
            event_time: Some(1),
            secret: "2026".to_owned(),
            path: "/webhooks/acme".to_owned(),
            content_type: Some("application/json".to_owned()),
            possible_duplicate: Some((i64::MAX, u64::MAX)),
            unsigned: Some(Box::new(StoredUnsigned { kind: Some("ready".to_owned()), ..StoredUnsigned::default() })),
        };
        StoredRecord { head, body: Bytes::from_static(b"{\"id\":1}") }
    }

    fn same(one: &StoredRecord, other: &StoredRecord) -> bool {
        one.head == other.head && one.body == other.body
    }

    #[test]
    fn a_record_is_decoded_as_it_was_encoded() {
        let minimal = StoredHead {
            recurring_body: None,
            message_id: None,
            attempted_at: None,
            event_time: None,
            content_type: None,
            possible_duplicate: None,
            unsigned: None,
            ..record().head
        };
        for record in [record(), StoredRecord { head: minimal, body: Bytes::new() }] {
            let decoded = StoredRecord::decode(record.encode().unwrap().into()).unwrap();
            assert!(same(&record, &decoded));
        }
    }

    /// Stored events outlive the version that stored them.
    #[test]
    fn records_of_version_1_are_decoded() {
        let head = br#"{"event_key":[7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7],
            "recurring_body":null,"id_from":"body","signature_scope":"body_and_time","message_id":"msg_1",
            "attempted_at":1700000000,"secret":"2026","path":"/","content_type":null,"possible_duplicate":null}"#;
        let encoded = [&[1][..], &(head.len() as u32).to_be_bytes(), head, b"body"].concat();
        let record = StoredRecord::decode(encoded.into()).unwrap();
        assert_eq!((record.head.id_from(), &record.body[..]), (Some(IdFrom::Body), &b"body"[..]));
        assert_eq!(record.head.signature_scope(), Some(SignatureScope::BodyAndTime));
    }

    #[test]
    fn every_source_of_an_id_and_every_scope_has_a_name_that_is_read_again() {
        let [body, header, unsigned] = [IdFrom::Body, IdFrom::Header, IdFrom::UnsignedHeader];
        for id_from in [body, header, unsigned, IdFrom::Own, IdFrom::Bytes, IdFrom::Nothing] {
            let head = StoredHead { id_from: id_from_name(id_from).to_owned(), ..record().head };
            assert_eq!(head.id_from(), Some(id_from));
        }
        for scope in [SignatureScope::BodyAndTime, SignatureScope::Body, SignatureScope::SenderOnly] {
            let head = StoredHead { signature_scope: signature_scope_name(scope).to_owned(), ..record().head };
            assert_eq!(head.signature_scope(), Some(scope));
        }
        let head = StoredHead { id_from: "later".into(), signature_scope: "later".into(), ..record().head };
        assert_eq!((head.id_from(), head.signature_scope()), (None, None));
    }

    #[test]
    fn a_record_of_another_version_is_unsupported() {
        for version in (0..=u8::MAX).filter(|version| *version != VERSION) {
            let mut encoded = record().encode().unwrap();
            encoded[0] = version;
            assert_eq!(StoredRecord::decode(encoded.into()).err(), Some(Unsealable::Unsupported));
        }
    }

    #[test]
    fn a_record_that_ends_within_its_head_is_damaged() {
        let encoded = Bytes::from(record().encode().unwrap());
        let head_ends = encoded.len() - record().body.len();
        for length in 0..head_ends {
            let decoded = StoredRecord::decode(encoded.slice(..length));
            assert_eq!(decoded.err(), Some(Unsealable::Damaged), "{length} bytes");
        }
        assert!(StoredRecord::decode(encoded.slice(..head_ends)).unwrap().body.is_empty());
    }

    #[test]
    fn a_head_that_is_too_long_is_neither_encoded_nor_decoded() {
        let head = StoredHead { secret: "x".repeat(LONGEST_HEAD), ..record().head };
        assert!(StoredRecord { head, body: Bytes::new() }.encode().is_err());
        // All of it is there, and is JSON.
        let padding = [&b" ".repeat(LONGEST_HEAD)[..], &serde_json::to_vec(&record().head).unwrap()].concat();
        let encoded = [&[VERSION][..], &(padding.len() as u32).to_be_bytes(), &padding].concat();
        assert_eq!(StoredRecord::decode(encoded.into()).err(), Some(Unsealable::Damaged));
    }

    #[test]
    fn the_longest_head_is_encoded_and_decoded() {
        let shorter = StoredRecord { body: Bytes::new(), ..record() }.encode().unwrap().len() - PREFIX;
        let head = |length| StoredHead { secret: "x".repeat(length) + &record().head.secret, ..record().head };
        let longest = StoredRecord { head: head(LONGEST_HEAD - shorter), ..record() };
        let encoded = longest.encode().unwrap();
        assert_eq!(encoded.len(), PREFIX + LONGEST_HEAD + record().body.len());
        assert!(same(&longest, &StoredRecord::decode(encoded.into()).unwrap()));
        assert!(StoredRecord { head: head(LONGEST_HEAD - shorter + 1), ..record() }.encode().is_err());
    }

    /// Random bytes, and records with one byte changed: decoding may fail, and never panics.
    #[test]
    fn any_bytes_are_decoded_or_rejected() {
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize
        };
        let encoded = record().encode().unwrap();
        for round in 0..20_000 {
            let mut bytes = match round % 2 {
                0 => (0..random() % 64).map(|_| random() as u8).collect(),
                _ => encoded.clone(),
            };
            if let Some(length) = bytes.len().checked_sub(1) {
                bytes[random() % (length + 1)] = random() as u8;
                bytes[0] = if round % 4 < 2 { VERSION } else { bytes[0] };
            }
            let length = bytes.len();
            if let Ok(record) = StoredRecord::decode(bytes.into()) {
                assert!(record.body.len() < length);
            }
        }
    }
}
