//! Runs the receiver: binds the sockets, opens the store, serves the endpoints, and shuts down on a signal.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::join_all;
use medhook::DedupeStore;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};

use super::budget::Budget;
use super::config::{Config, EndpointConfig, Placed};
use super::endpoint::{Application, ServedEndpoint};
use super::forward::Forwarder;
use super::health::{Health, Needs, Phase};
use super::metrics::{Metrics, record_none};
use super::printer::Printer;
use super::report::Style;
use super::routes::ReceiveRoutes;
use super::signals::{Signal, Signals};
use super::stray::Strays;
use crate::failure::Failure;
use crate::server::{Connections, Limits, accept};
use crate::verdict::Verdict;

/// Runs the receiver until a signal ends it.
pub(super) async fn serve(config: Config, style: Style, log: &Printer, output: Printer) -> Result<Verdict, Failure> {
    let listener = listen(&config.listen).await?;
    let operations = match &config.operations {
        Some(address) => Some(listen(address).await?),
        None => None,
    };
    let mut signals = {
        let log = log.clone();
        let hangup = move || {
            log.try_write(HANGUP.to_owned());
        };
        Signals::listen(hangup).map_err(|error| Failure::because("cannot register signal handlers", error))?
    };

    let needs = Needs {
        store: config.endpoints.iter().all(|endpoint| endpoint.needs_store),
        // Without an application, writing its line handles an event.
        output: config.endpoints.iter().any(|endpoint| endpoint.forward.is_none()).then(|| output.clone()),
    };
    let connections = Connections::default();
    let metrics = match &operations {
        Some(_) => Some(Metrics::install(connections.clone(), config.limits.connections)?),
        None => {
            record_none();
            None
        }
    };
    let routes = Arc::new(ReceiveRoutes {
        endpoints: OnceLock::new(),
        health: Health::new(needs),
        strays: Strays::default(),
        metrics,
    });
    let (stop, stopped) = watch::channel(false);
    let address = listener.address;
    let accepting = tokio::spawn({
        let routes = routes.clone();
        let strays = routes.clone();
        let malformed = move |malformed| strays.strays.malformed(malformed);
        let answer = move |request| routes.clone().answer(request);
        let stopped = async move {
            let mut stopped = stopped;
            // The sender outlives the accepting task.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        };
        accept(listener.listener, config.limits, connections.clone(), answer, malformed, stopped)
    });
    let mut started = String::new();
    if let Some(operations) = operations {
        let at = operations.address;
        started = format!("medhook: health checks at http://{at}, metrics at http://{at}/metrics\n");
        let routes = routes.clone();
        let answer = move |request| std::future::ready(routes.answer_operations(&request));
        // Never stopped, so that `/livez` is 200 during the whole shutdown.
        let connections = Connections::default();
        tokio::spawn(accept(operations.listener, OPERATIONS, connections, answer, |_| (), std::future::pending()));
    }

    let opened = tokio::select! {
        store = config.store.value.open() => store.map_err(|problem| config.store.wrong(problem))?,
        _ = signals.next() => return Ok(Verdict::AllIsWell),
    };
    let store = routes.health.watch(opened);
    let endpoints = endpoints(config.endpoints, &store, &output, style)?;
    // Not before a scheme has rejected a secret, because the error says more.
    config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let lines = endpoints.iter().map(|(line, _)| format!("medhook: {line}\n"));
    started.insert_str(0, &format!("medhook: events are recorded in {}\n", config.store.value.shown()));
    started.extend(lines);
    let endpoints: Vec<_> = endpoints.into_iter().map(|(_, endpoint)| endpoint).collect();
    let by_path = endpoints.iter().map(|endpoint| (endpoint.path.clone(), endpoint.clone())).collect();
    routes.endpoints.get_or_init(|| by_path);
    routes.health.enter(Phase::Serving);
    log.try_write(format!("{started}medhook: listening at http://{address}\n"));
    let monitoring = tokio::spawn(monitor(routes.clone(), endpoints.clone(), output.clone()));

    let signal = signals.next().await;
    routes.health.enter(Phase::Ending);
    if signal == Signal::Terminate && !config.drain_delay.is_zero() {
        let delay = config.drain_delay;
        log.try_write(format!("medhook: shutting down in {delay:?}; new deliveries are accepted until then\n"));
        tokio::select! {
            () = sleep(delay) => {}
            _ = signals.next() => {}
        }
    }
    stop.send_replace(true);
    accepting.await.map_err(|error| Failure::because("the listener failed", error))?;
    log.try_write(format!("medhook: shutting down; waiting up to {:?} for running events\n", config.shutdown));
    let deadline = Instant::now().checked_add(config.shutdown);
    // Requests on connections that were opened just before the listener was closed are answered 503 within GRACE.
    let grace = if config.drain_delay.is_zero() { Duration::ZERO } else { GRACE };
    let (canceled, ()) = tokio::join!(drained(&endpoints, config.shutdown, &mut signals), sleep(grace));
    tokio::spawn(async move {
        signals.next().await;
        std::process::exit(1);
    });
    // Pending answers get at least LAST, even if draining took until the deadline.
    let deadline =
        deadline.unwrap_or_else(Instant::now).max(Instant::now().checked_add(LAST).unwrap_or_else(Instant::now));
    let _ = timeout_at(deadline, connections.finish()).await;
    monitoring.abort();
    endpoints.iter().for_each(|endpoint| endpoint.report_counts(endpoint.budget.rest()));
    routes.strays.log_rest();
    output.flush(LAST).await;
    let left_out = output.take_left_out();
    if left_out > 0 {
        log.try_write(format!("medhook: {left_out} lines were not written to standard output\n"));
    }
    if canceled > 0 {
        log.try_write(format!("medhook: canceled {canceled} unfinished deliveries; their senders were answered 503\n"));
    }
    log.flush(LAST).await;
    Ok(if canceled == 0 { Verdict::AllIsWell } else { Verdict::SomethingIsNot })
}

/// Waits until running events have finished. Cancels them after `within` or at the next signal; one more signal exits
/// the process. Returns how many were canceled.
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
    // Cancels the events: their senders are answered 503, and their claims are released.
    let both = async { tokio::join!(finished, drain(Duration::ZERO)) };
    tokio::select! {
        (before, canceled) = both => before.max(canceled),
        _ = signals.next() => std::process::exit(1),
    }
}

