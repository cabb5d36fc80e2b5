//! Reads the addresses to listen on.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::net::SocketAddr;

use super::placed::Placed;
use crate::failure::Failure;
use crate::receive::keys::TableKeys;

/// The address of a receiver, and whether it speaks TLS.
pub(in crate::receive) struct ReceiverUrl {
    pub(in crate::receive) address: SocketAddr,
    pub(in crate::receive) scheme: &'static str,
}

/// Takes the address to listen on.
pub(in crate::receive) fn receiver_url(keys: &mut TableKeys) -> Result<ReceiverUrl, Failure> {
    let address = address(placed(keys, "listen", None, LISTEN)?, LISTEN)?.value;
    Ok(ReceiverUrl { address, scheme: if keys.has("tls") { "https" } else { "http" } })
}

/// Takes the limit of connections for each client address. With TLS, clients connect directly; without, they may all
/// have the address of a proxy.
pub(super) fn per_address(keys: &mut TableKeys, has_tls: bool) -> Result<Option<usize>, Failure> {
    let most = keys.count("max_connections_per_address")?;
    Ok(most.or_else(|| has_tls.then_some(CONNECTIONS_PER_ADDRESS)))
}

/// The default of `max_connections_per_address` with TLS.
const CONNECTIONS_PER_ADDRESS: usize = 64;

/// The default of `listen`.
pub(super) const LISTEN: &str = "127.0.0.1:8787";

/// Each connection needs a file descriptor; by default systems allow a process at most about this many.
pub(super) const MOST_CONNECTIONS: usize = 1_000_000;

pub(super) fn placed(
    keys: &mut TableKeys,
    key: &str,
    instead: Option<String>,
    default: &str,
) -> Result<Placed<String>, Failure> {
    let text = keys.text(key)?;
    Ok(match instead {
        Some(value) => Placed { place: format!("--{key}"), value },
        None => {
            Placed { place: format!("{}: `{key}`", keys.place()), value: text.unwrap_or_else(|| default.to_owned()) }
        }
    })
}

pub(super) fn address(text: Placed<String>, such_as: &str) -> Result<Placed<SocketAddr>, Failure> {
    match text.value.parse() {
        Ok(value) => Ok(Placed { place: text.place, value }),
        Err(_) => Err(text.wrong(format_args!("must be an IP address and a port, such as {such_as:?}"))),
    }
}
