//! The token of the operator's page.

use std::sync::{Mutex, PoisonError};

use medhook::Secret;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The digest of the token, which can be replaced while the receiver runs.
pub(in crate::receive) struct PageToken(Mutex<[u8; 32]>);

/// The length of the shortest token, in bytes. A random one of 16 characters cannot be guessed over a network.
pub(in crate::receive) const SHORTEST_TOKEN: usize = 16;

impl PageToken {
    pub(in crate::receive) fn new(token: &Secret) -> Self {
        PageToken(Mutex::new(digest(token.expose_secret())))
    }

    pub(super) fn replace(&self, token: &Secret) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = digest(token.expose_secret());
    }

    /// Returns whether this is the token. The time does not depend on how much of it is right: digests are compared, in
    /// constant time.
    pub(super) fn is(&self, guess: &[u8]) -> bool {
        let token = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        token.ct_eq(&digest(guess)).into()
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
        assert!(token.is(b"correct horse battery"));
        for wrong in [&b"correct horse batter"[..], b"correct horse battery ", b"Correct horse battery", b""] {
            assert!(!token.is(wrong), "{wrong:?}");
        }
        token.replace(&secret("another token of the page"));
        assert!(token.is(b"another token of the page") && !token.is(b"correct horse battery"));
    }
}
