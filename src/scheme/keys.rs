//! Keyed MACs: initialized once when a receiver is built, and cloned for each delivery.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::secret::SHORT;
use crate::{ConfigError, Reason, Secret, Secrets};

type HmacSha256 = Hmac<Sha256>;

/// A SHA-256 MAC.
pub(crate) type Tag = [u8; 32];

/// One to four keys, each with an initialized MAC.
pub(super) struct Keys(Vec<HmacKey>);

struct HmacKey {
    label: Arc<str>,
    mac: HmacSha256,
    short: bool,
}

impl Keys {
    /// Decodes each secret with `key`.
    pub(super) fn read(
        secrets: &Secrets,
        key: impl Fn(&Secret) -> Result<zeroize::Zeroizing<Vec<u8>>, String>,
    ) -> Result<Self, ConfigError> {
        let mut keys: Vec<(Arc<str>, zeroize::Zeroizing<Vec<u8>>)> = Vec::with_capacity(secrets.len());
        for secret in secrets.iter() {
            let label = secret.shared_label();
            let bytes = key(secret).map_err(|problem| ConfigError::new(format!("secret {label}: {problem}")))?;
            if bytes.is_empty() {
                return Err(ConfigError::new(format!("secret {label}: the key is empty")));
            }
            // Two texts can decode to the same key (with and without `whsec_`); then the second is not a rotation.
            if let Some((known, _)) = keys.iter().find(|(_, known)| *known == bytes) {
                return Err(ConfigError::new(format!("secret {label} is the same key as secret {known}")));
            }
            keys.push((label, bytes));
        }
        let keyed = keys.into_iter().map(|(label, bytes)| {
            let mac = HmacSha256::new_from_slice(&bytes)
                .map_err(|error| ConfigError::new(format!("secret {label} is not an HMAC key")).with_source(error))?;
            Ok(HmacKey { label, mac, short: bytes.len() < SHORT })
        });
        keyed.collect::<Result<Vec<_>, ConfigError>>().map(Keys)
    }

    /// The keys of a scheme without MACs.
    pub(super) const NONE: &Keys = &Keys(Vec::new());

    pub(super) fn label(&self, index: usize) -> Option<&Arc<str>> {
        self.0.get(index).map(|key| &key.label)
    }

    /// Returns the MAC of a message under the first key, which is the signing key.
    #[cfg(feature = "sign")]
    pub(super) fn sign<const PARTS: usize>(&self, before_body: [&[u8]; PARTS], body: &[u8]) -> Option<Tag> {
        let mut mac = begun(self.0.first()?, before_body);
        mac.update(body);
        Some(mac.finalize().into_bytes().into())
    }

    pub(super) fn short(&self) -> Vec<&str> {
        self.0.iter().filter(|key| key.short).map(|key| &*key.label).collect()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| &key.label)).finish()
    }
}

/// The message of a delivery, to be hashed under every key: parts of the headers, then the body.
///
/// A body in one piece is hashed at the end, key by key, and needs no allocation. Only a body in several pieces has a
/// MAC in progress for each key. The keys are passed to each step, and must be the same ones.
pub(super) struct KeyedMessage<'a, const PARTS: usize> {
    before_body: [&'a [u8]; PARTS],
    in_progress: Vec<HmacSha256>,
}

