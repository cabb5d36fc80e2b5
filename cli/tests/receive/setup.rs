//! `medhook init`, and `medhook receive --check`.

use std::process::{Command, Output, Stdio};

use medhook::registry::PROVIDERS;

use crate::program::{Folder, INBOX_KEY, OTHER_SECRET, SECRET, THIRD_SECRET};

/// Runs the program in a folder, with one secret for each provider if `with_secrets` is set.
fn run(folder: &Folder, with_secrets: bool, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medhook"));
    command.current_dir(folder.path()).args(arguments).stdin(Stdio::null());
    for (index, name) in providers().into_iter().enumerate() {
        let variable = format!("{}_SECRET", name.to_uppercase());
        match with_secrets {
            // Different ones that are base64 as well.
            true => command.env(variable, format!("{index}{}", &SECRET[1..])),
            false => command.env_remove(variable),
        };
    }
    match with_secrets {
        true => command.env("FORWARD_SECRET", OTHER_SECRET),
        false => command.env_remove("FORWARD_SECRET"),
    };
    command.output().unwrap()
}

fn providers() -> Vec<&'static str> {
    PROVIDERS.iter().map(|facts| facts.name).chain(["custom"]).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

const CHOSEN: [&str; 4] = ["--scheme", "hmac-sha256", "--header", "X-Signature"];

#[test]
fn the_file_that_init_writes_passes_the_check_once_its_secrets_are_set() {
    let together = vec![providers()];
    let alone = providers().into_iter().map(|name| vec![name]);
    for names in together.into_iter().chain(alone) {
        let folder = Folder::new();
        let lets_choose = |name: &&str| ["azodha", "cair", "custom"].contains(name);
        let chosen: &[&str] = if names.iter().any(lets_choose) { &CHOSEN } else { &[] };
        let output = run(&folder, false, &[&["init"], &names[..], chosen].concat());
        let printed = text(&output.stdout);
        assert!(output.status.success(), "{names:?}: {}", text(&output.stderr));
        assert!(printed.contains("still missing:"), "{printed}");
        for name in &names {
            let missing = format!("the environment variable {}_SECRET is not set", name.to_uppercase());
            assert!(printed.contains(&missing), "{name}: {printed}");
            assert!(printed.contains(&format!("--endpoint {name}")), "{name}: {printed}");
        }
        folder.file("inbox.key", INBOX_KEY);
        let output = run(&folder, true, &["receive", "--check"]);
        let (printed, problems) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success() && problems.is_empty(), "{names:?}: {problems}");
        assert!(printed.lines().last().unwrap().starts_with("ok; not checked: "), "{printed}");
        for name in &names {
            let line = format!("medhook: endpoint {name} at /webhooks/{name}, provider {name}, forwards to ");
            assert!(printed.contains(&line), "{name}: {printed}");
        }
        let documents_retries =
            |name: &str| PROVIDERS.iter().any(|facts| facts.name == name && facts.retries.is_some());
        let inboxes = names.iter().filter(|name| !documents_retries(name)).count();
        assert_eq!(printed.matches(" from its inbox").count(), inboxes, "{printed}");
        assert!(!folder.path().join("medhook.db").exists());
    }
}

