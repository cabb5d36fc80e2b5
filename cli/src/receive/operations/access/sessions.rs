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
    used: Instant,
}

/// The time after which a session ends, whether it is used or not.
pub(super) const SESSION: Duration = Duration::from_secs(8 * 3600);

/// The time after which a session ends that is not used. An open page uses it every few seconds.
pub(super) const IDLE: Duration = Duration::from_secs(3600);

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
        let now = Instant::now();
        open.push_back(OpenSession { id: digest(&id), token, opened: now, used: now });
        Ok(id)
    }

    /// Returns whether a session with this id is open, and records that it was used. `token` is the digest of the
    /// current token.
    pub(super) fn is_open(&self, id: &str, token: &[u8; 32]) -> bool {
        let id = digest(id);
        let now = Instant::now();
        let mut found = Choice::from(0);
        // All sessions are compared, so that timing does not depend on which one matches.
        for session in self.lock().iter_mut() {
            let is_open = Choice::from(u8::from(session.is_open()));
            let is_this = is_open & session.id.ct_eq(&id) & session.token.ct_eq(token);
            if is_this.into() {
                session.used = now;
            }
            found |= is_this;
        }
        found.into()
    }

    /// Ends a session. Returns whether it was open.
    pub(super) fn end(&self, id: &str) -> bool {
        let id = digest(id);
        let mut open = self.lock();
        open.retain(OpenSession::is_open);
        let before = open.len();
        open.retain(|session| !bool::from(session.id.ct_eq(&id)));
        open.len() < before
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<OpenSession>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenSession {
    fn is_open(&self) -> bool {
        self.opened.elapsed() < SESSION && self.used.elapsed() < IDLE
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
        let (step, begun) = (Duration::from_secs(600), Instant::now());
        while begun.elapsed() + step < SESSION {
            advance(step).await;
            assert!(sessions.is_open(&id, &TOKEN), "{:?}", begun.elapsed());
        }
        advance(SESSION - begun.elapsed() - Duration::from_millis(1)).await;
        assert!(sessions.is_open(&id, &TOKEN));
        advance(Duration::from_millis(1)).await;
        assert!(!sessions.is_open(&id, &TOKEN));
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_is_not_used_ends_after_an_hour() {
        let sessions = Sessions::default();
        let [used, unused] = [(); 2].map(|()| sessions.open(TOKEN).unwrap());
        advance(IDLE - Duration::from_millis(1)).await;
        // Requests of others, and with a former token, do not use it.
        assert!(sessions.is_open(&used, &TOKEN) && !sessions.is_open(&unused, &[2; 32]));
        advance(Duration::from_millis(1)).await;
        assert!(sessions.is_open(&used, &TOKEN) && !sessions.is_open(&unused, &TOKEN));
        assert!(!sessions.end(&unused) && sessions.end(&used) && !sessions.end(&used));
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
        assert!(sessions.end(&first));
        assert!(
            !sessions.is_open(&first, &TOKEN) && sessions.is_open(&second, &TOKEN) && sessions.is_open(&third, &TOKEN)
        );
        assert!(!sessions.is_open(&second, &[2; 32]) && !sessions.is_open("", &TOKEN));
        // A login that had checked the old token when it was replaced.
        let late = sessions.open(TOKEN).unwrap();
        assert!(!sessions.is_open(&late, &[2; 32]));
    }
}
