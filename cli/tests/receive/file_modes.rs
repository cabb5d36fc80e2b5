//! Files of secrets that other users of the machine can access: a warning at the start, by `--check`, and when such a
//! file replaces a secret.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::program::{Folder, INBOX_KEY, Instance, OTHER_SECRET, PATIENCE, SECRET, THIRD_SECRET, ends};
use crate::tls::issue;

/// A config file with each kind of secret in a file.
const CONFIG: &str = r#"listen = "127.0.0.1:0"
drain_delay = "0s"
store = { file = "store" }
inbox_key = [{ file = "inbox" }, { file = "old-inbox" }]
tls = { cert = "cert.pem", key = "key.pem" }

[operations]
listen = "127.0.0.1:0"
token = { file = "token" }

[[endpoint]]
path = "/fasten"
provider = "fasten"
secrets = [{ file = "fasten" }, { file = "missing", optional = true }]
test_secrets = [{ file = "fasten-test" }]
inbox = true
forward = "http://127.0.0.1:1/"
forward_secret = { file = "forward" }

[[endpoint]]
path = "/custom"
provider = "custom"
scheme = "shared-secret"
header = "x-secret"
secrets = [{ file = "custom" }]
handshake = { type = "echo", parameter = "challenge", token_parameter = "token", answer = "text", token = { file = "handshake" } }
inbox = true
forward = "http://127.0.0.1:1/"
forward_secret = { file = "forward" }
"#;

/// The files, their contents, and their places in [`CONFIG`].
const FILES: [(&str, &str, &str); 9] = [
    ("store", "sqlite:events.db", "`store`: `file`"),
    ("inbox", INBOX_KEY, "`inbox_key[0]`: `file`"),
    ("old-inbox", "9zWsLQFw8dzYBC0Cjd9gT6bMHb8+qHbbWGGPnV4GwoA=", "`inbox_key[1]`: `file`"),
    ("token", "a token of the operator's page", "`operations`: `token`: `file`"),
    ("fasten", SECRET, "endpoint 1 (/fasten): `secrets[0]`: `file`"),
    ("fasten-test", OTHER_SECRET, "endpoint 1 (/fasten): `test_secrets[0]`: `file`"),
    // Two endpoints name it, and the first one is reported.
    ("forward", THIRD_SECRET, "endpoint 1 (/fasten): `forward_secret`: `file`"),
    ("custom", "another secret of thirty-two bytes", "endpoint 2 (/custom): `secrets[0]`: `file`"),
    ("handshake", "the token of a handshake", "endpoint 2 (/custom): `handshake`: `token`: `file`"),
];

const WARNING: &str = "its mode lets other users access the file; restrict it with chmod o-rwx";

fn set_mode(file: &Path, mode: u32) {
    std::fs::set_permissions(file, Permissions::from_mode(mode)).unwrap();
}

/// Creates a folder with private files for [`CONFIG`].
fn folder() -> Folder {
    let folder = Folder::new();
    issue(&folder, 2100);
    for (name, content, _) in FILES {
        folder.file(name, content);
    }
    folder
}

/// Returns what `--check` writes to standard error. The config must be valid, and no secret may be printed.
fn check(folder: &Folder, config: &str) -> String {
    let output = ends(folder, config, &["--check"]);
    let problems = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{problems}");
    without_secrets(&problems);
    problems
}

fn without_secrets(text: &str) {
    let of_a_secret = FILES.iter().filter(|(name, ..)| *name != "store");
    assert!(!of_a_secret.into_iter().any(|(_, content, _)| text.contains(content)), "{text}");
}

#[test]
fn each_file_of_a_secret_that_other_users_can_access_is_a_warning() {
    let folder = folder();
    for (name, place) in FILES.iter().map(|(name, _, place)| (*name, *place)).chain([("key.pem", "`tls`: `key`")]) {
        let warning = format!("medhook: warning: medhook.toml: {place}: {WARNING}\n");
        let file = folder.path().join(name);
        for (mode, is_open) in [(0o644, true), (0o602, true), (0o601, true), (0o640, false), (0o600, false)] {
            set_mode(&file, mode);
            let expected = if is_open { &*warning } else { "" };
            assert_eq!(check(&folder, CONFIG), expected, "{name} {mode:o}");
        }
    }
}

