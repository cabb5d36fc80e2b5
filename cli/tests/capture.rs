//! `medhook capture`: the built program records deliveries that `medhook verify` can verify, and no secret.

#![cfg(unix)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a failed assumption should end the test; clippy itself only exempts items marked as tests"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use medhook::testing::{Signing, fixtures};
use medhook_conformance::Endpoint;
use medhook_tests::program::{Ran, run};
use tempfile::TempDir;

/// Valid base64 of 32 bytes, which is also usable as text.
const SECRET: &str = "whsec_Y2FuYXJ5LXRoYXQtbXVzdC1uZXZlci1iZS1zaG93bjE";
const OTHER: &str = "whsec_YW5vdGhlci1jYW5hcnktdGhhdC1pcy1ub3Qtc2hvd24";
const SECRETS: [(&str, &str); 2] = [("CANARY", SECRET), ("OTHER", OTHER)];
const PATIENCE: Duration = Duration::from_secs(120);

/// A running recorder.
struct Recorder {
    child: Child,
    address: SocketAddr,
    lines: BufReader<std::process::ChildStdout>,
    started: String,
    out: PathBuf,
    folder: TempDir,
}

impl Recorder {
    fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::start_in(folder, arguments)
    }

    fn start_in(folder: TempDir, arguments: &[&str]) -> Self {
        let out = folder.path().join("out");
        let mut child = Command::new(env!("CARGO_BIN_EXE_medhook"))
            .arg("capture")
            .args(arguments)
            .args(["--listen", "127.0.0.1:0", "--yes-phi", "--out"])
            .arg(&out)
            .envs(SECRETS)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut started = String::new();
        (0..3).for_each(|_| assert!(lines.read_line(&mut started).unwrap() > 0));
        let address = started.split_once("listening at http://").expect(&started).1;
        let address = address.split(';').next().unwrap().parse().unwrap();
        Recorder { child, address, lines, started, out, folder }
    }

    /// Sends a delivery, and returns the answer.
    fn send(&self, headers: &[(String, String)], body: &[u8]) -> String {
        self.send_as("POST", headers, body)
    }

    fn send_as(&self, method: &str, headers: &[(String, String)], body: &[u8]) -> String {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = body.len();
        let head = format!(
            "{method} /in?canary=1 HTTP/1.1\r\nhost: test\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n"
        );
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        // A rejected body may be cut off.
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line
    }

    /// Reads lines up to this one.
    fn wait_for(&mut self, wanted: &str) {
        let mut line = self.line();
        while line != wanted {
            assert!(!line.is_empty(), "ended without {wanted}");
            line = self.line();
        }
    }

    fn files(&self) -> Vec<String> {
        let names = fs::read_dir(&self.out).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    /// Returns the content of all heads.
    fn heads(&self) -> String {
        let heads = self.files().into_iter().filter(|name| name.ends_with(".head"));
        heads.map(|name| String::from_utf8_lossy(&fs::read(self.out.join(name)).unwrap()).into_owned()).collect()
    }

    /// Verifies a recording.
    fn verify(&self, number: &str, arguments: &[&str]) -> Ran {
        let recording = self.out.join(number);
        let arguments = [&["verify"], arguments, &["--capture", recording.to_str().unwrap()]].concat();
        run(env!("CARGO_BIN_EXE_medhook"), &arguments, &SECRETS)
    }

    /// Ends it with a signal, and returns its exit status and its last lines.
    fn end(mut self, signal: &str) -> (ExitStatus, String, TempDir) {
        medhook_tests::servers::signal(signal.trim_start_matches('-'), &[self.child.id()]);
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < PATIENCE, "does not end");
            std::thread::sleep(Duration::from_millis(5));
        };
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        (status, rest, folder)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command line of each provider, a kind of its events, and its scheme.
fn providers() -> [(Vec<&'static str>, &'static str, Signing); 5] {
    let hmac = |provider| vec![provider, "--scheme", "hmac-sha256", "--header", "X-Api-Key"];
    let documented = |provider| Endpoint::new(provider).signing().unwrap();
    [
        (hmac("azodha"), "HealthRecordCounter", Signing::hmac_sha256("x-api-key")),
        (hmac("cair"), "CLAIM_STATUS_CHANGE", Signing::hmac_sha256("x-api-key")),
        (vec!["fasten"], "patient.ehi_export_success", documented("fasten")),
        (vec!["healthsync"], "document.uploaded", documented("healthsync")),
        (vec!["mediquo"], "patient_message_received", documented("mediquo")),
    ]
}

