//! The ways in which gateways, frameworks, tools and editors modify a body, as a table. A new one is one entry.
//!
//! Each entry undoes its modification: from the recorded body it makes those that may have been signed.

use super::json::{self, Layout};
use super::{charset, dumps, escapes, numbers, wrapped};
use crate::verify::case::LONGEST_JSON;
use crate::verify::encodings::percent_decoded;

/// Passes the bodies that may have been signed instead of the recorded one.
type Undo = fn(&[u8], &mut dyn FnMut(Vec<u8>));

/// A modification of a body.
pub(super) struct Change {
    pub(super) code: &'static str,
    pub(super) text: &'static str,
    undo: Undo,
    input: Input,
}

/// The bodies to which a change applies.
#[derive(Clone, Copy)]
enum Input {
    Any,
    /// A body up to [`LONGEST_JSON`], whose strings are searched or rewritten. It need not be valid.
    Text,
    /// Valid JSON.
    Json,
}

impl Change {
    /// Passes the bodies that may have been signed instead of this one to `found`.
    pub(super) fn undo(&self, body: &[u8], is_json: bool, found: &mut dyn FnMut(Vec<u8>)) {
        let applies = match self.input {
            Input::Any => true,
            Input::Text => body.len() <= LONGEST_JSON.saturating_mul(2),
            Input::Json => is_json,
        };
        if applies {
            (self.undo)(body, found);
        }
    }
}

/// Returns the changes that a serializer can make together with a change of the layout or of anything before it: of one
/// layout, of the escapes, of the numbers, and of the order, each at most once.
pub(super) fn serializer_changes(after: Option<&Change>) -> impl Iterator<Item = &'static Change> {
    let is_layout = |change: &Change| change.code.starts_with("json_was_");
    let first = match after {
        Some(after) if is_layout(after) => CHANGES.iter().rposition(is_layout),
        Some(after) => CHANGES.iter().position(|change| change.code == after.code),
        None => None,
    };
    let first = first.map_or(0, |first| first.saturating_add(1));
    CHANGES.iter().skip(first).filter(|change| matches!(change.input, Input::Json))
}

/// Returns whether the body is JSON that is short enough to be rewritten.
pub(super) fn is_json(body: &[u8]) -> bool {
    body.len() <= LONGEST_JSON && serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()
}

const fn any(code: &'static str, text: &'static str, undo: Undo) -> Change {
    Change { code, text, undo, input: Input::Any }
}

const fn in_text(code: &'static str, text: &'static str, undo: Undo) -> Change {
    Change { code, text, undo, input: Input::Text }
}

const fn in_json(code: &'static str, text: &'static str, undo: Undo) -> Change {
    Change { code, text, undo, input: Input::Json }
}

