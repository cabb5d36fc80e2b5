//! Requests over loopback: servers with one worker, and a generator that keeps its connections open. All handlers of
//! a framework are on one server and take turns. The generator is our own, because every request must carry a new id.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::apps::{Fresh, actix_app, axum_app};
use crate::by_hand::ByHand;
use crate::in_process::{SUBJECTS, remembering};
use crate::peers;
use crate::report::{Figure, Report, Row, Target};
use crate::rounds::alternating;

pub fn run(report: &mut Report) {
    let mut fresh = Fresh::default();
    compared(report, "axum", served(axum_server), 1.08, &SUBJECTS, &mut fresh);
    compared(report, "actix-web", served(actix_server), 1.10, &SUBJECTS[..2], &mut fresh);
}

/// Starts a server and returns its address.
pub fn served(server: fn(TcpListener)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("a socket of ours");
    let address = listener.local_addr().expect("a port");
    std::thread::spawn(move || server(listener));
    address
}

pub fn axum_server(listener: TcpListener) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        axum::serve(listener, axum_app(&remembering()).merge(peers::app())).await.expect("a server");
    });
}

fn actix_server(listener: TcpListener) {
    let (receiver, by_hand) = (remembering(), Arc::new(ByHand::standard_webhooks()));
    let server =
        actix_web::HttpServer::new(move || actix_web::App::new().configure(|app| actix_app(app, &receiver, &by_hand)));
    let server = server.workers(1).disable_signals().listen(listener).expect("a listener").run();
    actix_web::rt::System::new().block_on(server).expect("a server");
}

/// Compares the first subject with the others. `most` is the target for its time over that by hand.
fn compared(
    report: &mut Report,
    name: &str,
    server: SocketAddr,
    most: f64,
    subjects: &[(&'static str, &str)],
    fresh: &mut Fresh,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut connections = runtime.block_on(connect(server, CONNECTIONS));
    let figures =
        alternating(subjects.len(), ROUNDS, |subject| request(&runtime, &mut connections, subjects[subject].1, fresh));
    for (index, what) in ["time", "CPU"].into_iter().enumerate() {
        for ((other, _), figure) in subjects.iter().zip(&figures).skip(1) {
            report.add(Row {
                bench: format!("{name} over HTTP: {what} per request"),
                size: "1 KiB".to_owned(),
                ours: Figure::Nanoseconds(figures[0][index]),
                other: Some((*other, Figure::Nanoseconds(figure[index]))),
                target: if (what, *other) == ("time", "by hand") { Target::Ratio(most) } else { Target::None },
            });
        }
    }
}

pub async fn connect(server: SocketAddr, connections: usize) -> Vec<TcpStream> {
    let mut connected = Vec::new();
    for _ in 0..connections {
        let stream = TcpStream::connect(server).await.expect("a connection");
        stream.set_nodelay(true).expect("a socket of ours");
        connected.push(stream);
    }
    connected
}

/// Sends new events over all connections at a time. Returns the time for each, and the CPU time of the servers.
pub fn request(
    runtime: &tokio::runtime::Runtime,
    connections: &mut [TcpStream],
    path: &str,
    fresh: &mut Fresh,
) -> [f64; 2] {
    let pools: Vec<Vec<_>> =
        connections.iter().map(|_| (0..OF_A_CONNECTION).map(|_| on_the_wire(fresh, path)).collect()).collect();
    let requests = (connections.len() * OF_A_CONNECTION) as f64;
    let (cpu, began) = (cpu_of_servers(), Instant::now());
    let sent = connections.iter_mut().zip(pools).map(|(connection, pool)| send(connection, pool));
    runtime.block_on(futures_util::future::join_all(sent));
    let wall = began.elapsed().as_secs_f64() * 1e9;
    [wall / requests, (cpu_of_servers() - cpu) / requests]
}

pub const CONNECTIONS: usize = 16;
const OF_A_CONNECTION: usize = 100;
const ROUNDS: usize = 61;

pub async fn send(connection: &mut TcpStream, pool: Vec<Vec<u8>>) {
    let mut answer = [0; 4096];
    for request in pool {
        connection.write_all(&request).await.expect("sent");
        let mut length = 0;
        while !answer[..length].ends_with(b"\r\n\r\n") {
            let more = connection.read(&mut answer[length..]).await.expect("an answer");
            assert!(more > 0, "the server hung up");
            length += more;
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer[..length]));
    }
}

pub fn on_the_wire(fresh: &mut Fresh, path: &str) -> Vec<u8> {
    let request = fresh.request(path);
    let mut wire = format!("POST {path} HTTP/1.1\r\n").into_bytes();
    for (name, value) in request.headers() {
        wire.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    wire.extend(b"\r\n");
    wire.extend(request.body());
    wire
}

/// Returns the CPU time of all threads except this one, in nanoseconds.
fn cpu_of_servers() -> f64 {
    let this = std::fs::read_link("/proc/thread-self").expect("Linux");
    let threads = std::fs::read_dir("/proc/self/task").expect("Linux");
    let used = threads.flatten().filter(|thread| Some(&*thread.file_name()) != this.file_name()).map(|thread| {
        let schedstat = std::fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        schedstat.split(' ').next().and_then(|used| used.parse::<f64>().ok()).unwrap_or_default()
    });
    used.sum()
}
