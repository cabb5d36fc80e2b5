//! One server for each framework, as its users would write it, with a path `/<n>` for the n-th route.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use medhook_tests::route::Route;
use medhook_tower::http::{Request, Response, StatusCode};
use medhook_tower::{Bytes, Delivery};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tower::util::BoxCloneService;
use tower::{Layer, ServiceExt, service_fn};

pub type Routes = Arc<[Route]>;

/// Starts a server that runs until its process ends.
pub type Start = fn(Routes) -> SocketAddr;

/// Every framework.
pub const ALL: &[(&str, Start)] = &[("hyper and tower", hyper), ("axum", axum), ("actix-web", actix)];

/// Returns a listener with a longer backlog than the standard library's 128: tests open hundreds of connections at
/// once, and those beyond the backlog are reset.
fn listener() -> (TcpListener, SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let listener = socket.listen(2_048).expect("a listener");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// hyper, with a tower service for each path, over HTTP/1.1.
pub fn hyper(routes: Routes) -> SocketAddr {
    serve(routes, |socket, service| {
        let mut http1 = hyper::server::conn::http1::Builder::new();
        tokio::spawn(http1.timer(TokioTimer::new()).serve_connection(socket, service));
    })
}

/// The service that responds on a connection.
pub type ByPath = TowerToHyperService<BoxCloneService<Request<Incoming>, Response<Full<Bytes>>, Infallible>>;

/// Serves the routes with the given function for each connection.
pub fn serve(routes: Routes, connection: fn(TokioIo<TcpStream>, ByPath)) -> SocketAddr {
    let (listener, address) = listener();
    tokio::spawn(async move {
        loop {
            let Ok((socket, _)) = listener.accept().await else { continue };
            let routes = routes.clone();
            let service = service_fn(move |request| by_path(routes.clone(), request));
            connection(TokioIo::new(socket), TowerToHyperService::new(BoxCloneService::new(service)));
        }
    });
    address
}

async fn by_path(routes: Routes, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let n: usize = request.uri().path().trim_start_matches('/').parse().expect("the number of a route");
    let handled = routes.clone();
    let handler = service_fn(move |request: Request<Full<Bytes>>| {
        let routes = handled.clone();
        async move {
            let (head, body) = request.into_parts();
            let delivery: &Delivery = head.extensions.get().expect("behind the layer");
            let body = body.collect().await.expect("a body in memory").to_bytes();
            let status = routes[n].handle(delivery.clone(), body).await;
            Ok::<_, Infallible>(Response::builder().status(status).body(Full::default()).expect("a response"))
        }
    });
    let verify = medhook_tower::VerifyLayer::<Full<Bytes>>::new(routes[n].receiver.clone());
    let response = verify.layer(handler).oneshot(request).await?;
    let extensions = response.extensions();
    routes[n].note(response.status().as_u16(), extensions.get(), extensions.get());
    Ok(response)
}

/// axum, with a layered route for each path, over HTTP/1.1 and HTTP/2.
pub fn axum(routes: Routes) -> SocketAddr {
    use axum::response::Response;
    use axum::routing::any;

    let mut app = axum::Router::new();
    for n in 0..routes.len() {
        let (handled, answered) = (routes.clone(), routes.clone());
        let handler = move |delivery: medhook_axum::Delivery, body: Bytes| async move {
            let status = handled[n].handle(delivery, body).await;
            StatusCode::from_u16(status).expect("a status")
        };
        let note = axum::middleware::map_response(move |response: Response| {
            let extensions = response.extensions();
            answered[n].note(response.status().as_u16(), extensions.get(), extensions.get());
            std::future::ready(response)
        });
        let verify = medhook_axum::VerifyLayer::new(routes[n].receiver.clone());
        app = app.route(&format!("/{n}"), any(handler).layer(verify).layer(note));
    }
    let (listener, address) = listener();
    tokio::spawn(async move { axum::serve(listener, app).await.expect("served") });
    address
}

/// actix-web, with a wrapped resource for each path, on a thread and a runtime of its own.
pub fn actix(routes: Routes) -> SocketAddr {
    use actix_web::dev::{Service, ServiceResponse};
    use actix_web::{App, Error, HttpResponse, HttpServer, web};

    fn note<B>(route: &Route, answer: &Result<ServiceResponse<B>, Error>) {
        let note = |response: &HttpResponse<()>| {
            let extensions = response.extensions();
            route.note(response.status().as_u16(), extensions.get(), extensions.get());
        };
        match answer {
            Ok(response) => {
                let extensions = response.response().extensions();
                route.note(response.status().as_u16(), extensions.get(), extensions.get());
            }
            Err(error) => note(&error.error_response().drop_body()),
        }
    }

    let (listener, address) = listener();
    let listener = listener.into_std().expect("a listener like any other");
    let app = move || {
        (0..routes.len()).fold(App::new(), |app, n| {
            let (handled, answered) = (routes.clone(), routes.clone());
            let handler = move |delivery: medhook_actix::Delivery, mut payload: web::Payload| {
                let routes = handled.clone();
                async move {
                    // `web::Bytes` accepts at most 256 KiB by default.
                    let body = actix_web::body::to_bytes(actix_web::body::BodyStream::new(&mut payload)).await;
                    let body = body.unwrap_or_else(|_| panic!("a body in memory"));
                    let status = routes[n].handle(delivery, body).await;
                    HttpResponse::build(actix_web::http::StatusCode::from_u16(status).expect("a status")).finish()
                }
            };
            let resource = web::resource(format!("/{n}"))
                .wrap(medhook_actix::Verify::new(routes[n].receiver.clone()))
                .wrap_fn(move |request, service| {
                    let (routes, answer) = (answered.clone(), service.call(request));
                    async move {
                        let answer = answer.await;
                        note(&routes[n], &answer);
                        answer
                    }
                })
                .to(handler);
            app.service(resource)
        })
    };
    std::thread::spawn(move || {
        // With hundreds of concurrent connections, some wait longer than the 5 s that actix-web allows for a head.
        let server = HttpServer::new(app).workers(2).client_request_timeout(Duration::from_secs(600));
        let server = server.listen(listener).expect("a listener").disable_signals().run();
        actix_web::rt::System::new().block_on(server).expect("served");
    });
    address
}