impl<'a, const PARTS: usize> KeyedMessage<'a, PARTS> {
    #[inline]
    pub(super) fn new(before_body: [&'a [u8]; PARTS]) -> Self {
        KeyedMessage { before_body, in_progress: Vec::new() }
    }

    /// Takes the next bytes of the body.
    pub(super) fn update(&mut self, keys: &Keys, bytes: &[u8]) {
        if self.in_progress.is_empty() {
            self.in_progress = keys.0.iter().map(|key| begun(key, self.before_body)).collect();
        }
        for mac in &mut self.in_progress {
            mac.update(bytes);
        }
    }

    /// Takes the last bytes of the body and returns the index of the first key whose MAC `matches`.
    ///
    /// The MACs of all keys are compared, so that timing does not reveal which key matched.
    #[inline]
    pub(super) fn first_match(
        self,
        keys: &Keys,
        rest: &[u8],
        matches: impl Fn(&Tag) -> Choice,
    ) -> Result<usize, Reason> {
        let hit = |mut mac: HmacSha256| {
            mac.update(rest);
            matches(&mac.finalize().into_bytes().into())
        };
        if self.in_progress.is_empty() {
            first(keys.0.iter().map(|key| hit(begun(key, self.before_body))))
        } else {
            first(self.in_progress.into_iter().map(hit))
        }
    }
}

#[inline]
fn begun<const PARTS: usize>(key: &HmacKey, before_body: [&[u8]; PARTS]) -> HmacSha256 {
    let mut mac = key.mac.clone();
    before_body.iter().for_each(|part| mac.update(part));
    mac
}

/// Returns the index of the first hit. Examines all of them, in constant time.
pub(super) fn first(hits: impl Iterator<Item = Choice>) -> Result<usize, Reason> {
    let mut found = Choice::from(0);
    let mut index = 0_u8;
    for (at, hit) in (0_u8..).zip(hits) {
        index.conditional_assign(&at, hit & !found);
        found |= hit;
    }
    if bool::from(found) { Ok(usize::from(index)) } else { Err(Reason::SignatureMismatch) }
}

/// Returns whether two texts are equal, in constant time.
#[inline]
pub(super) fn same<const LENGTH: usize>(ours: &[u8; LENGTH], theirs: &[u8; LENGTH]) -> Choice {
    same_as_any(ours, std::iter::once(theirs))
}

/// Returns whether a text is equal to any of the others, in constant time.
///
/// The differences are accumulated word by word and compared with zero once. [`subtle`]'s comparison of slices has an
/// optimization barrier for every byte, which takes 533 instructions (14 %) more in `verify` (`scripts/count`).
#[inline]
pub(super) fn same_as_any<'t, const LENGTH: usize>(
    ours: &[u8; LENGTH],
    theirs: impl Iterator<Item = &'t [u8; LENGTH]>,
) -> Choice {
    let all_differ = theirs.fold(1, |all_differ, theirs| all_differ & is_not_zero(difference(ours, theirs)));
    all_differ.ct_eq(&0)
}

/// Returns 1 for a number other than 0, without a branch: the number or its negative then has the highest bit set.
#[inline]
fn is_not_zero(number: u64) -> u64 {
    (number | number.wrapping_neg()).wrapping_shr(63)
}

/// Returns all differing bits, combined into one word.
#[inline]
fn difference<const LENGTH: usize>(ours: &[u8; LENGTH], theirs: &[u8; LENGTH]) -> u64 {
    let (our_words, our_rest) = ours.as_chunks::<8>();
    let (their_words, their_rest) = theirs.as_chunks::<8>();
    let words =
        our_words.iter().zip(their_words).map(|(our, their)| u64::from_ne_bytes(*our) ^ u64::from_ne_bytes(*their));
    let rest = our_rest.iter().zip(their_rest).map(|(our, their)| u64::from(our ^ their));
    words.chain(rest).fold(0, |different, bits| different | bits)
}

