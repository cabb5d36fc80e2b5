//! The networks that an endpoint accepts deliveries from.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use ipnet::IpNet;

use super::keys::{TableKeys, cut};
use crate::failure::Failure;
use crate::peer::PeerAddress;

/// The networks of `allow_from`, at least one.
#[derive(Debug)]
pub(super) struct AllowedNetworks {
    networks: Vec<IpNet>,
    /// The network of the last client that was rejected, for the log.
    last: Mutex<Option<IpNet>>,
}

impl AllowedNetworks {
    /// Takes `allow_from`. Returns `None` if the key is missing.
    pub(super) fn take(keys: &mut TableKeys) -> Result<Option<Self>, Failure> {
        let is_set = keys.has(KEY);
        let texts = keys.texts(KEY)?;
        if !is_set {
            return Ok(None);
        }
        let network =
            |text: &String| network(text).map_err(|problem| keys.wrong(KEY, format_args!("{:?} {problem}", cut(text))));
        let networks = texts.iter().map(network).collect::<Result<Vec<_>, _>>()?;
        if networks.is_empty() {
            return Err(keys.wrong(KEY, "must list at least one network; remove it to accept every address"));
        }
        Ok(Some(AllowedNetworks { networks, last: Mutex::default() }))
    }

    /// Returns whether a client may deliver. A request of unknown origin may not.
    pub(super) fn allow(&self, peer: Option<&PeerAddress>) -> bool {
        let allowed = peer.is_some_and(|peer| self.contain(peer.ip()));
        if !allowed {
            let network = peer.map(|peer| peer.network());
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = network;
        }
        allowed
    }

    pub(super) fn contain(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// Logs rejected requests: how many, and the network of the last one.
    pub(super) fn log(&self, endpoint: &str, provider: &str, count: u64) {
        let from = self.last.lock().unwrap_or_else(PoisonError::into_inner).map(|network| network.to_string());
        tracing::warn!(
            target: "medhook::rejections",
            endpoint,
            provider,
            reason = ADDRESS_NOT_ALLOWED,
            count,
            from,
            "webhook deliveries rejected; if the provider or the proxy sent them, add its network to `allow_from`"
        );
    }
}

/// Writes the network, or the number of networks if there is more than one.
impl fmt::Display for AllowedNetworks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.networks {
            [network] => write!(f, "{network}"),
            networks => write!(f, "{} networks", networks.len()),
        }
    }
}

const KEY: &str = "allow_from";

/// The reason of a rejection because of `allow_from`, which is not one of the library's.
pub(super) const ADDRESS_NOT_ALLOWED: &str = "address_not_allowed";

/// Parses a network such as `203.0.113.0/24`, or an address.
fn network(text: &str) -> Result<IpNet, String> {
    const SUCH_AS: &str = "must be a network such as \"203.0.113.0/24\" or \"2001:db8::/32\", or an address";
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| SUCH_AS)?;
    if address.to_canonical() != address {
        // Clients with such an address are compared by their IPv4 address.
        return Err(format!("is an IPv4 address mapped to IPv6; write it as IPv4: \"{}\"", address.to_canonical()));
    }
    let Some(bits) = bits else {
        return Ok(IpNet::from(address));
    };
    let is_number = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
    let bits: u8 = bits.parse().ok().filter(|_| is_number).ok_or(SUCH_AS)?;
    let network = IpNet::new(address, bits).map_err(|_| {
        let most = if address.is_ipv4() { 32 } else { 128 };
        format!("must have at most {most} bits after `/`")
    })?;
    if network.trunc() != network {
        return Err(format!(
            "is no network, because its address has bits after the first {bits}; write \"{}\" for the network, or \
             \"{address}\" for the address",
            network.trunc()
        ));
    }
    Ok(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(toml: &str) -> Result<Option<AllowedNetworks>, String> {
        let mut keys = TableKeys::parse("medhook.toml", toml).unwrap();
        AllowedNetworks::take(&mut keys).map_err(|error| error.to_string())
    }

    #[test]
    fn addresses_are_compared_with_the_networks() {
        let allowed = taken("allow_from = [\"203.0.113.0/24\", \"2001:db8::/32\", \"192.0.2.7\"]").unwrap().unwrap();
        for (address, is_allowed) in [
            ("203.0.113.0", true),
            ("203.0.113.255", true),
            ("203.0.112.255", false),
            ("::ffff:203.0.113.9", true),
            ("2001:db8:ffff::1", true),
            ("2001:db9::1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("::ffff:192.0.2.8", false),
            // The deprecated IPv4-compatible form is an IPv6 address.
            ("::203.0.113.9", false),
        ] {
            let peer = PeerAddress::new(address.parse().unwrap());
            assert_eq!(allowed.allow(Some(&peer)), is_allowed, "{address}");
        }
        assert!(!allowed.allow(None), "a request of unknown origin");
        assert!(taken("").unwrap().is_none());
        let all = taken("allow_from = [\"0.0.0.0/0\"]").unwrap().unwrap();
        assert!(all.contain("192.0.2.8".parse().unwrap()) && !all.contain("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn a_mistake_shows_the_right_form() {
        for (value, problem) in [
            ("[]", "must list at least one network"),
            ("\"10.0.0.0/8\"", "must be a list of strings"),
            ("[\"\"]", "\"\" must be a network such as"),
            ("[\"10.0.0.0/\"]", "must be a network such as"),
            ("[\"10.0.0.0/+8\"]", "must be a network such as"),
            ("[\"010.0.0.0/8\"]", "must be a network such as"),
            ("[\"10.0.0.0/255.0.0.0\"]", "must be a network such as"),
            ("[\"app.example.org\"]", "must be a network such as"),
            ("[\"10.0.0.0/33\"]", "must have at most 32 bits after `/`"),
            ("[\"2001:db8::/129\"]", "must have at most 128 bits after `/`"),
            ("[\"203.0.113.7/24\"]", "write \"203.0.113.0/24\" for the network, or \"203.0.113.7\" for the address"),
            ("[\"2001:db8::1/32\"]", "write \"2001:db8::/32\" for the network, or \"2001:db8::1\" for the address"),
            ("[\"::ffff:203.0.113.0/120\"]", "write it as IPv4: \"203.0.113.0\""),
        ] {
            let error = taken(&format!("allow_from = {value}")).unwrap_err();
            assert!(error.starts_with("medhook.toml: `allow_from`: ") && error.contains(problem), "{error}");
        }
    }
}
