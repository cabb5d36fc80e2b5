//! Rewrites the escapes in the strings of JSON, as different serializers write them.

use super::json::{Piece, pieces};

/// The characters that are escaped besides those that must be.
#[derive(Debug, Clone, Copy)]
enum Escaped {
    /// No other characters: JavaScript, Rust.
    Nothing,
    /// U+2028 and U+2029.
    Lines,
    /// `<`, `>`, `&`, U+2028 and U+2029: Go, Rails.
    Html,
    /// The characters of `Html`, `=` and `'`: Gson.
    HtmlAndQuotes,
    /// Every character that is not ASCII: Python, PHP.
    NonAscii,
    /// The characters of `Html` and of `NonAscii`.
    HtmlAndNonAscii,
    /// The characters of `HtmlAndNonAscii`, `'`, `"`, `+` and the backtick: .NET.
    DotNet,
}

/// Passes the JSON with every combination of escapes to `found`.
pub(super) fn variants(json: &[u8], found: &mut dyn FnMut(Vec<u8>)) {
    for escaped in [
        Escaped::Nothing,
        Escaped::Lines,
        Escaped::Html,
        Escaped::HtmlAndQuotes,
        Escaped::NonAscii,
        Escaped::HtmlAndNonAscii,
        Escaped::DotNet,
    ] {
        for slash in [false, true] {
            found(rewritten(json, escaped, slash, false));
            if !matches!(escaped, Escaped::Nothing) {
                found(rewritten(json, escaped, slash, true));
            }
        }
    }
}

fn rewritten(json: &[u8], escaped: Escaped, slash: bool, upper: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    for piece in pieces(json) {
        match piece {
            Piece::Text(raw) => match serde_json::from_slice::<String>(raw) {
                Ok(text) => write(&text, escaped, slash, upper, &mut out),
                // An unpaired surrogate, or no JSON.
                Err(_) => out.extend_from_slice(raw),
            },
            Piece::Number(raw) | Piece::Other(raw) => out.extend_from_slice(raw),
        }
    }
    out
}

fn write(text: &str, escaped: Escaped, slash: bool, upper: bool, out: &mut Vec<u8>) {
    out.push(b'"');
    for c in text.chars() {
        let short = match c {
            '"' if !matches!(escaped, Escaped::DotNet) => "\\\"",
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            '\u{8}' => "\\b",
            '\u{c}' => "\\f",
            '/' if slash => "\\/",
            _ => "",
        };
        if !short.is_empty() {
            out.extend_from_slice(short.as_bytes());
        } else if c < ' ' || is_escaped(c, escaped) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let escape = if upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") };
                out.extend_from_slice(escape.as_bytes());
            }
        } else {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    out.push(b'"');
}

fn is_escaped(c: char, escaped: Escaped) -> bool {
    let line = matches!(c, '\u{2028}' | '\u{2029}');
    let html = line || matches!(c, '<' | '>' | '&');
    match escaped {
        Escaped::Nothing => false,
        Escaped::Lines => line,
        Escaped::Html => html,
        Escaped::HtmlAndQuotes => html || matches!(c, '=' | '\''),
        Escaped::NonAscii => !c.is_ascii(),
        Escaped::HtmlAndNonAscii => html || !c.is_ascii(),
        Escaped::DotNet => html || !c.is_ascii() || matches!(c, '\'' | '"' | '+' | '`' | '\u{7f}'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_serializer_escapes_are_among_the_variants() {
        let json = r#"{"a": "ñ😀\n\\u00f1 </b>&'\u2028", "c":1.0}"#.replace("\\u2028", "\u{2028}");
        for written in [
            json.clone(),
            r#"{"a": "\u00f1\ud83d\ude00\n\\u00f1 </b>&'\u2028", "c":1.0}"#.to_owned(),
            r#"{"a": "\u00F1\uD83D\uDE00\n\\u00f1 </b>&'\u2028", "c":1.0}"#.to_owned(),
            r#"{"a": "\u00f1\ud83d\ude00\n\\u00f1 <\/b>&'\u2028", "c":1.0}"#.to_owned(),
            r#"{"a": "ñ😀\n\\u00f1 \u003c/b\u003e\u0026'\u2028", "c":1.0}"#.to_owned(),
            r#"{"a": "\u00F1\uD83D\uDE00\n\\u00f1 \u003C/b\u003E\u0026\u0027\u2028", "c":1.0}"#.to_owned(),
            r#"{"a": "ñ😀\n\\u00f1 \u003c/b\u003e\u0026\u0027\u2028", "c":1.0}"#.to_owned(),
        ] {
            // In both directions.
            for (from, to) in [(&json, &written), (&written, &json)] {
                let mut is_found = false;
                variants(from.as_bytes(), &mut |found| is_found |= found == to.as_bytes());
                assert!(is_found, "{from} {to}");
            }
        }
    }

    #[test]
    fn odd_strings_stay_as_they_are() {
        for odd in [r#""\"#, r#""\ud83d""#, r#""\u00""#, r#"""#, "\"\u{1}\""] {
            variants(odd.as_bytes(), &mut |found| assert_eq!(found, odd.as_bytes()));
        }
    }
}