/// Computes HMAC-SHA256 over the concatenation of `parts`.
#[cfg(feature = "sign")]
pub(crate) fn hmac_tag(key: &[u8], parts: &[&[u8]]) -> Tag {
    match HmacSha256::new_from_slice(key) {
        Ok(mut mac) => {
            parts.iter().for_each(|part| mac.update(part));
            mac.finalize().into_bytes().into()
        }
        // Unreachable: HMAC accepts keys of any length.
        Err(_) => [0; 32],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheme::rfc_4231;

    #[test]
    fn a_difference_in_any_bit_is_found() {
        fn each_bit_of<const LENGTH: usize>() {
            let ours: [u8; LENGTH] = std::array::from_fn(|at| at as u8);
            assert!(bool::from(same(&ours, &ours)));
            for bit in 0..LENGTH * 8 {
                let mut theirs = ours;
                theirs[bit / 8] ^= 1 << (bit % 8);
                assert!(!bool::from(same(&ours, &theirs)), "bit {bit} of {LENGTH} bytes");
            }
        }
        each_bit_of::<32>();
        each_bit_of::<44>();
        each_bit_of::<7>();
    }

    #[test]
    fn two_differences_never_cancel_each_other() {
        let ours = [0_u8; 44];
        for one in 0..ours.len() {
            for other in 0..one {
                let mut theirs = ours;
                theirs[one] = 1;
                theirs[other] = 1;
                assert!(!bool::from(same(&ours, &theirs)), "bytes {one} and {other}");
            }
        }
    }

    #[test]
    fn an_equal_text_is_found_at_any_position() {
        let others: Vec<[u8; 44]> = (1..=4).map(|other| [other; 44]).collect();
        let found = |ours: u8| bool::from(same_as_any(&[ours; 44], others.iter()));
        assert_eq!([0, 1, 2, 3, 4, 5].map(found), [false, true, true, true, true, false]);
        assert!(!bool::from(same_as_any(&[0; 44], [].iter())), "no text is equal to none");
    }

    #[test]
    fn the_first_of_several_hits_is_returned() {
        let first = |hits: &[u8]| first(hits.iter().map(|hit| Choice::from(*hit)));
        for none in [&[][..], &[0], &[0, 0, 0]] {
            assert_eq!(first(none), Err(Reason::SignatureMismatch), "{none:?}");
        }
        for (hits, index) in [(&[1][..], 0), (&[1, 1, 0, 1], 0), (&[0, 1, 1], 1), (&[0, 0, 0, 1], 3)] {
            assert_eq!(first(hits), Ok(index), "{hits:?}");
        }
    }

    #[test]
    fn debug_shows_only_the_labels_of_keys() {
        let secrets = Secrets::new(crate::Secret::new("0123456789abcdef").unwrap().labeled("old").unwrap());
        let keys = Keys::read(&secrets, |secret| Ok(zeroize::Zeroizing::new(secret.text().into()))).unwrap();
        assert_eq!(format!("{keys:?}"), r#"["old"]"#);
    }

    #[test]
    fn macs_match_the_test_cases_of_rfc_4231() {
        let secrets = Secrets::new(crate::Secret::new("in place of the key").unwrap());
        for (key, data, wanted) in rfc_4231::CASES {
            let keys = Keys::read(&secrets, |_| Ok(zeroize::Zeroizing::new(key.into()))).unwrap();
            let is_wanted = |tag: &Tag| {
                let mut hex = [0; 64];
                Choice::from(u8::from(base16ct::lower::encode_str(tag, &mut hex).unwrap().starts_with(wanted)))
            };
            // In one piece, and split in two at every position.
            assert_eq!(KeyedMessage::new([]).first_match(&keys, data, is_wanted), Ok(0), "{wanted}");
            for cut in 0..=data.len() {
                let (before, after) = data.split_at(cut);
                assert_eq!(
                    KeyedMessage::new([before]).first_match(&keys, after, is_wanted),
                    Ok(0),
                    "{wanted} at {cut}"
                );
                let mut pushed = KeyedMessage::new([]);
                pushed.update(&keys, before);
                assert_eq!(pushed.first_match(&keys, after, is_wanted), Ok(0), "{wanted} pushed at {cut}");
            }
        }
    }

    #[cfg(feature = "sign")]
    #[test]
    fn parts_are_hashed_as_one_message() {
        let tag = hmac_tag(b"Jefe", &[b"what do ya want ", b"", b"for nothing?"]);
        assert_eq!(tag, hmac_tag(b"Jefe", &[b"what do ya want for nothing?"]));
    }
}
