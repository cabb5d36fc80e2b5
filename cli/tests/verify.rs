//! `medhook verify`, run as a user runs it: every mistake it knows is made, and has to be found.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a failed assumption of a test should end the test; clippy takes only what is marked so for one"
)]

#[allow(dead_code, unreachable_pub, reason = "shared with other tests")]
#[path = "../../tests/canary/plant.rs"]
mod plant;

use std::path::PathBuf;

use medhook::registry::{self, OptionName};
use medhook::sign::mac;
use medhook::testing::{Signing, fixtures};
use medhook_conformance::Endpoint;
use medhook_tests::program::{Ran, run};

use self::plant::Planted;

/// Good base64 of 32 bytes, and text.
const SECRET: &str = "whsec_Y2FuYXJ5LXRoYXQtbXVzdC1uZXZlci1iZS1zaG93bjE";
const OTHER: &str = "whsec_YW5vdGhlci1jYW5hcnktdGhhdC1pcy1ub3Qtc2hvd24";
const NOW: &str = "1767225600";

fn agrees_on_scheme(provider: &str) -> bool {
    registry::provider(provider).expect("a provider").required_options.contains(&OptionName::Scheme)
}

/// A recorded delivery.
struct Recording {
    provider: &'static str,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    more: Vec<&'static str>,
}

impl Recording {
    fn of(provider: &'static str, kind: &str) -> Self {
        let path = format!("{provider}/{kind}.json");
        let body = fixtures().iter().find(|fixture| fixture.path() == path).expect("a fixture").body();
        let mut recording = Recording { provider, headers: Vec::new(), body: body.to_vec(), more: Vec::new() };
        if agrees_on_scheme(provider) {
            recording.more = vec!["--scheme", "hmac-sha256", "--header", "X-Signature"];
        }
        recording.signed(SECRET)
    }

    fn signing(&self) -> Signing {
        match self.provider {
            provider if agrees_on_scheme(provider) => Signing::hmac_sha256("x-signature"),
            provider => Endpoint::new(provider).signing().expect("a documented way"),
        }
    }

    fn signed(mut self, secret: &str) -> Self {
        self.headers = self.signing().headers(secret, "msg_1", NOW, &self.body).expect("a good secret");
        self
    }

    /// Signed with an HMAC over these bytes by this key.
    fn signed_by(mut self, key: &[u8], bytes: &[u8]) -> Self {
        let before = if self.provider == "fasten" { format!("msg_1.{NOW}.") } else { String::new() };
        let tag = mac(key, &[before.as_bytes(), bytes]);
        let last = self.headers.last_mut().expect("a signature");
        last.1 = match self.provider {
            "fasten" => format!("v1,{}", base64(&tag)),
            "healthsync" => format!("sha256={}", hex(&tag)),
            _ => hex(&tag),
        };
        self
    }

    fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn value(&mut self, change: impl Fn(&str) -> String) {
        let last = self.headers.last_mut().expect("a signature");
        last.1 = change(&last.1);
    }

    /// Written to files, and looked at.
    fn look(&self, more: &[&str]) -> Ran {
        let folder = folder();
        let head = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect::<String>();
        let (headers, body) = (folder.join("head.txt"), folder.join("body"));
        std::fs::write(&headers, format!("POST /in HTTP/1.1\r\nhost: test\r\n{head}\r\n")).expect("written");
        std::fs::write(&body, &self.body).expect("written");
        let (headers, body) = (headers.to_str().expect("text"), body.to_str().expect("text"));
        let mut arguments = vec!["verify", self.provider, "--headers", headers, "--body", body];
        arguments.extend(&self.more);
        if !more.contains(&"--at") {
            arguments.extend(["--at", NOW]);
        }
        if !more.iter().any(|argument| argument.contains("secret-env")) {
            arguments.extend(["--secret-env", "CANARY"]);
        }
        arguments.extend(more);
        let ran = run(env!("CARGO_BIN_EXE_medhook"), &arguments, &[("CANARY", SECRET), ("OTHER", OTHER)]);
        std::fs::remove_dir_all(folder).expect("removed");

        // Neither what came nor what should have come.
        let right = self.signing().headers(SECRET, "msg_1", NOW, &self.body).expect("a good secret");
        for (_, value) in self.headers.iter().chain(&right).filter(|(_, value)| value.len() > 20) {
            let bare = value.rsplit(['=', ',']).find(|part| part.len() > 20).unwrap_or(value);
            assert!(!ran.stdout.contains(bare), "{bare}: {}", ran.stdout);
        }
        ran
    }

