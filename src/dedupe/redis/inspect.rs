//! The requirements for a server. They are checked on each new connection and, since the configuration of a server can
//! change at any time, on open ones at an interval.

use std::sync::Arc;
use std::time::Duration;

use redis::{Pipeline, RedisError};

#[derive(Debug, Clone, Copy)]
pub(super) struct Requirements {
    pub(super) allow_eviction: bool,
    pub(super) check_every: Duration,
}

/// A requirement that a server does not meet.
#[derive(Debug, Clone)]
pub(super) enum Unmet {
    /// The server does not accept writes, or not for all keys. Another one may have taken its place.
    Role(&'static str),
    /// The server may evict events.
    Eviction(Arc<str>),
}

impl Unmet {
    pub(super) fn line(&self) -> &str {
        match self {
            Unmet::Role(line) => line,
            Unmet::Eviction(line) => line,
        }
    }
}

/// Returns the command for [`role`] and [`policy`].
pub(super) fn info() -> Pipeline {
    let mut info = redis::pipe();
    info.cmd("INFO");
    info
}

/// Returns the command for the policy, for servers that do not report it in INFO.
pub(super) fn config() -> Pipeline {
    let mut get = redis::pipe();
    get.cmd("CONFIG").arg("GET").arg("maxmemory-policy");
    get
}

/// Checks that a server is a primary, as far as it reports its role.
pub(super) fn check_role(info: &str) -> Result<(), Unmet> {
    if field(info, "role").is_some_and(|role| role != "master") {
        return Err(Unmet::Role("the server is a read-only replica; connect to the primary"));
    }
    if field(info, "cluster_enabled") == Some("1") {
        return Err(Unmet::Role(CLUSTER));
    }
    Ok(())
}

/// Returns the `maxmemory-policy` that a server reports.
pub(super) fn policy(info: &str) -> Option<String> {
    field(info, "maxmemory_policy").map(str::to_owned)
}

/// Checks that a server never evicts events.
pub(super) fn check_policy(policy: Option<&str>) -> Result<(), Unmet> {
    let line = match policy {
        Some("noeviction") => return Ok(()),
        Some(policy) => {
            // The server chose this text, so it is sanitized for a log line.
            let policy: String = policy.chars().filter(|c| c.is_ascii_lowercase() || *c == '-').take(40).collect();
            format!(
                "maxmemory-policy is {policy}, which evicts events when memory runs short; set it to noeviction, or \
                 set `allow_eviction`"
            )
        }
        None => "cannot read maxmemory-policy with INFO or CONFIG; allow one of them, or make sure that it is \
                 noeviction and set `allow_eviction`"
            .to_owned(),
    };
    Err(Unmet::Eviction(line.into()))
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// Returns an answer, or `None` if the server rejected this command only: it is unknown or not permitted.
pub(super) fn if_permitted<T>(answer: Result<T, RedisError>) -> Result<Option<T>, RedisError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.code() == Some("NOPERM") || error.to_string().contains("unknown command") => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) const CLUSTER: &str = "the server is a node of a Redis Cluster; use a single server or a proxy";
