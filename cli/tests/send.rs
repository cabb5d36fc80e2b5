//! `medhook send`: the built program, sending to local servers.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

use http_body_util::BodyExt;
use medhook::Encoding;
use medhook::registry::{self, OptionName, SchemeChoice};
use medhook::testing::Signing;
use medhook::{Bytes, http};
use medhook_conformance::Endpoint;
use medhook_tests::families::{Family, PRIVATE, PUBLIC, families};
use medhook_tests::faulty;
use medhook_tests::program::{Ran, run};
use medhook_tests::served::{Served, status, text, unused_address};
use tokio_rustls::rustls;

/// Valid base64, which Standard Webhooks requires.
const SECRET: &str = "Y2FuYXJ5LXRoYXQtbXVzdC1uZXZlci1iZS1zaG93bg";

const SECRETS: [(&str, &str); 3] = [("CANARY", SECRET), ("PRIVATE", PRIVATE), ("PUBLIC", PUBLIC)];

fn send(arguments: &[&str]) -> (Option<i32>, String, String) {
    let arguments = [&["send"], arguments].concat();
    let Ran { code, stdout, stderr } = run(env!("CARGO_BIN_EXE_medhook"), &arguments, &SECRETS);
    assert!(!stdout.contains("example.org"), "a body: {stdout}");
    (code, stdout, stderr)
}

/// Returns an endpoint of a provider, and the arguments that describe it.
fn endpoint(provider: &str) -> (Endpoint, Vec<&'static str>) {
    let mut endpoint = Endpoint::new(provider);
    endpoint.secrets.insert("current".to_owned(), SECRET.to_owned());
    let mut arguments = vec!["--secret-env", "CANARY"];
    if registry::provider(provider).is_some_and(|facts| facts.required_options.contains(&OptionName::Scheme)) {
        endpoint.scheme = Some(SchemeChoice::HmacSha256);
        endpoint.header = Some("x-signature".to_owned());
        endpoint.prefix = Some("sha256=".to_owned());
        endpoint.encoding = Some(Encoding::Base64);
        arguments.extend(["--scheme", "hmac-sha256", "--header", "X-Signature", "--prefix", "sha256="]);
        arguments.extend(["--encoding", "base64"]);
    }
    (endpoint, arguments)
}

const KINDS: [(&str, &str); 5] = [
    ("azodha", "HealthRecordCounter"),
    ("cair", "CLAIM_STATUS_CHANGE"),
    ("fasten", "patient.ehi_export_success"),
    ("healthsync", "document.uploaded"),
    ("mediquo", "patient_message_received"),
];

#[test]
fn deliveries_of_every_provider_are_accepted_and_each_run_sends_a_new_event() {
    for (provider, kind) in KINDS {
        let (endpoint, keys) = endpoint(provider);
        let served = faulty::sound(&endpoint);
        let url = served.url("/in");
        for handled in 1..=2 {
            let (code, stdout, stderr) = send(&[&[provider, kind, "--to", &url], &*keys].concat());
            assert_eq!(code, Some(0), "{provider}: {stdout}{stderr}");
            assert!(stdout.starts_with(&format!("to {url}: {provider} {kind}")), "{stdout}");
            assert!(stdout.contains("\n1  200  "), "{stdout}");
            assert_eq!(served.count(), handled, "{provider}");
        }
    }
}

#[test]
fn a_delivery_with_one_flaw_is_rejected() {
    for (provider, kind) in KINDS {
        let (endpoint, keys) = endpoint(provider);
        let served = faulty::sound(&endpoint);
        let url = served.url("/in");
        let mut flaws = vec!["--unsigned", "--wrong-secret"];
        if provider != "mediquo" {
            flaws.push("--tamper");
        }
        if ["fasten", "healthsync"].contains(&provider) {
            flaws.push("--stale");
        }
        for flaw in flaws {
            let (code, stdout, stderr) = send(&[&[provider, kind, "--to", &url, flaw], &*keys].concat());
            assert_eq!(code, Some(0), "{provider} {flaw}: {stdout}{stderr}");
            assert!(stdout.contains("\n1  401  ") && stdout.contains("1 of 1 rejected"), "{stdout}");
        }
        assert_eq!(served.count(), 0, "{provider}");
    }
}

