//! Header lines arrive as they were sent, and answers return with theirs.

use super::PATH;
use super::running::{Proxy, with_each};
use super::upstream::Recorder;

#[test]
fn header_lines_are_neither_merged_nor_dropped() {
    with_each(|kind| {
        let recorder = Recorder::answering("200 OK\r\n");
        let proxy = Proxy::start(kind, recorder.address);
        for version in ["--http1.1", "--http2"] {
            let sent = [
                ("Webhook-Signature", "v1,b25l v1,dHdv"),
                ("Webhook-Signature", "v1,dGhyZWU="),
                ("X_Acme_Signature", "sha256=00"),
                ("X-API-KEY", " =+/\"'; "),
                ("Signature", "t=1, v1=2"),
                ("X-Long", &"x".repeat(7_000)),
            ];
            let lines: Vec<_> = sent.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            let mut arguments: Vec<&str> = lines.iter().flat_map(|line| ["--header", line]).collect();
            arguments.push(version);
            assert_eq!(proxy.post(&format!("{PATH}?a=%2F&b=+c"), b"{}", &arguments).status, 200, "{kind:?}");
            let requests = recorder.requests();
            let last = requests.last().unwrap();
            assert_eq!(last.line, format!("POST {PATH}?a=%2F&b=+c HTTP/1.1"), "{kind:?}");
            for (name, _) in sent {
                let expected: Vec<_> = sent.iter().filter(|(other, _)| *other == name).map(|(_, v)| v.trim()).collect();
                assert_eq!(last.values(name), expected, "{kind:?} {version} {name}");
            }
        }
    });
}

#[test]
fn answers_return_unchanged() {
    with_each(|kind| {
        let recorder = Recorder::answering("200 OK\r\n");
        let proxy = Proxy::start(kind, recorder.address);
        for head in [
            "200 OK\r\n",
            "202 Accepted\r\n",
            "401 Unauthorized\r\n",
            "403 Forbidden\r\n",
            "404 Not Found\r\n",
            "413 Content Too Large\r\n",
            "500 Internal Server Error\r\n",
            "503 Service Unavailable\r\nretry-after: 7\r\n",
            "504 Gateway Timeout\r\n",
        ] {
            recorder.answer(head);
            let answer = proxy.post(PATH, b"{}", &["--http1.1"]);
            assert_eq!(answer.status.to_string(), head[..3], "{kind:?}");
            let has = answer.head.to_ascii_lowercase().contains("\r\nretry-after: 7\r\n");
            assert_eq!(has, head.contains("retry-after"), "{kind:?}: {answer:?}");
        }
    });
}
