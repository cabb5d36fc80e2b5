//! Parses where events are forwarded to.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use http::Uri;
use http::uri::PathAndQuery;

/// The address of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::receive) struct ForwardAddress {
    /// The URL of the requests. Over a Unix socket its host is `localhost`.
    uri: Uri,
    transport: Transport,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Transport {
    Clear,
    Tls,
    Unix(PathBuf),
}

impl ForwardAddress {
    /// Parses a URL. Errors do not quote it, because it may hold a password.
    pub(in crate::receive) fn parse(url: &str) -> Result<Self, String> {
        if url.contains('#') {
            return Err("must not contain a fragment (`#`)".to_owned());
        }
        // The URL is printed at startup.
        if url.chars().any(char::is_control) {
            return Err("must not contain control characters".to_owned());
        }
        if let Some(rest) = url.strip_prefix("unix:") {
            return ForwardAddress::unix(rest);
        }
        let uri: Uri = url.parse().map_err(|_| SUCH_AS.to_owned())?;
        let transport = match uri.scheme_str() {
            Some("http") => Transport::Clear,
            Some("https") => Transport::Tls,
            _ => return Err(SUCH_AS.to_owned()),
        };
        let authority = uri.authority().ok_or(SUCH_AS)?;
        if authority.as_str().contains('@') {
            return Err("must not contain a user or password; set `forward_secret` to sign forwarded events".to_owned());
        }
        let port_is_valid = authority.as_str() == authority.host() || authority.port_u16().is_some_and(|port| port > 0);
        if authority.host().is_empty() || !port_is_valid {
            return Err(SUCH_AS.to_owned());
        }
        Ok(ForwardAddress { uri, transport })
    }

