//! Watches for silence: reports that no genuine delivery has arrived for `expect_every`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use crate::endpoint::EndpointFacts;
use crate::error::ConfigError;
use crate::observe;
use crate::silence::Silence;

/// The watch over one receiver, which ends when it is stopped or dropped.
///
/// Silence must be noticed without any call, so it is watched from the build of the receiver on: by a task of the
/// runtime in which it is built, and by a thread if it is built outside of one.
pub(super) enum Watch {
    Task(AbortHandle),
    Thread { thread: thread::Thread, stopped: Arc<AtomicBool> },
}

impl Watch {
    /// Begins to watch, if the endpoint has `expect_every`.
    pub(super) fn begin(at: &Arc<EndpointFacts>) -> Result<Option<Self>, ConfigError> {
        if at.silence().is_none() {
            return Ok(None);
        }
        observe::watched(at);
        let at = at.clone();
        if let Ok(runtime) = Handle::try_current() {
            let task = runtime.spawn(async move {
                while let Some(next) = at.silence().and_then(|silence| check(&at, silence)) {
                    sleep_until(next).await;
                }
            });
            return Ok(Some(Watch::Task(task.abort_handle())));
        }
        let stopped = Arc::new(AtomicBool::new(false));
        let stop = stopped.clone();
        let named = thread::Builder::new().name("medhook-silence".to_owned());
        let thread = named.spawn(move || {
            while let Some(next) = at.silence().and_then(|silence| check(&at, silence)) {
                if !parked_until(next, &stop) {
                    break;
                }
            }
        });
        let thread = thread.map_err(|error| {
            let problem = "cannot start the thread that watches for silence; build the receiver in a tokio runtime, \
                           or remove expect_every";
            ConfigError::new(problem).with_source(error)
        })?;
        Ok(Some(Watch::Thread { thread: thread.thread().clone(), stopped }))
    }

    pub(super) fn stop(&self) {
        match self {
            Watch::Task(task) => task.abort(),
            Watch::Thread { thread, stopped } => {
                stopped.store(true, Ordering::Release);
                thread.unpark();
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Reports a silence, or the end of one. Returns the time of the next check.
fn check(at: &EndpointFacts, silence: &Silence) -> Option<Instant> {
    let checked = silence.check();
    if let Some(length) = checked.ended {
        observe::silence_ended(at, length);
    }
    if let Some(silent) = &checked.silent {
        observe::silent(at, silent);
    }
    checked.next
}

/// Waits until `time`. Returns `false` at once when stopped. Can wake up early, so it waits again.
fn parked_until(time: Instant, stopped: &AtomicBool) -> bool {
    while !stopped.load(Ordering::Acquire) {
        match time.saturating_duration_since(Instant::now()) {
            Duration::ZERO => return true,
            left => thread::park_timeout(left),
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Limits;
    use crate::{Freshness, Retention, SystemClock};

    fn facts(expect_every: Duration) -> Arc<EndpointFacts> {
        let limits = Limits {
            methods: &[],
            body: 1,
            retention: Retention::new(Duration::ZERO, Duration::ZERO),
            freshness: Freshness::Unchecked,
            expect_every: Some(expect_every),
        };
        Arc::new(EndpointFacts::new("in", "acme", Arc::new(SystemClock), limits))
    }

    fn within_seconds(holds: impl Fn() -> bool) -> bool {
        (0..2_000).any(|_| {
            thread::sleep(Duration::from_millis(5));
            holds()
        })
    }

    #[test]
    fn without_a_runtime_a_thread_watches_until_the_watch_is_dropped() {
        let at = facts(Duration::from_millis(10));
        let watch = Watch::begin(&at).unwrap().unwrap();
        assert!(matches!(watch, Watch::Thread { .. }));
        assert!(within_seconds(|| at.silence().unwrap().is_reported()));
        drop(watch);
        assert!(within_seconds(|| Arc::strong_count(&at) == 1), "the thread has ended");
    }

    #[test]
    fn a_thread_that_waits_for_long_is_stopped_at_once() {
        let at = facts(Duration::from_secs(24 * 3600));
        let watch = Watch::begin(&at).unwrap().unwrap();
        watch.stop();
        assert!(within_seconds(|| Arc::strong_count(&at) == 1));
        assert!(!at.silence().unwrap().is_reported());
    }

    #[tokio::test(start_paused = true)]
    async fn within_a_runtime_a_task_watches_until_the_watch_is_dropped() {
        let at = facts(Duration::from_secs(60));
        let watch = Watch::begin(&at).unwrap().unwrap();
        assert!(matches!(watch, Watch::Task(_)));
        tokio::time::sleep(Duration::from_secs(60)).await;
        tokio::task::yield_now().await;
        assert!(at.silence().unwrap().is_reported());
        drop(watch);
        tokio::task::yield_now().await;
        assert_eq!(Arc::strong_count(&at), 1);
    }
}
