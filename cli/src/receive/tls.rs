//! TLS of the listener: reads `tls = { cert, key }`, and replaces the certificate while the receiver runs.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

use super::certificate::{CertificatePair, CertificateTime};
use super::keys::TableKeys;
use super::secrets::{OPEN_TO_OTHERS, is_open_to_others};
use crate::failure::Failure;

/// The certificate of the listener and its key, with the files that they come from.
#[derive(Debug, Clone)]
pub(super) struct CertificateSource {
    place: String,
    /// The files of the chain and of the key.
    files: [PathBuf; 2],
    current: Arc<RwLock<CertificatePair>>,
}

impl CertificateSource {
    /// Takes `tls`, and reads its files. An expired certificate is accepted at the start, with a warning, because the
    /// clock may be wrong and the health checks must work.
    pub(super) fn take(keys: &mut TableKeys) -> Result<Option<Self>, Failure> {
        let Some(table) = keys.table("tls", SUCH_AS)? else {
            return Ok(None);
        };
        let mut keys = TableKeys::within(format!("{}: `tls`", keys.place()), table);
        keys.all_known(&["cert", "key"])?;
        let (cert, key) = (keys.text("cert")?, keys.text("key")?);
        let (cert, key) = (keys.needed("cert", cert)?, keys.needed("key", key)?);
        let (cert, key) = (PathBuf::from(cert), PathBuf::from(key));
        let place = keys.place().to_owned();
        let pair = read_pair(&cert, &key).map_err(|problem| Failure::because(&place, problem))?;
        Ok(Some(CertificateSource { place, files: [cert, key], current: Arc::new(RwLock::new(pair)) }))
    }

    /// Returns the files: that of the chain, and that of the key.
    pub(super) fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Replaces the certificate with the contents of its files, if they have changed. Returns whether it was replaced.
    pub(super) fn replace(&self, cert: &[u8], key: &[u8]) -> Result<bool, String> {
        let pair = CertificatePair::parse(cert, key).map_err(|problem| self.kept(&problem))?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if pair.is_same_as(&current) {
            return Ok(false);
        }
        match pair.time_problem(SystemTime::now()) {
            Some(problem @ (CertificateTime::Expired | CertificateTime::NotYetValid)) => {
                return Err(self.kept(&format!("`cert`: {problem}")));
            }
            Some(CertificateTime::ExpiresSoon(_)) | None => {}
        }
        *current = pair;
        tracing::info!(target: "medhook::secrets", place = self.place, "a new certificate is in use");
        Ok(true)
    }

    /// Returns the line about a problem after which the old certificate stays in use.
    pub(super) fn kept(&self, problem: &str) -> String {
        format!("{}: {problem}; the old certificate stays in use", self.place)
    }

    /// Returns the warnings about the certificate and its key at this time.
    pub(super) fn warnings(&self, now: SystemTime) -> Vec<String> {
        let problem = self.current.read().unwrap_or_else(PoisonError::into_inner).time_problem(now);
        let time = problem.map(|problem| format!("{}: `cert`: {problem}", self.place));
        time.into_iter().chain(self.key_warning()).collect()
    }

    fn key_warning(&self) -> Option<String> {
        let [_, key] = &self.files;
        is_open_to_others(key).then(|| format!("{}: `key`: {OPEN_TO_OTHERS}", self.place))
    }

    /// Logs each day that the certificate expires soon or has expired. Never returns.
    pub(super) async fn watch_expiry(self) {
        let mut days = interval(DAY);
        days.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick is at once, when the warnings of the start have been logged.
        days.tick().await;
        loop {
            days.tick().await;
            self.warnings(SystemTime::now()).iter().for_each(|warning| tracing::warn!("{warning}"));
        }
    }

    /// Creates the acceptor of TLS connections, version 1.2 or 1.3.
    pub(super) fn acceptor(&self) -> Result<TlsAcceptor, Failure> {
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| Failure::because("TLS cannot be set up", error))?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl ResolvesServerCert for CertificateSource {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().unwrap_or_else(PoisonError::into_inner).certified.clone())
    }
}

/// The expected form of `tls`, for messages.
const SUCH_AS: &str = "a table such as { cert = \"/etc/medhook/cert.pem\", key = \"/etc/medhook/key.pem\" }";

