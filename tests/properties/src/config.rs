//! Any config file of `medhook receive` is accepted, or rejected with one short line that says what is wrong and
//! where. Neither that line nor the lines at the start contain a secret, or a text that an operator may have put in
//! its place.
//!
//! The input is the file. `/run/secrets` is `tests/properties/secrets`.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use medhook_cli::parsers::config_lines;
use toml::{Table, Value};

/// Stands for a secret that was written in the wrong place.
const MARK: &str = "hunter2";
const FILE: &str = "medhook.toml";

pub(super) fn holds(data: &[u8]) {
    let content = match str::from_utf8(data) {
        Ok(text) => text.replace(MOUNTED, FOLDER).into_bytes(),
        Err(_) => data.to_vec(),
    };
    let (lines, taken) = match config_lines(FILE, &content) {
        Ok(lines) => (lines, true),
        Err(line) => {
            let problem = line.strip_prefix("medhook.toml: ").unwrap_or_else(|| panic!("no file in {line:?}"));
            assert!(PLACES.iter().any(|place| problem.starts_with(place)), "no place in {line:?}");
            (vec![line], false)
        }
    };
    for line in &lines {
        assert!(!line.chars().any(char::is_control), "{line:?}");
        assert!(line.len() <= LONGEST_LINE, "{} bytes: {line:?}", line.len());
        // A secret that is written in the file itself is no more secret than the file.
        let mut secrets = SECRETS.iter().filter(|secret| !holds_text(&content, secret));
        assert!(!secrets.any(|secret| line.contains(secret)), "{line:?}");
    }
    if lines.iter().any(|line| line.contains(MARK)) {
        let text = str::from_utf8(&content).expect("only text has values");
        // A file that is not valid TOML must not be quoted.
        let table = text.parse::<Table>().unwrap_or_else(|_| panic!("{lines:?}"));
        assert!(may_show("", &Value::Table(table), taken), "{lines:?}");
    }
}

fn holds_text(content: &[u8], text: &str) -> bool {
    content.windows(text.len()).any(|window| window == text.as_bytes())
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut texts = vec![documented()];
    let text = documented();
    let (head, endpoints) = text.split_once("[[endpoint]]").expect("an endpoint");
    for endpoint in endpoints.split("[[endpoint]]") {
        let alone = format!("{head}[[endpoint]]{endpoint}");
        texts.push(alone.replace("{ file = \"/run/secrets/", "{ env = \"hunter2"));
        texts.push(alone.replace("{ file = \"/run/secrets/", "{ value = \"hunter2"));
        texts.push(alone.replace("/run/secrets/", "hunter2"));
        texts.push(alone.replace("secrets  = [", "secrets = [\"hunter2\", "));
        texts.push(alone.replace("provider", "body_limit = 1\nhandler_timeout = \"1s\"\nlease = \"1s\"\nprovider"));
        texts.push(alone);
    }
    for store in [
        "memory",
        "hunter2",
        "postgres://me:hunter2@127.0.0.1/db?sslmode=require",
        "postgres://me:hunter2://@127.0.0.1/db",
        "postgres://127.0.0.1/db?password=a@hunter2",
        "redis://:a?hunter2@127.0.0.1",
    ] {
        texts.push(text.replace("sqlite:medhook.db", store));
        let table = format!("{{ url = \"{store}\", max_connections = 2 }}");
        texts.push(text.replace("\"sqlite:medhook.db\"", &table));
    }
    let tls = "tls = { cert = \"hunter2\", key = \"hunter2\" }\nmax_connections_per_address = 2\n";
    texts.push(format!("{tls}{text}"));
    texts.push(text.replace("retention", "allow_from = [\"203.0.113.0/24\", \"hunter2\"]\nretention"));
    // Long values with terminal escape sequences.
    let text = text.replace("\"48h\"", "\"48h\"\ndedupe = \"natural\"");
    for quoted in
        ["fasten\"", "hmac-sha256\"", "X-API-KEY\"", "live\"", "acme\"", "sha256=\"", "/id\"", "48h\"", "natural\""]
    {
        texts.push(text.replace(quoted, &format!("{}\"", "\\u001b[2J".repeat(1_000))));
    }
    for (quoted, with_control) in [
        ("sqlite:medhook.db", "sqlite:a\\u001b[2Jb"),
        ("sqlite:medhook.db", "redis://h\\u001b"),
        ("http://127.0.0.1:3000/webhooks", "http://127.0.0.1/\\u009b31m"),
    ] {
        texts.push(text.replace(quoted, with_control));
    }
    texts.push(text.replace("\"X-API-KEY\"", "\"X-API-KEY: hunter2\""));
    texts.push(text.replace("mode ", &"mode".repeat(1_000)));
    texts.push(text.replace("http://127.0.0.1:3000/webhooks", "http://me:hunter2@127.0.0.1:3000"));
    texts.push(text.replace("127.0.0.1:3000", "10.0.0.1:3000/?hunter2"));
    texts.push(text.replace("\"sqlite:medhook.db\"", "{ file = \"/run/secrets/app\" }"));
    texts.into_iter().map(String::into_bytes).collect()
}

