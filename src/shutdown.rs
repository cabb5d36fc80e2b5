//! Shuts an application down on SIGTERM and SIGINT: one deadline for its server and all of its receivers.

use std::future::{Future, IntoFuture, pending};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{ConfigError, Receiver, observe};

/// Shuts an application down without losing a delivery: on SIGTERM and SIGINT it drains all [`Receiver`]s and stops the
/// server under one deadline.
///
/// systemd, Docker and Kubernetes stop a process with SIGTERM, which ends it at once unless it is handled: running
/// handlers stop half-way, their senders get no answer, and their claims block the events until the leases expire.
/// Stopping the server first and draining afterwards is unbounded, too: the server waits for its connections, which wait
/// for their handlers.
///
/// # Steps
/// 1. **Requested**, by the first signal. [`requested`](Shutdown::requested) resolves and
///    [`is_requested`](Shutdown::is_requested) is true: a readiness probe answers 503 from now on. For the
///    [`drain_delay`](Shutdown::drain_delay) everything else goes on as before, new connections included.
/// 2. **Draining**, for the time given to [`on_signals`](Shutdown::on_signals) at most.
///    [`draining`](Shutdown::draining) resolves and the server stops accepting. New deliveries are answered 503, as are
///    those whose body is still arriving. Running handlers finish, including those whose client disconnected. Handlers
///    still running at the deadline are canceled: the client gets 503, and the claim is released for another instance.
/// 3. **Drained.** [`drained`](Shutdown::drained) resolves. A server that has not stopped 2 s after the deadline is
///    dropped, with the connections that are still open.
///
/// A second signal ends the delay and the waiting at once: handlers are canceled, claims are released, and the server
/// has 2 s for its answers. With the feature `tracing` the steps are logged, and how many handlers were canceled.
///
/// # How long it takes
/// It takes as long as the slowest handler and server, and never longer than `drain_delay` + `within` + 7 s: 5 s for a
/// store that does not answer when claims are released, 2 s for the server. Let the supervisor wait for that long before it
/// kills the process:
///
/// | supervisor | setting | default |
/// |---|---|---|
/// | Kubernetes | `terminationGracePeriodSeconds` | 30 s |
/// | systemd | `TimeoutStopSec=` | 90 s |
/// | Docker | `docker stop --timeout`, `stop_grace_period` in Compose | 10 s |
///
/// # What is not bounded
/// - A handler that blocks its thread: nothing else on this thread runs, and on a runtime with one thread that includes
///   the shutdown. Use `spawn_blocking` for blocking work; the runtime still waits for it when `main` returns.
/// - What the application does after [`serve`](Shutdown::serve). The signals do not end the process any more, since
///   their handlers stay installed.
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
/// let receiver = Receiver::builder("healthsync", healthsync).store(MemoryStore::new(10_000)).build()?;
///
/// let shutdown = Shutdown::on_signals(Duration::from_secs(30))?.receivers([receiver.clone()]);
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
/// A clone is the same shutdown: give one to the readiness probe. Set the options before cloning.
#[derive(Debug, Clone)]
#[must_use = "nothing is drained unless the server runs in `serve`"]
pub struct Shutdown {
    within: Duration,
    drain_delay: Duration,
    receivers: Vec<Receiver>,
    state: Arc<watch::Sender<ShutdownState>>,
    // Keeps the task that waits for signals alive, as does every future made from it.
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
    /// Creates a shutdown triggered by SIGTERM or SIGINT (Ctrl-C outside Unix). Running handlers may finish `within`
    /// this time, counted from the end of the [`drain_delay`](Shutdown::drain_delay).
    ///
    /// The signals are handled as soon as this returns: call it before the listener is bound. Disable a framework's own
    /// signal handling, such as actix-web's with `HttpServer::disable_signals`. All other signals keep their effect: SIGHUP
    /// ends the process unless the application handles it.
    ///
    /// # Errors
    /// The signal handlers cannot be installed.
    ///
    /// # Panics
    /// Outside a tokio runtime with its timer and I/O enabled.
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
    /// Outside a tokio runtime.
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