#[test]
fn deliveries_of_every_family_are_accepted_and_those_with_a_flaw_rejected() {
    for Family { endpoint, arguments, has_key_pair } in families() {
        let served = faulty::sound(&endpoint);
        let url = served.url("/in");
        let key = ["--secret-env", if has_key_pair { "PRIVATE" } else { "CANARY" }];
        let arguments = [&["custom", "--to", &url], &key[..], &arguments].concat();
        let signing = endpoint.signing().unwrap();
        let then = seconds_ago(10);
        for more in [&[][..], &["--at", &then]] {
            let (code, stdout, stderr) = send(&[&arguments[..], more].concat());
            assert_eq!(code, Some(0), "{arguments:?}: {stdout}{stderr}");
        }
        let handled = served.count();
        let mut flaws = vec!["--unsigned", "--wrong-secret"];
        if !matches!(signing, Signing::SharedSecret { .. }) {
            flaws.push("--tamper");
        }
        if signing.signs_time() {
            flaws.push("--stale");
        }
        for flaw in flaws {
            let (code, stdout, stderr) = send(&[&arguments[..], &[flaw]].concat());
            assert_eq!(code, Some(0), "{arguments:?} {flaw}: {stdout}{stderr}");
            assert!(stdout.contains("\n1  401  ") && stdout.contains("1 of 1 rejected"), "{stdout}");
        }
        assert_eq!(served.count(), handled, "{arguments:?}");
    }
}

fn seconds_ago(seconds: i64) -> String {
    (jiff::Timestamp::now().as_second() - seconds).to_string()
}

#[test]
fn a_public_key_cannot_sign_and_a_rejected_private_key_names_its_public_key() {
    let (unused, _held) = unused_address();
    let to = format!("http://{unused}/");
    for scheme in [&["standard-webhooks"][..], &["ed25519", "--header", "X-Mac"]] {
        let arguments = [&["custom", "--to", &to, "--secret-env", "PUBLIC", "--scheme"], scheme].concat();
        let (code, stdout, stderr) = send(&arguments);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
        assert!(stderr.contains("public key") && stderr.contains("`whsk_"), "{stderr}");
    }
    let mut other = families().into_iter().find(|family| family.has_key_pair).unwrap();
    other.endpoint.secrets = [("other".to_owned(), format!("whsk_{}=", "A".repeat(43)))].into();
    let served = faulty::sound(&other.endpoint);
    let url = served.url("/in");
    let arguments = [&["send", "custom", "--to", &url, "--secret-env", "PRIVATE"], &other.arguments[..]].concat();
    let Ran { code, stdout, .. } = run(env!("CARGO_BIN_EXE_medhook"), &arguments, &[("PRIVATE", PRIVATE)]);
    assert_eq!(code, Some(1), "{stdout}");
    assert!(stdout.contains(PUBLIC) && !stdout.contains(PRIVATE), "{stdout}");
}

#[test]
fn an_endpoint_that_checks_nothing_is_not_as_expected() {
    let served = faulty::healthsync(SECRET, Some(faulty::Fault::Unchecked));
    let arguments = ["healthsync", "document.uploaded", "--to", &served.url("/in"), "--secret-env", "CANARY"];
    for flaw in ["--tamper", "--stale", "--unsigned", "--wrong-secret"] {
        let (code, stdout, _) = send(&[&arguments[..], &[flaw]].concat());
        assert_eq!(code, Some(1), "{flaw}: {stdout}");
        assert!(stdout.contains("not as expected: 0 of 1 rejected"), "{stdout}");
    }
}

#[test]
fn a_rejected_genuine_delivery_is_not_as_expected() {
    let served = faulty::healthsync("another-secret", None);
    let arguments = ["healthsync", "document.uploaded", "--to", &served.url("/in"), "--secret-env", "CANARY"];
    let (code, stdout, _) = send(&arguments);
    assert_eq!(code, Some(1), "{stdout}");
}

#[test]
fn copies_are_handled_once_and_new_events_are_each_handled() {
    let (endpoint, keys) = endpoint("fasten");
    let served = faulty::sound(&endpoint);
    let url = served.url("/in");
    let arguments = [&["fasten", "webhook.test", "--to", &url], &*keys].concat();
    for (more, handled) in [
        (&["--repeat", "3"][..], 1),
        (&["--repeat", "20", "--concurrent", "10"], 2),
        (&["--repeat", "3", "--new-events"], 5),
        (&["--id", "the-same", "--repeat", "2"], 6),
        (&["--id", "the-same"], 6),
    ] {
        let (code, stdout, stderr) = send(&[&*arguments, more].concat());
        assert_eq!(code, Some(0), "{more:?}: {stdout}{stderr}");
        assert_eq!(served.count(), handled, "{more:?}: {stdout}");
    }
}