/// The changes, the most common ones first.
pub(super) const CHANGES: &[Change] = &[
    any(
        "trailing_line_break_added",
        "the body's last line break was not signed: an editor or a tool added it",
        |body, found| {
            let without = body.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line));
            without.into_iter().for_each(|without| found(without.to_vec()));
        },
    ),
    any("trailing_line_break_lost", "a line break at the end of the body was signed, but is missing", |body, found| {
        found([body, b"\n"].concat())
    }),
    any(
        "trailing_crlf_lost",
        "a line break (CR LF) at the end of the body was signed, but is missing",
        |body, found| found([body, b"\r\n"].concat()),
    ),
    any("surrounding_space_added", "the whitespace or zero bytes around the body were not signed", |body, found| {
        let is_surplus = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0;
        let start = body.iter().position(|byte| !is_surplus(byte)).unwrap_or(body.len());
        let end = body.iter().rposition(|byte| !is_surplus(byte)).map_or(start, |last| last.saturating_add(1));
        found(body.get(start..end).unwrap_or_default().to_vec());
    }),
    any(
        "surrounding_space_lost",
        "a space or a line break before or after the body was signed, but is missing",
        |body, found| {
            for (before, after) in [("\n", ""), ("\r\n", ""), (" ", ""), ("", " "), ("", "\n\n"), ("", "\t")] {
                found([before.as_bytes(), body, after.as_bytes()].concat());
            }
        },
    ),
    any("lf_became_crlf", "line breaks were signed as LF, but are CR LF now", |body, found| {
        found(replaced(body, b"\r\n", b"\n"));
    }),
    any("crlf_became_lf", "line breaks were signed as CR LF, but are LF now", |body, found| {
        found(replaced(&replaced(body, b"\r\n", b"\n"), b"\n", b"\r\n"));
    }),
    any("byte_order_mark_added", "a byte order mark was added before the body", |body, found| {
        let written = [BOM, "\u{ef}\u{bb}\u{bf}".as_bytes()];
        written.iter().filter_map(|mark| body.strip_prefix(*mark)).for_each(|rest| found(rest.to_vec()));
    }),
    any("byte_order_mark_lost", "a byte order mark before the body was signed, but is missing", |body, found| {
        found([BOM, body].concat())
    }),
    any("body_twice", "the file holds the body twice in succession", |body, found| {
        let (first, second) = body.split_at(body.len() / 2);
        let line = |text: &[u8]| text.strip_suffix(b"\n").unwrap_or(text).to_vec();
        if first == second {
            found(first.to_vec());
            found(line(first));
        }
    }),
    in_json("json_was_compact", "the body was serialized again: the signed JSON had no whitespace", |body, found| {
        found(json::compact(body))
    }),
    in_json(
        "json_was_spaced",
        "the body was serialized again: the signed JSON had a space after each comma and colon",
        |body, found| layout(body, &Layout::SPACED, found),
    ),
    in_json(
        "json_was_spaced_otherwise",
        "the body was serialized again: the signed JSON had a space after each colon or after each comma only",
        |body, found| {
            layout(body, &Layout { after_colon: " ", ..Layout::COMPACT }, found);
            layout(body, &Layout { after_comma: " ", ..Layout::COMPACT }, found);
        },
    ),
    in_json(
        "json_was_indented_by_2",
        "the body was serialized again: the signed JSON was indented by 2",
        |body, found| layout(body, &Layout::indented("  "), found),
    ),
    in_json(
        "json_was_indented_with_crlf",
        "the body was serialized again: the signed JSON was indented by 2, with CR LF between the lines, as on Windows",
        |body, found| layout(body, &Layout::indented("  "), &mut |body| found(replaced(&body, b"\n", b"\r\n"))),
    ),
    in_json(
        "json_was_indented_by_4",
        "the body was serialized again: the signed JSON was indented by 4",
        |body, found| layout(body, &Layout::indented("    "), found),
    ),
    in_json(
        "json_was_indented_otherwise",
        "the body was serialized again: the signed JSON was indented by a tab, by 1, 3 or 8, or had a space before \
         each colon",
        |body, found| {
            for indent in ["\t", " ", "   ", "        "] {
                layout(body, &Layout::indented(indent), found);
            }
            for indent in ["  ", "    "] {
                layout(body, &Layout { before_colon: " ", ..Layout::indented(indent) }, found);
            }
        },
    ),
    in_json(
        "json_escapes_changed",
        "the body was serialized again: the signed JSON had different escapes",
        escapes::variants,
    ),
    in_json(
        "json_numbers_changed",
        "the body was serialized again: the signed JSON had its numbers in another form, such as 1.0 instead of 1",
        numbers::variants,
    ),
    in_json(
        "json_numbers_in_quotes",
        "the body was serialized again: the signed JSON had its numbers without quotation marks, or with them",
        numbers::quoted,
    ),
    in_json(
        "json_members_reordered",
        "the body was serialized again: the signed JSON had its members in alphabetical order",
        |body, found| json::sorted(body).into_iter().for_each(found),
    ),
    any("body_in_base64", "the body is recorded in base64, but its bytes were signed", |body, found| {
        wrapped::from_base64(body).into_iter().for_each(found);
    }),
    in_text(
        "body_in_json_string",
        "the body is recorded as a JSON string, with escapes, but its text was signed",
        |body, found| wrapped::from_json_string(body).into_iter().for_each(found),
    ),
    in_text(
        "body_in_event",
        "the file holds an event of a gateway or a log; a part of it, as text or in base64, is the signed body",
        |body, found| {
            if let Some(b'{' | b'[') = body.trim_ascii_start().first() {
                wrapped::parts_of_json(body, found);
            }
        },
    ),
    in_text(
        "body_in_form",
        "the body is recorded as a form field, but the decoded value was signed",
        wrapped::form_values,
    ),
    any(
        "body_percent_encoded",
        "the body is recorded percent-encoded, as in a form, but the decoded text was signed",
        |body, found| {
            let decoded = [true, false].into_iter().filter_map(|plus| percent_decoded(body, plus));
            decoded.for_each(found);
        },
    ),
    any(
        "form_spaces_changed",
        "the form's spaces were signed as `%20` and are `+` now, or the reverse",
        |body, found| {
            found(replaced(body, b"+", b"%20"));
            found(replaced(body, b"%20", b"+"));
        },
    ),
    any("body_in_hex", "the body is recorded in hexadecimal, but its bytes were signed", |body, found| {
        dumps::from_dump(body).into_iter().for_each(found);
    }),
    in_text(
        "body_in_byte_list",
        "the body is recorded as a list of its bytes, as numbers, such as a Buffer of Node.js",
        |body, found| dumps::from_list(body).into_iter().for_each(found),
    ),
    any(
        "body_in_hex_escapes",
        "the body is recorded with escapes such as `\\x22`, as nginx and Python log it, but its bytes were signed",
        |body, found| dumps::from_escapes(body).into_iter().for_each(found),
    ),
    any("body_in_multipart", "the body is recorded as a part of multipart/form-data", |body, found| {
        dumps::parts(body).into_iter().for_each(found);
    }),
    in_text(
        "body_in_markup",
        "the body is recorded with text around or in front of its lines: a fence of Markdown, an option of curl, or `>`",
        dumps::without_markup,
    ),
    in_text(
        "quotation_marks_replaced",
        "the quotation marks of the body were replaced with typographic ones, or doubled as in CSV",
        dumps::quotation_marks,
    ),
    any(
        "spaces_replaced",
        "spaces of the body were replaced: with no-break spaces, or those that were `+`",
        |body, found| {
            found(replaced(body, "\u{a0}".as_bytes(), b" "));
            found(replaced(body, b" ", b"+"));
        },
    ),
    in_text("lines_wrapped", "line breaks were added within the body", |body, found| {
        found(body.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect());
    }),
    any("chunk_sizes_in_body", "the body is recorded with the chunk sizes of its transfer", |body, found| {
        wrapped::from_chunks(body).into_iter().for_each(found);
    }),
    any("head_in_body", "the file holds the head of the request as well; only the body was signed", |body, found| {
        wrapped::after_head(body).into_iter().for_each(found);
    }),
    any("body_in_quotes", "quotation marks were added around the body", |body, found| {
        wrapped::unquoted(body).into_iter().for_each(found);
    }),
    any("html_entities_in_body", "characters of the body were replaced with HTML entities", |body, found| {
        wrapped::from_html(body).into_iter().for_each(found);
    }),
    any(
        "utf_8_read_as_latin_1",
        "the body's UTF-8 was read as Latin-1 or Windows-1252, which replaced every character that is not ASCII",
        |body, found| charset::was_read_as_latin(body).into_iter().for_each(found),
    ),
    any("latin_1_became_utf_8", "the signed body was in Latin-1 or Windows-1252, but is UTF-8 now", |body, found| {
        charset::was_in_latin(body).into_iter().for_each(found)
    }),
    any(
        "signed_in_other_charset",
        "the signed body was the UTF-8 form of these bytes, each read as a character of Latin-1 or Windows-1252",
        |body, found| charset::read_as_latin(body).into_iter().for_each(found),
    ),
    any("body_in_utf_16", "the body is recorded in UTF-16, but was signed in UTF-8", |body, found| {
        charset::from_utf_16(body).into_iter().for_each(found);
    }),
    any("body_in_utf_32", "the body is recorded in UTF-32, but was signed in UTF-8", |body, found| {
        charset::from_utf_32(body).into_iter().for_each(found);
    }),
    any("signed_in_utf_16", "the body was signed in UTF-16, but is UTF-8 now", |body, found| {
        charset::to_utf_16(body).into_iter().for_each(found);
    }),
    in_text(
        "body_signed_as_json_string",
        "the signed body was a JSON string with this text: the sender serialized it twice",
        |body, found| {
            let text = str::from_utf8(body).ok().and_then(|text| serde_json::to_string(text).ok());
            text.into_iter().for_each(|text| found(text.into_bytes()));
        },
    ),
    any("empty_body_signed", "the signed body was empty", |_, found| found(Vec::new())),
    any(
        "placeholder_signed",
        "the signed text was `{}`, `null`, `undefined` or `[object Object]`, which programs write for a missing body",
        |_, found| {
            for text in ["{}", "null", "undefined", "[object Object]", "\"\""] {
                found(text.into());
            }
        },
    ),
];

const BOM: &[u8] = "\u{feff}".as_bytes();

fn layout(body: &[u8], layout: &Layout, found: &mut dyn FnMut(Vec<u8>)) {
    json::laid_out(&json::compact(body), layout).into_iter().for_each(found);
}

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
