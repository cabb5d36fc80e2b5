//! Runs the receiver: binds the sockets, opens the store, serves the endpoints, and shuts down on a signal.

use std::fmt::Write as _;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::join_all;
use medhook::{DedupeStore, Inbox, Worker};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};

use super::budget::Budget;
use super::config::{BodiesConfig, Config, ConfigOrigin, EndpointConfig};
use super::endpoint::{Application, ServedEndpoint};
use super::endpoint_secrets::EndpointSecrets;
use super::forward::Forwarder;
use super::health::{Health, Needs, Phase, StoreHealth};
use super::left::left_warnings;
use super::metrics::{Metrics, record_none};
use super::notes::RunningAttempts;
use super::operations::observed::{EndpointFacts, Observed};
use super::operations::{Operations, OperationsStart};
use super::printer::Printer;
use super::reload::Reloads;
use super::report::Style;
use super::routes::ReceiveRoutes;
use super::signals::{Signal, Signals};
use super::sockets::{InheritedSockets, ServiceState, address_warnings, notify, sockets};
use super::stray::Strays;
use super::tls::CertificateSource;
use crate::failure::Failure;
use crate::peer::AddressLimit;
use crate::server::{Connections, FIRST_REQUEST, Listener, accept};
use crate::verdict::Verdict;

