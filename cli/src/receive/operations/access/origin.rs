//! Whether a request comes from the page itself, and the session that it names.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use http::uri::{Authority, Scheme, Uri};
use http::{HeaderMap, header};

/// Returns whether a request that changes something was sent by the page itself. Browsers send `Origin` with every
/// POST. A client that sends neither header is no browser, so no other site can have caused its request.
///
/// With TLS, a page of the same host without TLS is another site. Without it, a proxy may terminate TLS, so that the
/// scheme is unknown.
pub(super) fn is_own(headers: &HeaderMap, authority: &Authority, is_tls: bool) -> bool {
    let site = headers.get("sec-fetch-site").map(|site| site == "same-origin");
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let origin = origins.next().map(|origin| {
        let origin = Uri::try_from(origin.as_bytes()).ok();
        let origin = origin.filter(|origin| !is_tls || origin.scheme() == Some(&Scheme::HTTPS));
        origin.is_some_and(|origin| origin.authority() == Some(authority))
    });
    site.unwrap_or(true) && origin.unwrap_or(true) && origins.next().is_none()
}

/// Returns whether the browser reached the page over TLS, which a proxy may terminate.
pub(super) fn is_over_tls(headers: &HeaderMap, is_tls: bool) -> bool {
    let origin = headers.get(header::ORIGIN).and_then(|origin| Uri::try_from(origin.as_bytes()).ok());
    is_tls || origin.is_some_and(|origin| origin.scheme() == Some(&Scheme::HTTPS))
}

/// The names of the cookie. Over TLS, browsers accept the first one from this host only, without TLS never.
const SECURE: &str = "__Host-medhook";
const PLAIN: &str = "medhook";

/// Returns the name of the cookie for a browser that reached the page over TLS, or not.
pub(super) fn cookie_name(is_over_tls: bool) -> &'static str {
    if is_over_tls { SECURE } else { PLAIN }
}

/// Returns the ids of sessions that a request names. A browser can send several, for example of another receiver on the
/// same host. Without TLS, a proxy may terminate it, so that the cookie has either name.
pub(super) fn session_ids(headers: &HeaderMap, is_tls: bool) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(move |(name, _)| *name == SECURE || (*name == PLAIN && !is_tls)).map(|(_, id)| id).take(MOST_IDS)
}

/// More of them are ignored, because each costs a digest.
const MOST_IDS: usize = 8;

/// Returns the path to continue with after a login, if it is one of the page: a client can choose it.
pub(in crate::receive::operations) fn local_path(next: &str) -> &str {
    let is_plain = |c: char| c.is_ascii_graphic() && c != '\\';
    let is_local = next.starts_with('/') && !next.starts_with("//") && next.chars().all(is_plain);
    let is_form = ["/login", "/logout", "/assets"].iter().any(|path| next.starts_with(path));
    if is_local && !is_form && next.len() <= LONGEST_NEXT { next } else { "/" }
}

/// Longer than any path of the page with its query.
const LONGEST_NEXT: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn is_own_at(is_tls: bool, headers: &[(&'static str, &'static str)]) -> bool {
        let authority = Authority::from_static("127.0.0.1:8788");
        let mut map = HeaderMap::new();
        headers.iter().for_each(|(name, value)| _ = map.append(*name, value.parse().unwrap()));
        is_own(&map, &authority, is_tls)
    }

    fn is_own_with(headers: &[(&'static str, &'static str)]) -> bool {
        is_own_at(false, headers)
    }

    #[test]
    fn with_tls_a_page_without_tls_is_another_site() {
        assert!(is_own_at(true, &[("origin", "https://127.0.0.1:8788")]));
        assert!(!is_own_at(true, &[("origin", "http://127.0.0.1:8788")]));
        assert!(is_own_at(false, &[("origin", "https://127.0.0.1:8788")]), "a proxy terminates TLS");
    }

    #[test]
    fn only_the_page_itself_can_send_its_forms() {
        assert!(is_own_with(&[]));
        assert!(is_own_with(&[("origin", "http://127.0.0.1:8788"), ("sec-fetch-site", "same-origin")]));
        for origin in
            ["http://127.0.0.1:8787", "http://127.0.0.1", "http://localhost:8788", "http://evil.example", "null", ""]
        {
            assert!(!is_own_with(&[("origin", origin)]), "{origin}");
        }
        for site in ["cross-site", "same-site", "none"] {
            assert!(!is_own_with(&[("sec-fetch-site", site)]), "{site}");
        }
        assert!(!is_own_with(&[("origin", "http://127.0.0.1:8788"), ("origin", "http://127.0.0.1:8788")]));
    }

    #[test]
    fn the_cookie_is_secure_if_the_browser_speaks_tls_with_the_receiver_or_a_proxy() {
        let is_secure = |origin: Option<&'static str>, is_tls| {
            let mut headers = HeaderMap::new();
            headers.extend(origin.map(|origin| (header::ORIGIN, origin.parse().unwrap())));
            is_over_tls(&headers, is_tls)
        };
        assert!(is_secure(Some("https://medhook.example.org"), false) && is_secure(None, true));
        assert!(!is_secure(Some("http://127.0.0.1:8788"), false) && !is_secure(None, false));
        assert!(!is_secure(Some("null"), false));
    }

    #[test]
    fn a_session_is_named_by_the_cookie_of_this_scheme() {
        let ids = |value: &'static str, is_tls| {
            let mut headers = HeaderMap::new();
            headers.append(header::COOKIE, value.parse().unwrap());
            session_ids(&headers, is_tls).map(ToOwned::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(ids("a=1; medhook=x; medhook=y", false), ["x", "y"]);
        assert_eq!(ids("__Host-medhook=x; medhook=y", true), ["x"]);
        assert_eq!(ids("__Host-medhook=x; medhook=y", false), ["x", "y"], "a proxy may terminate TLS");
        assert_eq!(ids("medhook; xmedhook=1; medhookx=1; Medhook=1", false), [""; 0]);
        assert_eq!(ids(&*"medhook=1;".repeat(100).leak(), false).len(), MOST_IDS);
    }

    #[test]
    fn a_login_continues_on_the_page_only() {
        for path in ["/", "/inbox/12", "/deliveries?endpoint=fasten&outcome=rejected", "/inbox?kind=a%20b"] {
            assert_eq!(local_path(path), path);
        }
        let long = format!("/{}", "a".repeat(LONGEST_NEXT));
        for path in [
            "",
            "inbox",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example/",
            "javascript:alert(1)",
            "/a\r\nset-cookie: a=b",
            "/\tevil",
            "/login?next=/",
            "/logout",
            "/ä",
            &*long,
        ] {
            assert_eq!(local_path(path), "/", "{path}");
        }
    }
}
