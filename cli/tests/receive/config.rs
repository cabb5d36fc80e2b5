//! The config file: every mistake is one line that names file and key, and no secret.

use std::net::TcpListener;

use medhook::registry::PROVIDERS;

use crate::program::{Folder, Instance, OTHER_SECRET, SECRET, THIRD_SECRET, ends, medhook};

/// A file that makes sense, one line for each key, so that a mistake can be made of any of them.
const GOOD: &str = r#"listen = "127.0.0.1:0"
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
fn the_good_file_is_good() {
    let folder = Folder::new();
    let mut instance = Instance::start(&folder, GOOD, &[]);
    let told = instance.stderr().join("\n");
    assert!(told.contains("/fasten is fasten of fasten, forwarded to http://127.0.0.1:1/\n"), "{told}");
    assert!(told.contains("/cair is cair of cair, written to the standard output"), "{told}");
    assert!(told.contains("remembered in memory"), "{told}");
    assert_eq!(instance.terminate().code(), Some(0));
}

/// Asserts that the file is refused with one line that has all of these parts.
fn rejected(config: &str, arguments: &[&str], parts: &[&str]) {
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
fn every_mistake_is_one_line_that_names_file_and_key() {
    const FASTEN: &str = "medhook.toml: endpoint 1 (/fasten)";
    const CAIR: &str = "medhook.toml: endpoint 2 (/cair)";
    const SHUTDOWN: &str = "shutdown_timeout = \"10s\"";
    // What stands in the good file, what stands there instead, and what the line says.
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
        ("listen = \"127.0.0.1:0\"", "listen = 8787", &["medhook.toml: `listen`: must be a text", "integer"]),
        ("listen = \"127.0.0.1:0\"", "listen = \"127.0.0.1\"", &["medhook.toml: `listen`: must be an IP address and"]),
        ("listen = \"127.0.0.1:0\"", "listen = \"localhost:1\"", &["medhook.toml: `listen`: must be an IP address"]),
        ("listen = \"127.0.0.1:0\"", "listen = \"127.0.0.1:65536\"", &["medhook.toml: `listen`: must be an IP"]),
        (SHUTDOWN, "operations = 1", &["`operations`: must be a table, written as [operations], and"]),
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
        ("drain_delay = \"0s\"", "drain_delay = 5", &["`drain_delay`: must be a time in quotes"]),
        ("drain_delay = \"0s\"", "drain_delay = \"0\"", &["`drain_delay`: \"0\": a time is a whole number"]),
        ("listen = \"127.0.0.1:0\"", "listen = \"192.0.2.1:0\"", &["medhook.toml: `listen`: cannot listen at 192.0"]),
        ("max_connections = 10", "max_connections = 0", &["medhook.toml: `max_connections`: must be at least 1"]),
        ("max_connections = 10", "max_connections = -1", &["medhook.toml: `max_connections`: must be at least 1"]),
        ("max_connections = 10", "max_connections = 9999999999", &["medhook.toml: `max_connections`: more than"]),
        ("max_connections = 10", "max_connections = \"10\"", &["`max_connections`: must be a whole number", "string"]),
        ("idle_timeout = \"10s\"", "idle_timeout = 10", &["medhook.toml: `idle_timeout`: must be a time in quotes"]),
        ("shutdown_timeout = \"10s\"", "shutdown_timeout = \"10\"", &["`shutdown_timeout`: \"10\": a time is a whole"]),
        // Stores.
        ("store = \"memory\"", "store = \"disk\"", &["medhook.toml: `store`: must be \"memory\", \"sqlite:PATH\""]),
        ("store = \"memory\"", "store = \"mysql://root:hunter2@h/d\"", &["medhook.toml: `store`: must be \"memory\""]),
        ("store = \"memory\"", "store = \"sqlite:\"", &["medhook.toml: `store`: a SQLite store is a path"]),
        (
            "store = \"memory\"",
            "store = \"sqlite:no/such/folder/db\"",
            &["medhook.toml: `store`: SQLite store no/such"],
        ),
        ("\"memory\"", "{ url = \"hunter2\" }", &["medhook.toml: `store`: must be \"memory\""]),
        ("\"memory\"", "{ url = 1 }", &["medhook.toml: `store`: `url`: must be a text", "integer"]),
        ("\"memory\"", "{ path = \"hunter2\" }", &["medhook.toml: `store`: unknown key `path`"]),
        ("\"memory\"", "{}", &["medhook.toml: `store`: needs one of `url`, `env` and `file`"]),
        (
            "\"memory\"",
            "{ url = \"memory\", env = \"TEST_SECRET\" }",
            &["medhook.toml: `store`: needs one of `url`, `env` and `file`"],
        ),
        (
            "\"memory\"",
            "{ url = \"memory\", optional = true }",
            &["medhook.toml: `store`: `optional`: of no use beside `url`"],
        ),
        (
            "\"memory\"",
            "{ url = \"memory\", max_connections = 1 }",
            &["medhook.toml: `store`: `max_connections`: a store in memory has no connections; remove it"],
        ),
        (
            "\"memory\"",
            "{ url = \"sqlite:a.db\", max_connections = 1 }",
            &["medhook.toml: `store`: `max_connections`: a SQLite store has a single connection; remove it"],
        ),
        (
            "\"memory\"",
            "{ url = \"redis://me:hunter2@h\", max_connections = 0 }",
            &["medhook.toml: `store`: `max_connections`: must be at least 1, and not 0"],
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
        ("\"memory\"", "{ file = \"none\" }", &["medhook.toml: `store`: `file`: there is no such file"]),
        ("\"memory\"", "{ file = \"empty\" }", &["medhook.toml: `store`: `file`: secret empty: empty"]),
        ("\"memory\"", "{ file = \"secret\" }", &["medhook.toml: `store`: must be \"memory\""]),
        ("store = \"memory\"", "store = true", &["medhook.toml: `store`: must be a text", "boolean"]),
        // Endpoints.
        ("path = \"/fasten\"", "", &["medhook.toml: endpoint 1: `path`: missing"]),
        ("path = \"/fasten\"", "path = \"fasten\"", &["endpoint 1 (fasten): `path`: must begin with `/`"]),
        ("path = \"/fasten\"", "path = \"/a?b\"", &["endpoint 1 (/a?b): `path`: a path has no query"]),
        ("path = \"/fasten\"", "path = \"/{tenant}\"", &["`path`: a path is no pattern"]),
        ("path = \"/fasten\"", "path = \"/a b\"", &["`path`: only a-z"]),
        ("path = \"/fasten\"", "path = \"/\\u001b[2J\"", &["endpoint 1 (/\\u{1b}[2J): `path`: only a-z"]),
        ("path = \"/fasten\"", "path = \"/healthz\"", &["endpoint 1 (/healthz): `path`: reserved for health checks"]),
        ("path = \"/fasten\"", "path = \"/cair\"", &["endpoint 2 (/cair): `path`: another endpoint has it already"]),
        ("path = \"/fasten\"", "path = \"/\"", &["endpoint 1 (/): `name`: missing, and this path makes none"]),
        ("mode = \"live\"", "name = \"cair\"", &["endpoint 2 (/cair): `name`: another endpoint is called cair"]),
        ("mode = \"live\"", "name = \"A b\"", &[FASTEN, "`name`: \"A b\" is not 1 to 64 of a-z"]),
        ("mode = \"live\"", "nmae = \"b\"", &[FASTEN, "unknown key `nmae`"]),
        ("provider = \"fasten\"", "", &[FASTEN, "`provider`: missing"]),
        (
            "provider = \"fasten\"",
            "provider = \"fastened\"",
            &[FASTEN, "`provider`: \"fastened\" is none of", "\"cair\""],
        ),
        ("provider = \"fasten\"", "provider = [\"fasten\"]", &[FASTEN, "`provider`: must be a text", "array"]),
        ("mode = \"live\"", "mode = \"production\"", &[FASTEN, "`mode`: \"production\" is none of \"live\", \"test\""]),
        ("mode = \"live\"", "header = \"x\"", &[FASTEN, "`header`: of no use"]),
        ("mode = \"live\"", "scheme = \"hmac-sha256\"", &[FASTEN, "`scheme`: of no use"]),
        ("mode = \"live\"", "pin_kind = \"x\"", &[FASTEN, "`pin_kind`: of no use"]),
        ("mode = \"live\"", "max_age = \"1h\"", &[FASTEN, "`max_age`: no event of this provider has a time"]),
        ("mode = \"live\"", "id_pointer = \"/id\"", &[FASTEN, "`id_pointer`: of no use"]),
        ("body_limit = 1000", "body_limit = 0", &[FASTEN, "`body_limit`: must be at least 1"]),
        ("body_limit = 1000", "body_limit = \"1MiB\"", &[FASTEN, "`body_limit`: must be a whole number"]),
        ("body_timeout = \"5s\"", "body_timeout = \"5 s\"", &[FASTEN, "`body_timeout`: \"5 s\": a time is a whole"]),
        ("retention = \"72h\"", "retention = \"1h\"", &[FASTEN, "a retention of 3600 s is less than"]),
        ("retention = \"72h\"", "retention = \"100y\"", &[FASTEN, "`retention`: \"100y\": a time is a whole number"]),
        ("dedupe = \"id\"", "dedupe = false", &[FASTEN, "`dedupe`: must be a text"]),
        ("dedupe = \"id\"", "dedupe = \"natural\"", &[FASTEN, "`dedupe`: \"natural\" is for azodha and mediquo"]),
        (
            "handler_timeout = \"30s\"",
            "handler_timeout = \"0s\"",
            &[FASTEN, "`handler_timeout`: \"0s\": a time of nothing"],
        ),
        ("max_in_flight = 10", "max_in_flight = 1.5", &[FASTEN, "`max_in_flight`: must be a whole number"]),
        ("lease = \"10s\"", "on_store_error = \"handle\"", &[FASTEN, "`on_store_error`: \"handle\" is none of"]),
        ("lease = \"10s\"", "lease = \"10ms\"", &[FASTEN, "`lease`: must be between 100ms and 1h"]),
        (
            "scheme = \"hmac-sha256\"",
            "scheme = \"hmac-256\"",
            &[CAIR, "`scheme`: \"hmac-256\" is none of \"hmac-sha256\""],
        ),
        ("scheme = \"hmac-sha256\"", "", &[CAIR, "`scheme`: missing"]),
        (
            "scheme = \"hmac-sha256\"",
            "scheme = \"shared-secret\"\nprefix = \"v1=\"",
            &[CAIR, "`prefix`: only applies to the scheme hmac-sha256"],
        ),
        ("header = \"X-API-KEY\"", "", &[CAIR, "`header`: missing"]),
        ("header = \"X-API-KEY\"", "header = \"X-API-KEY: hunter2\"", &[CAIR, "`header`: no name of a header"]),
        (
            "header = \"X-API-KEY\"",
            "header = \"x\"\nencoding = \"base32\"",
            &[CAIR, "`encoding`: \"base32\" is none of"],
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
        ("{ env = \"TEST_OTHER_SECRET\" }", "", &[CAIR, "`secrets`: missing"]),
        ("secrets = [{ env = \"TEST_OTHER_SECRET\" }]", "", &[CAIR, "`secrets`: missing"]),
        ("[{ env = \"TEST_OTHER_SECRET\" }]", "\"hunter2\"", &[CAIR, "`secrets`: must be a list of tables"]),
        ("{ env = \"TEST_OTHER_SECRET\" }", "\"hunter2\"", &[CAIR, "`secrets`: must be a list of tables"]),
        ("{ env = \"TEST_OTHER_SECRET\" }", "{ value = \"hunter2\" }", &[CAIR, "`secrets[0]`: unknown key `value`"]),
        ("{ env = \"TEST_OTHER_SECRET\" }", "{}", &[CAIR, "`secrets[0]`: needs either `env` or `file`"]),
        (
            "{ env = \"TEST_OTHER_SECRET\" }",
            "{ env = \"TEST_OTHER_SECRET\", file = \"secret\" }",
            &[CAIR, "`secrets[0]`: needs either `env` or `file`"],
        ),
        (
            "TEST_OTHER_SECRET",
            "TEST_UNSET_SECRET",
            &[CAIR, "`secrets[0]`: `env`: the environment variable TEST_UNSET_SECRET is not set"],
        ),
        ("TEST_OTHER_SECRET", "hunter2hunter2", &[CAIR, "`secrets[0]`: `env`: there is no environment variable"]),
        ("TEST_OTHER_SECRET", "TEST_EMPTY_SECRET", &[CAIR, "`secrets[0]`: `env`: secret TEST_EMPTY_SECRET: empty"]),
        ("env = \"TEST_OTHER_SECRET\"", "file = \"none\"", &[CAIR, "`secrets[0]`: `file`: there is no such file"]),
        ("env = \"TEST_OTHER_SECRET\"", "file = \"hunter2\"", &[CAIR, "`secrets[0]`: `file`: there is no such file"]),
        ("env = \"TEST_OTHER_SECRET\"", "file = \"empty\"", &[CAIR, "`secrets[0]`: `file`: secret empty: empty"]),
        ("env = \"TEST_OTHER_SECRET\"", "file = \"blank\"", &[CAIR, "`secrets[0]`: `file`: secret blank: empty"]),
        ("env = \"TEST_OTHER_SECRET\"", "file = \".\"", &[CAIR, "`secrets[0]`: `file`: a folder, not a file"]),
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
        ("mode = \"live\"", "test_secrets = []", &[FASTEN, "`test_secrets`: missing"]),
        ("TEST_THIRD_SECRET", "TEST_SECRET", &[FASTEN, "`forward_secret`: the same secret as"]),
        ("TEST_THIRD_SECRET", "TEST_UNSET_SECRET", &[FASTEN, "`forward_secret`: `env`: the environment variable"]),
        // Where events go.
        ("forward = \"http://127.0.0.1:1/\"", "", &[FASTEN, "`forward_secret`: of no use"]),
        ("http://127.0.0.1:1/", "127.0.0.1:1", &[FASTEN, "`forward`: must be a URL such as"]),
        ("http://127.0.0.1:1/", "https://127.0.0.1:1/", &[FASTEN, "`forward`: https is not supported"]),
        ("http://127.0.0.1:1/", "http://u:hunter2@127.0.0.1/", &[FASTEN, "`forward`: no user or password"]),
        ("http://127.0.0.1:1/", "http://10.0.0.1/", &[FASTEN, "`forward`: would send patients' data unencrypted"]),
        ("{ env = \"TEST_THIRD_SECRET\" }", "\"hunter2\"", &[FASTEN, "`forward_secret`: must be a table"]),
        ("{ env = \"TEST_THIRD_SECRET\" }", "{ env = \"PATH\" }", &[FASTEN, "`forward_secret`: ", "not base64"]),
    ];
    for (good, mistake, parts) in mistakes {
        assert!(GOOD.contains(good), "{good}");
        rejected(&GOOD.replacen(good, mistake, 1), &[], parts);
    }
}

#[test]
fn a_file_without_endpoints_receives_nothing() {
    rejected("store = \"memory\"", &[], &["medhook.toml: `endpoint`: missing"]);
    rejected("endpoint = 1", &[], &["medhook.toml: `endpoint`: must be written as [[endpoint]]"]);
}

#[test]
fn what_the_command_line_says_instead_is_named_as_such() {
    rejected(GOOD, &["--listen", "nowhere"], &["medhook: --listen: must be an IP address and a port"]);
    rejected(GOOD, &["--store", "mysql://me:hunter2@h/"], &["medhook: --store: must be \"memory\""]);
    for url in ["postgres://me:hunter2@h/d", "redis://:hunter2@h", "postgres://h/d?password=hunter2"] {
        rejected(
            GOOD,
            &["--store", url],
            &["medhook: --store: a password in an argument shows", "config file, `store = { env = "],
        );
    }
    rejected(GOOD, &["--config", "none.toml"], &["medhook: none.toml: cannot be read: "]);
    rejected(GOOD, &["--config", "."], &["medhook: .: cannot be read: "]);
    rejected(GOOD, &["--config", "/dev/zero"], &["medhook: /dev/zero: longer than "]);
    let folder = Folder::new();
    let config = GOOD.replace("\"127.0.0.1:0\"", "\"192.0.2.1:1\"").replace("memory", "sqlite:no/such/folder/db");
    Instance::start(&folder, &config, &["--listen", "127.0.0.1:0", "--store", "memory"]);
}

#[test]
fn a_store_may_be_named_by_a_variable_or_a_file() {
    let folder = Folder::new();
    folder.file("url", "sqlite:by-file.db\n");
    for (named, store) in [
        ("{ env = \"TEST_STORE\" }", "by-env.db"),
        ("{ file = \"url\" }", "by-file.db"),
        ("{ url = \"sqlite:by-url.db\" }", "by-url.db"),
    ] {
        folder.file("medhook.toml", &GOOD.replace("\"memory\"", named));
        let mut command = medhook(&folder, &[]);
        command.env("TEST_STORE", "sqlite:by-env.db");
        let instance = Instance::run(command);
        let told = instance.stderr().join("\n");
        assert!(told.contains(&format!("remembered in sqlite:{store}\n")), "{told}");
        assert!(folder.path().join(store).exists(), "{store}");
    }
    // `--store` replaces the whole table: no variable is read, and no number of connections is kept.
    for table in ["{ env = \"TEST_UNSET_SECRET\" }", "{ url = \"redis://h\", max_connections = 5 }"] {
        Instance::start(&folder, &GOOD.replace("\"memory\"", table), &["--store", "memory"]);
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config = GOOD.replace("127.0.0.1:0", &address);
    rejected(&config, &[], &[&format!("medhook.toml: `listen`: cannot listen at {address}: ")]);
    rejected(GOOD, &["--listen", &address], &[&format!("medhook: --listen: cannot listen at {address}: ")]);
}

#[cfg(not(any(feature = "postgres", feature = "redis")))]
#[test]
fn a_store_that_is_not_built_in_says_how_to_get_it() {
    for (scheme, feature) in
        [("postgres", "postgres"), ("postgresql", "postgres"), ("redis", "redis"), ("rediss", "redis")]
    {
        let url = format!("{scheme}://me:hunter2@127.0.0.1/");
        let config = GOOD.replace("store = \"memory\"", &format!("store = \"{url}\""));
        rejected(
            &config,
            &[],
            &["medhook.toml: `store`: this medhook is built without", &format!("--features {feature}`")],
        );
    }
}

#[test]
fn a_secret_may_serve_two_endpoints_where_both_say_so() {
    let shared = GOOD.replace("TEST_OTHER_SECRET", "TEST_SECRET");
    let both = shared.replace("provider =", "reuse_secret = true\nprovider =");
    Instance::start(&Folder::new(), &both, &[]);
    rejected(&both.replacen("reuse_secret = true", "reuse_secret = false", 1), &[], &["the same secret as"]);
}

#[test]
fn one_secret_may_sign_what_several_endpoints_forward() {
    let signs = "header = \"x\"\nforward = \"http://localhost:1\"\nforward_secret = { env = \"TEST_THIRD_SECRET\" }";
    Instance::start(&Folder::new(), &GOOD.replace("header = \"X-API-KEY\"", signs), &[]);
}

#[test]
fn another_machine_gets_nothing_in_clear_unless_the_file_says_so() {
    let config = GOOD.replace("http://127.0.0.1:1/", "http://10.0.0.1/");
    Instance::start(&Folder::new(), &config.replace("lease =", "forward_in_clear = true\nlease ="), &[]);
}

/// What the documentation shows is what works.
#[test]
fn the_documented_file_is_read() {
    let text = include_str!("../../../docs/receive.md");
    let (_, rest) = text.split_once("```toml\n").expect("an example");
    let (example, _) = rest.split_once("```").expect("its end");
    let folder = Folder::new();
    for name in ["fasten-old", "mediquo"] {
        folder.file(name, &format!("{:A<64}\n", name.replace('-', "")));
    }
    let here = example.replace("127.0.0.1:8787", "127.0.0.1:0").replace("/run/secrets/", "");
    folder.file("medhook.toml", &here);
    let mut command = medhook(&folder, &[]);
    for name in ["FASTEN_SECRET", "CAIR_SECRET", "AZODHA_SECRET", "HEALTHSYNC_SECRET", "ACME_SECRET", "APP_SECRET"] {
        // Good base64, and each another one.
        command.env(name, format!("{:A<64}", name.replace('_', "")));
    }
    let instance = Instance::run(command);
    let told = instance.stderr().join("\n");
    for provider in PROVIDERS.iter().map(|facts| facts.name).chain(["acme"]) {
        assert!(told.contains(&format!(" of {provider}")), "{told}");
    }
}

/// A natural key can take two events for one, so the example to copy has none, and the warning stands beside the key.
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

/// Every key that the program knows is in the documentation.
#[test]
fn every_key_is_documented() {
    let text = include_str!("../../../docs/receive.md");
    let sources = [include_str!("../../src/receive/config.rs"), include_str!("../../src/receive/provider.rs")];
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
