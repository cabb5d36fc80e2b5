use std::collections::HashMap;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::StatusCode;
use tower::{ServiceExt, service_fn};

use super::*;

const SECRET: &str = "a-secret-of-the-dashboard";

fn receiver(name: &str, secret: &str) -> Receiver {
    let healthsync = HealthSync::new(Secret::new(secret).unwrap().labeled(name).unwrap());
    Receiver::builder(name, healthsync).store(MemoryStore::new(10)).build().unwrap()
}

fn genuine(secret: &str, path: &str) -> Request<Full<Bytes>> {
    testing::healthsync("document.uploaded").secret(secret).request(path).map(Full::new)
}

/// The parts of a response that a layer outside can read: status and extensions.
type Seen = (u16, Option<Outcome>, Option<Reason>);

const HANDLED: Seen = (200, Some(Outcome::Handled), None);

fn rejected_for(reason: Reason) -> Seen {
    (reason.status().as_u16(), Some(reason.outcome()), Some(reason))
}

async fn answer<S>(service: &S, request: Request<Full<Bytes>>) -> Seen
where
    S: Service<Request<Full<Bytes>>, Response = Response<Full<Bytes>>, Error: fmt::Debug> + Clone,
{
    let response = service.clone().oneshot(request).await.unwrap();
    let extensions = response.extensions();
    (response.status().as_u16(), extensions.get().copied(), extensions.get().copied())
}

#[tokio::test]
async fn an_error_of_the_inner_service_is_passed_on_and_the_retry_is_handled() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let inner = service_fn(async |_: Request<Full<Bytes>>| match CALLS.fetch_add(1, Ordering::SeqCst) {
        0 => Err("inner service failed"),
        _ => Ok(Response::new(Full::<Bytes>::default())),
    });
    let service = VerifyLayer::new(receiver("healthsync", SECRET)).layer(inner);
    let deliver = || service.clone().oneshot(genuine(SECRET, "/"));

    assert_eq!(deliver().await.unwrap_err(), "inner service failed");
    let handled = deliver().await.unwrap();
    assert_eq!((handled.status(), handled.extensions().get()), (StatusCode::OK, Some(&Outcome::Handled)));
    let repeated = deliver().await.unwrap();
    assert_eq!((repeated.status(), repeated.extensions().get()), (StatusCode::OK, Some(&Outcome::Duplicate)));
    assert_eq!(CALLS.load(Ordering::SeqCst), 2);
}

/// A service that is ready at the second poll, and fails if it is called before.
#[derive(Default)]
struct ReadyAtSecondPoll {
    polls: usize,
}

impl Clone for ReadyAtSecondPoll {
    /// A clone does not inherit readiness.
    fn clone(&self) -> Self {
        ReadyAtSecondPoll::default()
    }
}

impl Service<Request<Full<Bytes>>> for ReadyAtSecondPoll {
    type Response = Response<Full<Bytes>>;
    type Error = &'static str;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.polls += 1;
        if self.polls < 2 {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Full<Bytes>>) -> Self::Future {
        ready(if self.polls == 2 { Ok(Response::default()) } else { Err("called without being ready") })
    }
}

#[tokio::test]
async fn the_inner_service_is_called_when_it_is_ready() {
    let service = VerifyLayer::new(receiver("healthsync", SECRET)).layer(ReadyAtSecondPoll::default());
    assert_eq!(answer(&service, genuine(SECRET, "/")).await, HANDLED);
}

#[tokio::test]
async fn unverified_deliveries_do_not_wait_for_the_inner_service() {
    /// A service that is never ready.
    #[derive(Clone)]
    struct NeverReady;
    impl Service<Request<Full<Bytes>>> for NeverReady {
        type Response = Response<Full<Bytes>>;
        type Error = &'static str;
        type Future = std::future::Ready<Result<Self::Response, Self::Error>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Pending
        }
        fn call(&mut self, _: Request<Full<Bytes>>) -> Self::Future {
            ready(Err("called without being ready"))
        }
    }
    let service = VerifyLayer::new(receiver("healthsync", SECRET)).layer(NeverReady);
    assert_eq!(answer(&service, genuine("another", "/")).await, rejected_for(Reason::SignatureMismatch));
}

type Tenants = Arc<HashMap<&'static str, Receiver>>;

fn tenants() -> Tenants {
    let receiver = |name| (name, receiver(name, &format!("a-secret-of-the-{name}")));
    Arc::new(HashMap::from([receiver("north"), receiver("south")]))
}

/// The key is the whole path; the lookup of `lost` fails.
fn per_tenant(tenants: Tenants) -> VerifyLayer {
    VerifyLayer::per_tenant(move |head| {
        let (tenants, tenant) = (tenants.clone(), head.uri.path().trim_start_matches('/').to_owned());
        async move { if tenant == "lost" { Err("lookup failed") } else { Ok(tenants.get(&*tenant).cloned()) } }
    })
}

