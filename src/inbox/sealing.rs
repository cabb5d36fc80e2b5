//! Encryption of what an inbox stores.
//!
//! A sealed text is `01 | key id (4) | salt (16) | nonce (12) | ciphertext | tag (16)`, a text in clear `00 | text`.
//! The cipher is AES-256-GCM. Each text has a key of its own: the KDF of NIST SP 800-108 in counter mode, with
//! HMAC-SHA256, over the salt. So the number of texts under one key of the ring is not limited by the length of the
//! nonce. The associated data binds a text to its row.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::fmt;
use std::ops::Range;

use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{Aes256Gcm, KeyInit, Nonce, Tag};
use bytes::Bytes;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::keyring::{KeyId, Keyring, RingKey, shown};
use crate::claim_token::ClaimToken;
use crate::error::StoreError;
use crate::event_key::EventKey;

/// Whether the bodies in an inbox are sealed.
#[derive(Debug, Clone)]
pub struct Bodies(pub(crate) Option<Keyring>, pub(super) AcceptsPlaintext);

/// Whether an inbox with keys opens texts in clear.
type AcceptsPlaintext = bool;

impl Bodies {
    /// Returns whether bodies are stored in clear.
    #[cfg(feature = "sqlite")]
    pub(super) fn are_in_clear(&self) -> bool {
        self.0.is_none()
    }

    /// Seals bodies and event keys with the first key of the ring: AES-256-GCM, with a key for each body.
    ///
    /// An inbox that was opened with keys once can only be opened with keys.
    #[must_use]
    pub fn sealed(keys: Keyring) -> Self {
        Bodies(Some(keys), false)
    }

    /// Accepts events in clear, too, that were stored before the inbox had keys. Call
    /// [`Inbox::rekey`](super::Inbox::rekey) to seal them, and then remove this: as long as it is set, a client with
    /// write access to the database can forge events.
    #[must_use]
    pub fn accept_plaintext(mut self) -> Self {
        self.1 = true;
        self
    }

    /// Stores bodies in clear. Health data is then readable in the database's files, logs and backups, and a client
    /// with write access to the database can forge events.
    #[must_use]
    pub fn plaintext() -> Self {
        Bodies(None, true)
    }
}

/// The row that a sealed text is bound to.
#[derive(Clone, Copy)]
pub(crate) struct Binding<'a> {
    pub(crate) endpoint: &'a str,
    pub(crate) row_key: &'a [u8; 32],
    pub(crate) stored_by: &'a ClaimToken,
}

/// The part of a row that is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SealedPart {
    Body,
    EventKey,
}

/// Seals and opens what an inbox stores.
pub(crate) struct Sealer {
    /// `None` for an inbox in clear.
    ring: Option<Ring>,
}

struct Ring {
    keys: Keyring,
    digests: DigestKey,
    accepts_plaintext: AcceptsPlaintext,
}

/// The key of the digests by which rows are found: the content of a [record of a
/// key](crate::dedupe::inbox::store::KeyRecord).
#[derive(Clone, PartialEq, Eq)]
pub(super) struct DigestKey(Zeroizing<[u8; 32]>);

/// The reason why a text was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsealable {
    /// It is sealed under a key that is not on the ring. The right key may be configured later.
    UnknownKey(KeyId),
    /// It is in clear, and the inbox does not [accept](Bodies::accept_plaintext) that.
    InClear,
    /// It was changed, or belongs to another row.
    Damaged,
    /// It has a version that this version of the library does not know.
    Unsupported,
    /// It was verified as an event of another provider, which its endpoint had then.
    OtherProvider,
}

impl fmt::Display for Unsealable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unsealable::UnknownKey(id) => {
                write!(f, "it is sealed under key {}, which is not among the configured keys; add it", shown(*id))
            }
            Unsealable::InClear => f.write_str(
                "it is in clear; if it was stored before the inbox had keys, open the inbox with \
                 Bodies::accept_plaintext and rekey it",
            ),
            Unsealable::Damaged => f.write_str("it was changed or truncated, or belongs to another event"),
            Unsealable::Unsupported => f.write_str("a later version of medhook stored it, or it was changed"),
            Unsealable::OtherProvider => f.write_str(
                "its endpoint had another provider when it was stored; give an endpoint of this name that provider \
                 again, or discard the event",
            ),
        }
    }
}