#[test]
fn the_same_event_is_retried_until_it_is_accepted() {
    for (provider, kind) in [("fasten", "webhook.test"), ("healthsync", "document.uploaded")] {
        let (endpoint, keys) = endpoint(provider);
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let seen = bodies.clone();
        // Verified deliveries are answered 500 three times, then 200.
        let receiver = endpoint.builder("endpoint").unwrap().store(medhook::NoDedupe).build().unwrap();
        let served = Served::start(Arc::new(move |request| {
            let (seen, receiver) = (seen.clone(), receiver.clone());
            Box::pin(async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let Ok(verified) = receiver.verify(&head.headers, body) else { return status(401) };
                let Ok(delivery) = receiver.open(verified) else { return status(401) };
                let mut seen = seen.lock().unwrap();
                seen.push((delivery.id().map(str::to_owned), head.headers));
                status(if seen.len() > 3 { 200 } else { 500 })
            })
        }));
        let url = served.url("/");
        let arguments = [&[provider, kind, "--to", &url, "--retry", "--time-scale", "100000"], &*keys].concat();
        let (code, stdout, stderr) = send(&arguments);
        assert_eq!(code, Some(0), "{stdout}{stderr}");
        assert!(stdout.contains("accepted at attempt 4"), "{stdout}");
        let seen = bodies.lock().unwrap();
        let ids: Vec<_> = seen.iter().map(|(id, _)| id.clone()).collect();
        assert_eq!(ids, vec![ids[0].clone(); 4], "{provider}");
        assert!(ids[0].is_some());
    }
}

#[test]
fn sending_stops_after_the_last_retry() {
    let served = Served::start(Arc::new(|_| Box::pin(async { status(500) })));
    let url = served.url("/");
    let arguments = ["healthsync", "document.uploaded", "--to", &url, "--secret-env", "CANARY", "--retry"];
    let (code, stdout, _) = send(&[&arguments[..], &["--time-scale", "1000000"]].concat());
    assert_eq!(code, Some(1), "{stdout}");
    assert!(stdout.contains("none of 5 attempts"), "{stdout}");
    assert_eq!(stdout.matches("\nnext attempt in ").count(), 4, "{stdout}");
}

