//! `medhook receive`: a receiver of its own, for applications that are not written in Rust, or not yet.
//!
//! - `config`: the file, by `keys` (how it is read), `path`, `secrets`, `provider` and `store`
//! - `serve`: the sequence from the sockets to the last answer, with `routes`
//! - `endpoint`: what is done with a delivery
//! - `forward`: the request to the application
//! - `report`, `printer`: a line for each delivery, and its way out; `budget` bounds those that anyone can cause
//! - `health`, `signals`: whether deliveries are welcome, and when the process ends
//! - `system`: the limit of open files, and where warnings go

mod budget;
mod config;
mod endpoint;
mod forward;
mod health;
mod keys;
mod path;
mod printer;
mod provider;
mod report;
mod routes;
mod secrets;
mod serve;
mod signals;
mod store;
mod system;

use std::path::PathBuf;
use std::sync::Arc;

use medhook::NoDedupe;

use self::config::{Config, Overrides};
use self::printer::{Printer, standard_error, standard_output};
use self::report::Style;
use self::serve::serve;
use self::system::{is_discarded, log_warnings_to, raise_file_limit};
use crate::failure::Failure;
use crate::verdict::Verdict;

/// Receive deliveries at the endpoints of a config file, and forward their events.
///
/// Every delivery is verified, and every event is handed over once: to the URL that
/// its endpoint forwards to, whose status is the answer; or, where there is none, as
/// a line on the standard output, which tells that it came and not what is in it.
///
/// SIGTERM and SIGINT end it; running events are finished first. After SIGTERM it
/// still accepts deliveries for `drain_delay`, while /readyz is 503. The exit code
/// is 0 if all events were finished, 1 if some were canceled (their senders are
/// answered 503), and 2 if the receiver could not start. SIGHUP is ignored: restart
/// the receiver to apply a changed config file.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = EXAMPLE)]
pub(crate) struct ReceiveArgs {
    /// The config file
    #[arg(long, value_name = "FILE", default_value = "medhook.toml")]
    config: PathBuf,
    /// Listen at this address instead of the file's; port 0 is any free one
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Remember events in this store instead of the file's; a URL with a password belongs in the file, or where the
    /// file says
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Write JSON, one line for each delivery, and nothing else to the standard output
    #[arg(long)]
    json: bool,
    /// Show events' ids, which can be patients'
    #[arg(long)]
    show_ids: bool,
}

const EXAMPLE: &str = "\
Example:
  medhook receive --config medhook.toml

with this in medhook.toml (docs/receive.md has every key):
  listen = \"127.0.0.1:8787\"
  store  = \"sqlite:medhook.db\"

  [[endpoint]]
  path     = \"/webhooks/fasten\"
  provider = \"fasten\"
  secrets  = [{ env = \"FASTEN_SECRET\" }]
  forward  = \"http://127.0.0.1:3000/webhooks/fasten\"";

/// What a config file of this name comes to: the lines that tell of its store and endpoints, or the one that says what
/// is wrong. For `tests/properties`; no promise to anybody else.
#[doc(hidden)]
pub fn config_lines(file: &str, content: &[u8]) -> Result<Vec<String>, String> {
    let lines = || {
        let config = Config::read(file, content, Overrides::default())?;
        let mut lines = vec![config.store.value.shown()];
        for endpoint in config.endpoints {
            lines.push(endpoint.ready(Arc::new(NoDedupe))?.to_string());
        }
        Ok(lines)
    };
    lines().map_err(|failure: Failure| failure.to_string())
}

/// Receives until it is told to end.
pub(crate) fn run(args: &ReceiveArgs) -> Result<Verdict, Failure> {
    let cannot = |error| Failure::because("cannot start", error);
    let overrides = Overrides { listen: args.listen.clone(), store: args.store.clone() };
    let config = Config::load(&args.config, overrides)?;
    if let Some(endpoint) = config.endpoints.iter().find(|endpoint| endpoint.forward.is_none())
        && is_discarded(&standard_output().map_err(cannot)?)
    {
        return Err(Failure::because(
            &endpoint.place,
            "its events are written to the standard output, which is closed or /dev/null: open it, or set `forward`",
        ));
    }
    let log = Printer::to("standard error", standard_error().map_err(cannot)?).map_err(cannot)?;
    let output = Printer::to("standard output", standard_output().map_err(cannot)?).map_err(cannot)?;
    log_warnings_to(log.clone());
    raise_file_limit(&config);

    let style = Style {
        json: args.json,
        ids: args.show_ids,
        widest: config.endpoints.iter().map(|endpoint| endpoint.name.len()).max().unwrap_or_default(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(cannot)?;
    let ended = runtime.block_on(serve(config, style, &log, output));
    // Whatever still runs has been given its time.
    runtime.shutdown_background();
    ended
}
