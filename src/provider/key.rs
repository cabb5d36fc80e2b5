//! Parts of natural keys. They are used exactly as they appear in a body, so that rounding or normalization cannot make
//! two keys equal.

use std::fmt;

use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A part of a body; `None` where it is absent or `null`.
pub(super) type Part<'b> = Option<&'b RawValue>;

/// Reads the members of an object with these names in one pass. If the object is absent, so are all members.
///
/// Returns `None` if the value is not an object, or if it contains one of the names twice.
pub(super) fn members<'b, const N: usize>(object: Part<'b>, names: [&str; N]) -> Option<[Part<'b>; N]> {
    match object {
        None => Some([None; N]),
        Some(raw) => Members(names).deserialize(&mut serde_json::Deserializer::from_str(raw.get())).ok().flatten(),
    }
}

/// Returns the part if it is a number or a non-empty string.
pub(super) fn scalar(part: Part<'_>) -> Part<'_> {
    part.filter(|raw| matches!(raw.get().as_bytes(), [b'"', _, _, ..] | [b'-' | b'0'..=b'9', ..]))
}

/// Returns the part if it is an object.
pub(super) fn object(part: Part<'_>) -> Part<'_> {
    part.filter(|raw| raw.get().starts_with('{'))
}

/// Writes a key as JSON, which delimits its parts unambiguously. An absent part is `null`.
pub(super) fn written(kind: &str, parts: &impl Serialize) -> Option<String> {
    serde_json::to_string(&(kind, parts)).ok()
}

/// A visitor that detects duplicate names, which serde's maps silently merge.
struct Members<'n, const N: usize>([&'n str; N]);

impl<'de, const N: usize> DeserializeSeed<'de> for Members<'_, N> {
    type Value = Option<[Part<'de>; N]>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Members<'_, N> {
    type Value = Option<[Part<'de>; N]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        let mut twice = false;
        while let Some(key) = object.next_key::<crate::payload::Name<'de>>()? {
            match self.0.iter().zip(&mut found).find(|(name, _)| **name == key.0) {
                Some((_, part)) => twice |= part.replace(object.next_value::<&RawValue>()?).is_some(),
                None => drop(object.next_value::<IgnoredAny>()?),
            }
        }
        Ok((!twice).then(|| found.map(|part| part.filter(|raw| raw.get() != "null"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).unwrap()
    }

    fn read(json: &str) -> Option<[Option<&str>; 2]> {
        members(Some(raw(json)), ["a", "b"]).map(|found| found.map(|part| part.map(RawValue::get)))
    }

    #[test]
    fn members_are_read_exactly_as_sent() {
        assert_eq!(read(r#"{"c": 1, "b": 1.50, "a":  "\u00e9" }"#), Some([Some(r#""\u00e9""#), Some("1.50")]));
        assert_eq!(read(r#"{"\u0061": [1, 2], "b": null}"#), Some([Some("[1, 2]"), None]));
        assert_eq!(read("{}"), Some([None, None]));
        assert_eq!(members(None, ["a"]).map(|[part]| part.is_none()), Some(true));
    }

    #[test]
    fn duplicate_members_and_non_objects_are_unreadable() {
        for json in [r#"{"a": 1, "a": 1}"#, r#"{"a": null, "a": 1}"#, r#"{"a": 1, "\u0061": 1}"#, "[1, 2]", "7", "true"]
        {
            assert_eq!(read(json), None, "{json}");
        }
        assert_eq!(read(r#"{"c": 1, "c": 2, "a": 3}"#), Some([Some("3"), None]));
    }

    #[test]
    fn required_parts_are_scalars_or_objects() {
        for json in [r#""a""#, r#"" ""#, "0", "-1", "1e400", "123456789012345678901234567890", "0.5"] {
            assert!(scalar(Some(raw(json))).is_some() && object(Some(raw(json))).is_none(), "{json}");
        }
        for json in [r#""""#, "true", "false", "[]", "{}"] {
            assert!(scalar(Some(raw(json))).is_none(), "{json}");
        }
        assert!(object(Some(raw("{}"))).is_some() && object(Some(raw("[]"))).is_none());
    }

    #[test]
    fn keys_with_different_parts_are_different() {
        let key = |parts: [Option<&str>; 2]| written("kind", &parts.map(|part| part.map(raw))).unwrap();
        assert_eq!(key([Some(r#""a""#), None]), r#"["kind",["a",null]]"#);
        assert_ne!(key([Some(r#""a\",\"b""#), Some(r#""c""#)]), key([Some(r#""a""#), Some(r#""b\",\"c""#)]));
        assert_ne!(key([None, Some("1")]), key([Some("1"), None]));
    }
}
