//! Secrets with mistakes: an error where no provider issues such a secret, else a warning that `literal` silences.

use std::process::{Command, Output};

use base64ct::{Base64, Encoding as _};
use medhook::testing::Signing;

use crate::program::{Folder, Instance, SECRET, ends, medhook, with_secrets};

/// A config with this endpoint. Its secret is in the file `secret`.
fn config(keys: &str) -> String {
    format!(
        "listen = \"127.0.0.1:0\"\ndrain_delay = \"0s\"\nstore = \"memory\"\n[[endpoint]]\npath = \"/in\"\n{keys}\n"
    )
}

/// A Standard Webhooks secret.
const KEY: &str = "whsec_c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz";

const FASTEN: &str = "provider = \"fasten\"\nsecrets = [{ file = \"secret\" }]";
const HEALTHSYNC: &str = "provider = \"healthsync\"\nsecrets = [{ file = \"secret\" }]";

/// Returns standard error of a receiver that does not start.
fn rejected(keys: &str, secret: &str) -> String {
    let folder = Folder::new();
    folder.file("secret", secret);
    let Output { status, stderr, .. } = ends(&folder, &config(keys), &[]);
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(2), "{stderr}");
    assert!(![SECRET, KEY, "hunter2"].iter().any(|secret| stderr.contains(secret)), "{stderr}");
    stderr
}

/// Returns the warnings of a receiver that starts.
fn warnings(keys: &str, secret: &str) -> Vec<String> {
    let folder = Folder::new();
    folder.file("secret", secret);
    let mut instance = Instance::start(&folder, &config(keys), &[]);
    instance.terminate();
    let warnings: Vec<_> = instance.stderr().into_iter().filter(|line| line.contains(" WARN ")).collect();
    assert!(!warnings.iter().any(|line| line.contains("hunter2")), "{warnings:?}");
    warnings
}

#[test]
fn a_secret_that_no_provider_issues_is_an_error_that_names_its_place() {
    for (secret, problem) in [
        ("\u{feff}hunter2hunter2hunter2", "contains a byte order mark (U+FEFF); save the file as UTF-8 without it"),
        ("hunter2\u{200b}hunter2hunter2", "contains a character that is invisible (U+200B)"),
        ("hunter2\nhunter2hunter2", "contains a line break (U+000A); a secret is one line"),
        ("hunter2\u{7}hunter2hunter2", "contains a control character (U+0007)"),
    ] {
        for keys in [FASTEN, HEALTHSYNC] {
            let stderr = rejected(keys, secret);
            let place = "medhook: medhook.toml: endpoint 1 (/in): `secrets[0]`: `file`: secret secret: ";
            assert!(stderr.starts_with(&format!("{place}{problem}")), "{stderr}");
        }
    }
    for (secret, problem) in [
        (format!("\"{KEY}\""), "not base64, as Standard Webhooks requires: it is in quotation marks"),
        (format!("FASTEN_SECRET={KEY}"), "it begins with a name and `=`"),
        ("${FASTEN_SECRET}".to_owned(), "it holds an unexpanded variable"),
        ("whsec_..".to_owned(), "it looks like a placeholder"),
        (Base64::encode_string(KEY.as_bytes()), "encoded twice"),
    ] {
        let stderr = rejected(FASTEN, &secret);
        assert!(
            stderr.starts_with("medhook: medhook.toml: endpoint 1 (/in): receiver in: secret secret: ")
                && stderr.contains(problem),
            "{stderr}"
        );
    }
    let forward = format!("{HEALTHSYNC}\nforward = \"http://127.0.0.1:1/\"\nforward_secret = {{ env = \"HELD\" }}");
    let folder = Folder::new();
    folder.file("secret", SECRET);
    folder.file("medhook.toml", &config(&forward));
    let output = medhook(&folder, &[]).env("HELD", "\u{feff}hunter2hunter2").output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("`forward_secret`: `env`: secret HELD: contains a byte order mark"), "{stderr}");
}

#[test]
fn a_secret_that_looks_like_a_mistake_is_a_warning_that_names_its_place_once() {
    for (secret, mistake) in [
        ("'hunter2hunter2hunter2'", "is in quotation marks; remove them"),
        ("a_secret=hunter2hunter2", "begins with a name and `=`"),
        ("${HUNTER2_SECRET}", "holds an unexpanded variable"),
        ("{{ .Values.hunter2.secret }}", "holds an unexpanded variable"),
        ("<hunter2-hunter2-hunter2>", "looks like a placeholder"),
    ] {
        let warnings = warnings(HEALTHSYNC, secret);
        let [warning] = &*warnings else { panic!("one line: {warnings:?}") };
        let place = "medhook.toml: endpoint 1 (/in): `secrets[0]`: secret secret ";
        assert!(warning.contains(&format!("{place}{mistake}")), "{warning}");
        assert!(warning.ends_with("or set `literal = true` if the text is intended"), "{warning}");
        let literal = HEALTHSYNC.replace(" }]", ", literal = true }]");
        assert_eq!(self::warnings(&literal, secret), [""; 0]);
    }
    let also = "provider = \"mediquo\"\nsecrets = [{ env = \"TEST_SECRET\" }]\nalso_header = \"x-also\"\n\
                also_secrets = [{ file = \"secret\" }]";
    assert!(
        warnings(also, "\"hunter2hunter2hunter2\"")[0].contains("`also_secrets[0]`: secret secret is in quotation")
    );
}

