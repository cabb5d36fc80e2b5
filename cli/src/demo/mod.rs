//! `medhook demo`: a receiver and its senders in one process, over real HTTP, and a table of what was sent, what had to
//! become of it and what did.
//!
//! - `providers`: who sends, one entry each
//! - `draft`: a delivery of theirs, signed
//! - `server`, `handler`: the receiving side, as an application would build it
//! - `sender`: the sending side
//! - `notes`: what the server knows of each delivery and does not tell the sender
//! - `steps`: what is sent and what is expected
//! - `seen`, `table`: what happened, compared and printed

mod draft;
mod handler;
mod notes;
mod patience;
mod providers;
mod seen;
mod sender;
mod server;
mod steps;
mod table;

use std::io::Write;

use medhook::MemoryStore;

use self::providers::PROVIDERS;
use self::seen::Row;
use self::server::Server;
use crate::failure::Failure;
use crate::output::{Screen, say};
use crate::runtime::run_async;
use crate::verdict::Verdict;

/// Send real, signed deliveries to a receiver on this machine and show what becomes of them.
///
/// Needs no set-up: the receiver listens on a free port of this machine only and
/// remembers events in memory, and the secrets are random and gone at the end.
/// Genuine deliveries, repeated, concurrent, forged, stale and odd ones are sent.
///
/// The exit code is 0 if all of them came out as expected, 1 if not, and 2 if the
/// demo could not run.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = "Example:\n  medhook demo")]
pub(crate) struct DemoArgs {}

/// Runs the demo.
pub(crate) fn run(_: &DemoArgs, out: &mut dyn Write) -> Result<Verdict, Failure> {
    run_async(shown(out, Screen::detect()))
}

async fn shown(out: &mut dyn Write, screen: Screen) -> Result<Verdict, Failure> {
    let store = MemoryStore::new(10_000);
    let server = Server::start(PROVIDERS, |builder| builder.store(store.clone())).await?;
    say(out, &before(&server))?;
    let rows = steps::play(&server).await?;
    server.stop().await?;
    say(out, &table::of(&rows, screen))?;
    say(out, &after(&rows, screen))?;
    Ok(if rows.iter().all(Row::is_ok) { Verdict::AllIsWell } else { Verdict::SomethingIsNot })
}

fn before(server: &Server) -> String {
    let names: Vec<_> = server.endpoints().iter().map(|endpoint| endpoint.provider.name).collect();
    format!(
        "A receiver listens on http://{} with an endpoint for each of: {}.\n\
         A sender signs deliveries as these providers do and sends them there over HTTP. Secrets are made for this run,\n\
         events are remembered in memory, and nothing leaves this machine. Each line tells the status the sender gets,\n\
         what became of the delivery (which the sender is not told), and how often the handler is called.\n\n",
        server.address(),
        names.join(", ")
    )
}

fn after(rows: &[Row], screen: Screen) -> String {
    let all = rows.len();
    let ok = rows.iter().filter(|row| row.is_ok()).count();
    if ok == all {
        let summary = screen.green(&format!("All {all} came out as expected."));
        format!(
            "\n{summary}\n\
             Next: the axum example in the README puts the same receiver in front of a handler of your own.\n"
        )
    } else {
        let summary = screen.red(&format!("{} of {all} did not come out as expected.", all.saturating_sub(ok)));
        format!("\n{summary}\nPlease report it, with the table.\n")
    }
}
