//! The mistakes of secrets, as two tables: texts that were copied or configured incorrectly, and keys that were derived
//! from the text in another way. A new mistake is one entry.

use medhook::SecretEncoding;

use super::key_form::{KeyForm, bare};
use crate::verify::encodings::{base64, base64url, hex, percent_decoded};

/// A mistake of a secret's text. The text of the cause continues the words "secret NAME".
pub(super) struct TextMistake {
    pub(super) code: &'static str,
    pub(super) text: &'static str,
    /// Returns the texts that the secret may have without the mistake.
    pub(super) undo: fn(&str) -> Vec<String>,
}

/// The mistakes of a secret's text. They apply to HMAC keys and to shared secrets.
pub(super) const TEXTS: &[TextMistake] = &[
    TextMistake {
        code: "secret_given_with_space",
        text: "was given with spaces, tabs or line breaks around it or in it, which are not part of it",
        undo: |text| vec![text.trim().to_owned(), text.split_whitespace().collect()],
    },
    TextMistake {
        code: "secret_given_in_quotes",
        text: "was given with quotation marks around it, which are not part of it",
        undo: |text| {
            let text = text.trim_matches(|c: char| c.is_whitespace() || c == ',' || c == ';');
            let quotes = "\\\"'`\u{201c}\u{201d}\u{201e}\u{201f}\u{2018}\u{2019}\u{201a}\u{ab}\u{bb}\u{2039}\u{203a}";
            let bare = text.trim_matches(|c| quotes.contains(c));
            (bare != text).then(|| bare.trim().to_owned()).into_iter().collect()
        },
    },
    TextMistake {
        code: "secret_given_in_brackets",
        text: "was given in brackets, such as `<..>`, which are not part of it",
        undo: |text| {
            let pairs = [('<', '>'), ('[', ']'), ('(', ')'), ('{', '}')];
            let inner = pairs.iter().find_map(|(open, close)| text.strip_prefix(*open)?.strip_suffix(*close));
            inner.map(|inner| inner.trim().to_owned()).into_iter().collect()
        },
    },
    TextMistake {
        code: "secret_given_in_json",
        text: "was given as JSON; one of its strings is the secret",
        undo: |text| {
            let members = serde_json::from_str::<std::collections::BTreeMap<String, serde_json::Value>>(text);
            let strings = members.into_iter().flat_map(std::collections::BTreeMap::into_values);
            strings.filter_map(|value| value.as_str().map(str::to_owned)).take(16).collect()
        },
    },
    TextMistake {
        code: "secret_given_with_separator",
        text: "was given with a comma, a semicolon or a period after it, which is not part of it",
        undo: |text| text.strip_suffix([',', ';', '.']).map(|text| text.trim().to_owned()).into_iter().collect(),
    },
    TextMistake {
        code: "secret_given_with_percent_sign",
        text: "was given with a percent sign after it, with which shells mark a missing line break",
        undo: |text| text.strip_suffix('%').map(str::to_owned).into_iter().collect(),
    },
    TextMistake {
        code: "secret_given_with_comment",
        text: "was given with a comment after it, which begins with ` #`",
        undo: |text| text.split_once(" #").map(|(text, _)| text.trim().to_owned()).into_iter().collect(),
    },
    TextMistake {
        code: "secret_given_after_word",
        text: "was given after a word such as `Bearer`, which is not part of it",
        undo: |text| text.split_once(' ').map(|(_, text)| text.trim().to_owned()).into_iter().collect(),
    },
    TextMistake {
        code: "secret_given_twice",
        text: "was given twice in succession, or its prefix `whsec_` was",
        undo: |text| {
            let (first, second) = text.split_at_checked(text.len() / 2).unwrap_or_default();
            let half = (first == second).then(|| first.to_owned());
            let bare = text.strip_prefix("whsec_").filter(|text| text.starts_with("whsec_"));
            half.into_iter().chain(bare.map(str::to_owned)).collect()
        },
    },
    TextMistake {
        code: "secret_given_in_hex",
        text: "was given as the hexadecimal digits of its text",
        undo: |text| hex(text).and_then(|bytes| String::from_utf8(bytes).ok()).into_iter().collect(),
    },
    TextMistake {
        code: "secret_given_with_invisible_characters",
        text: "was given with invisible characters, such as a byte order mark, a zero-width space or a control character",
        undo: |text| vec![text.chars().filter(|c| !is_invisible(*c)).collect()],
    },
    TextMistake {
        code: "secret_given_as_assignment",
        text: "was given together with its name, as `NAME=value`; only the value is the secret",
        undo: assigned,
    },
    TextMistake {
        code: "secret_given_with_escapes",
        text: "was given with an escaped line break (a backslash and a letter) at its end",
        undo: |text| {
            let ends = ["\\r\\n", "\\n", "\\r"];
            ends.iter().find_map(|end| text.strip_suffix(end)).map(str::to_owned).into_iter().collect()
        },
    },
    TextMistake {
        code: "secret_given_with_other_lines",
        text: "was given with other lines; one of its lines is the secret, alone or after its name",
        undo: |text| match text.contains(['\n', '\r']) {
            true => {
                let lines = text.split(['\n', '\r']).map(str::trim).take(16);
                lines.flat_map(|line| assigned(line).into_iter().chain([line.to_owned()])).collect()
            }
            false => Vec::new(),
        },
    },
    TextMistake {
        code: "secret_encoded_twice",
        text: "is encoded in base64 more often than expected",
        undo: |text| {
            let once = [text, bare(text)].into_iter().filter_map(text_in_base64);
            once.flat_map(|text| [text_in_base64(&text), Some(text)]).flatten().collect()
        },
    },
    TextMistake {
        code: "secret_percent_encoded",
        text: "was given percent-encoded, as in a URL",
        undo: |text| {
            let decoded = [percent_decoded(text.as_bytes(), false), percent_decoded(text.as_bytes(), true)];
            decoded.into_iter().flatten().filter_map(|bytes| String::from_utf8(bytes).ok()).collect()
        },
    },
    TextMistake {
        code: "secret_in_other_case",
        text: "has letters in a different case than that of the sender",
        undo: |text| vec![text.to_lowercase(), text.to_uppercase()],
    },
];

