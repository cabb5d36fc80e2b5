//! Sends requests to a proxy with curl, which speaks TLS and HTTP/2.

use std::process::{Child, Command, Stdio};

use http::Request;
use medhook::Bytes;

use super::running::Proxy;

/// For requests that are answered before their body is read. Over HTTP/2, curl 7.88 may lose such an answer.
pub(super) const EARLY: &[&str] = &["--http1.1"];

/// An answer of a proxy.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) version: String,
    /// All header sections, also that of 100.
    pub(super) head: String,
}

impl Proxy {
    /// Returns the command that requests this path at the proxy.
    fn curl(&self, path: &str) -> Command {
        let mut curl = Command::new("curl");
        let port = self.address.port();
        curl.args(["--silent", "--path-as-is", "--max-time", "100", "--cacert"]);
        curl.arg(self.folder.path().join("cert.pem"));
        curl.arg("--resolve").arg(format!("hooks.example.org:{port}:127.0.0.1"));
        curl.arg("--dump-header").arg(self.folder.path().join("head.txt"));
        curl.args(["--output", "/dev/null", "--write-out", "%{http_code} %{http_version}"]);
        curl.arg(format!("https://hooks.example.org:{port}{path}"));
        curl
    }

    /// Requests this path with further arguments of curl.
    pub(super) fn request(&self, path: &str, arguments: &[&str]) -> Answer {
        let mut curl = self.curl(path);
        self.answer(curl.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap())
    }

    /// Sends a body, unchanged.
    pub(super) fn post(&self, path: &str, body: &[u8], arguments: &[&str]) -> Answer {
        let file = self.folder.path().join("body.bin");
        std::fs::write(&file, body).unwrap();
        let data = format!("@{}", file.display());
        self.request(path, &[&["--data-binary", &data], arguments].concat())
    }

    /// Sends a delivery.
    pub(super) fn send(&self, delivery: &Request<Bytes>, arguments: &[&str]) -> Answer {
        let headers: Vec<String> =
            (delivery.headers().iter()).map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        let mut all: Vec<&str> = headers.iter().flat_map(|header| ["--header", header]).collect();
        all.extend(arguments);
        self.post(delivery.uri().path(), delivery.body(), &all)
    }

    fn answer(&self, curl: Child) -> Answer {
        let output = curl.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (status, version) = text.split_once(' ').unwrap_or_else(|| panic!("curl: {}: {text}", output.status));
        let head = std::fs::read_to_string(self.folder.path().join("head.txt")).unwrap_or_default();
        Answer { status: status.parse().unwrap(), version: version.to_owned(), head }
    }
}
