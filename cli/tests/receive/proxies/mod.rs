//! Receivers behind nginx and Caddy with the configurations in contrib: what arrives, what does not, and which answers
//! return. Run by scripts/proxies, which installs both. The tests in `misconfigured` show that each check fails if the
//! configuration is wrong in one point.

mod bodies;
mod curl;
mod exposure;
mod headers;
mod limits;
mod misconfigured;
mod providers;
mod restarts;
mod running;
mod timeouts;
mod upstream;

use crate::program::{Folder, Instance};
use crate::sender::ENDPOINT;

/// A path that both configurations pass on.
const PATH: &str = "/webhooks/healthsync";

/// Starts a receiver with these further keys of the endpoint.
fn receiver(folder: &Folder, keys: &str) -> Instance {
    let endpoint = ENDPOINT.replace("/healthsync", PATH);
    let top = "listen = \"127.0.0.1:0\"\ndrain_delay = \"0s\"\nstore = \"memory\"\n";
    Instance::start(folder, &format!("{top}{endpoint}{keys}"), &["--json"])
}
