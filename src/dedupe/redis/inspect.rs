//! The requirements for the configuration of a server.

use super::{LinkError, Links};
use crate::ConfigError;

/// Rejects a server that may evict events or is not a primary.
pub(super) async fn inspect(links: &Links, allow_eviction: bool) -> Result<(), ConfigError> {
    let mut info = redis::pipe();
    info.cmd("INFO");
    let info = match links.ask::<(String,)>(&info).await {
        Ok((info,)) => info,
        // The user may lack the permission for INFO.
        Err(failed) if is_rejected_command(&failed) => String::new(),
        Err(failed) => return Err(failed.into_config_error("cannot connect")),
    };
    if field(&info, "role").is_some_and(|role| role != "master") {
        return Err(ConfigError::new("Redis: the server is a read-only replica; connect to the primary"));
    }
    if field(&info, "cluster_enabled") == Some("1") {
        return Err(ConfigError::new("Redis: the server is a node of a Redis Cluster; use a single server or a proxy"));
    }
    if allow_eviction {
        return Ok(());
    }
    let policy = match field(&info, "maxmemory_policy") {
        Some(policy) => Some(policy.to_owned()),
        None => configured_policy(links).await?,
    };
    match policy.as_deref() {
        Some("noeviction") => Ok(()),
        Some(policy) => {
            // The server chose this text, so it is sanitized for a log line.
            let policy: String = policy.chars().filter(|c| c.is_ascii_lowercase() || *c == '-').take(40).collect();
            Err(ConfigError::new(format!(
                "Redis: maxmemory-policy is {policy}, which evicts events when memory runs short; set it to noeviction, \
                 or set `allow_eviction`"
            )))
        }
        None => Err(ConfigError::new(
            "Redis: cannot read maxmemory-policy with INFO or CONFIG; allow one of them, or make sure that it is \
             noeviction and set `allow_eviction`",
        )),
    }
}

async fn configured_policy(links: &Links) -> Result<Option<String>, ConfigError> {
    let mut get = redis::pipe();
    get.cmd("CONFIG").arg("GET").arg("maxmemory-policy");
    match links.ask::<(Vec<String>,)>(&get).await {
        Ok((pair,)) => Ok(pair.into_iter().nth(1)),
        Err(failed) if is_rejected_command(&failed) => Ok(None),
        Err(failed) => Err(failed.into_config_error("cannot connect")),
    }
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// Returns whether the server rejected this command only: it is unknown or not permitted.
fn is_rejected_command(failed: &LinkError) -> bool {
    let LinkError::With(error) = failed else {
        return false;
    };
    let unknown = error.to_string().contains("unknown command");
    matches!(error.code(), Some("NOPERM")) || unknown
}
