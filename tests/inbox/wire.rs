//! Sends one HTTP request over a connection of its own, and never repeats it.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends the lines of a head and a body. Returns the status and the text of the answer, or `None` without one.
pub async fn ask(address: SocketAddr, head: &str, body: &[u8]) -> Option<(u16, String)> {
    let asked = async {
        let mut socket = TcpStream::connect(address).await.ok()?;
        let rest = format!("host: test\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
        // A server that has answered may close before it has read everything.
        let _ = socket.write_all(&[head.as_bytes(), rest.as_bytes(), body].concat()).await;
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
        let text = String::from_utf8_lossy(&answer).into_owned();
        let status = text.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        Some((status, text))
    };
    tokio::time::timeout(Duration::from_secs(30), asked).await.ok()?
}
