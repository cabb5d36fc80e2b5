//! Access to the operator's page: its token, sessions, hosts and forms.

use std::time::Instant;

use crate::addresses::logged;
use crate::page_client::{Answer, FORM, OPERATIONS, TOKEN, TOP, get, is_open, log_in, page, request, send, started};
use crate::program::{Folder, Instance, PATIENCE};
use crate::sender::ENDPOINT;

#[test]
fn without_a_token_there_is_no_page() {
    let folder = Folder::new();
    let operations = "[operations]\nlisten = \"127.0.0.1:0\"\n";
    let instance = Instance::start(&folder, &format!("{TOP}{ENDPOINT}{operations}"), &[]);
    let at = crate::metrics::operations(&instance);
    for path in ["/", "/login", "/logout", "/deliveries", "/inbox", "/inbox/1", "/assets/page.css", "/assets/page.js"] {
        let answer = get(at, path, "");
        assert_eq!(answer.status, 404, "{path}");
        check_headers(&answer);
    }
    assert_eq!(get(at, "/livez", "").status, 200);
    assert_eq!(get(at, "/metrics", "").status, 200);
    assert!(!instance.stderr().iter().any(|line| line.contains("operator's page")));
}

#[test]
fn the_token_opens_a_session_and_the_logout_ends_it() {
    let folder = Folder::new();
    let (_instance, at) = started(&folder);
    let answer = get(at, "/inbox?status=dead", "");
    assert_eq!((answer.status, answer.body.as_str()), (303, ""));
    assert_eq!(answer.header("location"), Some("/login?next=%2Finbox%3Fstatus%3Ddead"));
    let form = get(at, "/login?next=%2Finbox%3Fstatus%3Ddead", "");
    assert_eq!(form.status, 200);
    assert!(form.body.contains("value=\"/inbox?status=dead\""), "{}", form.body);

    let body = format!("token={TOKEN}&next=%2Fdeliveries%3Foutcome%3Drejected");
    let opened = send(at, "POST", "/login", FORM, &body);
    assert_eq!((opened.status, opened.header("location")), (303, Some("/deliveries?outcome=rejected")));
    let cookie = opened.header("set-cookie").unwrap();
    let (id, attributes) = cookie.strip_prefix("medhook=").unwrap().split_once("; ").unwrap();
    assert!(id.len() == 64 && id.bytes().all(|digit| digit.is_ascii_hexdigit()), "{id}");
    assert_eq!(attributes, "Path=/; Max-Age=28800; HttpOnly; SameSite=Strict");

    let cookie = opened.cookie();
    for path in ["/", "/deliveries?outcome=rejected"] {
        let view = get(at, path, &cookie);
        assert_eq!(view.status, 200, "{path}");
        assert_eq!(view.header("content-type"), Some("text/html; charset=utf-8"));
        assert!(!view.body.contains(id), "the id of the session must not be in the page");
    }
    let other = log_in(at, TOKEN).cookie();
    let ended = send(at, "POST", "/logout", &cookie, "");
    assert_eq!((ended.status, ended.header("location")), (303, Some("/login")));
    assert_eq!(ended.header("set-cookie"), Some("medhook=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict"));
    assert!(!is_open(at, &cookie) && is_open(at, &other));
}

#[test]
fn forged_cookies_open_nothing() {
    let folder = Folder::new();
    let (_instance, at) = started(&folder);
    let cookie = log_in(at, TOKEN).cookie();
    let id = cookie.trim_end().strip_prefix("cookie: medhook=").unwrap();
    assert!(is_open(at, &cookie));
    assert!(is_open(at, &format!("cookie: a=1; medhook={}; medhook={id}\r\n", "0".repeat(64))));
    let last = if id.ends_with('0') { '1' } else { '0' };
    for forged in [
        String::new(),
        format!("{}{last}", &id[..63]),
        id[..63].to_owned(),
        format!("{id}0"),
        id.to_ascii_uppercase() + "A",
        format!("\"{id}\""),
        "0".repeat(64),
        TOKEN.to_owned(),
    ] {
        assert!(!is_open(at, &format!("cookie: medhook={forged}\r\n")), "{forged}");
    }
    for name in ["__Secure-medhook", "__host-medhook", "Medhook", "medhook2"] {
        assert!(!is_open(at, &format!("cookie: {name}={id}\r\n")), "{name}");
    }
    assert!(!is_open(at, ""));
    assert!(!is_open(at, &format!("authorization: Bearer {TOKEN}\r\n")));
    assert_eq!(get(at, &format!("/?token={TOKEN}&medhook={id}"), "").status, 303);
}

