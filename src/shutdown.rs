//! Graceful shutdown on SIGTERM and SIGINT, with one deadline for the server and all receivers.

use std::future::{Future, IntoFuture, pending};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{ConfigError, Receiver, observe};

/// A graceful shutdown: on SIGTERM or SIGINT it drains all [`Receiver`]s and stops the server under one deadline.
///
/// systemd, Docker and Kubernetes stop a process with SIGTERM, which ends it immediately unless it is handled: running
/// handlers are interrupted, their deliveries get no response, and their claims block the events until the leases
/// expire. Stopping the server first and draining the receivers afterwards has no time limit: the server waits for its
/// connections, which wait for their handlers.
///
/// # Steps
/// 1. **Requested**, by the first signal. [`requested`](Shutdown::requested) resolves and
///    [`is_requested`](Shutdown::is_requested) is true: a readiness probe should answer 503 from now on. During the
///    [`drain_delay`](Shutdown::drain_delay) connections and deliveries are still accepted.
/// 2. **Draining**, for at most the time given to [`on_signals`](Shutdown::on_signals).
///    [`draining`](Shutdown::draining) resolves and the server stops accepting. New deliveries, and those whose body is
///    still arriving, are answered with 503. Running handlers finish, including those whose client disconnected.
///    Handlers still running at the deadline are canceled: the client gets 503, and the claim is released for another
///    instance.
/// 3. **Drained.** [`drained`](Shutdown::drained) resolves. A server that has not stopped 2 s after the deadline is
///    dropped, with the connections that are still open.
///
/// A second signal ends steps 1 and 2 immediately: handlers are canceled, claims are released, and the server has 2 s
/// to send its responses. With the feature `tracing`, the steps and the number of canceled handlers are logged.
///
/// # Duration
/// A shutdown takes as long as the slowest handler and the server, but at most `drain_delay` + `within` + 7 s: 5 s for
/// a store that does not answer when claims are released, and 2 s for the server. Configure the supervisor to wait at
/// least this long before it kills the process:
///
/// | supervisor | setting | default |
/// |---|---|---|
/// | Kubernetes | `terminationGracePeriodSeconds` | 30 s |
/// | systemd | `TimeoutStopSec=` | 90 s |
/// | Docker | `docker stop --timeout`, `stop_grace_period` in Compose | 10 s |
///
/// # Limits
/// - A handler that blocks its thread also blocks everything else on this thread, including the shutdown on a runtime
///   with one thread. Use `spawn_blocking` for blocking work; the runtime still waits for it when `main` returns.
/// - The deadline does not cover work of the application after [`serve`](Shutdown::serve). The signals no longer end
///   the process then, since their handlers stay installed.
///
/// # Example
/// ```
/// use std::time::Duration;
///
/// use medhook::{HealthSync, MemoryStore, Reason, Receiver, RequestHead, Secret, Shutdown};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let healthsync = HealthSync::new(Secret::new("a-secret-of-the-dashboard")?);
/// let store = MemoryStore::new(10_000);
/// let receiver = Receiver::builder("healthsync", healthsync).store(store).build()?;
///
/// let shutdown = Shutdown::on_signals(Duration::from_secs(30))?;
/// let shutdown = shutdown.receivers([receiver.clone()]);
/// // With axum: axum::serve(listener, app).with_graceful_shutdown(shutdown.draining())
/// let draining = shutdown.draining();
/// let server = async {
///     draining.await;
///     Ok::<_, std::io::Error>(())
/// };
/// # shutdown.request();
/// let canceled = shutdown.serve(server).await?; // returns after a signal
///
/// assert_eq!(canceled, 0);
/// let head = RequestHead::new("POST", "/", &[("x-healthsync-signature", "")]);
/// let rejected = receiver.begin(&head).map(drop).unwrap_err();
/// assert_eq!(rejected.reason(), Reason::Draining);
/// # Ok(())
/// # }
/// ```
///
/// Clones share the state of the shutdown, so a readiness probe can use a clone. Set the options before cloning.
#[derive(Debug, Clone)]
#[must_use = "nothing is drained unless the server runs in `serve`"]
pub struct Shutdown {
    within: Duration,
    drain_delay: Duration,
    receivers: Vec<Receiver>,
    state: Arc<watch::Sender<ShutdownState>>,
    // This receiver, and the clones of it in futures, keep the task that waits for signals alive.
    observed: watch::Receiver<ShutdownState>,
}

#[derive(Debug, Clone, Copy, Default)]
struct ShutdownState {
    requested: Option<Instant>,
    requested_again: bool,
    draining: bool,
    drained: bool,
}