#[test]
fn the_url_of_a_store_that_looks_like_a_mistake_is_explained() {
    let folder = Folder::new();
    folder.file("store", "\"postgres://me:hunter2@localhost/db\"");
    let config = config(HEALTHSYNC).replace("\"memory\"", "{ file = \"store\" }");
    folder.file("secret", SECRET);
    let stderr = String::from_utf8(ends(&folder, &config, &[]).stderr).unwrap();
    assert!(stderr.contains("`store`: must be \"memory\"") && !stderr.contains("hunter2"), "{stderr}");
    assert!(stderr.ends_with("; the text is in quotation marks; remove them\n"), "{stderr}");
}

/// Runs a command with this text in the variable `HELD`.
fn run(folder: &Folder, secret: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medhook"));
    let output = with_secrets(&mut command, folder).env("HELD", secret).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(
        !["hunter2", KEY].iter().any(|secret| stdout.contains(secret) || stderr.contains(secret)),
        "{stdout}{stderr}"
    );
    (output.status.code(), stdout, stderr)
}

#[test]
fn send_and_check_warn_about_a_secret_and_reject_one_that_no_receiver_accepts() {
    let folder = Folder::new();
    let send = ["send", "healthsync", "document.uploaded", "--to", "http://127.0.0.1:1/", "--secret-env", "HELD"];
    let check = ["check", "http://127.0.0.1:1/", "healthsync", "--secret-env", "HELD"];
    for arguments in [&send[..], &check] {
        let (_, _, stderr) = run(&folder, "'hunter2hunter2hunter2'", arguments);
        let warning =
            "medhook: --secret-env: secret HELD is in quotation marks; remove them, unless the text is intended";
        assert_eq!(stderr.lines().next(), Some(warning));
        let (code, _, stderr) = run(&folder, "hunter2\u{200b}hunter2", arguments);
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains("--secret-env: secret HELD: contains a character that is invisible"), "{stderr}");
    }
}

#[test]
fn verify_examines_a_delivery_with_a_secret_that_no_receiver_accepts() {
    let folder = Folder::new();
    let body = b"{\"type\":\"webhook.test\",\"id\":\"1\",\"api_mode\":\"live\",\"data\":{}}";
    let key = KEY;
    let headers = Signing::standard_webhooks().headers(key, "msg_1", "1767225600", body).unwrap();
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    folder.file("head", &lines);
    folder.file("body", str::from_utf8(body).unwrap());
    folder.file("medhook.toml", &config("provider = \"fasten\"\nsecrets = [{ env = \"HELD\" }]"));
    let files = ["verify", "--headers", "head", "--body", "body", "--at", "1767225600", "--json"];
    for (secret, problem) in [
        (format!("\"{key}\""), "not base64, as Standard Webhooks requires: it is in quotation marks"),
        (format!("\u{feff}{key}"), "contains a byte order mark (U+FEFF)"),
        (format!("FASTEN_SECRET={key}"), "it begins with a name and `=`"),
        (format!("{key}\n"), "leading or trailing whitespace"),
        (String::new(), "empty"),
    ] {
        for more in [&["fasten", "--secret-env", "HELD"][..], &["--config", "medhook.toml", "--endpoint", "in"]] {
            let (code, stdout, stderr) = run(&folder, &secret, &[&files[..], more].concat());
            assert_eq!(code, Some(1), "{stdout}{stderr}");
            let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
            assert_eq!(report["signature"], "invalid", "{report}");
            let causes = report["causes"].as_array().unwrap();
            let cause = causes.iter().find(|cause| cause["code"] == "secret_not_accepted").unwrap();
            assert_eq!(cause["fits"], false, "{report}");
            let text = cause["text"].as_str().unwrap();
            assert!(
                text.contains("no receiver starts with this secret: secret HELD: ") && text.contains(problem),
                "{text}"
            );
        }
    }
    let (code, stdout, _) = run(&folder, key, &[&files[..], &["fasten", "--secret-env", "HELD"]].concat());
    assert_eq!(code, Some(0), "{stdout}");
}
