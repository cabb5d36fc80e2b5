//! Every command that `medhook --help` names, in text and in JSON.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::Command;

use crate::receiver::{send_all, until_dead};
use crate::requests::{answer, genuine, headers, text};
use crate::stage::{HEALTHSYNC, Stage};
use crate::written::{KIND, MARK, NUMBER, Written, is_marked};

/// Arguments, and the exit code. `AT` stands for the address of a receiver.
type Invocation = (&'static [&'static str], i32);

const OPERATOR: [&str; 4] = ["--actor", "jdoe", "--because", "a check"];

/// Runs while a receiver runs. `capture` and `receive` are started by tests of their own.
const INVOCATIONS: &[Invocation] = &[
    (&["check", "http://AT/mediquo", "mediquo", "--secret-env", "MEDIQUO", "--timeout", "60"], 0),
    (&["check", "http://AT/fasten", "fasten", "--secret-env", "FASTEN", "--timeout", "60", "--json"], 0),
    (&["check", "http://AT/fasten", "fasten", "--secret-env", "HEALTHSYNC", "--timeout", "60"], 1),
    (&["completions", "bash"], 0),
    (&["demo"], 0),
    (&["demo", "--verbose"], 0),
    (&["forget", "--endpoint", "healthsync", "--id-file", "id"], 0),
    (&["init", "healthsync", "--out", "new.toml"], 0),
    (&["inbox", "list"], 0),
    (&["inbox", "list", "--json"], 0),
    (&["inbox", "list", "--status", "dead", "--json"], 0),
    (&["inbox", "show", "1"], 0),
    (&["inbox", "show", "1", "--json"], 0),
    (&["inbox", "show", "1", "--body", "body"], 0),
    (&["inbox", "show", "2", "--body", "body2", "--json"], 0),
    (&["inbox", "stats"], 0),
    (&["inbox", "stats", "--json", "--fail-on-dead"], 1),
    (&["inbox", "pause", "healthsync"], 0),
    (&["inbox", "pause", "healthsync", "--json"], 0),
    (&["inbox", "replay", "--endpoint", "healthsync", "--dry-run"], 0),
    (&["inbox", "replay", "1", "--json"], 0),
    (&["inbox", "resume", "healthsync"], 0),
    (&["inbox", "resume", "healthsync", "--json"], 0),
    (&["inbox", "hold"], 0),
    (&["inbox", "hold", "--json"], 0),
    (&["inbox", "release"], 0),
    (&["inbox", "release", "--json"], 0),
    (&["inbox", "rekey"], 0),
    (&["inbox", "rekey", "--json"], 0),
    (&["inbox", "discard", "2"], 0),
    (&["inbox", "discard", "--status", "dead", "--json"], 0),
    (&["inbox", "purge"], 0),
    (&["inbox", "purge", "--json"], 0),
    (&["inbox", "audit"], 0),
    (&["inbox", "audit", "--json"], 0),
    (&["man", "--out", "man"], 0),
    (&["receive", "--check"], 0),
    (&["secret", "new", "healthsync"], 0),
    (&["send", "healthsync", "document.uploaded", "--to", "http://AT/healthsync", "--secret-env", "HEALTHSYNC"], 0),
    (&["send", "healthsync", "--body", "sent", "--to", "http://AT/healthsync?c4n4ry", "--secret-env", "HEALTHSYNC"], 0),
    (&["send", "mediquo", "--body", "sent", "--to", "http://AT/mediquo", "--secret-env", "HEALTHSYNC"], 1),
    (&["send", "--list"], 0),
    (&["verify", "healthsync", "--headers", "head", "--body", "sent", "--secret-env", "HEALTHSYNC"], 0),
    (&["verify", "healthsync", "--headers", "head", "--body", "sent", "--secret-env", "HEALTHSYNC", "--json"], 0),
    (&["verify", "healthsync", "--headers", "head", "--body", "sent", "--secret-env", "FASTEN"], 1),
    (&["verify", "healthsync", "--headers", "head", "--body", "sent", "--secret-env", "FASTEN", "--json"], 1),
    (&["verify", "--config", "medhook.toml", "--endpoint", "healthsync", "--headers", "head", "--body", "id"], 1),
];

/// The commands that record in the audit table who did what.
const RECORDED: [&str; 9] = ["forget", "replay", "discard", "purge", "pause", "resume", "hold", "release", "rekey"];

