//! Takes the body out of what a gateway, a log or a tool wrapped it in.

use super::json::{Piece, pieces, text_length};
use crate::verify::encodings::{base64, percent_decoded};

/// Decodes base64, with or without padding and line breaks, also in quotation marks or as a `data:` URL.
pub(super) fn from_base64(body: &[u8]) -> Option<Vec<u8>> {
    let body = body.trim_ascii();
    let body = body.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(body);
    let body = match body.iter().take(128).position(|byte| *byte == b',') {
        Some(comma) if body.starts_with(b"data:") => body.get(comma.saturating_add(1)..)?,
        _ => body,
    };
    let mut text: Vec<u8> = body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    if text.len() < 4 || text.iter().any(|byte| !(byte.is_ascii_alphanumeric() || b"+/-_=".contains(byte))) {
        return None;
    }
    for byte in &mut text {
        *byte = match byte {
            b'-' => b'+',
            b'_' => b'/',
            _ => *byte,
        };
    }
    base64(str::from_utf8(&text).ok()?)
}

/// Decodes a JSON string, with or without its quotation marks.
pub(super) fn from_json_string(body: &[u8]) -> Option<Vec<u8>> {
    let text = body.trim_ascii();
    let whole = serde_json::from_slice::<String>(text);
    let decoded = whole.or_else(|_| serde_json::from_slice(&[b"\"", text, b"\""].concat())).ok()?;
    (decoded.as_bytes() != body).then(|| decoded.into_bytes())
}

/// Passes every string in a JSON text to `found`, as text and decoded from base64, and every object. The longest ones
/// first, up to [`MOST_PARTS`].
pub(super) fn parts_of_json(json: &[u8], found: &mut dyn FnMut(Vec<u8>)) {
    let mut parts = texts(json);
    parts.extend(objects(json));
    parts.retain(|part| *part != json.trim_ascii());
    parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
    for part in parts.into_iter().take(MOST_PARTS) {
        if part.starts_with(b"{") {
            found(part.to_vec());
        } else if let Ok(text) = serde_json::from_slice::<String>(part) {
            from_base64(text.as_bytes()).into_iter().for_each(&mut *found);
            found(text.into_bytes());
        }
    }
}

const MOST_PARTS: usize = 32;

fn texts(json: &[u8]) -> Vec<&[u8]> {
    let text = |piece| match piece {
        Piece::Text(text) if text.len() > 2 => Some(text),
        _ => None,
    };
    pieces(json).filter_map(text).collect()
}

/// Returns the objects.
fn objects(json: &[u8]) -> Vec<&[u8]> {
    let (mut starts, mut objects, mut position) = (Vec::new(), Vec::new(), 0_usize);
    for piece in pieces(json) {
        let bytes = match piece {
            Piece::Text(bytes) | Piece::Number(bytes) => {
                position = position.saturating_add(bytes.len());
                continue;
            }
            Piece::Other(bytes) => bytes,
        };
        for byte in bytes {
            match byte {
                b'{' => starts.push(position),
                b'}' => {
                    let start = starts.pop().filter(|_| starts.len() <= DEEPEST_OBJECT);
                    objects.extend(start.and_then(|start| json.get(start..=position)));
                }
                _ => {}
            }
            position = position.saturating_add(1);
        }
    }
    objects
}

const DEEPEST_OBJECT: usize = 4;

/// Passes the values of a form, decoded, to `found`.
pub(super) fn form_values(body: &[u8], found: &mut dyn FnMut(Vec<u8>)) {
    if body.starts_with(b"{") || body.starts_with(b"[") {
        return;
    }
    for field in body.trim_ascii().split(|byte| *byte == b'&').take(MOST_PARTS) {
        let Some(equals) = field.iter().position(|byte| *byte == b'=') else { continue };
        let value = field.get(equals.saturating_add(1)..).unwrap_or_default();
        found(percent_decoded(value, true).unwrap_or_else(|| value.to_vec()));
        found(percent_decoded(value, false).unwrap_or_else(|| value.to_vec()));
        // A whole body can be taken for the name of a field.
        let name = field.get(..equals).filter(|_| value.is_empty()).unwrap_or_default();
        found(percent_decoded(name, true).unwrap_or_else(|| name.to_vec()));
    }
}

/// Removes the chunk sizes of HTTP/1.1's chunked transfer coding.
pub(super) fn from_chunks(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        let end = body.iter().position(|byte| *byte == b'\n')?;
        let (line, rest) = body.split_at_checked(end)?;
        // Extensions may follow the size.
        let size = str::from_utf8(line).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(out);
        }
        let (chunk, rest) = rest.get(1..)?.split_at_checked(size)?;
        out.extend_from_slice(chunk);
        if rest.is_empty() {
            return Some(out);
        }
        body = rest.strip_prefix(b"\r\n").or_else(|| rest.strip_prefix(b"\n"))?;
        if body.is_empty() {
            return Some(out);
        }
    }
}