/// A mistake that only an HMAC can show: a shared secret that was given like this cannot be distinguished from one that
/// arrived truncated. The mistakes of [`TEXTS`] name the surplus character, so they come first.
pub(super) const SURPLUS: TextMistake = TextMistake {
    code: "secret_given_with_surplus_character",
    text: "was given with one character too many, at its beginning or its end",
    undo: |text| {
        let (mut first, mut last) = (text.chars(), text.chars());
        first.next();
        last.next_back();
        vec![first.as_str().to_owned(), last.as_str().to_owned()]
    },
};

/// A way to derive a key that differs from the scheme's. The text of the cause continues the words "secret NAME", and
/// `{must}` stands for what the scheme does.
pub(super) struct KeyMistake {
    pub(super) code: &'static str,
    pub(super) text: &'static str,
    /// The remedy for a custom provider: the encoding to set, and what else.
    pub(super) fix: Option<(SecretEncoding, &'static str)>,
    /// Whether it is a mistake for a scheme.
    pub(super) applies: fn(KeyForm) -> bool,
    /// Returns the keys that the mistake makes of the secret's text.
    pub(super) derive: fn(&str) -> Vec<Vec<u8>>,
}

pub(super) const KEYS: &[KeyMistake] = &[
    KeyMistake {
        code: "secret_read_as_text",
        text: "was used as text to sign, but must {must}",
        fix: Some((SecretEncoding::Text, "")),
        applies: |form| !form.is_text(),
        derive: |text| vec![text.into()],
    },
    KeyMistake {
        code: "secret_read_as_text_without_whsec",
        text: "was used as text without `whsec_` to sign, but must {must}",
        fix: Some((SecretEncoding::Text, "give the secret without `whsec_`")),
        applies: |form| !form.is_text(),
        derive: |text| vec![bare(text).into()],
    },
    KeyMistake {
        code: "secret_read_as_base64",
        text: "was decoded as base64 to sign, but must {must}; or it was given in base64 once more than expected",
        fix: Some((SecretEncoding::Base64, "")),
        applies: |form| form.encoding != SecretEncoding::Base64,
        derive: |text| base64(bare(text)).into_iter().collect(),
    },
    KeyMistake {
        code: "secret_read_without_whsec",
        text: "was used without `whsec_` to sign, but `whsec_` is part of it",
        fix: Some((SecretEncoding::Text, "give the secret without `whsec_`")),
        applies: |form| form.is_text(),
        derive: |text| text.strip_prefix("whsec_").map(Into::into).into_iter().collect(),
    },
    KeyMistake {
        code: "secret_read_without_whsec",
        text: "was decoded without `whsec_` to sign, but begins with `whsec_`, which this scheme does not remove",
        fix: Some((SecretEncoding::Hex, "give the secret without `whsec_`")),
        applies: |form| form.encoding == SecretEncoding::Hex && !form.standard,
        derive: |text| text.strip_prefix("whsec_").and_then(hex).into_iter().collect(),
    },
    KeyMistake {
        code: "secret_read_with_whsec",
        text: "was used with `whsec_` before it to sign, as text",
        fix: Some((SecretEncoding::Text, "give the secret with `whsec_`")),
        applies: |_| true,
        derive: |text| vec![["whsec_", text].concat().into()],
    },
    KeyMistake {
        code: "secret_read_as_base64url",
        text: "was decoded as base64url to sign",
        fix: Some((SecretEncoding::Base64, "write the secret with `+` and `/` instead of `-` and `_`")),
        applies: |_| true,
        derive: |text| base64url(bare(text)).into_iter().collect(),
    },
    KeyMistake {
        code: "secret_read_as_hex",
        text: "was decoded as hexadecimal to sign",
        fix: Some((SecretEncoding::Hex, "")),
        applies: |form| form.encoding != SecretEncoding::Hex,
        derive: |text| hex(bare(text)).into_iter().collect(),
    },
    KeyMistake {
        code: "secret_read_encoded_as_base64",
        text: "was encoded as base64 to sign",
        fix: Some((SecretEncoding::Text, "give the secret encoded as base64")),
        applies: |_| true,
        derive: |text| vec![<base64ct::Base64 as base64ct::Encoding>::encode_string(text.as_bytes()).into()],
    },
    KeyMistake {
        code: "secret_read_with_line_break",
        text: "was used with a line break at its end to sign",
        fix: None,
        applies: |_| true,
        derive: |text| vec![[text, "\n"].concat().into()],
    },
    KeyMistake {
        code: "secret_read_with_crlf",
        text: "was used with a line break (CR LF) at its end to sign",
        fix: None,
        applies: |_| true,
        derive: |text| vec![[text, "\r\n"].concat().into()],
    },
    KeyMistake {
        code: "secret_read_with_space",
        text: "was used with a space before or after it to sign",
        fix: None,
        applies: |_| true,
        derive: |text| vec![[text, " "].concat().into(), [" ", text].concat().into()],
    },
    KeyMistake {
        code: "secret_read_with_quotes",
        text: "was used with quotation marks around it to sign",
        fix: None,
        applies: |_| true,
        derive: |text| vec![["\"", text, "\""].concat().into(), ["'", text, "'"].concat().into()],
    },
    KeyMistake {
        code: "secret_read_with_byte_order_mark",
        text: "was used with a byte order mark before it to sign",
        fix: None,
        applies: |_| true,
        derive: |text| vec![["\u{feff}", text].concat().into()],
    },
];

fn text_in_base64(text: &str) -> Option<String> {
    let decoded = base64(text).or_else(|| base64url(text));
    decoded.and_then(|bytes| String::from_utf8(bytes).ok()).map(|text| text.trim().to_owned())
}

/// Returns the value of `NAME=value`, `export NAME="value"` or `NAME: value`.
fn assigned(text: &str) -> Vec<String> {
    let commands = ["export ", "set ", "setenv ", "ENV ", "-e ", "$env:"];
    let text = commands.iter().find_map(|command| text.strip_prefix(command)).unwrap_or(text);
    let value = text.split_once(['=', ':']).filter(|(name, _)| {
        let name = name.trim();
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
    });
    value.map(|(_, value)| value.trim_matches([' ', '"', '\'', ';']).to_owned()).into_iter().collect()
}

fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
        || (c.is_whitespace() && c != ' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undone(code: &str, text: &str) -> Vec<String> {
        (TEXTS.iter().find(|mistake| mistake.code == code).unwrap().undo)(text)
    }

