//! Starts to serve the operations address.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::access::{Access, PageToken};
use super::observed::Observed;
use super::{Operations, Page};
use crate::failure::Failure;
use crate::peer::AddressLimit;
use crate::receive::config::{OperationsConfig, PageConfig};
use crate::receive::health::Health;
use crate::receive::metrics::Metrics;
use crate::receive::reload::Reloads;
use crate::receive::sockets::ListeningSocket;
use crate::receive::tls::CertificateSource;
use crate::server::{Connections, Limits, Listener, accept};

/// The limits of the operations address, which needs few connections.
pub(in crate::receive) const OPERATIONS: Limits =
    Limits { connections: 256, head: Duration::from_secs(10), age: Duration::from_secs(600), half_close: true };

/// Maximum number of connections of one client address, so that a client cannot keep probes from another one away.
const PER_ADDRESS: usize = 64;

/// The operations address, whose page is not complete before the store is open.
pub(in crate::receive) struct OperationsStart {
    pub(in crate::receive) socket: ListeningSocket,
    pub(in crate::receive) config: OperationsConfig,
    pub(in crate::receive) health: Arc<Health>,
    pub(in crate::receive) metrics: Arc<Metrics>,
    /// Set if the page is served.
    pub(in crate::receive) observed: Option<Arc<Observed>>,
    /// The config file, for the commands on the page.
    pub(in crate::receive) file: PathBuf,
}

impl OperationsStart {
    /// Serves the address until the process ends, so that `/livez` is 200 during the whole shutdown. Returns the line
    /// that describes it, and what logs its counts. Adds what is read again while the receiver runs.
    pub(in crate::receive) fn spawn(self, reloads: &mut Reloads) -> Result<(String, Arc<Operations>), Failure> {
        let OperationsStart { socket, config, health, metrics, observed, file } = self;
        let address = socket.address;
        config.check_address(address)?;
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        let mut line =
            format!("medhook: health checks at {scheme}://{address}, metrics at {scheme}://{address}/metrics\n");
        let page = config.page.zip(observed).map(|(page, observed)| {
            line.push_str(&format!("medhook: operator's page at {scheme}://{address}/\n"));
            let PageConfig { token, hosts, .. } = page;
            let access = Access::new(PageToken::new(&token.secret), hosts, config.tls.is_some());
            let access = Arc::new(access);
            reloads.token(access.clone(), token);
            Page::new(access, observed, file)
        });
        let operations = Arc::new(Operations::new(health, metrics, page));
        let (answering, rejecting) = (operations.clone(), operations.clone());
        let answer = move |request| answering.clone().answer(request);
        let malformed = move |malformed| rejecting.malformed(malformed);
        let listener = Listener {
            socket: socket.listener,
            tls: config.tls.as_ref().map(CertificateSource::acceptor).transpose()?,
            per_address: Some(AddressLimit::of_operations(PER_ADDRESS)),
            is_shared: socket.is_inherited,
        };
        tokio::spawn(accept(listener, OPERATIONS, Connections::default(), answer, malformed, std::future::pending()));
        if let Some(certificate) = config.tls {
            reloads.certificate(certificate.clone());
            tokio::spawn(certificate.watch_expiry());
        }
        Ok((line, operations))
    }
}
