//! Handshakes, over sockets, and the token of an echo, which is replaced while the receiver runs.

use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use medhook::Bytes;
use medhook::testing::Signing;

use super::{PATH, Running, config, signed};
use crate::program::{Folder, Instance, OTHER_SECRET, SECRET, THIRD_SECRET, ends};
use crate::sender::Sender;

const SCHEME: &str = "scheme = \"hmac-sha256\"\nheader = \"x-sig\"\n";
const ECHO: &str = "handshake = { type = \"echo\", parameter = \"challenge\", token_parameter = \"verification_token\", \
                    token = { env = \"TEST_OTHER_SECRET\" }, answer = \"json\", answer_key = \"challenge\" }";

/// Sends a request without a signature, and returns the status, the content type and the body of the answer.
async fn ask(instance: &Instance, method: Method, query: &str, headers: &[(&str, &str)]) -> (u16, String, String) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let mut request = Request::builder().method(method).uri(format!("http://{}{PATH}{query}", instance.address));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = client.request(request.body(Full::default()).unwrap()).await.unwrap();
    read(answer).await
}

async fn read(answer: Response<Incoming>) -> (u16, String, String) {
    let (head, body) = answer.into_parts();
    let header = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    if head.status == 200 {
        assert_eq!(header("cache-control").as_deref(), Some("no-store"));
        assert_eq!(header("x-content-type-options").as_deref(), Some("nosniff"));
    }
    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    (head.status.as_u16(), header("content-type").unwrap_or_default(), body)
}

