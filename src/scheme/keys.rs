//! Keys: initialized once when a receiver is built, and cloned for each delivery.

use std::fmt;
use std::sync::Arc;

use hmac::block_api::HmacCore;
use hmac::digest::Output;
use hmac::digest::block_api::{Buffer, CoreProxy, EagerHash, FixedOutputCore, UpdateCore};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Sha256, Sha512};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroizing;

#[cfg(all(feature = "ed25519", feature = "sign"))]
use super::ed25519::PrivateKey;
#[cfg(feature = "ed25519")]
use super::ed25519::{PublicKey, SignaturesInProgress};
use crate::secret::SHORT;
use crate::{ConfigError, Reason, Secret, Secrets};

type HmacSha256 = Hmac<Sha256>;
type HmacSha512 = Hmac<Sha512>;

/// A SHA-256 MAC.
pub(crate) type Tag = [u8; 32];

/// The bytes of a key, decoded from the text of a secret.
pub(super) enum KeyMaterial {
    HmacSha256(Zeroizing<Vec<u8>>),
    HmacSha512(Zeroizing<Vec<u8>>),
    #[cfg(feature = "ed25519")]
    PublicKey([u8; 32]),
    /// A key that signs. A receiver does not accept it.
    #[cfg(feature = "ed25519")]
    PrivateKey(Zeroizing<[u8; 32]>),
}

impl KeyMaterial {
    fn bytes(&self) -> &[u8] {
        match self {
            KeyMaterial::HmacSha256(bytes) | KeyMaterial::HmacSha512(bytes) => bytes,
            #[cfg(feature = "ed25519")]
            KeyMaterial::PublicKey(bytes) => bytes,
            #[cfg(feature = "ed25519")]
            KeyMaterial::PrivateKey(bytes) => &**bytes,
        }
    }

    fn prepared(&self) -> Result<Prepared, String> {
        let invalid = |_| "is not an HMAC key".to_owned();
        Ok(match self {
            KeyMaterial::HmacSha256(bytes) => Prepared::Sha256(HmacCore::new_from_slice(bytes).map_err(invalid)?),
            KeyMaterial::HmacSha512(bytes) => {
                Prepared::Sha512(Box::new(HmacCore::new_from_slice(bytes).map_err(invalid)?))
            }
            #[cfg(feature = "ed25519")]
            KeyMaterial::PublicKey(bytes) => Prepared::PublicKey(Box::new(PublicKey::new(bytes)?)),
            #[cfg(all(feature = "ed25519", feature = "sign"))]
            KeyMaterial::PrivateKey(bytes) => Prepared::PrivateKey(Box::new(PrivateKey::new(bytes))),
            #[cfg(all(feature = "ed25519", not(feature = "sign")))]
            KeyMaterial::PrivateKey(_) => return Err("is a private key, which needs the feature `sign`".to_owned()),
        })
    }
}

/// One to four keys.
pub(super) struct Keys(Vec<Key>);

struct Key {
    label: Arc<str>,
    prepared: Prepared,
    short: bool,
}

/// A key that is ready to be used.
enum Prepared {
    Sha256(HmacCore<Sha256>),
    Sha512(Box<HmacCore<Sha512>>),
    #[cfg(feature = "ed25519")]
    PublicKey(Box<PublicKey>),
    #[cfg(all(feature = "ed25519", feature = "sign"))]
    PrivateKey(Box<PrivateKey>),
}

/// The use of keys: a receiver verifies, a sender signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyUse {
    Verify,
    #[cfg(feature = "sign")]
    Sign,
}