impl Sealer {
    /// Returns the sealer of an inbox in clear.
    pub(super) fn in_clear() -> Self {
        Sealer { ring: None }
    }

    pub(super) fn new(keys: Keyring, digests: DigestKey, accepts_plaintext: AcceptsPlaintext) -> Self {
        Sealer { ring: Some(Ring { keys, digests, accepts_plaintext }) }
    }

    /// Seals a text, which is given in parts.
    pub(crate) fn seal(&self, part: SealedPart, to: Binding<'_>, text: &[&[u8]]) -> Result<Vec<u8>, StoreError> {
        match &self.ring {
            Some(ring) => seal(ring.keys.first(), &associated(part, to), text),
            None => {
                let mut stored = buffer(1, text);
                stored.push(IN_CLEAR);
                text.iter().for_each(|part| stored.extend_from_slice(part));
                Ok(stored)
            }
        }
    }

    pub(crate) fn open(&self, part: SealedPart, to: Binding<'_>, sealed: &[u8]) -> Result<Bytes, Unsealable> {
        self.open_in_place(part, to, Bytes::copy_from_slice(sealed))
    }

    /// Opens a text in the buffer that has it sealed, unless that has clones.
    pub(crate) fn open_in_place(&self, part: SealedPart, to: Binding<'_>, sealed: Bytes) -> Result<Bytes, Unsealable> {
        match (sealed.first(), &self.ring) {
            (Some(&IN_CLEAR), Some(ring)) if !ring.accepts_plaintext => Err(Unsealable::InClear),
            (Some(&IN_CLEAR), _) => Ok(sealed.slice(1..)),
            (_, Some(ring)) => {
                let mut text = Vec::from(sealed);
                let place = open(&ring.keys, &associated(part, to), &mut text)?;
                Ok(Bytes::from(text).slice(place))
            }
            (_, None) => Err(Unsealable::UnknownKey(key_id(&sealed)?)),
        }
    }

    /// Returns the key of an event's row: a keyed digest of the event key. In clear, the event key itself.
    pub(crate) fn row_key(&self, event_key: &EventKey) -> [u8; 32] {
        match &self.ring {
            Some(ring) => mac(&ring.digests.0, &[b"medhook inbox row 1", event_key.as_bytes()]),
            None => *event_key.as_bytes(),
        }
    }

    /// Returns the key ring. `None` for an inbox in clear.
    pub(super) fn keys(&self) -> Option<&Keyring> {
        self.ring.as_ref().map(|ring| &ring.keys)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("keys", &self.keys()).finish_non_exhaustive()
    }
}

impl DigestKey {
    /// Creates the random key of an inbox that has none.
    pub(super) fn random() -> Result<Self, StoreError> {
        let mut key = Zeroizing::new([0; 32]);
        random(&mut *key)?;
        Ok(DigestKey(key))
    }

    pub(super) fn seal(&self, under: &RingKey) -> Result<Vec<u8>, StoreError> {
        seal(under, RECORD, &[&*self.0])
    }

    pub(super) fn open(keys: &Keyring, sealed: &[u8]) -> Result<Self, Unsealable> {
        let mut text = Zeroizing::new(sealed.to_vec());
        let place = open(keys, RECORD, &mut text)?;
        let key = text.get(place).and_then(|key| <&[u8; 32]>::try_from(key).ok()).ok_or(Unsealable::Damaged)?;
        Ok(DigestKey(Zeroizing::new(*key)))
    }
}

const IN_CLEAR: u8 = 0;
const SEALED: u8 = 1;

/// The associated data of records of keys. Those of rows begin with a length.
const RECORD: &[u8] = b"medhook inbox key record 1";

/// The length of the fields before the ciphertext.
const HEAD: usize = 1 + 4 + 16 + 12;

/// The length of the tag, after the ciphertext.
const TAG: usize = 16;

