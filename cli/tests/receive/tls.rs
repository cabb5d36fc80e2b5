//! TLS of the receiver: deliveries over https, handshakes that fail, and a certificate that is replaced.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion, crypto,
};

use crate::addresses::{genuine, logged, status};
use crate::program::{Folder, Instance, PATIENCE, ends};
use crate::sender::ENDPOINT;

const TOP: &str = "listen = \"127.0.0.1:0\"\ntls = { cert = \"cert.pem\", key = \"key.pem\" }\n\
                   drain_delay = \"0s\"\nstore = \"memory\"\n";

/// Writes a new certificate and its key. Returns the certificate.
pub(crate) fn issue(folder: &Folder, until: i32) -> CertificateDer<'static> {
    let mut params = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    folder.file("cert.pem", &certificate.pem());
    folder.file("key.pem", &key.serialize_pem());
    certificate.der().clone()
}

pub(crate) type Tls = StreamOwned<ClientConnection, TcpStream>;

/// Opens a connection that trusts this certificate. The handshake happens with the first bytes.
pub(crate) fn client(
    to: SocketAddr,
    trusted: &CertificateDer<'static>,
    version: &'static SupportedProtocolVersion,
) -> Tls {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()));
    let builder = builder.with_protocol_versions(&[version]).unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream)
}

#[test]
fn deliveries_over_tls_are_handled_and_failed_handshakes_are_explained() {
    let folder = Folder::new();
    let trusted = issue(&folder, 2100);
    let mut instance = Instance::start(&folder, &format!("{TOP}{ENDPOINT}"), &["--json"]);
    let address = instance.address;
    logged(&instance, &format!("listening at https://{address}"));

    // A client that sends nothing delays no other client.
    let _silent = TcpStream::connect(address).unwrap();
    for (version, id) in [(&TLS12, "evt-12"), (&TLS13, "evt-13")] {
        let mut stream = client(address, &trusted, version);
        for id in [id, id] {
            stream.write_all(&genuine(id, "/healthsync")).unwrap();
            assert_eq!(status(&mut stream), "200");
        }
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    }
    let outcomes: Vec<_> = instance.lines(4).iter().map(|line| line.contains("\"outcome\":\"handled\"")).collect();
    assert_eq!(outcomes, [true, false, true, false]);

    let closed_after = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(bytes).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    };
    let rejected = "malformed requests rejected; ";
    closed_after(b"POST /healthsync HTTP/1.1\r\nhost: canary\r\n\r\n");
    let plain = logged(&instance, &format!("{rejected}a client sends plain HTTP, but this port speaks TLS"));
    assert!(!plain.contains("status="), "it is not answered: {plain}");
    closed_after(b"canary that is neither TLS nor HTTP");
    logged(&instance, &format!("{rejected}the TLS handshake failed"));

    let mut params = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "another issuer");
    let other = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().clone();
    assert!(client(address, &other, &TLS13).write_all(b"canary").is_err());
    logged(&instance, &format!("{rejected}a client does not accept the certificate"));

    // Inside TLS, a mistake of the client is not mistaken for TLS.
    let mut stream = client(address, &trusted, &TLS13);
    stream.write_all(b"canary\r\n\r\n").unwrap();
    assert_eq!(status(&mut stream), "400");
    logged(&instance, &format!("{rejected}invalid HTTP/1.1"));

    // A connection that is open keeps its certificate, and new ones get the new one.
    let mut open = client(address, &trusted, &TLS13);
    open.write_all(&genuine("evt-open", "/healthsync")).unwrap();
    assert_eq!(status(&mut open), "200");
    let renewed = issue(&folder, 2100);
    instance.signal("-HUP");
    logged(&instance, "a new certificate is in use place=\"medhook.toml: `tls`\"");
    let mut stream = client(address, &renewed, &TLS13);
    for stream in [&mut open, &mut stream] {
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        assert_eq!(status(stream), "200");
    }
    issue(&folder, 2021);
    instance.signal("-HUP");
    logged(
        &instance,
        "`tls`: `cert`: the certificate has expired, so senders reject it; renew it; the old certificate",
    );
    client(address, &renewed, &TLS13).write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();

    assert_eq!(instance.terminate().code(), Some(0));
    let log = instance.stderr().join("\n");
    assert!(!log.contains("canary") && !log.contains("this port speaks plain HTTP"), "{log}");
}

#[test]
fn a_handshake_has_a_timeout() {
    let folder = Folder::new();
    issue(&folder, 2100);
    let instance = Instance::start(&folder, &format!("{TOP}idle_timeout = \"200ms\"\n{ENDPOINT}"), &[]);
    for begin in [&b""[..], b"\x16\x03\x01"] {
        let mut stream = TcpStream::connect(instance.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(begin).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }
    assert!(!instance.stderr().iter().any(|line| line.contains(" WARN ")), "{:?}", instance.stderr());
}

#[test]
fn a_certificate_that_cannot_be_used_is_a_mistake_and_an_expired_one_a_warning() {
    let folder = Folder::new();
    issue(&folder, 2100);
    let key = std::fs::read_to_string(folder.path().join("key.pem")).unwrap();
    issue(&folder, 2021);
    let expired = Instance::start(&folder, &format!("{TOP}{ENDPOINT}"), &[]);
    let line = logged(&expired, "medhook.toml: `tls`: `cert`: the certificate has expired");
    assert!(line.contains(" WARN "), "{line}");
    drop(expired);

    folder.file("key.pem", &key);
    let output = ends(&folder, &format!("{TOP}{ENDPOINT}"), &[]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    let problem = "medhook.toml: `tls`: `key`: does not belong to the first certificate of `cert`";
    assert!(error.contains(problem) && error.lines().count() == 1, "{error}");
}

#[test]
fn health_data_in_clear_on_a_network_is_a_warning() {
    let folder = Folder::new();
    let trusted = issue(&folder, 2100);
    let text = "is not a loopback address, and `tls` is not set, so health data crosses the network in clear";
    let on_network = |top: &str| {
        let config = format!("{}{ENDPOINT}", top.replace("127.0.0.1:0", "0.0.0.0:0"));
        Instance::start(&folder, &config, &[])
    };
    let mut clear = on_network("listen = \"127.0.0.1:0\"\ndrain_delay = \"0s\"\nstore = \"memory\"\n");
    logged(&clear, text);
    clear.terminate();
    let mut sealed = on_network(TOP);
    let mut stream = client(SocketAddr::from(([127, 0, 0, 1], sealed.address.port())), &trusted, &TLS13);
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    assert_eq!(status(&mut stream), "200");
    sealed.terminate();
    assert!(!sealed.stderr().iter().any(|line| line.contains(text)), "{:?}", sealed.stderr());
}
