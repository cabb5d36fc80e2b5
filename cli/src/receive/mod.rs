//! `medhook receive`: a standalone receiver, for applications in any language.
//!
//! - `config`: reads the config file with `keys`, `path`, `secrets`, `take_secrets`, `provider`, `custom` and
//!   `store`
//! - `chosen`, `access`: read one endpoint, or the store, of the config file for other commands
//! - `config_check`: checks the config file without running a receiver
//! - `serve`: runs the receiver from startup to shutdown, with `routes`
//! - `endpoint`: handles a delivery, with an inbox by storing it; `attempts`: handles a stored event
//! - `forward`: sends an event to the application
//! - `left`: warns of stored events that no endpoint handles
//! - `notes`: keeps the results of handlers for the report
//! - `sockets`, `tls` with `certificate`: the sockets and their certificate; `addresses`: the networks of clients
//! - `report`, `printer`: format and write a line for each delivery; `budget` limits the lines for unverified ones
//! - `stray`: logs requests that reach no endpoint
//! - `reload`: reads secrets and certificates again while the receiver runs, with `endpoint_secrets`, `shared_signer`
//! - `health`, `metrics`, `signals`: health checks, metrics and shutdown signals
//! - `system`: raises the limit of open files, and writes warnings to the log

mod access;
mod addresses;
mod attempts;
mod budget;
mod certificate;
mod chosen;
mod config;
mod config_check;
mod connector;
mod custom;
mod endpoint;
mod endpoint_secrets;
mod forward;
mod health;
mod keys;
mod left;
mod metrics;
mod notes;
mod operations;
mod path;
mod printer;
mod provider;
mod reload;
mod report;
mod routes;
mod secrets;
mod serve;
mod shared_signer;
mod signals;
#[cfg(test)]
mod silence_tests;
mod sockets;
mod store;
mod stray;
mod system;
mod take_secrets;
mod tls;

use std::io::stdout;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use medhook::NoDedupe;

pub(crate) use self::access::{EndpointAccess, StoreAccess};
pub use self::certificate::certificate_lines;
pub(crate) use self::chosen::ChosenEndpoint;
use self::config::{Config, Overrides};
use self::config_check::check_config;
pub(crate) use self::config_check::{CheckedConfig, NOT_CHECKED};
pub(crate) use self::forward::application_answer;
pub use self::operations::PageServer;
use self::printer::{Printer, standard_error, standard_output};
use self::report::Style;
use self::serve::serve;
use self::sockets::InheritedSockets;
pub(crate) use self::store::Opened;
use self::system::{is_discarded, log_warnings_to, raise_file_limit};
use crate::failure::Failure;
use crate::output::{print_error, print_text};
use crate::verdict::Verdict;

/// Receive deliveries at the endpoints of a config file, and forward their events.
///
/// Every delivery is verified. Every event is forwarded once to the `forward` URL of
/// its endpoint, and the status of that response is the answer. With `inbox = true`,
/// the event is stored before it is acknowledged, and forwarded until the application
/// has handled it; see `medhook inbox`. If the endpoint has no `forward` URL, a line on
/// standard output reports the event without its content.
///
/// `medhook init` writes a config file.
///
/// On SIGTERM or SIGINT the receiver stops after running events have finished. After
/// SIGTERM it accepts deliveries for `drain_delay` while /readyz returns 503.
///
/// Files of secrets and certificates are read again when they change, and at once on
/// SIGHUP. Restart the receiver to apply a changed config file or environment variable.
///
/// The exit code is 0 if all events finished, 1 if some were canceled (answered 503),
/// and 2 if the receiver could not start.
///
/// With --check it is 0 if the receiver would start, and 2 if there are mistakes; each is
/// printed on a line of its own. Neither the store nor the applications are contacted.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = EXAMPLE)]
pub(crate) struct ReceiveArgs {
    /// Config file
    #[arg(long, value_name = "FILE", default_value = "medhook.toml")]
    config: PathBuf,
    /// Address to listen on; overrides the config file; port 0 selects a free port
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Store URL; overrides the config file; a URL with a password is accepted only in the config file
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Check the config file and its secrets, certificates and keys, and exit: nothing is bound, opened or created
    #[arg(long)]
    check: bool,
    /// Report deliveries on standard output as JSON, one line for each
    #[arg(long)]
    json: bool,
    /// Include event ids in the report; they can identify patients
    #[arg(long)]
    show_ids: bool,
}

const EXAMPLE: &str = "\
Examples:
  medhook receive --check --config medhook.toml
  medhook receive --config medhook.toml

with this in medhook.toml (docs/receive.md has every key):
  listen = \"127.0.0.1:8787\"
  store  = \"sqlite:medhook.db\"

  [[endpoint]]
  path     = \"/webhooks/fasten\"
  provider = \"fasten\"
  secrets  = [{ env = \"FASTEN_SECRET\" }]
  forward  = \"http://127.0.0.1:3000/webhooks/fasten\"";

/// Returns the lines that describe the store and the endpoints of a config file, or the line that names its mistake.
/// Only for `tests/properties`; not a stable API.
#[doc(hidden)]
pub fn config_lines(file: &str, content: &[u8]) -> Result<Vec<String>, String> {
    let lines = || {
        let config = Config::read(file, content, Overrides::default())?;
        let mut lines = vec![config.store.value.shown()];
        for endpoint in config.endpoints {
            lines.push(endpoint.ready(Arc::new(NoDedupe), None)?.to_string());
        }
        Ok(lines)
    };
    lines().map_err(|failure: Failure| failure.to_string())
}

/// Runs the command.
pub(crate) fn run(args: &ReceiveArgs) -> Result<Verdict, Failure> {
    if args.check {
        return run_check(&args.config, Overrides { listen: args.listen.clone(), store: args.store.clone() });
    }
    let cannot = |error| Failure::because("cannot start", error);
    // Before any thread is started.
    let inherited = InheritedSockets::take()?;
    let overrides = Overrides { listen: args.listen.clone(), store: args.store.clone() };
    let config = Config::load(&args.config, overrides)?;
    if let Some(endpoint) = config.endpoints.iter().find(|endpoint| endpoint.forward.is_none())
        && is_discarded(&standard_output().map_err(cannot)?)
    {
        return Err(Failure::because(
            &endpoint.place,
            "its events are written to standard output, which is closed or /dev/null; open it or set `forward`",
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
    let ended = runtime.block_on(serve(config, inherited, style, &log, output));
    // Tasks that still run have exceeded their deadlines, so they are not awaited.
    runtime.shutdown_background();
    ended
}

/// Checks the config file of `medhook init`, which has no overrides. Returns a line for each mistake.
pub(crate) fn check_file(path: &Path) -> Result<CheckedConfig, Vec<Failure>> {
    check_config(path, Overrides::default())
}

fn run_check(path: &Path, overrides: Overrides) -> Result<Verdict, Failure> {
    match check_config(path, overrides) {
        Ok(CheckedConfig { lines, warnings }) => {
            warnings.iter().for_each(|warning| print_error(&format!("warning: {warning}")));
            let lines: String = lines.iter().map(|line| format!("medhook: {line}\n")).collect();
            print_text(&mut stdout().lock(), &format!("{lines}ok; {NOT_CHECKED}\n"))?;
            Ok(Verdict::Success)
        }
        Err(mistakes) => {
            mistakes.iter().for_each(|mistake| print_error(&mistake.to_string()));
            Ok(Verdict::Inconclusive)
        }
    }
}