impl Shutdown {
    /// Creates a shutdown that SIGTERM or SIGINT (on Windows, Ctrl-C) requests. Running handlers may finish `within`
    /// this time, counted from the end of the [`drain_delay`](Shutdown::drain_delay).
    ///
    /// The signals are handled as soon as this returns, so call it before the listener is bound. Disable a framework's
    /// own signal handling, such as actix-web's with `HttpServer::disable_signals`. All other signals keep their
    /// effect: SIGHUP ends the process unless the application handles it.
    ///
    /// # Errors
    /// Returns an error if the signal handlers cannot be installed.
    ///
    /// # Panics
    /// Panics outside a tokio runtime with its timer and I/O enabled.
    pub fn on_signals(within: Duration) -> Result<Self, ConfigError> {
        let mut signals = Signals::listen()
            .map_err(|error| ConfigError::new("cannot handle SIGTERM and SIGINT".to_owned()).with_source(error))?;
        let shutdown = Shutdown::new(within);
        let state = shutdown.state.clone();
        shutdown.spawn(async move {
            loop {
                signals.next().await;
                request(&state);
            }
        });
        Ok(shutdown)
    }

    /// Creates a shutdown that is requested when `requested` resolves, for supervisors that do not use signals and for
    /// tests. See also [`request`](Shutdown::request).
    ///
    /// # Panics
    /// Panics outside a tokio runtime.
    pub fn when(requested: impl Future<Output = ()> + Send + 'static, within: Duration) -> Self {
        let shutdown = Shutdown::new(within);
        let state = shutdown.state.clone();
        shutdown.spawn(async move {
            requested.await;
            request(&state);
        });
        shutdown
    }

    fn new(within: Duration) -> Self {
        let (state, observed) = watch::channel(ShutdownState::default());
        Shutdown { within, drain_delay: Duration::ZERO, receivers: Vec::new(), state: Arc::new(state), observed }
    }

