//! Decoding of payloads that deviate from their documentation.
//!
//! A provider's payloads drift: a number becomes a string, a field goes missing, a new one appears. A value that cannot
//! be read costs its own field, never the event, and its path is recorded as [`Drift`]. Decoding is one pass without an
//! intermediate tree. If an object contains a key twice, the last value is used.
//!
//! Types with serde's derive would need 13,420 instructions for the event of `scripts/count`, where these need 15,447
//! (`verify + envelope + event` less `verify + envelope`). But one wrong value would fail the whole type; see
//! `a_drifted_field_costs_itself_and_is_named`.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Phi, RawJson, Time};

/// The places where a payload deviates from the documentation. Paths contain documented field names and indices, with
/// `*` for map keys, but never a value.
#[derive(Default)]
pub(crate) struct Drift {
    /// Each path from its last step to its first. Paths are built while returning from nested values, so a payload
    /// without drift, which is nearly every payload, has no cost.
    found: Vec<Vec<PathStep>>,
    levels: usize,
    one_by_one: bool,
}

#[derive(Clone, Copy)]
pub(crate) enum PathStep {
    Field(&'static str),
    Index(usize),
    AnyKey,
}

impl Drift {
    /// Creates the state for a second pass, which parses every value separately. A value that is valid only by the JSON
    /// grammar (`1e999`, an unpaired surrogate) then costs only its own field.
    pub(crate) fn one_by_one() -> Self {
        Drift { one_by_one: true, ..Drift::default() }
    }

    /// Returns the paths, at most [`MOST_PATHS`].
    pub(crate) fn into_paths(self) -> Vec<Box<str>> {
        self.found.iter().map(|steps| path(steps).into()).collect()
    }

    fn note(&mut self) {
        if self.found.len() < MOST_PATHS {
            self.found.push(Vec::new());
        }
    }

    pub(crate) fn within<T>(&mut self, step: PathStep, read: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.found.len();
        let value = read(self);
        if self.found.len() > before {
            self.add_step(before, step);
        }
        value
    }

    /// Out of line, as is `read_alone`: together this saves 684 instructions (2 %) per event (`scripts/count`).
    #[cold]
    fn add_step(&mut self, before: usize, step: PathStep) {
        self.found.iter_mut().skip(before).for_each(|steps| steps.push(step));
    }
}

fn path(steps: &[PathStep]) -> String {
    let mut path = String::new();
    for step in steps.iter().rev() {
        let dot = if path.is_empty() { "" } else { "." };
        match step {
            PathStep::Field(name) => path.extend([dot, name]),
            PathStep::Index(index) => path.push_str(&format!("[{index}]")),
            PathStep::AnyKey => path.extend([dot, "*"]),
        }
    }
    path
}

const MOST_PATHS: usize = 16;

/// The maximum length of a list. Two bytes of a list can take hundreds of bytes in memory. The body is kept in full.
const MOST_ELEMENTS: usize = 10_000;

/// The maximum depth of values that are parsed separately. Documented payloads have fewer than ten levels.
const MOST_LEVELS: usize = 16;

/// A type that can be read from some JSON types. Reading returns `None` for a value of any other type.
pub(crate) trait FromPayload: Sized {
    /// Reads a string.
    fn text(_: &str) -> Option<Self> {
        None
    }

    /// Reads a whole number.
    fn integer(_: i128) -> Option<Self> {
        None
    }

    /// Reads a boolean.
    fn boolean(_: bool) -> Option<Self> {
        None
    }