/// Returns the id of the key that a text is sealed under.
pub(super) fn key_id(sealed: &[u8]) -> Result<KeyId, Unsealable> {
    match sealed.split_first() {
        Some((&SEALED, rest)) => rest.first_chunk().copied().ok_or(Unsealable::Damaged),
        Some(_) => Err(Unsealable::Unsupported),
        None => Err(Unsealable::Damaged),
    }
}

/// Returns the associated data of a part of a row. Fields whose length varies come with their length.
fn associated(part: SealedPart, to: Binding<'_>) -> Vec<u8> {
    let part: &[u8] = match part {
        SealedPart::Body => b"medhook inbox body 1",
        SealedPart::EventKey => b"medhook inbox event key 1",
    };
    let length = |field: &[u8]| (field.len() as u64).to_be_bytes();
    let endpoint = to.endpoint.as_bytes();
    [&length(part)[..], part, &length(endpoint), endpoint, to.row_key, to.stored_by.as_bytes()].concat()
}

fn seal(key: &RingKey, associated: &[u8], text: &[&[u8]]) -> Result<Vec<u8>, StoreError> {
    let (mut salt, mut nonce) = ([0; 16], [0; 12]);
    random(&mut salt)?;
    random(&mut nonce)?;
    seal_with(key, salt, nonce, associated, text)
}

fn seal_with(
    key: &RingKey,
    salt: [u8; 16],
    nonce: [u8; 12],
    associated: &[u8],
    text: &[&[u8]],
) -> Result<Vec<u8>, StoreError> {
    let mut sealed = buffer(HEAD + TAG, text);
    let head = [&[SEALED], &key.id[..], &salt, &nonce];
    head.iter().chain(text).for_each(|part| sealed.extend_from_slice(part));
    let tag = cipher(key, &salt).encrypt_inout_detached(
        &Nonce::from(nonce),
        associated,
        InOutBuf::from(sealed.get_mut(HEAD..).unwrap_or_default()),
    );
    let tag = tag.map_err(|_| StoreError::unavailable("inbox: the body is too long to be sealed"))?;
    sealed.extend_from_slice(&tag);
    Ok(sealed)
}

/// Returns an empty buffer for a text and `more` bytes.
fn buffer(more: usize, text: &[&[u8]]) -> Vec<u8> {
    Vec::with_capacity(text.iter().fold(more, |length, part| length.saturating_add(part.len())))
}

type Parts<'s> = (&'s [u8; 16], &'s [u8; 12], &'s mut [u8], &'s [u8; TAG]);

/// Returns the salt, the nonce, the ciphertext and the tag.
fn parts(sealed: &mut [u8]) -> Option<Parts<'_>> {
    let (_, rest) = sealed.split_first_chunk_mut::<5>()?;
    let (salt, rest) = rest.split_first_chunk_mut::<16>()?;
    let (nonce, rest) = rest.split_first_chunk_mut::<12>()?;
    let (text, tag) = rest.split_last_chunk_mut::<TAG>()?;
    Some((salt, nonce, text, tag))
}

/// Opens a text in its buffer, and returns its place there.
fn open(keys: &Keyring, associated: &[u8], sealed: &mut [u8]) -> Result<Range<usize>, Unsealable> {
    let id = key_id(sealed)?;
    let ends = sealed.len().checked_sub(TAG).ok_or(Unsealable::Damaged)?;
    let (salt, nonce, text, tag) = parts(sealed).ok_or(Unsealable::Damaged)?;
    let key = keys.get(id).ok_or(Unsealable::UnknownKey(id))?;
    cipher(key, salt)
        .decrypt_inout_detached(&Nonce::from(*nonce), associated, InOutBuf::from(text), &Tag::from(*tag))
        .map_err(|_| Unsealable::Damaged)?;
    Ok(HEAD..ends)
}

/// Returns the cipher of one text. The input of the KDF is `[1] | label | 0 | salt | [256]`.
fn cipher(key: &RingKey, salt: &[u8; 16]) -> Aes256Gcm {
    let input: [&[u8]; 5] = [&1_u32.to_be_bytes(), b"medhook inbox 1", &[0], salt, &256_u32.to_be_bytes()];
    let derived = Zeroizing::new(mac(&key.bytes, &input));
    Aes256Gcm::new((&*derived).into())
}

