//! Any files of a certificate and its key are accepted, or rejected with one line that names the file with the mistake
//! and does not quote it.
//!
//! The input is the file of the certificate, a line `====`, and the file of the key. Without that line, one file is
//! both.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use medhook_cli::parsers::certificate_lines;

/// Does not occur in any text of ours. If it is in a file, it must not be printed.
const MARK: &str = "canary";
const SEPARATOR: &[u8] = b"====\n";

pub(super) fn holds(data: &[u8]) {
    let at = data.windows(SEPARATOR.len()).position(|window| window == SEPARATOR);
    let (cert, key) = at.map_or((data, data), |at| (&data[..at], &data[at + SEPARATOR.len()..]));
    for now in [0, 1_767_225_600, 32_503_680_000] {
        let now: SystemTime = UNIX_EPOCH + Duration::from_secs(now);
        let lines = match certificate_lines(cert, key, now) {
            Ok(lines) => lines,
            Err(line) => {
                assert!(line.starts_with("`cert`: ") || line.starts_with("`key`: "), "{line:?}");
                vec![line]
            }
        };
        for line in lines {
            assert!(!line.contains(MARK) && !line.chars().any(char::is_control) && line.len() < 300, "{line:?}");
        }
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let (cert, key) = (include_str!("../certificates/cert.pem"), include_str!("../certificates/key.pem"));
    let other = include_str!("../certificates/other.pem");
    let pairs = [
        (cert.to_owned(), key.to_owned()),
        (cert.to_owned(), other.to_owned()),
        (key.to_owned(), cert.to_owned()),
        (cert.repeat(2), key.to_owned()),
        (format!("canary\n{cert}"), format!("canary\n{key}")),
        (cert.replace("-----END", "-----canary"), key.to_owned()),
        (cert.replacen('M', "canary", 1), key.to_owned()),
        (cert.to_owned(), key.replacen('M', "canary!", 1)),
        (cert.to_owned(), key.replace("PRIVATE", "ENCRYPTED PRIVATE")),
        (cert.to_owned(), key.replace("PRIVATE", "RSA PRIVATE")),
        (cert.to_owned(), key.replace("PRIVATE", "EC PRIVATE")),
        (cert.replace("CERTIFICATE", "CERTIFICATE REQUEST"), key.to_owned()),
        (cert.replace('\n', "\r\n"), key.replace('\n', "\r\n")),
        (cert.replace('\n', ""), key.replace('\n', "")),
        (String::new(), String::new()),
        ("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n".to_owned(), key.to_owned()),
    ];
    let separator = String::from_utf8_lossy(SEPARATOR);
    let mut seeds: Vec<_> = pairs.map(|(cert, key)| format!("{cert}{separator}{key}").into_bytes()).into();
    seeds.push(format!("{cert}{key}").into_bytes());
    seeds
}
