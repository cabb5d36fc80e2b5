//! Rewrites a body in the ways in which proxies, frameworks and editors modify one.
//!
//! If a body was modified on its way, one of the results may be the signed body. JSON is rewritten as text, so that
//! numbers and the order of members stay the same.

/// The code of a cause, and its text or the end of its text.
pub(super) type Explanation = (&'static str, &'static str);

/// Returns the body itself, then the bodies that may have been signed instead, each with its explanation.
pub(super) fn all(body: &[u8]) -> Vec<(Option<Explanation>, Vec<u8>)> {
    let mut all = vec![(None, body.to_vec())];
    let mut add = |code, text, other: Vec<u8>| {
        if !all.iter().any(|(_, known)| *known == other) {
            all.push((Some((code, text)), other));
        }
    };
    let without = body.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    if let Some(without) = without {
        add(
            "trailing_line_break_added",
            "the body's last line break was not signed: an editor or a tool added it",
            without.to_vec(),
        );
    }
    add(
        "trailing_line_break_lost",
        "a line break at the end of the body was signed, but is missing",
        [body, b"\n"].concat(),
    );
    add(
        "trailing_crlf_lost",
        "a line break (CR LF) at the end of the body was signed, but is missing",
        [body, b"\r\n"].concat(),
    );
    add("lf_became_crlf", "line breaks were signed as LF, but are CR LF now", replaced(body, b"\r\n", b"\n"));
    add(
        "crlf_became_lf",
        "line breaks were signed as CR LF, but are LF now",
        replaced(&replaced(body, b"\r\n", b"\n"), b"\n", b"\r\n"),
    );
    add(
        "byte_order_mark_added",
        "a byte order mark was added before the body",
        body.strip_prefix(BOM).unwrap_or(body).to_vec(),
    );
    add("byte_order_mark_lost", "a byte order mark before the body was signed, but is missing", [BOM, body].concat());

    if body.len() > LONGEST || serde_json::from_slice::<serde::de::IgnoredAny>(body).is_err() {
        return all;
    }
    let plain = compact(body);
    for (code, written, text) in [
        ("json_was_compact", Some(plain.clone()), "the body was serialized again: the signed JSON had no whitespace"),
        (
            "json_was_spaced",
            spread(&plain, None),
            "the body was serialized again: the signed JSON had a space after each comma and colon",
        ),
        (
            "json_was_indented_by_2",
            spread(&plain, Some(2)),
            "the body was serialized again: the signed JSON was indented by 2",
        ),
        (
            "json_was_indented_by_4",
            spread(&plain, Some(4)),
            "the body was serialized again: the signed JSON was indented by 4",
        ),
    ] {
        let Some(written) = written else { continue };
        add(code, text, written.clone());
        add(code, text, [&written, b"\n".as_slice()].concat());
        let (code, text) =
            ("json_escapes_changed", "the body was serialized again: the signed JSON had different escapes");
        add(code, text, escaped(&written));
        add(code, text, unescaped(&written));
        add(code, text, replaced(&written, b"/", b"\\/"));
        add(code, text, replaced(&written, b"\\/", b"/"));
    }
    if let Ok(value) = serde_json::from_slice::<serde_json::Value>(body) {
        add(
            "json_members_reordered",
            "the body was serialized again: the signed JSON had its members in alphabetical order",
            value.to_string().into(),
        );
    }
    all
}

/// The longest body whose JSON is rewritten. For longer bodies only line breaks and byte order marks are tried.
pub(super) const LONGEST: usize = 1024 * 1024;

/// The longest rewritten body. Only JSON that is nested unusually deep exceeds it when indented.
const MOST_SPREAD: usize = 8 * LONGEST;

const BOM: &[u8] = "\u{feff}".as_bytes();

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, more)) = rest.split_first() {
        match rest.strip_prefix(from) {
            Some(after) => {
                out.extend_from_slice(to);
                rest = after;
            }
            None => {
                out.push(*first);
                rest = more;
            }
        }
    }
    out
}

/// Tracks, byte by byte, whether JSON is inside a string.
#[derive(Default)]
struct Quotes {
    quoted: bool,
    escaped: bool,
}

impl Quotes {
    /// Returns whether the next byte is inside a string or is one of its quotation marks.
    fn hold(&mut self, byte: u8) -> bool {
        let held = self.quoted || byte == b'"';
        if self.escaped {
            self.escaped = false;
        } else if byte == b'"' {
            self.quoted = !self.quoted;
        } else {
            self.escaped = self.quoted && byte == b'\\';
        }
        held
    }
}

/// Removes whitespace outside of strings.
fn compact(json: &[u8]) -> Vec<u8> {
    let mut quotes = Quotes::default();
    json.iter().copied().filter(|byte| quotes.hold(*byte) || !byte.is_ascii_whitespace()).collect()
}

