//! Handshakes over real sockets: each method reaches the receiver, its reply is sent as it is, and no handler runs.

use std::net::SocketAddr;
use std::sync::Arc;

use medhook::inbox::Filter;
use medhook::{
    Bodies, Custom, EchoToken, Handshake, HmacSha256Body, Inbox, NoDedupe, Reason, Receiver, Secret, SqliteStore,
};
use medhook_conformance::Answer;
use medhook_tests::route::Route;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::servers;

const KEY: &str = "made-up-metriport-key";
const PING: &str = r#"{"ping":"abc","meta":{"messageId":"m1","when":"2026-11-28T07:00:00.000Z","type":"ping"}}"#;
const SIGNATURE: &str = "dc005a649663caad3dcf9a834e6f1490a61c521ef9073803617cf96c3c6aed5d";

/// Every handshake that one endpoint can have.
fn provider() -> Custom {
    let secret = |text: &str| Secret::new(text).expect("a secret");
    let token = EchoToken::parameter("token", secret("a-verification-token"));
    Custom::new("acme", HmacSha256Body::new("x-signature"), secret(KEY))
        .handshake(Handshake::ping_pong("/ping", "pong"))
        .handshake(Handshake::echo_json("challenge", token, "challenge"))
        .handshake(Handshake::head())
        .handshake(Handshake::unsigned_ping("x-event", "PING"))
}

fn receiver() -> Receiver {
    Receiver::builder("acme", provider()).store(NoDedupe).build().expect("a receiver")
}

