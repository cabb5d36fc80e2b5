//! `medhook verify`: the built program must find every mistake that it knows.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a failed assumption should end the test; clippy itself only exempts items marked as tests"
)]

#[allow(dead_code, unreachable_pub, reason = "shared with other tests")]
#[path = "../../../tests/canary/plant.rs"]
mod plant;

mod bodies;
mod head;
mod mode;
mod secrets;
mod times;
mod unknown;

use std::path::PathBuf;

use medhook::registry::{self, OptionName};
use medhook::sign::mac;
use medhook::testing::{Signing, fixtures};
use medhook_conformance::Endpoint;
use medhook_tests::program::{Ran, run};

use self::plant::Planted;

/// Valid base64 of 32 bytes, which is also usable as text.
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
    /// The secret that is given to the command.
    given: String,
}

impl Recording {
    fn of(provider: &'static str, kind: &str) -> Self {
        let path = format!("{provider}/{kind}.json");
        let body = fixtures().iter().find(|fixture| fixture.path() == path).expect("a fixture").body();
        let mut recording = Recording {
            provider,
            headers: Vec::new(),
            body: body.to_vec(),
            more: Vec::new(),
            given: SECRET.to_owned(),
        };
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

    /// Signs these bytes with an HMAC under this key.
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

    /// Writes the recording to files, and runs the command on them.
    fn examine(&self, more: &[&str]) -> Ran {
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
        let ran = run(env!("CARGO_BIN_EXE_medhook"), &arguments, &[("CANARY", &self.given), ("OTHER", OTHER)]);
        std::fs::remove_dir_all(folder).expect("removed");

        // Neither the received nor the expected values may be printed.
        let right = self.signing().headers(SECRET, "msg_1", NOW, &self.body).expect("a good secret");
        for (_, value) in self.headers.iter().chain(&right).filter(|(_, value)| value.len() > 20) {
            let bare = value.rsplit(['=', ',']).find(|part| part.len() > 20).unwrap_or(value);
            assert!(!ran.stdout.contains(bare), "{bare}: {}", ran.stdout);
        }
        ran
    }

    /// Asserts that this mistake is reported as the cause.
    fn has_cause(&self, code: &str, text: &str) {
        self.is_explained(&[], (code, true), text);
    }

    fn has_cause_with(&self, more: &[&str], code: &str, text: &str) {
        self.is_explained(more, (code, true), text);
    }

    /// Asserts that this mistake is reported as a possible cause.
    fn has_possible_cause(&self, code: &str, text: &str) {
        self.is_explained(&[], (code, false), text);
    }

    /// Asserts that there is such a cause, in text and in JSON.
    fn is_explained(&self, more: &[&str], (code, fits): (&str, bool), text: &str) {
        let Ran { code: exit, stdout, stderr } = self.examine(more);
        assert_eq!(exit, Some(1), "{text}: {stdout}{stderr}");
        let begin = if fits { "cause: " } else { "possible cause: " };
        let is_printed = stdout.lines().any(|line| line.starts_with(begin) && line.contains(text));
        assert!(is_printed, "{begin}{text}: {stdout}");
        let report = self.report(more);
        let causes = report["causes"].as_array().expect("a list");
        let of_the_code = |cause: &&serde_json::Value| cause["code"] == code && cause["fits"] == fits;
        let found = causes.iter().filter(of_the_code).any(|cause| cause["text"].as_str().unwrap().contains(text));
        assert!(found, "{code}, {fits}, {text}: {report}");
        assert!(documented(code), "{code}");
    }

    /// Asserts that these mistakes, and no others, are the causes, and returns the state of the signature.
    fn is_explained_by(&self, codes: &[&str]) -> String {
        let ran = self.examine(&["--json"]);
        assert_eq!(ran.code, Some(1), "{codes:?}: {}{}", ran.stdout, ran.stderr);
        let report: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
        let causes = report["causes"].as_array().expect("a list").iter();
        let mut found: Vec<_> =
            causes.filter(|cause| cause["fits"] == true).map(|cause| cause["code"].as_str().unwrap()).collect();
        let mut codes = codes.to_vec();
        found.sort_unstable();
        codes.sort_unstable();
        assert_eq!(found, codes, "{report}");
        assert!(!ran.stdout.contains(&self.given), "{}", ran.stdout);
        report["signature"].as_str().unwrap().to_owned()
    }

    fn report(&self, more: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.examine(&[more, &["--json"]].concat()).stdout).expect("JSON")
    }
}

