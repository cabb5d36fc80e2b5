//! Configurations that are wrong in one point, which the other tests would find.

use super::bodies::{delivery, of_length};
use super::curl::EARLY;
use super::exposure::INSIDE;
use super::running::{Edit, Kind, Proxy, with_each};
use super::upstream::Recorder;
use super::{PATH, receiver};
use crate::program::Folder;

/// Returns the answer to a genuine delivery with these edits.
fn answer(kind: Kind, edits: &[Edit<'_>]) -> u16 {
    let folder = Folder::new();
    let instance = receiver(&folder, "");
    let proxy = Proxy::edited(kind, instance.address, edits);
    proxy.send(&delivery(of_length(2_000, "evt")), EARLY).status
}

#[test]
fn a_small_limit_rejects_a_delivery() {
    with_each(|kind| {
        assert_eq!(answer(kind, &[]), 200, "{kind:?}");
        // Caddy 2.6 answers 502 when it has read too much of a body that it passes on.
        let (edit, expected) = match kind {
            Kind::Nginx => (("client_max_body_size 1m;", "client_max_body_size 1k;"), [413, 413]),
            Kind::Caddy => (("max_size 2097152", "max_size 1000"), [413, 502]),
        };
        assert!(expected.contains(&answer(kind, &[edit])), "{kind:?}");
    });
}

#[test]
fn a_changed_body_or_header_is_not_genuine() {
    with_each(|kind| {
        let edits: &[Edit<'_>] = match kind {
            Kind::Nginx => &[
                ("proxy_http_version 1.1;", "proxy_http_version 1.1; proxy_set_body \"$request_body \";"),
                ("proxy_http_version 1.1;", "proxy_http_version 1.1; proxy_set_header X-Healthsync-Signature \"\";"),
                ("proxy_http_version 1.1;", "proxy_http_version 1.1; proxy_pass_request_headers off;"),
            ],
            Kind::Caddy => &[("lb_try_interval 100ms", "header_up -X-Healthsync-Signature")],
        };
        for edit in edits {
            assert_eq!(answer(kind, &[*edit]), 401, "{kind:?} {edit:?}");
        }
    });
}

#[test]
fn a_changed_path_is_unknown() {
    with_each(|kind| {
        let edit = match kind {
            Kind::Nginx => ("proxy_pass http://medhook;", "proxy_pass http://medhook/;"),
            Kind::Caddy => ("request_body {", "uri strip_prefix /webhooks\n\t\trequest_body {"),
        };
        assert_eq!(answer(kind, &[edit]), 404, "{kind:?}");
    });
}

#[test]
fn a_header_with_underscores_is_lost() {
    with_each(|kind| {
        if kind != Kind::Nginx {
            return;
        }
        for (edits, expected) in [(&[][..], 1), (&[("underscores_in_headers on;", "")][..], 0)] {
            let recorder = Recorder::answering("200 OK\r\n");
            let proxy = Proxy::edited(kind, recorder.address, edits);
            assert_eq!(proxy.post(PATH, b"{}", &["--header", "X_Acme_Signature: 1"]).status, 200);
            assert_eq!(recorder.requests()[0].values("x_acme_signature").len(), expected);
        }
    });
}

#[test]
fn all_paths_are_published() {
    with_each(|kind| {
        let edit = match kind {
            Kind::Nginx => ("        return 404;", "        proxy_pass http://medhook;"),
            Kind::Caddy => ("path /webhooks/*", "path /*"),
        };
        let recorder = Recorder::answering("200 OK\r\n");
        let proxy = Proxy::edited(kind, recorder.address, &[edit]);
        for path in INSIDE {
            assert_eq!(proxy.request(path, &[]).status, 200, "{kind:?} {path}");
        }
        assert_eq!(recorder.requests().len(), INSIDE.len(), "{kind:?}");
    });
}