    /// One mistake, and what has to be said about it.
    fn probably(&self, wanted: &str) {
        self.probably_with(&[], wanted);
    }

    fn probably_with(&self, more: &[&str], wanted: &str) {
        let Ran { code, stdout, stderr } = self.look(more);
        assert_eq!(code, Some(1), "{wanted}: {stdout}{stderr}");
        let said = stdout.lines().any(|line| line.starts_with("probably: ") && line.contains(wanted));
        assert!(said, "{wanted}: {stdout}");
    }
}

fn folder() -> PathBuf {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let next = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("medhook-verify-{}-{next}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("made");
    folder
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    bytes
        .chunks(3)
        .flat_map(|three| {
            let number = three
                .iter()
                .chain([0, 0].iter())
                .take(3)
                .fold(0_usize, |number, byte| number << 8 | usize::from(*byte));
            let digit = move |place: usize| char::from(DIGITS[number >> (18 - 6 * place) & 63]);
            (0..4).map(move |place| if place <= three.len() { digit(place) } else { '=' })
        })
        .collect()
}

const KINDS: [(&str, &str); 5] = [
    ("azodha", "HealthRecordCounter"),
    ("cair", "CLAIM_STATUS_CHANGE"),
    ("fasten", "patient.ehi_export_success"),
    ("healthsync", "document.uploaded"),
    ("mediquo", "patient_message_received"),
];

#[test]
fn what_is_genuine_is_verified() {
    for (provider, kind) in KINDS {
        let Ran { code, stdout, stderr } = Recording::of(provider, kind).look(&[]);
        assert_eq!(code, Some(0), "{provider}: {stdout}{stderr}");
        assert!(stdout.contains("\nverified\n") && stdout.contains("secret CANARY proves"), "{stdout}");
        assert!(stdout.contains(&format!("kind {kind}")), "{stdout}");
    }
}

#[test]
fn the_second_of_two_secrets_is_found() {
    for (provider, kind) in KINDS {
        let recording = Recording::of(provider, kind).signed(OTHER);
        let Ran { code, stdout, .. } = recording.look(&["--secret-env", "CANARY", "--secret-env", "OTHER"]);
        assert_eq!(code, Some(0), "{provider}: {stdout}");
        assert!(stdout.contains("secret OTHER proves"), "{stdout}");
    }
}

#[test]
fn another_secret_or_an_altered_body_is_not_explained() {
    for (provider, kind) in KINDS {
        let Ran { code, stdout, .. } = Recording::of(provider, kind).signed(OTHER).look(&[]);
        assert_eq!(code, Some(1), "{provider}: {stdout}");
        assert!(stdout.contains("proof     NOT HELD  signature_mismatch"), "{stdout}");
        assert!(stdout.contains("nothing that was tried explains it"), "{stdout}");
        assert!(!stdout.contains("combinations") || !stdout.contains("\n0 combinations"), "{stdout}");
    }
    let mut altered = Recording::of("healthsync", "document.uploaded");
    altered.body[20] ^= 1;
    assert!(altered.look(&[]).stdout.contains("nothing that was tried explains it"));
}

/// Genuine or not, in words or as JSON.
#[test]
fn no_value_of_a_body_is_shown() {
    let mut seen = std::collections::BTreeSet::new();
    for fixture in fixtures() {
        let Some(planted) = Planted::of(fixture) else { continue };
        let kind = fixture.path().split(['/', '.']).nth(1).expect("a kind");
        if !seen.insert((fixture.provider(), kind.to_owned())) {
            continue;
        }
        let mut bodies = vec![planted.body.clone()];
        if seen.iter().filter(|(provider, _)| *provider == fixture.provider()).count() == 1 {
            bodies.extend(planted.odd_bodies());
        }
        for body in bodies {
            let mut recording = Recording::of("healthsync", "document.uploaded");
            recording.provider = fixture.provider();
            if agrees_on_scheme(fixture.provider()) {
                recording.more = vec!["--scheme", "hmac-sha256", "--header", "X-Signature"];
            }
            recording.body = body.to_vec();
            let genuine = recording.signed(SECRET);
            let held = genuine.look(&[]);
            let forged = genuine.signed(OTHER).look(&["--json"]);
            assert!(held.stdout.contains("proof     held"), "{}", held.stdout);
            assert!(forged.stdout.contains("\"verified\":false"), "{}", forged.stdout);
            for written in [held.stdout, held.stderr, forged.stdout, forged.stderr] {
                let marks = planted.marks.iter().map(String::as_str).chain(["canary"]);
                let shown: Vec<_> = marks.filter(|mark| written.contains(mark)).collect();
                assert!(shown.is_empty(), "{}: {shown:?} in {written}", fixture.path());
            }
        }
    }
    assert!(seen.len() > 30, "{}", seen.len());
}

#[test]
fn a_secret_that_was_taken_the_wrong_way() {
    let key = b"canary-that-must-never-be-shown1";
    let fasten = || Recording::of("fasten", "webhook.test");
    let body = fasten().body;
    let as_text = fasten().signed_by(SECRET.as_bytes(), &body);
    as_text.probably("secret CANARY was taken as text, and has to be taken as base64");
    let healthsync = || Recording::of("healthsync", "document.uploaded");
    let body = healthsync().body;
    healthsync().signed_by(key, &body).probably("secret CANARY was taken as base64, and has to be taken as text");
    let with_line_break = format!("{SECRET}\n");
    healthsync().signed_by(with_line_break.as_bytes(), &body).probably("was taken together with a line break");
}

#[test]
fn a_body_that_was_written_anew() {
    for (provider, kind) in KINDS.into_iter().filter(|(provider, _)| *provider != "mediquo") {
        let recording = || Recording::of(provider, kind);
        let key = if provider == "fasten" { b"canary-that-must-never-be-shown1".to_vec() } else { SECRET.into() };
        let signed = recording().body;
        let pretty =
            serde_json::to_string_pretty(&serde_json::from_slice::<serde_json::Value>(&signed).unwrap()).unwrap();

        let mut spaced = recording().signed_by(&key, &signed);
        spaced.body = pretty.clone().into();
        if serde_json::from_slice::<serde_json::Value>(&signed).unwrap().to_string().as_bytes() == signed {
            spaced.probably("its JSON without white space");
        }
        let mut packed = recording().signed_by(&key, pretty.as_bytes());
        packed.body = serde_json::from_str::<serde_json::Value>(&pretty).unwrap().to_string().into();
        packed.probably("its JSON on lines indented by 2");

        let mut longer = recording();
        longer.body.push(b'\n');
        longer.probably("the body's last line break is not part of what was signed");
        let mut shorter = recording().signed_by(&key, &[&*signed, b"\r\n"].concat());
        shorter.body.clone_from(&signed);
        shorter.probably("a line break (CR LF) after the body was signed");
    }
}

#[test]
fn escapes_and_order_that_changed() {
    let mut recording = Recording::of("healthsync", "document.uploaded");
    recording.body = r#"{"type":"a","id":"\u00f1","created_at":"2026-01-01T00:00:00Z"}"#.into();
    let signed = r#"{"type":"a","id":"ñ","created_at":"2026-01-01T00:00:00Z"}"#;
    recording.signed_by(SECRET.as_bytes(), signed.as_bytes()).probably("other escapes in its JSON");

    let mut recording = Recording::of("healthsync", "document.uploaded");
    recording.body = br#"{"b":1,"a":2}"#.into();
    recording.signed_by(SECRET.as_bytes(), br#"{"a":2,"b":1}"#).probably("its members in alphabetical order");
}

#[test]
fn two_mistakes_at_once() {
    let mut recording = Recording::of("healthsync", "document.uploaded");
    let signed = recording.body.clone();
    recording = recording.signed_by(b"canary-that-must-never-be-shown1", &signed);
    recording.body.push(b'\n');
    recording.probably("was taken as base64");
    recording.probably("last line break is not part");
}

#[test]
fn a_signature_in_another_place_or_writing() {
    let mut other = Recording::of("cair", "CLAIM_STATUS_CHANGE");
    other.headers[0].0 = "X-Hub-Signature".to_owned();
    other.probably("in the header x-hub-signature, and is looked for in x-signature");
    other.probably("there is no header x-signature");

    let mut prefixed = Recording::of("cair", "CLAIM_STATUS_CHANGE");
    prefixed.value(|value| format!("sha256={value}"));
    prefixed.probably("something stands before or after the signature");
    let mut bare = Recording::of("healthsync", "document.uploaded");
    bare.value(|value| value.replace("sha256=", ""));
    bare.probably("there has to be `sha256=`");
    let tag = mac(SECRET.as_bytes(), &[&bare.body]);
    let mut base = Recording::of("healthsync", "document.uploaded");
    base.value(|_| format!("sha256={}", base64(&tag)));
    base.probably("the signature is written in base64");

    let mut svix = Recording::of("fasten", "webhook.test");
    for (name, _) in &mut svix.headers {
        *name = name.replace("webhook-", "svix-");
    }
    svix.probably("the headers are called svix-*");
    svix.probably("id and time are those of the headers svix-*");

    let twice = Recording::of("healthsync", "document.uploaded");
    let again = twice.headers[0].1.clone();
    twice.header("x-healthsync-signature", &again).probably("is there 2 times");
}

#[test]
fn a_shared_secret_in_another_place_or_writing() {
    let mut other = Recording::of("mediquo", "patient_message_received");
    other.headers[0].0 = "X-Api-Key".to_owned();
    other.probably("secret CANARY is in the header x-api-key, and is looked for in x-webhook-signature");
    let mut bearer = Recording::of("mediquo", "patient_message_received");
    bearer.value(|value| format!("Bearer {value}"));
    bearer.probably("a word stands before secret CANARY");
    let mut cut = Recording::of("mediquo", "patient_message_received");
    cut.value(|value| value[..20].to_owned());
    cut.probably("one of them is cut off");
    let mut signed = Recording::of("mediquo", "patient_message_received");
    let tag = mac(SECRET.as_bytes(), &[&signed.body]);
    signed.value(|_| hex(&tag));
    signed.probably("has an HMAC of the body under secret CANARY");
    let mut bare = Recording::of("cair", "CLAIM_STATUS_CHANGE");
    bare.value(|_| SECRET.to_owned());
    // Nothing of the right length, and not by chance.
    let stdout = bare.look(&[]).stdout;
    assert!(stdout.contains("malformed_header"), "{stdout}");
}

#[test]
fn clocks_and_ages() {
    let fasten = || Recording::of("fasten", "webhook.test");
    fasten().probably_with(&["--at", "1767229200"], "unless --at tells when it arrived");
    let Ran { code, stdout, .. } = fasten().look(&["--at", "1767229200"]);
    assert_eq!(code, Some(1));
    assert!(stdout.contains("fresh     NOT HELD  stale: 60 min old"), "{stdout}");
    assert!(stdout.contains("proof     held"), "{stdout}");
    assert!(fasten().look(&["--at", "1767222000"]).stdout.contains("in_the_future: 60 min ahead"));
    assert!(fasten().look(&["--at", "2026-01-01T00:04:00Z"]).stdout.contains("fresh     held      4 min old"));

    let mut millis = fasten();
    let headers = Signing::StandardWebhooks.headers(SECRET, "msg_1", "1767225600000", &millis.body).unwrap();
    millis.headers = headers;
    millis.probably("webhook-timestamp is in milliseconds");

    let healthsync = Recording::of("healthsync", "document.uploaded");
    let stdout = healthsync.look(&["--at", "1767312000"]).stdout;
    assert!(stdout.contains("fresh     NOT HELD  stale: 24 h old"), "{stdout}");
}

#[test]
fn test_secrets_and_live_events() {
    let live = Recording::of("fasten", "patient.ehi_export_success");
    live.probably_with(&["--test-secret-env", "CANARY"], "each mode has a secret of its own");
    live.probably_with(
        &["--test-secret-env", "CANARY"],
        "secret CANARY was given as a test secret, and the event is a live event; give a live secret with --secret-env",
    );
    let stdout = live.look(&["--test-secret-env", "CANARY"]).stdout;
    let step =
        "envelope  NOT HELD  secret_mode_mismatch: the secret was given as a test secret, and this is not a test event";
    assert!(stdout.contains(step), "{stdout}");
    // Swapped: the test mode's secret is given as the live one, and the other way round.
    let swapped = ["--secret-env", "OTHER", "--test-secret-env", "CANARY"];
    live.probably_with(&swapped, "secret CANARY was given as a test secret, and the event is a live event");
    let test_event = Recording::of("fasten", "patient.ehi_export_success.test-mode").signed(OTHER);
    test_event.probably_with(
        &swapped,
        "secret OTHER was given as a live secret, and the event is a test event; give a test secret with --test-secret-env",
    );
    for (mode, wanted) in [
        (r#""sandbox""#, "and the event is of a mode that is not documented; give a live secret"),
        ("null", "and the event names no mode; give a live secret"),
        (r#""""#, "and the event names no mode; give a live secret"),
    ] {
        let mut other = Recording::of("fasten", "webhook.test");
        other.body = format!(r#"{{"id":"1","type":"webhook.test","api_mode":{mode},"data":{{}}}}"#).into_bytes();
        let other = other.signed(SECRET);
        other.probably_with(&["--test-secret-env", "CANARY"], wanted);
        assert!(!other.look(&["--test-secret-env", "CANARY"]).stdout.contains("sandbox"));
    }
    let test = Recording::of("fasten", "patient.ehi_export_success.test-mode").signed(OTHER);
    test.probably("the test mode has a secret of its own");
    let Ran { code, stdout, .. } = test.look(&["--secret-env", "CANARY", "--test-secret-env", "OTHER"]);
    assert_eq!(code, Some(0), "{stdout}");
}

#[test]
fn what_proxies_do() {
    let recording = || Recording::of("healthsync", "document.uploaded").signed(OTHER);
    recording().header("content-encoding", "gzip").probably("something between unpacked it");
    let mut packed = recording();
    packed.body = b"\x1f\x8b\x08\0\0".to_vec();
    packed.probably("the body is packed with gzip, and no header says so");
    recording().header("content-length", "3").probably("content-length was 3");
}

#[test]
fn as_json_and_with_the_body() {
    let mut recording = Recording::of("healthsync", "document.uploaded");
    recording.body.extend(b"\n");
    let ran = recording.look(&["--json"]);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &report["verified"]), (Some(1), &false.into()));
    assert_eq!(report["steps"][1]["reason"], "signature_mismatch");
    assert!(report["probably"][0].as_str().unwrap().contains("last line break"), "{report}");
    assert!(report.get("body").is_none() && !ran.stdout.contains("filename"), "{report}");
    let shown = recording.look(&["--show-body"]).stdout;
    assert!(shown.contains("\"filename\"") && shown.trim_end().ends_with("\\n"), "{shown}");
}

#[test]
fn what_cannot_be_told_is_2_and_one_line() {
    let folder = folder();
    let (head, body, none) = (folder.join("head"), folder.join("body"), folder.join("none"));
    std::fs::write(&head, "canary without a colon\n").unwrap();
    std::fs::write(&body, "{}").unwrap();
    let [head, body, none] = [head, body, none].map(|path| path.to_str().unwrap().to_owned());
    for arguments in [
        ["fasten", "--headers", &head, "--body", &body, "--secret-env", "CANARY"],
        ["fasten", "--headers", &none, "--body", &body, "--secret-env", "CANARY"],
        ["cair", "--headers", &body, "--body", &body, "--secret-env", "CANARY"],
        ["fasten", "--headers", &body, "--body", &none, "--secret-env", "NOT_SET"],
    ] {
        let arguments = [&["verify"][..], &arguments].concat();
        let Ran { code, stdout, stderr } = run(env!("CARGO_BIN_EXE_medhook"), &arguments, &[("CANARY", SECRET)]);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
        assert!(stderr.starts_with("medhook: ") && stderr.lines().count() == 1, "{stderr}");
        assert!(!stderr.contains("colon"), "{stderr}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_the_tests_call_base64_is() {
    let signing =
        Signing::HmacSha256Body { header: "x".to_owned(), prefix: String::new(), encoding: medhook::Encoding::Base64 };
    let signed = signing.headers("key", "", "", b"body").unwrap().remove(0).1;
    assert_eq!(base64(&mac(b"key", &[b"body"])), signed);
}
