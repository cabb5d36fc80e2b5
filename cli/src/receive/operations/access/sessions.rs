//! The sessions of the operator's page. They are kept in memory only: a restart ends them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base16ct::HexDisplay;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use crate::failure::Failure;
use crate::random;

/// The open sessions. Only digests of their ids are kept, so that a dump of the memory opens none.
#[derive(Default)]
pub(super) struct Sessions(Mutex<VecDeque<OpenSession>>);

struct OpenSession {
    id: [u8; 32],
    opened: Instant,
}

/// The time after which a session ends, whether it is used or not.
pub(super) const SESSION: Duration = Duration::from_secs(8 * 3600);

/// Another session ends the oldest one.
const MOST: usize = 64;

impl Sessions {
    /// Opens a session, and returns its id: 32 random bytes in hexadecimal.
    pub(super) fn open(&self) -> Result<String, Failure> {
        let id = format!("{:x}", HexDisplay(&random::bytes::<32>()?));
        let mut open = self.lock();
        open.retain(OpenSession::is_open);
        if open.len() >= MOST {
            open.pop_front();
        }
        open.push_back(OpenSession { id: digest(&id), opened: Instant::now() });
        Ok(id)
    }

    /// Returns whether a session with this id is open.
    pub(super) fn is_open(&self, id: &str) -> bool {
        let id = digest(id);
        self.lock().iter().any(|session| session.is_open() && bool::from(session.id.ct_eq(&id)))
    }

    /// Ends a session.
    pub(super) fn end(&self, id: &str) {
        let id = digest(id);
        self.lock().retain(|session| session.id != id);
    }

    /// Ends all sessions, because the token was replaced.
    pub(super) fn end_all(&self) {
        self.lock().clear();
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

    #[tokio::test(start_paused = true)]
    async fn a_session_ends_after_eight_hours_even_if_it_is_used() {
        let sessions = Sessions::default();
        let id = sessions.open().unwrap();
        advance(SESSION - Duration::from_millis(1)).await;
        assert!(sessions.is_open(&id));
        advance(Duration::from_millis(1)).await;
        assert!(!sessions.is_open(&id));
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_of_too_many_sessions_ends() {
        let sessions = Sessions::default();
        let ids: Vec<_> = (0..=MOST).map(|_| sessions.open().unwrap()).collect();
        assert!(!sessions.is_open(&ids[0]) && sessions.is_open(&ids[1]) && sessions.is_open(&ids[MOST]));
        assert_eq!(sessions.lock().len(), MOST);
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_end_one_by_one_or_all_at_once() {
        let sessions = Sessions::default();
        let [first, second, third] = [(); 3].map(|()| sessions.open().unwrap());
        assert_ne!(first, second);
        sessions.end(&first);
        assert!(!sessions.is_open(&first) && sessions.is_open(&second) && sessions.is_open(&third));
        sessions.end_all();
        assert!(!sessions.is_open(&second) && !sessions.is_open(&third) && !sessions.is_open(""));
    }
}
