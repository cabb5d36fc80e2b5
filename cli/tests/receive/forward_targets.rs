//! Applications behind TLS and behind Unix sockets.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use medhook_tests::served::unused_address;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{NoClientAuth, WebPkiClientVerifier};
use tokio_rustls::rustls::version::TLS12;
use tokio_rustls::rustls::{ALL_VERSIONS, RootCertStore, ServerConfig, SupportedProtocolVersion, crypto};

use crate::application::Application;
use crate::program::{Folder, Instance, medhook};
use crate::sender::{ENDPOINT, Sender, delivery};

/// A config with an endpoint for each of these targets. The paths are `/0`, `/1` and so on.
fn config(targets: &[(String, &str)]) -> String {
    let mut text = "listen = \"127.0.0.1:0\"\ndrain_delay = \"0s\"\nstore = \"memory\"\n".to_owned();
    for (number, (url, keys)) in targets.iter().enumerate() {
        let endpoint = ENDPOINT.replace("/healthsync", &format!("/{number}"));
        text += &format!("{endpoint}name = \"e{number}\"\nreuse_secret = true\nforward = \"{url}\"\n{keys}\n");
    }
    text
}

/// Sends an event to each of the endpoints 0 to `count`. Returns the status and `upstream` of each.
async fn send(instance: &Instance, count: usize) -> Vec<(u16, String)> {
    let (sender, before) = (Sender::new(), instance.stdout().len());
    let mut seen = Vec::new();
    for number in 0..count {
        let mut event = delivery(&format!("evt-{before}-{number}"));
        *event.uri_mut() = format!("/{number}").parse().unwrap();
        let status = sender.send(instance.address, &event).await.unwrap();
        let line = instance.lines(before + number + 1).remove(before + number);
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        seen.push((status, line["upstream"].as_str().unwrap().to_owned()));
    }
    seen
}

