//! Lines of `Name: value`, with the lines that tools write around them.

use super::head::{Head, problem};
use crate::failure::Failure;

/// Parses a head up to its first empty line. Skips the request line, and the lines of `curl -v` that do not begin with
/// `> `.
pub(super) fn parse(text: &[u8]) -> Result<Head, Failure> {
    let mut head = Head::default();
    let from_curl = from_curl(text);
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // Wireshark writes the line break as text.
        let line = line.strip_suffix(br"\r\n").unwrap_or(line);
        let line = match (from_curl, line) {
            (true, [b'>', b' ', line @ ..]) => line,
            (true, [b'>']) => b"",
            (true, _) | (false, [b'*' | b'<', b' ', ..]) => continue,
            (false, line) => line,
        };
        if line.is_empty() && !head.headers.is_empty() {
            break;
        }
        if line.iter().all(u8::is_ascii_whitespace) || head.is_request_line(line) {
            continue;
        }
        let added = name_and_value(line).and_then(|(name, value)| head.add(name, value));
        added.ok_or_else(|| problem(format_args!("line {number} is not `Name: value`")))?;
    }
    Ok(head)
}

/// Returns whether the text is the output of `curl -v`.
pub(super) fn from_curl(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"> "))
}

/// Splits a header at its colon, of which a pseudo-header such as `:method` has another one at its beginning.
pub(super) fn name_and_value(line: &[u8]) -> Option<(&str, &[u8])> {
    let line = line.trim_ascii_start();
    let colon = line.iter().skip(1).position(|byte| *byte == b':')?.checked_add(1)?;
    let (name, value) = line.split_at_checked(colon)?;
    Some((str::from_utf8(name).ok()?, value.strip_prefix(b":")?))
}

impl Head {
    /// Returns whether the line is a request line, and records its method.
    fn is_request_line(&mut self, line: &[u8]) -> bool {
        let mut words = line.split(|byte| *byte == b' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            // The name of a header such as `Via: 1.1 HTTP/2` ends with a colon, which no method contains.
            (Some(method), Some(_), Some(version), None)
                if version.starts_with(b"HTTP/") && !method.contains(&b':') =>
            {
                self.method = str::from_utf8(method).ok().map(str::to_owned);
                true
            }
            _ => false,
        }
    }
}
