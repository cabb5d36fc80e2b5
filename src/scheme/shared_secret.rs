//! A secret sent in one header or in several.

use std::sync::Arc;

use http::HeaderName;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::header::{header_name, required};
use super::keys::first;
use super::verification::{SignatureScope, Verification};
#[cfg(feature = "sign")]
use crate::Secret;
use crate::headers::HeadFault;
use crate::secret::SHORT;
use crate::{ConfigError, Headers, Secrets};

/// A scheme with the secret itself in a header.
///
/// It authenticates the sender but not the body: an attacker who sees one delivery can forge any other. Use it over TLS
/// only, and only if the provider offers no signatures.
#[derive(Debug, Clone)]
pub struct SharedSecret {
    pub(crate) header: String,
    pub(crate) others: Vec<(String, Secrets)>,
}

impl SharedSecret {
    /// Creates the scheme for a secret in this header.
    pub fn new(header: impl Into<String>) -> Self {
        SharedSecret { header: header.into(), others: Vec::new() }
    }

    /// Requires one of these secrets in another header, too: every header must contain one of its own secrets.
    ///
    /// [`Delivery::secret_label`](crate::Delivery::secret_label) returns the label of the first header's secret.
    #[must_use]
    pub fn also_header(mut self, header: impl Into<String>, secrets: impl Into<Secrets>) -> Self {
        self.others.push((header.into(), secrets.into()));
        self
    }

    /// Returns the first secret of each header, in the order of [`KeyedSharedSecret::header_names`].
    #[cfg(feature = "sign")]
    pub(super) fn signing_secrets<'s>(&'s self, secrets: &'s Secrets) -> impl Iterator<Item = &'s Secret> {
        let all = std::iter::once(secrets).chain(self.others.iter().map(|(_, secrets)| secrets));
        all.filter_map(|secrets| secrets.iter().next())
    }

    /// Returns the names of the headers, in the order in which they were configured.
    pub(super) fn headers(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.header).chain(self.others.iter().map(|(header, _)| header)).map(String::as_str)
    }

    pub(super) fn keyed(&self, secrets: &Secrets) -> Result<KeyedSharedSecret, ConfigError> {
        let mut keyed = KeyedSharedSecret { first: Required::read(&self.header, secrets)?, others: Vec::new() };
        for (header, secrets) in &self.others {
            let other = Required::read(header, secrets)?;
            if keyed.all().any(|known| known.header == other.header) {
                return Err(ConfigError::new(format!("header {} is configured twice", other.header)));
            }
            keyed.others.push(other);
        }
        Ok(keyed)
    }
}

pub(crate) struct KeyedSharedSecret {
    first: Required,
    others: Vec<Required>,
}

/// A header, and the secrets of which it must contain one.
struct Required {
    header: HeaderName,
    keys: Vec<SecretDigest>,
}

struct SecretDigest {
    label: Arc<str>,
    digest: Zeroizing<[u8; 32]>,
    short: bool,
}

impl KeyedSharedSecret {
    /// Compares all headers, so that timing does not reveal which of them matched.
    pub(super) fn begin<'h>(&self, headers: &'h (impl Headers + ?Sized)) -> Result<Verification<'h>, HeadFault> {
        let secret = self.others.iter().fold(self.first.find(headers), |so_far, other| {
            let found = other.find(headers);
            so_far.and_then(|secret| found.map(|_| secret))
        })?;
        Ok(Verification { signature_scope: SignatureScope::SenderOnly, secret, message_id: None, attempted_at: None })
    }

    pub(super) fn label(&self, index: usize) -> Option<&Arc<str>> {
        self.first.keys.get(index).map(|key| &key.label)
    }

    pub(super) fn short(&self) -> Vec<&str> {
        self.all().flat_map(|required| &required.keys).filter(|key| key.short).map(|key| &*key.label).collect()
    }

    /// Returns the names of the headers, in the order in which they were configured.
    #[cfg(feature = "sign")]
    pub(super) fn header_names(&self) -> impl Iterator<Item = &HeaderName> {
        self.all().map(|required| &required.header)
    }

    fn all(&self) -> impl Iterator<Item = &Required> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

