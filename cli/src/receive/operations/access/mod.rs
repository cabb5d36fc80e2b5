//! Access to the operator's page: the token and the sessions that it opens, and the checks of each request.
//!
//! - `hosts`: the names by which the page may be requested
//! - `origin`: whether a request comes from the page itself, and the session that it names
//! - `token`, `guesses`: the token, and how often a wrong one can be tried
//! - `sessions`: the sessions that the token has opened
//! - `answers`: the headers of all answers
//! - `log`: the lines about access

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod answers;
mod guesses;
mod hosts;
mod log;
mod origin;
mod sessions;
mod token;

use std::time::Duration;

use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Uri};
use medhook::Secret;

pub(super) use self::answers::{Caching, protected, strict};
use self::guesses::Guesses;
pub(in crate::receive) use self::hosts::PageHosts;
pub(super) use self::log::AccessEvent;
use self::log::AccessLog;
pub(super) use self::origin::local_path;
use self::origin::{cookie_name, is_over_tls, is_own, session_ids};
use self::sessions::{SESSION, Sessions};
pub(in crate::receive) use self::token::{FEWEST_CHARACTERS, LONGEST_TOKEN, PageToken, SHORTEST_TOKEN};
use crate::failure::Failure;
use crate::peer::PeerAddress;

/// Decides who may see the page.
pub(in crate::receive) struct Access {
    token: PageToken,
    hosts: PageHosts,
    is_tls: bool,
    sessions: Sessions,
    guesses: Guesses,
    log: AccessLog,
}

/// The cause of a failed login.
#[derive(Debug)]
pub(super) enum LoginProblem {
    WrongToken,
    /// There were too many wrong tokens; the next one is checked after this time.
    TooMany(Duration),
    /// No session could be opened.
    Failed(Failure),
}

impl Access {
    pub(in crate::receive) fn new(token: PageToken, hosts: PageHosts, is_tls: bool) -> Self {
        let (sessions, guesses, log) = Default::default();
        Access { token, hosts, is_tls, sessions, guesses, log }
    }

    /// Replaces the token, with which all sessions end.
    pub(in crate::receive) fn replace_token(&self, token: &Secret) {
        self.token.replace(token);
    }

    /// Returns the host of a request, if the page is served there.
    pub(super) fn host(&self, uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
        self.hosts.authority(uri, headers)
    }

    /// Returns whether browsers must always use TLS for the host of a request: with TLS, and for a name of the config
    /// file. The rule holds for every port of the name, so it would be wrong for `localhost`.
    pub(super) fn is_strict(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        self.is_tls && self.host(uri, headers).is_some_and(|host| self.hosts.has_name(host.host()))
    }

    /// Logs a decision about a request.
    pub(super) fn record(&self, event: AccessEvent, client: PeerAddress) {
        self.log.record(event, client);
    }

    /// Logs the decisions that were counted and are due, or all of them at the end of the process.
    pub(super) fn log_counts(&self, is_end: bool) {
        if is_end { self.log.log_rest() } else { self.log.log_due() }
    }

    /// Returns whether a form was sent by the page itself.
    pub(super) fn is_own_form(&self, headers: &HeaderMap, host: &Authority) -> bool {
        is_own(headers, host, self.is_tls)
    }

    /// Returns whether a request has an open session.
    pub(super) fn has_session(&self, headers: &HeaderMap) -> bool {
        let token = self.token.current();
        session_ids(headers, self.is_tls).any(|id| self.sessions.is_open(id, &token))
    }

    /// Opens a session for the token, sent by this client, and ends those that the request names. Returns the session's
    /// cookie.
    pub(super) fn log_in(
        &self,
        token: &[u8],
        client: PeerAddress,
        headers: &HeaderMap,
    ) -> Result<HeaderValue, LoginProblem> {
        let token = match self.guesses.check(client, || self.token.check(token)) {
            Ok(Some(token)) => token,
            Ok(None) => {
                self.record(AccessEvent::WrongToken, client);
                return Err(LoginProblem::WrongToken);
            }
            Err(wait) => {
                self.record(AccessEvent::TooMany, client);
                return Err(LoginProblem::TooMany(wait));
            }
        };
        let id = self.sessions.open(token).map_err(LoginProblem::Failed)?;
        session_ids(headers, self.is_tls).for_each(|former| _ = self.sessions.end(former));
        let cookie = self.cookie(&id, SESSION, headers).map_err(LoginProblem::Failed)?;
        self.record(AccessEvent::Opened, client);
        Ok(cookie)
    }