#[tokio::test(flavor = "multi_thread")]
async fn no_command_writes_a_mark() {
    let mut stage = Stage::new().await;
    let mut instance = stage.receive(&["--json"]);
    send_all(&mut stage, &instance);
    until_dead(&instance);
    let sent = genuine(7, None, HEALTHSYNC);
    stage.file("id", &format!("{MARK}id1"));
    stage.file("head", &headers(&sent));
    stage.file("sent", std::str::from_utf8(sent.body()).unwrap());
    for (arguments, code) in INVOCATIONS {
        let arguments: Vec<_> =
            arguments.iter().map(|argument| argument.replace("AT", &instance.address.to_string())).collect();
        let mut arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let is_recorded = arguments.iter().any(|argument| RECORDED.contains(argument))
            || arguments.contains(&"--body") && arguments[0] == "inbox";
        if is_recorded {
            arguments.extend(OPERATOR);
        }
        let output = stage.run(&arguments);
        assert_eq!(output.status.code(), Some(*code), "{arguments:?}: {output:?}");
    }
    for body in ["body", "body2"] {
        is_marked(&std::fs::read(stage.path().join(body)).unwrap());
    }
    let shown = stage
        .command(&[
            "verify",
            "healthsync",
            "--headers",
            "head",
            "--body",
            "sent",
            "--secret-env",
            "HEALTHSYNC",
            "--show-body",
        ])
        .output()
        .unwrap();
    is_marked(&shown.stdout);
    assert!(instance.terminate().success());
    let mut files = Written::default();
    files.add_files(&stage.path().join("man"));
    files.add("new.toml", std::fs::read(stage.path().join("new.toml")).unwrap());
    files.is_silent(&[MARK, NUMBER, KIND], 10_000);
    stage.add_files();
    stage.written.is_silent(&[MARK, NUMBER, KIND], 100_000);
    stage.add_log(&instance);
    stage.written.is_silent(&[MARK, NUMBER], 100_000);
}

/// A new command, or a new `--json`, fails here until it is in the list above.
#[test]
fn every_command_of_the_help_text_is_run() {
    let medhook = |path: &[String]| {
        let output = Command::new(env!("CARGO_BIN_EXE_medhook")).args(path).arg("--help").output().unwrap();
        assert!(output.status.success(), "{path:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let mut known = BTreeSet::new();
    let mut unread = vec![Vec::new()];
    while let Some(path) = unread.pop() {
        let help = medhook(&path);
        let listed = help.split_once("\nCommands:\n").map_or("", |(_, rest)| rest.split("\n\n").next().unwrap());
        let names = listed.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
        let names: Vec<_> = names.map(|line| line.split(' ').next().unwrap().to_owned()).collect();
        if names.is_empty() {
            known.insert((path.join(" "), help.lines().any(|line| line.trim_start().starts_with("--json"))));
        }
        unread.extend(names.into_iter().filter(|name| name != "help").map(|name| [&path[..], &[name]].concat()));
    }
    assert!(known.len() >= 20, "{known:?}");
    for (command, has_json) in known {
        let runs = |more: Option<&str>| {
            let has_all = |arguments: &[&str]| {
                arguments.join(" ").starts_with(&command) && more.is_none_or(|more| arguments.contains(&more))
            };
            INVOCATIONS.iter().any(|(arguments, _)| has_all(arguments))
        };
        // They are started by tests of their own.
        let is_started = ["capture", "receive"].contains(&&*command);
        assert!(is_started || runs(None), "no test searches the output of `medhook {command}`");
        assert!(is_started || !has_json || runs(Some("--json")), "nor that of `medhook {command} --json`");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorder_writes_no_secret_and_bodies_only_into_their_files() {
    let mut stage = Stage::new().await;
    let secrets = ["--secret-env", "HEALTHSYNC", "--test-secret-env", "FASTEN"];
    for provider in [&["healthsync", secrets[0], secrets[1]][..], &[]] {
        let arguments = ["--listen", "127.0.0.1:0", "--out", "captured", "--max", "1", "--yes-phi"];
        let mut child = stage.command(&[&["capture"], provider, &arguments].concat()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let first = lines.next().unwrap();
        let address = first.split_once("http://").unwrap().1.split(';').next().unwrap().parse().unwrap();
        let mut request = genuine(1, None, HEALTHSYNC);
        let secret = HEALTHSYNC.parse().unwrap();
        request.headers_mut().insert("x-api-key", secret);
        let answered = answer(address, &text(&request));
        assert!(answered.starts_with(b"HTTP/1.1 503"), "{answered:?}");
        stage.written.add("the answer of capture", answered);
        let mut printed = vec![first];
        while !printed.last().unwrap().contains("verify") {
            printed.push(lines.next().unwrap());
        }
        let body = std::fs::read(stage.path().join("captured/0001.body")).unwrap();
        is_marked(&body);
        let head = std::fs::read(stage.path().join("captured/0001.head")).unwrap();
        // Other headers may be recorded; those that usually hold a secret may not, and no text of a secret.
        let head = String::from_utf8_lossy(&head).into_owned();
        for line in head.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let is_secret = ["authorization", "cookie", "x-api-key"].contains(&name) || value.contains(HEALTHSYNC);
            assert!(!is_secret, "{line}");
        }
        assert!(!head.contains("token="), "the query is recorded: {head}");
        medhook_tests::servers::signal("TERM", &[child.id()]);
        printed.extend(lines);
        let output = child.wait_with_output().unwrap();
        stage.written.add("standard output of capture", printed.join("\n"));
        stage.written.add("standard error of capture", output.stderr);
        assert!(!stage.path().join("captured/0001.body").exists(), "the recording is deleted at the end");
    }
    stage.written.is_silent(&[MARK, NUMBER, KIND], 500);
}
