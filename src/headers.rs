//! Borrowed look-up of request headers, whatever map a framework keeps them in.

use http::{HeaderMap, HeaderName};

/// What a look-up found.
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

    /// With one more value of the same name.
    fn and(self, value: &'h [u8]) -> Self {
        match self {
            Found::Absent => Found::Once(value),
            Found::Once(_) | Found::Repeated => Found::Repeated,
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

    /// Finds three headers: what [`find`](Headers::find) finds of each, for maps that can do it faster together.
    fn find_three(&self, names: [&HeaderName; 3]) -> [Found<'_>; 3] {
        names.map(|name| self.find(name))
    }
}

impl Headers for HeaderMap {
    fn find(&self, name: &HeaderName) -> Found<'_> {
        Found::among(self.get_all(name).iter().map(|value| value.as_bytes()))
    }

    /// To go through a few headers takes less time than to hash three names. More than a few are a sender's choice.
    fn find_three(&self, names: [&HeaderName; 3]) -> [Found<'_>; 3] {
        if self.len() > A_FEW {
            return names.map(|name| self.find(name));
        }
        let mut found = [Found::Absent; 3];
        for (name, value) in self {
            for (wanted, found) in names.iter().zip(&mut found) {
                if name == *wanted {
                    *found = found.and(value.as_bytes());
                }
            }
        }
        found
    }
}

const A_FEW: usize = 16;

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

/// What a value says that is digits and nothing else; the largest number there is, if it is larger.
pub(crate) fn number(value: &[u8]) -> Option<u64> {
    let mut digits = value.iter().map(|byte| byte.wrapping_sub(b'0'));
    let appended =
        |number: u64, digit: u8| (digit < 10).then(|| number.saturating_mul(10).saturating_add(u64::from(digit)));
    if value.is_empty() { None } else { digits.try_fold(0, appended) }
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

    #[test]
    fn three_at_once_are_what_each_is_alone_among_few_and_many() {
        let names = ["webhook-id", "webhook-timestamp", "content-type"].map(HeaderName::from_static);
        for others in 0..A_FEW * 2 {
            let mut headers = HeaderMap::new();
            headers.append("webhook-id", "one".parse().unwrap());
            for other in 0..others {
                headers.append(HeaderName::try_from(format!("x-{other}")).unwrap(), "other".parse().unwrap());
            }
            headers.append("content-type", "a".parse().unwrap());
            headers.append("content-type", "a".parse().unwrap());
            let found = headers.find_three(names.each_ref());
            assert_eq!(found, names.each_ref().map(|name| headers.find(name)));
            assert_eq!(found, [Found::Once(b"one"), Found::Absent, Found::Repeated], "{others} others");
        }
    }
}
