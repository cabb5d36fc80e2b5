//! The async runtime of the commands.

use std::future::Future;

use crate::failure::Failure;

/// Runs a command on a new runtime.
pub(crate) fn run_async<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Failure::because("cannot start the runtime", error))?.block_on(command)
}
