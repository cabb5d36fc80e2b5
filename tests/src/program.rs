//! Runs a program as a user runs it.

use std::process::{Command, Output};

/// The exit code of a program and its output.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a program with these secrets in its environment, and checks that it prints none of them.
#[must_use]
pub fn run(program: &str, arguments: &[&str], secrets: &[(&str, &str)]) -> Ran {
    let Output { status, stdout, stderr } =
        Command::new(program).args(arguments).envs(secrets.iter().copied()).output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("it writes text");
    let ran = Ran { code: status.code(), stdout: text(stdout), stderr: text(stderr) };
    for (name, secret) in secrets {
        let bare = secret.trim_start_matches("whsec_");
        assert!(!ran.stdout.contains(bare) && !ran.stderr.contains(bare), "{name} was written: {ran:?}");
    }
    ran
}
