//! Reading envelopes from JSON.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::value::MapDeserializer;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::envelope::{KindName, Mode, Problem};
use crate::time::Time;

/// Parses an envelope, which must be a JSON object. A value that is valid only by the JSON grammar (`1e999`, an
/// unpaired surrogate) is absent, and does not affect other values.
///
/// Such a value costs a second pass. To read each [`Scalar`] as a [`RawValue`] first would take 434 instructions (3 %)
/// more for every envelope (`scripts/count`).
pub(crate) fn envelope_of<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, Problem> {
    let text = str::from_utf8(body).map_err(|_| Problem::new("not UTF-8"))?;
    // serde also reads structs from arrays.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(Problem::new("not a JSON object"));
    }
    serde_json::from_str(text).or_else(|error| without_unreadable(text).ok_or_else(|| Problem::json(&error)))
}

/// Parses an envelope without its values that are valid only by the JSON grammar.
#[cold]
fn without_unreadable<'b, T: Deserialize<'b>>(text: &'b str) -> Option<T> {
    let Members(members) = serde_json::from_str(text).ok()?;
    let readable = members.into_iter().filter(|(_, value)| serde_json::from_str::<Scalar<'_>>(value.get()).is_ok());
    T::deserialize(MapDeserializer::<_, serde_json::Error>::new(readable)).ok()
}

/// The members of an object, in their order and including those with the same key.
struct Members<'b>(Vec<(String, &'b RawValue)>);

impl<'de: 'b, 'b> Deserialize<'de> for Members<'b> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = object.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

/// Returns a parsed part of a body as a slice of it, without copying.
pub(crate) fn part_of(body: &Bytes, part: &RawValue) -> Bytes {
    body.slice_ref(part.get().as_bytes())
}

/// Returns the text of a part of a body that is a [`Scalar`].
pub(super) fn scalar_at(part: Option<&RawValue>) -> Option<Cow<'_, str>> {
    Scalar::of(part?).0
}

/// A string, or a whole number as its digits. `""`, `null` and values of other types are absent.
#[derive(Default)]
pub(crate) struct Scalar<'b>(pub(crate) Option<Cow<'b, str>>);

impl<'b> Scalar<'b> {
    /// Reads one value, which is absent if it is valid only by the JSON grammar.
    fn of(raw: &'b RawValue) -> Self {
        serde_json::from_str(raw.get()).unwrap_or_default()
    }
}

impl<'de: 'b, 'b> Deserialize<'de> for Scalar<'b> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalars;

        impl<'de> Visitor<'de> for Scalars {
            type Value = Scalar<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any JSON value")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Scalar((!text.is_empty()).then_some(Cow::Borrowed(text))))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Scalar((!text.is_empty()).then(|| Cow::Owned(text.to_owned()))))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Scalar(Some(number.to_string().into())))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
                Ok(Scalar(Some(number.to_string().into())))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                // Digits may be lost already, and two ids must not become equal.
                Ok(Scalar(None))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(Scalar(None))
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Scalar(None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
                while array.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Scalar(None))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
                while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Scalar(None))
            }
        }

        deserializer.deserialize_any(Scalars)
    }
}

impl Scalar<'_> {
    pub(crate) fn into_box(self) -> Option<Box<str>> {
        self.0.map(|text| text.into_owned().into())
    }

    /// Returns the kind that the body names, or else the `given` one.
    pub(crate) fn into_kind(
        self,
        given: Option<&str>,
        documented: impl Fn(&str) -> Option<&'static str>,
    ) -> Option<KindName> {
        self.0.or(given.map(Cow::Borrowed)).map(|text| match documented(&text) {
            Some(name) => KindName::documented(name),
            None => KindName::unknown(text.into_owned()),
        })
    }

    pub(crate) fn into_time(self) -> Option<Time> {
        self.0.map(|text| Time::from(&*text))
    }

    pub(crate) fn into_mode(self) -> Option<Mode> {
        self.0.map(|text| Mode::from(&*text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Parts<'b> {
        #[serde(borrow, default)]
        id: Scalar<'b>,
        #[serde(borrow, default)]
        kind: Scalar<'b>,
        #[serde(borrow, default)]
        data: Option<&'b RawValue>,
    }

    fn parts(json: &str) -> Result<[Option<String>; 3], String> {
        let parts: Parts<'_> = envelope_of(json.as_bytes()).map_err(|problem| problem.to_string())?;
        let text = |scalar: Scalar<'_>| scalar.0.map(Cow::into_owned);
        Ok([text(parts.id), text(parts.kind), parts.data.map(|data| data.get().to_owned())])
    }

    #[test]
    fn a_value_that_is_valid_only_by_the_grammar_is_absent_and_affects_no_other() {
        for value in ["1e999", r#""\ud800""#, r#""cut \ud83d off""#, r#"{"\udc00": 1}"#, r#"[{"a": {"\udc00": 1}}]"#] {
            for other in ["", r#""other": 1e999, "#] {
                let json = format!(r#"{{{other}"id": {value}, "kind": "\u0061", "data": {{"a": 1e999}}}}"#);
                let expected = [None, Some("a".to_owned()), Some(r#"{"a": 1e999}"#.to_owned())];
                assert_eq!(parts(&json), Ok(expected), "{json}");
            }
        }
    }

    #[test]
    fn a_scalar_is_a_string_or_a_whole_number() {
        for (value, expected) in [
            (r#""a\nb""#, Some("a\nb")),
            ("-7", Some("-7")),
            ("18446744073709551615", Some("18446744073709551615")),
            ("18446744073709551616", None),
            ("1.0", None),
            ("true", None),
            ("null", None),
            (r#""""#, None),
            (r#"["a", {}]"#, None),
            (r#"{"a": ["b"]}"#, None),
        ] {
            let json = format!(r#"{{"id": {value}, "kind": "k"}}"#);
            assert_eq!(parts(&json), Ok([expected.map(str::to_owned), Some("k".to_owned()), None]), "{json}");
        }
    }

    #[test]
    fn a_body_with_a_key_twice_has_no_envelope_even_with_an_unreadable_value() {
        for json in [r#"{"id": 1, "id": 1}"#, r#"{"id": 1, "id": 1, "kind": 1e999}"#, r#"{"kind": 1e999, "id": 1"#] {
            assert!(parts(json).is_err(), "{json}");
        }
    }
}