#[tokio::test]
async fn each_tenant_has_its_own_receiver() {
    let inner = service_fn(async |request: Request<Full<Bytes>>| {
        let delivery = request.extensions().get::<Delivery>().unwrap();
        let own = request.uri().path() == format!("/{}", delivery.endpoint());
        let status = if own { StatusCode::OK } else { StatusCode::CONFLICT };
        Ok::<_, &str>(Response::builder().status(status).body(Full::<Bytes>::default()).unwrap())
    });
    let service = per_tenant(tenants()).layer(inner);
    let (north, south) = ("a-secret-of-the-north", "a-secret-of-the-south");
    for (secret, path, expected) in [
        (north, "/north", HANDLED),
        (south, "/south", HANDLED),
        (south, "/south", rejected_for(Reason::Duplicate)),
        (south, "/north", rejected_for(Reason::SignatureMismatch)),
        (north, "/west", rejected_for(Reason::UnknownTenant)),
        (north, "/lost", rejected_for(Reason::TenantLookupFailed)),
    ] {
        assert_eq!(answer(&service, genuine(secret, path)).await, expected, "{secret} {path}");
    }
}

#[tokio::test]
async fn an_unknown_tenant_is_answered_like_a_wrong_signature() {
    let service = per_tenant(tenants())
        .layer(service_fn(async |_: Request<Full<Bytes>>| Ok::<_, &str>(Response::new(Full::<Bytes>::default()))));
    let sent = async |path: &str| {
        let response = service.clone().oneshot(genuine("wrong", path)).await.unwrap();
        let (head, body) = response.into_parts();
        (head.status, head.headers, http_body::Body::size_hint(&body).exact())
    };
    assert_eq!(sent("/north").await, sent("/west").await);
    let failed = service.clone().oneshot(genuine("wrong", "/lost")).await.unwrap();
    assert_eq!(failed.headers()["retry-after"], "5");
}

/// A resolver that must not reveal which tenants exist returns a receiver for the unknown ones, too, with a secret that
/// only it knows.
#[tokio::test]
async fn a_receiver_for_unknown_tenants_hides_which_tenants_exist() {
    let tenants = tenants();
    let decoy = receiver("unknown", "a-random-secret-that-no-sender-has");
    let hidden = VerifyLayer::per_tenant(move |head| {
        let found = tenants.get(head.uri.path().trim_start_matches('/')).unwrap_or(&decoy).clone();
        ready(Ok::<_, &str>(Some(found)))
    });
    let inner = service_fn(async |_: Request<Full<Bytes>>| Ok::<_, &str>(Response::new(Full::<Bytes>::default())));
    let (revealing, hidden) = (per_tenant(self::tenants()).layer(inner), hidden.layer(inner));
    let with = |name: &'static str, value: &str, path: &str| {
        let mut request = genuine("wrong", path);
        request.headers_mut().insert(name, value.parse().unwrap());
        request
    };
    type Probe<'p> = &'p dyn Fn(&str) -> Request<Full<Bytes>>;
    let signature = "x-healthsync-signature";
    let without = |path: &str| {
        let mut request = genuine("wrong", path);
        request.headers_mut().remove(signature).expect("a signature");
        request
    };
    let get = |path: &str| Request::get(path).body(Full::default()).unwrap();
    let probes: [(&str, Probe<'_>, bool); 6] = [
        ("a wrong signature", &|path| genuine("wrong", path), false),
        ("no signature", &without, false),
        ("a malformed signature", &|path| with(signature, "x", path), false),
        ("a length over the limit", &|path| with("content-length", "99999999", path), true),
        ("an encoding", &|path| with("content-encoding", "gzip", path), false),
        ("a GET", &get, false),
    ];
    for (what, probe, tells) in probes {
        let known = answer(&hidden, probe("/north")).await;
        assert_eq!(known, answer(&hidden, probe("/west")).await, "{what}");
        let (known, unknown) =
            (answer(&revealing, probe("/north")).await.0, answer(&revealing, probe("/west")).await.0);
        assert_eq!(known != unknown, tells, "{what}: the status, if the resolver returns None");
    }
}

#[tokio::test]
async fn the_body_is_not_read_before_the_lookup() {
    static READ: AtomicBool = AtomicBool::new(false);
    /// A body that records whether it was polled.
    struct Recorded;
    impl Body for Recorded {
        type Data = Bytes;
        type Error = &'static str;
        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
            READ.store(true, Ordering::SeqCst);
            Poll::Ready(None)
        }
    }
    let service = |tenants| {
        per_tenant(tenants)
            .layer(service_fn(async |_: Request<Full<Bytes>>| Ok::<_, &str>(Response::new(Full::<Bytes>::default()))))
    };
    for (path, reason) in [("/west", Reason::UnknownTenant), ("/lost", Reason::TenantLookupFailed)] {
        let response =
            service(tenants()).oneshot(genuine("a-secret-of-the-north", path).map(|_| Recorded)).await.unwrap();
        assert_eq!(response.extensions().get(), Some(&reason));
        assert!(!READ.load(Ordering::SeqCst), "{path}");
    }
    let response =
        service(tenants()).oneshot(genuine("a-secret-of-the-north", "/north").map(|_| Recorded)).await.unwrap();
    assert_eq!(response.extensions().get(), Some(&Reason::SignatureMismatch));
    assert!(READ.load(Ordering::SeqCst), "the body records that it was read");
}