fn mac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    // HMAC pads its key with zeros to a block.
    let mut block = Zeroizing::new([0; 64]);
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    let mut mac = Hmac::<Sha256>::new((&*block).into());
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

fn random(bytes: &mut [u8]) -> Result<(), StoreError> {
    getrandom::fill(bytes).map_err(|error| {
        StoreError::unavailable("inbox: cannot read from the system random number generator").with_source(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::keyring::tests::ring;

    fn sealer(keys: Keyring) -> Sealer {
        Sealer::new(keys, DigestKey(Zeroizing::new(std::array::from_fn(|at| 0x60 + at as u8))), false)
    }

    const BY: ClaimToken = ClaimToken::from_bytes([0x33; 16]);
    const TO: Binding<'_> = Binding { endpoint: "fasten", row_key: &[0x22; 32], stored_by: &BY };

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Stored texts outlive the version that sealed them. The expected ones were computed by the Python package
    /// `cryptography` 48 (KBKDFHMAC and AESGCM) from the description at the top of this file.
    #[test]
    fn a_sealed_text_and_a_row_key_are_the_known_ones() {
        let ring = ring(&[0]);
        let (salt, nonce) = (std::array::from_fn(|at| 0x40 + at as u8), std::array::from_fn(|at| 0x50 + at as u8));
        let text = b"{\"event\":\"x\"}";
        let sealed = seal_with(ring.first(), salt, nonce, &associated(SealedPart::Body, TO), &[text]).unwrap();
        assert_eq!(
            hex(&sealed),
            "01f46b9539404142434445464748494a4b4c4d4e4f505152535455565758595a5bec924ca566c8800b7b6ed9e16b8afebbee03647c2a\
             a93762c49020a666"
        );
        let sealer = sealer(ring);
        assert_eq!(sealer.open(SealedPart::Body, TO, &sealed).unwrap(), text[..]);
        let row_key = sealer.row_key(&EventKey::from_bytes([0x44; 32]));
        assert_eq!(hex(&row_key), "cf379b41204cdc4d4d6ce24b0b6195d841b1c2e8efb5d33e5fb583a3483e8338");
    }

    #[test]
    fn a_sealed_text_is_opened_and_equal_texts_are_sealed_differently() {
        let sealer = sealer(ring(&[0]));
        for length in [0, 1, 15, 16, 17, 4096, 1 << 20] {
            let text = vec![7; length];
            let (one, other) = (
                sealer.seal(SealedPart::Body, TO, &[&text]).unwrap(),
                sealer.seal(SealedPart::Body, TO, &[&text]).unwrap(),
            );
            assert_eq!(sealer.open(SealedPart::Body, TO, &one).unwrap(), text);
            assert_eq!(one.len(), length + HEAD + 16);
            // Version and key id are equal, salt and nonce are not.
            assert_eq!(one[..5], other[..5]);
            assert_ne!(one[5..21], other[5..21]);
            assert_ne!(one[21..33], other[21..33]);
        }
    }

    #[test]
    fn a_text_of_another_row_or_part_is_damaged() {
        let sealer = sealer(ring(&[0]));
        let sealed = sealer.seal(SealedPart::Body, TO, &[b"text"]).unwrap();
        let by = ClaimToken::from_bytes([0x34; 16]);
        for (part, to) in [
            (SealedPart::EventKey, TO),
            (SealedPart::Body, Binding { endpoint: "faste", ..TO }),
            (SealedPart::Body, Binding { row_key: &[0x23; 32], ..TO }),
            (SealedPart::Body, Binding { stored_by: &by, ..TO }),
        ] {
            assert_eq!(sealer.open(part, to, &sealed), Err(Unsealable::Damaged));
        }
        assert!(DigestKey::open(sealer.keys().unwrap(), &sealed).is_err());
        assert_eq!(sealer.open(SealedPart::Body, TO, &sealed).unwrap(), "text");
    }

    #[test]
    fn a_truncated_text_and_a_changed_byte_are_never_opened() {
        let ring = ring(&[0]);
        let sealer = sealer(ring.clone());
        let sealed = sealer.seal(SealedPart::Body, TO, &[b"a text"]).unwrap();
        for length in 0..sealed.len() {
            assert_eq!(
                sealer.open(SealedPart::Body, TO, &sealed[..length]),
                Err(Unsealable::Damaged),
                "{length} bytes"
            );
        }
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut changed = sealed.clone();
                changed[at] ^= 1 << bit;
                let expected = match at {
                    0 if bit == 0 => Unsealable::InClear,
                    0 => Unsealable::Unsupported,
                    1..5 => Unsealable::UnknownKey(changed[1..5].try_into().unwrap()),
                    _ => Unsealable::Damaged,
                };
                assert_eq!(sealer.open(SealedPart::Body, TO, &changed), Err(expected), "bit {bit} of byte {at}");
            }
        }
        let record = DigestKey::random().unwrap().seal(ring.first()).unwrap();
        for length in 0..record.len() {
            assert!(DigestKey::open(&ring, &record[..length]).is_err(), "{length} bytes");
        }
    }

    /// Random bytes of every length, with each version: opening may fail, and never panics.
    #[test]
    fn any_bytes_are_rejected_without_a_panic() {
        let (sealer, in_clear) = (sealer(ring(&[0])), Sealer::in_clear());
        for length in 0..200 {
            let mut bytes = vec![0; length];
            getrandom::fill(&mut bytes).unwrap();
            // A known key, so that what follows is read.
            bytes.iter_mut().skip(1).zip(ring(&[0]).first().id).for_each(|(to, from)| *to = from);
            for version in 0..=u8::MAX {
                if let Some(first) = bytes.first_mut() {
                    *first = version;
                }
                assert!(sealer.open(SealedPart::Body, TO, &bytes).is_err());
                assert_eq!(in_clear.open(SealedPart::Body, TO, &bytes).is_ok(), bytes.first() == Some(&0));
            }
        }
    }

    #[test]
    fn the_first_key_seals_and_every_key_opens() {
        let old = sealer(ring(&[1])).seal(SealedPart::Body, TO, &[b"old"]).unwrap();
        let both = sealer(ring(&[0, 1]));
        let new = both.seal(SealedPart::Body, TO, &[b"new"]).unwrap();
        assert_eq!(both.open(SealedPart::Body, TO, &old).unwrap(), "old");
        let id = ring(&[0]).first().id;
        assert_eq!(key_id(&new), Ok(id));
        assert_eq!(sealer(ring(&[1])).open(SealedPart::Body, TO, &new), Err(Unsealable::UnknownKey(id)));
        assert_eq!(Sealer::in_clear().open(SealedPart::Body, TO, &new), Err(Unsealable::UnknownKey(id)));
    }

    #[test]
    fn text_in_clear_is_opened_by_an_inbox_with_keys_only_if_it_accepts_that() {
        let stored = Sealer::in_clear().seal(SealedPart::Body, TO, &[b"text"]).unwrap();
        assert_eq!(stored, b"\0text");
        assert_eq!(Sealer::in_clear().open(SealedPart::Body, TO, &stored).unwrap(), "text");
        let opened = |accepts_plaintext| {
            let digests = DigestKey::random().unwrap();
            Sealer::new(ring(&[0]), digests, accepts_plaintext).open(SealedPart::Body, TO, &stored)
        };
        assert_eq!(opened(true).unwrap(), "text");
        assert_eq!(opened(false), Err(Unsealable::InClear));
    }

    #[test]
    fn debug_and_messages_show_no_key() {
        let ring = ring(&[0]);
        let shown = format!("{:?} {:?}", sealer(ring.clone()), Bodies::sealed(ring.clone()));
        assert!(shown.contains("key-0 (f46b9539)"), "{shown}");
        let bytes = format!("{:?}", &*ring.first().bytes);
        assert!(!shown.contains(&bytes[1..20]) && !shown.contains("AAECAwQ"), "{shown}");
        assert!(Unsealable::UnknownKey(ring.first().id).to_string().contains("key f46b9539"));
    }
}
