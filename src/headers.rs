//! Header lookup for any header map, without copying.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use http::{HeaderMap, HeaderName};

/// The result of a header lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'h> {
    /// The header is missing.
    Absent,
    /// The header occurs once, with this value.
    Once(&'h [u8]),
    /// The header occurs more than once, with equal or different values. It is ambiguous which value a proxy would use,
    /// so none is used.
    Repeated,
}

impl<'h> Found<'h> {
    /// Creates the result from the values of a header. Reads at most two of them.
    pub fn among(mut values: impl Iterator<Item = &'h [u8]>) -> Self {
        match (values.next(), values.next()) {
            (None, _) => Found::Absent,
            (Some(value), None) => Found::Once(value),
            (Some(_), Some(_)) => Found::Repeated,
        }
    }
}

/// Request headers. Implemented for [`http::HeaderMap`] and for lists of names and values.
///
/// ```
/// use medhook::{Found, Headers};
///
/// let headers = [("X-Signature", "abc"), ("Host", "a"), ("host", "b")];
/// assert_eq!(headers.find(&"x-signature".parse()?), Found::Once(b"abc"));
/// assert_eq!(headers.find(&"host".parse()?), Found::Repeated);
/// assert_eq!(headers.find(&"date".parse()?), Found::Absent);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Headers {
    /// Finds a header by its case-insensitive name.
    fn find(&self, name: &HeaderName) -> Found<'_>;
}

impl Headers for HeaderMap {
    fn find(&self, name: &HeaderName) -> Found<'_> {
        Found::among(self.get_all(name).iter().map(|value| value.as_bytes()))
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> Headers for [(N, V)] {
    fn find(&self, name: &HeaderName) -> Found<'_> {
        let same = |(key, _): &&(N, V)| key.as_ref().eq_ignore_ascii_case(name.as_str());
        Found::among(self.iter().filter(same).map(|(_, value)| value.as_ref()))
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>, const COUNT: usize> Headers for [(N, V); COUNT] {
    fn find(&self, name: &HeaderName) -> Found<'_> {
        self.as_slice().find(name)
    }
}

impl<N: AsRef<str>, V: AsRef<[u8]>> Headers for Vec<(N, V)> {
    fn find(&self, name: &HeaderName) -> Found<'_> {
        self.as_slice().find(name)
    }
}

/// Parses a value that consists of digits only. Returns `u64::MAX` if the number is larger.
///
/// `str::from_utf8` and `str::parse` take 298 instructions (8 %) more per delivery (`scripts/count`, verify).
pub(crate) fn number(value: &[u8]) -> Option<u64> {
    let appended = |number: u64, byte: &u8| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| number.saturating_mul(10).saturating_add(u64::from(digit)))
    };
    if value.is_empty() { None } else { value.iter().try_fold(0, appended) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_only_and_saturate() {
        for (value, expected) in
            [("0", 0), ("007", 7), ("1700000000", 1_700_000_000), ("18446744073709551615", u64::MAX)]
        {
            assert_eq!(number(value.as_bytes()), Some(expected), "{value}");
        }
        for value in ["18446744073709551616", &"9".repeat(400)] {
            assert_eq!(number(value.as_bytes()), Some(u64::MAX), "{value}");
        }
        for value in ["", " 1", "+1", "-1", "1 ", "1.0", "1:", "1/", "a", "١"] {
            assert_eq!(number(value.as_bytes()), None, "{value}");
        }
    }
}