const DAY: Duration = Duration::from_secs(86_400);

/// Longer than every chain.
const LONGEST: u64 = 1024 * 1024;

fn read_pair(cert: &Path, key: &Path) -> Result<CertificatePair, String> {
    let cert = read(cert).map_err(|problem| format!("`cert`: {problem}"))?;
    let key = read(key).map_err(|problem| format!("`key`: {problem}"))?;
    CertificatePair::parse(&cert, &key)
}

/// Reads a file. The error does not name it: a key may be written in its place by mistake.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST.saturating_add(1)).read_to_end(&mut content));
    read.map_err(|error| format!("the file cannot be read: {error}"))?;
    if content.len() as u64 > LONGEST {
        return Err(format!("the file is longer than {LONGEST} bytes"));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_pair(folder: &Path, until: i32) {
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        std::fs::write(folder.join("cert.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    }

    fn source(folder: &Path) -> CertificateSource {
        let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        let toml = format!("tls = {{ cert = {cert:?}, key = {key:?} }}");
        CertificateSource::take(&mut TableKeys::parse("medhook.toml", &toml).unwrap()).unwrap().unwrap()
    }

    #[test]
    fn a_new_certificate_replaces_the_old_one_only_if_it_can_be_used() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write_pair(folder, 2100);
        let source = source(folder);
        let reload = || {
            let [cert, key] = ["cert.pem", "key.pem"].map(|name| std::fs::read(folder.join(name)).unwrap());
            source.replace(&cert, &key)
        };
        let current = || source.current.read().unwrap().certified.cert.clone();
        let first = current();
        assert_eq!(reload(), Ok(false));

        let old_key = std::fs::read(folder.join("key.pem")).unwrap();
        write_pair(folder, 2100);
        let new_key = std::fs::read(folder.join("key.pem")).unwrap();
        std::fs::write(folder.join("key.pem"), old_key).unwrap();
        let kept = |problem: &str| {
            let error = reload().unwrap_err();
            assert!(error.starts_with("medhook.toml: `tls`: ") && error.contains(problem), "{error}");
            assert!(error.ends_with("; the old certificate stays in use"), "{error}");
            assert_eq!(current(), first);
        };
        kept("does not belong");
        std::fs::write(folder.join("key.pem"), "").unwrap();
        kept("contains no private key");
        std::fs::write(folder.join("key.pem"), new_key).unwrap();
        assert_eq!(reload(), Ok(true));
        assert_ne!(current(), first);

        let first = current();
        write_pair(folder, 2021);
        assert!(reload().is_err_and(|error| error.contains("has expired")));
        assert_eq!(current(), first);
    }

    #[cfg(unix)]
    #[test]
    fn an_expired_certificate_and_a_key_that_others_can_read_are_reported_at_the_start() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        write_pair(folder.path(), 2021);
        let restrict = |mode| {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(folder.path().join("key.pem"), permissions).unwrap();
        };
        restrict(0o644);
        let warnings = source(folder.path()).warnings(SystemTime::now());
        assert_eq!(
            warnings,
            [
                "medhook.toml: `tls`: `cert`: the certificate has expired, so senders reject it; renew it",
                "medhook.toml: `tls`: `key`: its mode lets other users access the file; restrict it with chmod o-rwx",
            ]
        );
        write_pair(folder.path(), 2100);
        restrict(0o640);
        assert_eq!(source(folder.path()).warnings(SystemTime::now()), [""; 0]);
    }

    #[test]
    fn the_table_names_both_files() {
        for (toml, problem) in [
            ("tls = true", "medhook.toml: `tls`: must be a table such as"),
            ("tls = {}", "medhook.toml: `tls`: `cert`: missing"),
            ("tls = { cert = \"a\" }", "medhook.toml: `tls`: `key`: missing"),
            ("tls = { cert = \"a\", key = \"b\", ca = \"c\" }", "medhook.toml: `tls`: unknown key `ca`"),
            ("tls = { cert = \"/no/canary\", key = \"b\" }", "medhook.toml: `tls`: `cert`: the file cannot be read"),
        ] {
            let error = CertificateSource::take(&mut TableKeys::parse("medhook.toml", toml).unwrap()).unwrap_err();
            let error = error.to_string();
            assert!(error.starts_with(problem) && !error.contains("canary"), "{error}");
        }
    }
}
