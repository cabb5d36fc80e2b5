//! The signals that end the process, and the one that does not.
//!
//! `medhook::Shutdown` is not used: it treats SIGTERM and SIGINT alike, its second signal skips the delay and the waiting
//! together, and it leaves SIGHUP alone. Here SIGINT has no delay, each signal skips one stage, and the last one exits.

use std::io;

/// Receives signals from when it is made.
pub(super) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

/// A signal that asks the process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// From a supervisor, behind which a load balancer may still send deliveries here.
    Terminate,
    /// From a terminal.
    Interrupt,
}

impl Signals {
    /// Listens for SIGTERM and SIGINT, and ignores SIGHUP from now on; `hangup` is called for each.
    pub(super) fn listen(hangup: impl Fn() + Send + 'static) -> io::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let mut hangups = signal(SignalKind::hangup())?;
            tokio::spawn(async move {
                while hangups.recv().await.is_some() {
                    hangup();
                }
            });
            Ok(Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
        }
        #[cfg(not(unix))]
        {
            drop(hangup);
            Ok(Signals {})
        }
    }

    pub(super) async fn next(&mut self) -> Signal {
        #[cfg(unix)]
        return tokio::select! {
            _ = self.terminate.recv() => Signal::Terminate,
            _ = self.interrupt.recv() => Signal::Interrupt,
        };
        #[cfg(not(unix))]
        {
            if tokio::signal::ctrl_c().await.is_err() {
                // Then only the system ends it.
                std::future::pending::<()>().await;
            }
            Signal::Interrupt
        }
    }
}
