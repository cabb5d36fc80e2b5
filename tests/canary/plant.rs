//! Marks: texts and numbers that do not occur anywhere else.

use medhook::registry::PROVIDERS;
use medhook::testing::{Fixture, fixtures};
use medhook::{Bytes, ConfigError, Secret, Secrets};
use serde_json::Value;

/// A Standard Webhooks secret whose text is its own mark.
pub const SECRET: &str = "whsec_Q2FuYXJ5U2VjcmV0T2ZTdGFuZGFyZFdlYmhvb2tz";
/// A secret that is used without decoding.
pub const TEXT_SECRET: &str = "Q2FuYXJ5U2VjcmV0VXNlZEFzSXRJcw";
/// A secret that no receiver has. It is valid for both kinds of schemes.
pub const FOREIGN_SECRET: &str = "Q2FuYXJ5U2VjcmV0T2ZBbm90aGVy";
/// The signed message id.
pub const MESSAGE_ID: &str = "msg_canaryheaderid";

/// Returns unexpected headers that claim to be from the providers.
pub fn headers() -> Vec<(String, String)> {
    let of_providers = PROVIDERS.iter().flat_map(|facts| facts.unsigned_headers).map(|header| header.name);
    let names = of_providers.chain(["svix-id", "cookie", "authorization", "user-agent"]);
    names.map(|name| (name.to_owned(), format!("canaryheader{name}"))).collect()
}

/// Returns the marks that are in every delivery.
pub fn fixed_marks() -> Vec<String> {
    let mut marks = vec![MESSAGE_ID.to_owned(), "canary".to_owned(), "Canary".to_owned()];
    for secret in [SECRET, TEXT_SECRET, FOREIGN_SECRET] {
        // The prefix may be printed; no part of the rest may be.
        marks.push(secret.trim_start_matches("whsec_")[..12].to_owned());
    }
    // The decoded base64.
    marks.extend(["SecretOf".to_owned(), "SecretUsed".to_owned()]);
    marks
}

/// Returns the errors for mistakes that an operator can make with a secret.
pub fn config_mistakes() -> Vec<ConfigError> {
    let secrets = |text: &str| Secrets::new(Secret::new(text).unwrap().labeled("one").unwrap());
    let standard = medhook::Fasten::live(secrets("canary is no base64"));
    let same = secrets("canarytwice").also(Secret::new("canarytwice").unwrap().labeled("two").unwrap());
    vec![
        Secret::new(" canarypadded").and_then(|secret| secret.labeled("padded")).unwrap_err(),
        Secret::new("canary".repeat(1_000)).and_then(|secret| secret.labeled("long")).unwrap_err(),
        same.unwrap_err(),
        medhook::Receiver::builder("x", standard).store(medhook::NoDedupe).build().unwrap_err(),
        medhook::Receiver::builder("x", medhook::HealthSync::new(secrets("canaryonly"))).build().unwrap_err(),
    ]
}

/// A fixture in which every value is a mark, except for those that decide its kind.
pub struct Planted {
    pub body: Bytes,
    pub marks: Vec<String>,
    value: Value,
}

impl Planted {
    /// Returns `None` for a fixture that is not a JSON object.
    pub fn of(fixture: &Fixture) -> Option<Planted> {
        let mut value: Value = serde_json::from_slice(&fixture.body()).ok()?;
        value.as_object()?;
        let mut planting = Planting {
            // No two fixtures share a mark.
            next: fixtures().iter().position(|other| other.path() == fixture.path())? * 1_000,
            marks: Vec::new(),
        };
        planting.plant(&mut value, true);
        Some(Planted { body: value.to_string().into(), marks: planting.marks, value })
    }

    /// Returns invalid variants of the body, such as an undocumented kind, a payload of another type, and no envelope.
    /// All of them are marked.
    pub fn odd_bodies(&self) -> Vec<Bytes> {
        let with = |key: &str, value: Value| {
            let mut odd = self.value.clone();
            odd[key] = value;
            Bytes::from(odd.to_string())
        };
        vec![
            with("type", "canarykind".into()),
            with("eventName", "canaryname".into()),
            with("event", "canaryevent".into()),
            with("data", "canarypayload".into()),
            with("payload", "canarypayload".into()),
            with("api_mode", "canarymode".into()),
            with("id", Value::Array(vec!["canaryid".into()])),
            Bytes::from(format!("[\"canaryarray\", {}]", self.value)),
            Bytes::from(self.value.to_string() + "canarytrailing"),
        ]
    }
}

/// Returns the kind in a fixture's file name if the body does not contain it.
pub fn unsaid_kind(fixture: &Fixture) -> Option<&'static str> {
    let value: Value = serde_json::from_slice(&fixture.body()).ok()?;
    let says = ["eventName", "event", "type"].into_iter().any(|key| value.get(key).is_some());
    let file = fixture.path().split_once('/')?.1;
    file.split('.').next().filter(|_| !says)
}

struct Planting {
    next: usize,
    marks: Vec<String>,
}

/// Top-level keys that decide the kind or the time of an event.
const DECISIVE: &[&str] =
    &["type", "date", "created_at", "occurred_on", "api_mode", "event", "eventName", "resourceType", "timestamp"];

impl Planting {
    fn plant(&mut self, value: &mut Value, top: bool) {
        match value {
            Value::Object(members) => {
                for (key, member) in members.iter_mut() {
                    if !(top && DECISIVE.contains(&key.as_str())) {
                        self.plant(member, false);
                    }
                }
                let key = self.text();
                members.insert(key, Value::Null);
            }
            Value::Array(elements) => elements.iter_mut().for_each(|element| self.plant(element, false)),
            Value::String(text) => *text = self.text(),
            Value::Number(number) => {
                self.next += 1;
                let mark = 7_700_000_000_u64 + self.next as u64;
                self.marks.push(mark.to_string());
                *number = mark.into();
            }
            Value::Bool(_) | Value::Null => {}
        }
    }

    fn text(&mut self) -> String {
        self.next += 1;
        let mark = format!("canary{:06}", self.next);
        self.marks.push(mark.clone());
        mark
    }
}