    /// Reads an array.
    ///
    /// # Errors
    /// Returns an error only for malformed JSON.
    fn array<'de, A: SeqAccess<'de>>(mut array: A, _: &mut Drift) -> Result<Option<Self>, A::Error> {
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    /// Reads an object.
    ///
    /// # Errors
    /// Returns an error only for malformed JSON.
    fn object<'de, A: MapAccess<'de>>(mut object: A, _: &mut Drift) -> Result<Option<Self>, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    /// Reads any value and records drift if its type is wrong. `null` and `""` are absent values, not drift.
    ///
    /// # Errors
    /// Returns an error only for malformed JSON.
    fn read<'de, D: Deserializer<'de>>(deserializer: D, drift: &mut Drift) -> Result<Option<Self>, D::Error> {
        deserializer.deserialize_any(Reading { drift, into: PhantomData })
    }
}

struct Reading<'d, T> {
    drift: &'d mut Drift,
    into: PhantomData<T>,
}

impl<T> Reading<'_, T> {
    fn or_drift<E>(self, value: Result<Option<T>, E>) -> Result<Option<T>, E> {
        if let Ok(None) = value {
            self.drift.note();
        }
        value
    }
}

impl<'de, T: FromPayload> Visitor<'de> for Reading<'_, T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        if text.is_empty() { Ok(None) } else { self.or_drift(Ok(T::text(text))) }
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        self.or_drift(Ok(T::integer(number.into())))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        self.or_drift(Ok(T::integer(number.into())))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        // No documented field is a fraction, and a whole number of this size has already lost digits.
        self.or_drift(Ok(None))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        self.or_drift(Ok(T::boolean(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, array: A) -> Result<Self::Value, A::Error> {
        let value = T::array(array, self.drift);
        self.or_drift(value)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Self::Value, A::Error> {
        let value = T::object(object, self.drift);
        self.or_drift(value)
    }
}

impl FromPayload for String {
    fn text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }

    /// Reads a number as text, because some providers send numeric ids.
    fn integer(number: i128) -> Option<Self> {
        Some(number.to_string())
    }
}

impl FromPayload for u64 {
    fn integer(number: i128) -> Option<Self> {
        number.try_into().ok()
    }
}

impl FromPayload for bool {
    fn boolean(value: bool) -> Option<Self> {
        Some(value)
    }
}

impl FromPayload for Time {
    fn text(text: &str) -> Option<Self> {
        Some(Time::from(text))
    }

    fn integer(number: i128) -> Option<Self> {
        i64::try_from(number).ok().map(Time::from_unix)
    }
}

impl FromPayload for RawJson {
    fn read<'de, D: Deserializer<'de>>(deserializer: D, _: &mut Drift) -> Result<Option<Self>, D::Error> {
        let raw = <RawJson as serde::Deserialize>::deserialize(deserializer)?;
        Ok(if raw.as_bytes() == b"null" { None } else { Some(raw) })
    }
}

/// Implements [`FromPayload`] for wrappers, which read as their content.
macro_rules! wrappers {
    ($($Wrapper:ident)*) => {$(
        impl<T: FromPayload> FromPayload for $Wrapper<T> {
            fn text(text: &str) -> Option<Self> {
                T::text(text).map($Wrapper::new)
            }

            fn integer(number: i128) -> Option<Self> {
                T::integer(number).map($Wrapper::new)
            }

            fn boolean(value: bool) -> Option<Self> {
                T::boolean(value).map($Wrapper::new)
            }

            fn array<'de, A: SeqAccess<'de>>(array: A, drift: &mut Drift) -> Result<Option<Self>, A::Error> {
                Ok(T::array(array, drift)?.map($Wrapper::new))
            }

            fn object<'de, A: MapAccess<'de>>(object: A, drift: &mut Drift) -> Result<Option<Self>, A::Error> {
                Ok(T::object(object, drift)?.map($Wrapper::new))
            }
        }
    )*};
}
wrappers!(Phi Box);

impl<T: FromPayload> FromPayload for Vec<T> {
    fn array<'de, A: SeqAccess<'de>>(mut array: A, drift: &mut Drift) -> Result<Option<Self>, A::Error> {
        let mut values = Vec::new();
        for index in 0..MOST_ELEMENTS {
            let element =
                drift.within(PathStep::Index(index), |drift| array.next_element_seed(Seed::<T>::new(drift)))?;
            match element {
                Some(Some(value)) => values.push(value),
                Some(None) => {}
                None => return Ok(Some(values)),
            }
        }
        let mut more = false;
        while array.next_element::<IgnoredAny>()?.is_some() {
            more = true;
        }
        Ok((!more).then_some(values))
    }

    /// Reads a single object as a list of one.
    fn object<'de, A: MapAccess<'de>>(object: A, drift: &mut Drift) -> Result<Option<Self>, A::Error> {
        Ok(T::object(object, drift)?.map(|one| vec![one]))
    }
}

impl<T: FromPayload> FromPayload for BTreeMap<String, T> {
    fn object<'de, A: MapAccess<'de>>(mut object: A, drift: &mut Drift) -> Result<Option<Self>, A::Error> {
        let mut values = BTreeMap::new();
        while let Some(key) = object.next_key::<String>()? {
            if let Some(value) =
                drift.within(PathStep::AnyKey, |drift| object.next_value_seed(Seed::<T>::new(drift)))?
            {
                values.insert(key, value);
            }
        }
        Ok(Some(values))
    }
}

/// Reads a [`FromPayload`] value where serde wants a seed.
struct Seed<'d, T>(Reading<'d, T>);

