//! Requests byte by byte, as an attacker can send them: framing, methods, targets, headers and signatures. Each one
//! differs from a delivery that is handled in one thing.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::program::{Folder, Instance, PATIENCE};
use crate::sender::{ENDPOINT, delivery};

/// A genuine delivery, to be written with a change.
struct Genuine {
    id: String,
    signature: String,
    body: String,
}

impl Genuine {
    fn new(number: usize) -> Self {
        let id = format!("evt-{number}");
        let request = delivery(&id);
        let signature = request.headers()[SIGNATURE].to_str().unwrap().to_owned();
        Genuine { id, signature, body: String::from_utf8(request.body().to_vec()).unwrap() }
    }

    /// Returns the request with this first line, these lines of the head, and this body.
    fn with(&self, line: &str, head: &str, body: &str) -> Vec<u8> {
        let filled = |text: &str| {
            let length = self.body.len();
            text.replace("{sig}", &self.signature)
                .replace("{mac}", &self.signature["sha256=".len()..])
                .replace("{len}", &length.to_string())
                .replace("{less}", &(length - 1).to_string())
                .replace("{more}", &(length + 1).to_string())
                .replace("{hex}", &format!("{length:x}"))
                .replace("{body}", &self.body)
        };
        filled(&format!("{line}\r\nhost: a\r\n{head}\r\n{body}")).into_bytes()
    }
}

const SIGNATURE: &str = "x-healthsync-signature";
const POST: &str = "POST /healthsync HTTP/1.1";
const SIGNED: &str = "x-healthsync-signature: {sig}\r\n";
const SIZED: &str = "content-length: {len}\r\n";
const CHUNKED: &str = "transfer-encoding: chunked\r\n";
const CHUNKS: &str = "{hex}\r\n{body}\r\n0\r\n\r\n";
/// The request after that, which shows whether the connection is still used, and from which byte on.
const NEXT: &str = "GET /livez HTTP/1.1\r\nhost: a\r\n\r\n";

/// Sends bytes over a connection of their own, and returns the statuses of all answers.
fn statuses(to: SocketAddr, bytes: &[u8]) -> Vec<u16> {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // Both fail if the receiver has closed the connection.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answers = Vec::new();
    // A reset after the answer is an error.
    let _ = stream.read_to_end(&mut answers);
    let answers = String::from_utf8_lossy(&answers);
    answers.split("HTTP/1.1 ").skip(1).map(|answer| answer[..3].parse().unwrap()).collect()
}

/// A request: its first line, the rest of its head, and the bytes after the head.
type Row<'r> = (&'r str, &'r str, &'r str, Expected);

