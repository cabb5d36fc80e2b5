//! Reads secrets and certificates again while the receiver runs.
//!
//! - `watched`: files, and whether their contents have changed
//! - `driver`: polls them, and applies a `change`
//! - `endpoint`: the secrets of an endpoint; `certificate`: that of a listener; `token`: that of the operator's page
//! - `restart`: what is read from a file but needs a restart
//! - `hangup`: the lines about a SIGHUP

mod certificate;
mod change;
mod driver;
mod endpoint;
mod hangup;
mod restart;
mod token;
mod watched;

use std::sync::Arc;

use medhook::Receiver;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use self::change::Reload;
use self::driver::Reloader;
use self::endpoint::{EndpointReload, InUse};
use self::hangup::Hangup;
use self::restart::NeedsRestart;
use self::token::TokenReload;
pub(in crate::receive) use self::watched::FileContent;
use super::config::ConfigOrigin;
use super::endpoint_secrets::EndpointSecrets;
use super::operations::Access;
use super::printer::Printer;
use super::secrets::Named;
use super::tls::CertificateSource;

/// Collects what is read again while the receiver runs.
pub(super) struct Reloads {
    all: Vec<Box<dyn Reload>>,
    in_use: InUse,
    /// The environment variables that hold secrets.
    variables: Vec<String>,
}

impl Reloads {
    /// Begins with the secrets that are read at the start only.
    pub(super) fn new(read_at_start: Vec<Named>) -> Self {
        let files = read_at_start.iter().filter_map(Named::in_file);
        let files = files.map(|(place, file)| Box::new(NeedsRestart::new(place.to_owned(), file.to_owned())) as _);
        let (all, in_use) = (files.collect(), InUse::default());
        in_use.lock().read_at_start = read_at_start;
        Reloads { all, in_use, variables: Vec::new() }
    }

    /// Adds the secrets of an endpoint.
    pub(super) fn endpoint(&mut self, receiver: &Receiver, secrets: EndpointSecrets) {
        self.variables.extend(secrets.variables().map(str::to_owned));
        self.all.push(Box::new(EndpointReload::new(receiver.clone(), secrets, &self.in_use)));
    }

    /// Adds the token of the operator's page.
    pub(super) fn token(&mut self, access: Arc<Access>, token: Named) {
        self.variables.extend(token.entry.variable().map(str::to_owned));
        self.all.push(Box::new(TokenReload::new(access, token, &self.in_use)));
    }

    /// Adds the certificate of a listener.
    pub(super) fn certificate(&mut self, certificate: CertificateSource) {
        self.all.push(Box::new(certificate));
    }

    /// Polls the files until the task is aborted, and at each hangup.
    pub(super) fn spawn(
        self,
        log: Printer,
        origin: Option<ConfigOrigin>,
        hangups: mpsc::Receiver<()>,
    ) -> JoinHandle<()> {
        tokio::spawn(Reloader::new(self.all).run(hangups, Hangup::new(log, origin, self.variables)))
    }
}
