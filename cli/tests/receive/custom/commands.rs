//! `send` and `check` at custom endpoints of a config file.

use std::process::Command;

use medhook_tests::families::{PRIVATE, PUBLIC};

use super::{PATH, Running};
use crate::program::with_secrets;

/// Runs a command with the config file of a receiver, and returns its exit code and its output.
fn run(running: &Running, arguments: &[&str]) -> (Option<i32>, String) {
    let to = format!("http://{}{PATH}", running.instance.address);
    let url: &[&str] = if arguments[0] == "send" { &["--to", &to] } else { &[&to] };
    let mut command = Command::new(env!("CARGO_BIN_EXE_medhook"));
    with_secrets(&mut command, &running.folder).env("PRIVATE", PRIVATE).env("PUBLIC", PUBLIC);
    command.args(arguments).args(url).args(["--config", "medhook.toml", "--endpoint", PATH]);
    let ran = command.output().unwrap();
    let text = String::from_utf8([ran.stdout, ran.stderr].concat()).unwrap();
    assert!(!text.contains(PRIVATE), "{text}");
    (ran.status.code(), text)
}

#[test]
fn check_knows_which_endpoints_with_an_hmac_handshake_require_json() {
    let handshake = "handshake = { type = \"hmac\", parameter = \"msg\", answer_key = \"secret_token\" }";
    let timestamped = "scheme = \"timestamped-hmac\"\nheader = \"x-sig\"\ntimestamp_header = \"x-time\"\n";
    for (scheme, status) in [
        ("scheme = \"hmac-sha256\"\nheader = \"x-sig\"\n".to_owned(), 401),
        (format!("{timestamped}signed = \"{{timestamp}}-{{body}}\"\n"), 401),
        (format!("{timestamped}signed = \"{{timestamp}}.{{body}}\"\n"), 200),
    ] {
        let running = Running::with(&format!("{scheme}{handshake}"));
        let (code, text) = run(&running, &["check", "--strict"]);
        assert_eq!(code, Some(0), "{scheme}: {text}");
        let played = format!("in: a body that is not JSON: {status}");
        assert!(text.lines().any(|line| line.starts_with("ok ") && line.contains(&played)), "{played}: {text}");
    }
}

#[test]
fn the_private_key_of_a_public_key_in_the_config_file_is_given_by_an_argument() {
    let ed25519 = "scheme = \"ed25519\"\nheader = \"x-sig\"\n";
    for scheme in [ed25519, "scheme = \"standard-webhooks\"\n"] {
        let running = Running::with_public_key(scheme);
        let (code, text) = run(&running, &["send"]);
        assert_eq!(code, Some(2), "{scheme}: {text}");
        assert!(text.contains("public key") && text.contains("pass the private key with --secret-env"), "{text}");
        running.folder.file("private", &format!("{PRIVATE}\n"));
        for key in [["--secret-env", "PRIVATE"], ["--secret-file", "private"]] {
            for command in [&["send"][..], &["check", "--strict"]] {
                let (code, text) = run(&running, &[command, &key].concat());
                assert_eq!(code, Some(0), "{scheme} {command:?}: {text}");
            }
        }
        let no_private_key = "not a private key; pass `whsk_`";
        for (arguments, problem) in [
            (&["send", "--secret-env", "TEST_SECRET"][..], no_private_key),
            (&["check", "--secret-env", "PUBLIC"], no_private_key),
            (&["send", "--secret-env", "PRIVATE", "--secret-env", "PRIVATE"], "--secret-file once"),
        ] {
            let (code, text) = run(&running, arguments);
            assert_eq!(code, Some(2), "{scheme} {arguments:?}: {text}");
            assert!(text.contains(problem), "{scheme} {arguments:?}: {text}");
        }
    }
}

#[test]
fn secrets_are_not_given_beside_a_config_file_that_has_them() {
    let cannot = "--secret-env and --secret-file cannot be used with --config";
    let shared = Running::with("scheme = \"hmac-sha256\"\nheader = \"x-sig\"\n");
    for command in ["send", "check"] {
        let (code, text) = run(&shared, &[command, "--secret-env", "PRIVATE"]);
        assert!(code == Some(2) && text.contains(cannot), "{command}: {text}");
    }
    let pair = Running::with_public_key("scheme = \"standard-webhooks\"\n");
    pair.folder.file("private", PRIVATE);
    for key in [["--secret-env", "PRIVATE"], ["--secret-file", "private"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_medhook"));
        with_secrets(&mut command, &pair.folder).env("PRIVATE", PRIVATE).env("PUBLIC", PUBLIC);
        command.args(["verify", "--headers", "a", "--body", "b", "--config", "medhook.toml", "--endpoint", PATH]);
        let ran = command.args(key).output().unwrap();
        let text = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.code() == Some(2) && text.contains(cannot), "verify: {text}");
    }
}
