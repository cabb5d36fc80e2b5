//! `medhook capture`: records deliveries for `medhook verify`.
//!
//! - `folder`: a private folder, and the files in it
//! - `redact`: replaces the values of headers that may be secrets
//! - `recorder`: limits the recordings, and deletes them after an hour
//! - `serve`: receives deliveries, and answers all of them 503
//! - `lines`, `next`: report each recording, with the command to run next

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod folder;
mod lines;
mod next;
mod recorder;
mod redact;
mod serve;

use std::net::SocketAddr;
use std::path::PathBuf;

use medhook_conformance::Endpoint;

use self::redact::Redaction;
use crate::endpoint::{Described, EndpointArgs, NamedProvider, TestSecretArgs, labeled, named_provider_parser};
use crate::failure::Failure;
use crate::runtime::run_async;
use crate::sources::Validation;
use crate::verdict::Verdict;

/// Record deliveries for `medhook verify`.
///
/// Listens in place of the receiver, writes the head and the exact body of each
/// delivery to NNNN.head and NNNN.body, and answers 503, so that the provider sends it
/// again later. Nothing is handled. Run `medhook verify --capture` while this command
/// runs: the files are deleted one hour after they were written, and when it ends.
///
/// The bodies are health data in clear, so --yes-phi is required. The folder is created
/// with mode 0700, the files with 0600. The values of headers that may be secrets are
/// replaced by their length and, with the provider and its secrets, by whether they are
/// one of these. Without them only signatures of an unmistakable form are recorded.
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    override_usage = "medhook capture [OPTIONS] --listen <ADDRESS:PORT> --out <DIR> --yes-phi [PROVIDER]\n       \
        medhook capture [OPTIONS] --listen <ADDRESS:PORT> --out <DIR> --yes-phi --config <FILE> --endpoint <NAME>",
    after_help = "Examples:\n  \
        medhook capture healthsync --secret-env HEALTHSYNC_SECRET --listen 127.0.0.1:3000 --out captured --max 5 --yes-phi\n  \
        medhook verify healthsync --secret-env HEALTHSYNC_SECRET --capture captured/0001\n  \
        medhook capture --config medhook.toml --endpoint acme --listen 127.0.0.1:3000 --out captured --yes-phi"
)]
pub(crate) struct CaptureArgs {
    /// Provider that sends the deliveries
    #[arg(value_parser = named_provider_parser())]
    provider: Option<NamedProvider>,
    /// Loopback address to listen on, such as 127.0.0.1:3000
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = loopback)]
    listen: SocketAddr,
    /// Folder for the recordings; created if it does not exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Maximum number of deliveries to record
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    max: u16,
    /// Confirm that health data may be stored on this machine in clear
    #[arg(long)]
    yes_phi: bool,
    #[command(flatten)]
    endpoint: EndpointArgs,
    #[command(flatten)]
    test_keys: TestSecretArgs,
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().to_canonical().is_loopback() => Ok(address),
        Ok(_) => Err("must be a loopback address, since recordings are for this machine only; use 127.0.0.1, and a \
                      tunnel or a proxy in front of it"
            .to_owned()),
        Err(_) => Err("must be an address with a port, such as 127.0.0.1:3000".to_owned()),
    }
}

/// Runs the command.
pub(crate) fn run(args: &CaptureArgs) -> Result<Verdict, Failure> {
    if !args.yes_phi {
        return Err(Failure::new(
            "recordings hold whole bodies, which are health data, in clear; pass --yes-phi to confirm that they may be \
             stored on this machine for an hour",
        ));
    }
    let redaction = if args.provider.is_some() || args.endpoint.has_config() {
        let endpoint = endpoint(args)?;
        let signing = endpoint.signing().map_err(|error| Failure::new(error.to_string()))?;
        Redaction::for_endpoint(&endpoint, &signing)
    } else if args.endpoint.has_secrets() {
        return Err(Failure::new("secrets need the provider; pass its name, as in `medhook capture healthsync`"));
    } else {
        Redaction::default()
    };
    run_async(serve::serve(args.listen, &args.out, usize::from(args.max), redaction))
}

/// Returns the recorded head of a request, for `tests/properties`.
pub(crate) fn recorded(
    endpoint: &Endpoint,
    method: &http::Method,
    headers: &http::HeaderMap,
    body: &[u8],
) -> Result<Vec<u8>, Failure> {
    let signing = endpoint.signing().map_err(|error| Failure::new(error.to_string()))?;
    Ok(Redaction::for_endpoint(endpoint, &signing).head(0, method, headers, body).to_bytes())
}

fn endpoint(args: &CaptureArgs) -> Result<Endpoint, Failure> {
    let described = args.endpoint.read(args.provider, Some(&args.test_keys), Validation::Full)?;
    let Described { mut endpoint, secrets, test_secrets, .. } = described;
    endpoint.secrets = labeled(&secrets)?;
    endpoint.test_secrets = labeled(&test_secrets)?;
    Ok(endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_are_accepted() {
        for text in ["127.0.0.1:0", "127.8.9.10:3000", "[::1]:3000", "[::ffff:127.0.0.1]:3000"] {
            assert!(loopback(text).is_ok(), "{text}");
        }
        for text in ["0.0.0.0:3000", "[::]:3000", "192.168.0.1:3000", "[::ffff:10.0.0.1]:3000", "example.com:80", "80"]
        {
            assert!(loopback(text).is_err(), "{text}");
        }
    }
}
