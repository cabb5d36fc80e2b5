//! A client of the operator's page without the token sees none of the receiver's state and opens no session, whatever
//! it sends. Its text is never HTML of the answer, and every redirect stays on the page.
//!
//! The input is the bytes of a connection, in which `$` stands for the token and `@` for the cookie of a session.

use std::cell::RefCell;

use medhook::Secret;
use medhook_cli::parsers::PageServer;
use tokio::runtime::{Builder, Runtime};

const TOKEN: &str = "the-token-of-the-page";
/// A text of the overview, which only a client with a session may see.
const STATE: &str = "store-of-the-receiver";
/// HTML of the client.
const HTML: &str = "<canary";

pub(super) fn holds(data: &[u8]) {
    thread_local! {
        static RUNTIME: RefCell<Runtime> = RefCell::new(
            // The views are rendered outside of the threads that answer deliveries.
            Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime"),
        );
    }
    let token = Secret::new(TOKEN).expect("a secret");
    let page = PageServer::new(&token, vec!["medhook.example.org".to_owned()], false).expect("a page");
    RUNTIME.with_borrow(|runtime| {
        let answers = |requests: &[u8]| runtime.block_on(page.answers(requests, STATE));
        let login = String::from_utf8(answers(LOGIN.as_bytes())).expect("text");
        let (_, cookie) = login.split_once("set-cookie: ").expect("a session");
        let cookie = cookie.split(';').next().unwrap_or_default();
        let requests = data.iter().flat_map(|byte| match byte {
            b'$' => TOKEN.as_bytes().to_vec(),
            b'@' => cookie.as_bytes().to_vec(),
            byte => vec![*byte],
        });
        let answered = answers(&requests.collect::<Vec<_>>());
        let text = String::from_utf8_lossy(&answered);
        assert!(data.contains(&b'@') || !text.contains(STATE), "{text}");
        assert!(!text.contains(HTML), "{text}");
        // A redirect to the login repeats the query, which may contain the token if the client knows it.
        assert!(data.contains(&b'$') || !text.contains(TOKEN), "{text}");
        check(&answered, data.contains(&b'$'));
    });
}

/// Checks the heads of all answers.
fn check(mut answered: &[u8], has_token: bool) {
    while !answered.is_empty() {
        let end = answered.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
        let head = str::from_utf8(&answered[..end]).expect("ASCII");
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default();
        let headers: Vec<_> = lines.map(|line| line.split_once(": ").unwrap_or((line, ""))).collect();
        let value = |name: &str| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        // The server itself answers what is not HTTP.
        let is_of_server = ["100", "400", "414", "431"].contains(&status);
        assert!(
            is_of_server || value("content-security-policy").is_some_and(|csp| csp.contains("default-src 'none'")),
            "{head}"
        );
        assert!(is_of_server || value("x-content-type-options") == Some("nosniff"), "{head}");
        if let Some(location) = value("location") {
            let is_local = location.starts_with('/') && !location.starts_with("//") && !location.contains('\\');
            assert!(is_local && location.bytes().all(|byte| byte.is_ascii_graphic()), "{head}");
        }
        if let Some(cookie) = value("set-cookie") {
            assert!(has_token || cookie.starts_with("medhook=; ") && cookie.contains("Max-Age=0"), "{head}");
            assert!(cookie.contains("HttpOnly; SameSite=Strict"), "{head}");
        }
        let length: usize = value("content-length").and_then(|length| length.parse().ok()).unwrap_or_default();
        answered = &answered[end + 4..];
        // The answer to HEAD has the length of a body that is not sent.
        answered = match answered.get(length..) {
            Some(rest) if !answered.starts_with(b"HTTP/1.1 ") => rest,
            _ if answered.starts_with(b"HTTP/1.1 ") => answered,
            _ => &[],
        };
    }
}

const LOGIN: &str = "POST /login HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 27\r\n\r\ntoken=the-token-of-the-page";

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let get = |target: &str, more: &str| format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n{more}\r\n");
    let post = |path: &str, more: &str, body: &str| {
        let form = "content-type: application/x-www-form-urlencoded";
        format!(
            "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{form}\r\n{more}content-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let session = "cookie: a=b; @\r\n";
    let seeds = [
        get("/", ""),
        get("/", session),
        get("/deliveries?endpoint=%3Ccanary&outcome=rejected", session),
        get("/inbox?status=dead&kind=%3Ccanary%3E&before=12", session),
        get("/inbox/12", session),
        get("/login?next=/%3Ccanary", ""),
        get("/login?next=%2F%2Fevil.example", ""),
        get("/inbox?a=<canary>", ""),
        get("/assets/style.css", ""),
        get("/", "cookie: medhook=0123456789abcdef\r\n"),
        get("/", "cookie: @; @\r\nhost: evil.example\r\n"),
        get("http://evil.example/", session),
        get("/", session).replace("localhost", "<canary"),
        get("/", session).replace("localhost", "medhook.example.org:443"),
        get("/", session).replace("GET", "HEAD"),
        get("/", session).replace("GET", "DELETE"),
        get("/", "").repeat(3),
        post("/login", "", "token=wrong&next=%2Finbox"),
        post(
            "/login",
            "origin: http://127.0.0.1\r\nsec-fetch-site: same-origin\r\n",
            "token=the-token-of-the-page&next=/inbox",
        ),
        post("/login", "origin: http://evil.example\r\n", "token=the-token-of-the-page"),
        post("/logout", session, ""),
        post("/logout", "origin: null\r\n", ""),
        post("/login", "", "token=%ff%00&next=//evil.example&next=/\\"),
        "POST /login HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\ntoken\r\n0\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        "GET / HTTP/1.0\r\n\r\n".to_owned(),
        get(&format!("/{}", "a".repeat(20_000)), ""),
    ];
    // The length of a form with the token is that of the token.
    seeds.map(|seed| seed.replace(TOKEN, "$").into_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without this, the check for the state would see no view.
    #[test]
    fn a_client_with_a_session_sees_the_state() {
        let token = Secret::new(TOKEN).expect("a secret");
        let page = PageServer::new(&token, Vec::new(), false).expect("a page");
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let answers = |requests: &str| {
            String::from_utf8(runtime.block_on(page.answers(requests.as_bytes(), STATE))).expect("text")
        };
        let login = answers(LOGIN);
        let (_, cookie) = login.split_once("set-cookie: ").expect("a session");
        let get = |cookie: &str| format!("GET / HTTP/1.1\r\nhost: localhost\r\ncookie: {cookie}\r\n\r\n");
        assert!(answers(&get(cookie.split(';').next().expect("a cookie"))).contains(STATE));
        assert!(!answers(&get("medhook=0")).contains(STATE));
    }
}
