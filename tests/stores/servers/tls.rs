//! Tests over TLS, with temporary certificate authorities.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use medhook::{Claimed, DedupeStore, PostgresStore, RedisStore};
use medhook_tests::servers::{PASSWORD, Server};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use crate::suite::{HOUR, key, token};

/// A certificate for `localhost`, its key, its authority, and an unrelated authority.
struct Papers(TempDir);

impl Papers {
    fn new() -> Self {
        let papers = Papers(TempDir::new().unwrap());
        let authority = || {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
        };
        let (ours, theirs) = (authority(), authority());
        let server = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        papers.write("server.pem", &params.signed_by(&server, &ours).unwrap().pem());
        papers.write("server.key", &server.serialize_pem());
        papers.write("ours.pem", &ours.pem());
        papers.write("theirs.pem", &theirs.pem());
        std::fs::set_permissions(papers.0.path(), PermissionsExt::from_mode(0o755)).unwrap();
        papers
    }

    fn write(&self, name: &str, pem: &str) {
        std::fs::write(self.path(name), pem).unwrap();
        std::fs::set_permissions(self.path(name), PermissionsExt::from_mode(0o644)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[tokio::test]
async fn postgres_over_tls_verifies_the_certificate_if_configured() {
    let papers = Papers::new();
    let server = Server::postgres_with_tls(&papers.path("server.pem"), &papers.path("server.key"));
    let url = |host: &str, sslmode: &str, authority: &str| {
        let authority = shown(&papers.path(authority));
        let port = server.port();
        format!("postgres://medhook:{PASSWORD}@{host}:{port}/postgres?sslmode={sslmode}&sslrootcert={authority}")
    };
    let store = PostgresStore::connect(&url("localhost", "verify-full", "ours.pem")).await.unwrap();
    assert_eq!(store.claim(key(1), token(1), HOUR).await.unwrap(), Claimed::Acquired);
    let for_another_name = url("127.0.0.1", "verify-full", "ours.pem");
    let by_another_authority = url("localhost", "verify-full", "theirs.pem");
    for url in [for_another_name, by_another_authority] {
        let line = PostgresStore::connect(&url).await.unwrap_err().to_string();
        assert!(line.contains("certificate") && !line.contains('\n'), "{line}");
    }
}

#[tokio::test]
async fn redis_over_tls_verifies_the_certificate() {
    let papers = Papers::new();
    let (server, port) = Server::redis_with_tls(&papers.path("server.pem"), &papers.path("server.key"));
    let connect = async |url: &str, authority: &str| {
        RedisStore::builder().root_certificates(papers.path(authority)).connect(url).await
    };
    let url = format!("rediss://:{PASSWORD}@localhost:{port}");
    let store = connect(&url, "ours.pem").await.unwrap();
    assert_eq!(store.claim(key(1), token(1), HOUR).await.unwrap(), Claimed::Acquired);
    for (url, authority) in [(&*url, "theirs.pem"), (&*format!("rediss://:{PASSWORD}@127.0.0.1:{port}"), "ours.pem")] {
        let line = connect(url, authority).await.unwrap_err().to_string();
        assert!(line.contains("TLS: invalid peer certificate") && !line.contains('\n'), "{line}");
    }
    for authority in ["server.key", "no-such-file.pem"] {
        let line = connect(&url, authority).await.unwrap_err().to_string();
        assert!(line.contains("cannot read certificates from"), "{line}");
    }
    drop(server);
}
