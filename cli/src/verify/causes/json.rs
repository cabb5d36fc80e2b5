//! Rewrites JSON as text, so that only one property changes: its whitespace, its escapes, its numbers, or the order of
//! its members.

/// A part of a JSON text.
pub(super) enum Piece<'j> {
    /// A string with its quotation marks.
    Text(&'j [u8]),
    Number(&'j [u8]),
    /// Whitespace, punctuation, and the words `true`, `false` and `null`.
    Other(&'j [u8]),
}

/// Splits a text into its pieces. Bytes that are not JSON are pieces, too.
pub(super) fn pieces(mut json: &[u8]) -> impl Iterator<Item = Piece<'_>> {
    std::iter::from_fn(move || {
        let first = *json.first()?;
        let in_number = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
        let (length, piece): (_, fn(_) -> _) = match first {
            b'"' => (text_length(json), Piece::Text),
            b'-' | b'0'..=b'9' => (json.iter().take_while(|byte| in_number(byte)).count(), Piece::Number),
            _ => {
                let is_other = |byte: &&u8| !matches!(byte, b'"' | b'-' | b'0'..=b'9');
                (json.iter().take_while(is_other).count(), Piece::Other)
            }
        };
        let (this, rest) = json.split_at_checked(length)?;
        json = rest;
        Some(piece(this))
    })
}

/// Returns the length of a string with its quotation marks; without a closing one, of everything.
pub(super) fn text_length(json: &[u8]) -> usize {
    let mut escaped = false;
    let closes = |byte: &u8| {
        let closes = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        closes
    };
    json.iter().skip(1).position(closes).map_or(json.len(), |position| position.saturating_add(2))
}

/// A layout of JSON.
pub(super) struct Layout {
    /// The text that indents one level, if there are lines.
    pub(super) indent: Option<&'static str>,
    pub(super) before_colon: &'static str,
    pub(super) after_colon: &'static str,
    /// The text after a comma, if there are no lines.
    pub(super) after_comma: &'static str,
}

impl Layout {
    pub(super) const COMPACT: Layout = Layout { indent: None, before_colon: "", after_colon: "", after_comma: "" };
    pub(super) const SPACED: Layout = Layout { after_colon: " ", after_comma: " ", ..Layout::COMPACT };

    pub(super) const fn indented(indent: &'static str) -> Layout {
        Layout { indent: Some(indent), after_colon: " ", ..Layout::COMPACT }
    }
}

/// The longest result. Only JSON that is nested unusually deep exceeds it when indented.
pub(super) const LONGEST: usize = 8 * 1024 * 1024;

/// Removes whitespace outside of strings.
pub(super) fn compact(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    for piece in pieces(json) {
        match piece {
            Piece::Text(bytes) | Piece::Number(bytes) => out.extend_from_slice(bytes),
            Piece::Other(bytes) => out.extend(bytes.iter().filter(|byte| !byte.is_ascii_whitespace())),
        }
    }
    out
}

/// Lays compact JSON out. Returns `None` if the result is longer than [`LONGEST`].
pub(super) fn laid_out(compact: &[u8], layout: &Layout) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(compact.len().saturating_mul(2));
    let (mut depth, mut opened) = (0_usize, false);
    let line = |out: &mut Vec<u8>, depth: usize| {
        if let Some(indent) = layout.indent {
            out.push(b'\n');
            let levels = depth.min(LONGEST.saturating_sub(out.len()).saturating_add(1));
            out.extend(indent.bytes().cycle().take(levels.saturating_mul(indent.len())));
        }
    };
    for piece in pieces(compact) {
        let (bytes, is_other) = match piece {
            Piece::Text(bytes) | Piece::Number(bytes) => (bytes, false),
            Piece::Other(bytes) => (bytes, true),
        };
        if !is_other {
            if std::mem::take(&mut opened) {
                line(&mut out, depth);
            }
            out.extend_from_slice(bytes);
            continue;
        }
        for byte in bytes {
            if out.len() > LONGEST {
                return None;
            }
            let was_opened = std::mem::take(&mut opened);
            if matches!(byte, b'}' | b']') {
                depth = depth.saturating_sub(1);
                if !was_opened {
                    line(&mut out, depth);
                }
            } else if was_opened {
                line(&mut out, depth);
            }
            if *byte == b':' {
                out.extend_from_slice(layout.before_colon.as_bytes());
            }
            out.push(*byte);
            match byte {
                b'{' | b'[' => (depth, opened) = (depth.saturating_add(1), true),
                b':' => out.extend_from_slice(layout.after_colon.as_bytes()),
                b',' if layout.indent.is_none() => out.extend_from_slice(layout.after_comma.as_bytes()),
                b',' => line(&mut out, depth),
                _ => {}
            }
        }
    }
    (out.len() <= LONGEST).then_some(out)
}

/// Sorts the members of every object by their names, and leaves everything between them in its place. Returns `None`
/// for JSON that is nested too deep.
pub(super) fn sorted(json: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(json.len());
    let rest = sort_value(json, &mut out, 0)?;
    out.extend_from_slice(rest);
    Some(out)
}

