//! The token of the operator's page.

use std::sync::{Mutex, PoisonError};

use medhook::Secret;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The digest of the token, which can be replaced while the receiver runs.
pub(in crate::receive) struct PageToken(Mutex<[u8; 32]>);

/// The length of the shortest token, in bytes. A random one of 16 characters cannot be guessed over a network.
pub(in crate::receive) const SHORTEST_TOKEN: usize = 16;

/// The fewest different characters of a token, by which mistakes such as `changemechangeme` are found. Fewer than one
/// in a million random tokens of 16 characters of base64 have less.
pub(in crate::receive) const FEWEST_CHARACTERS: usize = 8;

/// The length of the longest token, in bytes, which fits into the form with each byte escaped.
pub(in crate::receive) const LONGEST_TOKEN: usize = 1024;

impl PageToken {
    pub(in crate::receive) fn new(token: &Secret) -> Self {
        PageToken(Mutex::new(digest(token.expose_secret())))
    }

    pub(super) fn replace(&self, token: &Secret) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = digest(token.expose_secret());
    }

    /// Returns the digest of the current token.
    pub(super) fn current(&self) -> [u8; 32] {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the digest of the token if `guess` is the token. The time does not depend on how much of it is right:
    /// digests are compared, in constant time.
    pub(super) fn check(&self, guess: &[u8]) -> Option<[u8; 32]> {
        let digest = digest(guess);
        bool::from(self.current().ct_eq(&digest)).then_some(digest)
    }
}

fn digest(token: impl AsRef<[u8]>) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_matches_and_it_can_be_replaced() {
        let secret = |text: &str| Secret::new(text).unwrap();
        let token = PageToken::new(&secret("correct horse battery"));
        assert!(token.check(b"correct horse battery").is_some());
        for wrong in [&b"correct horse batter"[..], b"correct horse battery ", b"Correct horse battery", b""] {
            assert!(token.check(wrong).is_none(), "{wrong:?}");
        }
        token.replace(&secret("another token of the page"));
        assert!(token.check(b"another token of the page").is_some() && token.check(b"correct horse battery").is_none());
    }
}
