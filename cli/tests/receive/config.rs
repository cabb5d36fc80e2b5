//! The config file: the message for every mistake is one line that names the file and the key, and no secret.

use std::net::TcpListener;

use medhook::registry::PROVIDERS;

use crate::program::{Folder, INBOX_KEY, Instance, OTHER_SECRET, SECRET, THIRD_SECRET, ends, medhook};

/// A valid file with one line for each key, which the tests replace with mistakes.
const VALID: &str = r#"listen = "127.0.0.1:0"
store = "memory"
max_connections = 10
idle_timeout = "10s"
drain_delay = "0s"
shutdown_timeout = "10s"
[[endpoint]]
path = "/fasten"
provider = "fasten"
mode = "live"
secrets = [{ env = "TEST_SECRET", label = "new" }, { env = "TEST_UNSET_SECRET", optional = true }]
body_limit = 1000
body_timeout = "5s"
retention = "72h"
dedupe = "id"
handler_timeout = "30s"
max_in_flight = 10
lease = "10s"
expect_every = "24h"
forward = "http://127.0.0.1:1/"
forward_secret = { env = "TEST_THIRD_SECRET" }
[[endpoint]]
path = "/cair"
provider = "cair"
scheme = "hmac-sha256"
header = "X-API-KEY"
pin_kind = "PATIENT_CHART_ANALYSIS_COMPLETE"
secrets = [{ env = "TEST_OTHER_SECRET" }]
"#;

#[test]
fn a_valid_file_is_accepted() {
    let folder = Folder::new();
    let mut instance = Instance::start(&folder, VALID, &[]);
    let log = instance.stderr().join("\n");
    assert!(log.contains("endpoint fasten at /fasten, provider fasten, forwards to http://127.0.0.1:1/, expects a delivery every 24h\n"), "{log}");
    assert!(log.contains("endpoint cair at /cair, provider cair, writes events to standard output"), "{log}");
    assert!(log.contains("recorded in memory"), "{log}");
    assert_eq!(instance.terminate().code(), Some(0));
}

