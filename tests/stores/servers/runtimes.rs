//! Stores that several runtimes share, as those of actix-web's workers do, and runtimes that block or end.

use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use medhook::{Claimed, DedupeStore, PostgresStore, RedisStore, Settled};
use medhook_tests::servers::Server;
use tokio::runtime::Runtime;

use crate::suite::{HOUR, key, retention, token};

/// A timeout of an operation that suits the slowest machine, and ends a test that fails.
const STEP: Duration = Duration::from_secs(30);

async fn postgres(url: &str, connections: u32) -> Arc<dyn DedupeStore> {
    let builder = PostgresStore::builder().max_connections(connections).step_timeout(STEP);
    Arc::new(builder.connect(url).await.unwrap())
}

async fn redis(url: &str, connections: u32) -> Arc<dyn DedupeStore> {
    let builder = RedisStore::builder().max_connections(connections as usize).step_timeout(STEP);
    Arc::new(builder.connect(url).await.unwrap())
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A worker whose thread blocks until this is dropped.
struct Blocked {
    end: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Blocked {
    /// Starts a worker with a runtime of its own. It runs `work`, blocks, and then completes `rest`.
    fn after<T: Send + 'static, W, F>(work: impl FnOnce() -> W + Send + 'static) -> (T, Self)
    where
        W: Future<Output = (T, F)>,
        F: Future<Output = ()>,
    {
        let (done, result) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            runtime().block_on(async {
                let (result, rest) = work().await;
                done.send(result).unwrap();
                let _ = ended.recv();
                rest.await;
            });
        });
        (result.recv().unwrap(), Blocked { end: Some(end), thread: Some(thread) })
    }

    /// Ends the blocking, and waits for the worker.
    fn end(mut self) {
        drop(self.end.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

async fn claim_some(store: &dyn DedupeStore, from: u64) {
    for n in from..from + 20 {
        assert_eq!(store.claim(key(n), token(n), HOUR).await.unwrap(), Claimed::Acquired);
        assert_eq!(store.commit(key(n), token(n), retention(HOUR)).await.unwrap(), Settled::Settled);
    }
}

macro_rules! tests {
    ($kind:ident) => {
        mod $kind {
            use super::*;

            #[test]
            fn a_runtime_that_blocks_after_connecting_stalls_no_operation_of_another() {
                let server = Server::$kind(&[]);
                let url = server.url();
                let (store, blocked) = Blocked::after(move || async move {
                    let store = super::$kind(&url, 2).await;
                    // Until both connections are open.
                    let claims = (1..=2).map(|n| store.claim(key(n), token(n), HOUR));
                    assert!(futures_util::future::join_all(claims).await.iter().all(Result::is_ok));
                    (store, std::future::ready(()))
                });
                runtime().block_on(async {
                    let claiming = store.clone();
                    server.pause();
                    let claim = tokio::spawn(async move { claiming.claim(key(3), token(3), HOUR).await });
                    // The claim waits for its answer by then.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    server.resume();
                    assert_eq!(claim.await.unwrap().unwrap(), Claimed::Acquired);
                    claim_some(&*store, 100).await;
                });
                blocked.end();
            }

            #[test]
            fn a_runtime_that_blocks_during_an_operation_stalls_no_operation_of_another() {
                let server = Arc::new(Server::$kind(&[]));
                let paused = server.clone();
                let (store, blocked) = Blocked::after(move || async move {
                    // Both operations need the only connection.
                    let store = super::$kind(&paused.url(), 1).await;
                    claim_some(&*store, 100).await;
                    paused.pause();
                    let claiming = store.clone();
                    let claim = tokio::spawn(async move { claiming.claim(key(1), token(1), HOUR).await });
                    // Long enough to send the claim, which is not answered.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    (store, async { assert_eq!(claim.await.unwrap().unwrap(), Claimed::Acquired) })
                });
                server.resume();
                runtime().block_on(claim_some(&*store, 200));
                blocked.end();
            }

            #[test]
            fn a_store_outlives_the_runtime_in_which_it_was_connected() {
                let server = Server::$kind(&[]);
                let first = runtime();
                let store = first.block_on(super::$kind(&server.url(), 2));
                first.block_on(claim_some(&*store, 0));
                drop(first);
                let workers: Vec<_> = (1..=4)
                    .map(|n| {
                        let store = store.clone();
                        std::thread::spawn(move || runtime().block_on(claim_some(&*store, n * 100)))
                    })
                    .collect();
                for worker in workers {
                    worker.join().unwrap();
                }
            }
        }
    };
}

tests!(postgres);
tests!(redis);