fn answer(status: u16, content_type: &str, body: &str) -> (u16, String, String) {
    (status, content_type.to_owned(), body.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_ping_is_answered() {
    let keys = "handshake = { type = \"ping-pong\", ping_pointer = \"/ping\", pong_key = \"pong\" }";
    let running = Running::with(&format!("{SCHEME}{keys}"));
    let ping = |secret: &str| {
        let request = signed(&Signing::hmac_sha256("x-sig"), secret, r#"{"ping":"abc","meta":{"type":"ping"}}"#);
        let uri = format!("http://{}{PATH}", running.instance.address);
        let (mut head, body) = request.into_parts();
        head.uri = uri.parse().unwrap();
        Request::from_parts(head, Full::new(body))
    };
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let pong = read(client.request(ping(SECRET)).await.unwrap()).await;
    assert_eq!(pong, answer(200, "application/json", r#"{"pong":"abc"}"#));
    assert_eq!(read(client.request(ping(OTHER_SECRET)).await.unwrap()).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_with_the_token_is_echoed() {
    let running = Running::with(&format!("{SCHEME}{ECHO}"));
    let get = async |query: &str| ask(&running.instance, Method::GET, query, &[]).await;
    let query = format!("?verification_token={OTHER_SECRET}&challenge=a.b-1");
    assert_eq!(get(&query).await, answer(200, "application/json", r#"{"challenge":"a.b-1"}"#));
    assert_eq!(get(&query.replace(OTHER_SECRET, THIRD_SECRET)).await.0, 401);

    let text = "handshake = [{ type = \"echo\", parameter = \"challenge\", token_header = \"Verification-Token\", \
                token = [{ env = \"TEST_OTHER_SECRET\" }, { env = \"TEST_THIRD_SECRET\" }], answer = \"text\" }, \
                { type = \"head\" }]";
    let running = Running::with(&format!("{SCHEME}{text}"));
    for (token, status) in [(OTHER_SECRET, 200), (THIRD_SECRET, 200), (SECRET, 401)] {
        let headers = [("verification-token", token)];
        let (found, content_type, body) = ask(&running.instance, Method::GET, "?challenge=abc", &headers).await;
        assert_eq!(found, status, "{token}");
        assert!(status != 200 || (content_type == "text/plain; charset=utf-8" && body == "abc"), "{body}");
    }
    assert_eq!(ask(&running.instance, Method::HEAD, "", &[]).await.0, 200);
    let without = Running::with(SCHEME);
    assert_eq!(ask(&without.instance, Method::HEAD, "", &[]).await.0, 405);
    assert_eq!(ask(&without.instance, Method::GET, "?challenge=abc", &[]).await.0, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_is_answered_with_its_mac_where_no_delivery_has_it_as_a_signature() {
    let keys = "handshake = { type = \"hmac\", parameter = \"msg\", answer_key = \"secret_token\" }";
    for scheme in [SCHEME, "scheme = \"shared-secret\"\nheader = \"X-drchrono-signature\"\n"] {
        let running = Running::with(&format!("{scheme}{keys}"));
        let mac = Signing::hmac_sha256("x-sig").headers(SECRET, "", "", b"abc").unwrap();
        let hex = &mac[0].1;
        let expected = answer(200, "application/json", &format!(r#"{{"secret_token":"{hex}"}}"#));
        assert_eq!(ask(&running.instance, Method::GET, "?msg=abc", &[]).await, expected);
        assert_eq!(ask(&running.instance, Method::GET, "?msg=%7B%7D", &[]).await.0, 401);
    }
    let digits = "scheme = \"timestamped-hmac\"\nheader = \"x-sig\"\ntimestamp_header = \"x-at\"\n\
                  signed = \"{body_base64}-{timestamp}\"\n";
    let output = ends(&Folder::new(), &config(&format!("{digits}{keys}")), &["--check"]);
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsigned_ping_is_answered_only_with_its_header() {
    let keys = "handshake = { type = \"unsigned-ping\", header = \"X-Event\", value = \"PING\" }";
    let running = Running::with(&format!("{SCHEME}{keys}"));
    let post = async |value: &str| ask(&running.instance, Method::POST, "", &[("x-event", value)]).await.0;
    assert_eq!((post("PING").await, post("EXERCISE").await), (200, 401));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_replaced_while_the_receiver_runs() {
    let folder = Folder::new();
    folder.file("token", OTHER_SECRET);
    let echo = ECHO.replace("env = \"TEST_OTHER_SECRET\"", "file = \"token\"");
    let mut instance = Instance::start(&folder, &config(&format!("{SCHEME}{echo}")), &["--json"]);
    let hang_ups = |instance: &Instance| instance.stderr().iter().filter(|line| line.contains("SIGHUP: ")).count();
    let hang_up = async |instance: &Instance| {
        let before = hang_ups(instance);
        instance.signal("-HUP");
        let began = std::time::Instant::now();
        while hang_ups(instance) == before {
            assert!(began.elapsed() < crate::program::PATIENCE, "{:?}", instance.stderr());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let status = async |instance: &Instance, token: &str| {
        ask(instance, Method::GET, &format!("?verification_token={token}&challenge=a"), &[]).await.0
    };
    let old_and_new =
        async |instance: &Instance| (status(instance, OTHER_SECRET).await, status(instance, THIRD_SECRET).await);
    assert_eq!(old_and_new(&instance).await, (200, 401));
    folder.file("token", THIRD_SECRET);
    hang_up(&instance).await;
    assert_eq!(old_and_new(&instance).await, (401, 200));
    let delivery = signed(&Signing::hmac_sha256("x-sig"), SECRET, "{}");
    assert_eq!(Sender::new().send(instance.address, &delivery).await, Ok(200), "the other secret stays");
    // The secret that signs deliveries.
    folder.file("token", SECRET);
    hang_up(&instance).await;
    let log = instance.stderr().join("\n");
    assert!(log.contains("`handshake`: `token`: the same secret as "), "{log}");
    assert_eq!(old_and_new(&instance).await, (401, 200));
    instance.terminate();
    let output = [instance.stderr(), instance.stdout()].concat().join("\n");
    assert!(![SECRET, OTHER_SECRET, THIRD_SECRET].iter().any(|secret| output.contains(secret)), "{output}");
}
