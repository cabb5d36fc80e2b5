//! Run with: `HEALTHSYNC_SECRET=.. cargo run -p example-hyper-tower`
//!
//! Uses hyper and tower without a framework. The layer wraps any tower service.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Body;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use medhook_tower::http::{Request, Response, StatusCode};
use medhook_tower::{Bytes, Delivery, HealthSync, MemoryStore, Receiver, Secrets, Shutdown, VerifyLayer, healthsync};
use tokio::net::TcpListener;
use tower::{Service, ServiceBuilder, service_fn};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let provider = HealthSync::new(Secrets::from_env("HEALTHSYNC_SECRET")?);
    let receiver = Receiver::builder("healthsync", provider).store(MemoryStore::new(100_000)).build()?;
    let shutdown = Shutdown::on_signals(Duration::from_secs(30))?.receivers([receiver.clone()]);
    let listener = TcpListener::bind("127.0.0.1:8787").await?;
    shutdown.serve(serve(listener, receiver, shutdown.draining())).await?;
    Ok(())
}

/// Accepts connections until `stop` resolves, then waits until the open ones have finished.
async fn serve(listener: TcpListener, receiver: Receiver, stop: impl Future<Output = ()>) -> io::Result<()> {
    let mut stop = pin!(stop);
    let connections = GracefulShutdown::new();
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            () = &mut stop => break,
        };
        let service = TowerToHyperService::new(app(receiver.clone()));
        // The timer closes connections that never finish their head.
        let connection = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                eprintln!("a connection ended: {error}");
            }
        });
    }
    drop(listener); // no new connections
    connections.shutdown().await;
    Ok(())
}

/// Builds the service, which tests can call without a socket.
fn app<B>(
    receiver: Receiver,
) -> impl Service<Request<B>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send> + Clone
where
    B: Body<Data: Send, Error: Send> + Send + 'static,
{
    ServiceBuilder::new()
        .layer(VerifyLayer::new(receiver))
        // Inside the verifying layer, so that unverified requests do not use up the limit.
        .concurrency_limit(64)
        .service(service_fn(on_healthsync))
}

async fn on_healthsync(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let event = request.extensions().get::<Delivery>().map(Delivery::decode::<healthsync::Event>);
    let status = match event {
        Some(Ok(healthsync::Event::DocumentUploaded(_))) => StatusCode::ACCEPTED,
        Some(Ok(_)) => StatusCode::OK,
        // The layer is missing or belongs to another provider. 500 makes the sender retry.
        Some(Err(_)) | None => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use medhook_tower::{Secret, testing};
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn a_document_is_handled_once_and_an_altered_one_is_rejected() {
        let secret = "a-secret-of-the-dashboard";
        let provider = HealthSync::new(Secret::new(secret).unwrap());
        let receiver = Receiver::builder("healthsync", provider).store(MemoryStore::new(10)).build().unwrap();
        let app = app(receiver);
        let genuine = testing::healthsync("document.uploaded").secret(secret).request("/");
        let altered = genuine.clone().map(|_| Bytes::from_static(b"{}"));
        for (request, status) in [
            (genuine.clone(), StatusCode::ACCEPTED),
            (genuine, StatusCode::OK), // a duplicate
            (altered, StatusCode::UNAUTHORIZED),
        ] {
            assert_eq!(app.clone().oneshot(request.map(Full::new)).await.unwrap().status(), status);
        }
    }
}