const HANGUP: &str = "medhook: SIGHUP ignored; restart the receiver to apply a changed config file\n";

/// The limits of the listener for health checks, which only needs a few connections.
pub(super) const OPERATIONS: Limits =
    Limits { connections: 64, head: Duration::from_secs(10), age: Duration::from_secs(600), half_close: true };

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

/// Builds the endpoints with their store. Returns each with the line that describes it at startup.
fn endpoints(
    configured: Vec<EndpointConfig>,
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
            classify: ready.classify,
            application,
            output: output.clone(),
            style,
            budget: Budget::default(),
        };
        Ok((line, Arc::new(endpoint)))
    });
    ready.collect()
}

/// Once a second, reports rejections that were only counted, logs an output that is stuck even if no caller waits for
/// it, and keeps the metrics small.
async fn monitor(routes: Arc<ReceiveRoutes>, endpoints: Vec<Arc<ServedEndpoint>>, output: Printer) {
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        endpoints.iter().for_each(|endpoint| endpoint.report_counts(endpoint.budget.due()));
        routes.strays.log_due();
        output.is_stuck();
        if let Some(metrics) = &routes.metrics {
            metrics.run_upkeep();
        }
    }
}

/// The time in which connections may still send a request after the listener was closed.
const GRACE: Duration = Duration::from_millis(300);

/// The time for the last answers, and for the last lines of each output.
const LAST: Duration = Duration::from_secs(2);
