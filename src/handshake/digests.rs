//! The tokens of an echo.

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use crate::secret::Secrets;

/// The digests of the accepted tokens.
pub(super) struct TokenDigests(Vec<Zeroizing<[u8; 32]>>);

impl TokenDigests {
    pub(super) fn of(tokens: &Secrets) -> Self {
        TokenDigests(tokens.iter().map(|token| digest(token.text().as_bytes())).collect())
    }

    /// Returns whether a text is a token. All digests are compared, so that timing depends only on the text's length.
    pub(super) fn contain(&self, presented: &[u8]) -> bool {
        let presented = digest(presented);
        let hits = self.0.iter().map(|token| token.ct_eq(&*presented));
        hits.fold(Choice::from(0), |found, hit| found | hit).into()
    }
}

fn digest(bytes: &[u8]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(Sha256::digest(bytes).into())
}
