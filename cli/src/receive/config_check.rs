//! `medhook receive --check`: reads the config file, and all files and variables that it names, and stops there.

use std::path::Path;
use std::sync::Arc;

use medhook::NoDedupe;

use super::config::{BodiesConfig, Config, Mistakes, Overrides};
use super::sockets::address_warnings;
use super::tls::CertificateSource;
use crate::failure::Failure;

/// The parts of a config file that the receiver would start with.
pub(crate) struct CheckedConfig {
    /// The lines of the startup: the store, and each endpoint.
    pub(crate) lines: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

/// The checks that `--check` leaves out, because it binds, opens and creates nothing.
pub(crate) const NOT_CHECKED: &str =
    "not checked: whether the store can be opened, the addresses are free, and the applications answer";

/// Checks a config file with the options of the command line. Returns a line for each mistake.
pub(super) fn check_config(path: &Path, overrides: Overrides) -> Result<CheckedConfig, Vec<Failure>> {
    let all = |Mistakes { first, others }| std::iter::once(first).chain(others).collect::<Vec<_>>();
    let config = Config::check_file(path, overrides).map_err(all)?;
    // These fail at the start of a receiver, after the config file was read.
    let bodies = config.bodies.as_ref().map(BodiesConfig::bodies).transpose().map(drop);
    let tls = config.tls.as_ref().map(CertificateSource::acceptor).transpose().map(drop);
    let mut found: Vec<Failure> = [bodies, tls].into_iter().filter_map(Result::err).collect();
    let mut warnings = address_warnings(&config, config.listen.value);
    warnings.splice(0..0, config.warnings);
    let bodies = config.bodies.map(|bodies| format!("; bodies of stored events are {bodies}")).unwrap_or_default();
    let mut lines = vec![format!("events are recorded in {}{bodies}", config.store.value.shown())];
    for endpoint in config.endpoints {
        match endpoint.ready(Arc::new(NoDedupe), None) {
            Ok(ready) => {
                warnings.extend_from_slice(ready.receiver.warnings());
                lines.push(ready.to_string());
            }
            Err(failure) => found.push(failure),
        }
    }
    if found.is_empty() { Ok(CheckedConfig { lines, warnings }) } else { Err(found) }
}
