//! A secret sent as it is, in one header.

use std::sync::Arc;

use http::HeaderName;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::keys::first;
use super::{Proof, Proves, header_name, needed};
use crate::secret::SHORT;
use crate::{ConfigError, Headers, Reason, Secrets};

/// The secret itself in a header. It proves that the sender knows it, and nothing about the body: whoever sees one
/// delivery can make any other. Use it over TLS only, and only where the provider offers nothing better.
#[derive(Debug, Clone)]
pub struct SharedSecret {
    header: String,
}

impl SharedSecret {
    /// Reads the secret from this header.
    pub fn new(header: impl Into<String>) -> Self {
        SharedSecret { header: header.into() }
    }

    pub(super) fn keyed(&self, secrets: &Secrets) -> Result<Keyed, ConfigError> {
        let mut digests = Vec::with_capacity(secrets.len());
        for secret in secrets.iter() {
            let label = secret.shared_label();
            if secret.text().chars().any(char::is_control) {
                return Err(ConfigError::new(format!("secret {label}: no header can hold its control characters")));
            }
            digests.push(Key { label, digest: digest(secret.text().as_bytes()), short: secret.text().len() < SHORT });
        }
        Ok(Keyed { header: header_name(&self.header)?, keys: digests })
    }
}

pub(crate) struct Keyed {
    header: HeaderName,
    keys: Vec<Key>,
}

struct Key {
    label: Arc<str>,
    digest: Zeroizing<[u8; 32]>,
    short: bool,
}

impl Keyed {
    /// Compares digests, so that time depends on the length of what was presented and on nothing else.
    pub(super) fn begin<'h>(&self, headers: &'h (impl Headers + ?Sized)) -> Result<Proof<'h>, Reason> {
        let presented = digest(needed(headers, &self.header)?);
        let secret = first(self.keys.iter().map(|key| key.digest.ct_eq(&*presented)))?;
        Ok(Proof { proves: Proves::SenderOnly, secret, message_id: None, attempted_at: None })
    }

    pub(super) fn label(&self, index: usize) -> &str {
        self.keys.get(index).map_or("", |key| &key.label)
    }

    pub(super) fn short(&self) -> Vec<&str> {
        self.keys.iter().filter(|key| key.short).map(|key| &*key.label).collect()
    }
}

fn digest(bytes: &[u8]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(Sha256::digest(bytes).into())
}