/// The deepest nesting that is sorted, and that serde_json parses.
const DEEPEST: usize = 128;

/// Writes a value with sorted members, and returns what follows it.
fn sort_value<'j>(json: &'j [u8], out: &mut Vec<u8>, depth: usize) -> Option<&'j [u8]> {
    let rest = space(json, out);
    let is_object = match rest.first()? {
        b'"' => return copied(rest, text_length(rest), out),
        b'{' => true,
        b'[' => false,
        _ => {
            let ends = |byte: &u8| byte.is_ascii_whitespace() || b",]}".contains(byte);
            return copied(rest, rest.iter().position(ends).unwrap_or(rest.len()), out);
        }
    };
    if depth >= DEEPEST {
        return None;
    }
    let mut rest = copied(rest, 1, out)?;
    // The members, and what precedes and follows each of them.
    let (mut members, mut around) = (Vec::new(), Vec::new());
    loop {
        let mut before = Vec::new();
        rest = space(rest, &mut before);
        let mut member = Vec::new();
        if !rest.starts_with(b"}") && !rest.starts_with(b"]") {
            if is_object {
                rest = copied(rest, text_length(rest), &mut member)?;
                rest = space(rest, &mut member);
                rest = copied(rest, 1, &mut member)?;
            }
            rest = sort_value(rest, &mut member, depth.saturating_add(1))?;
        }
        let mut after = Vec::new();
        rest = space(rest, &mut after);
        let end = *rest.first()?;
        rest = copied(rest, 1, &mut after)?;
        around.push((before, after));
        members.push(member);
        match end {
            b',' => {}
            b'}' | b']' => break,
            _ => return None,
        }
    }
    if is_object {
        members.sort_by_cached_key(|member| {
            let name = member.get(..text_length(member)).unwrap_or_default();
            serde_json::from_slice::<String>(name).unwrap_or_default()
        });
    }
    for (member, (before, after)) in members.iter().zip(&around) {
        [before, member, after].into_iter().for_each(|part| out.extend_from_slice(part));
    }
    Some(rest)
}

fn space<'j>(json: &'j [u8], out: &mut Vec<u8>) -> &'j [u8] {
    let rest = json.trim_ascii_start();
    out.extend_from_slice(json.get(..json.len().saturating_sub(rest.len())).unwrap_or_default());
    rest
}

fn copied<'j>(json: &'j [u8], length: usize, out: &mut Vec<u8>) -> Option<&'j [u8]> {
    let (this, rest) = json.split_at_checked(length)?;
    out.extend_from_slice(this);
    Some(rest)
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
        let spaced = laid_out(&plain, &Layout::SPACED).unwrap();
        assert_eq!(text(spaced), r#"{"b": [1.0, {}, []], "a\"} : ": "x , y"}"#);
        let pretty = "{\n  \"b\": [\n    1.0,\n    {},\n    []\n  ],\n  \"a\\\"} : \": \"x , y\"\n}";
        assert_eq!(text(laid_out(&plain, &Layout::indented("  ")).unwrap()), pretty);
        let tabs = pretty.replace("  ", "\t");
        assert_eq!(text(laid_out(&plain, &Layout::indented("\t")).unwrap()), tabs);
    }

    #[test]
    fn indented_json_is_as_serde_writes_it() {
        let value = serde_json::json!({"a": [1, [], {}, {"b": null}, true, [false]], "c": "d:,{", "e": -1.5});
        let plain = compact(value.to_string().as_bytes());
        let pretty = laid_out(&plain, &Layout::indented("  ")).unwrap();
        assert_eq!(text(pretty), serde_json::to_string_pretty(&value).unwrap());
    }

    #[test]
    fn json_that_would_become_too_long_is_left_out() {
        let nested = |depth| ["[".repeat(depth), "]".repeat(depth)].concat().into_bytes();
        assert_eq!(laid_out(&nested(512 * 1024), &Layout::indented("    ")), None);
        assert!(laid_out(&nested(512 * 1024), &Layout::SPACED).is_some());
        let indented = laid_out(&nested(1_000), &Layout::indented("  "));
        assert_eq!(indented.map(|written| written.len()), Some(2_000_000));
        assert_eq!(sorted(&nested(512 * 1024)), None);
    }

    #[test]
    fn members_are_sorted_and_the_rest_stays_in_place() {
        let json = "{\n  \"b\": {\"d\" : 1.0,\"c\":[ {\"f\":1, \"e\":\"{,\"} ]},\n  \"a\": 2\n}\n";
        let wanted = "{\n  \"a\": 2,\n  \"b\": {\"c\":[ {\"e\":\"{,\", \"f\":1} ],\"d\" : 1.0}\n}\n";
        assert_eq!(text(sorted(json.as_bytes()).unwrap()), wanted);
        for odd in ["", "{", "{\"a\"", "{\"a\":", "[1", "[1 2]", "{]", "[,]", "\"", "}"] {
            drop(sorted(odd.as_bytes()));
        }
    }
}
