//! Parses headers from logs and tools: lines of `Name: value`, and the lines that such tools write around them.

use http::HeaderName;

use crate::failure::Failure;

/// A recorded request head.
#[derive(Default)]
pub(super) struct Head {
    /// The method, if a request line or `:method` names it.
    pub(super) method: Option<String>,
    pub(super) headers: Vec<(String, Vec<u8>)>,
}

impl Head {
    /// Parses a head up to its first empty line. Skips the request line, HTTP/2 pseudo-headers, and the lines of
    /// `curl -v` that do not begin with `> `. Errors never quote a line.
    pub(super) fn parse(text: &[u8]) -> Result<Self, Failure> {
        let mut head = Head::default();
        let from_curl = text.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"> "));
        for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let line = match (from_curl, line) {
                (true, [b'>', b' ', line @ ..]) => line,
                (true, [b'>']) => b"",
                (true, _) => continue,
                (false, line) => line,
            };
            if line.is_empty() && !head.headers.is_empty() {
                break;
            }
            if line.iter().all(u8::is_ascii_whitespace) || head.skips(line) {
                continue;
            }
            let header =
                header(line).ok_or_else(|| Failure::new(format!("--headers: line {number} is not `Name: value`")))?;
            head.headers.push(header);
        }
        if head.headers.is_empty() {
            return Err(Failure::new("--headers: the file has no headers"));
        }
        Ok(head)
    }

    /// Returns whether there is a header of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    /// Returns all values of a header.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let same = move |(known, _): &&(String, Vec<u8>)| known.eq_ignore_ascii_case(name);
        self.headers.iter().filter(same).map(|(_, value)| value.as_slice())
    }

    /// Returns the value of a header that occurs once, if it is UTF-8.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let mut values = self.values(name);
        let value = values.next()?;
        if values.next().is_some() { None } else { str::from_utf8(value).ok() }
    }

    /// Returns whether the line is a pseudo-header or a request line, and records its method.
    fn skips(&mut self, line: &[u8]) -> bool {
        let Ok(text) = str::from_utf8(line) else { return false };
        if let Some(pseudo) = text.strip_prefix(':') {
            if let Some((_, method)) = pseudo.split_once(':').filter(|(name, _)| *name == "method") {
                self.method = Some(method.trim().to_owned());
            }
            return true;
        }
        let mut words = text.split(' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some(method), Some(_), Some(version), None) if version.starts_with("HTTP/") => {
                self.method = Some(method.to_owned());
                true
            }
            _ => false,
        }
    }
}

fn header(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = line.split_at_checked(colon)?;
    let name = HeaderName::from_bytes(name.trim_ascii()).ok()?;
    Some((name.as_str().to_owned(), value.strip_prefix(b":")?.trim_ascii().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<(String, String)> {
        let head = Head::parse(text.as_bytes()).unwrap();
        head.headers.into_iter().map(|(name, value)| (name, String::from_utf8(value).unwrap())).collect()
    }

    #[test]
    fn headers_are_parsed_from_the_output_of_every_tool() {
        let wanted = [("host".to_owned(), "a".to_owned()), ("x-sig".to_owned(), "v1:b c".to_owned())];
        for text in [
            "Host: a\nX-Sig: v1:b c\n",
            "host:a\r\nx-sig:   v1:b c  \r\n\r\nbody: not a header",
            "POST /in HTTP/1.1\r\nHost: a\r\nX-Sig: v1:b c",
            "POST /in HTTP/2\nhost: a\nx-sig: v1:b c\n\n{}",
            ":method: POST\n:path: /in\nhost: a\nx-sig: v1:b c\n",
            "*   Trying 127.0.0.1\n> POST /in HTTP/1.1\n> Host: a\n> X-Sig: v1:b c\n> \n} [5 bytes data]\n< HTTP/1.1 200 OK\n< x: y\n",
            "\n\nHost: a\nX-Sig: v1:b c\n",
        ] {
            assert_eq!(parsed(text), wanted, "{text}");
        }
    }

    #[test]
    fn the_method_is_recorded() {
        let method = |text: &str| Head::parse(text.as_bytes()).unwrap().method;
        assert_eq!(method("PUT /in HTTP/1.1\nhost: a"), Some("PUT".to_owned()));
        assert_eq!(method(":method: GET\nhost: a"), Some("GET".to_owned()));
        assert_eq!(method("host: a"), None);
    }

    #[test]
    fn the_error_for_an_invalid_head_is_one_line_and_quotes_nothing() {
        for text in
            ["", "\n\n", "> \n", "canary", "host: a\ncanary", "ca nary: a", "{\"canary\": 1}", "canary\u{1b}: a"]
        {
            let failure = Head::parse(text.as_bytes()).err().expect(text).to_string();
            assert!(!failure.contains("canary") && failure.lines().count() == 1, "{failure}");
        }
    }
}