impl Keys {
    /// Decodes each secret with `decode`.
    pub(super) fn read(
        secrets: &Secrets,
        key_use: KeyUse,
        decode: impl Fn(&Secret) -> Result<KeyMaterial, String>,
    ) -> Result<Self, ConfigError> {
        let mut keys: Vec<(Arc<str>, KeyMaterial)> = Vec::with_capacity(secrets.len());
        for secret in secrets.iter() {
            let label = secret.shared_label();
            let wrong = |problem: String| ConfigError::new(format!("secret {label}: {problem}"));
            let key = decode(secret).and_then(|key| key.usable(key_use)).map_err(wrong)?;
            if key.bytes().is_empty() {
                return Err(wrong("the key is empty".to_owned()));
            }
            // Two texts can decode to the same key (with and without `whsec_`); then the second is not a rotation.
            if let Some((known, _)) = keys.iter().find(|(_, known)| known.bytes() == key.bytes()) {
                return Err(ConfigError::new(format!("secret {label} is the same key as secret {known}")));
            }
            keys.push((label, key));
        }
        let keyed = keys.into_iter().map(|(label, key)| {
            let prepared = key.prepared();
            let prepared = prepared.map_err(|problem| ConfigError::new(format!("secret {label} {problem}")))?;
            Ok(Key { short: key.bytes().len() < SHORT, label, prepared })
        });
        keyed.collect::<Result<Vec<_>, ConfigError>>().map(Keys)
    }

    pub(super) fn label(&self, index: usize) -> Option<&Arc<str>> {
        self.0.get(index).map(|key| &key.label)
    }

    /// Returns the signature of a message under the first key, which is the signing key.
    #[cfg(feature = "sign")]
    pub(super) fn sign<'p>(&self, parts: impl Iterator<Item = &'p [u8]> + Clone) -> Option<Vec<u8>> {
        match &self.0.first()?.prepared {
            Prepared::Sha256(key) => Some(mac(key, parts).to_vec()),
            Prepared::Sha512(key) => Some(mac(key, parts).to_vec()),
            #[cfg(feature = "ed25519")]
            Prepared::PublicKey(_) => None,
            #[cfg(all(feature = "ed25519", feature = "sign"))]
            Prepared::PrivateKey(key) => Some(key.sign(parts).to_vec()),
        }
    }

    /// Returns the HMAC-SHA256 of a text under the first key, if it is an HMAC-SHA256 key.
    pub(super) fn sha256_mac(&self, text: &[u8]) -> Option<Tag> {
        match &self.0.first()?.prepared {
            Prepared::Sha256(key) => Some(mac(key, std::iter::once(text)).into()),
            _ => None,
        }
    }

    /// Returns whether the first key signs with Ed25519.
    #[cfg(feature = "sign")]
    pub(super) fn signs_with_ed25519(&self) -> bool {
        #[cfg(feature = "ed25519")]
        return self.0.first().is_some_and(|key| matches!(key.prepared, Prepared::PrivateKey(_)));
        #[cfg(not(feature = "ed25519"))]
        false
    }

    /// Returns the number of public keys.
    pub(super) fn public(&self) -> usize {
        #[cfg(feature = "ed25519")]
        return self.0.iter().filter(|key| matches!(key.prepared, Prepared::PublicKey(_))).count();
        #[cfg(not(feature = "ed25519"))]
        0
    }

    /// Returns the labels of keys that are short enough to be guessed.
    pub(super) fn short(&self) -> Vec<&str> {
        self.0.iter().filter(|key| key.short).map(|key| &*key.label).collect()
    }
}

impl KeyMaterial {
    /// Returns the key, or an error if it is one for the opposite use.
    fn usable(self, key_use: KeyUse) -> Result<Self, String> {
        match (&self, key_use) {
            #[cfg(feature = "ed25519")]
            (KeyMaterial::PrivateKey(_), KeyUse::Verify) => {
                Err("is a private key, which signs; deliveries are verified with the sender's public key".to_owned())
            }
            #[cfg(all(feature = "ed25519", feature = "sign"))]
            (KeyMaterial::PublicKey(_), KeyUse::Sign) => Err(
                "is read as a public key, which verifies; a sender signs with its private key: `whsk_` and base64, or \
                     the base64 of a PKCS #8 file"
                    .to_owned(),
            ),
            _ => Ok(self),
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| &key.label)).finish()
    }
}

