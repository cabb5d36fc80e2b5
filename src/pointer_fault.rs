//! JSON pointers and unsigned headers of the configuration that lead to no usable value.

use std::fmt;
#[cfg(feature = "tracing")]
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::value::RawValue;

/// The part of the envelope that a JSON pointer or an unsigned header of a [`Custom`](crate::Custom) provider contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PointedPart {
    Id,
    Kind,
    Time,
    Data,
}

impl PointedPart {
    /// Returns the label in metrics.
    #[cfg(any(feature = "metrics", feature = "tracing"))]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            PointedPart::Id => "id",
            PointedPart::Kind => "kind",
            PointedPart::Time => "time",
            PointedPart::Data => "data",
        }
    }

    /// Returns the name of the option that sets the pointer.
    pub(crate) fn option(self) -> &'static str {
        match self {
            PointedPart::Id => "id_pointer",
            PointedPart::Kind => "kind_pointer",
            PointedPart::Time => "time_pointer",
            PointedPart::Data => "data_pointer",
        }
    }
}

/// The sort of thing that a JSON pointer or a header contains instead of a usable value. Never the value, which is the
/// sender's. At most 16 variants: see `is_first`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PointerFault {
    NotJson,
    Nothing,
    Null,
    Boolean,
    Number,
    EmptyText,
    NotUnicode,
    NotATime,
    Array,
    Object,
    HeaderMissing,
    HeaderRepeated,
    HeaderEmpty,
    HeaderTooLong,
    HeaderNotVisibleAscii,
    HeaderMalformed,
}

/// The faults in one body, in the order of the provider's pointers.
pub(crate) type PointerFaults = [Option<PointerFault>; 4];

impl PointerFault {
    /// Returns what is wrong with a JSON value that should be a text or a whole number, or a time.
    fn of(json: Option<&str>) -> Self {
        match json.map(str::as_bytes) {
            None => PointerFault::Nothing,
            Some(br#""""#) => PointerFault::EmptyText,
            Some([b'"', rest @ ..]) if rest.contains(&b'\\') => PointerFault::NotUnicode,
            Some([b'"', ..]) => PointerFault::NotATime,
            Some([b'n', ..]) => PointerFault::Null,
            Some([b't' | b'f', ..]) => PointerFault::Boolean,
            Some([b'[', ..]) => PointerFault::Array,
            Some([b'{', ..]) => PointerFault::Object,
            Some(_) => PointerFault::Number,
        }
    }

    /// Returns what is wrong with the value that a pointer found in a body.
    pub(crate) fn in_body(is_json: bool, found: Option<&RawValue>) -> Self {
        if is_json { PointerFault::of(found.map(RawValue::get)) } else { PointerFault::NotJson }
    }

    /// Returns whether this is a fault of a header and not of a body.
    #[cfg(feature = "tracing")]
    pub(crate) fn is_of_header(self) -> bool {
        self as u32 >= PointerFault::HeaderMissing as u32
    }

    /// Returns whether this fault of a part is seen for the first time, and records it in `seen`.
    #[cfg(feature = "tracing")]
    pub(crate) fn is_first(self, part: PointedPart, seen: &AtomicU64) -> bool {
        let bit = 1_u64 << (16 * part as u32 + self as u32);
        seen.fetch_or(bit, Ordering::Relaxed) & bit == 0
    }
}

impl fmt::Display for PointerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PointerFault::NotJson => "a body that is not JSON",
            PointerFault::Nothing => "nothing (or a key that occurs twice)",
            PointerFault::Null => "null",
            PointerFault::Boolean => "a boolean",
            PointerFault::Number => "a number that is not whole, or too large",
            PointerFault::EmptyText => "an empty text",
            PointerFault::NotUnicode => "a text that is not valid Unicode",
            PointerFault::NotATime => "a text that is not a time",
            PointerFault::Array => "an array",
            PointerFault::Object => "an object",
            PointerFault::HeaderMissing => "no header",
            PointerFault::HeaderRepeated => "a header that occurs more than once",
            PointerFault::HeaderEmpty => "an empty header",
            PointerFault::HeaderTooLong => "a header that is longer than 256 bytes",
            PointerFault::HeaderNotVisibleAscii => "a header that is not visible ASCII",
            PointerFault::HeaderMalformed => "a header that is malformed",
        })
    }
}

#[cfg(all(test, feature = "tracing"))]
mod tests {
    use super::*;

    /// `is_first` has 16 bits for each part.
    #[test]
    fn each_fault_of_each_part_has_a_bit_of_its_own() {
        let seen = AtomicU64::new(0);
        let parts = [PointedPart::Id, PointedPart::Kind, PointedPart::Time, PointedPart::Data];
        for part in parts {
            for fault in [
                PointerFault::NotJson,
                PointerFault::Object,
                PointerFault::HeaderMissing,
                PointerFault::HeaderMalformed,
            ] {
                assert!(fault.is_first(part, &seen), "{part:?}, {fault:?}");
                assert!(!fault.is_first(part, &seen), "{part:?}, {fault:?}");
            }
        }
        assert_eq!(PointerFault::HeaderMalformed as u32, 15, "the last one");
    }
}