/// Runs the receiver until a signal ends it.
pub(super) async fn serve(
    config: Config,
    inherited: InheritedSockets,
    style: Style,
    log: &Printer,
    output: Printer,
) -> Result<Verdict, Failure> {
    let (main, operations) =
        sockets(inherited, &config.listen, config.operations.as_ref().map(|operations| &operations.listen)).await?;
    let address_warnings = address_warnings(&config, main.address);
    let (hangup, hangups) = mpsc::channel(1);
    let mut signals = {
        // One that waits is enough.
        let hangup = move || {
            let _ = hangup.try_send(());
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
        Some(_) => Some(Arc::new(Metrics::install(connections.clone(), config.limits.connections)?)),
        None => {
            record_none();
            None
        }
    };
    let health = Arc::new(Health::new(needs));
    let has_page = config.operations.as_ref().is_some_and(|operations| operations.page.is_some());
    let observed = has_page.then(|| {
        let store = config.store.value.shown();
        Arc::new(Observed::new(health.clone(), connections.clone(), config.limits.connections, store))
    });
    let routes = Arc::new(ReceiveRoutes { endpoints: OnceLock::new(), health, strays: Strays::default() });
    let (stop, stopped) = watch::channel(false);
    let (address, is_inherited) = (main.address, main.is_inherited);
    let listener = Listener {
        socket: main.listener,
        tls: config.tls.as_ref().map(CertificateSource::acceptor).transpose()?,
        per_address: config.per_address.map(AddressLimit::new),
        is_shared: is_inherited,
    };
    // Connections to a socket that systemd keeps open wait there until they can be served. Others are answered during
    // the start as well: /livez 200, deliveries 503.
    let may_accept = Arc::new(Notify::new());
    if !is_inherited {
        may_accept.notify_one();
    }
    let accepting = tokio::spawn({
        let may_accept = may_accept.clone();
        let routes = routes.clone();
        let strays = routes.clone();
        let malformed = move |malformed| strays.strays.malformed(malformed);
        let answer = move |request| routes.clone().answer(request);
        let stopped = async move {
            let mut stopped = stopped;
            // The sender outlives the accepting task.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        };
        let accepting = accept(listener, config.limits, connections.clone(), answer, malformed, stopped);
        async move {
            may_accept.notified().await;
            accepting.await;
        }
    });
    let (mut started, mut operations_log) = (String::new(), None);
    let mut reloads = Reloads::new(config.read_at_start);
    if let (Some((socket, operations)), Some(metrics)) = (operations.zip(config.operations), &metrics) {
        let (health, metrics, observed) = (routes.health.clone(), metrics.clone(), observed.clone());
        let file = config.origin.as_ref().map_or("medhook.toml", ConfigOrigin::file).into();
        let start = OperationsStart { socket, config: operations, health, metrics, observed, file };
        let (line, operations) = start.spawn(&mut reloads)?;
        (started, operations_log) = (line, Some(operations));
    }

    let bodies = config.bodies.as_ref().map(BodiesConfig::bodies).transpose()?;
    let opened = tokio::select! {
        opened = config.store.value.open(bodies) => opened.map_err(|problem| {
            config.store.cannot_open(config.bodies.as_ref(), problem)
        })?,
        _ = signals.next() => return Ok(Verdict::Success),
    };
    let with_inbox = config.endpoints.iter().filter(|endpoint| endpoint.inbox.is_some());
    let with_inbox: Vec<_> = with_inbox.map(|endpoint| &*endpoint.name).collect();
    let left = left_warnings(&config.store.place, &opened.found, &with_inbox);
    let store = routes.health.watch(opened.store);
    let storing = routes.health.storing(opened.inbox.as_ref());
    let observed_inbox = opened.inbox.clone().zip(config.bodies.as_ref().map(BodiesConfig::to_string));
    let observer = observed.clone();
    let common = Common { store, inbox: opened.inbox, storing, output: output.clone(), style, observer };
    let mut shown = config.store.value.shown();
    if let Some(bodies) = &config.bodies {
        let _ = write!(shown, "; bodies of stored events are {bodies}");
    }
    let built = common.endpoints(config.endpoints)?;
    // Not before a scheme has rejected a secret, because the error says more.
    config.warnings.iter().chain(&address_warnings).chain(&left).for_each(|warning| tracing::warn!("{warning}"));
    started.insert_str(0, &format!("medhook: events are recorded in {shown}\n"));
    let (mut endpoints, mut workers) = (Vec::new(), Vec::new());
    for Built { line, endpoint, worker, secrets } in built {
        let _ = writeln!(started, "medhook: {line}");
        reloads.endpoint(&endpoint.receiver, secrets);
        endpoints.push(endpoint);
        workers.extend(worker);
    }
    let sampling = observed.map(|observed| {
        let endpoints = endpoints.iter().filter_map(|endpoint| endpoint.observed.clone()).collect();
        observed.serve(endpoints, observed_inbox);
        tokio::spawn(observed.sample())
    });
    let by_path = endpoints.iter().map(|endpoint| (endpoint.path.clone(), endpoint.clone())).collect();
    routes.endpoints.get_or_init(|| by_path);
    routes.health.enter(Phase::Serving);
    may_accept.notify_one();
    let (scheme, origin) =
        (if config.tls.is_some() { "https" } else { "http" }, if is_inherited { INHERITED } else { "" });
    log.try_write(format!("{started}medhook: listening at {scheme}://{address}{origin}\n"));
    if let Some(certificate) = config.tls {
        reloads.certificate(certificate.clone());
        tokio::spawn(certificate.watch_expiry());
    }
    let reloading = reloads.spawn(log.clone(), config.origin, hangups);
    notify(ServiceState::Ready);
    let mut working: JoinSet<()> = workers.into_iter().map(Worker::run).collect();
    let monitoring =
        tokio::spawn(monitor(routes.clone(), endpoints.clone(), output.clone(), metrics, operations_log.clone()));

    let signal = signals.next().await;
    routes.health.enter(Phase::Ending);
    notify(ServiceState::Stopping);
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
    // Before draining, so that idle connections get no more requests, which would be answered 503.
    connections.close_idle();
    if is_inherited || !config.drain_delay.is_zero() {
        let _ = timeout_at(Instant::now() + GRACE, connections.none_open()).await;
    }
    endpoints.iter().for_each(|endpoint| _ = endpoint.attempts.take_unfinished());
    let mut canceled = drained(&endpoints, config.shutdown, &mut signals).await;
    tokio::spawn(async move {
        signals.next().await;
        std::process::exit(1);
    });
    // Pending answers get at least LAST, even if draining took until the deadline.
    let deadline =
        deadline.unwrap_or_else(Instant::now).max(Instant::now().checked_add(LAST).unwrap_or_else(Instant::now));
    let ended = async { while working.join_next().await.is_some() {} };
    let _ = timeout_at(deadline, async { tokio::join!(connections.finish(), ended) }).await;
    monitoring.abort();
    reloading.abort();
    if let Some(sampling) = sampling {
        sampling.abort();
    }
    endpoints.iter().for_each(|endpoint| endpoint.report_counts(endpoint.budget.rest()));
    routes.strays.log_rest();
    operations_log.iter().for_each(|operations| operations.log_counts(true));
    output.flush(LAST).await;
    let left_out = output.take_left_out();
    if left_out > 0 {
        log.try_write(format!("medhook: {left_out} lines were not written to standard output\n"));
    }
    canceled += endpoints.iter().map(|endpoint| endpoint.canceled.load(Ordering::SeqCst)).sum::<usize>();
    let attempts = endpoints.iter().map(|endpoint| endpoint.attempts.take_unfinished()).sum::<usize>();
    if canceled > 0 {
        log.try_write(format!("medhook: canceled {canceled} unfinished deliveries; their senders were answered 503\n"));
    }
    if attempts > 0 {
        log.try_write(format!(
            "medhook: canceled {attempts} unfinished attempts; their events stay stored and are attempted again\n"
        ));
    }
    log.flush(LAST).await;
    Ok(if canceled == 0 { Verdict::Success } else { Verdict::Problem })
}

/// Waits until running events have finished. Cancels them after `within` or at the next signal; one more signal exits
/// the process. Returns how many were canceled at endpoints without an inbox. The others count theirs, because
/// attempts are canceled, too.
async fn drained(endpoints: &[Arc<ServedEndpoint>], within: Duration, signals: &mut Signals) -> usize {
    let drain = async |within: Duration| {
        let drains = endpoints.iter().map(async |endpoint| {
            let canceled = endpoint.receiver.drain(within).await;
            if endpoint.storing.is_none() { canceled } else { 0 }
        });
        join_all(drains).await.into_iter().fold(0_usize, usize::saturating_add)
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

/// Follows the address of a socket that systemd has passed.
const INHERITED: &str = ", a socket passed by systemd";

/// The parts that the endpoints share.
struct Common {
    store: Arc<dyn DedupeStore>,
    inbox: Option<Inbox>,
    storing: StoreHealth,
    output: Printer,
    style: Style,
    /// Set if there is an operator's page.
    observer: Option<Arc<Observed>>,
}

/// An endpoint, its worker if it has an inbox, and the line that describes it at startup.
struct Built {
    line: String,
    endpoint: Arc<ServedEndpoint>,
    worker: Option<Worker>,
    secrets: EndpointSecrets,
}

impl Common {
    /// Builds the endpoints.
    fn endpoints(&self, configured: Vec<EndpointConfig>) -> Result<Vec<Built>, Failure> {
        let forwarder = Forwarder::new();
        configured.into_iter().map(|endpoint| self.endpoint(endpoint, &forwarder)).collect()
    }

    fn endpoint(&self, endpoint: EndpointConfig, forwarder: &Forwarder) -> Result<Built, Failure> {
        let place = endpoint.place.clone();
        let ready = endpoint.ready(self.store.clone(), self.inbox.as_ref())?;
        let line = ready.to_string();
        let application = ready.forward.map(|forward| Application {
            forwarder: forwarder.clone(),
            target: forward.target,
            signer: forward.signer,
        });
        let observed = self.observer.as_ref().map(|observer| {
            let facts = EndpointFacts {
                path: ready.path.clone(),
                target: application.as_ref().map(|application| application.target.to_string()),
                expect_every: ready.expect_every,
                has_inbox: ready.inbox.is_some(),
            };
            observer.endpoint(ready.receiver.clone(), facts)
        });
        let endpoint = Arc::new(ServedEndpoint {
            path: ready.path,
            receiver: ready.receiver,
            classify: ready.classify,
            application,
            output: self.output.clone(),
            style: self.style,
            allow_from: ready.allow_from,
            budget: Budget::default(),
            attempts: RunningAttempts::default(),
            storing: ready.inbox.is_some().then(|| self.storing.clone()),
            canceled: AtomicUsize::new(0),
            observed,
        });
        let worker = ready.inbox.map(|inbox| endpoint.worker(&inbox));
        let worker = worker.transpose().map_err(|error| Failure::because(place, error))?;
        if let (Some(observed), Some(worker)) = (&endpoint.observed, &worker) {
            observed.add_worker(worker.status());
        }
        Ok(Built { line, endpoint, worker, secrets: ready.secrets })
    }
}

/// Once a second, reports rejections that were only counted, logs an output that is stuck even if no caller waits for
/// it, and keeps the metrics small.
async fn monitor(
    routes: Arc<ReceiveRoutes>,
    endpoints: Vec<Arc<ServedEndpoint>>,
    output: Printer,
    metrics: Option<Arc<Metrics>>,
    operations: Option<Arc<Operations>>,
) {
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        endpoints.iter().for_each(|endpoint| endpoint.report_counts(endpoint.budget.due()));
        routes.strays.log_due();
        operations.iter().for_each(|operations| operations.log_counts(false));
        output.is_stuck();
        if let Some(metrics) = &metrics {
            metrics.run_upkeep();
        }
    }
}

/// The time in which the first requests of connections that were opened just before the listener was closed begin.
const GRACE: Duration = FIRST_REQUEST.saturating_add(Duration::from_millis(200));

/// The time for the last answers, and for the last lines of each output.
const LAST: Duration = Duration::from_secs(2);