/// The signatures that a delivery presents.
pub(super) trait Presented {
    /// Returns whether one of them is this MAC, in constant time.
    fn has_mac<const LENGTH: usize>(&self, mac: &[u8; LENGTH]) -> Choice;

    /// Returns those that may be Ed25519 signatures, at most as many as
    /// [`most_ed25519`](super::header::most_ed25519) says.
    #[cfg(feature = "ed25519")]
    fn ed25519(&self) -> impl Iterator<Item = [u8; 64]>;
}

/// The message of a delivery, to be hashed under every key: parts of the headers, then the body.
///
/// A body in one piece is hashed at the end, key by key, and needs no allocation. Only a body in several pieces has a
/// hash in progress for each key. The keys, the parts before the body and the signatures are passed to each step, and
/// must be the same ones.
#[derive(Default)]
pub(super) struct KeyedMessage {
    in_progress: Vec<Progress>,
}

/// A hash in progress, under one key.
enum Progress {
    Sha256(HmacSha256),
    Sha512(Box<HmacSha512>),
    #[cfg(feature = "ed25519")]
    Ed25519(SignaturesInProgress),
    /// A key that verifies nothing.
    #[cfg(all(feature = "ed25519", feature = "sign"))]
    Nothing,
}

impl KeyedMessage {
    /// Takes the next bytes of the body.
    pub(super) fn update<'p>(
        &mut self,
        keys: &Keys,
        before: impl Iterator<Item = &'p [u8]> + Clone,
        presented: &impl Presented,
        bytes: &[u8],
    ) {
        if self.in_progress.is_empty() {
            self.in_progress = keys.0.iter().map(|key| key.prepared.begin(before.clone(), presented)).collect();
        }
        for progress in &mut self.in_progress {
            progress.update(bytes);
        }
    }

    /// Takes the last bytes of the message and returns the index of the first key that verifies a presented signature.
    ///
    /// The MACs of all keys are compared, so that timing does not reveal which key matched.
    #[inline]
    pub(super) fn first_match<'p>(
        self,
        keys: &Keys,
        before: impl Iterator<Item = &'p [u8]> + Clone,
        presented: &impl Presented,
        rest: impl Iterator<Item = &'p [u8]> + Clone,
    ) -> Result<usize, Reason> {
        if self.in_progress.is_empty() {
            first(keys.0.iter().map(|key| key.prepared.hit(before.clone(), presented, rest.clone())))
        } else {
            first(self.in_progress.into_iter().map(|progress| progress.hit(presented, rest.clone())))
        }
    }
}

impl Prepared {
    fn begin<'p>(&self, before: impl Iterator<Item = &'p [u8]> + Clone, presented: &impl Presented) -> Progress {
        #[cfg(not(feature = "ed25519"))]
        let _ = presented;
        match self {
            Prepared::Sha256(key) => Progress::Sha256(begun(key, before)),
            Prepared::Sha512(key) => Progress::Sha512(Box::new(begun(key, before))),
            #[cfg(feature = "ed25519")]
            Prepared::PublicKey(key) => Progress::Ed25519(key.begin(before, presented.ed25519())),
            #[cfg(all(feature = "ed25519", feature = "sign"))]
            Prepared::PrivateKey(_) => Progress::Nothing,
        }
    }

    /// Returns whether this key verifies a presented signature of a whole message.
    #[inline]
    fn hit<'p>(
        &self,
        before: impl Iterator<Item = &'p [u8]> + Clone,
        presented: &impl Presented,
        rest: impl Iterator<Item = &'p [u8]> + Clone,
    ) -> Choice {
        match self {
            // The usual case, without moving a hash in progress.
            Prepared::Sha256(key) => presented.has_mac::<32>(&mac(key, before.chain(rest)).into()),
            // Without an allocation for the hash in progress.
            Prepared::Sha512(key) => sha512_hit(key, before.chain(rest), presented),
            #[cfg(feature = "ed25519")]
            other => other.begin(before, presented).hit(presented, rest),
        }
    }
}

