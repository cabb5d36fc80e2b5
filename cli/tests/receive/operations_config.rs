//! The keys of `[operations]`, and TLS of its address.

use std::io::Write;
use std::net::SocketAddr;

use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::version::TLS13;

use crate::addresses::logged;
use crate::config::rejected;
use crate::page_client::{Answer, FORM, OPERATIONS, TOKEN, TOP, page};
use crate::program::{Folder, INBOX_KEY, Instance, OTHER_SECRET, SECRET, ends};
use crate::sender::ENDPOINT;
use crate::tls::{client, issue};

/// A valid file, in which the tests replace a part with a mistake.
fn valid() -> String {
    format!(
        "inbox_key = {{ env = \"TEST_INBOX_KEY\" }}\n{TOP}{ENDPOINT}inbox = true\nforward = \"http://127.0.0.1:1/\"\n\
             forward_secret = {{ env = \"TEST_OTHER_SECRET\" }}\n{OPERATIONS}"
    )
    .replace("store = \"memory\"", "store = \"sqlite:events.db\"")
}

#[test]
fn a_mistake_of_the_page_is_found_by_the_check() {
    let folder = Folder::new();
    let output = ends(&folder, &valid(), &["--check"]);
    let problems = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && problems.is_empty(), "{problems}");
    const PLACE: &str = "medhook.toml: `operations`: ";
    let long = format!("hosts = [\"{}\"]", "a".repeat(254));
    for (part, mistake, problem) in [
        ("TEST_THIRD_SECRET", "TEST_UNSET_SECRET", "TEST_UNSET_SECRET"),
        ("TEST_THIRD_SECRET", "TEST_SECRET", "the token must differ from every other secret"),
        ("TEST_THIRD_SECRET", "TEST_OTHER_SECRET", "the token must differ from every other secret"),
        ("TEST_THIRD_SECRET", "TEST_INBOX_KEY", "the token must differ from every other secret"),
        ("{ env = \"TEST_THIRD_SECRET\" }", "\"hunter2hunter2hunter2\"", "`token`"),
        ("{ env = \"TEST_THIRD_SECRET\" }", "{ file = \"no such file\" }", "`token`"),
        ("hosts = [\"medhook.example.org\"]", "hosts = [\"medhook.example.org:443\"]", "`hosts[0]`"),
        ("hosts = [\"medhook.example.org\"]", "hosts = [\"https://medhook.example.org\"]", "`hosts[0]`"),
        ("hosts = [\"medhook.example.org\"]", &long, "`hosts[0]`"),
        ("hosts = [\"medhook.example.org\"]", "host = \"medhook.example.org\"", "unknown key `host`"),
        ("hosts = [", "tls = { cert = \"no.pem\", key = \"no.pem\" }\nhosts = [", "`tls`"),
        ("listen = \"127.0.0.1:0\"\ntoken", "listen = \"0.0.0.0:0\"\ntoken", "ssh -L"),
    ] {
        let config = valid().replace(part, mistake);
        assert_ne!(config, valid(), "{part}");
        for arguments in [&["--check"][..], &[]] {
            rejected(&config, arguments, &[PLACE, problem]);
        }
    }
    let config = format!("allow_plaintext_operations = \"yes\"\n{}", valid());
    rejected(&config, &["--check"], &["`allow_plaintext_operations`"]);
}

#[test]
fn the_page_leaves_the_machine_only_with_tls_or_if_that_is_allowed() {
    let folder = Folder::new();
    issue(&folder, 2100);
    let everywhere = valid().replace("listen = \"127.0.0.1:0\"\ntoken", "listen = \"0.0.0.0:0\"\ntoken");
    let tls = everywhere.replace("\nhosts", "\ntls = { cert = \"cert.pem\", key = \"key.pem\" }\nhosts");
    let without_token: Vec<_> =
        everywhere.lines().filter(|line| !line.starts_with("token") && !line.starts_with("hosts")).collect();
    for (config, is_accepted) in [
        (everywhere.clone(), false),
        (tls, true),
        (format!("allow_plaintext_operations = true\n{everywhere}"), true),
        (format!("allow_plaintext_operations = false\n{everywhere}"), false),
        (without_token.join("\n"), true),
    ] {
        let output = ends(&folder, &config, &["--check"]);
        let problems = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), is_accepted, "{problems}\n{config}");
        assert_eq!(problems.contains("would cross the network in clear"), !is_accepted, "{problems}");
    }
}

