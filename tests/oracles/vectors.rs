//! The deliveries of `vectors.toml`, whose signatures others have computed, and each alteration of them.

use std::collections::BTreeSet;

use medhook::testing::StoppedClock;
use medhook::{Bytes, Custom, NoDedupe, Receiver, RequestHead, Secret, Secrets};
use serde::Deserialize;

use crate::options::Options;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    vector: Vec<Vector>,
    altered: Vec<Altered>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vector {
    pub(crate) name: String,
    #[allow(dead_code, reason = "for readers")]
    source: String,
    pub(crate) options: Options,
    secrets: Vec<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    now: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Altered {
    of: String,
    change: String,
    header: Option<(String, String)>,
    rename: Option<(String, String)>,
    remove: Option<String>,
    body: Option<String>,
    now: Option<i64>,
    options: Option<Options>,
    secrets: Option<Vec<String>>,
    expected: String,
}

fn read() -> File {
    toml::from_str(include_str!("vectors.toml")).unwrap()
}

pub(crate) fn vectors() -> Vec<Vector> {
    read().vector
}

impl Vector {
    pub(crate) fn receiver(&self) -> Receiver {
        let secret = |(number, text): (usize, &String)| {
            // Some published secrets are short.
            Secret::unchecked(text.as_str()).labeled(&number.to_string()).unwrap()
        };
        let mut secrets = self.secrets.iter().enumerate().map(secret);
        let first = Secrets::new(secrets.next().unwrap());
        let secrets = secrets.fold(first, |all, secret| all.also(secret).unwrap());
        let custom = Custom::new("vector", self.options.scheme(), secrets);
        let mut builder =
            Receiver::builder("vector", custom).store(NoDedupe).clock(StoppedClock::at(self.now)).body_limit(10_000);
        if let Some(freshness) = self.options.freshness() {
            builder = builder.freshness(freshness);
        }
        builder.build().unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    fn altered(mut self, altered: &Altered) -> Self {
        if let Some((name, value)) = &altered.header {
            self.headers.iter_mut().find(|(known, _)| known == name).unwrap().1 = value.clone();
        }
        if let Some((from, to)) = &altered.rename {
            self.headers.iter_mut().find(|(known, _)| known == from).unwrap().0 = to.clone();
        }
        if let Some(name) = &altered.remove {
            self.headers.retain(|(known, _)| known != name);
        }
        self.body = altered.body.clone().unwrap_or(self.body);
        self.now = altered.now.unwrap_or(self.now);
        self.options = altered.options.clone().unwrap_or(self.options);
        self.secrets = altered.secrets.clone().unwrap_or(self.secrets);
        self
    }

    /// Returns the verdict in words. Every split of the body must give the same.
    fn verdict(&self) -> String {
        let receiver = self.receiver();
        let pieces = |pieces: &[&[u8]]| {
            let verified = || {
                let mut intake = receiver.begin(&RequestHead::new("POST", "/", &self.headers))?;
                pieces.iter().try_for_each(|piece| intake.push(Bytes::copy_from_slice(piece)))?;
                intake.finish().map(drop)
            };
            word(verified().map_err(|rejection| rejection.reason().as_str()))
        };
        let body = self.body.as_bytes();
        let whole = receiver.verify(&self.headers, Bytes::copy_from_slice(body)).map(drop);
        let whole = word(whole.map_err(|rejection| rejection.reason().as_str()));
        for at in 0..=body.len() {
            assert_eq!(pieces(&[&body[..at], &body[at..]]), whole, "{}: split at {at}", self.name);
        }
        let each: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(pieces(&each), whole, "{}: byte by byte", self.name);
        whole
    }
}

fn word(verdict: Result<(), &str>) -> String {
    verdict.err().unwrap_or("accepted").to_owned()
}

#[test]
fn deliveries_that_others_signed_are_accepted_in_any_pieces() {
    let vectors = vectors();
    assert!(vectors.len() >= 30, "only {}", vectors.len());
    let wrong: Vec<_> = vectors.iter().map(|it| (&it.name, it.verdict())).filter(|it| it.1 != "accepted").collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn altered_deliveries_have_the_expected_verdict_in_any_pieces() {
    let File { vector, altered } = read();
    assert!(altered.len() >= 80, "only {}", altered.len());
    let mut wrong = Vec::new();
    for change in &altered {
        let original = vector.iter().find(|vector| vector.name == change.of).expect("a vector of this name");
        let verdict = original.clone().altered(change).verdict();
        if verdict != change.expected {
            wrong.push(format!("{}, {}: {verdict}, expected {}", change.of, change.change, change.expected));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn names_are_unique_and_every_scheme_has_a_vector() {
    let vectors = vectors();
    let names: BTreeSet<_> = vectors.iter().map(|vector| &vector.name).collect();
    assert_eq!(names.len(), vectors.len());
    let schemes: BTreeSet<_> = vectors.iter().map(|vector| vector.options.scheme.as_str()).collect();
    let all = ["ed25519", "hmac-sha256", "hmac-sha512", "shared-secret", "standard-webhooks", "timestamped-hmac"];
    assert_eq!(Vec::from_iter(schemes), all);
}
