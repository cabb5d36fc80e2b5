//! Config files with mistakes: secrets in the wrong place or of no use, and stores that cannot be
//! reached. The errors name the key or the variable, and never quote its value.

#[cfg(all(feature = "postgres", feature = "redis"))]
use std::io::{BufRead, BufReader};

use crate::stage::Stage;
use crate::written::{MARK, NUMBER};

/// The commands that read a config file.
const COMMANDS: &[&[&str]] = &[
    &["receive", "--check"],
    &["inbox", "list"],
    &["inbox", "stats", "--json"],
    &["forget", "--endpoint", "fasten", "--id-file", "id", "--because", "a check"],
    &["send", "--config", "medhook.toml", "--endpoint", "fasten", "--to", "http://127.0.0.1:1/", "webhook.test"],
    &["verify", "--config", "medhook.toml", "--endpoint", "fasten", "--headers", "id", "--body", "id"],
    &["check", "http://127.0.0.1:1/", "--config", "medhook.toml", "--endpoint", "fasten"],
];

/// A key of a usable config file, and the same key with a mistake.
const MISTAKES: &[(&str, &str)] = &[
    (SECRETS, "secrets = [\"c4n4ryinline\"]"),
    (SECRETS, "secrets = \"c4n4ryinline\""),
    (SECRETS, "secrets = [{ env = \"FASTEN\", value = \"c4n4ry\" }]"),
    (SECRETS, "secrets = [{ env = \"c4n4ry/inline+secret==\" }]"),
    (SECRETS, "secrets = [{ env = \"NOT_BASE64\" }]"),
    (SECRETS, "secrets = [{ env = \"PADDED\" }]"),
    (SECRETS, "secrets = [{ file = \"secret\" }]"),
    (SECRETS, "secret = \"c4n4ry"),
    (SECRETS, "secrets = [{ env = \"FASTEN\" }]\nforward_secret = \"c4n4ry\""),
    (KEY, "inbox_key = \"c4n4ry\""),
    (KEY, "inbox_key = { env = \"NOT_BASE64\" }"),
    (STORE, "store = \"c4n4ry://c4n4ry:c4n4ry@127.0.0.1:1\""),
    (STORE, "store = { env = \"NO_STORE\" }"),
    (STORE, "store = { file = \"store\" }"),
    (STORE, "store = \"postgres://c4n4ry:c4n4ry@127.0.0.1:1/medhook\"\n4711004711"),
    (TOKEN, "token = \"c4n4ry\""),
    (TOKEN, "token = { env = \"c4n4ry inline\" }"),
];

const SECRETS: &str = "secrets = [{ env = \"FASTEN\" }]";
const KEY: &str = "inbox_key = { env = \"INBOX_KEY\" }";
const STORE: &str = "store = \"sqlite:medhook.db\"";
const TOKEN: &str = "token = { env = \"TOKEN\" }";

#[tokio::test]
async fn no_error_about_a_config_file_quotes_a_secret() {
    let mut stage = Stage::new().await;
    let usable = std::fs::read_to_string(stage.path().join("medhook.toml")).unwrap();
    stage.file("id", "x: y\n");
    stage.file("secret", &format!("{MARK}\n{MARK}\n\n"));
    stage.file("store", &format!("postgres://u:{MARK}@127.0.0.1:1 2\n{MARK}"));
    for (key, mistake) in MISTAKES {
        assert_eq!(usable.matches(key).count(), 1, "{key}");
        let config = usable.replace(key, mistake);
        stage.file("medhook.toml", &config);
        for command in COMMANDS {
            let output = stage.run(command);
            let code = output.status.code().unwrap();
            // Each of the others reads only what it needs.
            let expected = if command[0] == "receive" { 2..=2 } else { 0..=2 };
            assert!(expected.contains(&code), "{command:?} with {mistake:?}: {output:?}");
        }
    }
    stage.written.is_silent(&[MARK, NUMBER], 5_000);
}

#[cfg(all(feature = "postgres", feature = "redis"))]
#[tokio::test]
async fn no_error_about_a_store_that_cannot_be_reached_quotes_its_url() {
    let mut stage = Stage::new().await;
    let usable = std::fs::read_to_string(stage.path().join("medhook.toml")).unwrap();
    stage.file("id", "x");
    for (variable, inbox) in [("POSTGRES", true), ("REDIS", false)] {
        let mut config = usable.replace(STORE, &format!("store = {{ env = \"{variable}\" }}"));
        if !inbox {
            let lines = config.lines().filter(|line| !["inbox", "retry"].iter().any(|key| line.starts_with(key)));
            config = lines.collect::<Vec<_>>().join("\n");
        }
        stage.file("medhook.toml", &config);
        let arguments = ["forget", "--endpoint", "fasten", "--id-file", "id", "--because", "a check"];
        for command in [&arguments[..], &["inbox", "list"], &["inbox", "stats", "--json"]] {
            let output = stage.run(command);
            assert_eq!(output.status.code(), Some(2), "{command:?}: {output:?}");
        }
        let mut child = stage.command(&["receive", "--json"]).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let mut log: Vec<_> = lines.by_ref().take_while(|line| !line.contains("listening at")).collect();
        child.kill().unwrap();
        log.extend(lines);
        assert!(!log.is_empty());
        stage.written.add("standard error of receive", log.join("\n"));
        stage.written.add("standard output of receive", child.wait_with_output().unwrap().stdout);
    }
    stage.written.is_silent(&[MARK], 500);
}
