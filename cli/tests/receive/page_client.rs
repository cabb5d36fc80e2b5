//! A browser of the operator's page, reduced to what its requests and answers say.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::program::{Folder, Instance, PATIENCE, THIRD_SECRET};
use crate::sender::ENDPOINT;

/// The token of `[operations]` in [`OPERATIONS`].
pub(crate) const TOKEN: &str = THIRD_SECRET;

pub(crate) const TOP: &str = "listen = \"127.0.0.1:0\"\ndrain_delay = \"0s\"\nstore = \"memory\"\n";
pub(crate) const OPERATIONS: &str = "[operations]\nlisten = \"127.0.0.1:0\"\ntoken = { env = \"TEST_THIRD_SECRET\" }\n\
                                     hosts = [\"medhook.example.org\"]\n";

/// Starts a receiver with the operator's page, and returns the address of the page.
pub(crate) fn started(folder: &Folder) -> (Instance, SocketAddr) {
    let instance = Instance::start(folder, &format!("{TOP}{ENDPOINT}{OPERATIONS}"), &["--json"]);
    let page = page(&instance);
    (instance, page)
}

/// Returns the address of the operator's page, from the line at the start.
pub(crate) fn page(instance: &Instance) -> SocketAddr {
    let lines = instance.stderr();
    let url = lines.iter().find_map(|line| line.strip_prefix("medhook: operator's page at ")).unwrap();
    let (_, address) = url.split_once("://").unwrap();
    address.strip_suffix('/').unwrap().parse().unwrap()
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn read(mut from: impl Read) -> Self {
        let mut text = String::new();
        from.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(one, _)| one.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Returns the cookie of the session that was opened, as the browser sends it.
    pub(crate) fn cookie(&self) -> String {
        let cookie = self.header("set-cookie").unwrap_or_else(|| panic!("no cookie: {self:?}"));
        let (pair, _) = cookie.split_once(';').unwrap();
        format!("cookie: {pair}\r\n")
    }
}

/// Sends a request whose host is the address. `headers` are complete lines.
pub(crate) fn send(to: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    request(to, method, path, &format!("host: {to}\r\n{headers}"), body)
}

/// Sends a request with these headers only.
pub(crate) fn request(to: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let mut stream = connect(to);
    let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    write!(stream, "{method} {path} HTTP/1.1\r\n{headers}{length}connection: close\r\n\r\n{body}").unwrap();
    Answer::read(stream)
}

pub(crate) fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

pub(crate) fn get(to: SocketAddr, path: &str, headers: &str) -> Answer {
    send(to, "GET", path, headers, "")
}

/// The type of a form.
pub(crate) const FORM: &str = "content-type: application/x-www-form-urlencoded\r\n";

/// Sends the login form.
pub(crate) fn log_in(to: SocketAddr, token: &str) -> Answer {
    send(to, "POST", "/login", FORM, &format!("token={token}&next=%2F"))
}

/// Returns whether a session is open: without one, the page sends the browser to the login.
pub(crate) fn is_open(to: SocketAddr, cookie: &str) -> bool {
    let answer = get(to, "/deliveries", cookie);
    match answer.status {
        200 => true,
        303 => {
            assert_eq!(answer.header("location"), Some("/login?next=%2Fdeliveries"));
            false
        }
        _ => panic!("{answer:?}"),
    }
}