#[derive(Debug, Clone, Copy)]
enum Expected {
    /// The event is handled, and these are the statuses of all answers.
    Handled(&'static [u16]),
    /// The receiver rejects the request, for this reason.
    Rejected(u16, &'static str),
    /// The server rejects the request before the receiver sees it.
    Server(u16),
}

use Expected::{Handled, Rejected, Server};

/// Plays the rows, and compares the answers, the handled events and the number of rejections for each reason.
fn play(rows: &[Row<'_>]) {
    let folder = Folder::new();
    let config = format!("listen = \"127.0.0.1:0\"\ndrain_delay = \"0s\"\nstore = \"memory\"\n{ENDPOINT}");
    let mut instance = Instance::start(&folder, &config, &["--json", "--show-ids"]);
    let (mut wrong, mut handled, mut reasons) = (Vec::new(), Vec::new(), BTreeMap::<_, u64>::new());
    for (number, (line, head, body, expected)) in rows.iter().enumerate() {
        let genuine = Genuine::new(number);
        let answers = statuses(instance.address, &genuine.with(line, head, body));
        let is_expected = match expected {
            Handled(all) => answers == *all,
            // After a rejection, the rest may be read or not.
            Rejected(status, _) | Server(status) => answers.first() == Some(status),
        };
        if !is_expected {
            wrong.push(format!("{line:?} {head:?} {body:?}: {answers:?} instead of {expected:?}"));
        }
        match expected {
            Handled(_) => handled.push(genuine.id),
            Rejected(_, reason) => *reasons.entry((*reason).to_owned()).or_default() += 1,
            Server(_) => {}
        }
    }
    assert_eq!(instance.terminate().code(), Some(0));
    let report: Vec<serde_json::Value> =
        instance.stdout().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let is = |outcome: &'static str| report.iter().filter(move |line| line["outcome"] == outcome);
    let seen: Vec<_> = is("handled").map(|line| line["event_id"].as_str().unwrap_or_default().to_owned()).collect();
    let mut counted = BTreeMap::<_, u64>::new();
    for line in is("rejected") {
        *counted.entry(line["reason"].as_str().unwrap().to_owned()).or_default() += line["count"].as_u64().unwrap_or(1);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!((seen, counted), (handled, reasons));
}

#[test]
fn a_body_has_one_length_whatever_the_framing() {
    let sized = &format!("{SIGNED}{SIZED}");
    let chunked = &format!("{SIGNED}{CHUNKED}");
    let head = |more: &str| format!("{SIGNED}{more}");
    let then = |body: &str| format!("{body}{NEXT}");
    let bad = |body: &str| (POST, chunked.clone(), then(body), Rejected(400, "body_incomplete"));
    let coding = |name: &str, expected| (POST, head(&format!("transfer-encoding: {name}\r\n")), then(CHUNKS), expected);
    let length = |text: &str, expected| (POST, head(&format!("content-length: {text}\r\n")), then("{body}"), expected);
    let both = Handled(&[200, 200]);
    let rows = [
        (POST, sized.clone(), then("{body}"), both),
        (POST, chunked.clone(), then(CHUNKS), both),
        // A proxy could have read the other length, so the rest of the connection is not used.
        (POST, format!("{SIGNED}content-length: 4\r\n{CHUNKED}"), then(CHUNKS), Handled(&[200])),
        (POST, format!("{SIGNED}{CHUNKED}content-length: 4\r\n"), then(CHUNKS), Handled(&[200])),
        (POST, format!("{sized}content-length: 4\r\n"), then("{body}"), Server(400)),
        coding("Chunked", both),
        coding("gzip, chunked", both),
        coding("xchunked", Server(400)),
        coding("chunked, identity", Server(400)),
        coding("chunked;q=1", Server(400)),
        coding("\"chunked\"", Server(400)),
        coding("identity", Server(400)),
        ("POST /healthsync HTTP/1.0", chunked.clone(), then(CHUNKS), Server(400)),
        bad("0x{hex}\r\n{body}\r\n0\r\n\r\n"),
        bad("+{hex}\r\n{body}\r\n0\r\n\r\n"),
        bad(" {hex}\r\n{body}\r\n0\r\n\r\n"),
        bad("{hex}\n{body}\r\n0\r\n\r\n"),
        bad("{hex};a\n{body}\r\n0\r\n\r\n"),
        bad("{hex}\r\n{body}\n0\r\n\r\n"),
        bad("{hex}\r\n{body}XX0\r\n\r\n"),
        bad("{hex}\r\n{body}\r\n0\n\n"),
        bad("{hex}\r\n{body}\r\n-0\r\n\r\n"),
        // Trailers are no headers.
        (POST, chunked.clone(), then("{hex}\r\n{body}\r\n0\r\nx-healthsync-signature: x\r\n\r\n"), both),
        (
            POST,
            CHUNKED.to_owned(),
            format!("{{hex}}\r\n{{body}}\r\n0\r\n{SIGNED}\r\n"),
            Rejected(401, "missing_header"),
        ),
        length("{len}, {len}", Server(400)),
        length("+{len}", Server(400)),
        length("-{len}", Server(400)),
        length("{len}.0", Server(400)),
        length("0x{hex}", Server(400)),
        length("", Server(400)),
        length("{less}", Rejected(401, "signature_mismatch")),
        (POST, head("content-length: {more}\r\n"), "{body}".to_owned(), Rejected(400, "body_incomplete")),
        (POST, head("content-length: 1048577\r\n"), "{body}".to_owned(), Rejected(413, "too_large")),
        // The body of a rejected request is not the next request.
        (POST, SIZED.to_owned(), "{body}".to_owned(), Rejected(401, "missing_header")),
        (
            POST,
            "content-length: 999\r\n".to_owned(),
            format!("{POST}\r\n{sized}\r\n{{body}}"),
            Rejected(401, "missing_header"),
        ),
    ];
    play(&rows.each_ref().map(|(line, head, body, expected)| (*line, head.as_str(), body.as_str(), *expected)));
}

#[test]
fn methods_targets_and_protocols_are_those_of_a_delivery() {
    let sized = &format!("{SIGNED}{SIZED}");
    let with = |more: &str| format!("{sized}{more}\r\n");
    let line = |line: &'static str, expected| (line, sized.clone(), "{body}", expected);
    let header = |more: &str, expected| (POST, with(more), "{body}", expected);
    let (ok, method, encoded) = (Handled(&[200]), Rejected(405, "method"), Rejected(415, "content_encoding"));
    let rows = [
        line(POST, ok),
        line("GET /healthsync HTTP/1.1", method),
        line("post /healthsync HTTP/1.1", method),
        line("OPTIONS /healthsync HTTP/1.1", method),
        line("TRACE /healthsync HTTP/1.1", method),
        line("P\u{f6}ST /healthsync HTTP/1.1", Server(400)),
        line("POST  /healthsync HTTP/1.1", Server(400)),
        line("POST /healthsync HTTP/2.0", Server(400)),
        line("POST /healthsync HTTP/0.9", Server(400)),
        line("POST /healthsync", Server(400)),
        line("POST /healthsync?a=b HTTP/1.1", ok),
        line("POST http://other.example/healthsync HTTP/1.1", ok),
        line("POST //healthsync HTTP/1.1", Server(404)),
        line("POST /healthsync/ HTTP/1.1", Server(404)),
        line("POST /./healthsync HTTP/1.1", Server(404)),
        line("POST /%68ealthsync HTTP/1.1", Server(404)),
        line("POST /healthsync%00 HTTP/1.1", Server(404)),
        line("POST /healthsync;a HTTP/1.1", Server(404)),
        line("POST /HealthSync HTTP/1.1", Server(404)),
        line("POST * HTTP/1.1", Server(404)),
        line("POST healthsync HTTP/1.1", Server(404)),
        line("CONNECT 127.0.0.1:22 HTTP/1.1", Server(404)),
        header("content-encoding: identity", ok),
        header("content-encoding: gzip", encoded),
        header("content-encoding: identity, gzip", encoded),
        header("content-encoding: identity\r\ncontent-encoding: identity", encoded),
        header("expect: 100-continue", Handled(&[100, 200])),
        (POST, format!("{SIZED}expect: 100-continue\r\n"), "{body}", Rejected(401, "missing_header")),
        // Java's client sends these headers.
        header("connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAA", ok),
        header("connection: x-healthsync-signature", ok),
        header("host: b", ok),
        header("x-other: a\r\n b", Server(400)),
        header("x-other : a", Server(400)),
        header("x other: a", Server(400)),
        header("x-other: a\rb", Server(400)),
        header("x-other: a\0b", Server(400)),
        header("x-other: \u{7f}", Server(400)),
        header(": a", Server(400)),
    ];
    play(&rows.each_ref().map(|(line, head, body, expected)| (*line, head.as_str(), *body, *expected)));
}

#[test]
fn a_signature_has_one_header_and_one_form() {
    let ok = Handled(&[200]);
    let head = |head: &str, expected| (format!("{head}\r\n{SIZED}"), expected);
    let value = |value: &str, expected| head(&format!("x-healthsync-signature: {value}"), expected);
    let malformed = Rejected(401, "malformed_header");
    let missing = Rejected(401, "missing_header");
    let long = "0".repeat(4097);
    let rows = [
        value("{sig}", ok),
        value(" \t {sig}\t ", ok),
        head("X-HEALTHSYNC-SIGNATURE: {sig}", ok),
        head("x_healthsync_signature: {sig}", missing),
        head("x-healthsync-signature-2: {sig}", missing),
        head("x-other: {sig}", missing),
        value("{sig}\r\nx-healthsync-signature: {sig}", Rejected(401, "repeated_header")),
        value("sha256=00\r\nX-HealthSync-Signature: {sig}", Rejected(401, "repeated_header")),
        value("{sig}, {sig}", malformed),
        value("{sig} {sig}", malformed),
        value("{mac}", malformed),
        value("SHA256={mac}", malformed),
        value("sha1={mac}", malformed),
        value("sha256=sha256={mac}", malformed),
        value("sha256= {mac}", malformed),
        value("sha256=", malformed),
        value("", malformed),
        value("{sig}0", malformed),
        value("{sig}00", malformed),
        value("{sig}.", malformed),
        value("{sig}\u{ff11}", malformed),
        value(&long, malformed),
        value(
            "sha256=0000000000000000000000000000000000000000000000000000000000000000",
            Rejected(401, "signature_mismatch"),
        ),
        value("sha256=\r\n {mac}", Server(400)),
    ];
    play(&rows.each_ref().map(|(head, expected)| (POST, head.as_str(), "{body}", *expected)));
}
