//! A thread that runs the operations of a store and drives its connections.
//!
//! A connection makes progress only while the runtime in which it was opened is running. The runtimes of an application
//! may block (an actix-web worker is one thread, and a handler can block it for seconds), and they end one after the
//! other. If a connection depended on one of them, operations of all the others would fail with it.

use std::convert::Infallible;
use std::future::Future;

use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::{ConfigError, StoreError};

/// The thread of a store, with a runtime of its own. It ends when the last clone of this is dropped, wherever that
/// happens: the thread itself owns and drops the runtime.
#[derive(Clone)]
pub(super) struct Driver {
    handle: Handle,
    store: &'static str,
    /// Never used to send. The thread ends when all senders are dropped.
    _running: mpsc::Sender<Infallible>,
}

impl Driver {
    /// Starts a thread, which is named after the `store`.
    pub(super) async fn start(store: &'static str) -> Result<Self, ConfigError> {
        let failed = move |error| ConfigError::new(format!("{store}: cannot start its thread")).with_source(error);
        let (running, mut ended) = mpsc::channel(1);
        let (started, handle) = oneshot::channel();
        let thread = move || match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => {
                let _ = started.send(Ok(runtime.handle().clone()));
                runtime.block_on(ended.recv());
            }
            Err(error) => drop(started.send(Err(error))),
        };
        let name = format!("medhook-{}", store.to_ascii_lowercase());
        std::thread::Builder::new().name(name).spawn(thread).map_err(failed)?;
        let handle = handle.await.unwrap_or_else(|_| Err(std::io::Error::other("the thread ended"))).map_err(failed)?;
        Ok(Driver { handle, store, _running: running })
    }

    /// Runs `work` on the thread. Dropping the returned future cancels it.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Stopped> {
        let mut running = Running(self.handle.spawn(work));
        (&mut running.0).await.map_err(|_panicked_or_ended| Stopped(self.store))
    }
}

/// Work on the thread, canceled when this is dropped.
struct Running<T>(JoinHandle<T>);

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The error of work that panicked, or that the thread did not complete.
#[derive(Debug)]
pub(super) struct Stopped(&'static str);

impl From<Stopped> for StoreError {
    fn from(Stopped(store): Stopped) -> Self {
        StoreError::unavailable(format!("{store}: an operation panicked"))
    }
}

impl From<Stopped> for ConfigError {
    fn from(Stopped(store): Stopped) -> Self {
        ConfigError::new(format!("{store}: connecting panicked"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Returns a receiver that is closed when the thread has dropped its tasks.
    fn watch(driver: &Driver) -> oneshot::Receiver<Infallible> {
        let (alive, ended) = oneshot::channel();
        driver.handle.spawn(async move {
            let _alive = alive;
            std::future::pending::<()>().await;
        });
        ended
    }

    #[tokio::test]
    async fn the_thread_ends_with_the_last_clone() {
        let driver = Driver::start("Test").await.unwrap();
        let mut ended = watch(&driver);
        let other = driver.clone();
        drop(driver);
        assert_eq!(other.run(async { 1 }).await.unwrap(), 1);
        assert!(ended.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty));
        drop(other);
        assert!(ended.await.is_err());
    }

    #[tokio::test]
    async fn the_last_clone_may_be_dropped_on_the_thread_itself() {
        let driver = Driver::start("Test").await.unwrap();
        let ended = watch(&driver);
        let (started, may_end) = oneshot::channel();
        driver.handle.spawn({
            let driver = driver.clone();
            async move {
                let _ = may_end.await;
                drop(driver);
            }
        });
        drop(driver);
        started.send(()).unwrap();
        assert!(ended.await.is_err());
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_does_not_end_the_thread() {
        let driver = Driver::start("Test").await.unwrap();
        let stopped = driver.run(async { panic!("a test") }).await.map(|never: Infallible| never).unwrap_err();
        assert_eq!(StoreError::from(stopped).to_string(), "Test: an operation panicked");
        assert_eq!(driver.run(async { 1 }).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn dropping_the_caller_cancels_its_work() {
        let driver = Driver::start("Test").await.unwrap();
        let (alive, ended) = oneshot::channel::<Infallible>();
        let (began, begun) = oneshot::channel();
        let work = async move {
            let _alive = alive;
            let _ = began.send(());
            std::future::pending::<()>().await;
        };
        let caller = tokio::spawn({
            let driver = driver.clone();
            async move { driver.run(work).await }
        });
        begun.await.unwrap();
        caller.abort();
        assert!(ended.await.is_err());
    }

    /// The timer of the caller's runtime is not used.
    #[test]
    fn the_caller_needs_no_timer() {
        let caller = Builder::new_current_thread().build().unwrap();
        caller.block_on(async {
            let driver = Driver::start("Test").await.unwrap();
            driver.run(async { tokio::time::sleep(Duration::from_millis(1)).await }).await.unwrap();
        });
    }
}
