//! Only the paths of endpoints are published, and only to the addresses that the configuration lists.

use super::curl::EARLY;
use super::running::{Kind, Proxy, with_each};
use super::upstream::Recorder;
use super::{PATH, receiver};
use crate::program::Folder;

/// Paths that stay inside.
pub(super) const INSIDE: [&str; 12] = [
    "/",
    "/livez",
    "/readyz",
    "/healthz",
    "/metrics",
    "/deliveries",
    "/inbox/1",
    "/login",
    "/assets/page.css",
    "//livez",
    "/webhooks/../livez",
    "/other/webhooks/healthsync",
];

#[test]
fn other_paths_are_answered_by_the_proxy() {
    with_each(|kind| {
        let recorder = Recorder::answering("200 OK\r\n");
        let proxy = Proxy::start(kind, recorder.address);
        for path in INSIDE {
            assert_eq!(proxy.request(path, &[]).status, 404, "{kind:?} {path}");
            assert_eq!(proxy.post(path, b"{}", EARLY).status, 404, "{kind:?} {path}");
        }
        assert!(recorder.requests().is_empty(), "{kind:?}: {}", recorder.requests()[0].line);
    });
}

#[test]
fn disguised_paths_reach_no_health_check() {
    with_each(|kind| {
        let folder = Folder::new();
        let instance = receiver(&folder, "");
        let proxy = Proxy::start(kind, instance.address);
        for path in ["/webhooks/%2e%2e/livez", "/webhooks/..%2flivez", "/webhooks/./../readyz", "/livez/../webhooks/x"]
        {
            assert_eq!(proxy.request(path, &[]).status, 404, "{kind:?} {path}");
        }
    });
}

/// Returns the lines of the configuration that list addresses, as they are documented and with this network.
fn allow(kind: Kind, network: &str) -> [(&'static str, String); 1] {
    let (documented, enabled) = match kind {
        Kind::Nginx => (
            "# allow 203.0.113.0/24; allow 2001:db8::/32; deny all;",
            "allow 203.0.113.0/24; allow 2001:db8::/32; deny all;",
        ),
        Kind::Caddy => ("# remote_ip 203.0.113.0/24 2001:db8::/32", "remote_ip 203.0.113.0/24 2001:db8::/32"),
    };
    [(documented, enabled.replace("203.0.113.0/24", network))]
}

#[test]
fn only_listed_addresses_reach_the_receiver() {
    with_each(|kind| {
        for (network, status) in [("127.0.0.0/8", 200), ("203.0.113.0/24", if kind == Kind::Nginx { 403 } else { 404 })]
        {
            let recorder = Recorder::answering("200 OK\r\n");
            let [(documented, enabled)] = allow(kind, network);
            let proxy = Proxy::edited(kind, recorder.address, &[(documented, &enabled)]);
            // A client cannot choose its address.
            for forged in ["X-Other: 1", "X-Forwarded-For: 203.0.113.9", "Forwarded: for=203.0.113.9"] {
                let answer = proxy.post(PATH, b"{}", &[EARLY, &["--header", forged]].concat());
                assert_eq!(answer.status, status, "{kind:?} {network}");
            }
            assert_eq!(recorder.requests().len(), if status == 200 { 3 } else { 0 }, "{kind:?} {network}");
        }
    });
}
