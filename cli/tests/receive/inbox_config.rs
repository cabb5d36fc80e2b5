//! The keys of an inbox in the config file: the message for every mistake, and what the receiver says at startup.

use std::os::unix::fs::PermissionsExt as _;

use medhook::registry::PROVIDERS;

use crate::config::rejected;
use crate::program::{Folder, INBOX_KEY, Instance, ends};

/// A valid file with one line for each key, which the tests replace with mistakes.
const VALID: &str = r#"listen = "127.0.0.1:0"
store = "sqlite:medhook.db"
drain_delay = "0s"
inbox_key = { env = "TEST_INBOX_KEY" }
[[endpoint]]
path = "/m"
provider = "mediquo"
secrets = [{ env = "TEST_SECRET" }]
inbox = true
ack_status = 202
workers = 2
retain_done = "0s"
retain_dead = "30d"
max_bytes = 1000000
retry = { initial_backoff = "1s", max_backoff = "1m", max_age = "1d", max_attempts = 9 }
forward = "http://127.0.0.1:1/"
"#;

const ENDPOINT: &str = "endpoint 1 (/m): ";
const KEY: &str = "inbox_key = { env = \"TEST_INBOX_KEY\" }";
const IN_CLEAR: &str = "allow_plaintext_bodies = true";

/// Returns the file in which each of these lines is replaced.
fn with(changes: &[(&str, &str)]) -> String {
    changes.iter().fold(VALID.to_owned(), |config, (old, new)| {
        assert!(config.contains(old), "{old}");
        config.replace(old, new)
    })
}

#[test]
fn the_message_for_every_mistake_names_the_key_and_what_to_do() {
    const CHOOSE: &str = "set `inbox = true` to store events first, or `inbox = false` to accept the loss";
    const NEW_KEY: &str =
        "a new inbox needs a key from `openssl rand -base64 32`, an existing one the key that sealed it";
    let retry = "retry = { initial_backoff = \"1s\", max_backoff = \"1m\", max_age = \"1d\", max_attempts = 9 }";
    for (old, new, parts) in [
        // The key.
        (KEY, "", &[ENDPOINT, "`inbox`: requires a key that seals the stored bodies", "openssl rand -base64 32"][..]),
        ("TEST_INBOX_KEY", "TEST_UNSET_SECRET", &["`inbox_key`: `env`: the environment variable", NEW_KEY]),
        ("{ env = \"TEST_INBOX_KEY\" }", "{ file = \"none\" }", &["`inbox_key`: `file`: the file does not", NEW_KEY]),
        ("{ env = \"TEST_INBOX_KEY\" }", "{ file = \"empty\" }", &["`inbox_key`: `file`: ", "empty", NEW_KEY]),
        ("TEST_INBOX_KEY", "TEST_SECRET", &["`inbox_key`: inbox key TEST_SECRET: 24 bytes in base64 instead of 32"]),
        ("{ env = \"TEST_INBOX_KEY\" }", "\"hunter2\"", &["`inbox_key`: must be a list of tables"]),
        (
            "{ env = \"TEST_INBOX_KEY\" }",
            "[{ env = \"TEST_INBOX_KEY\" }, { env = \"TEST_INBOX_KEY\", label = \"b\" }]",
            &["`inbox_key[1]`: secret b: the same as TEST_INBOX_KEY"],
        ),
        // The store, and the endpoint.
        ("sqlite:medhook.db", "memory", &["`store`: an inbox requires a SQLite or PostgreSQL store"]),
        ("inbox = true", "", &[ENDPOINT, "`ack_status`: requires `inbox = true`"]),
        ("forward = \"http://127.0.0.1:1/\"", "", &[ENDPOINT, "`inbox`: requires `forward`"]),
        ("ack_status = 202", "ack_status = 302", &[ENDPOINT, "`ack_status`: must be a 2xx status"]),
        ("workers = 2", "workers = 0", &[ENDPOINT, "`workers`: must be at least 1"]),
        ("workers = 2", "workers = 10001", &[ENDPOINT, "`workers`: must be at most 10000"]),
        ("max_bytes = 1000000", "max_bytes = 0", &[ENDPOINT, "`max_bytes`: must be at least 1"]),
        ("retain_done = \"0s\"", "retain_done = \"-1s\"", &[ENDPOINT, "`retain_done`: "]),
        ("retain_dead = \"30d\"", "retain_dead = \"0s\"", &[ENDPOINT, "`retain_dead`: ", "must be greater than 0"]),
        (retry, "retry = \"5s\"", &[ENDPOINT, "`retry`: must be a table such as { initial_backoff = \"5s\""]),
        ("max_attempts = 9", "max_attempt = 9", &[ENDPOINT, "`retry`: unknown key `max_attempt`"]),
        ("max_backoff = \"1m\"", "max_backoff = \"1ms\"", &[ENDPOINT, "`retry`: `max_backoff`: must not be shorter"]),
        ("max_age = \"1d\"", "max_age = \"0s\"", &[ENDPOINT, "`retry`: `max_age`: ", "must be greater than 0"]),
    ] {
        rejected(&with(&[(old, new)]), &[], parts);
    }
    let unused = "`inbox_key`: is set, but no endpoint has `inbox = true`; set it, or, if `medhook inbox stats` shows \
                  no events, remove this key";
    let start = "listen = \"127.0.0.1:0\"\ninbox_key = { env = \"TEST_INBOX_KEY\" }\n[[endpoint]]\npath = \"/m\"\n";
    let mediquo = "provider = \"mediquo\"\nsecrets = [{ env = \"TEST_SECRET\" }]\n";
    rejected(&format!("{start}{mediquo}"), &[], &[unused]);

    // An endpoint that forwards must choose if no retries are documented.
    let start = "listen = \"127.0.0.1:0\"\n[[endpoint]]\npath = \"/m\"\n";
    let forward = "forward = \"http://127.0.0.1:1/\"\nsecrets = [{ env = \"TEST_SECRET\" }]\n";
    let scheme = "scheme = \"shared-secret\"\nheader = \"x-key\"\n";
    for name in ["azodha", "cair", "mediquo", "custom"] {
        let scheme = if name == "mediquo" { "" } else { scheme };
        let missing = "`inbox`: missing; no retries are documented for ";
        rejected(&format!("{start}provider = \"{name}\"\n{scheme}{forward}"), &[], &[ENDPOINT, missing, CHOOSE]);
    }
    let without: Vec<_> = PROVIDERS.iter().filter(|facts| facts.retries.is_none()).map(|facts| facts.name).collect();
    assert_eq!(without, ["azodha", "cair", "mediquo"]);
}

