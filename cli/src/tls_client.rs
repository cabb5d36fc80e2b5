//! The TLS client of all commands that connect: the certificates that it trusts, and the causes of failed handshakes.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{AlertDescription, CertificateError, ClientConfig, Error, RootCertStore, crypto};

use crate::failure::Failure;

/// The certificates of the authorities that a client trusts.
#[derive(Debug)]
pub(crate) struct TrustedRoots(RootCertStore);

impl TrustedRoots {
    /// Reads the certificates that this machine trusts.
    pub(crate) fn of_system() -> Result<Self, Failure> {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            return Err(Failure::new(
                "https needs certificates to trust, and this machine has none (SSL_CERT_FILE names a file)",
            ));
        }
        Ok(TrustedRoots(roots))
    }

    /// Reads the certificates of a PEM file. All of them must be usable.
    pub(crate) fn of_file(path: &Path) -> Result<Self, Failure> {
        let unreadable = |error| Failure::because("cannot be read", error);
        let mut pem = Vec::new();
        let file = File::open(path).map_err(unreadable)?;
        file.take(LONGEST_PEM.saturating_add(1)).read_to_end(&mut pem).map_err(unreadable)?;
        if pem.len() as u64 > LONGEST_PEM {
            return Err(Failure::new(format!("longer than {LONGEST_PEM} bytes; it must only hold certificates")));
        }
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let added = certificate.map_err(|_| ()).and_then(|certificate| roots.add(certificate).map_err(|_| ()));
            added.map_err(|()| Failure::new("holds a certificate that cannot be parsed; export it again, as PEM"))?;
        }
        if roots.is_empty() {
            return Err(Failure::new(
                "holds no certificate in PEM (-----BEGIN CERTIFICATE-----); use that of the authority that signed the \
                 application's certificate",
            ));
        }
        Ok(TrustedRoots(roots))
    }

    /// Creates a client for HTTP/1.1 that verifies the certificate and the name of each server.
    pub(crate) fn connector(self) -> Result<TlsConnector, Failure> {
        let provider = Arc::new(crypto::ring::default_provider());
        // TLS 1.2 and 1.3.
        let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = versions.map_err(|error| Failure::because("https cannot be set up", error))?;
        let mut config = config.with_root_certificates(self.0).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

/// The longest file of certificates. Those that a machine trusts by default take about 220 KiB.
const LONGEST_PEM: u64 = 4 * 1024 * 1024;

/// Explains a failed handshake, in which the server sent these bytes first. `issuer` is as for [`cause`].
pub(crate) fn handshake_cause(error: &io::Error, first: &[u8], issuer: &str) -> String {
    let closed = [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset, io::ErrorKind::ConnectionAborted];
    match error.get_ref().and_then(|error| error.downcast_ref::<Error>()) {
        _ if first.starts_with(b"HTTP/") => "the port answered the TLS handshake in plain HTTP; use http://".to_owned(),
        Some(Error::InvalidMessage(_)) => "the port does not speak TLS; if it is plain HTTP, use http://".to_owned(),
        Some(error) => format!("TLS handshake failed: {}", cause(error, issuer)),
        None if closed.contains(&error.kind()) && first.is_empty() => {
            "the connection was closed during the TLS handshake; the port may not speak TLS".to_owned()
        }
        None => format!("TLS handshake failed: {error}"),
    }
}

/// Explains why TLS failed, with the next step. `issuer` is the next step if no trusted authority has signed the
/// certificate.
pub(crate) fn cause(error: &Error, issuer: &str) -> String {
    let cause = match error {
        Error::InvalidCertificate(certificate) => match certificate {
            // A signature is bad if an authority of the same name is trusted.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => return issuer.to_owned(),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the certificate has expired by this machine's clock; renew it"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the certificate is not valid yet by this machine's clock; check the clock"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the certificate is for another host name; use a name that it contains"
            }
            // rustls does not name this error of its verifier.
            CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
                "the certificate is that of an authority, not of a server; create it with `basicConstraints=CA:FALSE`"
            }
            _ => return error.to_string(),
        },
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the endpoint requires a client certificate, which `medhook` does not send"
        }
        Error::AlertReceived(AlertDescription::UnrecognisedName) => {
            "the endpoint has no certificate for this host name"
        }
        _ => return error.to_string(),
    };
    cause.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_usable_certificates_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let problem = || TrustedRoots::of_file(&path).unwrap_err().to_string();
        assert!(problem().starts_with("cannot be read: "), "{}", problem());
        for (content, expected) in [
            (String::new(), "holds no certificate in PEM"),
            (
                "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".to_owned(),
                "holds no certificate in PEM",
            ),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(), "cannot be parsed"),
            ("-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n".to_owned(), "cannot be parsed"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n".to_owned(), "cannot be parsed"),
            ("x".repeat(5 * 1024 * 1024), "longer than 4194304 bytes"),
        ] {
            std::fs::write(&path, &content).unwrap();
            assert!(problem().contains(expected), "{expected}: {}", problem());
        }
        let valid = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
        std::fs::write(&path, format!("a comment\n{valid}{valid}")).unwrap();
        assert!(TrustedRoots::of_file(&path).unwrap().connector().is_ok());
    }
}
