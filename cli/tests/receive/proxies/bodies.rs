//! Bodies arrive byte for byte, however they are sent.

use http::Request;
use medhook::{Bytes, testing};

use super::running::{Proxy, with_each};
use super::upstream::Recorder;
use super::{PATH, receiver};
use crate::program::{Folder, SECRET};
use crate::sender::now;

/// `body_limit` by default, which is also the limit of both configurations.
pub(super) const LIMIT: usize = 1024 * 1024;

/// Ways in which a client can send a body.
const WAYS: [(&str, &[&str]); 5] = [
    ("1.1", &["--http1.1", "--header", "Expect:"]),
    ("1.1", &["--http1.1", "--header", "Expect: 100-continue"]),
    ("1.1", &["--http1.1", "--header", "Transfer-Encoding: chunked", "--header", "Expect:"]),
    ("2", &["--http2", "--header", "Expect:"]),
    // curl sends the body without its length.
    ("2", &["--http2", "--header", "Content-Length:"]),
];

/// Returns a genuine delivery with this body.
pub(super) fn delivery(body: impl Into<Bytes>) -> Request<Bytes> {
    testing::healthsync("document.uploaded").secret(SECRET).at(now()).body(body).request(PATH)
}

/// Returns a body of this length.
pub(super) fn of_length(length: usize, id: &str) -> String {
    let start = format!("{{\"id\":\"{id}\",\"type\":\"document.uploaded\",\"created_at\":{},\"data\":{{}}}}", now());
    format!("{start}{}", " ".repeat(length - start.len()))
}

#[test]
fn bodies_arrive_unchanged() {
    let event = |id: &str, data: &str| {
        format!("{{\"id\":\"{id}\",\"type\":\"document.uploaded\",\"created_at\":{},\"data\":{data}}}", now())
    };
    with_each(|kind| {
        let folder = Folder::new();
        let instance = receiver(&folder, "");
        let proxy = Proxy::start(kind, instance.address);
        let mut sent = 0;
        for (way, (version, arguments)) in WAYS.into_iter().enumerate() {
            for (number, body) in [
                event("id", "{}"),
                event("id", " {\r\n\t\"a\" :\t1.0e+2 , \"a\": [ ] }\r\n\n "),
                event("id", r#"{"name":"\u00e9\ud83d\ude00\u0000\/","b":"\\u0041"}"#),
                event("id", "{\"name\":\"\u{feff}e\u{301}é\u{2028}\u{7f}\u{10ffff}日本\"}"),
                of_length(LIMIT - 1, "id"),
                of_length(LIMIT, "id"),
            ]
            .into_iter()
            .enumerate()
            {
                let body = body.replacen("\"id\":\"id\"", &format!("\"id\":\"{way}{number}\""), 1);
                let mut body = body.into_bytes();
                body.truncate(LIMIT);
                let answer = proxy.send(&delivery(body), arguments);
                assert_eq!((answer.status, answer.version.as_str()), (200, version), "{kind:?} {arguments:?} {number}");
                sent += 1;
            }
        }
        let lines = instance.lines(sent);
        assert!(lines.iter().all(|line| line.contains(r#""outcome":"handled""#)), "{kind:?}: {lines:?}");
        // The same with one byte more is not genuine.
        let genuine = delivery(event("changed", "{}"));
        let changed = genuine.clone().map(|body| Bytes::from([&body[..], b" "].concat()));
        assert_eq!(proxy.send(&changed, &[]).status, 401, "{kind:?}");
        assert_eq!(proxy.send(&genuine, &[]).status, 200, "{kind:?}");
    });
}

#[test]
fn bytes_that_are_no_text_arrive_unchanged() {
    let every: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    with_each(|kind| {
        let recorder = Recorder::answering("200 OK\r\n");
        let proxy = Proxy::start(kind, recorder.address);
        for (number, (_, arguments)) in WAYS.into_iter().enumerate() {
            for encoding in ["Content-Encoding: gzip", "Content-Type: text/plain; charset=latin1"] {
                let answer = proxy.post(PATH, &every, &[arguments, &["--header", encoding]].concat());
                assert_eq!(answer.status, 200, "{kind:?} {number}");
                let requests = recorder.requests();
                let last = requests.last().unwrap();
                assert!(last.body == every, "{kind:?} {number}: {} bytes", last.body.len());
                assert_eq!(last.line, format!("POST {PATH} HTTP/1.1"), "{kind:?}");
                let (name, value) = encoding.split_once(": ").unwrap();
                assert_eq!(last.values(name), [value], "{kind:?} {number}");
            }
        }
        assert_eq!(recorder.requests().len(), 2 * WAYS.len(), "{kind:?}");
    });
}
