//! Receivers that are restarted under load from senders that never retry: behind nginx, and with a socket that systemd
//! keeps open. No connection is refused, no answer is an error, and every event is handled once.

use std::collections::HashMap;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use medhook::Bytes;
use medhook::testing;
use tokio::task::JoinSet;

use crate::program::{Folder, Instance, PATIENCE, SECRET, with_secrets};
use crate::sender::{ENDPOINT, now};

/// The path that contrib/nginx/medhook.conf passes on.
const PATH: &str = "/webhooks/healthsync";

/// The number of restarts, of each receiver if there are two. Scripts set more.
fn restarts() -> usize {
    std::env::var("MEDHOOK_TEST_RESTARTS").map_or(2, |text| text.parse().unwrap())
}

/// Senders with a connection for each delivery.
struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    senders: JoinSet<Vec<String>>,
}

const SENDERS: usize = 6;

impl Load {
    fn start(to: SocketAddr) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut senders = JoinSet::new();
        for _ in 0..SENDERS {
            let (stop, sent) = (stop.clone(), sent.clone());
            senders.spawn(async move {
                let client =
                    Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http::<Full<Bytes>>();
                let mut failures = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    let id = format!("evt-{}", sent.fetch_add(1, Ordering::SeqCst));
                    let mut request =
                        testing::healthsync("document.uploaded").secret(SECRET).at(now()).id(&id).request(PATH);
                    *request.uri_mut() = format!("http://{to}{PATH}").parse().unwrap();
                    let answered = async {
                        let response =
                            client.request(request.map(Full::new)).await.map_err(|error| format!("{error:?}"))?;
                        let status = response.status();
                        response.into_body().collect().await.map_err(|error| format!("{error:?}"))?;
                        if status == 200 { Ok(()) } else { Err(status.to_string()) }
                    };
                    if let Err(failure) = tokio::time::timeout(PATIENCE, answered).await.expect("an answer") {
                        failures.push(format!("{id}: {failure}"));
                    }
                    tokio::time::sleep(Duration::from_millis(3)).await;
                }
                failures
            });
        }
        Load { stop, sent, senders }
    }

    /// Waits until this many more deliveries have begun.
    async fn more(&self, count: usize) {
        let (until, began) = (self.sent.load(Ordering::SeqCst) + count, Instant::now());
        while self.sent.load(Ordering::SeqCst) < until {
            assert!(began.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Stops the senders. Returns the number of deliveries, and the failures.
    async fn stop(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::SeqCst);
        let failures = self.senders.join_all().await.into_iter().flatten().collect();
        (self.sent.load(Ordering::SeqCst), failures)
    }
}

/// Writes the result for scripts/rolling-update.
fn report(result: &str) {
    let line = format!("{result}: all answered 200 and handled once\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// Checks that every event was handled once, by the lines of all receivers.
pub(crate) fn handled_once(sent: usize, lines: &[String]) {
    let mut handled = HashMap::<String, usize>::new();
    for line in lines {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        if line["outcome"] == "handled" {
            *handled.entry(line["event_id"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    let wrong: Vec<_> = (0..sent).filter(|id| handled.get(&format!("evt-{id}")) != Some(&1)).collect();
    assert!(wrong.is_empty() && handled.len() == sent, "not handled once: {wrong:?} of {sent}");
}

fn config() -> String {
    let top = "listen = \"127.0.0.1:0\"\ndrain_delay = \"200ms\"\nstore = \"sqlite:events.db\"\n";
    format!("{top}{}", ENDPOINT.replace("/healthsync", PATH))
}

/// Restarts the receiver behind one address.
struct Restarting {
    instance: Instance,
    listen: String,
    lines: Vec<String>,
}

impl Restarting {
    fn start(folder: &Folder) -> Self {
        let instance = Instance::start(folder, &config(), &["--json", "--show-ids"]);
        let listen = instance.address.to_string();
        Restarting { instance, listen, lines: Vec::new() }
    }

    fn end(&mut self) {
        assert_eq!(self.instance.terminate().code(), Some(0), "{:?}", self.instance.stderr());
        self.lines.extend(self.instance.stdout());
    }

    fn restart(&mut self, folder: &Folder) {
        self.end();
        self.instance = Instance::start(folder, &config(), &["--json", "--show-ids", "--listen", &self.listen]);
    }
}

struct Nginx(Child);

impl Nginx {
    /// Starts nginx with the documented configuration. Returns its address.
    fn start(program: &str, folder: &Folder, receivers: [SocketAddr; 2]) -> (Self, SocketAddr) {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let documented = include_str!("../../../contrib/nginx/medhook.conf");
        let site: String = documented
            .replace("listen 443 ssl", &format!("listen {address}"))
            .replace("127.0.0.1:8787", &receivers[0].to_string())
            .replace("127.0.0.1:8789", &receivers[1].to_string())
            .lines()
            .filter(|line| !line.trim_start().starts_with("ssl_"))
            .map(|line| format!("{line}\n"))
            .collect();
        folder.file("site.conf", &site);
        let root = folder.path().display();
        let is_root = rustix::process::getuid().is_root();
        let user = if is_root { "user root;" } else { "" };
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {root}/{name};\n"))
            .concat();
        let main = format!(
            "{user} daemon off; worker_processes 2; pid {root}/nginx.pid; error_log {root}/nginx.log;\n\
             events {{}}\nhttp {{ access_log off;\n{temporary}include {root}/site.conf;\n}}\n"
        );
        let main = folder.file("nginx.conf", &main);
        let mut command = Command::new(program);
        command.arg("-p").arg(folder.path()).arg("-c").arg(main).stdin(Stdio::null());
        let nginx = Nginx(command.spawn().unwrap());
        let began = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            assert!(began.elapsed() < PATIENCE, "nginx does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        (nginx, address)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // SIGQUIT ends the workers as well, which SIGKILL would not.
        medhook_tests::servers::signal("QUIT", &[self.0.id()]);
        let _ = self.0.wait();
    }
}

/// Run by scripts/rolling-update, which installs nginx.
#[tokio::test(flavor = "multi_thread")]
async fn two_receivers_behind_nginx_are_restarted_and_no_delivery_is_lost() {
    let Ok(program) = std::env::var("MEDHOOK_TEST_NGINX") else {
        return;
    };
    let folder = Folder::new();
    let mut receivers = [Restarting::start(&folder), Restarting::start(&folder)];
    let addresses = receivers.each_ref().map(|receiver| receiver.instance.address);
    let (nginx, address) = Nginx::start(&program, &folder, addresses);
    let load = Load::start(address);
    load.more(50).await;
    for _ in 0..restarts() {
        for receiver in &mut receivers {
            tokio::task::block_in_place(|| receiver.restart(&folder));
            load.more(50).await;
        }
    }
    let (sent, failures) = load.stop().await;
    assert!(failures.is_empty(), "{} of {sent}: {failures:?}", failures.len());
    drop(nginx);
    receivers.iter_mut().for_each(Restarting::end);
    handled_once(sent, &receivers.iter().flat_map(|receiver| receiver.lines.clone()).collect::<Vec<_>>());
    report(&format!("behind nginx: {sent} deliveries, {} restarts", 2 * restarts()));
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_with_a_passed_socket_is_restarted_and_no_delivery_is_lost() {
    let folder = Folder::new();
    folder.file("medhook.toml", &config());
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let start = || {
        let mut command = Command::new("sh");
        let script = "exec 3<&0 0</dev/null; LISTEN_PID=$$ exec \"$0\" receive --json --show-ids";
        with_secrets(&mut command, &folder).args(["-c", script, env!("CARGO_BIN_EXE_medhook")]);
        command.env("LISTEN_FDS", "1").stdin(Stdio::from(OwnedFd::from(socket.try_clone().unwrap())));
        Instance::reading(command)
    };
    let load = Load::start(socket.local_addr().unwrap());
    let mut lines = Vec::new();
    for _ in 0..restarts() {
        let mut instance = tokio::task::block_in_place(start);
        load.more(50).await;
        assert_eq!(tokio::task::block_in_place(|| instance.terminate()).code(), Some(0), "{:?}", instance.stderr());
        lines.extend(instance.stdout());
    }
    let mut last = tokio::task::block_in_place(start);
    load.more(50).await;
    let (sent, failures) = load.stop().await;
    assert!(failures.is_empty(), "{} of {sent}: {failures:?}", failures.len());
    last.terminate();
    lines.extend(last.stdout());
    handled_once(sent, &lines);
    report(&format!("with a passed socket: {sent} deliveries, {} restarts", restarts()));
}