impl Progress {
    fn update(&mut self, bytes: &[u8]) {
        match self {
            Progress::Sha256(mac) => mac.update(bytes),
            Progress::Sha512(mac) => mac.update(bytes),
            #[cfg(feature = "ed25519")]
            Progress::Ed25519(signatures) => signatures.update(bytes),
            #[cfg(all(feature = "ed25519", feature = "sign"))]
            Progress::Nothing => {}
        }
    }

    fn hit<'p>(mut self, presented: &impl Presented, rest: impl Iterator<Item = &'p [u8]>) -> Choice {
        rest.for_each(|part| self.update(part));
        match self {
            Progress::Sha256(mac) => presented.has_mac::<32>(&mac.finalize().into_bytes().into()),
            Progress::Sha512(mac) => presented.has_mac::<64>(&mac.finalize().into_bytes().into()),
            #[cfg(feature = "ed25519")]
            Progress::Ed25519(signatures) => signatures.one_is_valid(),
            #[cfg(all(feature = "ed25519", feature = "sign"))]
            Progress::Nothing => Choice::from(0),
        }
    }
}

/// Is not inlined, because its state would enlarge the stack of every caller.
#[inline(never)]
fn sha512_hit<'p>(key: &HmacCore<Sha512>, parts: impl Iterator<Item = &'p [u8]>, presented: &impl Presented) -> Choice {
    presented.has_mac::<64>(&mac(key, parts).into())
}

/// Returns the MAC of a whole message.
///
/// [`Hmac`] has the state and its buffer in one value, which is moved when it finishes and then zeroized: with it,
/// `verify` of 1 KiB takes 30 ns (3 %) more.
#[inline]
fn mac<'p, D: EagerHash>(key: &HmacCore<D>, parts: impl Iterator<Item = &'p [u8]>) -> Output<HmacCore<D>> {
    let (mut state, mut buffer) = (key.clone(), Buffer::<HmacCore<D>>::default());
    parts.for_each(|part| buffer.digest_blocks(part, |blocks| state.update_blocks(blocks)));
    let mut mac = Output::<HmacCore<D>>::default();
    state.finalize_fixed_core(&mut buffer, &mut mac);
    mac
}

/// Returns the MAC of the first parts of a message, in progress.
fn begun<'p, D: EagerHash>(key: &HmacCore<D>, parts: impl Iterator<Item = &'p [u8]>) -> Hmac<D> {
    let mut mac = Hmac::compose(key.clone(), Buffer::<HmacCore<D>>::default());
    parts.for_each(|part| mac.update(part));
    mac
}

/// Returns the index of the first hit. Examines all of them, in constant time.
pub(super) fn first(hits: impl Iterator<Item = Choice>) -> Result<usize, Reason> {
    let (index, found) = first_hit(hits);
    if bool::from(found) { Ok(index) } else { Err(Reason::SignatureMismatch) }
}

/// Returns the index of the first hit, or 0, and whether there is one. Examines all of them, in constant time.
pub(super) fn first_hit(hits: impl Iterator<Item = Choice>) -> (usize, Choice) {
    let mut found = Choice::from(0);
    let mut index = 0_u8;
    for (at, hit) in (0_u8..).zip(hits) {
        index.conditional_assign(&at, hit & !found);
        found |= hit;
    }
    (usize::from(index), found)
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
    const { assert!(LENGTH >= 8, "a text without a whole word would equal any other") };
    // The last word overlaps the one before it.
    let words = |text| -> _ { <[u8]>::as_chunks::<8>(text).0.iter().chain(text.last_chunk()) };
    let pairs = words(ours).zip(words(theirs));
    pairs.fold(0, |different, (our, their)| different | (u64::from_ne_bytes(*our) ^ u64::from_ne_bytes(*their)))
}

