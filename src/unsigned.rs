//! Headers that the signature does not cover, and that an option of the provider reads nevertheless.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use http::HeaderName;
#[cfg(feature = "inbox")]
use serde::{Deserialize, Serialize};

use crate::headers::{Found, Headers};
use crate::pointer_fault::PointerFault;

/// One thing for each part of the envelope that can be in an unsigned header: the name of the header, its value in a
/// request, or its stored value.
#[derive(Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "inbox", derive(Serialize, Deserialize))]
#[allow(missing_debug_implementations, unreachable_pub, reason = "in a hidden method of a public trait")]
pub struct UnsignedParts<T> {
    pub(crate) id: T,
    /// The source of an event, which is a part of its id in CloudEvents.
    pub(crate) source: T,
    pub(crate) kind: T,
    pub(crate) time: T,
}

/// The names of the headers that are read.
#[allow(unreachable_pub, reason = "as above")]
pub type UnsignedNames = UnsignedParts<Option<HeaderName>>;

/// The headers of a request, as they were found. Those that no option reads are absent.
pub(crate) type UnsignedValues<'h> = UnsignedParts<Found<'h>>;

/// The headers that are stored in an inbox with the body, so that each attempt reads the same ones. A header without a
/// usable value is absent.
#[cfg(feature = "inbox")]
pub(crate) type StoredUnsigned = UnsignedParts<Option<String>>;

impl<T> UnsignedParts<T> {
    fn map<'s, R>(&'s self, of: impl Fn(&'s T) -> R) -> UnsignedParts<R> {
        UnsignedParts { id: of(&self.id), source: of(&self.source), kind: of(&self.kind), time: of(&self.time) }
    }
}

impl UnsignedNames {
    /// Finds the headers in a request, without copying them.
    pub(crate) fn find<'h>(&self, headers: &'h (impl Headers + ?Sized)) -> UnsignedValues<'h> {
        self.map(|name| name.as_ref().map_or(Found::Absent, |name| headers.find(name)))
    }
}

#[cfg(feature = "inbox")]
impl UnsignedValues<'_> {
    /// Returns the values as they are stored.
    pub(crate) fn to_stored(&self) -> StoredUnsigned {
        self.map(|found| text(*found).ok().map(str::to_owned))
    }
}

#[cfg(feature = "inbox")]
impl StoredUnsigned {
    /// Returns the values as they were found in the request.
    pub(crate) fn as_found(&self) -> UnsignedValues<'_> {
        self.map(|stored| stored.as_ref().map_or(Found::Absent, |text| Found::Once(text.as_bytes())))
    }
}

/// The length of the longest value that is read, in bytes. An inbox stores them.
const LONGEST_VALUE: usize = 256;

/// Returns the value of a header that occurs once, is neither empty nor too long, and consists of visible ASCII and
/// spaces.
pub(crate) fn text(found: Found<'_>) -> Result<&str, PointerFault> {
    let value = match found {
        Found::Absent => return Err(PointerFault::HeaderMissing),
        Found::Repeated => return Err(PointerFault::HeaderRepeated),
        Found::Once([]) => return Err(PointerFault::HeaderEmpty),
        Found::Once(value) if value.len() > LONGEST_VALUE => return Err(PointerFault::HeaderTooLong),
        Found::Once(value) => value,
    };
    let is_plain = value.iter().all(|byte| *byte == b' ' || byte.is_ascii_graphic());
    str::from_utf8(value).ok().filter(|_| is_plain).ok_or(PointerFault::HeaderNotVisibleAscii)
}

/// Returns the value of a header as [`text`] does, but without spaces.
pub(crate) fn word(found: Found<'_>) -> Result<&str, PointerFault> {
    text(found).and_then(|text| if text.contains(' ') { Err(PointerFault::HeaderNotVisibleAscii) } else { Ok(text) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_usable_if_it_occurs_once_and_is_short_visible_ascii() {
        let (longest, too_long) = ("i".repeat(256), "i".repeat(257));
        for (found, expected) in [
            (Found::Once(b"!evt-1~"), Ok("!evt-1~")),
            (Found::Once(longest.as_bytes()), Ok(&*longest)),
            (Found::Once(too_long.as_bytes()), Err(PointerFault::HeaderTooLong)),
            (Found::Once(b""), Err(PointerFault::HeaderEmpty)),
            (Found::Absent, Err(PointerFault::HeaderMissing)),
            (Found::Repeated, Err(PointerFault::HeaderRepeated)),
            (Found::Once(b"evt 1"), Err(PointerFault::HeaderNotVisibleAscii)),
            (Found::Once(b"evt-1\t"), Err(PointerFault::HeaderNotVisibleAscii)),
            (Found::Once(b"evt-1\x7f"), Err(PointerFault::HeaderNotVisibleAscii)),
            (Found::Once("évt".as_bytes()), Err(PointerFault::HeaderNotVisibleAscii)),
            (Found::Once(b"evt\xff"), Err(PointerFault::HeaderNotVisibleAscii)),
        ] {
            assert_eq!(word(found), expected);
        }
        assert_eq!(text(Found::Once(b"evt 1")), Ok("evt 1"));
    }

    #[test]
    fn only_headers_that_an_option_reads_are_found() {
        let names = UnsignedNames { kind: Some(HeaderName::from_static("x-kind")), ..UnsignedNames::default() };
        let headers = [("X-Kind", "ready"), ("x-id", "1"), ("ce-id", "1")];
        let values = names.find(&headers);
        assert_eq!(values.kind, Found::Once(b"ready"));
        assert_eq!([values.id, values.source, values.time], [Found::Absent; 3]);
    }

    #[cfg(feature = "inbox")]
    #[test]
    fn usable_values_are_found_again_in_the_inbox_and_others_are_absent() {
        let values = UnsignedValues {
            id: Found::Once(b"\"evt 1\""),
            source: Found::Repeated,
            kind: Found::Once(b"\xff"),
            time: Found::Absent,
        };
        let stored = values.to_stored();
        assert!(
            stored.as_found()
                == UnsignedValues { id: values.id, ..UnsignedParts::<Option<String>>::default().as_found() }
        );
        let json = serde_json::to_string(&stored).unwrap();
        assert_eq!(json, r#"{"id":"\"evt 1\"","source":null,"kind":null,"time":null}"#);
        assert!(serde_json::from_str::<StoredUnsigned>(&json).unwrap() == stored);
    }
}