impl<'d, T> Seed<'d, T> {
    fn new(drift: &'d mut Drift) -> Self {
        Seed(Reading { drift, into: PhantomData })
    }
}

impl<'de, T: FromPayload> DeserializeSeed<'de> for Seed<'_, T> {
    type Value = Option<T>;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let drift = self.0.drift;
        if drift.one_by_one { read_alone(deserializer, drift) } else { T::read(deserializer, drift) }
    }
}

/// Reads a value with a parser of its own.
#[cold]
fn read_alone<'de, T: FromPayload, D: Deserializer<'de>>(
    deserializer: D,
    drift: &mut Drift,
) -> Result<Option<T>, D::Error> {
    let raw = <&RawValue>::deserialize(deserializer)?;
    // serde_json's depth limit does not apply to values that are parsed separately.
    if drift.levels >= MOST_LEVELS {
        drift.note();
        return Ok(None);
    }
    drift.levels = drift.levels.saturating_add(1);
    let value = T::read(&mut serde_json::Deserializer::from_str(raw.get()), drift);
    drift.levels = drift.levels.saturating_sub(1);
    Ok(value.unwrap_or_else(|_| {
        drift.note();
        None
    }))
}

/// A field of a payload: an option or a list.
pub(crate) trait Field: Serialize + Sized {
    /// The type of the value.
    type Value: FromPayload;

    /// Sets the value, or clears the field.
    fn set(&mut self, value: Option<Self::Value>);

    /// Returns whether the field is omitted when the payload is written.
    fn is_absent(&self) -> bool;
}

impl<T: FromPayload + Serialize> Field for Option<T> {
    type Value = T;