/// Returns the config file in the documentation, with every secret in a file.
fn documented() -> String {
    let (_, rest) = include_str!("../../../docs/receive.md").split_once("```toml\n").expect("an example");
    let (example, _) = rest.split_once("```").expect("its end");
    let mut pieces = example.split("{ env = \"");
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (variable, rest) = piece.split_once('"').expect("a variable");
        let file = variable.trim_end_matches("_SECRET").to_ascii_lowercase();
        text.push_str(&format!("{{ file = \"/run/secrets/{file}\"{rest}"));
    }
    text
}

/// Returns whether the mark is in a value that messages may quote, because it is not a place for a secret. Names of
/// keys are always quoted.
fn may_show(key: &str, value: &Value, taken: bool) -> bool {
    match value {
        Value::String(text) if taken && ["store", "url", "forward"].contains(&key) => leads_to(text).contains(MARK),
        Value::String(text) => QUOTED.contains(&key) && text.contains(MARK),
        Value::Array(items) => items.iter().any(|item| may_show(key, item, taken)),
        Value::Table(table) => table.iter().any(|(key, value)| key.contains(MARK) || may_show(key, value, taken)),
        _ => false,
    }
}

/// Returns the part of a URL that the start log shows: the target, without credentials and parameters.
fn leads_to(url: &str) -> &str {
    if url.starts_with("sqlite:") {
        return url;
    }
    let (who, rest) = url.rsplit_once('@').unwrap_or(("", url));
    let place = rest.split('?').next().unwrap_or_default();
    if who.contains('?') { "" } else { place }
}

/// The beginnings of a line, after the name of the file.
const PLACES: [&str; 6] = ["line ", "cannot be read: ", "longer than ", "unknown key `", "`", "endpoint "];

const LONGEST_LINE: usize = 2_000;

const QUOTED: [&str; 25] = [
    "allow_from",
    "path",
    "name",
    "provider",
    "scheme",
    "prefix",
    "encoding",
    "pin_kind",
    "mode",
    "dedupe",
    "on_store_error",
    "label",
    "sender",
    "id_pointer",
    "kind_pointer",
    "time_pointer",
    "idle_timeout",
    "drain_delay",
    "shutdown_timeout",
    "body_timeout",
    "retention",
    "max_age",
    "lease",
    "expect_every",
    "handler_timeout",
];

const MOUNTED: &str = "/run/secrets";
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/secrets");

static SECRETS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let files = fs::read_dir(Path::new(FOLDER)).expect("secrets");
    let secrets = files.map(|file| fs::read_to_string(file.expect("an entry").path()).expect("a secret"));
    secrets.map(|secret| secret.trim_end().to_owned()).collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this, the checks for secrets would only see error messages.
    #[test]
    fn the_documented_file_is_accepted() {
        let lines = config_lines(FILE, documented().replace(MOUNTED, FOLDER).as_bytes()).expect("taken");
        assert_eq!(lines.len(), 7, "{lines:?}");
    }
}
