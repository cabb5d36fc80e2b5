//! The reasons why there is no answer: the kind of error, and the next step.
//!
//! A text names a cause only if the error shows it. Otherwise it is the system's own text.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::error::Error;
use std::io;
use std::time::Duration;

use medhook_conformance::Lost;
use tokio_rustls::rustls::Error as TlsError;

use crate::tls_client;

/// Explains a host name that has no address.
pub(crate) fn unresolved(host: &str, error: &io::Error) -> Lost {
    Lost::NoConnection(format!("the name {host} cannot be resolved ({error}); check its spelling, and DNS"))
}

/// Explains a TCP connection that was not opened.
pub(crate) fn unconnected(error: &io::Error) -> Lost {
    let next = match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            return Lost::NoConnection(
                "connection refused; check that the endpoint is running and listens at this address and port, and that \
                 no firewall rejects connections"
                    .to_owned(),
            );
        }
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            "check the address, and the network to it"
        }
        io::ErrorKind::TimedOut => "check the address, and the firewalls in between",
        _ => "check the address",
    };
    Lost::NoConnection(format!("{error}; {next}"))
}

/// Explains a connection that was not opened in time, in TCP or in TLS.
pub(crate) fn not_in_time(limit: Duration, tls: bool) -> Lost {
    let (what, next) = match tls {
        false => ("connection", "check the address and port, and the firewalls in between"),
        true => ("TLS handshake", "the port may not speak TLS; if it is plain HTTP, use http://"),
    };
    Lost::NoConnection(format!("no {what} within {} s; {next}", limit.as_secs_f64()))
}

/// Explains a failed TLS handshake, in which the endpoint sent these bytes first.
pub(crate) fn untrusted(error: &io::Error, first: &[u8]) -> Lost {
    Lost::NoConnection(tls_client::handshake_cause(error, first, UNTRUSTED))
}

/// The next step if no trusted authority has signed a certificate.
const UNTRUSTED: &str = "no authority that this machine trusts has signed the certificate, which may be self-signed or lack its \
     intermediate certificates; providers would reject it, too; for a private authority, set SSL_CERT_FILE to its \
     certificate";

/// Explains a request without an answer on an open connection, over which the endpoint sent these bytes first.
pub(crate) fn unanswered(error: &hyper::Error, first: &[u8], tls: bool) -> Lost {
    let sources = || std::iter::successors(error.source(), |error| (*error).source());
    let io = sources().find_map(|error| error.downcast_ref::<io::Error>());
    let alert = io.and_then(|error| error.get_ref()?.downcast_ref::<TlsError>());
    let when = if first.is_empty() { "before an answer" } else { "within the answer" };
    // An alert or a handshake record of TLS: its type, then its version.
    let speaks_tls = matches!(first, [0x15 | 0x16, 3, ..]);
    let text = match (alert, io.map(io::Error::kind)) {
        (Some(alert), _) => format!("TLS failed: {}", tls_client::cause(alert, UNTRUSTED)),
        _ if !tls && speaks_tls => "the port answered in TLS; use https://".to_owned(),
        _ if error.is_parse() && !first.starts_with(b"HTTP/1.") => "what the port answered is not HTTP/1.1".to_owned(),
        (_, Some(io::ErrorKind::ConnectionReset)) => format!("the connection was reset {when}"),
        (_, Some(io::ErrorKind::UnexpectedEof)) => format!("the connection was closed {when}"),
        _ if error.is_incomplete_message() => format!("the connection was closed {when}"),
        _ => causes(error),
    };
    let may_be_tls = !tls && first.is_empty() && text.starts_with("the connection was");
    Lost::NoAnswer(if may_be_tls { format!("{text}; the endpoint failed, or its port expects https://") } else { text })
}

/// Describes an error with its causes, which hyper's own text leaves out.
pub(crate) fn causes(error: &hyper::Error) -> String {
    let sources = std::iter::successors(error.source(), |error| (*error).source());
    sources.fold(error.to_string(), |text, error| format!("{text}: {error}"))
}
