//! `medhook receive`: a receiver of its own, for applications that are not written in Rust, or not yet.
//!
//! - `config`: the file, by `keys` (how it is read), `path`, `secrets`, `provider` and `store`
//! - `endpoint`: what is done with a delivery
//! - `forward`: the request to the application
//! - `report`, `printer`: a line for each delivery, and its way out

mod config;
mod endpoint;
mod forward;
mod keys;
mod path;
mod printer;
mod provider;
mod report;
mod secrets;
mod store;

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use medhook::{Bytes, NoDedupe};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;

use self::config::{Config, Overrides};
use self::endpoint::{Application, Endpoint};
use self::forward::Forwarder;
use self::printer::{Printer, standard_error, standard_output};
use self::report::Style;
use crate::Verdict;
use crate::failure::Failure;
use crate::server::{accept, empty};

/// Receive deliveries at the endpoints of a config file, and forward their events.
///
/// Every delivery is verified, and every event is handed over once: to the URL that
/// its endpoint forwards to, whose status is the answer; or, where there is none, as
/// a line on the standard output, which tells that it came and not what is in it.
///
/// SIGTERM and SIGINT end it: events being handled may come to their end.
/// The exit code is 0 if they all did, 1 if some had to be given up (their senders
/// are told to try again), and 2 if the receiver could not start.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = EXAMPLE)]
pub(crate) struct Args {
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
pub(crate) fn run(args: &Args) -> Result<Verdict, Failure> {
    let cannot = |error| Failure::because("cannot start", error);
    let overrides = Overrides { listen: args.listen.clone(), store: args.store.clone() };
    let config = Config::load(&args.config, overrides)?;
    let log = Printer::to("standard error", standard_error().map_err(cannot)?).map_err(cannot)?;
    let output = Printer::to("standard output", standard_output().map_err(cannot)?).map_err(cannot)?;
    log_warnings_to(log.clone());

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(cannot)?;
    let ended = runtime.block_on(received(args, config, &log, output));
    // Whatever still runs has been given its time.
    runtime.shutdown_background();
    ended
}

async fn received(args: &Args, config: Config, log: &Printer, output: Printer) -> Result<Verdict, Failure> {
    let widest = config.endpoints.iter().map(|endpoint| endpoint.name.len()).max().unwrap_or_default();
    let style = Style { json: args.json, ids: args.show_ids, widest };
    let store = config.store.value.open().await.map_err(|problem| config.store.wrong(problem))?;
    let mut told = format!("medhook: events are remembered in {}\n", config.store.value.shown());

    let forwarder = Forwarder::new();
    let mut endpoints = HashMap::new();
    for endpoint in config.endpoints {
        let ready = endpoint.ready(store.clone())?;
        told.push_str(&format!("medhook: {ready}\n"));
        let application = ready.forward.map(|forward| Application {
            forwarder: forwarder.clone(),
            target: forward.target,
            secret: forward.secret,
        });
        let path = ready.path.clone();
        let endpoint = Endpoint {
            path: ready.path,
            receiver: ready.receiver,
            read: ready.read,
            application,
            output: output.clone(),
            style,
        };
        endpoints.insert(path, Arc::new(endpoint));
    }

    let cannot_listen = |error| config.listen.wrong(format_args!("cannot listen at {}: {error}", config.listen.value));
    let listener = TcpListener::bind(config.listen.value).await.map_err(cannot_listen)?;
    let address = listener.local_addr().map_err(cannot_listen)?;
    let mut signals = Signals::listen().map_err(|error| Failure::because("cannot listen to signals", error))?;
    log.write(format!("{told}medhook: listening at http://{address}\n")).await;

    let (ending, ended) = watch::channel(false);
    let routes = Arc::new(Routes { endpoints, ended, output });
    let answer = {
        let routes = routes.clone();
        move |request| {
            let routes = routes.clone();
            async move { routes.answer(request).await }
        }
    };
    let connections = accept(listener, config.limits, answer, signals.next()).await;
    log.mention("medhook: ending; what is being handled may come to its end\n".to_owned());
    tokio::spawn(async move {
        signals.next().await;
        std::process::exit(1);
    });

    ending.send_replace(true);
    let deadline = Instant::now().checked_add(config.shutdown);
    let given_up = join_all(routes.endpoints.values().map(|endpoint| endpoint.receiver.drain(config.shutdown))).await;
    let given_up = given_up.into_iter().fold(0_usize, usize::saturating_add);
    // Answers that are on their way, also when all of the time went into the draining.
    let deadline =
        deadline.unwrap_or_else(Instant::now).max(Instant::now().checked_add(LAST).unwrap_or_else(Instant::now));
    let _ = timeout_at(deadline, connections.finish()).await;
    routes.output.flush(LAST).await;
    if given_up > 0 {
        log.mention(format!("medhook: {given_up} events had to be given up; their senders are to try again\n"));
    }
    log.flush(LAST).await;
    Ok(if given_up == 0 { Verdict::AllIsWell } else { Verdict::SomethingIsNot })
}

/// What is left for the last words.
const LAST: Duration = Duration::from_secs(2);

/// Which endpoint is where.
struct Routes {
    endpoints: HashMap<String, Arc<Endpoint>>,
    ended: watch::Receiver<bool>,
    output: Printer,
}

impl Routes {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        if let Some(endpoint) = self.endpoints.get(path) {
            return endpoint.clone().answer(request).await;
        }
        empty(match (path == path::HEALTH, request.method()) {
            (true, &Method::GET | &Method::HEAD) => self.health(),
            (true, _) => StatusCode::METHOD_NOT_ALLOWED,
            (false, _) => StatusCode::NOT_FOUND,
        })
    }

    /// Whether it is worth sending anything here. The store is not asked: to start another receiver helps against
    /// nothing that is wrong there.
    fn health(&self) -> StatusCode {
        let output_matters = self.endpoints.values().any(|endpoint| endpoint.application.is_none());
        if *self.ended.borrow() || (output_matters && self.output.is_failing()) {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::OK
        }
    }
}

/// Warnings of the library and of ours, and nothing of anybody else's.
fn log_warnings_to(log: Printer) {
    struct Log(Printer);
    impl Write for Log {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.mention(String::from_utf8_lossy(line).into_owned());
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || Log(log.clone()));
    let ours = Targets::new().with_target("medhook", LevelFilter::WARN);
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(ours));
    // There is no other in this process.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// What tells the process to end.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Ok(Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
        }
        #[cfg(not(unix))]
        Ok(Signals {})
    }

    async fn next(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        #[cfg(not(unix))]
        if tokio::signal::ctrl_c().await.is_err() {
            // Then only the system ends it.
            std::future::pending().await
        }
    }
}
