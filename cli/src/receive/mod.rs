//! `medhook receive`: a receiver of its own, for applications that are not written in Rust, or not yet.
//!
//! - `config`: the file, by `keys` (how it is read), `path`, `secrets`, `provider` and `store`
//! - `endpoint`: what is done with a delivery
//! - `forward`: the request to the application
//! - `report`, `printer`: a line for each delivery, and its way out; `budget` bounds those that anyone can cause
//! - `health`, `signals`: whether deliveries are welcome, and when the process ends

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
mod secrets;
mod signals;
mod store;

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::join_all;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use medhook::{Bytes, DedupeStore, NoDedupe};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;

use self::budget::Budget;
use self::config::{Config, Overrides, Placed};
use self::endpoint::{Application, ServedEndpoint};
use self::forward::Forwarder;
use self::health::{Health, Needs, Phase};
use self::printer::{Printer, standard_error, standard_output};
use self::report::Style;
use self::signals::{Signal, Signals};
use crate::failure::Failure;
use crate::server::{Limits, accept, empty};
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

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(cannot)?;
    let ended = runtime.block_on(received(args, config, &log, output));
    // Whatever still runs has been given its time.
    runtime.shutdown_background();
    ended
}

/// Whether nothing that is written there can be read. The standard library opens /dev/null where a standard stream is
/// closed.
fn is_discarded(output: &std::fs::File) -> bool {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::fs::{FileTypeExt, MetadataExt};
        const NULL: u64 = 0x103; // major 1, minor 3
        output.metadata().is_ok_and(|file| file.file_type().is_char_device() && file.rdev() == NULL)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = output;
        false
    }
}

/// Raises the limit of open files as far as the system allows, and warns if it is too low for the connections that the file
/// asks for: then even health checks could not be answered.
fn raise_file_limit(config: &Config) {
    #[cfg(unix)]
    {
        let forwarded = config.endpoints.iter().filter(|endpoint| endpoint.forward.is_some());
        let forwarded = forwarded.map(|endpoint| endpoint.max_in_flight).fold(0, usize::saturating_add);
        let store = config.store.value.files();
        let all = [config.limits.connections, OPERATIONS.connections, forwarded, store, OTHER_FILES];
        let needed = all.into_iter().fold(0, usize::saturating_add);
        // Where it cannot be raised, it is as it was.
        let limit = rlimit::increase_nofile_limit(u64::MAX).or_else(|_| rlimit::Resource::NOFILE.get_soft());
        if let Ok(limit) = limit
            && limit < needed as u64
        {
            tracing::warn!(
                limit,
                needed,
                "the limit of open files is lower than max_connections and max_in_flight need: raise it (ulimit -n, \
                 LimitNOFILE=), or lower these"
            );
        }
    }
    #[cfg(not(unix))]
    let _ = config;
}

/// Files of the store, of the outputs and of the runtime.
const OTHER_FILES: usize = 64;

