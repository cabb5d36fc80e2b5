//! What a server must be like.

use super::{LinkError, Links};
use crate::ConfigError;

/// Refuses a server that would forget events, or is not the one to write to.
pub(super) async fn inspect(links: &Links, allow_eviction: bool) -> Result<(), ConfigError> {
    let mut info = redis::pipe();
    info.cmd("INFO");
    let info = match links.ask::<(String,)>(&info).await {
        Ok((info,)) => info,
        // A server may keep it to itself.
        Err(failed) if is_refused(&failed) => String::new(),
        Err(failed) => return Err(failed.into_config_error("cannot connect")),
    };
    if field(&info, "role").is_some_and(|role| role != "master") {
        return Err(ConfigError::new("Redis: this server is a replica and takes no writes: use the primary"));
    }
    if field(&info, "cluster_enabled") == Some("1") {
        return Err(ConfigError::new("Redis: this is a node of a Redis Cluster: use a single server, or a proxy"));
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
            // It came from outside, and goes into a line.
            let policy: String = policy.chars().filter(|c| c.is_ascii_lowercase() || *c == '-').take(40).collect();
            Err(ConfigError::new(format!(
                "Redis: its maxmemory-policy is {policy}, with which it drops events when it runs short of memory: set it \
                 to noeviction, or say `allow_eviction`"
            )))
        }
        None => Err(ConfigError::new(
            "Redis: it does not tell its maxmemory-policy, neither by INFO nor by CONFIG: make sure that it is noeviction, \
             and say `allow_eviction`",
        )),
    }
}

async fn configured_policy(links: &Links) -> Result<Option<String>, ConfigError> {
    let mut get = redis::pipe();
    get.cmd("CONFIG").arg("GET").arg("maxmemory-policy");
    match links.ask::<(Vec<String>,)>(&get).await {
        Ok((pair,)) => Ok(pair.into_iter().nth(1)),
        Err(failed) if is_refused(&failed) => Ok(None),
        Err(failed) => Err(failed.into_config_error("cannot connect")),
    }
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// Whether the server answered, and refused this one command.
fn is_refused(failed: &LinkError) -> bool {
    let LinkError::With(error) = failed else {
        return false;
    };
    let unknown = error.to_string().contains("unknown command");
    matches!(error.code(), Some("NOPERM")) || unknown
}
