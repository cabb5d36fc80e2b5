//! Health data that `Debug` output does not show.

use std::fmt;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// Protected health information: a wrapper that hides its value from `Debug`.
///
/// The leaves of events are wrapped in it, so that events can be matched and logged without exposing patients.
///
/// - [`expose`](Phi::expose) and [`into_exposed`](Phi::into_exposed) return the value.
/// - `Serialize` writes the value, because applications store and forward events as JSON. Do not log the result.
/// - `Debug` prints `Phi(..)`.
/// - There is no `Display` and no `Deref`, so a value cannot be printed or used by accident.
/// - A comparison, with another `Phi` or with a string, needs no access to the value.
///
/// A search for `expose` therefore finds every place that reads the value, except those that serialize it. Outside of
/// `Phi`, health data is returned by [`Time::text`](crate::Time::text), by [`RawJson::as_bytes`] and
/// [`RawJson::decode`], and by the `as_str` of an enum of strings, if its value is undocumented.
///
/// ```
/// use medhook::Phi;
///
/// let name: Phi<String> = "A. Patient".into();
/// assert_eq!(format!("{name:?}"), "Phi(..)");
/// assert_eq!(name, "A. Patient");
/// assert_eq!(name.expose().len(), 10);
/// assert_eq!(serde_json::to_string(&name)?, r#""A. Patient""#);
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// Neither the wrapper nor a dereference of it can be printed:
///
/// ```compile_fail,E0277
/// let name: medhook::Phi<String> = "A. Patient".into();
/// println!("{}", name);
/// ```
///
/// ```compile_fail,E0614
/// let name: medhook::Phi<String> = "A. Patient".into();
/// println!("{}", *name);
/// ```
///
/// ```compile_fail,E0599
/// let name: medhook::Phi<String> = "A. Patient".into();
/// println!("{}", name.as_str());
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Phi<T>(T);

impl<T> Phi<T> {
    /// Wraps a value.
    pub const fn new(value: T) -> Self {
        Phi(value)
    }

    /// Returns the value. Do not log it.
    pub const fn expose(&self) -> &T {
        &self.0
    }

    /// Returns the value, consuming the wrapper. Do not log it.
    #[doc(alias = "into_inner")]
    pub fn into_exposed(self) -> T {
        self.0
    }
}

impl<T> From<T> for Phi<T> {
    fn from(value: T) -> Self {
        Phi(value)
    }
}

impl From<&str> for Phi<String> {
    fn from(text: &str) -> Self {
        Phi(text.to_owned())
    }
}

impl<T: PartialEq<str>> PartialEq<str> for Phi<T> {
    fn eq(&self, other: &str) -> bool {
        self.0 == *other
    }
}

impl<T: PartialEq<str>> PartialEq<&str> for Phi<T> {
    fn eq(&self, other: &&str) -> bool {
        self.0 == **other
    }
}

impl<T> fmt::Debug for Phi<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Phi(..)")
    }
}

impl<T: Serialize> Serialize for Phi<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Phi<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Phi)
    }
}

/// A JSON value exactly as it was sent. `Debug` does not show it.
///
/// Cheap to clone. With `serde_json` it serializes as the value itself.
#[derive(Clone, PartialEq, Eq)]
pub struct RawJson(Bytes);

impl RawJson {
    /// Wraps bytes that a parser has accepted as one JSON value.
    pub(crate) fn accepted(bytes: Bytes) -> Self {
        RawJson(bytes)
    }

    /// Returns the JSON text of the value.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Decodes the value as a type of your own.
    ///
    /// # Errors
    /// Returns the error of `serde_json`. Its text may quote the value, so do not log it.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.0)
    }
}

impl Default for RawJson {
    /// Returns `null`.
    fn default() -> Self {
        RawJson(Bytes::from_static(b"null"))
    }
}

impl fmt::Debug for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RawJson(..)")
    }
}

impl Serialize for RawJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value: &RawValue = serde_json::from_slice(&self.0).map_err(serde::ser::Error::custom)?;
        value.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RawJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Box::<RawValue>::deserialize(deserializer)?;
        Ok(RawJson(String::from(Box::<str>::from(value)).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_json_round_trips_byte_for_byte() {
        let text = r#"{"b": 1,"a":[1.0, "é\/"]}"#;
        let raw: RawJson = serde_json::from_str(text).unwrap();
        assert_eq!(raw.as_bytes(), text.as_bytes());
        assert_eq!(serde_json::to_string(&raw).unwrap(), text);
        assert_eq!(format!("{raw:?}"), "RawJson(..)");
    }
}
