//! Ed25519 keys and signatures ([RFC 8032](https://www.rfc-editor.org/rfc/rfc8032)), by the crate `ed25519-dalek`.

#[cfg(feature = "sign")]
use ed25519_dalek::Signer as _;
use ed25519_dalek::{Signature, SigningKey, StreamVerifier, VerifyingKey};
use subtle::Choice;

/// A public key that is not weak.
pub(super) struct PublicKey(VerifyingKey);

impl PublicKey {
    /// # Errors
    /// Returns an error for bytes that are no key, and for a key under which anything can be signed.
    pub(super) fn new(bytes: &[u8; 32]) -> Result<Self, String> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| "is not an Ed25519 public key".to_owned())?;
        if key.is_weak() {
            return Err(
                "is a weak Ed25519 key, under which others can sign; get a new one from the provider".to_owned()
            );
        }
        Ok(PublicKey(key))
    }

    /// Begins the check of each signature. One whose form is invalid is dropped.
    pub(super) fn begin<'p>(
        &self,
        before: impl Iterator<Item = &'p [u8]> + Clone,
        signatures: impl Iterator<Item = [u8; 64]>,
    ) -> SignaturesInProgress {
        let begun = signatures.filter_map(|signature| {
            let mut verifier = self.0.verify_stream(&Signature::from_bytes(&signature)).ok()?;
            before.clone().for_each(|part| verifier.update(part));
            Some(verifier)
        });
        SignaturesInProgress(begun.collect())
    }
}

/// The checks of signatures of one message under one key.
pub(super) struct SignaturesInProgress(Vec<StreamVerifier>);

impl SignaturesInProgress {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.iter_mut().for_each(|verifier| verifier.update(bytes));
    }

    /// Returns whether a signature is valid. Nothing here is secret, so this need not take constant time.
    pub(super) fn one_is_valid(self) -> Choice {
        let is_valid = self.0.into_iter().any(|verifier| verifier.finalize_and_verify().is_ok());
        Choice::from(u8::from(is_valid))
    }
}

/// A private key.
pub(super) struct PrivateKey(SigningKey);

impl PrivateKey {
    pub(super) fn new(seed: &[u8; 32]) -> Self {
        PrivateKey(SigningKey::from_bytes(seed))
    }

    pub(super) fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    #[cfg(feature = "sign")]
    pub(super) fn sign<'p>(&self, parts: impl Iterator<Item = &'p [u8]>) -> [u8; 64] {
        let message: Vec<u8> = parts.flatten().copied().collect();
        self.0.sign(&message).to_bytes()
    }
}