#[test]
fn a_wrong_token_opens_nothing_and_too_many_must_wait() {
    let folder = Folder::new();
    let (mut instance, at) = started(&folder);
    let session = log_in(at, TOKEN).cookie();
    let cut = &TOKEN[..TOKEN.len() - 1];
    let wrong =
        [String::new(), cut.to_owned(), format!("{TOKEN}0"), format!("f{}", &TOKEN[1..]), "<b>canary".to_owned()];
    for token in &wrong {
        let answer = log_in(at, token);
        assert_eq!((answer.status, answer.header("set-cookie")), (403, None), "{token}");
        assert!(answer.body.contains("The token is wrong."), "{}", answer.body);
        assert!(!answer.body.contains("canary") && !answer.body.contains(cut), "the page repeats the token");
    }
    let began = Instant::now();
    let mut number = wrong.len() as u64;
    let limited = loop {
        let answer = log_in(at, "wrong");
        if answer.status == 429 {
            break answer;
        }
        number += 1;
        assert_eq!(answer.status, 403);
        assert!(began.elapsed() < PATIENCE);
    };
    let wait: u64 = limited.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=11).contains(&wait), "{wait}");
    assert!(is_open(at, &session), "open sessions continue");
    // The right token is accepted after the time that the answer names.
    let (began, mut waited) = (Instant::now(), 1);
    while log_in(at, TOKEN).status != 303 {
        waited += 1;
        assert!(began.elapsed() < PATIENCE);
        std::thread::sleep(std::time::Duration::from_millis(200));
    }

    assert!(instance.terminate().success());
    let lines = instance.stderr();
    // The first one of each sort is logged at once, and the others are counted. None is left out.
    for (text, expected) in [("because the token is wrong", number), ("too many wrong tokens", waited)] {
        let about: Vec<_> = lines.iter().filter(|line| line.contains(text)).collect();
        assert!(about[0].contains("WARN medhook::page: logins to the operator's page were rejected"), "{about:?}");
        assert!(about[0].contains(" count=1 from=\"127.0.0.0/24\""), "{about:?}");
        assert_eq!(counted(&lines, text), expected, "{about:?}");
        assert!(about.len() as u64 <= 3 + began.elapsed().as_secs() / 5, "{about:?}");
    }
    let output = [lines.concat(), instance.stdout().concat()].concat();
    let id = session.trim_end().strip_prefix("cookie: medhook=").unwrap();
    for hidden in [TOKEN, cut, "canary", id] {
        assert!(!output.contains(hidden), "{hidden} in {output}");
    }
}

