//! Deliveries by the address of their sender: `allow_from`, and the limit of connections for each address.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use tokio::net::TcpSocket;

use crate::program::{Folder, Instance, PATIENCE};
use crate::sender::{ENDPOINT, delivery};

const TOP: &str = "listen = \"127.0.0.1:0\"\ndrain_delay = \"0s\"\nstore = \"memory\"\n";

/// Connects from this address of the machine. On Linux, all of 127.0.0.0/8 are.
fn connect_from(address: &str, to: SocketAddr) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connected = runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
        socket.connect(to).await.unwrap().into_std().unwrap()
    });
    connected.set_nonblocking(false).unwrap();
    connected.set_read_timeout(Some(PATIENCE)).unwrap();
    connected
}

/// Returns the bytes of a genuine delivery.
pub(crate) fn genuine(id: &str, path: &str) -> Vec<u8> {
    let request = delivery(id);
    let mut text = format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n", request.body().len());
    for (name, value) in request.headers() {
        text.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    [text.as_bytes(), b"\r\n", request.body()].concat()
}

/// Reads the head of an answer, and returns its status.
pub(crate) fn status(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    String::from_utf8(head).unwrap().split(' ').nth(1).unwrap().to_owned()
}

/// Waits until a line contains the text.
pub(crate) fn logged(instance: &Instance, text: &str) -> String {
    let began = Instant::now();
    loop {
        if let Some(line) = instance.stderr().into_iter().find(|line| line.contains(text)) {
            return line;
        }
        assert!(began.elapsed() < PATIENCE, "no line with {text:?}: {:?}", instance.stderr());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn deliveries_from_other_addresses_are_answered_403_before_their_body_and_leave_a_trace() {
    let folder = Folder::new();
    let operations = "[operations]\nlisten = \"127.0.0.1:0\"\n";
    let open = ENDPOINT.replace("/healthsync", "/open") + "reuse_secret = true\n";
    let restricted = ENDPOINT.to_owned() + "reuse_secret = true\nallow_from = [\"127.0.0.2\", \"127.1.0.0/16\"]\n";
    let config = format!("{TOP}{operations}{restricted}{open}");
    let mut instance = Instance::start(&folder, &config, &["--json"]);
    let address = instance.address;
    let sent = |from: &str, path: &str, id: &str| {
        let mut stream = connect_from(from, address);
        stream.write_all(&genuine(id, path)).unwrap();
        status(&mut stream)
    };
    for (from, path, expected) in [
        ("127.0.0.2", "/healthsync", "200"),
        ("127.1.2.3", "/healthsync", "200"),
        ("127.0.0.3", "/healthsync", "403"),
        ("127.0.0.3", "/healthsync", "403"),
        ("127.0.0.3", "/open", "200"),
    ] {
        assert_eq!(sent(from, path, &format!("{from}{path}")), expected, "{from} {path}");
    }
    // Nothing of the body was sent, and the answer is there.
    let mut head_alone = connect_from("127.0.0.3", address);
    write!(head_alone, "POST /healthsync HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n").unwrap();
    assert_eq!(status(&mut head_alone), "403");

    let line = logged(&instance, "health checks at");
    let (_, metrics) = line.split_once("metrics at http://").unwrap();
    let mut stream = TcpStream::connect(metrics.strip_suffix("/metrics").unwrap()).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let series = "medhook_deliveries_total{endpoint=\"healthsync\",provider=\"healthsync\",kind=\"\",\
                  outcome=\"rejected\",reason=\"address_not_allowed\"} 3\n";
    assert!(text.contains(series), "{text}");

    assert_eq!(instance.terminate().code(), Some(0));
    let lines = instance.stdout();
    let rejected: Vec<_> = lines.iter().filter(|line| line.contains("\"reason\":\"address_not_allowed\"")).collect();
    assert_eq!(rejected.len(), 2, "the first one, and the number of the others: {lines:?}");
    let begin = "\"endpoint\":\"healthsync\",\"path\":\"/healthsync\",\"provider\":\"healthsync\",\
                 \"outcome\":\"rejected\",\"reason\":\"address_not_allowed\"";
    assert!(rejected[0].contains(begin) && rejected[0].contains("\"status\":403"), "{rejected:?}");
    assert!(rejected[1].contains("\"status\":403,\"count\":2"), "{rejected:?}");
    let log = instance.stderr();
    let warnings: Vec<_> = log.iter().filter(|line| line.contains("medhook::rejections")).collect();
    let next = "webhook deliveries rejected; if the provider or the proxy sent them, add its network to `allow_from`";
    let fields = "endpoint=\"healthsync\" provider=\"healthsync\" reason=\"address_not_allowed\" count=1 \
                  from=\"127.0.0.0/24\"";
    assert!(warnings[0].contains(next) && warnings[0].contains(fields), "{warnings:?}");
    assert!(warnings[1].contains("count=2") && warnings.len() == 2, "{warnings:?}");
    let doubt = "all requests come from this machine, because 127.0.0.1";
    assert_eq!(log.iter().filter(|line| line.contains(doubt)).count(), 1, "{log:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn more_connections_of_one_address_are_closed_and_others_are_not() {
    let folder = Folder::new();
    let config = format!("max_connections_per_address = 2\n{TOP}{ENDPOINT}");
    let instance = Instance::start(&folder, &config, &[]);
    let address = instance.address;
    let live = |stream: &mut TcpStream| {
        write!(stream, "GET /livez HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        status(stream)
    };
    let is_closed = |mut stream: TcpStream| {
        let mut byte = [0];
        // A connection is either closed or reset.
        !matches!(stream.read(&mut byte), Ok(1..))
    };
    let mut open = [(); 2].map(|()| connect_from("127.0.0.2", address));
    open.iter_mut().for_each(|stream| assert_eq!(live(stream), "200"));
    for _ in 0..10 {
        assert!(is_closed(connect_from("127.0.0.2", address)));
    }
    let mut other = connect_from("127.0.0.3", address);
    assert_eq!(live(&mut other), "200");
    let [first, mut second] = open;
    assert_eq!(live(&mut second), "200", "the open ones are not affected");
    drop(first);
    // The receiver notices the end of a connection soon.
    let began = Instant::now();
    loop {
        let mut stream = connect_from("127.0.0.2", address);
        let sent = write!(stream, "GET /livez HTTP/1.1\r\nhost: a\r\n\r\n");
        if sent.is_ok() && stream.peek(&mut [0]).is_ok_and(|read| read == 1) {
            break;
        }
        assert!(began.elapsed() < PATIENCE);
    }
    let text = "connections closed because their address has reached max_connections_per_address";
    let log = instance.stderr();
    let lines: Vec<_> = log.iter().filter(|line| line.contains(text)).collect();
    assert!(lines[0].contains("count=1 from=127.0.0.0/24 limit=2") && lines.len() == 1, "once a minute: {log:?}");
}