fn body_of(provider: &str, kind: &str) -> Vec<u8> {
    let path = format!("{provider}/{kind}.json");
    let fixture = fixtures().iter().find(|fixture| fixture.path() == path).expect("a fixture");
    let body = fixture.body();
    // A recent event, since HealthSync's age is checked.
    let text = String::from_utf8(body.to_vec()).unwrap();
    let Some((before, rest)) = text.split_once("\"created_at\":\"") else { return body.to_vec() };
    let now = jiff::Timestamp::now();
    format!("{before}\"created_at\":\"{now:.0}{}", &rest[rest.find('"').unwrap()..]).into_bytes()
}

fn now() -> String {
    jiff::Timestamp::now().as_second().to_string()
}

#[test]
fn a_recorded_delivery_of_every_provider_is_verified_and_a_damaged_one_is_not() {
    for (provider, kind, signing) in providers() {
        let provider = [provider.as_slice(), &["--secret-env", "CANARY"]].concat();
        let mut recorder = Recorder::start(&provider);
        let body = body_of(provider[0], kind);
        let mut headers = signing.headers(SECRET, "msg_1", &now(), &body).unwrap();
        headers.push(("authorization".to_owned(), format!("Bearer {OTHER}")));
        let answer = recorder.send(&headers, &body);
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 60\r\n"), "{answer}");
        let wanted = format!("0001  POST  {} bytes\n", body.len());
        assert_eq!(recorder.line(), wanted);
        let command = recorder.line();
        let wanted = format!("  medhook verify {} --capture {}/0001\n", provider.join(" "), recorder.out.display());
        assert_eq!(command, wanted);

        let Ran { code, stdout, stderr } = recorder.verify("0001", &provider);
        assert_eq!(code, Some(0), "{provider:?}: {stdout}{stderr}");
        assert!(stdout.contains("\nverified\n") && stdout.contains("secret CANARY"), "{stdout}");
        assert!(
            stdout.contains("values of these headers: ") && stdout.contains("authorization (56 bytes)"),
            "{stdout}"
        );
        if provider[0] == "mediquo" {
            let from_capture = "compared by the capture, which did not record the header x-webhook-signature";
            assert!(stdout.contains(from_capture), "{stdout}");
        }
        assert_eq!(fs::read(recorder.out.join("0001.body")).unwrap(), body);

        let damaged = signing.headers(OTHER, "msg_2", &now(), &body).unwrap();
        recorder.send(&damaged, &body);
        let Ran { code, stdout, stderr } = recorder.verify("0002", &provider);
        assert_eq!(code, Some(1), "{provider:?}: {stdout}{stderr}");
        assert!(stdout.contains("verify    FAILED     signature_mismatch"), "{stdout}");
        let heads = recorder.heads();
        for secret in [SECRET, OTHER, "canary"] {
            assert!(!heads.contains(secret), "{secret} was recorded: {heads}");
        }
    }
}