    /// Ends the session of a request. Returns the cookie that deletes its cookie.
    pub(super) fn log_out(&self, client: PeerAddress, headers: &HeaderMap) -> Result<HeaderValue, Failure> {
        let ended = session_ids(headers, self.is_tls).filter(|id| self.sessions.end(id)).count();
        if ended > 0 {
            self.record(AccessEvent::Ended, client);
        }
        self.cookie("", Duration::ZERO, headers)
    }

    fn cookie(&self, id: &str, age: Duration, headers: &HeaderMap) -> Result<HeaderValue, Failure> {
        let is_over_tls = is_over_tls(headers, self.is_tls);
        let (name, secure) = (cookie_name(is_over_tls), if is_over_tls { "; Secure" } else { "" });
        let seconds = age.as_secs();
        let cookie = format!("{name}={id}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
        HeaderValue::try_from(cookie).map_err(|error| Failure::because("the session's cookie", error))
    }
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    const TOKEN: &[u8] = b"the-token-of-the-page";

    fn access(is_tls: bool) -> Access {
        let token = Secret::new(str::from_utf8(TOKEN).unwrap()).unwrap();
        Access::new(PageToken::new(&token), PageHosts::default(), is_tls)
    }

    fn client() -> PeerAddress {
        PeerAddress::new([192, 0, 2, 1].into())
    }

    /// Returns the headers of a request with the cookie of an answer.
    fn with_cookie(cookie: &HeaderValue) -> HeaderMap {
        let pair = cookie.to_str().unwrap().split(';').next().unwrap();
        HeaderMap::from_iter([(header::COOKIE, pair.parse().unwrap())])
    }

    #[tokio::test]
    async fn the_token_opens_a_session_until_the_logout() {
        let access = access(false);
        let headers = HeaderMap::new();
        assert!(!access.has_session(&headers));
        let cookie = access.log_in(TOKEN, client(), &headers).unwrap();
        let session = with_cookie(&cookie);
        assert!(access.has_session(&session) && !access.has_session(&headers));
        let ended = access.log_out(client(), &session).unwrap();
        assert_eq!(ended, "medhook=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict");
        assert!(!access.has_session(&session));
    }

    #[tokio::test]
    async fn a_new_token_ends_the_sessions_of_the_old_one() {
        let access = access(false);
        let session = with_cookie(&access.log_in(TOKEN, client(), &HeaderMap::new()).unwrap());
        access.replace_token(&Secret::new("another-token-of-the-page").unwrap());
        assert!(!access.has_session(&session));
        let old = access.log_in(TOKEN, client(), &HeaderMap::new());
        assert!(matches!(old, Err(LoginProblem::WrongToken)));
        assert!(access.log_in(b"another-token-of-the-page", client(), &HeaderMap::new()).is_ok());
    }

    #[tokio::test]
    async fn after_too_many_wrong_tokens_the_right_one_must_wait() {
        let access = access(false);
        let log_in = |token: &[u8]| access.log_in(token, client(), &HeaderMap::new());
        for _ in 0..20 {
            assert!(matches!(log_in(b"wrong"), Err(LoginProblem::WrongToken)));
        }
        assert!(matches!(log_in(TOKEN), Err(LoginProblem::TooMany(_))));
        let other = PeerAddress::new([192, 0, 2, 2].into());
        assert!(access.log_in(TOKEN, other, &HeaderMap::new()).is_ok());
    }

    #[tokio::test]
    async fn the_cookie_lasts_for_eight_hours_and_is_secure_with_tls() {
        let attributes = |is_tls| {
            let cookie = access(is_tls).log_in(TOKEN, client(), &HeaderMap::new()).unwrap();
            let (pair, attributes) = cookie.to_str().unwrap().split_once("; ").unwrap();
            let (name, id) = pair.split_once('=').unwrap();
            assert_eq!(id.len(), 64);
            format!("{name}; {attributes}")
        };
        assert_eq!(attributes(false), "medhook; Path=/; Max-Age=28800; HttpOnly; SameSite=Strict");
        assert_eq!(attributes(true), "__Host-medhook; Path=/; Max-Age=28800; HttpOnly; SameSite=Strict; Secure");
    }

    #[test]
    fn a_form_is_from_the_page_if_its_origin_is_the_host_of_the_request() {
        let access = access(false);
        let with = |name: http::HeaderName, value: &str| HeaderMap::from_iter([(name, value.parse().unwrap())]);
        let host = access.host(&Uri::from_static("/"), &with(header::HOST, "localhost:8788")).unwrap();
        assert_eq!(host, "localhost:8788");
        assert_eq!(access.host(&Uri::from_static("/"), &with(header::HOST, "evil.example")), None);
        assert!(access.is_own_form(&with(header::ORIGIN, "http://localhost:8788"), &host));
        assert!(!access.is_own_form(&with(header::ORIGIN, "http://evil.example"), &host));
    }
}