#[test]
fn the_bytes_of_a_file_are_sent_unchanged() {
    let folder = std::env::temp_dir().join(format!("medhook-send-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("body.json");
    let bytes = b" {\"id\": \"evt_1\"}\r\n\xff";
    std::fs::write(&file, bytes).unwrap();
    let secret = folder.join("secret");
    std::fs::write(&secret, format!("{SECRET}\n")).unwrap();

    let got = Arc::new(Mutex::new(Bytes::new()));
    let seen = got.clone();
    let served = Served::start(Arc::new(move |request| {
        let seen = seen.clone();
        Box::pin(async move {
            *seen.lock().unwrap() = request.into_body().collect().await.unwrap().to_bytes();
            text(201, "thanks\x1b[2J")
        })
    }));
    let (file, secret) = (file.to_str().unwrap(), secret.to_str().unwrap());
    let url = served.url("/in?token=secret-of-the-url");
    let arguments = ["mediquo", "--body", file, "--secret-file", secret, "--to", &url, "--show-answer"];
    let (code, stdout, stderr) = send(&arguments);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert_eq!(*got.lock().unwrap(), &bytes[..]);
    assert!(stdout.contains("201") && stdout.contains("10 bytes") && stdout.contains("thanks\\u{1b}[2J"), "{stdout}");
    assert!(!stdout.contains("secret-of-the-url"), "{stdout}");
    let (_, stdout, _) = send(&arguments[..7]);
    assert!(!stdout.contains("thanks"), "{stdout}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_unsigned_headers_of_healthsync_are_sent_as_documented() {
    let got = Arc::new(Mutex::new(http::HeaderMap::new()));
    let seen = got.clone();
    let served = Served::start(Arc::new(move |request| {
        *seen.lock().unwrap() = request.headers().clone();
        Box::pin(async { status(200) })
    }));
    let url = served.url("/");
    send(&["healthsync", "analysis.failed", "--to", &url, "--secret-env", "CANARY"]);
    let got = got.lock().unwrap();
    assert_eq!(got["x-healthsync-event"], "analysis.failed");
    assert_eq!(got["x-healthsync-delivery"].len(), 36);
    assert_eq!(got["content-type"], "application/json");
}

#[test]
fn invalid_arguments_exit_with_2_and_one_line() {
    let to = ["--to", "http://127.0.0.1:9/", "--secret-env", "CANARY"];
    let wrong: &[&[&str]] = &[
        &["fasten", "no.such.kind"],
        &["fasten", "webhook.test", "--scheme", "hmac-sha256"],
        &["cair", "CLAIM_STATUS_CHANGE"],
        &["cair", "CLAIM_STATUS_CHANGE", "--scheme", "shared-secret", "--header", "a", "--retry"],
        &["cair", "CLAIM_STATUS_CHANGE", "--scheme", "shared-secret", "--header", "a", "--tamper"],
        &["cair", "CLAIM_STATUS_CHANGE", "--scheme", "shared-secret", "--header", "a", "--stale"],
        &["cair", "CLAIM_STATUS_CHANGE", "--scheme", "shared-secret", "--header", "a b"],
        &["mediquo", "patient_message_received", "--stale"],
        &["mediquo", "--body", "/no/such/file"],
        &["healthsync", "test-event", "--id", "line\nbreak", "--mode", "live"],
        &["fasten", "webhook.test", "--id", "line\nbreak"],
        // A delivery has one signature, so a second secret would be ignored.
        &["fasten", "webhook.test", "--secret-env", "CANARY"],
    ];
    for arguments in wrong {
        let (code, _, stderr) = send(&[arguments, &to[..]].concat());
        assert_eq!(code, Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.starts_with("medhook: ") && stderr.lines().count() == 1, "{arguments:?}: {stderr}");
    }
    for arguments in [&["fasten", "webhook.test", "--tamper", "--stale"][..], &["fasten"], &["unknown", "x"]] {
        let (code, stdout, stderr) = send(&[arguments, &to[..]].concat());
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(!stderr.is_empty());
    }
}

#[test]
fn an_unreachable_endpoint_exits_with_2() {
    let (unused, _held) = unused_address();
    let url = format!("http://{unused}/");
    for more in [&[][..], &["--repeat", "2"], &["--unsigned"]] {
        let arguments = ["fasten", "webhook.test", "--to", &url, "--secret-env", "CANARY"];
        let (code, stdout, _) = send(&[&arguments[..], more].concat());
        assert_eq!(code, Some(2), "{stdout}");
        assert!(stdout.contains("no connection") && stdout.contains("cannot tell"), "{stdout}");
    }
}

#[test]
fn a_secret_given_in_place_of_its_name_is_not_shown() {
    let to = ["fasten", "webhook.test", "--to", "http://127.0.0.1:9/"];
    for option in ["--secret-env", "--secret-file"] {
        let (code, stdout, stderr) = send(&[&to[..], &[option, SECRET]].concat());
        assert_eq!(code, Some(2), "{stdout}");
        assert!(stderr.contains("is not"), "{stderr}");
    }
    let (code, _, stderr) = send(&to);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("--secret-env"), "{stderr}");
}

#[test]
fn over_https_the_certificate_must_be_trusted_by_this_machine() {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = std::env::temp_dir().join(format!("medhook-https-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let trusted = folder.join("trusted.pem");
    std::fs::write(&trusted, cert.pem()).unwrap();

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let config = Arc::new(config);
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut tls = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::Stream::new(&mut tls, &mut stream);
            let mut head = Vec::new();
            let mut byte = [0];
            // A client that does not trust the certificate disconnects here.
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|length| length > 0) {
                head.push(byte[0]);
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.conn.send_close_notify();
            let _ = stream.flush();
            // Waits until the client closes the connection, so that the answer is not lost.
            let _ = std::io::copy(stream.sock, &mut std::io::sink());
        }
    });

    let url = format!("https://localhost:{port}/in");
    let arguments = ["send", "fasten", "webhook.test", "--to", &url, "--secret-env", "CANARY"];
    let trusted = trusted.to_str().unwrap();
    let ran = run(env!("CARGO_BIN_EXE_medhook"), &arguments, &[("CANARY", SECRET), ("SSL_CERT_FILE", trusted)]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("\n1  200  "), "{ran:?}");

    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let untrusted = folder.join("other.pem");
    std::fs::write(&untrusted, other.cert.pem()).unwrap();
    let untrusted = untrusted.to_str().unwrap();
    let ran = run(env!("CARGO_BIN_EXE_medhook"), &arguments, &[("CANARY", SECRET), ("SSL_CERT_FILE", untrusted)]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stdout.contains("no connection: TLS handshake failed: no authority"), "{ran:?}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_list_has_every_kind() {
    let (code, stdout, _) = send(&["--list"]);
    assert_eq!(code, Some(0));
    for (provider, kind) in KINDS {
        assert!(stdout.contains(&format!("{provider} {kind}\n")), "{stdout}");
    }
    let (_, stdout, _) = send(&["fasten", "--list"]);
    assert!(stdout.lines().all(|line| line.starts_with("fasten ")), "{stdout}");
}