fn over_tls(at: SocketAddr, trusted: &CertificateDer<'static>, request: &str) -> Answer {
    let mut stream = client(at, trusted, &TLS13);
    stream.write_all(request.as_bytes()).unwrap();
    Answer::read(stream)
}

#[test]
fn with_tls_the_cookie_is_secure_and_the_certificate_is_replaced() {
    let folder = Folder::new();
    let trusted = issue(&folder, 2100);
    let config = format!("{TOP}{ENDPOINT}{OPERATIONS}tls = {{ cert = \"cert.pem\", key = \"key.pem\" }}\n");
    let instance = Instance::start(&folder, &config, &[]);
    let at = page(&instance);
    logged(&instance, &format!("operator's page at https://{at}/"));
    logged(&instance, &format!("health checks at https://{at}, metrics at https://{at}/metrics"));
    let head = format!("host: {at}\r\nconnection: close\r\n");
    assert_eq!(over_tls(at, &trusted, &format!("GET /livez HTTP/1.1\r\n{head}\r\n")).status, 200);
    let form = format!("token={TOKEN}");
    let login = |origin: &str| {
        let length = form.len();
        let request = format!("POST /login HTTP/1.1\r\n{head}{FORM}{origin}content-length: {length}\r\n\r\n{form}");
        over_tls(at, &trusted, &request)
    };
    assert_eq!(login(&format!("origin: http://{at}\r\n")).status, 403);
    let opened = login(&format!("origin: https://{at}\r\n"));
    let (id, attributes) = opened.header("set-cookie").unwrap().split_once("; ").unwrap();
    let id = id.strip_prefix("__Host-medhook=").unwrap();
    assert_eq!(attributes, "Path=/; Max-Age=28800; HttpOnly; SameSite=Strict; Secure");
    for (name, status) in [("__Host-medhook", 200), ("medhook", 303)] {
        let request = format!("GET / HTTP/1.1\r\n{head}cookie: {name}={id}\r\n\r\n");
        assert_eq!(over_tls(at, &trusted, &request).status, status, "{name}");
    }

    // The rule would hold for every port of the host, so it is only for a name that was configured.
    for (host, path, is_strict) in [
        (at.to_string(), "/login", false),
        ("localhost".to_owned(), "/login", false),
        ("evil.example".to_owned(), "/login", false),
        ("medhook.example.org".to_owned(), "/login", true),
        ("MEDHOOK.example.org:8788".to_owned(), "/", true),
        ("medhook.example.org".to_owned(), "/assets/page.css", true),
        ("medhook.example.org".to_owned(), "/livez", true),
        ("medhook.example.org".to_owned(), "/metrics", true),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let strict = over_tls(at, &trusted, &request);
        let expected = is_strict.then_some("max-age=31536000");
        assert_eq!(strict.header("strict-transport-security"), expected, "{host}{path}");
    }

    let renewed = issue(&folder, 2101);
    instance.signal("-HUP");
    logged(&instance, "a new certificate is in use place=\"medhook.toml: `operations`: `tls`\"");
    let request = format!("GET / HTTP/1.1\r\n{head}{}\r\n", opened.cookie());
    assert_eq!(over_tls(at, &renewed, &request).status, 200, "the session continues");
}

#[test]
fn a_token_that_looks_like_a_mistake_is_a_warning_and_nothing_of_it_is_printed() {
    let folder = Folder::new();
    folder.file("token", "\"hunter2 hunter2 hunter2\"\n");
    let config = valid().replace("{ env = \"TEST_THIRD_SECRET\" }", "{ file = \"token\" }");
    let output = ends(&folder, &config, &["--check"]);
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed);
    assert!(output.status.success(), "{printed}");
    assert!(printed.contains("medhook.toml: `operations`: `token`: "), "{printed}");
    for hidden in ["hunter2", SECRET, OTHER_SECRET, INBOX_KEY, TOKEN] {
        assert!(!printed.contains(hidden), "{printed}");
    }
}

#[test]
fn every_key_of_the_page_is_documented() {
    let (keys, page) = (include_str!("../../../docs/receive.md"), include_str!("../../../docs/receive-operation.md"));
    assert!(keys.contains("| `allow_plaintext_operations` |"));
    let source = include_str!("../../src/receive/config/operations.rs");
    let (_, list) = source.split_once("inner.all_known(&[").unwrap();
    let (list, _) = list.split_once(']').unwrap();
    let names: Vec<_> = list.split('"').skip(1).step_by(2).collect();
    assert_eq!(names.len(), 4);
    for name in names {
        assert!(page.contains(&format!("| `{name}` |")), "{name} is not documented");
    }
}
