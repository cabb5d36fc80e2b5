//! The keys of an inbox.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use base64ct::{Base64, Base64Unpadded, Encoding as _};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize as _, Zeroizing};

use crate::error::ConfigError;
use crate::secret::{Secret, Secrets};

/// Identifies a key without revealing it: the first 4 bytes of a digest of the key.
pub(crate) type KeyId = [u8; 4];

/// The keys of an inbox, at most four. The first key seals, and all keys open.
///
/// A key is 32 random bytes in standard base64, with or without padding. `openssl rand -base64 32` creates one. Keep
/// the keys apart from the database and its backups, and keep a copy: without them the inbox cannot be read.
///
/// ```
/// use medhook::{Keyring, Secret, Secrets};
///
/// # let new = "kSgYTfzSAoXrYAhbVL6jHyVLgUzDrzaTMKs05R4BsNM=";
/// # let old = "9zWsLQFw8dzYBC0Cjd9gT6bMHb8+qHbbWGGPnV4GwoA=";
/// let keys = Secrets::new(Secret::new(new)?.labeled("2026-11")?)
///     .also(Secret::new(old)?.labeled("2025-11")?)?;
/// let ring = Keyring::new(keys)?;
/// assert_eq!(format!("{ring:?}"), "[2026-11 (eb4f2e05), 2025-11 (acfe368b)]");
/// # Ok::<(), medhook::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct Keyring(Arc<Keys>);

struct Keys {
    first: RingKey,
    others: Vec<RingKey>,
}

/// A key of the ring.
pub(crate) struct RingKey {
    pub(super) id: KeyId,
    label: Arc<str>,
    pub(super) bytes: Zeroizing<[u8; 32]>,
}

impl Keyring {
    /// Creates a ring of one to four keys, the one that seals first.
    ///
    /// # Errors
    /// Returns an error if a key is not 32 bytes in standard base64, repeats one byte, or occurs twice.
    pub fn new(keys: impl Into<Secrets>) -> Result<Self, ConfigError> {
        let mut ring: Vec<RingKey> = Vec::new();
        for secret in keys.into().iter() {
            let key = RingKey::new(secret)?;
            if let Some(known) = ring.iter().find(|known| known.id == key.id) {
                let problem = if known.bytes == key.bytes {
                    "the same as"
                } else {
                    "has the same id as another key by chance; create another key than"
                };
                return Err(ConfigError::new(format!("inbox key {}: {problem} {}", key.label, known.label)));
            }
            ring.push(key);
        }
        let mut ring = ring.into_iter();
        let first = ring.next().ok_or_else(|| ConfigError::new("the ring of an inbox has no key"))?;
        Ok(Keyring(Arc::new(Keys { first, others: ring.collect() })))
    }

    /// Creates a ring of one key from an environment variable. For several keys, pass [`Secrets`] to
    /// [`new`](Keyring::new).
    ///
    /// # Errors
    /// Returns the errors of [`Secret::from_env`] and [`new`](Keyring::new).
    pub fn from_env(variable: &str) -> Result<Self, ConfigError> {
        Keyring::new(Secrets::from_env(variable).map_err(of_inbox)?)
    }

    /// Creates a ring of one key from a file, such as a mounted one. For several keys, pass [`Secrets`] to
    /// [`new`](Keyring::new).
    ///
    /// # Errors
    /// Returns the errors of [`Secret::from_file`] and [`new`](Keyring::new).
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        Keyring::new(Secrets::from_file(path).map_err(of_inbox)?)
    }

    /// Returns the key that seals.
    pub(super) fn first(&self) -> &RingKey {
        &self.0.first
    }

    pub(super) fn get(&self, id: KeyId) -> Option<&RingKey> {
        self.iter().find(|key| key.id == id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &RingKey> {
        std::iter::once(&self.0.first).chain(&self.0.others)
    }
}

/// Adds to an error that its secret is the key of an inbox.
fn of_inbox(error: ConfigError) -> ConfigError {
    error.within(format_args!("inbox key"))
}

impl fmt::Debug for Keyring {
    /// Writes the labels and ids of the keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl RingKey {
    fn new(secret: &Secret) -> Result<Self, ConfigError> {
        let label = secret.shared_label();
        let wrong = |problem: &str| {
            ConfigError::new(format!(
                "inbox key {label}: {problem}; a key is a line that `openssl rand -base64 32` prints"
            ))
        };
        let mut buffer = Zeroizing::new([0; 64]);
        let text = secret.text();
        let decoded = Base64::decode(text, &mut *buffer).map(<[u8]>::len);
        let length = match decoded {
            Ok(length) => length,
            Err(_) => {
                Base64Unpadded::decode(text, &mut *buffer).map_err(|_| wrong("not 32 bytes in standard base64"))?.len()
            }
        };
        let Some(bytes) = buffer.first_chunk::<32>().filter(|_| length == 32) else {
            return Err(wrong(&format!("{length} bytes in base64 instead of 32")));
        };
        let bytes = Zeroizing::new(*bytes);
        if bytes.iter().all(|byte| Some(byte) == bytes.first()) {
            return Err(wrong("repeats one byte"));
        }
        let mut digest: [u8; 32] =
            Sha256::new().chain_update(b"medhook inbox key id").chain_update(bytes.as_slice()).finalize().into();
        let id = digest.first_chunk().copied().unwrap_or_default();
        digest.zeroize();
        if id == INBOX {
            return Err(wrong("has a reserved id by chance"));
        }
        Ok(RingKey { id, label, bytes })
    }
}

/// The id of the [record](crate::dedupe::inbox::store::KeyRecord) by which one of several instances that open a new
/// inbox at the same time decides its digests. No key has this id.
pub(super) const INBOX: KeyId = [0; 4];

impl fmt::Debug for RingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.label, shown(self.id))
    }
}