#[test]
fn init_writes_every_scheme_and_preset_of_a_custom_provider() {
    // The public key of RFC 8032, test 1, which is base64 as other secrets are.
    const PUBLIC: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    let header = &["--header", "X-Signature"];
    for (scheme, more, filled_in) in [
        (&["--scheme", "standard-webhooks"][..], &[][..], None),
        (&["--scheme", "hmac-sha256"], header, None),
        (&["--scheme", "hmac-sha512"], header, None),
        (&["--scheme", "ed25519"], header, None),
        (&["--scheme", "shared-secret"], header, None),
        (&["--scheme", "timestamped-hmac"], header, Some(("# timestamp_header =", "timestamp_header ="))),
        (&["--preset", "terra"], &[], None),
        (&["--preset", "whoop"], &[], None),
        (&["--preset", "oura"], &[], None),
    ] {
        let folder = Folder::new();
        let output = run(&folder, false, &[&["init", "custom"], scheme, more].concat());
        assert!(output.status.success(), "{scheme:?}: {}", text(&output.stderr));
        folder.file("inbox.key", INBOX_KEY);
        let written = std::fs::read_to_string(folder.path().join("medhook.toml")).unwrap();
        if let Some((line, filled_in)) = filled_in {
            let (_, rest) = written.split_once(line).unwrap();
            assert!(rest.lines().next().unwrap().contains("FILL IN"), "{rest}");
            folder.file("medhook.toml", &written.replace(line, filled_in).replace("\"..\"", "\"X-Timestamp\""));
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_medhook"));
        command.current_dir(folder.path()).args(["receive", "--check"]).stdin(Stdio::null());
        let output = command.env("CUSTOM_SECRET", PUBLIC).env("FORWARD_SECRET", OTHER_SECRET).output().unwrap();
        assert!(output.status.success(), "{scheme:?}: {}{written}", text(&output.stderr));
    }
}

#[test]
fn init_custom_names_the_missing_scheme_and_how_to_try_a_public_key() {
    let folder = Folder::new();
    let printed = text(&run(&folder, false, &["init", "custom"]).stdout);
    let (_, missing) = printed.split_once("still missing:").unwrap();
    assert_eq!(missing.matches("`scheme`: missing, but required").count(), 1, "{printed}");
    assert!(missing.contains("the environment variable CUSTOM_SECRET is not set"), "{printed}");
    let written = std::fs::read_to_string(folder.path().join("medhook.toml")).unwrap();
    assert!(written.contains("# https://github.com/medhook/medhook/blob/main/src/guide/schemes.md\n"), "{written}");
    // Now only the scheme is missing.
    folder.file("inbox.key", INBOX_KEY);
    let problems = text(&run(&folder, true, &["receive", "--check"]).stderr);
    assert_eq!(problems.matches("`scheme`: missing").count(), 1, "{problems}");

    let ed25519 = ["init", "custom", "--scheme", "ed25519", "--header", "X-Sig", "--out", "pair.toml"];
    let printed = text(&run(&folder, false, &ed25519).stdout);
    let send = "medhook send custom --scheme ed25519 --header X-Sig --secret-env PRIVATE_KEY";
    assert!(printed.contains(send) && !printed.contains("medhook send --config"), "{printed}");
}

#[test]
fn an_option_that_only_the_portal_knows_is_left_open_and_the_check_names_it() {
    let folder = Folder::new();
    let output = run(&folder, false, &["init", "cair", "--out", "cair.toml"]);
    let printed = text(&output.stdout);
    assert!(output.status.success() && printed.contains("fill in the lines marked FILL IN in cair.toml"), "{printed}");
    folder.file("inbox.key", INBOX_KEY);
    let written = std::fs::read_to_string(folder.path().join("cair.toml")).unwrap();
    for (filled_in, problem) in [
        (written.clone(), Some("`scheme`: missing")),
        (written.replace("# scheme ", "scheme "), Some("`header`: missing")),
        (written.replace("# scheme ", "scheme ").replace("# header   = \"..\"", "header = \"X-API-KEY\""), None),
    ] {
        folder.file("cair.toml", &filled_in);
        let output = run(&folder, true, &["receive", "--check", "--config", "cair.toml"]);
        let problems = text(&output.stderr);
        assert_eq!(output.status.code(), Some(if problem.is_some() { 2 } else { 0 }), "{problems}");
        assert!(problem.is_none_or(|problem| problems.contains(problem)), "{problems}");
    }
    let output = run(&folder, false, &["init", "fasten", "--out", "cair.toml"]);
    let problem = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(problem.contains("--out: cair.toml: exists already, and is not overwritten"), "{problem}");
    let output = run(&folder, false, &["init", "fasten", "--out", "-"]);
    assert!(text(&output.stdout).contains("provider = \"fasten\""));
}

#[test]
fn the_check_prints_every_mistake_and_creates_nothing() {
    let folder = Folder::new();
    let top = "listen = \"192.0.2.1:8787\"\nstore = \"sqlite:events.db\"\n";
    let endpoint = |name: &str, variable: &str| {
        format!("[[endpoint]]\npath = \"/{name}\"\nprovider = \"healthsync\"\nsecrets = [{{ env = \"{variable}\" }}]\n")
    };
    let check = |config: &str| {
        folder.file("medhook.toml", config);
        let mut command = Command::new(env!("CARGO_BIN_EXE_medhook"));
        command.current_dir(folder.path()).args(["receive", "--check"]).stdin(Stdio::null());
        command.env("TEST_SECRET", SECRET).env("TEST_THIRD_SECRET", THIRD_SECRET).env_remove("TEST_UNSET_SECRET");
        let output = command.output().unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let unset = endpoint("a", "TEST_UNSET_SECRET");
    let misspelled = endpoint("b", "TEST_SECRET").replace("provider", "provide");
    let (code, printed, problems) = check(&[top, &unset, &misspelled, &endpoint("c", "TEST_SECRET")].concat());
    assert_eq!((code, printed.as_str(), problems.lines().count()), (Some(2), "", 2), "{problems}");
    assert!(problems.contains("endpoint 1 (/a): `secrets[0]`") && problems.contains("endpoint 2 (/b)"), "{problems}");

    // Several mistakes in one endpoint.
    let several = format!("{misspelled}lease = \"2h\"\nforward = \"ftp://a\"\nbody_timeout = 3\n")
        .replace("provide ", "provider ");
    let several = several.replace("TEST_SECRET", "TEST_UNSET_SECRET");
    let (code, _, problems) = check(&[top, &several].concat());
    assert_eq!((code, problems.lines().count()), (Some(2), 4), "{problems}");
    for key in ["secrets[0]", "lease", "forward", "body_timeout"] {
        assert!(problems.contains(&format!("endpoint 1 (/b): `{key}`")), "{key}: {problems}");
    }

    let (code, printed, warnings) =
        check(&[top, &endpoint("a", "TEST_SECRET"), &endpoint("b", "TEST_THIRD_SECRET")].concat());
    assert_eq!(code, Some(0), "{warnings}");
    assert!(
        warnings.starts_with("medhook: warning: medhook.toml: `listen`: 192.0.2.1:8787 is not a loopback"),
        "{warnings}"
    );
    assert_eq!(printed.lines().count(), 4, "{printed}");
    assert!(!printed.contains(SECRET) && !folder.path().join("events.db").exists());
}

/// Runs the first commands of the guide, which has no output to compare.
#[cfg(unix)]
#[test]
fn the_commands_of_the_guide_write_a_file_that_passes_the_check() {
    let guide = include_str!("../../../docs/receive.md");
    let (_, section) = guide.split_once("## Getting started with `init`").unwrap();
    let (_, commands) = section.split_once("```sh\n").unwrap();
    let (commands, _) = commands.split_once("```").unwrap();
    assert!(commands.starts_with("medhook init ") && commands.ends_with("medhook receive --check\n"), "{commands}");
    let folder = Folder::new();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_medhook")).parent().unwrap().to_owned();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("bash");
    command.args(["-euc", commands]).env("PATH", path).current_dir(folder.path()).stdin(Stdio::null());
    let output = command.output().unwrap();
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{printed}{}", text(&output.stderr));
    assert!(printed.lines().last().unwrap().starts_with("ok; not checked: "), "{printed}");
    assert_eq!(text(&output.stderr), "");
}