    /// Runs `requests` for as long as the shutdown, a clone or a future of it exists.
    fn spawn(&self, requests: impl Future<Output = ()> + Send + 'static) {
        let state = self.state.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = state.closed() => {}
                () = requests => {}
            }
        });
    }

    /// Sets for how long new deliveries are still accepted and handled after the signal. The default is zero, so that
    /// a process behind no load balancer restarts without a pause.
    ///
    /// A load balancer sends requests to an instance until it notices that the instance is going away. By then the
    /// listener would be closed, and a provider that never retries loses the event. Set it to the load balancer's reaction time: the
    /// interval of the readiness probe times its failure threshold, or 5 s in Kubernetes, where the pod's endpoint is
    /// removed at the same time as the signal is sent.
    pub fn drain_delay(mut self, delay: Duration) -> Self {
        self.drain_delay = delay;
        self
    }

    /// Adds receivers to drain: all that the application has, each tenant's included. Clones of a receiver are the same
    /// receiver, and drained once.
    pub fn receivers(mut self, receivers: impl IntoIterator<Item = Receiver>) -> Self {
        for receiver in receivers {
            if !self.receivers.iter().any(|known| known.is(&receiver)) {
                self.receivers.push(receiver);
            }
        }
        self
    }

    /// Requests the shutdown from code. The second request ends the delay and the waiting, like a second signal.
    pub fn request(&self) {
        request(&self.state);
    }

    /// Returns whether the shutdown was requested. A readiness probe should answer 503 if it was.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.observed.borrow().is_requested()
    }

    /// Waits until the shutdown is requested: background work should stop. Also resolves when the server of
    /// [`serve`](Shutdown::serve) ends by itself.
    pub fn requested(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let observed = self.observed.clone();
        async move {
            wait_for(observed, ShutdownState::is_requested).await;
        }
    }

    /// Waits until the [`drain_delay`](Shutdown::drain_delay) is over: the server should stop accepting. Use it with
    /// `axum::serve(..).with_graceful_shutdown(..)` and hand-written accept loops.
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

    /// Waits until [`serve`](Shutdown::serve) has drained all receivers: no handler runs any more. Use it with servers that drop
    /// running tasks when they stop, as actix-web's workers do; until then they answer new deliveries 503.
    pub fn drained(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let observed = self.observed.clone();
        async move {
            wait_for(observed, |state| state.drained).await;
        }
    }

    /// Runs the server until the shutdown is requested, then drains all receivers at once while the server finishes.
    /// The server has to stop by itself, on [`draining`](Shutdown::draining) or [`drained`](Shutdown::drained); if it has
    /// not stopped 2 s after the deadline, it is dropped, and the result is `Ok`.
    ///
    /// Returns how many handlers were canceled, over all receivers.
    ///
    /// A server that ends by itself, with or without an error, skips the delay: its receivers are drained, since the
    /// process is going to end, and this returns at once if no handler runs.
    ///
    /// # Errors
    /// The server's error, after the receivers are drained.
    ///
    /// # Panics
    /// Outside a tokio runtime with its timer enabled.
    pub async fn serve<E>(&self, server: impl IntoFuture<Output = Result<(), E>>) -> Result<usize, E> {
        let mut server = pin!(server.into_future());
        // Polled before the server, which may spend all of the task's budget on each poll.
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

    /// Waits for the deadline and for the answers of handlers that were canceled at it.
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
        // No request can come any more.
        None => pending().await,
    }
}

/// Never resolves for a time that is too far away to be represented.
async fn reached(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

/// The signals that supervisors and terminals stop a process with.
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

/// How long a server may take after the deadline to send the answers of handlers that were canceled.
const TIME_FOR_ANSWERS: Duration = Duration::from_secs(2);

#[cfg(test)]
#[path = "shutdown_tests.rs"]
mod tests;