impl Required {
    fn read(header: &str, secrets: &Secrets) -> Result<Self, ConfigError> {
        let mut keys = Vec::with_capacity(secrets.len());
        for secret in secrets.iter() {
            let label = secret.shared_label();
            keys.push(SecretDigest {
                label,
                digest: digest(secret.text().as_bytes()),
                short: secret.text().len() < SHORT,
            });
        }
        Ok(Required { header: header_name(header)?, keys })
    }

    /// Returns the index of the secret that the header contains. Digests are compared, so timing depends only on the
    /// length of the header's value.
    fn find(&self, headers: &(impl Headers + ?Sized)) -> Result<usize, HeadFault> {
        let presented = required(headers.find(&self.header)).map_err(|problem| problem.of(&self.header))?;
        let presented = digest(presented);
        Ok(first(self.keys.iter().map(|key| key.digest.ct_eq(&*presented)))?)
    }
}

fn digest(bytes: &[u8]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(Sha256::digest(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Reason, Secret};

    fn secrets(label: &str, texts: &[&str]) -> Secrets {
        let mut secrets = texts
            .iter()
            .enumerate()
            .map(|(n, text)| Secret::new(*text).and_then(|secret| secret.labeled(&format!("{label}-{n}"))));
        let first = Secrets::new(secrets.next().unwrap().unwrap());
        secrets.fold(first, |all, secret| all.also(secret.unwrap()).unwrap())
    }

    fn found(scheme: &KeyedSharedSecret, headers: &[(&str, &str)]) -> Result<usize, Reason> {
        scheme.begin(headers).map(|verification| verification.secret).map_err(|fault| fault.reason)
    }

    #[test]
    fn every_header_must_hold_one_of_its_own_secrets() {
        let scheme = SharedSecret::new("x-one").also_header("X-Two", secrets("two", &["second", "second-old"]));
        let scheme = scheme.keyed(&secrets("one", &["first", "first-old"])).unwrap();
        for two in ["second", "second-old"] {
            assert_eq!(found(&scheme, &[("x-one", "first"), ("x-two", two)]), Ok(0));
            assert_eq!(found(&scheme, &[("x-two", two), ("x-one", "first-old")]), Ok(1));
        }
        for (headers, reason) in [
            (&[("x-one", "first")][..], Reason::MissingHeader),
            (&[("x-two", "second")], Reason::MissingHeader),
            (&[("x-one", "first"), ("x-two", "first")], Reason::SignatureMismatch),
            (&[("x-one", "second"), ("x-two", "second")], Reason::SignatureMismatch),
            (&[("x-one", "first"), ("x-two", "secon")], Reason::SignatureMismatch),
            (&[("x-one", "first"), ("x-two", "")], Reason::MalformedHeader),
            (&[("x-one", "first"), ("x-two", "second"), ("x-two", "second")], Reason::RepeatedHeader),
        ] {
            assert_eq!(found(&scheme, headers), Err(reason), "{headers:?}");
        }
        assert_eq!(scheme.label(1).map(|label| &**label), Some("one-1"));
        assert_eq!(scheme.short(), ["one-0", "one-1", "two-0", "two-1"]);
    }

    #[test]
    fn invalid_and_repeated_header_names_are_rejected() {
        let keys = secrets("one", &["first"]);
        let error = |scheme: SharedSecret| scheme.keyed(&keys).err().expect("rejected").to_string();
        assert_eq!(error(SharedSecret::new("")), "\"\" is not a valid header name");
        assert_eq!(error(SharedSecret::new("x one")), "\"x\".. is not a valid header name");
        assert_eq!(
            error(SharedSecret::new("x-one").also_header("x:two", keys.clone())),
            "\"x\".. is not a valid header name"
        );
        assert_eq!(
            error(SharedSecret::new("x-one").also_header("X-One", keys.clone())),
            "header x-one is configured twice"
        );
    }
}