    #[test]
    fn every_mistake_of_a_text_is_undone() {
        for (code, text) in [
            ("secret_given_in_quotes", "\"the secret\""),
            ("secret_given_in_quotes", "\u{201c}the secret\u{201d}"),
            ("secret_given_in_quotes", "\u{201e}the secret\u{201c}"),
            ("secret_given_in_quotes", "\\\"the secret\\\","),
            ("secret_given_with_space", "\tthe secret\u{a0}\r\n\n"),
            ("secret_given_in_brackets", "<the secret>"),
            ("secret_given_in_json", r#"{"a": 1, "b": "the secret"}"#),
            ("secret_given_with_separator", "the secret;"),
            ("secret_given_with_percent_sign", "the secret%"),
            ("secret_given_with_comment", "the secret # production"),
            ("secret_given_after_word", "Bearer the secret"),
            ("secret_given_twice", "the secretthe secret"),
            ("secret_given_in_hex", "74686520736563726574"),
            ("secret_given_with_other_lines", "# secrets\nNAME=the secret"),
            ("secret_given_as_assignment", "set NAME=the secret"),
            ("secret_given_with_invisible_characters", "\u{feff}the\u{200b} secret\u{0}"),
            ("secret_given_as_assignment", "NAME=the secret"),
            ("secret_given_as_assignment", "export NAME=\"the secret\""),
            ("secret_given_as_assignment", "name: the secret"),
            ("secret_given_with_escapes", "the secret\\n"),
            ("secret_given_with_other_lines", "other\r\nthe secret"),
            ("secret_encoded_twice", "dGhlIHNlY3JldA=="),
            ("secret_encoded_twice", "dGhlIHNlY3JldAo"),
            ("secret_encoded_twice", "ZEdobElITmxZM0psZEE9PQ=="),
            ("secret_percent_encoded", "the%20secret"),
            ("secret_percent_encoded", "%74he+secret"),
            ("secret_in_other_case", "THE SECRET"),
        ] {
            assert!(undone(code, text).contains(&"the secret".to_owned()), "{code}: {text}");
        }
    }
}