/// A request, and the status and the body of its response.
struct Row {
    method: &'static str,
    query: &'static str,
    headers: &'static str,
    body: &'static str,
    expected: (u16, &'static str),
    reason: Option<Reason>,
}

fn rows() -> Vec<Row> {
    let row = |method, query, headers, body, expected, reason| Row { method, query, headers, body, expected, reason };
    let echo = "?token=a-verification-token&challenge=a%2Db";
    let signed = "x-signature: dc005a649663caad3dcf9a834e6f1490a61c521ef9073803617cf96c3c6aed5d\r\n";
    assert!(signed.contains(SIGNATURE));
    vec![
        row("GET", echo, "", "", (200, r#"{"challenge":"a-b"}"#), None),
        row("GET", "?challenge=ab", "", "", (401, ""), Some(Reason::HandshakeRejected)),
        row("GET", "", "", "", (401, ""), Some(Reason::HandshakeRejected)),
        row("HEAD", echo, "", "", (200, ""), None),
        row("HEAD", "", "", "", (200, ""), None),
        row("POST", "", signed, PING, (200, r#"{"pong":"abc"}"#), None),
        row("POST", "", "x-event: PING\r\n", PING, (200, ""), None),
        row("POST", "", "x-event: PONG\r\n", PING, (401, ""), Some(Reason::MissingHeader)),
        row("PUT", "", signed, PING, (405, ""), Some(Reason::Method)),
        row("DELETE", echo, "", "", (405, ""), Some(Reason::Method)),
    ]
}

/// Sends a request on a connection of its own. Returns the lines of the head and the bytes after it, to the end of the
/// connection.
async fn exchange(to: SocketAddr, path: &str, row: &Row) -> (Vec<String>, String) {
    let Row { method, query, headers, body, .. } = row;
    let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let request =
        format!("{method} {path}{query} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}{length}\r\n{body}");
    let mut socket = TcpStream::connect(to).await.expect("the server listens");
    socket.write_all(request.as_bytes()).await.expect("sent");
    let mut response = Vec::new();
    // A server that has not read the body may reset the connection after its response.
    let _ = socket.read_to_end(&mut response).await;
    let response = String::from_utf8(response).expect("text");
    let (head, body) =
        response.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no response to {method}: {response:?}"));
    (head.split("\r\n").map(str::to_lowercase).collect(), body.to_owned())
}

async fn check(name: &str, to: SocketAddr, path: &str, row: &Row) {
    let (head, body) = exchange(to, path, row).await;
    let case = format!("{name}: {} {:?} {:?}: {head:?}", row.method, row.query, row.headers);
    let (status, expected) = row.expected;
    assert!(head[0].starts_with(&format!("http/1.1 {status} ")), "{case}");
    assert_eq!(body, expected, "{case}");
    let has = |line: &str| head.iter().any(|known| known == line);
    let names = |name: &str| head.iter().any(|known| known.starts_with(&format!("{name}: ")));
    let is_reply = status == 200;
    assert_eq!(has("cache-control: no-store") && has("x-content-type-options: nosniff"), is_reply, "{case}");
    assert_eq!(has("content-type: application/json"), !expected.is_empty(), "{case}");
    assert!(!names("access-control-allow-origin"), "{case}");
    assert_eq!(has("allow: get, head, post"), status == 405, "{case}");
    assert_eq!(names("allow"), status == 405, "{case}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_are_answered_by_the_receiver_in_every_framework() {
    for (name, start) in servers::ALL {
        let (route, watched) = Route::watched(receiver());
        let address = start(Arc::new([route]));
        for row in rows() {
            check(name, address, "/0", &row).await;
            let outcome = row.reason.map(Reason::outcome);
            let expected = Answer { status: row.expected.0, outcome, reason: row.reason };
            assert_eq!(watched.answers(), [expected], "{name}: {} {:?}", row.method, row.query);
        }
        assert_eq!(watched.bodies(), [] as [medhook::Bytes; 0], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_reach_the_receiver_through_the_route_of_each_crate() {
    let routes = [("axum", axum(receiver()).await), ("actix-web", actix(receiver()))];
    for (name, address) in routes {
        for row in rows() {
            check(name, address, "/in", &row).await;
        }
    }
}

async fn axum(receiver: Receiver) -> SocketAddr {
    let app: axum::Router = axum::Router::new().route("/in", medhook_axum::post(receiver, panics));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, app).await.expect("served") });
    address
}

async fn panics() -> http::StatusCode {
    panic!("a handshake reached the handler")
}

fn actix(receiver: Receiver) -> SocketAddr {
    use actix_web::{App, HttpResponse, HttpServer};

    async fn handler() -> HttpResponse {
        panic!("a handshake reached the handler")
    }

    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let app = move || App::new().route("/in", medhook_actix::post(receiver.clone(), handler));
    std::thread::spawn(move || {
        let server = HttpServer::new(app).workers(1).listen(listener).expect("a listener").disable_signals().run();
        actix_web::rt::System::new().block_on(server).expect("served");
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_handshake_is_stored_in_an_inbox() {
    for (name, start) in servers::ALL {
        let folder = tempfile::TempDir::new().expect("a folder");
        let store = SqliteStore::open(folder.path().join("inbox.db")).await.expect("a store");
        let inbox: Inbox = store.inbox(Bodies::plaintext()).await.expect("an inbox");
        let receiver = Receiver::builder("acme", provider()).inbox(inbox.clone()).build().expect("a receiver");
        let address = start(Arc::new([Route::watched(receiver).0]));
        for row in rows() {
            check(name, address, "/0", &row).await;
        }
        assert_eq!(inbox.list(&Filter::new()).await.expect("a list").len(), 0, "{name}");

        // The same body without the ping is an event.
        let body = PING.replace("\"ping\":", "\"gnip\":");
        let headers = medhook::testing::Signing::hmac_sha256("x-signature").headers(KEY, "", "", body.as_bytes());
        let (_, signature) = headers.expect("signed").remove(0);
        let row = Row {
            method: "POST",
            query: "",
            headers: format!("x-signature: {signature}\r\n").leak(),
            body: body.leak(),
            expected: (200, ""),
            reason: None,
        };
        let (head, _) = exchange(address, "/0", &row).await;
        assert!(head[0].starts_with("http/1.1 200 "), "{name}: {head:?}");
        assert_eq!(inbox.list(&Filter::new()).await.expect("a list").len(), 1, "{name}");
    }
}

/// A response to `HEAD` has no body, so the next response on the connection is read correctly.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_kept_after_a_reply_to_head() {
    for (name, start) in servers::ALL {
        let address = start(Arc::new([Route::watched(receiver()).0]));
        let mut socket = TcpStream::connect(address).await.expect("the server listens");
        for last in [false, false, true] {
            let close = if last { "connection: close\r\n" } else { "" };
            let request = format!("HEAD /0 HTTP/1.1\r\nhost: a\r\n{close}\r\n");
            socket.write_all(request.as_bytes()).await.expect("sent");
        }
        let mut responses = String::new();
        let _ = socket.read_to_string(&mut responses).await;
        let all: Vec<_> = responses.split("\r\n\r\n").collect();
        assert_eq!(all.len(), 4, "{name}: {responses:?}");
        assert!(all[..3].iter().all(|head| head.starts_with("HTTP/1.1 200 ")) && all[3].is_empty(), "{name}");
    }
}

#[test]
#[should_panic(expected = "Overlapping method route")]
fn a_second_handler_for_post_cannot_be_chained_to_a_route_of_axum() {
    let _: axum::routing::MethodRouter = medhook_axum::post(receiver(), panics).post(panics);
}
