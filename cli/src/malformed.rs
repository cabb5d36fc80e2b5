//! Requests that the HTTP server rejects itself because they are malformed, and what their first bytes look like.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::rustls::{self, AlertDescription};

/// The cause for which the server rejected a request before it was passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Malformed {
    /// The connection begins like a TLS handshake.
    Tls,
    /// The connection begins with a header of the PROXY protocol.
    ProxyProtocol,
    /// The connection begins like HTTP/2 without TLS.
    Http2,
    /// The head is too long or has too many headers.
    TooLarge,
    /// The connection begins like HTTP without TLS, at a port that speaks TLS.
    PlainHttp,
    /// The client aborted the TLS handshake because it does not accept the certificate.
    Certificate,
    /// The client and this port have no version of TLS or no cipher suite in common.
    TlsVersion,
    /// Another failure of the TLS handshake.
    Handshake,
    Unknown,
}

impl Malformed {
    /// Returns the cause for which the server ended a connection, or `None` if not because of a malformed request.
    pub(crate) fn of(error: &hyper::Error, begin: Option<Malformed>) -> Option<Self> {
        if error.is_parse_too_large() {
            Some(Malformed::TooLarge)
        } else if error.is_parse_version_h2() {
            Some(Malformed::Http2)
        } else {
            let begin = begin.filter(|begin| *begin != Malformed::PlainHttp);
            error.is_parse().then(|| begin.unwrap_or(Malformed::Unknown))
        }
    }

    /// Returns the cause for which a TLS handshake failed, or `None` if the client only disconnected.
    pub(crate) fn of_handshake(error: &io::Error, begin: Option<Malformed>) -> Option<Self> {
        let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
        Some(match (begin, error) {
            (Some(other @ (Malformed::PlainHttp | Malformed::ProxyProtocol | Malformed::Http2)), _) => other,
            (_, rustls::Error::NoApplicationProtocol) => Malformed::Http2,
            (_, rustls::Error::PeerIncompatible(_)) => Malformed::TlsVersion,
            (_, rustls::Error::AlertReceived(alert)) if is_about_certificate(*alert) => Malformed::Certificate,
            _ => Malformed::Handshake,
        })
    }

    /// Returns the status of the server's answer. A connection that begins HTTP/2 or has no TLS is closed without one.
    pub(crate) fn status(self) -> Option<u16> {
        match self {
            Malformed::Http2
            | Malformed::PlainHttp
            | Malformed::Certificate
            | Malformed::TlsVersion
            | Malformed::Handshake => None,
            Malformed::TooLarge => Some(431),
            Malformed::Tls | Malformed::ProxyProtocol | Malformed::Unknown => Some(400),
        }
    }

    /// Returns the likely cause, and what to do.
    pub(crate) fn cause(self) -> &'static str {
        match self {
            Malformed::Tls => "a client begins TLS, but this port speaks plain HTTP: put a TLS proxy in front of it",
            Malformed::ProxyProtocol => {
                "a proxy sends the PROXY protocol, which this port does not speak: disable it there"
            }
            Malformed::Http2 => "a client sends HTTP/2, but this port speaks HTTP/1.1: use HTTP/1.1 there",
            Malformed::TooLarge => {
                "the head is longer than 16 KiB or has more than 100 headers: check what the proxy adds"
            }
            Malformed::PlainHttp => {
                "a client sends plain HTTP, but this port speaks TLS: use an https:// URL at the provider or in the proxy"
            }
            Malformed::Certificate => {
                "a client does not accept the certificate: check its names and its expiry, that `cert` holds the \
                 whole chain, and that it does not begin with the certificate of an authority (CA:TRUE)"
            }
            Malformed::TlsVersion => {
                "a client supports neither TLS 1.2 nor 1.3, or none of their current cipher suites: update the client"
            }
            Malformed::Handshake => "the TLS handshake failed: check what connects to this port",
            Malformed::Unknown => {
                "invalid HTTP/1.1: check what connects to this port, and the headers that the proxy adds"
            }
        }
    }

    /// Recognizes another protocol by the first bytes of a connection.
    fn recognize(begin: &[u8]) -> Option<Self> {
        if begin.starts_with(&[0x16, 0x03]) {
            Some(Malformed::Tls)
        } else if begin.starts_with(b"PROXY ") || begin.starts_with(b"\r\n\r\n\0\r\nQUIT\n") {
            Some(Malformed::ProxyProtocol)
        } else if begin.starts_with(b"PRI * HTTP/2.0") {
            Some(Malformed::Http2)
        } else {
            let is_http = METHODS.iter().any(|method| begin.starts_with(method));
            is_http.then_some(Malformed::PlainHttp)
        }
    }
}

/// The methods that a client may send to a port that speaks TLS.
const METHODS: [&[u8]; 7] = [b"POST ", b"GET ", b"HEAD ", b"PUT ", b"OPTIONS ", b"PATCH ", b"DELETE "];

/// Returns whether a client sends this alert if it does not accept a certificate.
fn is_about_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateRevoked
            // Sent for a certificate whose signature is not that of its issuer.
            | AlertDescription::DecryptError
            | AlertDescription::UnknownCA
            | AlertDescription::UnsupportedCertificate
    )
}

/// A connection that remembers what its first bytes look like.
pub(crate) struct Begun<S> {
    stream: S,
    begin: Arc<OnceLock<Option<Malformed>>>,
}

impl<S> Begun<S> {
    pub(crate) fn new(stream: S) -> (Self, Arc<OnceLock<Option<Malformed>>>) {
        let begin = Arc::default();
        (Begun { stream, begin: Arc::clone(&begin) }, begin)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Begun<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if let Some(new @ [_, ..]) = buffer.filled().get(before..) {
            self.begin.get_or_init(|| Malformed::recognize(new));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Begun<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_protocols_are_recognized_by_their_first_bytes() {
        for (begin, recognized) in [
            (&b"\x16\x03\x01\x02\x00\x01"[..], Some(Malformed::Tls)),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", Some(Malformed::ProxyProtocol)),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11", Some(Malformed::ProxyProtocol)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some(Malformed::Http2)),
            (b"POST / HTTP/1.1\r\n", Some(Malformed::PlainHttp)),
            (b"post / HTTP/1.1\r\n", None),
            (b"\x16", None),
            (b"PROXYPOST", None),
            (b"\r\n\r\nPOST / HTTP/1.1\r\n", None),
        ] {
            assert_eq!(Malformed::recognize(begin), recognized, "{begin:?}");
        }
    }
}
