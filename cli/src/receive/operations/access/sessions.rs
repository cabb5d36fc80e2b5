//! The sessions of the operator's page. They are kept in memory only: a restart ends them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base16ct::HexDisplay;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use tokio::time::Instant;

use crate::failure::Failure;
use crate::random;

/// The open sessions. Only digests of their ids are kept, so that a dump of the memory opens none.
#[derive(Default)]
pub(super) struct Sessions(Mutex<VecDeque<OpenSession>>);

struct OpenSession {
    id: [u8; 32],
    /// The digest of the token that opened it, with which it ends.
    token: [u8; 32],
    opened: Instant,
}

/// The time after which a session ends, whether it is used or not.
pub(super) const SESSION: Duration = Duration::from_secs(8 * 3600);

/// Another session ends the oldest one.
const MOST: usize = 64;

impl Sessions {
    /// Opens a session for the token with this digest. Returns its id: 32 random bytes in hexadecimal.
    pub(super) fn open(&self, token: [u8; 32]) -> Result<String, Failure> {
        let id = format!("{:x}", HexDisplay(&random::bytes::<32>()?));
        let mut open = self.lock();
        open.retain(OpenSession::is_open);
        if open.len() >= MOST {
            open.pop_front();
        }
        open.push_back(OpenSession { id: digest(&id), token, opened: Instant::now() });
        Ok(id)
    }

    /// Returns whether a session with this id is open. `token` is the digest of the current token.
    pub(super) fn is_open(&self, id: &str, token: &[u8; 32]) -> bool {
        let id = digest(id);
        let is_this = |session: &OpenSession| {
            Choice::from(u8::from(session.is_open())) & session.id.ct_eq(&id) & session.token.ct_eq(token)
        };
        // All sessions are compared, so that timing does not depend on which one matches.
        self.lock().iter().fold(Choice::from(0), |found, session| found | is_this(session)).into()
    }

    /// Ends a session.
    pub(super) fn end(&self, id: &str) {
        let id = digest(id);
        self.lock().retain(|session| !bool::from(session.id.ct_eq(&id)));
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<OpenSession>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenSession {
    fn is_open(&self) -> bool {
        self.opened.elapsed() < SESSION
    }
}

fn digest(id: &str) -> [u8; 32] {
    Sha256::digest(id).into()
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const TOKEN: [u8; 32] = [1; 32];

    #[tokio::test(start_paused = true)]
    async fn a_session_ends_after_eight_hours_even_if_it_is_used() {
        let sessions = Sessions::default();
        let id = sessions.open(TOKEN).unwrap();
        advance(SESSION - Duration::from_millis(1)).await;
        assert!(sessions.is_open(&id, &TOKEN));
        advance(Duration::from_millis(1)).await;
        assert!(!sessions.is_open(&id, &TOKEN));
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_of_too_many_sessions_ends() {
        let sessions = Sessions::default();
        let ids: Vec<_> = (0..=MOST).map(|_| sessions.open(TOKEN).unwrap()).collect();
        assert!(
            !sessions.is_open(&ids[0], &TOKEN)
                && sessions.is_open(&ids[1], &TOKEN)
                && sessions.is_open(&ids[MOST], &TOKEN)
        );
        assert_eq!(sessions.lock().len(), MOST);
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_end_one_by_one_or_with_their_token() {
        let sessions = Sessions::default();
        let [first, second, third] = [(); 3].map(|()| sessions.open(TOKEN).unwrap());
        assert_ne!(first, second);
        sessions.end(&first);
        assert!(
            !sessions.is_open(&first, &TOKEN) && sessions.is_open(&second, &TOKEN) && sessions.is_open(&third, &TOKEN)
        );
        assert!(!sessions.is_open(&second, &[2; 32]) && !sessions.is_open("", &TOKEN));
        // A login that had checked the old token when it was replaced.
        let late = sessions.open(TOKEN).unwrap();
        assert!(!sessions.is_open(&late, &[2; 32]));
    }
}
