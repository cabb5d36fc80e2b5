//! `medhook verify`, run as a user runs it: every mistake it knows is made, and has to be found.

#![allow(
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

    /// Asserts that this mistake is found, and makes the signature valid.
    fn has_cause(&self, code: &str, text: &str) {
        self.is_explained(&[], (code, true), text);
    }

    fn has_cause_with(&self, more: &[&str], code: &str, text: &str) {
        self.is_explained(more, (code, true), text);
    }

    /// Asserts that this mistake is suggested.
    fn has_possible_cause(&self, code: &str, text: &str) {
        self.is_explained(&[], (code, false), text);
    }

    /// Asserts that there is such a cause, in words and as JSON.
    fn is_explained(&self, more: &[&str], (code, fits): (&str, bool), text: &str) {
        let Ran { code: exit, stdout, stderr } = self.look(more);
        assert_eq!(exit, Some(1), "{text}: {stdout}{stderr}");
        let begin = if fits { "cause: " } else { "possible cause: " };
        let said = stdout.lines().any(|line| line.starts_with(begin) && line.contains(text));
        assert!(said, "{begin}{text}: {stdout}");
        let report = self.report(more);
        let causes = report["causes"].as_array().expect("a list");
        let of_the_code = |cause: &&serde_json::Value| cause["code"] == code && cause["fits"] == fits;
        let found = causes.iter().filter(of_the_code).any(|cause| cause["text"].as_str().unwrap().contains(text));
        assert!(found, "{code}, {fits}, {text}: {report}");
        assert!(documented(code), "{code}");
    }

    fn report(&self, more: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.look(&[more, &["--json"]].concat()).stdout).expect("JSON")
    }
}

fn documented(code: &str) -> bool {
    include_str!("../../docs/verify.md").lines().any(|line| line.starts_with(&format!("| `{code}` |")))
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
        assert!(stdout.contains("\nverified\n") && stdout.contains("secret CANARY verifies"), "{stdout}");
        assert!(stdout.contains(&format!("kind {kind}")), "{stdout}");
    }
}

#[test]
fn the_second_of_two_secrets_is_found() {
    for (provider, kind) in KINDS {
        let recording = Recording::of(provider, kind).signed(OTHER);
        let Ran { code, stdout, .. } = recording.look(&["--secret-env", "CANARY", "--secret-env", "OTHER"]);
        assert_eq!(code, Some(0), "{provider}: {stdout}");
        assert!(stdout.contains("secret OTHER verifies"), "{stdout}");
    }
}

#[test]
fn another_secret_or_an_altered_body_is_not_explained() {
    for (provider, kind) in KINDS {
        let Ran { code, stdout, .. } = Recording::of(provider, kind).signed(OTHER).look(&[]);
        assert_eq!(code, Some(1), "{provider}: {stdout}");
        assert!(stdout.contains("verify    FAILED     signature_mismatch"), "{stdout}");
        assert!(stdout.contains("no known cause matches"), "{stdout}");
        assert!(!stdout.contains("combinations") || !stdout.contains("\n0 combinations"), "{stdout}");
    }
    let mut altered = Recording::of("healthsync", "document.uploaded");
    altered.body[20] ^= 1;
    assert!(altered.look(&[]).stdout.contains("no known cause matches"));
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
            assert!(held.stdout.contains("verify    passed"), "{}", held.stdout);
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
    as_text.has_cause("secret_read_as_text", "secret CANARY was taken as text, and has to be taken as base64");
    let healthsync = || Recording::of("healthsync", "document.uploaded");
    let body = healthsync().body;
    healthsync()
        .signed_by(key, &body)
        .has_cause("secret_read_as_base64", "secret CANARY was taken as base64, and has to be taken as text");
    let with_line_break = format!("{SECRET}\n");
    healthsync()
        .signed_by(with_line_break.as_bytes(), &body)
        .has_cause("secret_read_with_line_break", "was taken together with a line break");
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
            spaced.has_cause("json_was_compact", "its JSON without whitespace");
        }
        let mut packed = recording().signed_by(&key, pretty.as_bytes());
        packed.body = serde_json::from_str::<serde_json::Value>(&pretty).unwrap().to_string().into();
        packed.has_cause("json_was_indented_by_2", "its JSON on lines indented by 2");

        let mut longer = recording();
        longer.body.push(b'\n');
        longer.has_cause("trailing_line_break_added", "the body's last line break is not part of what was signed");
        let mut shorter = recording().signed_by(&key, &[&*signed, b"\r\n"].concat());
        shorter.body.clone_from(&signed);
        shorter.has_cause("trailing_crlf_lost", "a line break (CR LF) after the body was signed");
    }
}