/// Adds whitespace to compact JSON: a space after each comma and colon, or indented lines. Returns `None` if the result
/// is longer than [`MOST_SPREAD`].
fn spread(compact: &[u8], indent: Option<usize>) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(compact.len().saturating_mul(2));
    let (mut quotes, mut depth) = (Quotes::default(), 0_usize);
    let line = |out: &mut Vec<u8>, depth: usize| {
        if let Some(indent) = indent {
            out.push(b'\n');
            let end = out.len().saturating_add(depth.saturating_mul(indent));
            // One byte more than the limit is enough for it to be noticed.
            out.resize(end.min(MOST_SPREAD + 1).max(out.len()), b' ');
        }
    };
    let mut before = 0;
    for &byte in compact {
        if out.len() > MOST_SPREAD {
            return None;
        }
        let held = quotes.hold(byte);
        match byte {
            _ if held => {}
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if !matches!(before, b'{' | b'[') {
                    line(&mut out, depth);
                }
            }
            _ => {}
        }
        if matches!(before, b'{' | b'[') && !matches!(byte, b'}' | b']') {
            line(&mut out, depth);
        }
        out.push(byte);
        before = if held { 0 } else { byte };
        match before {
            b'{' | b'[' => depth = depth.saturating_add(1),
            b':' => out.push(b' '),
            b',' if indent.is_none() => out.push(b' '),
            b',' => line(&mut out, depth),
            _ => {}
        }
    }
    (out.len() <= MOST_SPREAD).then_some(out)
}

/// Escapes every non-ASCII character as `\u` and its code.
fn escaped(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    for c in String::from_utf8_lossy(json).chars() {
        if c.is_ascii() {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
            }
        }
    }
    out
}

/// Replaces the `\u` escape of every non-ASCII character with the character.
fn unescaped(json: &[u8]) -> Vec<u8> {
    let Ok(text) = str::from_utf8(json) else { return json.to_vec() };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        // Two units for a surrogate pair, else one.
        let character = [12, 6].into_iter().find_map(|length| {
            let text = escape.get(..length)?;
            let units: Option<Vec<u16>> =
                text.split("\\u").skip(1).map(|unit| u16::from_str_radix(unit, 16).ok()).collect();
            let mut characters = char::decode_utf16(units?);
            let character = characters.next()?.ok().filter(|c| !c.is_ascii())?;
            characters.next().is_none().then_some((character, length))
        });
        let length = match character {
            Some((character, length)) => {
                out.push(character);
                length
            }
            None => {
                let kept = escape.char_indices().nth(2).map_or(escape.len(), |(end, _)| end);
                out.push_str(escape.get(..kept).unwrap_or_default());
                kept
            }
        };
        rest = escape.get(length..).unwrap_or_default();
    }
    out.push_str(rest);
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_is_rewritten_as_text() {
        let json = br#" { "b": [1.0, {}, []], "a\"} : ": "x , y" } "#;
        let plain = compact(json);
        assert_eq!(text(plain.clone()), r#"{"b":[1.0,{},[]],"a\"} : ":"x , y"}"#);
        assert_eq!(text(spread(&plain, None).unwrap()), r#"{"b": [1.0, {}, []], "a\"} : ": "x , y"}"#);
        let pretty = "{\n  \"b\": [\n    1.0,\n    {},\n    []\n  ],\n  \"a\\\"} : \": \"x , y\"\n}";
        assert_eq!(text(spread(&plain, Some(2)).unwrap()), pretty);
    }

    #[test]
    fn indented_json_is_as_serde_writes_it() {
        let value = serde_json::json!({"a": [1, [], {}, {"b": null}], "c": "d:,{"});
        let plain = compact(value.to_string().as_bytes());
        assert_eq!(text(spread(&plain, Some(2)).unwrap()), serde_json::to_string_pretty(&value).unwrap());
    }

    #[test]
    fn json_that_would_become_too_long_is_left_out() {
        let nested = |depth| ["[".repeat(depth), "]".repeat(depth)].concat().into_bytes();
        assert_eq!(spread(&nested(LONGEST / 2), Some(4)), None);
        assert!(spread(&nested(LONGEST / 2), None).is_some());
        assert_eq!(spread(&nested(1_000), Some(2)).map(|written| written.len()), Some(2_000_000));
    }

    #[test]
    fn escaping_and_unescaping_are_inverse() {
        let json = r#"{"a":"ñ😀\n\\u00f1"}"#;
        let ascii = text(escaped(json.as_bytes()));
        assert_eq!(ascii, r#"{"a":"\u00f1\ud83d\ude00\n\\u00f1"}"#);
        assert_eq!(text(unescaped(ascii.as_bytes())), json);
        for odd in [r"\", r"\u", r"\u00", r"\ud83d", r"\ud83dx\ude00", r"\u0041", "\\ñ"] {
            assert_eq!(text(unescaped(odd.as_bytes())), odd);
        }
    }

    #[test]
    fn the_body_itself_comes_first_and_no_body_occurs_twice() {
        let all = all(b"{\"a\": 1}\n");
        assert_eq!(all[0].0, None);
        for (number, (_, body)) in all.iter().enumerate() {
            assert!(!all[..number].iter().any(|(_, other)| other == body));
        }
    }
}
