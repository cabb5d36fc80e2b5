//! Reading envelopes from JSON.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::envelope::{KindName, Mode, Problem};
use crate::time::Time;

/// Parses an envelope, which must be a JSON object.
pub(crate) fn envelope_of<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, Problem> {
    let text = str::from_utf8(body).map_err(|_| Problem::new("not UTF-8"))?;
    // serde also reads structs from arrays.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(Problem::new("not a JSON object"));
    }
    serde_json::from_str(text).map_err(|error| Problem::json(&error))
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
    /// Reads one value. A value that is valid only by the JSON grammar (`1e999`, an unpaired surrogate) is absent, and
    /// does not affect other values.
    pub(crate) fn of(raw: &'b RawValue) -> Self {
        // A string without escapes needs no second parse: the first one already found its end.
        let quoted = raw.get().strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        if let Some(text) = quoted.filter(|text| !text.contains('\\')) {
            return Scalar((!text.is_empty()).then_some(Cow::Borrowed(text)));
        }
        Self::visited(&mut serde_json::Deserializer::from_str(raw.get())).unwrap_or_default()
    }

    fn visited<'de: 'b, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
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

impl<'de: 'b, 'b> Deserialize<'de> for Scalar<'b> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(Scalar::of)
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
