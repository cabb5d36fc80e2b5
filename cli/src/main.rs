//! `medhook` on the command line. Each command is a module of its own.
//!
//! Exit codes, the same for every command: 0, all is well; 1, the command did its work and something is not as it
//! should be; 2, it could not do its work.

mod demo;
mod failure;
mod output;
mod receive;
mod server;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::Failure;

/// Receive webhooks from health-tech providers safely.
#[derive(Parser)]
#[command(name = "medhook", version, after_help = "Example:\n  medhook demo")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Args),
    Receive(receive::Args),
}

/// How a command ended that could do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    AllIsWell,
    SomethingIsNot,
}

fn main() -> ExitCode {
    // Wrong arguments end here, with exit code 2.
    let cli = Cli::parse();
    let ended = match cli.command {
        Command::Demo(args) => demo::run(&args, &mut std::io::stdout().lock()),
        Command::Receive(args) => receive::run(&args),
    };
    match ended {
        Ok(Verdict::AllIsWell) => ExitCode::SUCCESS,
        Ok(Verdict::SomethingIsNot) => ExitCode::from(1),
        Err(failure) => {
            told(&failure);
            ExitCode::from(2)
        }
    }
}

fn told(failure: &Failure) {
    // Where even this cannot be written, the exit code has to do.
    let _ = writeln!(std::io::stderr().lock(), "medhook: {failure}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_make_sense_and_every_help_shows_an_example() {
        let mut cli = Cli::command();
        cli.clone().debug_assert();
        assert!(cli.render_help().to_string().contains("Example:"));
        for command in cli.get_subcommands_mut().filter(|command| command.get_name() != "help") {
            assert!(command.render_help().to_string().contains("Example:"), "{}", command.get_name());
        }
    }
}