/// Asserts that the file is rejected with one line that has all of these parts.
pub(crate) fn rejected(config: &str, arguments: &[&str], parts: &[&str]) {
    let folder = Folder::new();
    folder.file("empty", "");
    folder.file("blank", "\n");
    folder.file("secret", SECRET);
    let output = ends(&folder, config, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}\n{config}");
    assert!(output.stdout.is_empty(), "{config}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.starts_with("medhook: "), "{stderr}");
    for part in parts {
        assert!(stderr.contains(part), "no {part:?} in: {stderr}");
    }
    for secret in [SECRET, OTHER_SECRET, THIRD_SECRET, "hunter2"] {
        assert!(!stderr.contains(secret), "{stderr}");
    }
}

#[test]
fn the_message_for_every_mistake_is_one_line_that_names_the_file_and_the_key() {
    const FASTEN: &str = "medhook.toml: endpoint 1 (/fasten)";
    const CAIR: &str = "medhook.toml: endpoint 2 (/cair)";
    const SHUTDOWN: &str = "shutdown_timeout = \"10s\"";
    // The text in the valid file, its replacement, and the parts of the message.
    let mistakes: &[(&str, &str, &[&str])] = &[
        // The file itself.
        ("store = \"memory\"", "store = \"memory", &["medhook.toml: line 2: "]),
        ("store = \"memory\"", "store = \"memory\"\nstore = \"memory\"", &["medhook.toml: line 3: "]),
        ("store = \"memory\"", "store = hunter2", &["medhook.toml: line 2: "]),
        ("store = \"memory\"", "store = 12hunter2", &["medhook.toml: line 2: "]),
        ("store = \"memory\"", "store = \"hunter2\\q\"", &["medhook.toml: line 2: "]),
        ("store = \"memory\"", "store = \"memory\" hunter2", &["medhook.toml: line 2: "]),
        ("store = \"memory\"", "store = \"hunter2\u{1}\"", &["medhook.toml: line 2: "]),
        ("store = \"memory\"", "[store]\nurl = \"hunter2\"", &["medhook.toml: `store`: unknown key `"]),
        ("store = \"memory\"", "stores = \"memory\"", &["medhook.toml: unknown key `stores`"]),
        ("store = \"memory\"", "\"a\\nb\" = 1", &["medhook.toml: unknown key `a\\nb`"]),
        ("listen = \"127.0.0.1:0\"", "listen = 8787", &["medhook.toml: `listen`: must be a string", "integer"]),
        ("listen = \"127.0.0.1:0\"", "listen = \"127.0.0.1\"", &["medhook.toml: `listen`: must be an IP address and"]),
        ("listen = \"127.0.0.1:0\"", "listen = \"localhost:1\"", &["medhook.toml: `listen`: must be an IP address"]),
        ("listen = \"127.0.0.1:0\"", "listen = \"127.0.0.1:65536\"", &["medhook.toml: `listen`: must be an IP"]),
        (SHUTDOWN, "operations = 1", &["`operations`: must be a table, written as [operations], but"]),
        (SHUTDOWN, "[operations]", &["medhook.toml: `operations`: `listen`: missing"]),
        (SHUTDOWN, "[operations]\nport = 1", &["medhook.toml: `operations`: unknown key `port`"]),
        (
            SHUTDOWN,
            "[operations]\nlisten = \"8788\"",
            &["medhook.toml: `operations`: `listen`: must be an IP address and a port, such as \"127.0.0.1:8788\""],
        ),
        (
            SHUTDOWN,
            "[operations]\nlisten = \"192.0.2.1:0\"",
            &["medhook.toml: `operations`: `listen`: cannot listen at 192.0.2.1:0: "],
        ),
        ("drain_delay = \"0s\"", "drain_delay = 5", &["`drain_delay`: must be a duration in quotes"]),
        ("drain_delay = \"0s\"", "drain_delay = \"0\"", &["`drain_delay`: \"0\": must be a whole number followed by"]),
        ("listen = \"127.0.0.1:0\"", "listen = \"192.0.2.1:0\"", &["medhook.toml: `listen`: cannot listen at 192.0"]),
        ("max_connections = 10", "max_connections = 0", &["medhook.toml: `max_connections`: must be at least 1"]),
        ("max_connections = 10", "max_connections = -1", &["medhook.toml: `max_connections`: must be at least 1"]),
        ("max_connections = 10", "max_connections = 9999999999", &["medhook.toml: `max_connections`: must be at most"]),
        ("max_connections = 10", "max_connections = \"10\"", &["`max_connections`: must be a whole number", "string"]),
        (
            "idle_timeout = \"10s\"",
            "idle_timeout = 10",
            &["medhook.toml: `idle_timeout`: must be a duration in quotes"],
        ),
        ("shutdown_timeout = \"10s\"", "shutdown_timeout = \"10\"", &["`shutdown_timeout`: \"10\": must be a whole"]),
        // Stores.
        ("store = \"memory\"", "store = \"disk\"", &["medhook.toml: `store`: must be \"memory\", \"sqlite:PATH\""]),
        ("store = \"memory\"", "store = \"mysql://root:hunter2@h/d\"", &["medhook.toml: `store`: must be \"memory\""]),
        ("store = \"memory\"", "store = \"sqlite:\"", &["`store`: the URL of a SQLite store must be a path"]),
        (
            "store = \"memory\"",
            "store = \"sqlite:no/such/folder/db\"",
            &["medhook.toml: `store`: SQLite store no/such"],
        ),
        ("\"memory\"", "{ url = \"hunter2\" }", &["medhook.toml: `store`: must be \"memory\""]),
        ("\"memory\"", "{ url = 1 }", &["medhook.toml: `store`: `url`: must be a string", "integer"]),
        ("\"memory\"", "{ path = \"hunter2\" }", &["medhook.toml: `store`: unknown key `path`"]),
        ("\"memory\"", "{}", &["medhook.toml: `store`: must have exactly one of `url`, `env` and `file`"]),
        (
            "\"memory\"",
            "{ url = \"memory\", env = \"TEST_SECRET\" }",
            &["medhook.toml: `store`: must have exactly one of `url`, `env` and `file`"],
        ),
        (
            "\"memory\"",
            "{ url = \"memory\", optional = true }",
            &["medhook.toml: `store`: `optional`: cannot be used together with `url`; remove it"],
        ),
        (
            "\"memory\"",
            "{ url = \"memory\", max_connections = 1 }",
            &["medhook.toml: `store`: `max_connections`: does not apply to a memory store; remove it"],
        ),
        (
            "\"memory\"",
            "{ url = \"sqlite:a.db\", max_connections = 1 }",
            &["medhook.toml: `store`: `max_connections`: does not apply to a SQLite store; remove it"],
        ),
        (
            "\"memory\"",
            "{ url = \"redis://me:hunter2@h\", max_connections = 0 }",
            &["medhook.toml: `store`: `max_connections`: must be at least 1, not 0"],
        ),
        (
            "\"memory\"",
            "{ url = \"postgres://me:hunter2@h/d\", max_connections = 1001 }",
            &["medhook.toml: `store`: `max_connections`: must be at most 1000"],
        ),
        (
            "\"memory\"",
            "{ url = \"redis://me:hunter2@h\", max_connections = \"2\" }",
            &["medhook.toml: `store`: `max_connections`: must be a whole number", "string"],
        ),
        (
            "\"memory\"",
            "{ env = \"TEST_UNSET_SECRET\" }",
            &["medhook.toml: `store`: `env`: the environment variable TEST_UNSET_SECRET is not set"],
        ),
        ("\"memory\"", "{ env = \"TEST_EMPTY_SECRET\" }", &["medhook.toml: `store`: `env`: ", "empty"]),
        ("\"memory\"", "{ env = \"TEST_SECRET\" }", &["medhook.toml: `store`: must be \"memory\""]),
        (
            "\"memory\"",
            "{ env = \"TEST_UNSET_SECRET\", optional = true }",
            &["medhook.toml: `store`: cannot be optional"],
        ),
        ("\"memory\"", "{ env = \"TEST_SECRET\", label = \"a\" }", &["medhook.toml: `store`: unknown key `label`"]),
        ("\"memory\"", "{ file = \"none\" }", &["medhook.toml: `store`: `file`: the file does not exist"]),
        ("\"memory\"", "{ file = \"empty\" }", &["medhook.toml: `store`: `file`: secret empty: empty"]),
        ("\"memory\"", "{ file = \"secret\" }", &["medhook.toml: `store`: must be \"memory\""]),
        ("store = \"memory\"", "store = true", &["medhook.toml: `store`: must be a string", "boolean"]),
        // Endpoints.
        ("path = \"/fasten\"", "", &["medhook.toml: endpoint 1: `path`: missing"]),
        ("path = \"/fasten\"", "path = \"fasten\"", &["endpoint 1 (fasten): `path`: must begin with `/`"]),
        ("path = \"/fasten\"", "path = \"/a?b\"", &["endpoint 1 (/a?b): `path`: must not contain `?`: a query is"]),
        ("path = \"/fasten\"", "path = \"/{tenant}\"", &["`path`: must not contain `{`: a pattern is not supported"]),
        ("path = \"/fasten\"", "path = \"/a b\"", &["`path`: must not contain ` `: only a-z"]),
        (
            "path = \"/fasten\"",
            "path = \"/\\u001b[2J\"",
            &["endpoint 1 (/\\u{1b}[2J): `path`: must not contain `\\u{1b}`: only a-z"],
        ),
        ("path = \"/fasten\"", "path = \"/healthz\"", &["endpoint 1 (/healthz): `path`: reserved for health checks"]),
        ("path = \"/fasten\"", "path = \"/cair\"", &["endpoint 2 (/cair): `path`: another endpoint has the same path"]),
        ("path = \"/fasten\"", "path = \"/\"", &["endpoint 1 (/): `name`: missing, and cannot be derived"]),
        ("mode = \"live\"", "name = \"cair\"", &["endpoint 2 (/cair): `name`: another endpoint has the name cair"]),
        ("mode = \"live\"", "name = \"A b\"", &[FASTEN, "`name`: \"A b\": must be 1 to 64 characters of a-z"]),
        ("mode = \"live\"", "nmae = \"b\"", &[FASTEN, "unknown key `nmae`"]),
        ("provider = \"fasten\"", "", &[FASTEN, "`provider`: missing"]),
        (
            "provider = \"fasten\"",
            "provider = \"fastened\"",
            &[FASTEN, "`provider`: \"fastened\" is not one of", "\"cair\""],
        ),
        ("provider = \"fasten\"", "provider = [\"fasten\"]", &[FASTEN, "`provider`: must be a string", "array"]),
        (
            "mode = \"live\"",
            "mode = \"production\"",
            &[FASTEN, "`mode`: \"production\" is not one of \"live\", \"test\""],
        ),
        ("mode = \"live\"", "header = \"x\"", &[FASTEN, "`header`: does not apply"]),
        ("mode = \"live\"", "scheme = \"hmac-sha256\"", &[FASTEN, "`scheme`: does not apply"]),
        ("mode = \"live\"", "pin_kind = \"x\"", &[FASTEN, "`pin_kind`: does not apply"]),
        ("mode = \"live\"", "max_age = \"1h\"", &[FASTEN, "`max_age`: the events of this provider have no time"]),
        ("mode = \"live\"", "id_pointer = \"/id\"", &[FASTEN, "`id_pointer`: does not apply"]),
        ("body_limit = 1000", "body_limit = 0", &[FASTEN, "`body_limit`: must be at least 1"]),
        ("body_limit = 1000", "body_limit = \"1MiB\"", &[FASTEN, "`body_limit`: must be a whole number"]),
        ("body_timeout = \"5s\"", "body_timeout = \"5 s\"", &[FASTEN, "`body_timeout`: \"5 s\": must be a whole"]),
        ("retention = \"72h\"", "retention = \"1h\"", &[FASTEN, "retention of 3600 s is too short"]),
        ("retention = \"72h\"", "retention = \"100y\"", &[FASTEN, "`retention`: \"100y\": must be a whole number"]),
        ("dedupe = \"id\"", "dedupe = false", &[FASTEN, "`dedupe`: must be a string"]),
        (
            "dedupe = \"id\"",
            "dedupe = \"natural\"",
            &[FASTEN, "`dedupe`: \"natural\" is only available for azodha and mediquo"],
        ),
        (
            "handler_timeout = \"30s\"",
            "handler_timeout = \"0s\"",
            &[FASTEN, "`handler_timeout`: \"0s\": must be greater than 0"],
        ),
        ("max_in_flight = 10", "max_in_flight = 1.5", &[FASTEN, "`max_in_flight`: must be a whole number"]),
        ("lease = \"10s\"", "on_store_error = \"handle\"", &[FASTEN, "`on_store_error`: \"handle\" is not one of"]),
        (
            "expect_every = \"24h\"",
            "expect_every = 24",
            &[FASTEN, "`expect_every`: must be a duration in quotes, such as \"30s\", but is of type integer"],
        ),
        (
            "expect_every = \"24h\"",
            "expect_every = \"0s\"",
            &[FASTEN, "`expect_every`: \"0s\": must be greater than 0"],
        ),
        ("expect_every = \"24h\"", "expect_every = \"59s\"", &[FASTEN, "`expect_every`: must be at least 1m"]),
        ("lease = \"10s\"", "lease = \"10ms\"", &[FASTEN, "`lease`: must be between 100ms and 1h"]),
        (
            "scheme = \"hmac-sha256\"",
            "scheme = \"hmac-256\"",
            &[CAIR, "`scheme`: \"hmac-256\" is not one of \"hmac-sha256\""],
        ),
        ("scheme = \"hmac-sha256\"", "", &[CAIR, "`scheme`: missing"]),
        (
            "scheme = \"hmac-sha256\"",
            "scheme = \"shared-secret\"\nprefix = \"v1=\"",
            &[CAIR, "`prefix`: only applies to the scheme hmac-sha256"],
        ),
        ("header = \"X-API-KEY\"", "", &[CAIR, "`header`: missing"]),
        (
            "header = \"X-API-KEY\"",
            "header = \"X-API-KEY: hunter2\"",
            &[CAIR, "`header`: must be the name of a header"],
        ),
        (
            "header = \"X-API-KEY\"",
            "header = \"x\"\nencoding = \"base32\"",
            &[CAIR, "`encoding`: \"base32\" is not one of"],
        ),
        (
            "pin_kind = \"PATIENT",
            "pin_kind = \"APATIENT",
            &[CAIR, "`pin_kind`: \"APATIENT", "is not one of", "CLAIMS_REMIT_ALL"],
        ),
        (
            "provider = \"cair\"",
            "provider = \"azodha\"",
            &["`pin_kind`: \"PATIENT_CHART_ANALYSIS_COMPLETE\" is not one of"],
        ),
        // Secrets.
        ("{ env = \"TEST_OTHER_SECRET\" }", "", &[CAIR, "`secrets`: must name at least one secret"]),
        ("secrets = [{ env = \"TEST_OTHER_SECRET\" }]", "", &[CAIR, "`secrets`: missing"]),
        ("[{ env = \"TEST_OTHER_SECRET\" }]", "\"hunter2\"", &[CAIR, "`secrets`: must be a list of tables"]),
        ("{ env = \"TEST_OTHER_SECRET\" }", "\"hunter2\"", &[CAIR, "`secrets`: must be a list of tables"]),
        ("{ env = \"TEST_OTHER_SECRET\" }", "{ value = \"hunter2\" }", &[CAIR, "`secrets[0]`: unknown key `value`"]),
        ("{ env = \"TEST_OTHER_SECRET\" }", "{}", &[CAIR, "`secrets[0]`: must have either `env` or `file`"]),
        (
            "{ env = \"TEST_OTHER_SECRET\" }",
            "{ env = \"TEST_OTHER_SECRET\", file = \"secret\" }",
            &[CAIR, "`secrets[0]`: must have either `env` or `file`"],
        ),
        (
            "TEST_OTHER_SECRET",
            "TEST_UNSET_SECRET",
            &[CAIR, "`secrets[0]`: `env`: the environment variable TEST_UNSET_SECRET is not set"],
        ),
        ("TEST_OTHER_SECRET", "hunter2hunter2", &[CAIR, "`secrets[0]`: `env`: the environment variable is not set"]),
        ("TEST_OTHER_SECRET", "TEST_EMPTY_SECRET", &[CAIR, "`secrets[0]`: `env`: secret TEST_EMPTY_SECRET: empty"]),
        ("env = \"TEST_OTHER_SECRET\"", "file = \"none\"", &[CAIR, "`secrets[0]`: `file`: the file does not exist"]),
        ("env = \"TEST_OTHER_SECRET\"", "file = \"hunter2\"", &[CAIR, "`secrets[0]`: `file`: the file does not exist"]),
        ("env = \"TEST_OTHER_SECRET\"", "file = \"empty\"", &[CAIR, "`secrets[0]`: `file`: secret empty: empty"]),
        ("env = \"TEST_OTHER_SECRET\"", "file = \"blank\"", &[CAIR, "`secrets[0]`: `file`: secret blank: empty"]),
        ("env = \"TEST_OTHER_SECRET\"", "file = \".\"", &[CAIR, "`secrets[0]`: `file`: must be a file"]),
        (
            "{ env = \"TEST_OTHER_SECRET\" }",
            "{ env = \"TEST_OTHER_SECRET\", label = \"whsec_hunter2\" }",
            &[CAIR, "`secrets[0]`: `label`: a secret's label looks like a secret"],
        ),
        (
            "{ env = \"TEST_OTHER_SECRET\" }",
            "{ env = \"TEST_OTHER_SECRET\" }, { env = \"TEST_OTHER_SECRET\", label = \"b\" }",
            &[CAIR, "`secrets[1]`: secret b: the same as TEST_OTHER_SECRET"],
        ),
        (
            "TEST_OTHER_SECRET",
            "TEST_SECRET",
            &[CAIR, "`secrets[0]`: the same secret as", "endpoint 1 (/fasten): `secrets[0]`", "`reuse_secret = true`"],
        ),
        ("env = \"TEST_OTHER_SECRET\"", "file = \"secret\"", &[CAIR, "`secrets[0]`: the same secret as"]),
        (
            "mode = \"live\"",
            "mode = \"live\"\ntest_secrets = [{ env = \"TEST_SECRET\" }]",
            &[FASTEN, "`test_secrets[0]`: the same secret as", "`secrets[0]`"],
        ),
        (
            "mode = \"live\"",
            "mode = \"test\"\ntest_secrets = [{ env = \"TEST_OTHER_SECRET\" }]",
            &[FASTEN, "`test_secrets`: can only be combined with `mode` live"],
        ),
        ("mode = \"live\"", "test_secrets = []", &[FASTEN, "`test_secrets`: must name at least one secret"]),
        ("TEST_THIRD_SECRET", "TEST_SECRET", &[FASTEN, "`forward_secret`: the same secret as"]),
        ("TEST_THIRD_SECRET", "TEST_UNSET_SECRET", &[FASTEN, "`forward_secret`: `env`: the environment variable"]),
        // Forwarding.
        ("forward = \"http://127.0.0.1:1/\"", "", &[FASTEN, "`forward_secret`: requires `forward`"]),
        (
            "header = \"X-API-KEY\"",
            "header = \"X-API-KEY\"\nforward_in_clear = true",
            &[CAIR, "`forward_in_clear`: requires `forward`"],
        ),
        ("http://127.0.0.1:1/", "127.0.0.1:1", &[FASTEN, "`forward`: must be a URL such as"]),
        ("http://127.0.0.1:1/", "http://u:hunter2@127.0.0.1/", &[FASTEN, "`forward`: must not contain a user or"]),
        ("http://127.0.0.1:1/", "http://10.0.0.1/", &[FASTEN, "`forward`: would send patient data unencrypted"]),
        ("{ env = \"TEST_THIRD_SECRET\" }", "\"hunter2\"", &[FASTEN, "`forward_secret`: must be a table"]),
        ("{ env = \"TEST_THIRD_SECRET\" }", "{ env = \"PATH\" }", &[FASTEN, "`forward_secret`: ", "not base64"]),
    ];
    for (valid, mistake, parts) in mistakes {
        assert!(VALID.contains(valid), "{valid}");
        rejected(&VALID.replacen(valid, mistake, 1), &[], parts);
    }
}

#[test]
fn a_file_without_endpoints_is_rejected() {
    rejected("store = \"memory\"", &[], &["medhook.toml: `endpoint`: missing"]);
    rejected("endpoint = 1", &[], &["medhook.toml: `endpoint`: must be written as [[endpoint]]"]);
}

#[test]
fn messages_about_command_line_options_name_the_option() {
    rejected(VALID, &["--listen", "nowhere"], &["medhook: --listen: must be an IP address and a port"]);
    rejected(VALID, &["--store", "mysql://me:hunter2@h/"], &["medhook: --store: must be \"memory\""]);
    for url in ["postgres://me:hunter2@h/d", "redis://:hunter2@h", "postgres://h/d?password=hunter2"] {
        rejected(
            VALID,
            &["--store", url],
            &["medhook: --store: a password in an argument is visible", "set `store = { env = ", "config file"],
        );
    }
    rejected(VALID, &["--config", "none.toml"], &["medhook: none.toml: cannot be read: ", "; pass --config FILE"]);
    rejected(VALID, &["--config", "."], &["medhook: .: cannot be read: "]);
    rejected(VALID, &["--config", "/dev/zero"], &["medhook: /dev/zero: longer than "]);
    let folder = Folder::new();
    let config = VALID.replace("\"127.0.0.1:0\"", "\"192.0.2.1:1\"").replace("memory", "sqlite:no/such/folder/db");
    Instance::start(&folder, &config, &["--listen", "127.0.0.1:0", "--store", "memory"]);
}

#[test]
fn the_url_of_the_store_can_come_from_a_variable_or_a_file() {
    let folder = Folder::new();
    folder.file("url", "sqlite:by-file.db\n");
    for (named, store) in [
        ("{ env = \"TEST_STORE\" }", "by-env.db"),
        ("{ file = \"url\" }", "by-file.db"),
        ("{ url = \"sqlite:by-url.db\" }", "by-url.db"),
    ] {
        folder.file("medhook.toml", &VALID.replace("\"memory\"", named));
        let mut command = medhook(&folder, &[]);
        command.env("TEST_STORE", "sqlite:by-env.db");
        let instance = Instance::run(command);
        let log = instance.stderr().join("\n");
        assert!(log.contains(&format!("recorded in sqlite:{store}\n")), "{log}");
        assert!(folder.path().join(store).exists(), "{store}");
    }
    // `--store` replaces the whole table: its variable is not read, and its `max_connections` does not apply.
    for table in ["{ env = \"TEST_UNSET_SECRET\" }", "{ url = \"redis://h\", max_connections = 5 }"] {
        Instance::start(&folder, &VALID.replace("\"memory\"", table), &["--store", "memory"]);
    }
}

#[test]
fn the_message_for_a_port_in_use_names_the_address() {
    let in_use = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = in_use.local_addr().unwrap().to_string();
    let config = VALID.replace("127.0.0.1:0", &address);
    rejected(&config, &[], &[&format!("medhook.toml: `listen`: cannot listen at {address}: ")]);
    rejected(VALID, &["--listen", &address], &[&format!("medhook: --listen: cannot listen at {address}: ")]);
}

#[cfg(not(any(feature = "postgres", feature = "redis")))]
#[test]
fn the_message_for_a_store_that_is_not_built_in_says_how_to_build_it() {
    for (scheme, feature) in
        [("postgres", "postgres"), ("postgresql", "postgres"), ("redis", "redis"), ("rediss", "redis")]
    {
        let url = format!("{scheme}://me:hunter2@127.0.0.1/");
        let config = VALID.replace("store = \"memory\"", &format!("store = \"{url}\""));
        rejected(
            &config,
            &[],
            &["medhook.toml: `store`: this medhook was built without", &format!("--features {feature}`")],
        );
    }
}

#[test]
fn two_endpoints_can_share_a_secret_only_if_both_set_reuse_secret() {
    let shared = VALID.replace("TEST_OTHER_SECRET", "TEST_SECRET");
    let both = shared.replace("provider =", "reuse_secret = true\nprovider =");
    Instance::start(&Folder::new(), &both, &[]);
    rejected(&both.replacen("reuse_secret = true", "reuse_secret = false", 1), &[], &["the same secret as"]);
}

#[test]
fn several_endpoints_can_sign_forwarded_events_with_one_secret() {
    let signs = "header = \"x\"\ninbox = false\nforward = \"http://localhost:1\"\nforward_secret = { env = \"TEST_THIRD_SECRET\" }";
    Instance::start(&Folder::new(), &VALID.replace("header = \"X-API-KEY\"", signs), &[]);
}

#[test]
fn forwarding_in_clear_to_another_machine_needs_forward_in_clear() {
    let config = VALID.replace("http://127.0.0.1:1/", "http://10.0.0.1/");
    Instance::start(&Folder::new(), &config.replace("lease =", "forward_in_clear = true\nlease ="), &[]);
}

#[test]
fn the_documented_file_is_accepted() {
    let text = include_str!("../../../docs/receive.md");
    let (_, rest) = text.split_once("```toml\n").expect("an example");
    let (example, _) = rest.split_once("```").expect("its end");
    let folder = Folder::new();
    for name in ["fasten-old", "mediquo"] {
        folder.file(name, &format!("{:A<64}\n", name.replace('-', "")));
    }
    folder.file("inbox", INBOX_KEY);
    let here = example.replace("127.0.0.1:8787", "127.0.0.1:0").replace("/run/secrets/", "");
    folder.file("medhook.toml", &here);
    let mut command = medhook(&folder, &[]);
    for name in ["FASTEN_SECRET", "CAIR_SECRET", "AZODHA_SECRET", "HEALTHSYNC_SECRET", "ACME_SECRET", "APP_SECRET"] {
        // Valid base64, different for each name.
        command.env(name, format!("{:A<64}", name.replace('_', "")));
    }
    let instance = Instance::run(command);
    let log = instance.stderr().join("\n");
    for provider in PROVIDERS.iter().map(|facts| facts.name).chain(["acme"]) {
        assert!(log.contains(&format!(" provider {provider},")), "{log}");
    }
}

/// Distinct events can have the same natural key, so the example does not use one, and the key is documented with a
/// warning.
#[test]
fn the_documented_file_sets_no_natural_key_and_the_key_has_its_warning() {
    let text = include_str!("../../../docs/receive.md");
    let (_, rest) = text.split_once("```toml\n").expect("an example");
    let (example, rest) = rest.split_once("```").expect("its end");
    assert!(!example.contains("natural"), "{example}");
    let (_, below) = rest.split_once("| `dedupe` |").expect("the key");
    let (section, _) = below.split_once("\n## ").expect("the next section");
    let (_, table) = section.split_once("distinct events with the same key |").expect("the table of natural keys");
    for (provider, kinds) in [
        ("azodha", &["BookAppointment", "UploadedFileAndTest", "SurveyAssessment"][..]),
        ("mediquo", &["patient_consultation_", "patient_message_received", "prescription_created"]),
    ] {
        assert!(table.contains(&format!("| {provider} |")), "{table}");
        for kind in kinds {
            assert!(table.contains(kind), "{kind}: {table}");
        }
    }
}

#[test]
fn every_key_is_documented() {
    let text = include_str!("../../../docs/receive.md");
    let sources = [
        include_str!("../../src/receive/config/mod.rs"),
        include_str!("../../src/receive/config/endpoint.rs"),
        include_str!("../../src/receive/config/forward.rs"),
        include_str!("../../src/receive/config/inbox.rs"),
        include_str!("../../src/receive/config/listener.rs"),
        include_str!("../../src/receive/config/store.rs"),
        include_str!("../../src/receive/provider.rs"),
        include_str!("../../src/receive/custom/mod.rs"),
        include_str!("../../src/receive/custom/scheme.rs"),
        include_str!("../../src/receive/custom/handshake.rs"),
        include_str!("../../src/receive/custom/unsigned.rs"),
    ];
    let mut keys = 0;
    for source in sources {
        for list in source.split("const ").filter(|item| item.contains(": &[&str] = &[")) {
            let (_, list) = list.split_once("= &[").unwrap();
            let (list, _) = list.split_once("];").unwrap();
            for key in list.split('"').skip(1).step_by(2) {
                assert!(text.contains(&format!("`{key}`")), "{key} is not documented");
                keys += 1;
            }
        }
    }
    for option in medhook::registry::OptionName::ALL {
        assert!(text.contains(&format!("`{option}`")), "{option} is not documented");
        keys += 1;
    }
    assert!(keys > 30, "{keys}");
}