fn documented(code: &str) -> bool {
    include_str!("../../../docs/verify.md").lines().any(|line| line.starts_with(&format!("| `{code}` |")))
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
            let digit = move |index: usize| char::from(DIGITS[number >> (18 - 6 * index) & 63]);
            (0..4).map(move |index| if index <= three.len() { digit(index) } else { '=' })
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
fn a_genuine_delivery_is_verified() {
    for (provider, kind) in KINDS {
        let Ran { code, stdout, stderr } = Recording::of(provider, kind).examine(&[]);
        assert_eq!(code, Some(0), "{provider}: {stdout}{stderr}");
        assert!(stdout.contains("\nverified\n") && stdout.contains("secret CANARY verifies"), "{stdout}");
        assert!(stdout.contains(&format!("kind {kind}")), "{stdout}");
    }
}

#[test]
fn the_second_of_two_secrets_is_found() {
    for (provider, kind) in KINDS {
        let recording = Recording::of(provider, kind).signed(OTHER);
        let Ran { code, stdout, .. } = recording.examine(&["--secret-env", "CANARY", "--secret-env", "OTHER"]);
        assert_eq!(code, Some(0), "{provider}: {stdout}");
        assert!(stdout.contains("secret OTHER verifies"), "{stdout}");
    }
}

#[test]
fn another_secret_or_an_altered_body_is_not_explained() {
    for (provider, kind) in KINDS {
        let Ran { code, stdout, .. } = Recording::of(provider, kind).signed(OTHER).examine(&[]);
        assert_eq!(code, Some(1), "{provider}: {stdout}");
        assert!(stdout.contains("verify    FAILED     signature_mismatch"), "{stdout}");
        assert!(stdout.contains("no known cause matches"), "{stdout}");
        assert!(!stdout.contains("combinations") || !stdout.contains("\n0 combinations"), "{stdout}");
    }
    let mut altered = Recording::of("healthsync", "document.uploaded");
    altered.body[20] ^= 1;
    assert!(altered.examine(&[]).stdout.contains("no known cause matches"));
}

/// Genuine or forged, in text or JSON.
#[test]
fn no_value_of_a_body_is_printed() {
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
            let verified = genuine.examine(&[]);
            let forged = genuine.signed(OTHER).examine(&["--json"]);
            assert!(verified.stdout.contains("verify    passed"), "{}", verified.stdout);
            assert!(forged.stdout.contains("\"verified\":false"), "{}", forged.stdout);
            for written in [verified.stdout, verified.stderr, forged.stdout, forged.stderr] {
                let marks = planted.marks.iter().map(String::as_str).chain(["canary"]);
                let shown: Vec<_> = marks.filter(|mark| written.contains(mark)).collect();
                assert!(shown.is_empty(), "{}: {shown:?} in {written}", fixture.path());
            }
        }
    }
    assert!(seen.len() > 30, "{}", seen.len());
}

#[test]
fn a_secret_that_was_decoded_the_wrong_way_is_found() {
    let key = b"canary-that-must-never-be-shown1";
    let fasten = || Recording::of("fasten", "webhook.test");
    let body = fasten().body;
    let as_text = fasten().signed_by(SECRET.as_bytes(), &body);
    as_text.has_cause("secret_read_as_text", "secret CANARY was used as text to sign, but must be decoded as base64");
    let healthsync = || Recording::of("healthsync", "document.uploaded");
    let body = healthsync().body;
    healthsync()
        .signed_by(key, &body)
        .has_cause("secret_read_as_base64", "secret CANARY was decoded as base64 to sign, but must be used as text");
    let with_line_break = format!("{SECRET}\n");
    healthsync()
        .signed_by(with_line_break.as_bytes(), &body)
        .has_cause("secret_read_with_line_break", "was used with a line break at its end");
}

#[test]
fn the_report_can_be_json_and_include_the_body() {
    let mut recording = Recording::of("healthsync", "document.uploaded");
    recording.body.extend(b"\n");
    let ran = recording.examine(&["--json"]);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &report["verified"]), (Some(1), &false.into()));
    assert_eq!(report["signature"], "invalid");
    let step = &report["steps"][1];
    assert_eq!(
        (&step["step"], &step["result"], &step["reason"]),
        (&"verify".into(), &"failed".into(), &"signature_mismatch".into())
    );
    assert_eq!(report["steps"][2]["result"], "unchecked");
    let cause = &report["causes"][0];
    assert_eq!((&cause["code"], &cause["fits"]), (&"trailing_line_break_added".into(), &true.into()), "{report}");
    assert!(report["tried"].as_u64().unwrap() > 0, "{report}");
    assert!(report.get("body").is_none() && !ran.stdout.contains("filename"), "{report}");
    let shown = recording.examine(&["--show-body"]).stdout;
    assert!(shown.contains("\"filename\"") && shown.trim_end().ends_with("\\n"), "{shown}");
}

