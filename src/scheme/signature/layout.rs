//! The layout of the header with the signatures.

use crate::headers::HeaderProblem;

/// The layout of the header with the signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignatureLayout {
    /// The value is a signature, or several with this separator. Each has the prefix.
    Value {
        /// The text before each signature.
        prefix: String,
        /// The character between signatures.
        separator: Option<char>,
    },
    /// The value is a list of elements, `name=text`, separated by commas.
    Elements {
        /// The name of the element with the timestamp, if the timestamp is one of the elements.
        timestamp: Option<String>,
        /// The name of the elements with signatures. Empty: every element without the timestamp's name is a signature.
        signature: String,
    },
}

/// The most elements or signatures in a header.
pub(super) const MOST_ENTRIES: usize = 32;

impl SignatureLayout {
    /// Returns the texts in the places of signatures, and `None` for each other entry.
    #[inline]
    pub(super) fn entries<'v>(&'v self, value: &'v [u8]) -> impl Iterator<Item = Option<&'v [u8]>> {
        let separator = match self {
            SignatureLayout::Value { separator, .. } => separator.and_then(|separator| u8::try_from(separator).ok()),
            SignatureLayout::Elements { .. } => Some(b','),
        };
        split(value, separator).map(move |entry| self.text(entry, separator.is_some()))
    }

    #[inline]
    fn text<'v>(&self, entry: &'v [u8], is_listed: bool) -> Option<&'v [u8]> {
        let entry = if is_listed { entry.trim_ascii() } else { entry };
        match self {
            SignatureLayout::Value { prefix, .. } => entry.strip_prefix(prefix.as_bytes()),
            SignatureLayout::Elements { timestamp, signature } if signature.is_empty() => {
                let is_timestamp = timestamp.as_deref().is_some_and(|name| element(entry, name).is_some());
                (!is_timestamp && !entry.is_empty()).then_some(entry)
            }
            SignatureLayout::Elements { signature, .. } => element(entry, signature),
        }
    }

    /// Returns the text of the element with the timestamp.
    pub(super) fn timestamp<'v>(name: &str, value: &'v [u8]) -> Result<&'v [u8], HeaderProblem> {
        let mut found = split(value, Some(b',')).filter_map(|entry| element(entry.trim_ascii(), name));
        match (found.next(), found.next()) {
            (Some(text), None) => Ok(text),
            (None, _) => Err(HeaderProblem::NoTimestampElement),
            (Some(_), Some(_)) => Err(HeaderProblem::RepeatedTimestampElement),
        }
    }

    /// Returns the problem of a value without a text in the place of a signature.
    pub(super) fn problem(&self) -> HeaderProblem {
        match self {
            SignatureLayout::Value { .. } => HeaderProblem::NoPrefix,
            SignatureLayout::Elements { .. } => HeaderProblem::NoSignatureElement,
        }
    }
}

/// Splits a value at each separator.
#[inline]
fn split(value: &[u8], separator: Option<u8>) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let value = rest.take()?;
        let at = separator.and_then(|separator| position(value, separator));
        let Some((entry, after)) = at.and_then(|at| value.split_at_checked(at)) else { return Some(value) };
        rest = after.split_first().map(|(_, after)| after);
        Some(entry)
    })
}

/// Returns the position of a byte. Looks at 16 bytes at a time: one by one, `verify` of two HMACs takes 1,102
/// instructions (32 %) more (`scripts/count`).
fn position(value: &[u8], byte: u8) -> Option<usize> {
    const AT_ONCE: usize = 16;
    let (blocks, _) = value.as_chunks::<AT_ONCE>();
    let lacks = |block: &&[u8; AT_ONCE]| block.iter().fold(true, |lacks, other| lacks & (*other != byte));
    let before = blocks.iter().take_while(lacks).count().saturating_mul(AT_ONCE);
    let at = value.get(before..)?.iter().position(|other| *other == byte)?;
    Some(before.saturating_add(at))
}

/// Returns the text after `name=`.
fn element<'v>(entry: &'v [u8], name: &str) -> Option<&'v [u8]> {
    entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(layout: &SignatureLayout, value: &str) -> Vec<Option<String>> {
        let text = |text: &[u8]| String::from_utf8(text.to_vec()).unwrap();
        layout.entries(value.as_bytes()).map(|entry| entry.map(text)).collect()
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn a_value_is_one_signature_or_a_list() {
        let layout = |separator| SignatureLayout::Value { prefix: "sha256=".to_owned(), separator };
        assert_eq!(texts(&layout(None), "sha256=a,sha256=b"), [some("a,sha256=b")]);
        assert_eq!(texts(&layout(None), " sha256=a"), [None]);
        assert_eq!(texts(&layout(Some(',')), "sha256=a, sha256=b,sha1=c,"), [some("a"), some("b"), None, None]);
        assert_eq!(texts(&layout(Some(',')), "sha256=a"), [some("a")]);
    }

    #[test]
    fn a_byte_is_found_at_any_position() {
        for length in 0..70 {
            let mut value = vec![b'a'; length];
            assert_eq!(position(&value, b','), None, "{length}");
            for at in (0..length).rev() {
                value[at] = b',';
                assert_eq!(position(&value, b','), Some(at), "{length}");
            }
        }
        let parts: Vec<_> = split(b",a,,b,", Some(b',')).collect();
        assert_eq!(parts, [&b""[..], b"a", b"", b"b", b""]);
        assert_eq!(split(b"a,b", None).collect::<Vec<_>>(), [b"a,b"]);
    }

    #[test]
    fn elements_are_found_by_name() {
        let layout = |signature: &str| SignatureLayout::Elements {
            timestamp: Some("t".to_owned()),
            signature: signature.to_owned(),
        };
        assert_eq!(texts(&layout("v1"), "t=1,v1=a=, v1=b,v0=c"), [None, some("a="), some("b"), None]);
        assert_eq!(texts(&layout(""), "t=1,a=,b"), [None, some("a="), some("b")]);
        assert_eq!(texts(&layout("v1"), "V1=a"), [None], "names are case-sensitive");
        let timestamp = |value: &'static str| SignatureLayout::timestamp("t", value.as_bytes());
        assert_eq!(timestamp("v1=a, t=17"), Ok(&b"17"[..]));
        assert_eq!(timestamp("v1=a,tt=17"), Err(HeaderProblem::NoTimestampElement));
        assert_eq!(timestamp("t=17,v1=a,t=17"), Err(HeaderProblem::RepeatedTimestampElement));
    }
}
