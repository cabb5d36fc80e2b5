//! The operator's page of a receiver without endpoints, for `tests/properties`.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use medhook::Secret;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::sync::watch;

use super::Page;
use super::access::{Access, PageHosts, PageToken};
use super::observed::Observed;
use super::start::OPERATIONS;
use crate::receive::health::{Health, Needs};
use crate::server::{Connections, serve_http};

/// The operator's page of a receiver without endpoints, whose connections are in memory.
pub struct PageServer(Arc<Access>);

impl fmt::Debug for PageServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageServer").finish_non_exhaustive()
    }
}

impl PageServer {
    /// Creates the page with this token, for these hosts.
    pub fn new(token: &Secret, hosts: Vec<String>, is_tls: bool) -> Option<Self> {
        Some(PageServer(Arc::new(Access::new(PageToken::new(token), PageHosts::new(hosts).ok()?, is_tls))))
    }

    /// Returns the answers to the requests of a connection. The overview contains `store`.
    pub async fn answers(&self, requests: &[u8], store: &str) -> Vec<u8> {
        let health = Arc::new(Health::new(Needs { store: false, output: None }));
        let observed = Observed::new(health, Connections::default(), 1, store.to_owned());
        let page = Page::new(self.0.clone(), Arc::new(observed), PathBuf::from("medhook.toml"));
        let (mut client, server) = duplex(64 * 1024);
        let (_open, finish) = watch::channel(());
        let serving = serve_http(Box::pin(server), || None, OPERATIONS, |request| page.answer(request), finish);
        let (mut read, mut written) = (Vec::new(), false);
        let client = async {
            let (mut reader, mut writer) = tokio::io::split(&mut client);
            // The server may close the connection before it has read everything.
            let writing = async {
                written = writer.write_all(requests).await.is_ok() && writer.shutdown().await.is_ok();
            };
            tokio::join!(writing, async { reader.read_to_end(&mut read).await.is_ok() });
        };
        tokio::join!(serving, client);
        read
    }
}