    /// Parses what follows `unix:`, the path of a socket and that of the URL: `/run/app.sock:/path`.
    fn unix(rest: &str) -> Result<Self, String> {
        let (socket, path) = rest.split_once(":/").unwrap_or((rest, ""));
        if socket.is_empty() || socket.starts_with("//") || socket.contains([':', '?']) {
            return Err(UNIX_SUCH_AS.to_owned());
        }
        let socket = PathBuf::from(socket);
        connectable(&socket)?;
        let path: PathAndQuery = format!("/{path}").parse().map_err(|_| UNIX_SUCH_AS.to_owned())?;
        let uri = Uri::builder().scheme("http").authority("localhost").path_and_query(path).build();
        Ok(ForwardAddress { uri: uri.map_err(|_| UNIX_SUCH_AS.to_owned())?, transport: Transport::Unix(socket) })
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Returns the host without the brackets of an IPv6 address.
    pub(super) fn host(&self) -> &str {
        self.uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }

    /// Returns whether requests are sent over TLS.
    pub(in crate::receive) fn is_tls(&self) -> bool {
        self.transport == Transport::Tls
    }

    /// Returns the path of the Unix socket, if it is one.
    pub(in crate::receive) fn socket(&self) -> Option<&Path> {
        match &self.transport {
            Transport::Unix(socket) => Some(socket),
            Transport::Clear | Transport::Tls => None,
        }
    }

    /// Returns whether requests stay on this machine: over a Unix socket, or if the host is `localhost` or a loopback
    /// address.
    pub(in crate::receive) fn is_local(&self) -> bool {
        let host = self.host();
        self.socket().is_some()
            || host.eq_ignore_ascii_case("localhost")
            || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

const SUCH_AS: &str = "must be a URL such as \"http://127.0.0.1:3000/webhooks\", \"https://app.example/webhooks\" or \
     \"unix:/run/app.sock:/webhooks\"";
const UNIX_SUCH_AS: &str = "must be the path of a socket and the path of the URL, such as \"unix:/run/app.sock:/webhooks\"; a `:` or `?` in \
     the path of the socket is not supported";

/// Checks that the system can connect to a socket at this path.
#[cfg(unix)]
fn connectable(socket: &Path) -> Result<(), String> {
    let address = std::os::unix::net::SocketAddr::from_pathname(socket);
    address.map(drop).map_err(|_| "the path of the socket is too long for the system; use a shorter one".to_owned())
}

#[cfg(not(unix))]
fn connectable(_: &Path) -> Result<(), String> {
    Err("Unix sockets are not supported on this system".to_owned())
}

/// Writes the address without the query, which may hold a password.
impl fmt::Display for ForwardAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.socket() {
            Some(socket) => write!(f, "unix:{}:", socket.display())?,
            None => {
                let authority = self.uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
                write!(f, "{}://{authority}", if self.is_tls() { "https" } else { "http" })?;
            }
        }
        f.write_str(self.uri.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_localhost_loopback_addresses_and_sockets_are_local() {
        for (url, local) in [
            ("http://127.0.0.1:3000/x", true),
            ("http://127.9.9.9", true),
            ("https://[::1]:3000/", true),
            ("http://localhost/", true),
            ("https://LOCALHOST:80/", true),
            ("unix:/run/app.sock:/x", true),
            ("http://localhost.example/", false),
            ("https://127.0.0.1.example/", false),
            ("http://10.0.0.1/", false),
            ("http://app:3000/", false),
            ("http://[::ffff:10.0.0.1]/", false),
            ("http://0.0.0.0/", false),
        ] {
            assert_eq!(ForwardAddress::parse(url).unwrap().is_local(), local, "{url}");
        }
    }

    #[test]
    fn an_address_is_shown_without_its_query() {
        for (url, shown, requested) in [
            ("http://127.0.0.1:3000/x?token=a", "http://127.0.0.1:3000/x", "http://127.0.0.1:3000/x?token=a"),
            ("https://app.example", "https://app.example/", "https://app.example/"),
            ("HTTPS://app.example:8443/x", "https://app.example:8443/x", "https://app.example:8443/x"),
            ("unix:/run/app.sock", "unix:/run/app.sock:/", "http://localhost/"),
            ("unix:/run/app.sock:/a:/b?token=a", "unix:/run/app.sock:/a:/b", "http://localhost/a:/b?token=a"),
            ("unix:app.sock:/x", "unix:app.sock:/x", "http://localhost/x"),
        ] {
            let address = ForwardAddress::parse(url).unwrap();
            assert_eq!(address.to_string(), shown);
            assert_eq!(address.uri().to_string(), requested);
        }
        assert_eq!(ForwardAddress::parse("unix:/run/a b.sock:/x").unwrap().socket(), Some(Path::new("/run/a b.sock")));
        assert_eq!(ForwardAddress::parse("https://[::1]:1/").unwrap().host(), "::1");
    }

    #[test]
    fn an_invalid_address_is_rejected_without_being_quoted() {
        let too_long = format!("unix:/run/{}.sock:/", "hunter2".repeat(20));
        for url in [
            "",
            "hunter2",
            "/hunter2",
            "127.0.0.1:3000",
            "ftp://hunter2/",
            "http://me:hunter2@127.0.0.1/",
            "https://me:hunter2@127.0.0.1/",
            "http://",
            "https://",
            "http://127.0.0.1:0/",
            "https://127.0.0.1:99999/",
            "http://127.0.0.1/#hunter2",
            "http://127.0.0.1/hunter 2",
            "http://127.0.0.1/hunter2\u{9b}31m",
            "unix:",
            "unix::/hunter2",
            "unix://run/hunter2.sock:/",
            "unix:/run/hunter2.sock:",
            "unix:/run/hunter2.sock:path",
            "unix:/run/hunter2.sock?token=1",
            "unix:/run/app.sock:/hunter 2",
            "unix:/run/hunter2\0.sock:/",
            &too_long,
        ] {
            let problem = ForwardAddress::parse(url).unwrap_err();
            assert!(!problem.contains("hunter"), "{url}: {problem}");
        }
    }
}
