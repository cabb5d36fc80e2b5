//! Secrets that are configured for the wrong mode.

use medhook_tests::program::Ran;

use super::{OTHER, Recording, SECRET};

#[test]
fn a_secret_of_the_wrong_mode_is_found() {
    let live = Recording::of("fasten", "patient.ehi_export_success");
    let code = "test_secret_for_other_event";
    live.has_cause_with(&["--test-secret-env", "CANARY"], code, "each mode has its own secret");
    live.has_cause_with(
        &["--test-secret-env", "CANARY"],
        code,
        "secret CANARY was given as a test secret, but the event is a live event; pass a live secret with --secret-env",
    );
    let stdout = live.examine(&["--test-secret-env", "CANARY"]).stdout;
    let step = "envelope  FAILED     secret_mode_mismatch: the secret was given as a test secret, but this is not a test event";
    assert!(stdout.contains(step), "{stdout}");
    // The secrets of the two modes are swapped.
    let swapped = ["--secret-env", "OTHER", "--test-secret-env", "CANARY"];
    live.has_cause_with(&swapped, code, "secret CANARY was given as a test secret, but the event is a live event");
    let test_event = Recording::of("fasten", "patient.ehi_export_success.test-mode").signed(OTHER);
    test_event.has_cause_with(
        &swapped,
        "live_secret_for_test_event",
        "secret OTHER was given as a live secret, but the event is a test event; pass a test secret with --test-secret-env",
    );
    for (mode, wanted) in [
        (r#""sandbox""#, "but the event has an undocumented mode; pass a live secret"),
        ("null", "but the event names no mode; pass a live secret"),
        (r#""""#, "but the event names no mode; pass a live secret"),
    ] {
        let mut other = Recording::of("fasten", "webhook.test");
        other.body = format!(r#"{{"id":"1","type":"webhook.test","api_mode":{mode},"data":{{}}}}"#).into_bytes();
        let other = other.signed(SECRET);
        other.has_cause_with(&["--test-secret-env", "CANARY"], code, wanted);
        assert!(!other.examine(&["--test-secret-env", "CANARY"]).stdout.contains("sandbox"));
    }
    let test = Recording::of("fasten", "patient.ehi_export_success.test-mode").signed(OTHER);
    test.has_possible_cause("test_event_without_test_secret", "the test mode, which has its own secret");
    let Ran { code, stdout, .. } = test.examine(&["--secret-env", "CANARY", "--test-secret-env", "OTHER"]);
    assert_eq!(code, Some(0), "{stdout}");
}
