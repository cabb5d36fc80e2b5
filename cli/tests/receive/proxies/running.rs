//! Starts nginx and Caddy with the configurations in contrib, and a certificate of the tests.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto};

use crate::program::{Folder, PATIENCE};

/// A proxy that has a configuration in contrib.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Nginx,
    Caddy,
}

/// Replaces a text in the configuration, which must be there.
pub(super) type Edit<'e> = (&'e str, &'e str);

impl Kind {
    /// Returns the program, if scripts/proxies runs this test.
    fn program(self) -> Option<String> {
        let variable = match self {
            Kind::Nginx => "MEDHOOK_TEST_NGINX",
            Kind::Caddy => "MEDHOOK_TEST_CADDY",
        };
        // scripts/rolling-update sets one of them.
        std::env::var("MEDHOOK_TEST_PROXIES").ok()?;
        Some(std::env::var(variable).expect("the program"))
    }

    fn documented(self) -> &'static str {
        match self {
            Kind::Nginx => include_str!("../../../../contrib/nginx/medhook.conf"),
            Kind::Caddy => include_str!("../../../../contrib/caddy/Caddyfile"),
        }
    }
}

/// Runs a check with each proxy, or with none if scripts/proxies does not run this test.
pub(super) fn with_each(check: impl Fn(Kind)) {
    for kind in [Kind::Nginx, Kind::Caddy] {
        if kind.program().is_some() {
            check(kind);
        }
    }
}

/// A running proxy.
pub(super) struct Proxy {
    kind: Kind,
    child: Child,
    pub(super) folder: Folder,
    certificate: CertificateDer<'static>,
    pub(super) address: SocketAddr,
}

impl Proxy {
    /// Starts a proxy in front of `upstream` with the documented configuration.
    pub(super) fn start(kind: Kind, upstream: SocketAddr) -> Self {
        Proxy::edited(kind, upstream, &[])
    }

    /// Starts a proxy whose configuration differs from the documented one in these points.
    pub(super) fn edited(kind: Kind, upstream: SocketAddr, edits: &[Edit<'_>]) -> Self {
        let folder = Folder::new();
        let certificate = certificate(&folder);
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut site = kind.documented().to_owned();
        let (root, to) = (folder.path().display().to_string(), upstream.to_string());
        let port = address.port();
        let pair = match kind {
            Kind::Nginx => (format!("{root}/cert.pem"), format!("{root}/key.pem")),
            Kind::Caddy => (String::new(), String::new()),
        };
        let listen = format!("listen {address} ssl http2;");
        let sites = format!(
            "https://localhost:{port}, https://hooks.example.org:{port} {{\n\tbind 127.0.0.1\n\ttls {root}/cert.pem \
             {root}/key.pem"
        );
        let own: &[Edit<'_>] = match kind {
            Kind::Nginx => &[
                ("listen 443 ssl;", &listen),
                ("/etc/nginx/hooks.crt", &pair.0),
                ("/etc/nginx/hooks.key", &pair.1),
                ("127.0.0.1:8787", &to),
                ("127.0.0.1:8789", &to),
            ],
            Kind::Caddy => &[
                ("\n{\n", "\n{\n\tadmin off\n\tauto_https disable_redirects\n"),
                ("hooks.example.org {", &sites),
                ("127.0.0.1:8787", &to),
            ],
        };
        for (from, to) in edits.iter().chain(own) {
            assert_eq!(site.matches(from).count(), 1, "{from}");
            site = site.replace(from, to);
        }
        let child = kind.command(&folder, &site).spawn().unwrap();
        let mut proxy = Proxy { kind, child, folder, certificate, address };
        let began = Instant::now();
        // Caddy can listen before it has loaded the certificate.
        while let Err(error) = proxy.connect() {
            let ended = proxy.child.try_wait().unwrap();
            assert!(ended.is_none() && began.elapsed() < PATIENCE, "{kind:?} does not listen: {error}");
            std::thread::sleep(Duration::from_millis(5));
        }
        proxy
    }

    /// Opens a connection with TLS for HTTP/1.1.
    pub(super) fn connect(&self) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let config = builder.with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        client.complete_io(&mut stream)?;
        Ok(StreamOwned::new(client, stream))
    }
}

impl Kind {
    fn command(self, folder: &Folder, site: &str) -> Command {
        let root = folder.path().display();
        let mut command = Command::new(self.program().unwrap());
        match self {
            Kind::Nginx => {
                folder.file("site.conf", site);
                let user = if rustix::process::getuid().is_root() { "user root;" } else { "" };
                let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                    .map(|name| format!("{name}_temp_path {root}/{name};\n"))
                    .concat();
                let main = format!(
                    "{user} daemon off; pid {root}/nginx.pid; error_log {root}/nginx.log;\nevents {{}}\n\
                     http {{ access_log {root}/access.log;\n{temporary}include {root}/site.conf;\n}}\n"
                );
                let main = folder.file("nginx.conf", &main);
                command.arg("-p").arg(folder.path()).arg("-c").arg(main);
            }
            Kind::Caddy => {
                let file = folder.file("Caddyfile", site);
                command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
                command.env("HOME", folder.path()).env("XDG_DATA_HOME", folder.path());
                command.env("XDG_CONFIG_HOME", folder.path()).stderr(Stdio::null()).stdout(Stdio::null());
            }
        }
        command.stdin(Stdio::null());
        command
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // With SIGTERM, nginx also ends its workers, which SIGKILL would not.
        if self.kind == Kind::Nginx {
            medhook_tests::servers::signal("TERM", &[self.child.id()]);
        } else {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// Writes a certificate for the names that the tests request, and its key.
fn certificate(folder: &Folder) -> CertificateDer<'static> {
    let names = ["localhost".to_owned(), "hooks.example.org".to_owned()];
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    folder.file("cert.pem", &certificate.pem());
    folder.file("key.pem", &key.serialize_pem());
    certificate.der().clone()
}