#[test]
fn a_shared_secret_is_replaced_by_its_length_and_the_comparison() {
    let provider = ["mediquo", "--secret-env", "CANARY"];
    let recorder = Recorder::start(&provider);
    let send = |value: &str| recorder.send(&[("X-Webhook-Signature".to_owned(), value.to_owned())], b"{}");
    for value in [SECRET, OTHER, &format!("\"{SECRET}\""), &SECRET[..20], &SECRET[8..]] {
        send(value);
    }
    let heads = recorder.heads();
    for line in [
        "# redacted x-webhook-signature: 49 bytes, matches secret CANARY\n",
        "# redacted x-webhook-signature: 49 bytes, differs from every secret\n",
        "# redacted x-webhook-signature: 51 bytes, in quotation marks or spaces: secret CANARY\n",
        "# redacted x-webhook-signature: 20 bytes, cut off: secret CANARY\n",
        "# redacted x-webhook-signature: 41 bytes, in another form: secret CANARY\n",
    ] {
        assert!(heads.contains(line), "{line}{heads}");
    }
    assert!(!heads.contains(&SECRET[..10]) && !heads.contains(&OTHER[6..16]), "{heads}");

    let report = |number: &str, arguments: &[&str]| {
        let Ran { code, stdout, .. } = recorder.verify(number, &[arguments, &["--json"]].concat());
        let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
        let causes = report["causes"].as_array().unwrap().iter().map(|cause| {
            let row = format!("| `{}` | {} |", cause["code"].as_str().unwrap(), cause["fits"]);
            assert!(include_str!("../../docs/verify.md").contains(&row), "{row} is not documented");
            cause["code"].as_str().unwrap().to_owned()
        });
        (code, report["signature"].as_str().unwrap().to_owned(), causes.collect::<Vec<_>>().join(" "))
    };
    let invalid = |cause: &str| (Some(1), "invalid".to_owned(), cause.to_owned());
    assert_eq!(report("0001", &provider), (Some(0), "valid".to_owned(), String::new()));
    assert_eq!(report("0002", &provider), invalid("other_secret"));
    assert_eq!(report("0003", &provider), invalid("secret_in_quotes"));
    assert_eq!(report("0004", &provider), invalid("secret_cut_off"));
    assert_eq!(report("0005", &provider), invalid("secret_in_other_form"));
    // The capture does not know this secret, so nothing is known about it.
    let other = ["mediquo", "--secret-env", "OTHER"];
    assert_eq!(report("0001", &other), (Some(2), "unchecked".to_owned(), String::new()));
    let stdout = recorder.verify("0001", &other).stdout;
    assert!(
        stdout.contains("which were secret CANARY, which is not given here; pass it with --secret-env"),
        "{stdout}"
    );
}

#[test]
fn a_secret_where_an_hmac_is_expected_is_not_recorded() {
    let provider = ["healthsync", "--secret-env", "CANARY"];
    let recorder = Recorder::start(&provider);
    recorder.send(&[("x-healthsync-signature".to_owned(), format!("sha256={SECRET}"))], b"{}");
    let heads = recorder.heads();
    assert!(heads.contains("x-healthsync-signature: 56 bytes, after a word: secret CANARY"), "{heads}");
    let Ran { code, stdout, .. } = recorder.verify("0001", &provider);
    assert_eq!(code, Some(1), "{stdout}");
    assert!(stdout.contains("holds secret CANARY itself, but an HMAC is expected"), "{stdout}");
}

#[test]
fn an_unknown_secret_where_an_hmac_is_expected_is_not_recorded_and_not_called_invalid() {
    let provider = ["healthsync", "--secret-env", "CANARY"];
    let recorder = Recorder::start(&provider);
    recorder.send(&[("x-healthsync-signature".to_owned(), OTHER.to_owned())], b"{}");
    let heads = recorder.heads();
    assert!(!heads.contains(OTHER), "{heads}");
    let Ran { code, stdout, .. } = recorder.verify("0001", &provider);
    assert_eq!(code, Some(2), "{stdout}");
    assert!(stdout.contains("which it did not record: they hold no HMAC, or") && !stdout.contains("cause"), "{stdout}");

    // A delivery is recorded for a shared secret, and verified with an HMAC.
    let recorder = Recorder::start(&["mediquo", "--secret-env", "CANARY"]);
    recorder.send(&[("x-webhook-signature".to_owned(), "a".repeat(64))], b"{}");
    let hmac = ["custom", "--scheme", "hmac-sha256", "--header", "x-webhook-signature", "--secret-env", "CANARY"];
    let Ran { code, stdout, .. } = recorder.verify("0001", &hmac);
    assert_eq!(code, Some(2), "{stdout}");
    assert!(!stdout.contains("holds another secret"), "{stdout}");
}

