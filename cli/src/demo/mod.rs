//! `medhook demo`: a receiver and its senders in one process, over real HTTP. Plays cases of the list at every
//! endpoint, and follows one delivery through every step.
//!
//! - `server`, `handler`: the receiving side, as an application would build it
//! - `site`: one provider's endpoint, as the cases are played at it
//! - `matrix`: which cases are played, and what is printed of them
//! - `steps`: one delivery, step by step

mod handler;
mod matrix;
mod server;
mod site;
mod steps;

use std::io::Write;
use std::time::Duration;

use medhook::MemoryStore;

use self::server::Server;
use crate::failure::Failure;
use crate::output::{Screen, print_text};
use crate::runtime::run_async;
use crate::verdict::Verdict;

/// Send signed deliveries to a receiver in this process and show the result of each.
///
/// It needs no setup. The receiver listens on a free loopback port and keeps events in
/// memory. The secrets are random and are not saved. Genuine, repeated, concurrent,
/// forged, stale and unusual deliveries are sent to one endpoint for each provider;
/// `medhook check` uses the same cases.
///
/// The exit code is 0 if every delivery had the expected result, 1 if one did not, and
/// 2 if the demo could not run.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = "Example:\n  medhook demo")]
pub(crate) struct DemoArgs {
    /// Show for each case what was sent, what was expected and what happened
    #[arg(long)]
    verbose: bool,
}

/// Runs the demo.
pub(crate) fn run(args: &DemoArgs, out: &mut dyn Write) -> Result<Verdict, Failure> {
    run_async(shown(args, out, Screen::detect()))
}

async fn shown(args: &DemoArgs, out: &mut dyn Write, screen: Screen) -> Result<Verdict, Failure> {
    let store = MemoryStore::new(10_000);
    let server = Server::start(TIME_LIMIT, |builder| builder.store(store.clone())).await?;
    // Before the matrix, whose last row makes the receivers shut down.
    let steps = steps::followed(server.site(steps::PROVIDER)?).await;
    let matrix = matrix::play(server.sites()).await?;
    server.stop().await?;
    print_text(out, &matrix.in_full(args.verbose, screen))?;
    print_text(out, &matrix.table(screen))?;
    let failed = |failure| format!("{} one delivery, step by step: {failure}\n", screen.red("NOT OK"));
    let followed = steps.as_ref().map_or_else(failed, Clone::clone);
    print_text(out, &followed)?;
    Ok(if matrix.is_ok() && steps.is_ok() { Verdict::Success } else { Verdict::Problem })
}

/// The time limit of every wait. Nothing in the demo takes nearly as long, unless it never ends.
const TIME_LIMIT: Duration = Duration::from_secs(20);
