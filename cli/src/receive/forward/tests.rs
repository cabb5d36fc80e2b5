//! Requests to a server on this machine, for events from an inbox.

use std::sync::{Arc, Mutex};

use http::{HeaderMap, Response};
use http_body_util::BodyExt;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use medhook::inbox::{Filter, Operator, Status};
use medhook::{
    Bodies, Bytes, Custom, HmacSha256Body, NoDedupe, Receiver, Retry, Secret, SqliteStore, StandardWebhooks, Worker,
};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use super::*;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Starts an application. Its answers are 503 twice, 422 with a code, and then 200. Returns its URL and its requests.
async fn application() -> (String, Arc<Mutex<Vec<(HeaderMap, Bytes)>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/app", listener.local_addr().unwrap());
    let requests: Arc<Mutex<Vec<_>>> = Arc::default();
    let recorded = requests.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let recorded = recorded.clone();
            tokio::spawn(http1::Builder::new().serve_connection(
                TokioIo::new(stream),
                service_fn(move |request: Request<Incoming>| {
                    let recorded = recorded.clone();
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await?.to_bytes();
                        let mut requests = recorded.lock().unwrap();
                        requests.push((head.headers, body));
                        let answer = match requests.len() {
                            1 | 2 => Response::builder().status(503).header("retry-after", "0"),
                            3 => Response::builder().status(422).header("medhook-give-up", "no_such_account"),
                            _ => Response::builder().status(200),
                        };
                        Ok::<_, hyper::Error>(answer.body(Full::<Bytes>::default()).unwrap())
                    }
                }),
            ));
        }
    });
    (url, requests)
}

async fn until(receiver: &Receiver, status: Status) {
    let reached = async {
        while receiver.inbox().unwrap().list(&Filter::new()).await.unwrap()[0].status != status {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(TIME_LIMIT, reached).await.unwrap_or_else(|_| panic!("never {status:?}"));
}

#[tokio::test]
async fn every_attempt_has_the_same_id_and_says_which_one_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("medhook.db")).await.unwrap();
    let inbox = store.inbox(Bodies::plaintext()).await.unwrap();
    let secret = Secret::new(SECRET).unwrap();
    let custom = Custom::new("acme", HmacSha256Body::new("x-acme"), secret.clone()).id_pointer("/id");
    let receiver = Receiver::builder("in", custom).inbox(inbox).build().unwrap();
    let body = Bytes::from_static(br#"{"id":"1"}"#);
    let own = Signer::new(HmacSha256Body::new("x-acme"), &secret).unwrap();
    let signed = own.sign("", 0, &body).unwrap();
    let delivery = receiver.open(receiver.verify(&signed, body.clone()).unwrap()).unwrap();
    receiver.admit(delivery).unwrap().run(async {}, |()| true).await.unwrap_err();

    let (url, requests) = application().await;
    let target = ForwardUrl::new(ForwardAddress::parse(&url).unwrap(), None).unwrap();
    let signer = Signer::new(StandardWebhooks::new(), &secret).unwrap();
    let (forwarder, signing) = (Forwarder::new(), signer.clone());
    let retry = Retry::exponential(Duration::from_millis(10), Duration::from_millis(10));
    let worker = Worker::builder(&receiver).retry(retry).handler(move |delivery| {
        let (forwarder, target, signer) = (forwarder.clone(), target.clone(), signing.clone());
        async move { forwarder.send(&target, Some(&signer), &delivery, None).await }
    });
    let worker = tokio::spawn(worker.unwrap().run());
    until(&receiver, Status::Dead).await;
    let dead = receiver.inbox().unwrap().list(&Filter::new()).await.unwrap();
    assert_eq!(dead[0].reason.as_deref(), Some("no_such_account"));
    let operator = Operator::new("tester", "the account exists now").unwrap();
    receiver.inbox().unwrap().replay(dead[0].id, &operator).await.unwrap();
    until(&receiver, Status::Done).await;
    receiver.drain(TIME_LIMIT).await;
    worker.await.unwrap();

    let requests = requests.lock().unwrap();
    let header = |name: &str| -> Vec<Option<&str>> {
        requests.iter().map(|(headers, _)| headers.get(name).map(|value| value.to_str().unwrap())).collect()
    };
    assert_eq!(header("medhook-attempt"), [Some("1"), Some("2"), Some("3"), Some("1")]);
    assert_eq!(header("medhook-replay"), [None, None, None, Some("true")]);
    let key = header("medhook-event-key")[0].unwrap();
    assert_eq!(key.len(), 64);
    assert_eq!(header("webhook-id"), [Some(&*format!("medhook_{key}")); 4]);
    let stored_at = header("medhook-stored-at");
    assert!(stored_at[0].unwrap().parse::<i64>().is_ok_and(|time| time > 1_767_225_600), "{stored_at:?}");
    assert_eq!(stored_at, [stored_at[0]; 4]);

    let ours = Custom::new("medhook", StandardWebhooks::new(), secret);
    let application = Receiver::builder("app", ours).store(NoDedupe).build().unwrap();
    for (headers, forwarded) in requests.iter() {
        assert_eq!(*forwarded, body);
        assert!(application.verify(headers, forwarded.clone()).is_ok() && signer.verify_headers(headers));
        let mut changed = headers.clone();
        changed.insert("medhook-attempt", HeaderValue::from_static("9"));
        assert!(!signer.verify_headers(&changed));
    }
}

#[tokio::test]
async fn one_application_cannot_use_up_the_codes_of_another() {
    let target = || ForwardUrl::new(ForwardAddress::parse("http://127.0.0.1:1/").unwrap(), None).unwrap();
    let (one, other) = (target(), target());
    let gives_up = |target: &ForwardUrl, code: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("medhook-give-up", code.parse().unwrap());
        medhook::Handled::from(ForwardAnswer::read(http::StatusCode::OK, &headers, target.codes()))
    };
    for number in 0..100 {
        gives_up(&one, &format!("code_{number}"));
    }
    assert_eq!(gives_up(&one, "mine"), medhook::Handled::give_up("given_up"));
    assert_eq!(gives_up(&other, "mine"), medhook::Handled::give_up("mine"));
}
