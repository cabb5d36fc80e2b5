//! The keys that may have signed: those of the scheme, those that the tables in `secrets` make of the secrets, and keys
//! of another kind.

use medhook::{Secret, SecretEncoding, SignatureAlgorithm};

use super::key_form::{KeyForm, is_of_pair};
use super::options;
use super::public_keys::{self, PublicKey};
use super::secrets::{KEYS, KeyMistake, SURPLUS, TEXTS};

/// A key that may have signed.
pub(super) struct Key {
    /// The code and the text of the mistake, if there is one.
    pub(super) mistake: Option<(&'static str, String)>,
    pub(super) algorithm: SignatureAlgorithm,
    /// The key of an HMAC. Empty for Ed25519.
    pub(super) bytes: Vec<u8>,
    pub(super) public: Option<PublicKey>,
}

impl Key {
    /// Returns the number of bytes of a signature.
    pub(super) fn length(&self) -> usize {
        if self.algorithm == SignatureAlgorithm::HmacSha256 { 32 } else { 64 }
    }
}

/// Returns the keys that may have signed, the correct ones first.
pub(super) fn keys(secrets: &[Secret], form: KeyForm) -> Vec<Key> {
    let mut keys = match form.algorithm {
        SignatureAlgorithm::Ed25519 => public_keys(secrets, form),
        _ => {
            let mut keys = shared_keys(secrets, form, form.algorithm);
            keys.extend(shared_keys_of_other_hash(secrets, form));
            keys.extend(public_keys(secrets, form));
            keys
        }
    };
    if form.algorithm == SignatureAlgorithm::Ed25519 {
        for algorithm in [SignatureAlgorithm::HmacSha256, SignatureAlgorithm::HmacSha512] {
            for secret in secrets {
                let text = format!(
                    "secret {} was used as the key of an {}, but a signature of Ed25519 is expected{}",
                    secret.label(),
                    name(algorithm),
                    form.option(|| options::scheme_of_body(algorithm))
                );
                let bytes = secret.expose_secret().as_bytes().to_vec();
                keys.push(Key { mistake: Some(("hmac_instead_of_ed25519", text)), algorithm, bytes, public: None });
            }
        }
    }
    // Those without a mistake are found first, whatever their algorithm.
    keys.sort_by_key(|key| key.mistake.is_some());
    keys
}

fn shared_keys(secrets: &[Secret], form: KeyForm, algorithm: SignatureAlgorithm) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    let mut add = |mistake: Option<(&'static str, String)>, bytes: Vec<u8>| {
        if !keys.iter().any(|known| known.bytes == bytes) {
            keys.push(Key { mistake, algorithm, bytes, public: None });
        }
    };
    for secret in secrets {
        form.correct(secret.expose_secret()).into_iter().for_each(|key| add(None, key));
    }
    for secret in secrets {
        let (label, text) = (secret.label(), secret.expose_secret());
        for mistake in KEYS.iter().filter(|mistake| (mistake.applies)(form)) {
            for key in (mistake.derive)(text) {
                add(Some((mistake.code, described(mistake, label, form))), key);
            }
        }
        for mistake in TEXTS.iter().chain([&SURPLUS]) {
            for key in (mistake.undo)(text).into_iter().filter_map(|text| form.correct(&text)) {
                add(Some((mistake.code, format!("secret {label} {}", mistake.text))), key);
            }
        }
    }
    // A program whose secret is not set signs with one of these.
    for unset in ["", "undefined", "null", "None"] {
        let text = "the sender signed without a secret: its setting is empty or missing";
        add(Some(("signed_without_secret", text.to_owned())), unset.into());
    }
    keys
}

/// Returns the text of a mistake, with the option to set if there is one.
fn described(mistake: &KeyMistake, label: &str, form: KeyForm) -> String {
    let Some((encoding, more)) = mistake.fix.filter(|_| form.custom) else {
        return format!("secret {label} {}", mistake.text.replace("{must}", form.must()));
    };
    let does = match encoding {
        _ if encoding == form.encoding => return format!("secret {label} {}: {more}", mistake.text),
        _ if !more.is_empty() => {
            let option = options::secret_encoding(encoding);
            return format!("secret {label} {}: set {option}, and {more}", mistake.text);
        }
        SecretEncoding::Text => "uses secret {label} as text",
        SecretEncoding::Hex => "decodes secret {label} as hexadecimal",
        _ => "decodes secret {label} as base64",
    };
    let does = does.replace("{label}", label);
    format!("the sender {does} before it signs: set {}", options::secret_encoding(encoding))
}

