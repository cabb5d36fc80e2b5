//! The addresses of clients, and the limit of connections for each of them.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::time::Instant;

/// The address of the client that sent a request: the other end of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PeerAddress(IpAddr);

impl PeerAddress {
    /// Creates the address. An IPv4 address that is mapped to IPv6 is the IPv4 address.
    pub(crate) fn new(address: IpAddr) -> Self {
        PeerAddress(address.to_canonical())
    }

    pub(crate) fn ip(self) -> IpAddr {
        self.0
    }

    /// Returns the network of the address for the log: /24 or /48, enough to recognize a provider.
    pub(crate) fn network(self) -> IpNet {
        let bits = if self.0.is_ipv4() { 24 } else { 48 };
        // Both are valid lengths.
        IpNet::new(self.0, bits).map_or_else(|_| IpNet::from(self.0), |network| network.trunc())
    }

    /// Returns the addresses that one client can choose from: an IPv4 address, or the /64 of an IPv6 address.
    pub(crate) fn client(self) -> IpAddr {
        match self.0 {
            IpAddr::V4(_) => self.0,
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        }
    }
}

/// The limit of open connections for each address, or each /64 of IPv6. Its size is bounded by the number of open
/// connections.
#[derive(Debug, Clone)]
pub(crate) struct AddressLimit {
    most: usize,
    /// The line about closed connections.
    closed: &'static str,
    open: Arc<Mutex<OpenByAddress>>,
}

#[derive(Debug, Default)]
struct OpenByAddress {
    counts: HashMap<IpAddr, usize>,
    /// Connections closed since the last line about them.
    closed: u64,
    logged: Option<Instant>,
}

impl AddressLimit {
    /// Creates the limit of `max_connections_per_address`.
    pub(crate) fn new(most: usize) -> Self {
        let closed = "connections closed because their address has reached max_connections_per_address; if they are \
                      from the provider or from a proxy, increase it";
        AddressLimit { most, closed, open: Arc::default() }
    }

    /// Creates the limit of the operations address, which no key changes.
    pub(crate) fn of_operations(most: usize) -> Self {
        let closed = "connections to the operations address closed because their client address has too many open; \
                      find out what connects";
        AddressLimit { most, closed, open: Arc::default() }
    }

    /// Counts a new connection. Returns `None` if its address has reached the limit.
    pub(crate) fn enter(&self, peer: PeerAddress) -> Option<AddressPermit> {
        let client = peer.client();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.counts.entry(client).or_default();
        if *count < self.most {
            *count = count.saturating_add(1);
            return Some(AddressPermit { limit: self.clone(), client });
        }
        open.closed = open.closed.saturating_add(1);
        if open.logged.is_none_or(|logged| logged.elapsed() >= LOG_INTERVAL) {
            let (count, limit) = (open.closed, self.most);
            tracing::warn!(count, from = %peer.network(), limit, "{}", self.closed);
            (open.closed, open.logged) = (0, Some(Instant::now()));
        }
        None
    }
}

/// A counted connection. Dropping it ends the count.
#[derive(Debug)]
pub(crate) struct AddressPermit {
    limit: AddressLimit,
    client: IpAddr,
}

impl Drop for AddressPermit {
    fn drop(&mut self) {
        let mut open = self.limit.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.counts.get_mut(&self.client) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.counts.remove(&self.client);
            }
        }
    }
}

/// The minimum time between two lines about closed connections, which any client can cause.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> PeerAddress {
        PeerAddress::new(address.parse().unwrap())
    }

    #[tokio::test]
    async fn connections_are_counted_for_each_address_and_forgotten_when_they_end() {
        let limit = AddressLimit::new(2);
        let first = limit.enter(peer("192.0.2.1")).unwrap();
        // The same address, mapped to IPv6.
        let _second = limit.enter(peer("::ffff:192.0.2.1")).unwrap();
        assert!(limit.enter(peer("192.0.2.1")).is_none());
        let other = limit.enter(peer("192.0.2.2")).unwrap();
        drop(first);
        let _third = limit.enter(peer("192.0.2.1")).unwrap();
        assert!(limit.enter(peer("192.0.2.1")).is_none());
        drop(other);
        assert_eq!(limit.open.lock().unwrap().counts.len(), 1);
    }

    #[tokio::test]
    async fn addresses_of_one_ipv6_network_count_as_one() {
        let limit = AddressLimit::new(1);
        let _first = limit.enter(peer("2001:db8:1:2::1")).unwrap();
        assert!(limit.enter(peer("2001:db8:1:2:ffff::9")).is_none());
        assert!(limit.enter(peer("2001:db8:1:3::1")).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn closed_connections_are_logged_once_a_minute() {
        let limit = AddressLimit::new(0);
        let unlogged = || {
            assert!(limit.enter(peer("192.0.2.1")).is_none());
            limit.open.lock().unwrap().closed
        };
        assert_eq!([unlogged(), unlogged(), unlogged()], [0, 1, 2]);
        tokio::time::advance(LOG_INTERVAL).await;
        assert_eq!([unlogged(), unlogged()], [0, 1]);
    }

    #[test]
    fn logged_addresses_are_truncated() {
        for (address, network) in [
            ("192.0.2.77", "192.0.2.0/24"),
            ("::ffff:192.0.2.77", "192.0.2.0/24"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ] {
            assert_eq!(peer(address).network().to_string(), network);
        }
    }
}