    fn set(&mut self, value: Option<T>) {
        *self = value;
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<T: FromPayload + Serialize> Field for Vec<T> {
    type Value = Vec<T>;

    fn set(&mut self, value: Option<Vec<T>>) {
        *self = value.unwrap_or_default();
    }

    fn is_absent(&self) -> bool {
        self.is_empty()
    }
}

/// Reads the value of a field.
///
/// # Errors
/// Returns an error only for malformed JSON.
pub(crate) fn field<'de, F: Field, A: MapAccess<'de>>(
    field: &mut F,
    name: &'static str,
    object: &mut A,
    drift: &mut Drift,
) -> Result<(), A::Error> {
    let value = drift.within(PathStep::Field(name), |drift| object.next_value_seed(Seed::<F::Value>::new(drift)))?;
    field.set(value);
    Ok(())
}

/// A key of an object, borrowed if it contains no escapes.
#[derive(Deserialize)]
pub(crate) struct Name<'b>(#[serde(borrow)] pub(crate) Cow<'b, str>);

/// Reads the value of a key without a field: into `rest` unchanged, including `null`, or skips it if there is no
/// `rest`.
///
/// # Errors
/// Returns an error only for malformed JSON.
pub(crate) fn other_key<'de, A: MapAccess<'de>>(
    rest: Option<&mut BTreeMap<String, RawJson>>,
    key: Name<'_>,
    object: &mut A,
) -> Result<(), A::Error> {
    match rest {
        Some(rest) => drop(rest.insert(key.0.into_owned(), object.next_value()?)),
        None => drop(object.next_value::<IgnoredAny>()?),
    }
    Ok(())
}

/// Declares a payload: a struct whose fields name the keys they are read from. The first key is used for writing. A
/// field after `..` keeps all other keys unchanged, for objects with incomplete documentation. With `or text as field`,
/// a bare string (or number) in place of the object is read as that field.
macro_rules! payload {
    ($($(#[$doc:meta])* $vis:vis struct $Name:ident $(or text as $text:ident)? {
        $($(#[$field_doc:meta])* pub $field:ident: $Type:ty = $key:literal $(| $alias:literal)*,)*
        $(.. $(#[$rest_doc:meta])* pub $rest:ident,)?
    })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq)]
        #[non_exhaustive]
        $vis struct $Name {
            $($(#[$field_doc])* pub $field: $Type,)*
            $($(#[$rest_doc])* pub $rest: $crate::Phi<std::collections::BTreeMap<String, $crate::RawJson>>,)?
        }

        impl $crate::payload::FromPayload for $Name {
            $(
                fn text(text: &str) -> Option<Self> {
                    Some($Name { $text: Some($crate::payload::FromPayload::text(text)?), ..Self::default() })
                }

                fn integer(number: i128) -> Option<Self> {
                    Some($Name { $text: Some($crate::payload::FromPayload::integer(number)?), ..Self::default() })
                }
            )?

            fn object<'de, A: serde::de::MapAccess<'de>>(
                mut object: A,
                drift: &mut $crate::payload::Drift,
            ) -> Result<Option<Self>, A::Error> {
                let mut payload = $Name::default();
                $(let mut $rest = std::collections::BTreeMap::new();)?
                while let Some(key) = object.next_key::<$crate::payload::Name<'de>>()? {
                    match &*key.0 {
                        $($key $(| $alias)* => $crate::payload::field(&mut payload.$field, $key, &mut object, drift)?,)*
                        _ => $crate::payload::other_key(None$(.or(Some(&mut $rest)))?, key, &mut object)?,
                    }
                }
                $(payload.$rest = $crate::Phi::new($rest);)?
                Ok(Some(payload))
            }
        }

        impl serde::Serialize for $Name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap;
                let mut object = serializer.serialize_map(None)?;
                $(if !$crate::payload::Field::is_absent(&self.$field) {
                    object.serialize_entry($key, &self.$field)?;
                })*
                $(for (key, value) in self.$rest.expose().iter() {
                    object.serialize_entry(key, value)?;
                })?
                object.end()
            }
        }

        impl<'de> serde::Deserialize<'de> for $Name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let mut drift = $crate::payload::Drift::default();
                <$Name as $crate::payload::FromPayload>::read(deserializer, &mut drift)?
                    .ok_or_else(|| serde::de::Error::custom("not an object"))
            }
        }
    )+};
}
pub(crate) use payload;

/// Declares an open enum of strings, which keeps undocumented values unchanged.
macro_rules! open_enum {
    ($(#[$doc:meta])* pub enum $Name:ident { $($(#[$variant_doc:meta])* $Variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum $Name {
            $($(#[$variant_doc])* $Variant,)*
            /// An undocumented value.
            Other($crate::Phi<String>),
        }

        impl $Name {
            /// Returns the value as sent. An undocumented value can be health data: do not log it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $($Name::$Variant => $text,)*
                    $Name::Other(text) => text.expose(),
                }
            }
        }

        impl From<&str> for $Name {
            fn from(text: &str) -> Self {
                match text {
                    $($text => $Name::$Variant,)*
                    other => $Name::Other(other.into()),
                }
            }
        }

        impl $crate::payload::FromPayload for $Name {
            fn text(text: &str) -> Option<Self> {
                Some(text.into())
            }
        }

        impl serde::Serialize for $Name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $Name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <String as serde::Deserialize>::deserialize(deserializer).map(|text| $Name::from(text.as_str()))
            }
        }
    };
}
pub(crate) use open_enum;

