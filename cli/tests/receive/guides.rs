//! The guides of the providers whose form of signature is configured: their files and commands, run in order.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::program::{Folder, Instance, medhook};

#[test]
fn the_steps_in_the_guide_for_azodha_work() {
    follow(include_str!("../../../docs/azodha.md"));
}

#[test]
fn the_steps_in_the_guide_for_cair_work() {
    follow(include_str!("../../../docs/cair.md"));
}

#[test]
fn the_steps_in_the_guide_for_mediquo_work() {
    follow(include_str!("../../../docs/mediquo.md"));
}

/// Makes the secrets of a guide, checks its config file, and sends its samples to a receiver with that file.
fn follow(guide: &str) {
    let [file] = blocks(guide, "toml")[..] else { panic!("one config file") };
    let [secrets, samples] = blocks(guide, "sh")[..] else { panic!("two blocks of commands") };
    let folder = Folder::new();
    // A sample is sent to the port in the file, and nothing listens at the application's.
    let ports = [0; 2].map(|port| TcpListener::bind(("127.0.0.1", port)).unwrap());
    let [port, application] = ports.map(|listener| listener.local_addr().unwrap());
    let file = file.replace("127.0.0.1:3000", &application.to_string());
    folder.file("medhook.toml", &format!("listen = \"{port}\"\ndrain_delay = \"0s\"\n{file}"));
    run(&folder, secrets);
    let checked = run(&folder, "medhook receive --check");
    assert!(checked.lines().last().unwrap().starts_with("ok; not checked: "), "{checked}");
    let _instance = Instance::run(medhook(&folder, &[]));
    let printed = run(&folder, samples);
    for expected in ["as expected: 1 of 1 accepted\n", "as expected: 1 of 1 rejected\n", "\n 1  "] {
        assert!(printed.contains(expected), "{printed}");
    }
}

/// Returns the blocks of a guide in this language.
fn blocks<'g>(guide: &'g str, language: &str) -> Vec<&'g str> {
    let begin = format!("```{language}\n");
    guide.split(&begin).skip(1).map(|part| part.split_once("```").expect("its end").0).collect()
}

/// Runs commands in a folder, and returns what they print.
fn run(folder: &Folder, commands: &str) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_medhook")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let mut bash = Command::new("bash");
    bash.args(["-euc", commands]).env("PATH", path).current_dir(folder.path()).stdin(Stdio::null());
    let output = bash.output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{commands}: {printed}{}", String::from_utf8_lossy(&output.stderr));
    printed
}
