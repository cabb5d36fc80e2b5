//! The command `medhook`, with a module for each subcommand.
//!
//! Exit codes of every subcommand: 0, success; 1, the subcommand ran and found a problem; 2, it could not run.

mod capture;
mod check;
mod clock;
mod commands;
mod completions;
mod demo;
mod dialect;
mod duration;
mod endpoint;
mod failure;
mod forget;
mod http_client;
mod inbox;
mod init;
mod key_kind;
mod lost;
mod malformed;
mod manual;
mod output;
#[doc(hidden)]
pub mod parsers;
mod peer;
mod preset;
mod provider;
mod random;
mod read;
mod receive;
mod recording;
mod runtime;
mod secret;
mod send;
mod sender;
mod server;
mod sources;
mod tls_client;
mod verdict;
mod verify;
mod words;

use std::io::stdout;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::output::print_error;
use crate::verdict::Verdict;

/// Receive webhooks from health-tech providers safely.
#[derive(Parser)]
#[command(name = "medhook", version, after_help = "Example:\n  medhook demo")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Capture(Box<capture::CaptureArgs>),
    Check(Box<check::CheckArgs>),
    Completions(completions::CompletionsArgs),
    Demo(demo::DemoArgs),
    Forget(Box<forget::ForgetArgs>),
    Inbox(Box<inbox::InboxCommand>),
    Init(init::InitArgs),
    Man(manual::ManArgs),
    Receive(receive::ReceiveArgs),
    Secret(secret::SecretCommand),
    Send(Box<send::SendArgs>),
    Verify(Box<verify::VerifyArgs>),
}

/// Runs the subcommand that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    // Exits with 2 if the arguments are invalid.
    let cli = Cli::parse();
    if !matches!(cli.command, Command::Receive(_)) {
        // These commands report the rejections of their receivers themselves. Cannot fail: it is the first subscriber.
        let _ = tracing::subscriber::set_global_default(tracing::subscriber::NoSubscriber::new());
    }
    let ended = match cli.command {
        Command::Capture(args) => capture::run(&args),
        Command::Check(args) => check::run(&args, &mut stdout().lock()),
        Command::Completions(args) => completions::run(&args, Cli::command(), &mut stdout().lock()),
        Command::Demo(args) => demo::run(&args, &mut stdout().lock()),
        Command::Forget(args) => forget::run(&args, &mut stdout().lock()),
        Command::Inbox(args) => inbox::run(&args, &mut stdout().lock()),
        Command::Init(args) => init::run(&args, &mut stdout().lock()),
        Command::Man(args) => manual::run(&args, Cli::command(), &mut stdout().lock()),
        Command::Receive(args) => receive::run(&args),
        Command::Secret(args) => secret::run(&args, &mut stdout().lock()),
        Command::Send(args) => send::run(&args, &mut stdout().lock()),
        Command::Verify(args) => verify::run(&args, &mut stdout().lock()),
    };
    match ended {
        Ok(Verdict::Success) => ExitCode::SUCCESS,
        Ok(Verdict::Problem) => ExitCode::from(1),
        Ok(Verdict::Inconclusive) => ExitCode::from(2),
        Err(failure) => {
            print_error(&failure.to_string());
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent_and_every_help_text_has_an_example() {
        let mut cli = Cli::command();
        cli.clone().debug_assert();
        assert!(cli.render_help().to_string().contains("\nExample"));
        for command in cli.get_subcommands_mut().filter(|command| command.get_name() != "help") {
            assert!(command.render_help().to_string().contains("\nExample"), "{}", command.get_name());
        }
    }
}
