//! Providers that the registry does not know, and a sample of their bodies.

use bytes::Bytes;
use medhook::testing::Signing;
use serde_json::{Map, Value};

use crate::error::EndpointError;

/// A custom provider as an endpoint is configured with it, without secrets.
#[derive(Debug, Clone)]
pub struct CustomProvider {
    /// The scheme of its deliveries.
    pub signing: Signing,
    /// The JSON pointer to the event's id.
    pub id_pointer: Option<String>,
    /// The JSON pointer to the kind.
    pub kind_pointer: Option<String>,
    /// The JSON pointer to the time of the event.
    pub time_pointer: Option<String>,
    /// The known kinds.
    pub known_kinds: Vec<&'static str>,
}

impl CustomProvider {
    /// Returns a provider with this scheme, and without pointers.
    #[must_use]
    pub fn new(signing: Signing) -> Self {
        CustomProvider { signing, id_pointer: None, kind_pointer: None, time_pointer: None, known_kinds: Vec::new() }
    }

    /// Returns the first known kind that needs no escapes, or else a made-up one.
    pub(crate) fn sample_kind(&self) -> &'static str {
        let is_plain = |kind: &&&str| kind.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\{}".contains(&byte));
        self.known_kinds.iter().find(is_plain).copied().unwrap_or("medhook.sample")
    }

    /// Returns a small body with this kind, or else the first known one, an id and a time at the pointers.
    ///
    /// # Errors
    /// Returns an error if one of the pointers leads into the value of another one.
    pub fn sample(&self, kind: Option<&str>) -> Result<Bytes, EndpointError> {
        let kind = kind.unwrap_or(self.sample_kind());
        let mut body = Value::Object(Map::new());
        for (pointer, text) in
            [(&self.kind_pointer, kind), (&self.time_pointer, "2026-01-01T00:00:00Z"), (&self.id_pointer, "sample")]
        {
            let Some(pointer) = pointer else { continue };
            if put(&mut body, pointer, text).is_none() {
                return Err(EndpointError(format!(
                    "no sample can be built, because one pointer leads into the value of another: {pointer:?}"
                )));
            }
        }
        if let Value::Object(members) = &mut body {
            members.entry("sample").or_insert(Value::Bool(true));
        }
        Ok(body.to_string().into())
    }
}

/// Writes a text at a JSON pointer, and the objects and lists that lead there. Fails at an existing text.
fn put(body: &mut Value, pointer: &str, text: &str) -> Option<()> {
    let mut tokens: Vec<_> =
        pointer.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~")).collect();
    let last = tokens.pop()?;
    let mut place = body;
    for (depth, token) in tokens.iter().enumerate() {
        let next = tokens.get(depth.saturating_add(1)).unwrap_or(&last);
        // `0` is the first item of a list, or, at the top, a key.
        let missing = if next == "0" { Value::Array(Vec::new()) } else { Value::Object(Map::new()) };
        place = child(place, token, missing)?;
    }
    *child(place, &last, text.into())? = text.into();
    Some(())
}

/// Returns the value at a key or index, which is `new` if there is none.
fn child<'v>(parent: &'v mut Value, token: &str, new: Value) -> Option<&'v mut Value> {
    match parent {
        Value::Object(members) => {
            let value = members.entry(token).or_insert_with(|| new.clone());
            (value.is_string() == new.is_string()).then_some(value)
        }
        Value::Array(items) if token == "0" => {
            if items.is_empty() {
                items.push(new.clone());
            }
            items.first_mut().filter(|value| value.is_string() == new.is_string())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(pointers: [Option<&str>; 3], kind: Option<&str>) -> Result<String, String> {
        let mut custom = CustomProvider::new(Signing::standard_webhooks());
        let [id, kind_at, time] = pointers.map(|pointer| pointer.map(str::to_owned));
        (custom.id_pointer, custom.kind_pointer, custom.time_pointer) = (id, kind_at, time);
        let body = custom.sample(kind).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn a_sample_has_a_value_at_each_pointer() {
        let time = "\"2026-01-01T00:00:00Z\"";
        assert_eq!(sample([None; 3], None).unwrap(), r#"{"sample":true}"#);
        assert_eq!(
            sample([Some("/id"), Some("/type"), Some("/created")], Some("a.b")).unwrap(),
            format!(r#"{{"created":{time},"id":"sample","sample":true,"type":"a.b"}}"#)
        );
        assert_eq!(
            sample([Some("/events/0/id"), Some("/events/0/a~1b"), Some("/meta/at")], None).unwrap(),
            format!(r#"{{"events":[{{"a/b":"medhook.sample","id":"sample"}}],"meta":{{"at":{time}}},"sample":true}}"#)
        );
        assert_eq!(
            sample([Some("/0/1/id"), None, None], None).unwrap(),
            r#"{"0":{"1":{"id":"sample"}},"sample":true}"#
        );
        assert_eq!(sample([Some("/id"), Some("/id"), None], None).unwrap(), r#"{"id":"sample","sample":true}"#);
        assert!(sample([Some("/a/id"), Some("/a"), None], None).unwrap_err().contains("into the value of another"));
        assert!(sample([Some("/a"), Some("/a/id"), None], None).unwrap_err().contains("into the value of another"));
    }
}