/// Returns the body of a recorded request that begins with its head.
pub(super) fn after_head(body: &[u8]) -> Vec<Vec<u8>> {
    let line = body.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii_end();
    let is_head = line.windows(8).any(|part| part.starts_with(b" HTTP/"))
        || line.iter().position(|byte| *byte == b':').is_some_and(|colon| {
            let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
            colon > 0 && line.iter().take(colon).all(is_name)
        });
    let after = |gap: &[u8]| {
        let at = body.windows(gap.len()).position(|part| part == gap)?;
        body.get(at.saturating_add(gap.len())..).map(<[u8]>::to_vec)
    };
    if is_head { [b"\r\n\r\n".as_slice(), b"\n\n"].into_iter().filter_map(after).collect() } else { Vec::new() }
}

/// Removes quotation marks around the whole body, such as those of a shell or of Python's bytes.
pub(super) fn unquoted(body: &[u8]) -> Option<Vec<u8>> {
    let text = body.trim_ascii();
    let text = text.strip_prefix(b"b").filter(|text| matches!(text.first(), Some(b'\'' | b'"'))).unwrap_or(text);
    match text {
        [b'"', inner @ .., b'"'] if text_length(text) < text.len() => Some(inner.to_vec()),
        [b'\'', inner @ .., b'\''] => Some(inner.to_vec()),
        _ => None,
    }
}

/// Replaces the entities of HTML and XML. A `<pre>` around them is removed.
pub(super) fn from_html(body: &[u8]) -> Option<Vec<u8>> {
    let text = str::from_utf8(body).ok().filter(|text| text.contains('&'))?;
    let is_tag = |text: &str| text.starts_with('<') && text.ends_with('>');
    let text = match (text.trim().find('>'), text.trim().rfind("</")) {
        (Some(open), Some(close)) if is_tag(text.trim()) => text.trim().get(open.saturating_add(1)..close)?,
        _ => text,
    };
    let mut out = String::with_capacity(text.len());
    let mut parts = text.split('&');
    out.push_str(parts.next()?);
    for part in parts {
        let entity = part.split_once(';').and_then(|(name, after)| Some((entity(name)?, after)));
        match entity {
            Some((c, after)) => {
                out.push(c);
                out.push_str(after);
            }
            None => {
                out.push('&');
                out.push_str(part);
            }
        }
    }
    Some(out.into_bytes())
}

fn entity(name: &str) -> Option<char> {
    let named = [("quot", '"'), ("apos", '\''), ("lt", '<'), ("gt", '>'), ("amp", '&'), ("nbsp", '\u{a0}')];
    if let Some((_, c)) = named.iter().find(|(known, _)| *known == name) {
        return Some(*c);
    }
    let number = name.strip_prefix('#')?;
    let hex = number.strip_prefix(['x', 'X']).map(|digits| u32::from_str_radix(digits, 16));
    char::from_u32(hex.unwrap_or_else(|| number.parse()).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_joined() {
        assert_eq!(from_chunks(b"3\r\nabc\r\n2;a=b\r\nde\r\n0\r\n\r\n"), Some(b"abcde".to_vec()));
        assert_eq!(from_chunks(b"3\nabc\n0\n"), Some(b"abc".to_vec()));
        assert_eq!(from_chunks(b"3\r\nabc"), Some(b"abc".to_vec()));
        for odd in [&b""[..], b"3", b"3\r\n", b"ffffffffffffffff\r\na", b"4\r\nabc", b"x\r\nabc", b"-1\r\n", b"1\r\nab"]
        {
            assert_eq!(from_chunks(odd), None);
        }
    }

    #[test]
    fn strings_and_objects_are_found_at_any_depth() {
        let mut found = Vec::new();
        let json = br#"{"event":{"body":"{\"a\":1}","x":[{"b":"eyJiIjoyfQ=="}]},"n":1}"#;
        parts_of_json(json, &mut |part| found.push(String::from_utf8_lossy(&part).into_owned()));
        for part in [r#"{"a":1}"#, r#"{"b":2}"#, r#"{"b":"eyJiIjoyfQ=="}"#, "eyJiIjoyfQ=="] {
            assert!(found.iter().any(|found| found == part), "{part}: {found:?}");
        }
        assert!(!found.iter().any(|found| found.as_bytes() == json));
        for odd in [&b"{"[..], b"}}}}", b"\"", b"{\"a", b"{\"\\\"}"] {
            parts_of_json(odd, &mut |_| {});
        }
        let many = format!("[{}]", vec!["\"abc\""; 10_000].join(","));
        let mut count = 0;
        parts_of_json(many.as_bytes(), &mut |_| count += 1);
        assert!(count <= 2 * MOST_PARTS, "{count}");
    }
}
