//! The bodies under `fixtures/`, byte for byte.

use std::iter;
use std::sync::LazyLock;

use bytes::Bytes;
use serde_json::Value;

use crate::pointer::pointed_at;
use crate::provider::{PROVIDERS, ProviderFacts};

/// A body in a provider's documented shape, with invented values.
#[derive(Debug, Clone, Copy)]
pub struct Fixture {
    path: &'static str,
    body: &'static [u8],
}

impl Fixture {
    /// Returns the path below `fixtures/`: `<provider>/<kind>[.<variant>].json`.
    #[must_use]
    pub fn path(&self) -> &'static str {
        self.path
    }

    /// Returns the name of the provider.
    #[must_use]
    pub fn provider(&self) -> &'static str {
        self.path.split_once('/').map_or("", |(provider, _)| provider)
    }

    /// Returns the body.
    #[must_use]
    pub fn body(&self) -> Bytes {
        Bytes::from_static(self.body)
    }
}

/// A file that lists deliveries and their expected results. The crate `medhook-conformance` expands it.
#[derive(Debug, Clone, Copy)]
pub struct CaseFile {
    provider: Option<&'static str>,
    text: &'static str,
}

impl CaseFile {
    /// Returns the name of the provider whose cases the file lists; `None` for the shared file.
    #[must_use]
    pub fn provider(&self) -> Option<&'static str> {
        self.provider
    }

    /// Returns the text of the file, which is TOML.
    #[must_use]
    pub fn text(&self) -> &'static str {
        self.text
    }
}

/// Returns every case file: the shared one, then those of the providers sorted by name.
#[must_use]
pub fn case_files() -> &'static [CaseFile] {
    static CASE_FILES: LazyLock<Vec<CaseFile>> = LazyLock::new(|| {
        let shared = CaseFile { provider: None, text: SHARED_CASES };
        let of_provider =
            |facts: &&'static ProviderFacts| CaseFile { provider: Some(facts.name), text: facts.test_data.cases };
        iter::once(shared).chain(PROVIDERS.iter().map(of_provider)).collect()
    });
    &CASE_FILES
}

const SHARED_CASES: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/shared.toml"));

/// Returns every fixture.
#[must_use]
pub fn fixtures() -> &'static [Fixture] {
    static FIXTURES: LazyLock<Vec<Fixture>> = LazyLock::new(|| {
        let all = PROVIDERS.iter().flat_map(|facts| facts.test_data.fixtures);
        all.map(|&(path, body)| Fixture { path, body }).collect()
    });
    &FIXTURES
}

/// Returns the fixture of a kind that has no variant in its name.
pub(super) fn fixture(provider: &str, kind: &str) -> Option<&'static Fixture> {
    let path = format!("{provider}/{kind}.json");
    fixtures().iter().find(|fixture| fixture.path == path)
}

/// Returns the body with another text at a JSON pointer, or the same body if the pointer matches nothing.
pub(super) fn with_text(body: &Bytes, pointer: &str, text: &str) -> Bytes {
    replaced(body, pointer, |_| text.into())
}

/// Returns the body with another time at a JSON pointer, in the existing format: Unix seconds or RFC 3339.
pub(super) fn with_time(body: &Bytes, pointer: &str, unix: i64) -> Bytes {
    replaced(body, pointer, |known| if known.is_number() { unix.into() } else { rfc3339(unix).into() })
}

/// Returns the body changed to that of another event, which `mark` identifies.
///
/// `mark` replaces the event's id, or else another identifying text of its kind. If the body has neither, it is encoded
/// as trailing whitespace, because a receiver identifies such an event by its bytes.
#[must_use]
pub fn marked(provider: &str, body: &Bytes, mark: &str) -> Bytes {
    let known: Option<Value> = serde_json::from_slice(body).ok();
    let is_text = |pointer: &&str| known.as_ref().and_then(|json| json.pointer(pointer)).is_some_and(Value::is_string);
    let places = crate::registry::provider(provider).map_or(&[] as &[_], |facts| facts.test_data.marks);
    match places.iter().copied().find(is_text) {
        Some(pointer) => with_text(body, pointer, mark),
        None => spaced(body, mark),
    }
}

/// Returns the body with trailing whitespace that encodes a text. The bytes differ, but the JSON is the same.
#[must_use]
pub fn spaced(body: &Bytes, text: &str) -> Bytes {
    let bits = text.bytes().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1));
    let spaces = bits.map(|bit| if bit == 0 { b' ' } else { b'\t' });
    body.iter().copied().chain(spaces).collect()
}

/// Returns the body with other JSON at a JSON pointer, or `None` if the pointer matches nothing. All other bytes are
/// unchanged. `other` receives the existing JSON.
#[must_use]
pub fn replaced_at(body: &Bytes, pointer: &str, other: impl FnOnce(&[u8]) -> Vec<u8>) -> Option<Bytes> {
    let (before, after) = pointed_at(body, pointer)?;
    let known = body.get(before.len()..body.len().checked_sub(after.len())?)?;
    Some([before, &other(known), after].concat().into())
}

fn replaced(body: &Bytes, pointer: &str, with: impl Fn(&Value) -> Value) -> Bytes {
    let json = |known: &[u8]| {
        serde_json::from_slice(known).map_or_else(|_| known.into(), |known| with(&known).to_string().into_bytes())
    };
    replaced_at(body, pointer, json).unwrap_or_else(|| body.clone())
}

fn rfc3339(unix: i64) -> String {
    jiff::Timestamp::from_second(unix).map_or_else(|_| unix.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marked_body_is_another_event_of_the_same_kind() {
        for fixture in fixtures() {
            let (provider, body) = (fixture.provider(), fixture.body());
            let [one, two] = ["one-", "two-"].map(|mark| marked(provider, &body, mark));
            assert!(one != body && one != two, "{}", fixture.path());
            let [before, after]: [Option<Value>; 2] = [&body, &one].map(|body| serde_json::from_slice(body).ok());
            assert_eq!(before.is_some(), after.is_some(), "{}", fixture.path());
            // Either a text was replaced, or only whitespace was added.
            assert!(
                after.is_none() || after == before || one.windows(4).any(|bytes| bytes == b"one-"),
                "{}",
                fixture.path()
            );
        }
    }
}
