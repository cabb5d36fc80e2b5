//! Takes the body out of the forms in which tools and people write bytes and text down.

use serde_json::Value;

use crate::verify::encodings::hex;

/// Decodes hexadecimal digits, such as those of a database column or of a dump: with `\x` or `0x` before them, with
/// spaces or colons between them, with the addresses and the text of `xxd` and `hexdump -C`, or within `<Buffer ..>`.
pub(super) fn from_dump(body: &[u8]) -> Option<Vec<u8>> {
    let text = str::from_utf8(body).ok()?.trim();
    let text = text.strip_prefix("\\x").or_else(|| text.strip_prefix("0x")).unwrap_or(text);
    let text = text.strip_prefix("<Buffer").and_then(|text| text.strip_suffix('>')).unwrap_or(text);
    let mut digits = Vec::new();
    for line in text.lines() {
        let is_address = |word: &str| word.len() >= 7 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        let line = match line.split_once(": ").or_else(|| line.split_once("  ")) {
            Some((address, rest)) if is_address(address) => {
                let rest = rest.split_once('|').map_or(rest, |(digits, _)| digits);
                // `xxd` writes two spaces before the text, `hexdump -C` also in the middle of the digits.
                let is_xxd = line.starts_with(&format!("{address}:"));
                rest.split_once("  ").filter(|_| is_xxd).map_or(rest, |(digits, _)| digits)
            }
            // The last line of `hexdump -C` is the length.
            None if is_address(line) && !digits.is_empty() && line.len() == 8 => "",
            _ => line,
        };
        digits.extend(line.bytes().filter(|byte| !matches!(byte, b' ' | b':' | b'\t')));
    }
    hex(digits).filter(|bytes| !bytes.is_empty())
}

/// Reads a JSON list of bytes, alone or as a member such as `data`.
pub(super) fn from_list(body: &[u8]) -> Option<Vec<u8>> {
    let list = match serde_json::from_slice(body).ok()? {
        Value::Array(list) => list,
        Value::Object(members) => members.into_iter().find_map(|(_, value)| match value {
            Value::Array(list) => Some(list),
            _ => None,
        })?,
        _ => return None,
    };
    let bytes = list.iter().map(|value| u8::try_from(value.as_u64()?).ok()).collect::<Option<Vec<_>>>();
    bytes.filter(|bytes| !bytes.is_empty())
}

/// Decodes `\xHH`. Returns `None` if there is none.
pub(super) fn from_escapes(body: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some((first, after)) = rest.split_first() {
        let digits = rest.strip_prefix(b"\\x").and_then(|rest| rest.split_at_checked(2));
        match digits.and_then(|(digits, after)| Some((hex(digits)?, after))) {
            Some((byte, after)) => {
                out.extend(byte);
                rest = after;
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    (out != body).then_some(out)
}

/// Returns the parts of a multipart body.
pub(super) fn parts(body: &[u8]) -> Vec<Vec<u8>> {
    let line = body.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let boundary = line.strip_suffix(b"\r").unwrap_or(line);
    if !boundary.starts_with(b"--") || boundary.len() > 80 {
        return Vec::new();
    }
    let find = |text: &[u8], what: &[u8]| text.windows(what.len().max(1)).position(|window| window == what);
    let (mut parts, mut rest) = (Vec::new(), body);
    let end = [b"\r\n", boundary].concat();
    while let Some(start) = find(rest, b"\r\n\r\n").filter(|_| parts.len() < 16) {
        rest = rest.get(start.saturating_add(4)..).unwrap_or_default();
        let Some(length) = find(rest, &end) else { break };
        let (part, after) = rest.split_at_checked(length).unwrap_or_default();
        parts.push(part.to_vec());
        rest = after;
    }
    parts
}

/// Removes a fence of Markdown, the option of curl, and `>` before each line.
pub(super) fn without_markup(body: &[u8], found: &mut dyn FnMut(Vec<u8>)) {
    let Ok(text) = str::from_utf8(body) else { return };
    let text = text.trim();
    if let Some((_, inner)) = text.strip_prefix("```").and_then(|text| text.strip_suffix("```")?.split_once('\n')) {
        found(inner.trim_end_matches('\n').into());
        found(inner.into());
    }
    let options = ["--data-raw ", "--data-binary ", "--data ", "--data-ascii ", "-d "];
    if let Some(value) = options.iter().find_map(|option| text.strip_prefix(option)) {
        found(value.trim_matches(['\'', '"', ' ', '\\']).into());
    }
    if text.starts_with('>') {
        let lines = text.lines().map(|line| line.strip_prefix("> ").or_else(|| line.strip_prefix('>')).unwrap_or(line));
        found(lines.collect::<Vec<_>>().join("\n").into_bytes());
    }
}

/// Undoes that quotation marks were replaced with typographic ones, or doubled in a field of CSV.
pub(super) fn quotation_marks(body: &[u8], found: &mut dyn FnMut(Vec<u8>)) {
    let Ok(text) = str::from_utf8(body) else { return };
    if text.contains(['\u{201c}', '\u{201d}']) {
        found(text.replace(['\u{201c}', '\u{201d}'], "\"").replace(['\u{2018}', '\u{2019}'], "'").into());
    }
    let inner = text.trim().strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    if let Some(inner) = inner.filter(|inner| inner.contains("\"\"")) {
        found(inner.replace("\"\"", "\"").into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dumps_are_read() {
        let bytes = Some(b"{\"a\":1}".to_vec());
        for dump in [
            "\\x7b2261223a317d\n",
            "0x7B2261223A317D",
            "7b 22 61 22 3a 31 7d",
            "7B:22:61:22:3A:31:7D\n",
            "<Buffer 7b 22 61 22 3a 31 7d>",
            "00000000: 7b22 6122 3a31 7d                        {\"a\":1}\n",
            "00000000: 7b22 6122                                {\"a\"\n00000004: 3a31 7d                                  :1}\n",
            "00000000  7b 22 61 22  3a 31 7d                             |{\"a\":1}|\n00000007\n",
        ] {
            assert_eq!(from_dump(dump.as_bytes()), bytes, "{dump}");
        }
        for odd in ["", "7b 2", "text", "<Buffer", "<Buffer 7b ... 12 more bytes>", ": ", "\u{e9}"] {
            assert_eq!(from_dump(odd.as_bytes()), None, "{odd}");
        }
    }

    #[test]
    fn lists_escapes_and_parts_are_read() {
        assert_eq!(from_list(br#"{"type":"Buffer","data":[123,125]}"#), Some(b"{}".to_vec()));
        assert_eq!(from_list(b"[123, 125]"), Some(b"{}".to_vec()));
        for odd in ["[]", "[256]", "[1.0]", "{}", "1", "[-1]"] {
            assert_eq!(from_list(odd.as_bytes()), None, "{odd}");
        }
        assert_eq!(from_escapes(br"{\x22a\x22:1,\x,\xg0}"), Some(br#"{"a":1,\x,\xg0}"#.to_vec()));
        assert_eq!(from_escapes(br"\"), None);
        assert_eq!(parts(b"--X\r\na: b\r\n\r\n{}\r\n--X\r\nc: d\r\n\r\n[]\r\n--X--\r\n"), [b"{}", b"[]"]);
        for odd in [&b""[..], b"--", b"--\r\n\r\n", b"--X\r\n\r\n\r\n--X"] {
            drop(parts(odd));
        }
    }
}