#[test]
fn the_startup_lines_say_where_events_are_stored_and_whether_they_are_sealed() {
    let folder = Folder::new();
    let started = |changes: &[(&str, &str)]| {
        let mut instance = Instance::start(&folder, &with(changes), &[]);
        assert_eq!(instance.terminate().code(), Some(0));
        instance.stderr().join("\n")
    };
    let in_clear = started(&[(KEY, IN_CLEAR)]);
    assert!(in_clear.contains("recorded in sqlite:medhook.db; bodies of stored events are in clear\n"), "{in_clear}");
    let warning = "medhook.toml: `allow_plaintext_bodies`: stored bodies, which contain health data, are in clear";
    assert!(in_clear.contains(warning), "{in_clear}");
    assert!(in_clear.contains("forwards to http://127.0.0.1:1/ from its inbox\n"), "{in_clear}");
    // A file that others can read is rejected.
    let file = folder.path().join("medhook.db");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let output = ends(&folder, &with(&[(KEY, IN_CLEAR)]), &[]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    let (place, file_name) = ("medhook: medhook.toml: `allow_plaintext_bodies`: SQLite store ", file.display());
    let problem = format!("{place}{file_name}: bodies in clear need files that other users cannot access");
    assert!(stderr.contains(&problem) && stderr.contains(&format!("run `chmod 600 {file_name}`")), "{stderr}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();

    let both = started(&[(KEY, &format!("{KEY}\n{IN_CLEAR}"))]);
    assert!(both.contains("; bodies of stored events are sealed, and those in clear are accepted\n"), "{both}");
    assert!(both.contains("WARN medhook::inbox::handle: the inbox accepts events in clear"), "{both}");
    // A list of keys, of which the last one sealed.
    let list = format!("inbox_key = [{{ file = \"new\" }}, {}]", &KEY["inbox_key = ".len()..]);
    folder.file("new", "9zWsLQFw8dzYBC0Cjd9gT6bMHb8+qHbbWGGPnV4GwoA=\n");
    let sealed = started(&[(KEY, &list)]);
    assert!(sealed.contains("; bodies of stored events are sealed\n") && !sealed.contains("WARN"), "{sealed}");
}

#[test]
fn an_inbox_that_is_sealed_with_another_key_is_reported_at_its_key() {
    let folder = Folder::new();
    Instance::start(&folder, VALID, &[]);
    folder.file("other", "9zWsLQFw8dzYBC0Cjd9gT6bMHb8+qHbbWGGPnV4GwoA=");
    for (changed, problem) in [
        ("inbox_key = { file = \"other\" }", "`inbox_key`: the inbox is sealed with other keys (ids: eb4f2e05)"),
        (IN_CLEAR, "`allow_plaintext_bodies`: the inbox is sealed, and unreadable without its keys (ids: eb4f2e05); "),
    ] {
        let output = ends(&folder, &with(&[(KEY, changed)]), &[]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.starts_with(&format!("medhook: medhook.toml: {problem}")), "{stderr}");
        assert!(!stderr.contains(INBOX_KEY), "{stderr}");
    }
}

/// Its provider documents no retries, and the operator has accepted the loss.
#[test]
fn an_endpoint_can_forward_without_an_inbox() {
    let start = "listen = \"127.0.0.1:0\"\ndrain_delay = \"0s\"\nstore = \"memory\"\n[[endpoint]]\npath = \"/m\"\n";
    let rest = "provider = \"mediquo\"\nsecrets = [{ env = \"TEST_SECRET\" }]\nforward = \"http://127.0.0.1:1/\"\n";
    let mut instance = Instance::start(&Folder::new(), &format!("{start}{rest}inbox = false\n"), &[]);
    assert!(instance.stderr().join("\n").contains("forwards to http://127.0.0.1:1/\n"), "{:?}", instance.stderr());
    assert_eq!(instance.terminate().code(), Some(0));
}
