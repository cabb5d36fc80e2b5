//! The hosts at which the operator's page is served.
//!
//! A page of an attacker can resolve its own name to the address of this receiver (DNS rebinding). The browser then
//! lets it read the answers, unless the receiver rejects the name.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::net::IpAddr;

use http::uri::Authority;
use http::{HeaderMap, Uri, header};

/// The names by which the page may be requested. IP addresses and `localhost` always may: no other name resolves to
/// them.
#[derive(Debug, Clone, Default)]
pub(in crate::receive) struct PageHosts(Vec<String>);

impl PageHosts {
    /// Creates the hosts of the config file. The error is the index of the first one that is not a
    /// host name.
    pub(in crate::receive) fn new(names: Vec<String>) -> Result<Self, usize> {
        let is_name = |name: &String| {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
            !name.is_empty() && name.len() <= LONGEST && name.chars().all(is_plain) && !name.ends_with('.')
        };
        match names.iter().position(|name| !is_name(name)) {
            Some(wrong) => Err(wrong),
            None => Ok(PageHosts(names)),
        }
    }

    /// Returns the authority of a request, if it may be served.
    pub(super) fn authority(&self, uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
        // The target of a request can name the host as well, and then counts (RFC 9112, 3.2.2).
        let authority = match uri.authority() {
            Some(authority) => authority.clone(),
            None => {
                let mut values = headers.get_all(header::HOST).iter();
                let value = values.next()?;
                if values.next().is_some() {
                    return None;
                }
                Authority::try_from(value.as_bytes()).ok()?
            }
        };
        // A user name could hide which host is meant.
        (!authority.as_str().contains('@') && self.allow(authority.host())).then_some(authority)
    }

    /// Returns whether a host is one of the names of the config file.
    pub(super) fn has_name(&self, host: &str) -> bool {
        self.0.iter().any(|name| name.eq_ignore_ascii_case(host))
    }

    fn allow(&self, host: &str) -> bool {
        let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        address.parse::<IpAddr>().is_ok() || host.eq_ignore_ascii_case("localhost") || self.has_name(host)
    }
}

/// The longest host name (RFC 1035, 2.3.4).
const LONGEST: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    fn is_served(host: &str) -> bool {
        let hosts = PageHosts::new(vec!["medhook.example.org".to_owned()]).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        hosts.authority(&Uri::from_static("/"), &headers).is_some()
    }

    #[test]
    fn only_addresses_localhost_and_configured_names_are_served() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:8788",
            "10.1.2.3:8788",
            "[::1]:8788",
            "localhost:9000",
            "LOCALHOST",
            "medhook.example.org",
            "Medhook.Example.org:443",
        ] {
            assert!(is_served(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8788",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.localhost",
            "medhook.example.org.",
            "a.medhook.example.org",
            "127.0.0.1@evil.example",
            "evil.example@127.0.0.1",
            "0x7f.1",
            "::1",
            "",
            " ",
        ] {
            assert!(!is_served(host), "{host}");
        }
    }

    #[test]
    fn a_request_names_exactly_one_host() {
        let hosts = PageHosts::default();
        let mut headers = HeaderMap::new();
        let target = Uri::from_static("/");
        assert_eq!(hosts.authority(&target, &headers), None);
        headers.append(header::HOST, "localhost".parse().unwrap());
        assert!(hosts.authority(&target, &headers).is_some());
        assert_eq!(hosts.authority(&Uri::from_static("http://evil.example/"), &headers), None);
        headers.append(header::HOST, "localhost".parse().unwrap());
        assert_eq!(hosts.authority(&target, &headers), None);
    }

    #[test]
    fn a_configured_host_is_a_name_without_a_port() {
        for name in ["", "a b", "a:80", "https://a", "a/", "ä.example", "a.", "*"] {
            assert_eq!(PageHosts::new(vec!["ok.example".to_owned(), name.to_owned()]).unwrap_err(), 1, "{name}");
        }
    }
}
