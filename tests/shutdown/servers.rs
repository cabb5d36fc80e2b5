//! One server for each framework, as its users would write it, with a handler that runs until it is released.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use medhook::http::{Request, Response, StatusCode};
use medhook::{Bytes, DedupeStore, HealthSync, Receiver, Secret, Shutdown, SqliteStore};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower::{Layer, ServiceExt, service_fn};

use crate::process::{DELAY, FRAMEWORK, STORE, WITHIN};

pub const SECRET: &str = "a-secret-of-the-dashboard";
pub const PATH: &str = "/webhooks/healthsync";
pub const READINESS: &str = "/readyz";

/// Returns a receiver whose handlers may take an hour.
pub fn receiver(store: impl DedupeStore) -> Receiver {
    let hour = Duration::from_secs(3600);
    let healthsync = HealthSync::new(Secret::new(SECRET).expect("a secret"));
    let builder = Receiver::builder("healthsync", healthsync).store(store);
    builder.lease(hour).handler_timeout(hour).build().expect("a receiver")
}

/// Serves until the process is signaled to stop.
pub fn run(framework: &str) {
    let canceled = match framework {
        "axum" => tokio_main(axum()),
        "hyper" => tokio_main(hyper()),
        "actix" => actix_web::rt::System::new().block_on(actix()),
        _ => panic!("{FRAMEWORK}: {framework}"),
    };
    eprintln!("canceled: {}", canceled.expect("served"));
}

/// Does the same as `#[tokio::main]`.
fn tokio_main<T>(main: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(main)
}

async fn axum() -> io::Result<usize> {
    use axum::Router;
    use axum::routing::{get, post};

    let (shutdown, receiver, handler) = parts().await;
    let ready = shutdown.clone();
    let app = Router::new()
        .route(PATH, post(async move || handler.run().await).layer(medhook_axum::VerifyLayer::new(receiver)))
        .route(READINESS, get(async move || readiness(&ready)));
    let listener = listener().await?;
    shutdown.serve(axum::serve(listener, app).with_graceful_shutdown(shutdown.draining())).await
}

async fn actix() -> io::Result<usize> {
    use actix_web::http::StatusCode;
    use actix_web::{App, HttpResponse, HttpServer, web};

    let (shutdown, receiver, handler) = parts().await;
    let ready = shutdown.clone();
    let answer = |status: u16| HttpResponse::build(StatusCode::from_u16(status).expect("a status")).finish();
    let app = move || {
        let (handler, ready) = (handler.clone(), ready.clone());
        let handle = move |_: medhook_actix::Delivery| {
            let handler = handler.clone();
            async move { answer(handler.run().await.as_u16()) }
        };
        let probe = move || {
            let status = readiness(&ready);
            async move { answer(status.as_u16()) }
        };
        let verify = medhook_actix::Verify::new(receiver.clone());
        App::new()
            .service(web::resource(PATH).wrap(verify).route(web::post().to(handle)))
            .route(READINESS, web::get().to(probe))
    };
    // On a slow machine a head may take longer than the 5 s that actix-web gives it.
    let server = HttpServer::new(app).workers(2).client_request_timeout(Duration::from_secs(600)).disable_signals();
    let server = server.listen(listener().await?.into_std()?)?.run();
    let (handle, drained) = (server.handle(), shutdown.drained());
    actix_web::rt::spawn(async move {
        drained.await;
        handle.stop(true).await;
    });
    shutdown.serve(server).await
}

async fn hyper() -> io::Result<usize> {
    let (shutdown, receiver, handler) = parts().await;
    let listener = listener().await?;
    let draining = shutdown.draining();
    let probed = shutdown.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (receiver, handler, probed) = (receiver.clone(), handler.clone(), probed.clone());
        async move {
            if request.uri().path() == READINESS {
                return Ok(empty(readiness(&probed)));
            }
            let handle = service_fn(move |_: Request<Full<Bytes>>| {
                let handler = handler.clone();
                async move { Ok::<_, Infallible>(empty(handler.run().await)) }
            });
            medhook_tower::VerifyLayer::new(receiver).layer(handle).oneshot(request).await
        }
    });
    let server = async {
        let mut draining = pin!(draining);
        let connections = GracefulShutdown::new();
        loop {
            let (stream, _) = tokio::select! {
                accepted = listener.accept() => accepted?,
                () = &mut draining => break,
            };
            let mut http1 = hyper::server::conn::http1::Builder::new();
            let service = TowerToHyperService::new(service.clone());
            let connection = http1.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connections.watch(connection));
        }
        drop(listener);
        connections.shutdown().await;
        Ok(())
    };
    shutdown.serve(server).await
}

async fn parts() -> (Shutdown, Receiver, Handler) {
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is set"));
    let time = |name: &str| Duration::from_millis(variable(name).parse().expect("milliseconds"));
    let receiver = receiver(SqliteStore::open(variable(STORE)).await.expect("a store"));
    let shutdown = Shutdown::on_signals(time(WITHIN)).expect("signals");
    let shutdown = shutdown.drain_delay(time(DELAY)).receivers([receiver.clone()]);
    (shutdown, receiver, Handler::new())
}

async fn listener() -> io::Result<TcpListener> {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    eprintln!("listening at {}", listener.local_addr()?);
    Ok(listener)
}

fn readiness(shutdown: &Shutdown) -> StatusCode {
    if shutdown.is_requested() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// Runs until a line is read from standard input.
#[derive(Clone)]
struct Handler(watch::Receiver<bool>);

impl Handler {
    fn new() -> Self {
        let (release, released) = watch::channel(false);
        std::thread::spawn(move || {
            let read = io::stdin().read_line(&mut String::new());
            // The end of the input is the end of the test.
            release.send_replace(read.is_ok_and(|length| length > 0));
            loop {
                std::thread::park();
            }
        });
        Handler(released)
    }

    async fn run(&self) -> StatusCode {
        eprintln!("handling");
        let mut released = self.0.clone();
        released.wait_for(|released| *released).await.expect("the thread keeps the sender");
        StatusCode::OK
    }
}