/// Writes the id of a key as 8 hexadecimal digits.
pub(super) fn shown(id: KeyId) -> String {
    format!("{:08x}", u32::from_be_bytes(id))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns a ring of keys, whose bytes count up from these numbers.
    pub(crate) fn ring(firsts: &[u8]) -> Keyring {
        let mut secrets = firsts.iter().map(|first| {
            let bytes: [u8; 32] = std::array::from_fn(|at| first + at as u8);
            Secret::new(Base64::encode_string(&bytes)).unwrap().labeled(&format!("key-{first}")).unwrap()
        });
        let keys = Secrets::new(secrets.next().unwrap());
        Keyring::new(secrets.fold(keys, |keys, key| keys.also(key).unwrap())).unwrap()
    }

    fn message(keys: impl Into<Secrets>) -> String {
        Keyring::new(keys).unwrap_err().to_string()
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text).unwrap().labeled("KEY").unwrap()
    }

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn a_key_is_32_bytes_in_standard_base64_with_or_without_padding() {
        let ids = |text: &str| Keyring::new(secret(text)).unwrap().first().id;
        // The beginning of `printf 'medhook inbox key id' | cat - key | sha256sum`.
        assert_eq!(shown(ids(KEY)), "f46b9539");
        assert_eq!(ids(KEY), ids(KEY.trim_end_matches('=')));
        for (text, problem) in [
            (&KEY[1..], "not 32 bytes in standard base64"),
            ("a-key_of_thirty_two_bytes_in_url_safe_base6", "not 32 bytes in standard base64"),
            ("\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"", "not 32 bytes in standard base64"),
            ("AAECAwQFBgcICQoLDA0ODw==", "16 bytes in base64 instead of 32"),
            ("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g", "33 bytes in base64 instead of 32"),
            (&"AAEC".repeat(1000), "not 32 bytes in standard base64"),
            ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "repeats one byte"),
            ("BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=", "repeats one byte"),
        ] {
            let message = message(secret(text));
            let expected = format!("inbox key KEY: {problem}; a key is a line that `openssl rand -base64 32` prints");
            assert_eq!(message, expected, "{text}");
        }
    }

    #[test]
    fn equal_keys_are_rejected_however_they_are_written() {
        let unpadded = Secret::new(KEY.trim_end_matches('=')).unwrap().labeled("OLD").unwrap();
        let keys = Secrets::new(secret(KEY)).also(unpadded).unwrap();
        assert_eq!(message(keys), "inbox key OLD: the same as KEY");
    }

    #[test]
    fn debug_shows_labels_and_ids() {
        assert_eq!(format!("{:?}", ring(&[0, 1])), "[key-0 (f46b9539), key-1 (3d377b37)]");
    }

    #[test]
    fn a_key_is_read_from_a_variable_or_a_file() {
        let unset = Keyring::from_env("MEDHOOK_TEST_IS_NEVER_SET").unwrap_err().to_string();
        assert_eq!(unset, "inbox key: secret MEDHOOK_TEST_IS_NEVER_SET: the environment variable is not set");
        // PATH is set in every test environment.
        assert!(Keyring::from_env("PATH").unwrap_err().to_string().starts_with("inbox key PATH: not 32 bytes"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("inbox.key");
        assert!(Keyring::from_file(&path).unwrap_err().to_string().starts_with("inbox key: secret file "));
        std::fs::write(&path, format!("{KEY}\n")).unwrap();
        assert_eq!(format!("{:?}", Keyring::from_file(&path).unwrap()), "[inbox.key (f46b9539)]");
    }
}