#[cfg(test)]
mod tests {
    use super::*;

    payload! {
        /// Outer.
        struct Outer {
            /// Id.
            pub id: Option<Phi<String>> = "id" | "ID",
            /// Count.
            pub count: Option<Phi<u64>> = "count",
            /// List.
            pub list: Vec<InnerPayload> = "list",
            /// Map.
            pub map: Option<Phi<BTreeMap<String, u64>>> = "map",
        }

        /// An inner payload.
        struct InnerPayload {
            /// When.
            pub when: Option<Time> = "when",
        }

        /// A payload that may be sent as a string.
        struct Code or text as code {
            /// Code.
            pub code: Option<Phi<String>> = "code",
            /// When.
            pub when: Option<Box<Time>> = "when",
        }

        /// A payload that keeps all other keys.
        struct Whole {
            /// Id.
            pub id: Option<Phi<String>> = "id",
            ..
            /// Other keys.
            pub rest,
        }
    }

    fn read<T: FromPayload>(json: &str) -> (T, Vec<Box<str>>) {
        let mut drift = Drift::default();
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let outer = T::read(&mut deserializer, &mut drift).expect("well-formed JSON").expect("an object");
        deserializer.end().expect("read to its end");
        (outer, drift.into_paths())
    }

    #[test]
    fn a_drifted_field_costs_itself_and_is_named() {
        let (outer, drift) = read::<Outer>(
            r#"{"new": {"deep": [1]}, "id": 7, "count": "many", "list": [{"when": 5}, "x", {"when": {}}], "map": {"A": 1, "B": "b"}}"#,
        );
        assert_eq!(outer.id.unwrap(), "7");
        assert_eq!(outer.count, None);
        assert_eq!(outer.list, [InnerPayload { when: Some(Time::from_unix(5)) }, InnerPayload::default()]);
        assert_eq!(*outer.map.unwrap().expose(), BTreeMap::from([("A".to_owned(), 1)]));
        assert_eq!(drift.iter().map(|path| &**path).collect::<Vec<_>>(), ["count", "list[1]", "list[2].when", "map.*"]);
    }

