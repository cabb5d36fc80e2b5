//! Receives SIGTERM and SIGINT, which end the process, and SIGHUP, which reads files again.
//!
//! `medhook::Shutdown` is not used: it treats SIGTERM and SIGINT alike, its second signal skips both the delay and the
//! waiting, and it does not handle SIGHUP. Here SIGINT has no delay, each signal skips one stage, and the last one
//! exits.

use std::io;

/// Receives signals, starting with its creation.
pub(super) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

/// A signal that ends the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// SIGTERM, from a supervisor. A load balancer may still send deliveries here.
    Terminate,
    /// SIGINT, from a terminal.
    Interrupt,
}

impl Signals {
    /// Registers handlers for SIGTERM and SIGINT. SIGHUP only calls `hangup` from now on.
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
                // Without a handler, only the system can end the process.
                std::future::pending::<()>().await;
            }
            Signal::Interrupt
        }
    }
}