/// An authority for certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Returns the config of a server with a certificate for this name.
    fn server(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Arc<ServerConfig> {
        self.server_with(name, change, Arc::new(NoClientAuth), ALL_VERSIONS)
    }

    /// Returns the config of a server that requires certificates of its clients.
    ///
    /// In TLS 1.3, the client has finished the handshake before the server asks for its certificate, so the alert can
    /// be lost to a reset of the connection.
    fn server_of_clients(&self, name: &str, clients: Arc<dyn ClientCertVerifier>) -> Arc<ServerConfig> {
        self.server_with(name, |_| {}, clients, &[&TLS12])
    }

    fn server_with(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
        clients: Arc<dyn ClientCertVerifier>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let provider = Arc::new(crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config =
            config.with_client_cert_verifier(clients).with_single_cert(vec![certificate.der().clone()], private);
        let mut config = config.unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_over_tls_is_verified_and_reached_directly_whatever_the_proxy_variables_say() {
    let folder = Folder::new();
    let (trusted, other) = (Authority::new(), Authority::new());
    folder.file("ca.pem", &trusted.0.pem());
    folder.file("other.pem", &other.0.pem());
    let server = trusted.server("localhost", |_| {});
    let application = Application::with_tls(server.clone(), 204).await;
    let redirecting = Application::with_tls(server, 307).await;
    let wrong_name = Application::with_tls(trusted.server("app.example", |_| {}), 204).await;
    let expired = trusted.server("localhost", |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let expired = Application::with_tls(expired, 204).await;
    let mut roots = RootCertStore::empty();
    roots.add(trusted.0.der().clone()).unwrap();
    let provider = Arc::new(crypto::ring::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let of_clients = Application::with_tls(trusted.server_of_clients("localhost", clients), 204).await;
    let plain = Application::answering(204).await;
    let (closed, _held) = unused_address();
    let https = |port: u16| format!("https://localhost:{port}/app?token=canary");
    let trusting = "forward_ca = \"ca.pem\"";
    let config = config(&[
        (https(application.address.port()), trusting),
        (https(application.address.port()), "forward_ca = \"other.pem\""),
        // The roots of the system.
        (https(application.address.port()), ""),
        (https(wrong_name.address.port()), trusting),
        (https(expired.address.port()), trusting),
        (https(plain.address.port()), trusting),
        (https(of_clients.address.port()), trusting),
        (https(closed.port()), trusting),
        (https(redirecting.address.port()), trusting),
        (plain.url(), ""),
        // The certificate names `localhost` only.
        (format!("https://127.0.0.1:{}/app", application.address.port()), trusting),
    ]);
    folder.file("medhook.toml", &config);
    let mut command = medhook(&folder, &["--config", "medhook.toml", "--json"]);
    for proxy in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        command.env(proxy, format!("http://{closed}/"));
    }
    command.env("SSL_CERT_FILE", "other.pem").env_remove("NO_PROXY").env_remove("no_proxy");
    let instance = Instance::reading(command);
    let expected = [
        (204, "204"),
        (502, "tls_failed"),
        (502, "tls_failed"),
        (502, "tls_failed"),
        (502, "tls_failed"),
        (502, "tls_failed"),
        (502, "tls_failed"),
        (502, "not_reached"),
        (502, "307"),
        (204, "204"),
        (502, "tls_failed"),
    ]
    .map(|(status, upstream)| (status, upstream.to_owned()));
    assert_eq!(send(&instance, 11).await, expected);
    // The failures are repeated over the same connection, without another line.
    assert_eq!(send(&instance, 11).await, expected);
    assert_eq!(application.calls().len(), 2, "two that were accepted");
    assert_eq!(redirecting.calls().len(), 2, "a redirect is not followed");
    assert!(wrong_name.calls().is_empty() && expired.calls().is_empty());
    let got = &application.calls()[0].request;
    assert_eq!(got.headers()["host"], format!("localhost:{}", application.address.port()));
    assert_eq!(got.uri(), "/app?token=canary");

    let log = instance.stderr();
    assert!(!log.iter().any(|line| line.contains("canary")), "{log:?}");
    let shown = format!("forwards to https://localhost:{}/app", application.address.port());
    assert!(log.iter().any(|line| line.ends_with(&shown)), "{log:?}");
    let failures: Vec<_> = log.iter().filter(|line| line.contains("cannot connect to the application: ")).collect();
    assert_eq!(failures.len(), 7, "{failures:?}");
    let another_name = "TLS handshake failed: the certificate is for another host name; use a name that it contains";
    for (line, (host, cause)) in failures.iter().zip([
        ("localhost", "TLS handshake failed: no trusted authority has signed the certificate"),
        ("localhost", "set `forward_ca` to its certificate"),
        ("localhost", another_name),
        ("localhost", "TLS handshake failed: the certificate has expired by this machine's clock; renew it"),
        ("localhost", "the port does not speak TLS; if it is plain HTTP, use http://"),
        (
            "localhost",
            "TLS handshake failed: the endpoint requires a client certificate, which `medhook` does not send",
        ),
        ("127.0.0.1", another_name),
    ]) {
        let forward = format!("forward=https://{host}:");
        assert!(line.contains(" WARN ") && line.contains(cause) && line.contains(&forward), "{line}");
    }
}

/// Starts an application at this socket. It ends with the runtime, as a process would.
async fn socket_application(path: &Path) -> (Application, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let application = runtime.spawn(Application::at_socket(path.to_owned(), 200)).await.unwrap();
    (application, runtime)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_at_a_unix_socket_is_reached_again_after_it_restarts() {
    let folder = Folder::new();
    let socket = folder.path().join("app.sock");
    let config = config(&[("unix:app.sock:/app?token=canary".to_owned(), "")]);
    let instance = Instance::start(&folder, &config, &["--json"]);
    let reached = [(200, "200".to_owned())];
    assert_eq!(send(&instance, 1).await, [(502, "not_reached".to_owned())], "no socket");
    for _ in 0..2 {
        let (application, runtime) = socket_application(&socket).await;
        for _ in 0..3 {
            assert_eq!(send(&instance, 1).await, reached);
        }
        let got = &application.calls()[0].request;
        assert_eq!(
            (got.headers()["host"].as_bytes(), got.uri().to_string()),
            (&b"localhost"[..], "/app?token=canary".into())
        );
        assert_eq!(application.connections(), 1, "the connection is reused");
        runtime.shutdown_background();
        std::fs::remove_file(&socket).unwrap();
    }
    assert_eq!(send(&instance, 1).await, [(502, "not_reached".to_owned())], "no socket");
    // A file of an application that has died.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert_eq!(send(&instance, 1).await, [(502, "not_reached".to_owned())]);
    let log = instance.stderr();
    assert!(log.iter().any(|line| line.ends_with("forwards to unix:app.sock:/app")), "{log:?}");
    assert!(!log.iter().any(|line| line.contains("canary")), "{log:?}");
}

/// Answers the first request of a connection, and closes the connection at the second one.
async fn answer_one(mut stream: impl AsyncRead + AsyncWrite + Unpin, received: Arc<AtomicUsize>) {
    for number in 0..2 {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            head.push(byte);
        }
        let head = String::from_utf8(head).unwrap();
        let (_, length) = head.split_once("content-length: ").unwrap();
        let (length, _) = length.split_once("\r\n").unwrap();
        stream.read_exact(&mut vec![0; length.parse().unwrap()]).await.unwrap();
        received.fetch_add(1, Ordering::SeqCst);
        if number == 0 {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            stream.flush().await.unwrap();
        }
    }
    let _ = stream.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_on_a_connection_that_is_just_closed_is_sent_again_over_tls_and_over_a_socket() {
    let folder = Folder::new();
    let authority = Authority::new();
    folder.file("ca.pem", &authority.0.pem());
    let received: [Arc<AtomicUsize>; 2] = Default::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tls, counted) = (TlsAcceptor::from(authority.server("localhost", |_| {})), received[0].clone());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (tls, counted) = (tls.clone(), counted.clone());
            tokio::spawn(async move { answer_one(tls.accept(stream).await.unwrap(), counted).await });
        }
    });
    let (listener, counted) = (UnixListener::bind(folder.path().join("app.sock")).unwrap(), received[1].clone());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(answer_one(stream, counted.clone()));
        }
    });
    let config = config(&[
        (format!("https://localhost:{port}/"), "forward_ca = \"ca.pem\""),
        ("unix:app.sock:/".to_owned(), ""),
    ]);
    let instance = Instance::start(&folder, &config, &["--json"]);
    for number in 0..20 {
        assert_eq!(send(&instance, 2).await, [(200, "200".to_owned()), (200, "200".to_owned())], "{number}");
    }
    // Each connection of the pool is closed at its second request. A connection that is not pooled has only one.
    for received in received {
        assert!(received.load(Ordering::SeqCst) > 20, "{received:?}");
    }
}