    #[test]
    fn null_and_empty_text_are_absent_and_no_drift() {
        let (outer, drift) = read::<Outer>(r#"{"id": "", "count": null, "list": null, "map": null}"#);
        assert_eq!(outer, Outer::default());
        assert!(drift.is_empty());
    }

    #[test]
    fn aliases_are_read_and_the_first_name_is_written() {
        let (outer, _) = read::<Outer>(r#"{"ID": "a"}"#);
        assert_eq!(serde_json::to_string(&outer).unwrap(), r#"{"id":"a"}"#);
    }

    #[test]
    fn a_single_object_is_a_list_of_one_but_a_single_string_is_drift() {
        let (outer, drift) = read::<Outer>(r#"{"list": {"when": 5, "new": 1}}"#);
        assert_eq!(outer.list, [InnerPayload { when: Some(Time::from_unix(5)) }]);
        assert!(drift.is_empty());
        let (outer, drift) = read::<Outer>(r#"{"list": "5"}"#);
        assert_eq!((outer, &*drift[0]), (Outer::default(), "list"));
        let (ids, drift) = read::<BTreeMap<String, Vec<String>>>(r#"{"ids": {"0": "a"}}"#);
        assert_eq!((ids.len(), &*drift[0]), (0, "*"));
    }

    #[test]
    fn a_bare_string_is_read_as_its_object() {
        let (codes, drift) = read::<BTreeMap<String, Vec<Code>>>(
            r#"{"codes": ["A1", 7, {"code": "B2", "when": 5}, {"code": []}, true, ["C3"], "", null]}"#,
        );
        let bare = |text: &str| Code { code: Some(text.into()), when: None };
        let whole = Code { when: Some(Box::new(Time::from_unix(5))), ..bare("B2") };
        assert_eq!(codes["codes"], [bare("A1"), bare("7"), whole, Code::default()]);
        assert_eq!(drift.iter().map(|path| &**path).collect::<Vec<_>>(), ["*[3].code", "*[4]", "*[5]"]);
        assert_eq!(serde_json::to_string(&codes["codes"][0]).unwrap(), r#"{"code":"A1"}"#);
        assert_eq!(serde_json::from_str::<Code>(r#""A1""#).unwrap(), bare("A1"));
    }

    #[test]
    fn rest_keeps_every_other_key_unchanged_and_debug_hides_them() {
        let json = r#"{"id":"a","A. Patient":{"b": [1.0]},"none":null,"twice":1,"twice":"2"}"#;
        let whole: Whole = serde_json::from_str(json).unwrap();
        assert_eq!(whole.rest.expose().keys().collect::<Vec<_>>(), ["A. Patient", "none", "twice"]);
        assert_eq!(whole.rest.expose()["A. Patient"].as_bytes(), br#"{"b": [1.0]}"#);
        assert_eq!(serde_json::to_string(&whole).unwrap(), json.replace(r#""twice":1,"#, ""));
        assert_eq!(format!("{whole:?}"), "Whole { id: Some(Phi(..)), rest: Phi(..) }");
    }

    #[test]
    fn a_number_that_lost_digits_is_not_read_as_an_id() {
        let (outer, drift) = read::<Outer>(r#"{"id": 123456789012345678901234567890}"#);
        assert_eq!(outer.id, None);
        assert_eq!(drift.len(), 1);
    }

    #[test]
    fn a_value_that_is_valid_only_by_the_grammar_costs_its_own_field() {
        use crate::event::Payload;

        let json =
            br#"{"id": "\ud83d cut off", "count": 1e999, "list": [{"when": "\udc00"}, {"when": 5}], "map": {"A": 1}}"#;
        let mut drift = Drift::default();
        let outer = Outer::from_data(&json.as_slice().into(), &mut drift).expect("an object");
        assert_eq!((outer.id, outer.count), (None, None));
        assert_eq!(outer.list, [InnerPayload::default(), InnerPayload { when: Some(Time::from_unix(5)) }]);
        assert_eq!(outer.map.map(|map| map.expose().len()), Some(1));
        let paths: Vec<_> = drift.into_paths();
        assert_eq!(paths.iter().map(|path| &**path).collect::<Vec<_>>(), ["id", "count", "list[0].when"]);
    }

    #[test]
    fn a_list_above_the_maximum_length_costs_itself() {
        let list = |length| format!(r#"{{"id": "a", "list": [{}]}}"#, vec!["{}"; length].join(","));
        let (outer, drift) = read::<Outer>(&list(MOST_ELEMENTS));
        assert_eq!((outer.list.len(), drift.len()), (MOST_ELEMENTS, 0));
        let (outer, drift) = read::<Outer>(&list(MOST_ELEMENTS + 1));
        assert_eq!((outer.id.unwrap().expose().as_str(), outer.list.len(), &*drift[0]), ("a", 0, "list"));
    }

    #[test]
    fn paths_are_bounded_in_number() {
        let json = format!(r#"{{"list": [{}0]}}"#, "1,".repeat(10_000));
        assert_eq!(read::<Outer>(&json).1.len(), MOST_PATHS);
    }
}
