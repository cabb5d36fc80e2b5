//! The sockets of the receiver: bound to the addresses of the config file, or passed by systemd (socket activation).

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::net::{SocketAddr, TcpListener as Socket};

use tokio::net::TcpListener;

use super::config::{Config, Placed};
use crate::failure::Failure;

/// The sockets that the process was started with.
#[derive(Debug, Default)]
pub(super) struct InheritedSockets {
    main: Option<Socket>,
    operations: Option<Socket>,
}

/// A socket that listens.
pub(super) struct ListeningSocket {
    pub(super) listener: TcpListener,
    pub(super) address: SocketAddr,
    /// Whether systemd keeps the socket open.
    pub(super) is_inherited: bool,
}

/// Returns the main socket, and that of `[operations]`.
pub(super) async fn sockets(
    inherited: InheritedSockets,
    main: &Placed<SocketAddr>,
    operations: Option<&Placed<SocketAddr>>,
) -> Result<(ListeningSocket, Option<ListeningSocket>), Failure> {
    if inherited.operations.is_some() && operations.is_none() {
        return Err(Failure::new(format!(
            "{NAMES}: a socket is named {OPERATIONS}, but the config file has no [operations]; add it"
        )));
    }
    let main = listen(inherited.main, main).await?;
    let operations = match operations {
        Some(at) => Some(listen(inherited.operations, at).await?),
        None => None,
    };
    Ok((main, operations))
}

/// Returns one line for each doubt about the address that the receiver listens on.
pub(super) fn address_warnings(config: &Config, address: SocketAddr) -> Vec<String> {
    let place = &config.listen.place;
    let mut warnings = Vec::new();
    if config.tls.is_none() && !address.ip().is_loopback() {
        warnings.push(format!(
            "{place}: {address} is not a loopback address, and `tls` is not set, so health data crosses the \
             network in clear unless a TLS proxy is in front and its network is private; set `tls`, or listen on \
             a loopback address behind a proxy"
        ));
    }
    if config.tls.is_none() && address.ip().is_loopback() {
        let by_address = config.endpoints.iter().filter_map(|endpoint| Some((endpoint, endpoint.allow_from.as_ref()?)));
        let behind_proxy = by_address.filter(|(_, networks)| !networks.contain(address.ip()));
        warnings.extend(behind_proxy.map(|(endpoint, _)| {
            format!(
                "{}: `allow_from`: all requests come from this machine, because {address} is a loopback address, \
                 and {address} is not in its networks; restrict the addresses in the proxy instead",
                endpoint.place
            )
        }));
    }
    warnings
}

async fn listen(inherited: Option<Socket>, at: &Placed<SocketAddr>) -> Result<ListeningSocket, Failure> {
    let is_inherited = inherited.is_some();
    if let Some(socket) = inherited {
        let adopted = socket.set_nonblocking(true).and_then(|()| TcpListener::from_std(socket));
        let adopted = adopted.and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) = adopted.map_err(|error| Failure::because(FDS, error))?;
        return Ok(ListeningSocket { listener, address, is_inherited });
    }
    let cannot = |error| at.wrong(format_args!("cannot listen at {}: {error}", at.value));
    let listener = TcpListener::bind(at.value).await.map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    Ok(ListeningSocket { listener, address, is_inherited })
}

const FDS: &str = "LISTEN_FDS";
const NAMES: &str = "LISTEN_FDNAMES";

/// The name of the socket that replaces `listen` of `[operations]`.
const OPERATIONS: &str = "operations";

#[cfg(unix)]
impl InheritedSockets {
    /// Takes the sockets that systemd has passed. Must run once, before other threads and before other files are
    /// opened.
    pub(super) fn take() -> Result<Self, Failure> {
        let mut inherited = InheritedSockets::default();
        let variable = |name| std::env::var(name).unwrap_or_default();
        // Variables of another process, such as the parent, are ignored.
        if variable("LISTEN_PID") != std::process::id().to_string() {
            return Ok(inherited);
        }
        let count: usize = variable(FDS).parse().map_err(|_| Failure::new(format!("{FDS}: must be a number")))?;
        if count > 2 {
            return Err(Failure::new(format!("{FDS}: {count} sockets were passed; {HOW_MANY}")));
        }
        let names = variable(NAMES);
        let mut names = names.split(':');
        let mut passed = listenfd::ListenFd::from_env();
        for index in 0..count {
            let name = names.next().unwrap_or_default();
            let number = index.saturating_add(FIRST);
            let wrong = |problem: &str| Failure::new(format!("{FDS}: descriptor {number} is {problem}"));
            let socket = passed.take_tcp_listener(index).ok().flatten();
            let socket = socket.ok_or_else(|| wrong("no TCP socket; use ListenStream= with an address and a port"))?;
            if !rustix::net::sockopt::socket_acceptconn(&socket).unwrap_or(false) {
                return Err(wrong("a connection, not a listening socket; set Accept=no in the socket unit"));
            }
            let of_name = if name == OPERATIONS { &mut inherited.operations } else { &mut inherited.main };
            if of_name.replace(socket).is_some() {
                return Err(Failure::new(format!("{NAMES}: two sockets have the same purpose; {HOW_MANY}")));
            }
        }
        Ok(inherited)
    }
}

#[cfg(unix)]
const HOW_MANY: &str = "pass one for `listen`, and optionally one with FileDescriptorName=operations for [operations]";

/// The first descriptor that systemd passes.
#[cfg(unix)]
const FIRST: usize = 3;

#[cfg(not(unix))]
impl InheritedSockets {
    pub(super) fn take() -> Result<Self, Failure> {
        Ok(InheritedSockets::default())
    }
}

/// A change of the state of the service, for systemd units with `Type=notify`.
#[derive(Debug, Clone, Copy)]
pub(super) enum ServiceState {
    /// Starting or reloading has finished.
    Ready,
    /// Files are read again. `Ready` follows.
    Reloading,
    Stopping,
}

/// Notifies systemd. Does nothing if the service was not started by it.
#[cfg(target_os = "linux")]
pub(super) fn notify(state: ServiceState) {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    let Some(path) = std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()) else {
        return;
    };
    let message = match state {
        ServiceState::Ready => "READY=1".to_owned(),
        // With `Type=notify-reload`, systemd compares the time with that of its SIGHUP.
        ServiceState::Reloading => format!("RELOADING=1\nMONOTONIC_USEC={}", monotonic().as_micros()),
        ServiceState::Stopping => "STOPPING=1".to_owned(),
    };
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        path => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path)),
    };
    let sent = address.and_then(|address| {
        let socket = UnixDatagram::unbound()?;
        // A full queue must not block the shutdown.
        socket.set_nonblocking(true)?;
        socket.send_to_addr(message.as_bytes(), &address)
    });
    if let Err(error) = sent {
        tracing::warn!(%error, "cannot notify systemd of the state of this service; see NOTIFY_SOCKET");
    }
}

/// Returns the time of CLOCK_MONOTONIC, which [`std::time::Instant`] does not expose.
#[cfg(target_os = "linux")]
fn monotonic() -> std::time::Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    std::time::Duration::try_from(time).unwrap_or_default()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn notify(_: ServiceState) {}