    /// Runs `requests` until the shutdown, its clones and its futures are dropped.
    fn spawn(&self, requests: impl Future<Output = ()> + Send + 'static) {
        let state = self.state.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = state.closed() => {}
                () = requests => {}
            }
        });
    }

    /// Sets how long new deliveries are still accepted and handled after the signal. The default is zero, so that a
    /// process without a load balancer restarts without a pause.
    ///
    /// A load balancer sends requests to an instance until it notices that the instance is shutting down. If the
    /// listener is closed before that, events of a provider that does not retry are lost. Set the delay to the load
    /// balancer's reaction time: the interval of the readiness probe times its failure threshold, or 5 s in Kubernetes,
    /// which removes the pod's endpoint at the same time as it sends the signal.
    pub fn drain_delay(mut self, delay: Duration) -> Self {
        self.drain_delay = delay;
        self
    }

    /// Adds receivers to drain. Add all receivers of the application, including those of each tenant. Clones of a
    /// receiver are drained once.
    pub fn receivers(mut self, receivers: impl IntoIterator<Item = Receiver>) -> Self {
        for receiver in receivers {
            if !self.receivers.iter().any(|known| known.is(&receiver)) {
                self.receivers.push(receiver);
            }
        }
        self
    }

    /// Requests the shutdown. A second request acts like a second signal.
    pub fn request(&self) {
        request(&self.state);
    }

    /// Returns whether the shutdown was requested. A readiness probe should answer 503 if it was.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.observed.borrow().is_requested()
    }

    /// Waits until the shutdown is requested, or the server of [`serve`](Shutdown::serve) ends by itself. Background
    /// work should stop then.
    pub fn requested(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let observed = self.observed.clone();
        async move {
            wait_for(observed, ShutdownState::is_requested).await;
        }
    }

    /// Waits until the [`drain_delay`](Shutdown::drain_delay) is over. The server should stop accepting connections
    /// then. Use it with `axum::serve(..).with_graceful_shutdown(..)` and hand-written accept loops.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let (observed, delay) = (self.observed.clone(), self.drain_delay);
        async move {
            let state = wait_for(observed.clone(), ShutdownState::is_requested).await;
            let Some(requested) = state.requested.filter(|_| !delay.is_zero()) else {
                return;
            };
            tokio::select! {
                () = reached(requested.checked_add(delay)) => {}
                _ = wait_for(observed, |state| state.draining || state.requested_again) => {}
            }
        }
    }

    /// Waits until [`serve`](Shutdown::serve) has drained all receivers, so that no handler is running. Use it with
    /// servers that drop running tasks when they stop, as actix-web's workers do. Until then, they answer new
    /// deliveries with 503.
    pub fn drained(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let observed = self.observed.clone();
        async move {
            wait_for(observed, |state| state.drained).await;
        }
    }

    /// Runs the server until the shutdown is requested, then drains all receivers concurrently while the server stops.
    /// Returns the number of canceled handlers of all receivers.
    ///
    /// The server must stop on [`draining`](Shutdown::draining) or [`drained`](Shutdown::drained). If it has not
    /// stopped 2 s after the deadline, it is dropped, and the result is `Ok`.
    ///
    /// If the server ends by itself, with or without an error, the receivers are drained without the delay, since the
    /// process is about to end. This returns immediately if no handler is running.
    ///
    /// # Errors
    /// Returns the server's error after the receivers are drained.
    ///
    /// # Panics
    /// Panics outside a tokio runtime with its timer enabled.
    pub async fn serve<E>(&self, server: impl IntoFuture<Output = Result<(), E>>) -> Result<usize, E> {
        let mut server = pin!(server.into_future());
        // Polled before the server, which may use up the task's cooperative budget in each poll.
        let ended = tokio::select! {
            biased;
            () = self.draining() => None,
            output = &mut server => Some(output),
        };

        self.state.send_modify(|state| state.draining = true);
        observe::draining(self.receivers.len(), self.within);
        let deadline = Instant::now().checked_add(self.within);
        let stopped = async {
            if ended.is_some() {
                return ended;
            }
            tokio::select! {
                biased;
                () = self.server_is_late(deadline) => None,
                output = &mut server => Some(output),
            }
        };
        let (canceled, stopped) = tokio::join!(self.drain(deadline), stopped);
        match stopped {
            Some(output) => output?,
            None => observe::server_dropped(),
        }
        Ok(canceled)
    }

    async fn drain(&self, deadline: Option<Instant>) -> usize {
        let drains = self.receivers.iter().map(|receiver| receiver.drain_until(self.time_is_up(deadline)));
        let canceled = join_all(drains).await.into_iter().sum();
        observe::drained(canceled);
        self.state.send_modify(|state| state.drained = true);
        canceled
    }

    /// Waits until the deadline, and then for the time in which the server may send the responses of canceled handlers.
    async fn server_is_late(&self, deadline: Option<Instant>) {
        self.drained().await;
        self.time_is_up(deadline).await;
        sleep(TIME_FOR_ANSWERS).await;
    }

    async fn time_is_up(&self, deadline: Option<Instant>) {
        tokio::select! {
            () = reached(deadline) => {}
            _ = wait_for(self.observed.clone(), |state| state.requested_again) => {}
        }
    }
}

impl ShutdownState {
    fn is_requested(&self) -> bool {
        self.requested.is_some() || self.draining
    }
}

fn request(state: &watch::Sender<ShutdownState>) {
    let now = Instant::now();
    state.send_modify(|state| match state.requested {
        None => state.requested = Some(now),
        Some(_) => state.requested_again = true,
    });
    observe::shutdown_requested();
}

async fn wait_for(
    mut observed: watch::Receiver<ShutdownState>,
    condition: impl Fn(&ShutdownState) -> bool,
) -> ShutdownState {
    let state = observed.wait_for(condition).await.ok().map(|state| *state);
    match state {
        Some(state) => state,
        // The sender is dropped, so no request can follow.
        None => pending().await,
    }
}

/// Waits until a time. Never resolves for `None`, a time too far in the future to be represented.
async fn reached(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

/// The signals with which supervisors and terminals stop a process.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(windows)]
    ctrl_c: tokio::signal::windows::CtrlC,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Signals {
            #[cfg(unix)]
            terminate: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?,
            #[cfg(unix)]
            interrupt: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?,
            #[cfg(windows)]
            ctrl_c: tokio::signal::windows::ctrl_c()?,
        })
    }

    async fn next(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            Some(()) = self.terminate.recv() => {}
            Some(()) = self.interrupt.recv() => {}
            else => pending().await,
        }
        #[cfg(windows)]
        if self.ctrl_c.recv().await.is_none() {
            pending().await
        }
        #[cfg(not(any(unix, windows)))]
        pending().await
    }
}

/// The time after the deadline in which a server may send the responses of canceled handlers.
const TIME_FOR_ANSWERS: Duration = Duration::from_secs(2);

#[cfg(test)]
#[path = "shutdown_tests.rs"]
mod tests;
