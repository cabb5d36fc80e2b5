//! The built program, run as a user runs it.

#![allow(clippy::expect_used, reason = "a failed assumption of a test should end the test")]

use std::process::{Command, Output, Stdio};

fn medhook(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medhook"));
    command.args(arguments);
    command
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

const PROVIDERS: [&str; 5] = ["azodha", "cair", "fasten", "healthsync", "mediquo"];

#[test]
fn the_demo_shows_every_provider_and_no_secret() {
    // Names of kinds are up to 34 letters long; a secret has 64 digits.
    for (arguments, longest) in [(&["demo"][..], 32), (&["demo", "--verbose"], 35)] {
        let Output { status, stdout, stderr } = medhook(arguments).output().expect("runs");
        let (stdout, stderr) = (text(&stdout), text(&stderr));
        assert_eq!(status.code(), Some(0), "{stdout}{stderr}");
        assert_eq!(stderr, "");
        assert!(!stdout.contains("NOT OK"), "{stdout}");
        let head: Vec<_> = stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
        assert!(head.contains(&PROVIDERS.to_vec()), "{stdout}");
        assert!(!stdout.contains("whsec_"), "{stdout}");
        let longest_word = stdout.split(|c: char| !c.is_ascii_alphanumeric()).map(str::len).max();
        assert!(longest_word < Some(longest), "something like a secret: {stdout}");
        assert!(!stdout.contains('\x1b'), "color in a pipe: {stdout}");
    }
}

#[test]
fn a_delivery_is_followed_to_its_typed_event() {
    let output = medhook(&["demo"]).output().expect("runs");
    let stdout = text(&output.stdout);
    let steps = stdout.lines().skip_while(|line| !line.starts_with("One delivery, step by step")).skip(1);
    let names: Vec<_> = steps.map(|line| line.trim_start().split("  ").next().unwrap_or_default()).collect();
    assert_eq!(names, ["head, body", "verify", "envelope, fresh", "claim, handler, settle", "event"], "{stdout}");
    assert!(stdout.ends_with("DocumentUploaded: blood-panel.pdf, 184320 bytes\n"), "{stdout}");
}

#[test]
fn verbose_tells_of_each_case_what_was_sent_expected_and_happened() {
    let output = medhook(&["demo", "--verbose"]).output().expect("runs");
    let stdout = text(&output.stdout);
    let of_healthsync = "ok healthsync: too old\n  sent      healthsync: happened 7,201 s ago\n  \
                         expected  401 stale, not handled\n  happened  401 stale, not handled\n";
    assert!(stdout.contains(of_healthsync), "{stdout}");
    for provider in PROVIDERS {
        let reported = stdout.lines().filter(|line| line.starts_with(&format!("ok {provider}: "))).count();
        assert!(reported > 12, "{provider}: {stdout}");
    }
}

/// Runs the demo on a terminal of this size, and returns what it wrote there.
#[cfg(unix)]
fn on_a_terminal(columns: u16, rows: u16, variables: &[(&str, &str)]) -> String {
    use std::io::Read;

    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{Winsize, tcsetwinsize};

    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
    grantpt(&terminal).and_then(|()| unlockpt(&terminal)).expect("a pseudo-terminal");
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&terminal, size).expect("a pseudo-terminal");
    let name = ptsname(&terminal, Vec::new()).expect("a name").into_string().expect("a name");
    let side = std::fs::OpenOptions::new().read(true).write(true).open(name).expect("its other side");

    let mut command = medhook(&["demo"]);
    command.env_remove("NO_COLOR").env("TERM", "xterm").envs(variables.iter().copied());
    command.stdout(side).stderr(Stdio::piped());
    let child = command.spawn().expect("runs");
    // It holds the other side of the terminal, too.
    drop(command);
    let mut written = Vec::new();
    // At the end, Linux reports an error.
    let _ = std::fs::File::from(terminal).read_to_end(&mut written);
    let Output { status, stderr, .. } = child.wait_with_output().expect("ends");
    assert_eq!((status.code(), text(&stderr)), (Some(0), "".into()), "{}", text(&written));
    text(&written).replace("\r\n", "\n")
}

/// The text without its escape codes, each of which ends with `m`.
#[cfg(unix)]
fn plain(text: &str) -> String {
    let mut parts = text.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + part.split_once('m').expect("a color").1)
}

#[cfg(unix)]
#[test]
fn it_fits_a_terminal_of_80_by_24_in_color() {
    let shown = on_a_terminal(80, 24, &[]);
    assert!(shown.contains("\x1b[32mok\x1b[0m"), "{shown}");
    let uncolored = plain(&shown);
    assert!(!uncolored.contains('\x1b'), "{uncolored}");
    // One line of the terminal is left for the next prompt.
    assert!(uncolored.lines().count() < 24, "{uncolored}");
    for line in uncolored.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let cells = shown.matches("\x1b[32mok\x1b[0m").count();
    assert!(uncolored.contains(&format!("All {cells} came out as expected")), "{uncolored}");
}

#[cfg(unix)]
#[test]
fn there_is_no_color_where_it_is_not_wanted() {
    for variables in [[("NO_COLOR", "1")], [("TERM", "dumb")]] {
        let shown = on_a_terminal(80, 24, &variables);
        assert!(shown.contains("came out as expected") && !shown.contains('\x1b'), "{variables:?}: {shown}");
    }
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
fn an_output_error_exits_with_2_and_one_line() {
    let full = std::fs::File::create("/dev/full").expect("Linux has it");
    let output = medhook(&["demo"]).stdout(full).stderr(Stdio::piped()).output().expect("runs");
    assert_eq!(output.status.code(), Some(2));
    let stderr = text(&output.stderr);
    assert!(stderr.starts_with("medhook: cannot write to standard output: "), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}
