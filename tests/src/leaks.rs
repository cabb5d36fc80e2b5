//! Searches output for marks, in every form in which they would still be readable.

use std::collections::BTreeSet;

use base64ct::{Base64Unpadded, Base64UrlUnpadded, Encoding};

/// Searches bytes for marks.
pub struct Search {
    needles: Vec<Needle>,
    /// Whether a needle begins with this byte.
    begins: [bool; 256],
}

struct Needle {
    mark: String,
    form: &'static str,
    bytes: Vec<u8>,
}

impl Search {
    /// Searches for these marks: ASCII texts of at least six letters and digits, in any form.
    ///
    /// # Panics
    /// Panics for a mark that is too short, or has other characters than letters and digits.
    #[must_use]
    pub fn of(marks: &[&str]) -> Self {
        let mut needles = Vec::new();
        for mark in marks {
            assert!(mark.len() >= 6 && mark.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{mark} is no mark");
            let forms = forms(mark).into_iter();
            needles.extend(forms.map(|(form, bytes)| Needle { mark: (*mark).to_owned(), form, bytes }));
        }
        let mut begins = [false; 256];
        needles.iter().filter_map(|needle| needle.bytes.first()).for_each(|byte| begins[usize::from(*byte)] = true);
        Search { needles, begins }
    }

    /// Returns what was found: the mark, its form, and the text before it.
    #[must_use]
    pub fn found_in(&self, output: &[u8]) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for at in (0..output.len()).filter(|at| self.begins[usize::from(output[*at])]) {
            for needle in self.needles.iter().filter(|needle| output[at..].starts_with(&needle.bytes)) {
                let before = String::from_utf8_lossy(&output[at.saturating_sub(60)..at]).into_owned();
                found.insert(format!("{} ({}) after {before:?}", needle.mark, needle.form));
            }
        }
        found
    }
}

/// Returns the forms of a mark, without repetitions.
fn forms(mark: &str) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = mark.as_bytes();
    let joined = |each: &dyn Fn(u8) -> String, separator: &str| {
        bytes.iter().map(|byte| each(*byte)).collect::<Vec<_>>().join(separator).into_bytes()
    };
    let mut forms = vec![
        ("as it is", bytes.to_vec()),
        ("in upper case", mark.to_ascii_uppercase().into_bytes()),
        ("in lower case", mark.to_ascii_lowercase().into_bytes()),
        ("reversed", bytes.iter().rev().copied().collect()),
        ("in hex", joined(&|byte| format!("{byte:02x}"), "")),
        ("in hex", joined(&|byte| format!("{byte:02X}"), "")),
        ("as a list of hex numbers", joined(&|byte| format!("{byte:x}"), ", ")),
        ("percent-encoded", joined(&|byte| format!("%{byte:02x}"), "")),
        ("percent-encoded", joined(&|byte| format!("%{byte:02X}"), "")),
        ("escaped as bytes", joined(&|byte| format!("\\x{byte:02x}"), "")),
        ("escaped as JSON", joined(&|byte| format!("\\u{byte:04x}"), "")),
        ("as a list of numbers", joined(&|byte| byte.to_string(), ", ")),
        ("as a list of numbers", joined(&|byte| byte.to_string(), ",")),
        ("in UTF-16, big endian", bytes.iter().flat_map(|byte| [0, *byte]).collect()),
        ("in UTF-16, little endian", bytes.iter().flat_map(|byte| [*byte, 0]).collect()),
    ];
    // Base64 encodes groups of three bytes, so there are three forms of a text inside of another one. The characters
    // at both ends depend on the other text.
    for before in 0..3 {
        let text = [&vec![0; before], bytes].concat();
        let (skipped, whole) = ((before * 8).div_ceil(6), text.len() * 8 / 6);
        forms.push(("in base64", Base64Unpadded::encode_string(&text).as_bytes()[skipped..whole].to_vec()));
        forms.push(("in base64url", Base64UrlUnpadded::encode_string(&text).as_bytes()[skipped..whole].to_vec()));
    }
    let mut seen = BTreeSet::new();
    forms.retain(|(_, bytes)| seen.insert(bytes.clone()));
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: &str = "c4n4ry";

    #[test]
    fn a_mark_is_found_in_every_form_and_place() {
        let search = Search::of(&[MARK]);
        let text = |before: &str| format!("{before}{MARK} and more");
        for before in ["", "a", "ab", "abc"] {
            let text = text(before);
            let bytes = text.as_bytes();
            let each = |form: fn(&u8) -> String| bytes.iter().map(form).collect::<String>();
            for output in [
                text.clone(),
                text.to_uppercase(),
                text.chars().rev().collect(),
                Base64Unpadded::encode_string(bytes),
                Base64UrlUnpadded::encode_string(bytes),
                format!("{bytes:?}"),
                format!("{bytes:x?}"),
                serde_json::to_string(&bytes).expect("JSON"),
                each(|byte| format!("{byte:02x}")),
                each(|byte| format!("{byte:02X}")),
                each(|byte| format!("%{byte:02X}")),
                each(|byte| format!("\\u{byte:04x}")),
                each(|byte| format!("\\x{byte:02x}")),
            ] {
                assert_eq!(search.found_in(output.as_bytes()).len(), 1, "{output}");
            }
            for endian in [u16::to_be_bytes, u16::to_le_bytes] {
                let output: Vec<u8> = text.encode_utf16().flat_map(endian).collect();
                assert!(!search.found_in(&output).is_empty(), "{output:?}");
            }
        }
    }

    #[test]
    fn nothing_is_found_where_no_mark_is() {
        let search = Search::of(&[MARK, "4711004711"]);
        for output in ["", "c4n4r", "c4n4rx", "471100471", "Y2FuYXJ5", "canary"] {
            assert_eq!(search.found_in(output.as_bytes()), BTreeSet::new(), "{output}");
        }
        let found = search.found_in(b"a number: 4711004711");
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [r#"4711004711 (as it is) after "a number: ""#]);
    }
}