async fn received(args: &ReceiveArgs, config: Config, log: &Printer, output: Printer) -> Result<Verdict, Failure> {
    let listener = listen(&config.listen).await?;
    let operations = match &config.operations {
        Some(address) => Some(listen(address).await?),
        None => None,
    };
    let mut signals = {
        let log = log.clone();
        let hangup = move || {
            log.mention(HANGUP.to_owned());
        };
        Signals::listen(hangup).map_err(|error| Failure::because("cannot listen to signals", error))?
    };

    let needs = Needs {
        store: config.endpoints.iter().all(|endpoint| endpoint.needs_store),
        // Without an application an event is handled when its line is written.
        output: config.endpoints.iter().any(|endpoint| endpoint.forward.is_none()).then(|| output.clone()),
    };
    let routes = Arc::new(ReceiveRoutes { endpoints: OnceLock::new(), health: Health::new(needs) });
    let (stop, stopped) = watch::channel(false);
    let address = listener.address;
    let accepting = tokio::spawn({
        let routes = routes.clone();
        let answer = move |request| routes.clone().answer(request);
        let stopped = async move {
            let mut stopped = stopped;
            // The sender lives as long as this process serves.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        };
        accept(listener.listener, config.limits, answer, stopped)
    });
    let mut told = String::new();
    if let Some(operations) = operations {
        told = format!("medhook: health checks at http://{}\n", operations.address);
        let routes = routes.clone();
        let answer = move |request| std::future::ready(routes.answer_operations(&request));
        // To the very end: `/livez` stays 200 while the process ends.
        tokio::spawn(accept(operations.listener, OPERATIONS, answer, std::future::pending()));
    }

    let opened = tokio::select! {
        store = config.store.value.open() => store.map_err(|problem| config.store.wrong(problem))?,
        _ = signals.next() => return Ok(Verdict::AllIsWell),
    };
    let store = routes.health.watch(opened);
    let style = Style {
        json: args.json,
        ids: args.show_ids,
        widest: config.endpoints.iter().map(|endpoint| endpoint.name.len()).max().unwrap_or_default(),
    };
    let endpoints = endpoints(config.endpoints, &store, &output, style)?;
    let lines = endpoints.iter().map(|(line, _)| format!("medhook: {line}\n"));
    told.insert_str(0, &format!("medhook: events are remembered in {}\n", config.store.value.shown()));
    told.extend(lines);
    let endpoints: Vec<_> = endpoints.into_iter().map(|(_, endpoint)| endpoint).collect();
    let by_path = endpoints.iter().map(|endpoint| (endpoint.path.clone(), endpoint.clone())).collect();
    routes.endpoints.get_or_init(|| by_path);
    routes.health.enter(Phase::Serving);
    log.mention(format!("{told}medhook: listening at http://{address}\n"));
    let watching = tokio::spawn(watch_over(endpoints.clone(), output.clone()));

    let signal = signals.next().await;
    routes.health.enter(Phase::Ending);
    if signal == Signal::Terminate && !config.drain_delay.is_zero() {
        let delay = config.drain_delay;
        log.mention(format!("medhook: ending in {delay:?}; until then new deliveries are still accepted\n"));
        tokio::select! {
            () = sleep(delay) => {}
            _ = signals.next() => {}
        }
    }
    stop.send_replace(true);
    let connections = accepting.await.map_err(|error| Failure::because("the listener failed", error))?;
    log.mention(format!("medhook: ending; waiting up to {:?} for running events\n", config.shutdown));
    let deadline = Instant::now().checked_add(config.shutdown);
    // Connections that were made just before the listener was closed are answered 503, if they send soon.
    let grace = if config.drain_delay.is_zero() { Duration::ZERO } else { GRACE };
    let (canceled, ()) = tokio::join!(drained(&endpoints, config.shutdown, &mut signals), sleep(grace));
    tokio::spawn(async move {
        signals.next().await;
        std::process::exit(1);
    });
    // Answers that are on their way, also when all of the time went into the draining.
    let deadline =
        deadline.unwrap_or_else(Instant::now).max(Instant::now().checked_add(LAST).unwrap_or_else(Instant::now));
    let _ = timeout_at(deadline, connections.finish()).await;
    watching.abort();
    endpoints.iter().for_each(|endpoint| endpoint.report_counts(endpoint.budget.rest()));
    output.flush(LAST).await;
    let left_out = output.take_left_out();
    if left_out > 0 {
        log.mention(format!("medhook: {left_out} lines were not written to the standard output\n"));
    }
    if canceled > 0 {
        log.mention(format!(
            "medhook: canceled {canceled} deliveries that were not finished; their senders were answered 503\n"
        ));
    }
    log.flush(LAST).await;
    Ok(if canceled == 0 { Verdict::AllIsWell } else { Verdict::SomethingIsNot })
}

/// Waits until running events have finished, or cancels them at the deadline or the next signal; one more signal ends the
/// process. Returns how many were canceled.
async fn drained(endpoints: &[Arc<ServedEndpoint>], within: Duration, signals: &mut Signals) -> usize {
    let drain = async |within: Duration| {
        let canceled = join_all(endpoints.iter().map(|endpoint| endpoint.receiver.drain(within))).await;
        canceled.into_iter().fold(0_usize, usize::saturating_add)
    };
    let mut finished = pin!(drain(within));
    tokio::select! {
        canceled = &mut finished => return canceled,
        _ = signals.next() => {}
    }
    // Their senders are answered 503, and their claims released.
    let both = async { tokio::join!(finished, drain(Duration::ZERO)) };
    tokio::select! {
        (before, canceled) = both => before.max(canceled),
        _ = signals.next() => std::process::exit(1),
    }
}

const HANGUP: &str = "medhook: SIGHUP ignored; restart the receiver to apply a changed config file\n";

/// What the listener for health checks takes. It is not for the public: a few connections are enough.
const OPERATIONS: Limits = Limits {
    connections: 64,
    head: Duration::from_secs(10),
    age: Duration::from_secs(600),
    last_answer: Duration::from_secs(10),
    half_close: true,
};

struct Listening {
    listener: TcpListener,
    address: SocketAddr,
}

async fn listen(at: &Placed<SocketAddr>) -> Result<Listening, Failure> {
    let cannot = |error| at.wrong(format_args!("cannot listen at {}: {error}", at.value));
    let listener = TcpListener::bind(at.value).await.map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    Ok(Listening { listener, address })
}

/// The endpoints of the file with their store, each with the line that describes it at the start.
fn endpoints(
    configured: Vec<config::EndpointConfig>,
    store: &Arc<dyn DedupeStore>,
    output: &Printer,
    style: Style,
) -> Result<Vec<(String, Arc<ServedEndpoint>)>, Failure> {
    let forwarder = Forwarder::new();
    let ready = configured.into_iter().map(|endpoint| {
        let ready = endpoint.ready(store.clone())?;
        let line = ready.to_string();
        let application = ready.forward.map(|forward| Application {
            forwarder: forwarder.clone(),
            target: forward.target,
            signer: forward.signer,
        });
        let endpoint = ServedEndpoint {
            path: ready.path,
            receiver: ready.receiver,
            read: ready.read,
            application,
            output: output.clone(),
            style,
            budget: Budget::default(),
        };
        Ok((line, Arc::new(endpoint)))
    });
    ready.collect()
}

/// Once a second: reports rejections that were only counted, and notices an output that is stuck though nothing waits
/// for it.
async fn watch_over(endpoints: Vec<Arc<ServedEndpoint>>, output: Printer) {
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        endpoints.iter().for_each(|endpoint| endpoint.report_counts(endpoint.budget.due()));
        output.is_stuck();
    }
}

/// How long a connection may take to send a request that was on its way when the listener was closed.
const GRACE: Duration = Duration::from_millis(300);

/// What is left for the last words.
const LAST: Duration = Duration::from_secs(2);

/// Which endpoint is where.
struct ReceiveRoutes {
    /// From when the store is open.
    endpoints: OnceLock<HashMap<String, Arc<ServedEndpoint>>>,
    health: Health,
}

impl ReceiveRoutes {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let mut response = match self.health.answer(request.method(), request.uri().path()) {
            Some(response) => response,
            None => self.answer_endpoint(request).await,
        };
        if self.health.is_in(Phase::Ending) {
            // The next delivery comes over a new connection, which a load balancer opens to another receiver.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn answer_endpoint(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let Some(endpoints) = self.endpoints.get() else {
            let mut response = empty(StatusCode::SERVICE_UNAVAILABLE);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            return response;
        };
        match endpoints.get(request.uri().path()) {
            Some(endpoint) => endpoint.clone().answer(request).await,
            None => empty(StatusCode::NOT_FOUND),
        }
    }

    fn answer_operations(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let health = self.health.answer(request.method(), request.uri().path());
        health.unwrap_or_else(|| empty(StatusCode::NOT_FOUND))
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
