//! Reads a certificate with its key from PEM. No message quotes the content of a file.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error, InconsistentKeys};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

/// A certificate chain with the key of its first certificate.
#[derive(Debug)]
pub(super) struct CertificatePair {
    pub(super) certified: Arc<CertifiedKey>,
    /// `None` if the times cannot be read.
    validity: Option<CertificateValidity>,
}

#[derive(Debug, Clone, Copy)]
struct CertificateValidity {
    from: SystemTime,
    until: SystemTime,
}

/// A problem with the times of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CertificateTime {
    Expired,
    /// It expires within [`SOON`], after this many days.
    ExpiresSoon(u64),
    NotYetValid,
}

impl CertificatePair {
    /// Parses the chain and the key. The error names the key of the config file.
    pub(super) fn parse(cert: &[u8], key: &[u8]) -> Result<Self, String> {
        let chain = chain(cert).map_err(|problem| format!("`cert`: {problem}"))?;
        let key = private_key(key).map_err(|problem| format!("`key`: {problem}"))?;
        let validity = chain.first().and_then(validity);
        let certified = CertifiedKey::from_der(chain, key, &default_provider()).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                "`key`: does not belong to the first certificate of `cert`; the file must begin with the certificate \
                 of this server, and continue with those of its issuers"
                    .to_owned()
            }
            Error::InvalidCertificate(_) => {
                "`cert`: the first certificate is not a valid X.509 version 3 certificate; create it again".to_owned()
            }
            _ => "`key`: this kind of key is not supported; use RSA with 2048 to 8192 bits, ECDSA P-256 or P-384, or \
                  Ed25519"
                .to_owned(),
        })?;
        Ok(CertificatePair { certified: Arc::new(certified), validity })
    }

    /// Returns whether both have the same certificates. A new key needs a new certificate.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        self.certified.cert == other.certified.cert
    }

    /// Returns what is wrong with the certificate at this time.
    pub(super) fn time_problem(&self, now: SystemTime) -> Option<CertificateTime> {
        let CertificateValidity { from, until } = self.validity?;
        match until.duration_since(now) {
            _ if from > now => Some(CertificateTime::NotYetValid),
            Err(_) => Some(CertificateTime::Expired),
            Ok(left) if left < SOON => Some(CertificateTime::ExpiresSoon(left.as_secs() / SECONDS_PER_DAY)),
            Ok(_) => None,
        }
    }
}

/// The problem, and what to do.
impl fmt::Display for CertificateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CertificateTime::Expired => f.write_str("the certificate has expired, so senders reject it; renew it"),
            CertificateTime::ExpiresSoon(0) => f.write_str("the certificate expires in less than a day; renew it"),
            CertificateTime::ExpiresSoon(1) => f.write_str("the certificate expires in 1 day; renew it"),
            CertificateTime::ExpiresSoon(days) => write!(f, "the certificate expires in {days} days; renew it"),
            CertificateTime::NotYetValid => {
                f.write_str("the certificate is not valid yet; check the clock of this machine")
            }
        }
    }
}

/// The time before the end of a certificate from which it is reported daily.
const SOON: Duration = Duration::from_secs(14 * SECONDS_PER_DAY);
const SECONDS_PER_DAY: u64 = 86_400;

/// Returns the problems of a certificate and its key at this time, or the reason why they cannot be used. For
/// `tests/properties`.
pub fn certificate_lines(cert: &[u8], key: &[u8], now: SystemTime) -> Result<Vec<String>, String> {
    let pair = CertificatePair::parse(cert, key)?;
    Ok(pair.time_problem(now).iter().map(ToString::to_string).collect())
}

fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(|error| damaged(&error))?;
    if chain.is_empty() {
        return Err(match PrivateKeyDer::from_pem_slice(pem) {
            Ok(_) => "contains a private key, but no certificate; `cert` and `key` may be swapped".to_owned(),
            Err(_) => "contains no certificate; it must be PEM, with a line -----BEGIN CERTIFICATE-----".to_owned(),
        });
    }
    Ok(chain)
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| {
        let has = |text: &[u8]| pem.windows(text.len()).any(|window| window == text);
        match error {
            PemError::NoItemsFound if has(b"ENCRYPTED PRIVATE KEY") => {
                "is encrypted; decrypt it, for example with `openssl pkey -in KEY -out NEW_KEY`".to_owned()
            }
            PemError::NoItemsFound if has(b"BEGIN CERTIFICATE") => {
                "contains a certificate, but no private key; `cert` and `key` may be swapped".to_owned()
            }
            PemError::NoItemsFound => {
                "contains no private key; it must be PEM, with a line such as -----BEGIN PRIVATE KEY-----".to_owned()
            }
            error => damaged(&error),
        }
    })
}