#[test]
fn the_report_states_whether_the_signature_is_valid() {
    let signature = |recording: &Recording, more: &[&str]| {
        let report = recording.report(more);
        (report["verified"].as_bool().unwrap(), report["signature"].as_str().unwrap().to_owned())
    };
    for (provider, kind) in KINDS {
        let genuine = Recording::of(provider, kind);
        assert_eq!(signature(&genuine, &[]), (true, "valid".to_owned()), "{provider}");
        assert_eq!(signature(&genuine.signed(OTHER), &[]), (false, "invalid".to_owned()), "{provider}");
    }
    let fasten = Recording::of("fasten", "webhook.test");
    assert_eq!(signature(&fasten, &["--at", "1767229200"]), (false, "valid".to_owned()), "stale");
    let mut headless = Recording::of("healthsync", "document.uploaded");
    headless.headers.clear();
    assert_eq!(signature(&headless, &[]), (false, "unchecked".to_owned()));
    let mut long = Recording::of("healthsync", "document.uploaded");
    long.body = vec![b' '; 1024 * 1024 + 1];
    assert_eq!(signature(&long.signed(SECRET), &[]), (false, "valid".to_owned()), "too large");
}

#[test]
fn a_valid_signature_is_not_blamed_on_the_secret_or_the_body() {
    let mut recording = Recording::of("healthsync", "document.uploaded");
    recording.body = br#"{"type":"document.uploaded","id":"1"}"#.to_vec();
    let Ran { code, stdout, .. } = recording.signed(SECRET).examine(&[]);
    assert_eq!(code, Some(1), "{stdout}");
    assert!(stdout.contains("fresh     FAILED     time_missing"), "{stdout}");
    assert!(!stdout.contains("no known cause"), "{stdout}");
}

/// The unit tests of the schemes that only a config file describes.
const SCHEME_TESTS: [&str; 5] = [
    include_str!("../../src/verify/scheme_tests/authorizations.rs"),
    include_str!("../../src/verify/scheme_tests/keys.rs"),
    include_str!("../../src/verify/scheme_tests/lists.rs"),
    include_str!("../../src/verify/scheme_tests/templates.rs"),
    include_str!("../../src/verify/scheme_tests/times.rs"),
];

#[test]
fn every_mistake_of_other_schemes_is_tested() {
    for table in [
        include_str!("../../src/verify/causes/authorization.rs"),
        include_str!("../../src/verify/causes/keys.rs"),
        include_str!("../../src/verify/causes/tags.rs"),
        include_str!("../../src/verify/causes/templates.rs"),
    ] {
        let elsewhere = [include_str!("head.rs"), include_str!("times.rs"), include_str!("secrets.rs")];
        let elsewhere: Vec<_> = elsewhere.iter().flat_map(|text| text.split('"')).collect();
        every_entry_is_tested(table, &elsewhere);
    }
}

/// Asserts that each code in a table of mistakes is in one of its tests, or in those of other schemes.
fn every_entry_is_tested(table: &str, tested: &[&str]) {
    let of_schemes: Vec<_> = SCHEME_TESTS.iter().flat_map(|text| text.split('"')).collect();
    let tested = [tested, &of_schemes].concat();
    let tested = &tested;
    let entries = table.split("#[cfg(test)]").next().unwrap().split('"').filter(is_code);
    let untested: Vec<_> = entries.filter(|code| documented(code) && !tested.contains(code)).collect();
    assert!(untested.is_empty(), "{untested:?}");
}

fn is_code(text: &&str) -> bool {
    text.contains('_')
        && !text.ends_with('_')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// Returns the text of all files in a folder, without their tests.
fn sources(folder: &std::path::Path) -> String {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let text = |path: PathBuf| match path.is_dir() {
        true if path.ends_with("scheme_tests") => String::new(),
        true => sources(&path),
        false => std::fs::read_to_string(path).unwrap().split("#[cfg(test)]").next().unwrap().to_owned(),
    };
    entries.map(text).collect()
}

/// Scripts read the codes.
#[test]
fn every_code_is_documented_and_every_documented_code_exists() {
    let sources = sources(&PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src/verify")));
    // The keys of the config file are no codes.
    let sources = sources.replace("option(\"", "option(");
    let codes: Vec<_> = sources.split('"').filter(is_code).collect();
    for code in &codes {
        assert!(documented(code), "{code} is not documented");
    }
    let listed =
        include_str!("../../../docs/verify.md").lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    for (code, _) in listed.filter(|(code, _)| is_code(code)) {
        assert!(codes.contains(&code), "{code} is documented and does not exist");
    }
    assert!(codes.len() > 40, "{codes:?}");
}

#[test]
fn an_unreadable_recording_exits_with_2_and_one_line() {
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
fn the_base64_of_the_tests_is_that_of_the_library() {
    let signing = Signing::of(medhook::HmacSha256Body::new("x").encoding(medhook::Encoding::Base64));
    let signed = signing.headers("key", "", "", b"body").unwrap().remove(0).1;
    assert_eq!(base64(&mac(b"key", &[b"body"])), signed);
}
