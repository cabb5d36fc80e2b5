//! Tower services as handlers.

use std::convert::Infallible;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::{Method, Request, Response};
use tower_service::Service;

use super::*;

/// A service that records its requests, and which clone of it was called.
#[derive(Default)]
struct Recorded {
    requests: Arc<Mutex<Vec<Request<Bytes>>>>,
    clones: Arc<AtomicUsize>,
    is_ready: bool,
    /// The number of calls of this clone.
    calls: usize,
    fails: Option<Fails>,
}

#[derive(Clone, Copy)]
enum Fails {
    Ready,
    Call,
    Says,
}

impl Clone for Recorded {
    fn clone(&self) -> Self {
        self.clones.fetch_add(1, Ordering::SeqCst);
        let Recorded { requests, clones, fails, .. } = self;
        Recorded { requests: requests.clone(), clones: clones.clone(), fails: *fails, ..Recorded::default() }
    }
}

impl Service<Request<Bytes>> for Recorded {
    type Response = Response<&'static str>;
    type Error = &'static str;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.is_ready = true;
        Poll::Ready(if matches!(self.fails, Some(Fails::Ready)) { Err("not ready") } else { Ok(()) })
    }

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        assert!(std::mem::take(&mut self.is_ready), "called without being ready");
        self.calls += 1;
        assert_eq!(self.calls, 1, "each attempt has a clone of its own");
        self.requests.lock().unwrap().push(request);
        let fails = self.fails;
        Box::pin(async move {
            match fails {
                Some(Fails::Call) => Err("failed"),
                Some(Fails::Says) => {
                    let mut response = Response::new("");
                    response.extensions_mut().insert(Handled::give_up("no_such_account"));
                    Ok(response)
                }
                _ => Ok(Response::new("")),
            }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_gets_the_stored_path_body_and_content_type_and_no_other_header() {
    let stage = Stage::new().await;
    let head = crate::RequestHead::new(
        "POST",
        "/webhooks/acme?token=secret",
        &[("x-key", "0123456789abcdef"), ("content-type", "application/json"), ("authorization", "x")],
    );
    let body = futures_util::stream::iter([Ok::<_, Infallible>(Bytes::from_static(br#"{"id":"1"}"#))]);
    let crate::Received::Delivery(delivery) = stage.receiver.receive(&head, body).await.unwrap() else { panic!() };
    let key = delivery.event_key();
    stage.receiver.admit(delivery).unwrap().run(async {}, |()| true).await.unwrap_err();
    let service = Recorded::default();
    let requests = service.requests.clone();
    tokio::spawn(stage.worker().service(service).unwrap().run());
    sleep(SECOND).await;
    assert_eq!(stage.store.statuses(), [Status::Done]);
    let requests = requests.lock().unwrap();
    let request = requests.first().unwrap();
    assert_eq!((request.method(), request.uri()), (&Method::POST, &"/webhooks/acme".parse().unwrap()));
    assert_eq!(request.headers().len(), 1);
    assert_eq!(request.headers()["content-type"], "application/json");
    assert_eq!(request.body(), r#"{"id":"1"}"#);
    let delivery = request.extensions().get::<Delivery>().unwrap();
    assert_eq!((delivery.event_key(), delivery.attempt()), (key, 1));
}

#[tokio::test(start_paused = true)]
async fn each_attempt_calls_a_clone_that_is_ready() {
    let stage = Stage::new().await;
    stage.store(0..20).await;
    let service = Recorded::default();
    let clones = service.clones.clone();
    tokio::spawn(stage.worker().service(service).unwrap().run());
    sleep(SECOND).await;
    assert_eq!((stage.store.statuses(), clones.load(Ordering::SeqCst)), (vec![Status::Done; 20], 20));
}

#[tokio::test(start_paused = true)]
async fn an_error_of_a_service_is_a_failed_attempt_and_an_extension_decides() {
    for (fails, status, reason) in [
        (Fails::Ready, Status::Waiting, "handler_failed"),
        (Fails::Call, Status::Waiting, "handler_failed"),
        (Fails::Says, Status::Dead, "no_such_account"),
    ] {
        let stage = Stage::new().await;
        stage.store(0..1).await;
        let service = Recorded { fails: Some(fails), ..Recorded::default() };
        tokio::spawn(stage.worker().service(service).unwrap().run());
        sleep(SECOND).await;
        let row = stage.store.row(1).state;
        assert_eq!((row.status, row.attempts, row.reason.as_deref()), (status, 1, Some(reason)));
    }
}

/// actix-web's runtime is tokio's, with one thread.
#[cfg(feature = "actix-web-4")]
#[test]
fn a_worker_runs_in_the_runtime_of_actix_web() {
    actix_web::rt::System::new().block_on(async {
        let stage = Stage::new().await;
        let running = stage.run(stage.worker(), vec![Handled::done()]);
        stage.store(0..5).await;
        let done = async {
            while running.calls.count() < 5 {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(60 * SECOND, done).await.unwrap();
        stage.receiver.drain(SECOND).await;
        running.task.await.unwrap();
        assert_eq!(stage.store.statuses(), [Status::Done; 5]);
    });
}