/// Returns the sum of the counts in the lines with this text.
fn counted(lines: &[String], text: &str) -> u64 {
    let about = lines.iter().filter(|line| line.contains(text));
    let counts = about.map(|line| line.split_once(" count=").unwrap().1);
    counts.map(|count| count.split(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

#[test]
fn decisions_about_access_are_logged_and_show_nothing_of_a_request() {
    let folder = Folder::new();
    let (mut instance, at) = started(&folder);
    let [first, second] = [(); 2].map(|()| log_in(at, TOKEN).cookie());
    for _ in 0..2 {
        assert_eq!(send(at, "POST", "/logout", &first, "").status, 303);
    }
    for _ in 0..3 {
        let foreign = format!("{FORM}{second}origin: http://canary.example\r\n");
        assert_eq!(send(at, "POST", "/login", &foreign, "token=canary").status, 403);
        assert_eq!(send(at, "POST", "/logout", &foreign, "").status, 403);
    }
    for path in ["/", "/canary", "/login?next=canary"] {
        assert_eq!(request(at, "GET", path, "host: canary.example\r\n", "").status, 421);
    }
    // Assets and probes are not limited to a host, and a request without a session is no attempt.
    for path in ["/assets/page.css", "/livez", "/metrics"] {
        assert_eq!(request(at, "GET", path, "host: canary.example\r\n", "").status, 200);
    }
    assert!(!is_open(at, &first) && is_open(at, &second));
    assert!(instance.terminate().success());
    let lines = instance.stderr();
    for (level, text, expected) in [
        ("INFO", "sessions of the operator's page were opened", 2),
        ("INFO", "sessions of the operator's page were ended by logging out", 1),
        ("WARN", "forms for the operator's page were rejected because another site sent them", 6),
        ("WARN", "requests for the operator's page were answered 421", 3),
    ] {
        assert_eq!(counted(&lines, text), expected, "{text}: {lines:?}");
        let about: Vec<_> = lines.iter().filter(|line| line.contains(text)).collect();
        assert!(about.iter().all(|line| line.contains(&format!("{level} medhook::page: "))), "{about:?}");
        assert!(about.iter().all(|line| line.contains(" from=\"127.0.0.0/24\"")), "{about:?}");
    }
    assert_eq!(lines.iter().filter(|line| line.contains("medhook::page")).count(), 7, "{lines:?}");
    let id = second.trim_end().strip_prefix("cookie: medhook=").unwrap();
    for hidden in ["canary", TOKEN, id] {
        assert!(!lines.concat().contains(hidden), "{hidden} in {lines:?}");
    }
}

#[test]
fn a_login_ends_the_former_session_of_the_browser() {
    let folder = Folder::new();
    let (_instance, at) = started(&folder);
    let [former, other] = [(); 2].map(|()| log_in(at, TOKEN).cookie());
    let form = format!("token={TOKEN}");
    assert_eq!(send(at, "POST", "/login", &format!("{FORM}{former}"), "token=wrong").status, 403);
    assert!(is_open(at, &former), "a wrong token ends nothing");
    let opened = send(at, "POST", "/login", &format!("{FORM}{former}"), &form);
    assert_eq!(opened.status, 303);
    assert!(!is_open(at, &former) && is_open(at, &other) && is_open(at, &opened.cookie()));
}

#[test]
fn behind_a_tls_proxy_the_cookie_is_bound_to_the_host() {
    let folder = Folder::new();
    let (_instance, at) = started(&folder);
    const HOST: &str = "host: medhook.example.org\r\n";
    let own = format!("{HOST}{FORM}origin: https://medhook.example.org\r\nsec-fetch-site: same-origin\r\n");
    let opened = request(at, "POST", "/login", &own, &format!("token={TOKEN}"));
    let cookie = opened.header("set-cookie").unwrap();
    let (id, attributes) = cookie.strip_prefix("__Host-medhook=").unwrap().split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; Max-Age=28800; HttpOnly; SameSite=Strict; Secure");
    // The request that follows has no origin.
    let view = |name: &str| request(at, "GET", "/", &format!("{HOST}cookie: {name}={id}\r\n"), "").status;
    assert_eq!([view("__Host-medhook"), view("__Secure-medhook")], [200, 303]);
    let ended = request(at, "POST", "/logout", &format!("{own}cookie: __Host-medhook={id}\r\n"), "");
    let expected = "__Host-medhook=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict; Secure";
    assert_eq!((ended.status, ended.header("set-cookie")), (303, Some(expected)));
    assert_eq!(view("__Host-medhook"), 303);
    // The proxy decides whether browsers must always use TLS.
    assert_eq!(opened.header("strict-transport-security"), None);
}

#[test]
fn only_addresses_and_configured_hosts_have_the_page() {
    let folder = Folder::new();
    let (_instance, at) = started(&folder);
    let port = at.port();
    let allowed = ["127.0.0.1", "[::1]", "192.0.2.7", "localhost", "LocalHost", "medhook.example.org"];
    for host in allowed.into_iter().flat_map(|host| [host.to_owned(), format!("{host}:{port}")]) {
        assert_eq!(request(at, "GET", "/login", &format!("host: {host}\r\n"), "").status, 200, "{host}");
    }
    let cookie = log_in(at, TOKEN).cookie();
    let foreign =
        ["evil.example", "example.org", "a.medhook.example.org", "localhost.evil.example", "127.0.0.1.nip.io"];
    for host in foreign.into_iter().flat_map(|host| [host.to_owned(), format!("{host}:{port}")]) {
        let headers = format!("host: {host}\r\n{cookie}{FORM}");
        for path in ["/", "/login", "/deliveries", "/unknown"] {
            let answer = request(at, "GET", path, &headers, "");
            assert_eq!(answer.status, 421, "{host}{path}");
            assert!(answer.body.contains("`hosts`") && !answer.body.contains(&host), "{}", answer.body);
        }
        let answer = request(at, "POST", "/login", &headers, &format!("token={TOKEN}"));
        assert_eq!((answer.status, answer.header("set-cookie")), (421, None), "{host}");
        // The style of the answers above, which is the same in every receiver.
        assert_eq!(request(at, "GET", "/assets/page.css", &headers, "").status, 200);
        // Probes and Prometheus use any host.
        assert_eq!(request(at, "GET", "/livez", &headers, "").status, 200);
        assert_eq!(request(at, "GET", "/metrics", &headers, "").status, 200);
    }
    // The target of a request counts, not the header.
    let target = "http://evil.example/login";
    assert_eq!(request(at, "GET", target, &format!("host: {at}\r\n"), "").status, 421);
}

#[test]
fn forms_of_other_sites_change_nothing() {
    let folder = Folder::new();
    let (_instance, at) = started(&folder);
    let cookie = log_in(at, TOKEN).cookie();
    let body = format!("token={TOKEN}");
    let other_port = if at.port() == 1 { 2 } else { 1 };
    for foreign in [
        "origin: http://evil.example\r\n".to_owned(),
        "origin: null\r\n".to_owned(),
        format!("origin: http://127.0.0.1:{other_port}\r\n"),
        format!("origin: http://localhost:{}\r\n", at.port()),
        "sec-fetch-site: cross-site\r\n".to_owned(),
        "sec-fetch-site: same-site\r\n".to_owned(),
        format!("origin: http://{at}\r\nsec-fetch-site: cross-site\r\n"),
    ] {
        let answer = send(at, "POST", "/login", &format!("{FORM}{foreign}"), &body);
        assert_eq!((answer.status, answer.header("set-cookie")), (403, None), "{foreign}");
        assert!(answer.body.contains("another site"), "{}", answer.body);
        let answer = send(at, "POST", "/logout", &format!("{cookie}{foreign}"), "");
        assert_eq!((answer.status, answer.header("set-cookie")), (403, None), "{foreign}");
        assert!(is_open(at, &cookie), "{foreign}");
    }
    for kind in ["", "content-type: application/json\r\n", "content-type: text/plain\r\n"] {
        let answer = send(at, "POST", "/login", kind, &body);
        assert_eq!((answer.status, answer.header("set-cookie")), (415, None), "{kind}");
    }
    let own = format!("origin: http://{at}\r\nsec-fetch-site: same-origin\r\n");
    assert_eq!(send(at, "POST", "/login", &format!("{FORM}{own}"), &body).status, 303);
    assert_eq!(send(at, "POST", "/logout", &format!("{cookie}{own}"), "").status, 303);
    assert!(!is_open(at, &cookie));
}

#[test]
fn a_login_never_continues_at_another_site() {
    let folder = Folder::new();
    let (_instance, at) = started(&folder);
    for next in [
        "https%3A%2F%2Fevil.example",
        "%2F%2Fevil.example",
        "%2F%5Cevil.example",
        "%5C%5Cevil.example",
        "javascript%3Aalert(1)",
        "%2Fa%0D%0Aset-cookie%3A+a%3Db",
        "%2F%09%2Fevil.example",
        "evil.example",
        "%2Flogout",
        "",
    ] {
        let answer = send(at, "POST", "/login", FORM, &format!("token={TOKEN}&next={next}"));
        assert_eq!((answer.status, answer.header("location")), (303, Some("/")), "{next}");
        let form = get(at, &format!("/login?next={next}"), "");
        assert!(form.body.contains("name=\"next\" value=\"/\""), "{next}: {}", form.body);
    }
    let form = get(at, "/login?next=/%22%3E%3Cscript%3Ealert(1)%3C/script%3E", "");
    assert!(!form.body.contains("<script>"), "{}", form.body);
}

#[test]
fn every_answer_restricts_the_browser() {
    let folder = Folder::new();
    let (_instance, at) = started(&folder);
    let cookie = log_in(at, TOKEN).cookie();
    let answers = [
        (200, get(at, "/", &cookie)),
        (200, get(at, "/login", "")),
        (303, get(at, "/", "")),
        (303, log_in(at, TOKEN)),
        (403, log_in(at, "wrong")),
        (403, send(at, "POST", "/login", &format!("{FORM}origin: null\r\n"), "token=a")),
        (404, get(at, "/unknown", &cookie)),
        (404, get(at, "/inbox", &cookie)),
        (405, send(at, "DELETE", "/", &cookie, "")),
        (421, request(at, "GET", "/", "host: evil.example\r\n", "")),
        (200, get(at, "/assets/page.css", "")),
        (200, get(at, "/assets/page.js", "")),
        (405, send(at, "POST", "/assets/page.js", "", "")),
        (200, get(at, "/livez", "")),
        (200, get(at, "/readyz", "")),
        (405, send(at, "POST", "/livez", "", "")),
        (200, get(at, "/metrics", "")),
        (405, send(at, "POST", "/metrics", "", "")),
    ];
    for (status, answer) in &answers {
        assert_eq!(answer.status, *status, "{answer:?}");
        check_headers(answer);
        let kind = answer.header("content-type").unwrap_or_default();
        let is_asset = kind.starts_with("text/css") || kind.starts_with("text/javascript");
        assert_eq!(answer.header("cache-control"), Some(if is_asset { "no-cache" } else { "no-store" }));
        assert!(answer.body.is_empty() || kind.contains("charset=utf-8"), "{answer:?}");
        assert_eq!(answer.header("strict-transport-security"), None, "there is no TLS");
    }
    // Without a session, a path that exists and one that does not are answered alike.
    assert_eq!(get(at, "/unknown", "").status, 303);
}

fn check_headers(answer: &Answer) {
    let policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
                  form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    for (name, value) in [
        ("content-security-policy", policy),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("x-frame-options", "DENY"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{answer:?}");
    }
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_eq!(answer.header("server"), None);
}

#[test]
fn other_methods_are_rejected_and_head_has_no_body() {
    let folder = Folder::new();
    let (_instance, at) = started(&folder);
    let cookie = log_in(at, TOKEN).cookie();
    for (path, methods, allowed) in [
        ("/", &["POST", "PUT", "DELETE", "OPTIONS", "PATCH"][..], "GET, HEAD"),
        ("/deliveries", &["POST"], "GET, HEAD"),
        ("/assets/page.css", &["POST"], "GET, HEAD"),
        ("/login", &["PUT", "OPTIONS"], "GET, HEAD, POST"),
        ("/logout", &["GET", "HEAD", "PUT", "TRACE"], "POST"),
        ("/livez", &["POST", "TRACE", "OPTIONS"], "GET, HEAD"),
        ("/readyz", &["DELETE"], "GET, HEAD"),
        ("/metrics", &["POST", "TRACE", "OPTIONS"], "GET, HEAD"),
    ] {
        for method in methods {
            let answer = send(at, method, path, &cookie, "");
            assert_eq!((answer.status, answer.header("allow")), (405, Some(allowed)), "{method} {path}");
        }
    }
    assert!(is_open(at, &cookie), "a link to /logout must not end the session");
    for path in ["/", "/login", "/assets/page.css"] {
        let (head, whole) = (send(at, "HEAD", path, &cookie, ""), get(at, path, &cookie));
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        assert_eq!(head.header("content-type"), whole.header("content-type"), "{path}");
    }
}

#[test]
fn the_oldest_of_too_many_sessions_is_closed() {
    let folder = Folder::new();
    let (_instance, at) = started(&folder);
    let cookies: Vec<_> = (0..65).map(|_| log_in(at, TOKEN).cookie()).collect();
    assert!(!is_open(at, &cookies[0]) && is_open(at, &cookies[1]) && is_open(at, &cookies[64]));
}

#[test]
fn a_new_token_in_the_file_ends_all_sessions() {
    let folder = Folder::new();
    let token = folder.file("token", "the first token of the page\n");
    let operations = OPERATIONS.replace("{ env = \"TEST_THIRD_SECRET\" }", &format!("{{ file = {token:?} }}"));
    let instance = Instance::start(&folder, &format!("{TOP}{ENDPOINT}{operations}"), &[]);
    let at = page(&instance);
    let (first, second) = ("the+first+token+of+the+page", "the+second+token+of+the+page");
    let cookie = log_in(at, first).cookie();
    instance.signal("-HUP");
    logged(&instance, "SIGHUP");
    assert!(is_open(at, &cookie), "the token is the same");

    folder.file("token", "the second token of the page\n");
    instance.signal("-HUP");
    logged(&instance, "the token of the operator's page was replaced");
    assert!(!is_open(at, &cookie));
    assert_eq!(log_in(at, first).status, 403);
    let cookie = log_in(at, second).cookie();

    for (content, problem) in [
        ("short\n", "the secret is shorter than 16 bytes"),
        ("", "empty; the old token stays in use"),
        ("changemechangeme\n", "must have at least 8 different characters"),
        (&*"0123456789abcdef".repeat(65), "must have at most 1024 characters"),
        ("two lines of a token\nof the page\n", "contains a line break"),
    ] {
        folder.file("token", content);
        instance.signal("-HUP");
        logged(&instance, problem);
        assert!(is_open(at, &cookie), "{problem}");
        assert_eq!(log_in(at, second).status, 303, "{problem}");
    }
    std::fs::remove_file(&token).unwrap();
    instance.signal("-HUP");
    logged(&instance, "the file does not exist; the old token stays in use");
    assert_eq!(log_in(at, second).status, 303);
    assert!(!instance.stderr().concat().contains("second token"));
}

/// Otherwise the provider, which knows the secret of its endpoint, could log in.
#[cfg(unix)]
#[test]
fn a_secret_that_is_replaced_while_it_runs_cannot_be_the_token() {
    let folder = Folder::new();
    let token = folder.file("token", "the first token of the page\n");
    let secret = folder.file("lab.secret", "the first secret of the lab\n");
    let operations = OPERATIONS.replace("{ env = \"TEST_THIRD_SECRET\" }", &format!("{{ file = {token:?} }}"));
    let lab = format!(
        "[[endpoint]]\npath = \"/lab\"\nprovider = \"mediquo\"\ninbox = false\nsecrets = [{{ file = {secret:?} }}]\n"
    );
    let instance = Instance::start(&folder, &format!("{TOP}{ENDPOINT}{lab}{operations}"), &[]);
    let at = page(&instance);
    let cookie = log_in(at, "the+first+token+of+the+page").cookie();
    for (file, content, kept) in [
        ("lab.secret", "the first token of the page\n", "the secrets of this endpoint stay as they are"),
        ("token", "the first secret of the lab\n", "the old token stays in use"),
    ] {
        let before = std::fs::read_to_string(folder.path().join(file)).unwrap();
        folder.file(file, content);
        instance.signal("-HUP");
        logged(&instance, kept);
        assert!(instance.stderr().concat().contains("the token must differ from every other secret"), "{file}");
        assert!(is_open(at, &cookie), "{file}");
        folder.file(file, &before);
    }
}