/// Computes HMAC-SHA256 over the concatenation of `parts`.
#[cfg(feature = "sign")]
pub(crate) fn hmac_tag(key: &[u8], parts: &[&[u8]]) -> Tag {
    match HmacCore::<Sha256>::new_from_slice(key) {
        Ok(key) => mac(&key, parts.iter().copied()).into(),
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
        each_bit_of::<9>();
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
        let keys = Keys::read(&secrets, KeyUse::Verify, |secret| Ok(hmac(secret.text().as_bytes()))).unwrap();
        assert_eq!(format!("{keys:?}"), r#"["old"]"#);
    }

    fn hmac(key: &[u8]) -> KeyMaterial {
        KeyMaterial::HmacSha256(Zeroizing::new(key.to_vec()))
    }

    /// Presents every MAC that begins with these hexadecimal digits.
    struct Beginning(&'static str);

    impl Presented for Beginning {
        fn has_mac<const LENGTH: usize>(&self, mac: &[u8; LENGTH]) -> Choice {
            Choice::from(u8::from(base16ct::lower::encode_string(mac).starts_with(self.0)))
        }

        #[cfg(feature = "ed25519")]
        fn ed25519(&self) -> impl Iterator<Item = [u8; 64]> {
            std::iter::empty()
        }
    }

    #[test]
    fn macs_match_the_test_cases_of_rfc_4231() {
        let secrets = Secrets::new(crate::Secret::new("in place of the key").unwrap());
        for (key, data, wanted) in rfc_4231::CASES {
            let keys = Keys::read(&secrets, KeyUse::Verify, |_| Ok(hmac(key))).unwrap();
            let wanted = Beginning(wanted);
            let none = std::iter::empty();
            // In one piece, and split in two at every position.
            let whole = KeyedMessage::default().first_match(&keys, none, &wanted, std::iter::once(data));
            assert_eq!(whole, Ok(0), "{}", wanted.0);
            for cut in 0..=data.len() {
                let (before, after) = data.split_at(cut);
                let parts = KeyedMessage::default();
                let parts = parts.first_match(&keys, std::iter::once(before), &wanted, std::iter::once(after));
                assert_eq!(parts, Ok(0), "{} at {cut}", wanted.0);
                let mut pushed = KeyedMessage::default();
                pushed.update(&keys, std::iter::empty(), &wanted, before);
                let pushed = pushed.first_match(&keys, std::iter::empty(), &wanted, std::iter::once(after));
                assert_eq!(pushed, Ok(0), "{} pushed at {cut}", wanted.0);
            }
        }
    }

    /// Test case 2 of RFC 4231.
    #[test]
    fn a_sha_512_key_makes_long_macs() {
        let secrets = Secrets::new(crate::Secret::new("in place of the key").unwrap());
        let key = || Ok(KeyMaterial::HmacSha512(Zeroizing::new(b"Jefe".to_vec())));
        let keys = Keys::read(&secrets, KeyUse::Verify, |_| key()).unwrap();
        let wanted = Beginning(
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b\
             4b636e070a38bce737",
        );
        let data = &b"what do ya want for nothing?"[..];
        let whole = KeyedMessage::default().first_match(&keys, std::iter::empty(), &wanted, std::iter::once(data));
        assert_eq!(whole, Ok(0));
        let mut pushed = KeyedMessage::default();
        pushed.update(&keys, std::iter::once(&data[..4]), &wanted, &data[4..9]);
        assert_eq!(pushed.first_match(&keys, std::iter::empty(), &wanted, std::iter::once(&data[9..])), Ok(0));
        assert_eq!(keys.sha256_mac(b"challenge"), None);
    }

    #[cfg(feature = "sign")]
    #[test]
    fn parts_are_hashed_as_one_message() {
        let tag = hmac_tag(b"Jefe", &[b"what do ya want ", b"", b"for nothing?"]);
        assert_eq!(tag, hmac_tag(b"Jefe", &[b"what do ya want for nothing?"]));
    }
}