#[test]
fn senders_that_never_finish_do_not_use_up_the_recordings() {
    let mut recorder = Recorder::start(&["--max", "1"]);
    // Together, these bodies reach the limit of those that are read at the same time.
    let slow = [1_000_000; 4].map(|length: u32| {
        let mut slow = TcpStream::connect(recorder.address).unwrap();
        let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\nexpect: 100-continue\r\n\r\n");
        slow.write_all(head.as_bytes()).unwrap();
        // The server answers 100 when it waits for the body.
        let mut begin = [0; 12];
        slow.read_exact(&mut begin).unwrap();
        assert_eq!(&begin, b"HTTP/1.1 100");
        slow
    });
    assert!(recorder.send(&[], b"{}").starts_with("HTTP/1.1 503 "));
    assert_eq!(recorder.line(), "0001  POST  2 bytes\n");
    drop(slow);
}

#[test]
fn without_a_provider_only_unmistakable_signatures_are_recorded() {
    let recorder = Recorder::start(&[]);
    let healthsync = Endpoint::new("healthsync").signing().unwrap();
    let body = body_of("healthsync", "document.uploaded");
    let mut headers = healthsync.headers(SECRET, "", "", &body).unwrap();
    for name in ["authorization", "cookie", "x-api-key", "x-webhook-signature"] {
        headers.push((name.to_owned(), SECRET.to_owned()));
    }
    recorder.send(&headers, &body);
    let heads = recorder.heads();
    assert!(!heads.contains(SECRET), "{heads}");
    assert_eq!(heads.matches(": 49 bytes, not compared with a secret\n").count(), 4, "{heads}");
    let verified = recorder.verify("0001", &["healthsync", "--secret-env", "CANARY"]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    let unknown = recorder.verify("0001", &["mediquo", "--secret-env", "CANARY"]);
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
    assert!(unknown.stdout.contains("pass the provider and its secret to medhook capture"), "{unknown:?}");
}

#[test]
fn the_number_and_the_length_of_recordings_are_limited() {
    let mut recorder = Recorder::start(&["--max", "2"]);
    let answer = recorder.send(&[], &vec![b' '; 16 * 1024 * 1024 + 1]);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert_eq!(recorder.line(), "a delivery was not recorded: its body is longer than 16 MiB\n");
    assert!(recorder.send_as("GET", &[], b"").starts_with("HTTP/1.1 405 "));
    assert_eq!(recorder.line(), "a delivery was not recorded: its method is not POST, PUT or PATCH\n");
    for _ in 0..2 {
        assert!(recorder.send(&[], b"{}").starts_with("HTTP/1.1 503 "));
    }
    for _ in 0..30 {
        let answer = recorder.send(&[], b"{}");
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 60\r\n"), "{answer}");
    }
    assert_eq!(recorder.files(), ["0001.body", "0001.head", "0002.body", "0002.head"]);
    let (status, rest, _) = recorder.end("-TERM");
    assert!(status.success(), "{rest}");
    assert!(rest.contains("recordings deleted: 2; deliveries not recorded: 32\n"), "{rest}");
    assert_eq!(rest.matches("a delivery was not recorded").count(), 18, "at most 20 lines: {rest}");
}

#[test]
fn a_sender_that_disconnects_uses_up_nothing() {
    let mut recorder = Recorder::start(&["--max", "1"]);
    for _ in 0..10 {
        let mut stream = TcpStream::connect(recorder.address).unwrap();
        stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n12345").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
    }
    assert!(recorder.send(&[], b"{}").starts_with("HTTP/1.1 503 "));
    recorder.wait_for("0001  POST  2 bytes\n");
    assert_eq!(recorder.files(), ["0001.body", "0001.head"]);
}

#[test]
fn recordings_are_private_and_deleted_at_the_end() {
    for signal in ["-INT", "-TERM", "-HUP"] {
        let recorder = Recorder::start(&[]);
        assert!(recorder.started.contains("health data in clear"), "{}", recorder.started);
        recorder.send(&[], b"{}");
        assert_eq!(fs::metadata(&recorder.out).unwrap().mode() & 0o7777, 0o700);
        for name in ["0001.head", "0001.body"] {
            assert_eq!(fs::metadata(recorder.out.join(name)).unwrap().mode() & 0o7777, 0o600, "{name}");
        }
        let (status, rest, folder) = recorder.end(signal);
        assert!(status.success(), "{signal}: {rest}");
        assert_eq!(fs::read_dir(folder.path().join("out")).unwrap().count(), 0, "{signal}");
    }
}

#[test]
fn the_recordings_of_a_killed_process_are_deleted_by_the_next_one() {
    let recorder = Recorder::start(&[]);
    recorder.send(&[], b"{}");
    let (_, _, folder) = recorder.end("-KILL");
    let out = folder.path().join("out");
    let hours_ago = std::time::SystemTime::now() - Duration::from_secs(3601);
    for name in ["0001.head", "0001.body"] {
        fs::File::options().write(true).open(out.join(name)).unwrap().set_modified(hours_ago).unwrap();
    }
    fs::write(out.join("notes.txt"), "kept").unwrap();
    let next = Recorder::start_in(folder, &[]);
    assert_eq!(next.files(), ["notes.txt"]);
}

#[test]
fn recordings_are_deleted_after_an_hour_while_it_runs() {
    let mut recorder = Recorder::start(&["--max", "2"]);
    recorder.send(&[], b"{}");
    recorder.send(&[], b"{}");
    let mut age = |number: &str| {
        let an_hour_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
        let file = fs::File::options().write(true).open(recorder.out.join(format!("{number}.body"))).unwrap();
        file.set_modified(an_hour_ago).unwrap();
        recorder.wait_for("recordings deleted after 1 h: 1\n");
        recorder.files()
    };
    assert_eq!(age("0001"), ["0002.body", "0002.head"]);
    assert_eq!(age("0002"), [""; 0]);
    // Nothing is left to do.
    assert_eq!(recorder.line(), "recordings deleted: 0; deliveries not recorded: 0\n");
    assert!(recorder.child.wait().unwrap().success());
}

fn rejected(arguments: &[&str]) -> String {
    let Ran { code, stdout, stderr } =
        run(env!("CARGO_BIN_EXE_medhook"), &[&["capture"], arguments].concat(), &SECRETS);
    assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
    stderr
}

#[test]
fn unsafe_options_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (out, link, open) = (path("out"), path("link"), path("open"));
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    symlink(Path::new(&open), &link).unwrap();
    let empty = path("no-text");
    fs::write(&empty, "").unwrap();
    let listen = ["--listen", "127.0.0.1:0"];
    for (arguments, wanted) in [
        (vec!["--out", &out], "health data, in clear; pass --yes-phi to confirm"),
        (vec!["--out", &link, "--yes-phi"], "is not a folder, or is a symbolic link"),
        (vec!["--out", &open, "--yes-phi"], "is open to other users; run chmod 700 on it"),
        (vec!["--out", &out, "--yes-phi", "--secret-env", "CANARY"], "secrets need the provider"),
        (vec!["healthsync", "--out", &out, "--yes-phi", "--secret-file", &empty], "secret no-text: empty"),
        (vec!["healthsync", "--out", &out, "--yes-phi"], "no secret given; pass --secret-env"),
        (vec!["cair", "--out", &out, "--yes-phi", "--secret-env", "CANARY"], "pass --scheme and --header"),
        (vec!["--out", &out, "--yes-phi", "--max", "0"], "0 is not in 1..=1000"),
    ] {
        let stderr = rejected(&[&listen[..], &arguments].concat());
        assert!(stderr.contains(wanted), "{arguments:?}: {stderr}");
    }
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:3000"] {
        let stderr = rejected(&["--listen", address, "--out", &out, "--yes-phi"]);
        assert!(stderr.contains("must be a loopback address"), "{stderr}");
    }
    assert!(!Path::new(&out).exists(), "nothing was created");
    assert_eq!(fs::read_dir(&open).unwrap().count(), 0);
}