#[test]
fn the_receiver_starts_and_logs_the_warnings_and_a_new_secret_is_checked_as_well() {
    let folder = folder();
    for name in ["fasten-test", "inbox", "key.pem"] {
        set_mode(&folder.path().join(name), 0o644);
    }
    let mut instance = Instance::start(&folder, CONFIG, &[]);
    let expected = ["1 (/fasten): `test_secrets[0]`: `file`", "`inbox_key[0]`: `file`", "`tls`: `key`"];
    let at_start: Vec<_> = instance.stderr().into_iter().filter(|line| line.contains(WARNING)).collect();
    assert_eq!(at_start.len(), expected.len(), "{at_start:?}");
    for (line, place) in at_start.iter().zip(expected) {
        assert!(line.contains(" WARN ") && line.ends_with(&format!("{place}: {WARNING}")), "{line}");
    }

    let count = |text: &str| instance.stderr().iter().filter(|line| line.contains(text)).count();
    for (content, mode, warnings) in [("one of 20 characters", 0o640, 0), ("one of 21 characters.", 0o644, 1)] {
        let (file, hangups) = (folder.file("new", content), count("SIGHUP: "));
        set_mode(&file, mode);
        std::fs::rename(file, folder.path().join("custom")).unwrap();
        instance.signal("-HUP");
        let began = Instant::now();
        while count("SIGHUP: ") == hangups {
            assert!(began.elapsed() < PATIENCE, "{:?}", instance.stderr());
            thread::sleep(Duration::from_millis(5));
        }
        let line = format!("medhook::secrets: medhook.toml: endpoint 2 (/custom): `secrets[0]`: `file`: {WARNING}");
        assert_eq!(count(&line), warnings, "{mode:o}: {:?}", instance.stderr());
        assert_eq!(count(WARNING), expected.len() + warnings, "{mode:o}: {:?}", instance.stderr());
    }
    assert_eq!(count("webhook secrets replaced endpoint=\"custom\""), 2);
    without_secrets(&instance.stderr().join("\n"));
    assert_eq!(instance.terminate().code(), Some(0));
}

#[test]
fn a_secret_that_kubernetes_mounts_is_usable_whatever_its_mode_is() {
    let folder = Folder::new();
    let config = CONFIG.lines().filter(|line| !line.starts_with("tls")).collect::<Vec<_>>().join("\n");
    let mount = folder.path().join("..2026");
    std::fs::create_dir(&mount).unwrap();
    symlink("..2026", folder.path().join("..data")).unwrap();
    for (name, content, _) in FILES {
        std::fs::write(mount.join(name), content).unwrap();
        symlink(format!("..data/{name}"), folder.path().join(name)).unwrap();
    }
    for (mode, warnings) in [(0o644, FILES.len()), (0o440, 0), (0o400, 0)] {
        FILES.iter().for_each(|(name, ..)| set_mode(&mount.join(name), mode));
        let problems = check(&folder, &config);
        assert_eq!(problems.matches(WARNING).count(), warnings, "{mode:o}: {problems}");
        assert_eq!(problems.lines().count(), warnings, "{mode:o}: {problems}");
    }
}

#[test]
fn a_config_file_with_the_password_of_the_store_is_checked_as_well() {
    let folder = Folder::new();
    let file = folder.file("medhook.toml", "");
    let endpoint = "[[endpoint]]\npath = \"/m\"\nprovider = \"mediquo\"\nsecrets = [{ env = \"TEST_SECRET\" }]\n";
    for (store, has_password) in [
        ("\"postgres://medhook:hunter2@127.0.0.1/medhook\"", true),
        ("{ url = \"redis://:hunter2@127.0.0.1\" }", true),
        ("\"postgres://medhook@127.0.0.1/medhook\"", false),
        ("{ file = \"store\" }", false),
    ] {
        folder.file("store", "postgres://medhook:hunter2@127.0.0.1/medhook");
        for (mode, is_open) in [(0o644, true), (0o640, false)] {
            set_mode(&file, mode);
            let problems = check(&folder, &format!("listen = \"127.0.0.1:0\"\nstore = {store}\n{endpoint}"));
            let warning = "medhook: warning: medhook.toml: `store`: the URL has a password, and the mode of this file \
                           lets other users access it; restrict it with chmod o-rwx, or keep the URL in a file of its \
                           own\n";
            assert_eq!(problems, if is_open && has_password { warning } else { "" }, "{store} {mode:o}");
        }
    }
}