/// Describes an error without the text that it quotes.
fn damaged(error: &PemError) -> String {
    let problem = match error {
        PemError::MissingSectionEnd { .. } => "a section has no END line; the file may be truncated",
        PemError::IllegalSectionStart { .. } => "a BEGIN line is malformed",
        PemError::Base64Decode(_) => "a section is not base64; the file may be damaged",
        _ => "not valid PEM",
    };
    problem.to_owned()
}

fn validity(certificate: &CertificateDer<'_>) -> Option<CertificateValidity> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let validity = certificate.tbs_certificate().validity();
    Some(CertificateValidity { from: validity.not_before.to_system_time(), until: validity.not_after.to_system_time() })
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// Returns a certificate and its key. Its validity ends in 2027 and began in 2025.
    fn pair() -> (String, String) {
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2025, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn at(text: &str) -> SystemTime {
        text.parse::<jiff::Timestamp>().unwrap().into()
    }

    #[test]
    fn the_times_of_a_certificate_are_checked() {
        let (cert, key) = pair();
        let pair = CertificatePair::parse(cert.as_bytes(), key.as_bytes()).unwrap();
        for (now, problem) in [
            ("2024-12-31T23:59:59Z", Some(CertificateTime::NotYetValid)),
            ("2026-01-01T00:00:00Z", None),
            ("2026-12-18T00:00:00Z", None),
            ("2026-12-18T00:00:01Z", Some(CertificateTime::ExpiresSoon(13))),
            ("2026-12-31T12:00:00Z", Some(CertificateTime::ExpiresSoon(0))),
            ("2027-01-01T00:00:01Z", Some(CertificateTime::Expired)),
        ] {
            assert_eq!(pair.time_problem(at(now)), problem, "{now}");
        }
    }

    #[test]
    fn a_mistake_in_a_file_has_its_own_message_without_the_content() {
        let (cert, key) = pair();
        let (_, other_key) = self::pair();
        let (truncated, _) = cert.split_at(cert.len() / 2);
        let mut not_base64 = String::new();
        for line in key.lines() {
            writeln!(not_base64, "{}", if line.starts_with("---") { line } else { "canary?canary" }).unwrap();
        }
        let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        for (cert, key, problem) in [
            ("", &*key, "`cert`: contains no certificate"),
            ("canary", &key, "`cert`: contains no certificate"),
            (&*key, &cert, "`cert`: contains a private key, but no certificate"),
            (truncated, &key, "`cert`: a section has no END line"),
            (&cert, "", "`key`: contains no private key"),
            (&cert, &cert, "`key`: contains a certificate, but no private key"),
            (&cert, &encrypted, "`key`: is encrypted"),
            (&cert, &not_base64, "`key`: a section is not base64"),
            (&cert, &other_key, "`key`: does not belong to the first certificate"),
        ] {
            let error = CertificatePair::parse(cert.as_bytes(), key.as_bytes()).unwrap_err();
            assert!(error.starts_with(problem), "{error}, not {problem}");
            assert!(!error.contains("canary") && error.lines().count() == 1, "{error}");
        }
    }

    #[test]
    fn a_chain_must_begin_with_the_certificate_of_the_key() {
        let ((cert, key), (issuer, _)) = (pair(), pair());
        let parse = |chain: String| CertificatePair::parse(chain.as_bytes(), key.as_bytes());
        assert_eq!(parse(format!("{cert}{issuer}")).unwrap().certified.cert.len(), 2);
        // A file can hold both.
        assert!(CertificatePair::parse(format!("{cert}{key}").as_bytes(), format!("{cert}{key}").as_bytes()).is_ok());
        assert!(parse(format!("{issuer}{cert}")).is_err_and(|error| error.contains("must begin with")));
    }
}
