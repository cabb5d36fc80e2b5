//! Access to the operator's page: the token and the sessions that it opens, and the checks of each request.
//!
//! - `hosts`: the names by which the page may be requested
//! - `origin`: whether a request comes from the page itself, and the session that it names
//! - `token`, `guesses`: the token, and how often a wrong one can be tried
//! - `sessions`: the sessions that the token has opened
//! - `answers`: the headers of all answers

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod answers;
mod guesses;
mod hosts;
mod origin;
mod sessions;
mod token;

use std::time::Duration;

use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Uri};
use medhook::Secret;

pub(super) use self::answers::{Caching, protected};
use self::guesses::Guesses;
pub(in crate::receive) use self::hosts::PageHosts;
pub(super) use self::origin::local_path;
use self::origin::{cookie_name, is_over_tls, is_own, session_ids};
use self::sessions::{SESSION, Sessions};
pub(in crate::receive) use self::token::{PageToken, SHORTEST_TOKEN};
use crate::failure::Failure;
use crate::peer::PeerAddress;

/// Decides who may see the page.
pub(in crate::receive) struct Access {
    token: PageToken,
    hosts: PageHosts,
    is_tls: bool,
    sessions: Sessions,
    guesses: Guesses,
}

/// The cause of a failed login.
#[derive(Debug)]
pub(super) enum LoginProblem {
    WrongToken,
    /// There were too many wrong tokens; the next one is looked at after this time.
    TooMany(Duration),
    /// No session could be opened.
    Failed(Failure),
}

impl Access {
    pub(in crate::receive) fn new(token: PageToken, hosts: PageHosts, is_tls: bool) -> Self {
        Access { token, hosts, is_tls, sessions: Sessions::default(), guesses: Guesses::default() }
    }

    /// Replaces the token, with which all sessions end.
    pub(in crate::receive) fn replace_token(&self, token: &Secret) {
        self.token.replace(token);
    }

    /// Returns the host of a request, if the page is served there.
    pub(super) fn host(&self, uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
        self.hosts.authority(uri, headers)
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

    /// Opens a session for the token, sent by this client. Returns the session's cookie.
    pub(super) fn log_in(
        &self,
        token: &[u8],
        client: PeerAddress,
        headers: &HeaderMap,
    ) -> Result<HeaderValue, LoginProblem> {
        if let Some(wait) = self.guesses.wait(client) {
            return Err(LoginProblem::TooMany(wait));
        }
        let Some(token) = self.token.check(token) else {
            if let Some(count) = self.guesses.record_wrong(client) {
                tracing::warn!(
                    count,
                    from = %client.network(),
                    "logins to the operator's page were rejected because the token is wrong; unless it was mistyped, \
                     check who can reach `listen` of [operations]"
                );
            }
            return Err(LoginProblem::WrongToken);
        };
        let id = self.sessions.open(token).map_err(LoginProblem::Failed)?;
        self.cookie(&id, SESSION, headers).map_err(LoginProblem::Failed)
    }

    /// Ends the session of a request. Returns the cookie that deletes its cookie.
    pub(super) fn log_out(&self, headers: &HeaderMap) -> Result<HeaderValue, Failure> {
        session_ids(headers, self.is_tls).for_each(|id| self.sessions.end(id));
        self.cookie("", Duration::ZERO, headers)
    }

    fn cookie(&self, id: &str, age: Duration, headers: &HeaderMap) -> Result<HeaderValue, Failure> {
        let secure = if is_over_tls(headers, self.is_tls) { "; Secure" } else { "" };
        let name = cookie_name(self.is_tls);
        let seconds = age.as_secs();
        let cookie = format!("{name}={id}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
        HeaderValue::try_from(cookie).map_err(|error| Failure::because("the session's cookie", error))
    }
}
