//! What natural keys are made of: parts of a body, exactly as they stand in it, so that no two of them become one by
//! being rounded or normalized.

use std::fmt;

use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A part of a body; `None` where it is absent or `null`.
pub(super) type Part<'b> = Option<&'b RawValue>;

/// The members of an object by these names, read in one pass. All of them are absent where the object is.
///
/// `None` where there is no telling: the value is no object, or one of the names stands twice in it.
pub(super) fn members<'b, const N: usize>(object: Part<'b>, names: [&str; N]) -> Option<[Part<'b>; N]> {
    match object {
        None => Some([None; N]),
        Some(raw) => Members(names).deserialize(&mut serde_json::Deserializer::from_str(raw.get())).ok().flatten(),
    }
}

/// A part that has to be there: a number, or a text that is not empty.
pub(super) fn scalar(part: Part<'_>) -> Part<'_> {
    part.filter(|raw| matches!(raw.get().as_bytes(), [b'"', _, _, ..] | [b'-' | b'0'..=b'9', ..]))
}

/// A part that has to be there: an object.
pub(super) fn object(part: Part<'_>) -> Part<'_> {
    part.filter(|raw| raw.get().starts_with('{'))
}

/// Writes a key as JSON, which keeps its parts apart, whatever they hold. An absent part is `null`.
pub(super) fn written(kind: &str, parts: &impl Serialize) -> Option<String> {
    serde_json::to_string(&(kind, parts)).ok()
}

/// A visitor, because a map of serde's keeps one of two members with the same name and does not say so.
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
    fn members_are_read_exactly_as_they_stand() {
        assert_eq!(read(r#"{"c": 1, "b": 1.50, "a":  "\u00e9" }"#), Some([Some(r#""\u00e9""#), Some("1.50")]));
        assert_eq!(read(r#"{"\u0061": [1, 2], "b": null}"#), Some([Some("[1, 2]"), None]));
        assert_eq!(read("{}"), Some([None, None]));
        assert_eq!(members(None, ["a"]).map(|[part]| part.is_none()), Some(true));
    }

    #[test]
    fn a_member_that_stands_twice_or_no_object_is_unreadable() {
        for json in [r#"{"a": 1, "a": 1}"#, r#"{"a": null, "a": 1}"#, r#"{"a": 1, "\u0061": 1}"#, "[1, 2]", "7", "true"]
        {
            assert_eq!(read(json), None, "{json}");
        }
        assert_eq!(read(r#"{"c": 1, "c": 2, "a": 3}"#), Some([Some("3"), None]));
    }

    #[test]
    fn required_parts_are_texts_and_numbers_or_objects() {
        for json in [r#""a""#, r#"" ""#, "0", "-1", "1e400", "123456789012345678901234567890", "0.5"] {
            assert!(scalar(Some(raw(json))).is_some() && object(Some(raw(json))).is_none(), "{json}");
        }
        for json in [r#""""#, "true", "false", "[]", "{}"] {
            assert!(scalar(Some(raw(json))).is_none(), "{json}");
        }
        assert!(object(Some(raw("{}"))).is_some() && object(Some(raw("[]"))).is_none());
    }

    #[test]
    fn keys_keep_their_parts_apart() {
        let key = |parts: [Option<&str>; 2]| written("kind", &parts.map(|part| part.map(raw))).unwrap();
        assert_eq!(key([Some(r#""a""#), None]), r#"["kind",["a",null]]"#);
        assert_ne!(key([Some(r#""a\",\"b""#), Some(r#""c""#)]), key([Some(r#""a""#), Some(r#""b\",\"c""#)]));
        assert_ne!(key([None, Some("1")]), key([Some("1"), None]));
    }
}
