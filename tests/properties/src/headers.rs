//! Any file of headers is read, or rejected with one line that does not quote it. Headers that were read are read again
//! as the same ones from lines of `Name: value`.
//!
//! The input is the file.

use http::HeaderName;
use medhook_cli::parsers::headers;

/// Does not occur in any text of ours. If it is in a file, it must not be printed.
const MARK: &str = "canary";

pub(super) fn holds(data: &[u8]) {
    let (read, redacted) = match headers(data) {
        Ok(read) => read,
        Err(problem) => {
            assert!(problem.starts_with("--headers: "), "{problem:?}");
            assert!(!problem.contains(MARK) && !problem.chars().any(char::is_control), "{problem:?}");
            assert!(problem.len() < 200, "{problem:?}");
            return;
        }
    };
    assert!(read.len() <= 1_000 && read.len() + redacted.len() > 0);
    for (name, value) in &read {
        assert!(HeaderName::from_bytes(name.as_bytes()).is_ok_and(|known| known.as_str() == name), "{name}");
        assert_eq!(value.trim_ascii(), value, "{name}");
    }
    // Only text without line breaks can be written in lines, and Wireshark's ends of lines are no part of a value.
    let is_plain = |value: &Vec<u8>| !value.iter().any(u8::is_ascii_control) && !value.ends_with(br"\r\n");
    // A file that begins with an option is a command. Names of CGI are rewritten.
    let is_name = |name: &String| !name.starts_with('-');
    let (plain, _): (Vec<_>, Vec<_>) = read.into_iter().partition(|(name, value)| is_name(name) && is_plain(value));
    if plain.is_empty() {
        return;
    }
    let lines = plain.iter().flat_map(|(name, value)| [name.as_bytes(), b": ", value, b"\n"].concat());
    let lines: Vec<u8> = lines.collect();
    let again = headers(&lines).map(|(headers, _)| headers);
    assert_eq!(again, Ok(plain), "{:?}", String::from_utf8_lossy(&lines));
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "POST /in HTTP/1.1\r\nHost: a\r\nwebhook-id: msg_1\r\nx: y\r\n\r\n{\"canary\":1}",
        "> POST /in HTTP/1.1\n> Host: a\n> X-Signature: canary\n>\n* done\n< HTTP/1.1 200 OK\n< a: b\n",
        ":method: POST\n:path: /in\nx-signature: a:b\n",
        "HTTP_X_SIGNATURE: canary\nCONTENT_TYPE: application/json\n",
        "curl -X POST 'https://a' -H 'x-signature: canary' --data-raw $'{\"a\":\"\\u20ac\\x41\\'\"}' \\\n -H \"y: a\\\"b\"",
        "curl.exe ^\"https://a^\" -H ^\"x: a^\" --header=y:z -HZ; --json @file",
        "-H 'a: b' -H 'c;' --header 'd:'",
        "{\"headers\":{\"x\":[\"a\",\"b\"],\"n\":1,\"t\":true},\"body\":\"eyJhIjoxfQ==\",\"isBase64Encoded\":true}",
        "{\"log\":{\"entries\":[{\"request\":{\"method\":\"POST\",\"headers\":[{\"name\":\"a\",\"value\":\"b\"}],\"postData\":{\"text\":\"x\"}}}]}}",
        "[\"a: b\",\"c: d\"]",
        "[\"a\",\"b\",\"c\",\"d\"]",
        "[[\"a\",\"b\"],[\"c\",\"d\"]]",
        "{\"event\":{\"multiValueHeaders\":{\"a\":[\"b\"]},\"requestContext\":{\"http\":{\"method\":\"POST\"}}},\"response\":{\"headers\":{}}}",
        "fetch(\"https://a\", {\n \"headers\": {\"x\": \"canary\"},\n \"body\": \"{}\", \"method\": \"POST\"});",
        "# medhook capture 1\n# arrived 1767225600\n# method POST\n# redacted x-key: 16 bytes, matches secret A\nhost: a\n",
        "# medhook capture 1\n# arrived 1\n# method POST\n# redacted x: 7 bytes, in quotation marks or spaces: secret A: b\n",
        "\u{feff}a: b\n",
        "canary without a colon",
        "{\"headers\": canary}",
        "via: 1.1 HTTP/2\na: b HTTP/1.1\n",
        "{\"headers\":{\"a\":\"b HTTP/1.1\"}}",
        "a: b\\r\\n\nc: d\\r\\n\n",
    ];
    let mut seeds: Vec<Vec<u8>> = texts.map(|text| text.as_bytes().to_vec()).into();
    for unit in [u16::to_le_bytes as fn(u16) -> [u8; 2], u16::to_be_bytes] {
        seeds.push("\u{feff}a: \u{20ac}\n".encode_utf16().flat_map(unit).collect());
    }
    seeds
}
