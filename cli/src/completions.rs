//! `medhook completions`: scripts that complete the command in a shell.

use std::io::Write;

use clap_complete::{Shell, generate};

use crate::failure::Failure;
use crate::output::print_text;
use crate::verdict::Verdict;

/// Write a script to standard output that completes this command in a shell.
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Examples:\n  \
        medhook completions bash > ~/.local/share/bash-completion/completions/medhook\n  \
        medhook completions fish > ~/.config/fish/completions/medhook.fish"
)]
pub(crate) struct CompletionsArgs {
    /// Shell to complete in
    #[arg(value_enum)]
    shell: Shell,
}

/// Runs the command. `cli` is the whole command line.
pub(crate) fn run(args: &CompletionsArgs, mut cli: clap::Command, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let mut script = Vec::new();
    generate(args.shell, &mut cli, "medhook", &mut script);
    print_text(out, &String::from_utf8_lossy(&script))?;
    Ok(Verdict::Success)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, ValueEnum};

    use super::*;

    #[test]
    fn every_shell_completes_every_subcommand() {
        for shell in Shell::value_variants() {
            let mut script = Vec::new();
            run(&CompletionsArgs { shell: *shell }, crate::Cli::command(), &mut script).unwrap();
            let script = String::from_utf8(script).unwrap();
            for command in crate::Cli::command().get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell}: {}", command.get_name());
                for nested in command.get_subcommands() {
                    assert!(script.contains(nested.get_name()), "{shell}: {}", nested.get_name());
                }
            }
        }
    }
}
