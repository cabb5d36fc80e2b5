//! The built program, run as a user runs it.

use std::process::{Command, Output, Stdio};

fn medhook(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medhook"));
    command.args(arguments);
    command
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

#[test]
fn the_demo_shows_every_provider_and_no_secret() {
    let Output { status, stdout, stderr } = medhook(&["demo"]).output().expect("runs");
    let (stdout, stderr) = (text(&stdout), text(&stderr));
    assert_eq!(status.code(), Some(0), "{stdout}{stderr}");
    assert_eq!(stderr, "");
    assert!(!stdout.contains("NOT OK"), "{stdout}");
    for provider in ["azodha", "cair", "fasten", "healthsync", "mediquo"] {
        let rows = stdout.lines().filter(|line| line.starts_with("| ") && line.contains(provider));
        assert!(rows.count() > 10, "{provider}: {stdout}");
    }
    assert!(!stdout.contains("whsec_"), "{stdout}");
    let longest_word = stdout.split(|c: char| !c.is_ascii_alphanumeric()).map(str::len).max();
    assert!(longest_word < Some(32), "something like a secret: {stdout}");
    assert!(!stdout.contains('\x1b'), "colours in a pipe: {stdout}");
}

#[test]
fn help_and_version() {
    for arguments in [&["--help"][..], &["demo", "--help"]] {
        let output = medhook(arguments).output().expect("runs");
        assert!(output.status.success());
        assert!(text(&output.stdout).contains("Example:\n  medhook demo"), "{}", text(&output.stdout));
    }
    let output = medhook(&["--version"]).output().expect("runs");
    assert_eq!(text(&output.stdout), format!("medhook {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_arguments_are_2() {
    for arguments in [&[][..], &["no-such-command"], &["demo", "--no-such-option"]] {
        let output = medhook(arguments).output().expect("runs");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let mut child = medhook(&["demo"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("ends");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stderr), "");
}

#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_written_is_2_and_one_line() {
    let full = std::fs::File::create("/dev/full").expect("Linux has it");
    let output = medhook(&["demo"]).stdout(full).stderr(Stdio::piped()).output().expect("runs");
    assert_eq!(output.status.code(), Some(2));
    let stderr = text(&output.stderr);
    assert!(stderr.starts_with("medhook: cannot write to the standard output: "), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}
