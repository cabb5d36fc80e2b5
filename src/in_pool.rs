//! Work on long bodies, outside of the tasks of their requests.

use std::panic::resume_unwind;
use std::sync::Arc;

use tokio::runtime::Handle;

/// The longest body that is parsed in the task of its request, which takes about 0.2 ms on a server of 2025.
pub(crate) const LONGEST_INLINE: usize = 256 << 10;

/// Runs `work` once, in tokio's pool of threads for blocking work, so that other tasks run meanwhile. Outside of a
/// runtime, and if the runtime shuts down before the work begins, it runs at once. A panic of the work is resumed in
/// the caller.
pub(crate) async fn in_pool<T: Send + 'static>(work: impl Fn() -> T + Send + Sync + 'static) -> T {
    let Ok(runtime) = Handle::try_current() else { return work() };
    let work = Arc::new(work);
    let moved = work.clone();
    match runtime.spawn_blocking(move || moved()).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => work(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;
    use std::thread;

    use futures_util::FutureExt;
    use tokio::runtime::Runtime;

    use super::*;

    #[test]
    fn work_runs_in_another_thread_of_a_runtime_and_in_this_one_without() {
        let here = thread::current().id();
        let ran_in = || in_pool(|| thread::current().id());
        assert_ne!(Runtime::new().unwrap().block_on(ran_in()), here);
        assert_eq!(ran_in().now_or_never(), Some(here));
    }

    #[test]
    fn a_runtime_that_shuts_down_loses_no_work() {
        let runtime = Runtime::new().unwrap();
        let handle = runtime.handle().clone();
        runtime.shutdown_background();
        let _entered = handle.enter();
        assert_eq!(in_pool(|| thread::current().id()).now_or_never(), Some(thread::current().id()));
    }

    #[test]
    fn a_panic_of_the_work_is_one_of_the_caller() {
        let work = in_pool(|| resume_unwind(Box::new("a panic")));
        let panic = Runtime::new().unwrap().block_on(AssertUnwindSafe(work).catch_unwind()).map(|(): ()| ());
        assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"a panic"));
    }
}