#[test]
fn escapes_and_order_that_changed() {
    let mut recording = Recording::of("healthsync", "document.uploaded");
    recording.body = r#"{"type":"a","id":"\u00f1","created_at":"2026-01-01T00:00:00Z"}"#.into();
    let signed = r#"{"type":"a","id":"ñ","created_at":"2026-01-01T00:00:00Z"}"#;
    recording
        .signed_by(SECRET.as_bytes(), signed.as_bytes())
        .has_cause("json_escapes_changed", "other escapes in its JSON");

    let mut recording = Recording::of("healthsync", "document.uploaded");
    recording.body = br#"{"b":1,"a":2}"#.into();
    recording
        .signed_by(SECRET.as_bytes(), br#"{"a":2,"b":1}"#)
        .has_cause("json_members_reordered", "its members in alphabetical order");
}

#[test]
fn two_mistakes_at_once() {
    let mut recording = Recording::of("healthsync", "document.uploaded");
    let signed = recording.body.clone();
    recording = recording.signed_by(b"canary-that-must-never-be-shown1", &signed);
    recording.body.push(b'\n');
    recording.has_cause("secret_read_as_base64", "was taken as base64");
    recording.has_cause("trailing_line_break_added", "last line break is not part");
}

#[test]
fn a_signature_in_another_place_or_writing() {
    let mut other = Recording::of("cair", "CLAIM_STATUS_CHANGE");
    other.headers[0].0 = "X-Hub-Signature".to_owned();
    other.has_cause("signature_in_other_header", "in the header x-hub-signature, and is looked for in x-signature");
    other.has_possible_cause("missing_header", "there is no header x-signature");

    let mut prefixed = Recording::of("cair", "CLAIM_STATUS_CHANGE");
    prefixed.value(|value| format!("sha256={value}"));
    prefixed.has_cause("text_around_signature", "something stands before or after the signature");
    let mut bare = Recording::of("healthsync", "document.uploaded");
    bare.value(|value| value.replace("sha256=", ""));
    bare.has_cause("wrong_prefix", "there has to be `sha256=`");
    let tag = mac(SECRET.as_bytes(), &[&bare.body]);
    let mut base = Recording::of("healthsync", "document.uploaded");
    base.value(|_| format!("sha256={}", base64(&tag)));
    base.has_cause("wrong_encoding", "the signature is written in base64");

    let mut svix = Recording::of("fasten", "webhook.test");
    for (name, _) in &mut svix.headers {
        *name = name.replace("webhook-", "svix-");
    }
    svix.has_possible_cause("svix_headers", "the headers are called svix-*");
    svix.has_cause("svix_id_and_time", "id and time are those of the headers svix-*");

    let twice = Recording::of("healthsync", "document.uploaded");
    let again = twice.headers[0].1.clone();
    twice.header("x-healthsync-signature", &again).has_possible_cause("repeated_header", "is there 2 times");
}

#[test]
fn a_shared_secret_in_another_place_or_writing() {
    let mut other = Recording::of("mediquo", "patient_message_received");
    other.headers[0].0 = "X-Api-Key".to_owned();
    other.has_cause(
        "secret_in_other_header",
        "secret CANARY is in the header x-api-key, and is looked for in x-webhook-signature",
    );
    let mut bearer = Recording::of("mediquo", "patient_message_received");
    bearer.value(|value| format!("Bearer {value}"));
    bearer.has_cause("secret_after_word", "a word stands before secret CANARY");
    let mut cut = Recording::of("mediquo", "patient_message_received");
    cut.value(|value| value[..20].to_owned());
    cut.has_possible_cause("secret_cut_off", "one of them is cut off");
    let mut signed = Recording::of("mediquo", "patient_message_received");
    let tag = mac(SECRET.as_bytes(), &[&signed.body]);
    signed.value(|_| hex(&tag));
    signed.has_cause("hmac_instead_of_secret", "has an HMAC of the body under secret CANARY");
    let mut bare = Recording::of("cair", "CLAIM_STATUS_CHANGE");
    bare.value(|_| SECRET.to_owned());
    // Nothing of the right length, and not by chance.
    let stdout = bare.look(&[]).stdout;
    assert!(stdout.contains("malformed_header"), "{stdout}");
}

#[test]
fn clocks_and_ages() {
    let fasten = || Recording::of("fasten", "webhook.test");
    fasten().is_explained(&["--at", "1767229200"], ("stale_delivery", false), "unless --at tells when it arrived");
    let Ran { code, stdout, .. } = fasten().look(&["--at", "1767229200"]);
    assert_eq!(code, Some(1));
    assert!(stdout.contains("fresh     FAILED     stale: 60 min old"), "{stdout}");
    assert!(stdout.contains("verify    passed"), "{stdout}");
    assert!(fasten().look(&["--at", "1767222000"]).stdout.contains("in_the_future: 60 min ahead"));
    assert!(fasten().look(&["--at", "2026-01-01T00:04:00Z"]).stdout.contains("fresh     passed     4 min old"));

    let mut millis = fasten();
    let headers = Signing::StandardWebhooks.headers(SECRET, "msg_1", "1767225600000", &millis.body).unwrap();
    millis.headers = headers;
    millis.has_possible_cause("timestamp_in_milliseconds", "webhook-timestamp is in milliseconds");

    let healthsync = Recording::of("healthsync", "document.uploaded");
    let stdout = healthsync.look(&["--at", "1767312000"]).stdout;
    assert!(stdout.contains("fresh     FAILED     stale: 24 h old"), "{stdout}");
}

#[test]
fn test_secrets_and_live_events() {
    let live = Recording::of("fasten", "patient.ehi_export_success");
    let code = "test_secret_for_other_event";
    live.has_cause_with(&["--test-secret-env", "CANARY"], code, "each mode has a secret of its own");
    live.has_cause_with(
        &["--test-secret-env", "CANARY"],
        code,
        "secret CANARY was given as a test secret, and the event is a live event; give a live secret with --secret-env",
    );
    let stdout = live.look(&["--test-secret-env", "CANARY"]).stdout;
    let step = "envelope  FAILED     secret_mode_mismatch: the secret was given as a test secret, and this is not a test event";
    assert!(stdout.contains(step), "{stdout}");
    // Swapped: the test mode's secret is given as the live one, and the other way round.
    let swapped = ["--secret-env", "OTHER", "--test-secret-env", "CANARY"];
    live.has_cause_with(&swapped, code, "secret CANARY was given as a test secret, and the event is a live event");
    let test_event = Recording::of("fasten", "patient.ehi_export_success.test-mode").signed(OTHER);
    test_event.has_cause_with(
        &swapped,
        "live_secret_for_test_event",
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
        other.has_cause_with(&["--test-secret-env", "CANARY"], code, wanted);
        assert!(!other.look(&["--test-secret-env", "CANARY"]).stdout.contains("sandbox"));
    }
    let test = Recording::of("fasten", "patient.ehi_export_success.test-mode").signed(OTHER);
    test.has_possible_cause("test_event_without_test_secret", "the test mode has a secret of its own");
    let Ran { code, stdout, .. } = test.look(&["--secret-env", "CANARY", "--test-secret-env", "OTHER"]);
    assert_eq!(code, Some(0), "{stdout}");
}

#[test]
fn what_proxies_do() {
    let recording = || Recording::of("healthsync", "document.uploaded").signed(OTHER);
    recording()
        .header("content-encoding", "gzip")
        .has_possible_cause("decompressed_in_transit", "something between unpacked it");
    let mut packed = recording();
    packed.body = b"\x1f\x8b\x08\0\0".to_vec();
    packed.has_possible_cause("compressed_without_header", "the body is packed with gzip, and no header says so");
    recording().header("content-length", "3").has_possible_cause("body_length_differs", "content-length was 3");
}

#[test]
fn as_json_and_with_the_body() {
    let mut recording = Recording::of("healthsync", "document.uploaded");
    recording.body.extend(b"\n");
    let ran = recording.look(&["--json"]);
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
    let shown = recording.look(&["--show-body"]).stdout;
    assert!(shown.contains("\"filename\"") && shown.trim_end().ends_with("\\n"), "{shown}");
}

#[test]
fn the_report_says_whether_the_signature_is_valid() {
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
    assert_eq!(signature(&long.signed(SECRET), &[]), (false, "unchecked".to_owned()), "too large");
}

#[test]
fn a_valid_signature_is_not_blamed_on_the_secret_or_the_body() {
    let mut recording = Recording::of("healthsync", "document.uploaded");
    recording.body = br#"{"type":"document.uploaded","id":"1"}"#.to_vec();
    let Ran { code, stdout, .. } = recording.signed(SECRET).look(&[]);
    assert_eq!(code, Some(1), "{stdout}");
    assert!(stdout.contains("fresh     FAILED     time_missing"), "{stdout}");
    assert!(!stdout.contains("no known cause"), "{stdout}");
}

/// Scripts read the codes: each is documented, and each that is documented exists.
#[test]
fn every_code_is_documented() {
    let sources = [include_str!("../src/verify/causes.rs"), include_str!("../src/verify/rewritten.rs")];
    let sources = sources.map(|source| source.split("#[cfg(test)]").next().unwrap()).concat();
    let is_code = |text: &&str| {
        text.contains('_')
            && !text.ends_with('_')
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    let codes: Vec<_> = sources.split('"').filter(is_code).collect();
    for code in &codes {
        assert!(documented(code), "{code} is not documented");
    }
    let listed =
        include_str!("../../docs/verify.md").lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    for (code, _) in listed.filter(|(code, _)| is_code(code)) {
        assert!(codes.contains(&code), "{code} is documented and does not exist");
    }
    assert!(codes.len() > 40, "{codes:?}");
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
