//! Sockets that systemd passes to the receiver, and the notifications to it.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::process::{Command, Stdio};

use crate::addresses::{genuine, logged, status};
use crate::program::{Folder, Instance, PATIENCE, with_secrets};
use crate::sender::ENDPOINT;

// An address of no machine, which `listen` could not use.
const TOP: &str = "listen = \"192.0.2.1:1\"\ndrain_delay = \"0s\"\nstore = \"memory\"\n";
const OPERATIONS: &str = "[operations]\nlisten = \"192.0.2.1:2\"\n";

/// Returns the receiver's command with two sockets, of which it inherits the first `count`, as from systemd.
fn passed(folder: &Folder, count: usize, names: &str, first: OwnedFd, second: OwnedFd) -> Command {
    // A shell has the process id before the receiver starts.
    let script = "exec 3<&0 4>&1 0</dev/null 1>/dev/null; LISTEN_PID=$$ exec \"$0\" receive";
    let mut command = Command::new("sh");
    with_secrets(&mut command, folder).args(["-c", script, env!("CARGO_BIN_EXE_medhook")]);
    command.env("LISTEN_FDS", count.to_string()).env("LISTEN_FDNAMES", names);
    command.stdin(Stdio::from(first)).stdout(Stdio::from(second));
    command
}

/// Returns the answer to a request over a new connection.
fn asked(socket: &TcpListener, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(socket.local_addr().unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request).unwrap();
    status(&mut stream)
}

/// Returns the microseconds of CLOCK_MONOTONIC.
fn monotonic() -> u128 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    std::time::Duration::try_from(time).unwrap().as_micros()
}

fn forwarded() -> String {
    // The events cannot be written to /dev/null, so they go to an application that is not there.
    format!("{TOP}{OPERATIONS}{ENDPOINT}forward = \"http://127.0.0.1:9\"\n")
}

#[test]
fn connections_to_a_passed_socket_wait_while_no_receiver_runs() {
    let folder = Folder::new();
    folder.file("medhook.toml", &forwarded());
    let main = TcpListener::bind("127.0.0.1:0").unwrap();
    let operations = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = |socket: &TcpListener| OwnedFd::from(socket.try_clone().unwrap());
    let (path, name) = (folder.path().join("notify"), format!("medhook-test-{}", std::process::id()));
    let by_path = UnixDatagram::bind(&path).unwrap();
    let by_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let mut waiting = None::<TcpStream>;
    for (supervisor, address) in [(by_path, path.to_str().unwrap().to_owned()), (by_name, format!("@{name}"))] {
        supervisor.set_read_timeout(Some(PATIENCE)).unwrap();
        let notified = || {
            let mut message = [0; 64];
            let length = supervisor.recv(&mut message).unwrap();
            String::from_utf8(message[..length].to_vec()).unwrap()
        };
        let mut command = passed(&folder, 2, "medhook.socket:operations", own(&main), own(&operations));
        command.env("NOTIFY_SOCKET", address);
        let mut instance = Instance::run(command);
        let listening = format!("listening at http://{}, a socket passed by systemd", main.local_addr().unwrap());
        logged(&instance, &listening);
        assert_eq!(notified(), "READY=1");
        if let Some(mut waiting) = waiting.take() {
            assert_eq!(status(&mut waiting), "502", "reached the application's address");
        }
        assert_eq!(asked(&main, &genuine("evt-1", "/healthsync")), "502");
        assert_eq!(asked(&operations, b"GET /readyz HTTP/1.1\r\nhost: a\r\n\r\n"), "200");
        let before = monotonic();
        instance.signal("-HUP");
        // Type=notify-reload expects a time that is not before the signal.
        let reloading = notified();
        let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().parse::<u128>().unwrap();
        assert!((before..=monotonic()).contains(&time), "{before} {time}");
        assert_eq!(notified(), "READY=1");
        logged(&instance, "SIGHUP: no file of a secret or certificate has changed");
        assert_eq!(instance.terminate().code(), Some(0));
        assert_eq!(notified(), "STOPPING=1");
        let mut stream = TcpStream::connect(main.local_addr().unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&genuine("evt-2", "/healthsync")).unwrap();
        waiting = Some(stream);
    }
}

#[test]
fn a_passed_socket_that_cannot_be_used_is_a_mistake() {
    let folder = Folder::new();
    let without_operations = forwarded().replace(OPERATIONS, "");
    let tcp = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
    let unix = UnixListener::bind(folder.path().join("socket")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connection = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    for (config, count, names, first, problem) in [
        (forwarded(), 1, "", OwnedFd::from(unix), "LISTEN_FDS: descriptor 3 is no TCP socket"),
        (forwarded(), 1, "", connection.into(), "LISTEN_FDS: descriptor 3 is a connection, not a listening socket"),
        (forwarded(), 2, "a:b", tcp(), "LISTEN_FDNAMES: two sockets have the same purpose"),
        (forwarded(), 3, "a:b:c", tcp(), "LISTEN_FDS: 3 sockets were passed"),
        (without_operations, 2, "a:operations", tcp(), "LISTEN_FDNAMES: a socket is named operations, but"),
        // The sockets of another process.
        (forwarded(), 0, "", tcp(), "medhook.toml: `listen`: cannot listen at 192.0.2.1:1: "),
    ] {
        folder.file("medhook.toml", &config);
        let output = passed(&folder, count, names, first, tcp()).spawn().unwrap().wait_with_output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(problem) && error.lines().count() == 1, "{error}");
    }
}
