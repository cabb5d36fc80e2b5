//! Borrowed lookup of request headers, whatever map a framework keeps them in.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use http::{HeaderMap, HeaderName};

/// What a lookup found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'h> {
    /// The header is not there.
    Absent,
    /// It is there once, with this value.
    Once(&'h [u8]),
    /// It is there more than once, whether or not the values agree. Which of them a proxy would have believed nobody
    /// knows, so nothing is decided by any of them.
    Repeated,
}

impl<'h> Found<'h> {
    /// Looks at the first two of all values of a name.
    pub fn among(mut values: impl Iterator<Item = &'h [u8]>) -> Self {
        match (values.next(), values.next()) {
            (None, _) => Found::Absent,
            (Some(value), None) => Found::Once(value),
            (Some(_), Some(_)) => Found::Repeated,
        }
    }
}

/// Request headers: implemented for [`http::HeaderMap`] and for lists of name and value.
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
    /// Finds a header by its name, whose case does not matter.
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

/// Returns the number that a value of digits and nothing else stands for; `u64::MAX` if it is larger.
///
/// `str::from_utf8` and `str::parse` do the same with 298 instructions (8 %) more per delivery (`scripts/count`, verify).
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
    fn a_number_is_digits_only_and_has_no_end() {
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