/// Returns the correct keys, for the other hash.
fn shared_keys_of_other_hash(secrets: &[Secret], form: KeyForm) -> Vec<Key> {
    let algorithm = match form.algorithm {
        SignatureAlgorithm::HmacSha512 => SignatureAlgorithm::HmacSha256,
        _ => SignatureAlgorithm::HmacSha512,
    };
    let option = || match (form.timed, algorithm) {
        (true, SignatureAlgorithm::HmacSha512) => options::option("hash", "sha-512"),
        (true, _) => options::option("hash", "sha-256"),
        (false, _) => options::scheme_of_body(algorithm),
    };
    let option = if form.standard { String::new() } else { form.option(option) };
    let text = format!("the signature is an {}, but an {} is expected{option}", name(algorithm), name(form.algorithm));
    let keys = secrets.iter().filter_map(|secret| form.correct(secret.expose_secret()));
    keys.map(|bytes| Key { mistake: Some(("other_hash", text.clone())), algorithm, bytes, public: None }).collect()
}

/// Returns the public keys that the secrets may be.
fn public_keys(secrets: &[Secret], form: KeyForm) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    let mut add = |mistake: Option<(&'static str, String)>, bytes: &[u8]| {
        let is_known = keys.iter().filter_map(|known| known.public.as_ref()).any(|known| known.bytes == bytes);
        let public = if is_known { None } else { PublicKey::new(bytes) };
        if public.is_some() {
            keys.push(Key { mistake, algorithm: SignatureAlgorithm::Ed25519, bytes: Vec::new(), public });
        }
    };
    let is_expected = form.algorithm == SignatureAlgorithm::Ed25519;
    for secret in secrets.iter().filter(|secret| is_expected || (form.standard && is_of_pair(secret.expose_secret()))) {
        public_keys::decoded(secret.expose_secret(), form.encoding).into_iter().for_each(|key| add(None, &key));
    }
    for secret in secrets {
        let (label, text) = (secret.label(), secret.expose_secret());
        let (code, what, option) = match (form.standard, is_expected) {
            (true, _) => (
                "public_key_without_whpk",
                "is the public key of Ed25519, and must be given with the prefix `whpk_`",
                String::new(),
            ),
            (_, true) => (
                "public_key_in_other_encoding",
                "is a public key in another encoding than the configured one",
                form.option(|| options::public_key_encoding(text)),
            ),
            _ => (
                "ed25519_instead_of_hmac",
                "is the public key of a signature of Ed25519, but an HMAC with a shared key is expected",
                if form.timed {
                    String::new()
                } else {
                    form.option(|| options::scheme_of_body(SignatureAlgorithm::Ed25519))
                },
            ),
        };
        for key in public_keys::in_any_encoding(text) {
            add(Some((code, format!("secret {label} {what}{option}"))), &key);
        }
        if is_expected || (form.standard && text.contains("whpk_")) {
            for mistake in TEXTS {
                let texts = (mistake.undo)(text).into_iter();
                for key in texts.filter_map(|text| public_keys::decoded(&text, form.encoding)) {
                    add(Some((mistake.code, format!("secret {label} {}", mistake.text))), &key);
                }
            }
        }
    }
    keys
}

/// Returns the name of an algorithm, for messages.
pub(super) fn name(algorithm: SignatureAlgorithm) -> &'static str {
    match algorithm {
        SignatureAlgorithm::HmacSha512 => "HMAC-SHA512",
        SignatureAlgorithm::Ed25519 => "Ed25519 signature",
        _ => "HMAC-SHA256",
    }
}

#[cfg(test)]
mod tests {
    use medhook::SecretEncoding;

    use super::*;

    #[test]
    fn the_correct_keys_come_first_and_no_key_occurs_twice() {
        let secret = |text: &str, label: &str| Secret::new(text).unwrap().labeled(label).unwrap();
        let secrets = [secret("whsec_AAECAwQF", "a"), secret("AAECAwQG", "b")];
        for standard in [true, false] {
            let encoding = if standard { SecretEncoding::Base64 } else { SecretEncoding::Text };
            let keys = keys(
                &secrets,
                KeyForm {
                    standard,
                    encoding,
                    algorithm: SignatureAlgorithm::HmacSha256,
                    custom: false,
                    timed: standard,
                },
            );
            let keys: Vec<_> = keys.into_iter().filter(|key| key.algorithm == SignatureAlgorithm::HmacSha256).collect();
            assert_eq!(keys.iter().take_while(|key| key.mistake.is_none()).count(), 2);
            assert_eq!(keys.iter().filter(|key| key.mistake.is_none()).count(), 2);
            for (number, key) in keys.iter().enumerate() {
                assert!(!keys[..number].iter().any(|other| other.bytes == key.bytes));
            }
        }
    }
}
