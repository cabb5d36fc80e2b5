//! Requests to the application, and the effect of its answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderValue, Response};
use http_body_util::Full;
use medhook::sign::Signer;
use medhook::testing::{self, Signing};
use medhook::{Bytes, Custom, NoDedupe, Receiver, Secret, StandardWebhooks};
use medhook_tests::served::unused_address;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::application::{Application, event, with_status};
use crate::program::{Folder, Instance, PATIENCE, SECRET, THIRD_SECRET};
use crate::sender::{ENDPOINT, Sender, delivery};

fn config(url: &str, more: &str) -> String {
    format!(
        "listen = \"127.0.0.1:0\"\ndrain_delay = \"0s\"\nstore = \"memory\"\n{ENDPOINT}forward = \"{url}\"\n{more}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_gets_the_verified_body_and_no_header_of_the_sender_but_the_content_type() {
    let application = Application::answering(204).await;
    let folder = Folder::new();
    let signed = "forward_secret = { env = \"TEST_THIRD_SECRET\" }";
    let instance = Instance::start(&folder, &config(&application.url(), signed), &["--json"]);
    let mut sent = delivery("evt-1");
    for (name, value) in [
        ("x-forwarded-for", "203.0.113.9"),
        ("medhook-kind", "forged"),
        ("medhook-event-key", "forged"),
        ("webhook-id", "forged"),
        ("cookie", "a=b"),
        ("authorization", "Basic Zm9yZ2Vk"),
        ("content-type", "application/json; charset=utf-8"),
    ] {
        sent.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    assert_eq!(Sender::new().send(instance.address, &sent).await, Ok(204));

    let calls = application.calls();
    assert_eq!(calls.len(), 1);
    let got = &calls[0].request;
    assert_eq!((got.method().as_str(), got.uri().to_string().as_str()), ("POST", "/app?tenant=1"));
    assert_eq!(got.body(), sent.body());
    let mut names: Vec<_> = got.headers().keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "content-length",
            "content-type",
            "host",
            "medhook-endpoint",
            "medhook-event-id",
            "medhook-event-key",
            "medhook-kind",
            "medhook-provider",
            "medhook-signature",
            "user-agent",
            "webhook-id",
            "webhook-signature",
            "webhook-timestamp"
        ]
    );
    let header = |name: &str| got.headers()[name].to_str().unwrap();
    assert_eq!(header("content-type"), "application/json; charset=utf-8");
    assert_eq!((header("medhook-endpoint"), header("medhook-provider")), ("healthsync", "healthsync"));
    assert_eq!((header("medhook-kind"), header("medhook-event-id")), ("document.uploaded", "evt-1"));
    let line = instance.lines(1).remove(0);
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    let key = header("medhook-event-key");
    assert!(key.len() == 64 && key.starts_with(line["event_key"].as_str().unwrap()), "{key}");
    assert_eq!(header("webhook-id"), format!("medhook_{key}"));
    assert_eq!((&line["outcome"], &line["status"], &line["upstream"]), (&"handled".into(), &204.into(), &"204".into()));

    // The application can verify the signature of the receiver.
    let secret = |text: &str| Secret::new(text).unwrap();
    let verifies = |text: &str| {
        let ours = Custom::new("medhook", StandardWebhooks::new(), secret(text));
        let receiver = Receiver::builder("app", ours).store(NoDedupe).build().unwrap();
        receiver.verify(got.headers(), got.body().clone()).is_ok()
    };
    assert!(verifies(THIRD_SECRET) && !verifies(SECRET));
    let signer = |text: &str| Signer::new(StandardWebhooks::new(), &secret(text)).unwrap();
    assert!(signer(THIRD_SECRET).verify_headers(got.headers()) && !signer(SECRET).verify_headers(got.headers()));

    // Two content types are ambiguous, so none is passed on.
    let mut twice = delivery("evt-2");
    for value in ["application/json", "text/plain"] {
        twice.headers_mut().append("content-type", HeaderValue::from_static(value));
    }
    assert_eq!(Sender::new().send(instance.address, &twice).await, Ok(204));
    assert_eq!(application.calls()[1].request.headers().get("content-type"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_possible_duplicate_has_a_key_of_its_own_and_is_marked() {
    let application = Application::answering(204).await;
    let folder = Folder::new();
    let config = format!(
        "listen = \"127.0.0.1:0\"\ndrain_delay = \"0s\"\nstore = \"memory\"\n[[endpoint]]\npath = \"/azodha\"\n\
         provider = \"azodha\"\nscheme = \"hmac-sha256\"\nheader = \"x-signature\"\n\
         secrets = [{{ env = \"TEST_SECRET\" }}]\ninbox = false\nforward = \"{}\"\nforward_secret = {{ env = \"TEST_THIRD_SECRET\" }}\n",
        application.url()
    );
    let instance = Instance::start(&folder, &config, &["--json"]);
    let sample = testing::azodha("Notification").signing(Signing::hmac_sha256("x-signature"));
    let request = sample.secret(SECRET).request("/azodha");
    let before = crate::sender::now();
    for _ in 0..3 {
        assert_eq!(Sender::new().send(instance.address, &request).await, Ok(204));
    }
    let after = crate::sender::now();

    let calls = application.calls();
    let headers = |name: &str| -> Vec<Option<&str>> {
        calls.iter().map(|call| call.request.headers().get(name).map(|value| value.to_str().unwrap())).collect()
    };
    for name in ["medhook-event-key", "webhook-id"] {
        let different: std::collections::HashSet<_> = headers(name).into_iter().collect();
        assert_eq!(different.len(), 3, "{name}: {different:?}");
    }
    let lines: Vec<serde_json::Value> =
        instance.lines(3).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["possible_duplicate"], serde_json::Value::Null);
    assert_eq!(headers("medhook-possible-duplicate")[0], None);
    for count in [1, 2] {
        let first_seen = lines[count]["possible_duplicate"]["first_seen"].as_i64().unwrap();
        assert!((before..=after).contains(&first_seen), "{before} {first_seen} {after}");
        assert_eq!(lines[count]["possible_duplicate"]["count"], count);
        let header = format!("first_seen={first_seen},count={count}");
        assert_eq!(headers("medhook-possible-duplicate")[count], Some(&*header));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_ids_and_kinds_are_escaped_in_headers() {
    let application = Application::answering(200).await;
    let folder = Folder::new();
    let custom = "listen = \"127.0.0.1:0\"\ndrain_delay = \"0s\"\nstore = \"memory\"\n[[endpoint]]\npath = \"/acme\"\nprovider = \"custom\"\n\
                  scheme = \"hmac-sha256\"\nheader = \"x-acme\"\nid_pointer = \"/id\"\nkind_pointer = \"/type\"\n\
                  secrets = [{ env = \"TEST_SECRET\" }]\n";
    let config = format!("{custom}inbox = false\nforward = \"{}\"", application.url());
    let instance = Instance::start(&folder, &config, &["--json"]);
    let sender = Sender::new();
    let long = "x".repeat(100_000);
    for (number, hostile) in
        ["a\r\nx-evil: 1\r\n\r\n", "\x1b[2J", "contraseña %0D", "\0", &long, ""].into_iter().enumerate()
    {
        let body = serde_json::json!({ "id": format!("{number}{hostile}"), "type": hostile }).to_string();
        let sample = testing::healthsync("document.uploaded").signing(Signing::hmac_sha256("x-acme"));
        let request = sample.secret(SECRET).body(body).request("/acme");
        assert_eq!(sender.send(instance.address, &request).await, Ok(200), "{hostile:?}");
    }
    let seen: Vec<_> = application.calls().into_iter().map(|call| call.request).collect();
    let kinds: Vec<_> =
        seen.iter().map(|got| got.headers().get("medhook-kind").map(|kind| kind.to_str().unwrap())).collect();
    assert_eq!(
        kinds,
        [
            Some("a%0D%0Ax-evil:%201%0D%0A%0D%0A"),
            Some("%1B[2J"),
            Some("contrase%C3%B1a%20%250D"),
            Some("%00"),
            None,
            None
        ]
    );
    assert_eq!(event(&seen[1]), "1%1B[2J");
    assert!(seen.iter().all(|got| !got.headers().contains_key("x-evil")));
    for line in instance.lines(6) {
        assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && line.len() < 1_200, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_status_of_the_application_is_the_answer_and_it_settles_the_claim() {
    const ANSWERS: [(u16, u16); 7] =
        [(200, 200), (202, 202), (302, 502), (404, 404), (410, 410), (500, 500), (503, 503)];
    let application = Application::start(|request, before| async move {
        let first = event(&request).parse().unwrap();
        let mut response = with_status(if before == 0 { first } else { 200 });
        response.headers_mut().insert("x-own", HeaderValue::from_static("1"));
        response.headers_mut().insert("location", HeaderValue::from_static("/elsewhere"));
        if first != 204 {
            *response.body_mut() = Full::from("a body that is not passed on");
        }
        response
    })
    .await;
    let folder = Folder::new();
    let instance = Instance::start(&folder, &config(&application.url(), ""), &["--json"]);
    let sender = Sender::new();
    for (upstream, answer) in ANSWERS {
        let sent = delivery(&upstream.to_string());
        assert_eq!(sender.send(instance.address, &sent).await, Ok(answer));
        assert_eq!(sender.send(instance.address, &sent).await, Ok(200));
    }
    let calls = application.calls();
    for (upstream, answer) in ANSWERS {
        let times = calls.iter().filter(|call| event(&call.request) == upstream.to_string()).count();
        assert_eq!(times, if answer < 300 { 1 } else { 2 }, "{upstream}");
    }
    assert!(calls.iter().all(|call| call.request.uri().path() == "/app"), "a redirect was followed");
    let outcomes: Vec<serde_json::Value> =
        instance.lines(14).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&outcomes[0]["outcome"], &outcomes[1]["outcome"]), (&"handled".into(), &"duplicate".into()));
    assert_eq!((&outcomes[4]["outcome"], &outcomes[4]["upstream"]), (&"failed".into(), &"302".into()));
    assert_eq!(outcomes[5]["outcome"], "handled");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sender_gets_the_wait_that_the_application_asks_for_and_no_other_header() {
    let application = Application::start(|request, _| async move {
        let (status, wait) = event(&request).split_once("%20").unwrap();
        let mut response = with_status(status.parse().unwrap());
        for (name, value) in [("retry-after", wait), ("medhook-give-up", "no_such_account"), ("x-own", "1")] {
            response.headers_mut().insert(name, HeaderValue::try_from(value).unwrap());
        }
        response
    })
    .await;
    let folder = Folder::new();
    let instance = Instance::start(&folder, &config(&application.url(), ""), &[]);
    for (id, wait) in [("503 7", Some("7")), ("429 99999", Some("3600")), ("503 soon", None), ("500 7", None)] {
        let answer = Sender::new().answer(instance.address, &delivery(id)).await;
        assert_eq!(answer.status().as_str(), &id[..3]);
        assert_eq!(answer.headers().get("retry-after").map(|value| value.to_str().unwrap()), wait, "{id}");
        let mut names: Vec<_> = answer.headers().keys().map(|name| name.as_str()).collect();
        names.retain(|name| *name != "retry-after");
        names.sort_unstable();
        assert_eq!(names, ["content-length", "date"], "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_application_is_502_and_one_that_does_not_answer_is_504() {
    let (closed, _held) = unused_address();
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let broken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (mute_at, broken_at) = (mute.local_addr().unwrap(), broken.local_addr().unwrap());
    tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            held.push(mute.accept().await.unwrap());
        }
    });
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = broken.accept().await.unwrap();
            stream.read_u8().await.unwrap();
            stream.write_all(b"no HTTP\r\n\r\n").await.unwrap();
        }
    });
    let sender = Sender::new();
    let soon = "handler_timeout = \"300ms\"";
    for (address, more, status, upstream) in
        [(closed, "", 502, Some("not_reached")), (mute_at, soon, 504, None), (broken_at, "", 502, Some("failed"))]
    {
        let folder = Folder::new();
        let instance = Instance::start(&folder, &config(&format!("http://{address}/"), more), &["--json"]);
        // Much less than the default `handler_timeout` of 60 s.
        let sent = delivery("evt-1");
        let answer = timeout(Duration::from_secs(30), sender.send(instance.address, &sent)).await;
        assert_eq!(answer.expect("an answer"), Ok(status));
        let line: serde_json::Value = serde_json::from_str(&instance.lines(1)[0]).unwrap();
        assert_eq!(line["outcome"], "failed", "{line}");
        assert_eq!(line["upstream"].as_str(), upstream, "{line}");
        assert_eq!(line["reason"] == "handler_timeout", status == 504, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_reused_and_long_answers_are_cut_off() {
    let application = Application::start(|request, _| async move {
        // Much longer than the part of an answer that is read.
        let long = event(&request).ends_with('1');
        Response::new(Full::from(Bytes::from(vec![b'x'; if long { 10_000_000 } else { 10 }])))
    })
    .await;
    let folder = Folder::new();
    let instance = Instance::start(&folder, &config(&application.url(), ""), &[]);
    let sender = Sender::new();
    let mut sent = 0;
    // Sometimes a connection is not yet free, and another one is opened.
    while sent < application.connections() + 10 {
        assert_eq!(sender.send(instance.address, &delivery(&format!("evt-{sent}0"))).await, Ok(200));
        sent += 1;
        assert!(sent < 500, "{} connections", application.connections());
    }
    for number in 0..5 {
        assert_eq!(sender.send(instance.address, &delivery(&format!("evt-{number}1"))).await, Ok(200));
    }
    assert_eq!(application.calls().len(), sent + 5);
}

/// Reads a whole request. Returns `None` if the connection is closed.
async fn whole_request(stream: &mut TcpStream) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let (_, length) = head.split_once("content-length: ").unwrap();
    let (length, _) = length.split_once("\r\n").unwrap();
    stream.read_exact(&mut vec![0; length.parse().unwrap()]).await.ok()?;
    Some(())
}

/// Starts an application that sends the bodies of its answers `late`. Returns its URL, and the number of requests that
/// came over a reused connection.
async fn with_late_bodies(late: Duration) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let again = Arc::new(AtomicUsize::new(0));
    let counted = again.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let counted = counted.clone();
            tokio::spawn(async move {
                let mut before = false;
                while whole_request(&mut stream).await.is_some() {
                    counted.fetch_add(usize::from(before), Ordering::SeqCst);
                    before = true;
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n").await.unwrap();
                    tokio::time::sleep(late).await;
                    if stream.write_all(b"later").await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    (url, again)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_reused_once_the_body_of_the_answer_was_read() {
    let (url, again) = with_late_bodies(Duration::from_millis(50)).await;
    let folder = Folder::new();
    let instance = Instance::start(&folder, &config(&url, ""), &[]);
    let sender = Sender::new();
    for number in 0..200 {
        assert_eq!(sender.send(instance.address, &delivery(&format!("evt-{number}"))).await, Ok(200));
        if again.load(Ordering::SeqCst) >= 5 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("only {} of 200 events came over a reused connection", again.load(Ordering::SeqCst));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_used_before_its_body_has_arrived() {
    let (url, _) = with_late_bodies(PATIENCE).await;
    let folder = Folder::new();
    // Less than the limit for reading a body. A slow machine may need several attempts to receive the status in time.
    let instance = Instance::start(&folder, &config(&url, "handler_timeout = \"500ms\""), &["--json"]);
    let sender = Sender::new();
    let sent = delivery("evt-1");
    let mut tries = 1;
    while sender.send(instance.address, &sent).await == Ok(504) {
        tries += 1;
        assert!(tries < 20, "{:?}", instance.stdout());
    }
    assert_eq!(sender.send(instance.address, &sent).await, Ok(200));
    let lines = instance.lines(tries + 1);
    assert!(lines[tries - 1].contains("\"outcome\":\"handled\""), "{lines:?}");
    assert!(lines[tries].contains("\"outcome\":\"duplicate\""), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_application_is_limited_by_max_in_flight() {
    let (let_go, waits) = watch::channel(false);
    let application = Application::start(move |_, _| {
        let mut waits = waits.clone();
        async move {
            waits.wait_for(|go| *go).await.unwrap();
            with_status(200)
        }
    })
    .await;
    let folder = Folder::new();
    let instance = Instance::start(&folder, &config(&application.url(), "max_in_flight = 3"), &["--json"]);
    let address = instance.address;
    let held: Vec<_> = (0..3)
        .map(|number| {
            tokio::spawn(async move { Sender::new().send(address, &delivery(&format!("held-{number}"))).await })
        })
        .collect();
    while application.calls().len() < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let sender = Sender::new();
    for number in 0..20 {
        assert_eq!(sender.send(address, &delivery(&format!("evt-{number}"))).await, Ok(503));
    }
    // A copy of an event in flight is answered 503 as well.
    assert_eq!(sender.send(address, &delivery("held-0")).await, Ok(503));
    assert_eq!(application.calls().len(), 3);
    assert!(instance.lines(21).iter().all(|line| line.contains("\"reason\":\"too_busy\"")));
    let_go.send_replace(true);
    for held in held {
        assert_eq!(held.await.unwrap(), Ok(200));
    }
    assert_eq!(sender.send(address, &delivery("evt-0")).await, Ok(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_keeps_running_when_the_sender_disconnects() {
    let (let_go, waits) = watch::channel(false);
    let application = Application::start(move |_, _| {
        let mut waits = waits.clone();
        async move {
            waits.wait_for(|go| *go).await.unwrap();
            with_status(200)
        }
    })
    .await;
    let folder = Folder::new();
    let instance = Instance::start(&folder, &config(&application.url(), ""), &["--json"]);
    let address = instance.address;
    let sending = tokio::spawn(async move { Sender::new().send(address, &delivery("evt-1")).await });
    while application.calls().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    sending.abort();
    let _ = sending.await;
    let_go.send_replace(true);
    assert!(instance.lines(1)[0].contains("\"outcome\":\"handled\""));
    assert_eq!(Sender::new().send(address, &delivery("evt-1")).await, Ok(200));
    assert_eq!(application.calls().len(), 1);
}

/// The reaction of an application to the second request on a connection, after it has answered the first.
#[derive(Debug, Clone, Copy)]
enum Second {
    /// Reads it and closes the connection, as if it had been idle for too long.
    Closed,
    /// Closes the connection after it has worked on the request.
    ClosedLate,
    /// Closes the connection within its answer.
    CutOff,
}

/// Starts an application. Returns its URL, and the number of requests that it has received.
async fn that_closes(second: Second, first: bool) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let received = Arc::new(AtomicUsize::new(0));
    let counted = received.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let counted = counted.clone();
            tokio::spawn(async move {
                if whole_request(&mut stream).await.is_none() {
                    return;
                }
                counted.fetch_add(1, Ordering::SeqCst);
                if first {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                    if whole_request(&mut stream).await.is_none() {
                        return;
                    }
                    counted.fetch_add(1, Ordering::SeqCst);
                }
                match second {
                    Second::Closed => {}
                    Second::ClosedLate => tokio::time::sleep(Duration::from_millis(1_300)).await,
                    Second::CutOff => stream.write_all(b"HTTP/1.1 200").await.unwrap(),
                }
            });
        }
    });
    (url, received)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_on_a_connection_that_is_just_closed_is_sent_again_on_a_new_one() {
    let (url, received) = that_closes(Second::Closed, true).await;
    let folder = Folder::new();
    let instance = Instance::start(&folder, &config(&url, ""), &[]);
    let sender = Sender::new();
    for number in 0..20 {
        assert_eq!(sender.send(instance.address, &delivery(&format!("evt-{number}"))).await, Ok(200), "{number}");
    }
    // Each connection of the pool is closed at its second request. A connection that is not pooled has only one.
    assert!(received.load(Ordering::SeqCst) > 20, "{}", received.load(Ordering::SeqCst));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_the_application_may_have_failed_on_is_not_sent_again() {
    for second in [Second::ClosedLate, Second::CutOff] {
        let (url, received) = that_closes(second, true).await;
        let folder = Folder::new();
        let instance = Instance::start(&folder, &config(&url, ""), &[]);
        let sender = Sender::new();
        // The connection may not be back in the pool yet when the next event is sent.
        let mut sent = 0;
        loop {
            sent += 1;
            let status = sender.send(instance.address, &delivery(&format!("evt-{sent}"))).await;
            if status != Ok(200) {
                assert_eq!(status, Ok(502), "{second:?}");
                break;
            }
            assert!(sent < 100, "no connection is reused");
        }
        assert_eq!(received.load(Ordering::SeqCst), sent, "{second:?}");
    }
    // A connection that was not used before.
    let (url, received) = that_closes(Second::Closed, false).await;
    let folder = Folder::new();
    let instance = Instance::start(&folder, &config(&url, ""), &[]);
    assert_eq!(Sender::new().send(instance.address, &delivery("evt-1")).await, Ok(502));
    assert_eq!(received.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_idle_for_almost_two_seconds_is_not_reused() {
    let (url, again) = with_late_bodies(Duration::ZERO).await;
    let folder = Folder::new();
    let instance = Instance::start(&folder, &config(&url, ""), &[]);
    let sender = Sender::new();
    assert_eq!(sender.send(instance.address, &delivery("evt-1")).await, Ok(200));
    tokio::time::sleep(Duration::from_millis(1_700)).await;
    assert_eq!(sender.send(instance.address, &delivery("evt-2")).await, Ok(200));
    assert_eq!(again.load(Ordering::SeqCst), 0, "gunicorn closes connections after 2 s");
}
