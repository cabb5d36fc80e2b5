//! JSON pointers ([RFC 6901](https://www.rfc-editor.org/rfc/rfc6901)).

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Follows a JSON pointer. Returns `None` at a key that occurs twice in its object, because it is ambiguous.
pub(crate) fn follow<'b>(json: &'b RawValue, pointer: &str) -> Option<&'b RawValue> {
    pointer.split('/').skip(1).try_fold(json, |json, token| {
        let token = token.replace("~1", "/").replace("~0", "~");
        let mut deserializer = serde_json::Deserializer::from_str(json.get());
        PointerToken(&token).deserialize(&mut deserializer).ok().flatten()
    })
}

struct PointerToken<'t>(&'t str);

impl<'de> DeserializeSeed<'de> for PointerToken<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for PointerToken<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        let mut times = 0_u32;
        while let Some(key) = object.next_key::<crate::payload::Name<'de>>()? {
            if key.0 == self.0 {
                found = Some(object.next_value()?);
                times = times.saturating_add(1);
            } else {
                object.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found.filter(|_| times == 1))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        // RFC 6901: an index has neither a sign nor leading zeros.
        let canonical = self.0 == "0" || self.0.starts_with(|first: char| matches!(first, '1'..='9'));
        let wanted: Option<usize> = self.0.parse().ok().filter(|_| canonical);
        let mut found = None;
        for index in 0_usize.. {
            if Some(index) == wanted {
                found = array.next_element()?;
                if found.is_none() {
                    break;
                }
            } else if array.next_element::<IgnoredAny>()?.is_none() {
                break;
            }
        }
        Ok(found)
    }
}

/// Returns the bytes before and after the value at a JSON pointer.
#[cfg(feature = "testing")]
pub(crate) fn pointed_at<'b>(body: &'b bytes::Bytes, pointer: &str) -> Option<(&'b [u8], &'b [u8])> {
    let raw: &RawValue = serde_json::from_slice(body).ok()?;
    let value = follow(raw, pointer).filter(|_| !pointer.is_empty())?.get();
    let start = (value.as_ptr() as usize).checked_sub(body.as_ptr() as usize)?;
    Some((body.get(..start)?, body.get(start.checked_add(value.len())?..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_find_one_value_or_none() {
        let json = r#"{"a": {"b/c": [1, {"~": "x"}]}, "twice": 1, "twice": 2, "n": null}"#;
        let raw: &RawValue = serde_json::from_str(json).unwrap();
        let at = |pointer| follow(raw, pointer).map(RawValue::get);
        assert_eq!(at("/a/b~1c/0"), Some("1"));
        assert_eq!(at("/a/b~1c/1/~0"), Some(r#""x""#));
        assert_eq!(at("/n"), Some("null"));
        for pointer in
            ["/twice", "/a/b~1c/2", "/a/b~1c/x", "/a/b~1c/00", "/a/b~1c/+0", "/a/b~1c/-", "/none", "/n/deeper", "/a/b"]
        {
            assert_eq!(at(pointer), None, "{pointer}");
        }
    }
}
